"""Without the defence that it is meant for, each of these attacks wins more than its bound; with it, by the same
numbers, it does not. So the bounds can be exceeded, and the strikes would work."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from prorata.attacks import funding, griefing, modes
from prorata.attacks.attack import Attack
from prorata.attacks.world import SETTINGS
from prorata.units import WAD
from tests.adversarial.undefended import struck, without_moments, without_numbers

#: What the strike is, in which market.
Case = tuple[Attack, str, Mapping[str, float]]

NUMBERS: tuple[Case, ...] = (
    (griefing.ForcedDeleverage(), "guarded", {"size": 200, "margin": 0.08, "fall": 0.8}),
    (griefing.ForcedReset(), "guarded", {"size": 100, "margin": 0.1, "fall": 0.8}),
    (funding.WashPremium(), "guarded", {"receiver": 150, "washed": 1.0, "above": 0.01, "stands": 0, "held": 100_000}),
    (funding.DustPremium(), "guarded", {"receiver": 150, "fills": 1, "above": 0.01, "stands": 0, "held": 100_000}),
    (funding.WipedPremium(), "guarded", {"payer": 150, "washed": 1.0, "below": 0.01, "held": 100_000}),
)
MOMENTS: tuple[Case, ...] = (
    (funding.StampDodging(), "guarded", {"size": 60, "held": 80_000, "away": 1, "tick": 0.001}),
    (funding.LateReceiver(), "guarded", {"size": 60, "held": 80_000, "away": 1, "tick": 0.001}),
    (modes.CatchUpStraddle(), "guarded", {"size": 100, "margin": 0.1, "jump": 0.7, "steps": 1}),
    (modes.CatchUpWithdrawal(), "guarded", {"size": 100, "jump": 0.6, "part": 0.9, "steps": 1}),
    (modes.RiskInReduceOnly(), "guarded", {"held": 1, "sold": 80, "margin": 0.1, "jump": 0.7}),
    (modes.FlickeringOracle(), "guarded", {"size": 100, "days": 2.0, "jump": 0.7, "waits": 1}),
)


#: One process compiles a market, for all tests of it.
without_numbers_group = pytest.mark.xdist_group("without numbers")


def named(case: Case) -> str:
    return case[0].name


def defended(case: Case) -> None:
    """As it should be: refused for the first reason it expects, or within its bound."""
    attack, setting, knobs = case
    found = struck(attack, SETTINGS[setting], knobs)
    assert found.refused == (attack.expects[0] if attack.expects else "")
    assert found.gain <= found.bound


@without_numbers_group
@pytest.mark.parametrize("case", NUMBERS, ids=named)
def test_numbers(case: Case) -> None:
    attack, setting, knobs = case
    defended(case)
    won = struck(attack, SETTINGS[setting], knobs, without_numbers())
    assert not won.refused
    assert won.gain > won.bound + WAD


@pytest.mark.xdist_group("without moments")
@pytest.mark.parametrize("case", MOMENTS, ids=named)
def test_moments(case: Case) -> None:
    attack, setting, knobs = case
    defended(case)
    won = struck(attack, SETTINGS[setting], knobs, without_moments())
    assert not won.refused
    assert won.gain > won.bound + WAD


@without_numbers_group
def test_a_stranger_could_close_his_victim() -> None:
    """Of a few buckets side by side some end where a wider one does, and a deposit changes nothing for who is in
    them."""
    attack = griefing.GriefingDeposit()
    strikes = []
    for margin in (0.36, 0.361, 0.362, 0.363):
        knobs = {"margin": margin, "near": 0.5, "touches": 1}
        assert struck(attack, SETTINGS["open"], knobs).gain <= 0
        strikes.append(struck(attack, SETTINGS["open"], knobs, without_numbers()))
    assert max(one.gain - one.bound for one in strikes) > WAD


@without_numbers_group
def test_closes_by_more_than_dust_would_pump_value() -> None:
    """A position of one is sold as 0.6, or as 1.4, and gone: one side is larger by what nobody has. Here that is
    refused."""
    attack = griefing.DustCloses()
    strikes = []
    for over in (-0.4, 0.4):
        knobs = {"closes": 10, "over": over * griefing.DUST_PART, "jump": 0.77}
        assert struck(attack, SETTINGS["open"], knobs).refused == "position: below minimum"
        strikes.append(struck(attack, SETTINGS["open"], knobs, without_numbers()))
    assert max(one.gain - one.bound for one in strikes) > WAD // 10
