"""What strategies, spaces and kinds of data must pass: pytest classes for a plug-in's own tests.

They need pytest, which nasp itself does not.
"""

import pytest

pytest.register_assert_rewrite(
    "nasp.testing.strategies", "nasp.testing.spaces", "nasp.testing.domains"
)
