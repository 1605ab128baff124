"""The keeper against the contracts, in process: whom it liquidates, how much, and what it survives."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from prorata import keeper as keeping
from prorata.chain import Reverted, Transaction
from prorata.exchange import Exchange
from prorata.keeper import Keeper, NoMarket, Policy, Status, takeable
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.units import LONG, SHORT, WAD

MARK = 1000 * WAD
LONGER, WEAK, STRONG, RIVAL, KEEPER = range(1, 6)
#: Where WEAK, short one with 100 at 1000, is worth 22: less than maintenance margin and more than close-out.
BELOW = 1_078 * WAD


class Market:
    """LONGER is long two against WEAK, who has 100, and STRONG, who has 1000; the keeper has what `funds` says."""

    def __init__(self, funds: int = 1_000, chain: RevmChain | None = None, **parameters: Any) -> None:
        self.chain = chain or RevmChain()
        self.lines: list[str] = []
        self.exchange = Exchange.deploy(self.chain, MARK, MarketParameters(fee_rate=0, **parameters), VaultParameters())
        for trader, amount in ((LONGER, 5_000), (WEAK, 100), (STRONG, 1_000), (RIVAL, 1_000), (KEEPER, funds)):
            self.exchange.fund(trader)
            if amount:
                self.exchange.deposit(trader, amount * WAD)
        self.exchange.trade(LONGER, WEAK, True, WAD, MARK)
        self.exchange.trade(LONGER, STRONG, True, WAD, MARK)

    def keeper(self, chain: Any = None, **policy: int) -> Keeper:
        terms = Policy(**{"account": KEEPER, "leverage": 100 * WAD, **policy})
        return Keeper(chain or self.chain, self.exchange.market.address, terms, self.lines.append)

    def size(self, trader: int) -> int:
        account = self.exchange.account(trader)
        return account.shares * self.exchange.side(account.side).scale // WAD

    def ratio(self, trader: int) -> float:
        """Equity over notional."""
        return self.exchange.account(trader).equity / (self.size(trader) * self.exchange.mark // WAD)


# ------------------------------------------------------------------------------------------------------- liquidating


def test_a_healthy_market_is_left_alone() -> None:
    market = Market()
    block = market.chain.block
    status = market.keeper().one_pass()
    assert (status.positions, status.below, status.worthwhile, status.block) == (3, 0, 0, block)
    assert (market.chain.block, market.lines) == (block, [])


def test_the_first_price_at_which_it_acts_is_the_first_at_which_it_may() -> None:
    """To the wei: the market lets nobody liquidate one wei before."""
    market = Market()

    def at(price: int, look: Callable[[], object]) -> object:
        with market.chain.anchor():
            market.exchange.set_price(price)
            return look()

    healthy, below = MARK, BELOW
    while below - healthy > 1:
        price = (healthy + below) // 2
        found = at(price, lambda: market.keeper().one_pass().below)
        healthy, below = (healthy, price) if found else (price, below)
    assert at(below, lambda: market.exchange.liquidate(KEEPER, WEAK)) is not None
    with pytest.raises(Reverted, match="healthy"):
        at(healthy, lambda: market.exchange.liquidate(KEEPER, WEAK))
    # 100 - (p - 1000) = 2.5 % of p
    assert abs(below - 1_100 * WAD * 1000 // 1025) < 1000


def test_part_of_a_position_to_initial_margin() -> None:
    market = Market()
    market.exchange.set_price(BELOW)
    keeper = market.keeper()
    status = keeper.one_pass()
    # 31.9 lack to 5 %; each one sold frees 5 % and costs 1 % of 1078.
    expected = 31_900 * WAD // (1078 * 4 * 10)
    assert abs(market.size(KEEPER) - expected) < 100
    assert abs(market.size(WEAK) + market.size(KEEPER) - WAD) < 100
    assert market.exchange.account(KEEPER).side == SHORT
    assert market.ratio(WEAK) == pytest.approx(0.05, rel=1e-12)
    assert (status.below, status.worthwhile, keeper.summary.liquidations) == (1, 1, 1)
    # Half of one per cent of what was taken over.
    assert keeper.summary.reward == pytest.approx(expected * 1078 // 200, rel=1e-12)
    assert market.exchange.account(KEEPER).equity == pytest.approx(1_000 * WAD + keeper.summary.reward, rel=1e-15)
    assert keeper.one_pass().below == 0


def test_all_of_a_position_whose_fee_eats_what_a_part_would_free() -> None:
    market = Market(liquidation_fee=WAD // 50)
    market.exchange.set_price(1_085 * WAD)  # 15 left, and the fee is 21.7
    keeper = market.keeper()
    keeper.one_pass()
    assert market.exchange.account(WEAK).shares == 0
    assert market.size(KEEPER) == WAD
    assert keeper.summary.reward == pytest.approx(7_500_000_000_000_000_000, rel=1e-12)  # of the 15 that there were


def test_all_of_a_position_if_the_rest_would_be_too_small() -> None:
    market = Market(min_notional=500 * WAD)
    market.exchange.set_price(BELOW)
    market.keeper().one_pass()
    assert (market.exchange.account(WEAK).shares, market.size(KEEPER)) == (0, WAD)


def test_longs_as_well_as_shorts() -> None:
    market = Market()
    market.exchange.withdraw(LONGER, 4_800 * WAD)
    market.exchange.set_price(920 * WAD)  # 40 left for two at 920
    market.keeper().one_pass()
    assert market.exchange.account(KEEPER).side == LONG
    assert market.ratio(LONGER) == pytest.approx(0.05, rel=1e-12)


def test_the_most_rewarding_account_comes_first() -> None:
    market = Market()
    market.exchange.withdraw(STRONG, 905 * WAD)  # lacks more now than WEAK, who was here first
    market.exchange.set_price(BELOW)
    market.keeper().one_pass()
    assert [line.split(":")[0] for line in market.lines if line.startswith("liquidated")] == [
        f"liquidated {market.chain.address(trader)}" for trader in (STRONG, WEAK)
    ]


def test_the_least_profit_is_met_to_the_wei() -> None:
    """And what was expected is what is paid."""
    market = Market()
    market.exchange.set_price(BELOW)
    with market.chain.anchor():
        keeper = market.keeper()
        keeper.one_pass()
        reward = keeper.summary.reward
    for asked, liquidations in ((reward + 1, 0), (reward, 1)):
        with market.chain.anchor():
            keeper = market.keeper(min_profit=asked)
            status = keeper.one_pass()
            assert (status.below, status.worthwhile) == (1, liquidations)
            assert keeper.summary.liquidations == liquidations
            assert keeper.summary.reward == reward * liquidations


def test_without_a_reward_nothing_is_done() -> None:
    market = Market(liquidator_share=0)
    market.exchange.set_price(BELOW)
    status = market.keeper().one_pass()
    assert (status.below, status.worthwhile, market.size(WEAK)) == (1, 0, WAD)


# --------------------------------------------------------------------------------------------------- own collateral


@pytest.mark.parametrize("leverage", [1, 5, 15])
def test_a_position_within_its_own_leverage(leverage: int) -> None:
    market = Market(funds=20)
    market.exchange.set_price(BELOW)
    market.keeper(leverage=leverage * WAD).one_pass()
    assert market.size(KEEPER) == pytest.approx(20 * leverage * WAD // 1078, rel=1e-9)
    assert 1 / market.ratio(KEEPER) <= leverage


def test_initial_margin_bounds_what_it_takes_over() -> None:
    """And the next pass puts the reward of the first to use."""
    market = Market(funds=10)
    market.exchange.set_price(BELOW)
    keeper = market.keeper()
    keeper.one_pass()
    assert market.size(KEEPER) == pytest.approx(200 * WAD // 1078, rel=1e-9)
    keeper.one_pass()
    assert market.size(KEEPER) == pytest.approx(220 * WAD // 1078, rel=1e-9)
    assert (keeper.summary.liquidations, keeper.summary.refused) == (2, 0)


def test_without_collateral_it_only_watches() -> None:
    market = Market(funds=0)
    market.exchange.set_price(BELOW)
    status = market.keeper().one_pass()
    assert (status.below, status.worthwhile, market.size(WEAK)) == (1, 0, WAD)


def test_an_opposite_position_is_closed_first_and_needs_no_margin() -> None:
    market = Market(funds=51)
    market.exchange.trade(KEEPER, STRONG, True, WAD // 2, MARK)
    market.exchange.withdraw(KEEPER, 20 * WAD)
    market.exchange.set_price(BELOW)
    market.keeper(leverage=WAD).one_pass()
    held = market.exchange.account(KEEPER)
    # Long a half with 70: short at most 70 / 1078 afterwards.
    assert held.side == SHORT
    assert market.size(KEEPER) == pytest.approx(70 * WAD // 1078, rel=1e-2)


def test_it_does_not_liquidate_itself() -> None:
    market = Market()
    market.exchange.set_price(BELOW)
    status = market.keeper(account=WEAK).one_pass()
    assert (status.below, status.positions) == (0, 3)


@pytest.mark.parametrize(
    ("limit", "held", "own", "equity", "expected"),
    [
        (10, 10, 0, 1_000, 10),
        (10, 10, 0, 50, 5),
        (10, 10, 3, 50, 2),
        (10, 10, 5, 50, 0),
        (10, 10, 6, 50, 0),
        (10, 10, -4, 50, 9),
        (10, 10, -4, 0, 4),
        (10, 10, -40, 0, 10),
        (10, 10, 0, 95, 9),  # the owner's rest of a half is too small
        (3, 10, -2.5, 1_000, 2.5),  # or its own
        (3, 10, -3.5, 1_000, 2.5),
        (0.5, 10, 0, 1_000, 0),
    ],
)
def test_how_much_is_taken_over(limit: float, held: float, own: float, equity: int, expected: float) -> None:
    """At a mark of 100, 10 % margin and a smallest position of 100: one."""
    wad = [int(value * WAD) for value in (limit, held, own, equity)]
    taken = takeable(*wad, ratio=WAD // 10, mark=100 * WAD, min_notional=100 * WAD)
    assert abs(taken - int(expected * WAD)) <= 100


# ----------------------------------------------------------------------------------------------- settling, catch-up


def test_a_mark_that_lags_is_settled_in_as_many_steps_as_it_takes() -> None:
    market = Market(max_price_step=WAD // 100)
    market.exchange.set_price(1_035 * WAD)
    keeper = market.keeper()
    status = keeper.one_pass()
    assert (market.exchange.mark, status.view.mode) == (1_035 * WAD, "active")
    assert keeper.summary.settlements == 4
    assert market.lines[0] == "settled: mark 1,000.00 → 1,010.00"


def test_the_step_interval_is_waited_for() -> None:
    market = Market(max_price_step=WAD // 100, step_interval=60)
    market.exchange.set_price(1_035 * WAD)
    keeper = market.keeper()
    assert keeper.one_pass().view.mode == "catch-up"
    assert market.exchange.mark == 1_010 * WAD
    block = market.chain.block
    market.chain.advance(58)  # the next transaction comes a second later
    keeper.one_pass()
    assert market.chain.block == block
    market.chain.advance(1)
    keeper.one_pass()
    assert market.exchange.mark == 1_020_100 * WAD // 1000
    assert (keeper.summary.refused, keeper.summary.settlements) == (0, 2)


def test_in_catch_up_only_who_is_below_at_the_index_too() -> None:
    market = Market(max_price_step=WAD * 8 // 100, step_interval=3_000)
    market.exchange.set_price(1_500 * WAD)
    market.exchange.settle()
    assert market.exchange.mark == 1_080 * WAD  # WEAK is worth 20: below maintenance at the mark
    market.exchange.set_price(1_000 * WAD)  # but would be worth 100 at the index
    keeper = market.keeper()
    status = keeper.one_pass()
    assert (status.view.mode, status.below, keeper.summary.refused) == ("catch-up", 0, 0)
    with pytest.raises(Reverted, match="healthy"):
        market.exchange.liquidate(KEEPER, WEAK)
    market.exchange.set_price(1_090 * WAD)  # below at both
    status = keeper.one_pass()
    assert (status.view.mode, status.below, keeper.summary.liquidations) == ("catch-up", 1, 1)


def test_a_refused_price_is_told_once_and_nothing_is_sent() -> None:
    market = Market()
    market.exchange.set_price(BELOW)
    market.exchange.settle()
    market.exchange.set_round(0, market.chain.now)
    keeper, block = market.keeper(), market.chain.block
    assert keeper.one_pass().view.index_price is None
    keeper.one_pass()
    assert market.lines == ["the market refuses the price (oracle: non-positive answer); nothing can be done"]
    assert market.chain.block == block
    market.exchange.set_price(BELOW)
    keeper.one_pass()
    assert market.lines[1] == "the market has a price again"
    assert keeper.summary.liquidations == 1


def test_the_mode_is_the_lenss() -> None:
    market = Market(guardian=RevmChain().address(0), max_price_step=WAD // 100, step_interval=60, oracle_grace=3600)
    keeper = market.keeper()
    seen = []

    def compare() -> None:
        mode = keeper.one_pass().view.mode
        assert mode == market.exchange.mode
        seen.append(mode)

    compare()
    market.exchange.set_reduce_only(True, 0)
    compare()
    market.exchange.set_price(1_035 * WAD)
    compare()
    market.exchange.set_round(0, market.chain.now)
    market.exchange.wind_down()
    market.chain.advance(3600)
    market.exchange.wind_down()
    compare()
    assert seen == ["active", "reduce-only", "catch-up", "closed"]


# ---------------------------------------------------------------------------------------------------------- surviving


class Wrapped:
    """A chain whose `transact` or `call` somebody meddles with."""

    def __init__(self, chain: RevmChain, before: Callable[[str], None]) -> None:
        self._chain, self._before = chain, before

    def transact(self, contract: Any, function: str, *arguments: Any, sender: int) -> Transaction:
        self._before(function)
        return self._chain.transact(contract, function, *arguments, sender=sender)

    def call(self, contract: Any, function: str, *arguments: Any) -> Any:
        self._before(function)
        return self._chain.call(contract, function, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)


def test_somebody_was_faster() -> None:
    """The first liquidation is taken by a rival between the look and the transaction; the second succeeds."""
    market = Market()
    market.exchange.withdraw(STRONG, 900 * WAD)
    market.exchange.set_price(BELOW)
    rivals: list[Transaction] = []

    def race(function: str) -> None:
        if function == "liquidate" and not rivals:
            rivals.append(market.exchange.liquidate(RIVAL, WEAK))

    keeper = market.keeper(Wrapped(market.chain, race))
    status = keeper.one_pass()
    assert (status.below, keeper.summary.refused, keeper.summary.liquidations) == (2, 1, 1)
    refused = [line for line in market.lines if "refused" in line]
    assert refused == [f"liquidate of {market.chain.address(WEAK)} refused: liquidation: healthy account"]
    assert market.ratio(STRONG) == pytest.approx(0.05, rel=1e-12)


def test_an_account_that_was_rescued_in_time_is_left_alone() -> None:
    """Found below maintenance, but when its turn comes it has been topped up: no transaction is wasted."""
    market = Market()
    market.exchange.withdraw(STRONG, 905 * WAD)
    market.exchange.set_price(BELOW)

    def rescue(function: str) -> None:
        if function == "liquidate":
            market.exchange.deposit(WEAK, 500 * WAD)

    keeper = market.keeper(Wrapped(market.chain, rescue))
    assert keeper.one_pass().worthwhile == 2
    assert (keeper.summary.liquidations, keeper.summary.refused) == (1, 0)


def test_a_node_that_does_not_answer_is_asked_later_and_later() -> None:
    market = Market()
    market.exchange.set_price(BELOW)
    down, slept, shown = [True] * 3, list[float](), list[Status]()

    def outage(_function: str) -> None:
        if down and down.pop():
            raise ConnectionRefusedError("connection refused\nby the node")

    keeper = Keeper(
        Wrapped(market.chain, lambda _: None),  # type: ignore[arg-type]
        market.exchange.market.address,
        Policy(KEEPER),
        market.lines.append,
    )
    keeper.chain = Wrapped(market.chain, outage)  # type: ignore[assignment]
    summary = keeper.run(0.25, passes=5, show=shown.append, sleep=slept.append)
    assert (summary.passes, summary.outages, summary.liquidations) == (5, 3, 1)
    assert slept == [1, 2, 4, 0.25]
    assert market.lines[0] == (
        "the node does not answer (ConnectionRefusedError: connection refused); next attempt in 1 s"
    )
    assert len(shown) == 2


def test_other_exceptions_are_not_swallowed() -> None:
    market = Market()
    keeper = market.keeper()

    def broken(_function: str) -> None:
        raise ZeroDivisionError

    keeper.chain = Wrapped(market.chain, broken)  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        keeper.run(0, passes=1)


# ------------------------------------------------------------------------------------------------------- the event log


def test_a_restarted_keeper_knows_the_same_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever pieces the log is read in, and whenever the first one began."""
    market = Market()
    first = market.keeper()
    first.one_pass()
    market.exchange.trade(LONGER, RIVAL, True, WAD, MARK)
    market.exchange.trade(LONGER, STRONG, False, WAD, MARK)  # STRONG is out
    first.one_pass()
    expected = {market.chain.address(trader) for trader in (LONGER, WEAK, RIVAL)}
    assert set(first.holders) == expected
    for chunk in (1, 3, 10_000):
        monkeypatch.setattr(keeping, "CHUNK", chunk)
        restarted = market.keeper()
        restarted.one_pass()
        assert set(restarted.holders) == expected


def test_what_comes_before_the_first_block_is_not_known() -> None:
    market = Market()
    block = market.chain.block
    market.exchange.trade(LONGER, RIVAL, True, WAD, MARK)
    keeper = market.keeper(from_block=block + 1)
    keeper.one_pass()
    assert set(keeper.holders) == {market.chain.address(trader) for trader in (LONGER, RIVAL)}


def test_closed_accounts_and_ended_epochs_are_forgotten() -> None:
    market = Market()
    keeper = market.keeper()
    market.exchange.set_price(1_095 * WAD)  # WEAK's bucket is closed
    keeper.one_pass()
    assert set(keeper.holders) == {market.chain.address(trader) for trader in (LONGER, STRONG)}
    for price in (1_600, 2_400):  # and STRONG's, and with it the epoch
        market.exchange.set_price(price * WAD)
        keeper.one_pass()
    assert (market.exchange.epoch, keeper.holders) == (1, [])
    keeper.one_pass()
    assert keeper.holders == []


def test_a_chain_that_went_back_is_read_anew() -> None:
    market = Market()
    keeper = market.keeper()
    with market.chain.anchor():
        market.exchange.trade(LONGER, RIVAL, True, WAD, MARK)
        keeper.one_pass()
        assert market.chain.address(RIVAL) in keeper.holders
    keeper.one_pass()
    assert market.chain.address(RIVAL) not in keeper.holders
    assert len(keeper.holders) == 3
    assert market.lines == [f"the chain went back to block {market.chain.block}; reading it anew"]


def test_another_market_on_the_chain_is_none_of_its_business() -> None:
    market = Market()
    other = Market(chain=market.chain)
    other.exchange.set_price(BELOW)
    keeper = market.keeper()
    assert keeper.one_pass().below == 0
    assert other.size(WEAK) == WAD


@pytest.mark.parametrize("name", ["token", "vault", "nobody"])
def test_what_is_no_market_is_named(name: str) -> None:
    market = Market()
    addresses = {**market.exchange.addresses.as_dict(), "nobody": "0x" + "12" * 20}
    with pytest.raises(NoMarket, match=f"(?i)no market at {addresses[name]}"):
        Keeper(market.chain, addresses[name], Policy())


# ------------------------------------------------------------------------------------------------------ as the market


def test_it_finds_whom_the_market_lets_be_liquidated() -> None:
    """Random crowds at random prices: an account is a target exactly if the market would let it be taken over."""
    rng = random.Random(7)
    verdicts = {True: 0, False: 0}
    for _ in range(12):
        fee = rng.choice([WAD // 100, WAD // 40])
        market = Market(
            liquidation_fee=fee, max_price_step=WAD // 20, step_interval=rng.choice([0, 100]), min_notional=50 * WAD
        )
        for trader in range(6, 14):
            market.exchange.fund(trader)
            market.exchange.deposit(trader, rng.randint(60, 110) * WAD)
            market.exchange.trade(LONGER, trader, True, rng.randint(900, 1000) * WAD // 1000, MARK)
        market.exchange.set_price(rng.randint(1_020, 1_090) * WAD)
        keeper = market.keeper()
        keeper._follow()
        view = keeper._catch_up()
        targets = {target.owner: target for target in keeper._targets(view)}
        for trader in (WEAK, STRONG, *range(6, 14)):
            with market.chain.anchor():
                owner, refusal, taken = market.chain.address(trader), "", 0
                try:
                    logs = market.exchange.liquidate(RIVAL, trader).logs
                    (taken,) = (log.fields["size"] for log in logs if log.name == "Liquidated")
                    (reward,) = (log.fields["reward"] for log in logs if log.name == "Liquidated")
                except Reverted as refused:
                    refusal = refused.reason
                assert (owner in targets) == (refusal != "liquidation: healthy account"), refusal
                verdicts[owner in targets] += 1
                if owner in targets and not refusal:
                    assert (targets[owner].size, targets[owner].reward) == (taken, reward)
    assert min(verdicts.values()) > 15, verdicts
