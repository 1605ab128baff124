"""S8: where no move is larger than the close-out margin, no path of prices makes a deficit, and no keeper is needed.

The oracle may do anything; the breaker turns it into moves. Nobody liquidates, nobody tops up.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import MAX_PRICE, MIN_PRICE, WAD

MARK = 1000 * WAD
WHALE, TRADER = 1, 2
CLOSEOUT = WAD // 100


def market(margins: list[int], sizes: list[int], is_long: bool, **parameters: int) -> Twin:
    """A whale against traders of the other side; margins in thousandths of their notional, sizes in units."""
    twin = Twin(RevmChain(), MARK, len(sizes) + 1, MarketParameters(fee_rate=WAD // 2000, **parameters))
    twin.deposit(WHALE, sum(sizes) * MARK * 50)
    for trader, (margin, size) in enumerate(zip(margins, sizes, strict=True), start=TRADER):
        twin.deposit(trader, MARK * size * margin // 1000)
        # At the edge of the band, so that there is as much funding as the parameters allow.
        twin.trade(trader, WHALE, is_long, size * WAD, MARK * (1004 if is_long else 996) // 1000)
    return twin


def drive(twin: Twin, path: list[tuple[int, int, int]]) -> None:
    """Follow an oracle: price in per cent of the last, seconds until then, settlements after it."""
    for factor, seconds, settlements in path:
        twin.exchange.chain.advance(seconds)
        twin.set_price(min(max(twin.index_price * factor // 100, MIN_PRICE), MAX_PRICE))
        for _ in range(settlements):
            twin.settle()


@settings(max_examples=60, deadline=None)
@given(
    margins=st.lists(st.integers(60, 200), min_size=3, max_size=4),
    sizes=st.lists(st.integers(1, 30), min_size=4, max_size=4),
    is_long=st.booleans(),
    step=st.sampled_from([CLOSEOUT, CLOSEOUT // 2]),
    funding=st.sampled_from([0, CLOSEOUT // 4, CLOSEOUT]),
    interval=st.sampled_from([0, 12]),
    max_buckets=st.sampled_from([1, 128]),
    path=st.lists(
        st.tuples(
            st.sampled_from([1, 50, 90, 99, 100, 101, 110, 200, 10_000]), st.integers(1, 2000), st.integers(1, 9)
        ),
        min_size=2,
        max_size=12,
    ),
)
def test_no_deficit_whatever_the_oracle_does(margins, sizes, is_long, step, funding, interval, max_buckets, path):
    twin = market(
        margins,
        sizes[: len(margins)],
        is_long,
        max_price_step=step,
        max_funding=funding,
        step_interval=interval,
        max_buckets=max_buckets,
        max_words=320,
    )
    assert twin.exchange.chain.call(twin.exchange.lens, "is_gap_safe", twin.exchange.market.address)
    drive(twin, path)
    assert [receipt.deficit for receipt in twin.receipts if receipt.deficit] == []
    twin.check()


@pytest.mark.parametrize("is_long", [True, False])
def test_the_worst_path_leaves_nothing_to_pay(is_long):
    """An oracle that jumps and stays: step after step, everybody but the whale is closed, and nobody owes anything."""
    twin = market([60, 80, 120], [10, 5, 1], is_long, max_price_step=CLOSEOUT, max_funding=CLOSEOUT)
    drive(twin, [(30 if is_long else 300, 60, 1)])
    twin.settle_fully()
    assert sum(receipt.buckets_closed for receipt in twin.receipts) >= 3
    assert all(receipt.deficit == 0 for receipt in twin.receipts)
    assert sum(receipt.surplus for receipt in twin.receipts) > 0
    twin.check()


def test_just_outside_there_is_a_deficit():
    """The counterexample: steps of three times the close-out margin, and an account that the mark leaves 2 % just
    before. The same prices in steps of the close-out margin cost nobody anything."""
    outside = market([104], [1], True, max_price_step=3 * CLOSEOUT)
    inside = market([104], [1], True, max_price_step=CLOSEOUT)
    for twin in (outside, inside):
        twin.set_price(MARK * 920 // 1000)
        twin.settle_fully()
        assert twin.exchange.account(TRADER).shares == WAD
        twin.set_price(MARK * 88 // 100)
        twin.settle_fully()
    lens, address = outside.exchange.lens, outside.exchange.market.address
    assert not outside.exchange.chain.call(lens, "is_gap_safe", address)
    assert sum(receipt.deficit for receipt in outside.receipts) > MARK // 1000
    assert sum(receipt.deficit for receipt in inside.receipts) == 0
