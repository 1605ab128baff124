"""The oracle: what a market must not trade on is refused by its own name, and the last good answer before it is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain
from prorata.chain import Reverted
from prorata.embedded import EmbeddedContract

STALENESS = 3600
LOWEST, HIGHEST = 2**30, 2**80 - 1
DECIMALS = (0, 6, 8, 18)

SOURCE = """
from modules import oracle

initializes: oracle

@deploy
def __init__(feed: address, max_staleness: uint256):
    oracle.__init__(feed, max_staleness)

@external
@view
def read() -> uint256:
    return oracle._read()
"""


@dataclass(frozen=True)
class Feed:
    """A mock aggregator and an oracle that reads it."""

    chain: BoaChain
    aggregator: EmbeddedContract
    oracle: EmbeddedContract

    def publish(self, answer: int, age: int = 0, round_id: int = 7, answered_in: int = 7) -> None:
        """A round that is `age` seconds old when it is read next."""
        updated_at = self.chain.now + 1 - age  # mining takes a second
        self.publish_at(answer, updated_at, round_id, answered_in)

    def publish_at(self, answer: int, updated_at: int, round_id: int = 7, answered_in: int = 7) -> None:
        self.chain.transact(self.aggregator, "set_round", round_id, answer, updated_at, answered_in, sender=0)

    def price(self) -> int:
        return int(self.chain.call(self.oracle, "read"))


@pytest.fixture(scope="module")
def feeds(chain: BoaChain) -> dict[int, Feed]:
    """One feed for each number of decimals."""

    def deployed(decimals: int) -> Feed:
        aggregator = chain.deploy("MockAggregator", decimals, 1)
        return Feed(chain, aggregator, chain.deploy_source(SOURCE, aggregator.address, STALENESS))

    return {decimals: deployed(decimals) for decimals in DECIMALS}


@pytest.fixture
def feed(chain: BoaChain, feeds: dict[int, Feed]) -> Any:
    """The feed of 18 decimals, as it was deployed."""
    with chain.anchor():
        yield feeds[18]


Refuses = Callable[[str], AbstractContextManager[Any]]


class TestRefusals:
    @pytest.mark.parametrize("answer", [0, -1, -(10**18), -(2**255)])
    def test_non_positive(self, feed: Feed, refuses: Refuses, answer: int) -> None:
        feed.publish(answer)
        with refuses("oracle: non-positive answer"):
            feed.price()

    def test_a_round_that_was_never_updated(self, feed: Feed, refuses: Refuses) -> None:
        feed.publish_at(10**18, updated_at=0)
        with refuses("oracle: incomplete round"):
            feed.price()

    def test_an_answer_carried_over_from_an_earlier_round(self, feed: Feed, refuses: Refuses) -> None:
        feed.publish(10**18, round_id=2**80 - 1, answered_in=2**80 - 2)
        with refuses("oracle: incomplete round"):
            feed.price()

    def test_future_dated(self, feed: Feed, refuses: Refuses) -> None:
        feed.publish(10**18, age=-1)
        with refuses("oracle: future-dated"):
            feed.price()

    def test_stale(self, feed: Feed, refuses: Refuses) -> None:
        feed.publish(10**18, age=STALENESS + 1)
        with refuses("oracle: stale"):
            feed.price()

    def test_an_answer_goes_stale_on_the_second(self, feed: Feed, refuses: Refuses) -> None:
        feed.publish(10**18)
        feed.chain.advance(STALENESS)
        assert feed.price() == 10**18
        feed.chain.advance(1)
        with refuses("oracle: stale"):
            feed.price()

    @pytest.mark.parametrize("answer", [LOWEST - 1, HIGHEST + 1])
    def test_out_of_range(self, feed: Feed, refuses: Refuses, answer: int) -> None:
        feed.publish(answer)
        with refuses("oracle: price out of range"):
            feed.price()

    @pytest.mark.parametrize("decimals", DECIMALS)
    @pytest.mark.parametrize("answer", [2**255 - 1, 2**254, 2**200, 2**81])
    def test_an_absurd_answer_is_refused_by_name(
        self, chain: BoaChain, feeds: dict[int, Feed], refuses: Refuses, decimals: int, answer: int
    ) -> None:
        with chain.anchor():
            feeds[decimals].publish(answer)
            with refuses("oracle: price out of range"):
                feeds[decimals].price()


class TestAccepts:
    def test_an_answer_of_this_second(self, feed: Feed) -> None:
        feed.publish(10**18, age=0)
        assert feed.price() == 10**18

    def test_an_answer_exactly_as_old_as_allowed(self, feed: Feed) -> None:
        feed.publish(10**18, age=STALENESS)
        assert feed.price() == 10**18

    @pytest.mark.parametrize(("round_id", "answered_in"), [(7, 7), (7, 8), (0, 0)])
    def test_a_complete_round(self, feed: Feed, round_id: int, answered_in: int) -> None:
        feed.publish(10**18, round_id=round_id, answered_in=answered_in)
        assert feed.price() == 10**18

    @pytest.mark.parametrize("answer", [LOWEST, HIGHEST])
    def test_both_ends_of_the_range(self, feed: Feed, answer: int) -> None:
        feed.publish(answer)
        assert feed.price() == answer


class TestDecimals:
    @pytest.mark.parametrize(
        ("decimals", "answer", "price"),
        [
            (18, 1234567890123456789, 1234567890123456789),
            (8, 123, 1_230_000_000_000),
            (6, 123, 123 * 10**12),
            (0, 3, 3 * 10**18),
        ],
    )
    def test_prices_have_18_digits(
        self, chain: BoaChain, feeds: dict[int, Feed], decimals: int, answer: int, price: int
    ) -> None:
        with chain.anchor():
            feeds[decimals].publish(answer)
            assert feeds[decimals].price() == price

    @pytest.mark.parametrize("decimals", DECIMALS)
    def test_the_highest_answer_of_a_feed(
        self, chain: BoaChain, feeds: dict[int, Feed], refuses: Refuses, decimals: int
    ) -> None:
        highest = HIGHEST // 10 ** (18 - decimals)
        with chain.anchor():
            feeds[decimals].publish(highest)
            assert feeds[decimals].price() == highest * 10 ** (18 - decimals)
            feeds[decimals].publish(highest + 1)
            with refuses("oracle: price out of range"):
                feeds[decimals].price()

    @pytest.mark.parametrize("decimals", [19, 77, 255])
    def test_a_feed_with_more_than_18_is_refused_at_deployment(self, chain: BoaChain, decimals: int) -> None:
        with chain.anchor():
            aggregator = chain.deploy("MockAggregator", decimals, 1)
            with pytest.raises(Reverted):
                chain.deploy_source(SOURCE, aggregator.address, STALENESS)


class TestDeployment:
    def test_refuses_a_staleness_of_zero(self, chain: BoaChain, feed: Feed, refuses: Refuses) -> None:
        with refuses("parameters: staleness is zero"):
            chain.deploy_source(SOURCE, feed.aggregator.address, 0)

    def test_a_staleness_of_one_second_is_enough(self, chain: BoaChain, feed: Feed, refuses: Refuses) -> None:
        strict = Feed(chain, feed.aggregator, chain.deploy_source(SOURCE, feed.aggregator.address, 1))
        strict.publish(10**18, age=1)
        assert strict.price() == 10**18
        strict.publish(10**18, age=2)
        with refuses("oracle: stale"):
            strict.price()

    def test_refuses_an_address_without_a_feed(self, chain: BoaChain, refuses: Refuses) -> None:
        with chain.anchor(), refuses(""):
            chain.deploy_source(SOURCE, chain.address(1), STALENESS)


@settings(max_examples=150, deadline=None)
@given(
    decimals=st.sampled_from(DECIMALS),
    answer=st.integers(-(2**255), 2**255 - 1) | st.integers(-2, 2**84) | st.integers(-2, 2**31),
    age=st.integers(-2, STALENESS + 2) | st.sampled_from([STALENESS, STALENESS + 1]),
    answered_in=st.integers(6, 8),
)
def test_any_round(
    chain: BoaChain, feeds: dict[int, Feed], decimals: int, answer: int, age: int, answered_in: int
) -> None:
    scaled = answer * 10 ** (18 - decimals)
    good = answered_in >= 7 and 0 <= age <= STALENESS and LOWEST <= scaled <= HIGHEST
    with chain.anchor():
        feeds[decimals].publish(answer, age=age, answered_in=answered_in)
        if good:
            assert feeds[decimals].price() == scaled
        else:
            with pytest.raises(Reverted, match=r"^oracle: "):
                feeds[decimals].price()
