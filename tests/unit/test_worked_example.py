"""`docs/worked-example.md`, number by number: its sums are right, and the contracts say the same, to the wei."""

from __future__ import annotations

import ast
import csv
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from prorata.audit.auditor import Auditor
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.revm_chain import RevmChain
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD

PAGE = Path(__file__).parents[2] / "docs" / "worked-example.md"
INSURER, SELLER, THIN, THICK = range(4)
#: As they are printed.
MINUS, TIMES = "\u2212", "\u00d7"
PEOPLE = {"SHORT": SELLER, "THIN": THIN, "THICK": THICK}
_OPERATORS: dict[type, Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Line:
    """A row of a table: the sum that leads to a value, and how many wei the contracts have more; or neither."""

    how: str
    value: Fraction
    wei: int | None

    @property
    def contracts(self) -> int:
        """What the contracts say, 18 digits."""
        assert self.wei is not None
        exact = self.value * WAD
        assert exact.denominator == 1
        return exact.numerator + self.wei


def number(text: str) -> Fraction:
    """As it stands on the page."""
    return Fraction(text.replace(",", "").replace(MINUS, "-"))


def worked_out(how: str) -> Fraction:
    """The value of a sum on the page."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant)
        return Fraction(str(node.value))

    plain = how.replace(",", "").replace(MINUS, "-").replace(TIMES, "*")
    return value(ast.parse(plain, mode="eval").body)


def tables() -> dict[str, dict[str, Line]]:
    """Every table of the page by the head of its first column, its rows by their names."""
    found: dict[str, dict[str, Line]] = {}
    rows: dict[str, Line] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells or set(cells[0]) <= {"-"}:
            continue
        if cells[1:3] == ["how", "value"]:
            rows = found.setdefault(cells[0], {})
        else:
            name, how, value, last = cells
            assert name not in rows
            rows[name] = Line(how, number(value), int(number(last)) if re.fullmatch(rf"{MINUS}?\d+", last) else None)
    return found


TABLES = tables()


@dataclass
class Crash:
    """The example on the contracts, step by step.

    Attributes:
        said: what they say, 18 digits, by table and name.
    """

    exchange: Exchange
    said: dict[str, dict[str, int]]


def equities(exchange: Exchange) -> dict[str, int]:
    return {name: exchange.account(trader).equity for name, trader in PEOPLE.items()}


@pytest.fixture(scope="module")
def crash() -> Crash:
    market = {name: line.value * WAD for name, line in TABLES["market"].items()}
    mark, price = int(market["first mark"]), int(market["price of the crash"])
    exchange = Exchange.deploy(RevmChain(), mark)
    said: dict[str, dict[str, int]] = {}
    for trader in (INSURER, *PEOPLE.values()):
        exchange.fund(trader)
    exchange.approve(INSURER, exchange.vault)
    exchange.insure(INSURER, int(market["insured"]))
    for name, line in TABLES["deposits"].items():
        exchange.deposit(PEOPLE[name], int(line.value * WAD))
    fee = [
        log.fields["taker_fee"]
        for buyer in (THIN, THICK)
        for log in exchange.trade(buyer, SELLER, True, WAD, mark).logs
        if log.name == "Traded"
    ]
    assert fee[0] == fee[1]
    said["fees"] = {
        "of one fill, from each": fee[0],
        "owed to insurance": exchange.insurance_owed,
        "insurance in all": exchange.vault_assets,
    }
    said["equity before"] = before = equities(exchange)

    exchange.set_price(price)
    transaction = exchange.settle()
    (receipt,) = receipts_in(transaction.logs)
    (covered,) = (log.fields for log in transaction.logs if log.name == "Covered")
    said |= move(exchange, receipt, before, covered["transferred"])
    said["equity after"] = after = equities(exchange)
    said["what there is"] = {
        "the market's tokens": exchange.token_balance(exchange.market),
        "everybody's equity": sum(after.values()),
        "owed to insurance": exchange.insurance_owed,
        "dust": exchange.token_balance(exchange.market) - sum(after.values()) - exchange.insurance_owed,
        "the vault holds": exchange.vault_held,
    }

    (last,) = (log for log in exchange.trade(SELLER, THICK, True, WAD, price).logs if log.name == "Traded")
    takes = equities(exchange)
    for trader in (SELLER, THICK):
        exchange.withdraw(trader, exchange.account(trader).equity)
    came = sum(line.value for line in TABLES["deposits"].values()) + TABLES["market"]["insured"].value
    said["at the end"] = {
        "fee of the last fill, from each": last.fields["maker_fee"],
        "SHORT takes out": takes["SHORT"],
        "THICK takes out": takes["THICK"],
        "insurance has": exchange.vault_assets,
        "all that came in": int(came * WAD),
        "all that can go out": sum(takes.values()) + exchange.vault_assets,
    }
    return Crash(exchange, said)


def move(exchange: Exchange, receipt: Receipt, before: dict[str, int], sent: int) -> dict[str, dict[str, int]]:
    """The three tables of the crash."""
    gain = exchange.account(SELLER).equity - before["SHORT"]
    longs, shorts = exchange.side(LONG), exchange.side(SHORT)
    distance = receipt.mark_before - receipt.mark_after
    assert shorts.open_interest == longs.open_interest == receipt.open_interest
    return {
        "the move": {
            "a unit loses": distance,
            "gross: what longs should pay": receipt.gross,
            "long index after": longs.index // WAD,
        },
        "what is missing, and who pays": {
            "THIN after the move": before["THIN"] - distance,
            "deficit": receipt.deficit,
            "surplus": receipt.surplus,
            "insurance may pay": exchange.vault_window[1] * VaultParameters().draw_cap // WAD,
            "covered": receipt.covered,
            "out of what it is owed": receipt.covered - sent,
            "sent by the vault": sent,
            "socialized: what winners do not get": receipt.socialized,
            "haircut of their gain": receipt.haircut,
        },
        "winners": {
            "gain of all": gain,
            "gain of a share": shorts.index * WAD // INDEX_UNIT,
            "size closed": receipt.closed_size,
            "scale of the short side": shorts.scale,
            "SHORT's size": exchange.account(SELLER).shares * shorts.scale // WAD,
            "open interest of each side": longs.open_interest,
        },
    }


def test_the_sums_on_the_page_are_right() -> None:
    sums = [(table, name, line) for table, rows in TABLES.items() for name, line in rows.items() if line.how]
    assert len(sums) > 35
    assert [(table, name) for table, name, line in sums if worked_out(line.how) != line.value] == []


def test_the_market_is_one_of_the_defaults() -> None:
    market = TABLES["market"]
    for name, default in (
        ("fee_rate", MarketParameters().fee_rate),
        ("closeout_margin", MarketParameters().closeout_margin),
        ("draw_cap", VaultParameters().draw_cap),
    ):
        assert market[name].value * WAD == default


def test_the_contracts_say_the_same(crash: Crash) -> None:
    on_paper = {
        table: {name: line.contracts for name, line in rows.items() if line.wei is not None}
        for table, rows in TABLES.items()
    }
    statement = on_paper.pop("SHORT's statement")
    assert {table: rows for table, rows in on_paper.items() if rows} == crash.said
    assert len(statement) == 5


def test_buckets_are_where_the_page_says(crash: Crash) -> None:
    """Every number at which somebody runs out lies in that account's bucket, and only THIN's lies above T."""
    limit = TABLES["the move"]["T: buckets above it are closed"].value
    runs_out = TABLES["runs out at an index of"]
    chain = crash.exchange.chain
    filed = {
        log.fields["account"]: log.fields["bucket_id"]
        for log in chain.logs(0, chain.block)
        if log.name == "AccountUpdated" and log.fields["shares"]
    }
    for name, line in runs_out.items():
        word = filed[chain.address(PEOPLE[name])]
        level, bucket = word >> 128 & 255, (word & (2**128 - 1)) - 2**128
        low, high = (Fraction(edge << level, INDEX_UNIT) for edge in (bucket, bucket + 1))
        assert low <= line.value < high
        assert high - low <= TABLES["market"]["first mark"].value / 1000
        if name != "SHORT":
            assert (high > limit) == (name == "THIN")


def test_an_audit_says_the_same(crash: Crash, tmp_path: Path) -> None:
    exchange = crash.exchange
    seller = exchange.chain.address(SELLER)
    auditor = Auditor(exchange.chain, exchange.market.address, tmp_path, account=seller)
    summary = auditor.run()
    auditor.close()
    assert (summary.shown, summary.complete) == ([], True)
    assert auditor.books is not None and auditor.books.totals.accounts_closed == 1
    assert summary.largest_haircut == TABLES["what is missing, and who pays"]["haircut of their gain"].contracts
    with (tmp_path / f"statement-{seller}.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if row["event"] == "price")
    for name, line in TABLES["SHORT's statement"].items():
        assert Fraction(row[name]) * WAD == line.contracts, name


def test_every_number_in_the_words_stands_in_a_table() -> None:
    """So that no number on the page is one that nobody compares."""
    text = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", "", PAGE.read_text())
    words = [line for line in text.splitlines() if not line.startswith("|")]
    figures = re.findall(rf"{MINUS}?\d[\d,]*(?:\.\d+)?", " ".join(words).replace("1e-18", ""))
    numbers = {number(figure) for figure in figures}
    assert len(numbers) >= 7
    known = {line.value for rows in TABLES.values() for line in rows.values()}
    assert numbers - known == set()
