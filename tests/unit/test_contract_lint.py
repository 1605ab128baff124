"""natrix on contracts and modules: what it finds, and what is made of that."""

from __future__ import annotations

import boa
import pytest

from prorata.contract_lint import ACCEPTED, findings, judged

MODULE = """
# pragma version 0.4.3
from modules import errors
from modules import sides

uses: sides

@internal
@view
def _twice(x: uint256, unused: uint256) -> uint256:
    Left: uint256 = x
    return 2 * x

@internal
@view
def _load(_state: uint256) -> sides.State:
    assert _state > 0, errors.ORACLE_RANGE
    return sides._load()
"""
CONTRACT = """
# pragma version 0.4.3
from modules import sides
import doubling

initializes: sides
initializes: doubling[sides := sides]

limit: constant(uint256) = 5

@external
def twice(x: uint256) -> uint256:
    return doubling._twice(x, limit)

@external
@view
def load() -> uint256:
    return doubling._load(1).core.mark
"""
KNOWN = {about: f"there: {about}" for group in ACCEPTED.values() for about in group}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What there is to find in a contract and a module of its own, which uses another."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "doubling.vy").write_text(MODULE)
    (folder / "doubler.vy").write_text(CONTRACT)
    return dict(findings(boa.load_partial(str(folder / "doubler.vy")).compiler_data, folder))


def test_modules_that_use_others_are_looked_at(found: dict[str, str]) -> None:
    assert set(found) == {
        "doubler.vy NTX2 limit",
        "doubler.vy NTX4 twice",
        "doubling.vy NTX8 Left",
        "doubling.vy NTX10 _twice.unused",
        "doubling.vy NTX11 _load._state",
    }


def test_a_finding_says_where_it_stands(found: dict[str, str]) -> None:
    assert "doubling.vy:11:" in found["doubling.vy NTX8 Left"]
    assert "Variable 'Left' is declared but never used." in found["doubling.vy NTX8 Left"]


def test_what_is_known_is_accepted() -> None:
    assert judged(KNOWN) == []


def test_a_new_finding_is_not() -> None:
    assert judged(KNOWN | {"other.vy NTX5 f": "other.vy:3:0 NTX5: ..."}) == ["other.vy:3:0 NTX5: ..."]


def test_an_entry_that_is_no_longer_found_has_to_go() -> None:
    gone, *_ = KNOWN
    assert judged({about: where for about, where in KNOWN.items() if about != gone}) == [
        f"accepted, but no longer found: {gone}"
    ]
