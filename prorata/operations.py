"""The operations whose gas is published, each in the smallest market it needs.

`tests/gas` measures them on Ape's embedded network, `prorata.profile` takes them apart in titanoboa.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prorata.chain import Chain, Transaction
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.units import WAD

MARK = 1000 * WAD
MAKER, TAKER, SECOND_MAKER, SECOND_TAKER, THIRD_MAKER, THIRD_TAKER, INSURER, SECOND_INSURER = range(1, 9)
TRADERS = (MAKER, TAKER, SECOND_MAKER, SECOND_TAKER, THIRD_MAKER, THIRD_TAKER)

#: Transactions to be measured, with their names in the snapshot.
Measured = Iterator[tuple[str, Transaction]]
Operation = Callable[[Exchange], Measured]


def market(chain: Chain) -> Exchange:
    """Traders and insurers with tokens, everyone flat; nobody has ever traded. With funding."""
    exchange = Exchange.deploy(
        chain,
        MARK,
        MarketParameters(max_funding=WAD // 400, cooloff=3_600),
        VaultParameters(redeem_cooldown=1),
    )
    for trader in TRADERS:
        exchange.fund(trader)
    for insurer in (INSURER, SECOND_INSURER):
        exchange.fund(insurer, exchange.vault)
    return exchange


def fill(exchange: Exchange, maker: int, taker: int, size: int = WAD, is_long: bool = True) -> Transaction:
    """A signed order at the mark, filled at once."""
    return exchange.trade(maker, taker, is_long, size, MARK)


def enter(exchange: Exchange, maker: int, taker: int, collateral: int) -> Transaction:
    """Two traders who deposit and open one unit, the maker long. Who deposits the same shares their buckets."""
    for trader in (maker, taker):
        exchange.deposit(trader, collateral)
    return fill(exchange, maker, taker)


def deposit(exchange: Exchange) -> Measured:
    """Of an account, in a market that holds tokens of others."""
    exchange.deposit(SECOND_MAKER, 1000 * WAD)
    yield "deposit_first", exchange.deposit(MAKER, 1000 * WAD)
    yield "deposit_repeat", exchange.deposit(MAKER, 1000 * WAD)


def deposit_position(exchange: Exchange) -> Measured:
    """From one bucket that stays live to another that is."""
    enter(exchange, THIRD_MAKER, THIRD_TAKER, 1010 * WAD)
    enter(exchange, SECOND_MAKER, SECOND_TAKER, 1000 * WAD)
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    yield "deposit_position", exchange.deposit(MAKER, 10 * WAD)


def withdraw_flat(exchange: Exchange) -> Measured:
    exchange.deposit(MAKER, 1000 * WAD)
    yield "withdraw_flat", exchange.withdraw(MAKER, 10 * WAD)


def _before_withdrawal(exchange: Exchange) -> None:
    """The maker may leave a bucket that stays live for another that is."""
    enter(exchange, THIRD_MAKER, THIRD_TAKER, 990 * WAD)
    enter(exchange, SECOND_MAKER, SECOND_TAKER, 1000 * WAD)
    enter(exchange, MAKER, TAKER, 1000 * WAD)


def withdraw_position(exchange: Exchange) -> Measured:
    _before_withdrawal(exchange)
    yield "withdraw_position", exchange.withdraw(MAKER, 10 * WAD)


def withdraw_moved(exchange: Exchange) -> Measured:
    """The mark moves in the same transaction."""
    _before_withdrawal(exchange)
    exchange.set_price(MARK * 101 // 100)
    yield "withdraw_position_moved", exchange.withdraw(MAKER, 10 * WAD)


def withdraw_fresh(exchange: Exchange) -> Measured:
    """From a bucket that it leaves empty to one that was: the most a withdrawal has to write."""
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    yield "withdraw_position_fresh", exchange.withdraw(MAKER, 10 * WAD)


def fill_open(exchange: Exchange) -> Measured:
    """
    first: nobody has ever traded, so levels and bitmap words are written too. fresh: the buckets were empty. live:
    others are in the buckets. returning: and both parties have traded before.
    """
    for trader in (MAKER, TAKER, SECOND_MAKER, SECOND_TAKER):
        exchange.deposit(trader, 1000 * WAD)
    for trader in (THIRD_MAKER, THIRD_TAKER):
        exchange.deposit(trader, 1010 * WAD)
    yield "fill_open_first", fill(exchange, THIRD_MAKER, THIRD_TAKER)
    yield "fill_open_fresh", fill(exchange, MAKER, TAKER)
    yield "fill_open_live", fill(exchange, SECOND_MAKER, SECOND_TAKER)
    fill(exchange, SECOND_MAKER, SECOND_TAKER, is_long=False)
    for trader in (SECOND_MAKER, SECOND_TAKER):
        exchange.deposit(trader, WAD)  # the fees of closing and opening, back to the others' bucket
    yield "fill_open_returning", fill(exchange, SECOND_MAKER, SECOND_TAKER)


def fill_increase(exchange: Exchange) -> Measured:
    """From buckets that stay live to others that are."""
    enter(exchange, THIRD_MAKER, THIRD_TAKER, 500 * WAD)
    enter(exchange, SECOND_MAKER, SECOND_TAKER, 1000 * WAD)
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    yield "fill_increase", fill(exchange, MAKER, TAKER)


def fill_close(exchange: Exchange) -> Measured:
    """Out of buckets that stay live."""
    enter(exchange, SECOND_MAKER, SECOND_TAKER, 1000 * WAD)
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    yield "fill_close", fill(exchange, MAKER, TAKER, is_long=False)


def fill_premium(exchange: Exchange) -> Measured:
    """As `fill_open_live`, above the mark: it leaves a premium, and finds one that has decayed."""
    for trader in (MAKER, TAKER, SECOND_MAKER, SECOND_TAKER):
        exchange.deposit(trader, 1000 * WAD)
    price = MARK * 10001 // 10000
    exchange.trade(SECOND_MAKER, SECOND_TAKER, True, WAD, price)
    yield "fill_open_premium", exchange.trade(MAKER, TAKER, True, WAD, price)


def fill_batch(exchange: Exchange) -> Measured:
    """Two makers and a taker, all with positions."""
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    enter(exchange, SECOND_MAKER, TAKER, 1000 * WAD)
    orders = [(maker, exchange.order(maker, True, WAD, MARK)) for maker in (MAKER, SECOND_MAKER)]
    fills = [(order, exchange.sign(maker, order), WAD) for maker, order in orders]
    yield "fill_batch_of_two", exchange.take_batch(TAKER, fills)


def _before_liquidation(exchange: Exchange) -> None:
    """The first maker may be liquidated at the index; the second shares his buckets, the third is rich."""
    for thin in (SECOND_MAKER, MAKER):
        exchange.deposit(thin, 53 * WAD)
        exchange.deposit(TAKER, 1000 * WAD)
        fill(exchange, thin, TAKER)
    enter(exchange, THIRD_MAKER, THIRD_TAKER, 1000 * WAD)
    exchange.set_price(MARK * 97 // 100)


def liquidate(exchange: Exchange) -> Measured:
    """Half a unit of an account, taken over by one with a position."""
    _before_liquidation(exchange)
    exchange.settle()
    yield "liquidate", exchange.liquidate(THIRD_MAKER, MAKER, WAD // 2)


def liquidate_moved(exchange: Exchange) -> Measured:
    """The mark moves in the same transaction."""
    _before_liquidation(exchange)
    yield "liquidate_moved", exchange.liquidate(THIRD_MAKER, MAKER, WAD // 2)


def settle_price(exchange: Exchange) -> Measured:
    """A price move that closes nobody, and then nothing to do."""
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    exchange.set_price(MARK * 101 // 100)
    yield "settle_price", exchange.settle()
    yield "settle_idle", exchange.settle()


def settle_funding(exchange: Exchange) -> Measured:
    """Funding is due: without a price move, and before one that closes nobody."""
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    for trader in (SECOND_MAKER, SECOND_TAKER):
        exchange.deposit(trader, 1000 * WAD)
    exchange.trade(SECOND_MAKER, SECOND_TAKER, True, WAD, MARK * 1001 // 1000)
    yield "settle_funding", exchange.settle()
    exchange.set_price(MARK * 101 // 100)
    yield "settle_quiet", exchange.settle()


def cancel(exchange: Exchange) -> Measured:
    yield "cancel", exchange.cancel(MAKER, exchange.order(MAKER, True, WAD, MARK))
    yield "cancel_all", exchange.chain.transact(exchange.order_book, "cancel_all", 1, sender=MAKER)


def insurance(exchange: Exchange) -> Measured:
    """Of a depositor, in a vault that holds others' assets and is owed fees."""
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    exchange.insure(SECOND_INSURER, 1000 * WAD)
    yield "insurance_deposit_first", exchange.insure(INSURER, 1000 * WAD)
    yield "insurance_deposit_repeat", exchange.insure(INSURER, 1000 * WAD)
    half = exchange.vault_shares(INSURER) // 2
    yield "insurance_request", exchange.request_redeem(INSURER, half)
    yield "insurance_redeem_part", exchange.redeem(INSURER, half // 2)
    yield "insurance_redeem_all", exchange.redeem(INSURER, half - half // 2)


OPERATIONS: tuple[Operation, ...] = (
    deposit,
    deposit_position,
    withdraw_flat,
    withdraw_position,
    withdraw_moved,
    withdraw_fresh,
    fill_open,
    fill_increase,
    fill_close,
    fill_premium,
    fill_batch,
    liquidate,
    liquidate_moved,
    settle_price,
    settle_funding,
    cancel,
    insurance,
)
