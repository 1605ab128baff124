"""Who gains by what: attacks on the price of a share, on those who stay and on those who leave, in numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.units import WAD
from tests.unit.vault.acts import (
    ATTACKER,
    DEPOSITOR,
    LONG_TRADER,
    MARK,
    OFFSET,
    RICH,
    SECOND,
    WINDOW,
    address,
    call,
    earn,
    hold,
    leave,
    loss,
    moved,
    odd_price,
    open_vault,
    request,
    ripen,
    send,
    shares,
    surplus,
    tokens,
    total,
    wait_until,
)

ExchangeFactory = Callable[..., Exchange]
ONE_MARKET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
DOLLAR = 10**6


class TestInflation:
    """The first depositor lets fees of its own fall on its few shares, so that the next one's are rounded away."""

    def test_does_not_pay_anywhere_on_a_grid(self, each_exchange: ExchangeFactory) -> None:
        made = open_vault(each_exchange(redeem_cooldown=1))
        dollar = 10**made.decimals
        for first, burnt in product((1, 1000, dollar), (0, 10, 10**3, 10**6)):
            with made.chain.anchor():
                send(made, "deposit", first, ATTACKER)
                if burnt:
                    earn(made, burnt * 1000 * WAD)
                spent = total(made)[0] - 1
                assert spent == first + burnt * dollar
                a, s = total(made)
                smallest = -(-a // s)  # assets for one share
                for victim in sorted({2 * smallest - 1, 3 * smallest - 1, 100 * dollar, spent, 2 * spent + 1}):
                    with made.chain.anchor():
                        _, minted = moved(send(made, "deposit", victim, DEPOSITOR))
                        send(made, "requestRedeem", shares(made, ATTACKER), ATTACKER)
                        back = moved(send(made, "redeem", shares_requested(made, ATTACKER), ATTACKER))[0]
                        lost = victim - call(made, "convertToAssets", minted)
                        assert back <= spent
                        # Beyond the last unit's rounding the attacker loses half a million times what it destroys.
                        assert spent - back >= OFFSET // 2 * (lost - 1)
                        assert spent - back >= lost

    def test_costs_the_attacker_half_and_the_victim_nothing(self, each_exchange: ExchangeFactory) -> None:
        made = open_vault(each_exchange())
        dollar = 10**made.decimals
        send(made, "deposit", 1, ATTACKER)
        earn(made, 10**6 * WAD)
        spent = 1 + 1000 * dollar
        assert total(made) == (spent + 1, 2 * OFFSET)
        _, minted = moved(send(made, "deposit", 100 * dollar, DEPOSITOR))
        victim = call(made, "convertToAssets", minted)
        attacker = call(made, "convertToAssets", shares(made, ATTACKER))
        price = spent // (2 * OFFSET) + 1  # of one share: all that rounding can cost
        assert 100 * dollar - price <= victim <= 100 * dollar
        assert abs(attacker - spent // 2) <= price
        assert (spent - attacker) >= (OFFSET - 1) * (100 * dollar - victim)

    def test_with_what_redemption_leaves_behind_does_not_pay(self, exchange: ExchangeFactory) -> None:
        """The last one leaves at its old value, and what was earned since belongs to no share but the virtual ones."""
        made = open_vault(exchange(decimals=6))
        send(made, "deposit", 100 * DOLLAR, ATTACKER)
        send(made, "requestRedeem", shares(made, ATTACKER), ATTACKER)
        earn(made, 10**6 * WAD)
        ripen(made, ATTACKER)
        assert moved(send(made, "redeem", shares_requested(made, ATTACKER), ATTACKER))[0] == 100 * DOLLAR
        a, s = total(made)
        assert (a, s) == (1000 * DOLLAR + 1, OFFSET)
        _, minted = moved(send(made, "deposit", 100 * DOLLAR, DEPOSITOR))
        assert 100 * DOLLAR - a // s - 1 <= call(made, "convertToAssets", minted) <= 100 * DOLLAR


def shares_requested(exchange: Exchange, trader: int) -> int:
    return request(exchange, trader)[0]


class TestRequestIsNoOption:
    """Of 100 dollars of each of two depositors, one waits in the queue."""

    def queued(self, exchange: Exchange) -> Exchange:
        made = open_vault(exchange)
        for depositor in (DEPOSITOR, SECOND):
            send(made, "deposit", 100 * DOLLAR, depositor)
        send(made, "requestRedeem", shares(made, DEPOSITOR), DEPOSITOR)
        return made

    def test_when_the_value_falls_it_bears_the_loss(self, exchange: ExchangeFactory) -> None:
        """A disaster during the cooldown costs the one in the queue as much as the one who stays."""
        made = self.queued(exchange(decimals=6, fee_rate=0))
        loss(made)
        ripen(made, DEPOSITOR)
        first = moved(send(made, "redeem", shares_requested(made, DEPOSITOR), DEPOSITOR))[0]
        stays = call(made, "convertToAssets", shares(made, SECOND))
        assert abs(first - 80 * DOLLAR) <= 1 and 0 <= stays - first <= 1

    def test_nor_does_it_leave_ahead_of_a_loss_in_the_window(self, exchange: ExchangeFactory) -> None:
        """It reads the price before anybody settles; its own redemption does that first."""
        made = self.queued(exchange(decimals=6, fee_rate=0))
        ripen(made, DEPOSITOR)
        loss(made)
        assert made.mark == MARK
        first = moved(send(made, "redeem", shares_requested(made, DEPOSITOR), DEPOSITOR))[0]
        assert abs(first - 80 * DOLLAR) <= 1

    def test_when_the_value_rises_it_gets_the_old_one(self, exchange: ExchangeFactory) -> None:
        made = self.queued(exchange(decimals=6))
        earn(made)
        ripen(made, DEPOSITOR)
        assert moved(send(made, "redeem", shares_requested(made, DEPOSITOR), DEPOSITOR))[0] == 100 * DOLLAR
        # All 200 dollars of fees are the other's.
        assert 299 * DOLLAR < call(made, "convertToAssets", shares(made, SECOND)) <= 300 * DOLLAR

    def test_after_a_lapse_it_waits_anew(self, exchange: ExchangeFactory) -> None:
        """Whoever let the window pass to see what comes bears what comes: a loss in the second cooldown too."""
        made = self.queued(exchange(decimals=6, fee_rate=0))
        wait_until(made, request(made, DEPOSITOR)[2] + WINDOW)
        with pytest.raises(Reverted, match=r"^vault: redeem window has lapsed$"):
            send(made, "redeem", shares_requested(made, DEPOSITOR), DEPOSITOR)
        send(made, "requestRedeem", 0, DEPOSITOR)
        loss(made)
        ripen(made, DEPOSITOR)
        first = moved(send(made, "redeem", shares_requested(made, DEPOSITOR), DEPOSITOR))[0]
        assert abs(first - 80 * DOLLAR) <= 1

    @pytest.mark.parametrize("renew", [True, False])
    def test_a_recovery_is_not_sniped(self, exchange: ExchangeFactory, renew: bool) -> None:
        """In after a loss, to be out with the recovery: those who bore the loss get what comes back, but for the part
        of the newcomer who stays as they do."""
        made = open_vault(exchange(decimals=6, fee_rate=0))
        send(made, "deposit", 100 * DOLLAR, SECOND)
        loss(made)
        _, minted = moved(send(made, "deposit", 900 * DOLLAR, ATTACKER))
        send(made, "requestRedeem", minted, ATTACKER)
        worth = request(made, ATTACKER)[1]
        recover(made, 40)
        ripen(made, ATTACKER)
        if renew:
            # At the new value, at the price of another cooldown: a depositor like any other.
            send(made, "requestRedeem", 0, ATTACKER)
            assert request(made, ATTACKER)[1] > worth
            with pytest.raises(Reverted, match=r"^vault: cooldown is not over$"):
                send(made, "redeem", minted, ATTACKER)
            return
        back = moved(send(made, "redeem", minted, ATTACKER))[0]
        assert back == worth <= 900 * DOLLAR
        assert call(made, "convertToAssets", shares(made, SECOND)) >= 98 * DOLLAR

    def test_old_losses_lend_no_room_to_new_shares(self, exchange: ExchangeFactory) -> None:
        """A request of 100 that has lost 20, and 80 dollars of new shares put to it: were the values at their several
        times added up, the new ones would be paid up to 20 of a recovery out of the old ones' room."""
        made = self.queued(exchange(decimals=6, fee_rate=0))
        loss(made)
        _, minted = moved(send(made, "deposit", 80 * DOLLAR, DEPOSITOR))
        send(made, "requestRedeem", minted, DEPOSITOR)
        assert abs(request(made, DEPOSITOR)[1] - 160 * DOLLAR) <= 2
        recover(made, 60)
        ripen(made, DEPOSITOR)
        back = moved(send(made, "redeem", shares_requested(made, DEPOSITOR), DEPOSITOR))[0]
        assert abs(back - 160 * DOLLAR) <= 2
        assert call(made, "convertToAssets", shares(made, SECOND)) >= 139 * DOLLAR


def recover(exchange: Exchange, dollars: int) -> None:
    """A long of so many units, with 60 on each and nobody else left, fails a dollar early: all it has left is the
    vault's."""
    mark = exchange.mark
    exchange.deposit(LONG_TRADER, dollars * 60 * WAD)
    exchange.deposit(RICH, 10**6 * WAD)
    exchange.trade(LONG_TRADER, RICH, True, dollars * WAD, mark)
    before = exchange.vault_assets
    exchange.set_price(mark - 59 * WAD)
    exchange.settle()
    assert abs(exchange.vault_assets - before - dollars * WAD) <= dollars * WAD // 100


class TestNobodyProfits:
    """Whatever one does and undoes, one ends with no more tokens, and everybody else's shares are worth no less."""

    ACTS = ("deposit", "mint", "requestRedeem", "withdraw", "redeem", "cancel")

    @given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(1, 10**10)), min_size=1, max_size=10))
    @ONE_MARKET
    def test_in_any_round_trip(self, exchange: ExchangeFactory, steps: list[tuple[str, int]]) -> None:
        made = odd_price(exchange(decimals=6, redeem_cooldown=1))
        begun = tokens(made, DEPOSITOR)
        for function, amount in steps:
            a, s = total(made)
            try:
                if function == "cancel":
                    made.cancel_redeem(DEPOSITOR)
                else:
                    send(
                        made, function, amount * (999_983 if function not in ("deposit", "withdraw") else 1), DEPOSITOR
                    )
            except Reverted:
                continue
            a2, s2 = total(made)
            assert a2 * s >= a * s2, function
            if function in ("requestRedeem", "cancel"):
                assert (a2, s2) == (a, s)
            in_custody = call(made, "balanceOf", made.vault.address)
            assert in_custody == shares_requested(made, DEPOSITOR)
        left = shares(made, DEPOSITOR)
        if call(made, "convertToAssets", left + shares_requested(made, DEPOSITOR)):
            send(made, "requestRedeem", left, DEPOSITOR)
            send(made, "redeem", shares_requested(made, DEPOSITOR), DEPOSITOR)
        assert tokens(made, DEPOSITOR) <= begun

    @given(st.integers(10, 10**12))
    @ONE_MARKET
    def test_by_there_and_back(self, exchange: ExchangeFactory, assets: int) -> None:
        made = odd_price(exchange(decimals=6, redeem_cooldown=1))
        _, minted = moved(send(made, "deposit", assets, DEPOSITOR))
        with made.chain.anchor():
            assert assets - 2 <= leave(made, minted, DEPOSITOR) <= assets
        with made.chain.anchor():
            send(made, "requestRedeem", minted, DEPOSITOR)
            made.settle()
            most = call(made, "maxWithdraw", address(made, DEPOSITOR))
            assert most <= assets
            _, burnt = moved(send(made, "withdraw", most, DEPOSITOR))
            assert burnt <= minted
        with made.chain.anchor():
            cost, _ = moved(send(made, "mint", minted, DEPOSITOR))
            assert cost - 2 <= leave(made, minted, DEPOSITOR) <= cost

    @pytest.mark.parametrize("news", [surplus, loss, hold])
    def test_by_any_event_but_the_named_ones(self, exchange: ExchangeFactory, news: Callable[[Exchange], None]) -> None:
        """A share's price is what it was before requests, cancellations, transfers, operators and donations."""
        made = odd_price(exchange(decimals=6))
        send(made, "deposit", 10**9, SECOND)
        news(made)
        made.settle()
        before = total(made)
        send(made, "requestRedeem", 10**12, SECOND)
        send(made, "requestRedeem", 0, SECOND)
        made.cancel_redeem(SECOND)
        made.chain.transact(made.vault, "transfer", address(made, ATTACKER), 10**12, sender=SECOND)
        made.chain.transact(made.vault, "transfer", made.vault.address, 10**12, sender=SECOND)
        made.chain.transact(made.vault, "setOperator", address(made, ATTACKER), True, sender=SECOND)
        made.chain.transact(made.token, "transfer", made.vault.address, 10**12, sender=RICH)
        assert total(made) == before


class TestManyDisasters:
    @pytest.mark.parametrize("cap", [WAD // 2, WAD * 9 // 10])
    def test_thirty_draws_leave_a_price_and_sound_conversions(self, each_exchange: ExchangeFactory, cap: int) -> None:
        """All that a new window allows each time, with deposits between; somebody stays in the queue throughout."""
        made = open_vault(each_exchange(fee_rate=0, draw_cap=cap, draw_window=1, redeem_cooldown=1))
        dollar = 10**made.decimals
        made.deposit(RICH, 10**9 * WAD)
        send(made, "deposit", 100 * dollar, DEPOSITOR)
        send(made, "requestRedeem", shares(made, DEPOSITOR) // 2, DEPOSITOR)
        last = None
        for _ in range(30):
            send(made, "deposit", 100 * dollar, SECOND)
            there = made.vault_held + made.insurance_owed
            made.deposit(LONG_TRADER, 60 * 100 * WAD)
            made.trade(LONG_TRADER, RICH, True, 100 * WAD, made.mark)
            made.set_price(made.mark - 100 * WAD)
            made.settle()
            assert abs(made.vault_held + made.insurance_owed - (there - there * cap // WAD)) <= 1
            a, s = total(made)
            assert a > 1
            assert last is None or a * last[1] <= last[0] * s
            last = a, s
            for assets in (1, dollar, 10**9 * dollar):
                number = call(made, "convertToShares", assets)
                assert number > 0
                assert call(made, "convertToAssets", number) <= assets
                assert call(made, "previewMint", number) <= assets
            for number in (1, 10**24, call(made, "totalSupply")):
                assert call(made, "convertToAssets", number) == number * a // s
            made.set_price(MARK)
            made.settle()
        # Who came after the last disaster has lost nothing by any of them, and can leave.
        _, minted = moved(send(made, "deposit", 100 * dollar, ATTACKER))
        back = leave(made, minted, ATTACKER)
        assert 100 * dollar - max(2, dollar // 1000) <= back <= 100 * dollar
        send(made, "requestRedeem", shares(made, SECOND), SECOND)
        assert moved(send(made, "redeem", shares_requested(made, SECOND), SECOND))[0] > 0
