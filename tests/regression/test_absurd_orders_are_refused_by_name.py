"""Found by reading: a price or a size beyond 2**255 was refused by an overflow, without a reason."""

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.revm_chain import RevmChain
from prorata.units import WAD

MARK = 1000 * WAD
MAKER, TAKER = 1, 2


@pytest.fixture
def exchange() -> Exchange:
    made = Exchange.deploy(RevmChain(), MARK)
    for trader in (MAKER, TAKER):
        made.fund(trader)
        made.deposit(trader, 1000 * WAD)
    return made


@pytest.mark.parametrize("price", [0, 2**255, 2**256 - 1])
def test_price(exchange: Exchange, price: int) -> None:
    with pytest.raises(Reverted, match=r"^order: price outside band$"):
        exchange.trade(MAKER, TAKER, True, WAD, price)


@pytest.mark.parametrize("size", [2**96, 2**255, 2**256 - 1])
def test_size(exchange: Exchange, size: int) -> None:
    with pytest.raises(Reverted, match=r"^position: out of range$"):
        exchange.trade(MAKER, TAKER, True, size, MARK)
