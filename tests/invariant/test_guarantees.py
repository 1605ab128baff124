"""Guarantees that are about two markets, or about a whole path: S6, S8's condition, and S3 once a side is scaled.

S1 to S4 are checked after every step of `test_stateful.py`, S5 in `tests/gas/test_crowd.py`, S7 in
`tests/unit/market/test_withdraw.py`.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.twin import MAX_DIFFERENCE, Twin
from prorata.units import SHORT, WAD
from tests.moves import travel

MARK = 1000 * WAD
WHALE, TRADER, FRIEND = 1, 2, 3


def market(margins: list[int], sizes: list[int], is_long: bool, **parameters: int) -> Twin:
    """A whale against traders of the other side; margins in thousandths of their notional, sizes in units."""
    twin = Twin(RevmChain(), MARK, len(sizes) + 1, MarketParameters(**{"fee_rate": 0, **parameters}))
    twin.deposit(WHALE, sum(sizes) * MARK * 50)
    for trader, (margin, size) in enumerate(zip(margins, sizes, strict=True), start=2):
        twin.deposit(trader, MARK * size * margin // 1000)
        twin.trade(trader, WHALE, is_long, size * WAD, MARK)
    return twin


class TestSplitNeutrality:
    """S6: two accounts instead of one change nothing beyond dust and one bucket width."""

    @settings(max_examples=60, deadline=None)
    @given(
        margin=st.integers(51, 600),
        sizes=st.tuples(st.integers(1, 50), st.integers(1, 50)),
        is_long=st.booleans(),
        path=st.lists(st.integers(850, 1150), min_size=1, max_size=6),
    )
    def test_split(self, margin, sizes, is_long, path):
        whole = market([margin], [sum(sizes)], is_long)
        split = market([margin, margin], list(sizes), is_long)
        for factor in path:
            for twin in (whole, split):
                twin.set_price(twin.index_price * factor // 1000)
                twin.settle()
        one = whole.exchange.account(TRADER)
        two = [split.exchange.account(trader) for trader in (TRADER, FRIEND)]
        assert one.shares == sum(account.shares for account in two)
        assert abs(one.equity - sum(account.equity for account in two)) <= 10
        assert abs(whole.exchange.account(WHALE).equity - split.exchange.account(WHALE).equity) <= 10
        assert abs(whole.exchange.vault_assets - split.exchange.vault_assets) <= 10

    def test_a_split_may_shift_a_close_out_by_one_width(self):
        """Collateral that does not split evenly moves an account by a wei's worth of index: at an edge, to the next
        bucket. The close-out prices then differ by one width, at most a thousandth of the price when filed."""
        whole, split = market([100], [2], True), market([100, 100], [1, 1], True)
        split.exchange.deposit(0, 10, split.traders[1])
        prices = []
        for twin in (whole, split):
            view = twin.exchange.chain.call(
                twin.exchange.lens, "position", twin.exchange.market.address, twin.exchange.chain.address(TRADER)
            )
            prices.append(view[-1])
        assert abs(prices[0] - prices[1]) <= MARK // 1000


class TestNoKeeperNeeded:
    """S8's condition: while no move is larger than the close-out margin, nobody is ever short of anything."""

    @settings(max_examples=60, deadline=None)
    @given(
        margins=st.lists(st.integers(51, 200), min_size=4, max_size=4),
        sizes=st.lists(st.integers(1, 30), min_size=4, max_size=4),
        is_long=st.booleans(),
        path=st.lists(st.integers(9_900, 10_100), min_size=20, max_size=60),
    )
    def test_no_deficit(self, margins, sizes, is_long, path):
        twin = market(margins, sizes, is_long)
        for factor in path:
            twin.set_price(twin.index_price * factor // 10_000)
            twin.settle()
        assert all(receipt.deficit == 0 for receipt in twin.receipts)
        twin.check()

    @settings(max_examples=60, deadline=None)
    @given(
        margins=st.lists(st.integers(51, 200), min_size=4, max_size=4),
        sizes=st.lists(st.integers(1, 30), min_size=4, max_size=4),
        is_long=st.booleans(),
        path=st.lists(st.integers(100, 4_000), min_size=1, max_size=6),
        calls=st.integers(1, 40),
    )
    def test_no_deficit_on_any_path_if_steps_are_that_small(self, margins, sizes, is_long, path, calls):
        """The price may do what it will, and nobody need be there to follow it: the step limit does."""
        twin = market(margins, sizes, is_long, max_price_step=MarketParameters().closeout_margin)
        for per_mille in path:
            twin.set_price(twin.index_price * per_mille // 1000)
            for _ in range(calls):
                twin.settle()
        assert all(receipt.deficit == 0 for receipt in twin.receipts)
        twin.check()

    def test_just_outside_there_is_one(self):
        """A margin of 10 %, a fall of 8 % that leaves 2 %, and one of 3 points more: a point is missing, and the wei by
        which the account's debt was rounded up when it was filed."""
        twin = market([100], [1], True)
        twin.set_price(MARK * 92 // 100)
        twin.settle()
        assert twin.exchange.account(TRADER).shares == WAD
        twin.set_price(MARK * 89 // 100)
        twin.settle()
        assert twin.receipts[-1].deficit == MARK // 100 + 1


class TestScaledExactness:
    """S3 once a side is scaled: sizes are rounded down, which may be in an account's favour, by less than the bound."""

    def test_a_rounded_position_loses_less(self):
        """The counterexample to "never in the account's favour": two thirds are closed, a third has no 18 digits, so
        the whale's short is too small by up to a wei a share and loses less when the price turns."""
        twin = market([100, 900], [2, 1], True)
        twin.set_price(MARK * 88 // 100)
        twin.settle()
        scale = twin.exchange.side(SHORT).scale
        assert scale == WAD // 3
        travel(twin, MARK * 2)
        found = twin.check()
        assert 0 < found.max_favour <= MAX_DIFFERENCE
        assert found.dust >= 0
