"""What every unit test shares: one titanoboa chain a file, and a short way to expect a refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from prorata.boa_chain import BoaChain
from prorata.chain import Reverted


@pytest.fixture(scope="module")
def chain() -> BoaChain:
    """A fresh chain; tests that write to it do so inside `with chain.anchor()`."""
    return BoaChain()


@pytest.fixture(scope="session")
def refuses() -> Callable[[str], AbstractContextManager[Any]]:
    """`with refuses(reason): ...` passes if the contracts revert with exactly this reason; empty: with none."""
    return lambda reason: pytest.raises(Reverted, match=f"^{re.escape(reason)}$")
