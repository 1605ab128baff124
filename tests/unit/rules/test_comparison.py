"""The comparison: its books, its figures again from the same seed, and the tables in `docs/compare.md`."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from prorata.rules import RULES, shocks, tables
from prorata.rules.book import Book
from prorata.rules.comparison import TALLY_ORDERS, Comparison, Figures, compare
from prorata.rules.population import MAX_LEVERAGE, STRADDLE_NAMES, Population, with_straddle
from prorata.units import LONG, SHORT, WAD
from scripts import compare as command

PAGE = Path(__file__).parents[3] / "docs" / "compare.md"
DEFAULT = Population(20, Decimal(15), Fraction(2_000), 1)
SMALL = Population(8, Decimal(15), Fraction(500), 3)


def rows(comparison: Comparison) -> dict[str, Figures]:
    return {row.rule: row for row in comparison.rows}


def test_population_is_balanced_margined_and_the_seeds() -> None:
    book = DEFAULT.book(Fraction(1000))
    assert DEFAULT.book(Fraction(1000)) == book
    assert replace(DEFAULT, seed=2).book(Fraction(1000)) != book
    assert book.open_interest(LONG) == book.open_interest(SHORT) > 0
    assert len(book.holders(LONG)) == len(book.holders(SHORT)) == 10
    assert all(account.equity * MAX_LEVERAGE >= account.size * 1000 for account in book.accounts.values())
    bystanders = [account for account in book.accounts.values() if account.side is None]
    assert [account.profit > 0 for account in bystanders] == [True, False, True, False]
    assert len({account.entry for account in book.holders(LONG)}) > 3


def test_straddle_is_added_and_nothing_else_changes() -> None:
    book = DEFAULT.book(Fraction(1000))
    twin = with_straddle(book, Fraction(1, 4))
    legs = [twin.accounts.pop(name) for name in STRADDLE_NAMES]
    assert twin == book
    assert [leg.side for leg in legs] == [LONG, SHORT]
    assert legs[0].size == legs[1].size == book.open_interest(LONG) / 4
    assert legs[0].equity * MAX_LEVERAGE == legs[0].size * 1000


@pytest.mark.parametrize("name", shocks.NAMES)
def test_shocks(name: str) -> None:
    shock = shocks.load(name)
    assert shock.name == name
    assert shock.title
    times = [point.timestamp for point in shock.points]
    assert times == sorted(set(times))


def test_figures_come_again_from_the_seed() -> None:
    first, again = (compare(shocks.load("gap"), SMALL, 5) for _ in range(2))
    assert first == again
    assert compare(shocks.load("gap"), replace(SMALL, seed=4), 5).rows != first.rows


def test_every_rule_has_a_row_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    found = compare(shocks.load("spike"), SMALL, 2, 3, lambda done, of: told.append((done, of)))
    names = [rule.name for rule in RULES]
    assert [row.rule for row in found.rows] == [tally.rule for tally in found.tallies] == names
    assert told == [(done, len(RULES) + 3) for done in range(1, len(RULES) + 4)]


def test_markets_are_counted_one_by_one() -> None:
    """The count is what the single markets say; markets where nothing is missing do not count."""
    shock = shocks.load("late")
    seeds = range(SMALL.seed, SMALL.seed + 4)
    single = [rows(compare(shock, replace(SMALL, seed=seed), TALLY_ORDERS)) for seed in seeds]
    for tally in compare(shock, SMALL, 1, 4).tallies:
        found = [(market[tally.rule], market["prorata"]) for market in single if market[tally.rule].missing]
        assert tally.missing == len(found)
        assert tally.gain_only == sum(
            mine.paid.gain + mine.paid.insurance + mine.paid.losers == mine.gross for mine, _ in found
        )
        assert tally.any_order == sum(mine.spread.largest < Fraction(1, 100) for mine, _ in found)
        assert tally.calls == sum(mine.calls for mine, _ in found)
        less = sum(mine.straddle - ours.straddle <= Fraction(-1, 100) for mine, ours in found)
        more = sum(mine.straddle - ours.straddle >= Fraction(1, 100) for mine, ours in found)
        assert (tally.straddle_less, tally.straddle_more) == (less, more)


def test_what_the_rules_are_known_for() -> None:
    """Of one fall that bankrupts: each rule's mark, also where it is better than prorata."""
    found = rows(compare(shocks.load("gap"), DEFAULT, 20))
    ours = found["prorata"]
    # Ours: one call, no order, only the gain of the move, alike for every unit.
    assert (ours.calls, ours.spread.largest, ours.principal, ours.gini_per_unit) == (1, 0, 0, 0)
    assert ours.paid.gain == ours.missing - ours.paid.insurance > 0
    # MCDEX 2 divides alike, Percolator as well while all profit is of this move; they take a call an account.
    for same in ("mcdex-2", "percolator"):
        assert found[same].paid == ours.paid
        assert found[same].straddle == ours.straddle
        assert found[same].calls > 5
    # A queue depends on who is touched first, and takes from some more than from others; less is left to a straddle.
    for queue in ("adl-hyperliquid", "adl-binance"):
        assert found[queue].spread.largest > 1000
        assert found[queue].gini_per_unit is not None and found[queue].gini_per_unit > Fraction(1, 10)
        assert found[queue].straddle < ours.straddle
    assert found["adl-hyperliquid-documented"].taken_beyond > 10_000
    # Both sides and clawback have more shoulders; the former carry it with their own money.
    assert found["mango-drift"].paying > ours.paying < found["okex"].paying
    assert found["mango-drift"].principal > 0 == found["okex"].principal
    assert found["mcdex-3"].principal > 0


def test_without_insurance_nothing_is_covered() -> None:
    found = compare(shocks.load("uninsured"), SMALL, 1)
    assert {row.paid.insurance for row in found.rows} == {0}


def test_while_everybody_can_pay_all_rules_are_one() -> None:
    found = compare(shocks.load("steps"), DEFAULT, 3)
    assert len({(row.paid, row.spread, row.straddle) for row in found.rows}) == 1


def test_straddle_profit_is_that_of_the_price_that_closes_a_leg(book: Callable[..., Book]) -> None:
    """15 % down and back: the short leg's gain counts, not what it loses on the way back."""
    down = replace(shocks.load("spike"), points=shocks.load("spike").points[:2])
    there = rows(compare(down, SMALL, 1))
    there_and_back = rows(compare(shocks.load("spike"), SMALL, 1))
    assert {name: row.straddle for name, row in there.items()} == {
        name: row.straddle for name, row in there_and_back.items()
    }


def test_json_has_every_figure() -> None:
    found = compare(shocks.load("gap"), SMALL, 2)
    plain = json.loads(json.dumps(tables.as_json([found])))
    assert (plain["seed"], plain["orders"], plain["insurance"]) == (3, 2, str(500 * WAD))
    row, ours = plain["shocks"]["gap"]["rows"]["prorata"], rows(found)["prorata"]
    assert int(row["gross"]) == round(ours.gross * WAD)
    assert sum(int(part) for part in row["paid"].values()) == pytest.approx(int(row["gross"]), abs=10)
    assert row.keys() == Figures.__dataclass_fields__.keys() - {"rule", "title"}
    assert plain["shocks"]["gap"]["tallies"]["prorata"]["missing"] == 0
    assert plain["rules"].keys() == {rule.name for rule in RULES} == plain["shocks"]["gap"]["rows"].keys()


def test_the_page_is_what_the_command_makes() -> None:
    """Two of its shocks made again in full; the command that it names is the default one."""
    page = PAGE.read_text()
    options = {option.name: option.default for option in command.cli.params}
    population = Population(
        options["traders"], Decimal(options["leverage"]), Fraction(options["insurance"]), options["seed"]
    )
    orders, markets = options["orders"], options["markets"]
    named = command.described(command.ALL, population, orders, markets)
    assert named in page
    # One with all orders, one with all markets.
    made = [compare(shocks.load("gap"), population, orders), compare(shocks.load("late"), population, 1, markets)]
    lines = [line for line in tables.as_markdown(made[:1], named).splitlines() if line.startswith("|")]
    lines += tables.as_markdown(made[1:], named).partition("In how many")[2].splitlines()
    lines = [line for line in lines if line.startswith("| ")]
    assert len(lines) == 2 * (1 + len(RULES))
    assert [line for line in lines if line not in page] == []
    assert all(f"**{name}**" in page for name in shocks.NAMES)


def test_the_page_cites_every_rule() -> None:
    page = PAGE.read_text()
    assert [rule.title for rule in RULES if rule.title not in page] == []
