"""Signed orders used for what their maker did not sign, and contracts that call back in the middle.

A fill at another price than the mark pays one party at once, so an order on bad terms is money for whoever fills it:
most of these attackers want more of that than its maker has offered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

from prorata.attacks.attack import DUST, Attack, Knob, part
from prorata.attacks.vault import request
from prorata.attacks.world import COALITION, INSURER, MAKER, MARK, VICTIM, World
from prorata.chain import Contract, Reverted
from prorata.orders import Order
from prorata.units import WAD, ZERO_ADDRESS

TAKER, SECOND, THIRD, _ = COALITION
#: Of the group of signatures.
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

PRICE = Knob(0.951, 1.049)
SIZE = Knob(0.1, 20.0)
UNSIGNED = "order: invalid signature"


# ------------------------------------------------------------------------------------------------------------- helpers


def funded(world: World) -> None:
    """MAKER, VICTIM and the coalition have collateral for more than any of these fills."""
    for one in (MAKER, VICTIM, TAKER, SECOND):
        world.exchange.deposit(one, 1_000_000 * WAD)


def offer(world: World, size: float, price: float, **terms: Any) -> Order:
    """MAKER's order at a price that is good for its taker, however far from the mark."""
    return world.exchange.order(MAKER, price > 1, part(WAD, size), part(MARK, price), **terms)


def calldata(contract: Contract, function: str, *arguments: Any) -> bytes:
    """Of a call, for a contract that is going to make it."""
    return bytes(cast(Any, contract).interface.calldata(function, arguments))


def puppet(world: World) -> Contract:
    """A contract of the coalition that does what it is told, with no collateral yet."""
    made = world.chain.deploy("MockPuppet")
    world.join(made)
    return made


def tell(world: World, made: Contract, function: str, *arguments: Any) -> None:
    """Have it do something."""
    world.chain.transact(made, function, *arguments, sender=TAKER)


def have_call(world: World, made: Contract, target: Contract, function: str, *arguments: Any) -> None:
    """Have it call another contract."""
    tell(world, made, "forward", target.address, calldata(target, function, *arguments))


class _Signed(Attack):
    """MAKER has signed an order; somebody wants more of it than it says."""

    knobs: ClassVar = {"size": SIZE, "price": PRICE}

    def prepare(self, world: World) -> None:
        funded(world)


# ------------------------------------------------------------------------------------------------------ the same again


class ReplayedOrder(_Signed):
    """Fills an order, in one part or several, and then once more."""

    name = "replayed-order"
    title = "an order filled again"
    hope = "The difference to the mark, twice, by one signature."
    source = "SWC-121, missing protection against signature replay attacks"
    promise = "Nothing: what was filled is counted by the order's digest, however it was divided."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "parts": Knob(1, 4), "again": Knob(0.01, 1.0)}
    expects: ClassVar = ("order: over-filled",)

    def strike(self, world: World, **knobs: float) -> None:
        order, signature = self.abstain(world, **knobs)
        world.exchange.take(TAKER, order, signature, part(order.size, knobs["again"]))

    def abstain(self, world: World, **knobs: float) -> tuple[Order, bytes]:  # type: ignore[override]
        order = offer(world, knobs["size"], knobs["price"])
        signature = world.exchange.sign(MAKER, order)
        each = order.size // int(knobs["parts"])
        for _ in range(int(knobs["parts"]) - 1):
            world.exchange.take(TAKER, order, signature, each)
        world.exchange.take(TAKER, order, signature, order.size - each * (int(knobs["parts"]) - 1))
        return order, signature


class MalleableSignature(_Signed):
    """Fills an order once with each form of its signature."""

    name = "malleable-signature"
    title = "another form of the same signature"
    hope = "The market remembers signatures instead of what was signed."
    source = "OpenZeppelin advisory GHSA-4h98-2769-gh6h, ECDSA signature malleability (2022-08-10); SWC-117"
    promise = "Nothing: fills are counted by digest, which all forms share."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "form": Knob(0, 1)}
    expects: ClassVar = ("order: over-filled",)

    def strike(self, world: World, **knobs: float) -> None:
        order = offer(world, knobs["size"], knobs["price"])
        signature = world.exchange.sign(MAKER, order)
        form = (self.high, self.compact)[int(knobs["form"])]
        world.exchange.take(TAKER, order, signature, order.size)
        world.exchange.take(TAKER, order, form(signature), order.size)

    def abstain(self, world: World, **knobs: float) -> None:
        order = offer(world, knobs["size"], knobs["price"])
        world.exchange.take(TAKER, order, world.exchange.sign(MAKER, order), order.size)

    @staticmethod
    def high(signature: bytes) -> bytes:
        """With the other s, and the v that belongs to it."""
        s = _SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
        return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])

    @staticmethod
    def compact(signature: bytes) -> bytes:
        """Of 64 bytes (EIP-2098)."""
        return signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]


# ---------------------------------------------------------------------------------------------------- never signed so


class MutatedOrder(_Signed):
    """Changes one field of an order after its maker has signed it."""

    name = "mutated-order"
    title = "an order with one field changed"
    hope = "A field that the signature does not cover."
    source = "OpenSea on Wyvern 2.2, Horton Hears A Who! (2022-06-10): one signature for two readings of an order"
    promise = "Nothing: the digest is of all nine fields, each in a word of its own (EIP-712)."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "field": Knob(0, 8)}
    expects: ClassVar[Sequence[str]] = (UNSIGNED,)

    #: What was signed, and what the attacker makes of it, by the field that is changed.
    CHANGES: ClassVar[tuple[Callable[[World, Order], dict[str, Any]], ...]] = (
        lambda world, order: {"maker": world.chain.address(VICTIM)},
        lambda world, order: {"is_long": not order.is_long, "limit_price": 2 * MARK - order.limit_price},
        lambda world, order: {"size": order.size * 10},
        lambda world, order: {"limit_price": order.limit_price * (101 if order.is_long else 99) // 100},
        lambda world, order: {"expiry": order.expiry + 86_400},
        lambda world, order: {"salt": order.salt + 1},
        lambda world, order: {"nonce": order.nonce + 1},
        lambda world, order: {"reduce_only": False},
        lambda world, order: {"taker": ZERO_ADDRESS},
    )

    def strike(self, world: World, **knobs: float) -> None:
        victim = world.chain.address(VICTIM)
        order = offer(world, knobs["size"], knobs["price"], reduce_only=knobs["field"] == 7)
        order = replace(order, taker=victim if knobs["field"] == 8 else ZERO_ADDRESS)
        changed = replace(order, **self.CHANGES[int(knobs["field"])](world, order))
        world.exchange.take(TAKER, changed, world.exchange.sign(MAKER, order), changed.size)


class ForgedSignature(_Signed):
    """Fills an order that nobody signed, with what a careless check takes for a signature."""

    name = "forged-signature"
    title = "an order that nobody signed"
    hope = "An account without code is asked as a contract, or nonsense recovers to somebody."
    source = "0x Exchange v2.0 (2019-07-12): 0x04 was a valid signature of every account without code"
    promise = "Nothing: an account without code signs with its key or not at all, and the zero address is no maker."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "form": Knob(0, 5)}
    expects: ClassVar = (UNSIGNED, "ecdsa: invalid signature")

    def strike(self, world: World, **knobs: float) -> None:
        order = offer(world, knobs["size"], knobs["price"])
        forms = (b"", b"\x04", bytes(64), bytes(65), world.exchange.sign(TAKER, order), bytes(64) + b"\x1b")
        if knobs["form"] == 5:
            order = replace(order, maker=ZERO_ADDRESS)
        world.exchange.take(TAKER, order, forms[int(knobs["form"])], order.size)


class ForeignOrder(_Signed):
    """Fills an order here that its maker signed for another market, or for another chain."""

    name = "foreign-order"
    title = "an order of another market or chain"
    hope = "One signature is good wherever the same contracts run."
    source = "Omni bridge on EthereumPoW, replay with the old chain id (BlockSec, 2022-09-18)"
    promise = "Nothing: a digest is of one market on one chain, whose id is read anew if it has changed."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "where": Knob(0, 3)}
    expects: ClassVar[Sequence[str]] = (UNSIGNED,)

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        here, chain_id = exchange.market.address, world.chain.chain_id
        places = (
            (here, chain_id + 1),
            (here, 1),
            (exchange.addresses.trading, chain_id),  # whose code the market runs
            (exchange.vault.address, chain_id),
        )
        order = offer(world, knobs["size"], knobs["price"])
        signature = order.sign(world.chain.key(MAKER), *places[int(knobs["where"])])
        exchange.take(TAKER, order, signature, order.size)


class ReservedOrder(_Signed):
    """Sees an order that is reserved for another, and fills it first."""

    name = "reserved-order"
    title = "a fill by whom an order is not reserved for"
    hope = "Good terms that were meant for somebody else."
    source = "generalized front-running of pending transactions (Daian et al., Flash Boys 2.0, arXiv 1904.05234)"
    promise = "Nothing: an order that names its taker is filled by him alone, in a batch too."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "batch": Knob(0, 1)}
    expects: ClassVar = ("order: reserved for another",)

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        order = offer(world, knobs["size"], knobs["price"], taker=world.chain.address(VICTIM))
        signature = exchange.sign(MAKER, order)
        if knobs["batch"]:
            exchange.take_batch(TAKER, [(order, signature, order.size)])
        else:
            exchange.take(TAKER, order, signature, order.size)


# -------------------------------------------------------------------------------------------------- no longer meant so


class WithdrawnOrder(_Signed):
    """Fills an order that its maker has taken back: by name, by nonce, or by letting it expire."""

    name = "withdrawn-order"
    title = "a fill of an order taken back"
    hope = "Old signatures on terms that have become good."
    source = "OpenSea inactive listings (2022-01-24): old orders, out of sight and never cancelled, were filled"
    promise = "Nothing: cancelled, under the maker's least nonce and expired are looked at in every fill."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "way": Knob(0, 2)}
    expects: ClassVar = ("order: cancelled", "order: nonce too low", "order: expired")

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        order = offer(world, knobs["size"], knobs["price"], expiry=world.chain.now + 600)
        signature = exchange.sign(MAKER, order)
        if knobs["way"] == 0:
            exchange.cancel(MAKER, order)
        elif knobs["way"] == 1:
            exchange.chain.transact(exchange.market, "cancel_all", order.nonce + 1, sender=MAKER)
        else:
            world.wait(600)
        exchange.take(TAKER, order, signature, order.size)


class StaleQuote(Attack):
    """Fills a resting order at the old price after the oracle has moved, before its maker cancels."""

    name = "stale-quote"
    title = "a resting order picked off"
    hope = "The whole way that the price has gone since the order was signed."
    source = "OpenSea inactive listings (2022-01): cancellations were seen in the mempool and front-run by fills"
    promise = "A maker who does not cancel loses at most the price band: farther from the mark nothing is filled."
    knobs: ClassVar = {"size": SIZE, "move": Knob(0.85, 1.15)}
    expects: ClassVar = ("order: price outside band",)

    def prepare(self, world: World) -> None:
        funded(world)

    def strike(self, world: World, **knobs: float) -> None:
        order = world.exchange.order(MAKER, knobs["move"] < 1, part(WAD, knobs["size"]), MARK)
        signature = world.exchange.sign(MAKER, order)
        self.abstain(world, **knobs)
        world.exchange.take(TAKER, order, signature, order.size)

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, knobs["move"]))

    def bound(self, world: World, **knobs: float) -> int:
        notional = part(WAD, knobs["size"]) * world.exchange.mark // WAD
        return DUST + notional * world.parameters.price_band // WAD


class GhostFill(Attack):
    """Makes an order, and when somebody fills it, is first to see to it that the fill fails; unless it suits."""

    name = "ghost-fill"
    title = "an order taken back under its taker's hands"
    hope = "Trades that stand only when they have turned out well."
    source = "The Ghosts of Polymarket (arXiv 2606.16852, 2026-06-15): nonce bump, balance drain"
    promise = (
        "Nothing: a trade is matched where it is settled, so one that fails was none, for both. The maker has what any "
        "unfilled limit order has; the taker has lost his gas."
    )
    knobs: ClassVar = {"size": SIZE, "way": Knob(0, 2), "move": Knob(0.97, 1.03), "filled": Knob(0.0, 0.9)}

    def prepare(self, world: World) -> None:
        world.exchange.deposit(VICTIM, 1_000_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        order, signature = self.begin(world, **knobs)
        world.say(part(MARK, knobs["move"]))
        if knobs["way"] == 0:
            exchange.cancel(TAKER, order)
        elif knobs["way"] == 1:
            exchange.chain.transact(exchange.market, "cancel_all", order.nonce + 1, sender=TAKER)
        else:
            world.settle()
            spare = exchange.account(TAKER).equity - abs(world.size(TAKER)) * exchange.mark // WAD // 8
            exchange.withdraw(TAKER, world.whole(spare))
        try:
            exchange.take(VICTIM, order, signature, order.size - part(order.size, knobs["filled"]))
        except Reverted:
            world.settle()

    def abstain(self, world: World, **knobs: float) -> None:
        self.begin(world, **knobs)
        world.move(part(MARK, knobs["move"]))

    @staticmethod
    def begin(world: World, size: float, move: float, filled: float, **_: float) -> tuple[Order, bytes]:
        """An order, of which a part is filled already."""
        exchange = world.exchange
        exchange.deposit(TAKER, 100_000 * WAD)
        order = exchange.order(TAKER, move < 1, part(WAD, size), MARK)
        signature = exchange.sign(TAKER, order)
        if part(order.size, filled) * MARK // WAD > world.parameters.min_notional:
            exchange.take(VICTIM, order, signature, part(order.size, filled))
        return order, signature


class DustFills(_Signed):
    """Fills an order in parts so small that a fee, or what is paid for the price, may round to nothing."""

    name = "dust-fills"
    title = "an order filled wei by wei"
    hope = "No fee on anything, and every rounding in one direction."
    source = "0x contracts, issue 157, paying less fees by taking advantage of rounding errors (2017-08-11)"
    promise = "Nothing: fees are rounded up in every fill, and what one party pays for the price down for both."
    knobs: ClassVar = {"size": SIZE, "price": PRICE, "dust": Knob(1, 5000), "parts": Knob(1, 12)}

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        order = offer(world, knobs["size"], knobs["price"])
        signature = exchange.sign(MAKER, order)
        dust, parts = int(knobs["dust"]), int(knobs["parts"])
        exchange.take(TAKER, order, signature, order.size - parts * dust)
        for _ in range(parts):
            exchange.take(TAKER, order, signature, dust)
        world.settle()

    def abstain(self, world: World, **knobs: float) -> None:
        order = offer(world, knobs["size"], knobs["price"])
        world.exchange.take(TAKER, order, world.exchange.sign(MAKER, order), order.size)
        world.chain.advance(int(knobs["parts"]))  # a fill takes a second, and funding goes on
        world.settle()


# ----------------------------------------------------------------------------------------------------- two own accounts


class StrippedAccount(Attack):
    """Sells a weak account's position to its own other account at the band's worst price, and lets the price go on."""

    name = "stripped-account"
    title = "self-fills that move collateral out of a losing account"
    hope = "What is left of the position has no margin; somebody else pays for it."
    source = (
        "Hyperliquid ETH whale (2025-03-12): margin taken out to be liquidated; Mango (2022-10-11): own two accounts"
    )
    promise = (
        "Nothing where steps stay within the close-out margin: whoever reduces is no less healthy after the fill, its "
        "price included. Elsewhere what a step beyond that margin costs insurance and winners, as receipts state."
    )
    knobs: ClassVar = {
        "size": Knob(2, 60),
        "margin": Knob(0.06, 0.1),
        "fall": Knob(0.966, 0.995),
        "part": Knob(0.1, 0.9),
        "price": Knob(0.951, 0.999),
        "end": Knob(0.98, 0.995),
    }
    expects: ClassVar = ("margin: less healthy than before", "margin: not enough collateral", "margin: below initial")

    def strike(self, world: World, **knobs: float) -> None:
        self.open(world, **knobs)
        exchange = world.exchange
        size, price = part(int(knobs["size"]) * WAD, knobs["part"]), part(exchange.mark, knobs["price"])
        exchange.trade(TAKER, SECOND, False, size, price)
        world.move(part(exchange.mark, knobs["end"]))

    def abstain(self, world: World, **knobs: float) -> None:
        self.open(world, **knobs)
        world.move(part(world.exchange.mark, knobs["end"]))

    def bound(self, world: World, **knobs: float) -> int:
        missed = sum(one.adl_shortfall for one in world.receipts)
        beyond = sum(one.covered + one.socialized for one in world.receipts)
        return DUST + missed + (0 if world.gap_safe else beyond)

    @staticmethod
    def open(world: World, size: float, margin: float, fall: float, **_: float) -> None:
        """TAKER long and SECOND short with each other; after a fall TAKER is weak."""
        notional = int(size) * MARK
        world.exchange.deposit(TAKER, world.whole(part(notional, margin)))
        world.exchange.deposit(SECOND, 2 * notional)
        world.exchange.trade(TAKER, SECOND, True, int(size) * WAD, MARK)
        world.move(part(MARK, fall))


# ------------------------------------------------------------------------------------------------- contracts as makers


class TwoFacedMaker(Attack):
    """A contract signs two orders that are offered together, and denies the one that is bad for it."""

    name = "two-faced-maker"
    title = "an ERC-1271 maker that says yes, then no"
    hope = "Of a package only the half that is good for the maker is traded."
    source = "The Ghosts of Polymarket (arXiv 2606.16852, 2026-06-15), proxy trap; ERC-1271, security considerations"
    promise = "Nothing: a batch is all or none, and every signature is asked for before the first fill."
    knobs: ClassVar = {"size": SIZE, "good": Knob(1.0, 1.04), "bad": Knob(0.95, 0.999), "order": Knob(0, 1)}
    expects: ClassVar[Sequence[str]] = (UNSIGNED,)

    def prepare(self, world: World) -> None:
        funded(world)
        self.maker = puppet(world)
        world.exchange.chain.transact(
            world.exchange.market, "deposit", world.exchange.to_units(10**6 * WAD), self.maker.address, sender=TAKER
        )

    def strike(self, world: World, **knobs: float) -> None:
        exchange, maker = world.exchange, self.maker.address
        orders = [
            replace(exchange.order(TAKER, False, part(WAD, knobs["size"]), part(MARK, knobs[one])), maker=maker)
            for one in ("good", "bad")
        ]
        tell(world, self.maker, "refuse", exchange.digest(orders[1]))
        fills = [(order, b"", order.size) for order in orders]
        exchange.take_batch(VICTIM, fills[:: 1 if knobs["order"] else -1])


class ReentrantMaker(TwoFacedMaker):
    """A contract that takes its collateral out while it is asked whether it signed; the price then goes against it."""

    name = "reentrant-maker"
    title = "a maker that withdraws in the middle of a fill"
    hope = "A position without collateral."
    source = "LooksRare exchange v2, malicious ERC-1271 makers that reenter (contracts-exchange-v2 PR 231 and 338)"
    promise = "Nothing: makers are asked by a static call, and the market is locked meanwhile."
    knobs: ClassVar = {"size": SIZE, "taken": Knob(0.1, 1.0), "move": Knob(0.97, 1.03), "batch": Knob(0, 1)}
    expects: ClassVar[Sequence[str]] = ()

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        everything = exchange.to_units(world.whole(part(10**6 * WAD, knobs["taken"])))
        tell(world, self.maker, "arm", exchange.market.address, calldata(exchange.market, "withdraw", everything))
        order = exchange.order(TAKER, knobs["move"] < 1, part(WAD, knobs["size"]), MARK)
        fill = (replace(order, maker=self.maker.address), b"", order.size)
        if knobs["batch"]:
            exchange.take_batch(TAKER, [fill])
        else:
            exchange.take(TAKER, *fill)
        world.move(part(MARK, knobs["move"]))


# --------------------------------------------------------------------------------------------------- tokens that call


class ReentrantWithdrawal(Attack):
    """Collateral whose transfers call the attacker, who then withdraws again, or deposits, or settles."""

    name = "reentrant-withdrawal"
    title = "a withdrawal within a withdrawal or a deposit"
    hope = "The same collateral twice, before the market has noted that it is gone."
    source = "Lendf.Me and Uniswap v1, imBTC as ERC-777 (2020-04-18 and 19, PeckShield)"
    promise = "Nothing: the market is locked, and has written what is left before it pays."
    token = "MockHookToken"
    knobs: ClassVar = {"outer": Knob(0, 1), "inner": Knob(0, 2), "again": Knob(0.01, 1.0)}

    def prepare(self, world: World) -> None:
        exchange = world.exchange
        token = world.chain.at(self.token, exchange.addresses.token)
        self.agent = puppet(world)
        have_call(world, self.agent, token, "approve", exchange.market.address, 2**256 - 1)
        have_call(world, self.agent, token, "approve", exchange.vault.address, 2**256 - 1)
        world.chain.transact(token, "transfer", self.agent.address, exchange.to_units(30_000 * WAD), sender=TAKER)
        amount = exchange.to_units(10_000 * WAD)
        have_call(world, self.agent, exchange.market, "deposit", amount, self.agent.address)
        have_call(world, self.agent, token, "set_hook", True)

    def strike(self, world: World, **knobs: float) -> None:
        market, amount = world.exchange.market, world.exchange.to_units(10_000 * WAD)
        again = part(amount, knobs["again"])
        inner = (("withdraw", again), ("deposit", again, self.agent.address), ("settle",))[int(knobs["inner"])]
        outer = (("withdraw", amount), ("deposit", amount, self.agent.address))[int(knobs["outer"])]
        tell(world, self.agent, "arm", market.address, calldata(market, *inner))
        have_call(world, self.agent, market, *outer)


class ReentrantRedemption(ReentrantWithdrawal):
    """The same with the vault: in the middle of a redemption it redeems, cancels, deposits or asks again."""

    name = "reentrant-redemption"
    title = "a vault called in the middle of its own payment"
    hope = "Shares that are there when their assets are gone, or a price of theirs that is of neither before nor after."
    source = "dForce, read-only reentrancy (2023-02-10); Curve pools, broken Vyper locks (2023-07-30)"
    promise = "Nothing: shares are burnt and the request reduced before anything is paid, and the vault is locked."
    knobs: ClassVar = {"inner": Knob(0, 3), "again": Knob(0.01, 1.0), "part": Knob(0.1, 1.0)}

    def prepare(self, world: World) -> None:
        super().prepare(world)
        exchange, agent = world.exchange, self.agent.address
        have_call(world, self.agent, exchange.vault, "deposit", exchange.to_units(10_000 * WAD), agent)
        self.shares = int(world.chain.call(exchange.vault, "balanceOf", agent))
        have_call(world, self.agent, exchange.vault, "requestRedeem", self.shares, agent, agent)
        request(world, INSURER)  # others' shares are in the vault's custody too
        world.chain.advance(world.setting.vault.redeem_cooldown)
        world.move(world.index_price)

    def strike(self, world: World, **knobs: float) -> None:
        vault, agent, shares = world.exchange.vault, self.agent.address, part(self.shares, knobs["part"])
        again = part(shares, knobs["again"])
        inner = (
            ("redeem", again, agent, agent),
            ("cancel_redeem_request", agent),
            ("deposit", again // 10**6, agent),
            ("requestRedeem", 0, agent, agent),
        )[int(knobs["inner"])]
        tell(world, self.agent, "arm", vault.address, calldata(vault, *inner))
        have_call(world, self.agent, vault, "redeem", shares, agent, agent)
