"""A price shock, settled end to end: a market is deployed, filled with traders, driven along a path and audited."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from prorata.chain import Chain, Transaction
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.scenarios import PricePath
from prorata.twin import Reconciliation, Twin, Violation
from prorata.units import LONG, WAD, to_wad

#: Guarantees that a run audits after every settlement.
GUARANTEES = ("S1", "S2", "S3")
#: Collateral a trader starts with, quote.
COLLATERAL = range(1_000, 10_001)


@dataclass(frozen=True)
class Setup:
    """What a run is made of.

    Attributes:
        path: the prices.
        traders: how many; half of them start long, half short.
        leverage: the highest; each trader draws its own between 1 and this.
        insurance: quote deposited in the vault before the shock, whole units.
        seed: of every random choice.
    """

    path: PricePath
    traders: int
    leverage: Decimal
    insurance: int
    seed: int


@dataclass(frozen=True)
class Settlement:
    """One settlement as the report shows it.

    Attributes:
        time: seconds of the price path.
        receipt: what the contract said.
        closed: traders it closed.
        gas: of the transaction.
    """

    time: int
    receipt: Receipt
    closed: tuple[int, ...]
    gas: int


@dataclass
class Trader:
    """One trader's story.

    Attributes:
        number: its test account.
        is_long: its side.
        deposited: quote, 18 digits.
        size: opened, 18 digits.
        equity: at the end, quote, 18 digits.
        closed: whether a settlement closed it.
    """

    number: int
    is_long: bool
    deposited: int
    size: int = 0
    equity: int = 0
    closed: bool = False

    @property
    def gain(self) -> int:
        """Quote won since the start, fees paid; negative: lost."""
        return self.equity - self.deposited


@dataclass
class Run:
    """Everything a run found out."""

    setup: Setup
    network: str
    traders: list[Trader]
    settlements: list[Settlement] = field(default_factory=list)
    final: Reconciliation | None = None
    max_difference: int = 0
    guarantees: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(GUARANTEES, True))
    violation: str = ""

    @property
    def holds(self) -> bool:
        """Whether every guarantee held at every settlement."""
        return all(self.guarantees.values())


def max_leverage(parameters: MarketParameters) -> Decimal:
    """The highest leverage at which a position can be opened at the mark and its fee paid, rounded down to 0.1."""
    exact = Decimal(WAD) / (parameters.initial_margin + parameters.fee_rate)
    return exact.quantize(Decimal("0.1"), rounding="ROUND_DOWN")


def simulate(chain: Chain, setup: Setup, progress: Callable[[str, int, int], None] | None = None) -> Run:
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
    twin = Twin(chain, to_wad(first.price), setup.traders, MarketParameters(), VaultParameters())
    run = Run(setup, chain.network, _draw_traders(setup))
    try:
        _open_positions(twin, run, report)
        for step, transaction, time in _settlements(twin, setup.path):
            report("settling", step, len(setup.path.points) - 1)
            run.settlements.append(_settlement(twin, transaction, time))
            run.final = twin.check()
            run.max_difference = max(run.max_difference, run.final.max_difference)
    except Violation as violation:
        run.guarantees[violation.guarantee] = False
        run.violation = str(violation)
    closed = {number for settlement in run.settlements for number in settlement.closed}
    for trader in run.traders:
        trader.equity = twin.exchange.account(trader.number).equity
        trader.closed = trader.number in closed
    return run


def _draw_traders(setup: Setup) -> list[Trader]:
    rng = random.Random(setup.seed)
    sides = [number % 2 == 1 for number in range(setup.traders)]
    rng.shuffle(sides)
    return [Trader(number, is_long, rng.choice(COLLATERAL) * WAD) for number, is_long in enumerate(sides, start=1)]


def _open_positions(twin: Twin, run: Run, report: Callable[[str, int, int], None]) -> None:
    """Insure the market, fund everyone, and match longs with shorts at the mark until each has what it wants."""
    rng = random.Random(run.setup.seed + 1)
    if run.setup.insurance:
        twin.insure(run.setup.insurance * WAD)
    wanted: dict[int, int] = {}
    for done, trader in enumerate(run.traders, start=1):
        report("funding", done, len(run.traders))
        twin.deposit(trader.number, trader.deposited)
        leverage = 1 + (run.setup.leverage - 1) * Decimal(rng.randint(0, 100)) / 100
        wanted[trader.number] = int(trader.deposited * leverage) * WAD // twin.exchange.mark

    longs = [trader for trader in run.traders if trader.is_long]
    shorts = [trader for trader in run.traders if not trader.is_long]
    while longs and shorts:
        report("trading", len(run.traders) - len(longs) - len(shorts), len(run.traders))
        maker, taker = longs[0], shorts[0]
        size = min(wanted[maker.number], wanted[taker.number])
        _fill(twin, maker, taker, size)
        wanted[maker.number] -= size
        wanted[taker.number] -= size
        longs = [trader for trader in longs if _wants_more(twin, wanted[trader.number])]
        shorts = [trader for trader in shorts if _wants_more(twin, wanted[trader.number])]
    report("trading", len(run.traders), len(run.traders))


def _wants_more(twin: Twin, size: int) -> bool:
    """Whether what is left of a wish is more than the smallest position the market takes."""
    return size * twin.exchange.mark >= twin.model.parameters.min_notional * WAD


def _fill(twin: Twin, maker: Trader, taker: Trader, size: int) -> None:
    twin.trade(maker.number, taker.number, maker.is_long, size, twin.exchange.mark)
    maker.size += size
    taker.size += size


def _settlements(twin: Twin, path: PricePath) -> Iterator[tuple[int, Transaction, int]]:
    """Every settlement along the path: the point's number, the transaction, the path's time.

    A price becomes the oracle's answer as many seconds after the first one as in the path; prices that come faster than
    the chain's blocks (one a second) come as fast as they can.
    """
    start = twin.exchange.chain.now - path.points[0].timestamp
    for step, point in enumerate(path.points[1:], start=1):
        twin.exchange.chain.advance(max(0, start + point.timestamp - twin.exchange.chain.now))
        twin.set_price(to_wad(point.price))
        for transaction in twin.settle_fully():
            if receipts_in(transaction.logs):
                yield step, transaction, point.timestamp


def _settlement(twin: Twin, transaction: Transaction, time: int) -> Settlement:
    (receipt,) = receipts_in(transaction.logs)
    return Settlement(time, receipt, tuple(int(owner) for owner in twin.model.outcomes[-1].closed), transaction.gas)


def side_name(trader: Trader) -> str:
    """ "long" or "short"."""
    return "long" if trader.is_long else "short"


def loser_name(receipt: Receipt) -> str:
    """Which side lost a move: "longs" or "shorts"."""
    return "longs" if receipt.loser == LONG else "shorts"
