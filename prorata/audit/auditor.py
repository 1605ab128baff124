"""An audit of the market at an address: reads its log in pieces, replays it, reconciles, and writes what it found.

What is kept in memory is the market, not its history: accounts, buckets closed in this epoch, the first findings. The
rest goes to files as it comes. After some seconds' work everything is put into `checkpoint.json`, so an audit that is
broken off goes on from there, and one that is repeated reads what is new. An audit of something else begins anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from prorata.audit.books import Books
from prorata.audit.desk import Finding, Touch, Watcher, Where
from prorata.audit.eager import Move
from prorata.audit.output import Growing, Sheet, decimal
from prorata.audit.reconcile import Reconciliation
from prorata.audit.replay import Replay
from prorata.audit.rules import EXACT, ceil_div
from prorata.audit.statement import Statement
from prorata.chain import Chain, Contract, Entry, Reverted
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt
from prorata.units import LONG, WAD

#: Blocks asked for at once.
CHUNK = 500
#: How many findings are kept to be shown; all are in `findings.csv`.
SHOWN = 20
#: Seconds between checkpoints, at least; and how many times as long as writing one takes.
_SAVE_EVERY, _SAVE_PART = 2.0, 10
#: How often the state is read again because blocks have come meanwhile.
_ATTEMPTS = 20
_VERSION = 1

FINDING_COLUMNS = ("block", "transaction", "time", "guarantee", "rule", "text")
SETTLEMENT_COLUMNS = (
    "block",
    "time",
    "transaction",
    "kind",
    "losers",
    "mark_before",
    "mark_after",
    "index_price",
    "gross",
    "deficit",
    "covered",
    "socialized",
    "haircut",
    "haircut_by_rule",
    "surplus",
    "bonus",
    "adl_shortfall",
    "winners_gained",
    "to_insurance",
    "closed_size",
    "buckets_closed",
    "accounts_closed",
    "open_interest",
)
ACCOUNT_COLUMNS = (
    "account",
    "equity",
    "side",
    "size",
    "deposited",
    "withdrawn",
    "price",
    "funding",
    "fills",
    "fees",
    "liquidation_fees",
    "rewards",
    "forfeited",
    "rounding",
    "haircut",
    "adl_shortfall",
)


class NoAudit(ValueError):
    """There is no market to audit, or its log does not begin where one looked."""


@dataclass
class Summary:
    """What an audit has done and found.

    Attributes:
        first_block, last_block: of the log that was read.
        transactions, events: of market, vault and token in it.
        findings: how many differences; `shown` has the first of them.
        complete: the state of the contracts was compared too.
        resumed_at: the block after which an earlier audit had ended; None: from the beginning.
        largest_haircut: 18 digits, and the transaction it happened in.
    """

    first_block: int = 0
    last_block: int = 0
    transactions: int = 0
    events: int = 0
    findings: int = 0
    shown: list[Finding] = field(default_factory=list)
    complete: bool = False
    resumed_at: int | None = None
    largest_haircut: int = 0
    largest_haircut_at: str = ""


#: Told what is being done, how far it is and how far it goes.
Progress = Callable[[str, int, int], None]


class MoveSheet:
    """Writes every move, its haircut recomputed, and keeps the largest. A `Watcher`."""

    def __init__(self, sheet: Sheet, summary: Summary) -> None:
        self._sheet, self._summary = sheet, summary

    def moved(self, where: Where, books: Books, move: Move, receipt: Receipt) -> None:
        """One row."""
        socialized = max(move.deficit - move.covered * EXACT, 0)
        by_rule = ceil_div(socialized * WAD, move.gross) if move.gross else 0
        if receipt.haircut > self._summary.largest_haircut:
            self._summary.largest_haircut, self._summary.largest_haircut_at = receipt.haircut, where.transaction
        names = ("gross", "deficit", "covered", "socialized", "haircut", "surplus", "bonus", "adl_shortfall")
        more = ("mark_before", "mark_after", "index_price", "closed_size", "open_interest")
        self._sheet.row(
            {name: decimal(getattr(receipt, name)) for name in (*names, *more)}
            | {
                "block": where.block,
                "time": where.timestamp,
                "transaction": where.transaction,
                "kind": "funding" if receipt.funding else "price",
                "losers": "longs" if receipt.loser == LONG else "shorts",
                "haircut_by_rule": decimal(by_rule),
                "winners_gained": decimal(move.winner_shares * move.rise // EXACT),
                "to_insurance": decimal(move.to_insurance),
                "buckets_closed": receipt.buckets_closed,
                "accounts_closed": len(move.closed),
            }
        )

    def touched(self, where: Where, books: Books, touch: Touch) -> None:
        """No move."""

    def epoch_ended(self, where: Where, books: Books) -> None:
        """No move."""


class Auditor:
    """Audits one market.

    Args:
        chain: where it is.
        market: its address.
        folder: where files go, and where an earlier audit may have left its checkpoint.
        from_block: where to look for the deployment from.
        to_block: where to end; None: at the last block, and then the state of the contracts is compared too.
        account: whose statement to write; None: nobody's.
        outages: what the chain raises when it does not answer, or not to so many blocks at once.

    Raises:
        NoAudit: there is no market.
    """

    def __init__(
        self,
        chain: Chain,
        market: str,
        folder: Path,
        from_block: int = 0,
        to_block: int | None = None,
        account: str | None = None,
        outages: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        self.chain, self.folder = chain, folder
        self._outages = outages
        self._from, self._to = from_block, to_block
        self._account = to_checksum_address(account) if account else None
        self._market, self._vault, self._token, self._unit, self._vault_parameters = _contracts(chain, market)
        self.summary = Summary(first_block=from_block)
        self.books: Books | None = None
        self._replay: Replay | None = None
        self._gifts = [0, 0]
        self._last: Entry | None = None
        self._saved_at, self._save_took = time.monotonic(), 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._open(self._load())

    # -------------------------------------------------------------------------------------------------------- running

    def run(self, progress: Progress = lambda _what, _done, _of: None) -> Summary:
        """Read, replay, reconcile; write what was found.

        Raises:
            NoAudit: the log holds no deployment of the market.
            the outages: the chain does not answer. What was done until then is kept.
        """
        end = self._to
        for _ in range(_ATTEMPTS):
            head = self.chain.block if end is None else min(end, self.chain.block)
            self._follow(head, progress)
            if self.books is None:
                raise NoAudit(f"no deployment of {self._market.address} from block {self._from} to {head}")
            self.save()
            if end is not None and end < self.chain.block:
                break
            if self._reconciled(self.books, progress):
                self.summary.complete = True
                break
        assert self.books is not None  # or there was nothing to follow
        self._write_results(self.books)
        return self.summary

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._findings, self._moves):
            file.close()
        if self._statement is not None:
            self._statement.close()

    def _follow(self, head: int, progress: Progress) -> None:
        """Everything up to a block."""
        start = self.summary.last_block + 1 if self._last or self.summary.last_block else self._from
        first, chunk = start, CHUNK
        while start <= head:
            try:
                end = min(start + chunk - 1, head)
                entries = self.chain.entries(start, end)
            except self._outages:
                if chunk == 1:
                    raise
                chunk //= 2
                continue
            self._read(entries)
            self.summary.last_block = end
            start = end + 1
            progress("blocks", end - first + 1, head - first + 1)
            self._save_now_and_then()

    def _read(self, entries: Sequence[Entry]) -> None:
        """One piece of the log; whole blocks."""
        if not entries:
            return
        self.summary.events += len(entries)
        self.summary.transactions += len({entry.transaction for entry in entries})
        if self._replay is None:
            entries = self._begin(entries)
        if self._replay is not None and entries:
            self._replay.read(entries)
        self._last = entries[-1] if entries else self._last

    def _begin(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Look for the deployment; what follows it."""
        for at, entry in enumerate(entries):
            log = entry.log
            if log.address == self._token.address and log.name == "Transfer":
                *_, receiver, amount = log.fields.values()
                for i, contract in enumerate((self._market, self._vault)):
                    self._gifts[i] += amount * self._unit if receiver == contract.address else 0
            elif log.address == self._market.address and log.name == "Deployed":
                fields = log.fields
                parameters = MarketParameters(*fields["parameters"])
                self.books = Books(parameters, self._vault_parameters, self._unit, fields["mark"], entry.timestamp)
                self.books.gifts, self.books.vault_gifts = self._gifts
                self._attach(self.books)
                return entries[at + 1 :]
            elif log.address == self._market.address:
                raise NoAudit(f"the log begins with {log.name} in block {entry.block}, after the market's deployment")
        return ()

    def _attach(self, books: Books) -> None:
        watchers: list[Watcher] = [MoveSheet(self._moves, self.summary)]
        if self._statement is not None:
            watchers.append(self._statement)
        addresses = (self._market.address, self._vault.address, self._token.address)
        self._replay = Replay(books, *addresses, self._find, watchers)

    def _find(self, finding: Finding) -> None:
        self.summary.findings += 1
        if len(self.summary.shown) < SHOWN:
            self.summary.shown.append(finding)
        self._findings.row(_finding_row(finding))

    def _reconciled(self, books: Books, progress: Progress) -> bool:
        """Compare the state of the contracts; False if a block came meanwhile, and nothing is said then."""
        found: list[Finding] = []
        where = Where(self.summary.last_block, self.chain.now, self._last.transaction if self._last else "")
        reconciliation = Reconciliation(self.chain, self._market, self._vault, self._token, books, where, found.append)
        for done, what in enumerate(reconciliation.steps(), start=1):
            progress(f"comparing {what}", done, reconciliation.count)
        if self.chain.block != self.summary.last_block:
            return False
        for finding in found:
            self._find(finding)
        return True

    # ----------------------------------------------------------------------------------------------------- checkpoints

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.json"

    def _identity(self) -> dict[str, Any]:
        """What an audit is of; a checkpoint of another one is no use."""
        return {
            "version": _VERSION,
            "market": self._market.address,
            "chain_id": self.chain.chain_id,
            "from_block": self._from,
            "account": self._account,
        }

    def save(self) -> None:
        """Put everything where the next audit goes on from it."""
        started = time.monotonic()
        summary = asdict(replace(self.summary, shown=[], complete=False, resumed_at=None))
        del summary["shown"], summary["complete"], summary["resumed_at"]
        last = self._last
        state = {
            "identity": self._identity(),
            "summary": summary,
            "shown": [asdict(finding) for finding in self.summary.shown],
            "last": _place(last) if last else None,
            "gifts": self._gifts,
            "books": self.books.to_json() if self.books else None,
            "findings": self._findings.size,
            "moves": self._moves.size,
            "statement": self._statement.progress() if self._statement else None,
        }
        whole = self._checkpoint.with_suffix(".new")
        whole.write_text(json.dumps(state))
        whole.replace(self._checkpoint)
        self._saved_at = time.monotonic()
        self._save_took = self._saved_at - started

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at > max(_SAVE_EVERY, _SAVE_PART * self._save_took):
            self.save()

    def _load(self) -> dict[str, Any]:
        """The checkpoint of an earlier audit of the same, or nothing."""
        try:
            state: dict[str, Any] = json.loads(self._checkpoint.read_text())
            usable = state["identity"] == self._identity() and self._is_same_chain(state)
            sizes = {"findings.csv": state["findings"], "settlements.csv": state["moves"]}
            if state["statement"]:
                sizes |= {f"statement-{self._account}.{end}": state["statement"][key] for end, key in _STATEMENT_FILES}
            whole = all((self.folder / name).stat().st_size >= size for name, size in sizes.items())
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return state if usable and whole else {}

    def _is_same_chain(self, state: dict[str, Any]) -> bool:
        """Whether the last event that was read is still the last of its block, and the audit is not to end before."""
        if self._to is not None and state["summary"]["last_block"] > self._to:
            return False
        if state["last"] is None:
            return bool(state["summary"]["last_block"] <= self.chain.block)
        block = state["last"][0]
        found = self.chain.entries(block, block)
        return bool(found) and _place(found[-1]) == state["last"]

    def _open(self, state: dict[str, Any]) -> None:
        """Begin, or go on from a checkpoint."""
        self._findings = Sheet(self.folder / "findings.csv", FINDING_COLUMNS, state.get("findings", 0))
        self._moves = Sheet(self.folder / "settlements.csv", SETTLEMENT_COLUMNS, state.get("moves", 0))
        self._statement = (
            Statement(self._account, self.folder, state.get("statement")) if self._account is not None else None
        )
        if not state:
            return
        for name, value in state["summary"].items():
            setattr(self.summary, name, value)
        self.summary.shown = [Finding(**{**finding, "where": Where(**finding["where"])}) for finding in state["shown"]]
        self.summary.resumed_at = self.summary.last_block
        self._gifts = state["gifts"]
        if state["last"] is not None:
            block = state["last"][0]
            self._last = self.chain.entries(block, block)[-1]
        if state["books"] is not None:
            self.books = Books.from_json(state["books"])
            self._attach(self.books)

    # --------------------------------------------------------------------------------------------------------- results

    @property
    def paths(self) -> Iterator[Path]:
        """The files that the audit has written."""
        for name in ("audit.json", "findings.csv", "settlements.csv", "accounts.csv"):
            yield self.folder / name
        if self._statement is not None:
            yield from self._statement.paths

    def _write_results(self, books: Books) -> None:
        with Sheet(self.folder / "accounts.csv", ACCOUNT_COLUMNS) as sheet:
            for owner, holder in books.holders.items():
                pool = books.sides[holder.side]
                row: dict[str, Any] = {
                    name: decimal(getattr(holder.flows, name) // EXACT)
                    for name in ACCOUNT_COLUMNS[ACCOUNT_COLUMNS.index("deposited") :]
                }
                row |= {"account": owner, "equity": decimal(holder.equity)}
                if holder.shares:
                    row["side"] = "long" if holder.side == LONG else "short"
                    row["size"] = decimal(holder.shares * pool.scale // WAD)
                sheet.row(row)
        _, sum_equity = books.sums()
        found = {
            **self._identity(),
            **{name: getattr(self.summary, name) for name in _STATED},
            "largest_haircut": str(self.summary.largest_haircut),
            "mark": str(books.mark),
            "token_balance": str(books.balance + books.gifts),
            "sum_equity": str(sum_equity),
            "insurance_owed": str(books.owed),
            "dust": str(books.balance - books.owed - sum_equity),
            "gifts": str(books.gifts),
            "vault_held": str(books.vault.held * books.unit),
            "accounts": len(books.holders),
            "totals": {name: str(value) for name, value in asdict(books.totals).items()},
            "findings_shown": [_finding_row(finding) for finding in self.summary.shown],
        }
        with Growing(self.folder / "audit.json") as file:
            file.line(json.dumps(found, indent=2))
        if self._statement is not None:
            self._statement.finish(books)


_STATEMENT_FILES = (("csv", "csv"), ("txt", "text"))
_STATED = (
    "first_block",
    "last_block",
    "transactions",
    "events",
    "findings",
    "complete",
    "largest_haircut_at",
)


def _finding_row(finding: Finding) -> dict[str, Any]:
    where = finding.where
    return {
        "block": where.block,
        "transaction": where.transaction,
        "time": where.timestamp,
        "guarantee": finding.guarantee,
        "rule": finding.rule,
        "text": finding.text,
    }


def _contracts(chain: Chain, address: str) -> tuple[Contract, Contract, Contract, int, VaultParameters]:
    """Market, vault, token, quote per token unit and the vault's parameters, as the market itself says.

    Raises:
        NoAudit: something else is there, or nothing.
    """
    market = chain.at("PerpetualMarket", to_checksum_address(address))
    try:
        token = chain.at("MockToken", chain.call(market, "TOKEN"))
        vault = chain.at("InsuranceVault", chain.call(market, "INSURANCE"))
        unit = int(chain.call(market, "TOKEN_SCALE"))
        parameters = VaultParameters(
            *(int(chain.call(vault, name)) for name in ("draw_cap", "draw_window", "redeem_cooldown", "redeem_window"))
        )
    except (Reverted, DecodingError):
        raise NoAudit(f"no market at {market.address}") from None
    return market, vault, token, unit, parameters


def _place(entry: Entry) -> list[int | str]:
    """Where an event stands. The hash of its block names all that was before it, that of its transaction does not: on a
    dev node that was restarted the same account sends the same call again, after another history."""
    return [entry.block, entry.block_hash, entry.transaction, entry.log.name]
