"""When, and in which order, things are done around a loss: nothing of it may matter (design, S4)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

from prorata.attacks.attack import DUST, Attack, Knob, part
from prorata.attacks.gaps import LOSING, WINNING, free_collateral, provide_maker
from prorata.attacks.world import LONGS, MAKER, SHORTS, VICTIM, World
from prorata.chain import Reverted
from prorata.units import WAD

CATCH_UP = "mode: catch-up"


def prepare_a_deficit(world: World) -> None:
    """The victim is a thin short, the coalition a long like others, and a maker is there to trade with."""
    exchange = world.exchange
    provide_maker(world, 200_000 * WAD)
    exchange.deposit(VICTIM, 6_000 * WAD)
    exchange.trade(VICTIM, MAKER, False, 40 * WAD, exchange.mark)
    exchange.deposit(WINNING, 40_000 * WAD)
    exchange.trade(WINNING, MAKER, True, 20 * WAD, exchange.mark)


def between(world: World, knobs: Mapping[str, float]) -> int:
    """A quote between the mark and the price that is coming."""
    return part(world.exchange.mark, 1 + (knobs["jump"] - 1) * knobs["lean"])


class AroundALoss(Attack):
    """The oracle has said a price at which the victim cannot pay; nobody has settled yet."""

    promise: ClassVar[str] = "Nothing: whoever trades, withdraws or enters settles first, at the price that is known."

    def prepare(self, world: World) -> None:
        prepare_a_deficit(world)

    def abstain(self, world: World, **knobs: float) -> None:
        """Stays where he is."""
        world.move(part(world.index_price, knobs["jump"]))


class ExitBeforeDeficit(AroundALoss):
    """Who sees the loss coming leaves first: a winner with his gain, a loser with what he is about to owe."""

    name = "exit-before-deficit"
    title = "out before losses are settled"
    hope = "Who leaves first is paid in full; the haircut, or the loss itself, is the others'."
    source = "withdrawal races: Drift v1 (2022-05-11), the vault 13.66 to 4.94 M$ in 12 hours"
    knobs: ClassVar = {"jump": Knob(0.5, 1.9), "first": Knob(0.01, 1.0), "size": Knob(0.1, 1.0)}
    expects: ClassVar = (CATCH_UP, "account: above free collateral")

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        free = free_collateral(world, WINNING)
        world.say(part(world.index_price, knobs["jump"]))
        exchange.withdraw(WINNING, world.whole(part(free, knobs["first"])))
        with suppress(Reverted):
            exchange.trade(WINNING, MAKER, False, part(world.size(WINNING), knobs["size"]), exchange.mark)
        world.settle()


class EntryJustAfter(AroundALoss):
    """Who comes in once the loss is known shares in what insurance pays."""

    name = "entry-just-after"
    title = "entry between the price and its settlement"
    hope = "A position opened before the settlement is paid by it."
    source = "front-running of oracle updates: Synthetix (2019), answered there by waiting periods"
    knobs: ClassVar = {"jump": Knob(1.05, 1.9), "size": Knob(1, 60), "lean": Knob(0.0, 1.0)}
    expects: ClassVar = (CATCH_UP, "order: price outside band")

    def strike(self, world: World, **knobs: float) -> None:
        exchange, price = world.exchange, between(world, knobs)
        exchange.deposit(LOSING, 100_000 * WAD)
        world.say(part(world.index_price, knobs["jump"]))
        exchange.trade(LOSING, MAKER, True, int(knobs["size"]) * WAD, price)
        world.settle()

    def abstain(self, world: World, **knobs: float) -> None:
        """Comes in after the settlement, at the same quote."""
        exchange, price = world.exchange, between(world, knobs)
        exchange.deposit(LOSING, 100_000 * WAD)
        world.move(part(world.index_price, knobs["jump"]))
        with suppress(Reverted):
            exchange.trade(LOSING, MAKER, True, int(knobs["size"]) * WAD, price)
        world.settle()


class CloseAndReopen(AroundALoss):
    """Flat for the moment of the loss, and back a moment later."""

    name = "close-and-reopen"
    title = "flat while losses are shared"
    hope = "Deleverage and haircut hit only who is there at that moment."
    source = "ADL queues, where who is flat at the moment is spared: Hyperliquid (2025-10-10)"
    knobs: ClassVar = {"jump": Knob(1.05, 1.9), "size": Knob(0.1, 1.0), "wait": Knob(0, 60), "lean": Knob(0.0, 1.0)}
    expects: ClassVar = (CATCH_UP, "order: price outside band")

    def strike(self, world: World, **knobs: float) -> None:
        exchange, price = world.exchange, between(world, knobs)
        world.say(part(world.index_price, knobs["jump"]))
        size = part(world.size(WINNING), knobs["size"])
        exchange.trade(WINNING, MAKER, False, size, price)
        world.wait(int(knobs["wait"]))
        exchange.trade(WINNING, MAKER, True, size, price)
        world.settle()


class TouchOrder(AroundALoss):
    """Touches whoever it likes, in the order it likes, before and after the settlement."""

    name = "touch-order"
    title = "touch-order games"
    hope = "Who is touched first settles at better terms than who is touched last."
    source = "settlement account by account, by keepers: Drift v1 (2022-05-11), Mango, percolator"
    promise: ClassVar[str] = "Nothing: order and number of touches change nobody's equity, up to 5 wei a touch (S4)."
    knobs: ClassVar = {"jump": Knob(1.05, 1.9), "order": Knob(0, 5039), "before": Knob(0, 7), "rounds": Knob(1, 3)}

    def strike(self, world: World, **knobs: float) -> None:
        exchange, price = world.exchange, part(world.index_price, knobs["jump"])
        touched = _ordered([*LONGS, *SHORTS, VICTIM, MAKER, WINNING], int(knobs["order"])) * int(knobs["rounds"])
        for one in touched[: int(knobs["before"])]:
            exchange.deposit(LOSING, exchange.unit, one)
        world.say(price)
        for one in touched[int(knobs["before"]) :]:
            exchange.deposit(LOSING, exchange.unit, one)
            with suppress(Reverted):
                exchange.liquidate(WINNING, one, 1)
        world.settle()


class StalePick(AroundALoss):
    """Several answers come within staleness; the attacker settles at those it likes, and nobody else settles."""

    name = "cherry-picked-price"
    title = "a price picked within staleness"
    hope = "Between two answers one may choose at which to be settled."
    source = "pull oracles, where the caller chooses among signed prices: the documentation of Pyth warns of it"
    promise: ClassVar[str] = (
        "What choosing among prices that were all true can close that others would not have closed: bounded by what "
        "receipts state, and open to nobody once anybody settles."
    )
    knobs: ClassVar = {"first": Knob(0.7, 1.4), "second": Knob(0.7, 1.4), "which": Knob(0, 3)}

    def strike(self, world: World, **knobs: float) -> None:
        start = world.index_price
        for number, factor in enumerate((knobs["first"], knobs["second"])):
            world.say(part(start, factor))
            if int(knobs["which"]) >> number & 1:
                world.exchange.settle(WINNING)
        world.move(start)

    def abstain(self, world: World, **knobs: float) -> None:
        """Settles whatever comes."""
        start = world.index_price
        for factor in (knobs["first"], knobs["second"]):
            world.move(part(start, factor))
        world.move(start)

    def bound(self, world: World, **knobs: float) -> int:
        """By skipping a price the coalition escapes at most the deleverage there, of its own 20 units, and the way of
        that price and back."""
        start = world.index_price
        swing = max(abs(part(start, knobs[name]) - start) for name in ("first", "second"))
        return DUST + 40 * swing


def _ordered(items: list[int], number: int) -> list[int]:
    """A permutation by its number."""
    rest, ordered = list(items), []
    for base in range(len(items), 0, -1):
        number, place = divmod(number, base)
        ordered.append(rest.pop(place))
    return ordered
