"""What holds for every registered kind of data."""

from __future__ import annotations

import pytest

from nasp.domains import DOMAINS
from nasp.testing.domains import DomainTests


@pytest.mark.parametrize("name", DOMAINS)
class TestEveryKindOfData(DomainTests):
    """The tests that plug-ins' kinds of data must pass, too."""
