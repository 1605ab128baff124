"""A request can be taken back at any time, whatever the market and its oracle are doing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.twin import Twin
from prorata.units import WAD
from tests.unit.vault.acts import (
    ATTACKER,
    COOLDOWN,
    DEPOSITOR,
    SECOND,
    STRANGER,
    WINDOW,
    address,
    answer,
    call,
    leverage,
    odd_price,
    request,
    ripen,
    send,
    shares,
    stages,
    total,
    wait_both,
)

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

SOME = 10**13 + 7


def cancel(exchange: Exchange, trader: int, controller: int) -> None:
    exchange.chain.transact(exchange.vault, "cancel_redeem_request", address(exchange, controller), sender=trader)


@pytest.mark.parametrize("late", [1 - COOLDOWN, 0, WINDOW, 9 * WINDOW])
def test_gives_all_shares_back(exchange_everywhere: ExchangeFactory, late: int) -> None:
    made = odd_price(exchange_everywhere())
    before = shares(made, SECOND), total(made)
    opens = send(made, "requestRedeem", SOME, SECOND).timestamp + COOLDOWN
    made.chain.advance(opens + late - made.chain.now - 1)

    transaction = made.cancel_redeem(SECOND)

    assert (shares(made, SECOND), total(made)) == before
    assert request(made, SECOND) == (0, 0, 0)
    assert stages(made, SECOND) == (0, 0)
    assert call(made, "balanceOf", made.vault.address) == 0
    log = transaction.logs[-1]
    assert (log.name, log.fields) == (
        "RedeemRequestCancelled",
        {"controller": address(made, SECOND), "sender": address(made, SECOND), "shares": SOME},
    )


def test_by_an_operator_says_who_did_it_for_whom(exchange: ExchangeFactory) -> None:
    made = odd_price(exchange(decimals=6))
    send(made, "requestRedeem", SOME, SECOND)
    made.chain.transact(made.vault, "setOperator", address(made, STRANGER), True, sender=SECOND)
    log = made.chain.transact(made.vault, "cancel_redeem_request", address(made, SECOND), sender=STRANGER).logs[-1]
    assert log.fields == {"controller": address(made, SECOND), "sender": address(made, STRANGER), "shares": SOME}


def test_answers_how_many(exchange: ExchangeFactory) -> None:
    made = odd_price(exchange(decimals=6))
    send(made, "requestRedeem", SOME, SECOND)
    data = made.vault.interface.calldata("cancel_redeem_request", [address(made, SECOND)])
    output, _ = made.chain._run(address(made, SECOND), made.vault.address, data, modifying=True)
    assert int.from_bytes(output) == SOME


def test_of_what_is_left_after_a_part_was_redeemed(exchange: ExchangeFactory) -> None:
    made = odd_price(exchange(decimals=6))
    before = shares(made, SECOND)
    send(made, "requestRedeem", SOME, SECOND)
    ripen(made, SECOND)
    send(made, "redeem", SOME // 3, SECOND)
    made.cancel_redeem(SECOND)
    assert shares(made, SECOND) == before - SOME // 3


def test_of_nothing_is_refused(exchange: ExchangeFactory, refused: Refused) -> None:
    made = odd_price(exchange(decimals=6))
    with refused(made, "vault: nothing requested"):
        made.cancel_redeem(SECOND)
    send(made, "requestRedeem", SOME, SECOND)
    made.cancel_redeem(SECOND)
    with refused(made, "vault: nothing requested"):
        made.cancel_redeem(SECOND)


def test_is_the_controllers_and_its_operators(exchange: ExchangeFactory, refused: Refused) -> None:
    """To the controller the shares go, even if another owned them."""
    made = odd_price(exchange(decimals=6))
    made.chain.transact(made.vault, "approve", address(made, DEPOSITOR), SOME, sender=SECOND)
    send(made, "requestRedeem", SOME, DEPOSITOR, owner=SECOND)
    for other in (ATTACKER, SECOND):
        with refused(made, "vault: only the controller"):
            cancel(made, other, DEPOSITOR)
    made.chain.transact(made.vault, "setOperator", address(made, STRANGER), True, sender=DEPOSITOR)
    cancel(made, STRANGER, DEPOSITOR)
    assert (shares(made, DEPOSITOR), shares(made, STRANGER)) == (SOME, 0)


def test_needs_no_oracle(exchange: ExchangeFactory) -> None:
    made = odd_price(exchange(decimals=6))
    send(made, "requestRedeem", SOME, SECOND)
    answer(made, 5, 0, 0, 5)
    with pytest.raises(Reverted):
        made.settle()
    made.cancel_redeem(SECOND)
    assert request(made, SECOND) == (0, 0, 0)


def test_in_catch_up_settles_nothing(exchange: ExchangeFactory) -> None:
    made = odd_price(exchange(decimals=6, max_buckets=1))
    send(made, "deposit", 10**9, SECOND)
    send(made, "requestRedeem", SOME, SECOND)
    leverage(made, 60, 70, 80)
    made.set_price(850 * WAD)
    made.settle()
    mark = made.mark
    assert mark > 850 * WAD
    assert [log.name for log in made.cancel_redeem(SECOND).logs] == ["Transfer", "RedeemRequestCancelled"]
    assert made.mark == mark


def test_twin_agrees(twin_everywhere: TwinFactory) -> None:
    market = twin_everywhere()
    market.insure(100 * WAD)
    for late in (0, COOLDOWN, COOLDOWN + WINDOW):
        market.request_redeem(10**13)
        wait_both(market, market.exchange.chain.now + 2 + late)
        market.cancel_redeem()
        with pytest.raises(Reverted, match=r"^vault: nothing requested$"):
            market.cancel_redeem()
