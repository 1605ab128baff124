"""Gas against its snapshot and against other protocols: `make gas`.

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
#: Where `tests.figures` leaves what the tests measured.
FIGURES = ROOT / ".build" / "figures"


@dataclass(frozen=True)
class Peer:
    """The cheapest protocol at an operation, measured on one Anvil at Cancun rules with its own code and settings."""

    name: str
    gas: int


#: By the snapshot's names. Of `bucket_marginal` the peers' number is for every bankrupt account.
PEERS = {
    "deposit_first": Peer("MCDEX 2", 135_394),
    "deposit_repeat": Peer("MCDEX 2", 64_216),
    "withdraw_flat": Peer("MCDEX 2 core", 88_928),
    "withdraw_position": Peer("dYdX 1", 111_491),
    "fill_open_fresh": Peer("MCDEX 2", 516_822),
    "fill_open_live": Peer("dYdX 1", 172_066),
    "fill_open_returning": Peer("dYdX 1", 172_066),
    "fill_increase": Peer("dYdX 1", 181_912),
    "fill_close": Peer("dYdX 1", 182_106),
    "liquidate": Peer("MCDEX 2 core", 233_623),
    "settle_quiet": Peer("MCDEX 2 index", 185_857),
    "bucket_marginal": Peer("an account, cheapest", 147_313),
    "crash_1000": Peer("MCDEX 3", 116_108_150),
    "insurance_deposit_first": Peer("MCDEX 2", 76_094),
    "insurance_deposit_repeat": Peer("MCDEX 2", 58_994),
}


def measured() -> dict[str, int]:
    """What the last run of `tests/gas` found, by name."""
    found: dict[str, int] = {}
    for path in sorted(FIGURES.glob("gas: *.json")):
        found |= json.loads(path.read_text())
    return found


def reviewed() -> dict[str, int]:
    """The snapshot."""
    return json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else {}


def table(before: dict[str, int], now: dict[str, int]) -> Table:
    """Every case: as reviewed, as measured, the difference, the best peer."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("case")
    for column in ("reviewed", "measured", "drift", "best peer"):
        shown.add_column(column, justify="right", no_wrap=True)
    for name in dict.fromkeys((*before, *now)):
        old, new, peer = before.get(name), now.get(name), PEERS.get(name)
        drift = _drift(old, new)
        shown.add_row(
            name,
            f"{old:,}" if old is not None else "-",
            f"{new:,}" if new is not None else "-",
            drift,
            f"{peer.gas:,} ({peer.name})" if peer else "",
            style="yellow" if drift else "",
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
    """Show the table; with `--accept` make what was measured the snapshot. 1 if there is drift that is not accepted."""
    before, now = reviewed(), measured()
    if not now:
        print("nothing measured yet: run `make gas`", file=sys.stderr)
        return 2
    Console(width=110).print(table(before, now))
    if "--accept" in arguments:
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(json.dumps(now, indent=2) + "\n")
        return 0
    return int(before != now)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
