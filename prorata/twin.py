"""The market and its judge in lockstep: every operation runs on the contracts and on the eager model, and both must agree.

They must agree on whether an operation is allowed and for what reason not, on who was closed and in which bucket everyone
stands, and on every balance within a published number of wei.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from prorata.chain import Chain, Reverted, Transaction
from prorata.exchange import AccountState, Exchange
from prorata.model import Model, Outcome, Refused
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD, from_wad

#: Published bounds, wei of quote at 18 digits. Sizes and scales have 18 digits, so a position of a scaled market is off by
#: up to a wei of size a fill, and by the price times that in quote; everything else rounds by single wei.
MAX_DIFFERENCE = 10**9
MAX_DUST = 10**6


class Violation(AssertionError):
    """A guarantee does not hold, or the contracts and the model disagree.

    Attributes:
        guarantee: "S1", "S2" or "S3".
    """

    def __init__(self, guarantee: str, message: str) -> None:
        super().__init__(f"{guarantee}: {message}")
        self.guarantee = guarantee


@dataclass(frozen=True)
class Reconciliation:
    """All balances at one moment; quote, 18 digits.

    Attributes:
        token_balance: what the market really holds.
        sum_equity: what it owes its traders, each rounded down.
        owed: what it holds for the vault.
        dust: what is left: the roundings, all in the market's favour.
        vault: what the vault's shares are worth.
        max_difference: largest distance between an account's equity and the model's.
        max_favour: the largest by which an account has more than in the model (negative: none has).
    """

    token_balance: int
    sum_equity: int
    owed: int
    dust: int
    vault: int
    max_difference: int
    max_favour: int


class Twin:
    """A market, and the model of it.

    Args:
        chain: a fresh chain.
        mark: first price, 18 digits.
        traders: test accounts that trade; account 0 deploys and insures, so they start at 1.
    """

    def __init__(
        self,
        chain: Chain,
        mark: int,
        traders: int,
        parameters: MarketParameters | None = None,
        vault_parameters: VaultParameters | None = None,
        decimals: int = 18,
    ) -> None:
        parameters, vault_parameters = (
            parameters or MarketParameters(),
            vault_parameters or VaultParameters(),
        )
        self.exchange = Exchange.deploy(
            chain, mark, parameters, vault_parameters, decimals
        )
        self.model = Model(parameters, vault_parameters, from_wad(mark), decimals)
        self.index_price = mark
        self.traders = range(1, traders + 1)
        self.receipts: list[Receipt] = []
        self.outcomes: list[Outcome] = []
        for trader in self.traders:
            self.exchange.fund(trader)
        self.exchange.fund(0)
        self.exchange.approve(0, self.exchange.vault)

    # ---------------------------------------------------------------------------------------------------- operations

    def set_price(self, price: int) -> None:
        """A new answer of the price feed; nothing settles yet."""
        self.exchange.set_price(price)
        self.index_price = price

    def settle(self) -> Transaction:
        """Settle, and see that no winner ends poorer than it began (S2)."""
        before = {trader: self.exchange.account(trader) for trader in self.traders}
        transaction = self._both(self.exchange.settle, lambda model: None)
        for receipt in receipts_in(transaction.logs):
            for trader, account in before.items():
                after = self.exchange.account(trader).equity
                if (
                    account.shares
                    and account.side != receipt.loser
                    and after < account.equity
                ):
                    raise Violation(
                        "S2", f"winner {trader} fell from {account.equity} to {after}"
                    )
        return transaction

    def settle_fully(self) -> list[Transaction]:
        """Settle until the mark is the index price."""
        transactions = [self.settle()]
        while self.exchange.mark != self.index_price:
            transactions.append(self.settle())
        return transactions

    def deposit(self, trader: int, amount: int, to: int | None = None) -> Transaction:
        """Add collateral; a deposit does not settle."""
        owner = self._name(trader if to is None else to)
        return self._both(
            lambda: self.exchange.deposit(trader, amount, to),
            lambda model: model.deposit(owner, from_wad(amount)),
            settles=False,
        )

    def withdraw(self, trader: int, amount: int) -> Transaction:
        """Take collateral out; settles if there is a position."""
        owner = self._name(trader)
        return self._both(
            lambda: self.exchange.withdraw(trader, amount),
            lambda model: model.withdraw(owner, from_wad(amount)),
            settles=bool(self.model.account(owner).size),
            needs_mark=True,
        )

    def trade(
        self,
        maker: int,
        taker: int,
        is_long: bool,
        size: int,
        price: int,
        reduce_only: bool = False,
    ) -> Transaction:
        """Sign an order and fill all of it; `is_long` is what the maker becomes."""
        return self._both(
            lambda: self.exchange.trade(
                maker, taker, is_long, size, price, reduce_only=reduce_only
            ),
            lambda model: model.fill(
                self._name(maker),
                self._name(taker),
                is_long,
                from_wad(size),
                from_wad(price),
                reduce_only,
            ),
            needs_mark=True,
        )

    def insure(self, amount: int) -> Transaction:
        """Deposit into the vault, from account 0."""
        return self._both(
            lambda: self.exchange.insure(0, amount),
            lambda model: model.insure(from_wad(amount)),
            needs_mark=True,
        )

    def redeem(self, shares: int) -> Transaction:
        """Redeem account 0's vault shares."""
        return self._both(
            lambda: self.exchange.redeem(0, shares),
            lambda model: model.uninsure(shares),
            needs_mark=True,
        )

    def _name(self, trader: int) -> str:
        return str(trader)

    def _both(
        self,
        act: Callable[[], Transaction],
        rule: Callable[[Model], Any],
        settles: bool = True,
        needs_mark: bool = False,
    ) -> Transaction:
        """Run an operation on both sides.

        Raises:
            Reverted: both refused, for the same reason; neither has changed.
            Violation: they disagree.
        """
        transaction, reason = None, None
        try:
            transaction = act()
        except Reverted as revert:
            reason = revert.reason

        model, outcome, refusal = copy.deepcopy(self.model), None, None
        try:
            if settles:
                outcome = model.settle(
                    from_wad(self.index_price), self.exchange.chain.now
                )
                if needs_mark and model.mark != from_wad(self.index_price):
                    raise Refused("mode: catch-up")
            rule(model)
        except Refused as refused:
            refusal = str(refused)

        if reason != refusal:
            raise Violation(
                "S3", f"contracts: {reason or 'allowed'}; model: {refusal or 'allowed'}"
            )
        if transaction is None:
            raise Reverted(reason or "")
        self.model = model
        self._compare_receipts(receipts_in(transaction.logs), outcome)
        return transaction

    # ----------------------------------------------------------------------------------------------------- comparison

    def _compare_receipts(
        self, receipts: list[Receipt], outcome: Outcome | None
    ) -> None:
        """One receipt for one move of the model, number by number (S2, S3)."""
        if len(receipts) != (outcome is not None):
            raise Violation(
                "S3",
                f"{len(receipts)} receipts, but the model moved: {outcome is not None}",
            )
        for receipt in receipts:
            if receipt.deficit > receipt.gross or receipt.covered > receipt.deficit:
                raise Violation(
                    "S2",
                    f"deficit {receipt.deficit} of gross {receipt.gross}, covered {receipt.covered}",
                )
            assert outcome is not None
            if (receipt.loser, receipt.buckets_closed) != (
                outcome.loser,
                outcome.buckets_closed,
            ):
                raise Violation("S3", f"receipt {receipt} but model {outcome}")
            for name in (
                "mark_after",
                "gross",
                "deficit",
                "covered",
                "surplus",
                "bonus",
                "adl_shortfall",
                "closed_size",
            ):
                difference = abs(getattr(receipt, name) - getattr(outcome, name) * WAD)
                if difference > MAX_DIFFERENCE * max(len(self.traders), 1):
                    raise Violation(
                        "S3", f"{name} of a receipt differs by {float(difference)} wei"
                    )
            self.receipts.append(receipt)
            self.outcomes.append(outcome)

    def check(self) -> Reconciliation:
        """Reconcile every balance.

        Raises:
            Violation: S1 or S3 does not hold.
        """
        found = self.reconcile()
        if not 0 <= found.dust <= MAX_DUST:
            raise Violation("S1", f"dust {found.dust} wei")
        if found.max_difference > MAX_DIFFERENCE:
            raise Violation("S3", f"an account differs by {found.max_difference} wei")
        if (
            abs(found.vault - self.model.vault_assets * WAD)
            > self.exchange.unit + MAX_DIFFERENCE
        ):
            raise Violation(
                "S3", f"vault {found.vault} but model {float(self.model.vault_assets)}"
            )
        return found

    def reconcile(self) -> Reconciliation:
        """Compare every account, both sides and the vault, and say by how much they differ at most."""
        exchange = self.exchange
        accounts = {trader: exchange.account(trader) for trader in self.traders}
        differences = [
            self._difference(trader, account) for trader, account in accounts.items()
        ]
        for side in (LONG, SHORT):
            difference = (
                exchange.side(side).open_interest - self.model.open_interest(side) * WAD
            )
            if abs(difference) > MAX_DIFFERENCE:
                raise Violation(
                    "S3", f"open interest of side {side} differs by {float(difference)}"
                )
        if exchange.epoch != self.model.epoch:
            raise Violation(
                "S3", f"epoch {exchange.epoch} but model {self.model.epoch}"
            )
        if exchange.vault_held != exchange.token_balance(exchange.vault):
            raise Violation("S1", "the vault does not hold what it says")
        token_balance = exchange.token_balance(exchange.market)
        sum_equity = sum(account.equity for account in accounts.values())
        owed = exchange.insurance_owed
        return Reconciliation(
            token_balance=token_balance,
            sum_equity=sum_equity,
            owed=owed,
            dust=token_balance - sum_equity - owed,
            vault=exchange.vault_assets,
            max_difference=max(abs(difference) for difference in differences),
            max_favour=max(differences),
        )

    def _difference(self, trader: int, account: AccountState) -> int:
        """Contract's equity less the model's, wei, away from zero; position and bucket must be the same."""
        expected = self.model.account(self._name(trader))
        if bool(account.shares) != bool(expected.size):
            raise Violation(
                "S3",
                f"trader {trader} has {account.shares} shares but {float(expected.size)} in the model",
            )
        if account.shares and (account.side, account.level) != (
            expected.side,
            expected.level,
        ):
            raise Violation(
                "S3", f"trader {trader} is filed as {account}, in the model {expected}"
            )
        if account.shares and Fraction(account.edge, INDEX_UNIT) != expected.edge:
            raise Violation(
                "S3",
                f"trader {trader} has edge {account.edge}, in the model {float(expected.edge)}",
            )
        difference = account.equity - expected.collateral * WAD
        return -int(-difference // 1) if difference > 0 else int(difference // 1)
