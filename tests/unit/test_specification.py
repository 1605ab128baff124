"""SPECIFICATION.md says what the contracts, the proofs and the snapshots say, and names what exists; its overflow
argument and its table of roundings cover the contracts as they are."""

from __future__ import annotations

import ast
import json
import re

import pytest

from prorata.embedded import CONTRACTS, USUAL
from prorata.gas import reviewed
from tests.proofs import catalogue
from tests.proofs.domain import LOWEST_EDGE
from tests.specification import FILE, SECTION, SECTIONS, bounds, evidence, roundings, sources, tables, written
from tests.specification.evidence import GUARANTEES
from tests.specification.intervals import Evaluator, Interval, Overflow, Unbounded
from tests.specification.tables import ROOT

NAMED = re.compile(r"`((?:tests|contracts|prorata|docs|scripts|snapshots)/[\w/.\-]+)(?:::([\w]+))?`")
TEXT = FILE.read_text()
#: What is written by hand.
PROSE = SECTION.sub("", TEXT)
#: Of the standards that snekmate brings, and constants that say what they are by their name.
UNDOCUMENTED = {
    *("name", "symbol", "decimals", "totalSupply", "balanceOf", "allowance", "transfer", "transferFrom", "approve"),
    *("permit", "nonces", "DOMAIN_SEPARATOR", "eip712Domain"),
    *("TOKEN", "TRADING", "draw_cap", "draw_window", "redeem_cooldown", "redeem_window", "redeem_request"),
}


def test_the_tables_are_up_to_date():
    """`make specification` writes them."""
    assert written() == TEXT


def test_figures_of_other_contracts_are_called_old(monkeypatch: pytest.MonkeyPatch) -> None:
    fuzzed = json.loads((ROOT / "snapshots" / "fuzz.json").read_text())["bytecode"]
    for is_old, bytecode in ((False, fuzzed), (True, {})):
        monkeypatch.setattr(evidence, "bytecode", lambda code=bytecode: code)
        monkeypatch.setattr(evidence, "is_stale", lambda _, old=is_old: old)
        for name in ("campaign", "mutation", "coverage"):
            assert (evidence.OLD in list(evidence.TABLES[name]())) is is_old


def test_every_table_stands_in_it():
    assert re.findall(r"<!-- (\w+) -->", TEXT.replace("<!-- end -->", "")) == list(SECTIONS)


def test_every_file_and_test_that_it_names_exists():
    named = NAMED.findall(TEXT)
    assert len(named) > 20
    for path, inside in named:
        assert (ROOT / path).exists(), path
        if inside:
            assert re.search(rf"(class|def) {inside}\b", (ROOT / path).read_text()), (path, inside)


def test_every_guarantee_of_the_design_is_there():
    assert {one.name.split()[0] for one in GUARANTEES} >= {f"S{number}" for number in range(1, 9)}


def test_every_make_target_that_it_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", TEXT)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_link_within_it_leads_somewhere():
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(#([\w-]+)\)", TEXT)
    assert len(links) > 10
    assert set(links) <= headings


class TestNames:
    """What the text calls by name is in the contracts."""

    def test_every_function_of_a_module_exists(self):
        functions = {file: {one.name for one in sources.functions(file)} for file in sources.files()}
        named = re.findall(r"`(\w+)\.(_\w+)`|  (?:(\w+)\.)?(_\w+)(?:, |\s*$)", PROSE, re.MULTILINE)
        assert len(named) > 30
        for first, second, module, function in named:
            inside, name = first or module, second or function
            known = functions.get(f"modules/{inside}.vy") or set().union(*functions.values())
            assert name in known, (inside, name)

    def test_every_constant_exists(self):
        """In capitals, with an underscore."""
        immutables = {"TOKEN_SCALE", "PRICE_SCALE", "MAX_STALENESS"}
        named = set(re.findall(r"\b[A-Z]{2,}_[A-Z_]+\b", PROSE)) - immutables
        assert len(named) >= 5
        assert named <= set(sources.constants())

    @pytest.mark.parametrize(
        ("row", "value"),
        [
            ("epochs, generations (2**32)", bounds.quantities()["epoch"].high + 1),
            ("epochs, generations (2**32)", bounds.quantities()["generation"].high + 1),
            ("bucket numbers (2**127)", bounds.quantities()["bucket"].high + 1),
            ("balances (2**120)", sources.constants()["MAX_BALANCE"].value),
            ("min_nonce (2**64)", bounds.quantities()["nonce"].high + 1),
        ],
    )
    def test_every_row_of_what_happens_at_a_bound_says_the_bound(self, row, value):
        assert f"| {row} |" in PROSE
        assert sources.number(row.partition("(")[2].rstrip(")")) == value

    def test_every_proof_that_is_cited_exists(self):
        names = {one.name for one in catalogue.proofs()}
        texts = [one.why for one in (*bounds.QUANTITIES, *bounds.FACTS)] + [PROSE]
        cited = {name for text in texts for name in re.findall(r"`([a-z]+(?:_[a-z]+){3,})`", text)}
        assert len(cited) >= 8
        assert cited - {"cancel_redeem_request"} <= names

    def test_the_gas_of_a_bucket_is_the_snapshot_s(self):
        quoted = re.findall(r"([\d,]+) (?:a closed bucket|gas each)", PROSE)
        assert quoted == [f"{reviewed()['bucket_marginal']:,}"] * 2

    def test_every_reason_that_is_quoted_exists(self):
        rooms = "oracle|order|margin|liquidation|position|account|market|token|mode|vault|parameters"
        quoted = set(re.findall(rf"`((?:{rooms}): [^`]+)`", TEXT))
        assert len(quoted) > 60
        assert quoted <= set(tables.reasons().values())


class TestNothingIsMissing:
    """Whatever the contracts have of a kind has its line, and nothing else has one."""

    def test_contracts(self):
        assert set(tables.CALLS) == {path.stem for path in CONTRACTS.glob("*.vy")}

    @pytest.mark.parametrize("contract", tables.CALLS)
    def test_functions_that_change_state(self, contract):
        assert set(tables.CALLS[contract]) == tables.changing(contract)

    @pytest.mark.parametrize("contract", tables.CALLS)
    def test_docstrings_of_external_functions(self, contract):
        functions = {one["name"] for one in USUAL.contract(contract)[0]._abi if one["type"] == "function"}
        assert functions - sources.documented() <= UNDOCUMENTED

    @pytest.mark.parametrize("contract", [path.stem for path in sorted(CONTRACTS.glob("*.vy"))])
    def test_storage(self, contract):
        twin = {"TradingLogic": "PerpetualMarket"}.get(contract, contract)
        assert set(tables.layout(contract)) == set(tables.STORAGE.get(twin, {}))

    def test_packed_words(self):
        assert {word: [one.name for one in fields] for word, fields in tables.words().items()} == {
            word: list(fields) for word, fields in tables.FIELDS.items()
        }

    def test_parameters(self):
        struct = [name for name, *_ in sources.members("interfaces/IPerpetualMarket.vyi", "Parameters")]
        (constructor,) = [one for one in USUAL.contract("InsuranceVault")[0]._abi if one["type"] == "constructor"]
        of_vault = [field["name"].rstrip("_") for field in constructor["inputs"]][2:]
        assert list(tables.PARAMETERS) == struct + of_vault
        assert set(tables.checks()) == set(tables.PARAMETERS) - {"guardian"}

    def test_every_condition_of_a_deployment(self):
        """As many as the reasons that name them, each of which may have two."""
        stated = sum(len(rules) for rules in tables.checks().values())
        texts = (sources.text(f"modules/{name}.vy") for name in ("parameters", "oracle", "reserve", "redemptions"))
        assert stated == sum(
            len(re.findall(r" and ", rule)) + 1
            for text in texts
            for rule in re.findall(r"^    assert (.+), errors\.PARAMETERS_", text, re.MULTILINE)
        )

    def test_reasons(self):
        """Of parameters, those that no other table states."""
        named = re.findall(r"errors\.(PARAMETERS_\w+)", "".join(map(sources.text, sources.files())))
        in_guide = {name for name in named if name not in tables.REASONS}
        assert set(tables.REASONS) | in_guide == set(tables.reasons())
        conditions = "".join(
            sources.text(f"modules/{name}.vy") for name in ("parameters", "oracle", "reserve", "redemptions")
        )
        assert in_guide == set(re.findall(r"errors\.(PARAMETERS_\w+)", conditions))

    def test_events(self):
        emitted = set().union(*(tables.events_of(one) for one in tables.CALLS))
        assert set(tables.EVENTS) == emitted


class TestRoundings:
    def test_every_one_is_in_the_table_and_no_other(self):
        untold, not_there = roundings.missing()
        assert not untold and not not_there

    def test_there_are_many(self):
        assert sum(1 for _ in roundings.sites()) > 150

    @pytest.mark.parametrize(
        ("source", "count"),
        [
            ("x // y", 1),
            ("x % y", 1),
            ("x >> 1", 1),
            ("fixed_point._quote_up(x)", 1),
            ("self._shares_for(a, b, True)", 1),
            ("f(a // b // c)", 2),
            ("x << 1", 0),
            ("a * b - c", 0),
        ],
    )
    def test_what_counts_as_one(self, source, count):
        nodes = [node for node in ast.walk(ast.parse(source, mode="eval")) if isinstance(node, ast.expr)]
        assert sum(roundings._is_rounding(node) or roundings._is_shift(node) for node in nodes) == count

    @pytest.mark.parametrize("line", ["x: uint256 = 7 // 2", "x //= 2", "x >>= 3"])
    def test_a_new_one_is_missed(self, monkeypatch, line):
        """Added to a function as anybody would add it."""
        whole, file = sources.text, "modules/sides.vy"
        changed = whole(file).replace("    next: State = state\n", f"    next: State = state\n    {line}\n")
        assert changed != whole(file)
        monkeypatch.setattr(sources, "text", lambda name: changed if name == file else whole(name))
        for cached in (sources.tree, sources.expressions):
            cached.cache_clear()
        try:
            untold, _ = roundings.missing()
        finally:
            monkeypatch.undo()
            for cached in (sources.tree, sources.expressions):
                cached.cache_clear()
        assert [place[:2] for place in untold] == [(file, "_next_epoch")]


class TestOverflow:
    @pytest.mark.parametrize("file", sources.files())
    def test_nothing_leaves_its_word(self, file):
        worked = bounds.evaluator()
        for site in bounds.claims():
            if site.file == file:
                worked.interval(site)

    def test_there_are_many_places(self):
        assert sum(1 for _ in bounds.claims()) > 300

    def test_every_quantity_has_a_range(self):
        for name, interval in bounds.quantities().items():
            assert interval.low <= interval.high and interval.fits(), name

    @pytest.mark.parametrize("word", tables.words())
    def test_fields_hold_what_they_are_for(self, word):
        fields = tables.words()[word]
        assert sum(field.bits for field in fields) <= 256
        for field in fields:
            most = bounds.quantities()[tables.FIELDS[word][field.name]]
            assert field.signed or most.low >= 0, field
            assert most.bits + field.signed <= field.bits, field

    def test_edges_lie_where_the_proofs_take_them_to(self):
        assert bounds.quantities()["edge"].low > -LOWEST_EDGE

    def test_levels_fit_their_cursors(self):
        level = bounds.quantities()["level"]
        assert (level.low, level.high) == (63, 133)
        assert level.high - level.low + 1 <= sources.constants()["MAX_LEVELS"].value

    def test_no_edge_means_no_edge(self):
        """`NOTHING_LEFT` says that a level has nothing live: no bucket has it for an edge. `NO_TOP`, which some bucket
        has, says that there is nothing that a move could reach."""
        known = sources.constants()
        assert known["NOTHING_LEFT"].value < bounds.quantities()["edge"].low
        assert known["NO_TOP"].value < bounds.quantities()["near_edge"].low

    def test_every_fact_is_of_an_expression_that_is_there(self):
        texts = {
            (site.file, site.function, site.text) for file in sources.files() for site in sources.expressions(file)
        }
        for one in bounds.FACTS:
            assert (one.file, one.function, one.expression) in texts, one
        for file, function, expression, _ in bounds.WRAPS:
            assert (file, function, expression) in texts, expression


class TestTheArithmetic:
    """That what judges the contracts can find something."""

    @staticmethod
    def worked(expression: str, **known: tuple[int, int, bool]) -> Interval:
        intervals = {name: Interval(*one) for name, one in known.items()}
        evaluator = Evaluator(lambda site: intervals.get(site.text), lambda site: False)
        return evaluator.interval(sources.Site("", "", ast.parse(expression, mode="eval").body))

    U, S = (0, 2**200, False), (-(2**200), 2**200, True)

    @pytest.mark.parametrize(
        ("expression", "low", "high"),
        [
            ("x + 1", 1, 2**200 + 1),
            ("x - 1", 0, 2**200 - 1),  # checked: it reverts under zero
            ("-s", -(2**200), 2**200),
            ("s * 2", -(2**201), 2**201),
            ("s // 2", -(2**199), 2**199),
            ("x >> 100", 0, 2**100),
            ("x & 255", 0, 255),
            ("max(s, 0)", 0, 2**200),
            ("min(x, 5)", 0, 5),
            ("convert(x, int256)", 0, 2**200),
            ("x if c else 5", 0, 2**200),
            ("fixed_point._ceil_div(x, 2)", 0, 2**199 + 1),
        ],
    )
    def test_ranges(self, expression, low, high):
        found = self.worked(expression, x=self.U, s=self.S)
        assert (found.low, found.high) == (low, high)

    @pytest.mark.parametrize(
        "expression",
        [
            "x * 2 ** 56",
            "x << 56",
            "s * 2 ** 55",
            "(x * 2 ** 56) // 2 ** 100",
            "convert(s, uint256)",
            "convert(x * 2 ** 55, int256)",
            "unsafe_mul(x, 2 ** 56)",
            "unsafe_sub(x, 1)",
            "unsafe_add(m, 1)",
            "m + 1",
        ],
    )
    def test_overflows(self, expression):
        with pytest.raises(Overflow):
            self.worked(expression, x=self.U, s=self.S, m=(0, 2**256 - 1, False))

    @pytest.mark.parametrize("expression", ["y", "x + y", "x // s", "f(x)"])
    def test_what_is_not_known_is_not_guessed(self, expression):
        with pytest.raises(Unbounded):
            self.worked(expression, x=self.U, s=self.S)
