"""Bankruptcy buckets against a dictionary: where an account is filed, what its bucket sums up to, what a scan sees, and
what closing leaves.

The judge is `Shelf`, a plain dictionary of buckets by level and number; everything expected of a scan or of the bitmaps
follows from it by brute force.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain
from prorata.chain import Log
from prorata.embedded import EmbeddedContract

WAD, UNIT = 10**18, 10**36
NO_TOP = -(2**158)
BOOK = 2 * 5 + 1  # shorts of epoch 5
UNLIMITED = 2**256 - 1
NO_CEILING = 2**255 - 1

#: For properties that take many calls an example: a failing one is small as it is, and shrinking it would take minutes.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)

SOURCE = """
from modules import buckets
from modules import packing

initializes: buckets

filed_under: public(uint256)
left_under: public(int256)

@external
@pure
def locate(level: uint256, shares: uint256, collateral: uint256, index: int256) -> buckets.Filing:
    return buckets._locate(level, shares, collateral, index, max_value(int256))

@external
@pure
def locate_under(
    level: uint256, shares: uint256, collateral: uint256, index: int256, ceiling: int256
) -> buckets.Filing:
    return buckets._locate(level, shares, collateral, index, ceiling)

@external
@pure
def equity(shares: uint256, filing: buckets.Filing, index: int256) -> uint256:
    return buckets._equity(shares, filing, index)

@external
@pure
def level(width: uint256, scale: uint256, mark: uint256) -> uint256:
    return buckets._level(width, scale, mark)

@external
@pure
def upper_edge(level: uint256, bucket: int256) -> int256:
    return buckets._upper_edge(level, bucket)

@external
@pure
def id(book: uint256, level: uint256, number: int256) -> uint256:
    return buckets._id(book, level, number)

@external
def add(book: uint256, filing: buckets.Filing, shares: uint256):
    self.filed_under = buckets._add(book, filing, shares)

@external
def remove(book: uint256, filing: buckets.Filing, shares: uint256):
    buckets._remove(book, filing, shares)

@external
def refile(book: uint256, old: buckets.Filing, old_shares: uint256, new: buckets.Filing, new_shares: uint256):
    self.filed_under = buckets._refile(book, old, old_shares, new, new_shares)

@external
@view
def generation(book: uint256, filing: buckets.Filing) -> uint256:
    return buckets._generation(book, filing)

@external
@view
def scan(
    book: uint256, index: int256, ceiling: int256, threshold: int256, max_buckets: uint256, max_words: uint256
) -> buckets.Scan:
    return buckets._scan(book, index, ceiling, threshold, max_buckets, max_words)

@external
def close(book: uint256, threshold: int256):
    self.left_under = buckets._close(book, threshold)

@external
@view
def bucket(book: uint256, level: uint256, number: int256) -> packing.Bucket:
    return packing._unpack_bucket(buckets._buckets[buckets._id(book, level, number)])

@external
@view
def bitmap(book: uint256, level: uint256, word: int256) -> uint256:
    return buckets._bitmaps[buckets._id(book, level, word)]

@external
@view
def level_entry(book: uint256, level: uint256) -> packing.Level:
    return packing._unpack_level(buckets._levels[buckets._level_id(book, level)])

@external
@view
def live_levels(book: uint256) -> uint256:
    return buckets._live_levels[book]
"""


class Place(NamedTuple):
    """A bucket's name within a book."""

    level: int
    number: int

    @property
    def lower_edge(self) -> int:
        return self.number * 2**self.level

    @property
    def upper_edge(self) -> int:
        return (self.number + 1) * 2**self.level


class Member(NamedTuple):
    """An account as its bucket sees it."""

    place: Place
    debt: int
    shares: int

    @property
    def filing(self) -> tuple[int, int, int]:
        return (*self.place, self.debt)


class Scan(NamedTuple):
    """What a scan saw, but for the words it looked at in vain."""

    shares: int
    value: int
    buckets: int
    threshold: int
    stopped: bool


@dataclass
class Shelf:
    """The dictionary model of one book."""

    members: list[Member] = field(default_factory=list)
    closings: Counter[Place] = field(default_factory=Counter)

    @property
    def sums(self) -> dict[Place, tuple[int, int]]:
        """Shares and debt of every live bucket."""
        sums: dict[Place, tuple[int, int]] = {}
        for place, debt, shares in self.members:
            held, owed = sums.get(place, (0, 0))
            sums[place] = held + shares, owed + debt
        return sums

    def above(self, threshold: int) -> set[Place]:
        """The live buckets with an upper edge above a threshold."""
        return {place for place in self.sums if place.upper_edge > threshold}

    def total(self, index: int, places: Iterable[Place]) -> tuple[int, int, int]:
        """Shares, worth in exact quote at `index`, and number of some buckets."""
        chosen = [(place, *self.sums[place]) for place in places]
        worth = sum(shares * (index - place.lower_edge) - debt * UNIT for place, shares, debt in chosen)
        return sum(shares for _, shares, _ in chosen), worth, len(chosen)

    def below(self, ceiling: int) -> Shelf:
        """What is left if everything with an upper edge above a ceiling is gone."""
        return Shelf([member for member in self.members if member.place.upper_edge <= ceiling])

    def scan(self, index: int, threshold: int, max_buckets: int) -> Scan:
        """Whole groups of equal upper edge, highest first, until a new group would begin beyond the budget."""
        summed: set[Place] = set()
        for edge in sorted({place.upper_edge for place in self.above(threshold)}, reverse=True):
            if len(summed) >= max_buckets:
                return Scan(*self.total(index, summed), edge, True)
            summed |= {place for place in self.sums if place.upper_edge == edge}
        return Scan(*self.total(index, summed), threshold, False)

    def close(self, threshold: int) -> dict[Place, tuple[int, int]]:
        """Empty the buckets above a threshold; returns what they held."""
        closed = {place: self.sums[place] for place in self.above(threshold)}
        self.closings.update(closed.keys())
        self.members = [member for member in self.members if member.place not in closed]
        return closed


@dataclass(frozen=True)
class Buckets:
    """The contract."""

    chain: BoaChain
    contract: EmbeddedContract

    def read(self, function: str, *arguments: Any) -> Any:
        return self.chain.call(self.contract, function, *arguments)

    def send(self, function: str, *arguments: Any) -> list[Log]:
        return list(self.chain.transact(self.contract, function, *arguments, sender=0).logs)

    def scan_and_words(
        self,
        index: int,
        threshold: int,
        max_buckets: int = UNLIMITED,
        max_words: int = UNLIMITED,
        ceiling: int = NO_CEILING,
    ) -> tuple[Scan, int]:
        """A scan, and how many looks it took that found no bucket to sum."""
        *seen, words = self.read("scan", BOOK, index, ceiling, threshold, max_buckets, max_words)
        return Scan(*seen), words

    def scan(self, index: int, threshold: int, max_buckets: int = UNLIMITED, max_words: int = UNLIMITED) -> Scan:
        return self.scan_and_words(index, threshold, max_buckets, max_words)[0]

    def close(self, threshold: int) -> tuple[dict[Place, tuple[int, int]], int]:
        """What the closed buckets held, by the log, and the bound on what is left."""
        logs = self.send("close", BOOK, threshold)
        return {decoded(log): held(log)[:2] for log in logs}, self.read("left_under")


def decoded(log: Log) -> Place:
    """The bucket named by a `BucketClosed` id: epoch 32 · side 1 · level 8 · bucket 128."""
    assert log.name == "BucketClosed"
    bits = f"{log.fields['bucket_id']:0169b}"
    assert int(bits[:32], 2) == BOOK >> 1
    assert int(bits[32], 2) == BOOK & 1
    number = int(bits[41:], 2)
    return Place(int(bits[33:41], 2), number - 2**128 if bits[41] == "1" else number)


def held(log: Log) -> tuple[int, int, int]:
    """Shares, debt and generation that a closed bucket held: generation 32 · debt 112 · shares 112."""
    bits = f"{log.fields['held']:0256b}"
    return int(bits[144:], 2), int(bits[32:144], 2), int(bits[:32], 2)


@pytest.fixture(scope="module")
def contract(chain: BoaChain) -> Buckets:
    return Buckets(chain, chain.deploy_source(SOURCE))


@pytest.fixture
def buckets(chain: BoaChain, contract: Buckets) -> Iterator[Buckets]:
    """The contract with nothing filed, and nothing left behind."""
    with chain.anchor():
        yield contract


def add(buckets: Buckets, shelf: Shelf, member: Member) -> None:
    buckets.send("add", BOOK, member.filing, member.shares)
    shelf.members.append(member)
    assert buckets.read("filed_under") == shelf.closings[member.place]


def remove(buckets: Buckets, shelf: Shelf, member: Member) -> None:
    buckets.send("remove", BOOK, member.filing, member.shares)
    shelf.members.remove(member)


def refile(buckets: Buckets, shelf: Shelf, old: Member, new: Member) -> None:
    buckets.send("refile", BOOK, old.filing, old.shares, new.filing, new.shares)
    shelf.members.remove(old)
    shelf.members.append(new)
    assert buckets.read("filed_under") == shelf.closings[new.place]


def close(buckets: Buckets, shelf: Shelf, threshold: int) -> int:
    """Close on both sides; returns the bound on what is left."""
    logged, bound = buckets.close(threshold)
    assert logged == shelf.close(threshold)
    return bound


def filed(buckets: Buckets, *places: tuple[int, int]) -> Shelf:
    """A shelf of buckets with one account of different shares and debt each, filed in the given order."""
    shelf = Shelf()
    for number, place in enumerate(places):
        add(buckets, shelf, Member(Place(*place), 10**9 + number, 10**18 + 1000 * number))
    return shelf


def check(buckets: Buckets, shelf: Shelf, touched: Iterable[Place]) -> None:
    """Every word the contract keeps says what the dictionary says, wherever anything was ever filed."""
    touched = set(touched)
    live = shelf.sums
    for place in touched:
        held = live.get(place, (0, 0))
        assert buckets.read("bucket", BOOK, *place) == (*held, shelf.closings[place])
        assert buckets.read("generation", BOOK, (*place, 0)) == shelf.closings[place]
    for level, word in {(level, number // 256) for level, number in touched}:
        bits = {number % 256 for other, number in live if (other, number // 256) == (level, word)}
        assert buckets.read("bitmap", BOOK, level, word) == sum(2**bit for bit in bits)
    for level in {level for level, _ in touched}:
        words = {number // 256 for other, number in live if other == level}
        top, count = buckets.read("level_entry", BOOK, level)
        assert count == len(words)
        assert top >= max(words) if words else top == 0
    assert buckets.read("live_levels", BOOK) == sum(2**level for level in {level for level, _ in live})


# --------------------------------------------------------------------------------------------------------------- filing

LEVELS = st.integers(63, 133)
SHARES = st.integers(1, 2**110) | st.integers(1, 10**6) | st.integers(10**15, 10**24)
COLLATERAL = st.integers(0, 2**120 - 1) | st.integers(0, 3) | st.integers(10**15, 10**24)
INDEX = st.integers(-(2**156), 2**156) | st.integers(-(10**40), 10**40)


class TestFiling:
    @settings(max_examples=250, deadline=None)
    @given(level=LEVELS, shares=SHARES, collateral=COLLATERAL, index=INDEX)
    @example(level=63, shares=1, collateral=0, index=0)
    @example(level=63, shares=3, collateral=1, index=-1)
    @example(level=63, shares=UNIT, collateral=2**63, index=0)  # bankrupt exactly at a lower edge
    @example(level=63, shares=3, collateral=1, index=10**36 // 3 + 5 * 2**63)  # a third of an index unit under one
    def test_the_bucket_covers_the_bankruptcy_index(
        self, contract: Buckets, level: int, shares: int, collateral: int, index: int
    ) -> None:
        kappa = floor(Fraction(index) - Fraction(collateral * UNIT, shares))
        place = Place(*contract.read("locate", level, shares, collateral, index)[:2])
        assert place.level == level
        assert place.lower_edge <= kappa < place.upper_edge

    @settings(max_examples=250, deadline=None)
    @given(level=LEVELS, shares=SHARES, collateral=COLLATERAL, index=INDEX)
    @example(level=63, shares=1, collateral=0, index=0)
    @example(level=63, shares=1, collateral=1, index=2**63 - 1)
    def test_equity_is_recovered_or_one_wei_less(
        self, contract: Buckets, level: int, shares: int, collateral: int, index: int
    ) -> None:
        filing = contract.read("locate", level, shares, collateral, index)
        equity = contract.read("equity", shares, filing, index)
        assert max(collateral - 1, 0) <= equity <= collateral

    @settings(max_examples=100, deadline=None)
    @given(level=LEVELS, shares=SHARES, collateral=COLLATERAL, index=INDEX, lower=st.integers(-1, 2))
    def test_a_ceiling_moves_the_bucket_and_no_money(
        self, contract: Buckets, level: int, shares: int, collateral: int, index: int, lower: int
    ) -> None:
        free = contract.read("locate", level, shares, collateral, index)[1]
        filing = contract.read("locate_under", level, shares, collateral, index, free - lower)
        assert filing[1] == min(free, free - lower)
        assert max(collateral - 1, 0) <= contract.read("equity", shares, filing, index) <= collateral

    @settings(max_examples=250, deadline=None)
    @given(level=LEVELS, shares=SHARES, collateral=COLLATERAL, index=INDEX, move=st.integers(-(2**142), 2**142))
    def test_equity_follows_the_index_and_never_flatters(
        self, contract: Buckets, level: int, shares: int, collateral: int, index: int, move: int
    ) -> None:
        filing = contract.read("locate", level, shares, collateral, index)
        equity = contract.read("equity", shares, filing, index + move)
        exact = floor(collateral + Fraction(shares * move, UNIT))
        assert max(exact - 1, 0) <= equity <= max(exact, 0)

    @pytest.mark.parametrize(
        ("half_buckets", "bucket", "debt"),
        [
            (10, -5, 0),  # bankrupt exactly at the lower edge of bucket -5
            (9, -5, 1),  # in the middle of it
            (11, -6, 1),
            (0, 0, 0),
        ],
    )
    def test_filing_on_paper(self, contract: Buckets, half_buckets: int, bucket: int, debt: int) -> None:
        # To 2**38 * 5**36 shares a level-36 bucket is worth 2**38 * 5**36 * 2**36 / 10**36 = 2**38 wei: nothing rounds.
        shares, level, half = 2**38 * 5**36, 36, 2**37
        filing = contract.read("locate", level, shares, half_buckets * half, 0)
        assert filing == (level, bucket, debt * half)
        assert contract.read("equity", shares, filing, 0) == half_buckets * half
        assert contract.read("equity", shares, filing, -(2**36)) == max(half_buckets - 2, 0) * half

    def test_an_inexact_debt_costs_the_account_the_wei(self, contract: Buckets) -> None:
        # A share of one wei with one wei of collateral is bankrupt at -10**36. Its bucket begins a little lower, so it
        # is worth a little more than a wei there: 2 rounded up, less the 1 it has, is a debt of 1.
        filing = contract.read("locate", 63, 1, 1, 0)
        assert filing == (63, -(10**36 // 2**63) - 1, 1)
        assert contract.read("equity", 1, filing, 0) == 0

    def test_a_loss_beyond_the_equity_is_nothing(self, contract: Buckets) -> None:
        filing = contract.read("locate", 63, WAD, 5, 0)
        assert contract.read("equity", WAD, filing, -5 * WAD) == 0
        assert contract.read("equity", WAD, filing, -50 * UNIT) == 0

    @settings(max_examples=150, deadline=None)
    @given(
        width=st.integers(10**14, 10**16),
        scale=st.integers(10**14, WAD),
        mark=st.integers(2**30, 2**80 - 1) | st.integers(30, 79).map(lambda power: 2**power),
    )
    @example(width=10**14, scale=10**14, mark=2**30)
    @example(width=10**16, scale=WAD, mark=2**80 - 1)
    def test_a_level_is_the_floor_of_the_logarithm(self, contract: Buckets, width: int, scale: int, mark: int) -> None:
        level = contract.read("level", width, scale, mark)
        assert 2**level <= Fraction(width * scale * mark, WAD) < 2 ** (level + 1)

    @pytest.mark.parametrize(
        ("width", "scale", "mark", "level"),
        [
            (10**14, 10**14, 2**30, 63),  # the lowest there can be: 10**10 * 2**30 = 2**63.2
            (10**16, WAD, 2**80 - 1, 133),  # the highest: 10**16 * 2**80 = 2**133.2
            (10**15, 10**15, 2**60, 99),  # 10**12 * 2**60 = 2**99.9
            (2**49, WAD, 2**60, 109),  # exactly a power of two
            (2**49, WAD, 2**60 - 1, 108),  # and just under it
            (10**14, 5_497_058_700_096_830, 2_147_678_759, 69),  # 2**70 less 6e-1: rounded up it would be one more
        ],
    )
    def test_level_on_paper(self, contract: Buckets, width: int, scale: int, mark: int, level: int) -> None:
        assert contract.read("level", width, scale, mark) == level

    @pytest.mark.parametrize("place", [Place(63, 0), Place(63, -1), Place(133, -(2**20)), Place(70, 2**80)])
    def test_upper_edge(self, contract: Buckets, place: Place) -> None:
        assert contract.read("upper_edge", *place) == place.upper_edge

    def test_names_do_not_collide(self, contract: Buckets) -> None:
        books, numbers = [0, 1, 2, 2**33 - 1], [0, 1, -1, 2**127 - 1, -(2**127)]
        names = [contract.read("id", book, level, n) for book in books for level in (0, 63, 133, 255) for n in numbers]
        assert len(set(names)) == len(names)
        assert max(names) < 2**169


# ----------------------------------------------------------------------------------------------------------- invariants

#: Where buckets lie, in widths of the lowest level: mostly around the borders of its bitmap words.
SPOTS = st.sampled_from([-513, -512, -257, -256, -255, -2, -1, 0, 1, 2, 254, 255, 256, 257, 511, 512]) | st.integers(
    -600, 600
)
#: Levels so close that their edges coincide often; a bucket of the highest is as wide as a word of the lowest.
PLACES = st.builds(lambda level, spot: Place(level, spot >> (level - 63)), st.sampled_from([63, 64, 66, 71]), SPOTS)
MEMBERS = st.builds(Member, PLACES, st.integers(0, 10**20), st.integers(1, 10**24))
THRESHOLDS = st.builds(lambda place, off: place.upper_edge + off, PLACES, st.integers(-1, 1))
#: Under every one of them.
BOTTOM = -(2**63) * 1024


@settings(max_examples=40, deadline=None, phases=UNSHRUNK)
@given(data=st.data())
def test_sums_bitmaps_and_levels_follow_the_dictionary(chain: BoaChain, contract: Buckets, data: st.DataObject) -> None:
    shelf, touched = Shelf(), set()
    with chain.anchor():
        for _ in range(data.draw(st.integers(1, 12), label="steps")):
            action = data.draw(st.sampled_from(["add", "add", "remove", "refile", "nudge", "close"]), label="action")
            if action == "add" or not shelf.members:
                member = data.draw(MEMBERS, label="member")
                add(contract, shelf, member)
            elif action == "remove":
                remove(contract, shelf, data.draw(st.sampled_from(shelf.members)))
            elif action == "close":
                close(contract, shelf, data.draw(THRESHOLDS, label="threshold"))
            else:
                old = data.draw(st.sampled_from(shelf.members))
                new = data.draw(MEMBERS, label="new")
                refile(contract, shelf, old, new if action == "refile" else new._replace(place=old.place))
            touched |= {member.place for member in shelf.members} | set(shelf.closings)
        check(contract, shelf, touched)
        scanned = contract.scan(0, BOTTOM)
        assert scanned == shelf.scan(0, BOTTOM, UNLIMITED)


class TestMembership:
    PLACE = Place(63, -5)

    def test_two_accounts_share_a_bucket(self, buckets: Buckets) -> None:
        shelf, first, second = Shelf(), Member(self.PLACE, 7, 100), Member(self.PLACE, 0, 23)
        add(buckets, shelf, first)
        add(buckets, shelf, second)
        assert buckets.read("bucket", BOOK, *self.PLACE) == (123, 7, 0)
        assert buckets.read("level_entry", BOOK, 63) == (-1, 1)
        remove(buckets, shelf, first)
        assert buckets.read("bucket", BOOK, *self.PLACE) == (23, 0, 0)
        check(buckets, shelf, [self.PLACE])

    def test_a_bucket_is_live_by_its_shares_not_its_debt(self, buckets: Buckets) -> None:
        shelf, member = Shelf(), Member(self.PLACE, 0, 1)
        add(buckets, shelf, member)
        assert buckets.read("bitmap", BOOK, 63, -1) == 2**251
        remove(buckets, shelf, member)
        check(buckets, shelf, [self.PLACE])
        assert buckets.read("bitmap", BOOK, 63, -1) == 0

    def test_a_refill_within_a_bucket_counts_once(self, buckets: Buckets) -> None:
        shelf, old = Shelf(), Member(self.PLACE, 7, 100)
        add(buckets, shelf, old)
        refile(buckets, shelf, old, Member(self.PLACE, 9, 40))
        assert buckets.read("bucket", BOOK, *self.PLACE) == (40, 9, 0)
        assert buckets.read("level_entry", BOOK, 63) == (-1, 1)

    def test_a_refill_within_a_bucket_does_not_touch_its_level(self, buckets: Buckets) -> None:
        """Whose top is too high since the bucket there emptied."""
        shelf, high, low = Shelf(), Member(Place(63, 900), 0, 1), Member(Place(63, 3), 0, 1)
        add(buckets, shelf, high)
        add(buckets, shelf, low)
        remove(buckets, shelf, high)
        refile(buckets, shelf, low, Member(Place(63, 3), 9, 2))
        assert buckets.read("level_entry", BOOK, 63) == (3, 1)

    def test_the_same_number_on_another_level_is_another_bucket(self, buckets: Buckets) -> None:
        shelf, old = Shelf(), Member(self.PLACE, 7, 100)
        add(buckets, shelf, old)
        refile(buckets, shelf, old, Member(Place(64, -5), 7, 100))
        check(buckets, shelf, [self.PLACE, Place(64, -5)])

    def test_a_level_that_empties_forgets_its_top(self, buckets: Buckets) -> None:
        shelf, high, low = Shelf(), Member(Place(63, 900), 0, 1), Member(Place(63, -900), 0, 1)
        add(buckets, shelf, high)
        remove(buckets, shelf, high)
        add(buckets, shelf, low)
        assert buckets.read("level_entry", BOOK, 63) == (-4, 1)

    def test_books_do_not_mix(self, buckets: Buckets) -> None:
        shelf, member = Shelf(), Member(self.PLACE, 7, 100)
        add(buckets, shelf, member)
        for other in (BOOK - 1, BOOK + 1, BOOK + 2):
            assert buckets.read("bucket", other, *self.PLACE) == (0, 0, 0)
            assert buckets.read("scan", other, 0, NO_CEILING, BOTTOM, 9, 9) == (0, 0, 0, BOTTOM, False, 0)

    def test_sums_that_do_not_fit_are_refused(self, buckets: Buckets, refuses: Callable[..., Any]) -> None:
        for shares, debt in [(2**112 - 1, 0), (1, 2**112 - 1)]:
            with buckets.chain.anchor():
                buckets.send("add", BOOK, (*self.PLACE, debt), shares)
                with refuses("packing: out of range"):
                    buckets.send("add", BOOK, (*self.PLACE, 1), 1)

    def test_nobody_takes_out_more_than_is_in(self, buckets: Buckets, refuses: Callable[..., Any]) -> None:
        buckets.send("add", BOOK, (*self.PLACE, 7), 100)
        for debt, shares in [(7, 101), (8, 100)]:
            with refuses(""):
                buckets.send("remove", BOOK, (*self.PLACE, debt), shares)


# ------------------------------------------------------------------------------------------------------------- scanning


class TestScan:
    def test_of_an_empty_book(self, buckets: Buckets) -> None:
        assert buckets.scan(0, -(2**150)) == Scan(0, 0, 0, -(2**150), False)

    def test_on_paper(self, buckets: Buckets) -> None:
        shelf = Shelf()
        add(buckets, shelf, Member(Place(63, 2), 5, 10 * WAD))  # 2 .. 3, units of 2**63
        add(buckets, shelf, Member(Place(64, 0), 6, 20 * WAD))  # 0 .. 2
        add(buckets, shelf, Member(Place(63, -1), 7, 40 * WAD))  # -1 .. 0
        index = 4 * 2**63
        first = 10 * WAD * (2 * 2**63) - 5 * UNIT
        second = 20 * WAD * (4 * 2**63) - 6 * UNIT
        assert buckets.scan(index, 2 * 2**63) == (10 * WAD, first, 1, 2 * 2**63, False)
        assert buckets.scan(index, 2 * 2**63 - 1) == (30 * WAD, first + second, 2, 2 * 2**63 - 1, False)
        assert buckets.scan(index, 0) == (30 * WAD, first + second, 2, 0, False)
        assert buckets.scan(index, -1).buckets == 3

    def test_an_upper_edge_at_the_threshold_stays_open(self, buckets: Buckets) -> None:
        for number in (-257, -256, -1, 0, 255, 256):
            with buckets.chain.anchor():
                filed(buckets, (63, number))
                edge = Place(63, number).upper_edge
                assert buckets.scan(0, edge).buckets == 0
                assert buckets.scan(0, edge - 1).buckets == 1

    @settings(max_examples=120, deadline=None, phases=UNSHRUNK)
    @given(
        members=st.lists(MEMBERS, max_size=12),
        gone=st.lists(MEMBERS, max_size=3),
        threshold=THRESHOLDS,
        index=st.integers(-(2**85), 2**85),
        max_buckets=st.integers(0, 13),
    )
    def test_sums_what_brute_force_sums(
        self,
        chain: BoaChain,
        contract: Buckets,
        members: list[Member],
        gone: list[Member],
        threshold: int,
        index: int,
        max_buckets: int,
    ) -> None:
        shelf = Shelf()
        with chain.anchor():
            for member in gone + members:
                add(contract, shelf, member)
            for member in gone:
                remove(contract, shelf, member)
            assert contract.scan(index, threshold, max_buckets) == shelf.scan(index, threshold, max_buckets)

    @settings(max_examples=120, deadline=None, phases=UNSHRUNK)
    @given(
        members=st.lists(MEMBERS, max_size=10),
        gone=st.lists(MEMBERS, max_size=3),
        threshold=THRESHOLDS,
        max_buckets=st.integers(1, 11),
        max_words=st.integers(0, 8),
    )
    def test_whatever_the_budget_it_sums_exactly_what_closing_closes(
        self,
        chain: BoaChain,
        contract: Buckets,
        members: list[Member],
        gone: list[Member],
        threshold: int,
        max_buckets: int,
        max_words: int,
    ) -> None:
        shelf = Shelf()
        with chain.anchor():
            for member in gone + members:
                add(contract, shelf, member)
            for member in gone:
                remove(contract, shelf, member)
            scan = contract.scan(0, threshold, max_buckets, max_words)
            assert scan.threshold == threshold if not scan.stopped else scan.threshold > threshold
            assert scan[:3] == shelf.total(0, shelf.above(scan.threshold))
            closed, _ = contract.close(scan.threshold)
            assert closed == shelf.close(scan.threshold)

    def test_a_tie_is_summed_whole_beyond_the_budget(self, buckets: Buckets) -> None:
        # Three levels with one upper edge at 8 * 2**63, and one bucket just under it.
        shelf = filed(buckets, (63, 7), (64, 3), (66, 0), (63, 6))
        scan = buckets.scan(0, 0, max_buckets=1)
        assert scan == (*shelf.total(0, [Place(63, 7), Place(64, 3), Place(66, 0)]), 7 * 2**63, True)

    def test_a_wider_bucket_between_two_of_one_word_comes_before_the_second(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 6), (64, 2), (63, 4))  # ending at 7, 6 and 5 times 2**63
        scan = buckets.scan(0, 0, max_buckets=2)
        assert scan == (*shelf.total(0, [Place(63, 6), Place(64, 2)]), 5 * 2**63, True)

    def test_so_does_the_second_of_three_levels(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (66, 7), (66, 5), (65, 13), (64, 19))  # ending at 64, 48, 56 and 40 times 2**63
        scan = buckets.scan(0, 0, max_buckets=1)
        assert scan == (*shelf.total(0, [Place(66, 7)]), 56 * 2**63, True)

    @pytest.mark.parametrize(("max_buckets", "stopped_at"), [(1, 6), (2, 5), (3, None), (4, None)])
    def test_buckets_end_the_budget_at_the_first_one_left(
        self, buckets: Buckets, max_buckets: int, stopped_at: int | None
    ) -> None:
        filed(buckets, (63, 6), (63, 5), (63, 4))
        scan = buckets.scan(0, 0, max_buckets)
        edge = 0 if stopped_at is None else stopped_at * 2**63
        assert (scan.buckets, scan.threshold, scan.stopped) == (min(max_buckets, 3), edge, stopped_at is not None)

    def test_a_budget_that_just_suffices_does_not_stop(self, buckets: Buckets) -> None:
        # The fourth bucket is not above the threshold, so nothing is left to stop for.
        filed(buckets, (63, 6), (63, 5), (63, 4), (63, -1))
        assert buckets.scan(0, 0, max_buckets=3).stopped is False

    @pytest.mark.parametrize(
        ("max_words", "found", "edge"),
        [
            (0, 1, 768),  # bucket 1000 is found where the scan starts; the rest of its word is empty
            (1, 1, 512),  # word 2 looked at in vain
            (2, 1, 256),  # word 1
            (3, 2, None),  # word 0: a look to find bucket 0
        ],
    )
    def test_words_end_the_budget_at_a_word_border(
        self, buckets: Buckets, max_words: int, found: int, edge: int | None
    ) -> None:
        filed(buckets, (63, 1000), (63, 0))
        scan = buckets.scan(0, 0, max_words=max_words)
        threshold = 0 if edge is None else edge * 2**63
        assert (scan.buckets, scan.threshold, scan.stopped) == (found, threshold, edge is not None)

    @pytest.mark.parametrize(
        ("numbers", "words"),
        [
            ((), 0),
            ((1000,), 3),  # nothing under it down to 0: words 2, 1 and 0
            ((1000, 0), 3),  # word 0 holds one, and a look finds it
            ((1000, 255), 2),  # the highest of word 0 stands where the cursor arrives
            ((1000, 999, 800, 255, 0), 2),  # what shares a word with one found costs nothing
            ((1000, 600), 3),  # one look finds 600 in word 2; then words 1 and 0
        ],
    )
    def test_words_are_counted(self, buckets: Buckets, numbers: tuple[int, ...], words: int) -> None:
        filed(buckets, *((63, number) for number in numbers))
        assert buckets.scan_and_words(0, 0)[1] == words

    def test_a_look_is_counted_once_it_is_paid_for(self, buckets: Buckets) -> None:
        """A stopped scan says what it spent: the budget, and the last word it could not afford is none of it."""
        filed(buckets, (63, 1000), (63, 0))
        assert [buckets.scan_and_words(0, 0, max_words=budget)[1] for budget in (0, 1, 2, 3, 4)] == [0, 1, 2, 3, 3]

    @settings(max_examples=60, deadline=None, phases=UNSHRUNK)
    @given(
        members=st.lists(MEMBERS, max_size=8),
        gone=st.lists(MEMBERS, max_size=3),
        threshold=THRESHOLDS,
        max_buckets=st.integers(1, 9),
    )
    @example(  # the fifth bucket and a look lie at one edge: buckets run out there if words do not
        members=[Member(Place(*place), 10**9, WAD) for place in ((66, 64), (71, 0), (64, 127), (64, 1), (66, -1))],
        gone=[],
        threshold=-(2**72),
        max_buckets=4,
    )
    def test_the_words_it_counted_are_the_budget_it_needs(
        self,
        chain: BoaChain,
        contract: Buckets,
        members: list[Member],
        gone: list[Member],
        threshold: int,
        max_buckets: int,
    ) -> None:
        shelf = Shelf()
        with chain.anchor():
            for member in gone + members:
                add(contract, shelf, member)
            for member in gone:
                remove(contract, shelf, member)
            free, words = contract.scan_and_words(0, threshold, max_buckets)
            assert contract.scan_and_words(0, threshold, max_buckets, max_words=words) == (free, words)
            if words:
                short, spent = contract.scan_and_words(0, threshold, max_buckets, max_words=words - 1)
                # One less does not do, but for a look that a tie is owed, or one at the edge where buckets run out.
                assert (
                    (short.threshold > free.threshold and spent == words - 1)
                    or (short, spent) == (free, words)
                    or (free.stopped and (short, spent) == (free, words - 1))
                )

    def test_finding_the_next_bucket_of_a_word_costs_no_look(self, buckets: Buckets) -> None:
        filed(buckets, (63, 255), (63, 100), (63, 0))
        scan = buckets.scan(0, 0, max_words=0)
        assert (scan.buckets, scan.stopped) == (3, False)

    @pytest.mark.parametrize("highest", range(248, 256))
    @pytest.mark.parametrize("distance", range(1, 7))
    def test_the_next_bucket_at_the_upper_end_of_a_word(self, buckets: Buckets, highest: int, distance: int) -> None:
        shelf = filed(buckets, (63, highest), (63, highest - distance), (63, 3))
        for budget in (1, 2, 3):
            places = sorted(shelf.sums, reverse=True)[:budget]
            assert buckets.scan(0, 0, max_buckets=budget)[:3] == shelf.total(0, places)

    def test_a_stale_top_costs_a_look_if_it_is_of_another_word(self, buckets: Buckets) -> None:
        shelf, far, near = Shelf(), Member(Place(63, 300), 1, 1), Member(Place(63, 200), 1, 1)
        add(buckets, shelf, Member(Place(63, 100), 1, 1))
        for gone in (near, far):
            add(buckets, shelf, gone)
            remove(buckets, shelf, gone)
            if gone is near:
                assert buckets.scan(0, 0, max_words=0).buckets == 1
        assert buckets.scan(0, 0, max_words=0) == (0, 0, 0, 256 * 2**63, True)
        assert buckets.scan(0, 0, max_words=1).buckets == 1

    def test_words_that_run_out_at_a_tie_leave_nothing_half_done(self, buckets: Buckets) -> None:
        """A bucket whose upper edge is where the words run out must be summed and closed, or neither.

        Level 71's bucket 0 ends at 256 * 2**63, where the walk down level 63 enters an empty stretch: after bucket 300
        the cursor of level 63 stands at 255, upper edge 256 * 2**63 too, and to look on costs a word.
        """
        shelf = filed(buckets, (71, 0), (63, 300), (63, -3))
        scan = buckets.scan(0, -(2**66), max_words=0)
        assert scan.stopped
        closed, _ = buckets.close(scan.threshold)
        assert scan.shares == sum(shares for shares, _ in closed.values())
        assert scan[:3] == shelf.total(0, closed)


class TestCeiling:
    """A preview of two moves: what the first has closed is still in storage, and the second must not see it."""

    def test_leaves_out_exactly_what_ends_above(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 7), (64, 3), (63, 6), (64, 2), (63, 5))  # edges 8, 8, 7, 6 and 6 of 2**63
        for ceiling in (9 * 2**63, 8 * 2**63, 8 * 2**63 - 1, 7 * 2**63, 7 * 2**63 - 1, 6 * 2**63, 6 * 2**63 - 1, 0):
            scan, _ = buckets.scan_and_words(0, 0, ceiling=ceiling)
            assert scan == shelf.below(ceiling).scan(0, 0, UNLIMITED)
        assert scan == (0, 0, 0, 0, False)

    def test_one_at_the_ceiling_counts_and_one_a_unit_above_it_does_not(self, buckets: Buckets) -> None:
        filed(buckets, (63, 7))
        assert buckets.scan_and_words(0, 0, ceiling=8 * 2**63)[0].buckets == 1
        assert buckets.scan_and_words(0, 0, ceiling=8 * 2**63 - 1)[0].buckets == 0

    def test_what_it_leaves_out_costs_no_budget(self, buckets: Buckets) -> None:
        filed(buckets, (63, 7), (63, 6), (63, 5), (63, 4))
        scan, words = buckets.scan_and_words(0, 0, max_buckets=2, max_words=0, ceiling=6 * 2**63)
        assert (scan.buckets, scan.stopped, words) == (2, False, 0)

    def test_it_may_lie_within_a_word_or_far_above_all(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 300), (63, 290), (63, 10), (66, 30), (71, 0))
        for ceiling in (NO_CEILING, 301 * 2**63, 295 * 2**63, 256 * 2**63, 255 * 2**63, -1, -NO_CEILING):
            assert buckets.scan_and_words(0, BOTTOM, ceiling=ceiling)[0] == shelf.below(ceiling).scan(
                0, BOTTOM, UNLIMITED
            )

    @settings(max_examples=80, deadline=None, phases=UNSHRUNK)
    @given(
        members=st.lists(MEMBERS, max_size=10),
        threshold=THRESHOLDS,
        ceiling=THRESHOLDS,
        index=st.integers(-(2**85), 2**85),
        max_buckets=st.integers(0, 11),
    )
    def test_sums_what_brute_force_sums_of_the_rest(
        self,
        chain: BoaChain,
        contract: Buckets,
        members: list[Member],
        threshold: int,
        ceiling: int,
        index: int,
        max_buckets: int,
    ) -> None:
        shelf = Shelf()
        with chain.anchor():
            for member in members:
                add(contract, shelf, member)
            scan, _ = contract.scan_and_words(index, threshold, max_buckets, ceiling=ceiling)
            assert scan == shelf.below(ceiling).scan(index, threshold, max_buckets)

    @settings(max_examples=40, deadline=None, phases=UNSHRUNK)
    @given(members=st.lists(MEMBERS, max_size=10), first=THRESHOLDS, second=THRESHOLDS)
    def test_is_what_closing_would_have_left(
        self, chain: BoaChain, contract: Buckets, members: list[Member], first: int, second: int
    ) -> None:
        """Scanning under a ceiling, and scanning after closing what lies above it, is the same."""
        shelf = Shelf()
        with chain.anchor():
            for member in members:
                add(contract, shelf, member)
            foreseen, _ = contract.scan_and_words(0, second, ceiling=first)
            contract.close(first)
            assert contract.scan(0, second) == foreseen


class TestClose:
    @settings(max_examples=60, deadline=None, phases=UNSHRUNK)
    @given(members=st.lists(MEMBERS, min_size=1, max_size=12), thresholds=st.lists(THRESHOLDS, min_size=1, max_size=3))
    def test_empties_exactly_what_lies_above(
        self, chain: BoaChain, contract: Buckets, members: list[Member], thresholds: list[int]
    ) -> None:
        shelf, touched = Shelf(), {member.place for member in members}
        with chain.anchor():
            for member in members:
                add(contract, shelf, member)
            for threshold in thresholds:
                bound = close(contract, shelf, threshold)
                check(contract, shelf, touched)
                assert contract.scan(0, threshold) == Scan(0, 0, 0, threshold, False)
                live = [place.upper_edge for place in shelf.sums]
                assert max(live) <= bound <= threshold if live else bound == NO_TOP

    def test_a_whole_word_at_once(self, buckets: Buckets) -> None:
        shelf = filed(buckets, *((63, number) for number in range(256)))
        close(buckets, shelf, 0)
        check(buckets, shelf, [Place(63, number) for number in range(256)])
        assert not shelf.members

    def test_raises_the_generation_of_what_it_closed_alone(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 1), (63, 0), (64, 0), (64, -1))
        close(buckets, shelf, 0)
        close(buckets, shelf, 0)  # nothing left above: nothing closes twice
        generations = [buckets.read("generation", BOOK, (*place, 0)) for place in [(63, 1), (63, 0), (64, 0), (64, -1)]]
        assert generations == [1, 1, 1, 0]

    def test_a_bucket_serves_again_under_its_new_generation(self, buckets: Buckets) -> None:
        shelf, member = Shelf(), Member(Place(63, 3), 5, 100)
        for closings in range(3):
            add(buckets, shelf, member)
            assert buckets.read("filed_under") == closings
            close(buckets, shelf, 0)
        assert buckets.read("bucket", BOOK, *member.place) == (0, 0, 3)

    def test_the_bound_is_exact_within_the_word_it_stopped_in(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 200), (63, 150), (63, 3))
        assert close(buckets, shelf, 160 * 2**63) == 151 * 2**63

    def test_the_bound_is_the_border_of_the_word_it_stopped_in_at_worst(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 700), (63, 3))
        assert close(buckets, shelf, 600 * 2**63) == 512 * 2**63

    def test_the_bound_is_the_highest_of_all_levels(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 200), (63, 100), (66, 20), (66, 5), (71, 0), (71, -3))
        assert close(buckets, shelf, 150 * 2**63) == 101 * 2**63  # against 48 * 2**63 and -512 * 2**63

    def test_no_bound_is_left_when_nothing_is_left(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (63, 200), (64, -7), (71, 0))
        assert close(buckets, shelf, BOTTOM) == NO_TOP
        assert buckets.read("live_levels", BOOK) == 0

    def test_a_level_that_is_empty_is_left_at_once(self, buckets: Buckets) -> None:
        """More words lie between it and this threshold than any gas pays for."""
        shelf = filed(buckets, (63, 200), (63, -200), (64, -7))
        assert close(buckets, shelf, -(2**150)) == NO_TOP

    def test_logs_negative_buckets_by_their_twos_complement(self, buckets: Buckets) -> None:
        shelf = filed(buckets, (133, -1), (63, -(2**20)))
        logs = buckets.send("close", BOOK, -(2**83) - 1)
        names = {log.fields["bucket_id"] for log in logs}
        assert names == {(BOOK << 136) + (133 << 128) + 2**128 - 1, (BOOK << 136) + (63 << 128) + 2**128 - 2**20}
        assert {decoded(log) for log in logs} == set(shelf.sums)

    def test_a_whole_word_closes_at_once(self, buckets: Buckets) -> None:
        shelf = filed(buckets, *((63, number) for number in (-256, -255, -2, -1)))
        assert buckets.read("bitmap", BOOK, 63, -1) == 0b11 + (0b11 << 254)
        close(buckets, shelf, -256 * 2**63)
        assert buckets.read("bitmap", BOOK, 63, -1) == 0


def test_a_word_a_level_is_enough_to_get_lower(buckets: Buckets) -> None:
    """Both levels stand at the border 0 after the first call, and to step under it costs each of them a word.

    With one word a call the scan would stop at that edge for ever: why `parameters` demands one for every level.
    """
    filed(buckets, (63, 1), (64, 1), (63, -300), (64, -300))
    found = []
    for words in (1, 2):
        with buckets.chain.anchor():
            for _ in range(5):
                threshold = buckets.scan(0, -200 * 2**63, 2, words).threshold
                buckets.close(threshold)
        found.append(threshold)
    assert found == [0, -200 * 2**63]


@settings(max_examples=40, deadline=None, phases=UNSHRUNK)
@given(members=st.lists(MEMBERS, min_size=1, max_size=10), threshold=THRESHOLDS)
def test_many_small_scans_close_what_one_large_scan_does(
    chain: BoaChain, contract: Buckets, members: list[Member], threshold: int
) -> None:
    """One bucket and as many words as there are levels: every round gets lower."""
    shelf = Shelf()
    with chain.anchor():
        for member in members:
            add(contract, shelf, member)
        wanted, closed, last = shelf.above(threshold), set(), 2**90
        while last > threshold:
            scan = contract.scan(0, threshold, 1, 4)
            assert scan.threshold < last
            last = scan.threshold
            closed |= set(contract.close(last)[0])
        assert closed == wanted
