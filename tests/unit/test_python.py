"""The small modules of the package: units, parameters, orders, receipts, ABI."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prorata.abi import Interface, revert_reason
from prorata.chain import Log, Reverted
from prorata.embedded import CONTRACTS, compile_contract
from prorata.orders import Order
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.units import (
    INDEX_UNIT,
    LONG,
    MAX_PRICE,
    MIN_PRICE,
    SHORT,
    WAD,
    ZERO_ADDRESS,
    from_wad,
    to_wad,
)

MAKER_KEY = "0x" + "11" * 32
MARKET = to_checksum_address("0x" + "ab" * 20)
TAKER = to_checksum_address("0x" + "cd" * 20)


def constant(module: str, name: str) -> str:
    """The text of a constant in a contract module."""
    source = (CONTRACTS / "modules" / f"{module}.vy").read_text()
    found = re.search(rf"^{name}: constant\(\w+\) = (.+?)(?:\s*#.*)?$", source, flags=re.MULTILINE)
    assert found is not None
    return found[1]


class TestUnits:
    @pytest.mark.parametrize(
        ("module", "name", "value"),
        [
            ("fixed_point", "WAD", WAD),
            ("fixed_point", "INDEX_UNIT", INDEX_UNIT),
            ("sides", "LONG", LONG),
            ("sides", "SHORT", SHORT),
            ("oracle", "MIN_PRICE", MIN_PRICE),
            ("oracle", "MAX_PRICE", MAX_PRICE),
        ],
    )
    def test_are_the_contracts(self, module: str, name: str, value: int) -> None:
        assert eval(constant(module, name), {"__builtins__": {}}) == value

    @pytest.mark.parametrize(
        ("amount", "wad"),
        [
            (1, 10**18),
            ("0.000000000000000001", 1),
            ("1e-18", 1),
            (Decimal("1208925.819614629174706175"), MAX_PRICE),
            ("-2.5", -25 * 10**17),
            (10**40, 10**58),
            ("0", 0),
        ],
    )
    def test_to_wad(self, amount: Decimal | int | str, wad: int) -> None:
        assert to_wad(amount) == wad

    @pytest.mark.parametrize("amount", ["0.0000000000000000001", "1e-19", "1.0000000000000000005"])
    def test_to_wad_rounds_nothing(self, amount: str) -> None:
        with pytest.raises(ValueError, match="more than 18 digits"):
            to_wad(amount)

    @pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
    def test_to_wad_refuses_what_is_no_finite_number(self, amount: str) -> None:
        with pytest.raises(ValueError):
            to_wad(amount)

    @settings(max_examples=200, deadline=None)
    @given(wad=st.integers(-(2**128), 2**128))
    def test_there_and_back(self, wad: int) -> None:
        assert from_wad(wad) == Fraction(wad, 10**18)
        assert to_wad(f"{wad}e-18") == to_wad(Decimal(f"{wad}e-18")) == wad


class TestParameters:
    def test_fields_are_the_contract_s(self) -> None:
        interface, _ = compile_contract("PerpetualMarket")
        (constructor,) = [entry for entry in interface._abi if entry["type"] == "constructor"]
        components = constructor["inputs"][-1]["components"]
        assert [field.name for field in fields(MarketParameters)] == [part["name"] for part in components]

    def test_become_a_tuple_in_order(self) -> None:
        numbers: Any = range(101, 101 + len(fields(MarketParameters)))
        assert MarketParameters(*numbers).as_tuple() == tuple(numbers)

    def test_default_to_what_the_documents_say(self) -> None:
        p, v = MarketParameters(), VaultParameters()
        percents = [
            Fraction(value, WAD) * 100
            for value in (p.initial_margin, p.maintenance_margin, p.closeout_margin, p.bucket_width)
        ]
        assert percents == [5, Fraction(5, 2), 1, Fraction(1, 10)]
        assert (v.draw_cap, v.draw_window) == (WAD // 2, 24 * 3600)

    def test_default_to_a_market_that_shows_only_what_a_scenario_turns_on(self) -> None:
        p = MarketParameters()
        assert (p.max_price_step, p.step_interval) == (WAD // 2, 0)  # as far as the contracts allow, as often as called
        assert (p.max_funding, p.margin_slope, p.oi_multiple, p.cooloff, p.guardian) == (0, 0, 0, 0, ZERO_ADDRESS)

    def test_guarded_turns_all_of_it_on_and_is_gap_safe(self) -> None:
        p, off = MarketParameters.guarded(), MarketParameters()
        assert max(p.max_price_step, p.max_funding) <= p.closeout_margin
        for name in ("step_interval", "max_funding", "margin_slope", "oi_multiple", "cooloff"):
            assert getattr(p, name) > getattr(off, name)

    def test_guarded_but_for_what_is_said_otherwise(self) -> None:
        assert MarketParameters.guarded(cooloff=7, fee_rate=0) == replace(
            MarketParameters.guarded(), cooloff=7, fee_rate=0
        )

    def test_do_not_change(self) -> None:
        with pytest.raises(FrozenInstanceError):
            MarketParameters().fee_rate = 0  # type: ignore[misc]


def an_order(**terms: Any) -> Order:
    maker = Account.from_key(MAKER_KEY).address
    return replace(Order(maker, True, 5 * WAD, 1000 * WAD, 2_000_000_000, taker=TAKER), **terms)


class TestOrder:
    def test_becomes_a_tuple_in_order(self) -> None:
        order = an_order(salt=3, nonce=4, reduce_only=True)
        assert order.as_tuple() == (order.maker, True, 5 * WAD, 1000 * WAD, 2_000_000_000, 3, 4, True, TAKER)

    def test_is_open_to_anyone_unless_it_says_otherwise(self) -> None:
        order = Order(ZERO_ADDRESS, False, 1, 2, 3)
        assert (order.salt, order.nonce, order.reduce_only, order.taker) == (0, 0, False, "0x" + "0" * 40)

    def test_fields_are_the_contract_s(self) -> None:
        interface, _ = compile_contract("PerpetualMarket")
        (fill,) = [entry for entry in interface._abi if entry.get("name") == "fill"]
        assert [field.name for field in fields(Order)] == [part["name"] for part in fill["inputs"][0]["components"]]

    def test_signature_is_the_maker_s(self) -> None:
        order = an_order()
        signature = order.sign(MAKER_KEY, MARKET, 7)
        assert len(signature) == 65
        assert signature[64] in (27, 28)
        assert Account.recover_message(order.message(MARKET, 7), signature=signature) == order.maker

    @pytest.mark.parametrize(("market", "chain_id"), [(MARKET, 8), (TAKER, 7)])
    def test_signature_holds_for_one_market_on_one_chain(self, market: str, chain_id: int) -> None:
        order = an_order()
        signature = order.sign(MAKER_KEY, MARKET, 7)
        assert Account.recover_message(order.message(market, chain_id), signature=signature) != order.maker

    def test_message_is_of_the_type_the_contract_names(self) -> None:
        members = [f"{kind} {field.name}" for kind, field in zip(ORDER_KINDS, fields(Order), strict=True)]
        typed = f"Order({','.join(members)})"
        source = (CONTRACTS / "modules" / "orders.vy").read_text()
        assert f'"{typed}"' in source
        order = an_order()
        struct = keccak(encode(["bytes32", *ORDER_KINDS], [keccak(text=typed), *order.as_tuple()]))
        assert order.message(MARKET, 7).body == struct


ORDER_KINDS = ["address", "bool", "uint256", "uint256", "uint256", "uint256", "uint256", "bool", "address"]


def settled(**changes: Any) -> Log:
    """A `Settled` event whose every number is different."""
    given = {
        "loser": 1,
        "funding": False,
        "mark_before": 100,
        "mark_after": 120,
        "index_price": 130,
        "receipt": (1000, 300, 50, 7, 6, 5, 4, 3, 2),
        "long_index": 11,
        "short_index": -12,
        "long_scale": 13,
        "short_scale": 14,
    }
    return Log(MARKET, "Settled", {**given, **changes})


class TestReceipt:
    def test_every_field_in_its_place(self) -> None:
        assert Receipt.from_log(settled()) == Receipt(
            loser=1,
            funding=False,
            mark_before=100,
            mark_after=120,
            index_price=130,
            gross=1000,
            deficit=300,
            covered=50,
            surplus=7,
            bonus=6,
            adl_shortfall=5,
            closed_size=4,
            buckets_closed=3,
            open_interest=2,
            indices=(11, -12),
            scales=(13, 14),
        )

    def test_amounts_stand_in_the_contract_s_order(self) -> None:
        interface, _ = compile_contract("PerpetualMarket")
        (event,) = [entry for entry in interface._abi if entry.get("name") == "Settled"]
        (struct,) = [field for field in event["inputs"] if field["name"] == "receipt"]
        named = [part["name"] for part in struct["components"]]
        numbers = tuple(range(1, len(named) + 1))
        receipt = Receipt.from_log(settled(receipt=numbers))
        assert tuple(getattr(receipt, name) for name in named) == numbers

    @pytest.mark.parametrize(
        ("gross", "deficit", "covered", "socialized", "haircut"),
        [
            (1000, 300, 50, 250, WAD // 4),
            (3, 1, 0, 1, 333_333_333_333_333_334),  # rounded up
            (1000, 300, 300, 0, 0),
            (1000, 1000, 0, 1000, WAD),
            (0, 0, 0, 0, 0),
        ],
    )
    def test_haircut(self, gross: int, deficit: int, covered: int, socialized: int, haircut: int) -> None:
        receipt = Receipt.from_log(settled(receipt=(gross, deficit, covered, 0, 0, 0, 0, 0, 0)))
        assert (receipt.socialized, receipt.haircut) == (socialized, haircut)

    def test_are_found_among_other_events_in_order(self) -> None:
        logs = [Log(MARKET, "Deposited", {}), settled(loser=0), Log(MARKET, "EpochEnded", {}), settled(loser=1)]
        assert [receipt.loser for receipt in receipts_in(logs)] == [0, 1]
        assert receipts_in([]) == []


ABI: list[dict[str, Any]] = [
    {"type": "constructor", "inputs": [{"name": "a", "type": "uint8"}]},
    {
        "type": "function",
        "name": "pay",
        "inputs": [
            {
                "name": "orders",
                "type": "tuple[2]",
                "components": [
                    {"name": "to", "type": "address"},
                    {"name": "parts", "type": "tuple[]", "components": [{"name": "x", "type": "int256"}]},
                ],
            },
            {"name": "ok", "type": "bool"},
        ],
        "outputs": [],
    },
    {"type": "function", "name": "one", "inputs": [], "outputs": [{"name": "", "type": "address"}]},
    {
        "type": "function",
        "name": "two",
        "inputs": [],
        "outputs": [{"name": "", "type": "int256"}, {"name": "", "type": "bool"}],
    },
    {
        "type": "event",
        "name": "Paid",
        "inputs": [
            {"name": "amount", "type": "int256", "indexed": False},
            {"name": "to", "type": "address", "indexed": True},
            {"name": "fee", "type": "uint256", "indexed": False},
            {"name": "id", "type": "uint256", "indexed": True},
        ],
    },
]
LOWER = "0x" + "ab" * 20


class TestInterface:
    interface = Interface(ABI)

    def test_calldata_begins_with_the_selector_of_the_written_out_types(self) -> None:
        orders = [(LOWER, [(-1,), (2,)]), (LOWER, [])]
        data = self.interface.calldata("pay", [orders, True])
        assert data[:4] == keccak(text="pay((address,(int256)[])[2],bool)")[:4]
        assert data[4:] == encode(["(address,(int256)[])[2]", "bool"], [orders, True])

    def test_constructor_arguments(self) -> None:
        assert self.interface.constructor([7]) == (7).to_bytes(32, "big")
        assert Interface([]).constructor([]) == b""

    def test_results(self) -> None:
        assert self.interface.result("pay", b"") is None
        assert self.interface.result("one", bytes(12) + b"\xab" * 20) == MARKET
        assert self.interface.result("two", encode(["int256", "bool"], [-5, True])) == (-5, True)

    def test_events_in_the_order_of_their_declaration(self) -> None:
        topics = [
            keccak(text="Paid(int256,address,uint256,uint256)"),
            bytes(12) + b"\xab" * 20,
            (9).to_bytes(32, "big"),
        ]
        log = self.interface.log("0xfeed", topics, encode(["int256", "uint256"], [-4, 3]))
        assert log is not None
        assert (log.address, log.name) == ("0xfeed", "Paid")
        assert list(log.fields.items()) == [("amount", -4), ("to", MARKET), ("fee", 3), ("id", 9)]

    @pytest.mark.parametrize("topics", [[], [keccak(text="Paid(int256)")]])
    def test_events_of_others_are_none(self, topics: list[bytes]) -> None:
        assert self.interface.log("0xfeed", topics, b"") is None

    def test_arguments_that_do_not_fit(self) -> None:
        with pytest.raises(EncodingError):
            self.interface.constructor([256])
        with pytest.raises(KeyError):
            self.interface.calldata("nothing", [])


class TestRevertReason:
    @settings(max_examples=50, deadline=None)
    @given(reason=st.text(max_size=80))
    @example(reason="")
    def test_is_the_string_of_an_error(self, reason: str) -> None:
        data = keccak(text="Error(string)")[:4] + encode(["string"], [reason])
        assert revert_reason(data) == reason

    @pytest.mark.parametrize(
        "data", [b"", b"\x08\xc3\x79", keccak(text="Panic(uint256)")[:4] + (17).to_bytes(32, "big")]
    )
    def test_is_empty_without_one(self, data: bytes) -> None:
        assert revert_reason(data) == ""

    def test_stands_in_the_exception(self) -> None:
        assert Reverted("oracle: stale").reason == str(Reverted("oracle: stale")) == "oracle: stale"
