"""The market and its judge in lockstep: every operation runs on the contracts and on the eager model.

They must agree on whether an operation is allowed and for what reason not, on who was closed and in which bucket
everyone stands, and on every balance within a published number of wei.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from math import floor
from typing import Any

from prorata.chain import Chain, Reverted, Transaction
from prorata.exchange import AccountState, Exchange
from prorata.model import SHARE_OFFSET, TRIP, Account, Model, Outcome, RedeemRequest, Refused, Trade
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.units import INDEX_UNIT, LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD, from_wad

#: Published bounds, wei of quote at 18 digits. Sizes and scales have 18 digits, so a position of a scaled market is off
#: by some wei of size, and by the price times that in quote; everything else rounds by single wei. The former grows
#: with the market, so `Twin.bound` adds what the scale of this one may have lost.
MAX_DIFFERENCE = 10**9
MAX_DUST = 10**6


#: Amounts that a receipt and the model's own account of a move have in common.
_COMPARED = ("mark_after", "gross", "deficit", "covered", "surplus", "bonus", "adl_shortfall", "closed_size")


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
        parameters, vault_parameters = (parameters or MarketParameters(), vault_parameters or VaultParameters())
        exchange = Exchange.deploy(chain, mark, parameters, vault_parameters, decimals)
        model = Model(parameters, vault_parameters, from_wad(mark), decimals)
        self._attach(exchange, model, traders, (mark, chain.now, 1, 1))
        for trader in self.traders:
            self.exchange.fund(trader)
        self.exchange.fund(0)
        self.exchange.approve(0, self.exchange.vault)

    @classmethod
    def of(cls, exchange: Exchange, model: Model, traders: int, answer: tuple[int, int, int, int]) -> Twin:
        """A market that has lived already, with a model that stands where it does.

        Args:
            answer: what its oracle last said: answer, when, in which round, answered in which.
        """
        twin = cls.__new__(cls)
        twin._attach(exchange, model, traders, answer)
        return twin

    def _attach(self, exchange: Exchange, model: Model, traders: int, answer: tuple[int, int, int, int]) -> None:
        self.exchange = exchange
        self.model = model
        self.index_price = answer[0]
        #: What the oracle last said: answer, when, in which round, answered in which.
        self.round = answer
        self.traders = range(1, traders + 1)
        self.receipts: list[Receipt] = []
        #: Every receipt with the model's own account of the move.
        self.moves: list[tuple[Receipt, Outcome]] = []
        self._totals_before = exchange.totals
        self._lost_size = self._highest_mark = 0
        self._parts = dict.fromkeys(self.traders, Fraction(0))
        self._note_parts()

    @property
    def bound(self) -> int:
        """By how many wei of quote this market may differ from the model, as a whole.

        Every deleverage rounds the winners' scale down, by less than 1e-18: the side loses less than a 1e-18 of its
        shares in size, worth what the mark makes of it. At the smallest scale (1e-4) that is a 1e-14 of the position,
        so in a market worth a hundred thousand some deleverages come to more than `MAX_DIFFERENCE`.
        """
        return MAX_DIFFERENCE + self._lost_size * self._highest_mark // INDEX_UNIT

    def account_bound(self, trader: int) -> int:
        """By how many wei an account may differ: of what a side has lost in size it bears the largest part it ever had
        of one, whether the side is its own or the one that pays it."""
        return MAX_DIFFERENCE + floor(self._parts[trader] * (self.bound - MAX_DIFFERENCE))

    def _note_parts(self) -> None:
        """What part of its side each account has by now."""
        interest = [self.model.open_interest(side) for side in (LONG, SHORT)]
        for trader in self.traders:
            account = self.model.account(self._name(trader))
            if account.size:
                self._parts[trader] = max(self._parts[trader], account.size / interest[account.side])

    # ---------------------------------------------------------------------------------------------------- operations

    def set_price(self, price: int) -> None:
        """A new answer of the price feed; nothing settles yet."""
        transaction = self.exchange.set_price(price)
        self.index_price = price
        self.round = (price, transaction.timestamp, 1, 1)

    def set_round(self, answer: int, updated_at: int, round_id: int = 1, answered_in: int = 1) -> None:
        """Any answer, plausible or not."""
        self.exchange.set_round(answer, updated_at, round_id, answered_in)
        self.round = (answer, updated_at, round_id, answered_in)

    def refusal(self) -> str | None:
        """Why the oracle's answer is refused at this second, if it is (design §8)."""
        answer, updated_at, round_id, answered_in = self.round
        now = self.exchange.chain.now
        if answer <= 0:
            return "oracle: non-positive answer"
        if not updated_at or answered_in < round_id:
            return "oracle: incomplete round"
        if updated_at > now:
            return "oracle: future-dated"
        if now - updated_at > self.model.parameters.max_staleness:
            return "oracle: stale"
        return None if MIN_PRICE <= answer <= MAX_PRICE else "oracle: price out of range"

    def settle(self) -> Transaction:
        """Settle, and see that no winner ends poorer than it began (S2)."""
        before = {trader: self.exchange.account(trader) for trader in self.traders}
        indices, count = [self.exchange.side(side).index for side in (LONG, SHORT)], len(self.moves)
        transaction = self._both(self.exchange.settle, lambda model: model.settle())
        moves = self.moves[count:]
        receipts = [receipt for receipt, _ in moves]
        for receipt, outcome in moves:
            winner = 1 - receipt.loser
            if receipt.indices[winner] < indices[winner]:
                raise Violation("S2", f"winners fell in {receipt}")
            indices = list(receipt.indices)
            if outcome.epoch_ended:
                indices = [0, 0]
        if len({receipt.loser for receipt in receipts}) == 1:
            for trader, account in before.items():
                after = self.exchange.account(trader).equity
                if account.shares and account.side != receipts[0].loser and after < account.equity:
                    raise Violation("S2", f"winner {trader} fell from {account.equity} to {after}")
        return transaction

    def settle_fully(self) -> list[Transaction]:
        """Settle until the mark is the index price."""
        transactions = [self.settle()]
        while self.exchange.core.lagging:
            waits = self.exchange.core.limited_at + self.model.parameters.step_interval - self.exchange.chain.now
            if waits > 1:  # the next transaction takes a second of its own
                self.exchange.chain.advance(waits - 1)
            transactions.append(self.settle())
        return transactions

    def deposit(self, trader: int, amount: int, to: int | None = None) -> Transaction:
        """Add collateral; a deposit does not settle."""
        owner = trader if to is None else to
        return self._both(
            lambda: self.exchange.deposit(trader, amount, to),
            lambda model: model.deposit(self._name(owner), from_wad(amount), by_owner=owner == trader),
        )

    def withdraw(self, trader: int, amount: int) -> Transaction:
        """Take collateral out; settles if there is a position."""
        owner = self._name(trader)
        return self._both(
            lambda: self.exchange.withdraw(trader, amount), lambda model: model.withdraw(owner, from_wad(amount))
        )

    def trade(
        self, maker: int, taker: int, is_long: bool, size: int, price: int, reduce_only: bool = False
    ) -> Transaction:
        """Sign an order and fill all of it; `is_long` is what the maker becomes."""
        return self._both(
            lambda: self.exchange.trade(maker, taker, is_long, size, price, reduce_only=reduce_only),
            lambda model: model.trade([self._trade(maker, taker, is_long, size, price, reduce_only)]),
        )

    def trade_batch(self, taker: int, trades: Sequence[tuple[int, bool, int, int]]) -> Transaction:
        """Several orders (maker, what it becomes, size, price) signed and filled in one transaction."""
        fills = []
        for maker, is_long, size, price in trades:
            order = self.exchange.order(maker, is_long, size, price)
            fills.append((order, self.exchange.sign(maker, order), size))
        return self._both(
            lambda: self.exchange.take_batch(taker, fills),
            lambda model: model.trade(
                self._trade(maker, taker, is_long, size, price) for maker, is_long, size, price in trades
            ),
        )

    def _trade(self, maker: int, taker: int, is_long: bool, size: int, price: int, reduce_only: bool = False) -> Trade:
        return Trade(self._name(maker), self._name(taker), is_long, from_wad(size), from_wad(price), reduce_only)

    def liquidate(self, liquidator: int, owner: int, size: int = 2**256 - 1) -> Transaction:
        """Take over up to `size` of an account below maintenance margin."""
        return self._both(
            lambda: self.exchange.liquidate(liquidator, owner, size),
            lambda model: model.liquidate(self._name(liquidator), self._name(owner), from_wad(size)),
        )

    def set_reduce_only(self, on: bool) -> Transaction:
        """By the guardian, who is account 0 here."""
        return self._both(lambda: self.exchange.set_reduce_only(on, 0), lambda model: model.set_reduce_only(on))

    def wind_down(self) -> Transaction:
        """Report a dead oracle, or close the market."""
        return self._both(self.exchange.wind_down, lambda model: model.wind_down())

    def insure(self, amount: int, insurer: int = 0) -> Transaction:
        """Deposit into the vault.

        Next to an empty vault a wei of assets may double the shares of a deposit, so shares are checked exactly,
        against the assets that the contracts themselves had; what shares are worth is checked against the model.
        """
        if insurer:  # account 0 has approved already
            self.exchange.approve(insurer, self.exchange.vault)
        supply_before = self.exchange.vault_supply
        transaction = self._both(
            lambda: self.exchange.insure(insurer, amount),
            lambda model: model.insure(from_wad(amount), self._name(insurer)),
        )
        supply, unit = self.exchange.vault_supply, self.exchange.unit
        assets_before = self.exchange.vault_assets - amount
        expected = amount * (supply_before + SHARE_OFFSET) // (assets_before + unit)
        if supply - supply_before != expected:
            raise Violation("S3", f"{supply - supply_before} vault shares instead of {expected}")
        self.model.vault.supply = supply
        self.model.vault.shares[self._name(insurer)] = self.exchange.vault_shares(insurer)
        return transaction

    def request_redeem(self, shares: int, insurer: int = 0) -> Transaction:
        """Put vault shares into the queue. A wei of assets may decide about the last unit of their worth."""
        name = self._name(insurer)
        transaction = self._both(
            lambda: self.exchange.request_redeem(insurer, shares), lambda model: model.request_redeem(name, shares)
        )
        worth = from_wad(self.exchange.redeem_request(insurer).worth)
        request = self.model.vault.requests[name]
        if abs(worth - request.worth) > self.model.vault.unit + from_wad(self.bound):
            raise Violation("S3", f"request worth {float(worth)} instead of {float(request.worth)}")
        self.model.vault.requests[name] = replace(request, worth=worth)
        self._compare_insurer(insurer)
        return transaction

    def cancel_redeem(self, insurer: int = 0) -> Transaction:
        """Take a request back."""
        transaction = self._both(
            lambda: self.exchange.cancel_redeem(insurer), lambda model: model.cancel_redeem(self._name(insurer))
        )
        self._compare_insurer(insurer)
        return transaction

    def redeem(self, shares: int, insurer: int = 0) -> Transaction:
        """Redeem requested vault shares. A wei of assets may decide about the last unit paid, not about more."""
        expected: list[Fraction] = []
        transaction = self._both(
            lambda: self.exchange.redeem(insurer, shares),
            lambda model: expected.append(model.redeem(self._name(insurer), shares)),
        )
        (paid,) = (
            from_wad(log.fields["assets"] * self.exchange.unit) for log in transaction.logs if log.name == "Withdraw"
        )
        if abs(paid - expected[-1]) > self.model.vault.unit + from_wad(self.bound):
            raise Violation("S3", f"{float(paid)} redeemed instead of {float(expected[-1])}")
        self.model.vault.held += expected[-1] - paid
        self._compare_insurer(insurer)
        return transaction

    def _compare_insurer(self, insurer: int) -> None:
        """Shares at an insurer's disposal and in the queue, exactly (S3)."""
        vault, request = self.model.vault, self.exchange.redeem_request(insurer)
        expected = vault.requests.get(self._name(insurer), RedeemRequest(0, Fraction(0), 0))
        if (request.shares, from_wad(request.worth), request.opens) != astuple(expected):
            raise Violation("S3", f"insurer {insurer} has requested {request}, in the model {expected}")
        if self.exchange.vault_shares(insurer) != vault.shares.get(self._name(insurer), 0):
            raise Violation("S3", f"insurer {insurer} has other vault shares than in the model")
        if self.exchange.vault_supply != vault.supply:
            raise Violation("S3", f"{self.exchange.vault_supply} vault shares, in the model {vault.supply}")

    def _name(self, trader: int) -> str:
        return str(trader)

    def _both(self, act: Callable[[], Transaction], rule: Callable[[Model], Any]) -> Transaction:
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

        # A decision that hangs on less than the published bound may go either way: the contracts' way then.
        for leniency in (0, self.bound, -self.bound):
            model, refusal = self._try(rule, from_wad(leniency))
            if refusal == reason:
                break
        else:
            raise Violation(
                "S3", f"contracts: {reason or 'allowed'}; model: {self._try(rule, Fraction(0))[1] or 'allowed'}"
            )
        if transaction is None:
            raise Reverted(reason or "")
        moved = model.outcomes[len(self.model.outcomes) :]
        self.model = model
        self._note_parts()
        receipts = receipts_in(transaction.logs)
        if len(receipts) != len(moved):  # the model pays parts of a wei in funding that the contracts do not
            receipts = [one for one in receipts if not one.funding or one.gross > self.bound]
            moved = [one for one in moved if not one.funding or one.gross * WAD > self.bound]
        self._compare_receipts(receipts, moved)
        return transaction

    def _try(self, rule: Callable[[Model], Any], leniency: Fraction) -> tuple[Model, str | None]:
        """The model after an operation, and why it refused it, if it did."""
        model = self.model.copy()
        model.leniency = leniency
        model.observe(from_wad(self.index_price), self.exchange.chain.now, self.refusal())
        try:
            rule(model)
        except Refused as refused:
            return model, str(refused)
        return model, None

    # ----------------------------------------------------------------------------------------------------- comparison

    def _compare_receipts(self, receipts: list[Receipt], outcomes: list[Outcome]) -> None:
        """One receipt for one move of the model, number by number (S2, S3)."""
        if len(receipts) != len(outcomes):
            raise Violation("S3", f"{len(receipts)} receipts for {len(outcomes)} moves of the model")
        for receipt, outcome in zip(receipts, outcomes, strict=True):
            if receipt.deficit > receipt.gross or receipt.covered > receipt.deficit:
                raise Violation("S2", f"deficit {receipt.deficit} of gross {receipt.gross}, covered {receipt.covered}")
            happened = (receipt.loser, receipt.funding, receipt.buckets_closed)
            if happened != (outcome.loser, outcome.funding, outcome.buckets_closed):
                raise Violation("S3", f"receipt {receipt} but model {outcome}")
            for name in _COMPARED:
                difference = abs(getattr(receipt, name) - getattr(outcome, name) * WAD)
                # Sizes are compared by what they are worth; a receipt adds up the accounts of a whole side.
                worth = difference * self.model.mark if name == "closed_size" else difference
                if worth > self.bound * len(self.traders):
                    raise Violation("S3", f"{name} differs by {float(difference)} wei: {receipt}, but {outcome}")
            self._highest_mark = max(self._highest_mark, receipt.mark_before, receipt.mark_after)
            if receipt.closed_size and not outcome.epoch_ended:
                self._lost_size += self.exchange.side(1 - receipt.loser).shares
            self.receipts.append(receipt)
            self.moves.append((receipt, outcome))
            if 0 < max(Fraction(receipt.covered), outcome.covered * WAD) <= self.bound:
                self._follow_window()
            # So may the last digit decide whether a haircut is a basis point.
            if abs(outcome.deficit - outcome.covered - TRIP * outcome.gross) * WAD <= self.bound:
                self.model.reduce_only_until = self.exchange.core.reduce_only_until

    def _follow_edge(self, trader: int, account: AccountState, expected: Account) -> None:
        """After a fall by many orders of magnitude a bucket may be finer than the wei that balances differ by: the
        filing is then as the contracts say, if such a difference explains it."""
        side = self.model.sides[expected.side]
        shares = expected.size / side.scale
        bankruptcy, reach = side.index - expected.collateral / shares, from_wad(self.bound) / shares
        width = Fraction(2**account.level, INDEX_UNIT)
        low, high = ((floor((bankruptcy + by) / width) + 1) * width for by in (-reach, reach))
        edge = Fraction(account.edge, INDEX_UNIT)
        if not low <= edge <= high:
            raise Violation("S3", f"trader {trader} has edge {account.edge}, in the model {float(expected.edge)}")
        expected.edge = edge

    def _follow_window(self) -> None:
        """Next to an empty vault a wei decides whether a draw of dust opens a window of draws: as the contracts say."""
        start, assets, drawn = self.exchange.vault_window
        self.model.vault.window_start = start
        self.model.vault.window_assets, self.model.vault.window_drawn = from_wad(assets), from_wad(drawn)

    def check(self) -> Reconciliation:
        """Reconcile every balance.

        Raises:
            Violation: S1 or S3 does not hold.
        """
        found = self.reconcile()
        if not 0 <= found.dust <= MAX_DUST:
            raise Violation("S1", f"dust {found.dust} wei")
        if abs(found.vault - self.model.vault_assets * WAD) > self.exchange.unit + self.bound:
            raise Violation("S3", f"vault {found.vault} but model {float(self.model.vault_assets)}")
        return found

    def reconcile(self) -> Reconciliation:
        """Compare every account, both sides and the vault, and say by how much they differ at most."""
        exchange = self.exchange
        accounts = {trader: exchange.account(trader) for trader in self.traders}
        differences = [self._difference(trader, account) for trader, account in accounts.items()]
        for trader, wei in zip(self.traders, differences, strict=True):
            if abs(wei) > self.account_bound(trader):
                raise Violation("S3", f"trader {trader} differs by {wei} wei")
        for side in (LONG, SHORT):
            difference = exchange.side(side).open_interest - self.model.open_interest(side) * WAD
            if abs(difference * self.model.mark) > self.bound:
                raise Violation("S3", f"open interest of side {side} differs by {float(difference)} wei of size")
        self._compare_core()
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

    def _compare_core(self) -> None:
        """Mark, epoch, conditions and times are the same; the premium is within the bound."""
        core, model = self.exchange.core, self.model
        found = (core.epoch, core.lagging, core.guarded, core.closed, core.suspect)
        expected = (model.epoch, model.lagging, model.guarded, model.closed, model.reported_at is not None)
        if found != expected:
            raise Violation("S3", f"epoch and conditions {found} but model {expected}")
        socialized, shortfall = self._totals_before
        stated = (
            socialized + sum(one.socialized for one in self.receipts),
            shortfall + sum(one.adl_shortfall for one in self.receipts),
        )
        if self.exchange.totals != stated:
            raise Violation("S3", f"totals {self.exchange.totals} but receipts say {stated}")
        times = (core.limited_at, core.reduce_only_until)
        if times != (model.limited_at, model.reduce_only_until):
            raise Violation("S3", f"{times} but model {model.limited_at, model.reduce_only_until}")
        if abs(core.mark - model.mark * WAD) > self.bound:
            raise Violation("S3", f"mark {core.mark} but model {float(model.mark)}")
        if abs(core.premium - model.premium * WAD) > self.bound * len(self.traders):
            raise Violation("S3", f"premium {core.premium} but model {float(model.premium)}")

    def _difference(self, trader: int, account: AccountState) -> int:
        """Contract's equity less the model's, wei, away from zero; position and bucket must be the same."""
        expected = self.model.account(self._name(trader))
        if bool(account.shares) != bool(expected.size):
            raise Violation(
                "S3", f"trader {trader} has {account.shares} shares but {float(expected.size)} in the model"
            )
        if account.shares and (account.side, account.level) != (expected.side, expected.level):
            raise Violation("S3", f"trader {trader} is filed as {account}, in the model {expected}")
        if account.shares and Fraction(account.edge, INDEX_UNIT) != expected.edge:
            self._follow_edge(trader, account, expected)
        difference = account.equity - expected.collateral * WAD
        return -int(-difference // 1) if difference > 0 else int(difference // 1)
