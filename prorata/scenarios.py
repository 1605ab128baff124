"""Price paths to drive a market with: users' CSV files, the published stress events, synthetic shocks.

A path is what an index would have said and when. Prices are quote per unit of size, exact decimals of at most 18 digits
after the point, inside the range the market accepts. The named paths are the files of `scenarios/`; each says at its
head which of its figures are published and which are interpolated.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Literal

from prorata.units import MAX_PRICE, MIN_PRICE, WAD

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"

#: Keys of the comment block at the head of a named path.
NOTE_KEYS = ("title", "asset", "source", "published", "interpolated")

#: Seconds between the two points of a synthetic shock.
SHOCK_SECONDS = 3600

#: Last second of the year 9999. Later stamps are milliseconds taken for seconds.
_LAST_TIMESTAMP = 253_402_300_799
_LARGEST_RISE = Decimal(100)
_DECIMALS = 18
# Scaled by an exponent and not by a division: exact whatever the precision of the caller's decimal context.
_LOWEST, _HIGHEST = (Decimal(f"{MIN_PRICE}e-{_DECIMALS}"), Decimal(f"{MAX_PRICE}e-{_DECIMALS}"))
_RANGE = f"the market accepts {MIN_PRICE / WAD:.3g} to {MAX_PRICE / WAD:.1f}"
# Stricter than Decimal(), which also takes underscores, spaces, other scripts' digits, nan and inf.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_SHOWN = 40


class PathError(ValueError):
    """A price path that cannot be used: one line that names the file, the line if there is one, and the reason."""


@dataclass(frozen=True)
class PricePoint:
    """One index price: unix seconds, quote per unit of size."""

    timestamp: int
    price: Decimal


@dataclass(frozen=True)
class PricePath:
    """At least two points in strictly increasing time.

    Attributes:
        notes: title, asset, source, published and interpolated figures of a named path; empty for any other.
    """

    name: str
    points: tuple[PricePoint, ...]
    notes: Mapping[str, str] = field(default_factory=dict, hash=False)


def load_csv(path: Path) -> PricePath:
    """The path in a CSV file with the columns `timestamp` (unix seconds) and `price` (quote per unit).

    Other columns, blank lines and lines that start with `#` are ignored; a byte order mark and any line ends will do.

    Raises:
        PathError: the file cannot be read as such a table, a value is not a number the market accepts, time does not
            increase, or there are fewer than two rows.
    """
    return PricePath(path.stem, _points(_read(path), _printable(str(path))))


def named() -> list[str]:
    """Names of the stress events in `scenarios/`, sorted."""
    return sorted(path.stem for path in SCENARIOS.glob("*.csv"))


def load_named(name: str) -> PricePath:
    """A stress event of `scenarios/`, with its notes.

    Raises:
        PathError: no event of that name; lists those there are.
    """
    if name not in named():
        raise PathError(f"no scenario {_shown(name)}; known: {', '.join(named())}")
    lines = _read(SCENARIOS / f"{name}.csv")
    return PricePath(name, _points(lines, name), _notes(lines))


def load_published(name: str) -> PricePath:
    """A stress event as its sources have it: the first price of its path and the published ones, nothing in between.

    Raises:
        PathError: no event of that name; or its file marks nothing after the first price as published.
    """
    path = load_named(name)
    kinds = _column_of(_read(SCENARIOS / f"{name}.csv"), "kind", name)
    points = [
        point
        for number, (point, kind) in enumerate(zip(path.points, kinds, strict=True))
        if not number or kind == "published"
    ]
    if len(points) < 2:
        raise PathError(f"{name}: no price after the first is published")
    return PricePath(name, tuple(points), path.notes)


def refined(path: PricePath) -> PricePath:
    """The path with one more point between any two that are at least two seconds apart: half-way in time, at equal
    ratios. The new price is rounded to 18 digits after the point, half to even."""
    points = [path.points[0]]
    with localcontext() as context:
        context.prec = 60
        for before, after in pairwise(path.points):
            middle = (before.timestamp + after.timestamp) // 2
            if middle > before.timestamp:
                price = (before.price * after.price).sqrt().quantize(Decimal(1).scaleb(-_DECIMALS), ROUND_HALF_EVEN)
                points.append(PricePoint(middle, price))
            points.append(after)
    return PricePath(path.name, tuple(points), path.notes)


def shock(kind: Literal["drop", "rise"], fraction: Decimal, start: Decimal = Decimal(1000)) -> PricePath:
    """One move and nothing else: `start`, and an hour later start * (1 - fraction) or start * (1 + fraction).

    Time counts from 0. The second price is rounded to 18 digits after the point, half to even.

    Args:
        kind: "drop" or "rise".
        fraction: of the start; inside (0, 1) for a drop, (0, 100] for a rise.
        start: quote per unit.

    Raises:
        PathError: kind or fraction not as above, or one of the two prices outside what the market accepts.
    """
    name = f"{kind} {_shown(fraction)}"
    _check_shock(kind, fraction, name)
    _check_price(start, name)
    with localcontext() as context:
        # 25 digits of price times 28 of fraction: the product is exact before it is rounded.
        context.prec = 60
        end = start * (1 - fraction if kind == "drop" else 1 + fraction)
        if _digits_after_point(end) > _DECIMALS:
            end = end.quantize(Decimal(1).scaleb(-_DECIMALS), ROUND_HALF_EVEN)
    _check_price(end, name)
    return PricePath(f"{kind}-{fraction}", (PricePoint(0, start), PricePoint(SHOCK_SECONDS, end)))


def _check_shock(kind: str, fraction: Decimal, name: str) -> None:
    if kind not in ("drop", "rise"):
        raise PathError(f"shock {_shown(kind)}: neither drop nor rise")
    if not fraction.is_finite() or fraction <= 0:
        raise PathError(f"{name}: the fraction must be a number above 0")
    if kind == "drop" and fraction >= 1:
        raise PathError(f"{name}: a drop must be below 1, or no price is left")
    if kind == "rise" and fraction > _LARGEST_RISE:
        raise PathError(f"{name}: a rise must be at most {_LARGEST_RISE}")


def _read(path: Path) -> list[str]:
    """The file's lines, line ends removed."""
    where = _printable(str(path))
    try:
        # Reading as text turns CRLF into LF; "utf-8-sig" drops a byte order mark.
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise PathError(f"{where}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise PathError(f"{where}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name with a null byte in it
        raise PathError(f"{where}: cannot be read: {error}") from error


def _notes(lines: list[str]) -> dict[str, str]:
    """The comment block at the head: `# key: text`, and comment lines that go on with the text above them."""
    notes: dict[str, str] = {}
    key = ""
    for line in takewhile(lambda line: line.startswith("#"), lines):
        text = line.removeprefix("#").strip()
        head, _, rest = text.partition(":")
        if head in NOTE_KEYS:
            key, text = head, rest.strip()
        notes[key] = f"{notes.get(key, '')} {text}".strip()
    return notes


def _rows(lines: list[str], where: str) -> Iterator[tuple[str, list[str]]]:
    """Fields of every line that is neither blank nor a comment, stripped, each with its "file: line N"."""
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        at = f"{where}: line {number}"
        try:
            # Line by line, so that a stray quote is an error on its own line and does not swallow the rest of the file.
            fields = next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise PathError(f"{at}: not CSV: {error}") from error
        yield at, [text.strip() for text in fields]


def _points(lines: list[str], where: str) -> tuple[PricePoint, ...]:
    """Header and rows of a file, checked one by one and against each other."""
    rows = _rows(lines, where)
    first = next(rows, None)
    if first is None:
        raise PathError(f"{where}: empty, a header timestamp,price and rows are needed")
    at, header = first
    time_column, price_column = (_column(header, "timestamp", at), _column(header, "price", at))
    points: list[PricePoint] = []
    for at, fields in rows:
        if len(fields) != len(header):
            raise PathError(f"{at}: {len(fields)} field(s), the header has {len(header)}")
        point = PricePoint(_timestamp(fields[time_column], at), _price(fields[price_column], at))
        if points and point.timestamp <= points[-1].timestamp:
            raise PathError(f"{at}: timestamp {point.timestamp} is not after the one before, {points[-1].timestamp}")
        points.append(point)
    if len(points) < 2:
        raise PathError(f"{where}: {len(points)} price row(s), at least 2 needed")
    return tuple(points)


def _column_of(lines: list[str], name: str, where: str) -> list[str]:
    """A column of a file that has been checked."""
    (at, header), *rows = _rows(lines, where)
    column = _column(header, name, at)
    return [fields[column] for _, fields in rows]


def _column(header: list[str], name: str, at: str) -> int:
    if name not in header:
        raise PathError(f"{at}: column {name} missing from the header")
    if header.count(name) > 1:
        raise PathError(f"{at}: column {name} stands twice in the header")
    return header.index(name)


def _timestamp(text: str, at: str) -> int:
    seconds = _number(text, "timestamp", at)
    if seconds < 0:
        raise PathError(f"{at}: timestamp {_shown(text)} is negative")
    if seconds > _LAST_TIMESTAMP:
        raise PathError(f"{at}: timestamp {_shown(text)} is beyond the year 9999; seconds are needed, not milliseconds")
    if seconds != seconds.to_integral_value():
        raise PathError(f"{at}: timestamp {_shown(text)} is not a whole number of seconds")
    return int(seconds)


def _price(text: str, at: str) -> Decimal:
    price = _number(text, "price", at)
    _check_price(price, at)
    return price


def _check_price(price: Decimal, at: str) -> None:
    if not price.is_finite():
        raise PathError(f"{at}: price {_shown(price)} is not a number")
    if price <= 0:
        raise PathError(f"{at}: price {_shown(price)} is not positive")
    if not _LOWEST <= price <= _HIGHEST:
        raise PathError(f"{at}: price {_shown(price)} is out of range, {_RANGE}")
    if _digits_after_point(price) > _DECIMALS:
        raise PathError(f"{at}: price {_shown(price)} has more than {_DECIMALS} digits after the point")


def _digits_after_point(number: Decimal) -> int:
    """As written: 1.50 has two. Negative for 1e3."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "callers pass finite numbers"
    return -exponent


def _number(text: str, column: str, at: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise PathError(f"{at}: {column} {_shown(text)} is not a number")
    return Decimal(text)


def _shown(value: object) -> str:
    """A value short enough, and plain enough, to stand in a message of one line."""
    text = str(value)
    return _printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") or "(empty)"


def _printable(text: str) -> str:
    # A file name or a field may hold line ends or control characters: escaped, the message stays one line.
    return text if text.isprintable() else repr(text)
