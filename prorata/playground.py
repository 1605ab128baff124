"""A market to play with: deployed, insured, with people in it, and short verbs that print what happened.

`ape console` loads one on a local network (`ape_console_extras.py`); a script or a test opens one on any chain. Prices,
sizes and amounts are in whole units here, as one types them ("0.1", 800, 12.5), and become 18-digit integers at once.
What the contracts refuse, and what cannot be read as a number or a name, is said in one line and changes nothing.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import wraps
from inspect import getdoc
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol

from rich.console import Console
from rich.table import Table

from prorata.audit import report as audit_report
from prorata.audit.auditor import Auditor
from prorata.audit.statement import SUMMED
from prorata.chain import Chain, Reverted, Transaction
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.receipts import RECEIPT_AMOUNTS, Receipt, receipts_in
from prorata.report import money, price, ratio
from prorata.simulation import loser_name
from prorata.units import WAD, to_wad

MARK = 1_000 * WAD
#: Test accounts by what they do; account 0 deploys, speaks for the oracle and settles.
ROLES = {"maker": 1, "trader": 2, "gambler": 3, "hedger": 4, "depositor": 5, "keeper": 6, "attacker": 7}
#: What they put in, quote; the depositor's goes to the vault.
DEPOSITS = {"maker": 50_000, "trader": 5_000, "gambler": 2_500, "hedger": 4_000, "keeper": 50_000, "attacker": 20_000}
INSURED = 6_000
#: Who has bought how much of whom, at the first mark.
TRADES = (("gambler", "maker", 40), ("trader", "hedger", 10))
#: Prices of a loss curve, over the mark.
CURVE = (50, 60, 70, 80, 90, 95, 105, 110, 120, 130, 140, 150)
#: Files of the last audit; emptied before the next.
AUDITS = Path("out/playground")

_LOSS_HEADS = ("gross loss", "deficit", "covered", "socialized", "haircut", "ADL short", "closed size", "open interest")
#: Columns of a statement that are always shown; of what adds up between the two equities, what is not all nothing.
_BEFORE, _AFTER = ("mark", "size_after", "equity_before"), ("equity_after",)
_BETWEEN = tuple(name for name in SUMMED if name != "rounding")

Amount = Decimal | int | float | str
P = ParamSpec("P")


class HasAddress(Protocol):
    """An account of Ape's, for one."""

    @property
    def address(self) -> str: ...


#: Somebody of ROLES, by name or by address.
Who = str | HasAddress


class Mistake(ValueError):
    """Something typed that cannot be meant: one line."""


def _plainly(act: Callable[Concatenate[Playground, P], None]) -> Callable[Concatenate[Playground, P], None]:
    """The verb, with mistakes and refusals said in one line instead of a traceback."""

    @wraps(act)
    def said(self: Playground, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            act(self, *arguments, **named)
        except Mistake as mistake:
            _print(f"mistake: {mistake}")
        except Reverted as refusal:
            _print(f"refused: {refusal.reason}")

    return said


class Playground:
    """A market, its people and the verbs of a session.

    Args:
        exchange: deployed; ROLES have tokens, and have let market and vault take them.
        first_block: where its log begins.

    Attributes:
        exchange: everything that can be done with the market, in 18-digit integers.
        people: addresses by role.
    """

    def __init__(self, exchange: Exchange, first_block: int) -> None:
        self.exchange = exchange
        self.people = {name: exchange.chain.address(number) for name, number in ROLES.items()}
        self._first_block = first_block

    @classmethod
    def open(cls, chain: Chain, parameters: MarketParameters | None = None) -> Playground:
        """Deploy a market at 1,000, insure it, and let its people trade: under forty transactions.

        Raises:
            Reverted: the parameters contradict each other, or do not let these people trade as in TRADES.
        """
        first_block = chain.block
        exchange = Exchange.deploy(chain, MARK, parameters)
        for number in ROLES.values():
            exchange.fund(number)
            exchange.approve(number, exchange.vault)
        exchange.insure(ROLES["depositor"], INSURED * WAD)
        for name, amount in DEPOSITS.items():
            exchange.deposit(ROLES[name], amount * WAD)
        for buyer, seller, size in TRADES:
            exchange.trade(ROLES[buyer], ROLES[seller], True, size * WAD, MARK)
        return cls(exchange, first_block)

    def verbs(self) -> dict[str, Callable[..., None]]:
        """What a session has, by name, in the order of `guide`."""
        return {name: getattr(self, name) for name in VERBS}

    # ------------------------------------------------------------------------------------------------------ looking

    @_plainly
    def guide(self) -> None:
        """What there is to type."""
        table = _table("verb", "what it does")
        for name, verb in self.verbs().items():
            table.add_row(name, (getdoc(verb) or "").splitlines()[0])
        _print(table)
        _print(f"people: {', '.join(self.people)}")

    @_plainly
    def state(self) -> None:
        """The market as a whole: mark and index, mode, open interest, insurance, losses so far."""
        exchange = self.exchange
        socialized, shortfall = exchange.totals
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column("what")
        table.add_column("value", justify="right")
        for what, value in (
            ("mode", exchange.mode),
            ("mark", price(exchange.mark)),
            ("index price", price(self._answer())),
            ("open interest, each side", money(exchange.side(0).open_interest)),
            ("insurance, all of it", money(exchange.vault_assets)),
            ("the market's tokens", money(exchange.token_balance(exchange.market))),
            ("socialized so far", money(socialized)),
            ("missed by deleverage so far", money(shortfall)),
        ):
            table.add_row(what, value)
        _print(table)

    @_plainly
    def balances(self) -> None:
        """Everybody's account at the present mark: side, size, equity, margin, where it is closed."""
        table = _table("who", "side", "size", "equity", "margin", "closed beyond", words=2)
        for name, address in self.people.items():
            equity, is_long, size, _notional, margin, _free, closeout = self._position(address)
            if size:
                side = "long" if is_long else "short"
                table.add_row(name, side, money(size), money(equity), ratio(margin), price(closeout))
            else:
                table.add_row(name, "-", "-", money(equity), "-", "-")
        _print(table)

    @_plainly
    def receipts(self) -> None:
        """Every move of the mark so far, as the market's own receipts state it."""
        chain, market = self.exchange.chain, self.exchange.market.address
        self._show(receipts_in(log for log in chain.logs(self._first_block, chain.block) if log.address == market))

    @_plainly
    def curve(self, *prices: Amount) -> None:
        """The loss curve: what a move straight to each of these prices would do now. Nothing moves.

        Args:
            prices: quote per size; none: from half of the mark to half as much again.
        """
        mark = self.exchange.mark
        table = _table("price", *_LOSS_HEADS, words=0)
        for one in [_wad(one) for one in prices] or [mark * part // 100 for part in CURVE]:
            amounts = dict(zip(RECEIPT_AMOUNTS, self.exchange.preview(one), strict=True))
            table.add_row(price(one), *_losses(amounts))
        _print(table)

    @_plainly
    def audit(self) -> None:
        """Audit the market from its event log: who paid whom, what it holds and owes, every difference."""
        auditor = self._audited(None)
        audit_report.show(auditor, _console())

    @_plainly
    def statement(self, who: Who) -> None:
        """What one account went through, event by event: each row adds up but for a wei or two (docs/audit.md).

        Args:
            who: a role, or an account of one.
        """
        address = self.exchange.chain.address(self._number(who))
        self._audited(address)
        with (AUDITS / f"statement-{address}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise Mistake(f"nothing has happened to the account of {address}")
        columns = (*_BEFORE, *(name for name in _BETWEEN if any(to_wad(row[name]) for row in rows)), *_AFTER)
        table = _table("event", *(name.replace("_", "\n") for name in columns), words=1)
        for row in rows:
            table.add_row(row["event"], *(_some(to_wad(row[name])) for name in columns))
        _print(table)

    # -------------------------------------------------------------------------------------------------------- doing

    @_plainly
    def say(self, price: Amount) -> None:
        """The oracle says a price; nothing settles yet.

        Args:
            price: quote per size.
        """
        self.exchange.set_price(_wad(price))

    @_plainly
    def settle(self) -> None:
        """One settlement: bring the mark to the index, as far as a step may go, and show the receipts."""
        self._settle()

    @_plainly
    def move(self, price: Amount) -> None:
        """The oracle says a price and the market settles, once.

        Args:
            price: quote per size.
        """
        self.exchange.set_price(_wad(price))
        self._settle()

    @_plainly
    def wait(self, seconds: int) -> None:
        """Time passes; then the oracle repeats its last price, so that it is not stale."""
        if not isinstance(seconds, int) or seconds < 0:
            raise Mistake(f"{seconds} is not a number of seconds")
        self.exchange.chain.advance(seconds)
        self.exchange.set_price(self._answer())

    @_plainly
    def trade(self, buyer: Who, seller: Who, size: Amount, price: Amount | None = None) -> None:
        """One buys of another: the buyer signs an order, the seller fills it; `price` is the mark unless given.

        Args:
            size: of the position, in units of whatever is traded.
            price: quote per size.
        """
        maker, taker, amount = self._number(buyer), self._number(seller), _wad(size)
        limit = self.exchange.mark if price is None else _wad(price)
        self._did(self.exchange.trade(maker, taker, True, amount, limit))

    @_plainly
    def deposit(self, who: Who, amount: Amount) -> None:
        """Put collateral into somebody's account."""
        self._did(self.exchange.deposit(self._number(who), _wad(amount)))

    @_plainly
    def withdraw(self, who: Who, amount: Amount) -> None:
        """Take collateral out; what is more than free is refused."""
        self._did(self.exchange.withdraw(self._number(who), _wad(amount)))

    @_plainly
    def insure(self, who: Who, amount: Amount) -> None:
        """Deposit into the insurance vault."""
        self._did(self.exchange.insure(self._number(who), _wad(amount)))

    @_plainly
    def liquidate(self, liquidator: Who, owner: Who) -> None:
        """Take over as much of an account below maintenance margin as the market lets one."""
        self._did(self.exchange.liquidate(self._number(liquidator), self._number(owner)))

    # ------------------------------------------------------------------------------------------------------- inside

    def _settle(self) -> None:
        done = self.exchange.settle()
        self._show(receipts_in(done.logs))
        self._did(done)

    def _did(self, done: Transaction) -> None:
        """What was done, in a line: its events by name, and its gas where the chain counts it."""
        words = [log.name for log in done.logs if log.address == self.exchange.market.address]
        gas = f"; {done.gas:,} gas" if done.gas else ""
        _print(f"{', '.join(words) or 'nothing happened'}{gas}")

    def _show(self, found: Sequence[Receipt]) -> None:
        """Receipts, one a line."""
        if not found:
            return
        table = _table("move", "lose", "mark", "to", "index", *_LOSS_HEADS, words=2)
        for one in found:
            amounts = {name: getattr(one, name) for name in RECEIPT_AMOUNTS}
            marks = (price(one.mark_before), price(one.mark_after), price(one.index_price))
            table.add_row("funding" if one.funding else "price", loser_name(one), *marks, *_losses(amounts))
        _print(table)

    def _position(self, address: str) -> tuple[Any, ...]:
        """As `MarketLens.PositionView`."""
        exchange = self.exchange
        return tuple(exchange.chain.call(exchange.lens, "position", exchange.market.address, address))

    def _answer(self) -> int:
        """The oracle's last price, stale or not; 18 digits."""
        return int(self.exchange.chain.call(self.exchange.feed, "latestRoundData")[1])

    def _audited(self, account: str | None) -> Auditor:
        """An audit from the first event on, its files in AUDITS."""
        shutil.rmtree(AUDITS, ignore_errors=True)
        exchange = self.exchange
        auditor = Auditor(exchange.chain, exchange.market.address, AUDITS, self._first_block, account=account)
        try:
            auditor.run()
        finally:
            auditor.close()
        return auditor

    def _number(self, who: Who) -> int:
        """The test account of somebody.

        Raises:
            Mistake: nobody of the people.
        """
        names = {address: name for name, address in self.people.items()}
        said = who if isinstance(who, str) else str(getattr(who, "address", who))
        name = names.get(said, said)
        if name not in ROLES:
            raise Mistake(f"{name} is nobody here; there are: {', '.join(ROLES)}")
        return ROLES[name]


#: What a session can type, in the order in which one would.
VERBS = (
    "guide",
    "state",
    "balances",
    "curve",
    "trade",
    "deposit",
    "withdraw",
    "insure",
    "say",
    "settle",
    "move",
    "wait",
    "liquidate",
    "receipts",
    "statement",
    "audit",
)


def _wad(amount: Amount) -> int:
    """What was typed, with 18 digits.

    Raises:
        Mistake: no number above zero, or one with more digits.
    """
    try:
        number = Decimal(str(amount))
        wad = to_wad(number)
    except (InvalidOperation, ValueError):
        raise Mistake(f"{amount!r} is not a number of at most 18 digits after the point") from None
    if wad <= 0:
        raise Mistake(f"{amount} is not above zero")
    return wad


def _losses(amounts: Mapping[str, int]) -> list[str]:
    """The cells under _LOSS_HEADS; "-" for nothing. A haircut is rounded up, as in a receipt."""
    gross, socialized = amounts["gross"], amounts["deficit"] - amounts["covered"]
    cells = [money(gross), *(_some(amounts[name]) for name in ("deficit", "covered")), _some(socialized)]
    haircut = -(-socialized * WAD // gross) if gross else 0
    rest = [_some(amounts[name]) for name in ("adl_shortfall", "closed_size")]
    return [*cells, ratio(haircut), *rest, money(amounts["open_interest"])]


def _some(amount: int) -> str:
    return money(amount) if amount else "-"


def _table(*heads: str, words: int = 2) -> Table:
    """A plain table whose first columns are words, the others numbers."""
    table = Table(box=None, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < words else "right", no_wrap=True)
    return table


def _console() -> Console:
    """As wide as the terminal; in a file, wide enough for every table."""
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False, markup=False)


def _print(shown: str | Table) -> None:
    _console().print(shown)
