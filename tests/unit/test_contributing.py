"""The examples of CONTRIBUTING.md do what it says: each is taken out of the page and loaded like one of our own."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from prorata import scenarios
from prorata.attacks.attack import Attack
from prorata.attacks.catalogue import ATTACKS, of_family
from prorata.attacks.search import Costs, result, search
from prorata.attacks.world import SETTINGS, World
from prorata.boa_chain import BoaChain
from prorata.embedded import CONTRACTS, Compiler, compiling
from prorata.outcomes import load_outcomes
from prorata.replay import CASES, Overrides, replay
from prorata.rules import RULES
from prorata.rules.book import Account, Book
from prorata.rules.rule import Rule
from prorata.rules.shocks import path
from prorata.scenarios import load_csv, load_named, load_published
from prorata.units import LONG, SHORT
from tests.unit.rules import test_rules_hold

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
EXAMPLES = {
    name: dedent(text)
    for name, text in re.findall(
        r"^ *<!-- file: (\S+) -->\n *```\w+\n(.*?)^ *```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL
    )
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Writes an example to where the page says, below a folder of the test's own."""

    def write(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(EXAMPLES[name])
        return path

    return write


def imported(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tried_here_and_none_is_a_file_of_the_repository() -> None:
    own = Path(__file__).read_text()
    assert len(EXAMPLES) == PAGE.read_text().count("<!-- file:") == 6
    assert [name for name in EXAMPLES if f'"{name}"' not in own] == []
    assert [name for name in EXAMPLES if (ROOT / name).exists()] == ["scenarios/outcomes.toml"]


def test_the_scenario(written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = written("scenarios/slow-leak.csv")
    outcomes = load_outcomes(written("scenarios/outcomes.toml"))
    monkeypatch.setattr(scenarios, "SCENARIOS", file.parent)
    named = load_named("slow-leak")
    assert named.points == load_csv(file).points and set(named.notes) == set(scenarios.NOTE_KEYS)
    assert [point.price for point in load_published("slow-leak").points] == [1000, 700]
    (outcome,) = outcomes.values()
    assert outcome.published("drawn")[0].low == Fraction(4, 10)
    found = replay(outcome, 1, Overrides(traders=6))
    assert found.holds and len(found.results) == len(CASES)


@pytest.fixture
def attack(written: Callable[[str], Path]) -> type[Attack]:
    (found,) = of_family(imported(written("prorata/attacks/example.py")))
    assert found.name not in ATTACKS and found.abstains()
    for words in (found.__doc__, found.title, found.hope, found.source, found.promise):
        assert words and len(words) > 8
    return found


def test_the_attack_gains_nothing(attack: type[Attack]) -> None:
    for setting in SETTINGS:
        found = result(attack(), setting, strikes=6, seed=1, costs=Costs())
        assert found.within_bound and found.tried == 6 and not found.refused


def test_the_attack_is_measured(attack: type[Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every settlement did pay, it would be seen."""

    def paying(world: World, **knobs: float) -> None:
        attack.abstain(attack(), world, **knobs)
        world.exchange.fund(7)

    monkeypatch.setattr(attack, "strike", lambda _self, world, **knobs: paying(world, **knobs))
    _, _, best = search(attack(), SETTINGS["open"], 2, 1)
    assert best.gain > best.bound


@pytest.fixture
def rule(written: Callable[[str], Path]) -> Rule:
    found: Rule = imported(written("prorata/rules/by_equity.py")).ByEquity()
    assert found.name not in {one.name for one in RULES} and found.title and found.source
    return found


def test_the_rule_holds_in_random_markets(rule: Rule) -> None:
    test_rules_hold.test_money_is_conserved_and_accounted_for(rule=rule)
    test_rules_hold.test_a_shock_that_bankrupts_nobody_is_the_same_for_all(rule=rule)


def test_the_rule_charges_by_equity(rule: Rule) -> None:
    price, rows = Fraction(100), {"A": (LONG, 10, 100), "B": (SHORT, 9, 300), "C": (SHORT, 1, 300)}
    accounts = {
        name: Account(name, side, Fraction(size), price, Fraction(money), Fraction(money), opened=Fraction(size))
        for name, (side, size, money) in rows.items()
    }
    end = rule.settle(Book(accounts, price, Fraction(0)), path([100, 80]), list(rows))
    # 100 are missing; B has 480 and C 320 by then.
    assert [end.accounts[name].equity for name in "ABC"] == [0, 480 - 60, 320 - 40]


def test_the_module_passes_its_test(written: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, folder)
    written("contracts/modules/bounds.vy")
    module = imported(written("tests/unit/modules/test_bounds.py"))
    tests = {name: test for name, test in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")}
    assert list(tests) == ["test_is_the_nearest_between"]
    with compiling(Compiler(folder)):
        clamp = inspect.unwrap(module.clamp)(BoaChain())
        tests["test_is_the_nearest_between"](clamp=clamp)
        assert (clamp(1, 2, 3), clamp(2, 2, 3), clamp(9, 2, 3)) == (2, 2, 3)
