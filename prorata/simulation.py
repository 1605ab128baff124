"""A price shock, settled end to end: a market is deployed, filled with traders, driven along a path and audited.

Rules of a run that the design does not set:

- A price of the path becomes the oracle's answer as many seconds after the first one as in the path; prices that come
  faster than the chain's blocks (one a second) come as fast as they can. If the market still settles to a price when
  that is about to be refused as stale, the oracle says it again.
- The market settles as soon as a price is there, and while the mark lags, again as soon as `step_interval` allows:
  until the mark has caught up, the next price is due, or MAX_SETTLEMENTS have followed one price. An interval of 0
  costs no time of the path, so the next price waits for such settlements.
- A keeper looks after every settlement. A prompt one liquidates whom it sees below maintenance; a late one only whom it
  first saw so LATE_POINTS prices earlier, and has seen so ever since. It keeps what it takes over.
- With funding on, the set-up trades above the mark by what both fees of a fill are worth: so much of a premium counts.
- A pair of traders whose fill the market refuses (open-interest cap, margin) takes the largest 64th part of it that the
  market accepts, and wants no more.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from prorata.chain import Chain, Reverted, Transaction
from prorata.exchange import AccountState
from prorata.model import Refused, Trade
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.scenarios import PricePath
from prorata.twin import Reconciliation, Twin, Violation
from prorata.units import LONG, WAD, from_wad, to_wad

#: Guarantees that a run audits after every transaction of the path.
GUARANTEES = ("S1", "S2", "S3")
#: Audited as well where the parameters promise it: no deficit, keepers or not.
GAP_SAFE = "S8"
#: Collateral a trader starts with, quote.
COLLATERAL = range(1_000, 10_001)
#: Most settlements between two prices and after the last one; of a closed market in all.
MAX_SETTLEMENTS = 100
MAX_WIND_DOWN = 1_000
#: How many prices later a late keeper acts on what it saw.
LATE_POINTS = 2
#: By the name of the keepers: how many prices they are late; None: there are none.
KEEPERS: dict[str, int | None] = {"none": None, "late": LATE_POINTS, "prompt": 0}
#: A fill that the market refuses is tried in parts of this.
_PARTS = 64


@dataclass(frozen=True)
class Setup:
    """What a run is made of.

    Attributes:
        path: the prices.
        traders: how many; half of them start long, half short.
        leverage: the highest; each trader draws its own between `lowest_leverage` and this.
        insurance: quote deposited in the vault before the shock, whole units.
        seed: of every random choice.
        parameters: of the market.
        keepers: a key of KEEPERS.
        oracle_dies_at: number of the last price that the oracle says (the path's first is 0); None: it says them all.
        lowest_leverage: at most `leverage`; if equal, everybody has the same.
        collateral: what a trader may start with, quote, whole units.
    """

    path: PricePath
    traders: int
    leverage: Decimal
    insurance: int
    seed: int
    parameters: MarketParameters = field(default_factory=MarketParameters)
    keepers: str = "none"
    oracle_dies_at: int | None = None
    lowest_leverage: Decimal = Decimal(1)
    collateral: range = COLLATERAL


@dataclass(frozen=True)
class Settlement:
    """One move as the report shows it: a price move, or the funding before it.

    Attributes:
        point: number of the path's price that the mark was going to; the first is 0.
        time: seconds of the price path.
        receipt: what the contract said.
        closed: accounts it closed.
        stopped: whether the budget of work ended it.
        mode: of the market after the transaction.
        gas: of the transaction; 0 if another move of the same one follows, or if the transaction was a liquidation.
    """

    point: int
    time: int
    receipt: Receipt
    closed: tuple[int, ...]
    stopped: bool
    mode: str
    gas: int

    @property
    def limited(self) -> bool:
        """Whether `max_price_step` (or the rest of a step that was stopped) kept the mark from the index price."""
        return not self.receipt.funding and not self.stopped and self.receipt.mark_after != self.receipt.index_price


@dataclass(frozen=True)
class Liquidation:
    """One account that the keeper took over, or a part of it.

    Attributes:
        point, time: as of a settlement.
        account: whose position it was.
        size: taken over, 18 digits.
        price: the mark, quote per size, 18 digits.
        fee: what the account paid, quote, 18 digits.
        reward: the keeper's part of it.
        gas: of the transaction, in which the market settled too.
    """

    point: int
    time: int
    account: int
    size: int
    price: int
    fee: int
    reward: int
    gas: int


@dataclass
class Trader:
    """One trader's story.

    Attributes:
        number: its test account.
        is_long: its side; of the keeper, its side at the end.
        deposited: quote, 18 digits.
        size: opened, 18 digits; of the keeper, held at the end.
        equity: at the end, quote, 18 digits.
        withdrawn: after the market was wound down, quote, 18 digits.
        closed: whether a settlement closed it.
    """

    number: int
    is_long: bool
    deposited: int
    size: int = 0
    equity: int = 0
    withdrawn: int = 0
    closed: bool = False

    @property
    def gain(self) -> int:
        """Quote won since the start, fees paid; negative: lost."""
        return self.equity + self.withdrawn - self.deposited


@dataclass(frozen=True)
class WindDown:
    """How a market ended whose oracle had died.

    Attributes:
        time: of the closing, seconds of the price path.
        price: what everybody was settled to in the end, quote per size, 18 digits.
        withdrawn: by everybody together, quote, 18 digits.
        still_open: accounts that had a position left when the settlements ended.
    """

    time: int
    price: int
    withdrawn: int
    still_open: int


@dataclass
class Run:
    """Everything a run found out.

    Attributes:
        fund: what the vault's shares are worth when the path begins, fees of the set-up included; quote, 18 digits.
        open_interest: of a side when the path begins, size, 18 digits.
    """

    setup: Setup
    network: str
    traders: list[Trader]
    keeper: Trader | None = None
    fund: int = 0
    open_interest: int = 0
    settlements: list[Settlement] = field(default_factory=list)
    liquidations: list[Liquidation] = field(default_factory=list)
    #: Liquidations that the market refused the keeper, by reason.
    refused: Counter[str] = field(default_factory=Counter)
    wind_down: WindDown | None = None
    mode: str = "active"
    final: Reconciliation | None = None
    max_difference: int = 0
    guarantees: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(GUARANTEES, True))
    violation: str = ""

    @property
    def holds(self) -> bool:
        """Whether every guarantee held at every settlement."""
        return all(self.guarantees.values())

    @property
    def everybody(self) -> list[Trader]:
        """The traders, and the keeper if there is one."""
        return self.traders if self.keeper is None else [*self.traders, self.keeper]

    @property
    def price_moves(self) -> list[Settlement]:
        """The settlements without funding."""
        return [row for row in self.settlements if not row.receipt.funding]


Progress = Callable[[str, int, int], None]


def max_leverage(parameters: MarketParameters) -> Decimal:
    """The highest leverage at which a position can be opened at the mark and its fee paid, rounded down to 0.1."""
    exact = Decimal(WAD) / (parameters.initial_margin + parameters.fee_rate)
    return exact.quantize(Decimal("0.1"), rounding="ROUND_DOWN")


def simulate(chain: Chain, setup: Setup, progress: Progress | None = None) -> Run:
    """Deploy a market on a fresh chain and drive it along the path.

    Args:
        chain: nothing may have been deployed from its test account 0.
        setup: the run.
        progress: called with what is being done, how far it is and how far it goes.

    Returns:
        What happened. A violated guarantee ends the run and is stated in it, it is not raised.
    """
    report = progress or (lambda _what, _done, _of: None)
    first = setup.path.points[0]
    run = Run(setup, chain.network, draw_traders(setup))
    if KEEPERS[setup.keepers] is not None:
        run.keeper = Trader(setup.traders + 1, False, _keeper_collateral(run.traders))
    twin = Twin(chain, to_wad(first.price), len(run.everybody), setup.parameters, VaultParameters())
    if chain.call(twin.exchange.lens, "is_gap_safe", twin.exchange.market.address):
        run.guarantees[GAP_SAFE] = True
    try:
        _open_positions(twin, run, report)
        run.fund, run.open_interest = twin.exchange.vault_assets, twin.exchange.side(LONG).open_interest
        _Drive(twin, run, report).follow()
    except Violation as violation:
        run.guarantees[violation.guarantee] = False
        run.violation = str(violation)
    _close_books(twin, run)
    return run


def _close_books(twin: Twin, run: Run) -> None:
    """What everybody has in the end."""
    closed = {number for settlement in run.settlements for number in settlement.closed}
    for trader in run.everybody:
        trader.equity = twin.exchange.account(trader.number).equity
        trader.closed = trader.number in closed
    if run.keeper is not None:
        held = twin.exchange.account(run.keeper.number)
        run.keeper.is_long, run.keeper.size = held.side == LONG, _size(twin, held)
    run.mode = twin.exchange.mode


# ------------------------------------------------------------------------------------------------------------- set-up


def draw_traders(setup: Setup) -> list[Trader]:
    """Everybody's side and collateral."""
    rng = random.Random(setup.seed)
    sides = [number % 2 == 1 for number in range(setup.traders)]
    rng.shuffle(sides)
    return [
        Trader(number, is_long, rng.choice(setup.collateral) * WAD) for number, is_long in enumerate(sides, start=1)
    ]


def draw_wishes(setup: Setup, traders: list[Trader]) -> dict[int, int]:
    """By trader: the position it wants, size, 18 digits."""
    rng = random.Random(setup.seed + 1)
    mark, spread = to_wad(setup.path.points[0].price), setup.leverage - setup.lowest_leverage
    wishes: dict[int, int] = {}
    for trader in traders:
        leverage = setup.lowest_leverage + spread * Decimal(rng.randint(0, 100)) / 100
        wishes[trader.number] = int(trader.deposited * leverage) * WAD // mark
    return wishes


def _keeper_collateral(traders: list[Trader]) -> int:
    """Half of what all traders have, quote, 18 digits: about as much as a side."""
    return sum(trader.deposited for trader in traders) // 2


def _open_positions(twin: Twin, run: Run, report: Progress) -> None:
    """Insure the market, fund everyone, and match longs with shorts until each has what it wants."""
    if run.setup.insurance:
        twin.insure(run.setup.insurance * WAD)
    wanted = draw_wishes(run.setup, run.traders)
    for done, trader in enumerate(run.traders, start=1):
        report("funding", done, len(run.traders))
        twin.deposit(trader.number, trader.deposited)
    if run.keeper is not None:
        twin.deposit(run.keeper.number, run.keeper.deposited)

    longs = [trader for trader in run.traders if trader.is_long]
    shorts = [trader for trader in run.traders if not trader.is_long]
    while longs and shorts:
        report("trading", len(run.traders) - len(longs) - len(shorts), len(run.traders))
        maker, taker = longs[0], shorts[0]
        size = min(wanted[maker.number], wanted[taker.number])
        if _fill(twin, maker, taker, size) == size:
            wanted[maker.number] -= size
            wanted[taker.number] -= size
        else:
            wanted[maker.number] = wanted[taker.number] = 0
        longs = [trader for trader in longs if _wants_more(twin, wanted[trader.number])]
        shorts = [trader for trader in shorts if _wants_more(twin, wanted[trader.number])]
    report("trading", len(run.traders), len(run.traders))


def _wants_more(twin: Twin, size: int) -> bool:
    """Whether what is left of a wish is more than the smallest position the market takes."""
    return size * twin.exchange.mark >= twin.model.parameters.min_notional * WAD


def _fill(twin: Twin, maker: Trader, taker: Trader, wish: int) -> int:
    """Trade as much of a wish as the market accepts; returns the size."""
    price = _fill_price(twin)
    size = _accepted(twin, maker, taker, wish, price)
    if size:
        twin.trade(maker.number, taker.number, maker.is_long, size, price)
        maker.size += size
        taker.size += size
    return size


def _fill_price(twin: Twin) -> int:
    """The mark; with funding on, above it by both parties' fees, which is as much of a premium as counts."""
    mark, parameters = twin.exchange.mark, twin.model.parameters
    return mark + (2 * parameters.fee_rate * mark // WAD if parameters.max_funding else 0)


def _accepted(twin: Twin, maker: Trader, taker: Trader, wish: int, price: int) -> int:
    """The wish, or the largest part of it that the market accepts: tried on copies of the model, which cost nothing."""

    def fits(size: int) -> bool:
        model = twin.model.copy()
        model.observe(from_wad(twin.index_price), twin.exchange.chain.now + 1)
        trade = Trade(str(maker.number), str(taker.number), maker.is_long, from_wad(size), from_wad(price))
        try:
            model.trade([trade])
        except Refused:
            return False
        return True

    if fits(wish):
        return wish
    accepted, refused = 0, _PARTS
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        if fits(wish * middle // _PARTS):
            accepted = middle
        else:
            refused = middle
    return wish * accepted // _PARTS


# --------------------------------------------------------------------------------------------------------------- path


class _Drive:
    """Takes a market along the path: prices, settlements, keepers, the end of a dead oracle, and the audit of all."""

    def __init__(self, twin: Twin, run: Run, report: Progress) -> None:
        self._twin, self._run, self._report = twin, run, report
        self._chain = twin.exchange.chain
        self._points = run.setup.path.points
        dies_at = run.setup.oracle_dies_at
        self._last = len(self._points) - 1 if dies_at is None else dies_at
        self._oracle_dead = False
        self._point = 0
        #: Seconds of the chain less seconds of the path.
        self._offset = 0
        #: By account: the price at which the keeper first saw it below maintenance.
        self._seen: dict[int, int] = {}
        self._audited = 0

    def follow(self) -> None:
        """Every price of the path, or those the oracle lives to say; then, if it died, the end of the market."""
        start = self._chain.now - self._points[0].timestamp
        for number in range(1, self._last + 1):
            self._report("settling", number, self._last)
            point = self._points[number]
            self._chain.advance(max(0, start + point.timestamp - self._chain.now))
            self._twin.set_price(to_wad(point.price))
            # What follows at once happens at the point's own time, and what follows later that much later.
            self._point, self._offset = number, self._chain.now + 1 - point.timestamp
            self._oracle_dead = number == self._run.setup.oracle_dies_at
            self._catch_up(start + self._points[number + 1].timestamp if number < self._last else None)
        if self._oracle_dead:
            self._wind_down()

    # ------------------------------------------------------------------------------------------------- settlements

    def _catch_up(self, due: int | None, most: int = MAX_SETTLEMENTS) -> None:
        """Settle until the mark has caught up; not beyond second `due`, and at most `most` times."""
        for _ in range(most):
            wait = self._until_next_step()
            if due is not None and wait > 0 and self._chain.now + wait >= due:
                return
            self._chain.advance(wait)
            if not self._has_price():
                return
            self._settle()
            if not self._twin.model.closed:
                self._keep()
            if not self._twin.exchange.core.lagging:
                return

    def _until_next_step(self) -> int:
        """Seconds to let pass so that the next transaction, which takes one itself, may move the mark."""
        limited_at = self._twin.exchange.core.limited_at
        return max(0, limited_at + self._run.setup.parameters.step_interval - self._chain.now - 1)

    def _has_price(self) -> bool:
        """Whether the next transaction finds a price; a living oracle says its last one again before it is stale."""
        twin = self._twin
        if twin.model.closed or self._chain.now + 1 - twin.round[1] <= self._run.setup.parameters.max_staleness:
            return True
        if not self._oracle_dead:
            twin.set_price(twin.index_price)
        return not self._oracle_dead

    def _settle(self) -> None:
        transaction = self._twin.settle()
        self._record_moves(transaction, transaction.gas)
        self._audit()

    def _record_moves(self, transaction: Transaction, gas: int) -> int:
        """Add a transaction's receipts to the run; returns how many moves of the price there were."""
        receipts = receipts_in(transaction.logs)
        outcomes = self._twin.model.outcomes[len(self._twin.model.outcomes) - len(receipts) :]
        mode = self._twin.exchange.mode
        for number, (receipt, outcome) in enumerate(zip(receipts, outcomes, strict=True), start=1):
            self._run.settlements.append(
                Settlement(
                    point=self._point,
                    time=transaction.timestamp - self._offset,
                    receipt=receipt,
                    closed=tuple(int(owner) for owner in outcome.closed),
                    stopped=outcome.stopped,
                    mode=mode,
                    gas=gas if number == len(receipts) else 0,
                )
            )
        return sum(not receipt.funding for receipt in receipts)

    def _audit(self) -> None:
        """Reconcile every balance, and see that a gap-safe market had no deficit."""
        receipts = self._twin.receipts[self._audited :]
        self._audited = len(self._twin.receipts)
        missed = sum(receipt.deficit for receipt in receipts)
        if missed and GAP_SAFE in self._run.guarantees:
            raise Violation(GAP_SAFE, f"deficit {missed} wei at the mark {self._twin.exchange.mark}")
        self._run.final = self._twin.check()
        self._run.max_difference = max(self._run.max_difference, self._run.final.max_difference)

    # ----------------------------------------------------------------------------------------------------- keepers

    def _keep(self) -> None:
        """The keeper's work after a settlement: as many rounds as it takes until the mark moves no more meanwhile."""
        delay = KEEPERS[self._run.setup.keepers]
        if delay is not None:
            while self._round(delay):
                pass

    def _round(self, delay: int) -> int:
        """Liquidate whom the keeper has seen below maintenance for long enough; returns how often the mark moved."""
        below = self._below_maintenance()
        self._seen = {number: self._seen.get(number, self._point) for number in below}
        moves = 0
        for number in below:
            if self._point - self._seen[number] >= delay and self._has_price():
                moves += self._liquidate(number)
        return moves

    def _below_maintenance(self) -> list[int]:
        """Traders who may be liquidated: below at the mark, and at the index too if the mark lags (design §6)."""
        twin, exchange = self._twin, self._twin.exchange
        mark, ratio = exchange.mark, self._run.setup.parameters.maintenance_margin
        prices = {mark, twin.index_price} if exchange.core.lagging else {mark}
        found = []
        for trader in self._run.traders:
            account = exchange.account(trader.number)
            size = _size(twin, account)
            if size and all(_is_below(account, size, mark, price, ratio) for price in prices):
                found.append(trader.number)
        return found

    def _liquidate(self, number: int) -> int:
        """Try to take an account over; returns how often that moved the mark."""
        assert self._run.keeper is not None  # or nobody would be late
        try:
            transaction = self._twin.liquidate(self._run.keeper.number, number)
        except Reverted as refusal:
            self._run.refused[refusal.reason] += 1
            return 0
        moves = self._record_moves(transaction, gas=0)
        (fields,) = (log.fields for log in transaction.logs if log.name == "Liquidated")
        self._run.liquidations.append(
            Liquidation(
                point=self._point,
                time=transaction.timestamp - self._offset,
                account=number,
                size=fields["size"],
                price=fields["mark"],
                fee=fields["fee"],
                reward=fields["reward"],
                gas=transaction.gas,
            )
        )
        self._audit()
        return moves

    # --------------------------------------------------------------------------------------------------- dead oracle

    def _wind_down(self) -> None:
        """The oracle's last answer goes stale; that is reported, the market closed, and everybody leaves."""
        twin, parameters = self._twin, self._run.setup.parameters
        self._chain.advance(max(0, twin.round[1] + parameters.max_staleness - self._chain.now))
        twin.wind_down()
        self._chain.advance(parameters.oracle_grace - 1)
        closing = twin.wind_down()
        self._catch_up(due=None, most=MAX_WIND_DOWN)

        withdrawn = still_open = 0
        for trader in self._run.everybody:
            account = twin.exchange.account(trader.number)
            if account.shares:
                still_open += 1
            elif account.equity:
                twin.withdraw(trader.number, account.equity)
                trader.withdrawn = account.equity
                withdrawn += account.equity
        time = closing.timestamp - self._offset
        self._run.wind_down = WindDown(time, twin.exchange.mark, withdrawn, still_open)
        self._audit()


def _size(twin: Twin, account: AccountState) -> int:
    """Size of a position, 18 digits, rounded down."""
    return account.shares * twin.exchange.side(account.side).scale // WAD


def _is_below(account: AccountState, size: int, mark: int, price: int, ratio: int) -> bool:
    """Whether a position would hold less than `ratio` of its notional at `price`."""
    gain = (price - mark) * size * (1 if account.side == LONG else -1)
    return (account.equity * WAD + gain) * WAD < size * price * ratio


def side_name(trader: Trader) -> str:
    """ "long" or "short"."""
    return "long" if trader.is_long else "short"


def loser_name(receipt: Receipt) -> str:
    """Which side lost a move: "longs" or "shorts"."""
    return "longs" if receipt.loser == LONG else "shorts"
