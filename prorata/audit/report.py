"""What an audit found, for people: who paid whom, what is left, and every difference with its transaction."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prorata.audit.auditor import Auditor
from prorata.audit.books import Books
from prorata.units import WAD


def show(auditor: Auditor, console: Console) -> None:
    """Everything, on a terminal or in a file."""
    summary, books = auditor.summary, auditor.books
    assert books is not None  # a finished audit has found the market
    console.print(
        f"\n{summary.events:,} events of {summary.transactions:,} transactions, blocks {summary.first_block} to "
        f"{summary.last_block}; {books.totals.moves:,} moves settled again, {len(books.holders):,} accounts",
        highlight=False,
    )
    console.print(_flows(books))
    console.print(_balance(books))
    for line in _remarks(auditor, books):
        console.print(line, highlight=False)
    for finding in summary.shown:
        where = finding.where
        console.print(
            Text.assemble(
                (f"\n{finding.guarantee} {finding.rule}", "bold red"),
                f" in block {where.block}, transaction {where.transaction or '-'}\n    {finding.text}",
            )
        )
    if summary.findings > len(summary.shown):
        console.print(f"\n… and {summary.findings - len(summary.shown):,} more", highlight=False)
    console.print("\nfiles: " + ", ".join(str(path) for path in auditor.paths), highlight=False, soft_wrap=True)
    console.print(_verdict(auditor))


def _verdict(auditor: Auditor) -> Text:
    summary = auditor.summary
    if summary.findings:
        return Text(f"{summary.findings:,} difference{'s' if summary.findings > 1 else ''}", "bold red")
    if summary.complete:
        return Text("no difference: log, rule and contracts agree to the wei", "bold green")
    return Text(f"no difference in the log up to block {summary.last_block}; the contracts' state was not compared")


def _money(amount: int) -> str:
    return f"{amount / WAD:,.6f}"


def _flows(books: Books) -> Table:
    """Who paid whom since the market began."""
    t = books.totals
    table = Table(title="who paid whom, quote", title_justify="left", box=None, pad_edge=False)
    for head in ("from", "to", "what"):
        table.add_column(head)
    table.add_column("amount", justify="right")
    paid = t.gross - t.deficit
    rows = (
        ("losers of moves", "winners", "what they lost and could pay (of it funding below)", paid),
        ("losers of funding moves", "winners", "funding, before deficits", t.funding),
        ("insurance", "winners", "deficits covered", t.covered),
        ("closed accounts", "winners", "bonus: deleveraged at a lagging mark", t.bonus),
        ("closed accounts", "insurance", "what they had left", t.to_insurance),
        ("traders", "insurance", "trading fees", t.fees),
        ("liquidated accounts", "liquidators", "rewards", t.rewards),
        ("liquidated accounts", "insurance", "the rest of liquidation fees", t.liquidation_fees - t.rewards),
        ("nobody", "winners", "socialized: gain they did not get", t.socialized),
        ("nobody", "winners", "ADL shortfall: missed by deleverage", t.adl_shortfall),
    )
    for source, target, what, amount in rows:
        table.add_row(source, target, what, _money(amount))
    return table


def _balance(books: Books) -> Table:
    """What the market has and owes."""
    _, equity = books.sums()
    table = Table(
        title="\nwhat the market has, quote", title_justify="left", box=None, pad_edge=False, show_header=False
    )
    table.add_column("what")
    table.add_column("amount", justify="right")
    for what, amount in (
        ("deposited, less what was withdrawn", books.totals.deposited - books.totals.withdrawn),
        ("tokens, gifts apart", books.balance),
        ("everybody's equity, each rounded down", equity),
        ("owed to insurance", books.owed),
        ("insurance itself holds", books.vault.held * books.unit),
    ):
        table.add_row(what, _money(amount))
    table.add_row("dust", f"{books.balance - equity - books.owed:,} wei")
    return table


def _remarks(auditor: Auditor, books: Books) -> Iterator[str]:
    """What a reader should know besides."""
    summary, totals = auditor.summary, books.totals
    yield ""
    if summary.largest_haircut:
        haircut = 100 * summary.largest_haircut / WAD
        yield f"largest haircut {haircut:.4f} % of a move's gain, in {summary.largest_haircut_at}"
    if books.gifts or books.vault_gifts:
        gifts = f"{_money(books.gifts)} to the market, {_money(books.vault_gifts)} to the vault"
        yield f"gifts, which count for nothing: {gifts}"
    if totals.stopped_by_words:
        yield (
            f"{totals.stopped_by_words:,} moves were stopped by bitmap words: that there may be so many is checked, "
            "where exactly they end is taken from the log"
        )
    yield (
        f"{totals.buckets_closed:,} buckets with {totals.accounts_closed:,} accounts closed, {totals.epochs:,} epochs "
        f"ended, {totals.fills:,} fills, {totals.liquidations:,} liquidations"
    )
