"""Replays: a published event's price path settled several times over, measured in ratios that its outcome has too.

Each event is run with the default market and keepers prompt, late and absent; twice more without keepers, in half the
steps, and along its published prices only, as if nobody had settled in between; and once with every defence of
`MarketParameters.guarded`, without keepers too. Each run has a fresh chain and the same traders. Insurance is so large
that its ratio to the open interest that the traders want is the event's (`prorata.outcomes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import cast

from prorata.chain import Chain
from prorata.outcomes import Crowd, Outcome
from prorata.parameters import MarketParameters
from prorata.report import totals
from prorata.revm_chain import RevmChain
from prorata.scenarios import PricePath, load_named, load_published, refined
from prorata.simulation import COLLATERAL, Run, Setup, draw_traders, draw_wishes, simulate
from prorata.units import WAD, to_wad

#: What each trader starts with where all are alike, quote.
_ALIKE = range(5_000, 5_001)


@dataclass(frozen=True)
class Case:
    """One way to run an event.

    Attributes:
        name: head of its column: which keepers, and what else is different.
        keepers: a key of `simulation.KEEPERS`.
        parameters: of the market.
        load: the path of an event, by its name.
    """

    name: str
    keepers: str
    parameters: MarketParameters = field(default_factory=MarketParameters)
    load: Callable[[str], PricePath] = load_named


def load_refined(name: str) -> PricePath:
    """An event's path with twice as many steps, each half as large."""
    return refined(load_named(name))


CASES = (
    Case("prompt", "prompt"),
    Case("late", "late"),
    Case("none", "none"),
    Case("none, finer", "none", load=load_refined),
    Case("none, jumps", "none", load=load_published),
    Case("none, guarded", "none", MarketParameters.guarded()),
)


@dataclass(frozen=True)
class Overrides:
    """What a user wants otherwise than the event has it; None: as the event has it.

    Attributes:
        traders: how many.
        leverage: the highest; the lowest is not above it.
        insurance: over the open interest that the traders want, 1 is 100 %.
    """

    traders: int | None = None
    leverage: Decimal | None = None
    insurance: Fraction | None = None


@dataclass(frozen=True)
class Result:
    """What one case came to.

    Attributes:
        ratios: by the keys of `outcomes.MEASURES`, 1 is 100 %; None where there is nothing to be a part of.
        amounts: quote, 18 digits: open_interest (of a side at the first price), fund, drawn, socialized, adl_shortfall.
        accounts_closed: by settlements, of `traders`.
        liquidations: how many.
        settlements: moves of the mark.
        guarantees: by name, whether it held.
        violation: what did not, empty if all did.
    """

    case: str
    ratios: Mapping[str, Fraction | None]
    amounts: Mapping[str, int]
    traders: int
    accounts_closed: int
    liquidations: int
    settlements: int
    guarantees: Mapping[str, bool]
    violation: str


@dataclass(frozen=True)
class Replay:
    """An event with its published outcome and what became of it here.

    Attributes:
        crowd: who traded.
        insurance: over the open interest that they wanted, as asked for.
        seed: of the traders.
    """

    outcome: Outcome
    crowd: Crowd
    insurance: Fraction
    seed: int
    results: tuple[Result, ...]

    @property
    def began(self) -> int:
        """First second of the event's path."""
        return load_named(self.outcome.name).points[0].timestamp

    @property
    def holds(self) -> bool:
        """Whether every guarantee held in every case."""
        return all(all(result.guarantees.values()) for result in self.results)


def replay(
    outcome: Outcome,
    seed: int = 1,
    overrides: Overrides | None = None,
    progress: Callable[[str], None] = lambda _case: None,
) -> Replay:
    """Run every case of an event.

    Args:
        seed: of sides, collateral and leverage of the traders.
        progress: called with the name of each case when it is done.
    """
    wanted = overrides or Overrides()
    crowd = crowd_of(outcome, wanted)
    insurance = outcome.insurance if wanted.insurance is None else wanted.insurance
    results = []
    for case in CASES:
        setup = setup_of(outcome.name, crowd, insurance, seed, case)
        # A chain takes only contracts of its own, which the protocol does not say.
        results.append(measure(simulate(cast(Chain, RevmChain()), setup), case.name))
        progress(case.name)
    return Replay(outcome, crowd, insurance, seed, tuple(results))


def crowd_of(outcome: Outcome, overrides: Overrides) -> Crowd:
    """The event's crowd, as far as nothing else is wanted."""
    crowd = outcome.crowd
    leverage = crowd.leverage if overrides.leverage is None else overrides.leverage
    return replace(
        crowd,
        traders=crowd.traders if overrides.traders is None else overrides.traders,
        leverage=leverage,
        lowest_leverage=min(crowd.lowest_leverage, leverage),
    )


def setup_of(name: str, crowd: Crowd, insurance: Fraction, seed: int, case: Case) -> Setup:
    """A run whose insurance has the ratio asked for, to whole units of quote and at least one, if it is not zero."""
    setup = Setup(
        path=from_start(case.load(name), crowd.start),
        traders=crowd.traders,
        leverage=crowd.leverage,
        insurance=0,
        seed=seed,
        parameters=case.parameters,
        keepers=case.keepers,
        lowest_leverage=crowd.lowest_leverage,
        collateral=_ALIKE if crowd.alike else COLLATERAL,
    )
    if not insurance:
        return setup
    return replace(setup, insurance=max(1, round(insurance * wanted_notional(setup) / WAD)))


def from_start(path: PricePath, start: int) -> PricePath:
    """What is left of a path from a second on."""
    return replace(path, points=tuple(point for point in path.points if point.timestamp >= start))


def wanted_size(setup: Setup) -> int:
    """Open interest that the traders would have if the market allowed all of it: size, 18 digits."""
    traders = draw_traders(setup)
    wishes = draw_wishes(setup, traders)
    sides = {is_long: sum(wishes[one.number] for one in traders if one.is_long is is_long) for is_long in (True, False)}
    return min(sides.values())


def wanted_notional(setup: Setup) -> int:
    """The same at the path's first price: quote, 18 digits."""
    return wanted_size(setup) * to_wad(setup.path.points[0].price) // WAD


def measure(run: Run, case: str) -> Result:
    """A run in the ratios in which outcomes are published."""
    sums = totals(run)
    receipts = [settlement.receipt for settlement in run.settlements]
    notional = run.open_interest * to_wad(run.setup.path.points[0].price) // WAD
    gains = [trader.gain for trader in run.everybody]
    profit = sum(gain for gain in gains if gain > 0)
    deficit, socialized, drawn = (sum(one.deficit for one in receipts), sums["socialized"], sums["insurance_drawn"])
    ratios = {
        "insurance": _part(run.setup.insurance * WAD, notional),
        "opened": _part(run.open_interest, wanted_size(run.setup)),
        "deficit": _part(deficit, notional),
        "haircut": Fraction(max((one.haircut for one in receipts), default=0), WAD),
        "drawn": _part(drawn, run.fund),
        "fund_change": _part(run.final.vault - run.fund, run.fund) if run.final is not None else None,
        "clawback": _part(socialized, profit + socialized),
        "adl_shortfall": _part(sums["adl_shortfall"], notional),
        "deleveraged": _part(sum(one.closed_size for one in receipts), run.open_interest),
        "liquidated": _part(sum(one.size for one in run.liquidations), run.open_interest),
        "taken": _part(sum(gains), notional),
    }
    return Result(
        case=case,
        ratios=ratios,
        amounts={
            "open_interest": notional,
            "fund": run.fund,
            "drawn": drawn,
            "socialized": socialized,
            "adl_shortfall": sums["adl_shortfall"],
        },
        traders=len(run.traders),
        accounts_closed=sum(trader.closed for trader in run.traders),
        liquidations=len(run.liquidations),
        settlements=len(run.price_moves),
        guarantees=dict(run.guarantees),
        violation=run.violation,
    )


def _part(part: int, whole: int) -> Fraction | None:
    """A share, exact; None of nothing."""
    return Fraction(part, whole) if whole else None
