"""What an audit writes while it goes on: files that grow, and can be cut back to where an earlier audit stood."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from decimal import Decimal, localcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prorata.units import WAD


def decimal(amount: int) -> str:
    """An 18-digit integer as a decimal number with 18 digits after the point."""
    with localcontext() as context:
        context.prec = 100
        return f"{Decimal(amount) / WAD:.18f}"


class Growing:
    """A text file that is written from one end to the other.

    Args:
        path: of the file.
        size: what of it to keep, bytes; 0 begins it anew.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        kept = path.exists() and size > 0
        self._file = path.open("r+b" if kept else "wb")
        self._file.truncate(size)
        self._file.seek(size)

    def line(self, text: str) -> None:
        """Append a line."""
        self._file.write(f"{text}\n".encode())

    @property
    def size(self) -> int:
        """Bytes so far, all of them on disk."""
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """No more."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Sheet(Growing):
    """A CSV file with a head.

    Args:
        columns: the head.
    """

    def __init__(self, path: Path, columns: Sequence[str], size: int = 0) -> None:
        super().__init__(path, size)
        self._columns = columns
        if not size:
            self.row({name: name for name in columns})

    def row(self, values: dict[str, Any]) -> None:
        """Append a row; a column without a value stays empty."""
        csv.writer(_Lines(self)).writerow([values.get(name, "") for name in self._columns])


class _Lines:
    """Where the csv module writes to."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet

    def write(self, text: str) -> None:
        self._sheet.line(text.removesuffix("\r\n"))
