"""What an attack is: a strike on a market, the parameters an attacker would tune, and what the design promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from prorata.attacks.world import SETTINGS, World
from prorata.units import WAD

#: Rounding that may fall to the coalition over a whole strike, wei of quote: far under what a transaction costs.
DUST = 10**9


@dataclass(frozen=True)
class Knob:
    """A number an attacker chooses, between two bounds, both included; whole if they are."""

    low: float
    high: float

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers make sense."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class Attack(ABC):
    """One attack.

    A strike that the market refuses has gained nothing; the reason is reported.

    Attributes:
        name: what `ape run attack` calls it.
        title: in a few words.
        hope: what the attacker hopes for.
        source: where it happened or was described.
        promise: what the design promises about it, in words; `bound` says it in wei.
        knobs: what the attacker tunes.
        settings: names of the markets that are attacked.
        token: contract of their collateral token.
        expects: the reasons for which a market may refuse every variant of it; empty if it has to go through.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    hope: ClassVar[str]
    source: ClassVar[str]
    promise: ClassVar[str]
    knobs: ClassVar[Mapping[str, Knob]] = {}
    settings: ClassVar[Sequence[str]] = tuple(SETTINGS)
    token: ClassVar[str] = "MockToken"
    expects: ClassVar[Sequence[str]] = ()

    def prepare(self, world: World) -> None:  # noqa: B027 - most need nothing
        """What is there before the strike: nothing more than the honest, unless an attack says so."""

    @abstractmethod
    def strike(self, world: World, **knobs: float) -> None:
        """Do it. What the coalition then has, all told and hedged (`World.say`), less what it had, is its profit.

        Raises:
            Reverted: the market refused.
        """

    def abstain(self, world: World, **knobs: float) -> None:
        """What an honest trader in the attacker's place would have done, at the same prices: profit, and who paid, are
        counted from there. For attacks on when and in what order things are done that are no attack in themselves.
        """
        raise NotImplementedError

    def bound(self, world: World, **knobs: float) -> int:
        """The most that the coalition may gain, wei of quote; asked right after the strike."""
        return DUST

    @classmethod
    def abstains(cls) -> bool:
        """Whether profit is counted from what an honest trader would have."""
        return cls.abstain is not Attack.abstain


def taken_from_others(world: World) -> int:
    """The most that can be gained by not paying what one owes, wei: what insurance paid and what winners went without
    in all moves of the strike (of their gain, and by being deleveraged at a lagging mark) as far as they are not the
    coalition itself, and what honest losers had left who were closed, which pays fellow losers' deficits first.

    Who is closed has at most the close-out margin and a bucket left, and a bucket is at most `bucket_width` of the
    price at which it was filed wide.
    """
    paid = sum(
        one.covered + -(-(one.socialized + one.adl_shortfall) * world.honest_part[1 - one.loser] // WAD)
        for one in world.receipts
    )
    highest = max((max(one.mark_before, one.mark_after) for one in world.receipts), default=0)
    closed = sum(abs(size) for one, size in world.sizes.items() if size and not world.size(one))
    margin = world.parameters.closeout_margin + 2 * world.parameters.bucket_width
    return DUST + paid + closed * highest // WAD * margin // WAD


def part(amount: int, knob: float) -> int:
    """A part of an amount; the knob's first nine digits count."""
    return amount * int(knob * 10**9) // 10**9


def units(knob: float) -> int:
    """A knob in whole units as an 18-digit amount."""
    return part(WAD, knob)
