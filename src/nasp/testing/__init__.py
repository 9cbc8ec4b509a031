"""What every strategy and every space must pass, as pytest classes that a plug-in's tests take up.

They need pytest, which nasp itself does not.
"""

import pytest

pytest.register_assert_rewrite("nasp.testing.strategies", "nasp.testing.spaces")
