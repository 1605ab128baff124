"""The compiled modules, as their own unit tests compile them, for the transcripts to be compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import pytest

from prorata.boa_chain import BoaChain

Read = Callable[..., Any]


def source_of(name: str) -> str:
    """What the unit tests of a module compile to call it."""
    return str(import_module(f"tests.unit.modules.test_{name}").SOURCE)


@pytest.fixture(scope="module")
def chain() -> BoaChain:
    """A fresh chain."""
    return BoaChain()


@pytest.fixture(scope="module")
def module(chain: BoaChain) -> Callable[..., Read]:
    """`module("margin")`: a function that calls what `tests/unit/modules/test_margin.py` makes of that module."""

    def deployed(name: str, *arguments: Any) -> Read:
        return partial(chain.call, chain.deploy_source(source_of(name), *arguments))

    return deployed
