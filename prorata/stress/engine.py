"""Runs paths by their numbers: the work of one process.

Path `p` runs scenario `p // cells` in cell `p % cells`. One deployment for every step cap is kept for the life of the
process; a scenario's positions are opened once for all its insurance sizes, and every path is undone after it has run.
Whether the exact model audits a path is decided by seed and number alone, so that a resumed sweep audits the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from hashlib import sha256
from itertools import groupby

from prorata.embedded import compile_contract
from prorata.stress.config import Sweep
from prorata.stress.generator import Scenario, scenario
from prorata.stress.markets import FastMarket, TwinMarket, opened
from prorata.stress.path import Path, Result
from prorata.twin import Violation

#: Contracts whose code decides what a path comes to.
CONTRACTS = ("PerpetualMarket", "TradingLogic", "InsuranceVault", "MockAggregator", "MockToken")


@lru_cache(maxsize=1)
def bytecode() -> str:
    """A name for the code that all paths run on."""
    return sha256(b"".join(compile_contract(name)[1] for name in CONTRACTS)).hexdigest()[:16]


@lru_cache(maxsize=8)
def _market(sweep: Sweep, mark: int, step_cap: float) -> FastMarket:
    return FastMarket(sweep, mark, step_cap)


def is_audited(seed: int, number: int, share: float) -> bool:
    """Whether a path is among the audited share."""
    draw = int.from_bytes(sha256(f"audit {seed} {number}".encode()).digest()[:8], "big")
    return draw < share * 2**64


def run_paths(sweep: Sweep, seed: int, first: int, count: int, audit: float) -> list[Result]:
    """Paths `first` to `first + count - 1`, in order.

    Args:
        audit: share of them that the exact model runs along with; but for paths in which the budget of bitmap words
            stopped a settlement, of which the model knows nothing (of buckets there are never too many).
    """
    results = []
    for result in _run_fast(sweep, seed, first, count):
        if is_audited(seed, result.path, audit) and not result.stopped:
            result = audited(sweep, seed, result)
        results.append(result)
    return results


def _run_fast(sweep: Sweep, seed: int, first: int, count: int) -> Iterator[Result]:
    cells = sweep.cells

    def place(number: int) -> tuple[int, float]:
        """What paths share that share their opening."""
        return number // len(cells), cells[number % len(cells)][0]

    for (which, step_cap), numbers in groupby(range(first, first + count), key=place):
        drawn = scenario(sweep, seed, which)
        market = _market(sweep, drawn.mark, step_cap)
        with market.anchor():
            opened(market, sweep, drawn)
            for number in numbers:
                with market.anchor():
                    yield Path(market, sweep, drawn, step_cap, cells[number % len(cells)][1], number).run()


def replayed(sweep: Sweep, seed: int, number: int) -> tuple[Scenario, float, float]:
    """Scenario, step cap and insurance of a path, to run it anywhere else."""
    step_cap, insurance = sweep.cells[number % len(sweep.cells)]
    return scenario(sweep, seed, number // len(sweep.cells)), step_cap, insurance


def audited(sweep: Sweep, seed: int, result: Result) -> Result:
    """The same path on a fresh market, in lockstep with the exact model; to differ from that is a violation."""
    drawn, step_cap, insurance = replayed(sweep, seed, result.path)
    market = TwinMarket(sweep, drawn.mark, step_cap)
    try:
        opened(market, sweep, drawn)
        again = Path(market, sweep, drawn, step_cap, insurance, result.path).run()
    except Violation as mismatch:
        again = replace(result, violation=str(mismatch))
    violation = again.violation or result.violation
    if not violation:
        mine, other = asdict(result), asdict(again)
        unlike = [name for name in mine if mine[name] != other[name]]
        violation = f"S3: a replay differs in {', '.join(unlike)}" if unlike else ""
    return replace(result, audited=True, violation=violation, difference=market.difference)
