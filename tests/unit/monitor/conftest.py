"""A crowded market on a chain that can go away and go back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.units import WAD
from tests.blocks import Blocks
from tests.crowd import populate

MarketFactory = Callable[..., Exchange]


@pytest.fixture
def crowded() -> MarketFactory:
    """A factory of markets at 1,000 with a crowd in them; `parameters` are the market's."""

    def make(decimals: int = 18, **parameters: Any) -> Exchange:
        chain = Blocks()
        exchange = Exchange.deploy(chain, 1_000 * WAD, MarketParameters(**parameters), decimals=decimals)
        populate(exchange)
        return exchange

    return make
