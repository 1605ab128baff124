"""What goes wrong in a run, line by line: the operation that broke a guarantee, repeated in titanoboa.

The run is repeated in pyrevm up to that operation; its state is taken over, and what the operation executes there is
shown by the contracts' source lines, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from boa.util.abi import Address
from rich.console import Console

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.fast_exchange import FastExchange
from prorata.profile import ProfiledChain
from prorata.receipts import Receipt
from prorata.twin import Violation
from tests.fuzz.rules import TRADERS, WORLD, Operation
from tests.fuzz.run import Run, state_text


class _Here(Exception):
    """The run has come to the operation to be explained."""


class _Halted(Run):
    """A run that stops before its last operation."""

    def __init__(self, seed: int, number: int, operations: int, length: int) -> None:
        super().__init__(seed, number, operations)
        self._length = length

    def step(self, operation: Operation) -> bool:
        if len(self.history) == self._length - 1:
            raise _Here(operation)
        return super().step(operation)

    def _in_lockstep(self, operation: Operation, stopped: Receipt | None = None) -> None:
        if len(self.history) == self._length - 1:
            raise _Here(operation)
        super()._in_lockstep(operation, stopped)


class TracingChain(ProfiledChain):
    """Keeps the source lines of the last transaction, in the order in which they ran."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[str] = []

    def word(self, address: str, slot: int) -> int:
        """One storage slot, as `RevmChain.word`."""
        return int(self._env.get_storage(Address(address), slot))

    def send(self, sender: str, address: str, data: bytes) -> list[tuple[Any, bytes]]:
        """A transaction, as `RevmChain.send`."""
        return [(topics, data) for _, topics, data in self._run(sender, address, data, modifying=True)[1]]

    def _execute(self, sender: str, address: str, data: bytes, modifying: bool) -> Any:
        computation = super()._execute(sender, address, data, modifying)
        if modifying:
            self.trace = list(self._lines(computation))
        return computation

    def _lines(self, computation: Any) -> Iterator[str]:
        """A computation's lines, each callee's where it was called."""
        name, nodes = self._source_of(computation)
        yield f"-- {name}"
        callees = dict(zip(computation._child_pcs, computation.children, strict=True))
        last = ""
        for pc in computation.code._trace:
            _, line = nodes.get(pc, ("", last))
            if line != last:
                yield line
            last = line
            if pc + 1 in callees:
                yield from (f"    {line}" for line in self._lines(callees.pop(pc + 1)))


def explain(seed: int, number: int, operations: int, console: Console) -> int:
    """Show what a run violates. Returns the exit code: 0 if it violates nothing."""
    run = Run(seed, number, operations)
    console.print(f"run {number} of seed {seed}: {run.setting}")
    try:
        run.live()
    except Violation as violation:
        console.print(f"step {len(run.history)}: {violation}", style="red")
    else:
        console.print(f"{run.figures.operations:,} operations, nothing violated")
        return 0
    again = _Halted(seed, number, operations, len(run.history))
    try:
        again.live()
    except _Here as here:
        (operation,) = here.args
    console.print("\nbefore it\n" + state_text(again.driver.read()))
    console.print(f"\n{operation}\n")
    for line in trace_of(again, operation):
        console.print(line, markup=False)
    return 1


def trace_of(run: Run, operation: Operation) -> list[str]:
    """The source lines that an operation executes in a run's present state."""
    chain = TracingChain.after(run.driver.chain)
    exchange = Exchange(chain, run.driver.exchange.addresses, run.setting.decimals)
    exchange.nonces = run.driver.exchange.nonces
    chain.at("TradingLogic", exchange.addresses.trading)
    driver = FastExchange(exchange, TRADERS)
    try:
        getattr(driver, operation.name)(*operation.arguments)
    except Reverted as refusal:
        return [*chain.trace, f"refused: {refusal.reason}"]
    return chain.trace if operation.name not in WORLD else []
