"""The monitor through everything a node may do to it: blocks, silence, blocks taken back, another chain."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import Any

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.monitor import activity
from prorata.monitor.activity import Activity, Row
from prorata.monitor.snapshot import Contracts
from prorata.monitor.watcher import FIRST_BACKOFF, LAST_BACKOFF, LIVE, NO_MARKET, UNREACHABLE, Watcher
from prorata.units import WAD
from tests.blocks import Blocks
from tests.crowd import RICH
from tests.unit.monitor.conftest import MarketFactory

KEEPER = 9


class Told:
    """What a watcher published, by name, and the watcher."""

    def __init__(self, exchange: Exchange) -> None:
        self.messages: defaultdict[str, list[Any]] = defaultdict(list)
        self.watcher = Watcher(exchange.chain, exchange.market.address, self._take)

    def _take(self, name: str, content: Any) -> None:
        # As it travels: numbers that JSON would change have no business in it.
        self.messages[name].append(json.loads(json.dumps(content)))

    @property
    def view(self) -> Any:
        return self.messages["view"][-1]

    @property
    def state(self) -> str:
        return str(self.messages["status"][-1]["state"])

    @property
    def texts(self) -> list[str]:
        """Of the rows, the latest first."""
        return [row["text"] for row in self.view["rows"]]


@pytest.fixture
def exchange(crowded: MarketFactory) -> Exchange:
    return crowded()


@pytest.fixture
def told(exchange: Exchange) -> Told:
    return Told(exchange)


def chain_of(exchange: Exchange) -> Blocks:
    assert isinstance(exchange.chain, Blocks)
    return exchange.chain


def rows(exchange: Exchange) -> list[Row]:
    """All that happened, the latest first."""
    found = Activity(exchange.chain, Contracts.find(exchange.chain, exchange.market.address))
    found.follow(exchange.chain.block)
    return found.rows


def figures(row: Row) -> dict[str, tuple[str, str]]:
    return {one.name: (one.value, one.unit) for one in row.figures}


def wad(amount: int) -> str:
    return f"{amount // WAD}.{amount % WAD:018d}"


# ------------------------------------------------------------------------------------------------------------- watching


def test_every_new_block_is_a_view_and_an_old_one_is_none(exchange: Exchange, told: Told) -> None:
    for _ in range(3):
        told.watcher.one_pass()
    assert len(told.messages["view"]) == 1
    assert len(told.messages["status"]) == 3
    exchange.set_price(993 * WAD)
    told.watcher.one_pass()
    assert told.view["index"] == "993.000000000000000000"
    assert told.view["mark"] == "1000.000000000000000000"
    assert told.view["block"]["number"] == exchange.chain.block
    assert [block for block, *_ in told.view["past"]] == [exchange.chain.block - 1, exchange.chain.block]


def test_amounts_keep_every_digit(exchange: Exchange, told: Told) -> None:
    exchange.set_price(920 * WAD + 7)
    exchange.settle()
    told.watcher.one_pass()
    view = told.view
    assert view["mark"] == "920.000000000000000007"
    assert view["insurance"]["held"] == wad(exchange.vault_held)
    assert [side["open_interest"] for side in view["sides"]] == [
        wad(exchange.side(side).open_interest) for side in (0, 1)
    ]
    (point,) = [point for point in view["curve"]["points"] if point["change"] == -40]
    preview = exchange.preview(920 * WAD * 60 // 100 + 7 * 60 // 100)
    assert [point[name] for name in ("gross", "deficit", "covered")] == [wad(amount) for amount in preview[:3]]
    assert point["paid"] == wad(preview[0] - preview[1])
    assert point["socialized"] == wad(preview[1] - preview[2])


def test_silence_is_said_and_outlived(exchange: Exchange, told: Told) -> None:
    told.watcher.one_pass()
    seen = told.view
    chain_of(exchange).down = True
    waits = [told.watcher.one_pass() for _ in range(8)]
    assert waits[0] == FIRST_BACKOFF
    assert waits == sorted(waits)
    assert waits[-1] == LAST_BACKOFF
    status = told.messages["status"][-1]
    assert (status["state"], status["words"]) == (UNREACHABLE, "ConnectionRefusedError")
    assert status["contact"] == told.messages["status"][0]["contact"]
    assert told.view == seen
    chain_of(exchange).down = False
    exchange.set_price(993 * WAD)
    assert told.watcher.one_pass() == 0
    assert told.state == LIVE
    assert told.view["index"] == "993.000000000000000000"
    chain_of(exchange).down = True
    assert told.watcher.one_pass() == FIRST_BACKOFF


def test_silence_in_the_middle_of_reading_loses_and_doubles_nothing(exchange: Exchange, told: Told) -> None:
    told.watcher.one_pass()
    exchange.set_price(920 * WAD)
    exchange.settle()

    def goes_down() -> None:
        chain_of(exchange).down = True

    chain_of(exchange).meanwhile = goes_down
    told.watcher.one_pass()
    assert told.state == UNREACHABLE
    chain_of(exchange).down = False
    told.watcher.one_pass()
    assert told.texts == ["Price move: longs lose, buckets close", "Insurance is drawn on"]


def test_what_is_not_on_the_chain_any_more_is_dropped(exchange: Exchange, told: Told) -> None:
    exchange.set_price(995 * WAD)
    exchange.settle()
    told.watcher.one_pass()
    kept = told.view
    with exchange.chain.anchor():
        for price in (990, 910):
            exchange.set_price(price * WAD)
            exchange.settle()
            told.watcher.one_pass()
        assert len(told.texts) == 4
    told.watcher.one_pass()
    assert told.state == LIVE
    assert told.view == kept
    # And where other blocks took their place.
    with exchange.chain.anchor():
        exchange.set_price(910 * WAD)
        exchange.settle()
        told.watcher.one_pass()
    exchange.set_price(1_003 * WAD)
    exchange.settle()
    exchange.set_price(1_004 * WAD)
    told.watcher.one_pass()
    assert told.texts == ["Price move: shorts lose, nobody is closed", "Price move: longs lose, nobody is closed"]
    assert [block for block, *_ in told.view["past"]] == [kept["block"]["number"], exchange.chain.block]


def test_a_block_replaced_while_it_was_read_is_not_shown(exchange: Exchange, told: Told) -> None:
    told.watcher.one_pass()
    chain = chain_of(exchange)
    second = exchange.set_price(990 * WAD).timestamp

    def is_replaced() -> None:
        chain._history[-1] = (second + 1, ())

    chain.meanwhile = is_replaced
    told.watcher.one_pass()
    assert len(told.messages["view"]) == 1
    told.watcher.one_pass()
    assert len(told.messages["view"]) == 2


def test_another_chain_without_the_market_is_said_plainly(
    crowded: MarketFactory, exchange: Exchange, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.set_price(910 * WAD)
    exchange.settle()
    told.watcher.one_pass()
    assert told.texts
    fresh = Blocks()
    monkeypatch.setattr(told.watcher, "_node", fresh)
    for _ in range(2):
        told.watcher.one_pass()
        assert told.state == NO_MARKET
        assert exchange.market.address in told.messages["status"][-1]["words"]
        assert told.view is None
    assert told.messages["view"].count(None) == 1
    # A market of other parameters at the same address, on yet another chain: nothing of the first is left.
    other = crowded(cooloff=77)
    assert other.market.address == exchange.market.address
    monkeypatch.setattr(told.watcher, "_node", other.chain)
    told.watcher.one_pass()
    assert told.state == LIVE
    assert told.texts == []
    assert told.view["parameters"]["cooloff"] == ["77", "seconds"]
    assert len(told.view["past"]) == 1


def test_a_view_that_is_refused_is_no_missing_market(
    exchange: Exchange, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.watcher.one_pass()
    exchange.set_price(990 * WAD)

    def refuses(*_: Any) -> None:
        raise Reverted("some reason")

    with monkeypatch.context() as broken:
        broken.setattr(exchange.chain, "views", refuses)
        told.watcher.one_pass()
        status = told.messages["status"][-1]
        assert (status["state"], status["words"]) == (UNREACHABLE, "Reverted: some reason")
    told.watcher.one_pass()
    assert told.state == LIVE
    assert told.view["index"] == "990.000000000000000000"


def test_it_stops_when_told(exchange: Exchange, told: Told) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=told.watcher.run, args=(3_600.0, stop))
    thread.start()
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def test_history_is_bounded(exchange: Exchange, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "QUIET_KEPT", 3)
    monkeypatch.setattr(activity, "KEPT", 2)
    exchange.set_price(910 * WAD)
    exchange.settle()
    for price in range(911, 921):
        exchange.set_price(price * WAD)
        exchange.settle()
        told.watcher.one_pass()
    kinds = [row["kind"] for row in told.view["rows"]]
    assert kinds == ["move"] * 3 + ["settlement", "draw"]
    blocks = [row["block"] for row in told.view["rows"]]
    assert blocks == sorted(blocks, reverse=True)
    assert told.watcher._past.maxlen and told.watcher._heads.maxlen


# ----------------------------------------------------------------------------------------------------- what rows say


def test_a_settlement_with_its_draw_and_its_buckets(crowded: MarketFactory) -> None:
    exchange = crowded(cooloff=600)
    exchange.set_price(800 * WAD)
    exchange.settle()
    settlement, draw, *_ = rows(exchange)
    said = figures(settlement)
    assert settlement.text == "Price move: longs lose, buckets close, and the haircut makes the market reduce-only"
    assert settlement.timestamp == exchange.chain.now
    assert said["gross: lost by longs"] == ("1400.000000000000000000", "quote")
    deficit = 2 * 200 - 150 + (200 - 60) + 2 * 200 - 300
    assert float(said["deficit: not paid by closed accounts"][0]) == pytest.approx(deficit + 2.5)  # the fees they paid
    assert said["covered by insurance"] == figures(draw)["drawn"]
    socialized = exchange.totals[0]
    assert said["socialized: winners go without"] == (wad(socialized), "quote")
    assert settlement.lead is not None
    assert settlement.figures[settlement.lead].name == "haircut of the winners' gain"
    assert said["haircut of the winners' gain"] == (wad(-(-socialized * WAD // (1_400 * WAD)) * 100), "%")
    assert said["reduce-only for"] == ("600", "seconds")
    short_of = [float(one.value) for one in settlement.figures if one.name.startswith("bucket of size")]
    assert sorted(short_of) == pytest.approx([101, 140.5, 251])
    assert sum(short_of) == pytest.approx(deficit + 2.5)


def test_surplus_of_a_bucket_is_said_to_be_left(exchange: Exchange) -> None:
    exchange.set_price(948 * WAD)  # the weakest has less than its close-out margin, but has something
    exchange.settle()
    (settlement,) = rows(exchange)
    said = figures(settlement)
    assert said["bucket of size 1: left"] == ("7.499999999999999999", "quote")
    assert said["surplus of closed accounts"] == said["bucket of size 1: left"]


def test_liquidations_and_modes(crowded: MarketFactory) -> None:
    exchange = crowded(guardian=Blocks().address(0))
    exchange.fund(KEEPER)
    exchange.deposit(KEEPER, 1_000 * WAD)
    exchange.set_price(961 * WAD)
    exchange.liquidate(KEEPER, 2)
    exchange.set_reduce_only(True, guardian=0)
    exchange.set_reduce_only(False, guardian=0)
    exchange.set_round(961 * WAD, updated_at=1)
    exchange.wind_down()
    exchange.chain.advance(86_401)
    exchange.wind_down()
    exchange.settle()
    found = list(reversed(rows(exchange)))
    assert [(row.kind, row.text) for row in found] == [
        ("move", "Price move: longs lose, nobody is closed"),
        ("liquidation", "An account below maintenance margin is liquidated"),
        ("mode", "The guardian begins reduce-only"),
        ("mode", "The guardian ends reduce-only"),
        ("mode", "The oracle is reported dead"),
        ("mode", "The market is closed and winds down"),
        ("mode", "Reset: both sides close at the mark, gains kept"),
    ]
    liquidation = figures(found[1])
    assert liquidation["account"] == (exchange.chain.address(2), "")
    assert liquidation["liquidator"] == (exchange.chain.address(KEEPER), "")
    assert 0 < float(liquidation["taken over"][0]) <= 1
    assert figures(found[5])["at the last accepted index"] == ("961.000000000000000000", "quote per size")


def test_trades_and_deposits_are_no_rows(exchange: Exchange) -> None:
    exchange.deposit(3, 1_000 * WAD)
    exchange.trade(3, RICH, True, WAD, 1_000 * WAD)
    assert rows(exchange) == []
