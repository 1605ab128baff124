"""A slice of `make fuzz`, and that its judge, its trials and its campaign can say no.

`PRORATA_FUZZ` sets how many runs of 2,000 operations each shard takes, `PRORATA_SEED` the seed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

from prorata.fast_exchange import Event, FastExchange
from prorata.storage import State
from prorata.twin import Violation
from prorata.units import INDEX_UNIT
from tests import figures
from tests.fuzz import __main__ as campaign
from tests.fuzz.explain import explain
from tests.fuzz.judge import Judge
from tests.fuzz.run import AUDIT_EVERY, AUDIT_SEARCH, Figures, Run
from tests.fuzz.trials import Trials

RUNS = int(os.environ.get("PRORATA_FUZZ", "4"))
SEED = int(os.environ.get("PRORATA_SEED", "1"))
SHARDS = 4


@pytest.mark.parametrize("shard", range(SHARDS))
def test_slice(shard):
    total = Figures()
    for number in range(shard, RUNS * SHARDS, SHARDS):
        total.add(Run(SEED, number, campaign.OPERATIONS).live())
    assert total.largest_gap <= 100 and total.audited and total.deficits and total.socialized
    shown = {name: value for name, value in vars(total).items() if isinstance(value, int)}
    figures.record(f"fuzz, seed {SEED}, shard {shard}", shown)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(56, id="price a million times higher than when accounts were filed"),
        pytest.param(135, id="exit by steps that take hundreds of settlements"),
        pytest.param(1332, id="half of a split account in the next bucket"),
        pytest.param(3318, id="closed and open again within a batch"),
        pytest.param(119, id="touches that fill other bitmap words, where words stop a settlement"),
    ],
)
def test_a_run_that_was_once_flagged(number):
    """Each by a check that asked too much."""
    Run(1, number, campaign.OPERATIONS).live()


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(2720, id="a price move, for hundreds of operations"),
        pytest.param(56, id="a payment of funding"),
    ],
)
def test_where_words_stop_every_move_the_model_is_asked_as_often(number, monkeypatch):
    told = []
    lockstep = Run._in_lockstep

    def noted(self, operation, stopped=None):
        told.append(stopped)
        lockstep(self, operation, stopped)

    monkeypatch.setattr(Run, "_in_lockstep", noted)
    found = Run(1, number, campaign.OPERATIONS).live()
    assert found.largest_gap <= AUDIT_EVERY + AUDIT_SEARCH
    assert any(one and one.funding == (number == 56) for one in told)


@pytest.mark.parametrize("number", [2720, 56])
def test_a_model_that_was_told_where_to_halt_still_says_no(number, monkeypatch):
    """Told another mark, or another payment, it does not come out where the contracts do."""
    stopped_by_words = Trials.stopped_by_words

    def elsewhere(self, state):
        stopped = stopped_by_words(self, state)
        if not stopped:
            return None
        indices = tuple(index - 10**15 * INDEX_UNIT // state.sides[0].shares for index in stopped.indices)
        return replace(stopped, mark_after=stopped.mark_after + state.mark // 10**6 + 1, indices=indices)

    monkeypatch.setattr(Trials, "stopped_by_words", elsewhere)
    with pytest.raises(Violation, match=r"^S3"):
        Run(1, number, campaign.OPERATIONS).live()


# ------------------------------------------------------------------------------------------------------------ the judge


class Case:
    """An operation that was judged and found right."""

    def __init__(self, judge: Judge, before: State, after: State, events: list[Event], now: int) -> None:
        self.judge, self.before, self.after, self.events, self.now = judge, before, after, events, now

    def with_state(self, change: Callable[[State], None]) -> None:
        """Judge the same with another outcome."""
        after = deepcopy(self.after)
        change(after)
        self.judge.judge(self.before, after, self.events, self.now)

    def with_word(self, name: str, place: int, by: int) -> None:
        """Judge the same with another word in one event."""
        events = [
            replace(event, words=tuple(word + by * (i == place) for i, word in enumerate(event.words)))
            if event.name == name
            else event
            for event in self.events
        ]
        self.judge.judge(self.before, self.after, events, self.now)


def is_socialized(event: Event) -> bool:
    return event.name == "Settled" and event.receipt().socialized > 0 and event.receipt().covered > 0


WANTED: dict[str, Callable[[Event], bool]] = {
    "socialized": is_socialized,
    "moved": lambda event: event.name == "Moved" and event.receipt().gross > 0,
    "traded": lambda event: event.name == "Traded" and event.words[4] > 0,
    "liquidated": lambda event: event.name == "Liquidated" and event.words[2] > 0,
    "deposited": lambda event: event.name == "Deposited",
    "insured": lambda event: event.name == "Deposit",
}


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    """One operation of each kind, out of real runs."""
    found: dict[str, Case] = {}
    for number in range(40):
        run = Run(3, number, 1200)
        while run.figures.operations < run.operations and len(found) < len(WANTED):
            before = run.state
            run.step(run.rules.next(before))
            for name, wanted in WANTED.items():
                fits = [event for event in run.driver.events if wanted(event)]
                # The same markets have to stay as they are: the judge looks into their buckets.
                if name not in found and fits and run.state.epoch == before.epoch and name == missing(found):
                    case = Case(run.judge, before, run.state, run.driver.events, run.driver.chain.now)
                    found[name] = case
                    run.operations = 0
        if len(found) == len(WANTED):
            return found
    raise AssertionError(f"only {sorted(found)} came up")


def missing(found: dict[str, Case]) -> str:
    """The first kind that is still wanted."""
    return next((name for name in WANTED if name not in found), "")


STATES: dict[str, tuple[str, str, Callable[[State], None]]] = {
    "a wei left the market": ("moved", "S1", lambda s: setattr(s, "market_balance", s.market_balance - 10**7)),
    "a wei left the vault": ("moved", "S1", lambda s: setattr(s, "vault_balance", s.vault_balance - 1)),
    "insurance is owed less": ("traded", "S1", lambda s: setattr(s, "owed", s.owed - 1)),
    "insurance holds less": ("insured", "S1", lambda s: setattr(s, "held", s.held - 1)),
    "vault shares from nothing": ("deposited", "S1", lambda s: setattr(s, "supply", s.supply * 2 + 10**30)),
    "a winner's index": ("socialized", "S3", lambda s: setattr(s.sides[0], "index", s.sides[0].index + 1)),
    "the other index": ("socialized", "S3", lambda s: setattr(s.sides[1], "index", s.sides[1].index - 1)),
    "a scale": ("socialized", "S3", lambda s: setattr(s.sides[0], "scale", s.sides[0].scale - 1)),
    "a scale, the other": ("socialized", "S3", lambda s: setattr(s.sides[1], "scale", s.sides[1].scale - 1)),
    "the mark": ("moved", "S3", lambda s: setattr(s, "mark", s.mark + 1)),
    "the total of socialized losses": ("socialized", "S3", lambda s: setattr(s, "socialized", s.socialized + 1)),
    "the total of shortfalls": ("moved", "S3", lambda s: setattr(s, "adl_shortfall", s.adl_shortfall + 1)),
    "the cool-off": ("moved", "S3", lambda s: setattr(s, "reduce_only_until", s.reduce_only_until + 1)),
    "an epoch": ("moved", "S3", lambda s: setattr(s, "epoch", s.epoch + 1)),
    "an account that nobody touched": (
        "moved",
        "S3",
        lambda s: setattr(s.holdings[0], "worth", s.holdings[0].worth + INDEX_UNIT),
    ),
    "a closed account that lives on": (
        "socialized",
        "S3",
        lambda s: next(setattr(h, "worth", INDEX_UNIT) for h in s.holdings if not h.shares and not h.worth),
    ),
    "a deposit that is worth more": (
        "deposited",
        "S3",
        lambda s: [setattr(h, "worth", h.worth + 10 * INDEX_UNIT) for h in s.holdings],
    ),
    "a trader who gained by trading": (
        "traded",
        "S3",
        lambda s: [setattr(h, "worth", h.worth + 10 * INDEX_UNIT) for h in s.holdings],
    ),
    "a liquidation that cost more": (
        "liquidated",
        "S3",
        lambda s: [setattr(h, "worth", h.worth - 10 * INDEX_UNIT) for h in s.holdings],
    ),
    "a bucket that counts more": (
        "traded",
        "S1",
        lambda s: [setattr(h, "debt", h.debt + 1) for h in s.holdings if h.shares],
    ),
    "a premium beyond what may be paid": ("traded", "S3", lambda s: setattr(s, "premium", 2**100)),
}

#: Event, word of it, by how much, and what is violated then.
WORDS = {
    "gross": ("socialized", "Settled", 3, 1, "S3"),
    "deficit": ("socialized", "Settled", 4, 1, "S3"),
    "covered": ("socialized", "Settled", 5, 1, "S3"),
    "surplus": ("socialized", "Settled", 6, 1, "S3"),
    "bonus": ("socialized", "Settled", 7, 1, "S3"),
    "adl_shortfall": ("socialized", "Settled", 8, 1, "S3"),
    "buckets_closed": ("socialized", "Settled", 10, 1, "S3"),
    "mark_before": ("moved", "Moved", 0, 1, "S3"),
    "mark_after": ("moved", "Moved", 1, 1, "S3"),
    "maker_fee": ("traded", "Traded", 4, 10, "S[13]"),
    "taker_fee": ("traded", "Traded", 5, -10, "S[13]"),
    "a mark of a trade": ("traded", "Traded", 3, 1, "S3"),
    "reward": ("liquidated", "Liquidated", 3, 10**30, "S1"),
    "fee": ("liquidated", "Liquidated", 2, 10, "S[13]"),
    "amount": ("deposited", "Deposited", 0, 10, "S3"),
    "assets": ("insured", "Deposit", 0, 1, "S1"),
}


@pytest.mark.parametrize("name", STATES)
def test_the_judge_notices_a_state(cases, name):
    kind, guarantee, change = STATES[name]
    with pytest.raises(Violation, match=f"^{guarantee}"):
        cases[kind].with_state(change)


@pytest.mark.parametrize("name", WORDS)
def test_the_judge_notices_an_event(cases, name):
    kind, event, place, by, guarantee = WORDS[name]
    with pytest.raises(Violation, match=f"^{guarantee}"):
        cases[kind].with_word(event, place, by)


@pytest.mark.parametrize("name", ["insure", "mint_insurance"])
@pytest.mark.parametrize(
    "change",
    [lambda n: n + n // 10**6 + 10**6, lambda n: n - n // 10**6 - 10**6, lambda n: 0],
    ids=["more", "less", "nothing"],
)
def test_the_judge_notices_an_entry_that_was_promised_otherwise(monkeypatch, name, change):
    preview = FastExchange.preview_entry

    def lied(self, operation, amount):
        promised = preview(self, operation, amount)
        return change(promised) if operation == name else promised

    monkeypatch.setattr(FastExchange, "preview_entry", lied)
    with pytest.raises(Violation, match=r"^S3: promised"):
        for number in range(20):
            Run(SEED, number, campaign.OPERATIONS).live()


@pytest.mark.parametrize("kind", WANTED)
def test_the_judge_accepts_what_was(cases, kind):
    cases[kind].with_state(lambda state: None)


# -------------------------------------------------------------------------------------------------------- the campaign


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A campaign of short runs whose results go elsewhere."""
    monkeypatch.setattr(campaign, "OPERATIONS", 60)
    monkeypatch.setattr(campaign, "ROOT", tmp_path)
    monkeypatch.setattr(campaign, "SNAPSHOT", tmp_path / "fuzz.json")
    return tmp_path / "fuzz.json"


def fuzz(*arguments: str):
    return CliRunner().invoke(campaign.main, arguments)


def test_a_campaign_resumes_and_repeats_itself(small):
    assert fuzz("--steps", "100", "--seed", "9", "--workers", "1").exit_code == 0
    first = json.loads(small.read_text())
    again = fuzz("--steps", "300", "--seed", "9", "--workers", "2")
    assert f"{first['runs']} runs done already" in again.output
    resumed = json.loads(small.read_text())
    assert resumed["violations"] == 0 and resumed["operations"] >= 300 and resumed["runs"] > first["runs"]

    for path in small.parent.rglob("*.jsonl"):
        path.unlink()
    assert fuzz("--steps", "300", "--seed", "9", "--workers", "1").exit_code == 0
    anew = json.loads(small.read_text())
    assert {**anew, "minutes": 0} == {**resumed, "minutes": 0}


def test_a_violation_is_reported_and_explained(small, monkeypatch, capsys):
    check = Judge.check

    def strict(self, state):
        check(self, state)
        if state.mark != self._first_mark:
            raise Violation("S3", "the mark has moved")

    init = Run.__init__

    def begin(self, *arguments):
        init(self, *arguments)
        self.judge._first_mark = self.state.mark

    monkeypatch.setattr(Judge, "check", strict)
    monkeypatch.setattr(Run, "__init__", begin)
    result = fuzz("--steps", "60", "--seed", "9", "--workers", "1")
    assert result.exit_code == 1 and "S3: the mark has moved" in result.output
    assert json.loads(small.read_text())["violations"] >= 1

    assert explain(9, 0, 60, Console(width=200)) == 1
    shown = capsys.readouterr().out
    assert "S3: the mark has moved" in shown and "    settlement:" in shown


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--steps", "many"], ["--workers", "0"], ["--run", "-1"]])
def test_bad_input_is_one_line(arguments):
    result = fuzz(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output and "Error: " in result.output
