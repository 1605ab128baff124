"""Modes: who may shut what, what trips the market, how it ends when its oracle is dead. Everybody always gets out."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import pytest
from eth.vm import opcode_values
from eth_utils.address import to_checksum_address

from prorata.boa_chain import BoaChain
from prorata.chain import Reverted, Transaction
from prorata.exchange import Exchange
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.storage import slots_of
from prorata.twin import MAX_DUST, Twin
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD, ZERO_ADDRESS

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]

A, B, C, D, RICH, RICHER, KEEPER, STRANGER = range(1, 9)
MARK = 1000 * WAD
PERCENT = WAD // 100
HOUR, DAY = 3600, 86_400
#: `Twin.set_reduce_only` acts as test account 0, which is the same on every chain.
GUARDIAN = {"guardian": RevmChain().address(0)}
GRACE = 2 * HOUR


def next_at(market: Twin | Exchange, timestamp: int) -> None:
    """The next transaction is in a block of that second."""
    chain = exchange_of(market).chain
    chain.advance(timestamp - chain.now - 1)


def exchange_of(market: Twin | Exchange) -> Exchange:
    return market.exchange if isinstance(market, Twin) else market


def everything(exchange: Exchange) -> dict[str, Any]:
    """Whatever a refused call could have changed."""
    return {
        "core": exchange.core,
        "sides": [exchange.side(side) for side in (LONG, SHORT)],
        "accounts": [exchange.account(trader) for trader in range(9)],
        "balances": [exchange.token_balance(holder) for holder in (exchange.market, exchange.vault)],
    }


def refused(market: Twin | Exchange, reason: str, act: Callable[[], Any]) -> None:
    """What `act` does reverts for that reason and leaves no trace."""
    before = everything(exchange_of(market))
    with pytest.raises(Reverted) as refusal:
        act()
    assert refusal.value.reason == reason
    assert everything(exchange_of(market)) == before


def paired(market: Twin | Exchange) -> None:
    """A and C are long against B and D, two units each; everybody else has money and nothing more."""
    for trader in range(1, 9):
        market.deposit(trader, 10**4 * WAD)
    market.trade(A, B, True, 2 * WAD, exchange_of(market).mark)
    market.trade(C, D, True, 2 * WAD, exchange_of(market).mark)


def names(transaction: Transaction) -> list[str]:
    return [log.name for log in transaction.logs]


# --------------------------------------------------------------------------------------------------------- the guardian


class TestGuardian:
    def test_turns_it_on_and_off(self, twin: TwinFactory) -> None:
        market = twin(**GUARDIAN)
        for on in (True, True, False, False, True):
            (event,) = market.set_reduce_only(on).logs
            assert (event.name, event.fields["on"]) == ("ReduceOnly", on)
            assert market.exchange.core.guarded is on
            assert market.exchange.mode == ("reduce-only" if on else "active")

    def test_nobody_else_may(self, exchange: ExchangeFactory) -> None:
        made = exchange(**GUARDIAN)
        for on in (True, False):
            for caller in range(1, 9):
                refused(made, "mode: only the guardian", lambda on=on, who=caller: made.set_reduce_only(on, who))
        made.set_reduce_only(True, 0)
        refused(made, "mode: only the guardian", lambda: made.set_reduce_only(False, A))

    def test_without_one_nobody_may(self, exchange: ExchangeFactory) -> None:
        made = exchange(guardian=ZERO_ADDRESS)
        for caller in range(9):
            refused(made, "mode: only the guardian", lambda who=caller: made.set_reduce_only(True, who))

    def test_needs_no_price_and_moves_none(self, twin: TwinFactory) -> None:
        market = twin(**GUARDIAN)
        paired(market)
        market.set_price(900 * WAD)
        market.set_reduce_only(True)
        assert market.exchange.mark == MARK
        market.set_round(0, market.exchange.chain.now)
        market.set_reduce_only(False)
        assert not market.exchange.core.guarded

    def test_cannot_end_or_shorten_a_trip(self, twin: TwinFactory) -> None:
        market = tripped(twin)
        market.set_reduce_only(True)
        market.set_reduce_only(False)
        refused(market, "mode: reduce-only", lambda: market.trade(C, D, True, WAD, market.exchange.mark))


class TestReduceOnly:
    @pytest.fixture
    def guarded(self, twin: TwinFactory) -> Twin:
        market = twin(**GUARDIAN, fee_rate=0)
        paired(market)
        market.set_reduce_only(True)
        return market

    @pytest.mark.parametrize(
        ("maker", "taker", "is_long", "size"),
        [
            (RICH, RICHER, True, 1),  # both open
            (A, B, True, 1),  # both increase
            (A, RICH, False, 1),  # one reduces, one opens
            (RICH, A, True, 1),
            (A, C, False, 1),  # one reduces, one increases
            (C, A, True, 1),
            (A, B, False, 3),  # both turn over
            (A, RICH, False, 2),  # one closes, one opens
            (A, B, False, 2 + 1),
        ],
    )
    def test_refuses_whatever_adds_risk(self, guarded: Twin, maker: int, taker: int, is_long: bool, size: int) -> None:
        refused(guarded, "mode: reduce-only", lambda: guarded.trade(maker, taker, is_long, size * WAD, MARK))

    def test_refuses_that_one_closes_and_one_turns_over(self, guarded: Twin) -> None:
        guarded.trade(A, B, False, WAD, MARK)  # A and B have one unit, C and D two
        refused(guarded, "mode: reduce-only", lambda: guarded.trade(A, D, False, 2 * WAD, MARK))
        refused(guarded, "mode: reduce-only", lambda: guarded.trade(D, A, True, 2 * WAD, MARK))

    def test_refuses_a_batch_with_one_such_fill(self, guarded: Twin) -> None:
        batch = [(A, False, WAD, MARK), (RICH, False, WAD, MARK)]  # B reduces twice, RICH opens
        refused(guarded, "mode: reduce-only", lambda: guarded.trade_batch(B, batch))

    def test_lets_everybody_reduce_and_close(self, guarded: Twin) -> None:
        guarded.trade(A, B, False, WAD, MARK)
        guarded.trade(D, A, True, WAD, MARK)  # A closes, D reduces: whoever is maker, and not only old partners
        guarded.trade(B, C, True, WAD, MARK)
        guarded.trade_batch(D, [(C, False, WAD, MARK)])
        assert [guarded.exchange.account(trader).shares for trader in (A, B, C, D)] == [0] * 4

    def test_lets_money_in_and_out(self, guarded: Twin) -> None:
        guarded.deposit(A, WAD)
        guarded.withdraw(A, WAD)
        guarded.withdraw(RICH, WAD)
        guarded.insure(WAD)

    def test_lets_liquidate(self, guarded: Twin) -> None:
        guarded.withdraw(A, 9899 * WAD)
        guarded.set_price(963 * WAD)
        guarded.liquidate(KEEPER, A)
        assert guarded.exchange.account(KEEPER).shares > 0

    def test_full_exit(self, twin: TwinFactory) -> None:
        """Everybody closes against each other and takes everything out; what is left is dust and the fees."""
        market = twin(**GUARDIAN)
        market.insure(1000 * WAD)
        paired(market)
        market.trade(RICH, RICHER, False, 3 * WAD, 1005 * WAD)
        market.set_reduce_only(True)
        market.set_price(1040 * WAD)
        market.trade(B, A, True, 2 * WAD, 1040 * WAD)
        market.trade(RICH, C, True, 2 * WAD, 1041 * WAD)
        market.trade(D, RICHER, True, 2 * WAD, 1039 * WAD)
        market.trade(RICH, RICHER, True, WAD, 1040 * WAD)
        leave(market)
        market.check()
        dust = market.exchange.token_balance(market.exchange.market) - market.exchange.insurance_owed
        assert 0 <= dust <= MAX_DUST


# --------------------------------------------------------------------------------------------------------------- trips


def tripped(
    twin: TwinFactory, cooloff: int = 600, wei: int = 0, is_long: bool = True, insured: int = 0, **parameters: Any
) -> Twin:
    """A haircut of exactly a basis point: ten units lose 60, of that A, with one, cannot pay 0.06; `wei` less."""
    market = twin(**GUARDIAN, fee_rate=0, cooloff=cooloff, **parameters)
    if insured:
        market.insure(insured)
    for trader in (RICH, RICHER, C, D):
        market.deposit(trader, 10**5 * WAD)
    market.deposit(A, 5994 * PERCENT + wei)
    market.trade(A, RICH, is_long, WAD, MARK)
    market.trade(RICHER, RICH, is_long, 9 * WAD, MARK)
    market.set_price(MARK + (-60 if is_long else 60) * WAD)
    market.settle()
    return market


class TestTrip:
    @pytest.mark.parametrize("is_long", [True, False])
    def test_at_a_basis_point(self, twin: TwinFactory, is_long: bool) -> None:
        market = tripped(twin, is_long=is_long)
        assert abs(market.receipts[-1].socialized - 6 * PERCENT) <= 1
        assert market.exchange.core.reduce_only_until == market.exchange.chain.now + 600
        assert market.exchange.mode == "reduce-only"

    @pytest.mark.parametrize("is_long", [True, False])
    def test_not_a_wei_or_two_below(self, twin: TwinFactory, is_long: bool) -> None:
        """Filing may cost an account a wei, so that two short of a basis point is surely below."""
        market = tripped(twin, wei=2, is_long=is_long)
        assert 0 < 6 * PERCENT - market.receipts[-1].socialized <= 2
        assert market.exchange.core.reduce_only_until == 0
        assert market.exchange.mode == "active"

    def test_not_by_what_insurance_covers(self, twin: TwinFactory) -> None:
        market = tripped(twin, insured=WAD)
        assert market.receipts[-1].deficit > 0
        assert market.exchange.core.reduce_only_until == 0

    def test_by_what_insurance_does_not_cover(self, twin: TwinFactory) -> None:
        """Twice the basis point is missing, half of it in the vault's reach."""
        market = tripped(twin, insured=12 * PERCENT - 8, wei=-6 * PERCENT)
        assert market.receipts[-1].covered == 6 * PERCENT - 4
        assert market.exchange.core.reduce_only_until > 0

    def test_lifts_by_itself_at_its_second(self, twin: TwinFactory) -> None:
        market = tripped(twin)
        until, mark = market.exchange.core.reduce_only_until, market.exchange.mark
        for second in (market.exchange.chain.now + 1, until - 1):
            next_at(market, second)
            refused(market, "mode: reduce-only", lambda: market.trade(C, D, True, WAD, mark))
        assert market.exchange.chain.now == until - 1
        assert market.exchange.mode == "reduce-only"
        market.trade(C, D, True, WAD, mark)
        assert market.exchange.chain.now == until
        assert market.exchange.mode == "active"

    def test_lets_reduce(self, twin: TwinFactory) -> None:
        market = tripped(twin)
        market.trade(RICH, RICHER, True, 9 * WAD - WAD // 10, market.exchange.mark)

    def test_is_renewed_by_another(self, twin: TwinFactory) -> None:
        market = tripped(twin)
        first = market.exchange.core.reduce_only_until
        market.exchange.chain.advance(500)
        # RICHER's 9 units are nearly bankrupt at 940; then the fall takes more than he has.
        market.withdraw(RICHER, market.exchange.account(RICHER).equity - 500 * WAD)
        market.set_price(850 * WAD)
        market.settle()
        assert market.receipts[-1].socialized > 0
        assert market.exchange.core.reduce_only_until == market.exchange.chain.now + 600 > first

    def test_a_smaller_haircut_does_not_shorten_it(self, twin: TwinFactory) -> None:
        market = tripped(twin)
        until = market.exchange.core.reduce_only_until
        market.set_price(930 * WAD)
        market.settle()
        assert market.exchange.core.reduce_only_until == until

    def test_without_a_cooloff_never(self, twin: TwinFactory) -> None:
        market = tripped(twin, cooloff=0)
        assert market.receipts[-1].socialized > 0
        assert market.exchange.mode == "active"
        market.trade(C, D, True, WAD, market.exchange.mark)

    def test_stands_beside_the_guardian_s(self, twin: TwinFactory) -> None:
        market = tripped(twin)
        market.set_reduce_only(True)
        next_at(market, market.exchange.core.reduce_only_until + 1)
        refused(market, "mode: reduce-only", lambda: market.trade(C, D, True, WAD, market.exchange.mark))
        market.set_reduce_only(False)
        market.trade(C, D, True, WAD, market.exchange.mark)


# ------------------------------------------------------------------------------------------------------------ wind-down

#: Answers that are refused: what it is called, then answer, seconds from now, round, answered in.
DEAD: Sequence[Any] = [
    pytest.param("oracle: non-positive answer", 0, 0, 5, 5, id="zero"),
    pytest.param("oracle: non-positive answer", -MARK, 0, 5, 5, id="negative"),
    pytest.param("oracle: incomplete round", MARK, -(10**10), 5, 5, id="unfinished"),
    pytest.param("oracle: incomplete round", MARK, 0, 5, 4, id="carried over"),
    pytest.param("oracle: future-dated", MARK, 10 * DAY, 5, 5, id="future"),
    pytest.param("oracle: stale", MARK, -DAY, 5, 5, id="stale"),
    pytest.param("oracle: price out of range", MAX_PRICE + 1, 0, 5, 5, id="too high"),
    pytest.param("oracle: price out of range", MIN_PRICE - 1, 0, 5, 5, id="too low"),
    pytest.param("oracle: price out of range", 2**255 - 1, 0, 5, 5, id="absurd"),
]


def kill(market: Twin | Exchange, answer: int = 0, delay: int = 0, round_id: int = 1, answered_in: int = 1) -> None:
    """The oracle's answer is refused from now on."""
    market.set_round(answer, max(exchange_of(market).chain.now + delay, 0), round_id, answered_in)


def close(market: Twin | Exchange) -> Transaction:
    """Report a dead oracle, let the grace period pass, close."""
    reported = market.wind_down()
    next_at(market, reported.timestamp + GRACE)
    return market.wind_down()


def leave(market: Twin | Exchange) -> None:
    """Every trader withdraws every token unit that is his."""
    exchange = exchange_of(market)
    for trader in range(1, 9):
        amount = exchange.account(trader).equity // exchange.unit * exchange.unit
        if amount:
            market.withdraw(trader, amount)
        assert exchange.account(trader).equity < exchange.unit
        assert exchange.account(trader).shares == 0


class TestReport:
    def test_not_while_the_oracle_is_alive(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        refused(market, "mode: oracle is alive", market.wind_down)
        market.set_price(900 * WAD)
        refused(market, "mode: oracle is alive", market.wind_down)

    @pytest.mark.parametrize(("reason", "answer", "delay", "round_id", "answered_in"), DEAD)
    def test_every_refused_answer_is_dead(
        self, twin: TwinFactory, reason: str, answer: int, delay: int, round_id: int, answered_in: int
    ) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        kill(market, answer, delay, round_id, answered_in)
        refused(market, reason, market.settle)
        assert names(market.wind_down()) == ["OracleReported"]
        assert (market.exchange.core.suspect, market.exchange.core.closed) == (True, False)
        next_at(market, market.exchange.chain.now + GRACE)
        (event,) = market.wind_down().logs
        assert (event.name, event.fields["price"]) == ("Closed", MARK)
        assert market.exchange.core.closed

    def test_by_growing_stale_to_the_second(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE, max_staleness=HOUR)
        market.set_price(MARK)
        updated_at = market.exchange.chain.now
        next_at(market, updated_at + HOUR)
        refused(market, "mode: oracle is alive", market.wind_down)
        assert names(market.wind_down()) == ["OracleReported"]
        assert market.exchange.chain.now == updated_at + HOUR + 1

    def test_by_anyone(self, exchange: ExchangeFactory) -> None:
        made = exchange(oracle_grace=GRACE)
        kill(made)
        made.wind_down(caller=99)
        next_at(made, made.chain.now + GRACE)
        made.wind_down(caller=98)
        assert made.mode == "closed"

    def test_alone_shuts_nothing_that_a_price_would_open(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        kill(market)
        market.wind_down()
        assert market.exchange.mode == "active"
        market.set_price(1010 * WAD)
        market.trade(A, B, True, WAD, 1010 * WAD)
        assert not market.exchange.core.suspect

    def test_is_no_report_of_another_market(self, twin: TwinFactory) -> None:
        """Nothing is left from before: a report is counted from its own second."""
        market = twin(oracle_grace=GRACE)
        kill(market)
        market.exchange.chain.advance(100 * DAY)
        assert names(market.wind_down()) == ["OracleReported"]


class TestGrace:
    def test_from_the_report_to_the_second(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        kill(market)
        market.exchange.chain.advance(10 * DAY)  # however long it was dead before
        reported = market.wind_down().timestamp
        for second in (reported + 1, reported + GRACE - 1):
            next_at(market, second)
            refused(market, "mode: oracle grace", market.wind_down)
        market.wind_down()
        assert market.exchange.chain.now == reported + GRACE
        assert market.exchange.core.closed

    def test_the_oracle_must_be_dead_then_too(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        kill(market)
        market.wind_down()
        market.exchange.chain.advance(2 * GRACE)
        market.set_price(MARK)
        refused(market, "mode: oracle is alive", market.wind_down)

    def test_a_settlement_in_between_begins_it_anew(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        kill(market)
        market.wind_down()
        market.exchange.chain.advance(GRACE - 100)
        market.set_price(MARK)
        assert market.settle().logs == []  # nothing moved, but there was a price
        assert not market.exchange.core.suspect
        kill(market)
        market.exchange.chain.advance(GRACE)
        again = market.wind_down()
        assert names(again) == ["OracleReported"]
        next_at(market, again.timestamp + GRACE - 1)
        refused(market, "mode: oracle grace", market.wind_down)
        market.wind_down()
        assert market.exchange.core.closed

    def test_nothing_else_does(self, twin: TwinFactory) -> None:
        market = twin(**GUARDIAN, oracle_grace=GRACE)
        paired(market)
        kill(market)
        reported = market.wind_down().timestamp
        market.deposit(A, WAD)
        market.withdraw(RICH, WAD)
        market.set_reduce_only(True)
        market.set_reduce_only(False)
        refused(market, "oracle: non-positive answer", market.settle)
        refused(market, "mode: oracle grace", market.wind_down)
        next_at(market, reported + GRACE)
        market.wind_down()
        assert market.exchange.core.closed

    def test_another_report_does_not_renew_it(self, twin: TwinFactory) -> None:
        """Or whoever likes the market open could keep it open by calling."""
        market = twin(oracle_grace=GRACE)
        kill(market)
        reported = market.wind_down().timestamp
        market.exchange.chain.advance(GRACE // 2)
        refused(market, "mode: oracle grace", market.wind_down)
        next_at(market, reported + GRACE)
        market.wind_down()
        assert market.exchange.core.closed


class TestClosed:
    def test_at_the_last_accepted_index_not_the_last_answer(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        market.set_price(1020 * WAD)
        market.settle()
        market.set_price(1400 * WAD)  # nobody settles to it
        kill(market, MARK // 2, -DAY)
        close(market)
        assert market.exchange.chain.call(market.exchange.market, "index_price") == 1020 * WAD
        market.settle()
        assert market.exchange.mark == 1020 * WAD
        for trader, gain in ((A, 40), (B, -40)):
            equity = market.exchange.account(trader).equity
            fee = WAD  # 0.05 % of 2000
            assert 0 <= 10**4 * WAD + gain * WAD - fee - equity <= 3

    def test_everybody_is_flat_after_a_settlement(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        kill(market)
        close(market)
        assert market.exchange.account(A).shares  # nobody has settled yet
        (event,) = market.settle().logs
        assert event.name == "EpochEnded"
        assert [market.exchange.account(trader).shares for trader in (A, B, C, D)] == [0] * 4
        assert [market.exchange.side(side).shares for side in (LONG, SHORT)] == [0, 0]
        assert market.exchange.epoch == 1
        assert market.settle().logs == []  # and nothing ever after
        assert market.exchange.epoch == 1

    @pytest.mark.parametrize("left", [LONG, SHORT])
    def test_even_if_nobody_is_left_on_the_other_side(self, exchange: ExchangeFactory, left: int) -> None:
        """As a million fills by a millionth of the smallest position too little could have it; here by surgery."""
        made = exchange(oracle_grace=GRACE)
        paired(made)
        kill(made)
        close(made)
        assert isinstance(made.chain, RevmChain)
        slot = slots_of("PerpetualMarket")["sides._exposure"] + 1 - left
        scale = made.chain.word(made.addresses.market, slot) >> 112 << 112
        made.chain.put(made.addresses.market, slot, scale)
        assert made.side(left).shares and not made.side(1 - left).shares
        assert names(made.settle()) == ["EpochEnded"]

    def test_a_withdrawal_settles_for_itself(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        kill(market)
        close(market)
        market.withdraw(A, market.exchange.account(A).equity)  # all of it: no margin is asked of whoever is flat
        assert market.exchange.account(A).equity == 0

    def test_shuts_fills_for_good(self, twin: TwinFactory) -> None:
        market = twin(**GUARDIAN, oracle_grace=GRACE)
        paired(market)
        kill(market)
        close(market)

        def fills() -> None:
            for maker, taker, is_long in ((A, B, True), (A, B, False), (RICH, RICHER, True)):
                refused(market, "mode: closed", lambda m=maker, t=taker, i=is_long: market.trade(m, t, i, WAD, MARK))

        fills()
        market.settle()
        fills()
        market.set_price(2 * MARK)  # the oracle is back
        fills()
        assert market.settle().logs == []
        assert market.exchange.mark == MARK
        market.set_reduce_only(True)
        market.set_reduce_only(False)
        fills()
        refused(market, "mode: closed", market.wind_down)
        kill(market)
        refused(market, "mode: closed", market.wind_down)
        assert market.exchange.mode == "closed"

    def test_a_fill_is_refused_after_what_is_wrong_with_its_order(self, exchange: ExchangeFactory) -> None:
        """Each fill by itself: so a batch of none is no fill, and settles like any other call."""
        made = exchange(oracle_grace=GRACE)
        paired(made)
        kill(made)
        close(made)
        order = made.order(A, False, WAD, MARK)
        signature = made.sign(A, order)
        for given, size, reason in (
            (signature, WAD, "mode: closed"),
            (signature, 0, "order: zero size"),
            (signature, WAD + 1, "order: over-filled"),
            (made.sign(C, order), WAD, "order: invalid signature"),
        ):
            for act in (
                partial(made.take, B, order, given, size),
                partial(made.take_batch, B, [(order, given, size)]),
            ):
                refused(made, reason, act)
        assert names(made.take_batch(B, [])) == ["EpochEnded"]
        assert made.take_batch(B, []).logs == []

    def test_nobody_is_liquidated_when_flat(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        paired(market)
        kill(market)
        close(market)
        market.settle()
        refused(market, "liquidation: healthy account", lambda: market.liquidate(KEEPER, A))

    def test_deposits_can_still_be_taken_back(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE)
        kill(market)
        close(market)
        market.deposit(A, WAD)
        market.withdraw(A, WAD)

    def test_funding_up_to_then_is_paid(self, twin: TwinFactory) -> None:
        market = twin(oracle_grace=GRACE, max_funding=PERCENT)
        paired(market)
        market.trade(RICH, RICHER, True, WAD, 1001 * WAD)
        kill(market)
        close(market)
        before = [market.exchange.account(trader).equity for trader in (A, B)]
        (receipt,) = receipts_in(market.settle().logs)
        assert (receipt.funding, receipt.loser) == (True, LONG)
        after = [market.exchange.account(trader).equity for trader in (A, B)]
        assert after[0] < before[0]
        assert after[1] > before[1]
        assert (market.exchange.core.premium, market.exchange.epoch) == (0, 1)
        market.exchange.chain.advance(DAY)
        assert market.settle().logs == []


class TestClosedInCatchUp:
    SLOW: ClassVar[dict[str, Any]] = {
        "max_price_step": PERCENT,
        "step_interval": 60,
        "oracle_grace": GRACE,
        "fee_rate": 0,
    }

    @pytest.mark.parametrize("way", [1, -1])
    def test_the_mark_walks_to_the_last_accepted_index(self, twin: TwinFactory, way: int) -> None:
        market = twin(**self.SLOW)
        paired(market)
        index = MARK + way * 25 * WAD
        market.set_price(index)
        market.settle()
        charged = market.exchange.core.limited_at
        kill(market)
        (event,) = close(market).logs
        assert event.fields["price"] == index
        market.set_price(MARK)  # whatever the oracle says now
        second = MARK + way * 10 * WAD + way * (MARK + way * 10 * WAD) // 100
        assert market.exchange.core.limited_at == charged
        assert not receipts_in(market.settle().logs)[0].funding
        assert market.exchange.mark == second
        assert market.exchange.mode == "closed"
        charged = market.exchange.core.limited_at
        assert market.settle().logs == []  # the interval holds
        assert market.exchange.account(A).shares
        refused(market, "mode: catch-up", lambda: market.withdraw(A, WAD))
        refused(market, "mode: catch-up", lambda: market.trade(A, B, False, WAD, second))
        market.withdraw(RICH, WAD)  # flat
        next_at(market, charged + 60)
        assert names(market.settle()) == ["Moved", "EpochEnded"]
        assert market.exchange.mark == index
        for trader, sign in ((A, 1), (B, -1)):
            equity = market.exchange.account(trader).equity
            assert 0 <= 10**4 * WAD + sign * way * 50 * WAD - equity <= 4
        leave(market)

    def test_buckets_close_on_the_way_and_work_is_bounded(self, twin: TwinFactory) -> None:
        market = twin(**{**self.SLOW, "max_price_step": 5 * PERCENT}, max_buckets=1)
        market.insure(1000 * WAD)
        market.deposit(RICH, 10**6 * WAD)
        for trader, collateral in ((A, 51), (B, 53), (C, 60), (D, 5000)):
            market.deposit(trader, collateral * WAD)
            market.trade(trader, RICH, True, WAD, MARK)
        market.set_price(900 * WAD)
        market.settle()
        kill(market)
        close(market)
        while market.exchange.epoch == 0:
            market.exchange.chain.advance(60)
            market.settle()
        assert market.exchange.mark == 900 * WAD
        assert [market.exchange.account(trader).equity for trader in (A, B, C)] == [0, 0, 0]
        assert 0 <= 4900 * WAD - market.exchange.account(D).equity <= 3
        leave(market)

    def test_liquidation_stays_open_on_the_way(self, twin: TwinFactory) -> None:
        market = twin(**self.SLOW)
        paired(market)
        market.withdraw(A, 9899 * WAD)
        market.set_price(940 * WAD)
        for _ in range(3):
            market.exchange.chain.advance(60)
            market.settle()
        kill(market)
        close(market)
        market.liquidate(KEEPER, A)
        assert market.exchange.account(KEEPER).shares

    def test_with_a_rest_of_funding(self, twin: TwinFactory) -> None:
        """A stopped funding move is finished before the mark arrives and the market ends."""
        market = twin(fee_rate=WAD // 400, max_funding=PERCENT, max_buckets=1, oracle_grace=GRACE)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(STRANGER, 10**5 * WAD)
        for trader, collateral in ((A, 55), (B, 56)):
            market.deposit(trader, collateral * WAD)
            market.trade(trader, RICH, True, WAD, MARK)
        view = market.exchange.chain.call(
            market.exchange.lens, "position", market.exchange.market.address, market.exchange.chain.address(A)
        )
        mark = view[-1] + WAD // 100
        market.set_price(mark)
        market.settle()
        market.trade(STRANGER, RICH, True, 8 * WAD, mark * 1004 // 1000)
        kill(market)
        market.exchange.chain.advance(30 * DAY)
        close(market)
        epochs = []
        for _ in range(2):
            assert all(receipt.funding for receipt in receipts_in(market.settle().logs))
            epochs.append(market.exchange.epoch)
        assert epochs == [0, 1]
        assert market.exchange.account(B).equity == 0
        leave(market)


# ------------------------------------------------------------------------------------------------- sick feeds and gas

SICK_FEED = """
# pragma version 0.4.3
decimals: public(immutable(uint8))
answer: int256
updated_at: uint256
sickness: public(uint256)
burns: uint256

@deploy
def __init__(decimals_: uint8, answer: int256):
    decimals = decimals_
    self.answer = answer
    self.updated_at = block.timestamp

@external
def set_answer(answer: int256):
    self.answer = answer
    self.updated_at = block.timestamp

@external
def fall_sick(sickness: uint256, burns: uint256):
    self.sickness = sickness
    self.burns = burns

@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    if self.sickness == 1:
        raise "out of order"
    if self.sickness == 2:
        raise  # says nothing
    if self.sickness == 3:
        assert self.decimals_of(self) == 255, UNREACHABLE  # takes all the gas there is
    if self.sickness == 4:
        raw_revert(b"")
    left: uint256 = msg.gas
    if self.burns > 0:
        for i: uint256 in range(2**30):
            if msg.gas + self.burns < left:
                break
    return 1, self.answer, self.updated_at, self.updated_at, 1

@internal
@view
def decimals_of(feed: address) -> uint256:
    return convert(decimals, uint256)
"""

#: Calls `wind_down` with no more gas than it is told, and keeps what came of it.
STARVER = """
# pragma version 0.4.3
succeeded: public(bool)
answer: public(Bytes[128])

@external
def call(market: address, gas_limit: uint256):
    self.succeeded, self.answer = raw_call(
        market, method_id("wind_down()"), gas=gas_limit, max_outsize=128, revert_on_failure=False
    )
"""

SICKNESSES = {"reverts with a reason": 1, "reverts without one": 2, "burns all gas": 3, "reverts with no data": 4}


class SickFeedChain(RevmChain):
    """A chain on which the price feed can be made to fail."""

    def deploy(self, name: str, *arguments: Any, sender: int = 0) -> Any:
        if name != "MockAggregator":
            return super().deploy(name, *arguments, sender=sender)
        self.sick_feed = self.deploy_source(SICK_FEED, *arguments)
        return self.sick_feed

    def fall_sick(self, sickness: int, burns: int = 0) -> None:
        """0: healthy, but a read burns so much gas."""
        self.transact(self.sick_feed, "fall_sick", sickness, burns, sender=0)


class TestSickFeed:
    @pytest.mark.parametrize("sickness", SICKNESSES.values(), ids=SICKNESSES.keys())
    def test_counts_as_dead(self, exchange: ExchangeFactory, sickness: int) -> None:
        chain = SickFeedChain()
        made = exchange(chain=chain, oracle_grace=GRACE)
        paired(made)
        refused(made, "mode: oracle is alive", made.wind_down)
        chain.fall_sick(sickness)
        with pytest.raises(Reverted):
            made.settle()
        with pytest.raises(Reverted):
            made.withdraw(A, WAD)
        made.deposit(A, WAD)
        made.withdraw(RICH, WAD)
        assert made.mode == "active"  # the lens answers all the same
        close(made)
        assert made.mode == "closed"
        made.settle()
        leave(made)

    def test_that_recovers_in_time_is_alive(self, exchange: ExchangeFactory) -> None:
        chain = SickFeedChain()
        made = exchange(chain=chain, oracle_grace=GRACE, max_staleness=10**9)
        chain.fall_sick(SICKNESSES["burns all gas"])
        made.wind_down()
        chain.advance(GRACE)
        chain.fall_sick(0)
        refused(made, "mode: oracle is alive", made.wind_down)


class TestStarved:
    """A call with little gas: the feed's read runs out of it, and must not pass for a dead feed."""

    GAS = (*range(1_000, 50_000, 997), *range(50_000, 1_300_000, 7_919), 2_000_000, 5_000_000)

    def outcomes(self, made: Exchange, starver: Any) -> dict[str, int]:
        """What came of a call with each gas limit: how often, by reason."""
        found: dict[str, int] = {}
        for gas in self.GAS:
            with made.chain.anchor():
                made.chain.transact(starver, "call", made.market.address, gas, sender=STRANGER)
                succeeded = made.chain.call(starver, "succeeded")
                assert made.core.suspect is succeeded
                answer = bytes(made.chain.call(starver, "answer"))
                reason = "done" if succeeded else answer[68:].rstrip(b"\0").decode() if answer else "out of gas"
                found[reason] = found.get(reason, 0) + 1
        return found

    @pytest.mark.parametrize("burns", [0, 100_000, 500_000, 900_000])
    def test_never_passes_for_a_dead_oracle(self, exchange: ExchangeFactory, burns: int) -> None:
        """Up to nine times what a real feed takes."""
        chain = SickFeedChain()
        made = exchange(chain=chain, oracle_grace=GRACE)
        paired(made)
        starver = chain.deploy_source(STARVER)
        chain.fall_sick(0, burns)
        found = self.outcomes(made, starver)
        assert set(found) == {"out of gas", "mode: too little gas", "mode: oracle is alive"}

    def test_is_refused_by_name_if_the_oracle_is_dead_as_well(self, exchange: ExchangeFactory) -> None:
        chain = SickFeedChain()
        made = exchange(chain=chain, oracle_grace=GRACE)
        starver = chain.deploy_source(STARVER)
        chain.fall_sick(SICKNESSES["reverts with a reason"])
        found = self.outcomes(made, starver)
        assert set(found) == {"out of gas", "mode: too little gas", "done"}
        assert found["mode: too little gas"] > found["out of gas"]

    def test_a_feed_that_burns_all_gas_is_dead_given_enough(self, exchange: ExchangeFactory) -> None:
        """A 64th is kept back from it: from some limit on that is enough to write the report."""
        chain = SickFeedChain()
        made = exchange(chain=chain, oracle_grace=GRACE)
        starver = chain.deploy_source(STARVER)
        chain.fall_sick(SICKNESSES["burns all gas"])
        assert self.outcomes(made, starver)["done"] >= 1

    def test_nor_when_it_would_close_the_market(self, exchange: ExchangeFactory) -> None:
        chain = SickFeedChain()
        made = exchange(chain=chain, oracle_grace=GRACE, max_staleness=10**9)
        starver = chain.deploy_source(STARVER)
        chain.fall_sick(SICKNESSES["reverts without one"])
        made.wind_down()
        chain.advance(GRACE)
        chain.fall_sick(0, 900_000)
        for gas in self.GAS:
            chain.transact(starver, "call", made.market.address, gas, sender=STRANGER)
            assert not chain.call(starver, "succeeded")
            assert not made.core.closed

    def test_a_million_is_enough_and_a_unit_less_is_not(
        self, exchange: ExchangeFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of what is left where `wind_down` looks, whatever it took to get there."""
        chain = BoaChain()
        made = exchange(chain=chain, oracle_grace=GRACE)
        kill(made)
        table = chain._env.evm.vm.state.computation_class.opcodes
        gas, looks = table[opcode_values.GAS], list[int]()

        def look(computation: Any) -> None:
            gas(computation)
            if to_checksum_address(computation.msg.code_address) == made.addresses.trading:
                looks.append(computation.get_gas_remaining())

        monkeypatch.setitem(table, opcode_values.GAS, look)

        def left(limit: int) -> tuple[int, str]:
            """With so much gas for the call: what was left at the first look, and why the report was refused."""
            looks.clear()
            with chain.anchor():
                chain._env.evm.patch.gas_limit = limit
                try:
                    made.wind_down()
                except Reverted as refusal:
                    return looks[0], refusal.reason
                return looks[0], "not at all"

        # A 64th stays behind at the call before it, so every number comes up, some of them twice.
        enough = bisect_left(range(2 * 10**6), 10**6, lo=10**6, key=lambda limit: left(limit)[0])
        assert left(enough) == (10**6, "not at all")
        assert left(enough - 1) == (10**6 - 1, "mode: too little gas")


# ----------------------------------------------------------------------------------------------------------------- lens


class TestLens:
    def test_the_strictest_of_several(self, twin: TwinFactory) -> None:
        market = twin(**GUARDIAN, oracle_grace=GRACE, max_price_step=PERCENT, step_interval=60)
        assert market.exchange.mode == "active"
        market.set_reduce_only(True)
        assert market.exchange.mode == "reduce-only"
        market.set_price(1100 * WAD)
        assert market.exchange.mode == "catch-up"
        market.settle()
        assert market.exchange.mode == "catch-up"
        kill(market)
        assert market.exchange.mode == "catch-up"  # as it was when it last settled
        close(market)
        assert market.exchange.mode == "closed"
        market.settle_fully()
        assert market.exchange.mode == "closed"

    def test_while_the_answer_is_refused_as_last_settled(self, twin: TwinFactory) -> None:
        market = twin(**GUARDIAN, max_price_step=PERCENT)
        market.set_price(1001 * WAD)
        kill(market)
        assert market.exchange.mode == "active"
        market.set_reduce_only(True)
        assert market.exchange.mode == "reduce-only"

    def test_bug_a_rest_of_funding_is_catch_up_although_the_mark_is_the_index(self, twin: TwinFactory) -> None:
        """`Core.conditions` says that the market lags and fills are refused as "mode: catch-up", but the lens looks
        at mark and index alone as soon as the oracle answers.
        """
        market = twin(fee_rate=WAD // 400, max_funding=PERCENT, max_buckets=1, max_staleness=10**9)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(STRANGER, 10**5 * WAD)
        for trader, collateral in ((A, 55), (B, 56), (C, 57)):
            market.deposit(trader, collateral * WAD)
            market.trade(trader, RICH, True, WAD, MARK)
        view = market.exchange.chain.call(
            market.exchange.lens, "position", market.exchange.market.address, market.exchange.chain.address(A)
        )
        mark = view[-1] + WAD // 100
        market.set_price(mark)
        market.settle()
        market.trade(STRANGER, RICH, True, 8 * WAD, mark * 1004 // 1000)
        market.exchange.chain.advance(30 * DAY)
        market.settle()
        assert market.exchange.core.lagging
        refused(market, "mode: catch-up", lambda: market.trade(RICH, STRANGER, True, WAD, mark))
        assert market.exchange.mode == "catch-up"


# ---------------------------------------------------------------------------------------------------------- the way out


def wound_down(market: Exchange, seed: int) -> None:
    """A busy market with everything on, whose oracle dies in catch-up; wound down, settled, everybody flat."""
    chance = random.Random(seed)
    for trader in range(1, 9):
        market.deposit(trader, chance.randint(200, 5000) * WAD)
    market.insure(0, 3000 * WAD)
    for _ in range(8):
        for _ in range(6):
            maker, taker = chance.sample(range(1, 9), 2)
            price = market.mark * chance.randint(970, 1030) // 1000
            try:
                market.trade(maker, taker, chance.random() < 0.5, chance.randint(1, 60) * WAD // 4, price)
            except Reverted:
                continue
        market.chain.advance(chance.randint(0, HOUR))
        market.set_price(market.mark * chance.randint(900, 1100) // 1000)
        market.settle()
    kill(market)
    close(market)
    while market.core.lagging or market.side(LONG).shares:
        market.chain.advance(60)
        market.settle()


class TestExit:
    @pytest.mark.parametrize("seed", range(5))
    def test_everybody_and_the_vault_take_everything(self, each_exchange: ExchangeFactory, seed: int) -> None:
        market = each_exchange(
            max_price_step=2 * PERCENT,
            step_interval=60,
            max_funding=PERCENT,
            cooloff=HOUR,
            max_buckets=3,
            max_staleness=10**8,
            oracle_grace=GRACE,
        )
        wound_down(market, seed)
        assert market.epoch > 0
        leave(market)
        dust = market.token_balance(market.market) - market.insurance_owed
        assert 0 <= dust <= MAX_DUST + 8 * market.unit  # each trader's last part of a token unit

        assets = market.vault_assets
        shares = market.vault_shares(0)
        market.request_redeem(0, shares)
        market.chain.advance(market.chain.call(market.vault, "redeem_cooldown"))
        before = market.chain.call(market.token, "balanceOf", market.chain.address(0)) * market.unit
        market.redeem(0, shares)
        paid = market.chain.call(market.token, "balanceOf", market.chain.address(0)) * market.unit - before
        assert paid <= assets
        assert market.vault_supply == 0
        # Virtual shares keep less than a millionth, and the market what is no whole unit.
        left = market.token_balance(market.vault) + market.token_balance(market.market)
        assert 0 <= left <= assets // 10**6 + MAX_DUST + 10 * market.unit
