"""What the published events say about prices: the fit behind the defaults of `prorata.stress.config.Prices`.

An event of `scenarios/` is known by its turning points only; what lies between is interpolated, so a leg from one turn
to the next is one observation, divided by the square root of its time. Two things are fitted to legs:

- the *severity* of an event, its median leg in 900 seconds, whose logarithm is normal between events;
- the shape of legs within events, in units of their event's severity: a Student-t around zero, and a mixture of two
  normal distributions around zero, the rarer and wider one being jumps. Both by maximum likelihood (scipy).

The events were published because they were disasters: figures of a sweep are conditional on a disaster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from prorata import scenarios
from prorata.scenarios import PricePath

#: Severity is a move in so many seconds.
SEVERITY_SECONDS = 900
#: The events of the fit. Not among them: a print that no market ever traded at (LINK, 2020), other assets of the same
#: hours (SOL 2022, SOL and an altcoin 2025), paths made of derived figures (percolator, the ETH whale), and POPCAT,
#: which came after the sweeps that were recorded. To fit anew makes those incomparable.
EVENTS = (
    "black-thursday-2020",
    "ftx-2022",
    "jelly-2025",
    "luna-2022",
    "mango-2022",
    "may-2021",
    "october-2025",
    "okex-2018",
    "yfi-2023",
)


@dataclass(frozen=True)
class Fit:
    """Parameters named as in `Prices`; how many events and legs they come from; log-likelihoods of the shapes."""

    severity: float
    severity_spread: float
    student_df: float
    student_scale: float
    jump_chance: float
    diffusion_scale: float
    jump_scale: float
    events: int
    legs: int
    student_likelihood: float
    jump_likelihood: float


def legs(path: PricePath) -> NDArray[np.float64]:
    """Moves of the log price between turning points, per square root of SEVERITY_SECONDS."""
    price = np.log([float(point.price) for point in path.points])
    time = np.array([point.timestamp for point in path.points], dtype=float)
    direction = np.sign(np.diff(price))
    turns = np.flatnonzero(direction[1:] != direction[:-1]) + 1
    at = np.concatenate([[0], turns, [len(price) - 1]])
    rates: NDArray[np.float64] = np.diff(price[at]) / np.sqrt(np.diff(time[at]) / SEVERITY_SECONDS)
    return rates


def fit() -> Fit:
    """The fit to EVENTS."""
    events = [legs(scenarios.load_named(name)) for name in EVENTS]
    severities = np.array([np.median(np.abs(event)) for event in events])
    shapes = np.concatenate([event / severity for event, severity in zip(events, severities, strict=True)])
    df, _, scale = stats.t.fit(shapes, floc=0)
    chance, narrow, wide, likelihood = _mixture(shapes)
    return Fit(
        severity=float(np.median(severities)),
        severity_spread=float(np.log(severities).std(ddof=1)),
        student_df=float(df),
        student_scale=float(scale),
        jump_chance=chance,
        diffusion_scale=narrow,
        jump_scale=wide,
        events=len(events),
        legs=len(shapes),
        student_likelihood=float(stats.t.logpdf(shapes, df, 0, scale).sum()),
        jump_likelihood=likelihood,
    )


def _mixture(moves: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Chance of the wider of two normal distributions around zero, both standard deviations, the log-likelihood."""

    def unpacked(given: NDArray[np.float64]) -> tuple[float, float, float]:
        narrow = float(np.exp(given[1]))
        return 1 / (1 + float(np.exp(-given[0]))), narrow, narrow + float(np.exp(given[2]))

    def misfit(given: NDArray[np.float64]) -> float:
        chance, narrow, wide = unpacked(given)
        density = (1 - chance) * stats.norm.pdf(moves, 0, narrow) + chance * stats.norm.pdf(moves, 0, wide)
        return -float(np.log(density).sum())

    options = {"maxiter": 10_000, "xatol": 1e-9, "fatol": 1e-9}
    found = optimize.minimize(misfit, np.array([-2.0, 0.0, 1.0]), method="Nelder-Mead", options=options)
    return *unpacked(found.x), -float(found.fun)
