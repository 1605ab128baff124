"""Entry is ERC-4626 with the market in the room: rounded against whoever enters, nobody in ahead of known news."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from prorata.exchange import Exchange
from prorata.orders import ZERO_ADDRESS
from prorata.units import WAD
from tests.unit.vault.acts import (
    ATTACKER,
    DEPOSITOR,
    NEWS,
    OFFSET,
    REFUSED_PRICES,
    SECOND,
    STRANGER,
    address,
    answer,
    call,
    earn,
    leverage,
    moved,
    odd_price,
    open_vault,
    ripen,
    send,
    shares,
    surplus,
    tokens,
    total,
)

ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

#: Each with an amount that is fine in `odd_price`.
FUNCTIONS = {"deposit": 1_000_003, "mint": 10**12 + 7}


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

    def test_conversions_are_rounded_down(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        a, s = total(made)
        for amount in (1, 999_983, 10**12 + 39):
            assert call(made, "convertToShares", amount) == amount * s // a
            assert call(made, "convertToAssets", amount) == amount * a // s

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

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_nothing_is_refused(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = odd_price(exchange(decimals=6))
        with refused(made, "vault: zero assets or shares"):
            send(made, function, 0, DEPOSITOR)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_nobody_is_refused(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = odd_price(exchange(decimals=6))
        with refused(made, "erc20: mint to the zero address"):
            made.chain.transact(made.vault, function, FUNCTIONS[function], ZERO_ADDRESS, sender=DEPOSITOR)


class TestSettlesFirst:
    @pytest.mark.parametrize("news", ["surplus", "loss"])
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_every_price_knows_the_news(self, each_exchange: ExchangeFactory, news: str, function: str) -> None:
        """The preview too, to the unit."""
        made = odd_price(each_exchange())
        send(made, "deposit", 10**3 * 10**made.decimals, SECOND)
        before, _ = total(made)
        NEWS[news](made)
        with made.chain.anchor():
            made.settle()
            a, s = total(made)
        gained = (a - before) * made.unit // WAD
        assert (4 <= gained <= 6) if news == "surplus" else (-41 <= gained <= -39)
        amount = FUNCTIONS[function]
        preview = call(made, f"preview{function.capitalize()}", amount)
        assets, number = moved(send(made, function, amount, DEPOSITOR))
        expected = {"deposit": (amount, amount * s // a), "mint": (-(-amount * a // s), amount)}
        assert (assets, number) == expected[function]
        assert preview == (number if function == "deposit" else assets)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_preview_is_what_happens_when_nothing_is_pending(
        self, each_exchange: ExchangeFactory, function: str
    ) -> None:
        made = odd_price(each_exchange())
        preview = call(made, f"preview{function.capitalize()}", FUNCTIONS[function])
        assets, number = moved(send(made, function, FUNCTIONS[function], DEPOSITOR))
        assert preview == (number if function == "deposit" else assets)

    def test_nobody_enters_before_a_surplus(self, exchange: ExchangeFactory) -> None:
        """In when it is known: no share of what was there to be known."""
        made = open_vault(exchange(decimals=6, fee_rate=0))
        send(made, "deposit", 100 * 10**6, SECOND)
        surplus(made)
        _, minted = moved(send(made, "deposit", 10**12, ATTACKER))
        assert 10**12 - 2 <= call(made, "convertToAssets", minted) <= 10**12
        assert call(made, "convertToAssets", shares(made, SECOND)) > 104 * 10**6


class TestShut:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_in_catch_up(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = odd_price(exchange(decimals=6, max_buckets=1))
        send(made, "deposit", 10**9, SECOND)
        leverage(made, 60, 70, 80)
        made.set_price(850 * WAD)
        for _ in range(2):
            with refused(made, "mode: catch-up"):
                send(made, function, FUNCTIONS[function], DEPOSITOR)
            made.settle()
            assert made.mark > 850 * WAD
        # The third settlement is its own, and arrives.
        send(made, function, FUNCTIONS[function], DEPOSITOR)
        assert made.mark == 850 * WAD

    @pytest.mark.parametrize("function", FUNCTIONS)
    @pytest.mark.parametrize(("reason", "round_id", "price", "delay", "answered_in"), REFUSED_PRICES)
    def test_by_a_refused_price(
        self,
        exchange: ExchangeFactory,
        refused: Refused,
        function: str,
        reason: str,
        round_id: int,
        price: int,
        delay: int,
        answered_in: int,
    ) -> None:
        made = odd_price(exchange(decimals=6))
        answer(made, round_id, price, delay, answered_in)
        with refused(made, reason):
            send(made, function, FUNCTIONS[function], DEPOSITOR)
        made.set_price(made.mark)
        send(made, function, FUNCTIONS[function], DEPOSITOR)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_by_a_closed_market(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        """Nobody is left to insure. Who is in gets out as ever."""
        made = odd_price(exchange(decimals=6))
        send(made, "deposit", 10**9, SECOND)
        held = made.vault_shares(SECOND)
        made.set_round(0, made.chain.now)
        made.wind_down()
        made.chain.advance(86_400)
        made.wind_down()
        assert made.mode == "closed"
        with refused(made, "mode: closed"):
            send(made, function, FUNCTIONS[function], DEPOSITOR)
        assert [call(made, name, address(made, DEPOSITOR)) for name in ("maxDeposit", "maxMint")] == [0, 0]

        made.request_redeem(SECOND, held)
        ripen(made, SECOND)
        assert call(made, "maxRedeem", address(made, SECOND)) == held
        made.redeem(SECOND, held)
        assert made.vault_shares(SECOND) == 0


class TestTokens:
    def test_the_allowance_of_tokens_binds(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        made.chain.transact(made.token, "approve", made.vault.address, 999, sender=DEPOSITOR)
        with refused(made, "erc20: insufficient allowance"):
            send(made, "deposit", 1000, DEPOSITOR)
        send(made, "deposit", 999, DEPOSITOR)

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
