"""The table of results in `docs/threat-model.md`, out of what `ape run attack --all --out DIR` wrote.

python -m prorata.attacks.threats DIR/attacks.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from prorata.attacks.catalogue import ATTACKS, FAMILIES, of_family
from prorata.report import money

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "threat-model.md"
_PLACE = re.compile(r"(<!-- attacks -->\n).*(<!-- /attacks -->)", re.DOTALL)
_NOTHING = 10**12


def table(results: Sequence[dict[str, Any]]) -> str:
    """One line an attack: its largest profit in each market beside the bound there, who paid, and where it is from.

    Raises:
        ValueError: an attack of the catalogue has no result.
    """
    found = {name: list(rows) for name, rows in groupby(results, key=lambda one: str(one["name"]))}
    if missing := [name for name in ATTACKS if name not in found]:
        raise ValueError(f"no result for {', '.join(missing)}")
    lines = [
        f"{len(ATTACKS)} attacks in {len(results)} searches of about {_about(results)} strikes each (seed "
        f"{results[0]['seed']}), none above its bound. Quote, after fees and gas at 1 gwei and 3,000 an ether."
        if all(one["within_bound"] for one in results)
        else "**Some are above their bounds.**",
        "",
        "| attack | largest profit / bound: open | guarded | loose | paid by | seen or described |",
        "|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        lines.append(f"| **{family.__name__.rpartition('.')[2]}** | | | | | |")
        for attack in of_family(family):
            rows = {one["setting"]: one for one in found[attack.name]}
            cells = [_cell(rows.get(setting)) for setting in ("open", "guarded", "loose")]
            payers = dict.fromkeys(one["payer"] for one in found[attack.name] if one["profit"] > _NOTHING)
            lines.append(
                f"| `{attack.name}`: {attack.title} | {' | '.join(cells)} | {', '.join(payers) or 'nobody'} "
                f"| {attack.source} |"
            )
    return "\n".join(lines) + "\n"


def _about(results: Sequence[dict[str, Any]]) -> int:
    """The median number of strikes."""
    return sorted(int(one["tried"]) for one in results)[len(results) // 2]


def _cell(result: dict[str, Any] | None) -> str:
    """Profit and bound; or that every strike was refused."""
    if result is None:
        return "-"
    if sum(result["refused"].values()) == result["tried"]:
        return "refused"
    profit = money(result["profit"]) if result["profit"] > _NOTHING else "none"
    return f"{profit} / {money(result['bound']) if result['bound'] > _NOTHING else 'nothing'}"


def write(results: Sequence[dict[str, Any]]) -> None:
    """Put the table into the document."""
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(_PLACE.sub(lambda match: match[1] + table(results) + match[2], text))


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()))
    print(f"wrote {DOCUMENT.relative_to(DOCUMENT.parent.parent)}")
