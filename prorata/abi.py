"""Calldata, return values and events by ABI: what an in-process EVM needs and a node's client library brings along.

eth-abi knows every type. Most of what goes in and out here is a few words of static types, though, asked for hundreds
of thousands of times in a campaign: those are read and written word by word, at a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

from prorata.chain import Log

ERROR_SELECTOR = keccak(text="Error(string)")[:4]


def _type_of(parameter: dict[str, Any]) -> str:
    """The canonical ABI type, structs written out as tuples."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_type_of(part) for part in parameter["components"]) + ")" + kind[len("tuple") :]


class _Misfit(Exception):
    """A value that is not of its type; eth-abi says so in more words."""


#: Words of a value to the value; and back.
_Reader = Callable[[Sequence[bytes]], Any]
_Writer = Callable[[Any], bytes]


@cache
def _address(word: bytes) -> str:
    return str(to_checksum_address(word[12:]))


@cache
def _address_word(address: str) -> bytes:
    return to_canonical_address(address).rjust(32, b"\0")


def _integer_writer(low: int, high: int) -> _Writer:
    """Of integers between two bounds, the second excluded."""

    def write(value: int) -> bytes:
        if type(value) is not int or not low <= value < high:
            raise _Misfit
        return value.to_bytes(32, "big", signed=low < 0)

    return write


def _bool_word(value: bool) -> bytes:
    if type(value) is not bool:
        raise _Misfit
    return value.to_bytes(32, "big")


def _codec(parameter: dict[str, Any]) -> tuple[int, _Reader, _Writer] | None:
    """How many words a value of a static type has, how they are read and written; None for any other type."""
    kind: str = parameter["type"]
    if kind == "tuple":
        return _tuple_codec([_codec(part) for part in parameter["components"]])
    if kind.endswith("]") or kind in ("string", "bytes"):
        return None
    if kind == "address":
        return 1, lambda words: _address(words[0]), _address_word
    if kind == "bool":
        return 1, lambda words: words[0][-1] == 1, _bool_word
    if kind.startswith("uint"):
        bits = int(kind.removeprefix("uint"))
        return 1, lambda words: int.from_bytes(words[0], "big"), _integer_writer(0, 2**bits)
    if kind.startswith("int"):
        bits = int(kind.removeprefix("int"))
        writer = _integer_writer(-(2 ** (bits - 1)), 2 ** (bits - 1))
        return 1, lambda words: int.from_bytes(words[0], "big", signed=True), writer
    return None


def _tuple_codec(parts: Sequence[tuple[int, _Reader, _Writer] | None]) -> tuple[int, _Reader, _Writer] | None:
    """Of a struct, or of a list of arguments."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    ends = [sum(size for size, _, _ in known[: i + 1]) for i in range(len(known))]
    places = [(end - size, end, read) for end, (size, read, _) in zip(ends, known, strict=True)]

    def read(words: Sequence[bytes]) -> tuple[Any, ...]:
        return tuple(read(words[start:end]) for start, end, read in places)

    def write(values: Sequence[Any]) -> bytes:
        return b"".join(write(value) for value, (_, _, write) in zip(values, known, strict=True))

    return ends[-1] if ends else 0, read, write


class _Values:
    """A list of values of given types, in and out of bytes."""

    def __init__(self, parameters: Sequence[dict[str, Any]]) -> None:
        self.types = [_type_of(parameter) for parameter in parameters]
        self._codec = _tuple_codec([_codec(parameter) for parameter in parameters])

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """The values; what follows them is ignored.

        Raises:
            eth_abi.exceptions.DecodingError: there are too few bytes.
        """
        if self._codec is None or len(data) < 32 * self._codec[0]:
            values = decode(self.types, data)
            return tuple(
                to_checksum_address(value) if kind == "address" else value
                for kind, value in zip(self.types, values, strict=True)
            )
        return tuple(self._codec[1]([data[at : at + 32] for at in range(0, 32 * self._codec[0], 32)]))

    def encode(self, values: Sequence[Any]) -> bytes:
        """The values' bytes.

        Raises:
            eth_abi.exceptions.EncodingError: a value does not fit.
        """
        if self._codec is not None:
            with suppress(_Misfit):
                return self._codec[2](values)
        return encode(self.types, values)


class _Event:
    """One kind of event."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.name = str(entry["name"])
        self.topic = keccak(text=f"{self.name}({','.join(_type_of(field) for field in entry['inputs'])})")
        self._order = [field["name"] for field in entry["inputs"]]
        fields = [[field for field in entry["inputs"] if field["indexed"] is indexed] for indexed in (True, False)]
        self._names = [field["name"] for part in fields for field in part]
        self._indexed, self._plain = (_Values(part) for part in fields)

    def log(self, address: str, topics: Sequence[bytes], data: bytes) -> Log:
        """A decoded event, its fields in the order in which they are declared."""
        values = (*self._indexed.decode(b"".join(topics[1:])), *self._plain.decode(data))
        found = dict(zip(self._names, values, strict=True))
        return Log(address, self.name, {name: found[name] for name in self._order})


class Interface:
    """One contract's ABI.

    Args:
        abi: the JSON ABI as the compiler gives it.
    """

    def __init__(self, abi: Sequence[dict[str, Any]]) -> None:
        self._abi = abi

    @cached_property
    def _functions(self) -> dict[str, tuple[bytes, _Values, _Values]]:
        functions = {}
        for entry in self._abi:
            if entry["type"] == "function":
                inputs, outputs = _Values(entry["inputs"]), _Values(entry["outputs"])
                selector = keccak(text=f"{entry['name']}({','.join(inputs.types)})")[:4]
                functions[entry["name"]] = (selector, inputs, outputs)
        return functions

    @cached_property
    def _events(self) -> dict[bytes, _Event]:
        events = [_Event(entry) for entry in self._abi if entry["type"] == "event"]
        return {event.topic: event for event in events}

    def constructor(self, arguments: Sequence[Any]) -> bytes:
        """Encoded constructor arguments."""
        inputs: list[dict[str, Any]] = next(
            (entry["inputs"] for entry in self._abi if entry["type"] == "constructor"), []
        )
        return _Values(inputs).encode(arguments)

    def selector(self, function: str) -> bytes:
        """The four bytes by which a function is called."""
        return self._functions[function][0]

    def event_names(self) -> dict[bytes, str]:
        """Every event's name by its first topic."""
        return {topic: event.name for topic, event in self._events.items()}

    def calldata(self, function: str, arguments: Sequence[Any]) -> bytes:
        """Selector and encoded arguments."""
        selector, inputs, _ = self._functions[function]
        return selector + inputs.encode(arguments)

    def result(self, function: str, data: bytes) -> Any:
        """The decoded return value: None, one value, or a tuple."""
        _, _, outputs = self._functions[function]
        values = outputs.decode(data)
        if not values:
            return None
        return values[0] if len(values) == 1 else values

    def log(self, address: str, topics: Sequence[bytes], data: bytes) -> Log | None:
        """A decoded event, or None if it is not one of this contract's."""
        event = self._events.get(bytes(topics[0])) if topics else None
        return event.log(address, topics, data) if event else None


def revert_reason(data: bytes) -> str:
    """The string of `Error(string)` revert data, or an empty one."""
    if data[:4] != ERROR_SELECTOR:
        return ""
    return str(decode(["string"], data[4:])[0])
