"""The tables of SPECIFICATION.md: `make specification`.

What stands between `<!-- name -->` and `<!-- end -->` is written here, the rest by hand.
`tests/unit/test_specification.py` holds the file to this, what is said here to the contracts, and every name to
something that exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.specification import evidence, roundings, tables

FILE = tables.ROOT / "SPECIFICATION.md"
SECTION = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

#: In the order in which they stand.
SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "calls": tables.calls,
    "storage": tables.storage,
    "packed": tables.packed,
    "roundings": roundings.lines,
    "constants": tables.constants_table,
    "bounds": tables.bounds,
    "facts": tables.facts,
    "products": tables.products,
    "gas": tables.gas,
    "parameters": tables.parameters,
    "sweep": tables.sweep,
    "errors": tables.errors,
    "events": tables.events,
    **evidence.TABLES,
}


def written() -> str:
    """The file as it should be."""
    return SECTION.sub(lambda found: found[1] + "\n".join(SECTIONS[found[2]]()) + "\n" + found[3], FILE.read_text())
