"""The state of the contracts at the end of the log, against the books, to the wei.

Everything that a view shows: sides, funding, times and conditions, every account, the vault with its window, its shares
and its queue, the tokens, the totals. No view shows a bucket; but the loss curve does: `preview_settlement` at some
prices closes different ones, and each of its numbers is a sum over buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prorata.audit import eager
from prorata.audit.books import Books, Queued
from prorata.audit.desk import Finding, Where
from prorata.audit.replay import IMPOSSIBLE
from prorata.chain import Chain, Contract
from prorata.exchange import CLOSED, GUARDED, AccountState, CoreState, SideState
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD

#: Where the loss curve is compared: prices as parts of the mark, in per mille.
_FALLS = (1, 250, 500, 700, 800, 900, 950, 980, 990, 997)
_RISES = (1003, 1010, 1020, 1050, 1100, 1200, 1300, 1500, 2000, 4000)
CURVE = (*_FALLS, 1000, *_RISES)


class Reconciliation:
    """Compares contracts with books.

    Args:
        market, vault, token: the contracts.
        where: the last transaction of the log.
        report: takes what is found.
    """

    def __init__(
        self,
        chain: Chain,
        market: Contract,
        vault: Contract,
        token: Contract,
        books: Books,
        where: Where,
        report: Callable[[Finding], None],
    ) -> None:
        self._chain, self._books, self._where, self._report = chain, books, where, report
        self._market, self._vault, self._token = market, vault, token

    def steps(self) -> Iterator[str]:
        """Compare one thing after the other; says of each that it is done."""
        for compare in (self._core, self._sides, self._tokens, self._insurance):
            compare()
            yield "state"
        for owner in self._books.holders:
            self._account(owner)
            yield "accounts"
        for owner in dict.fromkeys([*self._books.vault.shares, *self._books.vault.requests]):
            self._insurer(owner)
            yield "insurers"
        for part in CURVE:
            self._curve(part)
            yield "loss curve"

    @property
    def count(self) -> int:
        """How many steps there are."""
        vault = self._books.vault
        return 4 + len(self._books.holders) + len({**vault.shares, **vault.requests}) + len(CURVE)

    def _compare(self, what: str, found: Any, by_log: Any, guarantee: str = "S3", transaction: str = "") -> None:
        if found != by_log:
            where = self._where
            if transaction:
                where = Where(where.block, where.timestamp, transaction)
            self._report(Finding(where, guarantee, "state", f"{what} is {found}, by the log {by_log}"))

    def _call(self, contract: Contract, name: str, *arguments: Any) -> Any:
        return self._chain.call(contract, name, *arguments)

    def _core(self) -> None:
        books, core = self._books, CoreState(*self._call(self._market, "core"))
        for name, by_log in (
            ("mark", books.mark),
            ("epoch", books.epoch),
            ("insurance_owed", books.owed),
            ("premium", books.premium),
            ("limited_at", books.limited_at),
            ("reduce_only_until", books.reduce_only_until),
        ):
            self._compare(name, getattr(core, name), by_log)
        # A premium that never decays is brought up to the second by settlements that leave no event.
        if books.p.premium_retention < WAD:
            self._compare("accrued_at", core.accrued_at, books.accrued_at)
        self._compare("conditions", core.conditions & (GUARDED | CLOSED), books.conditions)
        # Whether the mark lags can change without an event, but not while funding is still to be paid.
        if books.rest:
            self._compare("catch-up", core.lagging, True)
        for name, total in (("total_socialized", "socialized"), ("total_adl_shortfall", "adl_shortfall")):
            self._compare(name, self._call(self._market, name), getattr(books.totals, total))

    def _sides(self) -> None:
        for side, name in ((LONG, "long side"), (SHORT, "short side")):
            pool = self._books.sides[side]
            by_log = SideState(pool.shares, pool.scale, pool.index, pool.open_interest)
            self._compare(name, SideState(*self._call(self._market, "side", side)), by_log)

    def _tokens(self) -> None:
        books = self._books
        for contract, name, by_log in (
            (self._market, "market's tokens", books.balance + books.gifts),
            (self._vault, "vault's tokens", books.vault.held * books.unit + books.vault_gifts),
        ):
            found = self._call(self._token, "balanceOf", contract.address) * books.unit
            self._compare(name, found, by_log, "S1")

    def _insurance(self) -> None:
        books, vault = self._books, self._books.vault
        for name, by_log in (
            ("held", vault.held),
            ("totalSupply", vault.supply),
            ("totalAssets", books.assets),
            ("window_start", vault.window_start),
            ("window_assets", vault.window_assets),
            ("window_drawn", vault.window_drawn),
        ):
            self._compare(f"the vault's {name}", self._call(self._vault, name), by_log)

    def _account(self, owner: str) -> None:
        holder = self._books.holders[owner]
        by_log = AccountState(holder.equity, LONG, 0, 0, 0)
        if holder.shares:
            by_log = AccountState(holder.equity, holder.side, holder.shares, holder.level, holder.bucket)
        found = AccountState(*self._call(self._market, "account", owner))
        self._compare(f"account {owner}", found, by_log, transaction=holder.written)

    def _insurer(self, owner: str) -> None:
        vault = self._books.vault
        shares = self._call(self._vault, "balanceOf", owner)
        self._compare(f"vault shares of {owner}", shares, vault.shares.get(owner, 0))
        found = Queued(*self._call(self._vault, "redeem_request", owner))
        self._compare(f"request of {owner}", found, vault.requests.get(owner, Queued(0, 0, 0)))

    def _curve(self, part: int) -> None:
        price = min(max(self._books.mark * part // 1000, MIN_PRICE), MAX_PRICE)
        by_log: Any
        try:
            by_log = tuple(move.receipt for move in eager.preview(self._books, price, self._chain.now))
        except IMPOSSIBLE as error:  # books that follow an impossible log
            by_log = f"none ({error})"
        found = tuple(tuple(receipt) for receipt in self._call(self._market, "preview_settlement", price))
        self._compare(f"loss curve at {price}", found, by_log)
