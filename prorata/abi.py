"""Calldata, return values and events by ABI: what an in-process EVM needs and a node's client library brings along."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from prorata.chain import Log

ERROR_SELECTOR = keccak(text="Error(string)")[:4]


def _type_of(parameter: dict[str, Any]) -> str:
    """The canonical ABI type, structs written out as tuples."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_type_of(part) for part in parameter["components"]) + ")" + kind[len("tuple") :]


def _checksummed(kind: str, value: Any) -> Any:
    return to_checksum_address(value) if kind == "address" else value


class Interface:
    """One contract's ABI.

    Args:
        abi: the JSON ABI as the compiler gives it.
    """

    def __init__(self, abi: Sequence[dict[str, Any]]) -> None:
        self._abi = abi

    @cached_property
    def _functions(self) -> dict[str, tuple[bytes, list[str], list[str]]]:
        functions = {}
        for entry in self._abi:
            if entry["type"] == "function":
                inputs = [_type_of(parameter) for parameter in entry["inputs"]]
                outputs = [_type_of(parameter) for parameter in entry["outputs"]]
                selector = keccak(text=f"{entry['name']}({','.join(inputs)})")[:4]
                functions[entry["name"]] = (selector, inputs, outputs)
        return functions

    @cached_property
    def _events(self) -> dict[bytes, dict[str, Any]]:
        return {
            keccak(text=f"{entry['name']}({','.join(_type_of(field) for field in entry['inputs'])})"): entry
            for entry in self._abi
            if entry["type"] == "event"
        }

    def constructor(self, arguments: Sequence[Any]) -> bytes:
        """Encoded constructor arguments."""
        inputs: list[dict[str, Any]] = next(
            (entry["inputs"] for entry in self._abi if entry["type"] == "constructor"), []
        )
        return encode([_type_of(parameter) for parameter in inputs], arguments)

    def calldata(self, function: str, arguments: Sequence[Any]) -> bytes:
        """Selector and encoded arguments."""
        selector, inputs, _ = self._functions[function]
        return selector + encode(inputs, arguments)

    def result(self, function: str, data: bytes) -> Any:
        """The decoded return value: None, one value, or a tuple."""
        _, _, outputs = self._functions[function]
        values = [_checksummed(kind, value) for kind, value in zip(outputs, decode(outputs, data), strict=True)]
        if not values:
            return None
        return values[0] if len(values) == 1 else tuple(values)

    def log(self, address: str, topics: Sequence[bytes], data: bytes) -> Log | None:
        """A decoded event, or None if it is not one of this contract's."""
        entry = self._events.get(topics[0]) if topics else None
        if entry is None:
            return None
        indexed = [field for field in entry["inputs"] if field["indexed"]]
        plain = [field for field in entry["inputs"] if not field["indexed"]]
        values = dict(zip([field["name"] for field in plain], decode([_type_of(f) for f in plain], data), strict=True))
        for field, topic in zip(indexed, topics[1:], strict=True):
            values[field["name"]] = decode([_type_of(field)], topic)[0]
        fields = {field["name"]: _checksummed(field["type"], values[field["name"]]) for field in entry["inputs"]}
        return Log(address, entry["name"], fields)


def revert_reason(data: bytes) -> str:
    """The string of `Error(string)` revert data, or an empty one."""
    if data[:4] != ERROR_SELECTOR:
        return ""
    return str(decode(["string"], data[4:])[0])
