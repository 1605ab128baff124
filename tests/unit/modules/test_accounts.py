"""Accounts: what a touch finds (equity by the index, nothing after a closing, the last index after an epoch), and what
a trade makes of a position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain
from prorata.chain import Log
from prorata.embedded import EmbeddedContract
from prorata.exchange import Exchange
from prorata.ledger import place_of
from prorata.parameters import MarketParameters

WAD, UNIT = 10**18, 10**36
LONG, SHORT = 0, 1
NO_TOP = -(2**158)
LEVEL = 116
#: To a multiple of this many shares every bucket edge is worth a whole number of wei: nothing rounds.
LOT = 5**36
TRADER, OTHER = 1, 2

SOURCE = """
from modules import accounts
from modules import buckets
from modules import packing
from modules import sides

initializes: sides
initializes: buckets
initializes: accounts[buckets := buckets, sides := sides]

@deploy
def __init__():
    sides._begin(10**20)

@external
@view
def load(owner: address) -> accounts.Account:
    return accounts._load(owner, sides._load())

@external
def store(owner: address, collateral: uint256, side: uint256, shares: uint256, level: uint256):
    state: sides.State = sides._load()
    old: accounts.Account = accounts._load(owner, state)
    new: accounts.Account = old
    new.collateral = collateral
    new.side = side
    new.shares = shares
    self._file(owner, old, new, level, state)

@external
def touch(owner: address):
    state: sides.State = sides._load()
    held: accounts.Account = accounts._load(owner, state)
    self._file(owner, held, held, held.filing.level, state)

@internal
def _file(owner: address, old: accounts.Account, new: accounts.Account, level: uint256, before: sides.State):
    state: sides.State = before
    edge: int256 = accounts._store(owner, old, new, level, state.core.epoch, state.sides[new.side].index)
    state.sides[new.side].top = max(state.sides[new.side].top, edge)
    sides._store(state)

@external
def set_index(side: uint256, index: int256):
    state: sides.State = sides._load()
    state.sides[side].index = index
    sides._store(state)

@external
def close(side: uint256, threshold: int256):
    state: sides.State = sides._load()
    state.sides[side].top = buckets._close(sides._book(state.core.epoch, side), threshold)
    sides._store(state)

@external
def end_epoch():
    sides._store(sides._end_epoch(sides._load()))

@external
@view
def top(side: uint256) -> int256:
    return sides._load().sides[side].top

@external
@view
def bucket(epoch: uint256, side: uint256, level: uint256, number: int256) -> packing.Bucket:
    return packing._unpack_bucket(buckets._buckets[buckets._id(sides._book(epoch, side), level, number)])

@external
@pure
def trade(
    account: accounts.Account, is_long: bool, size: uint256, min_notional: uint256, scales: uint256[2], mark: uint256
) -> accounts.Account:
    return accounts._trade(account, is_long, size, min_notional, scales, mark)

@external
@view
def min_nonce(owner: address) -> uint256:
    return accounts._min_nonce(owner)

@external
def set_min_nonce(owner: address, min_nonce: uint256):
    accounts._set_min_nonce(owner, min_nonce)

@external
@view
def words(owner: address) -> (uint256, uint256):
    return accounts._positions[owner], accounts._anchors[owner]

@external
@view
def state_for(owner: address) -> sides.State:
    return accounts._state_for(owner)
"""


class Account(NamedTuple):
    collateral: int
    side: int
    shares: int
    filing: tuple[int, int, int]  # level, bucket, debt


FLAT = Account(0, 0, 0, (0, 0, 0))


@dataclass(frozen=True)
class Ledger:
    """The module on a chain; owners are numbers of test accounts."""

    chain: BoaChain
    contract: EmbeddedContract

    def read(self, function: str, *arguments: Any) -> Any:
        return self.chain.call(self.contract, function, *arguments)

    def send(self, function: str, *arguments: Any) -> list[Log]:
        return list(self.chain.transact(self.contract, function, *arguments, sender=0).logs)

    def load(self, owner: int = TRADER) -> Account:
        return Account(*self.read("load", self.chain.address(owner)))

    def store(
        self, collateral: int, side: int = LONG, shares: int = 0, owner: int = TRADER, level: int = LEVEL
    ) -> list[Log]:
        return self.send("store", self.chain.address(owner), collateral, side, shares, level)

    def touch(self, owner: int = TRADER) -> None:
        self.send("touch", self.chain.address(owner))

    def bucket(self, held: Account, epoch: int = 0) -> tuple[int, int, int]:
        """Shares, debt and generation of the bucket an account is filed in."""
        return tuple(self.read("bucket", epoch, held.side, *held.filing[:2]))


@pytest.fixture(scope="module")
def deployed(chain: BoaChain) -> Ledger:
    return Ledger(chain, chain.deploy_source(SOURCE))


@pytest.fixture
def ledger(chain: BoaChain, deployed: Ledger) -> Iterator[Ledger]:
    with chain.anchor():
        yield deployed


class TestFlat:
    def test_a_stranger_has_nothing(self, ledger: Ledger) -> None:
        assert ledger.load() == FLAT

    @pytest.mark.parametrize("collateral", [1, 2**120 - 1])
    def test_collateral_is_kept_to_the_wei(self, ledger: Ledger, collateral: int) -> None:
        ledger.store(collateral)
        ledger.send("set_index", LONG, -5 * UNIT)
        assert ledger.load() == FLAT._replace(collateral=collateral)

    def test_owners_are_apart(self, ledger: Ledger) -> None:
        ledger.store(5, owner=TRADER)
        ledger.store(7, owner=OTHER)
        assert (ledger.load(TRADER).collateral, ledger.load(OTHER).collateral) == (5, 7)

    def test_an_epoch_s_end_leaves_it_alone(self, ledger: Ledger) -> None:
        ledger.store(5)
        ledger.send("end_epoch")
        assert ledger.load() == FLAT._replace(collateral=5)


class TestPosition:
    @pytest.mark.parametrize("side", [LONG, SHORT])
    def test_equity_follows_the_index_of_its_side(self, ledger: Ledger, side: int) -> None:
        ledger.store(100 * LOT, side, 10 * LOT)
        ledger.send("set_index", 1 - side, 77 * UNIT)
        assert ledger.load()[:3] == (100 * LOT, side, 10 * LOT)
        ledger.send("set_index", side, -3 * UNIT)
        assert ledger.load()[:3] == (70 * LOT, side, 10 * LOT)
        ledger.send("set_index", side, 4 * UNIT)
        assert ledger.load()[:3] == (140 * LOT, side, 10 * LOT)

    def test_is_filed_by_its_bankruptcy_index(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        bucket = floor(Fraction(-10 * UNIT, 2**LEVEL))
        debt = 10 * LOT * (-10 * UNIT - bucket * 2**LEVEL) // UNIT
        assert ledger.load().filing == (LEVEL, bucket, debt)
        assert ledger.bucket(ledger.load()) == (10 * LOT, debt, 0)

    def test_touching_moves_nothing(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        before = ledger.load()
        ledger.send("set_index", LONG, -3 * UNIT)
        ledger.touch()
        assert ledger.load() == before._replace(collateral=70 * LOT)
        assert ledger.bucket(before) == (before.shares, before.filing[2], 0)

    @settings(max_examples=60, deadline=None)
    @given(
        shares=st.integers(10**15, 2**96),
        collateral=st.integers(10**15, 2**100),
        moves=st.lists(st.integers(-(10**35), 10**37), min_size=1, max_size=4),
        level=st.integers(63, 133),
    )
    def test_a_touch_costs_a_wei_at_most_and_gives_none(
        self,
        chain: BoaChain,
        deployed: Ledger,
        shares: int,
        collateral: int,
        moves: list[int],
        level: int,
    ) -> None:
        exact, index = Fraction(collateral), 0
        with chain.anchor():
            deployed.store(collateral, LONG, shares, level=level)
            for touches, move in enumerate(moves, start=1):
                index, exact = index + move, exact + Fraction(shares * move, UNIT)
                deployed.send("set_index", LONG, index)
                before = deployed.load().collateral
                deployed.touch()
                equity = deployed.load().collateral
                assert before - 1 <= equity <= before
                # A wei each for the filing and the folding of every touch, the first filing included.
                assert exact - 2 * touches - 2 < equity <= max(exact, Fraction(0))
                if exact <= 0:
                    break

    def test_reports_what_it_stores(self, ledger: Ledger) -> None:
        (log,) = ledger.store(100 * LOT, SHORT, 10 * LOT)
        bucket = floor(Fraction(-10 * UNIT, 2**LEVEL))
        assert log.name == "AccountUpdated"
        assert dict(log.fields) == {
            "account": ledger.chain.address(TRADER),
            "collateral": 100 * LOT,
            "shares": 10 * LOT,
            "bucket_id": log.fields["bucket_id"],
        }
        assert place_of(log.fields["bucket_id"]) == (0, (SHORT, LEVEL, bucket))
        (log,) = ledger.store(5)
        assert [log.fields[name] for name in ("collateral", "shares", "bucket_id")] == [5, 0, 0]

    def test_raises_the_top_of_its_own_side(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        top = (ledger.load().filing[1] + 1) * 2**LEVEL
        assert (ledger.read("top", LONG), ledger.read("top", SHORT)) == (top, NO_TOP)
        ledger.store(200 * LOT, LONG, 10 * LOT, owner=OTHER)  # lower: the bound stays
        assert ledger.read("top", LONG) == top
        ledger.store(50 * LOT, LONG, 10 * LOT, owner=OTHER)
        assert ledger.read("top", LONG) == (ledger.load(OTHER).filing[1] + 1) * 2**LEVEL > top


class TestMoreCollateral:
    @settings(max_examples=60, deadline=None)
    @given(
        shares=st.integers(10**15, 10**18),
        bucket=st.integers(-300, -100),
        level=st.sampled_from([LEVEL, LEVEL - 1, LEVEL - 5]),
        move=st.integers(-(10**36), 10**36),
        more=st.sampled_from([0, 1, 2, 10**9]),
    )
    def test_never_files_higher(
        self, chain: BoaChain, deployed: Ledger, shares: int, bucket: int, level: int, move: int, more: int
    ) -> None:
        """Of an account a hair under the upper edge of a bucket, whatever its roundings and in no wider buckets."""
        collateral = -(-shares * -(bucket + 1) * 2**LEVEL // UNIT) + 1
        with chain.anchor():
            deployed.store(collateral, LONG, shares)
            deployed.send("set_index", LONG, move)
            before = deployed.load()
            deployed.store(before.collateral + more, LONG, shares, level=level)
            after = deployed.load()
            assert (after.filing[1] + 1) * 2**level <= (before.filing[1] + 1) * 2**LEVEL
            assert before.collateral + more - 1 <= after.collateral <= before.collateral + more

    def test_files_lower_when_it_is_enough(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.store(200 * LOT, LONG, 10 * LOT)
        assert ledger.load().filing[1] == floor(Fraction(-20 * UNIT, 2**LEVEL))

    def test_less_files_higher(self, ledger: Ledger) -> None:
        ledger.store(200 * LOT, LONG, 10 * LOT)
        ledger.store(100 * LOT, LONG, 10 * LOT)
        assert ledger.load().filing[1] == floor(Fraction(-10 * UNIT, 2**LEVEL))


class TestMoving:
    """Every way from one position to another leaves exactly one filing behind."""

    def test_to_another_size(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        before = ledger.load()
        ledger.store(100 * LOT, LONG, 20 * LOT)
        assert ledger.bucket(before) == (0, 0, 0)
        assert ledger.bucket(ledger.load())[0] == 20 * LOT

    def test_to_another_level(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT, level=116)
        before = ledger.load()
        ledger.store(100 * LOT, LONG, 10 * LOT, level=120)
        assert ledger.load().filing[0] == 120
        assert ledger.bucket(before) == (0, 0, 0)

    def test_to_the_other_side(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        before = ledger.load()
        ledger.store(100 * LOT, SHORT, 10 * LOT)
        assert ledger.bucket(before) == (0, 0, 0)
        assert ledger.bucket(ledger.load())[0] == 10 * LOT
        assert ledger.load().side == SHORT

    def test_to_the_other_side_by_that_side_s_index_however_high(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, SHORT, 10 * LOT)  # files at -10
        ledger.send("set_index", LONG, 30 * UNIT)
        ledger.store(100 * LOT, LONG, 10 * LOT)
        assert ledger.load().filing[1] == floor(Fraction(20 * UNIT, 2**LEVEL))

    def test_to_nothing(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        before = ledger.load()
        ledger.store(90 * LOT)
        assert ledger.bucket(before) == (0, 0, 0)
        assert ledger.load() == FLAT._replace(collateral=90 * LOT)

    def test_shares_its_bucket_with_others(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT, owner=TRADER)
        ledger.store(50 * LOT, LONG, 5 * LOT, owner=OTHER)
        ledger.store(0, owner=TRADER)
        held = ledger.load(OTHER)
        assert ledger.bucket(held) == (5 * LOT, held.filing[2], 0)


class TestClosed:
    def test_by_its_bucket_s_generation(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.send("close", LONG, -11 * UNIT)
        assert ledger.load() == FLAT

    def test_not_by_another_bucket_s(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        edge = (ledger.load().filing[1] + 1) * 2**LEVEL
        ledger.send("close", LONG, edge)
        assert ledger.load().shares == 10 * LOT
        ledger.send("close", LONG, edge - 1)
        assert ledger.load() == FLAT

    def test_stays_closed_when_another_takes_its_bucket(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT, owner=TRADER)
        ledger.send("close", LONG, -11 * UNIT)
        ledger.store(100 * LOT, LONG, 10 * LOT, owner=OTHER)
        assert ledger.load(TRADER) == FLAT
        assert ledger.load(OTHER)[:3] == (100 * LOT, LONG, 10 * LOT)
        assert ledger.bucket(ledger.load(OTHER))[2] == 1

    def test_may_begin_again(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.send("close", LONG, -11 * UNIT)
        ledger.store(30 * LOT)
        assert ledger.load() == FLAT._replace(collateral=30 * LOT)
        ledger.store(100 * LOT, LONG, 10 * LOT)
        assert ledger.load()[:3] == (100 * LOT, LONG, 10 * LOT)
        assert ledger.bucket(ledger.load())[:1] == (10 * LOT,)

    def test_touching_it_takes_nothing_out_of_its_bucket(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT, owner=TRADER)
        ledger.send("close", LONG, -11 * UNIT)
        ledger.store(100 * LOT, LONG, 10 * LOT, owner=OTHER)
        ledger.touch(TRADER)
        assert ledger.bucket(ledger.load(OTHER))[0] == 10 * LOT

    def test_before_its_epoch_ended(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.send("close", LONG, -11 * UNIT)
        ledger.send("end_epoch")
        assert ledger.load() == FLAT


class TestEpochOver:
    @pytest.mark.parametrize("side", [LONG, SHORT])
    def test_settles_at_the_last_index(self, ledger: Ledger, side: int) -> None:
        ledger.store(100 * LOT, side, 10 * LOT)
        ledger.send("set_index", side, 7 * UNIT)
        ledger.send("end_epoch")
        ledger.send("set_index", side, -50 * UNIT)
        assert ledger.load() == FLAT._replace(collateral=170 * LOT)

    def test_however_many_epochs_later(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.send("set_index", LONG, 7 * UNIT)
        for _ in range(3):
            ledger.send("end_epoch")
            ledger.send("set_index", LONG, -UNIT)
        assert ledger.load() == FLAT._replace(collateral=170 * LOT)

    def test_comes_out_flat_and_leaves_the_old_book_alone(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        old = ledger.load()
        ledger.send("end_epoch")
        ledger.touch()
        assert ledger.load() == FLAT._replace(collateral=100 * LOT)
        assert ledger.bucket(old, epoch=0) == (10 * LOT, old.filing[2], 0)

    def test_the_next_position_is_filed_in_the_new_book(self, ledger: Ledger) -> None:
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.send("end_epoch")
        ledger.store(100 * LOT, LONG, 5 * LOT)
        assert ledger.bucket(ledger.load(), epoch=1)[0] == 5 * LOT
        assert ledger.load()[:3] == (100 * LOT, LONG, 5 * LOT)


class TestMinNonce:
    """It shares a word with the position and lives longer than any of them."""

    NONCE = 2**64 - 2

    def nonce(self, ledger: Ledger, owner: int = TRADER) -> int:
        return int(ledger.read("min_nonce", ledger.chain.address(owner)))

    def set(self, ledger: Ledger, min_nonce: int = NONCE, owner: int = TRADER) -> None:
        ledger.send("set_min_nonce", ledger.chain.address(owner), min_nonce)

    def test_begins_at_zero_and_is_the_owner_s_alone(self, ledger: Ledger) -> None:
        assert self.nonce(ledger) == 0
        self.set(ledger, 7, OTHER)
        assert (self.nonce(ledger), self.nonce(ledger, OTHER)) == (0, 7)

    def test_fits_64_bits(self, ledger: Ledger, refuses: Callable[[str], Any]) -> None:
        self.set(ledger, 2**64 - 1)
        assert self.nonce(ledger) == 2**64 - 1
        for beyond in (2**64, 2**128, 2**256 - 1):
            with refuses("packing: out of range"):
                self.set(ledger, beyond)

    def test_of_a_stranger_is_no_account(self, ledger: Ledger) -> None:
        self.set(ledger)
        assert ledger.load() == FLAT

    @pytest.mark.parametrize("side", [LONG, SHORT])
    def test_changes_nothing_of_a_position(self, ledger: Ledger, side: int) -> None:
        ledger.store(100 * LOT, side, 10 * LOT)
        before = ledger.load()
        self.set(ledger)
        assert ledger.load() == before
        assert ledger.bucket(before) == (10 * LOT, before.filing[2], 0)

    def test_outlives_every_move(self, ledger: Ledger) -> None:
        """Collateral alone, opened, increased, turned over, moved to another level, closed, and opened again."""
        self.set(ledger)
        for collateral, side, shares, level in (
            (5, LONG, 0, LEVEL),
            (100 * LOT, LONG, 10 * LOT, LEVEL),
            (100 * LOT, LONG, 20 * LOT, LEVEL),
            (100 * LOT, SHORT, 20 * LOT, LEVEL),
            (200 * LOT, SHORT, 20 * LOT, LEVEL - 3),
            (200 * LOT, SHORT, 0, LEVEL),
            (0, LONG, 0, LEVEL),
            (100 * LOT, LONG, 10 * LOT, LEVEL),
        ):
            ledger.store(collateral, side, shares, level=level)
            assert self.nonce(ledger) == self.NONCE
            assert ledger.load()[:3] == (collateral, side if shares else 0, shares)

    def test_outlives_its_bucket(self, ledger: Ledger) -> None:
        self.set(ledger)
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.send("close", LONG, -(2**157))
        assert (ledger.load(), self.nonce(ledger)) == (FLAT, self.NONCE)
        # Raised while the position is over but nobody has written that down.
        self.set(ledger, self.NONCE + 1)
        assert (ledger.load(), self.nonce(ledger)) == (FLAT, self.NONCE + 1)
        ledger.store(3)
        assert (ledger.load(), self.nonce(ledger)) == (FLAT._replace(collateral=3), self.NONCE + 1)
        ledger.store(100 * LOT, LONG, 10 * LOT)
        assert (ledger.load()[:3], self.nonce(ledger)) == ((100 * LOT, LONG, 10 * LOT), self.NONCE + 1)

    def test_outlives_the_epoch(self, ledger: Ledger) -> None:
        self.set(ledger)
        ledger.store(100 * LOT, SHORT, 10 * LOT)
        ledger.send("end_epoch")
        assert (ledger.load(), self.nonce(ledger)) == (FLAT._replace(collateral=100 * LOT), self.NONCE)
        self.set(ledger, self.NONCE + 1)
        assert ledger.load() == FLAT._replace(collateral=100 * LOT)
        ledger.store(7)
        assert (ledger.load(), self.nonce(ledger)) == (FLAT._replace(collateral=7), self.NONCE + 1)


class TestFlatWord:
    """What a closed position leaves behind in its word is remembered, and means nothing."""

    @pytest.mark.parametrize("side", [LONG, SHORT])
    def test_keeps_all_but_the_shares(self, ledger: Ledger, side: int) -> None:
        ledger.store(100 * LOT, side, 10 * LOT)
        word, _ = ledger.read("words", ledger.chain.address(TRADER))
        ledger.store(40 * LOT, side, 0)
        flat, anchor = ledger.read("words", ledger.chain.address(TRADER))
        assert flat == word >> 112 << 112
        assert anchor == 40 * LOT
        assert ledger.load() == FLAT._replace(collateral=40 * LOT)

    def test_a_generation_left_behind_closes_nobody(self, ledger: Ledger) -> None:
        """Its bucket is closed after it has left, and later its book is over: what it holds is collateral."""
        ledger.store(100 * LOT, LONG, 10 * LOT)
        ledger.store(40 * LOT, LONG, 0)
        ledger.store(100 * LOT, LONG, 10 * LOT, owner=OTHER)
        ledger.send("close", LONG, -(2**157))
        assert ledger.load() == FLAT._replace(collateral=40 * LOT)
        ledger.send("end_epoch")
        ledger.send("set_index", LONG, -5 * UNIT)
        assert ledger.load() == FLAT._replace(collateral=40 * LOT)

    def test_the_next_position_is_filed_as_if_it_were_the_first(self, ledger: Ledger) -> None:
        """Whatever side, level, epoch and generation the last one had."""
        ledger.store(100 * LOT, LONG, 10 * LOT, owner=OTHER)
        ledger.send("close", LONG, -(2**157))
        ledger.store(100 * LOT, LONG, 10 * LOT)  # generation 1
        ledger.store(40 * LOT, LONG, 0)
        ledger.send("end_epoch")
        ledger.store(200 * LOT, SHORT, 10 * LOT, level=LEVEL - 2)
        ledger.store(200 * LOT, SHORT, 10 * LOT, owner=OTHER + 1, level=LEVEL - 2)
        words = [ledger.read("words", ledger.chain.address(owner)) for owner in (TRADER, OTHER + 1)]
        assert words[0] == words[1]
        assert ledger.load() == ledger.load(OTHER + 1)

    def test_needs_no_state_to_be_loaded(self, ledger: Ledger) -> None:
        """Unlike one whose shares are still written down, even if its bucket is closed."""
        nothing = ((0,) * 8, ((0,) * 4, (0,) * 4))
        owner = ledger.chain.address(TRADER)
        assert ledger.read("state_for", owner) == nothing
        ledger.store(100 * LOT, LONG, 10 * LOT)
        assert ledger.read("state_for", owner)[0][0] == 10**20
        ledger.send("close", LONG, -(2**157))
        assert ledger.read("state_for", owner)[0][0] == 10**20
        ledger.store(40 * LOT)
        assert ledger.read("state_for", owner) == nothing


# --------------------------------------------------------------------------------------------------------------- trade

MARK = 50 * WAD
MIN_NOTIONAL = 3 * WAD
#: A millionth of the smallest position at this mark: 3 / 50 / 10**6 units.
DUST = 6 * 10**10


@pytest.fixture(scope="module")
def trade(deployed: Ledger) -> Callable[..., tuple[int, int]]:
    """Side and shares after a trade from `shares` of `side`; scales are of longs and shorts."""

    def traded(
        side: int, shares: int, is_long: bool, size: int, scales: tuple[int, int] = (WAD, WAD), mark: int = MARK
    ) -> tuple[int, int]:
        account = Account(77, side, shares, (116, -5, 3))
        after = Account(*deployed.read("trade", account, is_long, size, MIN_NOTIONAL, scales, mark))
        assert (after.collateral, after.filing) == (account.collateral, account.filing)
        return after.side, after.shares

    return traded


class TestTrade:
    @pytest.mark.parametrize(("is_long", "side"), [(True, LONG), (False, SHORT)])
    @pytest.mark.parametrize("old_side", [LONG, SHORT])
    def test_opens(self, trade: Callable[..., Any], is_long: bool, side: int, old_side: int) -> None:
        assert trade(old_side, 0, is_long, 5 * WAD) == (side, 5 * WAD)
        assert trade(old_side, 0, is_long, 1) == (side, 1)

    @pytest.mark.parametrize(("is_long", "side"), [(True, LONG), (False, SHORT)])
    def test_increases(self, trade: Callable[..., Any], is_long: bool, side: int) -> None:
        assert trade(side, 3 * WAD, is_long, 5 * WAD) == (side, 8 * WAD)

    @pytest.mark.parametrize(("is_long", "side"), [(False, LONG), (True, SHORT)])
    def test_reduces(self, trade: Callable[..., Any], is_long: bool, side: int) -> None:
        assert trade(side, 8 * WAD, is_long, 5 * WAD) == (side, 3 * WAD)

    @pytest.mark.parametrize(("is_long", "side"), [(False, LONG), (True, SHORT)])
    def test_closes_keeping_its_side(self, trade: Callable[..., Any], is_long: bool, side: int) -> None:
        assert trade(side, 8 * WAD, is_long, 8 * WAD) == (side, 0)

    @pytest.mark.parametrize(("is_long", "side"), [(False, LONG), (True, SHORT)])
    def test_turns_over(self, trade: Callable[..., Any], is_long: bool, side: int) -> None:
        assert trade(side, 8 * WAD, is_long, 11 * WAD) == (1 - side, 3 * WAD)

    @pytest.mark.parametrize(
        ("size", "after"),
        [
            (8 * WAD - DUST - 1, (LONG, DUST + 1)),
            (8 * WAD - DUST, (LONG, 0)),
            (8 * WAD - 1, (LONG, 0)),
            (8 * WAD + 1, (LONG, 0)),
            (8 * WAD + DUST, (LONG, 0)),
            (8 * WAD + DUST + 1, (SHORT, DUST + 1)),
        ],
    )
    def test_nearly_all_is_all(self, trade: Callable[..., Any], size: int, after: tuple[int, int]) -> None:
        assert trade(LONG, 8 * WAD, False, size) == after

    @pytest.mark.parametrize(
        ("mark", "dust"),
        [
            (WAD, 3 * 10**12),
            (50 * WAD, 6 * 10**10),
            (7 * WAD, 428_571_428_571),
            (2**80 - 1, 2_481_541),
            (2**30, 2793967723846435546875),
        ],
    )
    def test_dust_is_a_millionth_of_the_smallest_position(
        self, trade: Callable[..., Any], mark: int, dust: int
    ) -> None:
        assert dust == floor(Fraction(MIN_NOTIONAL, mark) * WAD / 10**6)
        held = 10 * dust
        assert trade(LONG, held, False, held - dust, mark=mark) == (LONG, 0)
        assert trade(LONG, held, False, held - dust - 1, mark=mark) == (LONG, dust + 1)

    def test_size_is_shares_times_scale(self, trade: Callable[..., Any]) -> None:
        scales = (WAD // 4, WAD // 2)
        assert trade(LONG, 0, True, 3 * WAD, scales) == (LONG, 12 * WAD)
        assert trade(LONG, 12 * WAD, True, WAD, scales) == (LONG, 16 * WAD)
        assert trade(LONG, 16 * WAD, False, WAD, scales) == (LONG, 12 * WAD)
        assert trade(LONG, 12 * WAD, False, 3 * WAD, scales) == (LONG, 0)
        assert trade(LONG, 12 * WAD, False, 5 * WAD, scales) == (SHORT, 4 * WAD)

    @settings(max_examples=150, deadline=None)
    @given(
        shares=st.integers(10**17, 2**110 - 1),
        scales=st.tuples(st.integers(10**14, WAD), st.integers(10**14, WAD)),
        part=st.fractions(0, 3, max_denominator=10**9),
        side=st.sampled_from([LONG, SHORT]),
        is_long=st.booleans(),
    )
    @example(shares=10**18, scales=(WAD, WAD), part=Fraction(1), side=LONG, is_long=False)
    def test_every_share_is_rounded_down(
        self,
        trade: Callable[..., Any],
        shares: int,
        scales: tuple[int, int],
        part: Fraction,
        side: int,
        is_long: bool,
    ) -> None:
        size = max(int(shares * part) * scales[side] // WAD, 1)
        held, to = floor(Fraction(shares * scales[side], WAD)), LONG if is_long else SHORT
        if to == side:
            expected = (side, shares + floor(Fraction(size * WAD, scales[side])))
        elif abs(size - held) <= DUST:
            expected = (side, 0)
        elif size < held:
            expected = (side, shares - floor(Fraction(size * WAD, scales[side])))
        else:
            expected = (to, floor(Fraction((size - held) * WAD, scales[to])))
        assert trade(side, shares, is_long, size, scales) == expected


# ----------------------------------------------------------------------------------------------------------- regression


def test_a_wei_of_collateral_does_not_lift_an_account_above_the_top_of_its_side(chain: BoaChain) -> None:
    """A deposit does not store the side's top, because more collateral lowers the bankruptcy index. But debt is rounded
    up by part of a wei, equity is rounded down by another, and one wei more does not always make up for both.

    These numbers put the trader just under the upper edge of bucket -151. After the deposit it once stood in bucket
    -150, above the stored top, and a move that left T between the two edges did not even look for it.
    """
    maker, trader = 1, 2
    with chain.anchor():
        exchange = Exchange.deploy(chain, 1000 * WAD, MarketParameters(fee_rate=0))
        for owner, collateral in ((maker, 1000 * WAD), (trader, 4_666_936_846_188_060_553)):
            exchange.fund(owner)
            exchange.deposit(owner, collateral)
        exchange.trade(maker, trader, False, 46_813_507_399_154_757, 1000 * WAD)
        exchange.set_price(1_001_370_000_000_000_000_013)
        exchange.settle()
        before = exchange.account(trader).bucket
        exchange.deposit(trader, 1)
        assert exchange.account(trader).bucket <= before

        threshold = Fraction(exchange.account(trader).edge - 2**118, UNIT)  # half a bucket under the edge
        price = int((threshold + 1000) / Fraction(99, 100) * WAD)  # where T, 0.99 p - 1000, gets there
        exchange.set_price(price)
        exchange.settle()
        assert exchange.account(trader).shares == 0
