"""One move settled the way the contracts avoid: every account is visited (design §3).

    L loses dK per share; every account of L whose bucket reaches above T is closed; what those are worth together is a
    deficit or a surplus; insurance and the surplus go where the rule says; the winners share what is there.

Only the five roundings of the rule: insurance is asked upwards and credited downwards, the winners' index and scale and
the close-out margin are rounded down. Nothing here changes the books; `replay` does, once log and rule are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prorata.audit.books import Books, Holder, is_over, other
from prorata.audit.rules import EXACT, MAX_INDEX, ceil_div, reach, size_of, threshold
from prorata.units import LONG, MIN_SCALE, SHORT, WAD


@dataclass(frozen=True)
class Step:
    """How far a move goes, and who loses.

    Attributes:
        direction: of the mark: -1, 1, or 0 for funding.
        distance: of a price move, quote per size, 18 digits.
        drop: what a share of the losers loses, 36 digits.
        index_price: where the mark is going.
    """

    loser: int
    direction: int
    distance: int
    drop: int
    index_price: int


@dataclass
class Move:
    """What a move does, by rule. Exact quote: 54 digits."""

    step: Step
    mark: int  # after
    drop: int  # after a stop
    stopped: bool
    closed: list[tuple[str, Holder]] = field(default_factory=list)
    places: set[tuple[int, int]] = field(default_factory=set)  # buckets closed: level and number
    closed_shares: int = 0
    gross: int = 0  # exact, like the next four
    deficit: int = 0
    surplus: int = 0
    bonus: int = 0
    missed: int = 0
    covered: int = 0  # quote
    to_insurance: int = 0  # quote
    rise: int = 0  # of the winners' index, 36 digits
    scale: int = WAD  # of the winners
    loser_shares: int = 0  # before
    winner_shares: int = 0
    loser_scale: int = WAD
    winner_scale: int = WAD  # before

    @property
    def receipt(self) -> tuple[int, ...]:
        """As the contract's struct: losses up, what is left over down."""
        left = self.loser_shares - self.closed_shares
        return (
            ceil_div(self.gross, EXACT),
            ceil_div(self.deficit, EXACT),
            self.covered,
            self.surplus // EXACT,
            self.bonus // EXACT,
            ceil_div(self.missed - self.bonus, EXACT),
            size_of(self.closed_shares, self.loser_scale),
            len(self.places),
            size_of(left, self.loser_scale),
        )


def towards(books: Books, target: int, index_price: int) -> Step:
    """The step that takes the mark to a price on its way to the index."""
    falls = target < books.mark
    loser, direction, distance = LONG if falls else SHORT, -1 if falls else 1, abs(target - books.mark)
    return Step(loser, direction, distance, books.sides[loser].scale * distance, index_price)


def funding(due: int, index_price: int) -> Step:
    """The step that takes what is due (per share of the payers, 36 digits) from them."""
    return Step(LONG if due > 0 else SHORT, 0, 0, abs(due), index_price)


def move(books: Books, step: Step, budget: int | None, now: int) -> Move:
    """A whole move, or as far as it comes with so many buckets to close; None: no limit."""
    mark = books.mark + step.direction * step.distance
    above, edges = _above(books, step, mark, step.drop)
    if budget is None or len(edges) <= budget:
        return _settled(books, Move(step, mark, step.drop, stopped=False), above, now)
    # Edges from the highest down; buckets with one edge close together, even beyond the budget.
    ordered = sorted((edge for edge in edges.values()), reverse=True)
    for count, edge in enumerate(ordered):
        if count >= budget and (not count or edge < ordered[count - 1]):
            return _stopped_at(books, step, edge, above, now)
    return _settled(books, Move(step, mark, step.drop, stopped=False), above, now)


def move_short_of(books: Books, step: Step, stated: int, buckets: int, now: int) -> Move | None:
    """A move that the log says was stopped earlier, by bitmap words; None if no stop explains it.

    Words are how buckets are found and no part of the rule, so where they stop a move cannot be known; but whom it
    closes then, and everything else, follows from how far it came.

    Args:
        stated: distance of a price move; drop of a funding move.
        buckets: how many it says it closed.
    """
    wanted = step.distance if step.direction else step.drop
    if not 0 <= stated < wanted:
        return None
    mark = books.mark + step.direction * stated
    drop = books.sides[step.loser].scale * stated if step.direction else stated
    above, edges = _above(books, step, mark, drop)
    if buckets < len(edges):
        if stated:
            return None
        # T was above the highest bucket left open before the move began.
        ordered = sorted(edges.values(), reverse=True)
        if buckets and ordered[buckets] == ordered[buckets - 1]:
            return None
        above = [(owner, holder) for owner, holder in above if holder.edge > ordered[buckets]]
    return _settled(books, Move(step, mark, drop, stopped=True), above, now)


def most_words(books: Books, loser: int, edge: int) -> int:
    """How many looks at bitmap words may find nothing above an edge, at most.

    Words are 256 buckets of one level, and none is looked at above the highest that was ever filed in the epoch; each
    is looked at twice at most, once for what it holds and once to leave it.
    """
    pool = books.sides[loser]
    return sum(2 * ((max(pool.peak - edge, 0) >> (level + 8)) + 2) for level in pool.levels)


def _above(
    books: Books, step: Step, mark: int, drop: int
) -> tuple[list[tuple[str, Holder]], dict[tuple[int, int], int]]:
    """The losers whose buckets reach above T after a move, and those buckets' edges by level and number."""
    pool = books.sides[step.loser]
    limit = threshold(pool.index - drop, pool.scale, mark, books.p.closeout_margin)
    found = [(owner, holder) for owner, holder in books.active[step.loser].items() if holder.edge > limit]
    return found, {holder.place: holder.edge for _, holder in found}


def _stopped_at(books: Books, step: Step, edge: int, above: list[tuple[str, Holder]], now: int) -> Move:
    """The largest move that keeps T at or above the edge of the first bucket left open (design §3.1)."""
    pool, co = books.sides[step.loser], books.p.closeout_margin
    if step.direction:
        distance = reach(pool.index, pool.scale, books.mark, co, edge, step.direction)
        mark, drop = books.mark + step.direction * distance, pool.scale * distance
    else:
        mark, drop = books.mark, max(threshold(pool.index, pool.scale, books.mark, co) - edge, 0)
    closed = [(owner, holder) for owner, holder in above if holder.edge > edge]
    return _settled(books, Move(step, mark, drop, stopped=True), closed, now)


def _settled(books: Books, plan: Move, closed: list[tuple[str, Holder]], now: int) -> Move:
    """Every number of a move whose length and whose closed accounts are known."""
    step = plan.step
    loser, winner = books.sides[step.loser], books.sides[other(step.loser)]
    plan.loser_shares, plan.winner_shares = loser.shares, winner.shares
    plan.loser_scale, plan.winner_scale, plan.scale = loser.scale, winner.scale, winner.scale
    plan.closed, plan.places = closed, {holder.place for _, holder in closed}
    plan.closed_shares = sum(holder.shares for _, holder in closed)
    plan.gross = gain = loser.shares * plan.drop
    if closed:
        plan.scale = winner.scale * (loser.shares - plan.closed_shares) // loser.shares
        value = sum(holder.worth - holder.shares * plan.drop for _, holder in closed)
        plan.deficit, plan.surplus = min(max(-value, 0), plan.gross), max(value, 0)
        if winner.shares:
            gap = (step.index_price - plan.mark) * (1 if step.loser == SHORT else -1)
            # If the scale ends the epoch everybody closes here, and misses the rest of the way.
            ended = loser.shares if plan.scale < MIN_SCALE else plan.closed_shares
            plan.missed = ended * loser.scale * max(gap, 0)
            plan.bonus = min(plan.surplus, plan.missed)
            if plan.deficit:
                plan.covered = min(ceil_div(plan.deficit, EXACT), books.drawable(now))
        gain += min(plan.covered * EXACT, plan.deficit) + plan.bonus - plan.deficit
    kept = plan.surplus - plan.bonus
    if winner.shares:
        plan.rise = gain // winner.shares
    else:
        kept += plan.gross - plan.deficit
    plan.to_insurance = kept // EXACT
    return plan


def preview(books: Books, price: int, now: int) -> tuple[Move, Move]:
    """The funding that is due, and then one move from the mark straight to a price, with no limit on step or work.

    As `preview_settlement`: the loss curve at one price (design §10). The books are left as they are.
    """
    _, due = books.accrue(now)
    first = move(books, funding(due, price), None, now)
    if due:
        books = _after(books, first)
    return first, move(books, towards(books, price, price), None, now)


def _after(books: Books, done: Move) -> Books:
    """A copy of the books after a move, but for what insurance pays."""
    closed = {owner for owner, _ in done.closed}
    after, losing = Books.from_json(books.to_json()), done.step.loser
    loser, winner = after.sides[losing], after.sides[other(losing)]
    for owner, holder in list(after.active[losing].items()):
        holder.worth -= holder.shares * done.drop
        if owner in closed:
            holder.flatten(0)
            del after.active[losing][owner]
    for holder in after.active[other(losing)].values():
        holder.worth += holder.shares * done.rise
    loser.index, loser.shares = loser.index - done.drop, loser.shares - done.closed_shares
    winner.index, winner.scale = winner.index + done.rise, done.scale
    after.owed += done.to_insurance
    after.mark = done.mark
    if is_over(loser, winner, done.closed_shares, MAX_INDEX):
        after.end_epoch()
    return after
