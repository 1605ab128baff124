"""The event log gone through transaction by transaction, every number of it recomputed from the ones before.

A move is settled eagerly, account by account (`eager`); what a deposit, a withdrawal, a fill, a liquidation or an
insurer may do and what it leaves behind follows from the rule, to the last digit. Then the tokens that moved are held
against what the events say, and what the market has against what it owes. Whatever is different is a `Finding` with
its transaction. After one the books go on from what the log says, so a fault is named where it happened and not again
in everything that follows from it.

What no event says, and is therefore taken on trust: whether the oracle really said the index price of a receipt, and
what the orders behind the fills were. A call of `settle` that changes nothing visible leaves no event either; it may
have forgotten an open step (the index came back to the mark), so both ways to go on are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from prorata.audit.accounts import Accounts
from prorata.audit.books import Books
from prorata.audit.desk import Desk, Finding, Watcher, Where
from prorata.audit.insuring import Insurers
from prorata.audit.settling import Settling
from prorata.chain import Entry, Log

#: What comes of numbers that no market has, such as a third side; the transaction that states them is named.
IMPOSSIBLE = (ArithmeticError, LookupError, ValueError)


class Replay:
    """Goes through the log of one market.

    Args:
        books: where the market stands; at its deployment, or where an earlier replay ended.
        market, vault, token: their addresses.
        report: takes what is found.
        watchers: told of everything.
    """

    def __init__(
        self,
        books: Books,
        market: str,
        vault: str,
        token: str,
        report: Callable[[Finding], None],
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.books = books
        self._token = token
        self._desk = desk = Desk(books, market, vault, report, watchers)
        self._settling = settling = Settling(desk)
        self._accounts, self._insurers = Accounts(desk, settling), Insurers(desk, settling)
        #: Events that are parts of a settlement, and those that something has caused, by emitter and name.
        self._parts: dict[tuple[str, str], Callable[[Log], None]] = {
            (market, "BucketClosed"): settling.on_bucket_closed,
            (vault, "Covered"): settling.on_covered,
            (market, "Moved"): settling.on_move,
            (market, "Settled"): settling.on_move,
            (market, "EpochEnded"): settling.on_epoch_ended,
        }
        self._acts: dict[tuple[str, str], Callable[[Log], None]] = {
            (market, "AccountUpdated"): self._accounts.on_update,
            (market, "Deposited"): self._accounts.on_deposited,
            (market, "Withdrawn"): self._accounts.on_withdrawn,
            (market, "Traded"): self._accounts.on_traded,
            (market, "Liquidated"): self._accounts.on_liquidated,
            (market, "Swept"): self._insurers.on_swept,
            (market, "ReduceOnly"): self._on_reduce_only,
            (market, "OracleReported"): self._on_reported,
            (market, "Closed"): self._on_closed,
            (vault, "Transfer"): self._insurers.on_shares,
            (vault, "Deposit"): self._insurers.on_insured,
            (vault, "RedeemRequest"): self._insurers.on_requested,
            (vault, "RedeemRequestCancelled"): self._insurers.on_cancelled,
            (vault, "Withdraw"): self._insurers.on_redeemed,
        }

    def read(self, entries: Iterable[Entry]) -> None:
        """Whole transactions, in order."""
        for where, group in groupby(entries, key=lambda one: Where(one.block, one.timestamp, one.transaction)):
            logs = [entry.log for entry in group]
            if not any(self._concerns(log) for log in logs):
                continue
            self._desk.begin(where)
            try:
                self._transaction(logs)
            except IMPOSSIBLE as error:
                self._desk.find("S3", "log", f"what it says cannot be: {type(error).__name__}: {error}")
                for part in (self._settling, self._accounts, self._insurers):
                    part.begin()

    def _transaction(self, logs: Sequence[Log]) -> None:
        for log in logs:
            part = self._parts.get((log.address, log.name))
            if log.address == self._token:
                self._of_the_token(log)
            elif part is not None:
                part(log)
            elif log.address in self._desk.ours:
                self._settling.finish()
                act = self._acts.get((log.address, log.name))
                if act is not None:
                    act(log)
        self._settling.end()
        self._accounts.end()
        self._insurers.end()
        self._desk.check_flows()
        self._desk.check_dust()

    def _of_the_token(self, log: Log) -> None:
        if log.name == "Transfer":
            self._desk.transferred(log)

    def _concerns(self, log: Log) -> bool:
        """Whether an event is the market's, the vault's or moves their tokens; a token moves for others too."""
        ours = self._desk.ours
        return log.address in ours or (log.name == "Transfer" and any(one in ours for one in log.fields.values()))

    # ---------------------------------------------------------------------------------------------------------- modes

    def _on_reduce_only(self, log: Log) -> None:
        self.books.guarded = log.fields["on"]

    def _on_reported(self, log: Log) -> None:
        self.books.reported_at = self._desk.where.timestamp

    def _on_closed(self, log: Log) -> None:
        """The market settles to the last accepted index from now on (design §8)."""
        books, price = self.books, log.fields["price"]
        if not books.reported_at or self._desk.where.timestamp < books.reported_at + books.p.oracle_grace:
            text = f"closed, where the oracle was reported dead at {books.reported_at or 'no time'}"
            self._desk.find("S3", "mode", f"{text} and the grace is {books.p.oracle_grace} s")
        # Between limited steps an index is accepted, and may come back to the mark, without an event.
        if not books.p.step_interval and price not in (books.mark, books.accepted):
            self._desk.find("S3", "mode", f"closed at {price}, neither mark {books.mark} nor index {books.accepted}")
        books.closed_price = price
