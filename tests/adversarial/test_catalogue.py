"""The catalogue, how it is searched, and every attack by gaps, timing and margins in every market it names: no strike
that a small search finds is above its bound. The other families have files of their own.

`PRORATA_STRIKES` sets how many strikes each search makes, `PRORATA_SEED` its seed.
"""

from __future__ import annotations

import os

import pytest

from prorata.attacks import gaps, margins, timing
from prorata.attacks.attack import DUST, Attack, Knob
from prorata.attacks.catalogue import ATTACKS, of_family
from prorata.attacks.search import Costs, Range, result, search
from prorata.attacks.world import COALITION, HONEST, SETTINGS, World
from prorata.revm_chain import RevmChain
from prorata.units import WAD

STRIKES = int(os.environ.get("PRORATA_STRIKES", "12"))
SEED = int(os.environ.get("PRORATA_SEED", "1"))
PAIRS = [
    (attack.name, setting)
    for family in (gaps, timing, margins)
    for attack in of_family(family)
    for setting in attack.settings
]


@pytest.mark.parametrize(("name", "setting"), PAIRS, ids=[f"{name}-{setting}" for name, setting in PAIRS])
def test_no_profit_above_its_bound(name: str, setting: str) -> None:
    attack = ATTACKS[name]()
    ground, knobs, best = search(attack, SETTINGS[setting], STRIKES, SEED)
    assert best.gain <= best.bound, f"seed {SEED}: {knobs} gains {best.gain}, at most {best.bound}"
    if sum(ground.refused.values()) == ground.tried:
        assert set(ground.refused) <= set(attack.expects), f"refused for {ground.refused}"
    again = ground.strike(**knobs)
    assert (again.gain, again.bound, again.payers) == (best.gain, best.bound, best.payers), "a strike leaves no trace"


@pytest.mark.parametrize("name", ATTACKS)
def test_says_what_it_is(name: str) -> None:
    attack = ATTACKS[name]
    for words in (attack.__doc__, attack.title, attack.hope, attack.source, attack.promise):
        assert words and len(words) > 8
    assert set(attack.settings) <= set(SETTINGS)
    assert all(knob.low < knob.high for knob in attack.knobs.values())


def test_there_are_at_least_forty() -> None:
    assert len(ATTACKS) >= 40


# ---------------------------------------------------------------------------------------------------------- the ranges


class Nothing(Attack):
    """Whatever the world does by itself."""

    name, title, hope, source, promise = "nothing", "", "", "", ""
    knobs = {"jump": Knob(0.6, 1.6)}  # noqa: RUF012

    def strike(self, world: World, **knobs: float) -> None:
        world.move(int(world.index_price * knobs["jump"]))


class Theft(Attack):
    """An honest account simply gives a part of what it has."""

    name, title, hope, source, promise = "theft", "", "", "", ""
    knobs = {"amount": Knob(0, 1000), "wrong": Knob(0, 50)}  # noqa: RUF012

    def strike(self, world: World, **knobs: float) -> None:
        left = 1000 - abs(int(knobs["amount"]) - 700) - int(knobs["wrong"])
        world.exchange.deposit(HONEST[0], max(left, 1) * WAD, COALITION[0])


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_idle_coalition_gains_nothing(setting: str) -> None:
    for jump in (0.62, 0.97, 1.2, 1.55):
        found = Range(Nothing(), SETTINGS[setting]).strike(jump=jump)
        assert found.gain == 0 and not found.refused


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_one_gains_another_pays(setting: str) -> None:
    """Hedges cancel out, and all books together gain nothing but rounding."""
    world = World.populated(RevmChain(), SETTINGS[setting])
    with world.apart():
        before = world.books
        for factor in (105, 90, 140, 80):
            world.move(world.index_price * factor // 100)
        after = world.books
    total = sum(after.traders.values()) + after.insurance - sum(before.traders.values()) - before.insurance
    assert -(10**9) < total <= 0


def test_a_bet_on_the_price_is_no_profit() -> None:
    world = World.populated(RevmChain(), SETTINGS["open"])
    with world.apart():
        world.exchange.deposit(COALITION[0], 10**5 * WAD)
        world.exchange.trade(COALITION[0], HONEST[0], True, 5 * WAD, world.exchange.mark)
        before = world.books
        world.move(world.index_price * 13 // 10)
        assert world.exchange.account(COALITION[0]).equity > 10**5 * WAD + 1400 * WAD
        assert abs(world.books.coalition - before.coalition) < 100


def test_the_search_finds_a_theft() -> None:
    found = result(Theft(), "open", 200, 1, Costs())
    assert found.profit > 990 * WAD and not found.within_bound and found.payer == "longs"
    assert found.parameters["wrong"] <= 3 and found.bound == DUST


def test_the_search_is_a_matter_of_its_seed() -> None:
    first, second, other = (result(Theft(), "open", 60, seed, Costs()) for seed in (1, 1, 2))
    assert first == second != other
