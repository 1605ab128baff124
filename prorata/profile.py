"""Where the gas of an operation goes, by opcode, by function and by line: `make profile OF=fill_open_live`.

Runs the operation in titanoboa with a gas meter that keeps what every instruction used, calls excluded, and looks up
the line that the compiler made it from. Storage is accounted for as in a transaction of its own; what a transaction
costs beyond its execution (21,000, calldata, refunds) is shown apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import boa
import click
from boa.vm.gas_meters import ProfilingGasMeter
from eth.vm import opcode_values
from eth_utils.address import to_canonical_address
from rich.console import Console
from rich.table import Table
from vyper import ast as vy_ast
from vyper.ir.compile_ir import assembly_to_evm

from prorata.chain import Chain
from prorata.cli import BadInput
from prorata.embedded import CONTRACTS, EmbeddedContract
from prorata.metered_chain import MeteredChain
from prorata.operations import OPERATIONS, market

_OPCODES = {value: name for name, value in vars(opcode_values).items() if name.isupper()}


@dataclass
class Profile:
    """Gas of one transaction."""

    intrinsic: int
    refund: int
    opcodes: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)

    @property
    def used(self) -> int:
        """Before refunds."""
        return self.intrinsic + sum(self.opcodes.values())

    @property
    def refunded(self) -> int:
        """At most a fifth of what was used (EIP-3529)."""
        return min(self.refund, self.used // 5)

    @property
    def total(self) -> int:
        """What the receipt says."""
        return self.used - self.refunded


class ProfiledChain(MeteredChain):
    """Takes every transaction apart; `last` is the latest one's profile."""

    def __init__(self) -> None:
        super().__init__()
        self._env.set_gas_meter_class(ProfilingGasMeter)
        self._names: dict[bytes, str] = {}
        self.last: Profile | None = None

    def at(self, name: str, address: str) -> EmbeddedContract:
        self._names[to_canonical_address(address)] = name
        return super().at(name, address)

    def deploy(self, name: str, *arguments: Any, sender: int = 0) -> EmbeddedContract:
        contract = super().deploy(name, *arguments, sender=sender)
        self._names[to_canonical_address(contract.address)] = name
        return contract

    def _execute(self, sender: str, address: str, data: bytes, modifying: bool) -> Any:
        computation = super()._execute(sender, address, data, modifying)
        if modifying:
            self.last = Profile(self.needed - computation.get_gas_used(), computation.get_gas_refund())
            for part in parts(computation):
                self._take(part, self.last)
        return computation

    def _source_of(self, computation: Any) -> tuple[str, dict[int, tuple[str, str]]]:
        """The name of the contract whose code a computation ran, and what its instructions were made from."""
        name = self._names.get(computation.msg.code_address, "precompile")
        return name, _nodes(name) if name in self._names.values() else {}

    def _take(self, computation: Any, profile: Profile) -> None:
        """Add what one contract did."""
        code = computation.msg.code
        meter = computation._gas_meter
        own = Counter(meter._gas_used_of)
        # A call's gas is its callee's too.
        for pc, callee in zip(computation._child_pcs, computation.children, strict=True):
            own[pc - 1] -= callee.get_gas_used()
        name, nodes = self._source_of(computation)
        place = (name, name)
        seen = set()
        for pc in computation.code._trace:
            place = nodes.get(pc, place)
            if pc not in seen:
                seen.add(pc)
                profile.opcodes[_OPCODES.get(code[pc], "INVALID") if pc < len(code) else "STOP"] += own[pc]
                function, line = place
                profile.functions[f"{name}: {function}"] += own[pc]
                profile.lines[f"{name}: {line}"] += own[pc]
        if not seen:
            profile.opcodes["precompile"] += computation.get_gas_used()
            profile.functions[name] += computation.get_gas_used()
            profile.lines[name] += computation.get_gas_used()


def parts(computation: Any) -> Iterator[Any]:
    """A computation and all it called."""
    yield computation
    for child in computation.children:
        yield from parts(child)


@cache
def _nodes(contract: str) -> dict[int, tuple[str, str]]:
    """What every instruction was made from: function, and line with its text."""
    data = boa.load_partial(str(next(CONTRACTS.rglob(f"{contract}.vy")))).compiler_data
    _, source_map = assembly_to_evm(data.assembly_runtime)
    found = {}
    for pc, node in source_map["pc_raw_ast_map"].items():
        function = node if isinstance(node, vy_ast.FunctionDef) else node.get_ancestor(vy_ast.FunctionDef)
        module = Path(node.module_node.path).stem
        text = node.full_source_code.splitlines()[node.lineno - 1].strip()
        found[pc] = (f"{module}.{function.name if function else '-'}", f"{module}:{node.lineno}  {text[:70]}")
    return found


def profile_of(name: str) -> Profile:
    """The profile of a measured transaction, by its name in the snapshot.

    Raises:
        KeyError: no operation is called that.
    """
    for operation in OPERATIONS:
        chain = ProfiledChain()
        for found, _ in operation(market(cast(Chain, chain))):
            if found == name and chain.last is not None:
                return chain.last
    raise KeyError(name)


def table(counts: Counter[str], total: int, heading: str, rows: int) -> Table:
    """The largest of a count, with their part of the whole."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column(heading, no_wrap=True)
    shown.add_column("gas", justify="right")
    shown.add_column("part", justify="right")
    for name, gas in counts.most_common(rows):
        shown.add_row(name, f"{gas:,}", f"{gas / total:.1%}")
    return shown


@click.command()
@click.argument("name")
@click.option("--rows", default=30, show_default=True, help="Of each table.")
def main(name: str, rows: int) -> None:
    """Where the gas of NAME, a case of snapshots/gas.json, goes."""
    try:
        profile = profile_of(name)
    except KeyError:
        raise BadInput(f"no measured operation is called {name!r}; snapshots/gas.json has the names") from None
    console = Console(width=140, highlight=False)
    console.print(
        f"{name}: {profile.total:,} gas = {profile.intrinsic:,} intrinsic "
        f"+ {sum(profile.opcodes.values()):,} execution - {profile.refunded:,} refunded\n"
    )
    for counts, heading in ((profile.opcodes, "opcode"), (profile.functions, "function"), (profile.lines, "line")):
        console.print(table(counts, profile.total, heading, rows))
        console.print()


if __name__ == "__main__":
    main()
