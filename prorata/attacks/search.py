"""The best that an attack can do: its parameters are searched for the largest profit, which is then looked at closely.

The search runs in pyrevm, by differential evolution (Storn and Price, 1997; `scipy.optimize`) from a seed; the best
strike found is repeated on any chain, where its gas can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from scipy.optimize import differential_evolution

from prorata.attacks.attack import Attack
from prorata.attacks.world import SETTINGS, Setting, World
from prorata.chain import Chain, Reverted
from prorata.revm_chain import RevmChain
from prorata.units import WAD

#: So few strikes are drawn at random; evolution needs some generations.
_FEW = 50
#: A refused strike, for the search: worse than doing nothing, so that it looks elsewhere.
_REFUSED = -1.0


@dataclass(frozen=True)
class Strike:
    """How one strike went. Amounts in wei of quote, 18 digits.

    Attributes:
        gain: of the coalition, trading fees paid, gas not.
        gas: of the coalition's transactions; 0 where the chain cannot tell.
        payers: who has less than he would have, and by how much.
        refused: the market's reason, if it did not let it happen.
    """

    gain: int
    bound: int
    gas: int
    transactions: int
    payers: Mapping[str, int]
    refused: str = ""


@dataclass(frozen=True)
class Costs:
    """What gas costs: in wei of ether a unit, and ether in quote."""

    gas_price_gwei: float = 1.0
    ether: float = 3_000.0

    def of(self, gas: int) -> int:
        """Wei of quote, 18 digits, to the nearest billionth."""
        return round(gas * self.gas_price_gwei * self.ether) * 10**9


@dataclass(frozen=True)
class Result:
    """The most profitable strike found.

    Attributes:
        parameters: of the strike, by the names of its knobs.
        profit: of the coalition after fees and gas, wei of quote; 0 if every strike was refused.
        bound: the most that the design lets it gain.
        payer: who paid most of it; "nobody" if there is no gain.
        tried: strikes.
        refused: how many of them the market refused, by its reason.
    """

    name: str
    title: str
    setting: str
    parameters: Mapping[str, float]
    profit: int
    gain: int
    fees_of_gas: int
    gas: int
    transactions: int
    bound: int
    within_bound: bool
    payer: str
    payers: Mapping[str, int]
    source: str
    promise: str
    tried: int
    refused: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; amounts as whole wei."""
        return asdict(self)


class Range:
    """One attack in one setting, ready to be struck as often as one likes.

    Args:
        chain: fresh; pyrevm if not given.
    """

    def __init__(self, attack: Attack, setting: Setting, chain: Chain | None = None) -> None:
        self.attack, self.setting = attack, setting
        self.world = World.populated(chain or cast(Chain, RevmChain()), setting, attack.token)
        attack.prepare(self.world)
        self.tried = 0
        self.refused: dict[str, int] = {}

    def strike(self, **knobs: float) -> Strike:
        """Once, and undo it."""
        attack, world = self.attack, self.world
        self.tried += 1
        before = world.books
        if attack.abstains():
            with world.apart():
                attack.abstain(world, **knobs)
                before = world.books
        with world.apart():
            try:
                attack.strike(world, **knobs)
            except Reverted as refusal:
                self.refused[refusal.reason] = self.refused.get(refusal.reason, 0) + 1
                return Strike(0, 0, world.recorder.gas, world.recorder.transactions, {}, refusal.reason)
            after = world.books
            gain = after.coalition - before.coalition
            bound = attack.bound(world, **knobs)
            return Strike(gain, bound, world.recorder.gas, world.recorder.transactions, after.payers(before))


def search(attack: Attack, setting: Setting, strikes: int, seed: int) -> tuple[Range, dict[str, float], Strike]:
    """The largest gain that about so many strikes find. A strike above its bound counts for more than any within.

    Returns:
        Where it was struck, the knobs of the best, and how that went.
    """
    ground = Range(attack, setting)
    names = list(attack.knobs)
    best_knobs: dict[str, float] = {}
    best: Strike | None = None
    best_score = float("-inf")

    def score(values: Any) -> float:
        nonlocal best, best_knobs, best_score
        knobs = {
            name: round(float(value)) if attack.knobs[name].is_whole else float(value)
            for name, value in zip(names, values, strict=True)
        }
        found = ground.strike(**knobs)
        scored = _REFUSED if found.refused else found.gain / WAD
        excess = (found.gain - found.bound) / WAD
        if not found.refused and excess > 0:
            scored += 1e12 * excess
        if scored > best_score or best is None:
            best, best_knobs, best_score = found, knobs, scored
        return -scored

    if not names:
        score(())
        assert best is not None
        return ground, best_knobs, best
    bounds = [(attack.knobs[name].low, attack.knobs[name].high) for name in names]
    if strikes < _FEW:
        for point in np.random.default_rng(seed).random((strikes, len(names))):
            score([low + share * (high - low) for share, (low, high) in zip(point, bounds, strict=True)])
    else:
        population = max(4, min(6, strikes // (2 * len(names))))
        differential_evolution(
            score,
            bounds,
            popsize=population,
            maxiter=max(1, strikes // (population * len(names)) - 1),
            integrality=[attack.knobs[name].is_whole for name in names],
            init="sobol",
            polish=False,
            tol=0,
            seed=seed,
        )
    assert best is not None  # there was a strike
    return ground, best_knobs, best


def result(attack: Attack, setting: str, strikes: int, seed: int, costs: Costs, chain: Chain | None = None) -> Result:
    """Search, then strike once more on `chain`, if one is given, for the gas.

    Args:
        chain: fresh, or one that can be anchored.
    """
    ground, knobs, found = search(attack, SETTINGS[setting], strikes, seed)
    if chain is not None:
        found = Range(attack, SETTINGS[setting], chain).strike(**knobs)
    fees = costs.of(found.gas)
    gain = 0 if found.refused else found.gain
    payers = found.payers if gain > 0 else {}
    return Result(
        name=attack.name,
        title=attack.title,
        setting=setting,
        parameters=knobs,
        profit=0 if found.refused else gain - fees,
        gain=gain,
        fees_of_gas=fees,
        gas=found.gas,
        transactions=found.transactions,
        bound=found.bound,
        within_bound=gain <= found.bound,
        payer=max(payers, key=lambda name: payers[name]) if payers else "nobody",
        payers=payers,
        source=attack.source,
        promise=attack.promise,
        tried=ground.tried,
        refused=ground.refused,
    )
