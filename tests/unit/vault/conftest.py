"""The vault is tested in the markets of `tests/unit/market`, with the same fixtures."""

from tests.unit.market.conftest import (
    each_exchange,
    each_twin,
    exchange,
    exchange_everywhere,
    refused,
    state,
    twin,
    twin_everywhere,
)

__all__ = [
    "each_exchange",
    "each_twin",
    "exchange",
    "exchange_everywhere",
    "refused",
    "state",
    "twin",
    "twin_everywhere",
]
