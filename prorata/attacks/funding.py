"""Attacks on funding: fills that make a premium which others pay, and positions that come and go around a payment.

The open market has no funding, so it is left out. Prices stand still, so that all that anybody
gains is funding or somebody's fees.
"""

from __future__ import annotations

from typing import ClassVar

from prorata.attacks.attack import DUST, Attack, Knob, part, units
from prorata.attacks.gaps import LOSING, WINNING
from prorata.attacks.griefing import HOLDER, endow, open_against
from prorata.attacks.world import COALITION, MAKER, MARK, SIZE, VICTIM, World
from prorata.units import WAD

FUNDED = ("guarded", "loose")


def fees_in(world: World, size: int) -> int:
    """What the two parties of a fill of `size` at most pay, quote."""
    return 2 * (-(-size * MARK // WAD * world.parameters.fee_rate // WAD) + 1)


def idle(world: World, seconds: float) -> None:
    """Time passes at a price that stands, and nobody does anything."""
    world.chain.advance(int(seconds))
    world.say(world.index_price)


def hold(world: World, seconds: float) -> None:
    """Time passes, and somebody settles."""
    idle(world, seconds)
    world.settle()


class WashPremium(Attack):
    """A short of the coalition's with somebody honest. Two more of its accounts then trade with each other above the
    mark, so that longs shall pay shorts, and trade back at the mark."""

    name = "wash-premium"
    title = "funding set by wash fills"
    hope = (
        "The premium of a trade with oneself is paid by everybody else on the one side to the coalition on the other."
    )
    source = (
        "greeks.live, Funding Rate Manipulation: trades at an artificial premium paid back by funding on a held "
        "position"
    )
    promise = (
        "A fill's premium is at most what its two parties paid in fees, so less comes back than was paid: no gain."
    )
    knobs: ClassVar = {
        "receiver": Knob(1, 200),
        "washed": Knob(0.01, 60.0),
        "above": Knob(0.0001, 0.05),
        "stands": Knob(0, 86_400),
        "held": Knob(60, 200_000),
    }
    settings = FUNDED

    def prepare(self, world: World) -> None:
        endow(world, MAKER, LOSING, WINNING, HOLDER)

    def wash(self, world: World, **knobs: float) -> None:
        """Buy above the mark and, when that has stood for a while, sell at the mark."""
        exchange, size = world.exchange, units(knobs["washed"])
        exchange.trade(LOSING, WINNING, True, size, MARK + part(MARK, knobs["above"]))
        hold(world, knobs["stands"])
        exchange.trade(LOSING, WINNING, False, size, MARK)

    def strike(self, world: World, **knobs: float) -> None:
        open_against(world, MAKER, HOLDER, int(knobs["receiver"]) * WAD)
        self.wash(world, **knobs)
        hold(world, knobs["held"])
        world.exchange.trade(MAKER, HOLDER, False, int(knobs["receiver"]) * WAD, MARK)

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, MAKER, HOLDER, int(knobs["receiver"]) * WAD)
        hold(world, knobs["stands"])
        hold(world, knobs["held"])
        world.exchange.trade(MAKER, HOLDER, False, int(knobs["receiver"]) * WAD, MARK)


class DustPremium(WashPremium):
    """The same with next to nothing: the smallest fills there are, as far off the mark as the band allows, repeated."""

    name = "dust-premium"
    title = "funding set by dust fills"
    hope = "The last price makes the rate, whatever was traded at it."
    source = "CodeHawks, Zaros (2024-07), submission 624: tiny orders steer the funding rate for whoever receives it"
    promise = "A fill counts by its notional and by its fees: dust moves dust."
    knobs: ClassVar = {
        "receiver": Knob(1, 200),
        "fills": Knob(1, 8),
        "above": Knob(-0.05, 0.05),
        "stands": Knob(0, 3_600),
        "held": Knob(60, 200_000),
    }

    def wash(self, world: World, **knobs: float) -> None:
        size = world.parameters.min_notional * WAD // MARK * 101 // 100
        price = MARK + part(MARK, knobs["above"])
        for _ in range(int(knobs["fills"])):
            world.exchange.trade(LOSING, WINNING, True, size, price)
            world.exchange.trade(LOSING, WINNING, False, size, MARK)
        hold(world, knobs["stands"])


class WipedPremium(Attack):
    """Longs owe the premium that an honest buyer left. One of them washes below the mark, as if shorts should pay."""

    name = "wiped-premium"
    title = "a premium cancelled by wash fills"
    hope = "A large payer owes nothing any more, for the price of a small trade with himself."
    source = "CodeHawks, Zaros (2024-07), submission 624: and whoever pays steers it down"
    promise = "As much in fees as is wiped out of everybody's debts, of which his own is a part: no gain."
    knobs: ClassVar = {
        "payer": Knob(1, 200),
        "washed": Knob(0.1, 60.0),
        "below": Knob(0.0, 0.05),
        "held": Knob(60, 200_000),
    }
    settings = FUNDED

    def prepare(self, world: World) -> None:
        endow(world, MAKER, VICTIM, LOSING, WINNING, HOLDER)

    def strike(self, world: World, **knobs: float) -> None:
        self.owe(world, int(knobs["payer"]) * WAD)
        size = units(knobs["washed"])
        world.exchange.trade(LOSING, WINNING, True, size, MARK - part(MARK, knobs["below"]))
        world.exchange.trade(LOSING, WINNING, False, size, MARK)
        hold(world, knobs["held"])

    def abstain(self, world: World, **knobs: float) -> None:
        self.owe(world, int(knobs["payer"]) * WAD)
        hold(world, knobs["held"])

    def owe(self, world: World, size: int) -> None:
        """The coalition is long, and somebody honest buys above the mark."""
        open_against(world, HOLDER, MAKER, size)
        world.exchange.trade(VICTIM, MAKER, True, SIZE, MARK * 1005 // 1000)


class StampDodging(Attack):
    """Buyers have paid more than the mark all day, so longs owe funding. One of them holds through all of the time
    that a payment is for, sells before somebody settles at a price that has changed, and buys back at once."""

    name = "stamp-dodging"
    title = "out at the moment of payment"
    hope = "Whoever is flat when funding is paid pays none."
    source = "Binance developer forum, topic 2335: who holds at 00:00, 08:00 and 16:00 UTC pays, or does not"
    promise = (
        "Funding accrues by the second and every fill settles first. Being out spares the seconds one is out, and "
        "that costs two fees: no gain."
    )
    knobs: ClassVar = {"size": Knob(1, 60), "held": Knob(60, 80_000), "away": Knob(1, 60), "tick": Knob(-0.004, 0.004)}
    settings = FUNDED

    def prepare(self, world: World) -> None:
        endow(world, MAKER, VICTIM, HOLDER)
        for _ in range(8):
            world.exchange.trade(VICTIM, MAKER, True, 60 * WAD, MARK * 1004 // 1000)
            world.exchange.trade(VICTIM, MAKER, False, 60 * WAD, MARK)
        world.exchange.trade(VICTIM, MAKER, True, 60 * WAD, MARK * 1004 // 1000)

    def strike(self, world: World, **knobs: float) -> None:
        size = int(knobs["size"]) * WAD
        open_against(world, HOLDER, MAKER, size)
        idle(world, knobs["held"])
        world.exchange.trade(MAKER, HOLDER, True, size, MARK)
        self.pay(world, **knobs)
        world.exchange.trade(MAKER, HOLDER, False, size, MARK)

    def abstain(self, world: World, **knobs: float) -> None:
        open_against(world, HOLDER, MAKER, int(knobs["size"]) * WAD)
        idle(world, knobs["held"])
        self.pay(world, **knobs)

    def pay(self, world: World, **knobs: float) -> None:
        """The price changes and changes back, and somebody settles both times: what is due is paid, and nobody has
        won or lost by the price."""
        world.move(MARK + part(MARK, knobs["tick"]))
        idle(world, knobs["away"])
        world.move(MARK)


class LateReceiver(StampDodging):
    """The other way round: nothing is held until just before the payment, then the receiving side."""

    name = "late-receiver"
    title = "in at the moment of payment"
    hope = "Whoever holds the receiving side when funding is paid gets a share of a whole day's."
    promise = "Every fill settles first, so what had accrued is paid to whoever was there: no gain."

    def strike(self, world: World, **knobs: float) -> None:
        size = int(knobs["size"]) * WAD
        idle(world, knobs["held"])
        open_against(world, MAKER, HOLDER, size)
        self.pay(world, **knobs)
        world.exchange.trade(MAKER, HOLDER, False, size, MARK)

    def abstain(self, world: World, **knobs: float) -> None:
        idle(world, knobs["held"])
        self.pay(world, **knobs)


class InsuredReceiver(WashPremium):
    """A wash premium by somebody who owns most of insurance too, to which the fees of his wash fills go."""

    name = "insured-receiver"
    title = "fees back by vault shares, funding by position"
    hope = "With most of insurance and most of the receiving side, more comes back than was paid."
    source = "CodeHawks, Gamma (2025-02), submission 1142: funding skewed by those who also share in the vault"
    promise = (
        "With a share v of the vault and s of the receiving side s + v of the fees come back, so at most s + v - 1 of "
        "them are gained, from the other payers, no faster than max_funding allows. Not prevented: to own that much "
        "of both is to be most of the market."
    )
    knobs: ClassVar = {**WashPremium.knobs, "insured": Knob(1, 1_000_000)}

    def strike(self, world: World, **knobs: float) -> None:
        world.exchange.insure(COALITION[3], int(knobs["insured"]) * WAD)
        super().strike(world, **knobs)

    def abstain(self, world: World, **knobs: float) -> None:
        world.exchange.insure(COALITION[3], int(knobs["insured"]) * WAD)
        super().abstain(world, **knobs)

    def bound(self, world: World, **knobs: float) -> int:
        fees = 2 * fees_in(world, units(knobs["washed"]))
        assets = world.setting.insurance + int(knobs["insured"]) * WAD
        vault = int(knobs["insured"]) * WAD * WAD // assets
        shorts = 2 * SIZE + int(knobs["receiver"]) * WAD
        side = int(knobs["receiver"]) * WAD * WAD // shorts
        return DUST + max(0, fees * (vault + side - WAD) // WAD)
