"""The settlement that costs most: what somebody can prepare with dust, and that it neither runs out of gas nor stops.

A call does three kinds of work. It looks at buckets of the losing side, of which it closes at most `max_buckets` (and
those that end at the very edge of the last one); it looks at words of bitmap in vain, at most `max_words` of them; and
before and after that it does the same things whatever is filed. So the worst call uses up both budgets, makes each look
and each bucket as dear as it can be, and leaves nothing out of the rest:

- Every bucket closed is the only one of its word, and not the word's highest: its word is read cold and found by a look
  in vain, and written. Between two of them lies a word with nothing in it, so that the budgets end together.
- A look chooses among all levels that hold shares on the side, so as many as there can be are live. A level is the
  logarithm of width * scale * mark: the mark falls by halves through all prices the market accepts, then the scale by
  halves to the least an epoch allows, with a dust short left behind at each. Neither can go further within an epoch,
  and a new epoch has no levels.
- The budgets end at an edge where a bucket of every level that the mark passed on its way up again ends too.
- Funding moves first and price after it, each with a scan of its own (were longs to pay the funding, their levels would
  be read as well: a slot a level, nothing a look); the vault is asked, its window of draws opens and it pays in tokens;
  winners are socialized and deleveraged short of the index for the first time; and it trips.

What an attacker pays for is a minimal position a bucket; that the price visits so many levels is not in his hands.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.metered_chain import MeteredChain
from prorata.parameters import MarketParameters
from prorata.receipts import Receipt, receipts_in
from prorata.revm_chain import RevmChain
from prorata.units import INDEX_UNIT, LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD
from tests import figures
from tests.gas.conftest import Snapshot

LIMIT = 10_000_000
BUYER, SELLER, INSURER, WRECKER, FIRST_OF_DUST = range(1, 6)
#: The largest budgets a deployment may have, the narrowest buckets, the smallest positions, and margins to match.
PARAMETERS = MarketParameters(
    initial_margin=WAD * 12 // 1000,
    maintenance_margin=WAD * 11 // 1000,
    max_buckets=128,
    max_words=320,
    bucket_width=WAD // 10**4,
    min_notional=10**15,
    max_funding=WAD // 400,
    cooloff=3_600,
    max_staleness=10**9,
)
#: Buckets that one look can see.
WORD = 256
#: How often the scale can be halved before it ends the epoch.
HALVINGS = 13
#: How often the mark doubles between dust and crash: the buckets of the dust are narrow against the move.
DOUBLINGS = 7
#: Buckets that the first call leaves to the second.
SPARE = 16


@dataclass
class Attack:
    """A market being prepared. Dust is short; the buyer is on the other side of all of it."""

    exchange: Exchange
    dust: int = 0
    levels: set[int] = field(default_factory=set)

    @property
    def level(self) -> int:
        """Where whoever adds risk now is filed."""
        width = PARAMETERS.bucket_width * self.exchange.side(SHORT).scale * self.exchange.mark // WAD
        return width.bit_length() - 1

    def walk(self, price: int) -> None:
        """Bring the mark to a price, in as many steps as that takes."""
        self.exchange.set_price(price)
        while self.exchange.mark != price:
            self.exchange.settle()

    def file(self, buckets: list[int]) -> None:
        """A dust short in each of these buckets of the present level."""
        exchange, level, mark, short = self.exchange, self.level, self.exchange.mark, self.exchange.side(SHORT)
        # A little more than the least: a position is rounded down to shares.
        size = -(-PARAMETERS.min_notional * WAD // mark) + WAD // 10**9
        fee = -(-size * mark // WAD) * PARAMETERS.fee_rate // WAD + 2
        order = exchange.order(BUYER, True, size * len(buckets), mark)
        signature = exchange.sign(BUYER, order)
        for bucket in buckets:
            owner = FIRST_OF_DUST + self.dust
            middle = (bucket << level) + (1 << level - 1)
            collateral = size * WAD // short.scale * (short.index - middle) // INDEX_UNIT
            exchange.deposit(SELLER, collateral + fee, to=owner)
            exchange.take(owner, order, signature, size)
            self.dust += 1
        filed = exchange.account(owner)
        assert (filed.level, filed.bucket) == (level, buckets[-1])
        self.levels.add(level)

    def leave_behind(self) -> None:
        """A dust short that no price to come will close."""
        short = self.exchange.side(SHORT)
        self.file([short.index - short.scale * (self.exchange.mark << DOUBLINGS + 1) >> self.level])

    def halve_scale(self) -> None:
        """Double open interest, and let the new half of the longs be closed with something left."""
        exchange, mark = self.exchange, self.exchange.mark
        size = exchange.side(LONG).open_interest
        exchange.deposit(WRECKER, size * mark // WAD * 6 // 100)
        exchange.trade(WRECKER, SELLER, True, size, mark)
        self.walk(mark * 945 // 1000)
        assert exchange.account(WRECKER).shares == 0
        self.walk(mark)


def prepare(chain: RevmChain) -> Attack:
    """Everything but the price that sets it off."""
    exchange = Exchange.deploy(chain, MAX_PRICE, PARAMETERS)
    for trader in (BUYER, SELLER, WRECKER):
        exchange.fund(trader)
    for trader in (BUYER, SELLER):
        exchange.deposit(trader, 10**10 * WAD)
    attack = Attack(exchange)

    # Levels, by the mark and then by the scale. The seller's own position keeps the side alive when the dust is gone.
    while exchange.mark // 2 > MIN_PRICE:
        attack.leave_behind()
        attack.walk(exchange.mark - exchange.mark // 2)
    for _ in range(HALVINGS):
        attack.leave_behind()
        attack.halve_scale()

    # Dust, in every other word from just out of the close-out margin's reach on.
    mark, level, short = exchange.mark, attack.level, exchange.side(SHORT)
    crashed_from = mark << DOUBLINGS
    nearest = short.index - short.scale * (crashed_from * 10105 // 10000 - mark)
    top = (nearest >> level) // WORD
    numbers = [(top - 2 * k) * WORD + WORD // 2 - 1 for k in range(PARAMETERS.max_buckets + SPARE)]
    attack.file(numbers)
    last_edge = numbers[PARAMETERS.max_buckets - 1] + 1 << level
    while exchange.mark != crashed_from:
        attack.walk(2 * exchange.mark)
        attack.file([(last_edge >> attack.level) - 1])

    # Most of the open interest, below the mark: shorts will owe funding.
    size = 10 * exchange.side(SHORT).open_interest
    exchange.trade(BUYER, SELLER, True, size, crashed_from * 999 // 1000)
    exchange.fund(INSURER, exchange.vault)
    exchange.insure(INSURER, WAD // 1000)
    chain.advance(86_400)
    return attack


@dataclass(frozen=True)
class Call:
    """One settlement: gas as the receipt has it, gas before refunds, what it did."""

    gas: int
    needed: int
    receipts: list[Receipt]

    @property
    def closed(self) -> int:
        """Buckets."""
        return sum(receipt.buckets_closed for receipt in self.receipts)


@dataclass(frozen=True)
class Aftermath:
    """A market that was attacked, how many levels were live, and the calls it took to settle."""

    exchange: Exchange
    levels: int
    calls: list[Call]


@pytest.fixture(scope="module")
def aftermath() -> Iterator[Aftermath]:
    """Prepared in pyrevm, measured in titanoboa."""
    prepared = RevmChain()
    attack = prepare(prepared)
    chain = MeteredChain.after(prepared)
    exchange = Exchange(chain, attack.exchange.addresses, attack.exchange.decimals)
    target = exchange.mark * 3 // 2
    exchange.set_price(target)
    calls: list[Call] = []
    while not calls or exchange.core.lagging:
        before = exchange.mark
        transaction = exchange.settle()
        calls.append(Call(transaction.gas, chain.needed, receipts_in(transaction.logs)))
        assert exchange.mark > before
    assert exchange.mark == target
    yield Aftermath(exchange, len(attack.levels), calls)


def test_the_budgets_are_the_largest() -> None:
    for larger in ({"max_buckets": PARAMETERS.max_buckets + 1}, {"max_words": PARAMETERS.max_words + 1}):
        with pytest.raises(Reverted, match="settlement budget out of range"):
            Exchange.deploy(RevmChain(), MAX_PRICE, replace(PARAMETERS, **larger))


def test_it_leaves_nothing_out(aftermath: Aftermath) -> None:
    funding, price = aftermath.calls[0].receipts
    assert aftermath.levels >= 60
    assert (funding.funding, price.funding) == (True, False)
    assert funding.buckets_closed > 0
    assert aftermath.calls[0].closed == PARAMETERS.max_buckets + DOUBLINGS
    assert price.mark_after < price.index_price
    assert price.covered > 0
    assert price.socialized > 0
    assert price.adl_shortfall > 0
    assert aftermath.exchange.core.reduce_only_until > 0


def test_bug_budgets_did_not_bound_the_gas_of_many_levels(aftermath: Aftermath, snapshot: Snapshot) -> None:
    """With budgets of 512 and 1,024, once allowed, and every look going through all levels twice, this took 45 M."""
    measured = {"worst_settle": max(call.gas for call in aftermath.calls)}
    figures.record("gas: worst call", measured)
    assert [call.needed for call in aftermath.calls if call.needed >= LIMIT] == []
    snapshot(measured)


def test_settling_comes_to_an_end(aftermath: Aftermath) -> None:
    """Every call brought the mark nearer, the fixture saw to that; nothing is left of the dust that was in the way."""
    assert len(aftermath.calls) > 1
    assert sum(call.closed for call in aftermath.calls) == PARAMETERS.max_buckets + DOUBLINGS + SPARE


def test_the_market_goes_on(aftermath: Aftermath) -> None:
    exchange = aftermath.exchange
    exchange.chain.advance(PARAMETERS.cooloff)
    assert (exchange.mode, exchange.epoch) == ("active", 0)
    exchange.trade(SELLER, BUYER, True, exchange.side(SHORT).open_interest // 2, exchange.mark)
    exchange.withdraw(BUYER, WAD)
    lower = exchange.mark * 9 // 10
    exchange.set_price(lower)
    exchange.settle()
    exchange.withdraw(SELLER, WAD)
    assert (exchange.mode, exchange.mark) == ("active", lower)
