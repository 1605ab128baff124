"""deposit(amount, account): at all times, without a price, for anybody; never to anybody's harm."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any

import pytest

from prorata.chain import Contract, Reverted, Transaction
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD, ZERO_ADDRESS
from tests.moves import travel

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

MAKER, TAKER, OTHER, STRANGER = 1, 2, 3, 4
MARK = 1000 * WAD
DAY = 86_400
P = MarketParameters()

# A token with one vice: it keeps a fee, says no, or says nothing.
VICIOUS_TOKEN = """
# pragma version 0.4.3
decimals: public(constant(uint8)) = 18
balanceOf: public(HashMap[address, uint256])
fee: uint256
answer: bool

@deploy
def __init__(fee: uint256, answer: bool):
    self.fee = fee
    self.answer = answer

@external
def mint(owner: address, amount: uint256):
    self.balanceOf[owner] += amount

@external
def approve(spender: address, amount: uint256):
    pass

@external
def transfer(to: address, amount: uint256) -> bool:
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[to] += amount - self.fee
    return self.answer

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount - self.fee
    return self.answer
"""
SILENT_TOKEN = VICIOUS_TOKEN.replace(" -> bool:", ":").replace("    return self.answer\n", "    pass\n")


def deploy_around(chain: RevmChain, token: Contract) -> tuple[Contract, Contract]:
    """A market whose collateral is `token`, and its vault."""
    feed = chain.deploy("MockAggregator", 18, MARK)
    trading = chain.deploy("TradingLogic", feed.address, P.as_tuple())
    address = chain.next_address(0, skip=1)
    vault = chain.deploy("InsuranceVault", token.address, address, *VaultParameters().as_tuple())
    contracts = (token, feed, vault, trading)
    return chain.deploy("PerpetualMarket", *(contract.address for contract in contracts), P.as_tuple()), vault


def kill_oracle(exchange: Exchange) -> None:
    """No usable answer, and the last one long ago."""
    exchange.chain.transact(exchange.feed, "set_round", 9, 0, exchange.chain.now, 9, sender=0)
    exchange.chain.advance(30 * DAY)
    with pytest.raises(Reverted):
        exchange.settle()


def events(transaction: Transaction, exchange: Exchange) -> list[tuple[str, dict[str, Any]]]:
    """What the market logged."""
    return [(log.name, dict(log.fields)) for log in transaction.logs if log.address == exchange.market.address]


def open_position(market: Twin | Exchange, maker_collateral: int, is_long: bool = True, size: int = WAD) -> None:
    """MAKER against a rich TAKER."""
    market.deposit(MAKER, maker_collateral)
    market.deposit(TAKER, 100_000 * WAD)
    market.trade(MAKER, TAKER, is_long, size, MARK)


class TestFlat:
    def test_for_oneself(self, twin_everywhere: TwinFactory) -> None:
        market = twin_everywhere()
        exchange = market.exchange
        amount = 123 * WAD + 7 * exchange.unit
        before = exchange.chain.call(exchange.token, "balanceOf", exchange.chain.address(MAKER))

        transaction = market.deposit(MAKER, amount)

        account = exchange.account(MAKER)
        assert (account.equity, account.shares) == (amount, 0)
        assert exchange.token_balance(exchange.market) == amount
        after = exchange.chain.call(exchange.token, "balanceOf", exchange.chain.address(MAKER))
        assert (before - after) * exchange.unit == amount
        owner = exchange.chain.address(MAKER)
        updated = {"account": owner, "collateral": amount, "shares": 0, "bucket_id": 0}
        deposited = {"sender": owner, "account": owner, "amount": exchange.to_units(amount)}
        assert events(transaction, exchange) == [("AccountUpdated", updated), ("Deposited", deposited)]

    def test_for_another(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        exchange = market.exchange
        transaction = market.deposit(STRANGER, 5 * WAD, to=MAKER)
        assert exchange.account(MAKER).equity == 5 * WAD
        assert exchange.account(STRANGER).equity == 0
        name, fields = events(transaction, exchange)[-1]
        assert (name, fields["sender"]) == ("Deposited", exchange.chain.address(STRANGER))
        assert fields["account"] == exchange.chain.address(MAKER)

    def test_adds_up(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        unit = market.exchange.unit
        for amount in (unit, 3 * WAD, 2 * unit):
            market.deposit(MAKER, amount)
        assert market.exchange.account(MAKER).equity == 3 * WAD + 3 * unit

    def test_needs_no_oracle(self, twin: TwinFactory) -> None:
        market = twin()
        kill_oracle(market.exchange)
        market.deposit(MAKER, 5 * WAD)
        assert market.exchange.account(MAKER).equity == 5 * WAD

    def test_of_the_most_a_market_may_hold(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange(decimals=6)
        most = 2**120 // 10**12 - 1
        made.chain.transact(made.token, "mint", made.chain.address(MAKER), most + 1, sender=0)
        made.chain.transact(made.market, "deposit", most - 5, made.chain.address(MAKER), sender=MAKER)
        with refused(made, "token: balance out of range"):
            made.deposit(MAKER, 6 * made.unit)
        made.deposit(MAKER, 5 * made.unit)
        assert made.account(MAKER).equity == most * made.unit


class TestWithPosition:
    @pytest.mark.parametrize("is_long", [True, False])
    def test_lowers_the_bucket_and_keeps_the_level(self, each_twin: TwinFactory, is_long: bool) -> None:
        market = each_twin()
        exchange = market.exchange
        open_position(market, 1500 * WAD, is_long)
        # The price doubles or halves: whoever files anew is filed a level up or down.
        travel(market, MARK * 2 if is_long else MARK // 2)
        old = exchange.account(MAKER)
        fresh_level = (P.bucket_width * exchange.mark).bit_length() - 1
        assert old.level == fresh_level + (-1 if is_long else 1)

        market.deposit(STRANGER, 10 * WAD, to=MAKER)

        new = exchange.account(MAKER)
        assert (new.side, new.shares, new.level) == (old.side, old.shares, old.level)
        assert old.equity + 10 * WAD - 1 <= new.equity <= old.equity + 10 * WAD
        # Ten of quote a unit of position lower, in buckets of 2**level: at most one off, by where in it one stood.
        expected = old.bucket - 10 * INDEX_UNIT // 2**old.level
        assert new.bucket in (expected, expected - 1)
        # The bucket holds the index at which the account runs out, computed anew.
        index = exchange.side(new.side).index
        runs_out = index - -(-new.equity * INDEX_UNIT // new.shares)
        assert new.edge - 2**new.level - INDEX_UNIT // new.shares <= runs_out < new.edge

    @pytest.mark.parametrize(("factor", "narrower"), [(Fraction(4), 0), (Fraction(1, 4), 2)])
    def test_of_ones_own_narrows_the_bucket_and_never_widens_it(
        self, twin: TwinFactory, factor: Fraction, narrower: int
    ) -> None:
        market = twin()
        open_position(market, 3200 * WAD, is_long=factor < 1)
        level = market.exchange.account(MAKER).level
        travel(market, int(MARK * factor))
        market.deposit(STRANGER, WAD, to=MAKER)
        assert market.exchange.account(MAKER).level == level
        market.deposit(MAKER, WAD)
        assert market.exchange.account(MAKER).level == level - narrower

    def test_does_not_settle_and_needs_no_oracle(self, twin: TwinFactory) -> None:
        market = twin()
        exchange = market.exchange
        open_position(market, 100 * WAD)
        market.set_price(MARK - 20 * WAD)
        sides = exchange.side(LONG), exchange.side(SHORT)
        kill_oracle(exchange)
        market.deposit(MAKER, 5 * WAD)
        paid_in = 105 * WAD - P.fee_rate * 1000
        assert paid_in - 2 <= exchange.account(MAKER).equity <= paid_in  # filed twice
        assert (exchange.side(LONG), exchange.side(SHORT), exchange.mark) == (*sides, MARK)

    def test_saves_an_account_from_a_price_that_nobody_has_settled(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 60 * WAD)
        market.set_price(MARK - 58 * WAD)
        market.deposit(MAKER, 30 * WAD)
        market.settle()
        assert market.exchange.account(MAKER).shares == WAD

    def test_of_a_fortune_into_the_smallest_position(self, exchange: ExchangeFactory) -> None:
        """The lowest bucket there can be: 2**120 quote a 1/1000 of size, far under every index."""
        made = exchange()
        open_position(made, 60 * WAD, size=WAD // 1000)
        fortune = 2**120 - 10**24
        made.chain.transact(made.token, "mint", made.chain.address(MAKER), fortune, sender=0)
        made.deposit(MAKER, fortune)
        paid_in = 60 * WAD - P.fee_rate + fortune
        assert paid_in - 2 <= made.account(MAKER).equity <= paid_in  # filed twice
        travel(made, MARK // 500)
        assert made.account(MAKER).shares == WAD // 1000
        left = paid_in - (MARK - MARK // 500) // 1000
        assert left - 2 <= made.account(MAKER).equity <= left

    def test_of_ones_own_helps_in_a_wide_bucket(self, exchange: ExchangeFactory) -> None:
        """Bought at 1000 with 990.65, now at 10: the long has 6.5 % left and puts in as much as makes it 9 %. In a
        bucket as wide as was right at 1000, 6.6 % of the price now, its close-out price would stay at 9.823 and take
        7.4 % of margin: the deposit would have bought nothing but a larger loss."""
        made = exchange(fee_rate=0)
        open_position(made, 990 * WAD + 65 * WAD // 100)
        travel(made, 10 * WAD)
        made.deposit(MAKER, WAD // 4)
        assert made.account(MAKER).equity * 1000 // (10 * WAD) in (89, 90)
        made.set_price(982 * WAD // 100)
        made.settle()
        assert made.account(MAKER).shares == WAD


class TestStranger:
    """Anyone may deposit for anyone; nobody may be harmed by it."""

    def test_one_wei_cannot_refile_into_a_wider_level(self, twin: TwinFactory) -> None:
        """A short in an even bucket of level 119: were it filed anew at the new price, its bucket would end one narrow
        width higher, above the close-out threshold, and the next tick would close it."""
        market = twin()
        exchange = market.exchange
        market.deposit(TAKER, 100_000 * WAD)
        collateral = 500 * WAD
        market.deposit(MAKER, collateral)
        market.trade(MAKER, TAKER, False, WAD, MARK)
        while exchange.account(MAKER).bucket % 2:
            market.deposit(MAKER, WAD // 3)
        victim = exchange.account(MAKER)

        # To where the threshold lies half a narrow bucket above the victim's.
        half = 2 ** (victim.level - 1)
        closeout = position(exchange, MAKER)[6]
        market.set_price(closeout - half * 100 // 101 // WAD)
        market.settle()
        side = exchange.side(SHORT)
        threshold = side.index - P.closeout_margin * exchange.mark
        fresh_level = (P.bucket_width * exchange.mark).bit_length() - 1
        wider_edge = ((victim.edge - 1 >> fresh_level) + 1) << fresh_level
        assert fresh_level == victim.level + 1
        assert victim.edge < threshold < wider_edge

        market.deposit(STRANGER, 1, to=MAKER)
        assert (exchange.account(MAKER).level, exchange.account(MAKER).bucket) == (victim.level, victim.bucket)
        market.set_price(exchange.mark + 1)
        market.settle()
        assert exchange.account(MAKER).shares == victim.shares

    @pytest.mark.parametrize("is_long", [True, False])
    def test_a_thousand_deposits_of_one_wei_cost_nothing(self, twin: TwinFactory, is_long: bool) -> None:
        market = twin()
        exchange = market.exchange
        open_position(market, 77 * WAD + 1, is_long, size=WAD * 10 // 7)
        market.set_price(MARK + 1234567)
        market.settle()
        before, sides = exchange.account(MAKER), (exchange.side(LONG), exchange.side(SHORT))
        for _ in range(1000):
            exchange.deposit(STRANGER, 1, to=MAKER)
            market.model.deposit(str(MAKER), market.model.vault.unit)
        after = exchange.account(MAKER)
        assert before.equity <= after.equity <= before.equity + 1000
        assert after.bucket in (before.bucket, before.bucket - 1)
        assert (exchange.side(LONG), exchange.side(SHORT)) == sides


class TestClosed:
    def test_starts_from_zero_after_its_bucket_was_closed(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        exchange = market.exchange
        open_position(market, 60 * WAD)
        market.deposit(OTHER, 1000 * WAD)
        market.trade(OTHER, TAKER, True, WAD, MARK)  # so that the epoch goes on
        market.set_price(940 * WAD)
        market.settle()
        assert (exchange.account(MAKER).equity, exchange.account(MAKER).shares) == (0, 0)
        assert exchange.epoch == 0

        market.deposit(MAKER, 100 * WAD)
        assert (exchange.account(MAKER).equity, exchange.account(MAKER).shares) == (100 * WAD, 0)
        # It is as new: what happens in its old bucket does not concern it, and it may trade in it again.
        market.trade(MAKER, TAKER, True, WAD, 940 * WAD)
        market.set_price(930 * WAD)
        market.settle()
        expected = 90 * WAD - P.fee_rate * 940
        assert exchange.account(MAKER).shares == WAD
        assert expected - 1 <= exchange.account(MAKER).equity <= expected

    def test_keeps_its_gain_after_an_epoch_ended(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        exchange = market.exchange
        open_position(market, 60 * WAD)
        market.set_price(945 * WAD)
        market.settle()
        assert exchange.epoch == 1
        gained = exchange.account(TAKER).equity
        assert gained > 100_050 * WAD
        market.deposit(TAKER, 3 * WAD)
        assert (exchange.account(TAKER).equity, exchange.account(TAKER).shares) == (gained + 3 * WAD, 0)


class TestRefused:
    def test_zero_amount(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        with refused(made, "account: zero amount"):
            made.deposit(MAKER, 0)

    def test_zero_address(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        with refused(made, "account: zero address"):
            made.chain.transact(made.market, "deposit", WAD, ZERO_ADDRESS, sender=MAKER)

    def test_unapproved(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        made.chain.transact(made.token, "approve", made.market.address, WAD - 1, sender=MAKER)
        with refused(made, "erc20: insufficient allowance"):
            made.deposit(MAKER, WAD)
        made.deposit(MAKER, WAD - 1)

    def test_more_than_one_has(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        balance = made.chain.call(made.token, "balanceOf", made.chain.address(MAKER))
        with refused(made, "erc20: transfer amount exceeds balance"):
            made.chain.transact(made.market, "deposit", balance + 1, made.chain.address(MAKER), sender=MAKER)
        made.chain.transact(made.market, "deposit", balance, made.chain.address(MAKER), sender=MAKER)

    @pytest.mark.parametrize(
        ("fee", "answer", "reason"), [(1, True, "token: fee on transfer"), (0, False, "token: transfer failed")]
    )
    def test_a_token_that_does_not_deliver(self, fee: int, answer: bool, reason: str) -> None:
        chain = RevmChain()
        token = chain.deploy_source(VICIOUS_TOKEN, fee, answer)
        chain.transact(token, "mint", chain.address(MAKER), WAD, sender=0)
        market, vault = deploy_around(chain, token)
        for target in (market, vault):
            with pytest.raises(Reverted, match=f"^{reason}$"):
                chain.transact(target, "deposit", WAD // 2, chain.address(MAKER), sender=MAKER)
        assert chain.call(token, "balanceOf", chain.address(MAKER)) == WAD
        assert chain.call(market, "account", chain.address(MAKER)) == (0, 0, 0, 0, 0)

    def test_but_a_token_that_says_nothing_is_accepted(self) -> None:
        chain = RevmChain()
        token = chain.deploy_source(SILENT_TOKEN, 0, False)
        chain.transact(token, "mint", chain.address(MAKER), WAD, sender=0)
        market, _ = deploy_around(chain, token)
        chain.transact(market, "deposit", WAD, chain.address(MAKER), sender=MAKER)
        assert chain.call(market, "account", chain.address(MAKER))[0] == WAD
        chain.transact(market, "withdraw", WAD - 1, sender=MAKER)
        assert chain.call(token, "balanceOf", chain.address(MAKER)) == WAD - 1


def test_a_donation_changes_nothing(exchange: ExchangeFactory, state: Callable[[Exchange], dict[str, Any]]) -> None:
    made = exchange(decimals=6)
    open_position(made, 100 * WAD)
    before = state(made)
    made.chain.transact(made.token, "transfer", made.market.address, 7_000_000, sender=STRANGER)

    after = state(made)
    giver, market = made.chain.address(STRANGER), made.market.address
    before["tokens"][giver] -= 7_000_000
    before["tokens"][market] += 7_000_000
    assert after == before

    made.deposit(OTHER, made.unit)
    assert made.account(OTHER).equity == made.unit
    with pytest.raises(Reverted, match=r"^account: above free collateral$"):
        made.withdraw(OTHER, 2 * made.unit)


def position(exchange: Exchange, trader: int) -> tuple[Any, ...]:
    """What the lens says of a trader."""
    address = exchange.chain.address(trader)
    return tuple(exchange.chain.call(exchange.lens, "position", exchange.market.address, address))
