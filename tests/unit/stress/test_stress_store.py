"""What a sweep keeps on disk: whole chunks, of one sweep only, each path once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from prorata.stress.config import Sweep
from prorata.stress.path import Result
from prorata.stress.store import CHUNK, SCHEMA, Chunk, Identity, Store, StoreError, chunks, table

IDENTITY = Identity("config", 1, 0.0, "code")


def rows(first: int, count: int) -> list[Result]:
    return [
        Result(number, number // 4, 0.5, 0.1, 0, 0.2, -1, gross=number / 7) for number in range(first, first + count)
    ]


def keep(store: Store, kept: Sequence[Chunk]) -> None:
    for chunk in kept:
        store.add(chunk, table(rows(chunk.first, chunk.count)))


def test_a_table_gives_back_what_was_put_in() -> None:
    given = rows(0, 5)
    found = table(given)
    assert found.schema == SCHEMA
    assert found.to_pylist() == [asdict(one) for one in given]


def test_chunks_hold_every_path_once() -> None:
    for paths in (1, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK + 7):
        numbers = [number for chunk in chunks(paths) for number in range(chunk.first, chunk.first + chunk.count)]
        assert numbers == list(range(paths))


def test_resumes_exactly(tmp_path: Path) -> None:
    paths = 5 * CHUNK + 3
    first = Store(tmp_path / "a", Sweep(), IDENTITY, resume=False)
    assert first.missing(paths) == chunks(paths)
    keep(first, chunks(paths)[1:4])
    (tmp_path / "a" / "paths" / f"{chunks(paths)[0].file}.unfinished").write_bytes(b"half a file")
    again = Store(tmp_path / "a", Sweep(), IDENTITY, resume=True)
    assert again.counted() == 3 * CHUNK
    left = again.missing(paths)
    assert left == [chunks(paths)[0], *chunks(paths)[4:]]
    keep(again, left)
    assert again.missing(paths) == []
    assert list(again.load()["path"]) == list(range(paths))


def test_a_file_cut_short_by_a_crash_is_run_again(tmp_path: Path) -> None:
    store = Store(tmp_path, Sweep(), IDENTITY, resume=False)
    keep(store, chunks(4 * CHUNK))
    files = sorted((tmp_path / "paths").iterdir())
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:-100])
    table_of_less = table(rows(2 * CHUNK, CHUNK - 1))
    pq.write_table(table_of_less, files[2])
    assert store.missing(4 * CHUNK) == chunks(4 * CHUNK)[:3]
    keep(store, chunks(4 * CHUNK)[:3])
    assert list(store.load()["path"]) == list(range(4 * CHUNK))


def test_a_sweep_can_be_made_longer(tmp_path: Path) -> None:
    store = Store(tmp_path, Sweep(), IDENTITY, resume=False)
    keep(store, store.missing(CHUNK + 5))
    left = store.missing(2 * CHUNK)
    assert left == [Chunk(CHUNK, CHUNK)]  # the short one is run anew as a part of a whole one
    keep(store, left)
    assert list(store.load()["path"]) == list(range(2 * CHUNK))


def test_an_empty_sweep_is_an_empty_table(tmp_path: Path) -> None:
    found = Store(tmp_path, Sweep(), IDENTITY, resume=False).load()
    assert list(found.columns) == SCHEMA.names
    assert not len(found)


@pytest.mark.parametrize("name", ["config", "seed", "audit", "bytecode", "rules"])
def test_another_sweep_is_refused_by_what_differs(tmp_path: Path, name: str) -> None:
    Store(tmp_path, Sweep(), IDENTITY, resume=False)
    other = replace(IDENTITY, **{name: {"config": "x", "seed": 2, "audit": 0.5, "bytecode": "y", "rules": 1}[name]})
    with pytest.raises(StoreError, match=rf"holds another sweep: {name} differ"):
        Store(tmp_path, Sweep(), other, resume=True)


def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    Store(tmp_path / "a", Sweep(), IDENTITY, resume=False)
    with pytest.raises(StoreError, match="holds a sweep already; --resume goes on with it"):
        Store(tmp_path / "a", Sweep(), IDENTITY, resume=False)
    (tmp_path / "a" / "sweep.json").write_text("{")
    with pytest.raises(StoreError, match="not JSON"):
        Store(tmp_path / "a", Sweep(), IDENTITY, resume=True)
    (tmp_path / "b" / "paths").mkdir(parents=True)
    (tmp_path / "b" / "paths" / "x.parquet").write_bytes(b"")
    with pytest.raises(StoreError, match="an unknown sweep"):
        Store(tmp_path / "b", Sweep(), IDENTITY, resume=True)
    (tmp_path / "c").write_text("")
    with pytest.raises(StoreError, match=r"File exists|Not a directory"):
        Store(tmp_path / "c", Sweep(), IDENTITY, resume=False)
