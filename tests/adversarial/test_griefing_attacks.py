"""Attacks that hurt: nobody gains, and nobody else loses, more than promised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prorata.attacks import griefing
from prorata.attacks.griefing import Griefing, worst_harm
from prorata.attacks.search import Costs, result
from prorata.attacks.world import COALITION, INSURER, LONGS, MAKER, MARK, SETTINGS, SHORTS, SIZE, VICTIM, World
from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.metered_chain import MeteredChain
from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.units import SHORT, WAD
from tests import figures

ATTACKS = {
    attack.name: attack()
    for attack in (
        griefing.DustStuffing,
        griefing.ForcedDeleverage,
        griefing.ForcedReset,
        griefing.ScaleExhaustion,
        griefing.IndexExhaustion,
        griefing.InterestLock,
        griefing.GriefingDeposit,
        griefing.DustCloses,
        griefing.FarApart,
    )
}
PLACES = [(name, setting) for name, attack in ATTACKS.items() for setting in attack.settings]
places = pytest.mark.parametrize(("name", "setting"), PLACES)


@places
def test_gain_is_within_its_bound(name: str, setting: str) -> None:
    found = result(ATTACKS[name], setting, strikes=24, seed=1, costs=Costs())
    assert found.refused == {}
    assert found.within_bound, f"{found.gain} above {found.bound} by {found.parameters}"


@places
def test_harm_is_within_its_bound(name: str, setting: str) -> None:
    found = worst_harm(ATTACKS[name], SETTINGS[setting], strikes=8, seed=1)
    figures.record(
        f"griefing: {name}, {setting}",
        {"others lose": f"{found.loss / WAD:.6f}", "costs": f"{found.cost / WAD:.6f}", "ratio": f"{found.ratio:.3g}"},
    )
    assert not found.refused
    assert found.loss <= found.bound


# ----------------------------------------------------------------------------------------------------- locks and gas


def test_a_lock_shuts_out_new_risk_and_nothing_else() -> None:
    """Whoever is in can get out; and the lock has cost its fees on all the room."""
    world = World.populated(RevmChain(), SETTINGS["guarded"])
    attack = griefing.InterestLock()
    attack.prepare(world)
    before = world.books.coalition
    size = attack.lock(world, 0.999)
    with pytest.raises(Reverted, match="margin: open interest cap"):
        attack.want(world, 10)
    world.exchange.trade(LONGS[0], SHORTS[0], False, SIZE, MARK)
    assert world.size(LONGS[0]) == 0
    assert before - world.books.coalition >= 2 * size * MARK // WAD * world.parameters.fee_rate // WAD
    assert size * MARK // WAD > 0.75 * world.parameters.oi_multiple * SETTINGS["guarded"].insurance // WAD


def test_without_a_cap_there_is_nothing_to_lock() -> None:
    uncapped = replace(SETTINGS["guarded"], parameters=MarketParameters.guarded(oi_multiple=0))
    world = World.populated(RevmChain(), uncapped)
    attack = griefing.InterestLock()
    attack.prepare(world)
    griefing.endow(world, *COALITION[:2])
    griefing.open_against(world, *COALITION[:2], 400 * WAD)
    attack.want(world, 10)
    assert world.size(VICTIM) == 10 * WAD


class TestStuffedBuckets:
    """Gas of the call that closes them, and of those that fill them."""

    BUCKETS = 12

    def crash(self, buckets: int, **parameters: int) -> tuple[Exchange, list[int], int]:
        """The exchange, gas of each call that settles, and of all that the coalition did to stuff."""
        setting = replace(SETTINGS["open"], parameters=MarketParameters(**parameters))
        world = World.populated(MeteredChain(), setting)
        attack = griefing.DustStuffing()
        attack.prepare(world)
        world.recorder.forget()
        attack.stuff(world, buckets, 2.0)
        stuffing = world.recorder.gas
        griefing.open_against(world, MAKER, griefing.WINNING, 10 * WAD)
        world.say(MARK * 8 // 10)
        calls = []
        while world.exchange.mark != world.index_price:
            calls.append(world.exchange.settle(INSURER).gas)
        return world.exchange, calls, stuffing

    def test_cost_their_owner_twenty_times_what_they_cost_others(self) -> None:
        _, (plain,), _ = self.crash(0)
        _, (dear,), stuffing = self.crash(self.BUCKETS)
        figures.record(
            "griefing: gas of a stuffed bucket",
            {"to settle": (dear - plain) // self.BUCKETS, "to stuff": stuffing // self.BUCKETS},
        )
        assert plain < dear < 10_000_000
        assert stuffing >= 20 * (dear - plain)

    def test_stop_a_budget_of_few_but_for_a_call_each(self) -> None:
        exchange, calls, _ = self.crash(self.BUCKETS, max_buckets=4)
        assert len(calls) == self.BUCKETS // 4
        assert exchange.mark == MARK * 8 // 10
        assert exchange.mode == "active"


@pytest.mark.parametrize(("rise", "calls"), [(4, 1), (40, 5)])
def test_words_between_cost_few_calls(rise: int, calls: int) -> None:
    """8 words for each multiple, where a call may read 72: never more calls than that and the steps of one half."""
    setting = replace(SETTINGS["open"], parameters=MarketParameters(max_words=72))
    counts = []
    for far in (False, True):
        world = World.populated(RevmChain(), setting)
        attack = griefing.FarApart()
        attack.prepare(world)
        griefing.open_against(world, griefing.HOLDER, griefing.WINNING, WAD)
        if far:
            attack.beside(world, 0.1)
        world.say(MARK * rise)
        count = 0
        while world.exchange.mark != world.index_price:
            world.exchange.settle()
            count += 1
        counts.append(count)
        assert world.exchange.side(SHORT).shares > 0 or world.exchange.epoch > 0
    assert 0 <= counts[1] - counts[0] <= calls


def test_every_griefing_attack_says_what_others_may_lose() -> None:
    found = {
        one.name
        for one in vars(griefing).values()
        if isinstance(one, type) and issubclass(one, Griefing) and one is not Griefing
    }
    assert found == ATTACKS.keys()
