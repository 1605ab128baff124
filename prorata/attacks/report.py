"""What attacks came to: a table for people, `attacks.json` for programs, and a page for each attack."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from prorata.attacks.catalogue import ATTACKS
from prorata.attacks.search import Costs, Result
from prorata.report import money


def knobs(result: Result) -> str:
    """The best strike's parameters, three digits each."""
    return ", ".join(f"{name} {value:.4g}" for name, value in result.parameters.items())


def _bound(result: Result) -> str:
    """Dust is nothing."""
    return "nothing" if result.bound <= 10**12 else money(result.bound)


def table(results: Sequence[Result]) -> Table:
    """One line an attack and setting."""
    shown = Table("attack", "market", box=None, pad_edge=False)
    for name in ("profit", "bound"):
        shown.add_column(name, justify="right")
    for name in ("payer", "gas", "strikes", "best found at, or why it was refused"):
        shown.add_column(name, justify="right" if name in ("gas", "strikes") else "left")
    for one in results:
        shown.add_row(
            one.name,
            one.setting,
            money(one.profit) if one.within_bound else f"[red]{money(one.profit)}",
            _bound(one),
            one.payer,
            f"{one.gas:,}" if one.gas else "-",
            str(one.tried),
            _why(one) or knobs(one),
        )
    return shown


def _why(result: Result) -> str:
    """The reasons for which every strike was refused; empty if one was not."""
    return "; ".join(result.refused) if sum(result.refused.values()) == result.tried else ""


def page(results: Sequence[Result], costs: Costs) -> str:
    """One attack in all its settings, in Markdown."""
    attack = ATTACKS[results[0].name]
    lines = [
        f"# {attack.name}: {attack.title}",
        "",
        inspect.cleandoc(attack.__doc__ or ""),
        "",
        f"- **Hoped for**: {attack.hope}",
        f"- **Seen or described**: {attack.source}",
        f"- **Promised**: {attack.promise}",
        "",
        f"Amounts in quote. Profit after fees and gas ({costs.gas_price_gwei:g} gwei, ether at {costs.ether:g}).",
        "",
        "| market | profit | bound | within | payers | gas | strikes | refused | parameters of the best |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        payers = ", ".join(f"{name} {money(amount)}" for name, amount in one.payers.items()) or "nobody"
        refused = "; ".join(f"{number} {reason}" for reason, number in one.refused.items()) or "none"
        lines.append(
            f"| {one.setting} | {money(one.profit)} | {_bound(one)} | {'yes' if one.within_bound else '**no**'} "
            f"| {payers} | {one.gas:,} | {one.tried} | {refused} | {knobs(one)} |"
        )
    return "\n".join([*lines, "", "```python", inspect.getsource(attack).rstrip(), "```", ""])


def write(results: Sequence[Result], costs: Costs, seed: int, folder: Path) -> list[Path]:
    """`attacks.json` and the pages; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "attacks.json"
    listed.write_text(json.dumps([one.as_dict() | {"seed": seed} for one in results], indent=2) + "\n")
    written = [listed]
    for name in dict.fromkeys(one.name for one in results):
        path = folder / f"{name}.md"
        path.write_text(page([one for one in results if one.name == name], costs))
        written.append(path)
    return written
