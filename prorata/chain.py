"""What this package asks of a chain: a few verbs, so that one driver serves Ape's networks and the in-process EVM.

`prorata.ape_chain.ApeChain` drives whatever network Ape is connected to (embedded, Anvil, Hardhat);
`prorata.boa_chain.BoaChain` runs the same contracts in titanoboa, for tests that need thousands of calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

#: First second of every fresh market, the same on every chain so that gas can be compared: 2033-05-18T03:33:20Z.
GENESIS = 2_000_000_000


class Reverted(Exception):
    """A transaction or a call that the contracts refused.

    Attributes:
        reason: the revert string, empty if there was none.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Log:
    """One decoded event: the emitting contract, the event's name, its fields by name."""

    address: str
    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """An event and where it stands.

    Attributes:
        block: its block's number.
        timestamp: of its block, seconds.
        transaction: hash of its transaction, 0x-hex; an in-process EVM names transactions by their blocks.
        log: the event.
        block_hash: of its block, and so of all before it, 0x-hex; empty in an in-process EVM, which has none.
    """

    block: int
    timestamp: int
    transaction: str
    log: Log
    block_hash: str = ""


@dataclass(frozen=True)
class Head:
    """A block that was the last one when it was asked for: number, hash (0x-hex), second."""

    number: int
    hash: str
    timestamp: int


@dataclass(frozen=True)
class Transaction:
    """What a mined transaction did.

    Attributes:
        gas: gas used by the whole transaction; 0 where the chain cannot tell (titanoboa).
        logs: its events, in order, decoded by the contracts deployed through the same chain.
        timestamp: of its block, seconds.
    """

    gas: int
    logs: Sequence[Log]
    timestamp: int


class Contract(Protocol):
    """A deployed contract; chains return their own kind."""

    @property
    def address(self) -> str: ...


#: A view to be read: contract, function, arguments.
View = tuple[Contract, str, *tuple[Any, ...]]


class Chain(Protocol):
    """A chain with its own clock: every transaction is mined in a block one second after the previous one."""

    #: Ape's name of the network, or the name of the in-process EVM.
    network: str

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id, for signatures."""
        ...

    @property
    def now(self) -> int:
        """Timestamp of the last block, seconds."""
        ...

    @property
    def block(self) -> int:
        """Number of the last block."""
        ...

    def logs(self, from_block: int, to_block: int) -> Sequence[Log]:
        """Events of two blocks and all between, in order, of the contracts that this chain has deployed or looked at.

        None of an empty range; blocks still to come are not waited for.
        """
        ...

    def entries(self, from_block: int, to_block: int) -> Sequence[Entry]:
        """The same events as `logs`, each with its block, second and transaction."""
        ...

    def advance(self, seconds: int) -> None:
        """Let `seconds` pass before the next block."""
        ...

    def key(self, index: int) -> str:
        """Private key (0x-hex) of a funded test account; the same on every chain."""
        ...

    def address(self, index: int) -> str:
        """Checksummed address of a funded test account. Index 0 deploys and pays for everybody's chores."""
        ...

    def next_address(self, index: int, skip: int = 0) -> str:
        """Address of the contract that account `index` deploys next, or `skip` transactions later."""
        ...

    def deploy(self, name: str, *arguments: Any, sender: int = 0) -> Contract:
        """Deploy a contract of this repository by its name. Structs are given as tuples.

        Raises:
            Reverted: the constructor refused.
        """
        ...

    def at(self, name: str, address: str) -> Contract:
        """A contract of this repository that is deployed already."""
        ...

    def transact(self, contract: Contract, function: str, *arguments: Any, sender: int) -> Transaction:
        """Send a transaction and mine it.

        Raises:
            Reverted: the contracts refused; nothing changed but the clock.
        """
        ...

    def call(self, contract: Contract, function: str, *arguments: Any) -> Any:
        """Read a view. Structs come back as tuples, integers as int.

        Raises:
            Reverted: the view refused.
        """
        ...

    def anchor(self) -> AbstractContextManager[None]:
        """A context whose every effect on the chain, the clock included, is undone when it ends."""
        ...
