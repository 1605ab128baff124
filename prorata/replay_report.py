"""What replays found, for people (tables on a terminal, replays.md) and for programs (replays.json)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prorata.outcomes import MEASURES, Crowd, Figure, Ratio
from prorata.replay import CASES, Replay, Result
from prorata.units import WAD

#: Rows of amounts, quote; published ones are in other units and stand among the figures.
_AMOUNTS = {
    "open_interest": "open interest, quote",
    "fund": "fund, quote",
    "drawn": "drawn, quote",
    "socialized": "socialized, quote",
}

_HEAD = """# Replays of published events

Written by `make replays` (`ape run replay --all`, seed {seed}); every figure published is in `scenarios/outcomes.toml`
with its source, every price in `scenarios/*.csv` with what of it is interpolated.

Each event's price path is settled six times, on a fresh in-process chain, by the same traders. The columns say which
keepers there were, and what else was different:

- **prompt, late, none**: the default market, which moves its mark by up to a half at once. A prompt keeper liquidates
  after every settlement, a late one whom it saw below maintenance two prices earlier, if he is still there.
- **none, finer**: one more point between any two of the path.
- **none, jumps**: the published prices only, as if nobody had settled between them.
- **none, guarded**: the market of `MarketParameters.guarded()`, with steps of 1 % every 12 seconds (S8), funding, a cap
  on open interest and a cool-off. Insurance has a higher ratio where cap or margin let less be opened.

What to make of it:

- Published sizes are millions of dollars and the runs' are a crowd's, so only shares are compared. Insurance has the
  event's ratio to open interest where that can be had from published figures, 5 % of what the traders want where not.
- **The path decides how large one step is, and that decides almost everything.** Its points between the published
  prices are ours. An account that is closed by a small step owes nothing, one that is closed by a jump owes most of it:
  compare *none*, *finer* and *jumps*. What they agree in is a property of the market, what they differ in is one of how
  often somebody settles. In the guarded market nobody owes anything on any path. It has its price: winners who are
  deleveraged while its mark is still on the way miss the rest, most of all where a fall takes a minute (POPCAT).
- Sides, collateral and leverage are drawn from the seed, and another one moves the figures. Nobody adds margin, closes
  or opens anything along the path.
- Insurance never pays more than half of what it holds in a day, so {half} drawn means: all it may.
- A venue that closes positions loses by slippage; here they change hands at the mark, and there is no order book.
- Whatever is closed here is closed on both sides at once. A venue looks for a buyer first, and may have its fund carry
  the position, so it deleverages less and loses more. Deleverage is no loss: the other side's winners are closed at the
  mark with their gains. What they miss because the mark lags is the ADL shortfall, which venues rarely publish.
- A late keeper finds little to do: most of those it saw are closed by the market before it acts.
"""


#: What the columns are, for a terminal.
LEGEND = (
    "keepers prompt, late, none; finer: one more point between any two of the path; jumps: the published prices only; "
    "guarded: steps of 1 %, and every other defence"
)


def per_cent(share: Fraction | None) -> str:
    """A share for people: two digits, or none above 1,000 %; "-" if there is nothing to be a part of."""
    if share is None:
        return "-"
    if not share:
        return "0"
    shown = float(100 * share)
    if abs(shown) < 0.005:
        return f"{'-' if shown < 0 else ''}<0.01 %"
    return f"{shown:,.0f} %" if abs(shown) >= 1000 else f"{shown:.2f} %"


def published_text(ratios: Sequence[Ratio]) -> str:
    """What was published of a measure, venue by venue; "-" if nothing."""
    return "; ".join(_ratio_text(ratio) for ratio in ratios) or "-"


def _ratio_text(ratio: Ratio) -> str:
    shown = per_cent(ratio.low)
    if ratio.high != ratio.low:
        shown = f"{shown.removesuffix(' %')} to {per_cent(ratio.high)}"
    return f"{shown} ({ratio.of})" if ratio.of else shown


def figure_text(figure: Figure) -> str:
    """A figure with its unit, as published."""
    numbers = [f"{number:,f}" for number in dict.fromkeys((figure.low, figure.high))]
    return f"{' to '.join(numbers)} {figure.unit}"


def crowd_text(replay: Replay) -> str:
    """The line that says who traded, and how much insurance stood behind them."""
    crowd, one = replay.crowd, replay.crowd.lowest_leverage == replay.crowd.leverage
    leverage = f"{crowd.leverage}" if one else f"{crowd.lowest_leverage} to {crowd.leverage}"
    same = ", all with the same collateral" if crowd.alike else ""
    return (
        f"seed {replay.seed}, {crowd.traders} traders{same}, leverage {leverage}, "
        f"insurance {per_cent(replay.insurance)} of the open interest they want"
    )


def guarantees_text(result: Result) -> str:
    """Which guarantees held, or which did not."""
    violated = [name for name, holds in result.guarantees.items() if not holds]
    return f"{' '.join(violated)} VIOLATED" if violated else " ".join(result.guarantees)


def rows(replay: Replay) -> list[tuple[str, str, list[str]]]:
    """The table of an event: name of the row, what was published, and every case's cell."""
    results = replay.results
    found = [
        (title, published_text(replay.outcome.published(key)), [per_cent(result.ratios[key]) for result in results])
        for key, (title, _) in MEASURES.items()
    ]
    found += [
        (title, "-", [f"{result.amounts[key] / WAD:,.0f}" for result in results]) for key, title in _AMOUNTS.items()
    ]
    found += [
        ("accounts closed", "-", [f"{result.accounts_closed} of {result.traders}" for result in results]),
        ("liquidations", "-", [str(result.liquidations) for result in results]),
        ("moves of the mark", "-", [str(result.settlements) for result in results]),
        ("guarantees that held", "-", [guarantees_text(result) for result in results]),
    ]
    return found


# ----------------------------------------------------------------------------------------------------------- terminal


def show(replay: Replay, console: Console) -> None:
    """Print an event's table and what of it cannot be compared."""
    table = Table(
        title=f"{replay.outcome.name}: {replay.outcome.event}", title_justify="left", box=None, pad_edge=False
    )
    # On a narrow terminal cells break into lines, and no digit is lost.
    table.padding = (0, 1, 0, 0)
    for name in ("", "published", *(result.case for result in replay.results)):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for name, published, cells in rows(replay):
        table.add_row(name, published, *cells, style="bold red" if any("VIOLATED" in cell for cell in cells) else "")
    console.print(table)
    console.print(f"({crowd_text(replay)})", highlight=False)
    for result in replay.results:
        if result.violation:
            console.print(f"{result.case}: {result.violation}", style="bold red", highlight=False)
    for limit in replay.outcome.limits:
        console.print(f"- {limit}", highlight=False)
    console.print()


# ----------------------------------------------------------------------------------------------------------- markdown


def markdown(replays: Sequence[Replay]) -> str:
    """The whole page, events in order of time."""
    ordered = sorted(replays, key=lambda one: (one.began, one.outcome.name))
    head = _HEAD.format(seed=replays[0].seed if replays else "-", half=per_cent(Fraction(1, 2)))
    return "\n".join([head, _meanings(), _summary(ordered), *(event_markdown(one) for one in ordered)])


def event_markdown(replay: Replay) -> str:
    """An event's section: what was published, what the runs came to, and what cannot be compared."""
    outcome = replay.outcome
    figures = [
        (figure.name.replace("_", " "), figure_text(figure), figure.note, figure.source)
        for figure in outcome.figures.values()
    ]
    lines = [
        f"## {outcome.name}",
        "",
        f"**{outcome.event}.** A run has {crowd_text(replay)}.{_why(replay.crowd)}",
        "",
        *_table(("published", "figure", "of", "source"), figures, left=4),
        "",
        *_ratio_lines(outcome.ratios),
        *_table(
            ("", "published", *(result.case for result in replay.results)),
            [(name, published, *cells) for name, published, cells in rows(replay)],
        ),
        "",
        "What cannot be compared:",
        "",
        *(f"- {limit}" for limit in outcome.limits),
        "",
    ]
    return "\n".join(lines)


def _why(crowd: Crowd) -> str:
    return f" Why: {crowd.why}." if crowd.why else ""


def _ratio_lines(ratios: Sequence[Ratio]) -> list[str]:
    """How the published shares were made, if any was."""
    if not ratios:
        return []
    parts = [f"{MEASURES[one.measure][0]} {_ratio_text(one)} from *{one.terms}*" for one in ratios]
    return [f"Published shares: {'; '.join(parts)}.", ""]


def _meanings() -> str:
    lines = [f"- *{title}*: {meaning}." for title, meaning in MEASURES.values()]
    return "\n".join(["The rows of the tables:", "", *lines, ""])


def _summary(replays: Sequence[Replay]) -> str:
    """One line an event: the share of the fund that was drawn."""
    lines = [
        (
            f"[{one.outcome.name}](#{one.outcome.name})",
            published_text(one.outcome.published("drawn")),
            *(per_cent(result.ratios["drawn"]) for result in one.results),
        )
        for one in replays
    ]
    head = ("drawn / fund", "published", *(case.name for case in CASES))
    return "\n".join([*_table(head, lines), ""])


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A table of Markdown; the first `left` columns are words."""
    rule = ["---" if number < left else "---:" for number in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)]


# ----------------------------------------------------------------------------------------------------------- programs


def replays_json(replays: Sequence[Replay]) -> dict[str, Any]:
    """Everything as JSON: amounts and shares are 18-digit integers as strings (shares floored), counts numbers."""
    return {"events": [_event_json(one) for one in replays]}


def _event_json(replay: Replay) -> dict[str, Any]:
    outcome, crowd = replay.outcome, replay.crowd
    return {
        "name": outcome.name,
        "event": outcome.event,
        "seed": replay.seed,
        "traders": crowd.traders,
        "leverage": [str(crowd.lowest_leverage), str(crowd.leverage)],
        "alike": crowd.alike,
        "insurance": _wad(replay.insurance),
        "published": {
            "figures": {
                name: {
                    "value": [_plain(figure.low), _plain(figure.high)],
                    "unit": figure.unit,
                    "source": figure.source,
                    "note": figure.note,
                }
                for name, figure in outcome.figures.items()
            },
            "ratios": [
                {"measure": one.measure, "of": one.of, "value": [_wad(one.low), _wad(one.high)], "terms": one.terms}
                for one in outcome.ratios
            ],
        },
        "limits": list(outcome.limits),
        "cases": [_result_json(result) for result in replay.results],
    }


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "case": result.case,
        "ratios": {name: _wad(share) for name, share in result.ratios.items()},
        "amounts": {name: str(amount) for name, amount in result.amounts.items()},
        "accounts_closed": result.accounts_closed,
        "liquidations": result.liquidations,
        "settlements": result.settlements,
        "guarantees": dict(result.guarantees),
        "violation": result.violation,
    }


def _wad(share: Fraction | None) -> str | None:
    return None if share is None else str(floor(share * WAD))


def _plain(number: Decimal) -> str:
    return f"{number:f}"


def write(replays: Sequence[Replay], directory: Path) -> list[Path]:
    """Write `replays.json` and `replays.md` of what is finished; each file is replaced whole, never left in between."""
    texts: Mapping[str, str] = {
        "replays.json": json.dumps(replays_json(replays), indent=2) + "\n",
        "replays.md": markdown(replays),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        unfinished = directory / f".{name}.part"
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, directory / name)
    return [directory / name for name in texts]
