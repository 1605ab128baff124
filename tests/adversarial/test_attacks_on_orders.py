"""Attacks on signed orders and by contracts that call back: none gains more than its bound, and without the defence it
fails at it does."""

from __future__ import annotations

import pytest

from prorata.attacks import orders
from prorata.attacks.attack import DUST, Attack
from prorata.attacks.search import Range
from prorata.attacks.world import SETTINGS
from prorata.units import WAD
from tests.adversarial.strikes import searched, struck, without
from tests.mutation.planted import Patch

#: Whatever they try is refused.
REFUSED: tuple[type[Attack], ...] = (
    orders.ReplayedOrder,
    orders.MalleableSignature,
    orders.MutatedOrder,
    orders.ForgedSignature,
    orders.ForeignOrder,
    orders.ReservedOrder,
    orders.WithdrawnOrder,
    orders.TwoFacedMaker,
)
#: These trade, withdraw or redeem, and gain nothing by it, or no more than the price band.
GOES_THROUGH: tuple[type[Attack], ...] = (
    orders.StaleQuote,
    orders.GhostFill,
    orders.DustFills,
    orders.StrippedAccount,
    orders.ReentrantMaker,
    orders.ReentrantWithdrawal,
    orders.ReentrantRedemption,
)


def everywhere(attacks: tuple[type[Attack], ...]) -> pytest.MarkDecorator:
    """Each in each of its settings."""
    return pytest.mark.parametrize(
        ("attack", "setting"),
        [pytest.param(one, setting, id=f"{one.name}-{setting}") for one in attacks for setting in one.settings],
    )


@everywhere(REFUSED)
def test_is_refused_for_the_expected_reasons(attack: type[Attack], setting: str) -> None:
    found = searched(attack, setting)
    assert sum(found.refused.values()) == found.tried >= 24
    assert set(found.refused) == set(attack.expects)
    assert found.gain == 0


@everywhere(GOES_THROUGH)
def test_gains_no_more_than_its_bound(attack: type[Attack], setting: str) -> None:
    found = searched(attack, setting)
    assert set(found.refused) <= set(attack.expects)
    assert sum(found.refused.values()) < found.tried
    assert found.within_bound, f"{found.gain} > {found.bound} by {found.parameters}, paid by {found.payers}"
    assert found.payer != "nobody" or found.gain <= DUST


@pytest.mark.parametrize("field", range(9))
def test_no_field_of_an_order_can_be_changed(field: int) -> None:
    found = Range(orders.MutatedOrder(), SETTINGS["open"]).strike(size=1.0, price=0.97, field=field)
    assert found.refused == orders.UNSIGNED


@pytest.mark.parametrize("where", range(4))
def test_no_other_market_s_orders_are_filled(where: int) -> None:
    found = Range(orders.ForeignOrder(), SETTINGS["open"]).strike(size=1.0, price=0.97, where=where)
    assert found.refused == orders.UNSIGNED


def test_a_stale_quote_pays_whoever_fills_it_and_its_maker_pays_that() -> None:
    """The design cannot know which order its maker would have cancelled: the band is all there is."""
    found = searched(orders.StaleQuote, "guarded")
    assert DUST < found.gain <= found.bound
    assert found.payer == "maker"


@pytest.mark.parametrize("inner", range(3))
@pytest.mark.parametrize("outer", range(2))
def test_no_call_in_the_middle_of_a_transfer_reaches_the_market(outer: int, inner: int) -> None:
    attack = orders.ReentrantWithdrawal()
    ground = Range(attack, SETTINGS["open"])
    world = ground.world
    with world.apart():
        attack.strike(world, outer=outer, inner=inner, again=0.5)
        assert world.chain.call(attack.agent, "target") == "0x" + "00" * 20  # it was called, and has tried
        assert world.chain.call(attack.agent, "successes") == 0


# ----------------------------------------------------------------------------------------------------- weakened markets

_ORDERS, _TRADING, _MARKET = "modules/orders.vy", "TradingLogic.vy", "PerpetualMarket.vy"


def unchecked(line: str) -> Patch:
    """An assertion of the order book that is left out."""
    return Patch(_ORDERS, f"    assert {line}\n", "    pass\n")


#: Nothing about an order is looked at. Each attack below runs into one of these checks only.
CARELESS = (
    unchecked("order.taker == empty(address) or order.taker == taker, errors.ORDER_TAKER"),
    unchecked("block.timestamp <= order.expiry, errors.ORDER_EXPIRED"),
    unchecked("order.nonce >= min_nonce, errors.ORDER_NONCE"),
    unchecked(
        "order.maker != empty(address) and self._is_signed(order.maker, order_hash, signature), errors.ORDER_SIGNATURE"
    ),
    Patch(_ORDERS, "    self._filled[order_hash] = filled + size\n", "    pass\n"),
    Patch(_ORDERS, "    self._filled[order_hash] = CANCELLED\n", "    pass\n"),
    Patch(
        _TRADING,
        "    assert distance <= mark * PARAMETERS.price_band // fixed_point.WAD, errors.ORDER_BAND\n",
        "    pass\n",
    ),
)
#: Fills are counted by signature, a batch leaves out what is not signed, and who reduces may be left with any margin.
OBLIGING = (
    Patch(
        _ORDERS,
        "    filled: uint256 = self._filled[order_hash]\n",
        "    filled: uint256 = self._filled[keccak256(signature)]\n",
    ),
    Patch(
        _ORDERS,
        "    self._filled[order_hash] = filled + size\n",
        "    self._filled[keccak256(signature)] = filled + size\n",
    ),
    Patch(
        _TRADING,
        "        min_nonce: uint256 = accounts._min_nonce(one.order.maker)\n",
        "        if not orders._is_signed(one.order.maker, orders._hash(one.order), one.signature):\n"
        "            hashes.append(empty(bytes32))\n"
        "            continue\n"
        "        min_nonce: uint256 = accounts._min_nonce(one.order.maker)\n",
    ),
    Patch(
        _TRADING,
        "        state = self._match(one.order, hashes[at], one.size, state)\n",
        "        if hashes[at] != empty(bytes32):\n"
        "            state = self._match(one.order, hashes[at], one.size, state)\n",
    ),
    Patch(
        _TRADING,
        "margin._require_health(new.collateral, new.shares, party.old.collateral, party.old.shares)",
        "pass",
    ),
)
#: Withdrawals are not locked, and pay before they write.
OPEN_HANDED = (
    Patch(_MARKET, "@nonreentrant\ndef withdraw(amount: uint256):", "def withdraw(amount: uint256):"),
    Patch(
        _MARKET,
        "    errors._require(amount <= old.collateral // TOKEN_SCALE, errors.ACCOUNT_FREE)\n",
        "    errors._require(amount <= old.collateral // TOKEN_SCALE, errors.ACCOUNT_FREE)\n"
        "    tokens._push(TOKEN, msg.sender, amount)\n",
    ),
    Patch(
        _MARKET,
        "    tokens._push(TOKEN, msg.sender, amount)\n    log Withdrawn(account=msg.sender, amount=amount)\n",
        "    log Withdrawn(account=msg.sender, amount=amount)\n",
    ),
)


@pytest.mark.xdist_group("weakened orders")
class TestBrokenDefences:
    @pytest.mark.parametrize(
        ("attack", "knobs"),
        [
            (orders.ReplayedOrder, {"size": 5.0, "price": 0.96, "parts": 2, "again": 1.0}),
            *[
                (orders.MutatedOrder, {"size": 5.0, "price": 0.96, "field": field})
                for field in (0, 1, 2, 3, 5, 6, 7, 8)
            ],
            (orders.ForgedSignature, {"size": 5.0, "price": 0.96, "form": 1}),
            (orders.ForeignOrder, {"size": 5.0, "price": 0.96, "where": 0}),
            (orders.ReservedOrder, {"size": 5.0, "price": 0.96, "batch": 1}),
            *[(orders.WithdrawnOrder, {"size": 5.0, "price": 0.96, "way": way}) for way in range(3)],
            (orders.StaleQuote, {"size": 5.0, "move": 0.9}),
        ],
    )
    def test_if_nothing_about_an_order_were_checked(self, attack: type[Attack], knobs: dict[str, float]) -> None:
        found = struck(without("careless-orders", "TradingLogic", CARELESS), attack, "open", knobs)
        assert not found.refused
        assert found.gain > found.bound + WAD
        assert found.payers

    @pytest.mark.parametrize(
        ("attack", "setting", "knobs"),
        [
            (orders.MalleableSignature, "open", {"size": 5.0, "price": 0.96, "form": 0}),
            (orders.MalleableSignature, "open", {"size": 5.0, "price": 0.96, "form": 1}),
            (orders.TwoFacedMaker, "open", {"size": 5.0, "good": 1.04, "bad": 0.96, "order": 1}),
            (
                orders.StrippedAccount,
                "guarded",
                {"size": 60, "margin": 0.0601, "fall": 0.968, "part": 0.5, "price": 0.951, "end": 0.98},
            ),
        ],
    )
    def test_if_the_market_were_obliging(self, attack: type[Attack], setting: str, knobs: dict[str, float]) -> None:
        found = struck(without("obliging-orders", "TradingLogic", OBLIGING), attack, setting, knobs)
        assert not found.refused
        assert found.gain > found.bound + WAD

    def test_if_withdrawals_paid_first(self) -> None:
        weak = without("open-handed-market", "PerpetualMarket", OPEN_HANDED)
        knobs = {"outer": 0, "inner": 0, "again": 1.0}
        found = struck(weak, orders.ReentrantWithdrawal, "open", knobs)
        assert found.gain == 10_000 * WAD
