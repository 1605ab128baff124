"""Where attacks happen: a market with honest people and insurance in it, and a coalition that has money to lose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from prorata.chain import Chain, Contract, Transaction
from prorata.exchange import AccountState, Exchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.units import LONG, SHORT, WAD

#: Test accounts by what they are. Account 0 deploys, insures, speaks for the oracle and settles when nobody else does.
INSURER = 0
LONGS, SHORTS = (1, 2), (3, 4)
VICTIM, MAKER = 5, 6
COALITION = (7, 8, 9, 10)
#: From here on, accounts that the coalition may enlist.
FIRST_PUPPET = 20
HONEST = (*LONGS, *SHORTS, VICTIM, MAKER)

MARK = 1000 * WAD
#: What the honest have: each of LONGS and SHORTS this size, with this much collateral.
SIZE, COLLATERAL = 40 * WAD, 20_000 * WAD


@dataclass(frozen=True)
class Setting:
    """A market to attack.

    Attributes:
        insurance: of the honest insurer, quote, 18 digits.
        guardian: whether account 0 is the guardian.
    """

    name: str
    parameters: MarketParameters
    insurance: int = 20_000 * WAD
    vault: VaultParameters = field(default_factory=VaultParameters)
    decimals: int = 18


SETTINGS = {
    setting.name: setting
    for setting in (
        # Steps of half the mark: nothing but insurance stands between a gap and the winners.
        Setting("open", MarketParameters()),
        Setting("guarded", MarketParameters.guarded(cooloff=600)),
        # Steps wider than the close-out margin, funding, and a token of six digits.
        Setting(
            "loose",
            MarketParameters(max_price_step=WAD // 20, step_interval=60, max_funding=WAD // 100, fee_rate=WAD // 1000),
            insurance=2_000 * WAD,
            vault=VaultParameters(draw_cap=WAD * 9 // 10, redeem_cooldown=3600, redeem_window=7200),
            decimals=6,
        ),
    )
}


class Recorder:
    """A chain that notes what the coalition's transactions cost, and every receipt."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.forget()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def forget(self) -> None:
        """Begin anew."""
        self.gas = self.transactions = 0
        self.receipts: list[Receipt] = []

    def transact(self, contract: Any, function: str, *arguments: Any, sender: int) -> Transaction:
        """As the chain's."""
        done = self._chain.transact(contract, function, *arguments, sender=sender)
        if sender in COALITION:
            self.gas += done.gas
            self.transactions += 1
        self.receipts += receipts_in(done.logs)
        return done


@dataclass(frozen=True)
class Books:
    """What everybody has at one moment, quote, 18 digits: wallet, equity, and what vault shares are worth, less what a
    hedge outside has brought (see `World.say`).

    Attributes:
        traders: by test account, or the address of a contract of the coalition.
        insurance: what the vault's assets are worth to everybody who is not in `traders`.
    """

    traders: dict[int | str, int]
    insurance: int

    @property
    def coalition(self) -> int:
        """All its accounts and contracts together."""
        return sum(amount for one, amount in self.traders.items() if one not in HONEST)

    def payers(self, before: Books) -> dict[str, int]:
        """Who has less than before, and by how much; the honest by what they are."""
        lost = {"insurance": before.insurance - self.insurance}
        for name, members in (("longs", LONGS), ("shorts", SHORTS), ("victim", (VICTIM,)), ("maker", (MAKER,))):
            lost[name] = sum(before.traders[one] - self.traders[one] for one in members)
        return {name: amount for name, amount in lost.items() if amount > 0}


class World:
    """A market in a setting.

    Args:
        chain: nothing may have been deployed from its test account 0.
        token: contract of the collateral token.

    Attributes:
        exchange: the verbs. Everybody has tokens, and has let the market and the vault take them.
    """

    def __init__(self, chain: Chain, setting: Setting, token: str = "MockToken") -> None:
        self.setting = setting
        self.recorder = Recorder(chain)
        self.chain = cast(Chain, self.recorder)
        guarded = replace(setting.parameters, guardian=chain.address(INSURER))
        self.exchange = Exchange.deploy(self.chain, MARK, guarded, setting.vault, setting.decimals, token)
        self.parameters = guarded
        self.index_price, self._said_at = MARK, self.chain.now
        self.coalition: tuple[int, ...] = COALITION
        self._hedges: dict[int | str, int] = dict.fromkeys((*HONEST, *COALITION), 0)
        #: Sizes of the honest when the strike began, signed.
        self.sizes = dict.fromkeys(HONEST, 0)
        #: The largest part of each side that was the honest's when the price moved, 18 digits.
        self.honest_part = [0, 0]

    @classmethod
    def populated(cls, chain: Chain, setting: Setting, token: str = "MockToken") -> World:
        """With insurance, and longs and shorts of moderate leverage who trade with each other at the mark."""
        world = cls(chain, setting, token)
        for one in (INSURER, *HONEST, *COALITION):
            world.exchange.fund(one)
            world.exchange.approve(one, world.exchange.vault)
        if setting.insurance:
            world.exchange.insure(INSURER, setting.insurance)
        for one in (*LONGS, *SHORTS):
            world.exchange.deposit(one, COLLATERAL)
        for long, short in zip(LONGS, SHORTS, strict=True):
            world.exchange.trade(long, short, True, SIZE, MARK)
        return world

    def join(self, contract: Contract) -> None:
        """A contract is of the coalition from now on."""
        self._hedges[contract.address] = 0

    @property
    def gap_safe(self) -> bool:
        """Whether no move can make a deficit (design, S8)."""
        return bool(self.chain.call(self.exchange.lens, "is_gap_safe", self.exchange.market.address))

    @property
    def receipts(self) -> list[Receipt]:
        """Of all moves since the strike began."""
        return self.recorder.receipts

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Whatever is done within is undone; figures begin anew."""
        nonces, price, said_at, hedges = dict(self.exchange.nonces), self.index_price, self._said_at, self._hedges
        coalition = self.coalition
        self.recorder.forget()
        self._hedges = dict.fromkeys(hedges, 0)
        self.sizes = {one: self.size(one) for one in HONEST}
        self.honest_part = [0, 0]
        try:
            with self.recorder.anchor():
                yield
        finally:
            self.exchange.nonces, self.index_price, self._said_at, self._hedges = nonces, price, said_at, hedges
            self.coalition = coalition

    def enlist(self, count: int) -> range:
        """More accounts of the coalition's, with nothing in their wallets: they sign, COALITION pays and sends."""
        puppets = range(FIRST_PUPPET, FIRST_PUPPET + count)
        self.coalition = (*COALITION, *puppets)
        self._hedges |= dict.fromkeys(puppets, 0)
        return puppets

    # ------------------------------------------------------------------------------------------------------ the world

    def say(self, price: int) -> None:
        """The oracle says a price; nothing settles yet.

        Everybody is taken to be hedged elsewhere at the oracle's price: what a position gains as the price moves, its
        hedge loses. So a bet on the price is no profit, however well it goes; what is left is what one takes from
        another. Positions cancel out, so hedges cost all together nothing.
        """
        if price != self.index_price:
            sizes = {one: self.size(one) for one in self._hedges}
            for one, size in sizes.items():
                self._hedges[one] += size * (price - self.index_price) // WAD
            for side, sign in ((LONG, 1), (SHORT, -1)):
                of_side = {one: max(size * sign, 0) for one, size in sizes.items()}
                honest, total = sum(of_side[one] for one in HONEST), sum(of_side.values())
                self.honest_part[side] = max(self.honest_part[side], -(-honest * WAD // max(total, 1)))
        self.exchange.set_price(price)
        self.index_price, self._said_at = price, self.chain.now

    def settle(self, times: int = 400) -> None:
        """Somebody settles until the mark is there, as fast as the breaker allows."""
        for _ in range(times):
            if self.chain.now - self._said_at > self.parameters.max_staleness // 2:
                self.say(self.index_price)
            self.exchange.settle()
            core = self.exchange.core
            if not core.lagging:
                return
            waits = core.limited_at + self.parameters.step_interval - self.chain.now
            if waits > 1:
                self.wait(waits - 1)

    def move(self, price: int) -> None:
        """The oracle says a price, and the market gets there."""
        self.say(price)
        self.settle()

    def wait(self, seconds: int) -> None:
        """Time passes; the oracle repeats itself."""
        self.chain.advance(seconds)
        if self.chain.now - self._said_at > self.parameters.max_staleness // 2:
            self.say(self.index_price)

    # ------------------------------------------------------------------------------------------------------ reading

    @property
    def books(self) -> Books:
        """What everybody has at the present mark."""
        shares = sum(self._vault_worth(one) for one in self._hedges)
        return Books(
            traders={one: self.wealth(one) - hedge for one, hedge in self._hedges.items()},
            insurance=self.exchange.vault_assets - shares,
        )

    def wealth(self, one: int | str) -> int:
        """Wallet, equity, and vault shares wherever they are: quote, 18 digits."""
        wallet = int(self.chain.call(self.exchange.token, "balanceOf", self._address(one))) * self.exchange.unit
        return wallet + self._account(one).equity + self._vault_worth(one)

    def _address(self, one: int | str) -> str:
        return one if isinstance(one, str) else self.chain.address(one)

    def _account(self, one: int | str) -> AccountState:
        return AccountState(*self.chain.call(self.exchange.market, "account", self._address(one)))

    def _vault_worth(self, one: int | str) -> int:
        """Of all of a depositor's shares; those in the queue count at what they may still bring."""
        call, vault = self.chain.call, self.exchange.vault
        free = int(call(vault, "balanceOf", self._address(one)))
        queued = int(call(vault, "redeem_request", self._address(one))[0])
        assets = sum(int(call(vault, "convertToAssets", shares)) for shares in (free, queued) if shares)
        return assets * self.exchange.unit

    def size(self, one: int | str) -> int:
        """Of somebody's position, 18 digits, signed: longs positive."""
        account = self._account(one)
        size = account.shares * self.exchange.side(account.side).scale // WAD
        return size if account.side == LONG else -size

    def whole(self, amount: int) -> int:
        """Rounded down to whole token units."""
        return amount // self.exchange.unit * self.exchange.unit

    def leave(self, one: int) -> int:
        """A flat account withdraws all it has; returns how much."""
        amount = self.whole(self.exchange.account(one).equity)
        if amount:
            self.exchange.withdraw(one, amount)
        return amount
