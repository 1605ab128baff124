"""titanoboa with gas: what a transaction costs, to the unit, where Ape's networks would take minutes to get there.

`prorata.profile.ProfiledChain` also says where the gas goes. What takes a thousand transactions to
prepare is prepared in pyrevm and taken over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from boa.util.abi import Address
from eth_utils.address import to_canonical_address

from prorata.boa_chain import BoaChain
from prorata.chain import Transaction
from prorata.embedded import EmbeddedContract
from prorata.revm_chain import RevmChain

_BASE = 21_000  # gas of an empty transaction


class MeteredChain(BoaChain):
    """Every transaction says what it cost, as on a network: cold access, calldata and refunds included. No anchors."""

    def __init__(self) -> None:
        super().__init__()
        self._env.evm.patch.chain_id = 31337  # as Ape's networks: the bytes of a signature are paid for
        self._refunded = 0
        #: Gas of the last transaction before refunds, so the least limit that could carry it.
        self.needed = 0

    @classmethod
    def after(cls, chain: RevmChain) -> MeteredChain:
        """The same state at the same second; contracts are to be looked up again by their addresses."""
        taken_over = cls()
        for address, slots in chain.storage().items():
            taken_over._env.set_code(Address(address), chain.code(address))
            for slot, value in slots.items():
                taken_over._env.set_storage(Address(address), slot, value)
        taken_over.advance(chain.now - taken_over.now)
        return taken_over

    def anchor(self) -> NoReturn:
        raise NotImplementedError("what a transaction finds cold and unchanged is no longer in the EVM's journal")

    def transact(self, contract: EmbeddedContract, function: str, *arguments: Any, sender: int) -> Transaction:
        transaction = super().transact(contract, function, *arguments, sender=sender)
        return replace(transaction, gas=self.needed - self._refunded)

    def _execute(self, sender: str, address: str, data: bytes, modifying: bool) -> Any:
        state = self._env.evm.vm.state
        # As in a transaction of its own: nothing is warm but its two ends, and every slot is as it was before.
        self._env.evm.reset_access_counters()
        state.lock_changes()
        for end in (sender, address):
            state.mark_address_warm(to_canonical_address(end))
        computation = super()._execute(sender, address, data, modifying)
        if modifying:
            calldata = sum(16 if byte else 4 for byte in data)
            self.needed = _BASE + calldata + computation.get_gas_used()
            self._refunded = min(computation.get_gas_refund(), self.needed // 5)  # EIP-3529
        return computation
