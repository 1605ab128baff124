"""What the in-process EVMs have in common: test accounts, contract registry, compilation, decoding."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import boa
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from rlp import encode as rlp_encode
from vyper.compiler.output import build_abi_output, build_layout_output

from prorata.abi import Interface
from prorata.chain import GENESIS, Entry, Log, Transaction

_MNEMONIC = "test test test test test test test test test test test junk"
CONTRACTS = Path(__file__).parent.parent / "contracts"
_BUILD = Path(__file__).parent.parent / ".build" / "compiled"
boa.interpret.set_search_paths([str(CONTRACTS)])

#: An event as an EVM gives it: emitter, topics, data.
RawLog = tuple[str, Sequence[bytes], bytes]
#: Interface and creation code.
Compiled = tuple[Interface, bytes]


class Compiler:
    """Compiles the contracts of a folder, and sources that import its modules; each once.

    What is compiled is kept in `.build/compiled`, under a name made of all that it can depend on: to see that nothing
    has changed takes titanoboa's own cache as long as compiling half of it, in every process anew.

    Args:
        folder: `contracts/`, or a changed copy of it. Nothing in it may change meanwhile.
    """

    def __init__(self, folder: Path = CONTRACTS) -> None:
        self.folder = folder
        self._compiled: dict[str, Compiled] = {}
        self._layouts: dict[str, dict[str, Any]] = {}

    def contract(self, name: str) -> Compiled:
        """A contract of the folder."""
        if name not in self._compiled:
            path = next(self.folder.rglob(f"{name}.vy"))
            self._compiled[name] = self._compile(path.read_text(), path)
        return self._compiled[name]

    def source(self, source: str) -> Compiled:
        """Vyper source that stands in no file."""
        if source not in self._compiled:
            self._compiled[source] = self._compile(source, None)
        return self._compiled[source]

    def storage_layout(self, name: str) -> dict[str, Any]:
        """Where the storage variables of a contract of the folder lie, as the compiler says."""
        if name not in self._layouts:
            path = next(self.folder.rglob(f"{name}.vy"))
            self._layouts[name] = self._kept(path.read_text(), path)["storage_layout"]
        return self._layouts[name]

    def _compile(self, source: str, path: Path | None) -> Compiled:
        made = self._kept(source, path)
        return Interface(made["abi"]), bytes.fromhex(made["bytecode"])

    def _kept(self, source: str, path: Path | None) -> dict[str, Any]:
        """ABI, creation code and storage layout: from disk, or compiled and put there."""
        place = path.relative_to(self.folder) if path else ""
        key = sha256(f"{self._versions}\n{place}\n{source}".encode()).hexdigest()
        file = _BUILD / f"{key[:32]}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            mine = file.with_suffix(f".{uuid4().hex}")  # another process may be doing the same
            mine.write_text(json.dumps(self._made(source, path)))
            mine.rename(file)
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept

    @cached_property
    def _versions(self) -> str:
        """All that a source of this folder may import, and what compiles it."""
        contents = sha256()
        for path in sorted(self.folder.rglob("*.vy*")):
            contents.update(f"{path.relative_to(self.folder)}\n{path.read_text()}\n".encode())
        return " ".join([contents.hexdigest(), *(version(name) for name in ("vyper", "snekmate", "titanoboa"))])

    def _made(self, source: str, path: Path | None) -> dict[str, Any]:
        name = str(path) if path else None
        boa.interpret.set_search_paths([str(self.folder)])
        try:
            data = boa.loads_partial(source, name=name, filename=name).compiler_data
            layout = build_layout_output(data)["storage_layout"]
        finally:
            boa.interpret.set_search_paths([str(CONTRACTS)])
        return {"abi": build_abi_output(data), "bytecode": data.bytecode.hex(), "storage_layout": layout}


#: The repository's own.
USUAL = Compiler()
_compiler = USUAL


@contextmanager
def compiling(compiler: Compiler) -> Iterator[None]:
    """Inside, contracts are those of another compiler; how tests deploy a market with a fault in it."""
    global _compiler
    usual, _compiler = _compiler, compiler
    try:
        yield
    finally:
        _compiler = usual


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
        #: Second and events of every transaction that was not refused; its block is its place here, from 1.
        self._history: list[tuple[int, Sequence[RawLog]]] = []

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
        return self._decoded(log for _, block in blocks for log in block)

    def entries(self, from_block: int, to_block: int) -> list[Entry]:
        first = max(from_block, 1)
        return [
            Entry(number, timestamp, f"0x{number:064x}", log)
            for number, (timestamp, block) in enumerate(self._history[first - 1 : max(to_block, 0)], first)
            for log in self._decoded(block)
        ]

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
        self._history.append((self.now, tuple(logs)))
        return Transaction(gas=0, logs=self._decoded(self._history[-1][1]), timestamp=self.now)

    def call(self, contract: EmbeddedContract, function: str, *arguments: Any) -> Any:
        data = contract.interface.calldata(function, arguments)
        output, _ = self._run(self.address(0), contract.address, data, modifying=False)
        return contract.interface.result(function, output)

    def _deploy(self, interface: Interface, code: bytes, arguments: Sequence[Any], sender: int) -> EmbeddedContract:
        address = self.next_address(sender)
        self._timestamp += 1
        self._nonces[sender] = self._nonces.get(sender, 0) + 1
        logs = self._create(self.address(sender), address, code + interface.constructor(arguments))
        self._history.append((self.now, tuple(logs)))
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


def compile_contract(name: str) -> Compiled:
    """Interface and creation code of a contract of this repository, compiled once a process."""
    return _compiler.contract(name)


def compile_source(source: str) -> Compiled:
    """Interface and creation code of Vyper source that imports this repository's modules."""
    return _compiler.source(source)
