"""What the same attacks bring where a defence is missing: that a bound holds elsewhere is the defence's doing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prorata.attacks.gaps import Straddle
from prorata.attacks.margins import CatchUpOption, LiquidationInSlices
from prorata.attacks.search import Range, Strike, search
from prorata.attacks.timing import EntryJustAfter, ExitBeforeDeficit
from prorata.attacks.world import SETTINGS, Setting
from prorata.embedded import compiling
from prorata.parameters import VaultParameters
from prorata.units import WAD
from tests.mutation.planted import Bug, Patch

LAZY_WITHDRAWALS = Bug(
    "withdrawals do not settle",
    "Who withdraws is paid at the old mark.",
    "S4",
    (
        Patch(
            "PerpetualMarket.vy",
            "    if old.shares > 0:\n        errors._require(self._settle(), errors.MODE_CATCH_UP)\n",
            "    if False:\n        errors._require(self._settle(), errors.MODE_CATCH_UP)\n",
        ),
    ),
)
LAZY_FILLS = Bug(
    "fills do not settle",
    "Who trades does so at the old mark.",
    "S4",
    (
        Patch(
            "TradingLogic.vy",
            "    if index_price == 0:\n        return state\n",
            "    if index_price == 0 or not may_lag:\n        return state\n",
        ),
    ),
)
MARK_ALONE = Bug(
    "liquidation by the mark alone",
    "In catch-up an account is taken over that the index has long made healthy.",
    "S3",
    (
        Patch(
            "TradingLogic.vy",
            "    if below and state.core.conditions & modes.LAGGING != 0:\n",
            "    if below and state.core.conditions & modes.LAGGING == 2**200:\n",
        ),
    ),
)
#: A fee that is the whole collateral of what is taken over.
GREEDY_FEE = Bug(
    "liquidation fee without its rate",
    "A liquidator takes all the collateral of what he takes over.",
    "S3",
    (
        Patch(
            "TradingLogic.vy",
            "fixed_point._ceil_div(taken * mark, fixed_point.WAD), PARAMETERS.liquidation_fee),\n",
            "taken * mark, 1),\n",
        ),
    ),
)


@pytest.mark.parametrize(
    ("bug", "attack", "setting", "knobs"),
    [
        (LAZY_WITHDRAWALS, ExitBeforeDeficit, "open", {"jump": 0.55, "first": 1.0, "size": 0.5}),
        (LAZY_FILLS, EntryJustAfter, "open", {"jump": 1.5, "size": 40, "lean": 0.0}),
        (MARK_ALONE, CatchUpOption, "guarded", {"margin": 0.062, "fall": 0.952, "back": 1.15, "is_long": 1}),
        (GREEDY_FEE, LiquidationInSlices, "open", {"margin": 0.06, "fall": 0.962, "slices": 3, "first": 0.5}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_missing_line_is_worth_stealing(bug, attack, setting, knobs) -> None:
    sound = Range(attack(), SETTINGS[setting]).strike(**knobs)
    with compiling(bug.compiler()):
        broken = Range(attack(), SETTINGS[setting]).strike(**knobs)
    assert sound.gain <= sound.bound
    assert not broken.refused and broken.gain > max(broken.bound, sound.gain)


def best_straddle(setting: Setting) -> Strike:
    return search(Straddle(), setting, 40, 1)[2]


def test_insurance_pays_nothing_where_steps_stay_within_the_closeout_margin() -> None:
    steps = {WAD // 2: True, WAD // 20: True, WAD // 100: False}
    for step, drained in steps.items():
        parameters = replace(SETTINGS["open"].parameters, max_price_step=step, step_interval=12)
        found = best_straddle(replace(SETTINGS["open"], parameters=parameters))
        assert (found.payers.get("insurance", 0) > 0) is drained, f"step {step}: {found}"


def test_insurance_pays_at_most_the_cap_of_draws() -> None:
    paid = []
    for cap in (WAD // 10, WAD // 2):
        setting = replace(SETTINGS["open"], vault=VaultParameters(draw_cap=cap))
        paid.append(best_straddle(setting).payers["insurance"])
        assert paid[-1] <= (setting.insurance + 1000 * WAD) * cap // WAD
    assert paid[0] < paid[1]


def test_a_cap_on_open_interest_makes_the_drain_smaller() -> None:
    gains = []
    for multiple in (5 * WAD, 6 * WAD, 0):  # the honest hold four times the insurance
        parameters = replace(SETTINGS["open"].parameters, oi_multiple=multiple)
        gains.append(best_straddle(replace(SETTINGS["open"], parameters=parameters)).gain)
    assert 0 < gains[0] < gains[1] < gains[2]
