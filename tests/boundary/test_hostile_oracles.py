"""Price feeds that break, lie about their form, burn or fall silent: an answer is used or refused, and while it is
refused everything that needs no price goes on, nothing that needs one does, and in the end everybody leaves without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyrevm
import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.units import MAX_PRICE, MIN_PRICE, WAD
from tests.boundary.surface import NO_PREVIEW, RESERVED, endow, surface
from tests.boundary.world import (
    COOLDOWN,
    DEPOSITOR,
    GRACE,
    GUARDIAN,
    KEEPER,
    MAKER,
    MARK,
    SITUATIONS,
    STRANGER,
    TAKER,
    TRADER,
    VICTIM,
    HostileChain,
    chain_of,
    close_all,
    everybody_leaves,
    index_of,
    open_market,
    outcome,
    populate,
    refused,
    storage,
    take_all,
)

STALENESS = 3600
#: A feed that does as it is told, and is an honest one of DIGITS decimals until then. It is told 18 digits.
FEED = """
# pragma version 0.4.3
UNIT: constant(int256) = 10 ** (18 - DIGITS)

decimals: public(uint8)
round_id: uint80
answer: int256
updated_at: uint256
answered_in: uint80
raw: Bytes[256]
is_raw: bool
manner: uint256

@deploy
def __init__(decimals_: uint8, answer: int256):
    self.decimals = DIGITS
    self.answer = answer // UNIT
    self.updated_at = block.timestamp

@external
def set_answer(answer: int256):
    self.answer = answer // UNIT
    self.updated_at = block.timestamp
    self.round_id += 1
    self.answered_in = self.round_id
    self.is_raw = False
    self.manner = 0

@external
def set_round(round_id: uint80, answer: int256, updated_at: uint256, answered_in: uint80):
    self.round_id = round_id
    self.answer = answer
    self.updated_at = updated_at
    self.answered_in = answered_in

@external
def upgrade(decimals_: uint8):
    self.decimals = decimals_

@external
def say(raw: Bytes[256]):
    self.raw = raw
    self.is_raw = True

@external
def behave(manner: uint256):
    self.manner = manner

@external
@view
@raw_return
def latestRoundData() -> Bytes[256]:
    if self.manner == 1:
        raise "feed: out of order"
    if self.manner == 2:
        raise  # says nothing
    if self.manner == 3:
        assert self.manner == 1, UNREACHABLE  # takes all the gas there is
    if self.is_raw:
        return self.raw
    return abi_encode(self.round_id, self.answer, self.updated_at, self.updated_at, self.answered_in)
"""
#: Says what it is told of its decimals, and nothing else.
TALKER = """
# pragma version 0.4.3
answer: Bytes[64]

@deploy
def __init__(answer: Bytes[64]):
    self.answer = answer

@external
@view
@raw_return
def decimals() -> Bytes[64]:
    return self.answer
"""
#: Code that returns or reverts with a million zeros: PUSH4 length, PUSH0, then RETURN or REVERT.
BOMB = bytes.fromhex("63000f42405f")


def words(*values: int) -> bytes:
    return b"".join((value % 2**256).to_bytes(32, "big") for value in values)


def sick(digits: int = 18, situation: str = "at rest", **parameters: Any) -> Exchange:
    """A populated market whose feed takes orders."""
    chain = HostileChain(MockAggregator=FEED.replace("DIGITS", str(digits)))
    exchange = populate(open_market(chain, max_staleness=STALENESS, **parameters))
    SITUATIONS[situation].prepare(exchange)
    return exchange


def tell(exchange: Exchange, order: str, *arguments: Any) -> None:
    """An order to the feed."""
    chain = chain_of(exchange)
    chain.transact(chain.hostile["MockAggregator"], order, *arguments, sender=0)


def say_round(exchange: Exchange, answer: int, age: int = 0, round_id: int = 9, answered_in: int = 9) -> None:
    """A round that is so old when the next transaction reads it."""
    tell(exchange, "set_round", round_id, answer, exchange.chain.now + 2 - age, answered_in)


def say_raw(exchange: Exchange, data: bytes) -> None:
    tell(exchange, "say", data)


def replace_code(exchange: Exchange, code: bytes) -> None:
    """As an upgrade of a proxy would, or its end."""
    chain_of(exchange)._evm.insert_account_info(exchange.feed.address, pyrevm.AccountInfo(code=code))


def good_words(exchange: Exchange) -> tuple[int, int, int, int, int]:
    return 9, MARK, exchange.chain.now, exchange.chain.now, 9


Break = Callable[[Exchange], None]
FAR = 10**7
#: How a feed can be dead, and what is said of it; what has no name is said by nobody, so neither is it here.
DEAD: dict[str, tuple[Break, str]] = {
    "zero": (lambda x: say_round(x, 0), "oracle: non-positive answer"),
    "minus one": (lambda x: say_round(x, -1), "oracle: non-positive answer"),
    "the least int256": (lambda x: say_round(x, -(2**255)), "oracle: non-positive answer"),
    "the largest int256": (lambda x: say_round(x, 2**255 - 1), "oracle: price out of range"),
    "a unit above the range": (lambda x: say_round(x, MAX_PRICE + 1), "oracle: price out of range"),
    "a unit below the range": (lambda x: say_round(x, MIN_PRICE - 1), "oracle: price out of range"),
    "one": (lambda x: say_round(x, 1), "oracle: price out of range"),
    "of an earlier round": (lambda x: say_round(x, MARK, answered_in=8), "oracle: incomplete round"),
    "of the round before the last there can be": (
        lambda x: say_round(x, MARK, round_id=2**80 - 1, answered_in=2**80 - 2),
        "oracle: incomplete round",
    ),
    "never updated": (lambda x: tell(x, "set_round", 9, MARK, 0, 9), "oracle: incomplete round"),
    "of the future": (lambda x: say_round(x, MARK, age=-FAR), "oracle: future-dated"),
    "of the last second there can be": (
        lambda x: say_raw(x, words(9, MARK, 0, 2**256 - 1, 9)),
        "oracle: future-dated",
    ),
    "stale by a second": (lambda x: say_round(x, MARK, age=STALENESS + 1), "oracle: stale"),
    "of the first second there was": (lambda x: tell(x, "set_round", 9, MARK, 1, 9), "oracle: stale"),
    "all wrong at once": (lambda x: say_raw(x, words(9, 0, 0, 0, 0)), "oracle: non-positive answer"),
    "no data": (lambda x: say_raw(x, b""), ""),
    "a byte": (lambda x: say_raw(x, b"\x01"), ""),
    "a word": (lambda x: say_raw(x, words(MARK)), ""),
    "a byte too few": (lambda x: say_raw(x, words(*good_words(x))[:-1]), ""),
    "a round id of more than 80 bits": (lambda x: say_raw(x, words(2**80, *good_words(x)[1:])), ""),
    "answered in a round of more than 80 bits": (lambda x: say_raw(x, words(*good_words(x)[:-1], 2**80)), ""),
    "all bits": (lambda x: say_raw(x, b"\xff" * 256), ""),
    "a revert": (lambda x: tell(x, "behave", 1), "feed: out of order"),
    "a revert without a reason": (lambda x: tell(x, "behave", 2), ""),
    "all gas": (lambda x: tell(x, "behave", 3), ""),
    "a million zeros": (lambda x: replace_code(x, BOMB + b"\xf3"), "oracle: non-positive answer"),
    "a revert with a million zeros": (lambda x: replace_code(x, BOMB + b"\xfd"), ""),
    "no code": (lambda x: replace_code(x, b""), ""),
}
#: What needs no price, by whoever it is for.
FREE = {
    "market.deposit",
    "market.withdraw",  # the caller is flat
    "market.cancel",
    "market.cancel_all",
    "market.set_reduce_only",
    "market.wind_down",
    "vault.cancel_redeem_request",
    "vault.transfer",
    "vault.transferFrom",
    "vault.approve",
    "vault.permit",
    "vault.setOperator",
}
#: Views that need one; all others answer.
PRICED_VIEWS = {"market.index_price", "vault.previewDeposit", "vault.previewMint"}


class TestDead:
    @pytest.mark.parametrize("death", DEAD)
    def test_what_needs_no_price_goes_on_and_nothing_else_does(self, death: str) -> None:
        """Every function of the ABI, by somebody who is flat, the guardian, and a holder of shares in their window."""
        kill, reason = DEAD[death]
        exchange = sick()
        chain = chain_of(exchange)
        me = chain.address(GUARDIAN)
        exchange.deposit(GUARDIAN, 100 * WAD)
        endow(exchange, me)
        exchange.request_redeem(GUARDIAN, 10**22)
        chain.advance(COOLDOWN)
        functions = surface(exchange, me, exchange.order(GUARDIAN, True, WAD, MARK))
        kill(exchange)
        chain.advance(1)
        ends = {}
        for name, function in functions.items():
            with chain.anchor():
                call = partial(chain._run, me, function.contract.address, function.payload, not function.is_view)
                ends[name] = outcome(call)
        expected = {
            name: "done" if name in FREE or (function.is_view and name not in PRICED_VIEWS) else reason
            for name, function in functions.items()
        }
        assert ends == expected | RESERVED | NO_PREVIEW

    @pytest.mark.parametrize("death", DEAD)
    def test_whoever_holds_a_position_waits_and_then_leaves_without_it(self, death: str) -> None:
        """Refused without a trace, until the market is closed; then all are flat and take what is theirs, and the
        vault's depositors with them, while the feed is as dead as ever."""
        kill, reason = DEAD[death]
        exchange = sick()
        chain = chain_of(exchange)
        kill(exchange)
        order = exchange.order(MAKER, False, WAD, MARK)
        fill = (TAKER, order, exchange.sign(MAKER, order), WAD)
        with refused(chain, reason):
            exchange.withdraw(MAKER, WAD)
        before = storage(chain)
        for act in (
            partial(exchange.settle),
            partial(exchange.take, *fill),
            partial(exchange.take_batch, TAKER, [fill[1:]]),
            partial(exchange.take_batch, TAKER, []),
            partial(exchange.liquidate, KEEPER, VICTIM),
            partial(exchange.insure, DEPOSITOR, WAD),
            partial(exchange.redeem, DEPOSITOR, 1),
        ):
            assert outcome(act) == reason
        assert storage(chain) == before
        exchange.deposit(MAKER, WAD)
        exchange.withdraw(TRADER, WAD)
        assert exchange.mode == "active"  # as it was when there was last a price

        exchange.wind_down(STRANGER)
        with refused(chain, "mode: oracle grace"):
            exchange.wind_down(STRANGER)
        chain.advance(GRACE)
        exchange.wind_down(STRANGER)
        exchange.settle()
        assert exchange.mode == "closed"
        take_all(exchange)


class TestAlive:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(lambda x: words(*good_words(x)), id="five words"),
            pytest.param(lambda x: words(*good_words(x)) + b"\xff", id="a byte more"),
            pytest.param(lambda x: words(*good_words(x)) + b"\xff" * 96, id="three words more"),
            pytest.param(lambda x: words(9, MARK, 2**256 - 1, x.chain.now, 9), id="began at no time"),
            pytest.param(lambda x: words(0, MARK, 0, x.chain.now, 0), id="round zero"),
            pytest.param(lambda x: words(2**80 - 1, MARK, 0, x.chain.now, 2**80 - 1), id="the last round"),
            pytest.param(lambda x: words(1, MARK, 0, x.chain.now, 2**80 - 1), id="answered in a later round"),
        ],
    )
    def test_a_complete_answer_is_used_whatever_is_beside_it(self, data: Callable[[Exchange], bytes]) -> None:
        exchange = sick()
        say_raw(exchange, data(exchange))
        with refused(chain_of(exchange), "mode: oracle is alive"):
            exchange.wind_down()
        exchange.trade(MAKER, TAKER, True, WAD, MARK)
        exchange.withdraw(MAKER, WAD)
        exchange.set_price(MARK)
        everybody_leaves(exchange)

    @pytest.mark.parametrize(("age", "reason"), [(0, "done"), (-1, "oracle: future-dated"), (1, "done")])
    def test_from_this_second(self, age: int, reason: str) -> None:
        exchange = sick()
        say_round(exchange, MARK + WAD, age)
        assert outcome(exchange.settle) == reason
        assert exchange.mark == (MARK + WAD if reason == "done" else MARK)

    @pytest.mark.parametrize(("age", "reason"), [(STALENESS, "done"), (STALENESS + 1, "oracle: stale")])
    def test_to_its_last_second(self, age: int, reason: str) -> None:
        exchange = sick()
        say_round(exchange, MARK + WAD, age)
        assert outcome(exchange.settle) == reason
        assert exchange.mark == (MARK + WAD if reason == "done" else MARK)

    @pytest.mark.parametrize("price", [MIN_PRICE, MAX_PRICE])
    def test_from_end_to_end_of_its_range(self, price: int) -> None:
        """In steps of half the mark; those who can pay are closed or gain, and everybody leaves."""
        exchange = sick()
        say_round(exchange, price)
        while exchange.mark != price:
            say_round(exchange, price)
            exchange.settle()
        assert exchange.mode == "active"
        say_round(exchange, price)
        close_all(exchange)
        take_all(exchange)


class TestDecimals:
    @pytest.mark.parametrize("digits", [0, 8])
    @pytest.mark.parametrize("situation", SITUATIONS)
    def test_every_move_at_prices_of_few_decimals(self, situation: str, digits: int) -> None:
        for move in SITUATIONS[situation].moves:
            exchange = sick(digits, situation)
            assert exchange.mark == MARK
            assert outcome(partial(move.make, exchange)) == "done"
            exchange.settle()
            assert exchange.mark == index_of(exchange) * 10 ** (18 - digits)
            close_all(exchange)
            take_all(exchange)

    @pytest.mark.parametrize("decimals", [0, 6, 19, 255])
    def test_a_feed_that_changes_them_is_read_as_it_was_deployed(self, decimals: int) -> None:
        """A scale of the past: prices jump by powers of ten, and the market follows within its steps and range."""
        exchange = sick(8)
        tell(exchange, "upgrade", decimals)
        exchange.settle()
        assert exchange.mark == MARK
        tell(exchange, "set_round", 9, MARK, exchange.chain.now, 9)  # 18 digits read as 8
        with refused(chain_of(exchange), "oracle: price out of range"):
            exchange.settle()
        exchange.set_price(MARK)
        close_all(exchange)
        take_all(exchange)

    @pytest.mark.parametrize("decimals", [19, 27, 77, 78, 255])
    def test_more_than_18_are_refused_when_the_market_is_deployed(self, decimals: int) -> None:
        """By arithmetic: there is no name for it."""
        chain = HostileChain()
        feed = chain.deploy("MockAggregator", decimals, MARK)
        assert outcome(partial(chain.deploy, "TradingLogic", feed.address, MarketParameters().as_tuple())) == ""

    @pytest.mark.parametrize(
        "answer", [b"", b"\x08", words(256), words(2**255)], ids=["nothing", "a byte", "256", "2**255"]
    )
    def test_what_is_no_number_of_decimals_is_refused(self, answer: bytes) -> None:
        chain = HostileChain()
        feed = chain.deploy_source(TALKER, answer)
        with pytest.raises(Reverted, match=r"^$"):
            chain.deploy("TradingLogic", feed.address, MarketParameters().as_tuple())
