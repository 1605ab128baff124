"""Markets without the defences that attacks are meant for, so that it shows that the attacks would work."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from unittest.mock import patch

import pyrevm

from prorata.attacks.attack import Attack
from prorata.attacks.search import Range, Strike
from prorata.attacks.world import Setting
from prorata.embedded import USUAL, Compiler, compiling
from tests.mutation.changed import QuickChangedCompiler, write
from tests.mutation.planted import BUGS, FOLDER, Bug, Patch

CODE_LIMIT = 2**20
_MARKET, _TRADING = "PerpetualMarket.vy", "TradingLogic.vy"

#: Defences against attacks by numbers, and the patches that take each away. Each concerns other money, so that all can
#: be missing in one market.
NUMBERS: Mapping[str, tuple[Patch, ...]] = {
    "a premium counts by notional, up to the fees paid": (
        Patch(
            "modules/funding.vy",
            "    return self._clamp(over_mark * convert(size, int256) // convert(fixed_point.WAD, int256), fees)",
            "    return over_mark * 10  # the last price makes the rate, as if ten units had been traded at it",
        ),
    ),
    "equal sizes differ by dust only": (
        Patch("modules/accounts.vy", "DUST_PART: constant(uint256) = 10**6", "DUST_PART: constant(uint256) = 2"),
    ),
    "what is missed at a lagging mark is stated": (
        Patch(
            "modules/settlement.vy",
            "            plan.adl_shortfall = missed - plan.bonus\n",
            "            plan.adl_shortfall = 0\n",
        ),
    ),
    "a stranger's deposit changes no close-out": BUGS["stored close-out price"].patches,
}

#: Likewise for attacks by the choice of the moment.
MOMENTS: Mapping[str, tuple[Patch, ...]] = {
    "every fill settles first, and a premium's time begins with it": (
        *BUGS["early exit on a zero price step"].patches,
        Patch(_TRADING, "        state.core.accrued_at = block.timestamp\n", ""),
    ),
    "settling ends a suspicion": (Patch(_MARKET, "&= ~(modes.LAGGING | modes.SUSPECT)", "&= ~modes.LAGGING"),),
    "no fill while the mark lags": (
        Patch(_TRADING, "    assert caught_up or may_lag, errors.MODE_CATCH_UP\n", "    assert caught_up or True\n"),
    ),
    "no withdrawal while the mark lags": (
        Patch(
            _MARKET,
            "        errors._require(self._settle(), errors.MODE_CATCH_UP)\n",
            "        settled: bool = self._settle()\n",
        ),
    ),
    "no new risk in reduce-only mode": (
        Patch(
            _TRADING,
            "        assert not modes._is_reduce_only(state.core), errors.MODE_REDUCE_ONLY\n",
            "",
        ),
    ),
}


@cache
def without_numbers() -> Compiler:
    """Compiles the contracts without any of the defences of NUMBERS."""
    return _without(NUMBERS, "without-numbers")


@cache
def without_moments() -> Compiler:
    """Compiles the contracts without any of the defences of MOMENTS."""
    return _without(MOMENTS, "without-moments")


def _without(defences: Mapping[str, tuple[Patch, ...]], name: str) -> Compiler:
    patches = tuple(patch for each in defences.values() for patch in each)
    sources = Bug(name, "", "", patches).sources()
    return QuickChangedCompiler(write(sources, FOLDER / name), frozenset(sources), USUAL)


def struck(attack: Attack, setting: Setting, knobs: Mapping[str, float], compiler: Compiler = USUAL) -> Strike:
    """One strike on a market of so compiled contracts, which may be larger than a chain takes."""
    unlimited = partial(pyrevm.CfgEnv, limit_contract_code_size=CODE_LIMIT)
    with compiling(compiler), patch.object(pyrevm, "CfgEnv", unlimited):
        return Range(attack, setting).strike(**knobs)
