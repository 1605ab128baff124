"""The picture of what a crash costs, `docs/gas.png`, drawn from what `tests/gas` measured last: `make gas`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from prorata.gas import CROWD, STANDARDS, measured

TARGET = Path(__file__).parent.parent / "docs" / "gas.png"
_CROWD_CASE = re.compile(r"crash_(\d+)_accounts_(\d+)_buckets")
_OURS, _PEERS = "#4c78a8", "#b0305c"


def crowds(gas: Mapping[str, int]) -> dict[int, dict[int, int]]:
    """Measured crashes: gas by bankrupt accounts, by the buckets they were in."""
    found: dict[int, dict[int, int]] = {}
    for name, used in gas.items():
        if case := _CROWD_CASE.fullmatch(name):
            accounts, buckets = map(int, case.groups())
            found.setdefault(buckets, {})[accounts] = used
    return {buckets: dict(sorted(found[buckets].items())) for buckets in sorted(found)}


def draw_gas(target: Path, gas: Mapping[str, int]) -> None:
    """Gas of a settlement against the accounts it bankrupts, beside the peers', and against the buckets it closes."""
    figure, (by_accounts, by_buckets) = plt.subplots(
        1, 2, figsize=(9, 4.4), sharey=True, gridspec_kw={"width_ratios": (2, 1)}
    )
    found = crowds(gas)
    _draw_peers(by_accounts)
    lines = [(buckets, line) for buckets, line in found.items() if len(line) > 1]
    for (buckets, line), style in zip(lines, ("o-", "s-"), strict=True):
        by_accounts.plot(list(line), list(line.values()), style, color=_OURS, label=f"here, in {buckets} buckets")
    by_accounts.set_xlabel("bankrupt accounts")
    by_accounts.set_ylabel("gas of the settlement")
    by_accounts.legend(frameon=False, fontsize=9)

    smallest = {buckets: next(iter(line.values())) for buckets, line in found.items()}
    by_buckets.plot(list(smallest), list(smallest.values()), "D-", color=_OURS)
    for buckets, used in smallest.items():
        by_buckets.annotate(f"{used:,}", (buckets, used), (3, 8), textcoords="offset points", ha="right", fontsize=9)
    by_buckets.set_xlabel("buckets closed, whoever is in them")
    by_buckets.set_xlim(0.15, 300)

    for axes in (by_accounts, by_buckets):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_formatter(EngFormatter())
        axes.grid(which="major", color="#eeeeee")
        axes.set_axisbelow(True)
    figure.tight_layout()
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _draw_peers(axes: Axes) -> None:
    """Gas of closing so many accounts one by one, from what a crowd takes."""
    accounts = (10, CROWD)
    for peer, style in zip(reversed(STANDARDS["crash_1000"].peers), (":", "--", "-."), strict=True):
        each = peer.gas / CROWD
        label = f"{peer.name}, {'≥ ' if peer.at_least else ''}{each:,.0f} each, computed"
        axes.plot(accounts, [each * number for number in accounts], style, color=_PEERS, lw=1.2, label=label)


if __name__ == "__main__":
    if not crowds(measured()):
        sys.exit("no crash measured yet: run `make gas`")
    draw_gas(TARGET, measured())
