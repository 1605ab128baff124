"""Collateral that turns against the market, at every function that moves it: a clear refusal or an exact behaviour,
nobody else the poorer, and when the token has come to its senses everybody leaves with what is his.

The tokens of a market are chosen by whoever deploys it. These were fine when they were chosen.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import pyrevm
import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.units import WAD
from tests.boundary.world import (
    DEPOSITOR,
    DRAWN,
    EVERYBODY,
    FALLEN,
    FUNDS,
    KEEPER,
    LOSER,
    MAKER,
    MARK,
    PAID_OUT,
    SITUATIONS,
    STRANGER,
    SWEPT,
    TAKEN_IN,
    TAKER,
    TRADER,
    TRADERS,
    VICTIM,
    HostileChain,
    Move,
    balance,
    chain_of,
    close_all,
    everybody_leaves,
    leave_vault,
    open_market,
    outcome,
    populate,
    refusals,
    refused,
    storage,
)

#: A token that does as it is told, and is an honest one until then. Everybody's allowance is without end.
TOKEN = """
# pragma version 0.4.3
event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

YES: constant(Bytes[96]) = x"0000000000000000000000000000000000000000000000000000000000000001"

decimals: public(uint8)
raw: HashMap[address, uint256]
factor: uint256
fee: uint256
gift: uint256
moves: bool
refusal: uint256
blocked: HashMap[address, bool]
answer: Bytes[96]
balance_answer: Bytes[96]

@deploy
def __init__(decimals_: uint8):
    self.decimals = decimals_
    self._recover()

@external
def recover():
    self._recover()

@internal
def _recover():
    self.factor = 10**18
    self.fee = 0
    self.gift = 0
    self.moves = True
    self.refusal = 0
    self.answer = YES
    self.balance_answer = b""

@external
def charge(fee: uint256):
    self.fee = fee

@external
def give(gift: uint256):
    self.gift = gift

@external
def pretend():
    self.moves = False

@external
def refuse(refusal: uint256):
    self.refusal = refusal

@external
def block(holder: address, is_blocked: bool):
    self.blocked[holder] = is_blocked

@external
def say(answer: Bytes[96]):
    self.answer = answer

@external
def say_balance(answer: Bytes[96]):
    self.balance_answer = answer

@external
def rebase(factor: uint256):
    self.factor = factor

@external
def upgrade(decimals_: uint8):
    self.decimals = decimals_

@external
def mint(owner: address, amount: uint256):
    self.raw[owner] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    return True

@internal
@view
def _balance(owner: address) -> uint256:
    return self.raw[owner] * self.factor // 10**18

@internal
def _move(owner: address, receiver: address, amount: uint256):
    if self.refusal == 1:
        raise "token: paused"
    if self.refusal == 2:
        raise  # says nothing
    if self.refusal == 3:
        assert self.factor == 0, UNREACHABLE  # takes all the gas there is
    assert not self.blocked[owner] and not self.blocked[receiver], "token: blocked"
    if self.moves:
        assert self._balance(owner) >= amount, "token: too little"
        self.raw[owner] -= amount * 10**18 // self.factor
        self.raw[receiver] += (amount - self.fee + self.gift) * 10**18 // self.factor
        log Transfer(sender=owner, receiver=receiver, amount=amount)

@external
@raw_return
def transfer(receiver: address, amount: uint256) -> Bytes[96]:
    self._move(msg.sender, receiver, amount)
    return self.answer

@external
@raw_return
def transferFrom(owner: address, receiver: address, amount: uint256) -> Bytes[96]:
    self._move(owner, receiver, amount)
    return self.answer

@external
@view
@raw_return
def balanceOf(owner: address) -> Bytes[96]:
    if len(self.balance_answer) > 0:
        return self.balance_answer
    return abi_encode(self._balance(owner))
"""

WORD_TRUE, WORD_FALSE = (number.to_bytes(32, "big") for number in (1, 0))
JUNK = b"\xa5" * 32
#: Orders to the token, and why every move of tokens is refused from then on.
REFUSALS: dict[str, tuple[str, list[Any], str]] = {
    "returns false": ("say", [WORD_FALSE], "token: transfer failed"),
    "returns false, and more": ("say", [WORD_FALSE + JUNK], "token: transfer failed"),
    "returns a number": ("say", [(7).to_bytes(32, "big")], ""),
    "returns true in dirty bits": ("say", [b"\x01" + bytes(30) + b"\x01"], ""),
    "returns a byte": ("say", [b"\x01"], ""),
    "returns 31 bytes": ("say", [WORD_TRUE[1:]], ""),
    "reverts": ("refuse", [1], "token: paused"),
    "reverts without a reason": ("refuse", [2], ""),
    "burns all gas": ("refuse", [3], ""),
}
#: Orders that a move of tokens does not mind.
ACCEPTED: dict[str, tuple[str, list[Any]]] = {
    "returns nothing": ("say", [b""]),
    "returns true, and more": ("say", [WORD_TRUE + JUNK]),
    "upgrades to 255 decimals": ("upgrade", [255]),
}
#: Orders by which what arrives is not what was sent.
SHORT_CHANGES: dict[str, tuple[str, list[Any]]] = {
    "takes a fee of a unit": ("charge", [1]),
    "takes all of it": ("charge", [5]),
    "gives a unit more": ("give", [1]),
    "only pretends": ("pretend", []),
}


def tell(exchange: Exchange, order: str, *arguments: Any) -> None:
    """An order to the token."""
    chain = chain_of(exchange)
    chain.transact(chain.hostile["MockToken"], order, *arguments, sender=0)


def weird(situation: str = "at rest", decimals: int = 18) -> Exchange:
    """A populated market whose token takes orders."""
    exchange = populate(open_market(HostileChain(MockToken=TOKEN), decimals))
    SITUATIONS[situation].prepare(exchange)
    return exchange


def total(exchange: Exchange) -> int:
    """Tokens of everybody and both contracts, quote."""
    held = sum(balance(exchange, person) for person in EVERYBODY)
    return held + exchange.token_balance(exchange.market) + exchange.token_balance(exchange.vault)


def recovered(exchange: Exchange) -> None:
    """The token is honest again: everybody leaves, and not a unit is lost or made."""
    tell(exchange, "recover")
    everybody_leaves(exchange)
    assert total(exchange) == len(EVERYBODY) * FUNDS


# --------------------------------------------------------------------------------------------------- what tokens return


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("misbehaviour", REFUSALS)
def test_a_token_that_fails_is_refused(misbehaviour: str, situation: str) -> None:
    exchange = weird(situation)
    order, arguments, reason = REFUSALS[misbehaviour]
    tell(exchange, order, *arguments)
    moves = SITUATIONS[situation].moves
    assert refusals(exchange, moves) == {move.name: reason for move in moves}
    recovered(exchange)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("misbehaviour", ACCEPTED)
def test_a_token_that_delivers_is_accepted(misbehaviour: str, situation: str) -> None:
    """Everybody has and is owed what an honest one leaves."""
    for move in SITUATIONS[situation].moves:
        exchange = weird(situation)
        order, arguments = ACCEPTED[misbehaviour]
        tell(exchange, order, *arguments)
        move.make(exchange)
        assert holdings(exchange) == undisturbed(situation, move)
        recovered(exchange)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_token_that_is_gone_is_refused(situation: str) -> None:
    """Calls to nothing succeed and do nothing; not these."""
    exchange = weird(situation)
    chain, token = chain_of(exchange), exchange.token.address
    code = chain.code(token)
    chain._evm.insert_account_info(token, pyrevm.AccountInfo(code=b""))
    moves = SITUATIONS[situation].moves
    assert refusals(exchange, moves) == {move.name: "" for move in moves}
    chain._evm.insert_account_info(token, pyrevm.AccountInfo(code=code))
    recovered(exchange)


@cache
def undisturbed(situation: str, move: Move) -> dict[str, Any]:
    """What there is after a move of an honest token, which was told something before that is no news."""
    exchange = weird(situation)
    tell(exchange, "recover")
    move.make(exchange)
    return holdings(exchange)


def holdings(exchange: Exchange) -> dict[str, Any]:
    """What the market and the vault owe to whom, and who has which tokens."""
    return {
        "accounts": [exchange.account(person) for person in EVERYBODY],
        "core": exchange.core,
        "vault": (exchange.vault_held, exchange.vault_supply, exchange.vault_window),
        "shares": [exchange.vault_shares(person) for person in EVERYBODY],
        "request": exchange.redeem_request(DEPOSITOR),
        "tokens": [balance(exchange, person) for person in EVERYBODY],
        "contracts": [exchange.token_balance(contract) for contract in (exchange.market, exchange.vault)],
    }


# -------------------------------------------------------------------------------------------------- what tokens deliver


@pytest.mark.parametrize("misbehaviour", SHORT_CHANGES)
def test_nothing_is_taken_in_that_did_not_arrive_to_the_unit(misbehaviour: str) -> None:
    exchange = weird()
    order, arguments = SHORT_CHANGES[misbehaviour]
    tell(exchange, order, *arguments)
    assert refusals(exchange, TAKEN_IN) == {move.name: "token: fee on transfer" for move in TAKEN_IN}
    recovered(exchange)


@pytest.mark.parametrize("misbehaviour", SHORT_CHANGES)
@pytest.mark.parametrize("move", PAID_OUT, ids=lambda move: move.name)
def test_what_does_not_arrive_is_missed_by_whoever_is_paid(move: Move, misbehaviour: str) -> None:
    """A payment counts as sent; market and vault keep their books, and owe nobody else a unit less or more."""
    receiver = move.payee
    assert isinstance(receiver, int)
    seen = []
    for misbehaves in (False, True):
        exchange = weird()
        chain = chain_of(exchange)
        order, arguments = SHORT_CHANGES[misbehaviour] if misbehaves else ("say", [WORD_TRUE])
        tell(exchange, order, *arguments)
        move.make(exchange)
        books = storage(chain)
        seen.append({place: value for place, value in books.items() if place[0] != exchange.token.address})
        at_rest = weird()
        for other in set(EVERYBODY) - {receiver}:
            assert balance(exchange, other) == balance(at_rest, other)
        tell(exchange, "recover")
        kept = 5 * WAD if misbehaves and misbehaviour == "only pretends" and move.payer == "market" else 0
        everybody_leaves(exchange, beside=kept)
    assert seen[0] == seen[1]


# ----------------------------------------------------------------------------------------------------------- blocklists


def block(exchange: Exchange, holder: int | str, is_blocked: bool) -> None:
    """Whether the token moves nothing from or to somebody; a contract is given by its name."""
    tell(exchange, "block", address_of(exchange, holder), is_blocked)


def address_of(exchange: Exchange, holder: int | str) -> str:
    if isinstance(holder, int):
        return exchange.chain.address(holder)
    return {"market": exchange.market, "vault": exchange.vault}[holder].address


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("blocked", ["market", "vault", TRADER, MAKER, TAKER, VICTIM, KEEPER, DEPOSITOR])
def test_a_blocked_holder_stops_the_moves_to_and_from_it_and_no_others(blocked: int | str, situation: str) -> None:
    """A trader stops nobody but himself. A blocked vault stops what needs its tokens: a settlement with a deficit that
    what it is owed does not cover."""
    moves = SITUATIONS[situation].moves
    exchange = weird(situation)
    block(exchange, blocked, True)
    before = storage(chain_of(exchange))
    for move in moves:
        own = blocked in touched(move)
        with exchange.chain.anchor():
            assert outcome(partial(move.make, exchange)) == ("token: blocked" if own else "done"), move.name
    assert storage(chain_of(exchange)) == before
    block(exchange, blocked, False)
    recovered(exchange)


def touched(move: Move) -> set[int | str]:
    """Everybody between whom a move's transaction moves tokens: those of a redemption or an entry beside a draw too."""
    parties = {move.payer, move.payee}
    if move in (*SWEPT, *DRAWN) and move.name.startswith(
        ("vault.redeem", "vault.withdraw", "vault.deposit", "vault.mint")
    ):
        parties.add(DEPOSITOR)
    if move.name == "market.withdraw, of a loss":
        parties.add(MAKER)
    return parties


def test_a_blocked_trader_is_settled_closed_and_liquidated_like_any_other() -> None:
    """None of it moves his tokens, and what is left of his collateral waits for him."""
    seen = []
    for is_blocked in (False, True):
        exchange = weird("after a fall")
        for trader in (MAKER, VICTIM, TAKER):
            block(exchange, trader, is_blocked)
        exchange.liquidate(KEEPER, VICTIM)
        exchange.trade(MAKER, TAKER, False, WAD, FALLEN)
        exchange.set_price(MARK)
        exchange.settle()
        seen.append(holdings(exchange))
    assert seen[0] == seen[1]
    with refused(chain_of(exchange), "token: blocked"):
        exchange.withdraw(MAKER, WAD)
    for trader in (MAKER, VICTIM, TAKER):
        block(exchange, trader, False)
    recovered(exchange)


def test_a_blocked_vault_leaves_open_what_does_not_need_its_tokens() -> None:
    """Deposits, flat exits and every settlement that it need not pay for; when the price is back, everything."""
    exchange = weird("after a fall")
    block(exchange, "vault", True)
    with refused(chain_of(exchange), "token: blocked"):
        exchange.settle()
    exchange.deposit(MAKER, WAD)
    exchange.withdraw(TRADER, WAD)
    exchange.set_price(990 * WAD)
    exchange.settle()
    exchange.trade(MAKER, TAKER, True, WAD, 990 * WAD)
    exchange.withdraw(MAKER, WAD)
    # What the vault is owed lies in the market, and is drawn without a transfer.
    exchange.set_price(MARK * 939 // 1000)
    exchange.settle()
    drawn = exchange.vault_window[2]
    assert 0 < drawn < 5 * WAD and exchange.account(LOSER).shares == 0
    block(exchange, "vault", False)
    recovered(exchange)


# ------------------------------------------------------------------------------------------------- balances that move


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("holder", ["market", "vault"])
def test_a_donation_changes_nothing_but_the_donor_s_and_the_holder_s_tokens(holder: str, situation: str) -> None:
    gift = 7 * WAD
    for move in SITUATIONS[situation].moves:
        exchange = weird(situation)
        exchange.chain.transact(exchange.token, "transfer", address_of(exchange, holder), gift, sender=0)
        move.make(exchange)
        found = holdings(exchange)
        found["tokens"][0] += gift
        found["contracts"][0 if holder == "market" else 1] -= gift
        assert found == undisturbed(situation, move)


def test_a_rebase_upwards_is_a_donation() -> None:
    """Whoever is in the market is owed what it was; the surplus is nobody's."""
    exchange = weird()
    owed = [exchange.account(person).equity for person in EVERYBODY]
    before = exchange.token_balance(exchange.market)
    tell(exchange, "rebase", 2 * WAD)
    assert exchange.token_balance(exchange.market) == 2 * before
    assert [exchange.account(person).equity for person in EVERYBODY] == owed
    exchange.settle()
    close_all(exchange)
    for trader in TRADERS:
        exchange.withdraw(trader, exchange.account(trader).equity)
    leave_vault(exchange)
    assert exchange.token_balance(exchange.market) >= before
    assert exchange.vault_supply == 0


def test_a_rebase_downwards_is_paid_by_whoever_comes_last() -> None:
    """Nothing can be done about it, and nothing is: everybody is paid in full until the tokens are gone, then refused
    in the token's own words, with what is owed kept."""
    exchange = weird()
    chain = chain_of(exchange)
    tell(exchange, "rebase", WAD // 2)
    close_all(exchange)
    owed = {trader: exchange.account(trader).equity for trader in TRADERS}
    there = exchange.token_balance(exchange.market)
    assert there < sum(owed.values())
    *first, last = sorted(TRADERS, key=lambda trader: owed[trader])
    for trader in first:
        exchange.withdraw(trader, owed[trader])
        there -= owed[trader]
    assert there == exchange.token_balance(exchange.market) < owed[last]
    with refused(chain, "token: too little"):
        exchange.withdraw(last, owed[last])
    exchange.withdraw(last, there)
    assert exchange.account(last).equity == owed[last] - there
    tell(exchange, "rebase", WAD)  # it takes back what it took: of what is left, which is nothing
    with refused(chain, "token: too little"):
        exchange.withdraw(last, owed[last] - there)
    # Tokens sent to the market make it whole.
    exchange.chain.transact(exchange.token, "transfer", exchange.market.address, owed[last], sender=0)
    exchange.withdraw(last, owed[last] - there)


@pytest.mark.parametrize("factor", [WAD // 2, WAD * 3 // 2], ids=["down", "up"])
def test_a_token_rebased_for_good_is_still_taken_to_the_unit(factor: int) -> None:
    exchange = weird(decimals=6)
    tell(exchange, "rebase", factor)
    before = exchange.account(TRADER).equity, exchange.token_balance(exchange.market)
    exchange.deposit(TRADER, 6 * WAD)
    assert exchange.account(TRADER).equity - before[0] == 6 * WAD
    assert exchange.token_balance(exchange.market) - before[1] == 6 * WAD


# ------------------------------------------------------------------------------------------------------- balances told


#: Answers of `balanceOf`, and why whatever takes tokens in is refused then.
LIES = {
    "nothing": (bytes(32), "token: fee on transfer"),
    "always the same": ((10**24).to_bytes(32, "big"), "token: fee on transfer"),
    "the largest number": ((2**256 - 1).to_bytes(32, "big"), ""),  # to which nothing can be added
    "a byte": (b"\x01", ""),
    "31 bytes": (bytes(31), ""),
    "two words": ((10**24).to_bytes(32, "big") + JUNK, "token: fee on transfer"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_balance_that_lies_shuts_the_way_in_and_between_market_and_vault(lie: str) -> None:
    """But not the way out of the market, nor out of a vault that has what it pays."""
    answer, reason = LIES[lie]
    exchange = weird()
    tell(exchange, "say_balance", answer)
    assert refusals(exchange, TAKEN_IN) == {move.name: reason for move in TAKEN_IN}
    for situation in SITUATIONS:
        honest = weird(situation)
        for move in SITUATIONS[situation].moves:
            if move not in TAKEN_IN:
                with honest.chain.anchor():
                    tell(honest, "say_balance", answer)
                    expected = reason if move in (*SWEPT, *DRAWN) else "done"
                    assert outcome(partial(move.make, honest)) == expected, move.name
                    tell(honest, "recover")
                    everybody_leaves(honest)
    recovered(exchange)


# -------------------------------------------------------------------------------------------------- decimals and bounds


@pytest.mark.parametrize("decimals", [0, 6])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_move_in_a_token_of_few_decimals(situation: str, decimals: int) -> None:
    for move in SITUATIONS[situation].moves:
        exchange = weird(situation, decimals)
        assert outcome(partial(move.make, exchange)) == "done"
        recovered(exchange)


@pytest.mark.parametrize("decimals", [19, 24, 27, 77, 78, 255])
def test_more_than_18_decimals_are_refused_when_the_vault_is_deployed(decimals: int) -> None:
    chain = HostileChain(MockToken=TOKEN)
    with pytest.raises(Reverted, match=r"^token: more than 18 decimals$"):
        open_market(chain, decimals)


@pytest.mark.parametrize("decimals", [0, 6, 18])
@pytest.mark.parametrize("contract", ["market", "vault"])
def test_a_holder_takes_no_more_than_can_be_counted(contract: str, decimals: int) -> None:
    """2**120 quote less a unit, then not a unit more, of a token of which there is as much as there can be. A fortune
    that is sent along shuts the way in, and nothing else."""
    exchange = populate(open_market(HostileChain(), decimals))
    chain, target = chain_of(exchange), {"market": exchange.market, "vault": exchange.vault}[contract]
    giver = chain.address(STRANGER)
    rest = 2**256 - 1 - chain.call(exchange.token, "totalSupply")
    chain.transact(exchange.token, "mint", giver, rest, sender=0)
    most = 2**120 // exchange.unit - 1 - exchange.token_balance(target) // exchange.unit
    for amount in (most + 1, 2**128):
        with refused(chain, "token: balance out of range"):
            chain.transact(target, "deposit", amount, giver, sender=STRANGER)
    with chain.anchor():
        chain.transact(target, "deposit", most, giver, sender=STRANGER)
        with refused(chain, "token: balance out of range"):
            chain.transact(target, "deposit", 1, giver, sender=STRANGER)
    chain.transact(exchange.token, "transfer", target.address, rest, sender=STRANGER)
    for move in TAKEN_IN:
        with chain.anchor():
            shut = "token: balance out of range" if move.payee == contract else "done"
            assert outcome(partial(move.make, exchange)) == shut, move.name
    everybody_leaves(exchange, beside=rest * exchange.unit if contract == "market" else 0)
