"""Moves: every receipt settled again eagerly and compared with the log, and what a settlement owes to its call.

One call settles funding first and price then. The log does not say where a call of `settle` ends, so a settlement is
under way until an event follows that is no part of one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from prorata.audit import eager, rules
from prorata.audit.books import is_over, other
from prorata.audit.desk import MOVE_DUST, Desk
from prorata.audit.eager import Move
from prorata.audit.rules import EXACT
from prorata.chain import Log
from prorata.ledger import held_of, place_of
from prorata.receipts import RECEIPT_AMOUNTS, Receipt
from prorata.units import LONG, SHORT, WAD

#: What of a receipt is added up.
_COUNTED = ("gross", "deficit", "covered", "surplus", "bonus", "socialized", "adl_shortfall", "buckets_closed")


@dataclass
class _UnderWay:
    """What the settlement under way has done so far, within one transaction."""

    last: str = ""  # "", "funding" or "price"
    used: int = 0  # buckets closed by its funding
    stopped: bool = False
    must_end: bool = False  # the epoch


class Settling:
    """Follows moves."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.begin()

    def begin(self) -> None:
        """Nothing is under way, and no bucket was closed that a receipt should explain."""
        self._under_way = _UnderWay()
        self._closings: list[Log] = []
        self._cover: Log | None = None

    def end(self) -> None:
        """The transaction is over."""
        self.finish()
        if self._closings or self._cover:
            self._desk.find("S3", "log", f"{len(self._closings)} buckets closed and no receipt")
        self.begin()

    def finish(self) -> None:
        """The settlement under way is over: another event follows, or none."""
        done, books, now = self._under_way, self._desk.books, self._desk.where.timestamp
        if not done.last:
            return
        if done.must_end:
            self._desk.find("S3", "epoch", "the move ends the epoch, and it did not end")
        waits = now < books.limited_at + books.p.step_interval
        if done.last == "funding" and not done.stopped and books.accepted != books.mark and not waits:
            self._desk.find("S3", "move", f"funding was paid and the price did not move to {books.accepted}")
        if books.accepted == books.mark and not books.rest:
            books.step_target = 0
        books.bound_premium()
        self._under_way = _UnderWay()

    def require_settled(self, what: str) -> None:
        """Whoever needs the market settled has settled it: funding is paid, and a move of this transaction is done."""
        books = self._desk.books
        _, due = books.accrue(self._desk.where.timestamp)
        if due:
            self._desk.find("S3", "funding", f"{what} while funding of {due / EXACT:.9f} a share was due and not paid")
            books.rest = 0
        elif self._desk.has_moved and books.mark != books.accepted:
            self._desk.find("S3", "mode", f"{what} in catch-up: mark {books.mark}, index {books.accepted}")

    def on_covered(self, log: Log) -> None:
        """What the vault has paid for the move whose receipt follows."""
        self._cover = log

    def on_bucket_closed(self, log: Log) -> None:
        """A bucket of the move whose receipt follows."""
        self._closings.append(log)

    def on_move(self, log: Log) -> None:
        """A receipt: settle the move eagerly and compare everything."""
        receipt = Receipt.from_log(log)
        if receipt.funding or self._under_way.last == "price":
            self.finish()
        expected, faults = (self._funding_move if receipt.funding else self._price_move)(receipt)
        faults += self._move_faults(expected, receipt)
        if faults:
            socialized = expected.deficit - expected.covered * EXACT
            guarantee = "S1" if self._overpays(expected, receipt) else "S3"
            if receipt.deficit > receipt.gross or not 0 <= receipt.covered <= receipt.deficit:
                guarantee = "S2"
            text = f"{_described(receipt)}: " + "; ".join(faults)
            if socialized > 0:
                text += f" (socialized by rule {socialized / EXACT / WAD:.6f})"
            self._desk.find(guarantee, "funding" if receipt.funding else "move", text)
        for watcher in self._desk.watchers:
            watcher.moved(self._desk.where, self._desk.books, expected, receipt)
        self._apply(expected, receipt, faulty=bool(faults))

    def on_epoch_ended(self, log: Log) -> None:
        """Both sides close at the mark."""
        books, fields = self._desk.books, log.fields
        closes = books.is_closed and books.mark == books.closed_price and not books.rest
        if not self._under_way.must_end and not closes:
            self._desk.find("S3", "epoch", f"epoch {fields['epoch']} ended for no reason")
        stated = (fields["epoch"], fields["long_index"], fields["short_index"])
        by_rule = (books.epoch, books.sides[LONG].index, books.sides[SHORT].index)
        if stated != by_rule:
            self._desk.find("S3", "epoch", f"epoch, long and short index {stated} at the end, by rule {by_rule}")
        for watcher in self._desk.watchers:
            watcher.epoch_ended(self._desk.where, books)
        self._desk.may_round(1, books.end_epoch())
        self._under_way.must_end = False
        self._under_way.last = self._under_way.last or "price"

    # -------------------------------------------------------------------------------------------------------- by rule

    def _funding_move(self, receipt: Receipt) -> tuple[Move, list[str]]:
        """The funding that is due, as far as one call may take it; and what is wrong with paying it now."""
        books, now = self._desk.books, self._desk.where.timestamp
        premium, due = books.accrue(now)
        if books.premium:
            books.premium, books.accrued_at = premium, now
        faults = [] if due else ["no funding was due"]
        step = eager.funding(due, receipt.index_price)
        stated = books.sides[step.loser].index - receipt.indices[step.loser]
        expected = eager.move(books, step, books.p.max_buckets, now)
        if stated != expected.drop:
            expected = self._stopped_by_words(step, stated, receipt) or expected
        left = step.drop - max(stated, 0)
        books.rest = (left if due > 0 else -left) if expected.stopped else 0
        self._under_way = _UnderWay("funding", len(expected.places), expected.stopped)
        return expected, faults

    def _price_move(self, receipt: Receipt) -> tuple[Move, list[str]]:
        """One step towards the index; and what is wrong with taking it now."""
        books, now, faults = self._desk.books, self._desk.where.timestamp, []
        if not self._under_way.last:
            premium, due = books.accrue(now)
            if due:
                faults.append(f"funding of {due / EXACT:.9f} a share was due and not paid before the price moved")
            if books.premium:
                books.premium, books.accrued_at = premium, now
            books.rest = 0
        elif books.accepted != receipt.index_price and books.accepted != books.mark:
            faults.append(f"funding was on the way to {books.accepted}")
        if self._under_way.stopped:
            faults.append("the price moved although funding was not done")
        if now < books.limited_at + books.p.step_interval:
            waits = books.limited_at + books.p.step_interval - now
            faults.append(f"the next step may come {waits} s later: the last one that was limited is so recent")

        expected, target = self._expected_price_move(receipt)
        if target == receipt.index_price:
            books.step_target = 0
        elif expected.stopped:
            books.step_target = target
        else:
            books.step_target, books.limited_at = 0, now
        self._under_way = _UnderWay("price", 0, expected.stopped)
        return expected, faults

    def _expected_price_move(self, receipt: Receipt) -> tuple[Move, int]:
        """The move and where its step was to end. Of the ways that a silent settlement leaves open, the log's."""
        books, now, budget = self._desk.books, self._desk.where.timestamp, self._desk.books.p.max_buckets
        ways: list[tuple[Move, int]] = []
        for step_target in dict.fromkeys((books.step_target, 0)):
            target = rules.step_end(books.mark, receipt.index_price, step_target, books.p.max_price_step)
            step = eager.towards(books, target, receipt.index_price)
            for buckets in dict.fromkeys((budget - min(self._under_way.used, budget), budget)):
                way = eager.move(books, step, buckets, now)
                if way.mark == receipt.mark_after:
                    return way, target
                ways.append((way, target))
        for way, target in ways:
            stated = (receipt.mark_after - books.mark) * way.step.direction
            short = self._stopped_by_words(way.step, stated, receipt)
            if short is not None:
                return short, target
        return ways[0]

    def _stopped_by_words(self, step: eager.Step, stated: int, receipt: Receipt) -> Move | None:
        """The move if bitmap words may have stopped it where the log says: if there were as many as stop one."""
        books = self._desk.books
        short = eager.move_short_of(books, step, stated, receipt.buckets_closed, self._desk.where.timestamp)
        if short is None or len(short.places) != receipt.buckets_closed:
            return None
        pool = books.sides[step.loser]
        edge = rules.threshold(pool.index - short.drop, pool.scale, short.mark, books.p.closeout_margin)
        # The funding before a price move has used some of the words that the call may look at.
        moves = 2 if self._under_way.last == "funding" else 1
        if moves * eager.most_words(books, step.loser, edge) < books.p.max_words:
            return None
        books.totals.stopped_by_words += 1
        return short

    # ------------------------------------------------------------------------------------------------------- compared

    def _move_faults(self, expected: Move, receipt: Receipt) -> list[str]:
        """What a receipt, its buckets and its draw say that the rule does not."""
        books, step = self._desk.books, expected.step
        loser, winner = books.sides[step.loser], books.sides[other(step.loser)]
        faults = []

        def compare(name: str, stated: Any, by_rule: Any) -> None:
            if stated != by_rule:
                faults.append(f"{name} {stated}, by rule {by_rule}")

        compare("losing side", receipt.loser, step.loser)
        compare("mark before", receipt.mark_before, books.mark)
        compare("mark after", receipt.mark_after, expected.mark)
        indices = {step.loser: loser.index - expected.drop, other(step.loser): winner.index + expected.rise}
        compare("long index", receipt.indices[LONG], indices[LONG])
        compare("short index", receipt.indices[SHORT], indices[SHORT])
        scales = {step.loser: loser.scale, other(step.loser): expected.scale}
        if receipt.scales is not None:
            compare("long scale", receipt.scales[LONG], scales[LONG])
            compare("short scale", receipt.scales[SHORT], scales[SHORT])
        if receipt.indices[other(step.loser)] < winner.index:
            faults.append("winners end poorer than they began")
        for name, by_rule in zip(RECEIPT_AMOUNTS, expected.receipt, strict=True):
            compare(name, getattr(receipt, name), by_rule)
        return faults + self._closing_faults(expected) + self._draw_faults(receipt)

    def _overpays(self, expected: Move, receipt: Receipt) -> bool:
        """Whether winners get more out of the same move than the rule gives them."""
        losing, winning = expected.step.loser, other(expected.step.loser)
        drop = self._desk.books.sides[losing].index - receipt.indices[losing]
        rise = receipt.indices[winning] - self._desk.books.sides[winning].index
        return drop == expected.drop and rise > expected.rise

    def _closing_faults(self, expected: Move) -> list[str]:
        """Buckets closed that should not have been, or not, or that held something else."""
        books, faults, stated = self._desk.books, [], set()
        for log in self._closings:
            epoch, (side, level, bucket) = place_of(log.fields["bucket_id"])
            stated.add((level, bucket))
            members = [one for one in books.active[side].values() if one.place == (level, bucket)]
            held = (sum(one.shares for one in members), sum(one.debt for one in members))
            found, generation = held_of(log), log.fields["held"] >> 224
            known = books.generations.get((side, level, bucket), 0)
            if (epoch, side, generation) != (books.epoch, expected.step.loser, known):
                faults.append(f"bucket {level}/{bucket} of epoch {epoch}, side {side}, generation {generation}")
            if found != held:
                faults.append(f"bucket {level}/{bucket} held shares and debt {found}, its accounts {held}")
        if stated != expected.places:
            missing, wrong = sorted(expected.places - stated), sorted(stated - expected.places)
            faults.append(f"buckets (level, number) left open {missing}, closed without reason {wrong}")
        return faults

    def _draw_faults(self, receipt: Receipt) -> list[str]:
        """What the vault says it paid, against the receipt and the books."""
        if self._cover is None:
            return ["the vault paid nothing"] if receipt.covered else []
        books, stated = self._desk.books, dict(self._cover.fields)
        trial = replace(books, vault=replace(books.vault))
        sent = trial.draw(receipt.covered, self._desk.where.timestamp)
        by_rule = {"amount": receipt.covered, "transferred": sent, "window_drawn": trial.vault.window_drawn}
        return [] if stated == by_rule else [f"the vault's draw {stated}, by rule {by_rule}"]

    # ---------------------------------------------------------------------------------------------------- carried out

    def _apply(self, expected: Move, receipt: Receipt, faulty: bool) -> None:
        """Every account follows a move, as the log states it."""
        books, losing = self._desk.books, receipt.loser
        loser, winner = books.sides[losing], books.sides[other(losing)]
        drop, rise = loser.index - receipt.indices[losing], receipt.indices[other(losing)] - winner.index
        for members, change in ((books.active[losing], -drop), (books.active[other(losing)], rise)):
            for holder in members.values():
                gained = holder.shares * change
                holder.worth += gained
                if receipt.funding:
                    holder.flows.funding += gained
                else:
                    holder.flows.price += gained
        self._share_losses(expected)
        closed_shares = self._close(losing)

        kept = expected.to_insurance
        if faulty:
            kept = receipt.surplus - receipt.bonus + (0 if winner.shares else receipt.gross - receipt.deficit)
        if receipt.covered:
            sent = books.draw(receipt.covered, self._desk.where.timestamp)
            self._desk.expect(self._desk.vault, self._desk.market, sent)
        books.owed += kept
        for side, index, scale in zip(books.sides, receipt.indices, receipt.scales or (None, None), strict=True):
            side.index, side.scale = index, side.scale if scale is None else scale
        books.mark, books.accepted, books.reported_at = receipt.mark_after, receipt.index_price, 0
        if receipt.socialized > 0 and receipt.socialized >= receipt.gross // rules.TRIP:
            books.reduce_only_until = self._desk.where.timestamp + books.p.cooloff
        self._count(receipt, kept)
        self._desk.may_round(MOVE_DUST)
        self._desk.has_moved = True
        at_the_end = books.is_closed and books.mark == books.closed_price and not books.rest
        self._under_way.must_end = is_over(loser, winner, closed_shares, rules.MAX_INDEX) or (
            at_the_end and loser.shares + winner.shares > 0
        )

    def _share_losses(self, expected: Move) -> None:
        """Each winner's part of what winners did not get; both are stated, neither is part of what they have."""
        socialized = max(expected.deficit - expected.covered * EXACT, 0)
        missed = expected.missed - expected.bonus
        if not expected.winner_shares or not (socialized or missed):
            return
        for holder in self._desk.books.active[other(expected.step.loser)].values():
            holder.flows.haircut += socialized * holder.shares // expected.winner_shares
            holder.flows.adl_shortfall += missed * holder.shares // expected.winner_shares

    def _close(self, side: int) -> int:
        """Empty the buckets that the log says were closed; their shares."""
        books = self._desk.books
        places = {place_of(log.fields["bucket_id"])[1] for log in self._closings}
        closed = [(owner, holder) for owner, holder in books.active[side].items() if (side, *holder.place) in places]
        shares = 0
        for owner, holder in closed:
            holder.flows.forfeited += holder.worth
            shares += holder.shares
            holder.flatten(0)
            holder.written = self._desk.where.transaction
            del books.active[side][owner]
        books.sides[side].shares -= shares
        for place in places:
            books.generations[place] = books.generations.get(place, 0) + 1
        books.totals.accounts_closed += len(closed)
        self._closings, self._cover = [], None
        return shares

    def _count(self, receipt: Receipt, kept: int) -> None:
        totals = self._desk.books.totals
        for name in _COUNTED:
            setattr(totals, name, getattr(totals, name) + getattr(receipt, name))
        totals.moves += 1
        totals.to_insurance += kept
        if receipt.funding:
            totals.funding += receipt.gross


def _described(receipt: Receipt) -> str:
    """A receipt in a few words."""
    kind = "funding" if receipt.funding else "price move"
    return f"{kind} from {receipt.mark_before / WAD:.9g} to {receipt.mark_after / WAD:.9g}"
