"""A price that jumps over somebody's margin: who does not pay, and who wins by it.

Against the gap itself no margin helps. What the design promises is who pays: insurance up to its cap of draws, then
winners out of the gain of that very move, and receipts state both to the wei.
"""

from __future__ import annotations

from typing import ClassVar

from prorata.attacks.attack import Attack, Knob, part, taken_from_others
from prorata.attacks.world import COALITION, LONGS, MAKER, World
from prorata.units import WAD

LOSING, WINNING, OTHER_LOSING, OTHER_WINNING = COALITION

_PROMISE = (
    "At most what insurance draws (never above its cap) and what receipts state that other winners go without. Where "
    "steps stay within the close-out margin insurance pays nothing: what is left is what winners miss who are "
    "deleveraged at a lagging mark."
)


def open_leg(world: World, one: int, other: int, is_long: bool, size: int, margin: float) -> None:
    """`one` gets a position with `margin` of its notional as collateral, `other` the opposite, at the mark."""
    exchange = world.exchange
    exchange.deposit(one, world.whole(part(size * exchange.mark // WAD, margin)))
    exchange.trade(one, other, is_long, size, exchange.mark)


def open_straddle(world: World, size: int, margin: float, up: bool) -> None:
    """The coalition long and short with itself; the account that a rise (or a fall) ruins has `margin` of its notional
    as collateral, the other all of it."""
    exchange = world.exchange
    exchange.deposit(WINNING, world.whole(size * exchange.mark // WAD))
    open_leg(world, LOSING, WINNING, not up, size, margin)


def provide_maker(world: World, notional: int) -> None:
    """An honest maker with collateral for positions of `notional`, fully covered twice over."""
    world.exchange.deposit(MAKER, world.whole(2 * notional))


def free_collateral(world: World, one: int) -> int:
    """What an account may withdraw, whole token units, quote."""
    held = abs(world.size(one)) * world.exchange.mark // WAD
    free = world.exchange.account(one).equity - (held + 2) * world.parameters.initial_margin // WAD - 5
    return world.whole(max(free, 0))


def withdraw_free(world: World, one: int, share: float = 1) -> None:
    """Take out as much of it as `share` says."""
    amount = world.whole(part(free_collateral(world, one), share))
    if amount:
        world.exchange.withdraw(one, amount)


class OfGap(Attack):
    """An attack whose profit is somebody's unpaid loss."""

    promise: ClassVar[str] = _PROMISE

    def bound(self, world: World, **knobs: float) -> int:
        return taken_from_others(world)


class Straddle(OfGap):
    """The drain of Percolator: lose with an account that cannot pay, win with one that is paid."""

    name = "straddle"
    title = "self-trade gap drain"
    hope = "One account owes more than it has; insurance pays the other."
    source = "percolator issue tracker, #41 (2026-04): a straddle of 2 a leg drains 5 from insurance"
    knobs: ClassVar = {"size": Knob(1, 60), "margin": Knob(0.051, 0.5), "jump": Knob(0.5, 2.0)}

    def strike(self, world: World, **knobs: float) -> None:
        open_straddle(world, int(knobs["size"]) * WAD, knobs["margin"], knobs["jump"] > 1)
        world.move(part(world.index_price, knobs["jump"]))


class Cartel(OfGap):
    """Two wallets that never trade with each other: both legs are an honest maker's, who is flat in the end."""

    name = "two-wallet-cartel"
    title = "a straddle through an honest maker"
    hope = "Nobody can see that the loser and the winner are one person."
    source = "a variant of percolator #41 (2026-04) with several owners; POPCAT (2025-11): 19 wallets"
    knobs: ClassVar = {"size": Knob(1, 60), "margin": Knob(0.051, 0.5), "jump": Knob(0.5, 2.0), "wallets": Knob(1, 2)}

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        up, size = knobs["jump"] > 1, int(knobs["size"]) * WAD
        for loser in (LOSING, OTHER_LOSING)[: int(knobs["wallets"])]:
            open_leg(world, loser, MAKER, not up, size, knobs["margin"])
        for winner in (WINNING, OTHER_WINNING)[: int(knobs["wallets"])]:
            open_leg(world, winner, MAKER, up, size, 1)
        world.move(part(world.index_price, knobs["jump"]))


class Staircase(OfGap):
    """A straddle, and a price that climbs in steps that no breaker notices."""

    name = "staircase"
    title = "staircase under the cap"
    hope = "Every step passes the breaker, all of them together are a gap."
    source = "a variant of percolator #41 (2026-04) against the step cap"
    knobs: ClassVar = {
        "size": Knob(1, 60),
        "margin": Knob(0.051, 0.3),
        "step": Knob(0.001, 0.05),
        "steps": Knob(2, 25),
        "up": Knob(0, 1),
    }

    def strike(self, world: World, **knobs: float) -> None:
        open_straddle(world, int(knobs["size"]) * WAD, knobs["margin"], bool(knobs["up"]))
        for _ in range(int(knobs["steps"])):
            world.move(part(world.index_price, 1 + knobs["step"] * (1 if knobs["up"] else -1)))
            world.wait(12)


class LastWinner(OfGap):
    """The other longs have left in peace: whatever insurance pays is paid to the coalition alone."""

    name = "last-winner"
    title = "last winner standing"
    hope = "Nobody is left to share what insurance pays; losses that are socialized find nobody else."
    source = "clawbacks, where fewer winners bear more each: OKEx (2018-07-31)"
    knobs: ClassVar = {"size": Knob(1, 60), "margin": Knob(0.051, 0.5), "jump": Knob(1.02, 2.0)}

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)
        for long in LONGS:
            world.exchange.trade(long, MAKER, False, world.size(long), world.exchange.mark)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, size = world.exchange, int(knobs["size"]) * WAD
        exchange.deposit(WINNING, world.whole(400 * exchange.mark))
        exchange.trade(WINNING, MAKER, True, world.size(MAKER), exchange.mark)
        open_leg(world, LOSING, WINNING, False, size, knobs["margin"])
        world.move(part(world.index_price, knobs["jump"]))


class SpikeAndWithdraw(OfGap):
    """The oracle spikes and comes back; in between the winner of the spike takes out what the market lets go."""

    name = "spike-withdraw-revert"
    title = "oracle spike, withdrawal, return"
    hope = "The gain of a moment is withdrawn; the loss of the way back finds an empty account."
    source = "Mango (2022-10-11): 116 M$ withdrawn against a pumped price; LINK bad print (2020-03-12)"
    knobs: ClassVar = {"size": Knob(1, 60), "margin": Knob(0.051, 0.5), "spike": Knob(0.5, 2.0), "back": Knob(0.8, 1.2)}

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        up, start = knobs["spike"] > 1, world.index_price
        open_leg(world, LOSING, MAKER, up, int(knobs["size"]) * WAD, knobs["margin"])
        world.move(part(start, knobs["spike"]))
        withdraw_free(world, LOSING)
        world.move(part(start, knobs["back"]))


class SpikeAsMargin(OfGap):
    """The gain of a spike is collateral for a far larger position, which the way back ruins."""

    name = "spike-as-margin"
    title = "a spike as margin for new risk"
    hope = "Paper gains carry a position whose loss nobody has the money for; its other leg is the coalition's."
    source = "Mango (2022-10-11): gains on a pumped price were the collateral for everything else"
    knobs: ClassVar = {"size": Knob(1, 40), "spike": Knob(1.02, 2.0), "part": Knob(0.1, 0.99), "back": Knob(0.5, 1.0)}

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, start = world.exchange, world.index_price
        open_leg(world, LOSING, MAKER, True, int(knobs["size"]) * WAD, 0.06)
        world.move(part(start, knobs["spike"]))
        mark, needed = exchange.mark, world.parameters.initial_margin + 2 * world.parameters.fee_rate
        free = exchange.account(LOSING).equity - world.size(LOSING) * mark // WAD * needed // WAD
        more = part(max(free, 0) * WAD // needed * WAD // mark, knobs["part"])
        if more * mark // WAD >= world.parameters.min_notional:
            exchange.deposit(WINNING, world.whole(more * mark // WAD))
            exchange.trade(LOSING, WINNING, True, more, mark)
        world.move(part(start, knobs["back"]))


class SelfPump(OfGap):
    """Mango's: match oneself, pump the index, withdraw the winner's gain, leave the loser behind."""

    name = "self-pumped-margin"
    title = "self-match, pump, withdraw"
    hope = "The market lends against a gain that one's own other account owes and will never pay."
    source = "Mango (2022-10-11): two 5 M$ accounts self-match 483 M MNGO-PERP, 0.04 to 0.91, 116 M$ withdrawn"
    knobs: ClassVar = {
        "size": Knob(1, 60),
        "margin": Knob(0.051, 0.5),
        "pump": Knob(1.05, 20.0),
        "back": Knob(0.2, 1.0),
    }

    def strike(self, world: World, **knobs: float) -> None:
        start = world.index_price
        open_straddle(world, int(knobs["size"]) * WAD, knobs["margin"], up=True)
        world.move(part(start, knobs["pump"]))
        withdraw_free(world, WINNING)
        world.move(part(start, knobs["back"]))


class ForcedInheritance(OfGap):
    """JELLY's: a short of one's own is left to die while one is long elsewhere, for insurance to inherit it."""

    name = "forced-inheritance"
    title = "a short to be inherited, and a squeeze"
    hope = "Somebody has to take the ruined short over at the mark and bear what it loses from there."
    source = "Hyperliquid JELLY (2025-03-26): 4.05 M$ long against 4.1 M$ short, +400 %, HLP 12 M$ under water"
    knobs: ClassVar = {
        "size": Knob(1, 60),
        "margin": Knob(0.051, 0.2),
        "first": Knob(1.03, 1.3),
        "squeeze": Knob(1.0, 5.0),
        "parts": Knob(1, 8),
    }

    def strike(self, world: World, **knobs: float) -> None:
        open_straddle(world, int(knobs["size"]) * WAD, knobs["margin"], up=True)
        start, parts = world.index_price, int(knobs["parts"])
        world.move(part(start, knobs["first"]))
        for number in range(1, parts + 1):
            world.move(part(start, knobs["first"] * (1 + (knobs["squeeze"] - 1) * number / parts)))


class ManyUpdates(OfGap):
    """Several answers of the oracle within a few seconds, back and forth, each settled at once."""

    name = "many-updates"
    title = "several updates in a block"
    hope = "The breaker counts blocks or answers, and swings within one of them add up; gains round upwards."
    source = "a variant of percolator #41 (2026-04) against the step cap"
    knobs: ClassVar = {
        "size": Knob(1, 60),
        "margin": Knob(0.051, 0.3),
        "swing": Knob(0.001, 0.6),
        "swings": Knob(1, 12),
    }

    def strike(self, world: World, **knobs: float) -> None:
        open_straddle(world, int(knobs["size"]) * WAD, knobs["margin"], up=True)
        start = world.index_price
        for _ in range(int(knobs["swings"])):
            for factor in (1 + knobs["swing"], 1.0):
                world.say(part(start, factor))
                world.exchange.settle()
        world.settle()


class SameBlockRoundTrip(Attack):
    """In and out within seconds, at a price that stands: with a maker's quotes, or one's own."""

    name = "round-trip"
    title = "same-block round trip"
    hope = "Rounding, or a fee that is credited before it is paid, leaves something over each time."
    source = "zero-slippage round trips: GMX v1, AVAX (2022-09-18)"
    promise = "Nothing: fees are paid twice and every rounding is against whoever is paid."
    knobs: ClassVar = {"size": Knob(0.002, 60.0), "trips": Knob(1, 10), "own": Knob(0, 1), "offset": Knob(-0.04, 0.04)}

    def prepare(self, world: World) -> None:
        provide_maker(world, 200_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        size, other = part(WAD, knobs["size"]), WINNING if knobs["own"] else MAKER
        price = part(exchange.mark, 1 + knobs["offset"]) if knobs["own"] else exchange.mark
        for one in (LOSING, WINNING):
            exchange.deposit(one, world.whole(100 * exchange.mark))
        for _ in range(int(knobs["trips"])):
            exchange.trade(LOSING, other, True, size, price)
            exchange.trade(LOSING, other, False, size, price)
        for one in (LOSING, WINNING):
            world.leave(one)
