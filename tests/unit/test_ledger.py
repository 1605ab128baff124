"""The ledger of a market's event log: hand-made histories whose every balance can be worked out on paper.

After each of them the ledger is compared with the views of the market, to the wei. What comes of random histories is
compared in `tests/invariant/test_event_log.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from prorata.chain import Log
from prorata.exchange import AccountState, Exchange
from prorata.ledger import Ledger, LedgerError, Totals
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD

MARK = 1000 * WAD
DEPOSITOR, MAKER, TAKER, KEEPER, STRANGER = range(5)
#: What filing may cost an account.
WEI = 1


class Market:
    """A market on a chain of its own, and the ledger of its log."""

    def __init__(self, decimals: int = 18, chain: RevmChain | None = None, **parameters: Any) -> None:
        self.chain = chain or RevmChain()
        terms = MarketParameters(guardian=self.chain.address(DEPOSITOR), **parameters)
        vault = VaultParameters(draw_cap=WAD // 10)
        self.exchange = Exchange.deploy(self.chain, MARK, terms, vault, decimals)
        for trader in (MAKER, TAKER, KEEPER, STRANGER):
            self.exchange.fund(trader)
        self.exchange.fund(DEPOSITOR)
        self.exchange.approve(DEPOSITOR, self.exchange.vault)

    @property
    def logs(self) -> Sequence[Log]:
        """Everything that ever happened on the chain."""
        return self.chain.logs(0, self.chain.block)

    def deposit(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self.exchange.deposit(globals()[name], int(amount * WAD))

    def move(self, *prices: float) -> None:
        """Settled prices, one after the other."""
        for price in prices:
            self.exchange.set_price(int(price * WAD))
            self.exchange.settle()

    def ledger(self) -> Ledger:
        """The ledger of everything, compared with the views."""
        ledger, exchange = Ledger(self.exchange.market.address).read(self.logs), self.exchange
        assert (ledger.mark, ledger.epoch, ledger.insurance_owed) == (
            exchange.mark,
            exchange.epoch,
            exchange.insurance_owed,
        )
        assert [ledger.side(side) for side in (LONG, SHORT)] == [exchange.side(side) for side in (LONG, SHORT)]
        for trader in range(6):
            assert ledger.account(self.chain.address(trader)) == exchange.account(trader)
        assert ledger.token_balance == exchange.token_balance(exchange.market)
        return ledger

    def equity(self, ledger: Ledger, trader: int) -> int:
        return ledger.account(self.chain.address(trader)).equity


def opened(decimals: int = 18, insurance: int = 0, **parameters: Any) -> Market:
    """MAKER is long 2 against TAKER and KEEPER, one each; TAKER has 100 left after the fee, KEEPER and MAKER plenty."""
    market = Market(decimals, **parameters)
    if insurance:
        market.exchange.insure(DEPOSITOR, insurance * WAD)
    market.deposit(MAKER=1_001, TAKER=100.5, KEEPER=1_000.5)
    market.exchange.trade(MAKER, TAKER, True, WAD, MARK)
    market.exchange.trade(MAKER, KEEPER, True, WAD, MARK)
    return market


@pytest.fixture(params=[6, 8, 18], ids=lambda decimals: f"{decimals} decimals")
def decimals(request: pytest.FixtureRequest) -> int:
    return int(request.param)


class TestAccounts:
    def test_money_goes_in_and_out_in_token_units(self, decimals: int) -> None:
        market = Market(decimals)
        unit = 10 ** (18 - decimals)
        market.exchange.deposit(MAKER, 70 * WAD + unit)
        market.exchange.deposit(MAKER, 5 * WAD, to=TAKER)
        market.exchange.withdraw(MAKER, 30 * WAD)
        ledger = market.ledger()
        assert (market.equity(ledger, MAKER), market.equity(ledger, TAKER)) == (40 * WAD + unit, 5 * WAD)
        assert (ledger.unit, ledger.token_balance, ledger.dust) == (unit, 45 * WAD + unit, 0)
        assert ledger.accounts == [market.chain.address(MAKER), market.chain.address(TAKER)]

    def test_nobody_is_nobody(self) -> None:
        market = Market()
        assert market.ledger().account(market.chain.address(MAKER)) == AccountState(0, LONG, 0, 0, 0)

    def test_a_trade_files_both_and_pays_insurance(self, decimals: int) -> None:
        market = opened(decimals)
        ledger = market.ledger()
        assert ledger.insurance_owed == 2 * WAD  # 0.05 % of 1000 from each party of two fills
        assert 0 <= 1_000 * WAD - market.equity(ledger, MAKER) - WAD + WAD <= 2 * WEI
        assert 0 <= 100 * WAD - market.equity(ledger, TAKER) <= WEI
        assert ledger.side(LONG).open_interest == ledger.side(SHORT).open_interest == 2 * WAD
        held = ledger.account(market.chain.address(TAKER))
        assert (held.side, held.shares) == (SHORT, WAD)
        # Bankrupt at an index of -100: the bucket around it is at most 0.1 % of 1000 wide.
        assert -100 * INDEX_UNIT < held.edge <= -99 * INDEX_UNIT

    def test_a_better_price_moves_between_collaterals(self) -> None:
        market = Market()
        market.deposit(MAKER=1_000, TAKER=1_000)
        market.exchange.trade(MAKER, TAKER, True, WAD, MARK - 7 * WAD)
        ledger = market.ledger()
        assert 0 <= 1_006_500 * WAD // 1000 - market.equity(ledger, MAKER) <= WEI
        assert 0 <= 992_500 * WAD // 1000 - market.equity(ledger, TAKER) <= WEI

    def test_positions_are_added_to_reduced_turned_over_and_closed(self) -> None:
        market = opened()
        exchange, maker = market.exchange, market.chain.address(MAKER)
        held = []
        for is_long, size in ((True, 1), (False, 2), (False, 3), (True, 2)):
            exchange.trade(MAKER, KEEPER, is_long, size * WAD, MARK)
            account = market.ledger().account(maker)
            held.append((account.side, account.shares))
        assert held == [(LONG, 3 * WAD), (LONG, WAD), (SHORT, 2 * WAD), (LONG, 0)]

    def test_one_batch_touches_its_taker_more_than_once(self) -> None:
        market = opened()
        fills = []
        for maker, is_long in ((MAKER, False), (KEEPER, True), (MAKER, True)):
            order = market.exchange.order(maker, is_long, WAD // 2, MARK)
            fills.append((order, market.exchange.sign(maker, order), WAD // 2))
        market.deposit(STRANGER=500)
        market.exchange.take_batch(STRANGER, fills)
        ledger = market.ledger()
        assert ledger.account(market.chain.address(STRANGER)).shares == WAD // 2
        assert ledger.side(SHORT).shares == ledger.side(LONG).shares == 2 * WAD

    def test_a_gift_to_an_account_with_a_position(self) -> None:
        market = opened(6)
        market.move(1010)
        market.exchange.deposit(STRANGER, 3 * WAD, to=TAKER)
        assert 0 <= 93 * WAD - market.equity(market.ledger(), TAKER) <= 2 * WEI

    def test_a_withdrawal_with_a_position_settles_first(self) -> None:
        market = opened()
        market.exchange.set_price(990 * WAD)
        market.exchange.withdraw(KEEPER, 500 * WAD)
        ledger = market.ledger()
        assert ledger.mark == 990 * WAD
        assert 0 <= 510 * WAD - market.equity(ledger, KEEPER) <= 2 * WEI


class TestSettlement:
    def test_a_move_changes_everybody_and_names_nobody(self, decimals: int) -> None:
        market = opened(decimals)
        market.move(1_050)
        ledger = market.ledger()
        for trader, expected in ((MAKER, 1_100), (TAKER, 50), (KEEPER, 950)):
            assert 0 <= expected * WAD - market.equity(ledger, trader) <= 2 * WEI, trader
        assert (ledger.side(LONG).index, ledger.side(SHORT).index) == (50 * INDEX_UNIT, -50 * INDEX_UNIT)
        assert ledger.totals == Totals(gross=100 * WAD, settlements=1)

    def test_what_a_closed_account_had_left_is_insurances(self, decimals: int) -> None:
        market = opened(decimals)
        market.move(1_095)  # TAKER has 5 left, less than 1 % of 1095
        ledger = market.ledger()
        assert ledger.account(market.chain.address(TAKER)) == AccountState(0, LONG, 0, 0, 0)
        assert 0 <= 7 * WAD - ledger.insurance_owed <= 2 * WEI
        assert 0 <= 1_190 * WAD - market.equity(ledger, MAKER) <= 2 * WEI
        # One of two sold: the long's two shares are half as large each.
        assert (ledger.side(LONG).scale, ledger.side(LONG).shares) == (WAD // 2, 2 * WAD)
        assert ledger.side(LONG).open_interest == ledger.side(SHORT).open_interest == WAD
        assert (ledger.totals.buckets_closed, ledger.totals.accounts_closed, ledger.totals.deficit) == (1, 1, 0)

    def test_many_in_one_bucket_close_together(self) -> None:
        market = Market()
        market.deposit(MAKER=1_002, TAKER=100.5, KEEPER=100.5, STRANGER=1_000)
        for trader in (TAKER, KEEPER, STRANGER):
            market.exchange.trade(MAKER, trader, True, WAD, MARK)
        market.move(1_095)
        totals = market.ledger().totals
        assert (totals.buckets_closed, totals.accounts_closed) == (1, 2)

    def test_a_deficit_is_covered_and_the_rest_socialized(self, decimals: int) -> None:
        market = opened(decimals)
        market.exchange.insure(DEPOSITOR, 98 * WAD)
        market.move(1_200)  # TAKER lacks 100; of 100 in insurance a tenth may be drawn, of which it is owed 2
        ledger = market.ledger()
        totals = ledger.totals
        assert 0 <= totals.deficit - 100 * WAD <= 2 * WEI
        assert (totals.covered, totals.socialized) == (10 * WAD, totals.deficit - 10 * WAD)
        # The longs got 200 + 200 - 90 for two, and nothing is owed to insurance any more.
        assert 0 <= 1_310 * WAD - market.equity(ledger, MAKER) <= 4 * WEI
        assert ledger.insurance_owed == 0

    def test_the_change_of_a_draw_is_owed_to_insurance_again(self) -> None:
        market = opened(6)
        market.exchange.insure(DEPOSITOR, 10_000 * WAD)
        market.exchange.set_price(1_100 * WAD + 123_456_789_012)
        market.exchange.settle()
        ledger = market.ledger()
        receipt = market.ledger().totals
        assert receipt.covered == receipt.deficit > 0
        assert ledger.insurance_owed % market.exchange.unit > 0

    def test_winners_deleveraged_at_a_lagging_mark(self) -> None:
        market = opened(max_price_step=WAD // 10)
        market.exchange.set_price(1_300 * WAD)
        receipts = receipts_in(market.exchange.settle().logs)
        market.exchange.settle()
        totals = market.ledger().totals
        # TAKER's one was taken from the longs at 1100 while 1300 was known, and had nothing left to pay for that.
        assert receipts[0].adl_shortfall == totals.adl_shortfall
        assert 0 <= totals.adl_shortfall - 200 * WAD <= 2 * WEI

    def test_a_stopped_move_and_its_rest(self) -> None:
        market = Market(max_buckets=1)
        market.deposit(MAKER=1_002, TAKER=100.5, KEEPER=120.5, STRANGER=1_000)
        for trader in (TAKER, KEEPER, STRANGER):
            market.exchange.trade(MAKER, trader, True, WAD, MARK)
        market.exchange.set_price(1_150 * WAD)
        market.exchange.settle()
        halfway = market.ledger()
        assert MARK < halfway.mark < 1_150 * WAD
        assert halfway.totals.accounts_closed == 1
        market.exchange.settle()
        assert market.ledger().totals.accounts_closed == 2

    def test_a_bucket_used_again_leaves_those_it_closed_closed(self) -> None:
        market = opened()
        before = market.ledger().account(market.chain.address(TAKER))
        market.move(1_095, 1_000)
        market.deposit(STRANGER=100.5)
        market.exchange.trade(KEEPER, STRANGER, True, WAD, MARK)
        ledger = market.ledger()
        after = ledger.account(market.chain.address(STRANGER))
        assert (after.side, after.level, after.bucket) == (before.side, before.level, before.bucket)
        assert ledger.account(market.chain.address(TAKER)).equity == 0
        market.deposit(TAKER=20)
        assert market.equity(market.ledger(), TAKER) == 20 * WAD

    def test_an_epoch_ends_when_a_side_is_empty(self, decimals: int) -> None:
        market = Market(decimals)
        market.deposit(MAKER=1_000.5, TAKER=100.5)
        market.exchange.trade(MAKER, TAKER, True, WAD, MARK)
        market.move(1_090.5)
        ledger = market.ledger()
        maker = ledger.account(market.chain.address(MAKER))
        assert (ledger.epoch, maker.shares, maker.side) == (1, 0, LONG)
        assert 0 <= 1_090_500 * WAD // 1000 - maker.equity <= 2 * WEI
        assert [ledger.side(side).shares for side in (LONG, SHORT)] == [0, 0]
        # And again, in the new epoch.
        market.deposit(TAKER=200)
        market.exchange.trade(TAKER, MAKER, True, WAD, market.exchange.mark)
        market.move(1_150)
        assert market.ledger().account(market.chain.address(TAKER)).side == LONG

    def test_funding_is_a_move_of_its_own(self) -> None:
        market = opened(max_funding=WAD // 400, premium_retention=WAD - WAD // 600)
        market.exchange.trade(MAKER, KEEPER, True, WAD, MARK + 5 * WAD)
        market.chain.advance(300)
        market.move(1_000)
        ledger = market.ledger()
        assert ledger.totals.settlements >= 1
        assert ledger.side(LONG).index < 0 < ledger.side(SHORT).index

    def test_with_no_winners_insurance_gets_what_losers_pay(self) -> None:
        """No history of the contracts leaves one side empty, so this move is made up: shorts lose 10, nobody wins."""
        market = opened()
        market.move(1_010)
        moved = next(log for log in market.logs if log.name == "Moved")
        maker = market.chain.address(MAKER)
        lone = [log for log in market.logs if log.fields.get("account") != maker]
        ledger = Ledger(market.exchange.market.address).read(log for log in lone if log.name != "Moved")
        owed = ledger.insurance_owed
        ledger.feed(replace(moved, fields={**moved.fields, "long_index": 0}))
        assert ledger.insurance_owed - owed == 20 * WAD


class TestLiquidationVaultAndModes:
    def test_a_liquidation_splits_its_fee(self, decimals: int) -> None:
        market = opened(decimals)
        market.move(1_078)  # TAKER has 22 for 1078, less than 2.5 %
        owed = market.ledger().insurance_owed
        transaction = market.exchange.liquidate(KEEPER, TAKER)
        (liquidated,) = (log for log in transaction.logs if log.name == "Liquidated")
        ledger = market.ledger()
        fee, reward = liquidated.fields["fee"], liquidated.fields["reward"]
        assert fee > 0
        assert ledger.insurance_owed - owed == fee - reward == fee - fee // 2
        taken = liquidated.fields["size"]
        assert abs(ledger.account(market.chain.address(KEEPER)).shares - WAD - taken) <= 1

    def test_the_vault_collects_what_it_is_owed(self, decimals: int) -> None:
        market = opened(decimals, insurance=10)
        market.move(1_095)  # the vault's shares are worth 17 now, and it holds 10
        shares = market.exchange.vault_shares(DEPOSITOR)
        market.exchange.request_redeem(DEPOSITOR, shares)
        market.chain.advance(VaultParameters().redeem_cooldown)
        market.move(1_095)
        owed = market.ledger().insurance_owed
        market.exchange.redeem(DEPOSITOR, shares)
        ledger = market.ledger()
        swept = [log.fields["amount"] * ledger.unit for log in market.logs if log.name == "Swept"]
        assert sum(swept) == owed - ledger.insurance_owed > 0

    def test_the_guardians_switch(self) -> None:
        market = Market()
        market.exchange.set_reduce_only(True, DEPOSITOR)
        assert market.ledger().guarded
        market.exchange.set_reduce_only(False, DEPOSITOR)
        assert not market.ledger().guarded

    def test_the_end_of_a_market(self) -> None:
        market = opened()
        market.move(1_010)
        market.exchange.set_round(0, market.chain.now)
        market.exchange.wind_down()
        assert market.ledger().closed_price is None
        market.chain.advance(86_400)
        market.exchange.wind_down()
        market.exchange.settle()
        ledger = market.ledger()
        assert (ledger.closed_price, ledger.epoch) == (1_010 * WAD, 1)
        assert market.equity(ledger, MAKER) == market.exchange.account(MAKER).equity > 1_019 * WAD
        market.exchange.withdraw(TAKER, 89 * WAD)
        market.ledger()


class TestTheLog:
    def test_every_prefix_agrees_with_the_views_of_its_time(self) -> None:
        """Booked as it comes; `TestTheLog.rich` has everything but a winding-down."""
        ledger = Ledger()
        market = Market(6)
        done = 0
        for step in rich(market):
            step()
            ledger.read(market.chain.logs(done + 1, market.chain.block))
            done = market.chain.block
            assert books(ledger) == books(market.ledger())

    def test_no_event_is_idle(self) -> None:
        """Without any one of them the books do not add up, or are other books."""
        market = Market(6)
        for step in rich(market):
            step()
        address, whole = market.exchange.market.address, books(market.ledger())
        relevant = [log for log in market.logs if log.address == address or log.name == "Covered"]
        assert {"Liquidated", "Covered", "EpochEnded", "Swept", "ReduceOnly"} <= {log.name for log in relevant}
        ledger = Ledger(address)
        for missing, log in enumerate(relevant):
            before = books(ledger)
            ledger.feed(log)
            assert books(ledger) != before, f"{missing}: {log.name}"
            # A later event may write an account anew, whatever was there before.
            if log.name != "AccountUpdated":
                assert self.without(address, relevant, missing) != whole, f"{missing}: {log.name}"

    def without(self, address: str, logs: Sequence[Log], missing: int) -> dict[str, Any] | None:
        """The books without one event; None if they do not add up."""
        try:
            return books(Ledger(address).read([*logs[:missing], *logs[missing + 1 :]]))
        except LedgerError:
            return None

    def test_other_markets_are_passed_over(self) -> None:
        chain = RevmChain()
        first, second = Market(chain=chain), Market(chain=chain, decimals=6)
        first.deposit(MAKER=10)
        second.deposit(MAKER=20, TAKER=30)
        assert first.equity(first.ledger(), MAKER) == 10 * WAD
        assert second.equity(second.ledger(), MAKER) == 20 * WAD
        assert books(Ledger().read(first.logs)) == books(first.ledger())

    def test_a_log_without_its_beginning_is_refused(self) -> None:
        market = opened()
        (deployed,) = (at for at, log in enumerate(market.logs) if log.name == "Deployed")
        with pytest.raises(LedgerError, match="AccountUpdated, after the deployment"):
            Ledger().read(market.logs[deployed + 1 :])
        with pytest.raises(LedgerError, match="deployed twice"):
            Ledger().read([*market.logs, market.logs[deployed]])

    def test_cancelled_orders_are_no_balance(self) -> None:
        """A market in which somebody cancelled an order has books like any other."""
        market = opened()
        before = books(market.ledger())
        market.exchange.cancel(MAKER, market.exchange.order(MAKER, True, WAD, MARK))
        market.chain.transact(market.exchange.market, "cancel_all", 5, sender=MAKER)
        assert {"OrderCancelled", "NonceRaised"} <= {log.name for log in market.logs}
        assert books(market.ledger()) == before

    def test_an_unknown_event_is_refused(self) -> None:
        market = opened()
        with pytest.raises(LedgerError, match="Refunded"):
            market.ledger().feed(Log(market.exchange.market.address, "Refunded", {}))

    def test_before_the_first_deposit_the_token_is_unknown(self) -> None:
        with pytest.raises(LedgerError, match="no deposit"):
            _ = Market().ledger().unit

    @pytest.mark.parametrize(
        ("name", "changed"),
        [
            ("Deposited", {"amount": 1}),
            ("BucketClosed", {"held": 2**112}),  # the debt
            ("BucketClosed", {"held": 1}),  # the shares
            ("Settled", {"mark_before": 1}),
            ("Moved", {"mark_before": 1}),
            ("Moved", {"gross": 1}),
            ("EpochEnded", {"long_index": 1}),
            ("EpochEnded", {"epoch": 1}),
            ("Withdrawn", {"amount": 1}),
        ],
        ids=lambda value: value if isinstance(value, str) else next(iter(value)),
    )
    def test_a_changed_number_is_refused(self, name: str, changed: dict[str, int]) -> None:
        market = Market(18)
        for step in rich(market):
            step()
        logs = list(market.logs)
        at = max(at for at, log in enumerate(logs) if log.name == name)
        fields = {**logs[at].fields, **{key: logs[at].fields[key] + by for key, by in changed.items()}}
        logs[at] = replace(logs[at], fields=fields)
        with pytest.raises(LedgerError):
            Ledger(market.exchange.market.address).read(logs)

    @pytest.mark.parametrize("number", range(5))
    def test_a_changed_receipt_is_refused(self, number: int) -> None:
        """gross, deficit, surplus, bonus, adl_shortfall."""
        market = Market()
        for step in rich(market):
            step()
        for at, log in enumerate(market.logs):
            if log.name == "Settled":
                receipt = list(log.fields["receipt"])
                receipt[(0, 1, 3, 4, 5)[number]] += 1
                logs = list(market.logs)
                logs[at] = replace(log, fields={**log.fields, "receipt": tuple(receipt)})
                with pytest.raises(LedgerError, match="does not follow"):
                    Ledger(market.exchange.market.address).read(logs)


def rich(market: Market) -> Sequence[Any]:
    """A history with every event but those of the end: steps to be taken one after the other."""
    exchange = market.exchange

    def leave() -> None:
        shares = exchange.vault_shares(DEPOSITOR)
        exchange.request_redeem(DEPOSITOR, shares)
        market.chain.advance(VaultParameters().redeem_cooldown)
        market.move(1_050)
        exchange.redeem(DEPOSITOR, shares)

    return [
        lambda: exchange.insure(DEPOSITOR, 500 * WAD),
        lambda: market.deposit(MAKER=2_000, TAKER=100.5, KEEPER=1_500, STRANGER=120),
        lambda: exchange.trade(MAKER, TAKER, True, WAD, MARK),
        lambda: exchange.trade(MAKER, KEEPER, True, WAD, MARK + WAD),
        lambda: exchange.trade(MAKER, STRANGER, True, WAD, MARK - WAD),
        lambda: market.move(1_078),
        lambda: exchange.liquidate(KEEPER, TAKER, WAD // 4),
        lambda: exchange.withdraw(MAKER, 100 * WAD),
        lambda: market.move(1_150),
        lambda: market.move(1_050),
        lambda: market.deposit(TAKER=10),
        lambda: exchange.trade(MAKER, KEEPER, False, exchange.side(SHORT).open_interest // 2, exchange.mark),
        leave,
        lambda: market.move(1_500, 2_200, 3_300, 4_900, 7_000, 10_000),
        lambda: exchange.set_reduce_only(True, DEPOSITOR),
    ]


def books(ledger: Ledger) -> dict[str, Any]:
    """Everything a ledger says."""
    return {
        "accounts": {owner: ledger.account(owner) for owner in ledger.accounts},
        "sides": [ledger.side(side) for side in (LONG, SHORT)],
        "core": (ledger.mark, ledger.epoch, ledger.insurance_owed, ledger.token_balance),
        "modes": (ledger.guarded, ledger.closed_price),
        "totals": ledger.totals,
    }
