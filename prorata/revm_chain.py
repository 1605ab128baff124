"""The contracts in pyrevm (Rust): tens of thousands of calls a second. For campaigns; explain a failure in titanoboa.

This adapter owns pyrevm's traps, each tested in `tests/unit/test_chains.py`: the fork's name must be spelled "Cancun"
(any other spelling silently means the latest fork); a snapshot serves once and does not restore the block environment;
transient storage outlives a call; a revert's data exists only inside the exception's text, and storage as a whole only
inside the journal's. Gas is not reported: slots stay warm from call to call, so it would be wrong; where it is wanted,
`prorata.metered_chain` takes over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyrevm
from eth_utils.address import to_checksum_address

from prorata.abi import revert_reason
from prorata.chain import Reverted
from prorata.embedded import EmbeddedChain, RawLog

_CHAIN_ID = 31337
_GAS_LIMIT = 2**40
_REVERT_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)")
_JOURNALED_ACCOUNT = re.compile(r"(0x[0-9a-f]{40}): Account {")
_JOURNALED_SLOT = re.compile(r"(?<!\d)(\d+): StorageSlot { previous_or_original_value: \d+, present_value: (\d+) }")


class RevmChain(EmbeddedChain):
    """A fresh pyrevm instance at the Cancun fork."""

    network = "pyrevm"

    def __init__(self) -> None:
        super().__init__()
        environment = pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=_CHAIN_ID))
        self._evm = pyrevm.EVM(environment, spec_id="Cancun", gas_limit=_GAS_LIMIT)

    @property
    def chain_id(self) -> int:
        return _CHAIN_ID

    def word(self, address: str, slot: int) -> int:
        """One storage slot of a contract."""
        return int(self._evm.storage(address, slot))

    def put(self, address: str, slot: int, value: int) -> None:
        """Overwrite a storage slot, as no transaction could; `anchor` does not undo it."""
        self._evm.insert_account_storage(address, slot, value)

    def send(self, sender: str, address: str, data: bytes) -> list[tuple[list[bytes], bytes]]:
        """A transaction in the present second, at a tenth of what `transact` costs, and not part of `logs`.

        Returns:
            Topics and data of its events, in order.

        Raises:
            Reverted: the contracts refused; nothing changed.
        """
        self._begin()
        try:
            self._evm.message_call(sender, address, calldata=data)
        except RuntimeError as error:
            raise _reverted(error) from None
        result = self._evm.result
        assert result is not None  # there was a call
        return [log.data for log in result.logs]

    def storage(self) -> dict[str, dict[int, int]]:
        """Every slot ever touched, by its contract; nothing is ever committed, so the journal has them all."""
        _, *parts = _JOURNALED_ACCOUNT.split(self._evm.journal_str)
        return {
            to_checksum_address(address): {int(slot): int(value) for slot, value in _JOURNALED_SLOT.findall(account)}
            for address, account in zip(parts[::2], parts[1::2], strict=True)
        }

    def code(self, address: str) -> bytes:
        """A contract's code, with the zeros that pyrevm appends to it; none is ever reached."""
        return bytes(self._evm.get_code(address) or b"")

    @contextmanager
    def anchor(self) -> Iterator[None]:
        timestamp, nonces, blocks = self._timestamp, dict(self._nonces), self.block
        checkpoint = self._evm.snapshot()
        try:
            yield
        finally:
            self._evm.revert(checkpoint)
            self._timestamp, self._nonces = timestamp, nonces
            del self._history[blocks:]

    def _create(self, sender: str, address: str, code: bytes) -> Iterable[RawLog]:
        self._begin()
        try:
            deployed = self._evm.deploy(sender, code)
        except RuntimeError as error:
            raise _reverted(error) from None
        if to_checksum_address(deployed) != address:
            raise RuntimeError(f"deployed to {deployed} instead of {address}")
        return self._emitted()

    def _run(self, sender: str, address: str, data: bytes, modifying: bool) -> tuple[bytes, Iterable[RawLog]]:
        self._begin()
        try:
            output = self._evm.message_call(sender, address, calldata=data, is_static=not modifying)
        except RuntimeError as error:
            raise _reverted(error) from None
        if not modifying:
            return bytes(output), ()
        return bytes(output), self._emitted()

    def _emitted(self) -> list[RawLog]:
        """Events of the last call."""
        result = self._evm.result
        assert result is not None  # there was a call
        return [(to_checksum_address(log.address), *log.data) for log in result.logs]

    def _begin(self) -> None:
        self._evm.reset_transient_storage()
        self._evm.set_block_env(pyrevm.BlockEnv(timestamp=self._timestamp, number=1, gas_limit=_GAS_LIMIT))


def _reverted(error: RuntimeError) -> Reverted:
    output = _REVERT_OUTPUT.search(str(error))
    return Reverted(revert_reason(bytes.fromhex(output[1])) if output else "")
