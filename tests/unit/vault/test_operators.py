"""Who may act for whom, and which standards the vault says it keeps."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import xor

import pytest
from eth_utils.crypto import keccak

from prorata.abi import _type_of
from prorata.chain import Reverted
from prorata.embedded import compile_contract
from prorata.exchange import Exchange
from tests.unit.vault.acts import ATTACKER, DEPOSITOR, SECOND, STRANGER, address, open_vault

ExchangeFactory = Callable[..., Exchange]

SUPPORTED = {
    0x01FFC9A7: ["supportsInterface(bytes4)"],
    0x620EE8E4: [
        "requestRedeem(uint256,address,address)",
        "pendingRedeemRequest(uint256,address)",
        "claimableRedeemRequest(uint256,address)",
    ],
    0xE3BC4E65: ["setOperator(address,bool)", "isOperator(address,address)"],
    0x2F0A18C5: [
        "asset()",
        "convertToAssets(uint256)",
        "convertToShares(uint256)",
        "deposit(uint256,address)",
        "maxDeposit(address)",
        "maxMint(address)",
        "maxRedeem(address)",
        "maxWithdraw(address)",
        "mint(uint256,address)",
        "previewDeposit(uint256)",
        "previewMint(uint256)",
        "previewRedeem(uint256)",
        "previewWithdraw(uint256)",
        "redeem(uint256,address,address)",
        "share()",
        "totalAssets()",
        "withdraw(uint256,address,address)",
    ],
}
#: ERC-4626's own functions do not tell it from others; ERC-7540's deposit requests, and the invalid id of ERC-165.
UNSUPPORTED = [0xCE3BBE50, 0xFFFFFFFF, 0x00000000, 0x36372B07]


class TestOperators:
    def test_are_set_and_unset_by_the_controller(self, exchange_everywhere: ExchangeFactory) -> None:
        made = open_vault(exchange_everywhere())

        def is_operator(controller: int, operator: int) -> bool:
            return bool(made.chain.call(made.vault, "isOperator", address(made, controller), address(made, operator)))

        assert not is_operator(SECOND, STRANGER)
        for approved in (True, True, False, False, True):
            operator = address(made, STRANGER)
            (log,) = made.chain.transact(made.vault, "setOperator", operator, approved, sender=SECOND).logs
            assert (log.name, log.fields) == (
                "OperatorSet",
                {"controller": address(made, SECOND), "operator": operator, "approved": approved},
            )
            assert is_operator(SECOND, STRANGER) == approved
            for controller, other in ((STRANGER, SECOND), (SECOND, ATTACKER), (DEPOSITOR, STRANGER)):
                assert not is_operator(controller, other)

    def test_setting_one_answers_true(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        data = made.vault.interface.calldata("setOperator", [address(made, STRANGER), False])
        output, _ = made.chain._run(address(made, SECOND), made.vault.address, data, modifying=True)
        assert int.from_bytes(output) == 1

    @pytest.mark.parametrize(
        ("function", "arguments"),
        [("transferFrom", 3), ("deposit", 2), ("mint", 2)],
    )
    def test_may_not_move_shares_or_tokens_otherwise(
        self, exchange: ExchangeFactory, function: str, arguments: int
    ) -> None:
        """A request is all an operator can make of another's shares: not even a transfer of them."""
        made = open_vault(exchange(decimals=6), SECOND)
        made.insure(0, 10**18)
        made.chain.transact(made.vault, "setOperator", address(made, STRANGER), True, sender=0)
        values = [address(made, 0), address(made, STRANGER), 1] if arguments == 3 else [10**6, address(made, STRANGER)]
        with pytest.raises(Reverted, match=r"^erc20: insufficient allowance$"):
            made.chain.transact(made.vault, function, *values, sender=STRANGER)


class TestStandards:
    @pytest.mark.parametrize("interface_id", SUPPORTED, ids=hex)
    def test_an_id_is_that_of_its_functions_and_they_are_there(
        self, exchange: ExchangeFactory, interface_id: int
    ) -> None:
        selectors = [int.from_bytes(keccak(text=signature)[:4]) for signature in SUPPORTED[interface_id]]
        assert reduce(xor, selectors) == interface_id
        present = {
            f"{entry['name']}({','.join(map(_type_of, entry['inputs']))})"
            for entry in compile_contract("InsuranceVault")[0]._abi
            if entry["type"] == "function"
        }
        assert set(SUPPORTED[interface_id]) <= present
        made = exchange()
        assert made.chain.call(made.vault, "supportsInterface", interface_id.to_bytes(4)) is True

    @pytest.mark.parametrize("interface_id", UNSUPPORTED, ids=hex)
    def test_of_no_other(self, exchange: ExchangeFactory, interface_id: int) -> None:
        made = exchange()
        assert made.chain.call(made.vault, "supportsInterface", interface_id.to_bytes(4)) is False

    def test_the_share_is_the_vault(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        assert made.chain.call(made.vault, "share") == made.vault.address
