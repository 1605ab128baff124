"""What the monitor shows of a market, against what the market says and does."""

from __future__ import annotations

import pytest

from prorata.exchange import Exchange
from prorata.keeper import NoMarket
from prorata.monitor.curve import FARTHEST_RISE, GRID
from prorata.monitor.snapshot import Contracts, Snapshot, look
from prorata.receipts import RECEIPT_AMOUNTS, Amounts, Receipt, receipts_in
from prorata.units import LONG, SHORT, WAD
from tests.crowd import LONGS, RICH, SHORTS
from tests.unit.monitor.conftest import MarketFactory

WEAKEST = {LONG: 2, SHORT: 6}


def seen(exchange: Exchange, last: Snapshot | None = None) -> Snapshot:
    return look(exchange.chain, Contracts.find(exchange.chain, exchange.market.address), exchange.chain.head, last)


def settled(exchange: Exchange, price: int) -> Receipt:
    """The receipt of a real settlement to that price, which is then undone."""
    with exchange.chain.anchor():
        exchange.set_price(price)
        (receipt,) = receipts_in(exchange.settle().logs)
        assert receipt.mark_after == price
        return receipt


def amounts(receipt: Receipt) -> Amounts:
    return Amounts(**{name: getattr(receipt, name) for name in RECEIPT_AMOUNTS})


def test_state_is_what_the_views_say(crowded: MarketFactory) -> None:
    exchange = crowded(decimals=6)
    exchange.set_price(920 * WAD)
    exchange.settle()
    now = seen(exchange)
    assert (now.core, now.sides) == (exchange.core, (exchange.side(LONG), exchange.side(SHORT)))
    assert (now.socialized, now.adl_shortfall) == exchange.totals
    insurance = now.insurance
    assert insurance.held == exchange.vault_held
    assert insurance.owed == exchange.insurance_owed
    assert insurance.assets // exchange.unit == exchange.vault_assets // exchange.unit
    window = insurance.window_start, insurance.window_assets, insurance.window_drawn
    assert window == exchange.vault_window
    assert insurance.window_drawn > 0
    assert insurance.drawable == exchange.chain.call(exchange.vault, "drawable", exchange.insurance_owed)
    assert now.coverage == insurance.assets * WAD // (now.sides[LONG].open_interest * 920)


def test_the_curve_is_what_previews_say(crowded: MarketFactory) -> None:
    exchange = crowded()
    exchange.set_price(973 * WAD)  # and not settled, so that mark and index differ
    points = seen(exchange).curve.points
    assert [point.change for point in points] == list(GRID)
    for point in points:
        assert point.price == 973 * WAD * (100 + point.change) // 100
        assert point.move == Amounts.from_view(exchange.preview(point.price))


@pytest.mark.parametrize("change", [-50, -35, -20, -8, -3, 4, 9, 21, 36, 50])
def test_the_curve_is_what_a_settlement_there_does(crowded: MarketFactory, change: int) -> None:
    """On both sides of the next buckets, with deficits within insurance and beyond."""
    exchange = crowded()
    (point,) = [point for point in seen(exchange).curve.points if point.change == change]
    receipt = settled(exchange, point.price)
    assert amounts(receipt) == point.move
    assert receipt.haircut == point.move.haircut
    assert (point.move.socialized > 0) == (change <= -20 or change >= 21)
    assert (point.move.covered > 0) == (change <= -8 or change >= 9)


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_just_before_the_next_bucket_nobody_is_closed_just_past_it_somebody_is(
    crowded: MarketFactory, side: int
) -> None:
    exchange = crowded()
    found = seen(exchange).curve.next[side]
    assert found is not None
    assert found.beyond - found.price == (-1 if side == LONG else 1)
    assert settled(exchange, found.price).buckets_closed == 0
    receipt = settled(exchange, found.beyond)
    assert receipt.buckets_closed == 1
    assert amounts(receipt) == found.move
    assert receipt.closed_size == (LONGS if side == LONG else SHORTS)[WEAKEST[side]][1] * WAD


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_the_next_bucket_is_the_weakest_accounts(crowded: MarketFactory, side: int) -> None:
    exchange = crowded()
    owner = exchange.chain.address(WEAKEST[side])
    *_, closeout_price = exchange.chain.call(exchange.lens, "position", exchange.market.address, owner)
    found = seen(exchange).curve.next[side]
    assert found is not None
    assert found.price == closeout_price


def test_it_is_the_same_wherever_the_search_begins(crowded: MarketFactory) -> None:
    exchange = crowded()
    last = seen(exchange)
    # A move that closes nobody, one that closes the weakest, a trade that files somebody nearer than all.
    exchange.set_price(985 * WAD)
    exchange.settle()
    assert seen(exchange, last).curve == seen(exchange).curve
    exchange.set_price(900 * WAD)
    exchange.settle()
    assert seen(exchange, last).curve == seen(exchange).curve
    exchange.fund(8)
    exchange.deposit(8, 50 * WAD)
    exchange.trade(8, RICH, True, WAD, 900 * WAD)
    now = seen(exchange, last)
    assert now.curve == seen(exchange).curve
    assert now.curve.next[LONG] != last.curve.next[LONG]


def test_a_move_alone_costs_one_request_for_all_previews(crowded: MarketFactory) -> None:
    exchange = crowded()
    last = seen(exchange)
    requests = exchange.chain.asked
    most, requests[:] = sum(requests), []
    assert most <= 500  # bounded, even where nothing is known yet
    exchange.set_price(985 * WAD)
    exchange.settle()
    requests.clear()
    seen(exchange, last)
    assert [count for count in requests if count > 20] == [len(GRID) + 6]


def test_nobody_in_reach(crowded: MarketFactory) -> None:
    exchange = crowded()
    for trader in SHORTS:
        exchange.deposit(trader, FARTHEST_RISE * 3_000 * WAD)
    for trader in LONGS:
        exchange.deposit(trader, 2_000 * WAD)
    exchange.deposit(RICH, 10**6 * WAD)
    assert seen(exchange).curve.next == (None, None)


def test_a_refused_index_leaves_the_curve_around_the_mark(crowded: MarketFactory) -> None:
    exchange = crowded()
    exchange.set_round(800 * WAD, updated_at=exchange.chain.now - 10_000)
    now = seen(exchange)
    assert (now.index_price, now.gap) == (None, None)
    assert now.refusal == "oracle: stale"
    assert now.curve.middle == now.core.mark == 1_000 * WAD
    assert now.mode == exchange.mode == "active"


def test_modes_as_the_lens_says(crowded: MarketFactory) -> None:
    exchange = crowded(max_price_step=WAD // 20, step_interval=1_000, cooloff=600)
    said = []

    def look_again() -> None:
        assert seen(exchange).mode == exchange.mode
        said.append(exchange.mode)

    look_again()
    exchange.set_price(870 * WAD)
    look_again()
    assert seen(exchange).gap == (1_000 - 870) * WAD // 870
    exchange.settle()  # as far as one step goes
    look_again()
    assert seen(exchange).core.lagging
    exchange.set_price(exchange.mark)
    exchange.settle()
    look_again()
    assert said == ["active", "catch-up", "catch-up", "active"]


def test_a_market_with_pending_funding_states_it_apart(crowded: MarketFactory) -> None:
    exchange = crowded(max_funding=WAD // 100)
    exchange.deposit(3, 1_000 * WAD)
    exchange.trade(3, RICH, True, WAD, 1_040 * WAD)
    exchange.chain.advance(600)
    now = seen(exchange)
    assert now.core.premium > 0
    assert now.curve.funding == Amounts.from_view(exchange.preview_funding())
    assert now.curve.funding.gross > 0


def test_no_market(crowded: MarketFactory) -> None:
    exchange = crowded()
    for address in ("0x" + "12" * 20, exchange.vault.address, exchange.token.address):
        with pytest.raises(NoMarket):
            Contracts.find(exchange.chain, address)
