"""After every operation: what every move should have done, account by account, and what must hold whatever was done.

A move is settled again eagerly, in the O(n) way that the contracts avoid: visiting every account, in exact integers
with the design's roundings (§3). Everything the contracts then say must be the same, to the last digit: both indices
and scales, what insurance was asked for and what it is owed, who is closed. An operation's own effect is held to bounds
of single wei. The exact-rational model, which also decides whether an operation is allowed, is the business of `audit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from prorata.exchange import CLOSED
from prorata.fast_exchange import Event
from prorata.model import SHARE_OFFSET
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt
from prorata.storage import Holding, Reader, SideWords, State
from prorata.twin import MAX_DUST, Violation
from prorata.units import INDEX_UNIT, LONG, MIN_SCALE, SHORT, WAD

_MAX_INDEX = 2**156
#: Sizes that differ by less than this part of the smallest position in value are the same (`accounts.vy`).
DUST_PART = 10**6
_NO_TOP = -(2**158)
#: Wei by which filing, and a price that differs from the mark, may round an account down in one operation.
_FILING = 2


def ceil_div(x: int, y: int) -> int:
    """x / y, upwards."""
    return -(-x // y)


class Judge:
    """Checks one market.

    Args:
        parameters: of the market.
        vault: of its vault.
        unit: quote per token unit.
        reader: for the buckets.
        places: an account's place in `State.holdings` by its address as an integer.
    """

    def __init__(
        self,
        parameters: MarketParameters,
        vault: VaultParameters,
        unit: int,
        reader: Reader,
        places: dict[int, int],
    ) -> None:
        self._p, self._v, self._unit = parameters, vault, unit
        self._reader, self._places = reader, places
        self.gap_safe = max(parameters.max_price_step, parameters.max_funding) <= parameters.closeout_margin
        self.largest_dust = 0

    def judge(self, before: State, after: State, events: Sequence[Event], now: int) -> None:
        """One operation that was not refused.

        Raises:
            Violation: of the guarantee that does not hold.
        """
        settled = before
        receipts = [event.receipt() for event in events if event.name in ("Moved", "Settled")]
        for receipt in receipts:
            settled = self._settled(settled, receipt, now)
        if after.epoch == settled.epoch + 1:  # the last settlement of a closed market
            _require(bool(after.conditions & CLOSED), "S3", "an epoch ended for no reason")
            settled = _ended(settled)
        self._compare(settled, after, events)
        self._check_interest(settled, after, events)
        self._check_insurance(before, settled, after, events)
        self.check(after)

    # ------------------------------------------------------------------------------------------------------- moves

    def _settled(self, before: State, receipt: Receipt, now: int) -> State:
        """The state after one move, from every account: design §3. The receipt says how far, nothing else."""
        loser, winner = receipt.loser, 1 - receipt.loser
        L, W = before.sides[loser], before.sides[winner]
        drop = L.index - receipt.indices[loser]
        self._check_distance(before, L, receipt, drop)
        mark = receipt.mark_after
        threshold = L.index - drop - self._p.closeout_margin * L.scale * mark // WAD

        losers = [h for h in before.holdings if h.shares and h.side == loser]
        winners = [h for h in before.holdings if h.shares and h.side == winner]
        losing, winning = sum(h.shares for h in losers), sum(h.shares for h in winners)
        closed = self._closed(losers, threshold, receipt, drop)
        closed_shares = sum(h.shares for h in closed)
        gross = losing * drop
        value = sum(h.worth - h.shares * drop for h in closed)
        # A live account may be a wei under zero, by which its debt was rounded up: nobody's loss.
        deficit, surplus = min(max(-value, 0), gross), max(value, 0)
        gap = (receipt.index_price - mark) * (1 if winner == LONG else -1)
        scale = W.scale * (losing - closed_shares) // losing if closed_shares else W.scale
        ended = closed_shares and scale < MIN_SCALE  # everybody closes here, and all of W misses the rest of the way
        missed = (losing if ended else closed_shares) * L.scale * max(gap, 0) if winning else 0
        bonus = min(surplus, missed)
        covered, held, window = 0, before.held, (before.window_start, before.window_assets, before.window_drawn)
        owed = before.owed + (surplus - bonus + (0 if winning else gross - deficit)) // INDEX_UNIT
        if deficit and winning:
            covered = min(ceil_div(deficit, INDEX_UNIT), self._drawable(before, now))
        if covered:
            sent = ceil_div(max(covered - owed, 0), self._unit) * self._unit
            window = self._drawn(before, owed, covered, now)
            held -= sent
            owed += sent - covered
        gain = gross - deficit + min(covered * INDEX_UNIT, deficit) + bonus
        self._check_receipt(receipt, gross, deficit, covered, surplus, bonus, missed - bonus)

        rise = gain // winning if winning else 0
        sides = [before.sides[0], before.sides[1]]
        sides[loser] = SideWords(losing - closed_shares, L.scale, L.index - drop, L.top)
        sides[winner] = SideWords(winning, scale, W.index + rise, W.top)
        gone = {id(h) for h in closed}
        holdings = [
            Holding(0, 0, 0, 0, 0, 0)
            if id(h) in gone
            else h
            if not h.shares
            else _moved(h, -h.shares * drop if h.side == loser else h.shares * rise)
            for h in before.holdings
        ]
        _require(rise >= 0, "S2", "winners fell: {}", receipt)
        tripped = deficit and ceil_div(deficit, INDEX_UNIT) > covered
        until = before.reduce_only_until
        if tripped and ceil_div(deficit, INDEX_UNIT) - covered >= ceil_div(gross, INDEX_UNIT) // 10**4:
            until = now + self._p.cooloff
        after = replace(
            before,
            mark=mark,
            sides=sides,
            holdings=holdings,
            owed=owed,
            held=held,
            window_start=window[0],
            window_assets=window[1],
            window_drawn=window[2],
            market_balance=before.market_balance + before.held - held,
            vault_balance=before.vault_balance - before.held + held,
            socialized=before.socialized + ceil_div(deficit, INDEX_UNIT) - covered,
            adl_shortfall=before.adl_shortfall + (ceil_div(missed - bonus, INDEX_UNIT)),
            reduce_only_until=until,
        )
        over = (
            (closed_shares and closed_shares == losing)
            or scale < MIN_SCALE
            or sides[loser].index < -_MAX_INDEX
            or sides[winner].index > _MAX_INDEX
        )
        return _ended(after) if over else after

    def _check_distance(self, before: State, L: SideWords, receipt: Receipt, drop: int) -> None:
        """How far a move went: funding leaves the mark, price goes towards the index by at most a step."""
        _require(receipt.mark_before == before.mark, "S3", "mark {} before {}", before.mark, receipt)
        if receipt.funding:
            most = self._p.max_funding * L.scale * before.mark // WAD
            _require(receipt.mark_after == before.mark, "S3", "funding moved the mark: {}", receipt)
            _require(0 <= drop <= most, "S3", "funding of {}, at most {}", drop, most)
            return
        distance = receipt.mark_after - before.mark
        _require(drop == L.scale * abs(distance), "S3", "an index fell by {} for a distance of {}", drop, distance)
        _require(abs(distance) <= before.mark * self._p.max_price_step // WAD, "S8", "a step of {}", distance)
        if distance:
            _require((distance > 0) == (receipt.loser == SHORT), "S3", "the wrong side lost: {}", receipt)
            rest = receipt.index_price - receipt.mark_after
            _require(rest * distance >= 0, "S3", "the mark passed the index: {}", receipt)

    def _closed(self, losers: list[Holding], threshold: int, receipt: Receipt, drop: int) -> list[Holding]:
        """Whom a move closes: all in buckets that reach above T, or the highest of them if it had to stop there."""
        above = [h for h in losers if h.edge > threshold]
        if receipt.buckets_closed == len({(h.level, h.bucket) for h in above}):
            return above
        # T was above the highest bucket left open before the move began, so it went nowhere.
        _require(drop == 0, "S3", "{} leaves buckets above {} open", receipt, threshold)
        for edge in [*sorted({h.edge for h in above}, reverse=True), threshold]:
            closed = [h for h in above if h.edge > edge]
            if len({(h.level, h.bucket) for h in closed}) == receipt.buckets_closed:
                return closed
        raise Violation("S3", f"{receipt.buckets_closed} buckets closed of {[h.edge for h in above]}")

    def _drawable(self, state: State, now: int) -> int:
        """What the vault may pay, quote: the cap of the window, and never more than the cap of what is there."""
        most = (state.held + state.owed) * self._v.draw_cap // WAD
        if self._window_is_over(state, now):
            return most
        return min(state.window_assets * self._v.draw_cap // WAD - state.window_drawn, most)

    def _drawn(self, state: State, owed: int, covered: int, now: int) -> tuple[int, int, int]:
        """The window of draws after one."""
        if self._window_is_over(state, now):
            return now, state.held + owed, covered
        return state.window_start, state.window_assets, state.window_drawn + covered

    def _window_is_over(self, state: State, now: int) -> bool:
        return state.window_start == 0 or now >= state.window_start + self._v.draw_window

    def _check_receipt(self, receipt: Receipt, *exact: int) -> None:
        """S2, S8, and every number of a receipt: losses rounded up, what is left over rounded down."""
        gross, deficit, covered, surplus, bonus, shortfall = exact
        _require(0 <= receipt.covered <= receipt.deficit <= receipt.gross, "S2", "{}", receipt)
        _require(not (self.gap_safe and deficit > INDEX_UNIT * len(self._places)), "S8", "a deficit in {}", receipt)
        expected = (
            ceil_div(gross, INDEX_UNIT),
            ceil_div(deficit, INDEX_UNIT),
            covered,
            surplus // INDEX_UNIT,
            bonus // INDEX_UNIT,
            ceil_div(shortfall, INDEX_UNIT),
        )
        found = (
            receipt.gross,
            receipt.deficit,
            receipt.covered,
            receipt.surplus,
            receipt.bonus,
            receipt.adl_shortfall,
        )
        _require(found == expected, "S3", "{} instead of {} in {}", found, expected, receipt)

    # --------------------------------------------------------------------------------------------------- operations

    def _compare(self, settled: State, after: State, events: Sequence[Event]) -> None:
        """What the operation itself did to what the moves left."""
        moved = self._transfers(settled, events)
        traded = {place for event in events for place in self._traders(event)}
        for place, (expected, found) in enumerate(zip(settled.holdings, after.holdings, strict=True)):
            if place not in moved and place not in traded:
                # A touched account has been filed anew, at the cost of a wei.
                _require(expected == found, "S3", "account {} is {} instead of {}", place, found, expected)
                continue
            difference = expected.worth + moved.get(place, 0) * INDEX_UNIT - found.worth
            trades = sum(place in self._traders(event) for event in events) + 1
            _require(
                -INDEX_UNIT < difference <= _FILING * trades * INDEX_UNIT,
                "S3",
                "account {} lost {} wei: {} after {}",
                place,
                difference / INDEX_UNIT,
                found,
                expected,
            )
            if place not in traded:
                same = (expected.shares, expected.side) == (found.shares, found.side)
                _require(same, "S3", "account {} is {} instead of {}", place, found, expected)
        indices = [(side.index, side.scale) for side in settled.sides]
        found = [(side.index, side.scale) for side in after.sides]
        _require(indices == found, "S3", "indices and scales {} instead of {}", found, indices)
        totals = (settled.mark, settled.epoch, settled.socialized, settled.adl_shortfall, settled.reduce_only_until)
        stated = (after.mark, after.epoch, after.socialized, after.adl_shortfall, after.reduce_only_until)
        _require(totals == stated, "S3", "mark, epoch, totals {} instead of {}", stated, totals)

    def _transfers(self, settled: State, events: Sequence[Event]) -> dict[int, int]:
        """What accounts received, quote, by place: deposits, withdrawals, price against mark, fees and rewards."""
        moved: dict[int, int] = {}

        def add(account: int, amount: int) -> None:
            place = self._places[account]
            moved[place] = moved.get(place, 0) + amount

        for event in events:
            if event.name == "Deposited":
                add(event.topics[1], event.words[0] * self._unit)
            elif event.name == "Withdrawn":
                add(event.topics[0], -event.words[0] * self._unit)
            elif event.name == "Traded":
                _, maker, taker = event.topics
                is_long, size, price, mark, maker_fee, taker_fee = event.words
                to_maker = (mark - price) * size * (1 if is_long else -1)
                add(maker, to_maker // WAD - maker_fee)
                add(taker, -to_maker // WAD - taker_fee)
                most = ceil_div(ceil_div(size * mark, WAD) * self._p.fee_rate, WAD)
                _require(max(maker_fee, taker_fee) <= most, "S1", "a fee above {}: {}", most, event)
                _require(mark == settled.mark, "S3", "traded at mark {} instead of {}", mark, settled.mark)
            elif event.name == "Liquidated":
                _, _, fee, reward = event.words
                _require(reward <= fee, "S1", "a reward above the fee: {}", event)
                add(event.topics[0], -fee)
                add(event.topics[1], reward)
        return moved

    def _traders(self, event: Event) -> tuple[int, ...]:
        """The places of the two whose positions an event changed."""
        if event.name == "Traded":
            return self._places[event.topics[1]], self._places[event.topics[2]]
        if event.name == "Liquidated":
            return self._places[event.topics[0]], self._places[event.topics[1]]
        return ()

    def _check_interest(self, settled: State, after: State, events: Sequence[Event]) -> None:
        """A trade changes both sides' open interest by the same, but for what sizes are rounded by, and for the
        difference up to which two sizes count as equal when a position closes."""
        trades = sum(bool(self._traders(event)) for event in events)
        if not trades:
            return
        before, now = (
            state.sides[LONG].shares * state.sides[LONG].scale - state.sides[SHORT].shares * state.sides[SHORT].scale
            for state in (settled, after)
        )
        closed = sum(
            bool(old.shares) and (not new.shares or new.side != old.side)
            for old, new in zip(settled.holdings, after.holdings, strict=True)
        )
        # In a batch an account may close by the way and be open again in the end.
        closed = max(closed, sum(event.name == "AccountUpdated" and not event.words[1] for event in events))
        equal = self._p.min_notional * WAD // (DUST_PART * settled.mark) + 1
        most = (4 * trades + closed * equal) * WAD
        _require(abs(now - before) <= most, "S1", "open interest drifts by {}, at most {}", now - before, most)

    def _check_insurance(self, before: State, settled: State, after: State, events: Sequence[Event]) -> None:
        """The vault has what the moves left it, and what came in, less what redemptions took; the price of its shares
        falls only by draws, and stands while nothing happened that may change it."""
        flow = 0
        for event in events:
            if event.name == "Deposit":
                flow += event.words[0] * self._unit
            elif event.name == "Withdraw":
                flow -= event.words[0] * self._unit
            elif event.name == "Traded":
                flow += event.words[4] + event.words[5]
            elif event.name == "Liquidated":
                flow += event.words[2] - event.words[3]
        unstated = after.held + after.owed - settled.held - settled.owed - flow
        _require(unstated == 0, "S1", "insurance changed by {} that no event states", unstated)

        change = self._share_price(after) - self._share_price(before)
        _require(change >= 0 or any(e.name == "Covered" for e in events), "S1", "vault shares fell without a draw")
        _require(change == 0 or any(e.name in _PRICE_EVENTS for e in events), "S1", "vault shares changed by no event")

    def judge_entry(
        self, before: State, after: State, events: Sequence[Event], is_deposit: bool, promised: int
    ) -> None:
        """An entry's preview, made in the same second, knew the settlement that the entry makes first: the total assets
        it reckoned with were right to a token unit, but for what a side pays that has nobody on the other, which no
        receipt states.

        Args:
            promised: shares of a deposit, or token units of a mint; 0 if it was refused.
        """
        (entry,) = [event for event in events if event.name == "Deposit"]
        assets, shares = entry.words
        supply = after.supply - shares + SHARE_OFFSET
        total = after.held // self._unit - assets + after.owed // self._unit + 1
        moves = [event.receipt() for event in events if event.name in ("Moved", "Settled")]
        unstated = 0 if all(side.shares for side in before.sides) else sum(move.gross for move in moves)
        least, most = max(total - 1 - unstated // self._unit, 1), total + 1
        if is_deposit:
            bounds = assets * supply // most, assets * supply // least
        else:
            bounds = -(-shares * least // supply), -(-shares * most // supply)
        is_kept = bounds[0] <= promised <= bounds[1]
        _require(is_kept, "S3", "promised {} for an entry of {} that brought {} shares", promised, assets, shares)

    def _share_price(self, state: State) -> Fraction:
        """Quote per vault share, virtual ones included."""
        assets = state.held + state.owed // self._unit * self._unit + self._unit
        return Fraction(assets, state.supply + SHARE_OFFSET)

    # ----------------------------------------------------------------------------------------------------- at rest

    def check(self, state: State) -> None:
        """What holds between operations.

        Raises:
            Violation: of the guarantee that does not.
        """
        dust = state.market_balance - state.owed - sum(holding.equity for holding in state.holdings)
        _require(0 <= dust <= MAX_DUST, "S1", "dust {} wei", dust)
        self.largest_dust = max(self.largest_dust, dust)
        _require(state.vault_balance == state.held, "S1", "the vault holds {}, not {}", state.vault_balance, state.held)
        buckets: dict[tuple[int, int, int], list[int]] = {}
        shares = [0, 0]
        for holding in state.holdings:
            _require(holding.worth > -INDEX_UNIT, "S2", "an account under zero: {}", holding)
            if not holding.shares:
                continue
            shares[holding.side] += holding.shares
            _require(holding.edge <= state.sides[holding.side].top, "S4", "{} above its side's top", holding)
            sums = buckets.setdefault((holding.side, holding.level, holding.bucket), [0, 0])
            sums[0] += holding.shares
            sums[1] += holding.debt
        _require(shares == [side.shares for side in state.sides], "S1", "shares {} on sides {}", shares, state.sides)
        for place, sums in buckets.items():
            found = self._reader.bucket(state.epoch, *place)[:2]
            _require(found == tuple(sums), "S1", "bucket {}: {} instead of {}", place, found, sums)
        payer = state.sides[LONG if state.premium > 0 else SHORT]
        value = payer.shares * payer.scale // WAD * state.mark // WAD
        _require(abs(state.premium) * WAD <= value * self._p.max_funding, "S3", "a premium of {}", state.premium)


_PRICE_EVENTS = ("Moved", "Settled", "Traded", "Liquidated", "Deposit", "Withdraw")


def _moved(holding: Holding, by: int) -> Holding:
    return Holding(holding.worth + by, holding.shares, holding.side, holding.level, holding.bucket, holding.debt)


def _ended(state: State) -> State:
    """Both sides close at the mark, gains kept; what each holds is whole wei."""
    fresh = [SideWords(0, WAD, 0, _NO_TOP), SideWords(0, WAD, 0, _NO_TOP)]
    flat = [Holding(holding.equity * INDEX_UNIT, 0, 0, 0, 0, 0) for holding in state.holdings]
    return replace(state, epoch=state.epoch + 1, sides=fresh, holdings=flat)


def _require(holds: bool, guarantee: str, message: str, *details: object) -> None:
    """A message is put together only where it is needed: millions of checks hold."""
    if not holds:
        raise Violation(guarantee, message.format(*details))
