"""The queue of those who leave: who may put whose shares into it, at what worth, and how long they wait."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from prorata.exchange import Exchange
from prorata.orders import ZERO_ADDRESS
from prorata.twin import Twin
from prorata.units import WAD
from tests.unit.vault.acts import (
    ACCOMPLICE,
    ATTACKER,
    COOLDOWN,
    DEPOSITOR,
    NEWS,
    OFFSET,
    REFUSED_PRICES,
    SECOND,
    STRANGER,
    WINDOW,
    address,
    answer,
    call,
    earn,
    leverage,
    odd_price,
    open_vault,
    request,
    send,
    shares,
    stages,
    tokens,
    total,
    wait_until,
)

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

SOME = 10**13 + 7


def operate(exchange: Exchange, owner: int, operator: int, approved: bool = True) -> None:
    exchange.chain.transact(exchange.vault, "setOperator", address(exchange, operator), approved, sender=owner)


class TestCustody:
    def test_moves_the_shares_and_nothing_else(self, exchange_everywhere: ExchangeFactory) -> None:
        made = open_vault(exchange_everywhere())
        send(made, "deposit", 5_000_000, SECOND)
        before = total(made), tokens(made, SECOND), made.token_balance(made.vault)

        transaction = send(made, "requestRedeem", 2_000_000 * OFFSET, SECOND)

        assert shares(made, SECOND) == 3_000_000 * OFFSET
        assert call(made, "balanceOf", made.vault.address) == 2_000_000 * OFFSET
        assert (total(made), tokens(made, SECOND), made.token_balance(made.vault)) == before
        assert request(made, SECOND) == (2_000_000 * OFFSET, 2_000_000, transaction.timestamp + COOLDOWN)
        log = transaction.logs[-1]
        assert (log.name, log.fields) == (
            "RedeemRequest",
            {
                "controller": address(made, SECOND),
                "owner": address(made, SECOND),
                "requestId": 0,
                "sender": address(made, SECOND),
                "shares": 2_000_000 * OFFSET,
            },
        )

    def test_answers_its_id(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        data = made.vault.interface.calldata("requestRedeem", [SOME] + [address(made, SECOND)] * 2)
        output, _ = made.chain._run(address(made, SECOND), made.vault.address, data, modifying=True)
        assert output == bytes(32)

    def test_all_or_more_than_one_has(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        everything = shares(made, SECOND)
        with refused(made, "erc20: transfer amount exceeds balance"):
            send(made, "requestRedeem", everything + 1, SECOND)
        send(made, "requestRedeem", everything, SECOND)
        assert (shares(made, SECOND), request(made, SECOND)[0]) == (0, everything)

    def test_requests_do_not_touch_each_other(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        send(made, "deposit", 10**9, DEPOSITOR)
        send(made, "requestRedeem", SOME, SECOND)
        first = request(made, SECOND)
        made.chain.advance(1000)
        send(made, "requestRedeem", 3 * SOME, DEPOSITOR)
        assert request(made, SECOND) == first
        assert request(made, DEPOSITOR)[0] == 3 * SOME
        assert call(made, "balanceOf", made.vault.address) == 4 * SOME


class TestWorth:
    @pytest.mark.parametrize("news", NEWS)
    def test_is_the_settled_value_rounded_down(self, each_exchange: ExchangeFactory, news: str) -> None:
        made = odd_price(each_exchange())
        send(made, "deposit", 10**3 * 10**made.decimals, SECOND)
        before = total(made)
        NEWS[news](made)
        with made.chain.anchor():
            made.settle()
            a, s = total(made)
        send(made, "requestRedeem", SOME, SECOND)
        assert total(made) == (a, s)
        assert (news == "nothing") == (before == (a, s))
        assert SOME * a % s
        assert request(made, SECOND)[1] == SOME * a // s

    def test_of_several_requests_is_that_of_all_at_the_last_one(self, each_exchange: ExchangeFactory) -> None:
        made = odd_price(each_exchange())
        send(made, "requestRedeem", SOME, SECOND)
        earn(made)
        made.chain.advance(100)
        made.set_price(made.mark)
        a, s = total(made)
        again = send(made, "requestRedeem", 3 * SOME + 1, SECOND)
        assert request(made, SECOND) == (4 * SOME + 1, (4 * SOME + 1) * a // s, again.timestamp + COOLDOWN)

    def test_below_a_token_unit_is_refused(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        a, s = total(made)
        worthless = -(-s // a) - 1
        for number in (0, worthless):
            with refused(made, "vault: zero assets or shares"):
                send(made, "requestRedeem", number, SECOND)
        send(made, "requestRedeem", worthless + 1, SECOND)
        assert request(made, SECOND)[:2] == (worthless + 1, 1)


class TestStages:
    def test_to_the_second(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        assert stages(made, SECOND) == (0, 0)
        opens = send(made, "requestRedeem", SOME, SECOND).timestamp + COOLDOWN
        for second, expected in (
            (opens - COOLDOWN, (SOME, 0)),
            (opens - 1, (SOME, 0)),
            (opens, (0, SOME)),
            (opens + WINDOW - 1, (0, SOME)),
            (opens + WINDOW, (0, 0)),
            (opens + 100 * WINDOW, (0, 0)),
        ):
            made.chain.advance(second - made.chain.now)
            assert stages(made, SECOND) == expected
            assert request(made, SECOND)[0] == SOME

    def test_other_ids_and_other_controllers_have_nothing(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        opens = send(made, "requestRedeem", SOME, SECOND).timestamp + COOLDOWN
        for _ in range(2):
            for name in ("pendingRedeemRequest", "claimableRedeemRequest"):
                assert call(made, name, 1, address(made, SECOND)) == 0
                assert call(made, name, 2**255, address(made, SECOND)) == 0
            assert stages(made, DEPOSITOR) == stages(made, ATTACKER) == (0, 0)
            made.chain.advance(opens - made.chain.now)

    def test_do_not_depend_on_the_market(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        opens = send(made, "requestRedeem", SOME, SECOND).timestamp + COOLDOWN
        made.chain.advance(opens - made.chain.now)
        answer(made, 5, 0, 0, 5)
        assert stages(made, SECOND) == (0, SOME)

    def test_terms_are_the_deployments(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6, redeem_cooldown=7, redeem_window=3))
        opens = send(made, "requestRedeem", SOME, SECOND).timestamp + 7
        assert request(made, SECOND)[2] == opens
        for late, expected in ((-1, (SOME, 0)), (0, (0, SOME)), (2, (0, SOME)), (3, (0, 0))):
            made.chain.advance(opens + late - made.chain.now)
            assert stages(made, SECOND) == expected


class TestAgain:
    @pytest.mark.parametrize("late", [-1, 1, WINDOW + 1])
    @pytest.mark.parametrize("more", [0, SOME])
    def test_restarts_the_cooldown_at_any_stage(self, exchange: ExchangeFactory, late: int, more: int) -> None:
        """With no new shares it is a renewal: the worth is that of now, higher or lower."""
        made = odd_price(exchange(decimals=6))
        opens = send(made, "requestRedeem", SOME, SECOND).timestamp + COOLDOWN
        worth = request(made, SECOND)[1]
        earn(made)
        wait_until(made, opens + late)
        a, s = total(made)
        again = send(made, "requestRedeem", more, SECOND)
        assert request(made, SECOND) == (SOME + more, (SOME + more) * a // s, again.timestamp + COOLDOWN)
        assert request(made, SECOND)[1] > worth
        assert stages(made, SECOND) == (SOME + more, 0)

    def test_is_what_cancelling_and_requesting_all_would_do(self, exchange: ExchangeFactory) -> None:
        made = odd_price(exchange(decimals=6))
        send(made, "requestRedeem", SOME, SECOND)
        earn(made)
        with made.chain.anchor():
            send(made, "requestRedeem", SOME, SECOND)
            added = request(made, SECOND)
        made.cancel_redeem(SECOND)
        send(made, "requestRedeem", 2 * SOME, SECOND)
        assert request(made, SECOND) == (*added[:2], added[2] + 1)

    def test_no_shares_of_nobody_move_nothing(self, exchange: ExchangeFactory) -> None:
        """Whoever is named as the owner of no shares loses none."""
        made = odd_price(exchange(decimals=6))
        send(made, "deposit", 10**9, DEPOSITOR)
        send(made, "requestRedeem", SOME, SECOND)
        before = shares(made, DEPOSITOR)
        send(made, "requestRedeem", 0, SECOND, owner=DEPOSITOR)
        assert (shares(made, DEPOSITOR), request(made, SECOND)[0]) == (before, SOME)


class TestConsent:
    def test_of_the_controller_a_stranger_restarts_nobodys_cooldown(
        self, exchange: ExchangeFactory, refused: Refused
    ) -> None:
        made = odd_price(exchange(decimals=6))
        send(made, "deposit", 10**9, ATTACKER)
        send(made, "requestRedeem", SOME, SECOND)
        for number in (0, 1, SOME):
            with refused(made, "vault: only the controller"):
                send(made, "requestRedeem", number, ATTACKER, receiver=SECOND)
        with refused(made, "vault: only the controller"):
            made.chain.transact(
                made.vault, "requestRedeem", SOME, ZERO_ADDRESS, address(made, ATTACKER), sender=ATTACKER
            )
        # To be the victim's accomplice in the other direction is no help.
        operate(made, ATTACKER, SECOND)
        with refused(made, "vault: only the controller"):
            send(made, "requestRedeem", SOME, ATTACKER, receiver=SECOND)
        operate(made, SECOND, ATTACKER)
        send(made, "requestRedeem", SOME, ATTACKER, receiver=SECOND)
        assert request(made, SECOND)[0] == 2 * SOME
        operate(made, SECOND, ATTACKER, approved=False)
        with refused(made, "vault: only the controller"):
            send(made, "requestRedeem", SOME, ATTACKER, receiver=SECOND)

    def test_of_the_owner_by_allowance_spent_to_the_share(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        for allowance in (0, SOME - 1, SOME, SOME + 5, 2**256 - 1):
            with made.chain.anchor():
                made.chain.transact(made.vault, "approve", address(made, STRANGER), allowance, sender=SECOND)
                before = shares(made, SECOND)
                if allowance < SOME:
                    with refused(made, "erc20: insufficient allowance"):
                        send(made, "requestRedeem", SOME, STRANGER, owner=SECOND)
                    continue
                log = send(made, "requestRedeem", SOME, STRANGER, owner=SECOND).logs[-1]
                assert (log.fields["controller"], log.fields["owner"]) == (
                    address(made, STRANGER),
                    address(made, SECOND),
                )
                assert before - shares(made, SECOND) == request(made, STRANGER)[0] == SOME
                assert request(made, SECOND) == (0, 0, 0)
                left = call(made, "allowance", address(made, SECOND), address(made, STRANGER))
                assert left == (allowance if allowance == 2**256 - 1 else allowance - SOME)

    def test_of_the_owner_by_an_operator_without_allowance(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        operate(made, SECOND, STRANGER)
        for controller in (SECOND, STRANGER):
            log = send(made, "requestRedeem", SOME, STRANGER, receiver=controller, owner=SECOND).logs[-1]
            assert log.fields["sender"] == address(made, STRANGER)
            assert log.fields["controller"] == address(made, controller)
            assert request(made, controller)[0] == SOME
        # An operator's say ends with its controller: not for a third one's shares, nor into a third one's request.
        send(made, "deposit", 10**9, DEPOSITOR)
        with refused(made, "erc20: insufficient allowance"):
            send(made, "requestRedeem", SOME, STRANGER, receiver=SECOND, owner=DEPOSITOR)
        with refused(made, "vault: only the controller"):
            send(made, "requestRedeem", SOME, STRANGER, receiver=DEPOSITOR, owner=SECOND)

    def test_of_the_owner_is_not_the_controllers_to_give(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6))
        with refused(made, "erc20: insufficient allowance"):
            send(made, "requestRedeem", SOME, ATTACKER, owner=SECOND)
        # Shares in custody are nobody's allowance.
        send(made, "requestRedeem", SOME, SECOND)
        with refused(made, "erc20: insufficient allowance"):
            made.chain.transact(
                made.vault, "requestRedeem", SOME, address(made, ATTACKER), made.vault.address, sender=ATTACKER
            )


class TestShut:
    def test_in_catch_up(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = odd_price(exchange(decimals=6, max_buckets=1))
        send(made, "deposit", 10**9, SECOND)
        leverage(made, 60, 70, 80)
        made.set_price(850 * WAD)
        for _ in range(2):
            with refused(made, "mode: catch-up"):
                send(made, "requestRedeem", SOME, SECOND)
            made.settle()
            assert made.mark > 850 * WAD
        send(made, "requestRedeem", SOME, SECOND)
        assert made.mark == 850 * WAD

    @pytest.mark.parametrize(("reason", "round_id", "price", "delay", "answered_in"), REFUSED_PRICES)
    def test_by_a_refused_price(
        self,
        exchange: ExchangeFactory,
        refused: Refused,
        reason: str,
        round_id: int,
        price: int,
        delay: int,
        answered_in: int,
    ) -> None:
        made = odd_price(exchange(decimals=6))
        answer(made, round_id, price, delay, answered_in)
        with refused(made, reason):
            send(made, "requestRedeem", SOME, SECOND)
        made.set_price(made.mark)
        send(made, "requestRedeem", SOME, SECOND)


def test_twin_agrees_on_refusals(twin: TwinFactory, refused: Refused) -> None:
    market = twin(decimals=6)
    market.insure(100 * WAD)
    market.insure(50 * WAD, ACCOMPLICE)
    for insurer in (0, ACCOMPLICE):
        held = market.exchange.vault_shares(insurer)
        for number in (0, held + 1):
            with pytest.raises(Exception, match=r"^(vault: zero assets or shares|erc20: transfer amount exceeds .*)$"):
                market.request_redeem(number, insurer)
        market.request_redeem(held // 3, insurer)
        market.request_redeem(held // 3, insurer)
        market.request_redeem(0, insurer)
    market.check()
