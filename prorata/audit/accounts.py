"""What users do to accounts: deposits, withdrawals, fills and liquidations leave just what the rule leaves.

Events state every account that was written before they say why; so updates wait for the event that explains them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prorata.audit import rules
from prorata.audit.books import Holder
from prorata.audit.desk import FILL_DUST, TOUCH_DUST, Desk, Touch
from prorata.audit.rules import EXACT, ceil_div
from prorata.audit.settling import Settling
from prorata.chain import Log
from prorata.keeper import is_below, liquidable
from prorata.ledger import place_of
from prorata.units import LONG, SHORT, WAD


class Accounts:
    """Follows what is written to accounts."""

    def __init__(self, desk: Desk, settling: Settling) -> None:
        self._desk, self._settling = desk, settling
        self._updates: list[Log] = []

    def begin(self) -> None:
        """No account waits for an event that says why it was written."""
        self._updates = []

    def end(self) -> None:
        """The transaction is over."""
        for update in self._updates:
            owner = update.fields["account"]
            self._desk.find("S3", "log", f"{owner} was written by no deposit, withdrawal, fill or liquidation")
            self._adopt(owner, update)
        self.begin()

    def on_update(self, log: Log) -> None:
        """An account was written; why, another event says."""
        self._updates.append(log)

    def on_deposited(self, log: Log) -> None:
        """Collateral for an account, from anybody (design §5)."""
        books = self._desk.books
        sender, owner, units = (log.fields[name] for name in ("sender", "account", "amount"))
        amount = units * books.unit
        books.balance += amount
        books.totals.deposited += amount
        self._desk.expect(sender, self._desk.market, units)
        updates = self._take("a deposit", owner)
        if updates is None:
            return
        old = books.holder(owner)
        level = old.level
        if sender == owner and old.shares:
            level = min(level, self._level(old.side))
        touch = {"cause": "deposit", "cash": amount}
        faults = self._write(updates[0], old.side, old.shares, old.equity + amount, level, touch)
        if faults:
            by = "its owner" if sender == owner else "a stranger"
            self._desk.find("S4", "filing", f"a deposit of {units} token units by {by}: " + "; ".join(faults))

    def on_withdrawn(self, log: Log) -> None:
        """Free collateral (design §5)."""
        books, owner, units = self._desk.books, log.fields["account"], log.fields["amount"]
        amount, faults = units * books.unit, []
        books.balance -= amount
        books.totals.withdrawn += amount
        self._desk.expect(self._desk.market, owner, units)
        old = books.holder(owner)
        if old.shares:
            self._settling.require_settled(f"{owner} withdrew with a position")
        updates = self._take("a withdrawal", owner)
        if updates is None:
            return
        left, level = old.equity - amount, 0
        if left < 0:
            faults.append(f"it had {old.equity}")
        if old.shares:
            level = min(old.level, self._level(old.side))
            needed = self._required(old.shares, old.side, books.p.initial_margin)
            if left < needed:
                faults.append(f"{left} is left, initial margin is {needed}")
        faults += self._write(updates[0], old.side, old.shares, left, level, {"cause": "withdrawal", "cash": -amount})
        if faults:
            self._desk.find("S3", "withdrawal", f"{owner} withdrew {amount}: " + "; ".join(faults))

    def on_traded(self, log: Log) -> None:
        """A fill: both positions, both moneys, both margins (design §5, §9)."""
        books, now = self._desk.books, self._desk.where.timestamp
        maker, taker, size, price, mark, maker_fee, taker_fee = (
            log.fields[name] for name in ("maker", "taker", "size", "price", "mark", "maker_fee", "taker_fee")
        )
        self._settling.require_settled("a fill")
        updates = self._take("a fill", maker, taker)
        faults: list[str] = []
        if mark != books.mark:
            faults.append(f"mark {mark}, by rule {books.mark}")
        if books.is_closed:
            faults.append("the market is closed")
        if abs(price - books.mark) > books.mark * books.p.price_band // WAD:
            faults.append(f"price {price} outside the band around {books.mark}")
        if maker == taker:
            faults.append("a fill with oneself")
        if updates is not None:
            faults += self._fill_faults(updates, log)
        fees = maker_fee + taker_fee
        books.owed += fees
        books.totals.fees += fees
        books.totals.fills += 1
        self._desk.may_round(FILL_DUST)
        if price != mark:
            books.premium += rules.clamp(rules.truncated((price - mark) * size, WAD), fees)
        if books.premium:
            books.accrued_at = now
            books.bound_premium()
        if faults:
            overcharged = any(fault.startswith("fee") for fault in faults)
            self._desk.find("S1" if overcharged else "S3", "fill", f"{size} at {price}: " + "; ".join(faults))

    def on_liquidated(self, log: Log) -> None:
        """A position taken over (design §6)."""
        books, fields = self._desk.books, log.fields
        owner, keeper, size, fee, reward = (fields[name] for name in ("account", "liquidator", "size", "fee", "reward"))
        _, due = books.accrue(self._desk.where.timestamp)
        # A liquidation may come while funding is still being paid, but never without having paid some.
        if due and not (books.rest and self._desk.has_moved):
            text = f"a liquidation while funding of {due / EXACT:.9f} a share was due and not paid"
            self._desk.find("S3", "funding", text)
        updates = self._take("a liquidation", owner, keeper)
        faults: list[str] = []
        if fields["mark"] != books.mark:
            faults.append(f"mark {fields['mark']}, by rule {books.mark}")
        if updates is not None:
            faults += self._liquidation_faults(updates, owner, keeper, size, fee, reward)
        books.owed += fee - reward
        books.totals.liquidations += 1
        books.totals.liquidation_fees += fee
        books.totals.rewards += reward
        books.bound_premium()
        if faults:
            self._desk.find("S3", "liquidation", f"{size} of {owner} by {keeper}: " + "; ".join(faults))

    # -------------------------------------------------------------------------------------------------------- writing

    def _take(self, cause: str, *owners: str) -> list[Log] | None:
        """The accounts that an event has written, in order; None and a finding if others were."""
        updates, self._updates = self._updates, []
        found = [update.fields["account"] for update in updates]
        if found == list(owners):
            return updates
        self._desk.find("S3", "log", f"{cause} wrote {found or 'nobody'} instead of {list(owners)}")
        for update in updates:
            self._adopt(update.fields["account"], update)
        return None

    def _write(
        self, update: Log, side: int, shares: int, collateral: int, level: int, touch: dict[str, Any]
    ) -> list[str]:
        """Compare an account as written with what it has to be, take on the former; what is different."""
        books, owner = self._desk.books, update.fields["account"]
        old = books.holder(owner)
        before = replace(old)
        faults, bucket_id = [], 0
        if shares and collateral >= 0:
            ceiling = None
            if (shares, side) == (old.shares, old.side) and collateral >= old.equity:
                ceiling = (old.edge >> level) - 1
            filing = rules.locate(level, shares, collateral, books.sides[side].index, ceiling)
            bucket_id = (books.epoch << 1 | side) << 136 | level << 128 | filing.bucket & (2**128 - 1)
        for name, by_rule in (("collateral", collateral), ("shares", shares), ("bucket_id", bucket_id)):
            stated = update.fields[name]
            if stated != by_rule:
                shown = (place_of(stated), place_of(by_rule)) if name == "bucket_id" else (stated, by_rule)
                faults.append(f"{name} {shown[0]} of {owner}, by rule {shown[1]}")
        self._adopt(owner, update)
        self._book(owner, before, touch)
        return faults

    def _adopt(self, owner: str, update: Log) -> None:
        """The account stands as the log says."""
        books, fields = self._desk.books, update.fields
        filing, side = None, LONG
        if fields["shares"]:
            epoch, (side, level, bucket) = place_of(fields["bucket_id"])
            if epoch != books.epoch:
                self._desk.find("S3", "log", f"{owner} is filed in epoch {epoch}, not in {books.epoch}")
            index = books.sides[side].index
            filing = rules.filed(level, bucket, fields["shares"], fields["collateral"], index)
        books.place(owner, side, fields["shares"], filing, fields["collateral"])
        books.holder(owner).written = self._desk.where.transaction
        self._desk.may_round(TOUCH_DUST)

    def _book(self, owner: str, before: Holder, touch: dict[str, Any]) -> None:
        """Where the change of an account's worth came from; what is left is rounding."""
        after, flows = self._desk.books.holder(owner), self._desk.books.holder(owner).flows
        cash, fill, fee, paid, reward = (
            touch.get(name, 0) * EXACT for name in ("cash", "fill", "fee", "liquidation_fee", "reward")
        )
        flows.deposited += max(cash, 0)
        flows.withdrawn += max(-cash, 0)
        flows.fills += fill
        flows.fees += fee
        flows.liquidation_fees += paid
        flows.rewards += reward
        flows.rounding += before.worth + cash + fill - fee - paid + reward - after.worth
        told = Touch(owner, before=before, after=after, mark=self._desk.books.mark, **touch)
        for watcher in self._desk.watchers:
            watcher.touched(self._desk.where, self._desk.books, told)

    # --------------------------------------------------------------------------------------------------------- trades

    def _fill_faults(self, updates: list[Log], log: Log) -> list[str]:
        books, fields = self._desk.books, log.fields
        size, is_long, faults = fields["size"], fields["is_long"], []
        parties = [
            (fields["maker"], *self._position(fields["maker"], is_long, size)),
            (fields["taker"], *self._position(fields["taker"], not is_long, size)),
        ]
        reduced = [self._has_reduced(*party) for party in parties]
        before = max(pool.open_interest for pool in books.sides)
        interest = self._interest_after(*parties)
        if max(size, interest) >= rules.MAX_OPEN_INTEREST:
            faults.append(f"size {size}, open interest {interest}: out of range")
        ratio = books.p.initial_margin
        if not all(reduced):
            if books.is_reduce_only(self._desk.where.timestamp):
                faults.append("new risk in reduce-only mode")
            ratio = rules.initial_ratio(books.p, interest, books.mark, books.insured)
            most = books.insured * books.p.oi_multiple // WAD
            if books.p.oi_multiple and interest > before and interest * books.mark // WAD > most:
                faults.append(f"open interest {interest} beyond {most} of value")

        to_maker = (books.mark - fields["price"]) * size * (1 if is_long else -1)
        due = rules.requirement(ceil_div(size * books.mark, WAD), books.p.fee_rate)
        for update, party, shrank, money, name in zip(
            updates, parties, reduced, (to_maker, -to_maker), ("maker", "taker"), strict=True
        ):
            owner, side, shares = party
            collateral = books.holder(owner).equity + money // WAD
            if collateral < 0:
                faults.append(f"the {name} cannot pay the price: {collateral} is left")
            fee = min(due, max(collateral, 0))
            if fields[f"{name}_fee"] != fee:
                faults.append(f"fee of the {name} {fields[f'{name}_fee']}, by rule {fee}")
            faults += self._margin_faults(name, party, collateral - fee, ratio, shrank)
            level = self._filing_level(party, shrank)
            touch = {"cause": "fill", "fill": money // WAD, "fee": fee}
            faults += self._write(update, side, shares, collateral - fee, level, touch)
        return faults

    def _liquidation_faults(
        self, updates: list[Log], owner: str, keeper: str, size: int, fee: int, reward: int
    ) -> list[str]:
        books, p, old = self._desk.books, self._desk.books.p, replace(self._desk.books.holder(owner))
        if not old.shares:
            return [f"{owner} has no position"]
        is_long, equity = old.side == LONG, old.equity
        held, faults = rules.size_of(old.shares, books.sides[old.side].scale), []
        prices = {books.mark, books.accepted} if self._desk.has_moved else {books.mark}
        if not all(is_below(equity, is_long, held, books.mark, price, p.maintenance_margin) for price in prices):
            faults.append("the account is not below maintenance margin")
        most = liquidable(equity, held, books.mark, p)
        if size > most:
            faults.append(f"{size} taken, {most} at most")
        victim = (owner, *self._position(owner, not is_long, size))
        taker = (keeper, *self._position(keeper, is_long, size))
        due = rules.requirement(ceil_div(size * books.mark, WAD), p.liquidation_fee)
        fee_by_rule = min(due, equity * (old.shares - victim[2]) // old.shares)
        reward_by_rule = fee_by_rule * p.liquidator_share // WAD
        if (fee, reward) != (fee_by_rule, reward_by_rule):
            faults.append(f"fee and reward {fee, reward}, by rule {fee_by_rule, reward_by_rule}")
        collateral = equity - fee_by_rule
        reduced = self._has_reduced(*victim)
        faults += self._margin_faults("account", victim, collateral, p.initial_margin, reduced)
        touch: dict[str, Any] = {"cause": "liquidated", "liquidation_fee": fee}
        faults += self._write(updates[0], *victim[1:], collateral, self._filing_level(victim, reduced), touch)
        shrank = self._has_reduced(*taker)
        collateral = books.holder(keeper).equity + reward_by_rule
        faults += self._margin_faults("liquidator", taker, collateral, p.initial_margin, shrank)
        touch = {"cause": "took over", "reward": reward}
        return faults + self._write(updates[1], *taker[1:], collateral, self._filing_level(taker, shrank), touch)

    def _margin_faults(
        self, name: str, party: tuple[str, int, int], collateral: int, ratio: int, reduced: bool
    ) -> list[str]:
        """What a position must hold: initial margin, or as much as before if it only shrank (design §5)."""
        owner, side, shares = party
        if not shares:
            return []
        books, old, faults = self._desk.books, self._desk.books.holder(owner), []
        value = rules.notional(shares, books.sides[side].scale, books.mark)
        if value < books.p.min_notional:
            faults.append(f"position of the {name} worth {value}, the smallest is {books.p.min_notional}")
        if reduced:
            if collateral * old.shares < old.equity * shares:
                before = f"before {old.equity} for {old.shares}"
                faults.append(f"margin of the {name}, who reduced: {collateral} for {shares} shares, {before}")
        elif collateral < rules.requirement(value, ratio):
            faults.append(f"margin of the {name}: {collateral}, initial margin {rules.requirement(value, ratio)}")
        return faults

    def _position(self, owner: str, is_long: bool, size: int) -> tuple[int, int]:
        """Side and shares after buying or selling."""
        books, old = self._desk.books, self._desk.books.holder(owner)
        scales = (books.sides[LONG].scale, books.sides[SHORT].scale)
        return rules.traded(old.side, old.shares, is_long, size, scales, books.mark, books.p.min_notional)

    def _interest_after(self, *parties: tuple[str, int, int]) -> int:
        """Open interest, the larger side, once these stand as they will: owner, side, shares."""
        shares = [pool.shares for pool in self._desk.books.sides]
        for owner, side, held in parties:
            old = self._desk.books.holder(owner)
            shares[old.side] -= old.shares
            shares[side] += held
        return max(rules.size_of(held, pool.scale) for held, pool in zip(shares, self._desk.books.sides, strict=True))

    def _has_reduced(self, owner: str, side: int, shares: int) -> bool:
        """Whether a position only shrank."""
        old = self._desk.books.holder(owner)
        return old.shares > 0 and (not shares or (side == old.side and shares < old.shares))

    def _filing_level(self, party: tuple[str, int, int], reduced: bool) -> int:
        """The present level for whoever added risk; whoever reduced is never filed wider than before."""
        owner, side, shares = party
        level = self._level(side) if shares else 0
        return min(level, self._desk.books.holder(owner).level) if reduced else level

    def _level(self, side: int) -> int:
        """Of whoever is filed now."""
        return rules.level_at(
            self._desk.books.p.bucket_width, self._desk.books.sides[side].scale, self._desk.books.mark
        )

    def _required(self, shares: int, side: int, ratio: int) -> int:
        """Margin of a position, quote."""
        return rules.requirement(
            rules.notional(shares, self._desk.books.sides[side].scale, self._desk.books.mark), ratio
        )
