"""The contracts in titanoboa: about a millisecond a call, and a failure can be explained line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boa
from boa.util.abi import Address
from eth_utils.address import to_checksum_address

from prorata.abi import revert_reason
from prorata.chain import Reverted
from prorata.embedded import EmbeddedChain, RawLog


class BoaChain(EmbeddedChain):
    """A fresh titanoboa environment."""

    network = "titanoboa"

    def __init__(self) -> None:
        super().__init__()
        self._env = boa.Env()

    @property
    def chain_id(self) -> int:
        return int(self._env.evm.patch.chain_id)

    @contextmanager
    def anchor(self) -> Iterator[None]:
        timestamp, nonces, blocks = self._timestamp, dict(self._nonces), self.block
        try:
            with self._env.anchor():
                yield
        finally:
            self._timestamp, self._nonces = timestamp, nonces
            del self._history[blocks:]

    def _create(self, sender: str, address: str, code: bytes) -> Iterable[RawLog]:
        self._begin()
        _, computation = self._env.deploy(
            sender=Address(sender), bytecode=code, override_address=Address(address), gas=None
        )
        if computation.is_error:
            raise Reverted(revert_reason(computation.output))
        return _emitted(computation)

    def _run(self, sender: str, address: str, data: bytes, modifying: bool) -> tuple[bytes, Iterable[RawLog]]:
        computation = self._execute(sender, address, data, modifying)
        if computation.is_error:
            raise Reverted(revert_reason(computation.output))
        return computation.output, _emitted(computation)

    def _execute(self, sender: str, address: str, data: bytes, modifying: bool) -> Any:
        self._begin()
        return self._env.execute_code(
            to_address=Address(address), sender=Address(sender), data=data, is_modifying=modifying
        )

    def _begin(self) -> None:
        """Every call is a transaction of its own: titanoboa would keep transient storage from one to the next."""
        self._env.evm.vm.state.clear_transient_storage()
        self._env.timestamp = self._timestamp


def _emitted(computation: Any) -> list[RawLog]:
    """A computation's events, in order."""
    return [
        (to_checksum_address(emitter), [topic.to_bytes(32, "big") for topic in topics], data)
        for _, emitter, topics, data in sorted(computation.get_raw_log_entries())
    ]
