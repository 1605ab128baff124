"""Replays: every published outcome has its source, shares are computed right by hand, and a replay comes back from its
seed; the page in docs/ is what the command writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from prorata import replay_report
from prorata.chain import Reverted
from prorata.outcomes import DEFAULT_INSURANCE, MEASURES, Crowd, OutcomeError, Ratio, load_outcomes
from prorata.parameters import MarketParameters
from prorata.replay import (
    CASES,
    Overrides,
    Replay,
    crowd_of,
    from_start,
    measure,
    replay,
    setup_of,
    wanted_notional,
    wanted_size,
)
from prorata.revm_chain import RevmChain
from prorata.scenarios import PricePath, PricePoint, load_named, named
from prorata.simulation import Setup, simulate
from prorata.units import WAD

#: Every event of the catalogue of published stress events, by the price paths that replay it.
CATALOGUE = {
    "LINK bad print, 2020-03-12": {"link-bad-print-2020"},
    "OKEx, 2018-07-31": {"okex-2018"},
    "Black Thursday, 2020-03-12/13": {"black-thursday-2020"},
    "Drift v1, 2022-05-11": {"luna-2022"},
    "Mango, 2022-10-11": {"mango-2022"},
    "2021-05-19 and 2022-11-09": {"may-2021", "sol-2022"},
    "FTX week, 2022-11": {"ftx-2022"},
    "dYdX v3 YFI, 2023-11": {"yfi-2023"},
    "Hyperliquid ETH whale, 2025-03-12": {"eth-whale-2025"},
    "Hyperliquid JELLY, 2025-03-26": {"jelly-2025"},
    "2025-10-10": {"october-2025", "october-2025-sol", "october-2025-alt"},
    "POPCAT, 2025-11": {"popcat-2025"},
    "percolator, 2026-04": {"percolator-2026"},
}

#: What the catalogue says, by event and figure.
PUBLISHED = {
    ("okex-2018", "position"): "416",
    ("okex-2018", "shortfall"): "3877",
    ("okex-2018", "fund_at_first"): "10",
    ("okex-2018", "socialized"): "1200",
    ("black-thursday-2020", "fund"): "35508",
    ("black-thursday-2020", "fund_after"): "33881",
    ("black-thursday-2020", "drawn"): "2606",
    ("black-thursday-2020", "deribit_fund"): "391",
    ("black-thursday-2020", "deribit_fund_after"): "183",
    ("link-bad-print-2020", "fall_of_perpetual"): "-31",
    ("luna-2022", "vault"): "13.66",
    ("luna-2022", "vault_after"): "4.94",
    ("mango-2022", "position"): "483",
    ("mango-2022", "withdrawn"): "116",
    ("may-2021", "trx"): "-21.8",
    ("may-2021", "ada"): "-15.7",
    ("may-2021", "eth"): "-9.6",
    ("sol-2022", "sol"): "-24",
    ("ftx-2022", "high"): "21473",
    ("ftx-2022", "low"): "15479",
    ("yfi-2023", "drawn"): "9",
    ("yfi-2023", "wallets"): "50",
    ("eth-whale-2025", "position"): "340",
    ("eth-whale-2025", "withdrawn"): "17.09",
    ("eth-whale-2025", "loss_of_vault"): "-4",
    ("eth-whale-2025", "gain_of_trader"): "1.8",
    ("jelly-2025", "capital"): "7",
    ("jelly-2025", "open_interest"): "4.1",
    ("jelly-2025", "loss_of_vault"): "12",
    ("october-2025", "deleveraged"): "2.1",
    ("popcat-2025", "margin"): "3",
    ("popcat-2025", "open_interest"): "26",
    ("popcat-2025", "loss_of_vault"): "4.9",
    ("percolator-2026", "capital"): "2",
    ("percolator-2026", "drawn"): "5",
}

PAGE = Path(__file__).parents[2] / "docs" / "replays.md"


@pytest.fixture(scope="module")
def straddle() -> Replay:
    """The smallest event of all: two accounts, every case."""
    return replay(load_outcomes()["percolator-2026"])


def printed(found: Replay, width: int = 150) -> str:
    out = StringIO()
    replay_report.show(found, Console(width=width, file=out))
    return out.getvalue()


class TestFile:
    def test_every_event_of_the_catalogue_has_a_path_and_every_path_an_outcome(self) -> None:
        assert set(load_outcomes()) == set().union(*CATALOGUE.values()) == set(named())

    @pytest.mark.parametrize("name", named())
    def test_every_figure_has_unit_and_source(self, name: str) -> None:
        outcome = load_outcomes()[name]
        assert outcome.name == name and len(outcome.event) > 10
        assert outcome.figures and outcome.limits
        for figure in outcome.figures.values():
            assert figure.unit and len(figure.source) >= 7
            assert "unknown" not in figure.source.lower()
        assert all(limit.endswith(".") for limit in outcome.limits)

    @pytest.mark.parametrize(("name", "figure"), PUBLISHED)
    def test_figures_are_those_of_the_catalogue(self, name: str, figure: str) -> None:
        found = load_outcomes()[name].figures[figure]
        assert (found.low, found.high) == (Decimal(PUBLISHED[name, figure]),) * 2

    @pytest.mark.parametrize("name", named())
    def test_where_there_is_a_fund_there_is_a_share_of_it(self, name: str) -> None:
        outcome = load_outcomes()[name]
        compared = {ratio.measure for ratio in outcome.ratios}
        if "fund" in outcome.figures:
            assert compared & {"drawn", "fund_change"}
        if "insurance" not in compared:
            assert outcome.insurance == DEFAULT_INSURANCE

    def test_a_crowd_of_its_own_says_why(self) -> None:
        for outcome in load_outcomes().values():
            assert bool(outcome.crowd.why) is (outcome.crowd != Crowd())

    def test_positions_that_are_derived_follow_from_the_published_ones(self) -> None:
        outcomes = load_outcomes()
        mango, straddle = outcomes["mango-2022"].figures, outcomes["percolator-2026"].figures
        assert mango["position"].low * mango["entry"].low == mango["open_interest"].low
        # Both the margin and the drain were lost between 138 and 50.
        lost = straddle["capital"].low + straddle["drawn"].low
        assert (lost / (1 - Decimal(50) / 138)).quantize(Decimal("0.01")) == straddle["open_interest"].low
        leverage = straddle["open_interest"].low / straddle["capital"].low
        assert outcomes["percolator-2026"].crowd.leverage == leverage.quantize(Decimal("0.1"))


WHOLE = """
[one]
event = "An event"
limits = ["Something."]
[one.figures]
fund = { value = 40, unit = "BTC", source = "a paper" }
left = { value = 10, unit = "BTC", source = "a paper" }
drawn = { value = [24.5, 30], unit = "BTC", source = "a paper", note = "about" }
interest = { value = 4, unit = "M$", source = "a paper" }
price = { value = 5_000, unit = "$ per BTC", source = "a paper" }
bitten = { value = [17, 18.5], unit = "%", source = "a paper" }
[one.ratios]
insurance = { part = "fund", whole = "interest", price = "price" }
drawn = { part = "drawn", whole = "fund" }
clawback = { part = "bitten" }
fund_change = [
    { of = "A", part = "left", minus = "fund", whole = "fund" },
    { of = "B", part = "left", whole = "fund" },
]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "outcomes.toml"
    path.write_text(text, encoding="utf-8")
    return path


class TestRatios:
    def test_by_hand(self, tmp_path: Path) -> None:
        outcome = load_outcomes(write(tmp_path, WHOLE))["one"]
        assert outcome.ratios == (
            # 40 BTC at 5,000 are 0.2 M$ of 4.
            Ratio("insurance", "", Fraction(1, 20), Fraction(1, 20), "fund x price / interest"),
            Ratio("drawn", "", Fraction(49, 80), Fraction(3, 4), "drawn / fund"),
            Ratio("clawback", "", Fraction(17, 100), Fraction(37, 200), "bitten"),
            Ratio("fund_change", "A", Fraction(-3, 4), Fraction(-3, 4), "(left - fund) / fund"),
            Ratio("fund_change", "B", Fraction(1, 4), Fraction(1, 4), "left / fund"),
        )
        assert outcome.insurance == Fraction(1, 20)
        assert outcome.published("deficit") == ()
        assert outcome.crowd == Crowd()

    def test_another_path_of_the_same_event_has_its_figures(self, tmp_path: Path) -> None:
        text = WHOLE + '[two]\nevent = "Its other half"\nsame_as = "one"\nlimits = ["Nothing."]\n'
        one, two = load_outcomes(write(tmp_path, text)).values()
        assert (two.figures, two.ratios) == (one.figures, one.ratios)
        assert (two.name, two.event, two.limits) == ("two", "Its other half", ("Nothing.",))

    @pytest.mark.parametrize(
        ("old", "new", "complaint"),
        [
            (', source = "a paper" }', " }", "one.figures.fund: source missing"),
            ('unit = "BTC"', 'unit = ""', "one.figures.fund: unit and source must be words"),
            ("value = 40", 'value = "40"', "one.figures.fund: value must be a number"),
            ("value = 40", "value = true", "one.figures.fund: value must be a number"),
            ("value = 40", "value = nan", "one.figures.fund: value must be a number"),
            ("[24.5, 30]", "[30, 24.5]", "one.figures.drawn: value must be a number, or the least and the most"),
            ("[24.5, 30]", "[1, 2, 3]", "one.figures.drawn: value must be a number, or the least and the most"),
            ('note = "about"', 'remark = "about"', "one.figures.drawn: remark is not a key"),
            ("clawback =", "clawed =", "one.ratios.clawed: no such measure; known: insurance, opened"),
            ('part = "bitten"', 'part = "eaten"', "one.ratios.clawback: no figure eaten"),
            ('part = "bitten"', 'part = "fund"', "one.ratios.clawback: a part without a whole must be in %"),
            ('drawn", whole = "fund"', 'drawn", whole = "interest"', "drawn is in BTC, interest in M$, with no price"),
            ('drawn", whole = "fund"', 'drawn", whole = "drawn"', "one.ratios.drawn: only the part may be a range"),
            (', price = "price"', ', price = "left"', "one.ratios.insurance: left does not turn BTC into M$"),
            ('minus = "fund"', 'minus = "price"', "one.ratios.fund_change: price is in $ per BTC, left in BTC"),
            ("value = 40", "value = 0", "one.ratios.drawn: the whole must be positive"),
            ('limits = ["Something."]', "limits = []", "one: at least one figure and one limit are needed"),
            ('limits = ["Something."]', "", "one: limits missing"),
            ("[one.ratios]", "[one.shares]", "one: shares is not a key"),
            ("[one.figures]", '[one.crowd]\ntraders = 1\nwhy = "x"\n[one.figures]', "one.crowd: at least 2 traders"),
            ("[one.figures]", "[one.crowd]\ntraders = 4\n[one.figures]", "one.crowd: why missing"),
            ("[one.figures]", '[one.crowd]\nalike = 1\nwhy = "x"\n[one.figures]', "one.crowd: alike must be a bool"),
            (
                "[one.figures]",
                '[one.crowd]\nleverage = "much"\nwhy = "x"\n[one.figures]',
                "one.crowd: leverage must be a number",
            ),
            ("[one.figures]", 'same_as = "two"\n[one.figures]', "one: same_as must name an event with figures"),
            ("[one]", "[one", "outcomes.toml: cannot be read"),
        ],
    )
    def test_refuses(self, tmp_path: Path, old: str, new: str, complaint: str) -> None:
        assert old in WHOLE
        with pytest.raises(OutcomeError) as caught:
            load_outcomes(write(tmp_path, WHOLE.replace(old, new, 1)))
        assert complaint in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    def test_refuses_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(OutcomeError, match=r"^outcomes\.toml: cannot be read"):
            load_outcomes(tmp_path / "outcomes.toml")


def within_two_wei(shares: Mapping[str, Fraction | int]) -> Any:
    """Shares of amounts of which one may be a wei off."""
    return {key: pytest.approx(Fraction(share), abs=Fraction(2, WAD), rel=0) for key, share in shares.items()}


class TestMeasure:
    """Two accounts of 5,000 at leverage 5, 25,000 of insurance, and one fall from 100 to 60."""

    PATH = PricePath("fall", (PricePoint(0, Decimal(100)), PricePoint(60, Decimal(60))))
    SETUP = Setup(
        PATH, 2, Decimal(5), 25_000, 1, lowest_leverage=Decimal(5), collateral=range(5_000, 5_001), keepers="none"
    )

    def test_by_hand(self) -> None:
        run = simulate(RevmChain(), self.SETUP)
        found = measure(run, "by hand")
        # 250 a side, 25,000; each pays a fee of 12.5. The long loses 10,000 and has 4,987.5.
        # A debt is rounded up by a wei when it is filed, so that much more is drawn.
        assert found.amounts == {
            "open_interest": 25_000 * WAD,
            "fund": 25_025 * WAD,
            "drawn": 5_012 * WAD + WAD // 2 + 1,
            "socialized": 0,
            "adl_shortfall": 0,
        }
        assert found.ratios == within_two_wei(
            {
                "insurance": 1,
                "opened": 1,
                "deficit": Fraction(50125, 250_000),
                "haircut": 0,
                "drawn": Fraction(50125, 250_250),
                "fund_change": Fraction(-50125, 250_250),
                "clawback": 0,
                "adl_shortfall": 0,
                "deleveraged": 1,
                "liquidated": 0,
                # Both together: what insurance paid, less both fees.
                "taken": Fraction(50125 - 250, 250_000),
            }
        )
        assert (found.traders, found.accounts_closed, found.liquidations, found.settlements) == (2, 1, 0, 1)
        assert found.guarantees == {"S1": True, "S2": True, "S3": True}

    def test_what_insurance_may_not_pay_is_socialized(self) -> None:
        found = measure(simulate(RevmChain(), replace(self.SETUP, insurance=5_000)), "by hand")
        # Half of 5,025 is paid, and 2,500 of the 10,000 that the short would have gained (less his fee) is not there.
        assert found.ratios["drawn"] == Fraction(1, 2)
        assert found.amounts["socialized"] == 2_500 * WAD + 1
        shares = {key: found.ratios[key] for key in ("haircut", "clawback")}
        assert shares == within_two_wei({"haircut": Fraction(1, 4), "clawback": Fraction(25_000, 99_875)})

    def test_nothing_of_nothing(self) -> None:
        setup = replace(self.SETUP, insurance=0, parameters=MarketParameters.guarded())
        found = measure(simulate(RevmChain(), setup), "by hand")
        assert found.ratios["opened"] == 0
        nothing = {"insurance", "deficit", "drawn", "fund_change", "clawback", "adl_shortfall", "deleveraged"}
        assert all(found.ratios[key] is None for key in nothing | {"liquidated", "taken"})
        assert found.guarantees["S8"] is True

    def test_a_keeper_takes_a_part_over(self) -> None:
        # At 84.5 the long has 1,112.5 of 21,125, more than the market closes; at 82 it has 487.5, less than 2.5 %.
        path = PricePath("slide", (*self.PATH.points[:1], PricePoint(60, Decimal(82)), PricePoint(120, Decimal(82))))
        run = simulate(RevmChain(), replace(self.SETUP, path=path, keepers="prompt"))
        found = measure(run, "by hand")
        assert found.liquidations == len(run.liquidations) == 1
        assert found.ratios["liquidated"] == Fraction(run.liquidations[0].size, 250 * WAD)
        assert found.ratios["deleveraged"] == 0

    def test_gains_of_all_are_what_the_fund_lost(self, straddle: Replay) -> None:
        for result in straddle.results:
            change, fund, interest = (
                result.ratios["fund_change"],
                result.amounts["fund"],
                result.amounts["open_interest"],
            )
            assert change is not None and result.ratios["taken"] is not None
            fees = fund - round(straddle.insurance * interest / WAD) * WAD
            assert abs(result.ratios["taken"] * interest + change * fund + fees) <= 10**6


class TestSettings:
    @pytest.mark.parametrize("name", named())
    def test_insurance_has_the_ratio_of_the_event(self, name: str) -> None:
        outcome = load_outcomes()[name]
        for case in CASES:
            setup = setup_of(name, crowd_of(outcome, Overrides()), outcome.insurance, 1, case)
            assert abs(setup.insurance * WAD - outcome.insurance * wanted_notional(setup)) <= WAD // 2
            assert setup.path.points[-1].timestamp > setup.path.points[0].timestamp

    def test_all_cases_have_the_same_traders(self) -> None:
        outcome = load_outcomes()["october-2025"]
        setups = [setup_of("october-2025", outcome.crowd, outcome.insurance, 1, case) for case in CASES]
        assert len({(setup.insurance, wanted_size(setup)) for setup in setups}) == 1

    def test_cases(self) -> None:
        assert [case.keepers for case in CASES[:3]] == ["prompt", "late", "none"]
        assert all(case.parameters == MarketParameters() for case in CASES[:-1])
        assert CASES[-1].parameters == MarketParameters.guarded()
        assert len({case.name for case in CASES}) == len(CASES)

    def test_yfi_is_traded_at_the_peak(self) -> None:
        outcome = load_outcomes()["yfi-2023"]
        for case in CASES:
            setup = setup_of("yfi-2023", outcome.crowd, outcome.insurance, 1, case)
            assert setup.path.points[0].price == 3150
        whole = load_named("yfi-2023")
        assert from_start(whole, 0) == whole

    def test_overrides(self) -> None:
        outcome = load_outcomes()["popcat-2025"]
        crowd = crowd_of(outcome, Overrides(traders=4, leverage=Decimal(3)))
        assert (crowd.traders, crowd.lowest_leverage, crowd.leverage) == (4, 3, 3)
        crowd = crowd_of(outcome, Overrides(leverage=Decimal(12)))
        assert (crowd.traders, crowd.lowest_leverage, crowd.leverage) == (38, Decimal("8.7"), 12)
        assert setup_of("popcat-2025", crowd, Fraction(0), 1, CASES[0]).insurance == 0
        assert setup_of("popcat-2025", crowd, Fraction(1, 10**9), 1, CASES[0]).insurance == 1


class TestReplay:
    def test_comes_back_from_its_seed(self) -> None:
        outcome, few = load_outcomes()["eth-whale-2025"], Overrides(traders=6, leverage=Decimal(15))
        outcome = replace(outcome, crowd=Crowd())
        once, again, other = (replay(outcome, seed, few) for seed in (3, 3, 4))
        assert once == again
        assert once.results[0].amounts["open_interest"] != other.results[0].amounts["open_interest"]

    def test_reports_every_case(self) -> None:
        done: list[str] = []
        replay(load_outcomes()["eth-whale-2025"], progress=done.append)
        assert done == [case.name for case in CASES]

    def test_the_straddle(self, straddle: Replay) -> None:
        """Insurance pays half of itself to a straddle over a jump, and nothing while steps are bounded."""
        assert straddle.holds
        jump, guarded = straddle.results[-2:]
        assert jump.ratios["drawn"] == Fraction(1, 2)
        assert jump.ratios["taken"] is not None and jump.ratios["taken"] > Fraction(1, 5)
        assert guarded.guarantees["S8"] is True
        assert guarded.ratios["drawn"] == guarded.ratios["deficit"] == guarded.ratios["haircut"] == 0
        assert guarded.ratios["taken"] is not None and guarded.ratios["taken"] < 0

    def test_a_violation_is_stated(self, straddle: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("prorata.twin.MAX_DUST", -1)
        broken = replay(straddle.outcome)
        assert not broken.holds
        assert all(result.guarantees["S1"] is False for result in broken.results)
        assert all(result.violation.startswith("S1: dust") for result in broken.results)
        assert "S1 VIOLATED" in printed(broken)

    def test_a_failure_of_the_contracts_is_not_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object, **__: object) -> None:
            raise Reverted("oracle: stale")

        monkeypatch.setattr("prorata.twin.Twin.settle", refused)
        with pytest.raises(Reverted, match="oracle: stale"):
            replay(load_outcomes()["eth-whale-2025"])


class TestReport:
    @pytest.mark.parametrize(
        ("share", "shown"),
        [
            (None, "-"),
            (Fraction(0), "0"),
            (Fraction(1, 3), "33.33 %"),
            (Fraction(-1, 8), "-12.50 %"),
            (Fraction(1, 10**6), "<0.01 %"),
            (Fraction(-1, 10**6), "-<0.01 %"),
            (Fraction(12_345, 1000), "1,234 %"),
        ],
    )
    def test_per_cent(self, share: Fraction | None, shown: str) -> None:
        assert replay_report.per_cent(share) == shown

    def test_published_shares(self) -> None:
        ranged = Ratio("clawback", "", Fraction(17, 100), Fraction(18, 100), "x")
        assert replay_report.published_text([ranged]) == "17.00 to 18.00 %"
        two = [Ratio("drawn", of, Fraction(1, 2), Fraction(1, 2), "x") for of in ("A", "B")]
        assert replay_report.published_text(two) == "50.00 % (A); 50.00 % (B)"
        assert replay_report.published_text([]) == "-"

    def test_a_row_for_every_measure(self, straddle: Replay) -> None:
        rows = replay_report.rows(straddle)
        assert [name for name, _, _ in rows][: len(MEASURES)] == [title for title, _ in MEASURES.values()]
        assert all(len(cells) == len(CASES) for _, _, cells in rows)
        assert set(straddle.results[0].ratios) == set(MEASURES)

    def test_json(self, straddle: Replay, tmp_path: Path) -> None:
        written = replay_report.write([straddle], tmp_path / "new")
        assert [path.name for path in written] == ["replays.json", "replays.md"]
        assert {path.name for path in (tmp_path / "new").iterdir()} == {"replays.json", "replays.md"}
        (event,) = json.loads(written[0].read_text())["events"]
        assert (event["name"], event["seed"], event["traders"]) == ("percolator-2026", 1, 2)
        assert event["published"]["figures"]["fund"] == {
            "value": ["5", "5"],
            "unit": "SOL",
            "source": "its tracker, #41",
            "note": "",
        }
        for case, result in zip(event["cases"], straddle.results, strict=True):
            assert case["ratios"]["drawn"] == str(int(result.ratios["drawn"] * WAD))  # type: ignore[operator]
            assert case["amounts"]["drawn"] == str(result.amounts["drawn"])
            assert case["guarantees"] == result.guarantees

    def test_on_a_terminal(self, straddle: Replay) -> None:
        shown = printed(straddle)
        assert "percolator-2026" in shown and "S1 S2 S3 S8" in shown and "45.54 %" in shown
        for limit in straddle.outcome.limits:
            assert limit[:40] in shown

    def test_a_narrow_terminal_loses_no_digit(self, straddle: Replay) -> None:
        shown = printed(straddle, width=80)
        assert max(len(line) for line in shown.splitlines()) <= 80
        assert "…" not in shown
        rows = replay_report.rows(straddle)
        parts = {part for _, published, cells in rows for cell in (published, *cells) for part in cell.split()}
        assert [part for part in parts if part not in shown] == []


class TestPage:
    """docs/replays.md is what `make replays` writes."""

    def test_has_every_event_in_order_of_time(self) -> None:
        sections = re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE)
        assert sorted(sections) == named()
        began = [load_named(name).points[0].timestamp for name in sections]
        assert began == sorted(began)

    @pytest.mark.parametrize("name", named())
    def test_shows_what_is_published_and_what_cannot_be_compared(self, name: str) -> None:
        outcome, page = load_outcomes()[name], PAGE.read_text()
        section = page[page.index(f"\n## {name}\n") :].split("\n## ", 2)[1]
        for figure in outcome.figures.values():
            assert f"| {replay_report.figure_text(figure)} | {figure.note} | {figure.source} |" in section
        for measure_name, (title, _) in MEASURES.items():
            assert f"| {title} | {replay_report.published_text(outcome.published(measure_name))} | " in section
        assert all(f"- {limit}\n" in section for limit in outcome.limits)
        assert "VIOLATED" not in section

    def test_figures_are_what_the_market_does_today(self, straddle: Replay) -> None:
        assert replay_report.event_markdown(straddle) in PAGE.read_text() + "\n"
