"""Watches a market block by block, as long as it takes: the node may die, come back, or come back as another chain.

Of blocks that come faster than they can be read only the last is looked at. Everything that is kept is bounded, and
hangs on blocks: of each block looked at the hash is remembered, and what came after the last one that is still on the
chain is forgotten.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from eth_abi.exceptions import DecodingError

from prorata.chain import Head, Reverted
from prorata.keeper import NoMarket, brief
from prorata.monitor import payload
from prorata.monitor.activity import Activity
from prorata.monitor.payload import Json, Seen
from prorata.monitor.snapshot import Contracts, Node, Snapshot, look

#: Blocks remembered, by their hashes and their prices.
REMEMBERED = 300
#: Seconds between attempts to reach a node that does not answer: doubled each time up to the last.
FIRST_BACKOFF, LAST_BACKOFF = 0.5, 8.0

LIVE, NO_MARKET, UNREACHABLE = "live", "no-market", "unreachable"


class Watcher:
    """One market's.

    Args:
        node: where it is.
        address: of the market.
        publish: takes a name, "view" or "status", and its JSON. A view comes when a block was looked at (null: there is
            nothing to show), a status after every pass.
        outages: what the node's methods raise when it does not answer.
    """

    def __init__(
        self,
        node: Node,
        address: str,
        publish: Callable[[str, Json | None], None],
        outages: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        self._node, self._address, self._publish = node, address, publish
        self._troubles: tuple[type[Exception], ...] = (*outages, Reverted, DecodingError)
        self._backoff = FIRST_BACKOFF
        self._contact: float | None = None
        self._heads: deque[Head] = deque(maxlen=REMEMBERED)
        self._past: deque[Seen] = deque(maxlen=REMEMBERED)
        self._last: Snapshot | None = None
        self._contracts: Contracts | None = None
        self._activity: Activity

    def run(self, poll: float, stop: threading.Event) -> None:
        """Pass after pass, `poll` seconds apart, until told to stop; a node that is not there is asked less often."""
        while not stop.is_set():
            stop.wait(self.one_pass(poll))

    def one_pass(self, poll: float = 0) -> float:
        """Look at the last block, if it is a new one, and say how things are.

        Returns:
            Seconds until the next pass.
        """
        try:
            head = self._node.head
            self._contact = time.time()
            self._look(head)
        except NoMarket:
            return self._say(NO_MARKET, f"block {head.number} of this chain has no market at {self._address}", poll)
        except self._troubles as error:
            if isinstance(error, Reverted | DecodingError):
                self._heads.clear()  # a market that was there a moment ago: the next pass looks for it anew
            wait, self._backoff = max(self._backoff, poll), min(2 * self._backoff, LAST_BACKOFF)
            # Of what the network's libraries say of a lost connection the name is enough; a node's refusal has words.
            words = type(error).__name__ if isinstance(error, OSError) else brief(error)
            return self._say(UNREACHABLE, words, wait)
        self._backoff = FIRST_BACKOFF
        return self._say(LIVE, "", poll)

    def _say(self, state: str, words: str, wait: float) -> float:
        if state == NO_MARKET and self._contracts is not None:
            self._contracts = None
            self._publish("view", None)
        self._publish("status", {"state": state, "words": words, "contact": self._contact, "wait": wait})
        return wait

    def _begin(self) -> Contracts:
        """On a chain of which nothing is known yet."""
        self._contracts = Contracts.find(self._node, self._address)
        self._activity = Activity(self._node, self._contracts)
        self._last = None
        self._heads.clear()
        self._past.clear()
        return self._contracts

    def _look(self, head: Head) -> None:
        """Read what is new."""
        contracts = self._on_chain(head)
        if self._last is not None and self._last.head == head:
            return
        self._activity.follow(head.number)
        snapshot = look(self._node, contracts, head, self._last)
        if self._node.block_hash(head.number) != head.hash:
            return  # replaced meanwhile, so this is of no block: the next pass will see
        self._last = snapshot
        if not self._heads or self._heads[-1] != head:  # a chain that went back may end at a block seen before
            self._heads.append(head)
            self._past.append(Seen(head.number, head.timestamp, snapshot.core.mark, snapshot.index_price))
        node = self._node
        rows = self._activity.rows
        self._publish("view", payload.view(snapshot, contracts, node.network, node.chain_id, self._past, rows))

    def _on_chain(self, head: Head) -> Contracts:
        """The market's contracts; what was read of blocks that are not on the chain any more is forgotten."""
        while self._heads and not self._has(self._heads[-1], head):
            self._heads.pop()
            self._last = None
        if self._contracts is None or not self._heads:
            return self._begin()
        kept = self._heads[-1].number
        self._activity.forget_after(kept)
        while self._past and self._past[-1].block > kept:
            self._past.pop()
        return self._contracts

    def _has(self, seen: Head, head: Head) -> bool:
        """Whether a block looked at earlier is still on the chain."""
        return seen == head or (seen.number <= head.number and self._node.block_hash(seen.number) == seen.hash)
