"""Attacks by the choice of the moment: refused for the stated reason, or within their bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prorata.attacks import modes
from prorata.attacks.attack import Attack
from prorata.attacks.search import Costs, result
from prorata.attacks.world import SETTINGS
from prorata.units import WAD
from tests.adversarial.undefended import struck

ATTACKS: dict[str, Attack] = {
    attack.name: attack()
    for attack in (
        modes.KeeperDelay,
        modes.CatchUpStraddle,
        modes.CatchUpWithdrawal,
        modes.RiskInReduceOnly,
        modes.ExitToll,
        modes.WindDownOption,
        modes.FlickeringOracle,
        modes.StarvedReport,
    )
}
#: Whatever the coalition chooses, the market says no.
HOPELESS = {
    "catch-up-straddle": ("guarded", "loose"),
    "catch-up-withdrawal": ("guarded", "loose"),
    "risk-in-reduce-only": ("open", "guarded", "loose"),
    "flickering-oracle": ("open", "guarded", "loose"),
    "starved-report": ("open", "guarded", "loose"),
}
#: The bound is all that is promised, and the gain is real.
NOT_PREVENTED = ("exit-toll", "wind-down-option")


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name, attack in ATTACKS.items() for setting in attack.settings]
)
def test_gain_is_within_its_bound(name: str, setting: str) -> None:
    attack = ATTACKS[name]
    found = result(attack, setting, strikes=24, seed=1, costs=Costs())
    assert set(found.refused) <= set(attack.expects)
    assert found.within_bound, f"{found.gain} above {found.bound} by {found.parameters}"
    if setting in HOPELESS.get(name, ()):
        assert sum(found.refused.values()) == found.tried
        assert attack.expects[0] in found.refused
    if name in NOT_PREVENTED:
        assert found.gain > WAD


def test_a_wider_band_is_a_dearer_way_out() -> None:
    """The band is what bounds the toll: twice as wide, and what was refused is paid."""
    toll = ATTACKS["exit-toll"]
    knobs = {"size": 100, "above": 0.09, "minutes": 0}
    assert struck(toll, SETTINGS["open"], knobs).refused == "order: price outside band"
    wide = replace(SETTINGS["open"], parameters=replace(SETTINGS["open"].parameters, price_band=WAD // 10))
    paid = struck(toll, wide, knobs)
    narrow = int(knobs["size"]) * 1000 * SETTINGS["open"].parameters.price_band
    assert narrow < paid.gain <= paid.bound
