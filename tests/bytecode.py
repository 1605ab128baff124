"""What the compiler says of every deployable: code, layout, size."""

from __future__ import annotations

from functools import cache
from typing import Any

import boa
from vyper.compiler.output import build_layout_output

from prorata.embedded import CONTRACTS

DEPLOYABLES = sorted(path.stem for path in CONTRACTS.glob("*.vy"))


@cache
def compiled(name: str) -> Any:
    """The compiler's own data of a deployable."""
    return boa.load_partial(str(CONTRACTS / f"{name}.vy")).compiler_data


@cache
def layout(name: str) -> dict[str, Any]:
    """Where its storage and its immutables lie."""
    found: dict[str, Any] = build_layout_output(compiled(name))
    return found


def length_of(entry: dict[str, Any]) -> int:
    """Bytes of all immutables in a code layout: of modules within modules too."""
    if isinstance(entry.get("length"), int):
        return int(entry["length"])
    return sum(length_of(part) for part in entry.values())


def runtime_size(name: str) -> int:
    """Bytes on the chain, immutables included."""
    return len(compiled(name).bytecode_runtime) + length_of(layout(name).get("code_layout", {}))
