"""Margin and liquidation: ruining one's own account, or somebody else's, for what liquidation pays."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from prorata.attacks.attack import DUST, Attack, Knob, part, taken_from_others
from prorata.attacks.gaps import (
    LOSING,
    OTHER_WINNING,
    WINNING,
    OfGap,
    open_leg,
    provide_maker,
    withdraw_free,
)
from prorata.attacks.world import MAKER, VICTIM, World
from prorata.chain import Reverted
from prorata.units import WAD


class BandEdgeFill(OfGap):
    """Sells to oneself at the edge of the band, so that the seller's account is as good as bankrupt, and waits."""

    name = "band-edge-fill"
    title = "fills that bankrupt one's own account"
    hope = "Collateral moves to the other account by the fill; the next tick ruins the first at somebody else's cost."
    source = "off-market fills between accounts of one owner: Mango (2022-10-11) began with one"
    knobs: ClassVar = {
        "size": Knob(1, 60),
        "margin": Knob(0.051, 0.2),
        "offset": Knob(0.0, 0.05),
        "jump": Knob(0.8, 1.2),
    }

    def strike(self, world: World, **knobs: float) -> None:
        exchange, size, up = world.exchange, int(knobs["size"]) * WAD, knobs["jump"] > 1
        notional = size * exchange.mark // WAD
        exchange.deposit(LOSING, world.whole(part(notional, knobs["margin"])))
        exchange.deposit(WINNING, world.whole(notional))
        price = part(exchange.mark, 1 + knobs["offset"] * (-1 if up else 1))  # the loser sells low or buys high
        exchange.trade(LOSING, WINNING, not up, size, price)
        world.move(part(world.index_price, knobs["jump"]))


class WithdrawToBeLiquidated(OfGap):
    """Hyperliquid's whale: a huge position in profit, its margin withdrawn, so that somebody must take it over."""

    name = "withdraw-to-be-liquidated"
    title = "margin withdrawn to force one's own liquidation"
    hope = "The profit is out, and whoever inherits the position bears what it cannot be sold for."
    source = "Hyperliquid ETH whale (2025-03-12): 17.09 M$ of margin withdrawn, HLP -4 M$, trader +1.8 M$"
    knobs: ClassVar = {
        "size": Knob(5, 90),
        "margin": Knob(0.051, 0.4),
        "profit": Knob(1.0, 1.3),
        "share": Knob(0.5, 1.0),
        "fall": Knob(0.6, 1.0),
    }

    def prepare(self, world: World) -> None:
        provide_maker(world, 300_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        start = world.index_price
        open_leg(world, LOSING, MAKER, True, int(knobs["size"]) * WAD, knobs["margin"])
        world.move(part(start, knobs["profit"]))
        withdraw_free(world, LOSING, knobs["share"])
        world.move(part(world.index_price, knobs["fall"]))


class SelfLiquidation(Attack):
    """Liquidates one's own account for the reward."""

    name = "self-liquidation"
    title = "self-liquidation for reward"
    hope = "The reward is more than the account loses by it."
    source = "Euler (2023-03-13): an account ruined on purpose and liquidated by its owner at a discount"
    promise = "Nothing: the fee comes out of the account itself, and never more than leaves it as healthy as it was."
    knobs: ClassVar = {
        "size": Knob(1, 60),
        "margin": Knob(0.051, 0.06),
        "fall": Knob(0.955, 0.999),
        "slices": Knob(1, 6),
    }

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, size = world.exchange, int(knobs["size"]) * WAD
        open_leg(world, LOSING, MAKER, True, size, knobs["margin"])
        exchange.deposit(WINNING, world.whole(size * exchange.mark // WAD))
        world.move(part(world.index_price, knobs["fall"]))
        for _ in range(int(knobs["slices"])):
            with suppress(Reverted):
                exchange.liquidate(WINNING, LOSING, size // int(knobs["slices"]))

    def bound(self, world: World, **knobs: float) -> int:
        return taken_from_others(world)


class CatchUpOption(Attack):
    """While the mark lags the index, takes positions over at the mark that the index makes worth more."""

    name = "catch-up-option"
    title = "liquidation as a free option in catch-up"
    hope = "The price to come is known, the price of the take-over is still the old one."
    source = "liquidations at a price that is not the market's: Compound, DAI at 1.30 (2020-11-26)"
    promise = (
        "In catch-up only who is below maintenance at mark and index: what he is worth at the index is under his "
        "maintenance margin, and no more can be taken from him, besides the reward that the fee allows."
    )
    knobs: ClassVar = {
        "margin": Knob(0.058, 0.08),
        "fall": Knob(0.95, 0.999),
        "back": Knob(0.97, 1.2),
        "is_long": Knob(0, 1),
    }
    expects: ClassVar = ("liquidation: healthy account",)

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)
        world.exchange.deposit(WINNING, 200_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, start, is_long = world.exchange, world.index_price, bool(knobs["is_long"])
        open_leg(world, VICTIM, MAKER, is_long, 40 * WAD, knobs["margin"])
        against, for_him = (knobs["fall"], knobs["back"]) if is_long else (1 / knobs["fall"], 1 / knobs["back"])
        world.move(part(start, against))
        world.say(part(world.index_price, for_him))
        exchange.settle()  # a first step, if steps are limited
        exchange.liquidate(WINNING, VICTIM)
        world.settle()

    def bound(self, world: World, **knobs: float) -> int:
        """Below maintenance at both prices, and under zero at neither: they are a maintenance margin apart at most."""
        highest = max(max(one.mark_before, one.mark_after, one.index_price) for one in world.receipts)
        return DUST + 40 * highest * (world.parameters.maintenance_margin + world.parameters.liquidation_fee) // WAD


class LiquidationInSlices(Attack):
    """Takes an account over in slices, each of which leaves it below maintenance for the next."""

    name = "liquidation-in-slices"
    title = "partial liquidation that worsens health"
    hope = "Every slice pays a fee and leaves the rest less healthy, so the whole account is eaten up."
    source = "a class of findings on lending markets with a close factor: a bonus paid on every slice"
    promise = (
        "The reward of one liquidation of all of it: a slice never leaves the account less healthy, so slices end "
        "where one liquidation would."
    )
    knobs: ClassVar = {
        "margin": Knob(0.058, 0.08),
        "fall": Knob(0.95, 0.999),
        "slices": Knob(1, 12),
        "first": Knob(0.01, 1.0),
    }

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)
        world.exchange.deposit(WINNING, 200_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, slices = world.exchange, int(knobs["slices"])
        open_leg(world, VICTIM, MAKER, True, 40 * WAD, knobs["margin"])
        world.move(part(world.index_price, knobs["fall"]))
        self.rewarded = world.size(VICTIM) * exchange.mark // WAD
        exchange.liquidate(WINNING, VICTIM, part(world.size(VICTIM), knobs["first"] / slices) + 1)
        for _ in range(slices - 1):
            with suppress(Reverted):
                exchange.liquidate(WINNING, VICTIM, part(world.size(VICTIM), 1 / slices) + 1)

    def bound(self, world: World, **knobs: float) -> int:
        reward = self.rewarded * world.parameters.liquidation_fee // WAD * world.parameters.liquidator_share // WAD
        return DUST + reward


class PushAndTakeOver(Attack):
    """Takes a straddle's loser over with a third account at the last moment, to keep the size and leave the debt."""

    name = "take-over-own-ruin"
    title = "one's own ruined account taken over at the mark"
    hope = "The take-over is at the mark and pays a reward; what the account still owes stays with it."
    source = "a variant of percolator #41 (2026-04): the loser leaves by the liquidation engine"
    promise = (
        "Nothing beyond a straddle: an account that can be taken over still has equity, so no debt is left behind."
    )
    knobs: ClassVar = {
        "size": Knob(1, 40),
        "margin": Knob(0.051, 0.12),
        "rise": Knob(1.02, 1.12),
        "jump": Knob(1.0, 1.5),
    }

    def strike(self, world: World, **knobs: float) -> None:
        exchange, size = world.exchange, int(knobs["size"]) * WAD
        exchange.deposit(WINNING, world.whole(size * exchange.mark // WAD))
        exchange.deposit(OTHER_WINNING, world.whole(size * exchange.mark // WAD // 4))
        open_leg(world, LOSING, WINNING, False, size, knobs["margin"])
        world.move(part(world.index_price, knobs["rise"]))
        with suppress(Reverted):
            exchange.liquidate(OTHER_WINNING, LOSING)
        world.move(part(world.index_price, knobs["jump"]))

    def bound(self, world: World, **knobs: float) -> int:
        return taken_from_others(world)
