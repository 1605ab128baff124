"""The operations whose gas is published, each in the smallest market it needs.

`tests/gas` measures them on Ape's embedded network, `prorata.profile` takes them apart in titanoboa.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from prorata.chain import Chain, Transaction
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.units import WAD

MARK = 1000 * WAD
MAKER, TAKER, SECOND_MAKER, SECOND_TAKER, THIRD_MAKER, THIRD_TAKER, FOURTH_MAKER, FIFTH_MAKER, SIXTH_MAKER = range(
    1, 10
)
TRADERS = range(MAKER, SIXTH_MAKER + 1)
INSURER, SECOND_INSURER = 10, 11

#: With funding.
PARAMETERS = MarketParameters(max_funding=WAD // 400, cooloff=3_600)

#: Transactions to be measured, with their names in the snapshot.
Measured = Iterator[tuple[str, Transaction]]
Operation = Callable[[Exchange], Measured]


def market(chain: Chain, parameters: MarketParameters = PARAMETERS) -> Exchange:
    """Traders and insurers with tokens, everyone flat; nobody has ever traded."""
    exchange = Exchange.deploy(chain, MARK, parameters, VaultParameters(redeem_cooldown=1))
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


def fill_increase_within(exchange: Exchange) -> Measured:
    """By so little that both stay in their buckets."""
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    yield "fill_increase_within", fill(exchange, MAKER, TAKER, WAD // 10_000)


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
    """
    Makers who may be liquidated at 970, and rich ones; three of each, all alike: the first pair's liquidation leaves
    both their new buckets live, and the third pair keeps the old ones so.
    """
    for thin in (MAKER, SECOND_MAKER, FOURTH_MAKER):
        exchange.deposit(thin, 53 * WAD)
        exchange.deposit(TAKER, 1000 * WAD)
        fill(exchange, thin, TAKER)
    for rich in (THIRD_MAKER, FIFTH_MAKER, SIXTH_MAKER):
        enter(exchange, rich, THIRD_TAKER, 1000 * WAD)


def liquidate(exchange: Exchange) -> Measured:
    """Half a unit of an account, taken over by one with a position; live buckets."""
    _before_liquidation(exchange)
    exchange.set_price(MARK * 97 // 100)
    exchange.liquidate(FIFTH_MAKER, SECOND_MAKER, WAD // 2)
    yield "liquidate", exchange.liquidate(THIRD_MAKER, MAKER, WAD // 2)


def liquidate_moved(exchange: Exchange) -> Measured:
    """The mark moves in the same transaction."""
    _before_liquidation(exchange)
    exchange.set_price(MARK * 971 // 1000)
    exchange.liquidate(FIFTH_MAKER, SECOND_MAKER, WAD // 2)
    exchange.set_price(MARK * 97 // 100)
    yield "liquidate_moved", exchange.liquidate(THIRD_MAKER, MAKER, WAD // 2)


def liquidate_fresh(exchange: Exchange) -> Measured:
    """Both new buckets were empty."""
    _before_liquidation(exchange)
    exchange.set_price(MARK * 97 // 100)
    exchange.settle()
    yield "liquidate_fresh", exchange.liquidate(THIRD_MAKER, MAKER, WAD // 2)


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
    yield "cancel_all", exchange.chain.transact(exchange.market, "cancel_all", 1, sender=MAKER)


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


def fill_batch_warm(exchange: Exchange) -> Measured:
    """
    As `fill_batch` with one maker more: the difference is a fill that finds the market warm. Its maker leaves a bucket
    that stays live for another that is. No other operation can be done twice in one transaction.
    """
    makers = (MAKER, SECOND_MAKER, THIRD_MAKER)
    for maker in makers:
        enter(exchange, maker, TAKER, 1000 * WAD)
    orders = [(maker, exchange.order(maker, True, WAD, MARK)) for maker in makers]
    fills = [(order, exchange.sign(maker, order), WAD) for maker, order in orders]
    yield "fill_batch_of_three", exchange.take_batch(TAKER, fills)


def catch_up(exchange: Exchange) -> Measured:
    """Steps that do not reach the index. The liquidation makes one; it takes over a short that is thin after it."""
    enter(exchange, THIRD_TAKER, THIRD_MAKER, 10_000 * WAD)
    exchange.deposit(MAKER, 1_300 * WAD)
    exchange.deposit(TAKER, 10_000 * WAD)
    fill(exchange, MAKER, TAKER, is_long=False)
    exchange.set_price(MARK * 5)
    yield "settle_limited", exchange.settle()
    yield "liquidate_catch_up", exchange.liquidate(THIRD_MAKER, MAKER, WAD // 2)


def reduce_only(exchange: Exchange) -> Measured:
    """As `fill_close`, while the guardian lets nobody add risk."""
    guardian = exchange.chain.address(INSURER)
    supervised = market(exchange.chain, replace(PARAMETERS, guardian=guardian))
    enter(supervised, SECOND_MAKER, SECOND_TAKER, 1000 * WAD)
    enter(supervised, MAKER, TAKER, 1000 * WAD)
    yield "set_reduce_only", supervised.set_reduce_only(True, INSURER)
    yield "fill_close_reduce_only", fill(supervised, MAKER, TAKER, is_long=False)


def closed(exchange: Exchange) -> Measured:
    """A dead oracle is reported, the market closed and settled for the last time; a trader takes out what is left."""
    enter(exchange, SECOND_MAKER, SECOND_TAKER, 1000 * WAD)
    enter(exchange, MAKER, TAKER, 1000 * WAD)
    exchange.chain.advance(PARAMETERS.max_staleness + 1)
    yield "wind_down_report", exchange.wind_down()
    exchange.chain.advance(PARAMETERS.oracle_grace)
    yield "wind_down_close", exchange.wind_down()
    yield "settle_closed", exchange.settle()
    yield "withdraw_epoch_over", exchange.withdraw(MAKER, 10 * WAD)


def guarded(exchange: Exchange) -> Measured:
    """
    With every defence on: a fill into live buckets whose margin and open interest are held against insurance, and the
    first of several steps to the index.
    """
    defended = market(exchange.chain, MarketParameters.guarded())
    defended.insure(INSURER, 1000 * WAD)
    enter(defended, SECOND_MAKER, SECOND_TAKER, 1000 * WAD)
    for trader in (MAKER, TAKER):
        defended.deposit(trader, 1000 * WAD)
    yield "fill_open_guarded", fill(defended, MAKER, TAKER)
    defended.set_price(MARK * 102 // 100)
    yield "settle_guarded", defended.settle()


OPERATIONS: tuple[Operation, ...] = (
    deposit,
    deposit_position,
    withdraw_flat,
    withdraw_position,
    withdraw_moved,
    withdraw_fresh,
    fill_open,
    fill_increase,
    fill_increase_within,
    fill_close,
    fill_premium,
    fill_batch,
    liquidate,
    liquidate_moved,
    liquidate_fresh,
    settle_price,
    settle_funding,
    cancel,
    insurance,
    fill_batch_warm,
    catch_up,
    reduce_only,
    closed,
    guarded,
)
