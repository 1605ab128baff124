"""What the vault pays: only to its market, only so much a window, out of what it is owed first, to the token unit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.receipts import Receipt, receipts_in
from prorata.revm_chain import RevmChain
from prorata.units import WAD

ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

DEPOSITOR, TRADER, RICH, STRANGER, SURVIVOR = 0, 1, 2, 3, 4
MARK = 1000 * WAD
WINDOW = DAY = 86_400


def call(exchange: Exchange, function: str, *arguments: Any) -> int:
    return int(exchange.chain.call(exchange.vault, function, *arguments))


def drawable(exchange: Exchange) -> int:
    """What the market could draw now, quote."""
    return call(exchange, "drawable", exchange.insurance_owed)


def disaster(exchange: Exchange, missing: int, to_price: int = 900 * WAD) -> Receipt:
    """A long that lacks `missing` quote when the price falls from 1000; a whole epoch, so that no trace is left."""
    exchange.set_price(MARK)
    exchange.settle()
    fallen = MARK - to_price
    # It has six per cent and loses more; the rest of the size is chosen by what is to be missing.
    size = -(-missing * WAD // (fallen - 60 * WAD))
    margin = -(-size * 60 // exchange.unit) * exchange.unit
    exchange.deposit(TRADER, margin)
    exchange.trade(TRADER, RICH, True, size, MARK)
    exchange.set_price(to_price)
    (receipt,) = receipts_in(exchange.settle().logs)
    assert abs(receipt.deficit - missing) <= exchange.unit + 100  # a wei of size is up to a hundred of quote
    return receipt


def reconcile(exchange: Exchange) -> None:
    """What both contracts say they hold, they hold; what the market owes is there."""
    assert exchange.vault_held == exchange.token_balance(exchange.vault)
    owed = sum(exchange.account(trader).equity for trader in range(9)) + exchange.insurance_owed
    assert 0 <= exchange.token_balance(exchange.market) - owed <= 1000


@pytest.fixture(params=[6, 8, 18], ids=lambda decimals: f"{decimals} decimals")
def insured(exchange: ExchangeFactory, request: pytest.FixtureRequest) -> Callable[..., Exchange]:
    """A market without fees whose vault holds so much, for each kind of token."""

    def make(amount: int, **parameters: int) -> Exchange:
        made = exchange(decimals=request.param, **{"fee_rate": 0, "draw_window": WINDOW, **parameters})
        made.deposit(RICH, 10**9 * WAD)
        if amount:
            made.insure(DEPOSITOR, amount)
        return made

    return make


# ------------------------------------------------------------------------------------------------------------------ who


class TestWho:
    @pytest.mark.parametrize("caller", [DEPOSITOR, TRADER, STRANGER])
    @pytest.mark.parametrize("amount", [0, 1, WAD])
    def test_only_the_market_draws(self, exchange: ExchangeFactory, refused: Refused, caller: int, amount: int) -> None:
        made = exchange()
        made.insure(DEPOSITOR, 100 * WAD)
        with refused(made, "vault: only the market"):
            made.chain.transact(made.vault, "cover", amount, 0, sender=caller)

    @pytest.mark.parametrize("caller", [DEPOSITOR, TRADER, STRANGER])
    def test_only_the_vault_sweeps(self, exchange: ExchangeFactory, refused: Refused, caller: int) -> None:
        made = exchange()
        for trader in (TRADER, RICH):
            made.deposit(trader, 1000 * WAD)
        made.trade(TRADER, RICH, True, WAD, MARK)
        assert made.insurance_owed == WAD
        with refused(made, "vault: only the insurance vault"):
            made.chain.transact(made.market, "sweep", sender=caller)

    def test_the_market_itself_cannot_draw_above_the_cap(self, exchange: ExchangeFactory) -> None:
        """A vault whose market is an account: what the cap refuses, whoever asks."""
        chain = RevmChain()
        token = chain.deploy("MockToken", 6)
        vault = chain.deploy("InsuranceVault", token.address, chain.address(TRADER), WAD // 3, WINDOW, DAY, DAY)
        for amount in (1, 10**18):
            with pytest.raises(Reverted, match=r"^vault: above the draw cap$"):
                chain.transact(vault, "cover", amount, 0, sender=TRADER)
        owed = 10**18 + 1
        most = owed // 3
        with pytest.raises(Reverted, match=r"^vault: above the draw cap$"):
            chain.transact(vault, "cover", most + 1, owed, sender=TRADER)
        chain.transact(vault, "cover", most, owed, sender=TRADER)


class TestDeployment:
    @pytest.mark.parametrize(
        ("terms", "reason"),
        [
            ((0, WINDOW, DAY, DAY), "parameters: draw cap not in (0, 90 %]"),
            ((WAD * 9 // 10 + 1, WINDOW, DAY, DAY), "parameters: draw cap not in (0, 90 %]"),
            ((WAD // 2, 0, DAY, DAY), "parameters: draw window is zero"),
            ((WAD // 2, WINDOW, 0, DAY), "parameters: redeem cooldown not in (0, 1 year]"),
            ((WAD // 2, WINDOW, 365 * DAY + 1, DAY), "parameters: redeem cooldown not in (0, 1 year]"),
            ((WAD // 2, WINDOW, DAY, 0), "parameters: redeem window is zero"),
        ],
    )
    def test_refuses(self, terms: tuple[int, ...], reason: str) -> None:
        chain = RevmChain()
        token = chain.deploy("MockToken", 6)
        with pytest.raises(Reverted) as caught:
            chain.deploy("InsuranceVault", token.address, chain.address(TRADER), *terms)
        assert caught.value.reason == reason

    @pytest.mark.parametrize("terms", [(1, 1, 1, 1), (WAD * 9 // 10, 2**40, 365 * DAY, 2**256 - 1)])
    def test_accepts(self, terms: tuple[int, ...]) -> None:
        chain = RevmChain()
        token = chain.deploy("MockToken", 6)
        vault = chain.deploy("InsuranceVault", token.address, chain.address(TRADER), *terms)
        names = ("draw_cap", "draw_window", "redeem_cooldown", "redeem_window")
        assert tuple(chain.call(vault, name) for name in names) == terms


# ------------------------------------------------------------------------------------------------------------- how much


class TestCap:
    def test_of_what_is_held_and_owed_rounded_down(self, exchange: ExchangeFactory) -> None:
        made = exchange(decimals=6, draw_cap=WAD // 3 - 7)
        made.insure(DEPOSITOR, 100 * WAD + 10**12)
        for trader in (TRADER, RICH):
            made.deposit(trader, 1000 * WAD)
        made.trade(TRADER, RICH, True, WAD + 1, MARK)
        assets = 100 * WAD + 10**12 + made.insurance_owed
        assert made.insurance_owed > WAD
        assert assets * (WAD // 3 - 7) % WAD
        assert drawable(made) == assets * (WAD // 3 - 7) // WAD

    @pytest.mark.parametrize("missing", [49 * WAD, 50 * WAD - 10**12, 50 * WAD + 10**12, 51 * WAD, 10**5 * WAD])
    def test_to_the_wei(self, insured: Callable[..., Exchange], missing: int) -> None:
        """Half of 100: what is missing below it is covered whole, above it 50."""
        made = insured(100 * WAD)
        receipt = disaster(made, missing)
        assert receipt.covered == min(receipt.deficit, 50 * WAD)
        assert call(made, "window_drawn") == receipt.covered
        assert call(made, "window_assets") == 100 * WAD
        assert drawable(made) == 50 * WAD - receipt.covered
        reconcile(made)

    def test_nothing_of_nothing(self, insured: Callable[..., Exchange]) -> None:
        made = insured(0)
        receipt = disaster(made, 10 * WAD)
        assert receipt.covered == 0
        assert call(made, "window_start") == call(made, "window_drawn") == 0

    def test_nothing_is_drawn_without_a_deficit(self, insured: Callable[..., Exchange]) -> None:
        made = insured(100 * WAD)
        made.deposit(TRADER, 100 * WAD)
        made.trade(TRADER, RICH, True, WAD, MARK)
        made.set_price(950 * WAD)
        made.settle()
        assert call(made, "window_start") == 0
        assert made.vault_held == 100 * WAD


class TestWindow:
    def test_several_draws_share_one_cap(self, insured: Callable[..., Exchange]) -> None:
        made = insured(100 * WAD)
        drawn = 0
        for missing in (20 * WAD, 15 * WAD, 10 * WAD):
            receipt = disaster(made, missing)
            assert receipt.covered == receipt.deficit
            drawn += receipt.covered
            assert call(made, "window_drawn") == drawn
            assert drawable(made) == 50 * WAD - drawn
        receipt = disaster(made, 30 * WAD)
        assert receipt.covered == 50 * WAD - drawn
        assert drawable(made) == 0
        assert disaster(made, 30 * WAD).covered == 0
        assert made.vault_assets >= 50 * WAD - made.unit
        reconcile(made)

    def test_begins_with_its_first_draw_and_ends_to_the_second(self, insured: Callable[..., Exchange]) -> None:
        made = insured(100 * WAD)
        made.chain.advance(1_000_000)  # nothing began with the deposit
        disaster(made, 80 * WAD)
        start = call(made, "window_start")
        assert start == made.chain.now
        left = made.vault_held + made.insurance_owed
        made.chain.advance(WINDOW - 1)
        assert drawable(made) == 0
        made.chain.advance(1)
        assert made.chain.now == start + WINDOW
        assert drawable(made) == left // 2

    def test_draws_in_its_last_second_and_not_the_next(self, insured: Callable[..., Exchange]) -> None:
        """A settlement in the last second is still bound by the old window; one in the next second opens a new one."""
        for late, covered in ((0, 0), (1, 25 * WAD)):
            made = insured(100 * WAD)
            disaster(made, 80 * WAD)
            start = call(made, "window_start")
            made.set_price(MARK)
            made.settle()
            made.deposit(TRADER, 600 * WAD)
            made.trade(TRADER, RICH, True, 10 * WAD, MARK)
            made.chain.advance(start + WINDOW + late - 3 - made.chain.now)
            made.set_price(900 * WAD)
            made.chain.advance(start + WINDOW + late - 2 - made.chain.now)
            transaction = made.settle()
            assert transaction.timestamp == start + WINDOW + late - 1
            (receipt,) = receipts_in(transaction.logs)
            assert abs(receipt.covered - covered) <= made.unit
            assert call(made, "window_start") == (transaction.timestamp if late else start)

    def test_a_new_one_counts_what_is_there_then(self, insured: Callable[..., Exchange]) -> None:
        made = insured(100 * WAD)
        disaster(made, 80 * WAD)
        made.insure(DEPOSITOR, 30 * WAD)
        made.chain.advance(WINDOW)
        there = made.vault_held + made.insurance_owed
        receipt = disaster(made, 10**4 * WAD)
        assert receipt.covered == there // 2
        assert call(made, "window_assets") == there

    def test_a_deposit_does_not_widen_it(self, insured: Callable[..., Exchange]) -> None:
        made = insured(100 * WAD)
        disaster(made, 20 * WAD)
        left = drawable(made)
        made.insure(DEPOSITOR, 1000 * WAD)
        assert drawable(made) == left

    def test_a_withdrawal_narrows_it(self, insured: Callable[..., Exchange]) -> None:
        """After it a draw takes at most the cap of what is left, not the cap of what once was."""
        made = insured(100 * WAD, redeem_cooldown=1)
        disaster(made, 20 * WAD)
        drawable_before = drawable(made)
        made.request_redeem(DEPOSITOR, made.vault_shares(DEPOSITOR) * 9 // 10)
        assert drawable(made) == drawable_before  # what waits in the queue still insures
        made.redeem(DEPOSITOR, made.redeem_request(DEPOSITOR).shares)
        there = made.vault_held + made.insurance_owed
        assert 7 * WAD < there < 9 * WAD
        assert drawable(made) == there // 2
        receipt = disaster(made, 10**4 * WAD)
        assert receipt.covered == there // 2
        assert made.vault_held > 0
        reconcile(made)


class TestNeverEmpty:
    @pytest.mark.parametrize("cap", [WAD // 2, WAD * 9 // 10])
    def test_after_the_largest_draw_something_is_left(self, insured: Callable[..., Exchange], cap: int) -> None:
        made = insured(100 * WAD, draw_cap=cap)
        receipt = disaster(made, 10**6 * WAD)
        assert receipt.covered == 100 * cap
        left = 100 * WAD - 100 * cap
        assert made.vault_held + made.insurance_owed == left
        assert left - made.unit <= made.vault_assets <= left
        assert call(made, "convertToAssets", made.vault_shares(DEPOSITOR)) * made.unit >= left - 2 * made.unit
        reconcile(made)

    @pytest.mark.parametrize("deposits", [True, False])
    def test_thirty_times_over(self, insured: Callable[..., Exchange], deposits: bool) -> None:
        """A share is worth ever less and never nothing, and who comes after a disaster has lost nothing by it."""
        made = insured(100 * WAD, draw_cap=WAD * 9 // 10)
        price = None
        for _ in range(30):
            there = made.vault_held + made.insurance_owed
            receipt = disaster(made, 10**5 * WAD)
            assert receipt.covered == there * 9 // 10
            made.chain.advance(WINDOW)
            made.set_price(900 * WAD)
            assets, supply = made.vault_assets // made.unit + 1, call(made, "totalSupply") + 10**6
            assert price is None or assets * price[1] <= price[0] * supply
            price = assets, supply
            reconcile(made)
            with made.chain.anchor():
                before = made.vault_shares(DEPOSITOR)
                made.insure(DEPOSITOR, 100 * WAD)
                minted = made.vault_shares(DEPOSITOR) - before
                worth = call(made, "convertToAssets", minted) * made.unit
                assert 100 * WAD - max(made.unit, 100 * WAD // 10**5) <= worth <= 100 * WAD
            if deposits:
                made.insure(DEPOSITOR, 100 * WAD)
                # All shares together are worth all there is, but for the virtual ones' part.
                everything = call(made, "convertToAssets", call(made, "totalSupply"))
                assert 100 * WAD <= made.vault_assets <= everything * made.unit + made.unit


# ------------------------------------------------------------------------------------------------------ owed and held


class TestOwedFirst:
    def owing(self, insured: Callable[..., Exchange]) -> Exchange:
        """100 held and some 10 owed: what a long left that failed early."""
        made = insured(100 * WAD)
        made.deposit(TRADER, 120 * WAD)
        made.trade(TRADER, RICH, True, 2 * WAD, MARK)
        made.set_price(945 * WAD)
        made.settle()
        assert 10 * WAD - 4 <= made.insurance_owed <= 10 * WAD
        return made

    def test_a_small_deficit_moves_no_token(self, insured: Callable[..., Exchange]) -> None:
        made = self.owing(insured)
        owed = made.insurance_owed
        receipt = disaster(made, 4 * WAD)
        assert receipt.covered == receipt.deficit
        assert made.vault_held == 100 * WAD
        assert made.insurance_owed == owed - receipt.covered
        reconcile(made)

    def test_a_larger_one_takes_all_that_is_owed_and_whole_units_of_the_rest(
        self, insured: Callable[..., Exchange]
    ) -> None:
        made = self.owing(insured)
        owed = made.insurance_owed
        receipt = disaster(made, 33 * WAD + 123_456)
        assert receipt.covered == receipt.deficit
        sent = -(-(receipt.covered - owed) // made.unit) * made.unit
        assert made.vault_held == 100 * WAD - sent
        assert made.insurance_owed == owed + sent - receipt.covered < made.unit
        reconcile(made)

    def test_one_of_exactly_what_is_owed_sends_nothing(self, exchange: ExchangeFactory) -> None:
        """Not even a transfer of zero, which some tokens refuse."""
        made = exchange(fee_rate=0, draw_cap=WAD // 2)
        made.deposit(RICH, 10**9 * WAD)
        made.deposit(TRADER, 120 * WAD)
        made.trade(TRADER, RICH, True, 2 * WAD, MARK)
        made.set_price(945 * WAD)
        made.settle()
        owed = made.insurance_owed
        made.insure(DEPOSITOR, owed)  # so half of all is what is owed
        made.set_price(MARK)
        made.settle()
        made.deposit(TRADER, 60 * WAD)
        made.trade(TRADER, RICH, True, WAD, MARK)
        made.set_price(900 * WAD)
        logs = made.settle().logs
        assert receipts_in(logs)[0].covered == owed
        assert [log.name for log in logs] == ["BucketClosed", "Covered", "Settled", "EpochEnded"]

    def test_logs_what_it_paid(self, insured: Callable[..., Exchange]) -> None:
        made = self.owing(insured)
        owed = made.insurance_owed
        made.set_price(MARK)
        made.settle()
        made.deposit(TRADER, 60 * WAD)
        made.trade(TRADER, RICH, True, WAD, MARK)
        made.set_price(900 * WAD)
        transaction = made.settle()
        (receipt,) = receipts_in(transaction.logs)
        (covered,) = [log for log in transaction.logs if log.name == "Covered"]
        assert covered.address == made.vault.address
        assert covered.fields == {
            "amount": receipt.covered,
            "transferred": -(-(receipt.covered - owed) // made.unit),
            "window_drawn": receipt.covered,
        }

    def test_cents_reconcile_to_the_token_unit(self, exchange: ExchangeFactory) -> None:
        """Fifty deficits of odd wei with a token of six decimals: not a unit is made or lost between the two."""
        made = exchange(decimals=6, fee_rate=0, draw_cap=WAD * 9 // 10, draw_window=1)
        made.deposit(RICH, 10**9 * WAD)
        made.insure(DEPOSITOR, 10**4 * WAD)
        both = made.token_balance(made.market) + made.token_balance(made.vault)
        deposited = 0
        for i in range(1, 51):
            before = made.vault_held + made.insurance_owed
            equity = made.account(RICH).equity
            receipt = disaster(made, i * WAD // 7 + i * i * 1_000_003)
            assert receipt.covered == receipt.deficit
            # What insurance lost, the winner won beside the loser's margin, up to wei.
            assert made.vault_held + made.insurance_owed == before - receipt.covered
            deposited += receipt.gross - receipt.deficit
            assert 0 <= equity + receipt.gross - made.account(RICH).equity <= 3
            assert 0 <= made.insurance_owed < made.unit
            reconcile(made)
        now = made.token_balance(made.market) + made.token_balance(made.vault)
        assert abs(now - both - deposited) <= 50 * made.unit

    def test_nothing_is_swept_where_nothing_is_owed(self, exchange: ExchangeFactory) -> None:
        made = exchange(decimals=6, redeem_cooldown=1)
        made.insure(DEPOSITOR, WAD)
        made.request_redeem(DEPOSITOR, made.vault_shares(DEPOSITOR))
        logs = made.redeem(DEPOSITOR, made.redeem_request(DEPOSITOR).shares).logs
        assert "Swept" not in [log.name for log in logs]
        assert len([log for log in logs if log.address == made.token.address]) == 1

    def test_sweep_leaves_what_is_less_than_a_unit(self, exchange: ExchangeFactory) -> None:
        """Fees of odd wei: the vault gets the whole units when it needs them, the rest stays owed."""
        made = exchange(decimals=6, redeem_cooldown=1)
        made.insure(DEPOSITOR, WAD)
        for trader in (TRADER, RICH):
            made.deposit(trader, 10**5 * WAD)
        made.trade(TRADER, RICH, True, WAD + 1_234_567, MARK)
        owed = made.insurance_owed
        assert owed % made.unit and owed > WAD
        balance = made.token_balance(made.market)
        made.request_redeem(DEPOSITOR, made.vault_shares(DEPOSITOR))
        logs = made.redeem(DEPOSITOR, made.redeem_request(DEPOSITOR).shares).logs
        assert [log.fields for log in logs if log.name == "Swept"] == [{"amount": owed // made.unit}]
        assert made.insurance_owed == owed % made.unit
        assert balance - made.token_balance(made.market) == owed - owed % made.unit
        reconcile(made)
