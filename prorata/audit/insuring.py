"""What insurers do: shares bought and redeemed, requests, and what the market hands over (design §7)."""

from __future__ import annotations

from prorata.audit.books import Queued
from prorata.audit.desk import Desk
from prorata.audit.rules import ceil_div
from prorata.audit.settling import Settling
from prorata.chain import Log
from prorata.units import ZERO_ADDRESS


class Insurers:
    """Follows the vault."""

    def __init__(self, desk: Desk, settling: Settling) -> None:
        self._desk, self._settling = desk, settling
        self.begin()

    def begin(self) -> None:
        """No vault share has come or gone."""
        self._minted = self._burnt = self._minted_stated = self._burnt_stated = 0

    def end(self) -> None:
        """The transaction is over: shares came and went as deposits and redemptions state."""
        if (self._minted, self._burnt) != (self._minted_stated, self._burnt_stated):
            self._desk.find(
                "S1",
                "vault shares",
                f"{self._minted} minted and {self._burnt} burnt, where deposits and redemptions state "
                f"{self._minted_stated} and {self._burnt_stated}",
            )
        self.begin()

    def on_swept(self, log: Log) -> None:
        """What the market held for the vault goes there, in whole token units."""
        books, units = self._desk.books, log.fields["amount"]
        if units != books.owed // books.unit:
            self._desk.find("S1", "insurance", f"{units} token units swept, {books.owed // books.unit} are owed")
        books.owed -= units * books.unit
        books.balance -= units * books.unit
        books.vault.held += units
        self._desk.expect(self._desk.market, self._desk.vault, units)

    def on_shares(self, log: Log) -> None:
        """A transfer of vault shares, minted and burnt ones included."""
        sender, receiver, amount = list(log.fields.values())
        shares = self._desk.books.vault.shares
        if sender == ZERO_ADDRESS:
            self._minted += amount
        else:
            shares[sender] = shares.get(sender, 0) - amount
            if shares[sender] < 0:
                self._desk.find("S1", "vault shares", f"{sender} gave {amount} vault shares and had not as many")
            if not shares[sender]:
                del shares[sender]
        if receiver == ZERO_ADDRESS:
            self._burnt += amount
        elif amount:
            shares[receiver] = shares.get(receiver, 0) + amount

    def on_insured(self, log: Log) -> None:
        """A deposit into the vault, by assets or by shares."""
        books, assets, shares = self._desk.books, log.fields["assets"], log.fields["shares"]
        self._settling.require_settled("a deposit into the vault")
        if books.is_closed:
            self._desk.find("S3", "vault", "a deposit into the vault of a closed market")
        if shares != books.shares_for(assets) and assets != books.assets_for(shares, up=True):
            by_rule = books.shares_for(assets)
            self._desk.find("S3", "vault", f"{assets} token units bought {shares} shares, by rule {by_rule}")
        books.vault.held += assets
        books.vault.supply += shares
        self._minted_stated += shares
        self._desk.expect(log.fields["sender"], self._desk.vault, assets)

    def on_requested(self, log: Log) -> None:
        """Shares put into the queue: with those already there they are one request, valued now."""
        books, controller, shares = self._desk.books, log.fields["controller"], log.fields["shares"]
        self._settling.require_settled("a request to redeem")
        waiting = books.vault.requests.get(controller)
        requested = shares + (waiting.shares if waiting else 0)
        opens = self._desk.where.timestamp + books.v.redeem_cooldown
        books.vault.requests[controller] = Queued(requested, books.assets_for(requested), opens)

    def on_cancelled(self, log: Log) -> None:
        """A request taken back."""
        controller, shares = log.fields["controller"], log.fields["shares"]
        queued = self._desk.books.vault.requests.pop(controller, None)
        if queued is None or queued.shares != shares:
            self._desk.find("S3", "vault", f"{controller} took back {shares} shares, requested were {queued}")

    def on_redeemed(self, log: Log) -> None:
        """Shares redeemed, by number or by what they bring."""
        books, now = self._desk.books, self._desk.where.timestamp
        controller, assets, shares = (log.fields[name] for name in ("owner", "assets", "shares"))
        self._settling.require_settled("a redemption")
        queued = books.vault.requests.pop(controller, Queued(0, 0, now))
        if not 0 < shares <= queued.shares:
            self._desk.find("S1", "vault", f"{controller} redeemed {shares} shares, requested were {queued.shares}")
        else:
            if not queued.opens <= now < queued.opens + books.v.redeem_window:
                self._desk.find("S3", "vault", f"{controller} redeemed at {now}, the window opened at {queued.opens}")
            worth = min(queued.worth * shares // queued.shares, books.assets_for(shares))
            fewest = max(ceil_div(assets * queued.shares, max(queued.worth, 1)), books.shares_for(assets, up=True))
            if assets != worth and shares != fewest:
                self._desk.find("S1", "vault", f"{shares} shares of {controller} brought {assets}, by rule {worth}")
            left = queued.shares - shares
            if left:
                rest = queued.worth * left // queued.shares
                books.vault.requests[controller] = Queued(left, rest, queued.opens)
        books.vault.held -= assets
        books.vault.supply -= shares
        self._burnt_stated += shares
        self._desk.expect(self._desk.vault, log.fields["receiver"], assets)
