"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def table(columns: str, rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Lines of a table.

    Args:
        columns: their names, with bars between them.
        rows: a cell for each; what is code in a cell stands in backticks already.
    """
    names = columns.split(" | ")
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"
