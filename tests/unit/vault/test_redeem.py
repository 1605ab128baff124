"""Exit: inside the window, for the lesser of the value at request and the value now, each rounded down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.orders import ZERO_ADDRESS
from prorata.twin import Twin
from prorata.units import WAD
from tests.unit.vault.acts import (
    ACCOMPLICE,
    ATTACKER,
    COOLDOWN,
    DEPOSITOR,
    LONG_TRADER,
    MARK,
    NEWS,
    OFFSET,
    REFUSED_PRICES,
    RICH,
    SECOND,
    STRANGER,
    SURVIVOR,
    WINDOW,
    address,
    answer,
    call,
    earn,
    leave,
    leverage,
    moved,
    odd_price,
    open_vault,
    request,
    ripen,
    send,
    shares,
    tokens,
    total,
    wait_both,
    wait_until,
)

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]
ONE_MARKET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

REQUESTED = 10**14 + 39
#: Each with an amount that is fine in `waiting`.
FUNCTIONS = {"withdraw": 7_000_003, "redeem": 10**13 + 7}


def waiting(exchange: Exchange) -> Exchange:
    """Shares of SECOND in the queue of a vault large enough to bear the news."""
    made = odd_price(exchange)
    send(made, "deposit", 10**3 * 10**made.decimals, DEPOSITOR)
    send(made, "requestRedeem", REQUESTED, SECOND)
    return made


def ripe(exchange: Exchange) -> Exchange:
    made = waiting(exchange)
    ripen(made, SECOND)
    return made


def up(x: int, y: int) -> int:
    return -(-x // y)


class TestFirst:
    def test_redeem(self, exchange_everywhere: ExchangeFactory) -> None:
        made = open_vault(exchange_everywhere())
        send(made, "deposit", 5_000_000, SECOND)
        send(made, "requestRedeem", 2_000_000 * OFFSET, SECOND)
        ripen(made, SECOND)
        before = tokens(made, STRANGER)

        transaction = send(made, "redeem", 1_500_000 * OFFSET, SECOND, receiver=STRANGER)

        assert tokens(made, STRANGER) - before == 1_500_000
        assert call(made, "held") == call(made, "totalAssets") == 3_500_000
        assert call(made, "totalSupply") == 3_500_000 * OFFSET
        assert call(made, "balanceOf", made.vault.address) == 500_000 * OFFSET
        assert request(made, SECOND)[:2] == (500_000 * OFFSET, 500_000)
        log = transaction.logs[-1]
        assert (log.name, log.fields) == (
            "Withdraw",
            {
                "sender": address(made, SECOND),
                "receiver": address(made, STRANGER),
                "owner": address(made, SECOND),
                "assets": 1_500_000,
                "shares": 1_500_000 * OFFSET,
            },
        )
        send(made, "withdraw", 500_000, SECOND)
        assert request(made, SECOND) == (0, 0, 0)
        assert call(made, "totalSupply") == 3_000_000 * OFFSET == shares(made, SECOND)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_answers_the_other_amount(self, exchange: ExchangeFactory, function: str) -> None:
        made = ripe(exchange(decimals=6))
        data = made.vault.interface.calldata(function, [FUNCTIONS[function]] + [address(made, SECOND)] * 2)
        with made.chain.anchor():
            assets, number = moved(send(made, function, FUNCTIONS[function], SECOND))
        made.chain.advance(1)
        output, _ = made.chain._run(address(made, SECOND), made.vault.address, data, modifying=True)
        assert int.from_bytes(output) == (number if function == "withdraw" else assets)


class TestLesser:
    """With assets a and shares s now, and a request of n shares that was worth w."""

    @pytest.mark.parametrize("news", NEWS)
    def test_redeem(self, each_exchange: ExchangeFactory, news: str) -> None:
        made = waiting(each_exchange())
        n, w, opens = request(made, SECOND)
        NEWS[news](made)
        ripen(made, SECOND)
        with made.chain.anchor():
            made.settle()
            a, s = total(made)
        x, before = FUNCTIONS["redeem"], tokens(made, SECOND)
        then, now = w * x // n, x * a // s
        assert (now < then) == (news == "loss") and (then < now) == (news == "surplus")
        assert w * x % n and x * a % s

        assert moved(send(made, "redeem", x, SECOND)) == (min(then, now), x)

        assert tokens(made, SECOND) - before == min(then, now)
        assert request(made, SECOND) == (n - x, w * (n - x) // n, opens)
        a2, s2 = total(made)
        assert (a2, s2) == (a - min(then, now), s - x)
        assert a2 * s >= a * s2  # nobody else's share is worth less for it

    @pytest.mark.parametrize("news", NEWS)
    def test_withdraw(self, each_exchange: ExchangeFactory, news: str) -> None:
        made = waiting(each_exchange())
        n, w, opens = request(made, SECOND)
        NEWS[news](made)
        ripen(made, SECOND)
        with made.chain.anchor():
            made.settle()
            a, s = total(made)
        amount, before = FUNCTIONS["withdraw"], tokens(made, SECOND)
        then, now = up(amount * n, w), up(amount * s, a)
        # What the request was worth is rounded down, so with no news it is the one that counts.
        assert (now > then) == (news == "loss")

        assert moved(send(made, "withdraw", amount, SECOND)) == (amount, max(then, now))

        x = max(then, now)
        assert tokens(made, SECOND) - before == amount
        assert request(made, SECOND) == (n - x, w * (n - x) // n, opens)
        assert total(made) == (a - amount, s - x)

    def test_all_of_it_after_a_rise_is_what_it_was_worth(self, each_exchange: ExchangeFactory) -> None:
        """The rest stays: the others' shares are worth more by it."""
        made = waiting(each_exchange())
        n, w, _ = request(made, SECOND)
        earn(made)
        ripen(made, SECOND)
        a, s = total(made)
        assert n * a // s > w
        assert moved(send(made, "redeem", n, SECOND)) == (w, n)
        a2, s2 = total(made)
        assert a2 * s > a * s2
        assert request(made, SECOND) == (0, 0, 0)

    @given(st.lists(st.integers(1, 10**13), min_size=1, max_size=8), st.sampled_from(sorted(NEWS)))
    @ONE_MARKET
    def test_in_parts_never_more_than_in_one(self, exchange: ExchangeFactory, parts: list[int], news: str) -> None:
        made = waiting(exchange(decimals=6))
        NEWS[news](made)
        ripen(made, SECOND)
        n, w, _ = request(made, SECOND)
        paid = taken = 0
        for part in parts:
            try:
                assets, number = moved(send(made, "redeem", part, SECOND))
            except Reverted as revert:
                assert revert.reason == "vault: zero assets or shares"
                continue
            paid, taken = paid + assets, taken + number
            left = request(made, SECOND)
            assert left[0] == n - taken
            assert w * left[0] // n - len(parts) <= left[1] <= w * left[0] // n
            assert paid <= w * taken // n
        rest = request(made, SECOND)[0]
        paid += moved(send(made, "redeem", rest, SECOND))[0]
        assert paid <= w


class TestAmount:
    def test_no_more_shares_than_requested(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = ripe(exchange(decimals=6))
        with refused(made, "vault: more than requested"):
            send(made, "redeem", REQUESTED + 1, SECOND)
        send(made, "redeem", REQUESTED, SECOND)
        with refused(made, "vault: nothing requested"):
            send(made, "redeem", REQUESTED, SECOND)

    def test_no_more_assets_than_it_was_worth(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = waiting(exchange(decimals=6))
        worth = request(made, SECOND)[1]
        earn(made)
        ripen(made, SECOND)
        with refused(made, "vault: more than requested"):
            send(made, "withdraw", worth + 1, SECOND)
        send(made, "withdraw", worth, SECOND)
        assert request(made, SECOND) == (0, 0, 0)

    def test_no_more_assets_than_it_is_worth(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = waiting(exchange(decimals=6))
        NEWS["loss"](made)
        ripen(made, SECOND)
        made.settle()
        a, s = total(made)
        worth = REQUESTED * a // s
        assert worth < request(made, SECOND)[1]
        with refused(made, "vault: more than requested"):
            send(made, "withdraw", worth + 1, SECOND)
        send(made, "withdraw", worth, SECOND)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_not_nothing(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = ripe(exchange(decimals=6))
        with refused(made, "vault: zero assets or shares"):
            send(made, function, 0, SECOND)

    def test_not_shares_worth_less_than_a_token_unit(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = ripe(exchange(decimals=6))
        n, w, _ = request(made, SECOND)
        worthless = up(n, w) - 1
        assert w * worthless // n == 0
        with refused(made, "vault: zero assets or shares"):
            send(made, "redeem", worthless, SECOND)
        assert moved(send(made, "redeem", worthless + 1, SECOND)) == (1, worthless + 1)

    def test_a_rest_worth_nothing_can_only_be_cancelled(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = ripe(exchange(decimals=6))
        send(made, "redeem", REQUESTED - 5, SECOND)
        assert request(made, SECOND)[:2] == (5, 0)
        for function, amount, reason in (
            ("redeem", 5, "vault: zero assets or shares"),
            ("withdraw", 0, "vault: zero assets or shares"),
            ("withdraw", 1, "vault: more than requested"),
        ):
            with refused(made, reason):
                send(made, function, amount, SECOND)
        made.cancel_redeem(SECOND)

    def test_to_nobody_is_refused(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = ripe(exchange(decimals=6))
        for function in FUNCTIONS:
            with refused(made, "erc20: transfer to the zero address"):
                made.chain.transact(
                    made.vault, function, FUNCTIONS[function], ZERO_ADDRESS, address(made, SECOND), sender=SECOND
                )


class TestWhen:
    @pytest.mark.parametrize("function", FUNCTIONS)
    @pytest.mark.parametrize(
        ("late", "reason"),
        [
            (2 - COOLDOWN, "vault: cooldown is not over"),
            (-1, "vault: cooldown is not over"),
            (0, ""),
            (WINDOW - 1, ""),
            (WINDOW, "vault: redeem window has lapsed"),
            (100 * WINDOW, "vault: redeem window has lapsed"),
        ],
    )
    def test_to_the_second(
        self, exchange: ExchangeFactory, refused: Refused, function: str, late: int, reason: str
    ) -> None:
        made = waiting(exchange(decimals=6))
        wait_until(made, request(made, SECOND)[2] + late)
        if not reason:
            send(made, function, FUNCTIONS[function], SECOND)
            return
        with refused(made, reason):
            send(made, function, FUNCTIONS[function], SECOND)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_not_without_a_request(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = waiting(exchange(decimals=6))
        with refused(made, "vault: nothing requested"):
            send(made, function, FUNCTIONS[function], DEPOSITOR)
        made.cancel_redeem(SECOND)
        with refused(made, "vault: nothing requested"):
            send(made, function, FUNCTIONS[function], SECOND)

    def test_a_second_request_shuts_an_open_window(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = ripe(exchange(decimals=6))
        send(made, "requestRedeem", 1, SECOND)
        with refused(made, "vault: cooldown is not over"):
            send(made, "redeem", REQUESTED, SECOND)

    def test_a_lapsed_request_is_renewed(self, exchange: ExchangeFactory) -> None:
        made = waiting(exchange(decimals=6))
        earn(made)
        wait_until(made, request(made, SECOND)[2] + WINDOW)
        a, s = total(made)
        send(made, "requestRedeem", 0, SECOND)
        ripen(made, SECOND)
        assert moved(send(made, "redeem", REQUESTED, SECOND)) == (REQUESTED * a // s, REQUESTED)

    def test_a_part_does_not_prolong_the_window(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = waiting(exchange(decimals=6))
        wait_until(made, request(made, SECOND)[2] + WINDOW - 1)
        send(made, "redeem", REQUESTED // 2, SECOND)
        with refused(made, "vault: redeem window has lapsed"):
            send(made, "redeem", REQUESTED // 2, SECOND)


class TestWho:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_the_controller_and_its_operators(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        """An allowance of shares is no title to a request."""
        made = ripe(exchange(decimals=6))
        made.chain.transact(made.vault, "approve", address(made, ATTACKER), 2**256 - 1, sender=SECOND)
        made.chain.transact(made.vault, "setOperator", address(made, SECOND), True, sender=ATTACKER)
        for receiver in (ATTACKER, SECOND):
            with refused(made, "vault: only the controller"):
                send(made, function, FUNCTIONS[function], ATTACKER, receiver=receiver, owner=SECOND)
        made.chain.transact(made.vault, "setOperator", address(made, STRANGER), True, sender=SECOND)
        before = tokens(made, STRANGER)
        transaction = send(made, function, FUNCTIONS[function], STRANGER, owner=SECOND)
        assert tokens(made, STRANGER) - before == moved(transaction)[0] > 0
        assert transaction.logs[-1].fields["sender"] == address(made, STRANGER)
        assert transaction.logs[-1].fields["owner"] == address(made, SECOND)
        assert request(made, SECOND)[0] == REQUESTED - moved(transaction)[1]

    def test_not_the_former_owner(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = waiting(exchange(decimals=6))
        send(made, "requestRedeem", REQUESTED, SECOND, receiver=SECOND)
        made.chain.transact(made.vault, "setOperator", address(made, STRANGER), True, sender=SECOND)
        send(made, "requestRedeem", REQUESTED, STRANGER, owner=SECOND)
        ripen(made, STRANGER)
        with refused(made, "vault: only the controller"):
            send(made, "redeem", REQUESTED, SECOND, owner=STRANGER)
        send(made, "redeem", REQUESTED, STRANGER)
        assert request(made, SECOND)[0] == 2 * REQUESTED


class TestSweep:
    def test_when_it_holds_too_little(self, each_exchange: ExchangeFactory) -> None:
        made = open_vault(each_exchange())
        send(made, "deposit", 100 * 10**made.decimals, DEPOSITOR)
        earn(made)
        owed = made.insurance_owed
        assert owed == 200 * WAD
        send(made, "requestRedeem", shares(made, DEPOSITOR), DEPOSITOR)
        ripen(made, DEPOSITOR)
        # To the last unit it holds there is no need to; for one unit more there is.
        send(made, "withdraw", call(made, "held"), DEPOSITOR)
        assert (call(made, "held"), made.insurance_owed) == (0, owed)
        send(made, "withdraw", 1, DEPOSITOR)
        assert (call(made, "held") * made.unit, made.insurance_owed) == (owed - made.unit, 0)
        assert call(made, "held") == int(made.chain.call(made.token, "balanceOf", made.vault.address))

    def test_everybody_can_leave(self, each_exchange: ExchangeFactory) -> None:
        """The last one too, with the fees the market still holds; what stays behind are the virtual shares' crumbs."""
        made = odd_price(each_exchange())
        send(made, "deposit", 10**9 + 7, DEPOSITOR)
        for depositor in (DEPOSITOR, SECOND):
            leave(made, shares(made, depositor), depositor)
        assert call(made, "totalSupply") == 0
        held, balance = call(made, "held"), int(made.chain.call(made.token, "balanceOf", made.vault.address))
        assert held == balance
        # A millionth of a token unit's share of everything.
        assert total(made)[0] * 777_777_777 <= 2 * 777_777_777 * 10**made.decimals


class TestShut:
    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_in_catch_up(self, exchange: ExchangeFactory, refused: Refused, function: str) -> None:
        made = waiting(exchange(decimals=6, max_buckets=1))
        leverage(made, 60, 70, 80)
        ripen(made, SECOND)
        made.set_price(850 * WAD)
        for _ in range(2):
            with refused(made, "mode: catch-up"):
                send(made, function, FUNCTIONS[function], SECOND)
            made.settle()
            assert made.mark > 850 * WAD
        # The third settlement is its own, and arrives.
        send(made, function, FUNCTIONS[function], SECOND)
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
        made = ripe(exchange(decimals=6))
        answer(made, round_id, price, delay, answered_in)
        with refused(made, reason):
            send(made, function, FUNCTIONS[function], SECOND)
        made.set_price(made.mark)
        send(made, function, FUNCTIONS[function], SECOND)


def test_twin_agrees_on_entries_and_exits(twin_everywhere: TwinFactory) -> None:
    """A loss while the first waits, and a surplus while the second does; nothing is paid before or after its time."""
    market = twin_everywhere()
    exchange = market.exchange
    market.insure(100 * WAD)
    market.deposit(RICH, 10**6 * WAD)
    for trader, collateral in ((LONG_TRADER, 60), (ACCOMPLICE, 75), (SURVIVOR, 5000)):
        market.deposit(trader, collateral * WAD)
        market.trade(trader, RICH, True, WAD, MARK)
    market.set_price(945 * WAD)
    market.insure(50 * WAD, STRANGER)
    market.check()
    mine, theirs = exchange.vault_shares(0), exchange.vault_shares(STRANGER)

    market.request_redeem(mine)
    with pytest.raises(Reverted, match=r"^vault: cooldown is not over$"):
        market.redeem(mine)
    market.set_price(900 * WAD)
    market.request_redeem(theirs, STRANGER)
    wait_both(market, exchange.redeem_request(STRANGER).opens)
    market.redeem(mine // 3)
    market.check()
    earn_in(market)
    market.redeem(mine - mine // 3)
    market.check()
    with pytest.raises(Reverted, match=r"^vault: nothing requested$"):
        market.redeem(1)
    with pytest.raises(Reverted, match=r"^vault: more than requested$"):
        market.redeem(theirs + 1, STRANGER)
    market.redeem(theirs // 2, STRANGER)
    wait_both(market, exchange.redeem_request(STRANGER).opens + WINDOW)
    with pytest.raises(Reverted, match=r"^vault: redeem window has lapsed$"):
        market.redeem(1, STRANGER)
    market.request_redeem(0, STRANGER)
    wait_both(market, exchange.redeem_request(STRANGER).opens)
    market.redeem(theirs - theirs // 2, STRANGER)
    assert exchange.vault_supply == market.model.vault.supply == 0


def earn_in(market: Twin) -> None:
    """Fees, in both worlds."""
    for trader in (DEPOSITOR, SECOND):
        market.deposit(trader, 10**4 * WAD)
    market.trade(DEPOSITOR, SECOND, True, 10 * WAD, 900 * WAD)
