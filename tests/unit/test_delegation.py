"""What lets `TradingLogic` run in the market's storage and name: one storage layout, one list of events, one set of
selectors; nothing of its own in code or in transient storage."""

from __future__ import annotations

from typing import Any

import pytest
from eth_utils.crypto import keccak
from vyper.compiler.output import build_abi_output

from prorata.abi import _type_of
from tests.bytecode import DEPLOYABLES, compiled, layout, runtime_size

CODE_LIMIT = 24_576  # EIP-170
INITCODE_LIMIT = 49_152  # EIP-3860


def described(entry: dict[str, Any]) -> tuple[Any, ...]:
    """An event or a function as a caller sees it: types written out, and of an event what is indexed."""
    inputs = [(field["name"], _type_of(field), field.get("indexed")) for field in entry["inputs"]]
    outputs = [_type_of(field) for field in entry.get("outputs", [])]
    return entry["name"], inputs, outputs


def entries(name: str, kind: str) -> dict[str, tuple[Any, ...]]:
    """The events or functions of a contract's ABI by name."""
    return {entry["name"]: described(entry) for entry in build_abi_output(compiled(name)) if entry["type"] == kind}


def topics(name: str) -> dict[str, bytes]:
    """First topics of a contract's events."""
    return {
        event: keccak(text=f"{event}({','.join(kind for _, kind, _ in inputs)})")
        for event, inputs, _ in entries(name, "event").values()
    }


def slots(name: str) -> dict[tuple[str, str], tuple[int, int, str]]:
    """First slot, number of slots and type of every storage variable, by module and name."""
    return {
        (module, variable): (place["slot"], place["n_slots"], place["type"])
        for module, variables in layout(name)["storage_layout"].items()
        for variable, place in variables.items()
    }


class TestStorage:
    def test_is_laid_out_the_same(self) -> None:
        assert slots("TradingLogic") == slots("PerpetualMarket")
        assert list(slots("TradingLogic")) == list(slots("PerpetualMarket"))

    def test_is_read_right(self) -> None:
        """That the comparison above compares something: every slot is there once, from the first to the last."""
        taken = sorted(slot + i for slot, count, _ in slots("PerpetualMarket").values() for i in range(count))
        assert taken == list(range(len(taken)))
        assert {("sides", "_core"), ("buckets", "_bitmaps"), ("accounts", "_anchors"), ("breaker", "_lag")} <= set(
            slots("PerpetualMarket")
        )

    def test_no_immutables_in_the_borrowed_code_but_what_is_the_market_s_too(self) -> None:
        """Code that runs by delegatecall reads its own: feed and parameters, which the market compares when it is
        deployed, and of the orders' domain nothing but what it is made of, and a cache that holds for its own address
        alone."""
        borrowed, own = layout("TradingLogic")["code_layout"], layout("PerpetualMarket")["code_layout"]
        assert set(borrowed) == {"PARAMETERS", "oracle", "orders"} < set(own)
        assert set(borrowed["orders"]) == {"eip712_domain_separator"}
        cached = {"_CACHED_DOMAIN_SEPARATOR", "_CACHED_CHAIN_ID", "_CACHED_SELF"}
        constant = {"_NAME", "_HASHED_NAME", "_VERSION", "_HASHED_VERSION"}
        assert set(borrowed["orders"]["eip712_domain_separator"]) == cached | constant
        assert borrowed["PARAMETERS"]["type"] == own["PARAMETERS"]["type"]
        assert set(borrowed["oracle"]) == set(own["oracle"])

    def test_no_transient_storage_in_the_borrowed_code(self) -> None:
        """The market holds the lock; a second one in the same slot would shut the market out of its own call."""
        assert "transient_storage_layout" not in layout("TradingLogic")
        assert list(layout("PerpetualMarket")["transient_storage_layout"]) == ["$.nonreentrant_key"]


class TestNames:
    def test_every_event_is_one_of_the_market_s(self) -> None:
        borrowed, own = entries("TradingLogic", "event"), entries("PerpetualMarket", "event")
        of_orders_and_modes = {"OrderCancelled", "NonceRaised", "ReduceOnly", "OracleReported", "Closed"}
        assert {"Traded", "Liquidated", "AccountUpdated"} | of_orders_and_modes <= set(borrowed)
        for name, event in borrowed.items():
            assert event == own[name]
            assert topics("TradingLogic")[name] == topics("PerpetualMarket")[name]

    def test_every_event_that_can_be_logged_is_in_the_abi(self) -> None:
        """By the compiler's list of what is used, whatever module or interface it is declared in."""
        used = {event.name for event in compiled("TradingLogic").annotated_vyper_module._metadata["type"].used_events}
        assert used <= set(entries("TradingLogic", "event")) & set(entries("PerpetualMarket", "event"))

    def test_events_have_topics_of_their_own(self) -> None:
        for name in ("PerpetualMarket", "TradingLogic", "InsuranceVault"):
            assert len(set(topics(name).values())) == len(topics(name))

    def test_functions_answer_to_the_market_s_calldata(self) -> None:
        """The market hands its calldata on as it is, and decodes the answer. All but one, which it asks itself."""
        borrowed, own = entries("TradingLogic", "function"), entries("PerpetualMarket", "function")
        assert borrowed.pop("terms_hash") == ("terms_hash", [], ["bytes32"])
        orders, modes = {"fill", "fill_batch", "cancel", "cancel_all"}, {"set_reduce_only", "wind_down"}
        assert set(borrowed) == {"liquidate"} | orders | modes
        for name, function in borrowed.items():
            assert function == own[name]


class TestSize:
    @pytest.mark.parametrize("name", DEPLOYABLES)
    def test_code_and_immutables_fit_a_contract(self, name: str) -> None:
        size = runtime_size(name)
        assert 1000 < size <= CODE_LIMIT
        assert len(compiled(name).bytecode) <= INITCODE_LIMIT
