"""What `make gas` shows: the comparison with peers and bounds, and the picture of a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from prorata.gas import STANDARDS, WIDTH, comparison, reviewed, table
from prorata.gas_plot import crowds, draw_gas

GAS = {
    "crash_1000_accounts_10_buckets": 30_000,
    "crash_10_accounts_10_buckets": 30_000,
    "crash_1_accounts_1_buckets": 20_000,
    "crash_100_accounts_100_buckets": 90_000,
    "crash_1000_accounts_100_buckets": 90_000,
    "crash_1000": 90_000,
}


def rows(shown: Table) -> list[list[str]]:
    """What is printed, by cells."""
    columns = [list(column.cells) for column in shown.columns]
    return [[str(cell) for cell in row] for row in zip(*columns, strict=True)]


def test_every_standard_is_of_a_measured_case() -> None:
    assert set(STANDARDS) <= set(reviewed())


def test_peers_stand_in_order() -> None:
    for standard in STANDARDS.values():
        gas = [peer.gas for peer in standard.peers]
        assert gas == sorted(gas)


@pytest.mark.parametrize(("over", "bound"), [(0, "{:,}"), (1, "above {:,}")])
def test_ours_stands_beside_peer_floor_and_bound(over: int, bound: str) -> None:
    now = {name: standard.bound + over for name, standard in STANDARDS.items()}
    assert rows(comparison(now)) == [
        [
            standard.operation,
            "\n".join(str(peer) for peer in standard.peers),
            standard.floor or "-",
            f"{now[name]:,}",
            f"{100 * now[name] / standard.peers[0].gas:.1f} %",
            bound.format(standard.bound),
        ]
        for name, standard in STANDARDS.items()
    ]


def test_what_was_not_measured_is_left_out() -> None:
    assert {(ours, ratio) for _, _, _, ours, ratio, _ in rows(comparison({}))} == {("-", "-")}


def test_drift_and_best_peer() -> None:
    before = {"withdraw_flat": 10, "gone": 1}
    now = {"withdraw_flat": 12, "new": 5_000}
    peer = STANDARDS["withdraw_flat"].peers[0]
    assert rows(table(before, now)) == [
        ["withdraw_flat", "10", "12", "+2", f"{peer.gas:,} ({peer.name})"],
        ["gone", "1", "-", "gone", ""],
        ["new", "-", "5,000", "new", ""],
    ]


def test_operations_fit_beside_their_numbers() -> None:
    console = Console(width=WIDTH)
    with console.capture() as printed:
        console.print(comparison({name: standard.bound + 1 for name, standard in STANDARDS.items()}))
    for standard in STANDARDS.values():
        assert standard.operation in printed.get()


def test_crowds_are_found_by_their_names() -> None:
    assert crowds(GAS) == {1: {1: 20_000}, 10: {10: 30_000, 1000: 30_000}, 100: {100: 90_000, 1000: 90_000}}


def test_the_picture_shows_the_numbers_given(tmp_path: Path) -> None:
    """The same numbers, the same bytes; others, another picture."""
    pictures = []
    for name, gas in (("one", GAS), ("again", GAS), ("other", {**GAS, "crash_1_accounts_1_buckets": 21_000})):
        draw_gas(tmp_path / f"{name}.png", gas)
        pictures.append((tmp_path / f"{name}.png").read_bytes())
    assert pictures[0].startswith(b"\x89PNG")
    assert pictures[0] == pictures[1] != pictures[2]
