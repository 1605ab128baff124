"""What happens to the books: synthetic price paths and published ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from prorata import scenarios
from prorata.scenarios import PricePoint

#: Seconds between two prices of a synthetic shock.
INTERVAL = 60
#: The published event among the shocks.
REPLAY = "black-thursday-2020"


@dataclass(frozen=True)
class Shock:
    """A price path, and what is particular about the market it meets.

    Attributes:
        title: what happens.
        points: the prices, quote per unit.
        insured: False: the insurance fund is empty.
        reach: how many accounts keepers reach between two prices; None: all.
        straddle: open interest of an attacker in the book, of all others'; 0: there is none.
    """

    name: str
    title: str
    points: tuple[PricePoint, ...]
    insured: bool = True
    reach: int | None = None
    straddle: Fraction = Fraction(0)


def path(prices: Sequence[int | str | Decimal]) -> tuple[PricePoint, ...]:
    """Prices INTERVAL seconds apart."""
    return tuple(PricePoint(INTERVAL * number, Decimal(price)) for number, price in enumerate(prices))


def _gap() -> Shock:
    return Shock("gap", "one fall of 20 %", path([1000, 800]))


def _steps() -> Shock:
    prices = [Decimal(1000) - 10 * step for step in range(21)]
    return Shock("steps", "the same fall in 20 steps", path(prices))


def _spike() -> Shock:
    return Shock("spike", "down 15 %, and back", path([1000, 850, 1000]))


def _whipsaw() -> Shock:
    return Shock("whipsaw", "up 20 %, then down to 85 % of the start", path([1000, 1200, 850]))


def _late() -> Shock:
    title = "five falls of 5 % of the start, keepers reach one account between two prices"
    return Shock("late", title, path([1000, 950, 900, 850, 800, 750]), reach=1)


def _uninsured() -> Shock:
    return Shock("uninsured", "one fall of 40 %, insurance empty", path([1000, 600]), insured=False)


def _straddle() -> Shock:
    title = "one fall of 15 %; half of the market is one attacker, long and short"
    return Shock("straddle", title, path([1000, 850]), straddle=Fraction(1))


def _replay() -> Shock:
    replay = scenarios.load_named(REPLAY)
    return Shock("replay", f"replay of {REPLAY}", replay.points)


_MAKERS: dict[str, Callable[[], Shock]] = {
    "gap": _gap,
    "steps": _steps,
    "spike": _spike,
    "whipsaw": _whipsaw,
    "late": _late,
    "uninsured": _uninsured,
    "straddle": _straddle,
    "replay": _replay,
}
NAMES = tuple(_MAKERS)


def load(name: str) -> Shock:
    """A shock by name.

    Raises:
        KeyError: there is none.
    """
    return _MAKERS[name]()
