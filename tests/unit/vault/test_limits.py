"""Limits and previews as the standards have them: never too high, zero while the vault is shut, none of redemption."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.units import WAD
from tests.unit.vault.acts import (
    DEPOSITOR,
    NEWS,
    REFUSED_PRICES,
    RICH,
    SECOND,
    STRANGER,
    WINDOW,
    address,
    answer,
    call,
    earn,
    leverage,
    moved,
    odd_price,
    open_vault,
    request,
    ripen,
    send,
    total,
    wait_until,
)

ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

REQUESTED = 10**14 + 39


def limits(exchange: Exchange, trader: int = SECOND) -> list[int]:
    names = ("maxDeposit", "maxMint", "maxWithdraw", "maxRedeem")
    return [call(exchange, name, address(exchange, trader)) for name in names]


def waiting(exchange: Exchange) -> Exchange:
    made = odd_price(exchange)
    send(made, "deposit", 10**3 * 10**made.decimals, SECOND)
    send(made, "requestRedeem", REQUESTED, SECOND)
    return made


class TestRedemption:
    @pytest.mark.parametrize("news", NEWS)
    def test_is_all_that_was_requested_and_what_it_brings(
        self, each_exchange: ExchangeFactory, refused: Refused, news: str
    ) -> None:
        made = waiting(each_exchange())
        worth = request(made, SECOND)[1]
        NEWS[news](made)
        ripen(made, SECOND)
        made.settle()
        a, s = total(made)
        now = REQUESTED * a // s
        assert (now < worth) == (news == "loss")
        assert limits(made)[2:] == [min(worth, now), REQUESTED]
        for function, most in (("withdraw", min(worth, now)), ("redeem", REQUESTED)):
            with refused(made, "vault: more than requested"):
                send(made, function, most + 1, SECOND)
            with made.chain.anchor():
                assert moved(send(made, function, most, SECOND))[0] == min(worth, now)

    def test_is_nothing_outside_the_window(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6, redeem_cooldown=100, redeem_window=50))
        assert limits(made)[2:] == [0, 0]
        send(made, "requestRedeem", REQUESTED, SECOND)
        opens = request(made, SECOND)[2]
        for second, open_ in ((opens - 1, False), (opens, True), (opens + 49, True), (opens + 50, False)):
            made.chain.advance(second - made.chain.now)
            assert [bool(limit) for limit in limits(made)[2:]] == [open_, open_]

    def test_is_nobody_elses(self, exchange: ExchangeFactory) -> None:
        made = waiting(exchange(decimals=6))
        made.chain.transact(made.vault, "setOperator", address(made, STRANGER), True, sender=SECOND)
        ripen(made, SECOND)
        assert all(limits(made))
        assert limits(made, DEPOSITOR)[2:] == limits(made, STRANGER)[2:] == [0, 0]

    def test_is_nothing_when_it_would_bring_nothing(self, exchange: ExchangeFactory) -> None:
        made = waiting(exchange(decimals=6))
        ripen(made, SECOND)
        send(made, "redeem", REQUESTED - 5, SECOND)
        assert request(made, SECOND)[0] == call(made, "claimableRedeemRequest", 0, address(made, SECOND)) == 5
        assert limits(made)[2:] == [0, 0]

    @pytest.mark.parametrize("function", ["previewRedeem", "previewWithdraw"])
    @pytest.mark.parametrize("amount", [0, 1, 10**13])
    def test_has_no_preview(self, exchange: ExchangeFactory, function: str, amount: int) -> None:
        made = waiting(exchange(decimals=6))
        for _ in range(2):
            with pytest.raises(Reverted, match=r"^vault: redemption has no preview$"):
                call(made, function, amount)
            ripen(made, SECOND)


class TestShut:
    def test_zero_in_catch_up_and_without_a_price(self, exchange: ExchangeFactory) -> None:
        made = waiting(exchange(decimals=6, max_buckets=1))
        leverage(made, 60, 70, 80)
        ripen(made, SECOND)
        assert all(limits(made))
        made.set_price(850 * WAD)
        made.settle()
        assert made.mark > 850 * WAD  # catch-up
        assert limits(made) == [0, 0, 0, 0]
        made.settle()
        made.settle()
        assert all(limits(made))
        made.chain.advance(3601)
        assert limits(made) == [0, 0, 0, 0]

    def test_zero_while_funding_is_half_paid_even_at_the_index(self, exchange: ExchangeFactory) -> None:
        parameters = {"max_buckets": 1, "fee_rate": WAD // 400, "max_funding": WAD // 100, "max_staleness": 10**9}
        made = waiting(exchange(decimals=6, **parameters))
        leverage(made, 55, 56)
        made.set_price(959 * WAD)
        made.settle()
        made.deposit(SECOND, 10**5 * WAD)
        made.trade(SECOND, RICH, True, 8 * WAD, 959 * WAD * 1004 // 1000)
        wait_until(made, request(made, SECOND)[2] + WINDOW // 2)
        assert all(limits(made))
        made.settle()
        assert made.core.lagging and made.mark == 959 * WAD
        assert limits(made) == [0, 0, 0, 0]

    def test_zero_while_a_settlement_is_pending(self, exchange: ExchangeFactory) -> None:
        made = waiting(exchange(decimals=6))
        ripen(made, SECOND)
        made.set_price(1001 * WAD)
        assert limits(made) == [0, 0, 0, 0]
        made.settle()
        assert all(limits(made))

    @pytest.mark.parametrize(("reason", "round_id", "price", "delay", "answered_in"), REFUSED_PRICES)
    def test_zero_by_a_refused_price(
        self, exchange: ExchangeFactory, reason: str, round_id: int, price: int, delay: int, answered_in: int
    ) -> None:
        made = waiting(exchange(decimals=6))
        wait_until(made, request(made, SECOND)[2] + WINDOW // 2)
        assert all(limits(made))
        answer(made, round_id, price, delay, answered_in)
        made.chain.advance(1)
        assert limits(made) == [0, 0, 0, 0], reason


class TestEntry:
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

    @pytest.mark.parametrize("price", [945, 900, 1040])
    @pytest.mark.parametrize(("function", "amount"), [("deposit", 1_000_003), ("mint", 10**12 + 7)])
    def test_previews_know_the_news(
        self, each_exchange: ExchangeFactory, function: str, amount: int, price: int
    ) -> None:
        """A surplus, a deficit, or neither, not settled yet: what is promised is what happens, to the unit."""
        made = odd_price(each_exchange())
        send(made, "deposit", 10**9, SECOND)
        leverage(made, 60, 75)
        made.set_price(price * WAD)
        preview = call(made, f"preview{function.capitalize()}", amount)
        assets, number = moved(send(made, function, amount, DEPOSITOR))
        assert made.mark == price * WAD
        assert preview == (assets if function == "mint" else number)

    def test_conversions_do_not_depend_on_who_asks_or_what_waits(self, exchange: ExchangeFactory) -> None:
        made = open_vault(exchange(decimals=6))
        send(made, "deposit", 10**9, SECOND)
        earn(made)
        before = [call(made, name, 10**9) for name in ("convertToShares", "convertToAssets")]
        send(made, "requestRedeem", REQUESTED, SECOND)
        assert [call(made, name, 10**9) for name in ("convertToShares", "convertToAssets")] == before
