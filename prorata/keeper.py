"""A keeper: watches one market and liquidates for profit (design §6).

It finds accounts in the market's event log, settles when the mark lags the index, and takes over positions of accounts
below maintenance margin, as far as its own free collateral carries them. Everything it knows it has read from the
chain, so a new one started in its place knows the same: there is nothing to save.

It knows the market by its address alone and works on any `prorata.chain.Chain`. Its own arithmetic only chooses: the
market decides again, and whoever was faster costs the keeper a refused transaction and a line of text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from prorata.chain import Chain, Contract, Log, Reverted
from prorata.exchange import AccountState, CoreState, SideState, mode_of
from prorata.parameters import MarketParameters
from prorata.units import LONG, WAD

#: Blocks of events asked for at once; nodes refuse more than they like.
CHUNK = 2_000
#: Blocks read once more in every pass: a chain may replace its last ones.
OVERLAP = 12
#: Settlements of one pass. A stopped one closes buckets, so more than this are due only in a market of many thousands.
MAX_SETTLEMENTS = 64
#: Seconds between attempts to reach a node that does not answer: doubled each time up to the last.
FIRST_BACKOFF, LAST_BACKOFF = 1.0, 30.0
#: Collateral kept back so that roundings never decide about initial margin, quote.
_SLACK = 4
#: `accounts.DUST_PART`: sizes whose difference is worth less than this part of the smallest position are the same.
_DUST_PART = 10**6


class NoMarket(ValueError):
    """What stands at an address is not a market."""


@dataclass(frozen=True)
class Policy:
    """What a keeper may do.

    Attributes:
        account: number of the chain's account that pays and takes positions over.
        leverage: its own position is worth at most this multiple of its equity, 18 digits, and what initial margin
            allows.
        min_profit: the least reward it moves for, quote. Without any reward it never does.
        from_block: where it begins to read events; the market's deployment or earlier, to know everybody.
    """

    account: int = 1
    leverage: int = 5 * WAD
    min_profit: int = 0
    from_block: int = 0


@dataclass(frozen=True)
class View:
    """A market at one moment, and the keeper in it.

    Attributes:
        core: what concerns both sides.
        index_price: 18 digits; None while the oracle's answer is refused.
        refusal: why it is.
        sides: longs and shorts.
        own: the keeper's account.
        now: of the last block, seconds.
    """

    core: CoreState
    index_price: int | None
    refusal: str
    sides: tuple[SideState, SideState]
    own: AccountState
    now: int

    @property
    def lags(self) -> bool:
        """The mark is not where it should be, as far as is known."""
        return self.core.lagging or self.index_price not in (None, self.core.mark)

    @property
    def mode(self) -> str:
        """As `MarketLens.mode`, in words."""
        return mode_of(self.core, self.index_price, self.now)

    def size(self, account: AccountState) -> int:
        """Size of a position, 18 digits, rounded down as the market does."""
        return account.shares * self.sides[account.side].scale // WAD


@dataclass(frozen=True)
class Target:
    """An account below maintenance margin, and what the keeper would take of it.

    Attributes:
        owner: whose account.
        size: to take over, 18 digits; 0 if its own collateral carries nothing.
        reward: expected for that, quote.
    """

    owner: str
    size: int
    reward: int


@dataclass(frozen=True)
class Status:
    """What a pass found.

    Attributes:
        block: the last one.
        view: the market at the end of the pass.
        positions: accounts with a position, the keeper's own included.
        below: of them below maintenance margin, before the pass did anything about it.
        worthwhile: of them worth liquidating.
    """

    block: int
    view: View
    positions: int
    below: int
    worthwhile: int


@dataclass
class Summary:
    """What a keeper has done so far; the reward is quote, 18 digits."""

    passes: int = 0
    settlements: int = 0
    liquidations: int = 0
    reward: int = 0
    refused: int = 0
    outages: int = 0


class Keeper:
    """Watches the market at an address.

    Args:
        chain: where.
        market: its address.
        policy: what the keeper may do.
        say: takes one line for everything worth telling.
        outages: what the chain raises when it does not answer; such a pass is given up and tried again.

    Raises:
        NoMarket: there is none.
        IndexError: the chain has no such account.
    """

    def __init__(
        self,
        chain: Chain,
        market: str,
        policy: Policy,
        say: Callable[[str], None] = print,
        outages: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        self.chain = chain
        self.policy = policy
        self.summary = Summary()
        self.address = chain.address(policy.account)
        self.market: Contract = chain.at("PerpetualMarket", to_checksum_address(market))
        self.parameters = market_parameters(chain, self.market)
        self._say = say
        # A node that has come back without its past has no market to ask: nothing to decode.
        self._outages: tuple[type[Exception], ...] = (*outages, DecodingError)
        self._next = policy.from_block
        self._holders: dict[str, None] = {}
        self._refusal = ""

    # -------------------------------------------------------------------------------------------------------- passes

    def run(
        self,
        poll: float,
        passes: int | None = None,
        show: Callable[[Status], None] = lambda _status: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Summary:
        """Pass after pass, `poll` seconds apart, until there were as many as asked for; None: for ever.

        A node that does not answer is asked again later and later. A pass that it interrupted counts as one.
        """
        backoff = FIRST_BACKOFF
        while True:
            wait = poll
            try:
                show(self.one_pass())
                backoff = FIRST_BACKOFF
            except self._outages as error:
                self.summary.outages += 1
                wait, backoff = max(backoff, poll), min(2 * backoff, LAST_BACKOFF)
                self._say(f"the node does not answer ({brief(error)}); next attempt in {wait:g} s")
            self.summary.passes += 1
            if passes is not None and self.summary.passes >= passes:
                return self.summary
            sleep(wait)

    def one_pass(self) -> Status:
        """Read what is new, settle, liquidate whoever is worth it."""
        self._follow()
        view = self._catch_up()
        found = self._targets(view) if view.index_price is not None else []
        worthwhile = [target for target in found if self._is_worth_it(target)]
        for target in worthwhile:
            self._liquidate(target.owner)
        return Status(
            block=self.chain.block,
            view=self._look(),
            positions=len(self._holders),
            below=len(found),
            worthwhile=len(worthwhile),
        )

    @property
    def holders(self) -> Sequence[str]:
        """Everybody known to have had a position when last looked at."""
        return list(self._holders)

    # -------------------------------------------------------------------------------------------------------- reading

    def _follow(self) -> None:
        """Read the events since the last pass, and the last few before once more."""
        head = self.chain.block
        if head + 1 < self._next:
            self._say(f"the chain went back to block {head}; reading it anew")
            self._next = self.policy.from_block
            self._holders.clear()
        start = max(self._next - OVERLAP, self.policy.from_block)
        while start <= head:
            end = min(start + CHUNK - 1, head)
            for log in self.chain.logs(start, end):
                self._note(log)
            start = self._next = end + 1

    def _note(self, log: Log) -> None:
        """Keep count of who has a position. Whose bucket was closed shows when they are next looked at."""
        if log.address != self.market.address:
            return
        if log.name == "AccountUpdated":
            if log.fields["shares"]:
                self._holders[log.fields["account"]] = None
            else:
                self._holders.pop(log.fields["account"], None)
        elif log.name == "EpochEnded":
            self._holders.clear()

    def _look(self) -> View:
        index_price, refusal = None, ""
        try:
            index_price = int(self._call("index_price"))
        except Reverted as refused:
            refusal = refused.reason or "no answer"
        return View(
            core=CoreState(*self._call("core")),
            index_price=index_price,
            refusal=refusal,
            sides=(SideState(*self._call("side", 0)), SideState(*self._call("side", 1))),
            own=self._account(self.address),
            now=self.chain.now,
        )

    def _account(self, owner: str) -> AccountState:
        return AccountState(*self._call("account", owner))

    def _call(self, function: str, *arguments: object) -> Any:
        return self.chain.call(self.market, function, *arguments)

    # ------------------------------------------------------------------------------------------------------- settling

    def _catch_up(self) -> View:
        """Settle until the mark is the index, or as far as the oracle and the step interval allow; the view then."""
        view = self._look()
        for _ in range(MAX_SETTLEMENTS):
            self._tell_oracle(view)
            may_step = view.now + 1 >= view.core.limited_at + self.parameters.step_interval
            if view.index_price is None or not view.lags or not may_step:
                break
            if not self._send("settle"):
                break
            self.summary.settlements += 1
            before, view = view, self._look()
            self._say(f"settled: mark {shown(before.core.mark)} → {shown(view.core.mark)}")
        return view

    def _tell_oracle(self, view: View) -> None:
        """Say once when the oracle's answer begins to be refused, and once when it is taken again."""
        if view.refusal != self._refusal:
            self._refusal = view.refusal
            refused = f"the market refuses the price ({view.refusal}); nothing can be done"
            self._say(refused if view.refusal else "the market has a price again")

    # ---------------------------------------------------------------------------------------------------- liquidating

    def _targets(self, view: View) -> list[Target]:
        """Everybody below maintenance margin but the keeper, the highest reward first."""
        found = []
        for owner in list(self._holders):
            account = self._account(owner)
            if not account.shares:
                del self._holders[owner]
            elif owner != self.address and self._is_below(account, view):
                found.append(self._target(owner, account, view))
        return sorted(found, key=lambda target: target.reward, reverse=True)

    def _is_below(self, account: AccountState, view: View) -> bool:
        """At the mark; while it lags at the index too (design §6)."""
        size, mark = view.size(account), view.core.mark
        prices = {mark, view.index_price or mark} if view.lags else {mark}
        ratio = self.parameters.maintenance_margin
        return all(is_below(account.equity, account.side == LONG, size, mark, price, ratio) for price in prices)

    def _target(self, owner: str, account: AccountState, view: View) -> Target:
        """What to take of an account below maintenance margin."""
        p, mark, held = self.parameters, view.core.mark, view.size(account)
        limit = liquidable(account.equity, held, mark, p)
        own = view.size(view.own)
        if view.own.shares and view.own.side != account.side:
            own = -own
        ratio = max(p.initial_margin, -(-WAD * WAD // self.policy.leverage))
        size = takeable(limit, held, own, view.own.equity, ratio, mark, p.min_notional)
        return Target(owner, size, self._reward(account, size, held, view))

    def _reward(self, account: AccountState, size: int, held: int, view: View) -> int:
        """The liquidator's part of the fee, quote, as `TradingLogic.liquidate` takes it."""
        p, mark = self.parameters, view.core.mark
        shares = size * WAD // view.sides[account.side].scale
        if size + p.min_notional * WAD // (_DUST_PART * mark) >= held:
            shares = account.shares
        fee = _ceil(_ceil(size * mark, WAD) * p.liquidation_fee, WAD)
        return min(fee, account.equity * shares // account.shares) * p.liquidator_share // WAD

    def _is_worth_it(self, target: Target) -> bool:
        return target.size > 0 and target.reward >= max(self.policy.min_profit, 1)

    def _liquidate(self, owner: str) -> None:
        """Look once more, because the last liquidation has used collateral or somebody else was here; then send."""
        view, account = self._look(), self._account(owner)
        if view.index_price is None or not account.shares or not self._is_below(account, view):
            return
        target = self._target(owner, account, view)
        if not self._is_worth_it(target):
            return
        for log in self._send("liquidate", owner, target.size):
            if log.name == "Liquidated":
                reward, size = log.fields["reward"], log.fields["size"]
                self.summary.liquidations += 1
                self.summary.reward += reward
                self._say(f"liquidated {owner}: {shown(size)} at {shown(log.fields['mark'])}, reward {shown(reward)}")

    def _send(self, function: str, *arguments: object) -> Sequence[Log]:
        """The events of a transaction; none, and a line, if it was refused."""
        try:
            return self.chain.transact(self.market, function, *arguments, sender=self.policy.account).logs
        except Reverted as refused:
            reason = refused.reason or "no reason given"
        except RuntimeError as error:  # the chain could not tell why it failed
            reason = brief(error)
        self.summary.refused += 1
        whose = f" of {arguments[0]}" if arguments else ""
        self._say(f"{function}{whose} refused: {reason}")
        return ()


def market_parameters(chain: Chain, market: Contract) -> MarketParameters:
    """What the market's deployment fixed; asking for it also shows that there is one.

    Raises:
        NoMarket: something else is there, or nothing.
    """
    try:
        for name in ("TOKEN", "INSURANCE", "TRADING", "feed"):
            chain.call(market, name)
        return MarketParameters(*chain.call(market, "parameters"))
    except (Reverted, DecodingError):
        raise NoMarket(f"no market at {market.address}") from None


# ------------------------------------------------------------------------------------- the market's own rules of margin


def is_below(equity: int, is_long: bool, size: int, mark: int, price: int, ratio: int) -> bool:
    """`margin._is_below`: whether a position would hold less than `ratio` of its notional at `price`."""
    moved = (price - mark) * size
    gain = (moved if is_long else -moved) // WAD
    return equity + gain < _ceil(_ceil(size * price, WAD) * ratio, WAD)


def liquidable(equity: int, size: int, mark: int, p: MarketParameters) -> int:
    """`margin._liquidable`: the most that may be taken over of a position below maintenance margin, 18 digits."""
    notional = _ceil(size * mark, WAD)
    if equity <= _ceil(notional * p.liquidation_fee, WAD):
        return size
    lacking = _ceil(notional * p.initial_margin, WAD) - equity
    limit = _ceil(lacking * WAD * WAD, (p.initial_margin - p.liquidation_fee) * mark)
    if limit >= size or (size - limit) * mark < p.min_notional * WAD:
        return size
    return limit


def takeable(limit: int, held: int, own: int, equity: int, ratio: int, mark: int, min_notional: int) -> int:
    """How much a keeper takes over: as much as it may and as its collateral carries, the reward not counted.

    Args:
        limit: what the market lets go, 18 digits.
        held: the position it is taken of.
        own: the keeper's position; negative if it is on the other side, so that taking over first closes it.
        equity: the keeper's, quote.
        ratio: equity over notional that its position must have afterwards, 18 digits.
        mark: quote per size.
        min_notional: the smallest position that may be left on either side, quote.

    Returns:
        Size, 18 digits; 0 if nothing will do.
    """
    carried = max(equity - _SLACK, 0) * WAD * WAD // (ratio * mark)
    # Closing a position of its own needs no margin.
    most = min(limit, max(carried - own, 0))
    smallest = _ceil(min_notional * WAD, mark) + 2

    def leaves_no_dust(size: int) -> bool:
        return all(left == 0 or left >= smallest for left in (held - size, abs(own + size)))

    choices = (most, held - smallest, -own, -own - smallest)
    return max((size for size in choices if 0 < size <= most and leaves_no_dust(size)), default=0)


def _ceil(x: int, y: int) -> int:
    return -(-x // y)


# ---------------------------------------------------------------------------------------------------------------- words


def shown(amount: int) -> str:
    """An 18-digit number for a line of text."""
    value = amount / WAD
    return f"{value:,.2f}" if abs(value) >= 1 or not value else f"{value:.4g}"


def brief(error: Exception) -> str:
    """The first line of what an exception says, not too long."""
    words = str(error).splitlines()
    return f"{type(error).__name__}: {words[0][:80]}" if words else type(error).__name__
