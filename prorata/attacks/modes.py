"""Attacks on time: when nobody settles, when the market is half open, when the oracle is dead."""

from __future__ import annotations

from typing import ClassVar

from prorata.attacks.attack import DUST, Attack, Knob, part
from prorata.attacks.gaps import LOSING, WINNING, open_straddle
from prorata.attacks.griefing import HOLDER, endow, open_against
from prorata.attacks.world import COALITION, INSURER, MAKER, MARK, VICTIM, World
from prorata.units import WAD

REPORTER = COALITION[3]


def kill_oracle(world: World) -> None:
    """The feed answers nothing that a market may trade on."""
    world.exchange.set_round(0, world.chain.now)


def wind_down(world: World) -> None:
    """The coalition reports the oracle, or closes the market."""
    world.exchange.wind_down(REPORTER)


class KeeperDelay(Attack):
    """A long with little margin, a dip that would close it, a recovery. The coalition sees to it that nobody settles in
    between (full blocks, bribed builders), and settles itself when the dip is over."""

    name = "keeper-delay"
    title = "settlements censored through a dip"
    hope = "What nobody settles has not happened."
    source = "MakerDAO, 2020-03-12: congestion kept keepers out, auctions were won for nothing"
    promise = (
        "A price that nobody settled is nobody's gain or loss, so an account may outlive a dip: its own margin, which "
        "others would have won, is what it keeps at most. Ends with any one call by anybody; no debt comes of it."
    )
    knobs: ClassVar = {
        "size": Knob(1, 100),
        "margin": Knob(0.075, 0.3),
        "dip": Knob(0.6, 0.99),
        "after": Knob(0.9, 1.1),
    }

    def prepare(self, world: World) -> None:
        endow(world, MAKER)

    def strike(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD, knobs["margin"])
        world.say(part(MARK, knobs["dip"]))
        world.move(part(MARK, knobs["after"]))

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD, knobs["margin"])
        world.move(part(MARK, knobs["dip"]))
        world.move(part(MARK, knobs["after"]))

    def bound(self, world: World, **knobs: float) -> int:
        """Its margin, and what its position has won since: it would have had neither."""
        return DUST + max(0, world.exchange.account(HOLDER).equity)


class CatchUpStraddle(Attack):
    """The index has jumped further than the mark may step. Everybody knows where the mark is going, so the coalition
    opens both sides at where it still stands: one will be paid, the other has no more to lose than its margin."""

    name = "catch-up-straddle"
    title = "trading at a mark that is known to lag"
    hope = "A price that is known to be wrong is a bet that cannot be lost."
    source = "Synthetix, sKRW, 2019-06-25: a bot traded at a price known to be wrong as long as it stood"
    promise = "While the mark lags nobody trades; a fill settles first, so where it goes through the mark is the index."
    knobs: ClassVar = {"size": Knob(1, 100), "margin": Knob(0.075, 0.3), "jump": Knob(0.4, 0.8), "steps": Knob(0, 5)}
    expects = ("mode: catch-up", "order: price outside band")

    def strike(self, world: World, **knobs: float) -> None:
        world.say(part(MARK, knobs["jump"]))
        for _ in range(int(knobs["steps"])):
            world.exchange.settle()
        size = int(knobs["size"]) * WAD
        exchange = world.exchange
        exchange.deposit(LOSING, world.whole(part(size * exchange.mark // WAD, knobs["margin"])))
        exchange.deposit(WINNING, world.whole(size * exchange.mark // WAD))
        exchange.trade(LOSING, WINNING, True, size, exchange.mark)
        world.settle()

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, knobs["jump"]))


class CatchUpWithdrawal(Attack):
    """The index has jumped, the mark is on its way. The coalition's long takes out what is free at the present mark and
    leaves the rest of the fall to whoever wins by it."""

    name = "catch-up-withdrawal"
    title = "margin withdrawn at a lagging mark"
    hope = "What is gone when the mark arrives cannot be lost."
    source = "Hyperliquid, 2025-03-12: 17 M$ of margin withdrawn under a 340 M$ long, 4 M$ left to the vault"
    promise = (
        "While the mark lags only flat accounts withdraw; a withdrawal settles first, so where it goes through the "
        "mark is the index."
    )
    knobs: ClassVar = {"size": Knob(1, 100), "jump": Knob(0.4, 0.85), "part": Knob(0.1, 0.99), "steps": Knob(0, 5)}
    expects = ("mode: catch-up", "account: above free collateral")

    def prepare(self, world: World) -> None:
        endow(world, MAKER)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, parameters = world.exchange, world.parameters
        size = int(knobs["size"]) * WAD
        open_against(world, HOLDER, MAKER, size, 1.0)
        world.say(part(MARK, knobs["jump"]))
        for _ in range(int(knobs["steps"])):
            exchange.settle()
        free = exchange.account(HOLDER).equity - size * exchange.mark // WAD * parameters.initial_margin // WAD
        exchange.withdraw(HOLDER, world.whole(part(free, knobs["part"])))
        world.settle()

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD, 1.0)
        world.move(part(MARK, knobs["jump"]))

    def bound(self, world: World, **knobs: float) -> int:
        return DUST + max(0, sum(one.covered + one.socialized for one in world.receipts))


class RiskInReduceOnly(Attack):
    """The guardian has made the market reduce-only. An account that holds a unit sells many: it reduces first, and is
    short with the rest, in time for the fall that everybody fears."""

    name = "risk-in-reduce-only"
    title = "new risk by turning a position over"
    hope = "A straddle while nobody else may add risk: the gap is paid by those who are already in."
    source = "Venus, 2022-05-12 to -14: borrowing off, repayments on, while a price was known to be wrong"
    promise = "In reduce-only mode both parties must reduce, and turning over is no reduction."
    knobs: ClassVar = {"held": Knob(1, 40), "sold": Knob(1, 80), "margin": Knob(0.075, 0.3), "jump": Knob(0.4, 1.6)}
    expects = ("mode: reduce-only",)

    def prepare(self, world: World) -> None:
        world.exchange.set_reduce_only(False, INSURER)
        endow(world, WINNING)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, held = world.exchange, int(knobs["held"]) * WAD
        is_long = knobs["jump"] > 1
        open_straddle(world, held, knobs["margin"], up=not is_long)
        exchange.set_reduce_only(True, INSURER)
        exchange.deposit(LOSING, world.whole(part(int(knobs["sold"]) * MARK, knobs["margin"])))
        exchange.trade(LOSING, WINNING, not is_long, held + int(knobs["sold"]) * WAD, MARK)
        world.move(part(MARK, knobs["jump"]))

    def abstain(self, world: World, **knobs: float) -> None:
        world.exchange.set_reduce_only(True, INSURER)
        world.move(part(MARK, knobs["jump"]))


class ExitToll(Attack):
    """The market is reduce-only, and a crowd of shorts wants out. Whoever is long may sell to them, at his price."""

    name = "exit-toll"
    title = "the way out of a paused market sold"
    hope = "Those who can only reduce need somebody who reduces the other way, and pay for him."
    source = "Venus LUNA incident update 3, 2022-05-14: a window in which positions could only be reduced"
    promise = (
        "Nobody need sell or buy: what is paid over the mark is an order's own price, and at most price_band of it. "
        "The way out without a toll is to wait, or to be closed at the mark."
    )
    knobs: ClassVar = {"size": Knob(1, 100), "above": Knob(0.0, 0.06), "minutes": Knob(0, 600)}
    expects = ("order: price outside band",)

    def prepare(self, world: World) -> None:
        endow(world, VICTIM, HOLDER)

    def out(self, world: World, price: int, **knobs: float) -> None:
        """The coalition, long before the pause, sells to the victim at a price."""
        size = int(knobs["size"]) * WAD
        open_against(world, HOLDER, VICTIM, size)
        world.exchange.set_reduce_only(True, INSURER)
        world.chain.advance(60 * int(knobs["minutes"]))
        world.say(MARK)
        world.exchange.trade(VICTIM, HOLDER, True, size, price)

    def strike(self, world: World, **knobs: float) -> None:
        self.out(world, MARK + part(MARK, knobs["above"]), **knobs)

    def abstain(self, world: World, **knobs: float) -> None:
        self.out(world, MARK, **knobs)

    def bound(self, world: World, **knobs: float) -> int:
        return DUST + int(knobs["size"]) * MARK * world.parameters.price_band // WAD


class WindDownOption(Attack):
    """The oracle dies; outside, the price falls. Just before the oracle comes back, the coalition, which is long,
    closes the market at the last price that was accepted. Had the price risen it would have waited."""

    name = "wind-down-option"
    title = "the oracle's grace as a free option"
    hope = "To choose between the last price and the next one."
    source = "Blizz and Venus, 2022-05-12: a feed paused at 0.107 while the price fell to 0.01"
    promise = (
        "Not prevented: of a dead oracle the last price is the only one there is. Worth at most size times what the "
        "price did meanwhile, out of what the other side would have won; needs an oracle dead for oracle_grace with "
        "nobody settling, and whoever fears it can be flat."
    )
    knobs: ClassVar = {"size": Knob(1, 100), "jump": Knob(0.5, 1.5), "late": Knob(0, 3_600)}

    def prepare(self, world: World) -> None:
        endow(world, MAKER, HOLDER)

    def strike(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD)
        kill_oracle(world)
        if knobs["jump"] < 1:
            wind_down(world)
            world.chain.advance(world.parameters.oracle_grace + int(knobs["late"]))
            wind_down(world)
        world.move(part(MARK, knobs["jump"]))

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD)
        kill_oracle(world)
        world.chain.advance(world.parameters.oracle_grace + int(knobs["late"]))
        world.move(part(MARK, knobs["jump"]))

    def bound(self, world: World, **knobs: float) -> int:
        return DUST + int(knobs["size"]) * abs(part(MARK, knobs["jump"]) - MARK)


class FlickeringOracle(Attack):
    """The oracle is out for a moment, and is reported. It comes back, and the market goes on for days. When it is
    out for another moment, just as the price falls, the coalition closes the market at once: the grace period is
    long over."""

    name = "flickering-oracle"
    title = "two short outages taken for a long one"
    hope = "The last price instead of the next one, without waiting for a dead oracle."
    source = "Blizz and Venus, 2022-05-12: a feed paused at 0.107 while the price fell to 0.01"
    promise = (
        "Whoever settles, or does anything that settles, ends the suspicion; a report counts only while nobody does."
    )
    knobs: ClassVar = {"size": Knob(1, 100), "days": Knob(1.0, 20.0), "jump": Knob(0.5, 0.99), "waits": Knob(0, 80_000)}
    expects = ("mode: oracle grace",)

    def prepare(self, world: World) -> None:
        endow(world, MAKER, HOLDER)

    def strike(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD)
        kill_oracle(world)
        wind_down(world)
        self.go_on(world, knobs["days"])
        kill_oracle(world)
        wind_down(world)
        if not world.exchange.core.closed:
            world.chain.advance(int(knobs["waits"]))
            wind_down(world)
        world.move(part(MARK, knobs["jump"]))

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD)
        self.go_on(world, knobs["days"])
        world.move(part(MARK, knobs["jump"]))

    def go_on(self, world: World, days: float) -> None:
        """The oracle is back, somebody settles, and time passes."""
        world.move(MARK)
        world.chain.advance(int(days * 86_400))


class StarvedReport(Attack):
    """The oracle is well. The coalition calls `wind_down` with so little gas that the question to the oracle fails, and
    again when the grace period is over: the market closes at the last price, just as the price falls."""

    name = "starved-report"
    title = "a living oracle starved of gas"
    hope = "An answer that failed for want of gas passes for an oracle that is dead."
    source = "Smart Contract Weakness Classification, SWC-126: insufficient gas griefing"
    promise = (
        "`wind_down` insists on a million gas before it asks: with less it is refused, with more the oracle answers."
    )
    knobs: ClassVar = {"size": Knob(1, 100), "gas": Knob(20_000, 1_200_000), "jump": Knob(0.5, 0.99)}
    expects = ("mode: too little gas", "mode: oracle is alive", "")

    def prepare(self, world: World) -> None:
        endow(world, MAKER, HOLDER)
        self.starver = world.chain.deploy("MockStarver")

    def strike(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD)
        for _ in range(2):
            target, gas = world.exchange.market.address, int(knobs["gas"])
            world.chain.transact(self.starver, "wind_down", target, gas, sender=REPORTER)
            world.chain.advance(world.parameters.oracle_grace)
        world.move(part(MARK, knobs["jump"]))

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD)
        world.move(part(MARK, knobs["jump"]))
