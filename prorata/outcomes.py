"""How the published events ended: `scenarios/outcomes.toml`, read and checked.

A figure is what a source says, in its unit. A ratio is one figure over another: sizes of venues and of runs have
nothing in common, shares of a fund or of an open interest do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from prorata.scenarios import SCENARIOS

OUTCOMES = SCENARIOS / "outcomes.toml"

#: The crowd where nothing about the event's own was published.
DEFAULT_TRADERS = 40
DEFAULT_LEVERAGE = Decimal(10)
#: Insurance over open interest where that was not published: as much as `MarketParameters.guarded` asks for.
DEFAULT_INSURANCE = Fraction(1, 20)

#: What is compared, in the order of the tables; the second part says it of a run.
MEASURES: Mapping[str, tuple[str, str]] = {
    "insurance": ("insurance / open interest", "the vault before the traders come, over a side's notional after"),
    "opened": ("opened / wanted", "open interest that margin and cap allowed, over what the traders wanted"),
    "deficit": ("shortfall / open interest", "what closed accounts could not pay"),
    "haircut": ("haircut of the worst move", "socialized loss over the loss of that move"),
    "drawn": ("drawn / fund", "what insurance paid, over what it held when the path began"),
    "fund_change": ("change of the fund", "at the end, with fees and what closed accounts left; drawn / fund is gross"),
    "clawback": ("socialized / winners' profit", "over what all who gained would have gained without it"),
    "adl_shortfall": ("ADL shortfall / open interest", "what deleverage at a lagging mark made winners miss"),
    "deleveraged": ("deleveraged / open interest", "size that bankrupt accounts lost and the other side with them"),
    "liquidated": ("liquidated / open interest", "size that keepers took over"),
    "taken": ("taken out / open interest", "gain of all traders together, which only insurance can have paid"),
}

_FIGURE_KEYS = {"value", "unit", "source", "note"}
_RATIO_KEYS = {"of", "part", "minus", "whole", "price"}
_EVENT_KEYS = {"event", "limits", "same_as", "crowd", "figures", "ratios"}
_PRICE_UNIT = "$ per "


class OutcomeError(ValueError):
    """The file of outcomes cannot be used: one line that names the event and the reason."""


@dataclass(frozen=True)
class Figure:
    """One published number, or the range of it where reports differ.

    Attributes:
        low, high: in `unit`; the same unless reports differ.
        note: what it is of; may be empty.
    """

    name: str
    low: Decimal
    high: Decimal
    unit: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Ratio:
    """A published outcome as a run can have it too.

    Attributes:
        measure: a key of MEASURES.
        of: whose, if the event has several venues; may be empty.
        low, high: 1 is 100 %; the same unless reports differ.
        terms: the figures it is made of, for people.
    """

    measure: str
    of: str
    low: Fraction
    high: Fraction
    terms: str


@dataclass(frozen=True)
class Crowd:
    """Who trades in a run.

    Attributes:
        traders: how many.
        leverage, lowest_leverage: each draws its own between the two.
        alike: whether all have the same collateral.
        start: they trade at the first price from this second on; 0: at the first of the path.
        why: where that is from; empty for the default.
    """

    traders: int = DEFAULT_TRADERS
    leverage: Decimal = DEFAULT_LEVERAGE
    lowest_leverage: Decimal = Decimal(1)
    alike: bool = False
    start: int = 0
    why: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was published about one event's end.

    Attributes:
        name: of its price path.
        event: its title.
        figures: everything published, by name.
        ratios: what of it can be compared.
        limits: what cannot, a sentence or two each.
    """

    name: str
    event: str
    figures: Mapping[str, Figure]
    ratios: tuple[Ratio, ...]
    crowd: Crowd
    limits: tuple[str, ...]

    def published(self, measure: str) -> tuple[Ratio, ...]:
        """What was published of a measure, one for each venue; none if nothing was."""
        return tuple(ratio for ratio in self.ratios if ratio.measure == measure)

    @property
    def insurance(self) -> Fraction:
        """Insurance over open interest that a run of it should have."""
        published = self.published("insurance")
        return published[0].low if published else DEFAULT_INSURANCE


def load_outcomes(path: Path = OUTCOMES) -> dict[str, Outcome]:
    """Every event of the file, by the name of its price path, in the file's order.

    Raises:
        OutcomeError: the file cannot be read, or says something that it must not or not everything that it must.
    """
    try:
        # Decimals, so that a figure is just what stands there.
        found = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OutcomeError(f"{path.name}: cannot be read: {' '.join(str(error).split())}") from error
    return {name: _outcome(name, table, found) for name, table in found.items()}


def _outcome(name: str, table: Any, found: Mapping[str, Any]) -> Outcome:
    _check_keys(table, _EVENT_KEYS, {"event", "limits"}, name)
    source = table
    if "same_as" in table:
        source = found.get(table["same_as"], {})
        if "same_as" in source or "figures" in table or "ratios" in table:
            raise OutcomeError(f"{name}: same_as must name an event with figures of its own")
    for key in ("figures", "ratios"):
        if not isinstance(source.get(key), dict):
            raise OutcomeError(f"{name}: {key} missing")
    figures = {key: _figure(key, value, f"{name}.figures.{key}") for key, value in source["figures"].items()}
    limits = table["limits"]
    if not figures or not limits or not all(isinstance(text, str) and text.strip() for text in limits):
        raise OutcomeError(f"{name}: at least one figure and one limit are needed")
    return Outcome(
        name=name,
        event=table["event"],
        figures=figures,
        ratios=tuple(
            _ratio(measure, one, figures, f"{name}.ratios.{measure}")
            for measure, value in source["ratios"].items()
            for one in (value if isinstance(value, list) else [value])
        ),
        crowd=_crowd(table.get("crowd", {}), f"{name}.crowd"),
        limits=tuple(limits),
    )


def _figure(name: str, table: Any, where: str) -> Figure:
    _check_keys(table, _FIGURE_KEYS, {"value", "unit", "source"}, where)
    value = table["value"]
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2 or not all(_is_number(end) for end in ends) or ends[0] > ends[1]:
        raise OutcomeError(f"{where}: value must be a number, or the least and the most")
    low, high = (Decimal(end) for end in ends)
    texts = {key: table.get(key, "") for key in ("unit", "source", "note")}
    if not all(isinstance(text, str) for text in texts.values()) or not (texts["unit"] and texts["source"]):
        raise OutcomeError(f"{where}: unit and source must be words")
    return Figure(name, low, high, **texts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite()


def _ratio(measure: str, table: Any, figures: Mapping[str, Figure], where: str) -> Ratio:
    if measure not in MEASURES:
        raise OutcomeError(f"{where}: no such measure; known: {', '.join(MEASURES)}")
    _check_keys(table, _RATIO_KEYS, {"part"}, where)
    named: dict[str, Figure] = {}
    for key in _RATIO_KEYS - {"of"} & table.keys():
        if table[key] not in figures:
            raise OutcomeError(f"{where}: no figure {table[key]}")
        named[key] = figures[table[key]]
    low, high = _quotient(named, where)
    return Ratio(measure, table.get("of", ""), low, high, _terms(named))


def _quotient(named: Mapping[str, Figure], where: str) -> tuple[Fraction, Fraction]:
    """Least and most of a ratio; all but the part must be known for sure."""
    part = named["part"]
    if any(figure.low != figure.high for key, figure in named.items() if key != "part"):
        raise OutcomeError(f"{where}: only the part may be a range")
    if "whole" not in named:
        if part.unit != "%" or len(named) > 1:
            raise OutcomeError(f"{where}: a part without a whole must be in %")
        return Fraction(part.low) / 100, Fraction(part.high) / 100
    whole, less = named["whole"], named.get("minus")
    if whole.low <= 0:
        raise OutcomeError(f"{where}: the whole must be positive")
    if less is not None and less.unit != part.unit:
        raise OutcomeError(f"{where}: {less.name} is in {less.unit}, {part.name} in {part.unit}")
    factor = _factor(part, whole, named.get("price"), where)
    taken_off = Fraction(less.low) if less is not None else Fraction(0)
    low, high = ((Fraction(end) - taken_off) * factor / Fraction(whole.low) for end in (part.low, part.high))
    return low, high


def _factor(part: Figure, whole: Figure, price: Figure | None, where: str) -> Fraction:
    """Units of the whole in one of the part."""
    if price is None:
        if part.unit != whole.unit:
            raise OutcomeError(f"{where}: {part.name} is in {part.unit}, {whole.name} in {whole.unit}, with no price")
        return Fraction(1)
    if (price.unit, whole.unit) != (f"{_PRICE_UNIT}{part.unit}", "M$"):
        raise OutcomeError(f"{where}: {price.name} does not turn {part.unit} into {whole.unit}")
    return Fraction(price.low) / 10**6


def _terms(named: Mapping[str, Figure]) -> str:
    """A ratio's figures, as one would write them."""
    part = named["part"].name
    if "minus" in named:
        part = f"({part} - {named['minus'].name})"
    if "price" in named:
        part += f" x {named['price'].name}"
    return f"{part} / {named['whole'].name}".replace("_", " ") if "whole" in named else part.replace("_", " ")


def _crowd(table: Any, where: str) -> Crowd:
    known = {field.name for field in fields(Crowd)}
    _check_keys(table, known, {"why"} if table else set(), where)
    values: dict[str, Any] = {}
    for key, value in table.items():
        kind = type(getattr(Crowd, key))
        values[key] = Decimal(value) if kind is Decimal and _is_number(value) else value
        if type(values[key]) is not kind:
            raise OutcomeError(f"{where}: {key} must be a {'number' if kind is Decimal else kind.__name__}")
    crowd = replace(Crowd(), **values)
    if crowd.traders < 2 or not 1 <= crowd.lowest_leverage <= crowd.leverage:
        raise OutcomeError(f"{where}: at least 2 traders, and 1 <= lowest_leverage <= leverage")
    return crowd


def _check_keys(table: Any, known: set[str], needed: set[str], where: str) -> None:
    if not isinstance(table, dict):
        raise OutcomeError(f"{where}: a table is needed")
    for key in sorted(table.keys() - known):
        raise OutcomeError(f"{where}: {key} is not a key; known: {', '.join(sorted(known))}")
    for key in sorted(needed - table.keys()):
        raise OutcomeError(f"{where}: {key} missing")
