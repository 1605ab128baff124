"""The tables of SPECIFICATION.md that say what shows its guarantees: out of the suite, the proofs and the snapshots."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prorata.sources import is_stale
from tests.fuzz.__main__ import bytecode
from tests.mutation import planted
from tests.proofs.catalogue import table

ROOT = Path(__file__).parents[2]

Figures = dict[str, Any]

#: Said of figures that are not of these contracts.
OLD = "Measured on the contracts as they were before their last change."


@dataclass(frozen=True)
class Guarantee:
    """One line of the first table.

    Attributes:
        tests: files, or tests in them as pytest names them; what of the fuzz campaign is about it.
        figure: what was measured last, from the campaign's snapshot.
    """

    name: str
    statement: str
    tests: tuple[str, ...]
    figure: Callable[[Figures], str]


def _wei(amount: int) -> str:
    return f"{amount:,} wei"


GUARANTEES = (
    Guarantee(
        "S1 conservation",
        "After every call, in every interleaving, the market's tokens cover everybody's equity, each rounded down, and "
        "what it owes insurance. The difference is dust, at most 1e6 wei. What the vault has changes by stated events.",
        (
            "tests/invariant/test_stateful.py",
            "tests/invariant/test_fuzz.py",
            "tests/invariant/test_event_log.py",
            "tests/boundary/test_weird_tokens.py",
        ),
        lambda f: f"{f['operations']:,} operations, largest dust {_wei(f['largest_dust'])}",
    ),
    Guarantee(
        "S2 bounded loss",
        "What closed accounts cannot pay is at most what their side lost in that move: 0 ≤ covered ≤ deficit ≤ gross, "
        "and no winner ends a move with less than before.",
        ("tests/invariant/test_stateful.py", "tests/invariant/test_fuzz.py", "tests/unit/modules/test_settlement.py"),
        lambda f: f"{f['moves']:,} moves, {f['deficits']:,} with a deficit, {f['socialized']:,} socialized",
    ),
    Guarantee(
        "S3 exactness",
        "Every move is what an eager settlement of every account gives, to the last digit of every index, scale and "
        "receipt; every balance is that of the exact-rational model within 1e9 wei and what scales are rounded by.",
        ("tests/invariant/test_stateful.py", "tests/invariant/test_fuzz.py", "tests/unit/test_ledger.py"),
        lambda f: (
            f"{f['audited']:,} operations against the model, at least one in {f['largest_gap']}, "
            f"largest difference {_wei(f['largest_difference'])}"
        ),
    ),
    Guarantee(
        "S4 order independence",
        "Who is touched, how often and in which order changes nobody's equity but by a wei or two a touch, and "
        "nobody's close-out; to settle what is settled changes nothing.",
        ("tests/invariant/test_stateful.py", "tests/invariant/test_fuzz.py"),
        lambda f: ", ".join(
            f"{f['trials'][name]:,} of `{name}`"
            for name in ("touches", "order_of_actions", "settling_twice", "many_touches")
        ),
    ),
    Guarantee(
        "S5 cost",
        "The gas of a settlement depends on the buckets it closes, never on how many accounts are in them; every "
        "operation of an account is O(1); no settlement that anybody can prepare costs more than 10 M gas.",
        ("tests/gas/test_crowd.py", "tests/gas/test_worst_call.py", "tests/gas/test_levels.py"),
        lambda _: f"{_gas('bucket_marginal'):,} gas a bucket, {_gas('worst_settle'):,} at the worst",
    ),
    Guarantee(
        "S6 split neutrality",
        "Two accounts instead of one change nothing beyond dust and one bucket width.",
        ("tests/invariant/test_guarantees.py::TestSplitNeutrality", "tests/invariant/test_fuzz.py"),
        lambda f: f"{f['trials']['split']:,} of `split`",
    ),
    Guarantee(
        "S7 exit",
        "A flat account can always withdraw, oracle or no oracle, without settling; when the oracle is dead the market "
        "closes and everybody goes with all they have.",
        (
            "tests/unit/market/test_withdraw.py::TestFlat",
            "tests/boundary/test_hostile_oracles.py",
            "tests/invariant/test_stateful.py",
            "tests/invariant/test_fuzz.py",
        ),
        lambda f: f"{f['runs']:,} markets, each left by everybody",
    ),
    Guarantee(
        "S8 no keeper needed",
        "While no step of the mark, and no funding move, is larger than the close-out margin, no path of the oracle "
        "makes a deficit beyond rounding, with no keeper at all; just outside there is one.",
        ("tests/invariant/test_gap_safety.py", "tests/invariant/test_guarantees.py::TestNoKeeperNeeded"),
        lambda f: "checked at every move of the gap-safe markets among them",
    ),
    Guarantee(
        "No free lunch",
        "Whoever lets the price go somewhere and come back has gained nothing. If somebody was closed on the way, no "
        "coalition he belongs to has gained more than insurance paid and winners are stated to have gone without.",
        ("tests/invariant/test_fuzz.py", "tests/unit/vault/test_share_price.py"),
        lambda f: f"{f['trials']['there_and_back']:,} of `there_and_back`",
    ),
)


def _snapshot(name: str) -> Figures:
    found: Figures = json.loads((ROOT / "snapshots" / f"{name}.json").read_text())
    return found


def _gas(name: str) -> int:
    return int(_snapshot("gas")["gas"][name])


def _guarantees() -> Iterator[str]:
    proofs = [(guarantee, name) for guarantee, name, _ in table()]
    fuzz = _snapshot("fuzz")
    yield "| guarantee | statement | tests | proofs | last measured |"
    yield "|---|---|---|---|---|"
    for one in GUARANTEES:
        key = one.name.split()[0]
        count = sum(bool(re.search(rf"\b{key}\b", guarantee)) for guarantee, _ in proofs)
        tests = "<br>".join(f"`{test}`" for test in one.tests)
        shown = f"{count}, [below](#proofs)" if count else ""
        yield f"| **{one.name}** | {one.statement} | {tests} | {shown} | {one.figure(fuzz)} |"


def _campaign() -> Iterator[str]:
    fuzz = _snapshot("fuzz")
    if fuzz["bytecode"] != bytecode():
        yield from (OLD, "")
    yield "| | |"
    yield "|---|---|"
    for name, shown in (
        ("operations", "operations, of which were refused, for a reason with a name, changing nothing"),
        ("violations", "violations of any guarantee"),
        ("runs", "markets, each from deployment to the exit of everybody"),
        ("moves", "moves, each settled again account by account; closed buckets"),
        ("deficits", "moves with a deficit; with a socialized one; ended epochs"),
        ("audited", "operations run on the exact-rational model too; the longest stretch without one"),
        ("trials", "trials of two futures of one market"),
        ("largest_difference", "wei: largest difference of any account from the model"),
        ("largest_dust", "wei: largest dust"),
        ("minutes", "minutes, on two cores shared with other work; seed"),
    ):
        beside = {
            "operations": ("refused",),
            "moves": ("buckets_closed",),
            "deficits": ("socialized", "epochs"),
            "audited": ("largest_gap",),
            "minutes": ("seed",),
        }.get(name, ())
        values = [sum(fuzz[key].values()) if key == "trials" else fuzz[key] for key in (name, *beside)]
        yield f"| {' / '.join(f'{value:,}' for value in values)} | {shown} |"


def _proofs() -> Iterator[str]:
    yield "| guarantee | proof | statement |"
    yield "|---|---|---|"
    for guarantee, name, statement in table():
        yield f"| {guarantee} | `{name}` | {statement} |".replace("||", "\\|\\|")


def _mutation() -> Iterator[str]:
    found = _snapshot("mutation")
    if found["tried"] < found["mutants"]:
        yield f"Tried so far: {found['tried']:,} of {found['mutants']:,} mutants, drawn by chance."
    if is_stale(found):
        yield OLD
    yield f"{found['killed']:,} of {found['viable']:,} viable mutants are killed ({found['timeouts']} by never ending);"
    yield f"{found['equivalent']} of the others are argued to change nothing that can be seen:"
    yield f"**{100 * found['score']:.1f} %** of what is not equivalent."
    for name, where in found["survivors"].items():
        yield f"- survives: `{name}`, {where}".replace("|", "\\|")
    yield ""
    yield "Planted bugs, each found by a check of its own (`tests/mutation/test_planted_bugs.py`):"
    yield ""
    for bug in planted.BUGS.values():
        yield f"- {bug.name} ({bug.guarantee}): {bug.story}"


def _coverage() -> Iterator[str]:
    found = _snapshot("coverage")
    files = found["files"]
    if is_stale(found):
        yield from (OLD, "")
    yield "| contract | outcomes of branches | taken | argued unreachable |"
    yield "|---|---|---|---|"
    for name, one in sorted(files.items()):
        yield f"| {name} | {one['outcomes']} | {one['taken']} | {one['excluded']} |"
    outcomes, taken, excluded = (sum(one[key] for one in files.values()) for key in ("outcomes", "taken", "excluded"))
    yield f"| **all** | {outcomes} | {taken} | {excluded} |"
    yield ""
    yield f"{100 * taken / (outcomes - excluded):.1f} % of the reachable outcomes are taken."


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "guarantees": _guarantees,
    "campaign": _campaign,
    "proofs": _proofs,
    "mutation": _mutation,
    "coverage": _coverage,
}
