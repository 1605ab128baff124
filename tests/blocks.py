"""An in-process chain as a node: its blocks have hashes, it can go away, and it can go back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prorata.chain import Head, View
from prorata.revm_chain import RevmChain


class Blocks(RevmChain):
    """The in-process chain as a node: `prorata.monitor.snapshot.Node`.

    Attributes:
        down: whether it answers.
        asked: how many views each request was for.
        meanwhile: done once, when views are next read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.asked: list[int] = []
        self.meanwhile: Callable[[], None] | None = None

    @property
    def head(self) -> Head:
        self._answer()
        return Head(self.block, self.block_hash(self.block) or "", self.now)

    def block_hash(self, number: int) -> str | None:
        self._answer()
        if not 0 <= number <= self.block:
            return None
        return f"{number} {hash(repr(self._history[number - 1])) if number else 0}"

    def views(self, block: int, asked: Sequence[View]) -> list[Any]:
        self._answer()
        assert block == self.block, "only the last block's state is there"
        self.asked.append(len(asked))
        found = [self.call(contract, function, *arguments) for contract, function, *arguments in asked]
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        return found

    def _answer(self) -> None:
        if self.down:
            raise ConnectionRefusedError("nobody listens")
