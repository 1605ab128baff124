"""Collateral tokens, the weird ones: what is accepted counts to the unit, everything else is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from prorata.boa_chain import BoaChain
from prorata.chain import Reverted
from prorata.embedded import EmbeddedContract

OWNER, RECEIVER = 1, 2
MAX_BALANCE = 2**120

SOURCE = """
from modules import tokens

@external
@view
def scale(token: address) -> uint256:
    return tokens._scale(token)

@external
def pull(token: address, owner: address, amount: uint256, scale: uint256):
    tokens._pull(token, owner, amount, scale)

@external
@view
def room(token: address, scale: uint256) -> uint256:
    return tokens._room(token, scale)

@external
def push(token: address, receiver: address, amount: uint256):
    tokens._push(token, receiver, amount)

@external
@view
def require_arrived(token: address, holder: address, expected: uint256):
    tokens._require_arrived(token, holder, expected)
"""

#: A token that everyone may spend from everyone; `RETURNS` and `RESULT` say what a transfer gives back.
TOKEN = """
decimals: public(immutable(uint8))
balanceOf: public(HashMap[address, uint256])
fee: public(uint256)
gift: public(uint256)
moves: public(bool)

@deploy
def __init__(decimals_: uint8):
    decimals = decimals_
    self.moves = True

@external
def mint(owner: address, amount: uint256):
    self.balanceOf[owner] += amount

@external
def misbehave(fee: uint256, gift: uint256, moves: bool):
    self.fee = fee
    self.gift = gift
    self.moves = moves

@internal
def _move(owner: address, receiver: address, amount: uint256):
    if self.moves:
        self.balanceOf[owner] -= amount
        self.balanceOf[receiver] += amount - self.fee + self.gift

@external
def transferFrom(owner: address, receiver: address, amount: uint256)RETURNS:
    self._move(owner, receiver, amount)
    RESULT

@external
def transfer(receiver: address, amount: uint256)RETURNS:
    self._move(msg.sender, receiver, amount)
    RESULT
"""
HONEST = TOKEN.replace("RETURNS", " -> bool").replace("RESULT", "return True")
SAYS_FALSE = TOKEN.replace("RETURNS", " -> bool").replace("RESULT", "return False")
SAYS_NOTHING = TOKEN.replace("RETURNS", "").replace("RESULT", "")
SAYS_SEVEN = TOKEN.replace("RETURNS", " -> uint256").replace("RESULT", "return 7")
RETURN_NOTHING = [pytest.param(HONEST, id="returns true"), pytest.param(SAYS_NOTHING, id="returns nothing")]

Refuses = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Purse:
    """The module, and one token in it. Amounts are token units."""

    chain: BoaChain
    contract: EmbeddedContract
    token: EmbeddedContract

    def scale(self) -> int:
        return int(self.chain.call(self.contract, "scale", self.token.address))

    def mint(self, owner: str, amount: int) -> None:
        self.chain.transact(self.token, "mint", owner, amount, sender=0)

    def misbehave(self, fee: int = 0, gift: int = 0, moves: bool = True) -> None:
        self.chain.transact(self.token, "misbehave", fee, gift, moves, sender=0)

    def pull(self, amount: int, scale: int = 1) -> None:
        owner = self.chain.address(OWNER)
        self.chain.transact(self.contract, "pull", self.token.address, owner, amount, scale, sender=0)

    def push(self, amount: int) -> None:
        self.chain.transact(self.contract, "push", self.token.address, self.chain.address(RECEIVER), amount, sender=0)

    def room(self, scale: int) -> int:
        return int(self.chain.call(self.contract, "room", self.token.address, scale))

    def balance(self, holder: str) -> int:
        return int(self.chain.call(self.token, "balanceOf", holder))


@pytest.fixture(scope="module")
def contract(chain: BoaChain) -> EmbeddedContract:
    return chain.deploy_source(SOURCE)


@pytest.fixture
def purse(chain: BoaChain, contract: EmbeddedContract) -> Iterator[Callable[..., Purse]]:
    """A purse for a token of some source and decimals; the owner has 1000 units, the contract 100."""

    def made(source: str = HONEST, decimals: int = 18) -> Purse:
        purse = Purse(chain, contract, chain.deploy_source(source, decimals))
        purse.mint(chain.address(OWNER), 1000)
        purse.mint(contract.address, 100)
        return purse

    with chain.anchor():
        yield made


class TestScale:
    @pytest.mark.parametrize(("decimals", "scale"), [(0, 10**18), (6, 10**12), (8, 10**10), (17, 10), (18, 1)])
    def test_quote_per_unit(self, purse: Callable[..., Purse], decimals: int, scale: int) -> None:
        assert purse(decimals=decimals).scale() == scale

    @pytest.mark.parametrize("decimals", [19, 24, 255])
    def test_more_than_18_decimals_are_refused(
        self, purse: Callable[..., Purse], refuses: Refuses, decimals: int
    ) -> None:
        with refuses("token: more than 18 decimals"):
            purse(decimals=decimals).scale()


class TestPull:
    @pytest.mark.parametrize("source", RETURN_NOTHING)
    def test_takes_exactly_the_amount(self, purse: Callable[..., Purse], source: str) -> None:
        made = purse(source)
        made.pull(30)
        assert made.balance(made.contract.address) == 130
        assert made.balance(made.chain.address(OWNER)) == 970

    def test_refuses_a_token_that_says_no(self, purse: Callable[..., Purse], refuses: Refuses) -> None:
        made = purse(SAYS_FALSE)
        with refuses("token: transfer failed"):
            made.pull(30)
        assert made.balance(made.contract.address) == 100

    def test_refuses_a_token_that_answers_gibberish(self, purse: Callable[..., Purse], refuses: Refuses) -> None:
        with refuses(""):
            purse(SAYS_SEVEN).pull(30)

    @pytest.mark.parametrize("source", RETURN_NOTHING)
    @pytest.mark.parametrize("fee", [1, 30])
    def test_refuses_a_fee_on_transfer(
        self, purse: Callable[..., Purse], refuses: Refuses, source: str, fee: int
    ) -> None:
        made = purse(source)
        made.misbehave(fee=fee)
        with refuses("token: fee on transfer"):
            made.pull(30)

    def test_refuses_a_token_that_only_pretends(self, purse: Callable[..., Purse], refuses: Refuses) -> None:
        made = purse()
        made.misbehave(moves=False)
        with refuses("token: fee on transfer"):
            made.pull(30)

    def test_refuses_a_token_that_gives_more(self, purse: Callable[..., Purse], refuses: Refuses) -> None:
        made = purse()
        made.misbehave(gift=1)
        with refuses("token: fee on transfer"):
            made.pull(30)

    def test_refuses_what_the_owner_has_not(self, purse: Callable[..., Purse]) -> None:
        made = purse()
        with pytest.raises(Reverted):
            made.pull(1001)
        made.pull(1000)

    def test_refuses_an_address_without_a_token(self, purse: Callable[..., Purse], refuses: Refuses) -> None:
        made = purse()
        nobody = EmbeddedContract(made.chain.address(5), made.token.interface)
        with refuses(""):
            Purse(made.chain, made.contract, nobody).pull(0)

    @pytest.mark.parametrize("decimals", [18, 6, 0])
    def test_no_holder_may_hold_more_than_the_market_can_count(
        self, purse: Callable[..., Purse], refuses: Refuses, decimals: int
    ) -> None:
        made, scale = purse(decimals=decimals), 10 ** (18 - decimals)
        limit = MAX_BALANCE // scale  # of units
        made.mint(made.chain.address(OWNER), limit)
        with refuses("token: balance out of range"):
            made.pull(limit - 100, scale)
        made.pull(limit - 101, scale)
        assert made.balance(made.contract.address) == limit - 1
        with refuses("token: balance out of range"):
            made.pull(1, scale)


class TestRoom:
    @pytest.mark.parametrize("decimals", [18, 6, 0])
    def test_is_what_may_still_be_pulled(self, purse: Callable[..., Purse], refuses: Refuses, decimals: int) -> None:
        made, scale = purse(decimals=decimals), 10 ** (18 - decimals)
        made.mint(made.chain.address(OWNER), MAX_BALANCE // scale)
        room = made.room(scale)
        with refuses("token: balance out of range"):
            made.pull(room + 1, scale)
        made.pull(room, scale)
        assert made.room(scale) == 0

    @pytest.mark.parametrize("sent", [1, MAX_BALANCE])
    def test_is_nothing_once_too_much_was_sent(self, purse: Callable[..., Purse], sent: int) -> None:
        made = purse()
        made.mint(made.contract.address, MAX_BALANCE - 101)
        made.mint(made.contract.address, sent)
        assert made.room(1) == 0


class TestPush:
    @pytest.mark.parametrize("source", RETURN_NOTHING)
    def test_sends_the_amount(self, purse: Callable[..., Purse], source: str) -> None:
        made = purse(source)
        made.push(100)
        assert made.balance(made.chain.address(RECEIVER)) == 100
        assert made.balance(made.contract.address) == 0

    def test_refuses_a_token_that_says_no(self, purse: Callable[..., Purse], refuses: Refuses) -> None:
        made = purse(SAYS_FALSE)
        with refuses("token: transfer failed"):
            made.push(30)
        assert made.balance(made.chain.address(RECEIVER)) == 0

    def test_refuses_more_than_there_is(self, purse: Callable[..., Purse]) -> None:
        made = purse()
        with pytest.raises(Reverted):
            made.push(101)


class TestArrived:
    """What market and vault send each other is counted on by whoever is sent it."""

    def test_the_balance_to_the_unit(self, purse: Callable[..., Purse]) -> None:
        made = purse()
        made.chain.call(made.contract, "require_arrived", made.token.address, made.chain.address(OWNER), 1000)

    @pytest.mark.parametrize("expected", [999, 1001])
    def test_not_a_unit_less_or_more(self, purse: Callable[..., Purse], refuses: Refuses, expected: int) -> None:
        made = purse()
        with refuses("token: fee on transfer"):
            made.chain.call(made.contract, "require_arrived", made.token.address, made.chain.address(OWNER), expected)


@pytest.mark.parametrize("decimals", [0, 6, 18])
def test_the_repository_s_own_token(chain: BoaChain, contract: EmbeddedContract, decimals: int) -> None:
    with chain.anchor():
        purse = Purse(chain, contract, chain.deploy("MockToken", decimals))
        purse.mint(chain.address(OWNER), 10)
        with pytest.raises(Reverted, match="allowance"):
            purse.pull(10, purse.scale())
        chain.transact(purse.token, "approve", contract.address, 10, sender=OWNER)
        purse.pull(10, purse.scale())
        purse.push(4)
        assert (purse.balance(contract.address), purse.balance(chain.address(RECEIVER))) == (6, 4)
