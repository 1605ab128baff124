"""A market of many people in which anything may be hostile, and what is asked of every refusal: its exact reason, and
not one slot of any contract changed. Amounts are quote, 18 digits, in whole tokens, which fit any token's decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from prorata.chain import Reverted
from prorata.embedded import EmbeddedContract
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.twin import MAX_DUST
from prorata.units import LONG, SHORT, WAD

MAKER, TAKER, TRADER, LOSER, VICTIM, KEEPER, DEPOSITOR, GUARDIAN, STRANGER = range(1, 10)
TRADERS = (MAKER, TAKER, TRADER, LOSER, VICTIM, KEEPER)
EVERYBODY = (0, *TRADERS, DEPOSITOR, GUARDIAN, STRANGER)
MARK = 1000 * WAD
#: Where LOSER has less than nothing and VICTIM is below maintenance, neither having been settled.
FALLEN = 850 * WAD
GRACE = 7200
COOLDOWN = 60
#: Of orders that are the same however often a test makes them.
SALT = 2**255
#: What everybody has been given, quote.
FUNDS = 10**6 * WAD

#: A contract's code in a journal: longer than any number of a slot.

Storage = dict[tuple[str, int], int]
Act = Callable[[Exchange], Any]


class HostileChain(RevmChain):
    """A chain on which sources of a test stand in for contracts of this repository, with the same constructor."""

    def __init__(self, **sources: str) -> None:
        super().__init__()
        self._sources = sources
        #: What stands in, by the name it took.
        self.hostile: dict[str, EmbeddedContract] = {}

    def deploy(self, name: str, *arguments: Any, sender: int = 0) -> EmbeddedContract:
        if name not in self._sources:
            return super().deploy(name, *arguments, sender=sender)
        self.hostile[name] = self.deploy_source(self._sources[name], *arguments)
        return self.hostile[name]


def chain_of(exchange: Exchange) -> HostileChain:
    chain = exchange.chain
    assert isinstance(chain, HostileChain)
    return chain


# ----------------------------------------------------------------------------------------------------------- the market


def open_market(chain: RevmChain, decimals: int = 18, mark: int = MARK, **parameters: Any) -> Exchange:
    """A market in which everybody has tokens and lets market and vault take them; nobody has entered yet."""
    given = {"guardian": chain.address(GUARDIAN), "oracle_grace": GRACE, **parameters}
    exchange = Exchange.deploy(
        chain, mark, MarketParameters(**given), VaultParameters(redeem_cooldown=COOLDOWN), decimals
    )
    for person in EVERYBODY:
        chain.transact(exchange.token, "mint", chain.address(person), exchange.to_units(FUNDS), sender=0)
        for spender in (exchange.market, exchange.vault):
            exchange.approve(person, spender)
    return exchange


def populate(exchange: Exchange) -> Exchange:
    """A market with everything in it.

    MAKER is long two units against TAKER, LOSER and VICTIM one each; TRADER and KEEPER have money and no position. The
    vault holds a thousand and is owed fees; a tenth of DEPOSITOR's shares is in a window that is open.
    """
    for trader, amount in ((MAKER, 10**4), (TAKER, 10**5), (TRADER, 1000), (LOSER, 61), (VICTIM, 166), (KEEPER, 10**4)):
        exchange.deposit(trader, amount * WAD)
    exchange.insure(DEPOSITOR, 1000 * WAD)
    for maker, size in ((MAKER, 2), (LOSER, 1), (VICTIM, 1)):
        exchange.trade(maker, TAKER, True, size * WAD, exchange.mark)
    exchange.request_redeem(DEPOSITOR, exchange.vault_shares(DEPOSITOR) // 10)
    exchange.chain.advance(COOLDOWN)
    return exchange


def fall(exchange: Exchange) -> None:
    """The next settlement has a deficit that insurance covers with tokens of the vault."""
    exchange.set_price(FALLEN)


# ------------------------------------------------------------------------------------------------------------- refusals


def storage(chain: RevmChain) -> Storage:
    """Every slot of every contract that is not zero."""
    return {
        (contract, slot): value for contract, slots in chain.storage().items() for slot, value in slots.items() if value
    }


def outcome(act: Callable[[], Any]) -> str:
    """The reason for which something was refused, or "done"."""
    try:
        act()
    except Reverted as refusal:
        return refusal.reason
    return "done"


@contextmanager
def refused(chain: RevmChain, reason: str) -> Iterator[None]:
    """What happens inside reverts for exactly this reason, and not one slot changes."""
    before = storage(chain)
    with pytest.raises(Reverted) as caught:
        yield
    assert caught.value.reason == reason
    assert storage(chain) == before


def refusals(exchange: Exchange, moves: Iterable[Move]) -> dict[str, str]:
    """Why each of these moves is refused; not one slot changes."""
    before = storage(chain_of(exchange))
    reasons = {move.name: outcome(partial(move.make, exchange)) for move in moves}
    assert storage(chain_of(exchange)) == before
    return reasons


# ------------------------------------------------------------------------------------------------------ moves of tokens


@dataclass(frozen=True)
class Move:
    """Something by which tokens move: from `payer` to `payee`, each one of `EVERYBODY` or a contract's name."""

    name: str
    make: Act
    payer: int | str
    payee: int | str


@dataclass(frozen=True)
class Situation:
    """What has happened to a populated market, and the moves that are possible then."""

    prepare: Act
    moves: tuple[Move, ...]


def _ask_for_all(exchange: Exchange) -> None:
    """All shares of the vault are asked back, so that what it holds does not suffice."""
    exchange.request_redeem(DEPOSITOR, exchange.vault_shares(DEPOSITOR))
    exchange.chain.advance(COOLDOWN)


def _nothing(exchange: Exchange) -> None:
    pass


def _redeem(exchange: Exchange) -> None:
    exchange.redeem(DEPOSITOR, exchange.redeem_request(DEPOSITOR).shares)


def _mint(exchange: Exchange) -> None:
    # A share is worth a millionth of a token unit, and a little more.
    shares = exchange.to_units(5 * WAD) * 10**6
    exchange.chain.transact(exchange.vault, "mint", shares, exchange.chain.address(DEPOSITOR), sender=DEPOSITOR)


def _fill_batch(exchange: Exchange) -> None:
    order = exchange.order(MAKER, True, 2 * WAD, FALLEN, salt=SALT)
    exchange.take_batch(TAKER, [(order, exchange.sign(MAKER, order), WAD)] * 2)


def _withdraw_everything(exchange: Exchange) -> None:
    exchange.withdraw_insurance(DEPOSITOR, exchange.redeem_request(DEPOSITOR).worth)


TAKEN_IN = (
    Move("market.deposit", lambda x: x.deposit(TRADER, 5 * WAD), TRADER, "market"),
    Move("market.deposit, for another", lambda x: x.deposit(TRADER, 5 * WAD, to=MAKER), TRADER, "market"),
    Move("vault.deposit", lambda x: x.insure(DEPOSITOR, 5 * WAD), DEPOSITOR, "vault"),
    Move("vault.mint", _mint, DEPOSITOR, "vault"),
)
PAID_OUT = (
    Move("market.withdraw, flat", lambda x: x.withdraw(TRADER, 5 * WAD), "market", TRADER),
    Move("market.withdraw, with a position", lambda x: x.withdraw(MAKER, 5 * WAD), "market", MAKER),
    Move("vault.redeem", _redeem, "vault", DEPOSITOR),
    Move("vault.withdraw", lambda x: x.withdraw_insurance(DEPOSITOR, 5 * WAD), "vault", DEPOSITOR),
)
DRAWN = (
    Move("market.settle", lambda x: x.settle(), "vault", "market"),
    Move("market.fill", lambda x: x.trade(MAKER, TAKER, True, WAD, FALLEN, salt=SALT), "vault", "market"),
    Move("market.fill_batch", _fill_batch, "vault", "market"),
    Move("market.liquidate", lambda x: x.liquidate(KEEPER, VICTIM), "vault", "market"),
    Move("market.withdraw, of a loss", lambda x: x.withdraw(MAKER, 5 * WAD), "vault", "market"),
    Move("vault.deposit, before a loss", lambda x: x.insure(DEPOSITOR, 5 * WAD), "vault", "market"),
    Move("vault.mint, before a loss", _mint, "vault", "market"),
    Move(
        "vault.requestRedeem, before a loss",
        lambda x: x.request_redeem(DEPOSITOR, x.to_units(WAD) * 10**6),
        "vault",
        "market",
    ),
    Move("vault.redeem, after a loss", _redeem, "vault", "market"),
    Move("vault.withdraw, after a loss", lambda x: x.withdraw_insurance(DEPOSITOR, 5 * WAD), "vault", "market"),
)
SWEPT = (
    Move("vault.redeem, of everything", _redeem, "market", "vault"),
    Move("vault.withdraw, of everything", _withdraw_everything, "market", "vault"),
)
SITUATIONS = {
    "at rest": Situation(_nothing, (*TAKEN_IN, *PAID_OUT)),
    "all shares asked back": Situation(_ask_for_all, SWEPT),
    "after a fall": Situation(fall, DRAWN),
}


# ---------------------------------------------------------------------------------------------------------- the way out


def close_all(exchange: Exchange) -> None:
    """Longs and shorts close against each other at the mark."""
    while True:
        longs, shorts = (holders(exchange, side) for side in (LONG, SHORT))
        if not longs or not shorts:
            assert longs == shorts == []
            return
        size = min(size_of(exchange, longs[0]), size_of(exchange, shorts[0]))
        exchange.trade(longs[0], shorts[0], False, size, exchange.mark)


def holders(exchange: Exchange, side: int) -> list[int]:
    """Traders with a position on a side."""
    accounts = {trader: exchange.account(trader) for trader in TRADERS}
    return [trader for trader, account in accounts.items() if account.shares and account.side == side]


def size_of(exchange: Exchange, trader: int) -> int:
    """Size of a position, 18 digits, rounded down."""
    account = exchange.account(trader)
    return account.shares * exchange.side(account.side).scale // WAD


def everybody_leaves(exchange: Exchange, beside: int = 0) -> None:
    """Every position is closed, every account withdrawn, every share redeemed; what is left is dust.

    Args:
        beside: tokens that were sent to the market and are nobody's, quote.
    """
    exchange.set_price(index_of(exchange))
    exchange.settle()
    while exchange.core.lagging:
        exchange.settle()
    close_all(exchange)
    take_all(exchange, beside)


def index_of(exchange: Exchange) -> int:
    """The last answer of the price feed, in its own decimals: 18 unless a test says otherwise."""
    return int(exchange.chain.call(exchange.feed, "latestRoundData")[1])


def take_all(exchange: Exchange, beside: int = 0) -> None:
    """Everybody, flat, takes everything; the vault's depositors too."""
    for trader in TRADERS:
        amount = exchange.account(trader).equity // exchange.unit * exchange.unit
        if amount:
            before = balance(exchange, trader)
            exchange.withdraw(trader, amount)
            assert balance(exchange, trader) - before == amount
        assert exchange.account(trader).equity < exchange.unit
    if exchange.vault_supply:
        leave_vault(exchange)
    dust = exchange.token_balance(exchange.market) - exchange.insurance_owed - beside
    assert 0 <= dust <= MAX_DUST + len(TRADERS) * exchange.unit


def leave_vault(exchange: Exchange) -> None:
    """DEPOSITOR, whose all shares are, asks for them and redeems them for what there is."""
    assets, before = exchange.vault_assets, balance(exchange, DEPOSITOR)
    exchange.request_redeem(DEPOSITOR, exchange.vault_shares(DEPOSITOR))
    exchange.chain.advance(COOLDOWN)
    exchange.redeem(DEPOSITOR, exchange.redeem_request(DEPOSITOR).shares)
    assert exchange.vault_supply == 0
    # Virtual shares keep less than a millionth, rounding no more than a token unit beside it.
    assert 0 <= assets - (balance(exchange, DEPOSITOR) - before) <= assets // 10**6 + exchange.unit


def balance(exchange: Exchange, person: int) -> int:
    """Tokens of a person, quote."""
    return int(exchange.chain.call(exchange.token, "balanceOf", exchange.chain.address(person))) * exchange.unit
