"""The contracts on whatever local network Ape is connected to: eth-tester (Ape's own), Anvil, Hardhat.

Ape gives the network, its node, the test accounts and the compiled contracts. Transactions go to the node through the
web3 of Ape's provider and not through `ContractInstance`: Ape would load a trace for each of them and ask a dozen
questions of the node, and its wording of an error depends on the node.

What is the same on the three, to the unit: addresses, gas, timestamps, events, revert reasons. For that

- every block gets an explicit timestamp, one second after the last block's unless time was advanced;
- gas limit and fees are constants, so nothing is estimated; a transaction is sent, and only if it failed is its reason
  asked for, by a call in the very block in which it failed: the same state, the same second. A call *before* sending
  would run in the previous second and could be wrong about a staleness check;
- views run on the latest block and see its timestamp, so `now`; after `advance` that is the time advanced to, because
  `advance` mines an empty block there.

eth-tester runs the Prague fork whatever the configuration says, the nodes the one it says, Cancun. What a transaction
costs differs between the two only where calldata outweighs execution by far (EIP-7623).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import ape
from ape.api import TestProviderAPI
from ape.exceptions import ProviderError
from ape_test.provider import LocalProvider
from eth_account import Account
from eth_account.datastructures import SignedTransaction
from eth_account.signers.local import LocalAccount
from eth_tester.exceptions import TransactionFailed
from eth_typing import BlockNumber
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import HTTPProvider
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import BlockIdentifier, FilterParams, LogReceipt, RPCEndpoint, TxParams, TxReceipt, Wei
from web3.utils import get_create_address

from prorata.abi import Interface, revert_reason
from prorata.chain import GENESIS, Contract, Entry, Head, Log, Reverted, Transaction, View

#: Gas limit of every transaction: what a transaction may use at most on Ethereum since Fusaka (EIP-7825).
TRANSACTION_GAS = 2**24
#: Gas limit of every view: what fits in a block on all three networks.
VIEW_GAS = 30_000_000
#: Fee cap, wei per gas. The base fee starts at 1 gwei on eth-tester and at 0 on the nodes, and falls while blocks are
#: less than half full; the tip is 0. So an account holds enough for any number of transactions.
MAX_FEE = 100 * 10**9

#: What the chain's methods raise when the node does not answer, or does not take a transaction that may be good later:
#: it is being restarted, or another process has used the account's nonce or the second.
OUTAGES = (OSError, Web3Exception, ProviderError)

_FEES: TxParams = {"maxFeePerGas": Wei(MAX_FEE), "maxPriorityFeePerGas": Wei(0)}
_RECEIPT_TIMEOUT = 120  # seconds
_RECEIPT_POLL = 0.001  # seconds; Anvil may answer before it has mined
_QUOTED_BYTES = re.compile(r"b['\"]")


@dataclass(frozen=True)
class ApeContract:
    """A deployed contract and its interface."""

    address: str
    interface: Interface


class ApeChain:
    """The network that Ape is connected to when this is made. See `prorata.chain.Chain` for the verbs.

    Several may be in use at once, each on its own network. It keeps no clock and no nonces of its own: they are the
    network's, so transactions may be sent past it too.

    Args:
        first_second: a younger chain is taken there, by an empty block; 0 leaves it alone, for whoever only reads.

    Raises:
        ValueError: the network is not a local one, so its clock cannot be set.
        ape.exceptions.ProviderNotConnectedError: Ape is not connected.
    """

    def __init__(self, first_second: int = GENESIS) -> None:
        provider = ape.networks.provider
        if not isinstance(provider, TestProviderAPI):
            raise ValueError(f"{provider.network_choice} is not a local network")
        self.network: str = provider.network_choice
        #: EIP-155 chain id: 31337 on the three networks, by ape-config.yaml.
        self.chain_id: int = provider.chain_id
        self._provider = provider
        self._web3 = provider.web3
        if isinstance(self._web3.provider, HTTPProvider):
            _remember_chain_id(self._web3.provider)
        self._contracts: dict[str, ApeContract] = {}
        if self.now < first_second:
            self.advance(first_second - self.now)

    @property
    def now(self) -> int:
        """Timestamp of the last block, seconds. GENESIS on a fresh network."""
        return self._web3.eth.get_block("latest")["timestamp"]

    @property
    def block(self) -> int:
        """Number of the last block."""
        return self._web3.eth.block_number

    @property
    def head(self) -> Head:
        """The last block."""
        block = self._web3.eth.get_block("latest")
        return Head(block["number"], block["hash"].to_0x_hex(), block["timestamp"])

    def block_hash(self, number: int) -> str | None:
        """Hash (0x-hex) of a block; None if the chain has none of that number."""
        try:
            return self._web3.eth.get_block(number)["hash"].to_0x_hex()
        except BlockNotFound:
            return None

    def logs(self, from_block: int, to_block: int) -> list[Log]:
        """Events of two blocks and all between, in order, of the contracts deployed or found through this chain.

        None of an empty range; blocks still to come are not waited for. A node may refuse a range that is too long, or
        one that holds too much: ask for pieces.
        """
        return self._decoded(self._raw_logs(from_block, to_block))

    def entries(self, from_block: int, to_block: int) -> list[Entry]:
        """The same events as `logs`, each with its block, second and transaction.

        Where a node does not state the second beside the event (Anvil does), every block is asked for its own.
        """
        seconds: dict[int, int] = {}
        found = []
        for raw in self._raw_logs(from_block, to_block):
            logs = self._decoded([raw])
            block = raw["blockNumber"]
            if logs and block not in seconds:
                stated: Any = raw.get("blockTimestamp")
                seconds[block] = self._web3.eth.get_block(block)["timestamp"] if stated is None else int(str(stated), 0)
            hashes = raw["transactionHash"].to_0x_hex(), raw["blockHash"].to_0x_hex()
            found += [Entry(block, seconds[block], hashes[0], log, hashes[1]) for log in logs]
        return found

    def _raw_logs(self, from_block: int, to_block: int) -> list[LogReceipt]:
        from_block, to_block = max(from_block, 0), min(to_block, self.block)
        if from_block > to_block or not self._contracts:
            return []
        addresses = [to_checksum_address(address) for address in self._contracts]
        wanted: FilterParams = {
            "fromBlock": BlockNumber(from_block),
            "toBlock": BlockNumber(to_block),
            "address": addresses,
        }
        return self._web3.eth.get_logs(wanted)

    def advance(self, seconds: int) -> None:
        """Mine an empty block `seconds` after the last one; the next transaction's is one second later.

        Raises:
            ValueError: negative seconds.
        """
        if seconds < 0:
            raise ValueError(f"cannot go back {-seconds} seconds")
        if seconds == 0:
            return
        timestamp = self.now + seconds
        if isinstance(self._provider, LocalProvider):
            # On eth-tester Ape moves the clock by mining an empty block in the second before the time it is asked for.
            self._provider.set_timestamp(timestamp + 1)
        else:
            self._provider.set_timestamp(timestamp)
            self._provider.mine()

    def key(self, index: int) -> str:
        """Private key (0x-hex) of a test account; as many are funded as `test.number_of_accounts` in ape-config.yaml.

        Raises:
            IndexError: not so many accounts.
        """
        return "0x" + _account(index).key.hex()

    def address(self, index: int) -> str:
        """Checksummed address of a test account.

        Raises:
            IndexError: not so many accounts.
        """
        return str(_account(index).address)

    def next_address(self, index: int, skip: int = 0) -> str:
        """Address of the contract that account `index` deploys next, or `skip` transactions later, refused ones too."""
        sender = _account(index).address
        return str(get_create_address(sender, self._provider.get_nonce(sender) + skip))

    def deploy(self, name: str, *arguments: Any, sender: int = 0) -> ApeContract:
        """Deploy a contract of this repository by its name. Structs are given as tuples.

        Raises:
            Reverted: the constructor refused; the deployer's nonce and the clock went on.
            LookupError: no contract of that name.
            eth_abi.exceptions.EncodingError: an argument does not fit its type; nothing was sent.
        """
        interface, code = _compiled(name)
        receipt, _ = self._send(sender, {"data": code + interface.constructor(arguments)})
        return self._register(str(receipt["contractAddress"]), interface)

    def at(self, name: str, address: str) -> ApeContract:
        """A contract of this repository that is deployed already.

        Raises:
            LookupError: no contract of that name.
        """
        interface, _ = _compiled(name)
        return self._register(address, interface)

    def transact(self, contract: Contract, function: str, *arguments: Any, sender: int) -> Transaction:
        """Send a transaction in the next second and mine it. Events of unknown contracts are left out.

        Raises:
            Reverted: the contracts refused; the sender's nonce and the clock went on.
            RuntimeError: the transaction used all its gas.
            KeyError: no such function, or a contract that was not deployed or found through this chain.
            eth_abi.exceptions.EncodingError: an argument does not fit its type; nothing was sent.
        """
        known = self._contracts[contract.address]
        data = known.interface.calldata(function, arguments)
        receipt, timestamp = self._send(sender, {"to": known.address, "data": data})
        return Transaction(gas=receipt["gasUsed"], logs=self._decoded(receipt["logs"]), timestamp=timestamp)

    def call(self, contract: Contract, function: str, *arguments: Any) -> Any:
        """Read a view in the last block, as account 0. Structs and arrays come back as tuples, integers as int.

        Raises:
            Reverted: the view refused.
            web3.exceptions.Web3RPCError: it needs more than VIEW_GAS, on Anvil; the others say Reverted.
            KeyError: no such function, or a contract that was not deployed or found through this chain.
            eth_abi.exceptions.EncodingError: an argument does not fit its type.
        """
        known = self._contracts[contract.address]
        data = known.interface.calldata(function, arguments)
        request: TxParams = {"from": _account(0).address, "to": known.address, "data": data, "gas": VIEW_GAS}
        return known.interface.result(function, self._eth_call({**request, **_FEES}, "latest"))

    def views(self, block: int, asked: Sequence[View]) -> list[Any]:
        """Read many views as they were after a block, in one request where the network takes requests.

        Raises:
            Reverted: one of them refused.
            the outages: the network does not know the block, or any longer what the views said then.
        """
        requests: list[TxParams] = []
        for contract, function, *arguments in asked:
            known = self._contracts[contract.address]
            data = known.interface.calldata(function, arguments)
            requests.append({"from": _account(0).address, "to": known.address, "data": data, "gas": VIEW_GAS, **_FEES})
        answers = self._eth_calls(requests, block)
        return [
            self._contracts[contract.address].interface.result(function, answer)
            for (contract, function, *_), answer in zip(asked, answers, strict=True)
        ]

    @contextmanager
    def anchor(self) -> Iterator[None]:
        """A context whose every effect on the chain, the clock included, is undone when it ends.

        Not Ape's `chain.isolate()`: that one swallows every exception raised inside it, failed assertions included, and
        files the snapshots of all networks under their chain id, which is the same for the three.

        Raises:
            RuntimeError: the network would not go back.
        """
        snapshot, now, contracts = self._provider.snapshot(), self.now, dict(self._contracts)
        try:
            yield
        finally:
            self._provider.restore(snapshot)
            self._contracts = contracts
            if self.now != now:
                raise RuntimeError(f"{self.network} went back to second {self.now} instead of {now}")

    def _send(self, sender: int, request: TxParams) -> tuple[TxReceipt, int]:
        """Sign, send and mine a transaction in the next second; its receipt and that second."""
        account = _account(sender)
        request = {**request, "from": account.address, "gas": TRANSACTION_GAS, **_FEES}
        nonce = self._provider.get_nonce(account.address)
        transaction: dict[str, Any] = {**request, "chainId": self.chain_id, "nonce": nonce}
        signed = account.sign_transaction(transaction)
        timestamp = self.now + 1
        self._provider.set_timestamp(timestamp)
        receipt = self._mined(signed)
        if receipt["status"] == 0:
            raise self._failure(request, receipt)
        return receipt, timestamp

    def _mined(self, signed: SignedTransaction) -> TxReceipt:
        """Send a transaction and wait for its receipt, whether it failed or not.

        Raises:
            web3.exceptions.Web3RPCError, eth_utils.ValidationError: the node would not have it.
        """
        try:
            self._web3.eth.send_raw_transaction(signed.raw_transaction)
        except Web3RPCError as refusal:
            # Hardhat also answers like this for a reverted transaction, after it has mined it.
            try:
                return self._web3.eth.get_transaction_receipt(signed.hash)
            except TransactionNotFound:
                raise refusal from None
        return self._web3.eth.wait_for_transaction_receipt(signed.hash, _RECEIPT_TIMEOUT, _RECEIPT_POLL)

    def _failure(self, request: TxParams, receipt: TxReceipt) -> Exception:
        """Why a mined transaction failed."""
        if receipt["gasUsed"] == TRANSACTION_GAS:
            return RuntimeError(f"the transaction used all its gas, {TRANSACTION_GAS}")
        try:
            self._eth_call(request, receipt["blockNumber"])
        except Reverted as refusal:
            return refusal
        return RuntimeError("the transaction failed and its replay did not")

    def _eth_call(self, request: TxParams, block: BlockIdentifier) -> bytes:
        try:
            return self._web3.eth.call(request, block)
        except (ContractLogicError, TransactionFailed) as error:
            raise Reverted(_reason(error)) from None

    def _eth_calls(self, requests: Sequence[TxParams], block: int) -> list[bytes]:
        if not isinstance(self._web3.provider, HTTPProvider) or len(requests) < 2:
            return [self._eth_call(request, block) for request in requests]
        try:
            with self._web3.batch_requests() as batch:
                for request in requests:
                    batch.add(self._web3.eth.call(request, block))
                answers: Any = batch.execute()
        except ContractLogicError as error:
            raise Reverted(_reason(error)) from None
        return list(answers)

    def _decoded(self, entries: Iterable[LogReceipt]) -> list[Log]:
        found = []
        for entry in entries:
            emitter = self._contracts.get(entry["address"])
            log = emitter.interface.log(emitter.address, entry["topics"], entry["data"]) if emitter else None
            if log is not None:
                found.append(log)
        return found

    def _register(self, address: str, interface: Interface) -> ApeContract:
        contract = ApeContract(to_checksum_address(address), interface)
        self._contracts[contract.address] = contract
        return contract


def _remember_chain_id(provider: HTTPProvider) -> None:
    """Without this web3 asks for the chain id twice before every call."""
    provider.cache_allowed_requests = True
    provider.cacheable_requests = {RPCEndpoint("eth_chainId")}


def _reason(error: ContractLogicError | TransactionFailed) -> str:
    """The revert string in what web3 raises for a node, or eth-tester by itself; empty if there was none."""
    if isinstance(error, TransactionFailed):
        # eth-tester gives words only: the revert string, or Python's way to write revert data that holds none.
        words = str(error).removeprefix("execution reverted: ")
        return "" if _QUOTED_BYTES.match(words) else words
    data = error.data["data"] if isinstance(error.data, dict) else error.data  # Hardhat wraps it
    return revert_reason(HexBytes(data or "0x"))


@cache
def _account(index: int) -> LocalAccount:
    return Account.from_key(ape.accounts.test_accounts[index].private_key)


@cache
def _compiled(name: str) -> tuple[Interface, bytes]:
    """Interface and creation code of a contract of this repository, as `ape compile` left them."""
    container = ape.project.get_contract(name)
    if container is None:
        raise LookupError(f"no contract is called {name}")
    contract_type = container.contract_type
    abi = contract_type.model_dump(mode="json", by_alias=True)["abi"]
    return Interface(abi), HexBytes(contract_type.get_deployment_bytecode())
