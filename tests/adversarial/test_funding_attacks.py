"""Attacks on funding: nobody gains by premiums he has made himself, nor by coming and going."""

from __future__ import annotations

import pytest

from prorata.attacks import funding
from prorata.attacks.attack import Attack
from prorata.attacks.search import Costs, result
from prorata.attacks.world import SETTINGS
from tests.adversarial.undefended import struck

ATTACKS: dict[str, Attack] = {
    attack.name: attack()
    for attack in (
        funding.WashPremium,
        funding.DustPremium,
        funding.WipedPremium,
        funding.StampDodging,
        funding.LateReceiver,
        funding.InsuredReceiver,
    )
}


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name, attack in ATTACKS.items() for setting in attack.settings]
)
def test_gain_is_within_its_bound(name: str, setting: str) -> None:
    found = result(ATTACKS[name], setting, strikes=24, seed=1, costs=Costs())
    assert found.refused == {}
    assert found.within_bound, f"{found.gain} above {found.bound} by {found.parameters}"


MOST_OF_BOTH = {"receiver": 200, "washed": 40.0, "above": 0.01, "stands": 0, "held": 200_000, "insured": 1_000_000}


def test_most_of_both_gains_something() -> None:
    """The one that is not prevented is real: with most of insurance and most of a side more comes back than was
    paid."""
    won = struck(ATTACKS["insured-receiver"], SETTINGS["loose"], MOST_OF_BOTH)
    assert 0 < won.gain <= won.bound
    for less in ({"insured": 1}, {"insured": 1_000, "receiver": 1}):
        assert struck(ATTACKS["insured-receiver"], SETTINGS["loose"], {**MOST_OF_BOTH, **less}).gain < 0
