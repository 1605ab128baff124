"""Reentrancy, as a matrix: from every call that market and vault make to somebody else's code, into every external
function of market, vault and lens, by that code itself and through a trader's contract.

A row is a call from inside: something that a user does, and where in it foreign code runs. A column is a function of
the ABI. A cell says what becomes of the call: it is refused by the lock, or by name, or by the EVM, because it was
called statically; or it is a view, and gives the very answer of before or after. What a user did goes through in every
case as if nobody had interfered, to the slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from prorata.abi import ERROR_SELECTOR
from prorata.embedded import EmbeddedContract, compile_contract
from prorata.exchange import Exchange
from prorata.orders import Order
from prorata.twin import MAX_DUST
from prorata.units import WAD
from tests.boundary.surface import NO_PREVIEW, RESERVED, Function, endow, entries, rooms, surface
from tests.boundary.world import (
    COOLDOWN,
    DEPOSITOR,
    EVERYBODY,
    SITUATIONS,
    TAKER,
    TRADERS,
    Act,
    HostileChain,
    Storage,
    chain_of,
    close_all,
    index_of,
    open_market,
    outcome,
    populate,
    storage,
)

#: What all foreign code has in common: it makes a list of calls when it is called at the place it is armed for, and
#: goes on only if each of them ended as expected. Called statically it can remember nothing: that is all it can say.
STRIKER = """
# pragma version 0.4.3

struct Strike:
    target: address
    payload: Bytes[2048]
    ends: uint256  # 0: with one of these answers; 1: with a revert of this data; 2: without gas; 3: well;
    # 4: with a number from the first to the second
    comes_back: DynArray[bytes32, 3]  # hashes of it, or these numbers

ANSWERS: constant(uint256) = 0
REVERTS: constant(uint256) = 1
BURNS: constant(uint256) = 2
LIES_BETWEEN: constant(uint256) = 4
# A call that is refused costs less, one that writes in a static call all it was given.
LITTLE: constant(uint256) = 200_000
GIVEN: constant(uint256) = 3_000_000

strikes: DynArray[Strike, 128]
at: uint256
skips: uint256

@external
def arm(at: uint256, skips: uint256, strikes: DynArray[Strike, 128]):
    self.strikes = strikes
    self.at = at
    self.skips = skips

@external
@raw_return
def forward(target: address, payload: Bytes[2048]) -> Bytes[2048]:
    return raw_call(target, payload, max_outsize=2048)

@internal
def _are_as_expected() -> bool:
    # Called by itself, from one of the calls, it does nothing: those have little gas.
    if msg.gas < 10 * GIVEN:
        return True
    for strike: Strike in self.strikes:
        ended: bool = False
        answer: Bytes[2048] = b""
        left: uint256 = msg.gas
        ended, answer = raw_call(
            strike.target, strike.payload, gas=GIVEN, max_outsize=2048, revert_on_failure=False
        )
        spent: uint256 = left - msg.gas
        hash: bytes32 = keccak256(answer)
        if strike.ends == ANSWERS:
            if not ended or hash not in strike.comes_back:
                return False
        elif strike.ends == REVERTS:
            if ended or hash not in strike.comes_back or spent > LITTLE:
                return False
        elif strike.ends == BURNS:
            if ended or spent < GIVEN * 9 // 10:
                return False
        elif not ended:
            return False
        elif strike.ends == LIES_BETWEEN:
            low: uint256 = convert(strike.comes_back[0], uint256)
            high: uint256 = convert(strike.comes_back[1], uint256)
            number: uint256 = extract32(answer, 0, output_type=uint256)
            if number < low or number > high:
                return False
    return True

# Where it may write, it strikes once.
@internal
def _strike(at: uint256):
    if self.at == at:
        if self.skips > 0:
            self.skips -= 1
        else:
            self.at = 0
            assert self._are_as_expected(), "striker: not as expected"

@internal
def _strike_statically(at: uint256):
    if self.at == at:
        assert self._are_as_expected(), "striker: not as expected"
"""
TRANSFER, TRANSFER_FROM, BALANCE_OF, FEED, SIGNATURE = range(1, 6)
PLACES = {
    TRANSFER: "transfer",
    TRANSFER_FROM: "transferFrom",
    BALANCE_OF: "balanceOf",
    FEED: "latestRoundData",
    SIGNATURE: "isValidSignature",
}

#: Strikes after it has moved the tokens. Its allowances are without end.
TOKEN = (
    STRIKER
    + f"""
decimals: public(constant(uint8)) = 18
balances: HashMap[address, uint256]

@deploy
def __init__(decimals_: uint8):
    assert decimals_ == 18

@external
def mint(owner: address, amount: uint256):
    self.balances[owner] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    return True

@external
def balanceOf(owner: address) -> uint256:
    self._strike_statically({BALANCE_OF})
    return self.balances[owner]

@external
def transfer(to: address, amount: uint256) -> bool:
    self.balances[msg.sender] -= amount
    self.balances[to] += amount
    self._strike({TRANSFER})
    return True

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self.balances[owner] -= amount
    self.balances[to] += amount
    self._strike({TRANSFER_FROM})
    return True
"""
)

PRICE_FEED = (
    STRIKER
    + f"""
decimals: public(constant(uint8)) = 18
answer: int256
updated_at: uint256

@deploy
def __init__(decimals_: uint8, answer: int256):
    assert decimals_ == 18
    self.answer = answer
    self.updated_at = block.timestamp

@external
def set_answer(answer: int256):
    self.answer = answer
    self.updated_at = block.timestamp

@external
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    self._strike_statically({FEED})
    return 1, self.answer, self.updated_at, self.updated_at, 1
"""
)

MAKER_CONTRACT = (
    STRIKER
    + f"""
@external
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    self._strike_statically({SIGNATURE})
    return 0x1626ba7e
"""
)

#: What becomes of a call, if it is not refused by a name.
LOCKED, BURNT, ANSWERS, BETWEEN, MEANWHILE, FREE = "locked", "burnt", "answers", "between", "meanwhile", "free"

#: Of the vault, what needs no lock: its shares' own ERC-20 and the list of operators, of which nothing that market or
#: vault do half-way depends.
UNLOCKED = {f"vault.{name}" for name in ("transfer", "transferFrom", "approve", "permit", "setOperator")}
#: What never asks the market to settle, so a market at work is no hindrance.
UNSETTLED = {"vault.cancel_redeem_request"}
#: Views of the market that nothing changes within a call; every other is locked.
OPEN_VIEWS = {
    f"market.{name}"
    for name in (
        "index_price",
        "parameters",
        "feed",
        "TOKEN",
        "INSURANCE",
        "TRADING",
        "TOKEN_SCALE",
        "eip712Domain",
        # What winners have gone without, up to the settlement that is going on.
        "total_socialized",
        "total_adl_shortfall",
    )
}
#: Views of the vault and of the lens that ask the market something that is locked.
ASKING_VIEWS = {
    "vault.totalAssets",
    "vault.convertToShares",
    "vault.convertToAssets",
    "vault.maxDeposit",
    "vault.maxMint",
    "vault.maxRedeem",
    "vault.maxWithdraw",
    "vault.previewDeposit",
    "vault.previewMint",
    "lens.mode",
    "lens.position",
}


#: While the vault takes tokens in, its balance is that of after and its books are those of before: of all its views one
#: asks for both, the limit to minting, and is between what it was and what it will be.
HALF_WAY = "vault.maxMint"
#: When the vault asks whether what it swept has arrived, it has that, and has not yet paid what it swept it for: what
#: these say is true of neither end of the call. What shares are worth is.
MEANWHILE_VIEWS = {"vault.held", "vault.drawable", "vault.maxDeposit", "vault.maxMint"}


@dataclass(frozen=True)
class Row:
    """A call to foreign code: in which situation, by which act, at which place, and what is locked then.

    `skips` calls at the same place come first. A row that ends in a refusal anyway says in which.
    """

    situation: str
    name: str
    act: Act
    place: int
    locked: frozenset[str]
    skips: int = 0
    ends: str = "done"

    @property
    def is_static(self) -> bool:
        return self.place not in (TRANSFER, TRANSFER_FROM)

    @property
    def takes_in(self) -> bool:
        """Whether the vault is taking tokens in."""
        return self.locked == {"vault"} and self.place in (BALANCE_OF, TRANSFER_FROM) and not self.sweeps

    @property
    def sweeps(self) -> bool:
        """Whether the vault sees that a sweep has arrived."""
        return self.name.endswith("of everything") and self.place == BALANCE_OF

    def cell(self, function: Function) -> str:
        """What becomes of a call of this function from here: the one rule of the whole matrix."""
        name, room = function.name, function.name.split(".")[0]
        if name in NO_PREVIEW:
            return NO_PREVIEW[name]
        if function.is_view:
            reads = name in ASKING_VIEWS or (room == "market" and name not in OPEN_VIEWS)
            if name in MEANWHILE_VIEWS and self.sweeps:
                return MEANWHILE
            if name == HALF_WAY and self.takes_in:
                return BETWEEN
            return LOCKED if reads and "market" in self.locked else ANSWERS
        if name in RESERVED and not (name == "market.sweep" and ("market" in self.locked or self.is_static)):
            return RESERVED[name]
        if room in self.locked and name not in UNLOCKED:
            return LOCKED
        if self.is_static:
            return BURNT
        if room == "vault" and "market" in self.locked and name not in UNLOCKED | UNSETTLED:
            return LOCKED
        return FREE

    def __str__(self) -> str:
        return f"{self.name} > {PLACES[self.place]}" + (f" ({self.skips + 1})" if self.skips else "")


def rows() -> Iterator[Row]:
    """Every call of market and vault to code that is not theirs."""
    market, vault, both, none = (frozenset(names) for names in (["market"], ["vault"], ["market", "vault"], []))
    acts = {(situation, move.name): move.make for situation in SITUATIONS for move in SITUATIONS[situation].moves}

    def row(situation: str, name: str, *places: tuple[int, frozenset[str]], skips: int = 0) -> Iterator[Row]:
        for place, locked in places:
            yield Row(situation, name, acts[situation, name], place, locked, skips)

    rest, asked, fallen = SITUATIONS
    yield from row(rest, "market.deposit", (BALANCE_OF, market), (TRANSFER_FROM, market))
    yield from row(rest, "market.withdraw, flat", (TRANSFER, market))
    yield from row(rest, "market.withdraw, with a position", (FEED, market), (TRANSFER, market))
    for name in ("market.settle", "market.fill", "market.fill_batch", "market.liquidate", "market.withdraw, of a loss"):
        yield from row(fallen, name, (FEED, market), (BALANCE_OF, market), (TRANSFER, market))
    yield from row(fallen, "market.withdraw, of a loss", (TRANSFER, market), skips=1)
    for name in ("vault.deposit", "vault.mint"):
        yield from row(rest, name, (FEED, both), (BALANCE_OF, vault), (TRANSFER_FROM, vault))
        # Which balances are asked for in between: those of the draw, as below, then its own, as above.
        yield from row(fallen, f"{name}, before a loss", (FEED, both), (TRANSFER, both))
    yield from row(fallen, "vault.requestRedeem, before a loss", (FEED, both), (BALANCE_OF, both), (TRANSFER, both))
    for name in ("vault.redeem", "vault.withdraw"):
        yield from row(rest, name, (FEED, both), (TRANSFER, vault))
        yield from row(fallen, f"{name}, after a loss", (BALANCE_OF, both), (TRANSFER, both))
        yield from row(fallen, f"{name}, after a loss", (TRANSFER, vault), skips=1)
        yield from row(asked, f"{name}, of everything", (BALANCE_OF, vault), (TRANSFER, both))
        yield from row(asked, f"{name}, of everything", (TRANSFER, vault), skips=1)
    for name, fill in (("market.fill", by_fill), ("market.fill_batch", by_batch)):
        for situation in (rest, fallen):
            yield Row(situation, f"{name}, of its order, {situation}", fill, SIGNATURE, market)
    alive = "mode: oracle is alive"
    yield Row(rest, "market.wind_down", lambda x: x.wind_down(), FEED, market, ends=alive)
    # Called by whom it may concern, a view asks foreign code too, and nothing is locked.
    for name, place in (("maxDeposit", BALANCE_OF), ("maxMint", BALANCE_OF), ("previewDeposit", FEED)):
        yield Row(rest, f"vault.{name}", partial(read, room="vault", function=name), place, none)
    yield Row(rest, "market.index_price", partial(read, room="market", function="index_price"), FEED, none)


def read(exchange: Exchange, room: str, function: str) -> None:
    """A view, called in a transaction, about DEPOSITOR or a token where it asks for something."""
    arguments = {"maxDeposit": [exchange.chain.address(DEPOSITOR)], "maxMint": [exchange.chain.address(DEPOSITOR)]}
    given = arguments.get(function, [WAD] if function == "previewDeposit" else [])
    exchange.chain.transact(rooms(exchange)[room], function, *given, sender=0)


def by_fill(exchange: Exchange) -> None:
    """TAKER fills an order of the hostile maker."""
    exchange.take(TAKER, order_of(exchange), b"", WAD)


def by_batch(exchange: Exchange) -> None:
    exchange.take_batch(TAKER, [(order_of(exchange), b"", WAD)] * 2)


def order_of(exchange: Exchange) -> Order:
    maker = chain_of(exchange).hostile["attacker"]
    return Order(maker.address, True, 4 * WAD, index_of(exchange), expiry=2**40)


ROWS = list(rows())
#: Target, calldata, how it is to end, hashes of what may come back.
Strike = tuple[str, bytes, int, list[bytes]]


@dataclass(frozen=True)
class Stage:
    """A market before an act, and the two who call from inside: foreign code itself and a trader's contract."""

    exchange: Exchange
    attacker: EmbeddedContract
    trader: EmbeddedContract

    @property
    def chain(self) -> HostileChain:
        return chain_of(self.exchange)

    def surface(self, caller: EmbeddedContract) -> dict[str, Function]:
        order = Order(caller.address, True, 10 * WAD, index_of(self.exchange), expiry=2**41)
        return surface(self.exchange, caller.address, order)

    def strike(self, caller: EmbeddedContract, function: Function) -> tuple[str, bytes]:
        """Target and calldata: a trader's contract is told to hand it on."""
        if caller is self.attacker:
            return function.contract.address, function.payload
        return caller.address, caller.interface.calldata("forward", [function.contract.address, function.payload])

    def arm(self, row: Row, strikes: Sequence[Strike]) -> None:
        place = row.place if strikes else 0
        self.chain.transact(self.attacker, "arm", place, row.skips, strikes, sender=0)

    def state(self) -> tuple[Storage, list[int]]:
        """Every slot but those of the foreign code, and everybody's tokens."""
        self.chain.transact(self.attacker, "arm", 0, 0, [], sender=0)
        slots = {at: value for at, value in storage(self.chain).items() if at[0] != self.attacker.address}
        people = [self.chain.address(person) for person in EVERYBODY]
        contracts = [self.attacker, self.trader, self.exchange.market, self.exchange.vault]
        holders = people + [contract.address for contract in contracts]
        return slots, [self.chain.call(self.exchange.token, "balanceOf", holder) for holder in holders]


def stage(row: Row) -> Stage:
    """A market in which whoever is called at the row's place is hostile, the guardian, and rich."""
    role = {FEED: "MockAggregator", SIGNATURE: None}.get(row.place, "MockToken")
    sources = {"MockAggregator": PRICE_FEED, "MockToken": TOKEN}
    chain = HostileChain(**({role: sources[role]} if role else {}))
    maker = chain.deploy_source(MAKER_CONTRACT)
    # The hostile token or feed is deployed with the market, and its address is known before.
    guardian = maker.address if role is None else chain.next_address(0, skip=0 if role == "MockToken" else 1)
    exchange = open_market(chain, guardian=guardian)
    attacker = maker if role is None else chain.hostile[role]
    assert attacker.address == guardian
    chain.hostile["attacker"] = attacker
    trader = chain.deploy_source(MAKER_CONTRACT)
    populate(exchange)
    for caller in (attacker, trader):
        endow(exchange, caller.address)
        for spender in (exchange.market, exchange.vault):
            allow(exchange, caller, spender)
        ask = exchange.vault.interface.calldata("requestRedeem", [10**22, caller.address, caller.address])
        chain.transact(caller, "forward", exchange.vault.address, ask, sender=0)
    chain.advance(COOLDOWN)
    SITUATIONS[row.situation].prepare(exchange)
    return Stage(exchange, attacker, trader)


def allow(exchange: Exchange, owner: EmbeddedContract, spender: Any) -> None:
    payload = exchange.token.interface.calldata("approve", [spender.address, 2**256 - 1])
    exchange.chain.transact(owner, "forward", exchange.token.address, payload, sender=0)


def reverts(reason: str) -> bytes:
    """The data of a revert for this reason; none for the lock, which gives none."""
    return b"" if reason == LOCKED else ERROR_SELECTOR + encode(["string"], [reason])


def answers(at: Stage, views: Iterable[Function]) -> dict[str, bytes]:
    """What views answer now."""
    caller = at.chain.address(0)
    return {f.name: at.chain._run(caller, f.contract.address, f.payload, modifying=False)[0] for f in views}


def answers_along(at: Stage, row: Row, views: Sequence[Function]) -> list[dict[str, bytes]]:
    """What views answer before the act, after the settlement that it begins with, and after it."""
    found = [answers(at, views)]
    for act in (Exchange.settle, row.act):
        with at.chain.anchor():
            at.arm(row, [])
            outcome(partial(act, at.exchange))
            found.append(answers(at, views))
    return found


def cells(at: Stage, row: Row) -> list[tuple[str, Strike]]:
    """The whole row but for its free cells: each with the strike that expects what the rule says."""
    found: list[tuple[str, Strike]] = []
    for caller in (at.attacker, at.trader):
        functions = at.surface(caller).values()
        answered = answers_along(at, row, [one for one in functions if row.cell(one) in (ANSWERS, BETWEEN)])
        for function in functions:
            cell = row.cell(function)
            if cell == FREE:
                continue
            if cell == ANSWERS:
                ends, hashes = 0, [keccak(along[function.name]) for along in answered]
            elif cell == MEANWHILE:
                ends, hashes = 3, []
            elif cell == BETWEEN:
                ends, hashes = 4, sorted(along[function.name] for along in answered)[::2]
            else:
                ends, hashes = (2 if cell == BURNT else 1), [keccak(reverts(cell))]
            found.append((f"{function.name} by {callers(at, caller)}", (*at.strike(caller, function), ends, hashes)))
    return found


def callers(at: Stage, caller: EmbeddedContract) -> str:
    return "itself" if caller is at.attacker else "a trader"


def goes_through(at: Stage, row: Row, strikes: Sequence[Strike]) -> bool:
    """Whether the act ends as it should with these calls made from inside; it is undone."""
    with at.chain.anchor():
        at.arm(row, strikes)
        return outcome(partial(row.act, at.exchange)) == row.ends


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_call_from_inside_gets_nowhere(row: Row) -> None:
    at = stage(row)
    named = cells(at, row)
    assert len(named) > 100
    strikes = [strike for _, strike in named]
    half = len(strikes) // 2
    if not all(goes_through(at, row, part) for part in (strikes[:half], strikes[half:])):
        # One by one, to say which.
        assert [name for name, strike in named if not goes_through(at, row, [strike])] == []
    # A striker that were never called would be content with anything.
    target, payload, *_ = strikes[0]
    assert not goes_through(at, row, [(target, payload, 1, [keccak(b"never")])])

    seen = []
    for given in ([], strikes[:half], strikes[half:]):
        with at.chain.anchor():
            at.arm(row, given)
            assert outcome(partial(row.act, at.exchange)) == row.ends
            seen.append(at.state())
    assert seen[0] == seen[1] == seen[2]
    everybody_leaves_beside(at)


def everybody_leaves_beside(at: Stage) -> None:
    """All but the two attackers, whose money stays where it is."""
    held = [at.chain.call(at.exchange.market, "account", caller.address)[0] for caller in (at.attacker, at.trader)]
    at.arm(ROWS[0], [])
    at.exchange.set_price(index_of(at.exchange))
    at.exchange.settle()
    close_all(at.exchange)
    for trader in TRADERS:
        amount = at.exchange.account(trader).equity
        if amount:
            at.exchange.withdraw(trader, amount)
    owed = sum(held) + at.exchange.insurance_owed
    assert 0 <= at.exchange.token_balance(at.exchange.market) - owed <= MAX_DUST


def free_cells() -> Iterator[Any]:
    """Calls that are let in, by the rule: row and name of the function."""
    interfaces = {"market": "PerpetualMarket", "vault": "InsuranceVault"}
    for row in ROWS:
        for room, contract in interfaces.items():
            interface = compile_contract(contract)[0]
            for entry in entries(interface):
                is_view = entry["stateMutability"] in ("view", "pure")
                name = f"{room}.{entry['name']}"
                function = Function(name, EmbeddedContract("", interface), b"", is_view)
                if row.cell(function) == FREE:
                    yield pytest.param(row, name, id=f"{row} > {name}")


@lru_cache(maxsize=1)
def standing(row: Row) -> tuple[Stage, dict[str, Function]]:
    """The stage of a row for as long as its cells last, which all undo what they do, and what the attacker can call."""
    at = stage(row)
    return at, at.surface(at.attacker)


@pytest.mark.parametrize(("row", "name"), free_cells())
def test_a_call_that_is_let_in_is_a_call_made_right_after(row: Row, name: str) -> None:
    """Of shares and operators at any time, of the market while only the vault is at work: to the slot, as if it had
    come right after the act, in the same second, and refused if it would be refused then."""
    at, functions = standing(row)
    function = functions[name]
    with at.chain.anchor():
        at.arm(row, [])
        row.act(at.exchange)
        at.chain.advance(-1)
        forward = partial(
            at.chain.transact, at.attacker, "forward", function.contract.address, function.payload, sender=0
        )
        result = outcome(forward)
        alone = at.state()
    for ends in (1, 3):
        with at.chain.anchor():
            at.arm(row, [(*at.strike(at.attacker, function), ends, [keccak(reverts(result))])])
            is_as_alone = (ends == 3) == (result == "done")
            assert (outcome(partial(row.act, at.exchange)) == "done") == is_as_alone
            if is_as_alone:
                assert at.state() == alone


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("place", [TRANSFER, TRANSFER_FROM, BALANCE_OF, FEED], ids=PLACES.get)
def test_the_rows_are_all_the_calls_to_foreign_code(place: int, situation: str) -> None:
    """Whichever function of the ABI comes to such a place has a row for it: a new one that does fails here."""
    known = {(row.name.split(",")[0], row.place) for row in ROWS}
    at = stage(Row(situation, "", Exchange.settle, place, frozenset()))
    never: Strike = (at.attacker.address, b"", 1, [keccak(b"never")])
    reached = set()
    for name, function in at.surface(at.attacker).items():
        ends = []
        for strikes in ([], [never]):
            with at.chain.anchor():
                at.chain.transact(at.attacker, "arm", place if strikes else 0, 0, strikes, sender=0)
                call = (function.contract.address, function.payload)
                ends.append(outcome(partial(at.chain.transact, at.attacker, "forward", *call, sender=0)))
        if ends[0] != ends[1]:
            reached.add((name, place))
    assert reached <= known | {(name, place) for name in ALSO_ASK}
    if situation == "after a fall" and place == FEED:
        assert {name for name, _ in reached} >= {"market.settle", "market.fill", "vault.deposit", "market.wind_down"}


#: Asks the token as another with a row does.
ALSO_ASK = {
    "vault.previewMint",
    "vault.maxRedeem",
    "vault.maxWithdraw",
    "vault.maxDeposit",
    "vault.maxMint",
    "lens.mode",
}

#: Runs another's code in its own storage, at its own call, so that this code is called by itself.
DELEGATOR = """
# pragma version 0.4.3
@external
def run(target: address, payload: Bytes[2048]):
    raw_call(target, payload, is_delegate_call=True)

@external
def run_by_myself(target: address, payload: Bytes[2048]):
    raw_call(self, abi_encode(target, payload, method_id=method_id("run(address,bytes)")))
"""


@pytest.mark.parametrize("way", ["run", "run_by_myself"])
@pytest.mark.parametrize("situation", ["at rest", "all shares asked back"])
def test_code_borrowed_by_a_stranger_reaches_nothing_of_ours(situation: str, way: str) -> None:
    """The code of market, vault, lens and trading logic by a delegatecall, even where it takes the borrower for itself:
    `settle_to` is for the market alone, and this one is a market of nothing."""
    at = stage(Row(situation, "", Exchange.settle, SIGNATURE, frozenset()))
    borrower = at.chain.deploy_source(DELEGATOR)
    before = at.state()
    ends: dict[str, str] = {}
    for name, function in at.surface(borrower).items():
        codes = {name: function.contract.address}
        if name.startswith("market."):
            codes[f"trading {name}"] = at.exchange.addresses.trading
        for called, code in codes.items():
            ends[called] = outcome(partial(at.chain.transact, borrower, way, code, function.payload, sender=TAKER))
    slots, tokens = at.state()
    assert ({place: value for place, value in slots.items() if place[0] != borrower.address}, tokens) == before
    if way == "run":
        assert ends["market.settle_to"] == RESERVED["market.settle_to"]
    assert ends["vault.cover"] == RESERVED["vault.cover"]
    # It does run: a view answers, out of nothing.
    assert ends["market.mark"] == ends["vault.totalSupply"] == "done"
