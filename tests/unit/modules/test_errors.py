"""Reasons: short enough, unique, each in use, and none anywhere else."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from prorata.boa_chain import BoaChain
from prorata.embedded import CONTRACTS

MODULE = CONTRACTS / "modules" / "errors.vy"
#: Name, size in bytes, text.
CONSTANTS = re.findall(r'^([A-Z_]+): constant\(String\[(\d+)\]\) = "([^"]*)"$', MODULE.read_text(), flags=re.MULTILINE)
NAMES = [name for name, _, _ in CONSTANTS]
TEXTS = [text for _, _, text in CONSTANTS]
SOURCES = [path for path in sorted(CONTRACTS.rglob("*.vy")) if path != MODULE and "mocks" not in path.parts]

SOURCE = """
from modules import errors

@external
@pure
def require(ok: bool, reason: String[32]):
    errors._require(ok, reason)
"""


def without_comments(path: Path) -> str:
    """The code alone: no comments, no docstrings."""
    return re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(), flags=re.DOTALL)


def test_every_constant_is_read_here() -> None:
    assert len(CONSTANTS) == without_comments(MODULE).count("constant(String[") > 40


def test_no_reason_is_given_twice() -> None:
    assert sorted(set(TEXTS)) == sorted(TEXTS)


@pytest.mark.parametrize(("name", "size", "text"), CONSTANTS, ids=NAMES)
def test_a_reason_names_its_room_and_fits(name: str, size: str, text: str) -> None:
    room, _, rule = text.partition(": ")
    assert rule and rule == rule.strip()
    assert name.partition("_")[0] == room.upper()
    assert len(text.encode()) <= int(size) <= (48 if room == "parameters" else 32)


@pytest.mark.parametrize("name", NAMES)
def test_every_reason_is_given_somewhere(name: str) -> None:
    assert any(re.search(rf"\berrors\.{name}\b", without_comments(path)) for path in SOURCES)


@pytest.mark.parametrize("text", TEXTS)
def test_every_reason_is_expected_by_a_test(text: str) -> None:
    """By its text, which a test writes out because it has seen it come; of parameters by the rule alone."""
    tests = Path(__file__).parents[2]
    needle = text.removeprefix("parameters: ")
    assert any(needle in path.read_text() for path in tests.rglob("test_*.py") if path != Path(__file__))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_reason_is_written_out_elsewhere(path: Path) -> None:
    # `packing` is the one exception: it must not import anything, and what it refuses no user can bring about.
    written = re.findall(r'"([a-z][a-z -]*: [^"]*)"', without_comments(path))
    assert set(written) == ({"packing: out of range"} if path.stem == "packing" else set())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_named_reason_exists(path: Path) -> None:
    assert set(re.findall(r"\berrors\.([A-Z_]+)\b", without_comments(path))) <= set(NAMES)


@pytest.fixture(scope="module")
def require(chain: BoaChain) -> Callable[..., Any]:
    return partial(chain.call, chain.deploy_source(SOURCE), "require")


@pytest.mark.parametrize("reason", ["", "order: expired", "x" * 32])
def test_require(require: Callable[..., Any], refuses: Callable[[str], Any], reason: str) -> None:
    require(True, reason)
    with refuses(reason):
        require(False, reason)
