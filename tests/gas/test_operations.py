"""What every operation costs: gas of whole transactions, refunds included, cold access, at the Cancun rules."""

from collections.abc import Callable, Iterator

import pytest

from prorata.ape_chain import ApeChain
from prorata.exchange import Exchange
from prorata.parameters import VaultParameters
from prorata.units import LONG, SHORT, WAD
from tests import figures
from tests.gas.conftest import Snapshot

MARK = 1000 * WAD
MAKER, TAKER, SECOND_MAKER, SECOND_TAKER, INSURER = 1, 2, 3, 4, 5


@pytest.fixture
def exchange(embedded: ApeChain) -> Iterator[Exchange]:
    """A funded and insured market of four traders, everyone flat."""
    with embedded.anchor():
        market = Exchange.deploy(embedded, MARK, vault_parameters=VaultParameters(redeem_cooldown=1))
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


def fill_batch(exchange: Exchange) -> dict[str, int]:
    """Two makers and a taker, all with positions."""
    deposit_all(exchange)
    open_both(exchange)
    open_both(exchange, SECOND_MAKER, TAKER)
    orders = [exchange.order(maker, True, WAD, MARK) for maker in (MAKER, SECOND_MAKER)]
    both = exchange.take_batch(
        TAKER,
        [(order, exchange.sign(maker, order), WAD) for maker, order in zip((MAKER, SECOND_MAKER), orders, strict=True)],
    ).gas
    return {"fill_batch_of_two": both}


def liquidate(exchange: Exchange) -> dict[str, int]:
    """A part, taken over by an account with a position; the mark moves in the same transaction, and not."""
    deposit_all(exchange)
    open_both(exchange, SECOND_MAKER, SECOND_TAKER)
    exchange.withdraw(SECOND_MAKER, 947 * WAD)
    open_both(exchange)
    exchange.set_price(MARK * 97 // 100)
    moved = exchange.liquidate(MAKER, SECOND_MAKER, WAD // 10).gas
    return {"liquidate_moved": moved, "liquidate": exchange.liquidate(MAKER, SECOND_MAKER, WAD // 10).gas}


def settle(exchange: Exchange) -> dict[str, int]:
    deposit_all(exchange)
    open_both(exchange)
    exchange.set_price(MARK * 101 // 100)
    quiet = exchange.settle().gas
    return {"settle_quiet": quiet, "settle_idle": exchange.settle().gas}


def cancel(exchange: Exchange) -> dict[str, int]:
    order = exchange.order(MAKER, True, WAD, MARK)
    one = exchange.cancel(MAKER, order).gas
    everything = exchange.chain.transact(exchange.order_book, "cancel_all", 1, sender=MAKER).gas
    return {"cancel": one, "cancel_all": everything}


def insurance(exchange: Exchange) -> dict[str, int]:
    first = exchange.insure(INSURER, 1000 * WAD).gas
    repeat = exchange.insure(INSURER, 1000 * WAD).gas
    half = exchange.vault_shares(INSURER) // 2
    return {
        "insurance_deposit_first": first,
        "insurance_deposit_repeat": repeat,
        "insurance_request": exchange.request_redeem(INSURER, half).gas,
        "insurance_redeem_part": exchange.redeem(INSURER, half // 2).gas,
        "insurance_redeem_all": exchange.redeem(INSURER, half - half // 2).gas,
    }


CASES = [
    deposit,
    deposit_position,
    withdraw_flat,
    withdraw_position,
    fill_open,
    fill_increase,
    fill_close,
    fill_batch,
    liquidate,
    settle,
    cancel,
    insurance,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_gas(exchange: Exchange, case: Callable[[Exchange], dict[str, int]], snapshot: Snapshot) -> None:
    measured = case(exchange)
    figures.record(f"gas: {case.__name__}", measured)
    snapshot(measured)
    for side in (LONG, SHORT):
        assert exchange.side(side).scale == WAD
