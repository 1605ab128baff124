"""prorata: the price move is the settlement. Carried out by the judge of the contracts itself, `prorata/model.py`.

Source: the head of `contracts/modules/settlement.vy`. In one call a move closes every account that it bankrupts; what
they lack is first met by what is left of others closed with them, then by insurance, and the rest lowers the gain of
the move per share of the winning side.

The vault lets `draw_cap` of its assets be drawn; it holds so much more that insurance is the same as for the others,
and its window never ends. There is no fee, no funding and no bound on the smallest position; everything else is the
default market: a close-out margin of 1 % and buckets of 0.1 %, so an account may be closed at an equity of up to 1.1 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from prorata.model import Model, Outcome, Trade
from prorata.parameters import MarketParameters, VaultParameters
from prorata.rules.book import ZERO, Account, Book
from prorata.scenarios import PricePoint
from prorata.units import LONG, SHORT, WAD

MARKET = MarketParameters(fee_rate=0, min_notional=1)
VAULT = VaultParameters(draw_window=2**40)
#: What the vault may draw, of what it holds.
CAP = Fraction(VAULT.draw_cap, WAD)


class ProRata:
    """The rule of this project."""

    name = "prorata"
    title = "prorata"
    source = "contracts/modules/settlement.vy"

    def settle(self, start: Book, path: Sequence[PricePoint], order: Sequence[str]) -> Book:
        """As in `Rule`; the order is the one in which the model keeps and visits its accounts."""
        book = start.copy()
        model = _market(book, path[0].timestamp, order)
        for point in path[1:]:
            model.observe(Fraction(point.price), point.timestamp)
            while True:
                before = {name: (account.size, account.collateral) for name, account in model.accounts.items()}
                moves = len(model.outcomes)
                model.settle()
                book.calls += 1
                for outcome in model.outcomes[moves:]:
                    _record(book, outcome, before)
                _follow(book, model, start.insurance)
                if not model.lagging:
                    break
        return book


def _market(book: Book, now: int, order: Sequence[str]) -> Model:
    """The model with the book's accounts, positions and insurance."""
    model = Model(MARKET, VAULT, book.mark)
    model.observe(book.mark, now)
    if book.insurance:
        model.insure(book.insurance / CAP)
    for name in order:
        if book.accounts[name].equity:
            model.deposit(name, book.accounts[name].equity)
    wanted = {name: account.size for name, account in book.accounts.items() if account.size}
    longs = [name for name in order if name in wanted and book.accounts[name].side == LONG]
    shorts = [name for name in order if name in wanted and book.accounts[name].side == SHORT]
    while longs and shorts:
        maker, taker = longs[0], shorts[0]
        size = min(wanted[maker], wanted[taker])
        model.trade([Trade(maker, taker, True, size, book.mark)])
        for name, names in ((maker, longs), (taker, shorts)):
            wanted[name] -= size
            if not wanted[name]:
                names.remove(name)
    return model


def _record(book: Book, outcome: Outcome, before: dict[str, tuple[Fraction, Fraction]]) -> None:
    """Write one move into the book: who gained, who could not pay, what insurance paid, what winners went without."""
    loser, distance = outcome.loser, outcome.distance
    book.previous, book.mark = outcome.mark_before, outcome.mark_after
    book.gross += outcome.gross
    book.defaults[loser] += outcome.deficit
    book.covered += outcome.covered
    winners: list[Account] = []
    for name, (size, collateral) in before.items():
        account = book.accounts[name]
        account.fresh = ZERO
        if not size:
            continue
        if account.side != loser:
            account.fresh = size * distance
            account.equity = collateral + account.fresh
            winners.append(account)
        elif name in outcome.closed and collateral < size * distance:
            book.closed_bankrupt += size * book.mark
    total = sum((before[account.name][0] for account in winners), ZERO)
    for account in winners:
        part = before[account.name][0] / total
        book.charge(account, (outcome.deficit - outcome.covered) * part, {loser: Fraction(1)})
    book.failed.extend(outcome.closed)
    book.closed_opposite += outcome.closed_size * book.mark


def _follow(book: Book, model: Model, insured: Fraction) -> None:
    """Take over everybody's balance, and what insurance has won or lost."""
    for name, account in model.accounts.items():
        mine = book.accounts[name]
        mine.equity, mine.size = account.collateral, account.size
    book.insurance = insured + model.vault.held + model.owed - insured / CAP
