"""A sweep on disk: what it is, and every finished chunk of paths as a Parquet file of its own.

A chunk's file appears under its name only when it is whole, and its name says which paths it holds: whatever is
interrupted, whoever computes a chunk twice, no path is lost and none is counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from prorata.stress.config import Sweep
from prorata.stress.path import RULES, Result

#: Paths that are run, sent and written together; a second or two of work.
CHUNK = 120

_KINDS = {"int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_()}
SCHEMA = pa.schema([(one.name, _KINDS[str(one.type)]) for one in fields(Result)])


class StoreError(ValueError):
    """A directory that cannot be used for this sweep: one line."""


@dataclass(frozen=True)
class Chunk:
    """Paths `first` to `first + count - 1`."""

    first: int
    count: int

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.first:09d}-{self.first + self.count - 1:09d}.parquet"


@dataclass(frozen=True)
class Identity:
    """What decides every result of a sweep: two sweeps with the same identity differ in length at most."""

    config: str
    seed: int
    audit: float
    bytecode: str
    rules: int = RULES


def table(results: Iterable[Result]) -> pa.Table:
    """Results as Parquet has them."""
    return pa.Table.from_pylist([asdict(one) for one in results], schema=SCHEMA)


def chunks(paths: int) -> list[Chunk]:
    """All chunks of a sweep."""
    return [Chunk(first, min(CHUNK, paths - first)) for first in range(0, paths, CHUNK)]


class Store:
    """The directory of a sweep.

    Args:
        folder: made if it is not there.
        resume: whether it may hold a part of this sweep already.

    Raises:
        StoreError: it holds a sweep and `resume` is not set, or another sweep than this one.
    """

    def __init__(self, folder: Path, sweep: Sweep, identity: Identity, resume: bool) -> None:
        self.folder, self._parts, self._manifest = folder, folder / "paths", folder / "sweep.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._parts.mkdir(exist_ok=True)
            self._claim(sweep, identity, resume)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from None

    def _claim(self, sweep: Sweep, identity: Identity, resume: bool) -> None:
        if self._manifest.exists():
            if not resume:
                raise StoreError(f"{self.folder} holds a sweep already; --resume goes on with it")
            found = self._read()
            unlike = [name for name, value in asdict(identity).items() if found.get("identity", {}).get(name) != value]
            if unlike:
                raise StoreError(f"{self.folder} holds another sweep: {', '.join(unlike)} differ")
        elif any(self._parts.iterdir()):
            raise StoreError(f"{self.folder} holds paths of an unknown sweep: sweep.json is missing")
        self._write("sweep.json", json.dumps({"identity": asdict(identity), "config": asdict(sweep)}, indent=2) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._manifest.read_text())
        except ValueError:
            raise StoreError(f"{self._manifest}: not JSON") from None
        if not isinstance(found, dict):
            raise StoreError(f"{self._manifest}: not a sweep's")
        return found

    def _write(self, name: str, text: str) -> None:
        unfinished = self.folder / f"{name}.unfinished"
        unfinished.write_text(text)
        unfinished.rename(self.folder / name)

    def missing(self, paths: int) -> list[Chunk]:
        """Chunks that a sweep of so many paths has still to run.

        Files that are none of its chunks are removed: the unfinished, those that a crash of the machine has cut short,
        and a shorter sweep's last one.
        """
        wanted = {chunk.file: chunk for chunk in chunks(paths)}
        for file in self._parts.iterdir():
            if file.name not in wanted or _rows(file) != wanted[file.name].count:
                file.unlink()
        there = {file.name for file in self._parts.iterdir()}
        return [chunk for name, chunk in wanted.items() if name not in there]

    def add(self, chunk: Chunk, found: pa.Table) -> None:
        """Keep a finished chunk."""
        unfinished = self._parts / f"{chunk.file}.unfinished"
        pq.write_table(found, unfinished)
        unfinished.rename(self._parts / chunk.file)

    def counted(self) -> int:
        """Paths that are there, by the files' own account."""
        return sum(_rows(file) for file in self._finished())

    def load(self) -> pd.DataFrame:
        """Every path that is there, in order."""
        parts = [pq.read_table(file) for file in self._finished()]
        found: pd.DataFrame = pa.concat_tables(parts or [SCHEMA.empty_table()]).to_pandas()
        return found

    def _finished(self) -> Iterator[Path]:
        return iter(sorted(self._parts.glob("*.parquet")))


def _rows(file: Path) -> int:
    """Paths in a file; none if it is not Parquet."""
    try:
        return int(pq.read_metadata(file).num_rows)
    except pa.ArrowInvalid:
        return 0
