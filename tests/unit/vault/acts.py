"""What the tests of the vault do with it, and how they read it; amounts are token units and shares."""

from __future__ import annotations

from typing import Any

from prorata.chain import Transaction
from prorata.exchange import Exchange
from prorata.twin import Twin
from prorata.units import WAD

DEPOSITOR, SECOND, ATTACKER, ACCOMPLICE, LONG_TRADER, RICH, SURVIVOR, STRANGER = range(1, 9)
MARK = 1000 * WAD
OFFSET = 10**6  # virtual shares; beside one virtual token unit
COOLDOWN, WINDOW = 86_400, 172_800


# ---------------------------------------------------------------------------------------------------------- reading


def address(exchange: Exchange, trader: int) -> str:
    return exchange.chain.address(trader)


def call(exchange: Exchange, function: str, *arguments: Any) -> int:
    return int(exchange.chain.call(exchange.vault, function, *arguments))


def tokens(exchange: Exchange, trader: int) -> int:
    return int(exchange.chain.call(exchange.token, "balanceOf", address(exchange, trader)))


def shares(exchange: Exchange, trader: int) -> int:
    return call(exchange, "balanceOf", address(exchange, trader))


def request(exchange: Exchange, trader: int) -> tuple[int, int, int]:
    """Shares, token units they were worth, second at which the window opens."""
    found: tuple[int, int, int] = exchange.chain.call(exchange.vault, "redeem_request", address(exchange, trader))
    return found


def stages(exchange: Exchange, trader: int) -> tuple[int, int]:
    """Shares pending and claimable."""
    names = ("pendingRedeemRequest", "claimableRedeemRequest")
    pending, claimable = (call(exchange, name, 0, address(exchange, trader)) for name in names)
    return pending, claimable


def total(exchange: Exchange) -> tuple[int, int]:
    """Assets, counted from what is held and owed, and shares, the virtual ones included: a share's price."""
    assets = call(exchange, "held") + exchange.insurance_owed // exchange.unit
    assert assets == call(exchange, "totalAssets")
    return assets + 1, call(exchange, "totalSupply") + OFFSET


def moved(transaction: Transaction) -> tuple[int, int]:
    """Assets and shares of the one entry or exit in a transaction."""
    (log,) = [log for log in transaction.logs if log.name in ("Deposit", "Withdraw")]
    return log.fields["assets"], log.fields["shares"]


# ----------------------------------------------------------------------------------------------------------- acting


def open_vault(exchange: Exchange, *depositors: int) -> Exchange:
    for depositor in depositors or (DEPOSITOR, SECOND, ATTACKER):
        exchange.approve(depositor, exchange.vault)
    return exchange


def send(
    exchange: Exchange, function: str, amount: int, trader: int, receiver: int | None = None, owner: int | None = None
) -> Transaction:
    """deposit, mint, requestRedeem, withdraw or redeem, of token units or shares, for oneself unless told otherwise.

    The receiver of a `requestRedeem` is its controller, the owner of a `withdraw` or `redeem` is.
    """
    parties = [address(exchange, trader if receiver is None else receiver)]
    if function in ("requestRedeem", "withdraw", "redeem"):
        parties.append(address(exchange, trader if owner is None else owner))
    return exchange.chain.transact(exchange.vault, function, amount, *parties, sender=trader)


def wait_until(exchange: Exchange, second: int) -> None:
    """The next transaction is mined in this second; the oracle has repeated its answer in the one before."""
    price = int(exchange.chain.call(exchange.feed, "latestRoundData")[1])
    exchange.chain.advance(second - exchange.chain.now - 2)
    exchange.set_price(price)
    assert exchange.chain.now == second - 1


def wait_both(market: Twin, second: int) -> None:
    """The same in both worlds."""
    market.exchange.chain.advance(second - market.exchange.chain.now - 2)
    market.set_price(market.index_price)
    assert market.exchange.chain.now == second - 1


def ripen(exchange: Exchange, trader: int) -> None:
    """Wait until the window of a trader's request is open."""
    wait_until(exchange, request(exchange, trader)[2] + 1)


def leave(exchange: Exchange, number: int, trader: int) -> int:
    """Request, wait, redeem; returns the token units."""
    send(exchange, "requestRedeem", number, trader)
    ripen(exchange, trader)
    return moved(send(exchange, "redeem", number, trader))[0]


def earn(exchange: Exchange, notional: int = 200_000 * WAD) -> None:
    """Fees of 1/1000 of a notional, paid by two accounts that trade with each other and stop again."""
    for trader in (ATTACKER, ACCOMPLICE):
        exchange.approve(trader, exchange.market)
        exchange.deposit(trader, notional // 10)
    size = notional * WAD // exchange.mark // 2
    exchange.trade(ATTACKER, ACCOMPLICE, True, size, exchange.mark)
    exchange.trade(ATTACKER, ACCOMPLICE, False, size, exchange.mark)


def odd_price(exchange: Exchange) -> Exchange:
    """A vault whose shares are worth no round amount."""
    open_vault(exchange)
    send(exchange, "deposit", 777_777_777, SECOND)
    earn(exchange, 123_450 * WAD)
    assets, supply = total(exchange)
    assert assets * OFFSET % supply and supply % assets
    return exchange


def leverage(exchange: Exchange, *collaterals: int, survivor: bool = True) -> None:
    """One long of a unit with each of these collaterals, and one that never fails, against RICH."""
    exchange.deposit(RICH, 10**6 * WAD)
    traders = (LONG_TRADER, STRANGER, DEPOSITOR)
    for trader, collateral in zip(traders, collaterals, strict=False):
        exchange.deposit(trader, collateral * WAD)
        exchange.trade(trader, RICH, True, WAD, MARK)
    if survivor:
        exchange.deposit(SURVIVOR, 5000 * WAD)
        exchange.trade(SURVIVOR, RICH, True, WAD, MARK)


def surplus(exchange: Exchange) -> None:
    """A long with 60 falls to 945: once settled, some 5 go to the vault."""
    leverage(exchange, 60)
    exchange.set_price(945 * WAD)


def loss(exchange: Exchange) -> None:
    """A long with 60 falls to 900: once settled, some 40 are paid by the vault."""
    leverage(exchange, 60)
    exchange.set_price(900 * WAD)


def hold(exchange: Exchange) -> None:
    """Nothing happens."""


#: What becomes of the price of a share, not settled yet.
NEWS = {"surplus": surplus, "loss": loss, "nothing": hold}
#: Answers of the oracle that are refused, relative to the second they are refused in.
REFUSED_PRICES = [
    ("oracle: non-positive answer", 5, 0, 0, 5),
    ("oracle: incomplete round", 5, MARK, 0, 4),
    ("oracle: future-dated", 5, MARK, 10, 5),
    ("oracle: stale", 5, MARK, -3601, 5),
    ("oracle: price out of range", 5, 2**90, 0, 5),
    ("oracle: price out of range", 5, 1, 0, 5),
]


def answer(exchange: Exchange, round_id: int, price: int, delay: int, answered_in: int) -> None:
    """One of these answers."""
    updated_at = exchange.chain.now + 2 + delay
    exchange.chain.transact(exchange.feed, "set_round", round_id, price, updated_at, answered_in, sender=0)
