"""Attacks that hurt others more than they bring: dust, forced closings, locked room. Counted twice, as gain and as
harm.

`Griefing.damage` says what all others together may lose; `harm` measures it for one strike, `worst_harm` looks for
the strike that hurts most.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from scipy.stats import qmc

from prorata.attacks.attack import DUST, Attack, Knob, part, taken_from_others, units
from prorata.attacks.gaps import LOSING, WINNING, open_straddle
from prorata.attacks.search import Range
from prorata.attacks.world import COALITION, LONGS, MAKER, MARK, SHORTS, SIZE, VICTIM, Setting, World
from prorata.chain import Reverted
from prorata.units import SHORT, WAD

HOLDER = COALITION[2]
#: Sizes whose difference is worth less than this part of the smallest position are the same (`modules/accounts.vy`).
DUST_PART = 10**6


@dataclass(frozen=True)
class Harm:
    """What a strike cost the coalition and all others, trading fees included, gas not. Wei of quote.

    Attributes:
        cost: of the coalition; negative: a gain.
        loss: of everybody who has less than without the strike.
        bound: what the design lets others lose.
    """

    cost: int
    loss: int
    bound: int
    refused: str = ""

    @property
    def ratio(self) -> float:
        """What others lose for each unit that it costs."""
        return self.loss / self.cost if self.cost > 0 else 0.0


class Griefing(Attack):
    """An attack whose victims may lose more than it brings."""

    @abstractmethod
    def damage(self, world: World, **knobs: float) -> int:
        """The most that all others may lose together, wei of quote; asked right after the strike."""


def harm(ground: Range, **knobs: float) -> Harm:
    """Strike once, count what others lose, undo it."""
    attack, world = ground.attack, ground.world
    assert isinstance(attack, Griefing)
    with world.apart():
        attack.abstain(world, **knobs)
        before = world.books
    with world.apart():
        try:
            attack.strike(world, **knobs)
        except Reverted as refusal:
            return Harm(0, 0, 0, refusal.reason)
        after = world.books
        loss = sum(after.payers(before).values())
        return Harm(before.coalition - after.coalition, loss, attack.damage(world, **knobs))


def worst_harm(attack: Griefing, setting: Setting, strikes: int, seed: int) -> Harm:
    """The strike of so many, spread evenly over all knobs, after which others have lost most; one above its bound comes
    before any within."""
    ground = Range(attack, setting)
    sample = qmc.Sobol(len(attack.knobs), seed=seed).random_base2(max(1, (strikes - 1).bit_length()))
    found = []
    for point in sample:
        knobs = {}
        for (name, knob), at in zip(attack.knobs.items(), point, strict=True):
            value = knob.low + (knob.high - knob.low) * float(at)
            knobs[name] = round(value) if knob.is_whole else value
        found.append(harm(ground, **knobs))
    return max(found, key=lambda one: (one.loss > one.bound, one.loss))


def lost_by_others(world: World) -> int:
    """What a strike's receipts state, and a token unit, in whole ones of which insurance is counted."""
    return taken_from_others(world) + world.exchange.unit


def endow(world: World, *accounts: int) -> None:
    """Collateral for any position of these strikes."""
    for one in accounts:
        world.exchange.deposit(one, 10**7 * WAD)


def clear(world: World) -> None:
    """The honest close what they have with each other; they stay, flat."""
    for long, short in zip(LONGS, SHORTS, strict=True):
        world.exchange.trade(long, short, False, SIZE, world.exchange.mark)


def open_against(world: World, owner: int, other: int, size: int, margin: float | None = None) -> None:
    """`owner` buys from `other` at the mark, if need be with so much of the notional as collateral. The coalition's
    account takes the other's order, and pays for the gas."""
    if margin is not None:
        world.exchange.deposit(owner, world.whole(part(size * world.exchange.mark // WAD, margin)))
    maker, taker = (owner, other) if other in COALITION else (other, owner)
    world.exchange.trade(maker, taker, maker == owner, size, world.exchange.mark)


class DustStuffing(Griefing):
    """As many buckets as the coalition has accounts, each with the least position there is, in the way of a fall that
    another of its accounts wins by."""

    name = "dust-stuffing"
    title = "buckets stuffed with dust"
    hope = "Settlements cost so much, or stop so often, that the winner is the only one to profit from a fall."
    source = "CodeHawks, Zaros part 2 (2025-01), submission 822: nothing keeps dust out of liquidations"
    promise = (
        "A bucket costs its owner a deposit and a fill, over 20 times the gas that closing it costs whoever settles; "
        "no call closes more than its budget or takes 10 M gas. In money others lose what dust owes beyond its own "
        "margin, cents, and the coalition has no more than that."
    )
    knobs: ClassVar = {"buckets": Knob(1, 12), "apart": Knob(1.0, 4.0), "size": Knob(1, 40), "fall": Knob(0.76, 0.95)}

    def prepare(self, world: World) -> None:
        endow(world, MAKER, WINNING)

    def stuff(self, world: World, buckets: int, apart: float) -> None:
        """Longs, one a bucket and so many buckets apart, from 8 % of margin on, all of them against the winner."""
        exchange = world.exchange
        size = world.parameters.min_notional * WAD // exchange.mark * 101 // 100
        for number, owner in enumerate(world.enlist(buckets)):
            margin = 0.08 + number * apart * world.parameters.bucket_width / WAD
            exchange.deposit(LOSING, world.whole(part(size * exchange.mark // WAD, margin)) + exchange.unit, to=owner)
            exchange.trade(owner, WINNING, True, size, exchange.mark)

    def strike(self, world: World, **knobs: float) -> None:
        self.stuff(world, int(knobs["buckets"]), knobs["apart"])
        self.abstain(world, **knobs)

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, MAKER, WINNING, units(knobs["size"]))
        world.move(part(MARK, knobs["fall"]))

    def bound(self, world: World, **knobs: float) -> int:
        return taken_from_others(world)

    def damage(self, world: World, **knobs: float) -> int:
        return lost_by_others(world)


class ForcedDeleverage(Griefing):
    """A victim is short and winning. The coalition ruins a long of its own, so that all shorts shrink."""

    name = "forced-deleverage"
    title = "a winner deleveraged on purpose"
    hope = "The victim's winning position shrinks just when it wins; an own short takes its place."
    source = "Hyperliquid, 2025-10-10: 2.1 B$ of winners deleveraged in twelve minutes (arXiv 2512.01112)"
    promise = (
        "Whoever is deleveraged at the index loses no money, only size. Where the mark lags, the gap that he misses "
        "is what the receipt calls adl_shortfall, and the ruined account's last margin is his before it is "
        "insurance's. Others lose no more than receipts state, but that may be nine times what it costs."
    )
    knobs: ClassVar = {"size": Knob(1, 250), "margin": Knob(0.075, 0.2), "fall": Knob(0.76, 0.99)}

    def prepare(self, world: World) -> None:
        endow(world, VICTIM, MAKER)
        open_against(world, MAKER, VICTIM, SIZE)

    def strike(self, world: World, **knobs: float) -> None:
        open_straddle(world, int(knobs["size"]) * WAD, knobs["margin"], up=False)
        world.move(part(MARK, knobs["fall"]))

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, knobs["fall"]))

    def bound(self, world: World, **knobs: float) -> int:
        return taken_from_others(world)

    def damage(self, world: World, **knobs: float) -> int:
        return lost_by_others(world)


class ForcedReset(Griefing):
    """The coalition is the whole long side, against a victim, with hardly any margin: when it falls, the epoch is
    over."""

    name = "forced-reset"
    title = "a whole side closed to end the epoch"
    hope = "The victim's position ends with the epoch, before the fall does; what is not yet settled need not be paid."
    source = "Liquity, StabilityPool.sol (2021): a liquidation that empties the pool begins a new epoch"
    promise = (
        "Gains stay, positions end at the mark. What was still to come to the victim is stated as adl_shortfall, what "
        "was owed beyond margin as deficit: the coalition spares no more than that, and others lose no more."
    )
    knobs: ClassVar = {"size": Knob(1, 200), "margin": Knob(0.075, 0.3), "fall": Knob(0.4, 0.98)}

    def prepare(self, world: World) -> None:
        clear(world)
        endow(world, VICTIM)

    def strike(self, world: World, **knobs: float) -> None:
        open_against(world, LOSING, VICTIM, int(knobs["size"]) * WAD, knobs["margin"])
        world.move(part(MARK, knobs["fall"]))

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, LOSING, VICTIM, int(knobs["size"]) * WAD, 1.0)
        world.move(part(MARK, knobs["fall"]))

    def bound(self, world: World, **knobs: float) -> int:
        return taken_from_others(world)

    def damage(self, world: World, **knobs: float) -> int:
        return lost_by_others(world)


class ScaleExhaustion(Griefing):
    """An epoch whose shorts have been deleveraged to the last digits. One more small ruin ends it while the mark lags:
    all longs close there, a large one of the coalition's among them, and need not pay the rest of the fall."""

    name = "scale-exhaustion"
    title = "reset by the smallest scale"
    hope = "Both sides close at a lagging mark; the losing side is spared the rest of the way."
    source = "Liquity, GHSA-m9f3-hrx8-x2g3 (2023-03): the running product driven to its last digits by liquidations"
    promise = (
        "Gains are kept, and what winners go without because they close at a lagging mark is stated: never more than "
        "the receipts' deficits and shortfalls, for the coalition and for others. To get there costs the ruined "
        "accounts' margins."
    )
    knobs: ClassVar = {"size": Knob(1, 200), "ruined": Knob(10, 60), "fall": Knob(0.55, 0.95)}

    def prepare(self, world: World) -> None:
        endow(world, VICTIM, WINNING, HOLDER)
        target = 105 * WAD // 10**6
        while world.exchange.side(SHORT).scale > target * 1001 // 1000:
            side = world.exchange.side(SHORT)
            ruined = min(side.open_interest * (side.scale - target) // target, side.open_interest * 4)
            self.ruin(world, ruined)
            world.move(part(MARK, 0.93))
            world.move(MARK)

    def ruin(self, world: World, size: int) -> None:
        """A long of the coalition's that a fall of 7 % will close, against another of its accounts."""
        open_against(world, LOSING, WINNING, size, 0.075 + 2 * world.parameters.fee_rate / WAD)

    def strike(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, VICTIM, int(knobs["size"]) * WAD)
        self.ruin(world, int(knobs["ruined"]) * WAD)
        world.move(part(MARK, knobs["fall"]))

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, VICTIM, int(knobs["size"]) * WAD)
        world.move(part(MARK, knobs["fall"]))

    def bound(self, world: World, **knobs: float) -> int:
        return taken_from_others(world)

    def damage(self, world: World, **knobs: float) -> int:
        return lost_by_others(world)


class IndexExhaustion(Griefing):
    """The index of a side grows with every price it wins by. The price swings, as far as it may, and then falls."""

    name = "index-exhaustion"
    title = "reset by the largest index"
    hope = (
        "The index leaves its range, the epoch ends at a lagging mark, and a large long is spared the rest of a fall."
    )
    source = "CodeHawks, RAAC (2025-02), submission 5020: an index per share driven up when there are next to no shares"
    promise = (
        "Both sides are of one size, so an index never moves by more than the price and 2**156 is 75,000 swings "
        "between the smallest and the largest price away. The epoch does not end: no gain, and nobody else loses "
        "anything."
    )
    knobs: ClassVar = {"size": Knob(1, 40), "swings": Knob(0, 3), "low": Knob(0.6, 0.95), "fall": Knob(0.55, 0.95)}

    def prepare(self, world: World) -> None:
        endow(world, VICTIM, HOLDER, LOSING, WINNING)

    def strike(self, world: World, **knobs: float) -> None:
        size = world.parameters.min_notional * WAD // MARK * 2
        for _ in range(int(knobs["swings"])):
            open_against(world, LOSING, WINNING, size)
            world.move(part(MARK, knobs["low"]))
            world.exchange.trade(LOSING, WINNING, False, size, world.exchange.mark)
            world.move(MARK)
        open_against(world, HOLDER, VICTIM, int(knobs["size"]) * WAD)
        world.move(part(MARK, knobs["fall"]))

    def abstain(self, world: World, **knobs: float) -> None:
        for _ in range(int(knobs["swings"])):
            world.move(part(MARK, knobs["low"]))
            world.move(MARK)
        open_against(world, HOLDER, VICTIM, int(knobs["size"]) * WAD)
        world.move(part(MARK, knobs["fall"]))

    def damage(self, world: World, **knobs: float) -> int:
        return DUST


class InterestLock(Griefing):
    """Two own accounts trade with each other until open interest is at its cap, and close again when it suits them."""

    name = "interest-lock"
    title = "the open-interest cap filled by wash trades"
    hope = "Nobody else can open anything; room is the coalition's to sell."
    source = "CodeHawks, Zaros (2024-07), submission 649: whoever fills first takes all the room under the cap"
    promise = (
        "Others lose no money, can always reduce and close, and get their fill when the room is free again. The lock "
        "costs both parties' fees on all of it, a thousandth of the room at the least, and ties up its initial "
        "margin."
    )
    knobs: ClassVar = {"filled": Knob(0.5, 0.999), "wanted": Knob(1, 100), "hours": Knob(0.0, 48.0)}
    settings = ("guarded",)

    def prepare(self, world: World) -> None:
        endow(world, VICTIM, MAKER)

    def lock(self, world: World, filled: float) -> int:
        """Fill so much of the room; returns the size."""
        exchange = world.exchange
        cap = world.parameters.oi_multiple * exchange.vault_assets // exchange.mark
        size = part(cap - exchange.side(SHORT).open_interest, filled)
        endow(world, LOSING, WINNING)
        open_against(world, LOSING, WINNING, size)
        return size

    def strike(self, world: World, **knobs: float) -> None:
        size = self.lock(world, knobs["filled"])
        try:
            self.want(world, knobs["wanted"])
            wants = False
        except Reverted:
            wants = True
        world.wait(int(knobs["hours"] * 3600))
        world.exchange.trade(LOSING, WINNING, False, size, world.exchange.mark)
        for one in (LOSING, WINNING):
            world.leave(one)
        if wants:
            self.want(world, knobs["wanted"])

    def want(self, world: World, size: float) -> None:
        """The victim opens with somebody honest."""
        open_against(world, VICTIM, MAKER, units(size))

    def abstain(self, world: World, **knobs: float) -> None:
        self.want(world, knobs["wanted"])
        world.wait(int(knobs["hours"] * 3600))

    def damage(self, world: World, **knobs: float) -> int:
        return DUST


class GriefingDeposit(Griefing):
    """A victim is short, its bucket just out of the close-out margin's reach. A stranger, who owns most of
    insurance, adds the smallest collateral there is to its account, so that it be filed anew, at the present mark's
    wider buckets."""

    name = "griefing-deposit"
    title = "a stranger's deposit into a worse bucket"
    hope = "The victim closes a tick early, and what it has left is insurance's, so mostly the stranger's."
    source = "Immunefi, Belong (2025-10), report 57519: dust deposited for a victim locks its withdrawals"
    promise = (
        "A stranger's deposit keeps the level and never lifts an account to a higher bucket. It costs the account two "
        "wei at most, which is the stranger's own gift or less."
    )
    knobs: ClassVar = {"margin": Knob(0.36, 0.46), "near": Knob(0.02, 1.2), "touches": Knob(1, 3)}

    def prepare(self, world: World) -> None:
        endow(world, MAKER)
        world.exchange.insure(WINNING, 10**6 * WAD)

    def approach(self, world: World, margin: float, near: float) -> None:
        """The mark so many bucket widths short of where the victim closes."""
        exchange, size = world.exchange, 10 * WAD
        exchange.deposit(VICTIM, world.whole(part(size * MARK // WAD, margin)))
        exchange.trade(VICTIM, MAKER, False, size, MARK)
        market, victim = exchange.market.address, world.chain.address(VICTIM)
        closes_at = int(world.chain.call(exchange.lens, "position", market, victim)[-1])
        world.move(closes_at - part(closes_at * world.parameters.bucket_width // WAD, near))

    def tick(self, world: World, near: float) -> None:
        """Half of the way that is left."""
        world.move(world.index_price + part(world.index_price * world.parameters.bucket_width // WAD, near / 2))

    def strike(self, world: World, **knobs: float) -> None:
        self.approach(world, knobs["margin"], knobs["near"])
        for _ in range(int(knobs["touches"])):
            world.exchange.deposit(LOSING, world.exchange.unit, to=VICTIM)
        self.tick(world, knobs["near"])

    def abstain(self, world: World, **knobs: float) -> None:
        self.approach(world, knobs["margin"], knobs["near"])
        self.tick(world, knobs["near"])

    def damage(self, world: World, **knobs: float) -> int:
        return DUST


class DustCloses(Griefing):
    """Sizes that differ by less than a millionth of the smallest position are the same. So an account sells a little
    less (or more) than it has, is closed all the same, and its other half keeps the difference; again and again."""

    name = "dust-closes"
    title = "open interest that drifts by dust"
    hope = "One side grows against the other, and whoever owns the difference is paid for a size nobody lost."
    source = "Balancer v2, 2025-11-03: a rounding of wei, repeated in one batch until it was worth 128 M$"
    promise = (
        "A close is worth at most a millionth of min_notional times what the price then moves; its fees are a "
        "thousandth of it at the smallest size. Winners are paid what losers lost, so it comes from fellow winners' "
        "shares: others lose less than a ten-thousandth of what it costs."
    )
    knobs: ClassVar = {"closes": Knob(1, 10), "over": Knob(-0.99, 0.99), "jump": Knob(0.76, 1.24)}

    def prepare(self, world: World) -> None:
        endow(world, MAKER, LOSING, WINNING)
        open_against(world, MAKER, WINNING, SIZE)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, least = world.exchange, world.parameters.min_notional
        size = least * WAD // MARK * 101 // 100
        dust = least * WAD // (DUST_PART * MARK)
        for _ in range(int(knobs["closes"])):
            exchange.trade(LOSING, WINNING, True, size, MARK)
            exchange.trade(LOSING, WINNING, False, size + part(dust, knobs["over"]), MARK)
        world.move(part(MARK, knobs["jump"]))

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, knobs["jump"]))

    def bound(self, world: World, **knobs: float) -> int:
        return DUST + self._drift(world, **knobs)

    def damage(self, world: World, **knobs: float) -> int:
        return DUST + self._drift(world, **knobs)

    def _drift(self, world: World, **knobs: float) -> int:
        moved = abs(world.index_price - MARK)
        return int(knobs["closes"]) * (world.parameters.min_notional // DUST_PART) * moved // MARK


class FarApart(Griefing):
    """A short that nothing can close keeps a level of narrow buckets alive; another, opened beside the mark and
    closed at once, leaves the level's top there. A rising price has to look at every word of bitmap between."""

    name = "far-apart-words"
    title = "two accounts far apart on a narrow level"
    hope = "Settlements look for buckets where there are none, and stop for want of budget."
    source = "Code4rena, Canto liquidity mining (2023-10): a loop over every tick of a wide range runs out of gas"
    promise = (
        "A price that rises k times is 8 k words away; with the usual budget a call is added for every thirtyfold "
        "rise. Stops move nobody's money: it costs fees, and others lose nothing."
    )
    knobs: ClassVar = {"size": Knob(1, 40), "near": Knob(0.02, 0.4), "rise": Knob(1.2, 6.0)}

    def prepare(self, world: World) -> None:
        endow(world, HOLDER, LOSING, WINNING)

    def beside(self, world: World, near: float) -> None:
        """Open and close a short so near, of ten of the smallest sizes."""
        exchange = world.exchange
        size = world.parameters.min_notional * WAD // MARK * 10
        exchange.deposit(COALITION[3], world.whole(part(size * MARK // WAD, near + 0.08)))
        for is_long in (False, True):
            exchange.trade(COALITION[3], LOSING, is_long, size, MARK)

    def strike(self, world: World, **knobs: float) -> None:
        self.beside(world, knobs["near"])
        self.abstain(world, **knobs)

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, WINNING, int(knobs["size"]) * WAD)
        world.move(part(MARK, knobs["rise"]))

    def damage(self, world: World, **knobs: float) -> int:
        return DUST
