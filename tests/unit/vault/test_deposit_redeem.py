"""ERC-4626 with the market in the room: every rounding against whoever asks, nobody in or out ahead of known news."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prorata.chain import Reverted, Transaction
from prorata.exchange import Exchange
from prorata.orders import ZERO_ADDRESS
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.twin import Twin
from prorata.units import MAX_PRICE, MIN_PRICE, WAD

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

DEPOSITOR, SECOND, ATTACKER, ACCOMPLICE, LONG_TRADER, RICH, SURVIVOR, STRANGER = range(1, 9)
MARK = 1000 * WAD
OFFSET = 10**6  # virtual shares; beside one virtual token unit
P = MarketParameters()
ONE_MARKET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


# -------------------------------------------------------------------------------------------------------------- helpers


def address(exchange: Exchange, trader: int) -> str:
    return exchange.chain.address(trader)


def call(exchange: Exchange, function: str, *arguments: Any) -> int:
    return int(exchange.chain.call(exchange.vault, function, *arguments))


def send(
    exchange: Exchange, function: str, amount: int, trader: int, receiver: int | None = None, owner: int | None = None
) -> Transaction:
    """deposit, mint, withdraw or redeem, of token units or shares."""
    parties = [address(exchange, trader if receiver is None else receiver)]
    if function in ("withdraw", "redeem"):
        parties.append(address(exchange, trader if owner is None else owner))
    return exchange.chain.transact(exchange.vault, function, amount, *parties, sender=trader)


def moved(transaction: Transaction) -> tuple[int, int]:
    """Assets and shares of the one entry or exit in a transaction."""
    (log,) = [log for log in transaction.logs if log.name in ("Deposit", "Withdraw")]
    return log.fields["assets"], log.fields["shares"]


def tokens(exchange: Exchange, trader: int) -> int:
    return int(exchange.chain.call(exchange.token, "balanceOf", address(exchange, trader)))


def shares(exchange: Exchange, trader: int) -> int:
    return call(exchange, "balanceOf", address(exchange, trader))


def total(exchange: Exchange) -> tuple[int, int]:
    """Assets, counted from what is held and owed, and shares, the virtual ones included: a share's price."""
    assets = call(exchange, "held") + exchange.insurance_owed // exchange.unit
    assert assets == call(exchange, "totalAssets")
    return assets + 1, call(exchange, "totalSupply") + OFFSET


def open_vault(exchange: Exchange, *depositors: int) -> Exchange:
    for depositor in depositors or (DEPOSITOR, SECOND, ATTACKER):
        exchange.approve(depositor, exchange.vault)
    return exchange


def earn(exchange: Exchange, notional: int = 200_000 * WAD) -> None:
    """Fees of 1/1000 of a notional, paid by two accounts that trade with each other and stop again."""
    for trader in (ATTACKER, ACCOMPLICE):
        exchange.approve(trader, exchange.market)
        exchange.deposit(trader, notional // 10)
    size = notional * WAD // MARK // 2
    exchange.trade(ATTACKER, ACCOMPLICE, True, size, MARK)
    exchange.trade(ATTACKER, ACCOMPLICE, False, size, MARK)


def odd_price(exchange: Exchange) -> Exchange:
    """A vault whose shares are worth no round amount."""
    open_vault(exchange)
    send(exchange, "deposit", 777_777_777, SECOND)
    earn(exchange, 123_450 * WAD)
    assets, supply = total(exchange)
    assert assets * OFFSET % supply and supply % assets
    return exchange


def leverage(exchange: Exchange, *collaterals: int, survivor: bool = True) -> None:
    """One long of a unit with each of these collaterals, and one that never fails, against RICH."""
    exchange.deposit(RICH, 10**6 * WAD)
    traders = (LONG_TRADER, STRANGER, DEPOSITOR)
    for trader, collateral in zip(traders, collaterals, strict=False):
        exchange.deposit(trader, collateral * WAD)
        exchange.trade(trader, RICH, True, WAD, MARK)
    if survivor:
        exchange.deposit(SURVIVOR, 5000 * WAD)
        exchange.trade(SURVIVOR, RICH, True, WAD, MARK)


#: Each with an amount that is fine in `odd_price`.
FUNCTIONS = {"deposit": 1_000_003, "mint": 10**12 + 7, "withdraw": 1_000_003, "redeem": 10**12 + 7}


# -------------------------------------------------------------------------------------------------- the four, by hand


class TestFirst:
    def test_deposit(self, exchange_everywhere: ExchangeFactory) -> None:
        made = open_vault(exchange_everywhere())
        before = tokens(made, DEPOSITOR)

        transaction = send(made, "deposit", 5_000_000, DEPOSITOR, receiver=SECOND)

        assert shares(made, SECOND) == call(made, "totalSupply") == 5_000_000 * OFFSET
        assert shares(made, DEPOSITOR) == 0
        assert before - tokens(made, DEPOSITOR) == 5_000_000
        assert call(made, "held") == call(made, "totalAssets") == 5_000_000
        log = transaction.logs[-1]
        assert (log.name, log.fields) == (
            "Deposit",
            {
                "sender": address(made, DEPOSITOR),
                "owner": address(made, SECOND),
                "assets": 5_000_000,
                "shares": 5_000_000 * OFFSET,
            },
        )

        transaction = send(made, "redeem", 2_000_000 * OFFSET, SECOND, receiver=STRANGER)
        log = transaction.logs[-1]
        assert (log.name, log.fields) == (
            "Withdraw",
            {
                "sender": address(made, SECOND),
                "receiver": address(made, STRANGER),
                "owner": address(made, SECOND),
                "assets": 2_000_000,
                "shares": 2_000_000 * OFFSET,
            },
        )
        assert call(made, "held") == 3_000_000

    def test_shares_have_six_digits_more_than_the_token(self, each_exchange: ExchangeFactory) -> None:
        made = open_vault(each_exchange())
        send(made, "deposit", 10**made.decimals, DEPOSITOR)
        assert shares(made, DEPOSITOR) == 10 ** call(made, "decimals")


class TestRounding:
    """With assets a and shares s, the virtual ones among them."""

    def test_deposit_gives_fewer_shares(self, each_exchange: ExchangeFactory) -> None:
        made = odd_price(each_exchange())
        a, s = total(made)
        amount = FUNCTIONS["deposit"]
        assert amount * s % a
        assert moved(send(made, "deposit", amount, DEPOSITOR)) == (amount, amount * s // a)
        assert shares(made, DEPOSITOR) == amount * s // a

    def test_mint_takes_more_assets(self, each_exchange: ExchangeFactory) -> None:
        made = odd_price(each_exchange())
        a, s = total(made)
        amount, before = FUNCTIONS["mint"], tokens(made, DEPOSITOR)
        assert amount * a % s
        assert moved(send(made, "mint", amount, DEPOSITOR)) == (amount * a // s + 1, amount)
        assert before - tokens(made, DEPOSITOR) == amount * a // s + 1

    def test_withdraw_takes_more_shares(self, each_exchange: ExchangeFactory) -> None:
        made = odd_price(each_exchange())
        a, s = total(made)
        amount, before = FUNCTIONS["withdraw"], shares(made, SECOND)
        assert amount * s % a
        assert moved(send(made, "withdraw", amount, SECOND)) == (amount, amount * s // a + 1)
        assert before - shares(made, SECOND) == amount * s // a + 1

    def test_redeem_gives_fewer_assets(self, each_exchange: ExchangeFactory) -> None:
        made = odd_price(each_exchange())
        a, s = total(made)
        amount, before = FUNCTIONS["redeem"], tokens(made, SECOND)
        assert amount * a % s
        assert moved(send(made, "redeem", amount, SECOND)) == (amount * a // s, amount)
        assert tokens(made, SECOND) - before == amount * a // s

    def test_conversions_are_rounded_down(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        a, s = total(made)
        for amount in (1, 999_983, 10**12 + 39):
            assert call(made, "convertToShares", amount) == amount * s // a
            assert call(made, "convertToAssets", amount) == amount * a // s

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_preview_is_what_happens_when_nothing_is_pending(
        self, each_exchange: ExchangeFactory, function: str
    ) -> None:
        made = odd_price(each_exchange())
        trader = DEPOSITOR if function in ("deposit", "mint") else SECOND
        amount = FUNCTIONS[function]
        preview = call(made, f"preview{function.capitalize()}", amount)
        assets, burnt_or_minted = moved(send(made, function, amount, trader))
        assert preview == (assets if function in ("mint", "redeem") else burnt_or_minted)


class TestNobodyProfits:
    """Whatever one does and undoes, one ends with no more tokens, and everybody else's shares are worth no less."""

    @given(st.lists(st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.integers(1, 10**10)), min_size=1, max_size=6))
    @ONE_MARKET
    def test_in_any_round_trip(self, exchange: ExchangeFactory, steps: list[tuple[str, int]]) -> None:
        made = odd_price(exchange(decimals=6))
        begun = tokens(made, DEPOSITOR)
        for function, amount in steps:
            if function in ("mint", "redeem"):
                amount *= 999_983
            a, s = total(made)
            try:
                send(made, function, amount, DEPOSITOR)
            except Reverted:
                continue
            a2, s2 = total(made)
            assert a2 * s >= a * s2, function
        left = shares(made, DEPOSITOR)
        if call(made, "previewRedeem", left):
            send(made, "redeem", left, DEPOSITOR)
        assert tokens(made, DEPOSITOR) <= begun

    @given(st.integers(10, 10**12))
    @ONE_MARKET
    def test_by_there_and_back(self, exchange: ExchangeFactory, assets: int) -> None:
        made = odd_price(exchange(decimals=6))
        _, minted = moved(send(made, "deposit", assets, DEPOSITOR))
        with made.chain.anchor():
            back, _ = moved(send(made, "redeem", minted, DEPOSITOR))
            assert assets - 2 <= back <= assets
        with made.chain.anchor():
            most = call(made, "maxWithdraw", address(made, DEPOSITOR))
            assert most <= assets
            _, burnt = moved(send(made, "withdraw", most, DEPOSITOR))
            assert burnt <= minted
        with made.chain.anchor():
            cost, _ = moved(send(made, "mint", minted, DEPOSITOR))
            gain, _ = moved(send(made, "redeem", minted, DEPOSITOR))
            assert cost - 2 <= gain <= cost


# -------------------------------------------------------------------------------------------------------------- attacks


class TestInflation:
    def test_of_an_empty_vault_does_not_pay(self, each_exchange: ExchangeFactory) -> None:
        """The attacker is first with one token unit and lets 1,000 of fees fall on it. The next one deposits 100: it
        loses next to nothing, the attacker half of what it spent, to the virtual shares."""
        made = open_vault(each_exchange())
        dollar = 10**made.decimals
        send(made, "deposit", 1, ATTACKER)
        earn(made, 10**6 * WAD)
        spent = 1 + 1000 * dollar
        assert total(made) == (spent + 1, 2 * OFFSET)

        _, minted = moved(send(made, "deposit", 100 * dollar, DEPOSITOR))
        assert minted > 0
        victim = call(made, "previewRedeem", minted)
        attacker = call(made, "previewRedeem", shares(made, ATTACKER))
        price = spent // (2 * OFFSET) + 1  # of one share: all that rounding can cost
        assert 100 * dollar - price <= victim <= 100 * dollar
        assert abs(attacker - spent // 2) <= price
        assert (spent - attacker) >= (OFFSET - 1) * (100 * dollar - victim)

    def test_nor_of_a_vault_with_one_large_victim(self, exchange: ExchangeFactory) -> None:
        """However much is burnt: the profit of the attacker stays below zero."""
        for burnt in (10, 10**4, 10**7):
            made = open_vault(exchange(decimals=6))
            send(made, "deposit", 1, ATTACKER)
            earn(made, burnt * 1000 * WAD)
            spent = call(made, "totalAssets")
            assert spent == 1 + burnt * 10**6
            send(made, "deposit", 2 * spent, DEPOSITOR)
            assert call(made, "previewRedeem", shares(made, ATTACKER)) < spent * 6 // 10

    def test_too_little_for_one_share_is_refused(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = open_vault(exchange(decimals=6))
        send(made, "deposit", 1, ATTACKER)
        earn(made, 10**7 * WAD)
        a, s = total(made)
        smallest = a // s + 1  # assets for one share
        assert smallest == 5001
        with refused(made, "vault: zero assets or shares"):
            send(made, "deposit", smallest - 1, DEPOSITOR)
        assert moved(send(made, "deposit", smallest, DEPOSITOR)) == (smallest, 1)

    def test_a_donation_changes_nothing(
        self, each_exchange: ExchangeFactory, state: Callable[[Exchange], dict[str, Any]]
    ) -> None:
        made = odd_price(each_exchange())
        before, previews = state(made), [call(made, f"preview{name.capitalize()}", n) for name, n in FUNCTIONS.items()]
        made.chain.transact(made.token, "transfer", made.vault.address, 10**12, sender=STRANGER)
        after = state(made)
        assert after["tokens"].pop(made.vault.address) == before["tokens"].pop(made.vault.address) + 10**12
        giver = address(made, STRANGER)
        assert after["tokens"].pop(giver) == before["tokens"].pop(giver) - 10**12
        assert after == before
        assert [call(made, f"preview{name.capitalize()}", n) for name, n in FUNCTIONS.items()] == previews
        # A deposit is still measured by what it brings itself.
        assert moved(send(made, "deposit", 1_000_003, DEPOSITOR)) == (1_000_003, previews[0])


# -------------------------------------------------------------------------------------------------- the market's news


class TestSettlesFirst:
    def known_surplus(self, exchange: Exchange) -> tuple[int, int]:
        """A long with 60 fell to 945: once settled, some 5 go to the vault. Assets and shares as they will be then."""
        leverage(exchange, 60)
        exchange.set_price(945 * WAD)
        with exchange.chain.anchor():
            before, _ = total(exchange)
            (receipt,) = receipts_in(exchange.settle().logs)
            assert receipt.surplus > 4 * WAD
            a, s = total(exchange)
            assert a - before >= 4 * WAD // exchange.unit
        return a, s

    def known_loss(self, exchange: Exchange) -> tuple[int, int]:
        """A long with 60 fell to 900: once settled, some 40 are paid by the vault."""
        leverage(exchange, 60)
        exchange.set_price(900 * WAD)
        with exchange.chain.anchor():
            before, _ = total(exchange)
            (receipt,) = receipts_in(exchange.settle().logs)
            assert receipt.covered > 39 * WAD
            a, s = total(exchange)
            assert before - a >= 39 * WAD // exchange.unit
        return a, s

    @pytest.mark.parametrize("news", ["known_surplus", "known_loss"])
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_every_price_knows_the_news(self, each_exchange: ExchangeFactory, news: str, function: str) -> None:
        made = odd_price(each_exchange())
        send(made, "deposit", 10**3 * 10**made.decimals, SECOND)
        a, s = getattr(self, news)(made)
        amount = FUNCTIONS[function]
        trader = DEPOSITOR if function in ("deposit", "mint") else SECOND
        assets, number = moved(send(made, function, amount, trader))
        expected = {
            "deposit": (amount, amount * s // a),
            "mint": (-(-amount * a // s), amount),
            "withdraw": (amount, -(-amount * s // a)),
            "redeem": (amount * a // s, amount),
        }
        assert (assets, number) == expected[function]
        assert made.mark != MARK

    def test_nobody_enters_before_a_surplus(self, exchange: ExchangeFactory) -> None:
        """In before and out after it: no share of what was there to be known."""
        made = open_vault(exchange(decimals=6, fee_rate=0))
        send(made, "deposit", 100 * 10**6, SECOND)
        self.known_surplus(made)
        _, minted = moved(send(made, "deposit", 10**6 * 10**6, ATTACKER))
        back, _ = moved(send(made, "redeem", minted, ATTACKER))
        assert 10**12 - 2 <= back <= 10**12
        assert call(made, "previewRedeem", shares(made, SECOND)) > 104 * 10**6

    def test_nobody_leaves_before_a_loss(self, exchange: ExchangeFactory) -> None:
        made = open_vault(exchange(decimals=6, fee_rate=0))
        for depositor in (DEPOSITOR, SECOND):
            send(made, "deposit", 100 * 10**6, depositor)
        self.known_loss(made)
        first, _ = moved(send(made, "redeem", shares(made, DEPOSITOR), DEPOSITOR))
        second, _ = moved(send(made, "redeem", shares(made, SECOND), SECOND))
        assert abs(first - 80 * 10**6) <= 1 and abs(first - second) <= 1

    def test_twin_agrees_on_entries_and_exits(self, twin_everywhere: TwinFactory) -> None:
        market = twin_everywhere()
        market.insure(100 * WAD)
        market.deposit(RICH, 10**6 * WAD)
        for trader, collateral in ((LONG_TRADER, 60), (ACCOMPLICE, 75), (SURVIVOR, 5000)):
            market.deposit(trader, collateral * WAD)
            market.trade(trader, RICH, True, WAD, MARK)
        market.set_price(945 * WAD)
        market.insure(50 * WAD)
        market.check()
        market.set_price(900 * WAD)
        market.redeem(market.exchange.vault_shares(0) // 3)
        market.check()
        market.redeem(market.exchange.vault_shares(0))
        assert market.exchange.vault_shares(0) == 0


class TestShut:
    def trader_of(self, function: str) -> int:
        return DEPOSITOR if function in ("deposit", "mint") else SECOND

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_in_catch_up(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = odd_price(exchange(decimals=6, max_buckets=1))
        send(made, "deposit", 10**9, SECOND)
        leverage(made, 60, 70, 80)
        made.set_price(850 * WAD)
        for _ in range(2):
            with refused(made, "mode: catch-up"):
                send(made, function, FUNCTIONS[function], self.trader_of(function))
            made.settle()
            assert made.mark > 850 * WAD
        # The third settlement is its own, and arrives.
        send(made, function, FUNCTIONS[function], self.trader_of(function))
        assert made.mark == 850 * WAD

    @pytest.mark.parametrize("function", FUNCTIONS)
    @pytest.mark.parametrize(
        ("reason", "round_id", "answer", "delay", "answered_in"),
        [
            ("oracle: non-positive answer", 5, 0, 0, 5),
            ("oracle: incomplete round", 5, MARK, 0, 4),
            ("oracle: future-dated", 5, MARK, 10, 5),
            ("oracle: stale", 5, MARK, -P.max_staleness - 1, 5),
            ("oracle: price out of range", 5, MAX_PRICE + 1, 0, 5),
            ("oracle: price out of range", 5, MIN_PRICE - 1, 0, 5),
        ],
    )
    def test_by_a_refused_price(
        self,
        exchange: ExchangeFactory,
        refused: Refused,
        function: str,
        reason: str,
        round_id: int,
        answer: int,
        delay: int,
        answered_in: int,
    ) -> None:
        made = odd_price(exchange(decimals=6))
        updated_at = made.chain.now + 2 + delay
        made.chain.transact(made.feed, "set_round", round_id, answer, updated_at, answered_in, sender=0)
        with refused(made, reason):
            send(made, function, FUNCTIONS[function], self.trader_of(function))
        made.set_price(MARK)
        send(made, function, FUNCTIONS[function], self.trader_of(function))

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_for_nothing(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = odd_price(exchange(decimals=6))
        with refused(made, "vault: zero assets or shares"):
            send(made, function, 0, self.trader_of(function))

    def test_for_a_share_worth_less_than_a_token_unit(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        a, s = total(made)
        worthless = s // a  # shares, just under one token unit
        with refused(made, "vault: zero assets or shares"):
            send(made, "redeem", worthless, SECOND)
        assert moved(send(made, "redeem", worthless + 1, SECOND)) == (1, worthless + 1)

    def test_for_the_zero_address(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        for function in ("deposit", "mint"):
            with refused(made, "erc20: mint to the zero address"):
                made.chain.transact(made.vault, function, FUNCTIONS[function], ZERO_ADDRESS, sender=DEPOSITOR)
        owner = address(made, SECOND)
        for function in ("withdraw", "redeem"):
            with refused(made, "erc20: transfer to the zero address"):
                made.chain.transact(made.vault, function, FUNCTIONS[function], ZERO_ADDRESS, owner, sender=SECOND)


# -------------------------------------------------------------------------------------------------- limits, allowance


class TestLimits:
    def test_max_redeem_and_max_withdraw_are_what_one_has(
        self, each_exchange: ExchangeFactory, refused: Refused
    ) -> None:
        made = odd_price(each_exchange())
        send(made, "deposit", 10**9 + 7, DEPOSITOR)
        owner = address(made, DEPOSITOR)
        a, s = total(made)
        held = shares(made, DEPOSITOR)
        assert call(made, "maxRedeem", owner) == held
        assert call(made, "maxWithdraw", owner) == held * a // s
        for function, most in (("redeem", held), ("withdraw", held * a // s)):
            with refused(made, "erc20: burn amount exceeds balance"):
                send(made, function, most + (1 if function == "redeem" else 2), DEPOSITOR)
            with made.chain.anchor():
                send(made, function, most, DEPOSITOR)
        for name in ("maxRedeem", "maxWithdraw"):
            assert call(made, name, address(made, STRANGER)) == 0

    def test_everybody_can_leave(self, each_exchange: ExchangeFactory) -> None:
        """The last one too, with the fees the market still holds; what stays behind are the virtual shares' crumbs."""
        made = odd_price(each_exchange())
        send(made, "deposit", 10**9 + 7, DEPOSITOR)
        for depositor in (DEPOSITOR, SECOND):
            send(made, "redeem", shares(made, depositor), depositor)
        assert call(made, "totalSupply") == 0
        held, balance = call(made, "held"), int(made.chain.call(made.token, "balanceOf", made.vault.address))
        assert held == balance
        # A millionth of a token unit's share of everything.
        assert total(made)[0] * 777_777_777 <= 2 * 777_777_777 * 10**made.decimals

    def test_sweeps_when_it_holds_too_little(self, each_exchange: ExchangeFactory) -> None:
        made = open_vault(each_exchange())
        send(made, "deposit", 100 * 10**made.decimals, DEPOSITOR)
        earn(made)
        owed = made.insurance_owed
        assert owed == 200 * WAD
        # To the last unit it holds there is no need to; for one unit more there is.
        send(made, "withdraw", call(made, "held"), DEPOSITOR)
        assert (call(made, "held"), made.insurance_owed) == (0, owed)
        send(made, "withdraw", 1, DEPOSITOR)
        assert (call(made, "held") * made.unit, made.insurance_owed) == (owed - made.unit, 0)
        assert call(made, "held") == int(made.chain.call(made.token, "balanceOf", made.vault.address))


class TestAllowance:
    @pytest.mark.parametrize("function", ["withdraw", "redeem"])
    def test_nobody_takes_anothers_shares(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = odd_price(exchange(decimals=6))
        with refused(made, "erc20: insufficient allowance"):
            send(made, function, FUNCTIONS[function], ATTACKER, owner=SECOND)

    @pytest.mark.parametrize("function", ["withdraw", "redeem"])
    def test_is_spent_to_the_share(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = odd_price(exchange(decimals=6))
        a, s = total(made)
        amount = FUNCTIONS[function]
        needed = amount if function == "redeem" else -(-amount * s // a)
        for allowance in (needed - 1, needed, needed + 5):
            made.chain.transact(made.vault, "approve", address(made, STRANGER), allowance, sender=SECOND)
            if allowance < needed:
                with refused(made, "erc20: insufficient allowance"):
                    send(made, function, amount, STRANGER, owner=SECOND)
                continue
            with made.chain.anchor():
                before = shares(made, SECOND), tokens(made, STRANGER)
                send(made, function, amount, STRANGER, owner=SECOND)
                assert before[0] - shares(made, SECOND) == needed
                assert tokens(made, STRANGER) > before[1]
                left = call(made, "allowance", address(made, SECOND), address(made, STRANGER))
                assert left == allowance - needed

    def test_of_tokens_binds_deposits(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        made.chain.transact(made.token, "approve", made.vault.address, 999, sender=DEPOSITOR)
        with refused(made, "erc20: insufficient allowance"):
            send(made, "deposit", 1000, DEPOSITOR)
        send(made, "deposit", 999, DEPOSITOR)


class TestStandard:
    """What ERC-4626 demands of previews and limits while news are pending or the vault is shut."""

    @pytest.mark.parametrize("price", [945, 900, 1040])
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_previews_know_the_news_too(self, each_exchange: ExchangeFactory, function: str, price: int) -> None:
        """A surplus, a deficit, or neither, not settled yet: what is promised is what happens, to the unit."""
        made = odd_price(each_exchange())
        send(made, "deposit", 10**9, SECOND)
        leverage(made, 60, 75)
        made.set_price(price * WAD)
        amount = FUNCTIONS[function]
        trader = DEPOSITOR if function in ("deposit", "mint") else SECOND
        preview = call(made, f"preview{function.capitalize()}", amount)
        assets, number = moved(send(made, function, amount, trader))
        assert made.mark == price * WAD
        assert preview == (assets if function in ("mint", "redeem") else number)

    def limits(self, made: Exchange) -> list[int]:
        names = ("maxDeposit", "maxMint", "maxWithdraw", "maxRedeem")
        return [call(made, name, address(made, SECOND)) for name in names]

    def test_limits_are_zero_while_the_vault_is_shut(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6, max_buckets=1))
        assert all(self.limits(made))
        leverage(made, 60, 70, 80)
        made.set_price(850 * WAD)
        made.settle()
        assert made.mark > 850 * WAD  # catch-up
        assert self.limits(made) == [0, 0, 0, 0]
        made.settle()
        made.settle()
        assert all(self.limits(made))
        made.chain.advance(P.max_staleness + 1)
        assert self.limits(made) == [0, 0, 0, 0]

    def test_a_deposit_may_be_as_large_as_it_says_and_no_larger(
        self, each_exchange: ExchangeFactory, refused: Refused
    ) -> None:
        made = odd_price(each_exchange())
        room = call(made, "maxDeposit", address(made, DEPOSITOR))
        assert room == 2**120 // made.unit - 1 - call(made, "held")
        made.chain.transact(made.token, "mint", address(made, DEPOSITOR), room + 1, sender=0)
        with refused(made, "token: balance out of range"):
            send(made, "deposit", room + 1, DEPOSITOR)
        with made.chain.anchor():
            send(made, "mint", call(made, "maxMint", address(made, DEPOSITOR)), DEPOSITOR)
        send(made, "deposit", room, DEPOSITOR)
        assert call(made, "maxDeposit", address(made, DEPOSITOR)) == 0
