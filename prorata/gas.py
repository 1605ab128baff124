"""Gas against its snapshot, against other protocols and against what it may be: `make gas`.

The tests in `tests/gas` measure whole transactions, cold access and refunds included, on Ape's embedded network, and
fail if a number is not the one in `snapshots/gas.json`. Gas is exact, so every difference is a change that somebody
made; `make gas` shows it beside what was, and `make gas-accept` makes it what is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
SNAPSHOT = ROOT / "snapshots" / "gas.json"
_BYTECODE = "bytecode_"
#: Where `tests.figures` leaves what the tests measured.
FIGURES = ROOT / ".build" / "figures"
#: Of what is printed, characters.
WIDTH = 140


@dataclass(frozen=True)
class Peer:
    """What a protocol takes for an operation, measured on one Anvil at Cancun rules with its own code and settings."""

    name: str
    gas: int
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥ ' if self.at_least else ''}{self.gas:,} ({self.name})"


@dataclass(frozen=True)
class Standard:
    """What an operation is held against: the peers, cheapest first; the least that its storage and tokens take any
    market; and what it may take here.
    """

    operation: str
    peers: tuple[Peer, ...]
    floor: str
    bound: int


_DYDX_FILL = Peer("dYdX 1", 172_066)
_DYDX_WITHDRAWAL = Peer("dYdX 1", 111_491)
_DYDX_BANKRUPT = 147_313
#: Bankrupt accounts behind `crash_1000`; the peers close them one by one.
CROWD = 1_000
#: By the snapshot's names, in the order of a trader's life.
STANDARDS = {
    "deposit_first": Standard("deposit, first", (Peer("MCDEX 2", 135_394),), "67,751", 85_000),
    "deposit_repeat": Standard("deposit, repeat", (Peer("MCDEX 2", 64_216),), "50,651", 62_000),
    "withdraw_flat": Standard(
        "withdraw, flat", (Peer("MCDEX 2 core", 88_928), Peer("dYdX 1", 106_113)), "48,502", 60_000
    ),
    "withdraw_position": Standard("withdraw with a position", (_DYDX_WITHDRAWAL,), "57,530", 110_000),
    "withdraw_position_moved": Standard("… and the mark moves", (_DYDX_WITHDRAWAL,), "57,530", 145_000),
    "fill_open_fresh": Standard(
        "fill opens both sides, fresh buckets", (Peer("MCDEX 2", 516_822),), "65,597 an account", 230_000
    ),
    "fill_open_live": Standard("… live buckets, first time", (_DYDX_FILL,), "65,597 an account", 180_000),
    "fill_open_returning": Standard("… live buckets, returning", (_DYDX_FILL,), "65,597 an account", 145_000),
    "fill_increase": Standard(
        "fill increases both, live buckets", (Peer("dYdX 1", 181_912),), "48,519 an account", 155_000
    ),
    "fill_close": Standard("fill closes both", (Peer("dYdX 1", 182_106),), "43,732 an account", 140_000),
    "liquidate": Standard("liquidate", (Peer("MCDEX 2 core", 233_623), Peer("dYdX 1", 260_939)), "48,786", 180_000),
    "settle_quiet": Standard(
        "price move, nothing closed, funding due", (Peer("MCDEX 2 index", 185_857),), "27,289 + oracle", 80_000
    ),
    "bucket_marginal": Standard(
        "a bankrupt bucket; peers: an account",
        (Peer("cheapest", _DYDX_BANKRUPT), Peer("dearest", 447_434)),
        "44,002",
        9_000,
    ),
    "crash_1000": Standard(
        f"{CROWD:,} bankrupt accounts in 100 buckets",
        (
            Peer("MCDEX 3", 116_108_150),
            Peer("dYdX 1", CROWD * _DYDX_BANKRUPT, at_least=True),
            Peer("MCDEX 2", 199_000_000, at_least=True),
        ),
        "",
        1_000_000,
    ),
    "insurance_deposit_first": Standard("insurance deposit, first", (Peer("MCDEX 2", 76_094),), "67,971", 100_000),
    "insurance_deposit_repeat": Standard("insurance deposit, repeat", (Peer("MCDEX 2", 58_994),), "50,871", 80_000),
}


def measured() -> dict[str, int]:
    """What the last run of `tests/gas` found, by name."""
    found: dict[str, int] = {}
    for path in sorted(FIGURES.glob("gas: *.json")):
        found |= json.loads(path.read_text())
    return found


def reviewed() -> dict[str, int]:
    """The snapshot: gas by case, and bytes of code by contract, as `bytecode_PerpetualMarket`."""
    if not SNAPSHOT.exists():
        return {}
    snapshot = json.loads(SNAPSHOT.read_text())
    return snapshot["gas"] | {_BYTECODE + name: size for name, size in snapshot["bytecode"].items()}


def accept(now: dict[str, int]) -> None:
    """Make what was measured the snapshot."""
    sizes = {name.removeprefix(_BYTECODE): size for name, size in now.items() if name.startswith(_BYTECODE)}
    gas = {name: used for name, used in now.items() if not name.startswith(_BYTECODE)}
    SNAPSHOT.parent.mkdir(exist_ok=True)
    SNAPSHOT.write_text(json.dumps({"gas": gas, "bytecode": sizes}, indent=2) + "\n")


def table(before: dict[str, int], now: dict[str, int]) -> Table:
    """Every case: as reviewed, as measured, the difference, the best peer."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("case")
    for column in ("reviewed", "measured", "drift", "best peer"):
        shown.add_column(column, justify="right", no_wrap=True)
    for name in dict.fromkeys((*before, *now)):
        old, new, standard = before.get(name), now.get(name), STANDARDS.get(name)
        drift = _drift(old, new)
        shown.add_row(
            name,
            f"{old:,}" if old is not None else "-",
            f"{new:,}" if new is not None else "-",
            drift,
            str(standard.peers[0]) if standard else "",
            style="yellow" if drift else "",
        )
    return shown


def comparison(now: dict[str, int]) -> Table:
    """What users and other markets look at: as measured, beside the peers, the floor and the bound."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("operation", no_wrap=True)
    for column in ("best peer", "floor", "ours", "against the peer", "bound"):
        shown.add_column(column, justify="right", no_wrap=True)
    for name, standard in STANDARDS.items():
        ours = now.get(name)
        above = ours is not None and ours > standard.bound
        shown.add_row(
            standard.operation,
            "\n".join(map(str, standard.peers)),
            standard.floor or "-",
            f"{ours:,}" if ours is not None else "-",
            f"{100 * ours / standard.peers[0].gas:.1f} %" if ours is not None else "-",
            f"{'above ' if above else ''}{standard.bound:,}",
            style="yellow" if above else "",
        )
    return shown


def _drift(old: int | None, new: int | None) -> str:
    """A difference with its sign, in words where there is nothing to compare; empty if there is none."""
    if old is None:
        return "new"
    if new is None:
        return "gone"
    return f"{new - old:+,}" if new != old else ""


def main(arguments: list[str]) -> int:
    """Show the tables; with `--accept` make what was measured the snapshot. 1 if there is drift not accepted."""
    before, now = reviewed(), measured()
    if not now:
        print("nothing measured yet: run `make gas`", file=sys.stderr)
        return 2
    console = Console(width=WIDTH)
    for shown in (table(before, now), comparison(now)):
        console.print(shown)
        console.print()
    if "--accept" in arguments:
        accept(now)
        return 0
    return int(before != now)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
