"""Deploying a market with everything around it, and driving it: one method per thing a user does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prorata.chain import Chain, Contract, Transaction
from prorata.orders import Order
from prorata.parameters import MarketParameters, VaultParameters

FEED_DECIMALS = 18
#: By the numbers that `MarketLens.mode` returns.
MODES = ("active", "reduce-only", "catch-up", "closed")
#: Bits of `CoreState.conditions`, as in `contracts/modules/modes.vy`.
LAGGING, SUSPECT, GUARDED, CLOSED = 1, 2, 4, 8
#: Enough for any test, far below what the contracts refuse.
FUNDS = 10**30


@dataclass(frozen=True)
class Addresses:
    """Where a deployment lives; what `ape run deploy` saves."""

    token: str
    feed: str
    vault: str
    trading: str
    market: str
    lens: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class AccountState:
    """A trader's account at the present mark: equity quote, shares 18 digits (0: flat), bucket by level and number."""

    equity: int
    side: int
    shares: int
    level: int
    bucket: int

    @property
    def edge(self) -> int:
        """Upper edge of the account's bucket, index units of 1e-36."""
        return (self.bucket + 1) << self.level


@dataclass(frozen=True)
class CoreState:
    """What concerns both sides, as `IPerpetualMarket.Core`: quote and prices 18 digits, times in seconds."""

    mark: int
    epoch: int
    insurance_owed: int
    conditions: int
    premium: int
    accrued_at: int
    limited_at: int
    reduce_only_until: int

    @property
    def lagging(self) -> bool:
        """The mark had not reached the index when it was last settled."""
        return bool(self.conditions & LAGGING)

    @property
    def suspect(self) -> bool:
        """The oracle was reported dead, and nobody has settled since."""
        return bool(self.conditions & SUSPECT)

    @property
    def guarded(self) -> bool:
        """The guardian made the market reduce-only."""
        return bool(self.conditions & GUARDED)

    @property
    def closed(self) -> bool:
        """The market was wound down."""
        return bool(self.conditions & CLOSED)


def mode_of(core: CoreState, index_price: int | None, now: int) -> str:
    """As `MarketLens.mode`, in words, of `MODES`.

    Args:
        index_price: 18 digits; None while the oracle's answer is refused.
        now: seconds.
    """
    if core.closed:
        return "closed"
    if core.lagging or index_price not in (None, core.mark):
        return "catch-up"
    return "reduce-only" if core.guarded or now < core.reduce_only_until else "active"


@dataclass(frozen=True)
class SideState:
    """A side: shares and scale 18 digits, index 36, open interest 18 digits rounded down."""

    shares: int
    scale: int
    index: int
    open_interest: int


@dataclass(frozen=True)
class RedeemRequestState:
    """Vault shares in the queue: what they were worth when requested (quote), and when their window opens (seconds)."""

    shares: int
    worth: int
    opens: int


class Exchange:
    """One market, its vault, token and price feed on a chain.

    Traders are numbers of the chain's test accounts. Prices, sizes and amounts are 18-digit integers; amounts must be
    whole token units. Every method may raise `prorata.chain.Reverted` with the contracts' reason.
    """

    def __init__(self, chain: Chain, addresses: Addresses, decimals: int) -> None:
        self.chain = chain
        self.addresses = addresses
        self.decimals = decimals
        self.token: Contract = chain.at("MockToken", addresses.token)
        self.feed: Contract = chain.at("MockAggregator", addresses.feed)
        self.vault: Contract = chain.at("InsuranceVault", addresses.vault)
        self.market: Contract = chain.at("PerpetualMarket", addresses.market)
        self.lens: Contract = chain.at("MarketLens", addresses.lens)
        #: What `order` puts as a maker's nonce, if not 0: whoever cancels all orders notes it here.
        self.nonces: dict[int, int] = {}
        self._salt = 0

    @classmethod
    def deploy(
        cls,
        chain: Chain,
        mark: int,
        parameters: MarketParameters | None = None,
        vault_parameters: VaultParameters | None = None,
        decimals: int = 18,
        token_contract: str = "MockToken",
    ) -> Exchange:
        """Deploy a market with everything it needs from test account 0.

        The vault is told the address that the market is going to have; the market checks it.

        Args:
            token_contract: name of the collateral token's contract; it has all functions of `MockToken`.
        """
        parameters, vault_parameters = (parameters or MarketParameters(), vault_parameters or VaultParameters())
        token = chain.deploy(token_contract, decimals)
        feed = chain.deploy("MockAggregator", FEED_DECIMALS, mark)
        trading = chain.deploy("TradingLogic", feed.address, parameters.as_tuple())
        market_address = chain.next_address(0, skip=1)
        vault = chain.deploy("InsuranceVault", token.address, market_address, *vault_parameters.as_tuple())
        market = chain.deploy(
            "PerpetualMarket",
            token.address,
            feed.address,
            vault.address,
            trading.address,
            parameters.as_tuple(),
        )
        lens = chain.deploy("MarketLens")
        addresses = Addresses(
            token=token.address,
            feed=feed.address,
            vault=vault.address,
            trading=trading.address,
            market=market.address,
            lens=lens.address,
        )
        return cls(chain, addresses, decimals)

    @property
    def unit(self) -> int:
        """Quote (18 digits) per token unit."""
        return int(10 ** (18 - self.decimals))

    def to_units(self, amount: int) -> int:
        """Quote as token units.

        Raises:
            ValueError: not whole.
        """
        units, rest = divmod(amount, self.unit)
        if rest:
            raise ValueError(f"{amount} is not a whole number of token units of {self.decimals} decimals")
        return units

    # ------------------------------------------------------------------------------------------------------- traders

    def fund(self, trader: int, spender: Contract | None = None) -> None:
        """Mint tokens to a trader and let the market (or another spender) take them."""
        address = self.chain.address(trader)
        self.chain.transact(self.token, "mint", address, FUNDS // self.unit, sender=0)
        self.approve(trader, spender or self.market)

    def approve(self, trader: int, spender: Contract) -> None:
        """Let a contract take a trader's tokens."""
        self.chain.transact(self.token, "approve", spender.address, 2**256 - 1, sender=trader)

    def deposit(self, trader: int, amount: int, to: int | None = None) -> Transaction:
        """Add collateral to a trader's account, or to another's."""
        receiver = self.chain.address(trader if to is None else to)
        return self.chain.transact(self.market, "deposit", self.to_units(amount), receiver, sender=trader)

    def withdraw(self, trader: int, amount: int) -> Transaction:
        """Take collateral out."""
        return self.chain.transact(self.market, "withdraw", self.to_units(amount), sender=trader)

    def order(self, maker: int, is_long: bool, size: int, price: int, **terms: Any) -> Order:
        """An order that nobody else has, open to anyone for a day unless `terms` say otherwise."""
        self._salt += 1
        terms = {
            "expiry": self.chain.now + 86_400,
            "salt": self._salt,
            "nonce": self.nonces.get(maker, 0),
            **terms,
        }
        return Order(self.chain.address(maker), is_long, size, price, **terms)

    def sign(self, maker: int, order: Order) -> bytes:
        """The maker's signature of an order for this market."""
        return order.sign(self.chain.key(maker), self.market.address, self.chain.chain_id)

    def digest(self, order: Order) -> bytes:
        """The order's EIP-712 digest: what its maker signs, and its name in `filled`."""
        return bytes(self.chain.call(self.lens, "hash_order", self.market.address, order.as_tuple()))

    def take(self, taker: int, order: Order, signature: bytes, size: int) -> Transaction:
        """Fill `size` of a signed order."""
        return self.chain.transact(self.market, "fill", order.as_tuple(), signature, size, sender=taker)

    def take_batch(self, taker: int, fills: Sequence[tuple[Order, bytes, int]]) -> Transaction:
        """Fill several orders at once: order, signature and size of each."""
        batch = [(order.as_tuple(), signature, size) for order, signature, size in fills]
        return self.chain.transact(self.market, "fill_batch", batch, sender=taker)

    def cancel(self, maker: int, order: Order) -> Transaction:
        """Withdraw an order for good."""
        return self.chain.transact(self.market, "cancel", order.as_tuple(), sender=maker)

    def liquidate(self, liquidator: int, owner: int, size: int = 2**256 - 1) -> Transaction:
        """Take over up to `size` of an account below maintenance margin."""
        return self.chain.transact(self.market, "liquidate", self.chain.address(owner), size, sender=liquidator)

    def trade(self, maker: int, taker: int, is_long: bool, size: int, price: int, **terms: Any) -> Transaction:
        """An order of exactly `size`, signed and filled at once; `is_long` is what the maker becomes."""
        order = self.order(maker, is_long, size, price, **terms)
        return self.take(taker, order, self.sign(maker, order), size)

    # -------------------------------------------------------------------------------------------------------- market

    def set_price(self, price: int) -> Transaction:
        """A new answer of the price feed."""
        return self.chain.transact(self.feed, "set_answer", price, sender=0)

    def set_round(self, answer: int, updated_at: int, round_id: int = 1, answered_in: int = 1) -> Transaction:
        """Any round of the price feed, plausible or not."""
        return self.chain.transact(self.feed, "set_round", round_id, answer, updated_at, answered_in, sender=0)

    def set_reduce_only(self, on: bool, guardian: int) -> Transaction:
        """The guardian's switch."""
        return self.chain.transact(self.market, "set_reduce_only", on, sender=guardian)

    def wind_down(self, caller: int = 0) -> Transaction:
        """Report a dead oracle, or close the market after the grace period."""
        return self.chain.transact(self.market, "wind_down", sender=caller)

    def settle(self, caller: int = 0) -> Transaction:
        """Bring the mark towards the index price."""
        return self.chain.transact(self.market, "settle", sender=caller)

    @property
    def mark(self) -> int:
        """Quote per size."""
        return int(self.chain.call(self.market, "mark"))

    @property
    def epoch(self) -> int:
        """How often both sides have started afresh."""
        return self.core.epoch

    @property
    def insurance_owed(self) -> int:
        """Quote that the market holds for the vault."""
        return int(self.chain.call(self.market, "insurance_owed"))

    @property
    def core(self) -> CoreState:
        """What concerns both sides."""
        return CoreState(*self.chain.call(self.market, "core"))

    @property
    def totals(self) -> tuple[int, int]:
        """What winners have gone without, quote: of their gains, and by being deleveraged at a lagging mark."""
        socialized, shortfall = (
            int(self.chain.call(self.market, name)) for name in ("total_socialized", "total_adl_shortfall")
        )
        return socialized, shortfall

    @property
    def mode(self) -> str:
        """ "active", "catch-up", "reduce-only" or "closed"."""
        return MODES[self.chain.call(self.lens, "mode", self.market.address)]

    def account(self, trader: int) -> AccountState:
        """A trader's account at the present mark."""
        return AccountState(*self.chain.call(self.market, "account", self.chain.address(trader)))

    def side(self, side: int) -> SideState:
        """Longs (0) or shorts (1)."""
        return SideState(*self.chain.call(self.market, "side", side))

    def preview(self, price: int) -> Sequence[int]:
        """The settlement of a move straight to `price`; fields as in `Receipt` from `gross` to `open_interest`."""
        return tuple(self.chain.call(self.market, "preview_settlement", price)[1])

    def preview_funding(self) -> Sequence[int]:
        """The funding that is due, as a settlement."""
        return tuple(self.chain.call(self.market, "preview_settlement", self.mark)[0])

    def token_balance(self, holder: Contract) -> int:
        """Quote."""
        return int(self.chain.call(self.token, "balanceOf", holder.address)) * self.unit

    # ----------------------------------------------------------------------------------------------------- insurance

    def insure(self, depositor: int, amount: int) -> Transaction:
        """Deposit into the insurance vault."""
        return self.chain.transact(
            self.vault, "deposit", self.to_units(amount), self.chain.address(depositor), sender=depositor
        )

    def request_redeem(self, depositor: int, shares: int) -> Transaction:
        """Put vault shares into the queue of redemptions; none, to renew the request."""
        address = self.chain.address(depositor)
        return self.chain.transact(self.vault, "requestRedeem", shares, address, address, sender=depositor)

    def cancel_redeem(self, depositor: int) -> Transaction:
        """Take all shares in the queue back."""
        return self.chain.transact(self.vault, "cancel_redeem_request", self.chain.address(depositor), sender=depositor)

    def redeem(self, depositor: int, shares: int) -> Transaction:
        """Redeem requested vault shares whose window is open."""
        address = self.chain.address(depositor)
        return self.chain.transact(self.vault, "redeem", shares, address, address, sender=depositor)

    def withdraw_insurance(self, depositor: int, amount: int) -> Transaction:
        """Redeem as many requested vault shares as bring `amount`."""
        address = self.chain.address(depositor)
        return self.chain.transact(self.vault, "withdraw", self.to_units(amount), address, address, sender=depositor)

    def redeem_request(self, depositor: int) -> RedeemRequestState:
        """What a depositor has in the queue, at whatever stage; all zero if nothing."""
        shares, worth, opens = self.chain.call(self.vault, "redeem_request", self.chain.address(depositor))
        return RedeemRequestState(shares, worth * self.unit, opens)

    def vault_shares(self, depositor: int) -> int:
        """Vault shares of a depositor, without those in the queue."""
        return int(self.chain.call(self.vault, "balanceOf", self.chain.address(depositor)))

    @property
    def vault_supply(self) -> int:
        """All vault shares."""
        return int(self.chain.call(self.vault, "totalSupply"))

    @property
    def vault_window(self) -> tuple[int, int, int]:
        """The window of draws: its start in seconds (0: none yet), the assets then and the draws since, quote."""
        start, assets, drawn = (
            int(self.chain.call(self.vault, name)) for name in ("window_start", "window_assets", "window_drawn")
        )
        return start, assets, drawn

    @property
    def vault_held(self) -> int:
        """Quote that the vault itself holds."""
        return int(self.chain.call(self.vault, "held")) * self.unit

    @property
    def vault_assets(self) -> int:
        """Quote that the vault's shares are worth together."""
        return int(self.chain.call(self.vault, "totalAssets")) * self.unit
