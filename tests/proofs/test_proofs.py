"""Every proof holds, every twin fails, no proof is about nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from prorata.units import INDEX_UNIT
from tests.proofs import catalogue, filing, insurance, layout, moves, premium, trades, transcript, words
from tests.proofs.query import Proof, Query, Undecided, Unsound

PROOFS = catalogue.proofs()
each = pytest.mark.parametrize("one", PROOFS, ids=lambda one: one.name)


@each
def test_holds(one: Proof) -> None:
    one.holds()


@each
def test_fails_without_its_guard(one: Proof) -> None:
    assert " = " in one.counterexample()


@each
def test_assumes_what_can_be(one: Proof) -> None:
    assert " = " in one.example()


def test_names_are_unique_and_cited_ones_exist() -> None:
    names = Counter(one.name for one in PROOFS)
    assert max(names.values()) == 1
    assert all(lemma in names for one in PROOFS for lemma in one.query.cited)


def test_every_guarantee_that_algebra_reaches_is_stated() -> None:
    """S5 is about gas; tests/gas measures it."""
    stated = {name for one in PROOFS for name in one.guarantee.split(", ")}
    assert {"S1", "S2", "S3", "S4", "S6", "S7", "S8"} <= stated
    assert list(catalogue.table()) == [(one.guarantee, one.name, one.statement) for one in PROOFS]


def test_some_are_shown_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["no_deficit_but_roundings", "deficit_is_at_most_gross"]
    catalogue.show(names)
    printed = capsys.readouterr().out
    assert [name for name in names if f"\n{name}  [" in printed] == names
    assert printed.count("proved in") == 2 and "\n2 proofs, each with its twin" in printed


def test_a_name_that_no_proof_has_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LookupError, match="no proof is called nothing, neither"):
        catalogue.show(["deficit_is_at_most_gross", "nothing", "neither"])
    assert capsys.readouterr().out == ""


def a_wei_more(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, off by one."""
    return lambda *arguments: function(*arguments) + 1


def winners_get_one_more(*arguments: Any) -> Any:
    """A move that rounds the winners' index up."""
    outcome = transcript.closing(*arguments)
    return replace(outcome, index_gain=outcome.index_gain + 1)


class TestWrongFormulas:
    """A formula that is a little wrong is found: each of these slips makes the proof named fail."""

    @pytest.mark.parametrize(
        ("room", "function", "slip", "name"),
        [
            (transcript, "quote_up", transcript.quote_down, "filing_costs_less_than_a_wei"),
            (
                transcript,
                "bankruptcy_drop",
                lambda m, n, c: m.quotient(c * INDEX_UNIT, n),
                "a_bucket_covers_bankruptcy",
            ),
            (transcript, "floor_div", lambda m, x, y: m.truncated(x, y), "price_against_mark_is_floored_for_both"),
            (
                transcript,
                "open_interest",
                a_wei_more(transcript.open_interest),
                "a_premium_is_bounded_by_open_interest",
            ),
            (filing, "equity", a_wei_more(transcript.equity), "equity_is_never_in_the_accounts_favour"),
            (filing, "deposit_ceiling", a_wei_more(transcript.deposit_ceiling), "deposit_never_lifts_an_account"),
            (moves, "reach", a_wei_more(transcript.reach), "a_stopped_rise_keeps_its_edge"),
            (moves, "threshold", a_wei_more(transcript.threshold), "the_threshold_is_rounded_up"),
            (moves, "closing", winners_get_one_more, "a_move_conserves"),
            (trades, "reward_of", a_wei_more(transcript.reward_of), "a_liquidation_conserves"),
            (trades, "shares_of_size", a_wei_more(transcript.shares_of_size), "shares_of_a_size_are_rounded_down"),
            (insurance, "vault_shares_down", transcript.vault_shares_up, "a_deposit_never_lowers_the_share_price"),
            (insurance, "request_part", a_wei_more(transcript.request_part), "parts_of_a_request_bring_no_more"),
            (premium, "target", lambda m, mark, price, *_: price, "a_step_is_limited_and_never_passes_the_index"),
            (layout, "at_or_under", words.at_or_above, "a_scan_looks_at_and_under_its_cursor"),
        ],
    )
    def test_is_found(
        self, monkeypatch: pytest.MonkeyPatch, room: Any, function: str, slip: Callable[..., Any], name: str
    ) -> None:
        (one,) = [one for one in PROOFS if one.name == name]
        monkeypatch.setattr(room, function, slip)
        with pytest.raises(Unsound, match=f"^{name} does not hold"):
            replace(one).holds()


class TestTheJudge:
    """What runs the proofs can fail in each of its ways."""

    def proof(self, goal: bool, guard: bool = True) -> Proof:
        def build(q: Query) -> None:
            x = q.integer("x", 0, 9)
            q.guard("small", x < 5 if guard else x < 0, "here")
            q.prove(x < 5 if goal else x < 4)

        return Proof("example", "S1", "x < 5", "", "here", build)

    def test_a_false_statement_is_refused(self) -> None:
        with pytest.raises(Unsound, match="does not hold:\nx = 4"):
            self.proof(goal=False).holds()

    def test_a_guard_that_guards_nothing_is_refused(self) -> None:
        def build(q: Query) -> None:
            x = q.integer("x", 0, 3)
            q.guard("small", x < 3, "here")
            q.prove(x < 4)

        with pytest.raises(Unsound, match="holds without its guard"):
            Proof("example", "S1", "x < 4", "", "here", build).counterexample()

    def test_assumptions_that_contradict_each_other_are_refused(self) -> None:
        impossible = self.proof(goal=True, guard=False)
        impossible.holds()
        with pytest.raises(Unsound, match="assumes what cannot be"):
            impossible.example()

    def test_not_knowing_is_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def build(q: Query) -> None:
            x, y, z = (q.integer(name, 3) for name in "xyz")
            q.guard("no power", x > 0, "here")
            q.prove(x * x * x + y * y * y != z * z * z)

        monkeypatch.setattr("tests.proofs.query.TIMEOUT_SECONDS", 0.2)
        with pytest.raises(Undecided):
            Proof("fermat", "S1", "no cube is a sum of two", "", "here", build).holds()
