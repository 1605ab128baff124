"""Price paths: every refusal by name, every published figure where it was published, and round trips."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prorata.scenarios import (
    NOTE_KEYS,
    SCENARIOS,
    SHOCK_SECONDS,
    PathError,
    PricePath,
    PricePoint,
    load_csv,
    load_named,
    named,
    shock,
)
from prorata.units import MAX_PRICE, MIN_PRICE, to_wad

HEAD = "timestamp,price\n"
LOWEST, HIGHEST = Decimal(MIN_PRICE).scaleb(-18), Decimal(MAX_PRICE).scaleb(-18)

# One file for all examples of a property: each example overwrites it before it reads it.
TMP_PATH_PER_TEST = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "walk.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> str:
    """The one line with which a file is refused; it names the file."""
    with pytest.raises(PathError) as caught:
        load_csv(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(path))
    return message


class TestLoad:
    def test_reads_timestamps_and_exact_prices(self, tmp_path: Path) -> None:
        path = write(tmp_path, HEAD + "1600000000,2.000000000000000001\n1600000060,1999.5\n")
        points = (
            PricePoint(1_600_000_000, Decimal("2.000000000000000001")),
            PricePoint(1_600_000_060, Decimal("1999.5")),
        )
        assert load_csv(path) == PricePath("walk", points, {})

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param("timestamp,price\n1,10\n2,20", id="no line end at the end"),
            pytest.param("timestamp,price\r\n1,10\r\n2,20\r\n", id="CRLF"),
            pytest.param("\ufefftimestamp,price\n1,10\n2,20\n", id="byte order mark"),
            pytest.param("\ufeff# title: x\r\ntimestamp,price\r\n1,10\r\n2,20\r\n", id="mark, comment and CRLF"),
            pytest.param("# a\n\n  # b\ntimestamp,price\n\n1,10\n# c\n   \n2,20\n\n", id="comments and blank lines"),
            pytest.param("price,timestamp\n10,1\n20,2\n", id="columns the other way round"),
            pytest.param("venue,timestamp,price,kind\nx,1,10,published\ny,2,20,\n", id="extra columns"),
            pytest.param(" timestamp , price \n 1 , 10 \n 2 , 20 \n", id="spaces around fields"),
            pytest.param('"timestamp","price"\n"1","10"\n"2","20"\n', id="quoted fields"),
            pytest.param("timestamp,price\n1.0,1e1\n2e0,+20.\n", id="other ways to write a number"),
        ],
    )
    def test_tolerates(self, tmp_path: Path, content: str) -> None:
        assert load_csv(write(tmp_path, content)).points == (PricePoint(1, Decimal(10)), PricePoint(2, Decimal(20)))

    def test_takes_both_ends_of_the_markets_range(self, tmp_path: Path) -> None:
        points = load_csv(write(tmp_path, f"{HEAD}0,{LOWEST:f}\n1,{HIGHEST:f}\n")).points
        assert [to_wad(point.price) for point in points] == [MIN_PRICE, MAX_PRICE]

    @pytest.mark.parametrize(
        ("content", "line", "reason"),
        [
            pytest.param("time,price\n1,10\n2,20\n", 1, "column timestamp missing", id="no timestamp column"),
            pytest.param("timestamp,value\n1,10\n2,20\n", 1, "column price missing", id="no price column"),
            pytest.param("1,10\n2,20\n", 1, "column timestamp missing", id="no header"),
            pytest.param("timestamp;price\n1;10\n", 1, "column timestamp missing", id="semicolons"),
            pytest.param("timestamp,price,price\n1,1,1\n", 1, "column price stands twice", id="column twice"),
            pytest.param(HEAD + "1\n2,20\n", 2, "1 field(s), the header has 2", id="too few fields"),
            pytest.param(HEAD + "1,10\n2,20,30\n", 3, "3 field(s), the header has 2", id="too many fields"),
            pytest.param(HEAD + "1,1,000\n2,20\n", 2, "3 field(s)", id="comma in a price"),
            pytest.param(HEAD + '1,10\n2,"20\n', 3, "not CSV", id="open quote"),
            pytest.param(HEAD + "noon,10\n", 2, "timestamp noon is not a number", id="timestamp a word"),
            pytest.param(HEAD + ",10\n", 2, "timestamp (empty) is not a number", id="timestamp empty"),
            pytest.param(HEAD + "nan,10\n", 2, "timestamp nan is not a number", id="timestamp nan"),
            pytest.param(HEAD + "inf,10\n", 2, "timestamp inf is not a number", id="timestamp inf"),
            pytest.param(HEAD + "2020-03-12,10\n", 2, "timestamp 2020-03-12 is not", id="timestamp a date"),
            pytest.param(HEAD + "1.5,10\n", 2, "timestamp 1.5 is not a whole", id="timestamp fractional"),
            pytest.param(HEAD + "1,10\n-2,20\n", 3, "timestamp -2 is negative", id="timestamp negative"),
            pytest.param(HEAD + "1600000000000,10\n", 2, "not milliseconds", id="timestamp in milliseconds"),
            pytest.param(HEAD + "1,10\n1,20\n", 3, "timestamp 1 is not after the one before, 1", id="timestamp again"),
            pytest.param(HEAD + "9,10\n# x\n\n8,20\n", 5, "timestamp 8 is not after", id="timestamp back in time"),
            pytest.param(HEAD + "1,cheap\n", 2, "price cheap is not a number", id="price a word"),
            pytest.param(HEAD + "1,\n", 2, "price (empty) is not a number", id="price empty"),
            pytest.param(HEAD + "1,NaN\n", 2, "price NaN is not a number", id="price nan"),
            pytest.param(HEAD + "1,-Infinity\n", 2, "price -Infinity is not a number", id="price inf"),
            pytest.param(HEAD + "1,1_000\n", 2, "price 1_000 is not a number", id="price with underscore"),
            pytest.param(HEAD + "1,$10\n", 2, "price $10 is not a number", id="price with currency"),
            pytest.param(HEAD + "1,1\u0661\n", 2, "is not a number", id="price in other digits"),
            pytest.param(HEAD + "1,1\x00\n", 2, r"price '1\x00' is not a number", id="price with a null"),
            pytest.param(HEAD + "1,10\n2,0\n", 3, "price 0 is not positive", id="price zero"),
            pytest.param(HEAD + "1,-10\n", 2, "price -10 is not positive", id="price negative"),
            pytest.param(HEAD + "1,0.000000001073741823\n", 2, "is out of range", id="price just too low"),
            pytest.param(HEAD + "1,1208925.819614629174706176\n", 2, "is out of range", id="price just too high"),
            pytest.param(HEAD + "1,1e9999\n", 2, "price 1E+9999 is out of range", id="price absurdly high"),
            pytest.param(HEAD + "1,1e-9999\n", 2, "price 1E-9999 is out of range", id="price absurdly low"),
            pytest.param(HEAD + "1,1.0000000000000000001\n", 2, "more than 18 digits", id="price too fine"),
            pytest.param(HEAD + f"1,{'9' * 5000}\n", 2, "is out of range", id="price of 5000 digits"),
        ],
    )
    def test_refuses_a_line(self, tmp_path: Path, content: str, line: int, reason: str) -> None:
        message = refusal(write(tmp_path, content))
        assert f": line {line}: " in message
        assert reason in message
        assert len(message) < len(str(tmp_path)) + 200

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            pytest.param(b"", "empty", id="empty"),
            pytest.param(b"\xef\xbb\xbf", "empty", id="only a byte order mark"),
            pytest.param(b"# title: nothing\n\n", "empty", id="only comments"),
            pytest.param(b"timestamp,price\n", "0 price row(s), at least 2", id="only a header"),
            pytest.param(b"timestamp,price\n1,10\n", "1 price row(s), at least 2", id="one row"),
            pytest.param(b"timestamp,price\n1,10\n2,\xff\n", "not UTF-8 text (byte 23)", id="not UTF-8"),
            pytest.param("timestamp,price\n1,10\n2,20\n".encode("utf-16"), "not UTF-8 text", id="UTF-16"),
        ],
    )
    def test_refuses_a_file(self, tmp_path: Path, content: bytes, reason: str) -> None:
        assert reason in refusal(write(tmp_path, content))

    def test_refuses_a_missing_file(self, tmp_path: Path) -> None:
        assert "cannot be read: No such file or directory" in refusal(tmp_path / "walk.csv")

    def test_refuses_a_directory(self, tmp_path: Path) -> None:
        assert "cannot be read: Is a directory" in refusal(tmp_path)

    def test_refuses_an_unreadable_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # By a fault put in its place: the tests may run as root, whom no file mode stops.
        def denied(*_: object, **__: object) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_text", denied)
        assert "cannot be read: Permission denied" in refusal(tmp_path / "walk.csv")

    def test_a_name_with_odd_characters_still_gives_one_line(self, tmp_path: Path) -> None:
        for name in ("two\nlines.csv", "null\0.csv"):
            with pytest.raises(PathError, match="cannot be read") as caught:
                load_csv(tmp_path / name)
            assert len(str(caught.value).splitlines()) == 1


@st.composite
def paths(draw: st.DrawFn) -> tuple[PricePoint, ...]:
    """Any path the market accepts."""
    times = sorted(draw(st.sets(st.integers(0, 4_000_000_000), min_size=2, max_size=20)))
    wads = draw(st.lists(st.integers(MIN_PRICE, MAX_PRICE), min_size=len(times), max_size=len(times)))
    return tuple(PricePoint(time, Decimal(wad).scaleb(-18)) for time, wad in zip(times, wads, strict=True))


class TestRoundTrip:
    @TMP_PATH_PER_TEST
    @given(points=paths(), plain=st.booleans(), end=st.sampled_from(["\n", "\r\n", "\n\n", "\n# x\n"]))
    def test_a_written_path_loads_back_equal(
        self, tmp_path: Path, points: tuple[PricePoint, ...], plain: bool, end: str
    ) -> None:
        rows = [
            f"{point.timestamp},{point.price:f}" if plain else f"{point.timestamp},{point.price}" for point in points
        ]
        assert load_csv(write(tmp_path, end.join(["timestamp,price", *rows]))).points == points

    @TMP_PATH_PER_TEST
    @given(
        content=st.one_of(
            st.binary(max_size=200),
            st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.text(alphabet='0123456789.,-+eE"\n\r #naif_', max_size=80).map(lambda text: (HEAD + text).encode()),
        )
    )
    def test_anything_else_is_a_path_or_a_path_error(self, tmp_path: Path, content: bytes) -> None:
        try:
            points = load_csv(write(tmp_path, content)).points
        except PathError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert all(MIN_PRICE <= to_wad(point.price) <= MAX_PRICE for point in points)
            assert all(before.timestamp < after.timestamp for before, after in pairwise(points))


@dataclass(frozen=True)
class Event:
    """What the publications say of one event.

    Attributes:
        days: UTC dates of the path's first and last point.
        published: the prices marked published, in the order of the path.
        changes: published moves between two prices of the path (from, to, per cent as reported).
    """

    days: tuple[str, str]
    published: tuple[str, ...]
    changes: tuple[tuple[str, str, str], ...] = ()


EVENTS = {
    "okex-2018": Event(("2018-07-31", "2018-08-03"), ("8040", "7480")),
    "black-thursday-2020": Event(("2020-03-12", "2020-03-13"), ("7900", "3850")),
    "link-bad-print-2020": Event(
        ("2020-03-12", "2020-03-12"), ("2.63", "1.813", "0.0001", "2.47"), (("2.63", "1.813", "-31"),)
    ),
    "may-2021": Event(("2021-05-19", "2021-05-19"), ("782",), (("1000", "782", "-21.8"),)),
    "luna-2022": Event(("2022-05-11", "2022-05-11"), ("10", "0.5")),
    "mango-2022": Event(("2022-10-11", "2022-10-11"), ("0.04", "0.91")),
    "ftx-2022": Event(("2022-11-05", "2022-11-21"), ("21473", "15479")),
    "yfi-2023": Event(
        ("2023-10-18", "2023-11-18"),
        ("3150", "2205", "1795.5"),
        (("1000", "3150", "215"), ("3150", "2205", "-30"), ("3150", "1795.5", "-43")),
    ),
    "jelly-2025": Event(("2025-03-26", "2025-03-26"), ("0.0475", "0.0095"), (("0.0095", "0.0475", "400"),)),
    "october-2025": Event(("2025-10-10", "2025-10-10"), ("869",), (("1000", "869", "-13.1"),)),
}


def kinds(name: str) -> list[str]:
    """The `kind` column, which the loader ignores."""
    text = (SCENARIOS / f"{name}.csv").read_text(encoding="utf-8")
    return [row["kind"] for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))]


class TestNamed:
    def test_every_event_has_a_file_and_every_file_is_known_here(self) -> None:
        assert named() == sorted(EVENTS)

    @pytest.mark.parametrize("name", EVENTS)
    def test_loads_with_notes(self, name: str) -> None:
        path = load_named(name)
        assert path.name == name
        assert path.points == load_csv(SCENARIOS / f"{name}.csv").points
        assert 10 <= len(path.points) <= 30
        assert set(path.notes) == set(NOTE_KEYS)
        assert all(len(text) > 2 and text.isprintable() for text in path.notes.values())

    def test_a_note_over_several_lines_is_one_text(self) -> None:
        assert load_named("luna-2022").notes["published"] == "10 at the start of the fall, 0.5 at its end."
        assert load_named("luna-2022").notes["interpolated"].endswith("that the fall took one hour is ours.")

    @pytest.mark.parametrize("name", EVENTS)
    def test_marks_the_published_prices_and_no_other(self, name: str) -> None:
        points, marks = load_named(name).points, kinds(name)
        assert set(marks) == {"published", "interpolated"}
        published = [point.price for point, mark in zip(points, marks, strict=True) if mark == "published"]
        assert published == [Decimal(price) for price in EVENTS[name].published]

    @pytest.mark.parametrize("name", EVENTS)
    def test_moves_as_much_as_was_published(self, name: str) -> None:
        prices = [point.price for point in load_named(name).points]
        for before, after, per_cent in EVENTS[name].changes:
            start, end = Decimal(before), Decimal(after)
            assert end in prices[prices.index(start) + 1 :]
            assert ((end / start - 1) * 100).quantize(Decimal(per_cent)) == Decimal(per_cent)

    def test_okex_prices_give_back_the_published_shortfall(self) -> None:
        # An inverse contract: 416 M$ of it lost this many BTC between the two prices; 3,877 were reported.
        assert 416_000_000 / Decimal(7480) - 416_000_000 / Decimal(8040) == pytest.approx(
            Decimal(3877), rel=Decimal("0.001")
        )

    @pytest.mark.parametrize("name", EVENTS)
    def test_is_dated(self, name: str) -> None:
        points = load_named(name).points
        days = [datetime.fromtimestamp(point.timestamp, UTC).date().isoformat() for point in (points[0], points[-1])]
        assert tuple(days) == EVENTS[name].days

    def test_yfi_falls_30_per_cent_within_an_hour(self) -> None:
        when = {point.price: point.timestamp for point in load_named("yfi-2023").points}
        assert when[Decimal(2205)] - when[Decimal(3150)] <= 3600

    @pytest.mark.parametrize("name", EVENTS)
    def test_both_sides_lose_at_some_moment(self, name: str) -> None:
        signs = {after.price > before.price for before, after in pairwise(load_named(name).points)}
        assert signs == {True, False}

    @pytest.mark.parametrize("name", ["ftx", "", "../scenarios/ftx-2022", "ftx-2022.csv", "two\nlines"])
    def test_refuses_an_unknown_name(self, name: str) -> None:
        with pytest.raises(PathError, match=r"^no scenario ") as caught:
            load_named(name)
        assert str(caught.value).endswith("known: " + ", ".join(sorted(EVENTS)))
        assert len(str(caught.value).splitlines()) == 1


class TestShock:
    @pytest.mark.parametrize(
        ("kind", "fraction", "start", "end"),
        [
            ("drop", "0.2", "1000", "800"),
            ("drop", "0.999", "1000", "1"),
            ("rise", "0.2", "1000", "1200"),
            ("rise", "100", "1000", "101000"),
            ("drop", "0.5", "0.04", "0.02"),
            ("drop", "0.5", "0.100000000000000001", "0.05"),  # half to even at the 18th digit
            ("rise", "0.5", "1.000000000000000001", "1.500000000000000002"),
        ],
    )
    def test_is_one_move(self, kind: Literal["drop", "rise"], fraction: str, start: str, end: str) -> None:
        path = shock(kind, Decimal(fraction), Decimal(start))
        assert path.points == (PricePoint(0, Decimal(start)), PricePoint(SHOCK_SECONDS, Decimal(end)))
        assert path.name == f"{kind}-{fraction}"
        assert path.notes == {}

    def test_starts_at_1000(self) -> None:
        assert shock("drop", Decimal("0.1")).points[0].price == 1000

    @given(
        kind=st.sampled_from(["drop", "rise"]),
        fraction=st.decimals("1e-18", "0.999", allow_nan=False, places=18),
        start=st.decimals("0.001", "600000", places=18),
    )
    def test_end_is_exact_to_half_a_unit(
        self, kind: Literal["drop", "rise"], fraction: Decimal, start: Decimal
    ) -> None:
        first, second = shock(kind, fraction, start).points
        exact = Fraction(start) * (1 + Fraction(fraction) * (1 if kind == "rise" else -1))
        assert first.price == start
        assert abs(to_wad(second.price) - exact * 10**18) <= Fraction(1, 2)

    @pytest.mark.parametrize(
        ("kind", "fraction", "start", "reason"),
        [
            ("drop", "0", "1000", "above 0"),
            ("drop", "-0.1", "1000", "above 0"),
            ("drop", "NaN", "1000", "above 0"),
            ("drop", "sNaN", "1000", "above 0"),
            ("rise", "Infinity", "1000", "above 0"),
            ("drop", "1", "1000", "below 1"),
            ("drop", "1.5", "1000", "below 1"),
            ("rise", "0", "1000", "above 0"),
            ("rise", "100.01", "1000", "at most 100"),
            ("drop", "0.9999999999999", "1000", "out of range"),
            ("rise", "100", "500000", "out of range"),
            ("rise", "0.1", "0", "not positive"),
            ("rise", "0.1", "NaN", "not a number"),
            ("rise", "0.1", "2000000", "out of range"),
            ("rise", "0.1", "1.0000000000000000001", "more than 18 digits"),
            ("crash", "0.1", "1000", "neither drop nor rise"),
        ],
    )
    def test_refuses(self, kind: Literal["drop", "rise"], fraction: str, start: str, reason: str) -> None:
        with pytest.raises(PathError, match=reason) as caught:
            shock(kind, Decimal(fraction), Decimal(start))
        assert len(str(caught.value).splitlines()) == 1
