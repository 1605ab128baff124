"""A market in pyrevm driven at full speed: the verbs of `prorata.exchange`, without an ABI coder in between.

For campaigns of millions of operations. Calldata is packed by hand, orders are signed by libsecp256k1 directly, events
are picked apart by word. `tests/unit/test_fast_exchange.py` holds every call to what the slow exchange sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from coincurve import PrivateKey
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak

from prorata.embedded import compile_contract
from prorata.exchange import Exchange
from prorata.receipts import Receipt
from prorata.revm_chain import RevmChain
from prorata.storage import Reader, State, signed

#: Far from those of a slow exchange that drives the same market: no two orders may be equal.
_FIRST_SALT = 2**64

_ORDER = keccak(
    text="Order(address maker,bool is_long,uint256 size,uint256 limit_price,uint256 expiry,uint256 salt,uint256 nonce,"
    "bool reduce_only,address taker)"
)
_DOMAIN = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")

_RECEIPT_WORDS = 9


def words(*values: int | bytes) -> bytes:
    """ABI words: integers in two's complement, bytes as they are."""
    return b"".join(
        value if isinstance(value, bytes) else (value & (2**256 - 1)).to_bytes(32, "big") for value in values
    )


@dataclass(frozen=True)
class SignedOrder:
    """An order in the form in which it is sent: its nine words, and the maker's signature."""

    maker: int
    encoded: bytes
    signature: bytes
    size: int


@dataclass(frozen=True)
class Event:
    """An event of the market or the vault: its name, its indexed fields, its other fields, as integers."""

    name: str
    topics: tuple[int, ...]
    words: tuple[int, ...]

    def receipt(self) -> Receipt:
        """A `Moved` or `Settled` event as a receipt."""
        before, after, index_price, *rest = self.words
        closes = self.name == "Settled"
        amounts = rest[:_RECEIPT_WORDS] if closes else [rest[0], *[0] * (_RECEIPT_WORDS - 2), rest[1]]
        long_index, short_index, *scales = rest[_RECEIPT_WORDS if closes else 2 :]
        gross, deficit, covered, surplus, bonus, adl_shortfall, closed_size, buckets_closed, open_interest = amounts
        return Receipt(
            loser=self.topics[0],
            funding=bool(self.topics[1]),
            mark_before=before,
            mark_after=after,
            index_price=index_price,
            gross=gross,
            deficit=deficit,
            covered=covered,
            surplus=surplus,
            bonus=bonus,
            adl_shortfall=adl_shortfall,
            closed_size=closed_size,
            buckets_closed=buckets_closed,
            open_interest=open_interest,
            indices=(signed(long_index, 256), signed(short_index, 256)),
            scales=(scales[0], scales[1]) if closes else None,
        )


class FastExchange:
    """Drives a deployed exchange. Amounts are quote of 18 digits and whole token units; traders are numbers of test
    accounts. A transaction is mined one second after the last. Every method may raise `prorata.chain.Reverted`.

    Args:
        exchange: the deployment.
        traders: whose accounts to read; nobody else may trade.

    Attributes:
        answer: what the oracle last said: answer, when, in which round, answered in which.
        events: of the last transaction to the market or the vault.
        pace: seconds from one transaction to the next.
    """

    def __init__(self, exchange: Exchange, traders: Sequence[int]) -> None:
        self.chain = cast(RevmChain, exchange.chain)  # or one that has its `word` and `send`
        self.exchange = exchange
        self.unit = exchange.unit
        self.traders = traders
        count = max(traders) + 1
        self._addresses = [self.chain.address(trader) for trader in range(count)]
        self._keys = [PrivateKey(bytes.fromhex(self.chain.key(trader)[2:])) for trader in range(count)]
        self._as_words = [to_canonical_address(address).rjust(32, b"\0") for address in self._addresses]
        self._market, self._vault = exchange.addresses.market, exchange.addresses.vault
        self._feed = exchange.addresses.feed
        self._separator = keccak(
            words(
                _DOMAIN,
                keccak(b"prorata"),
                keccak(b"1"),
                self.chain.chain_id,
                to_canonical_address(self._market).rjust(32, b"\0"),
            )
        )
        self._salt = _FIRST_SALT
        self._reader = Reader(self.chain, exchange.addresses, self.unit, [self._addresses[one] for one in traders])
        self._selectors = {
            (contract, name): compile_contract(contract)[0].selector(name)
            for contract, names in _CALLED.items()
            for name in names
        }
        self.answer = (exchange.mark, self.chain.now, 1, 1)
        self.events: list[Event] = []
        self.pace = 1

    # ----------------------------------------------------------------------------------------------------- reading

    def read(self) -> State:
        """The whole market."""
        return self._reader.read()

    @property
    def reader(self) -> Reader:
        """For what `read` leaves out."""
        return self._reader

    def receipts(self) -> list[Receipt]:
        """Of the last transaction's moves."""
        return [event.receipt() for event in self.events if event.name in ("Moved", "Settled")]

    def vault_shares(self, insurer: int) -> int:
        """Vault shares at an insurer's disposal."""
        return self._reader.vault_shares(self._addresses[insurer])

    def redeem_request(self, insurer: int) -> tuple[int, int, int]:
        """Shares in the queue, what they were worth (quote), when their window opens."""
        return self._reader.redeem_request(self._addresses[insurer])

    # ------------------------------------------------------------------------------------------------------ oracle

    def set_price(self, price: int) -> None:
        """A new answer of the price feed."""
        self._send("MockAggregator", self._feed, "set_answer", 0, price)
        self.answer = (price, self.chain.now, 1, 1)

    def set_round(self, answer: int, updated_at: int, round_id: int = 1, answered_in: int = 1) -> None:
        """Any answer, plausible or not."""
        self._send("MockAggregator", self._feed, "set_round", 0, round_id, answer, updated_at, answered_in)
        self.answer = (answer, updated_at, round_id, answered_in)

    # ------------------------------------------------------------------------------------------------------ market

    def settle(self) -> None:
        """Bring the mark towards the index price."""
        self._act("settle", 0)

    def deposit(self, trader: int, amount: int, to: int) -> None:
        """Add collateral to an account."""
        self._act("deposit", trader, amount // self.unit, self._as_words[to])

    def withdraw(self, trader: int, amount: int) -> None:
        """Take collateral out."""
        self._act("withdraw", trader, amount // self.unit)

    def order(self, maker: int, is_long: bool, size: int, price: int, reduce_only: bool = False) -> SignedOrder:
        """A signed order that nobody else has, open to anyone for a day."""
        self._salt += 1
        expiry = self.chain.now + 86_400
        nonce = self.exchange.nonces.get(maker, 0)
        encoded = words(self._as_words[maker], is_long, size, price, expiry, self._salt, nonce, reduce_only, 0)
        digest = keccak(b"\x19\x01" + self._separator + keccak(_ORDER + encoded))
        signature = self._keys[maker].sign_recoverable(digest, hasher=None)
        return SignedOrder(maker, encoded, signature[:64] + bytes([27 + signature[64]]), size)

    def fill(self, taker: int, order: SignedOrder, size: int) -> None:
        """Fill `size` of a signed order."""
        # The order's nine words, where the signature is, the size; then the signature.
        self._act("fill", taker, order.encoded, 11 * 32, size, 65, order.signature.ljust(96, b"\0"))

    def trade(self, maker: int, taker: int, is_long: bool, size: int, price: int, reduce_only: bool = False) -> None:
        """An order of exactly `size`, signed and filled at once; `is_long` is what the maker becomes."""
        self.fill(taker, self.order(maker, is_long, size, price, reduce_only), size)

    def trade_batch(self, taker: int, trades: Sequence[tuple[int, bool, int, int]]) -> None:
        """Several orders (maker, what it becomes, size, price) signed and filled in one transaction."""
        orders = [self.order(maker, is_long, size, price) for maker, is_long, size, price in trades]
        self.fill_batch(taker, [(order, order.size) for order in orders])

    def fill_batch(self, taker: int, fills: Sequence[tuple[SignedOrder, int]]) -> None:
        """Fill several signed orders, each by a size, in one transaction."""
        parts = [words(order.encoded, 11 * 32, size, 65, order.signature.ljust(96, b"\0")) for order, size in fills]
        offsets = [32 * len(parts) + sum(map(len, parts[:i])) for i in range(len(parts))]
        self._act("fill_batch", taker, 32, len(parts), *offsets, *parts)

    def cancel(self, maker: int, order: SignedOrder) -> None:
        """Withdraw an order for good."""
        self._act("cancel", maker, order.encoded)

    def cancel_all(self, maker: int, min_nonce: int) -> None:
        """Void all orders of a maker below a nonce."""
        self._act("cancel_all", maker, min_nonce)
        self.exchange.nonces[maker] = min_nonce

    def liquidate(self, liquidator: int, owner: int, size: int = 2**256 - 1) -> None:
        """Take over up to `size` of an account below maintenance margin."""
        self._act("liquidate", liquidator, self._as_words[owner], size)

    def set_reduce_only(self, on: bool) -> None:
        """By the guardian, who is account 0 here."""
        self._act("set_reduce_only", 0, on)

    def wind_down(self) -> None:
        """Report a dead oracle, or close the market."""
        self._act("wind_down", 0)

    # ------------------------------------------------------------------------------------------------------- vault

    def insure(self, amount: int, insurer: int = 0) -> None:
        """Deposit into the vault."""
        self._act("deposit", insurer, amount // self.unit, self._as_words[insurer], of="InsuranceVault")

    def mint_insurance(self, shares: int, insurer: int = 0) -> None:
        """Deposit as much as `shares` cost."""
        self._act("mint", insurer, shares, self._as_words[insurer], of="InsuranceVault")

    def preview_entry(self, operation: str, amount: int) -> int:
        """What the vault promises for an `insure`, in shares, or for a `mint_insurance`, in token units, that is sent
        next."""
        function, given = ("previewDeposit", amount // self.unit) if operation == "insure" else ("previewMint", amount)
        self.chain.advance(self.pace)
        try:
            return int(self.exchange.chain.call(self.exchange.vault, function, given))
        finally:
            self.chain.advance(-self.pace)

    def transfer_shares(self, shares: int, insurer: int, receiver: int) -> None:
        """Give vault shares away."""
        self._act("transfer", insurer, self._as_words[receiver], shares, of="InsuranceVault")

    def request_redeem(self, shares: int, insurer: int = 0) -> None:
        """Put vault shares into the queue."""
        one = self._as_words[insurer]
        self._act("requestRedeem", insurer, shares, one, one, of="InsuranceVault")

    def cancel_redeem(self, insurer: int = 0) -> None:
        """Take a request back."""
        self._act("cancel_redeem_request", insurer, self._as_words[insurer], of="InsuranceVault")

    def redeem(self, shares: int, insurer: int = 0) -> None:
        """Redeem requested vault shares."""
        one = self._as_words[insurer]
        self._act("redeem", insurer, shares, one, one, of="InsuranceVault")

    def withdraw_insurance(self, amount: int, insurer: int = 0) -> None:
        """Redeem as many requested vault shares as bring `amount`."""
        one = self._as_words[insurer]
        self._act("withdraw", insurer, amount // self.unit, one, one, of="InsuranceVault")

    # ----------------------------------------------------------------------------------------------------- sending

    def _act(self, function: str, sender: int, *arguments: int | bytes, of: str = "PerpetualMarket") -> None:
        """A transaction to the market or the vault; its events are kept until the next."""
        self.events = []
        address = self._market if of == "PerpetualMarket" else self._vault
        logs = self._send(of, address, function, sender, *arguments)
        self.events = [_event(topics, data) for topics, data in logs]

    def _send(self, contract: str, address: str, function: str, sender: int, *arguments: int | bytes) -> Any:
        self.chain.advance(self.pace)
        data = self._selectors[contract, function] + words(*arguments)
        return self.chain.send(self._addresses[sender], address, data)


#: Functions that are called here; none of them is overloaded.
_CALLED = {
    "MockAggregator": ("set_answer", "set_round"),
    "PerpetualMarket": (
        "settle",
        "deposit",
        "withdraw",
        "fill",
        "fill_batch",
        "cancel",
        "cancel_all",
        "liquidate",
        "set_reduce_only",
        "wind_down",
    ),
    "InsuranceVault": (
        "deposit",
        "mint",
        "transfer",
        "requestRedeem",
        "cancel_redeem_request",
        "redeem",
        "withdraw",
    ),
}


@cache
def _event_names() -> dict[bytes, str]:
    """Names by first topic; a token's `Transfer` and `Approval` are everybody's."""
    contracts = ("PerpetualMarket", "InsuranceVault", "MockToken")
    return {topic: name for one in contracts for topic, name in compile_contract(one)[0].event_names().items()}


def _event(topics: Sequence[bytes], data: bytes) -> Event:
    return Event(
        _event_names()[bytes(topics[0])],
        tuple(int.from_bytes(topic, "big") for topic in topics[1:]),
        tuple(int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)),
    )
