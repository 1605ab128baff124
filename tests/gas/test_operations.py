"""What every operation costs: gas of whole transactions, refunds included, cold access, at the Cancun rules."""

from collections.abc import Callable, Iterator

import pytest

from prorata.ape_chain import ApeChain
from prorata.exchange import Exchange
from prorata.units import LONG, SHORT, WAD
from tests import figures

MARK = 1000 * WAD
MAKER, TAKER, SECOND_MAKER, SECOND_TAKER, INSURER = 1, 2, 3, 4, 5


@pytest.fixture
def exchange(embedded: ApeChain) -> Iterator[Exchange]:
    """A funded and insured market of four traders, everyone flat."""
    with embedded.anchor():
        market = Exchange.deploy(embedded, MARK)
        for trader in (MAKER, TAKER, SECOND_MAKER, SECOND_TAKER):
            market.fund(trader)
        market.fund(INSURER, market.vault)
        yield market


def deposit_all(exchange: Exchange) -> None:
    for trader in (MAKER, TAKER, SECOND_MAKER, SECOND_TAKER):
        exchange.deposit(trader, 1000 * WAD)


def open_both(exchange: Exchange, maker: int = MAKER, taker: int = TAKER) -> int:
    return exchange.trade(maker, taker, True, WAD, MARK).gas


def deposit(exchange: Exchange) -> dict[str, int]:
    first = exchange.deposit(MAKER, 1000 * WAD).gas
    return {"deposit_first": first, "deposit_repeat": exchange.deposit(MAKER, 1000 * WAD).gas}


def deposit_position(exchange: Exchange) -> dict[str, int]:
    deposit_all(exchange)
    open_both(exchange)
    return {"deposit_position": exchange.deposit(MAKER, 10 * WAD).gas}


def withdraw_flat(exchange: Exchange) -> dict[str, int]:
    exchange.deposit(MAKER, 1000 * WAD)
    return {"withdraw_flat": exchange.withdraw(MAKER, 10 * WAD).gas}


def withdraw_position(exchange: Exchange) -> dict[str, int]:
    deposit_all(exchange)
    open_both(exchange)
    unmoved = exchange.withdraw(MAKER, 10 * WAD).gas
    exchange.set_price(MARK * 101 // 100)
    return {"withdraw_position": unmoved, "withdraw_position_moved": exchange.withdraw(MAKER, 10 * WAD).gas}


def fill_open(exchange: Exchange) -> dict[str, int]:
    deposit_all(exchange)
    fresh = open_both(exchange)
    live = open_both(exchange, SECOND_MAKER, SECOND_TAKER)
    exchange.trade(SECOND_MAKER, SECOND_TAKER, False, WAD, MARK)
    returning = open_both(exchange, SECOND_MAKER, SECOND_TAKER)
    return {"fill_open_fresh": fresh, "fill_open_live": live, "fill_open_returning": returning}


def fill_increase(exchange: Exchange) -> dict[str, int]:
    deposit_all(exchange)
    open_both(exchange)
    open_both(exchange, SECOND_MAKER, SECOND_TAKER)
    return {"fill_increase": open_both(exchange)}


def fill_close(exchange: Exchange) -> dict[str, int]:
    deposit_all(exchange)
    open_both(exchange)
    open_both(exchange, SECOND_MAKER, SECOND_TAKER)
    return {"fill_close": exchange.trade(MAKER, TAKER, False, WAD, MARK).gas}


def settle(exchange: Exchange) -> dict[str, int]:
    deposit_all(exchange)
    open_both(exchange)
    exchange.set_price(MARK * 101 // 100)
    quiet = exchange.settle().gas
    return {"settle_quiet": quiet, "settle_idle": exchange.settle().gas}


def cancel(exchange: Exchange) -> dict[str, int]:
    order = exchange.order(MAKER, True, WAD, MARK)
    one = exchange.chain.transact(exchange.market, "cancel", order.as_tuple(), sender=MAKER).gas
    return {"cancel": one, "cancel_all": exchange.chain.transact(exchange.market, "cancel_all", 1, sender=MAKER).gas}


def insurance(exchange: Exchange) -> dict[str, int]:
    first = exchange.insure(INSURER, 1000 * WAD).gas
    repeat = exchange.insure(INSURER, 1000 * WAD).gas
    redeemed = exchange.redeem(INSURER, exchange.vault_shares(INSURER) // 2).gas
    return {"insurance_deposit_first": first, "insurance_deposit_repeat": repeat, "insurance_redeem": redeemed}


CASES = [
    deposit,
    deposit_position,
    withdraw_flat,
    withdraw_position,
    fill_open,
    fill_increase,
    fill_close,
    settle,
    cancel,
    insurance,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_gas(exchange: Exchange, case: Callable[[Exchange], dict[str, int]]) -> None:
    measured = case(exchange)
    figures.record(f"gas: {case.__name__}", measured)
    assert all(21_000 < gas < 1_000_000 for gas in measured.values())
    for side in (LONG, SHORT):
        assert exchange.side(side).scale == WAD
