"""What the in-process EVMs have in common: test accounts, contract registry, compilation, decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boa
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from rlp import encode as rlp_encode
from vyper.compiler.output import build_abi_output

from prorata.abi import Interface
from prorata.chain import GENESIS, Log, Transaction

_MNEMONIC = "test test test test test test test test test test test junk"
CONTRACTS = Path(__file__).parent.parent / "contracts"
boa.interpret.set_search_paths([str(CONTRACTS)])

#: An event as an EVM gives it: emitter, topics, data.
RawLog = tuple[str, Sequence[bytes], bytes]


@dataclass(frozen=True)
class EmbeddedContract:
    """A deployed contract and its interface."""

    address: str
    interface: Interface


class EmbeddedChain(ABC):
    """A chain inside this process. See `prorata.chain.Chain` for the verbs; gas is not reported."""

    network: str

    def __init__(self) -> None:
        self._timestamp = GENESIS
        self._contracts: dict[str, EmbeddedContract] = {}
        self._nonces: dict[int, int] = {}
        #: Events of every transaction that was not refused; its block is its place here, from 1.
        self._history: list[Sequence[RawLog]] = []

    @property
    @abstractmethod
    def chain_id(self) -> int:
        """EIP-155 chain id."""

    @abstractmethod
    def anchor(self) -> AbstractContextManager[None]:
        """A context whose every effect on the chain, the clock included, is undone when it ends."""

    @abstractmethod
    def _create(self, sender: str, address: str, code: bytes) -> Iterable[RawLog]:
        """Run creation code so that its contract lands at `address`; raise Reverted if it refuses."""

    @abstractmethod
    def _run(self, sender: str, address: str, data: bytes, modifying: bool) -> tuple[bytes, Iterable[RawLog]]:
        """Call a contract; raise Reverted if it refuses."""

    @property
    def now(self) -> int:
        return self._timestamp

    @property
    def block(self) -> int:
        return len(self._history)

    def logs(self, from_block: int, to_block: int) -> list[Log]:
        blocks = self._history[max(from_block, 1) - 1 : max(to_block, 0)]
        return self._decoded(log for block in blocks for log in block)

    def advance(self, seconds: int) -> None:
        self._timestamp += seconds

    def key(self, index: int) -> str:
        return "0x" + bytes(_account(index).key).hex()

    def address(self, index: int) -> str:
        return str(_account(index).address)

    def next_address(self, index: int, skip: int = 0) -> str:
        nonce = self._nonces.get(index, 0) + skip
        created = keccak(rlp_encode([to_canonical_address(self.address(index)), nonce]))[12:]
        return to_checksum_address(created)

    def deploy(self, name: str, *arguments: Any, sender: int = 0) -> EmbeddedContract:
        return self._deploy(*compile_contract(name), arguments, sender)

    def deploy_source(self, source: str, *arguments: Any) -> EmbeddedContract:
        """Deploy a contract that only a test needs, from its source; it may import the repository's modules."""
        return self._deploy(*compile_source(source), arguments, 0)

    def at(self, name: str, address: str) -> EmbeddedContract:
        return self._register(address, compile_contract(name)[0])

    def transact(self, contract: EmbeddedContract, function: str, *arguments: Any, sender: int) -> Transaction:
        self._timestamp += 1
        data = contract.interface.calldata(function, arguments)
        _, logs = self._run(self.address(sender), contract.address, data, modifying=True)
        self._history.append(tuple(logs))
        return Transaction(gas=0, logs=self._decoded(self._history[-1]), timestamp=self.now)

    def call(self, contract: EmbeddedContract, function: str, *arguments: Any) -> Any:
        data = contract.interface.calldata(function, arguments)
        output, _ = self._run(self.address(0), contract.address, data, modifying=False)
        return contract.interface.result(function, output)

    def _deploy(self, interface: Interface, code: bytes, arguments: Sequence[Any], sender: int) -> EmbeddedContract:
        address = self.next_address(sender)
        self._timestamp += 1
        self._nonces[sender] = self._nonces.get(sender, 0) + 1
        logs = self._create(self.address(sender), address, code + interface.constructor(arguments))
        self._history.append(tuple(logs))
        return self._register(address, interface)

    def _register(self, address: str, interface: Interface) -> EmbeddedContract:
        contract = EmbeddedContract(to_checksum_address(address), interface)
        self._contracts[contract.address] = contract
        return contract

    def _decoded(self, logs: Iterable[RawLog]) -> list[Log]:
        found = []
        for address, topics, data in logs:
            emitter = self._contracts.get(address)
            log = emitter.interface.log(address, topics, data) if emitter else None
            if log is not None:
                found.append(log)
        return found


@cache
def _account(index: int) -> LocalAccount:
    """The test accounts of ape-config.yaml: every local node's default ones."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


@cache
def compile_contract(name: str) -> tuple[Interface, bytes]:
    """Interface and creation code of a contract of this repository, compiled once a process."""
    path = next(CONTRACTS.rglob(f"{name}.vy"))
    return _interface_and_code(boa.load_partial(str(path)))


@cache
def compile_source(source: str) -> tuple[Interface, bytes]:
    """Interface and creation code of Vyper source."""
    return _interface_and_code(boa.loads_partial(source))


def _interface_and_code(deployer: Any) -> tuple[Interface, bytes]:
    data = deployer.compiler_data
    return Interface(build_abi_output(data)), data.bytecode
