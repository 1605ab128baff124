"""Price paths: every refusal by name, every published figure where it was published, and round trips; then what each
defence does to a run along one (`ape run shock`), with the numbers that the design gives."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from prorata import report
from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.scenarios import (
    NOTE_KEYS,
    SCENARIOS,
    SHOCK_SECONDS,
    PathError,
    PricePath,
    PricePoint,
    load_csv,
    load_named,
    load_published,
    named,
    refined,
    shock,
)
from prorata.simulation import LATE_POINTS, MAX_SETTLEMENTS, Run, Setup, simulate
from prorata.units import MAX_PRICE, MIN_PRICE, WAD, to_wad

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
    "october-2025-sol": Event(("2025-10-10", "2025-10-10"), ("740",), (("1000", "740", "-26"),)),
    "october-2025-alt": Event(("2025-10-10", "2025-10-10"), ("500",), (("1000", "500", "-50"),)),
    "sol-2022": Event(("2022-11-09", "2022-11-09"), ("760",), (("1000", "760", "-24"),)),
    "eth-whale-2025": Event(("2025-03-12", "2025-03-12"), ("1942.86", "1915", "1896.7")),
    "popcat-2025": Event(("2025-11-12", "2025-11-12"), ("0.21", "0.12"), (("0.21", "0.12", "-43"),)),
    "percolator-2026": Event(("2026-04-23", "2026-04-23"), ("138", "50"), (("138", "50", "-64"),)),
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

    def test_eth_whale_prices_are_those_of_the_published_position(self) -> None:
        # 340 M$ for 175k; and sold at 1,890 the 160k taken over at 1,915 lost the published 4 M$.
        prices = [point.price for point in load_named("eth-whale-2025").points]
        assert (340_000_000 / Decimal(175_000)).quantize(Decimal("0.01")) == prices[0]
        assert (Decimal(1915) - min(prices)) * 160_000 == 4_000_000

    @pytest.mark.parametrize("name", EVENTS)
    def test_published_prices_alone_start_where_the_path_does(self, name: str) -> None:
        path, alone = load_named(name), load_published(name)
        assert (alone.name, alone.notes) == (path.name, path.notes)
        assert alone.points[0] == path.points[0]
        assert set(alone.points) <= set(path.points)
        later = EVENTS[name].published[kinds(name)[0] == "published" :]
        assert [point.price for point in alone.points[1:]] == [Decimal(price) for price in later]

    def test_a_path_without_published_prices_has_none_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("prorata.scenarios.SCENARIOS", tmp_path)
        (tmp_path / "calm.csv").write_text("timestamp,price,kind\n1,10,published\n2,20,interpolated\n")
        (tmp_path / "bare.csv").write_text(HEAD + "1,10\n2,20\n")
        with pytest.raises(PathError, match=r"^calm: no price after the first is published$"):
            load_published("calm")
        with pytest.raises(PathError, match=r"^bare: line 1: column kind missing"):
            load_published("bare")

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


class TestRefined:
    def test_puts_a_point_half_way_at_equal_ratios(self) -> None:
        finer = refined(path_of((10, "100"), (20, "400"), (21, "9"), (24, "16")))
        # Nothing fits between seconds 20 and 21.
        assert finer.points == path_of((10, "100"), (15, "200"), (20, "400"), (21, "9"), (22, "12"), (24, "16")).points

    def test_rounds_to_18_digits(self) -> None:
        (_, middle, _) = refined(path_of((0, "1"), (2, "2"))).points
        assert middle.price == Decimal("1.414213562373095049")

    @given(points=paths())
    def test_gives_a_path_that_the_market_accepts(self, points: tuple[PricePoint, ...]) -> None:
        finer = refined(PricePath("any", points))
        assert finer.points[:: len(finer.points) - 1] == points[:: len(points) - 1]
        assert set(points) <= set(finer.points)
        assert all(before.timestamp < after.timestamp for before, after in pairwise(finer.points))
        assert all(MIN_PRICE <= to_wad(point.price) <= MAX_PRICE for point in finer.points)


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


# --------------------------------------------------------------------------------------------------------------- runs


def path_of(*points: tuple[int, str]) -> PricePath:
    return PricePath("test", tuple(PricePoint(time, Decimal(price)) for time, price in points))


#: One fall of a tenth, an hour after the start.
FALL = path_of((0, "1000"), (3600, "900"))
#: Down by half a per cent a minute: slow enough for keepers that are late.
SLIDE = path_of(*((60 * step, str(1000 - 5 * step)) for step in range(14)))


def run_along(path: PricePath, parameters: dict[str, int] | None = None, **setup: Any) -> Run:
    """A run on a fresh chain, every guarantee held; 8 traders and a leverage up to 19 unless `setup` says otherwise."""
    wanted = {"traders": 8, "leverage": Decimal(19), "insurance": 0, "seed": 2, **setup}
    run = simulate(RevmChain(), Setup(path, parameters=MarketParameters(**(parameters or {})), **wanted))
    assert run.holds, run.violation
    return run


def marks(run: Run) -> list[Decimal]:
    return [Decimal(row.receipt.mark_after).scaleb(-18) for row in run.price_moves]


def opened(run: Run) -> int:
    """Open interest after the set-up, size, 18 digits."""
    assert sum(trader.size for trader in run.traders if trader.is_long) * 2 == sum(t.size for t in run.traders)
    return sum(trader.size for trader in run.traders) // 2


class TestStep:
    STEP = to_wad("0.04")

    def test_the_mark_follows_in_steps(self) -> None:
        run = run_along(FALL, {"max_price_step": self.STEP})
        assert marks(run) == [960, Decimal("921.6"), 900]  # 4 % of the mark at a time, and what is left
        assert [row.receipt.index_price for row in run.settlements] == [900 * WAD] * 3
        assert [row.limited for row in run.settlements] == [True, True, False]
        assert [row.mode for row in run.settlements] == ["catch-up", "catch-up", "active"]
        assert [row.time for row in run.settlements] == [3600, 3601, 3602]  # no interval: a block each

    def test_an_interval_takes_time_of_the_path(self) -> None:
        run = run_along(FALL, {"max_price_step": self.STEP, "step_interval": 600})
        assert marks(run) == [960, Decimal("921.6"), 900]
        assert [row.time for row in run.settlements] == [3600, 4200, 4800]

    def test_a_price_that_comes_first_is_followed_when_the_interval_is_over(self) -> None:
        path = path_of((0, "1000"), (3600, "900"), (4300, "880"))
        run = run_along(path, {"max_price_step": self.STEP, "step_interval": 600})
        assert marks(run) == [960, Decimal("921.6"), Decimal("884.736"), 880]
        assert [(row.point, row.time) for row in run.settlements] == [(1, 3600), (1, 4200), (2, 4800), (2, 5400)]
        assert [row.receipt.index_price // WAD for row in run.settlements] == [900, 900, 880, 880]

    def test_an_interval_that_ends_when_the_price_is_due_is_used(self) -> None:
        due = {"max_price_step": self.STEP, "step_interval": 600}
        points = {
            at: [row.point for row in run_along(path_of((0, "1000"), (3600, "900"), (at, "890")), due).settlements][:2]
            for at in (4201, 4202, 4203)
        }
        # The settlement is mined at 4200 of the path, two blocks after the second that the price counts from.
        assert points == {4201: [1, 2], 4202: [1, 1], 4203: [1, 1]}

    def test_a_long_interval_outlasts_an_answer_of_the_oracle(self) -> None:
        run = run_along(FALL, {"max_price_step": self.STEP, "step_interval": 4000})  # stale after an hour
        assert marks(run)[-1] == 900
        assert run.mode == "active"

    def test_settlements_after_a_price_are_bounded(self) -> None:
        run = run_along(FALL, {"max_price_step": to_wad("0.0001")})
        assert len(run.settlements) == MAX_SETTLEMENTS
        assert marks(run)[-1] == pytest.approx(1000 * Decimal("0.9999") ** MAX_SETTLEMENTS)
        assert run.mode == "catch-up"

    def test_without_it_every_price_is_settled_in_its_second(self) -> None:
        run = run_along(SLIDE)
        assert [(row.point, row.time) for row in run.settlements] == [(step, 60 * step) for step in range(1, 14)]
        assert marks(run) == [point.price for point in SLIDE.points[1:]]
        assert not any(row.limited or row.stopped or row.receipt.adl_shortfall for row in run.settlements)

    def test_who_is_deleveraged_at_a_lagging_mark_is_told_what_he_misses(self) -> None:
        run = run_along(FALL, {"max_price_step": self.STEP})
        missed = 0
        for row in run.settlements:
            gap = row.receipt.mark_after - row.receipt.index_price
            assert abs(row.receipt.bonus + row.receipt.adl_shortfall - row.receipt.closed_size * gap // WAD) <= 10**4
            missed += row.receipt.adl_shortfall
        assert missed > WAD
        assert int(report.report_json(run)["totals"]["adl_shortfall"]) == missed

    def test_a_stop_by_the_budget_is_no_limit(self) -> None:
        run = run_along(path_of((0, "1000"), (3600, "850")), {"max_buckets": 1})
        assert run.settlements[0].stopped and not run.settlements[-1].stopped
        assert not any(row.limited for row in run.settlements)
        assert marks(run)[-1] == 850


class TestGapSafe:
    def test_a_gap_safe_market_has_no_deficit_and_says_so(self) -> None:
        run = run_along(FALL, {"max_price_step": WAD // 100})
        assert run.guarantees == {"S1": True, "S2": True, "S3": True, "S8": True}
        assert sum(len(row.closed) for row in run.settlements) > 0
        assert sum(row.receipt.deficit for row in run.settlements) == 0

    @pytest.mark.parametrize("step", [WAD // 100 + 1, WAD // 2])
    def test_any_other_market_promises_nothing(self, step: int) -> None:
        run = run_along(path_of((0, "1000"), (60, "999.9")), {"max_price_step": step})
        assert run.guarantees.keys() == {"S1", "S2", "S3"}

    def test_a_deficit_where_there_must_be_none_ends_the_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Boastful(RevmChain):
            def call(self, contract: Any, function: str, *arguments: Any) -> Any:
                return True if function == "is_gap_safe" else super().call(contract, function, *arguments)

        run = simulate(Boastful(), Setup(FALL, 8, Decimal(19), 0, 2))
        assert run.guarantees == {"S1": True, "S2": True, "S3": True, "S8": False}
        assert run.violation.startswith(f"S8: deficit {run.settlements[-1].receipt.deficit} wei")
        assert not run.holds


class TestKeepers:
    def test_nobody_liquidates_without_them(self) -> None:
        run = run_along(SLIDE)
        assert run.keeper is None and not run.liquidations
        assert any(trader.closed for trader in run.traders)

    def test_a_prompt_one_saves_winners_from_being_deleveraged(self) -> None:
        alone, kept = run_along(SLIDE), run_along(SLIDE, keepers="prompt")
        assert sum(row.receipt.closed_size for row in alone.settlements) > 0
        assert sum(row.receipt.closed_size for row in kept.settlements) == 0
        assert not kept.refused

    def test_its_books(self) -> None:
        run = run_along(SLIDE, keepers="prompt")
        assert run.keeper is not None and run.keeper.number == 9
        assert run.keeper.deposited == sum(trader.deposited for trader in run.traders) // 2
        taken = 0
        worth = Fraction(run.keeper.deposited)
        for one in run.liquidations:
            notional = Fraction(one.size * one.price, WAD)
            assert one.fee == -(-notional // 100)  # 1 %, half of it to the keeper
            assert one.reward == one.fee // 2
            taken += one.size
            worth += one.reward + Fraction(one.size * (935 * WAD - one.price), WAD)
        assert run.keeper.is_long and abs(run.keeper.size - taken) <= len(run.liquidations)
        # Longs alone were taken over, so no deleverage touched them.
        assert abs(run.keeper.equity - worth) <= 10**5
        found = report.report_json(run)
        assert int(found["keeper"]["profit"]) == run.keeper.equity - run.keeper.deposited
        assert found["keeper"]["liquidations"] == len(found["liquidations"]) == len(run.liquidations)

    def test_a_late_one_comes_two_prices_after_it_saw(self) -> None:
        first = {}
        for keepers in ("prompt", "late"):
            run = run_along(SLIDE, keepers=keepers)
            account = run.liquidations[0].account
            first[keepers] = (account, run.liquidations[0].point)
        assert first["late"] == (first["prompt"][0], first["prompt"][1] + LATE_POINTS)

    def test_a_late_one_forgets_who_recovered(self) -> None:
        seen = run_along(SLIDE, keepers="prompt").liquidations[0].point
        falling = list(SLIDE.points[: seen + 1])
        low = falling[-1].price
        prices = [low + 20, low, low, low]  # seen again at the second of these: due at the fourth
        path = PricePath("test", (*falling, *(PricePoint(6000 + 60 * at, one) for at, one in enumerate(prices))))
        run = run_along(path, keepers="late")
        assert run.liquidations[0].point == seen + 4

    def test_they_act_in_catch_up_between_two_settlements(self) -> None:
        run = run_along(FALL, {"max_price_step": WAD // 100, "step_interval": 12}, keepers="prompt")
        assert run.liquidations
        assert all(900 * WAD < one.price < 1000 * WAD for one in run.liquidations)
        assert {(one.time - 3600) // 12 for one in run.liquidations} <= set(range(11))

    def test_in_catch_up_they_wait_for_both_marks(self) -> None:
        """The mark falls to 960 with the index at 900; when that jumps to 995, nobody is below at the index."""
        path = path_of((0, "1000"), (3600, "900"), (3648, "995"))
        parameters = {"max_price_step": WAD // 100, "step_interval": 12}
        run = run_along(path, parameters, keepers="late")
        assert not run.liquidations and not run.refused
        assert min(marks(run)) < 965  # some were below maintenance at the mark

    def test_a_liquidation_that_settles_is_in_the_story(self) -> None:
        """With no interval every liquidation makes a step of its own; marks follow one another without a gap."""
        run = run_along(FALL, {"max_price_step": WAD // 100}, keepers="prompt")
        assert run.liquidations
        receipts = [row.receipt for row in run.price_moves]
        assert all(one.mark_after == two.mark_before for one, two in pairwise(receipts))
        assert marks(run)[-1] == 900

    def test_what_they_cannot_take_over_is_counted(self) -> None:
        path = path_of((0, "1000"), *((60 * at, str(1000 - 9 * at)) for at in range(1, 60)))
        run = run_along(path, keepers="prompt", traders=30)
        assert run.keeper is not None and run.keeper.closed
        assert run.refused.keys() == {"margin: below initial"}


class TestFunding:
    def test_longs_pay_the_premium_of_the_set_up_as_it_decays(self) -> None:
        eight_hours = 28_800
        run = run_along(path_of((0, "1000"), (eight_hours, "1000")), {"max_funding": WAD // 400})
        (row,) = run.settlements
        assert row.receipt.funding and row.receipt.loser == 0
        assert row.receipt.mark_before == row.receipt.mark_after == 1000 * WAD
        # Two fees of 0.05 % of what was opened at 1000; all but 1/e is paid, less what the set-up's seconds took.
        premium = opened(run) * 1000 // 1000
        assert row.receipt.gross / premium == pytest.approx(1 - (1 - 1 / eight_hours) ** eight_hours, rel=1e-3)
        assert row.receipt.gross < premium * (1 - (1 - 1 / eight_hours) ** eight_hours)
        assert int(report.report_json(run)["totals"]["funding_paid"]) == row.receipt.gross

    def test_precedes_the_price_move_in_the_same_transaction(self) -> None:
        run = run_along(FALL, {"max_funding": WAD // 400})
        funding, fall = run.settlements
        assert funding.receipt.funding and not fall.receipt.funding
        assert (funding.gas, funding.time) == (0, fall.time)
        assert funding.receipt.gross < fall.receipt.gross // 100

    def test_off_by_default(self) -> None:
        assert not any(row.receipt.funding for row in run_along(SLIDE).settlements)


class TestCooloff:
    PATH = path_of((0, "1000"), (3600, "880"), (7000, "879"), (7300, "878"))

    def test_a_haircut_shuts_out_new_risk_for_a_while(self) -> None:
        run = run_along(self.PATH, {"cooloff": 3600})
        assert run.settlements[0].receipt.haircut >= WAD // 10_000
        assert not any(row.receipt.deficit for row in run.settlements[1:])
        assert [row.mode for row in run.settlements] == ["reduce-only", "reduce-only", "active"]

    def test_off_by_default(self) -> None:
        run = run_along(self.PATH)
        assert run.settlements[0].receipt.haircut >= WAD // 10_000
        assert {row.mode for row in run.settlements} == {"active"}


class TestNewRisk:
    """With two traders there is one fill: the largest 64th part of what they want that the market takes."""

    PATH = path_of((0, "1000"), (60, "1001"))

    @pytest.fixture(scope="class")
    def wish(self) -> int:
        return opened(run_along(self.PATH, traders=2))

    def fill(self, insurance: int, **parameters: int) -> tuple[int, Run]:
        run = run_along(self.PATH, parameters, traders=2, insurance=insurance)
        return opened(run), run

    def test_open_interest_is_capped_by_insurance(self, wish: int) -> None:
        size, _ = self.fill(500, oi_multiple=20 * WAD)
        part = max(part for part in range(65) if wish * part // 64 * 1000 <= 10_000 * WAD)
        assert 0 < part < 64
        assert size == wish * part // 64

    def test_a_cap_that_nobody_reaches_changes_nothing(self, wish: int) -> None:
        assert self.fill(10_000, oi_multiple=20 * WAD)[0] == wish

    def test_initial_margin_grows_with_open_interest_over_insurance(self, wish: int) -> None:
        insurance, slope = 500, Fraction(1, 50)
        size, run = self.fill(insurance, margin_slope=WAD // 50)

        def fits(size: Fraction) -> bool:
            notional = size * 1000
            ratio = Fraction(5, 100) + slope * notional / insurance
            return all(
                Fraction(trader.deposited, WAD) - notional * Fraction(5, 10_000) >= notional * ratio
                for trader in run.traders
            )

        part = max(part for part in range(65) if fits(Fraction(wish * part // 64, WAD)))
        assert 0 < part < 64
        assert size == wish * part // 64

    def test_many_traders_stay_below_the_cap(self) -> None:
        size = opened(run_along(FALL, {"oi_multiple": 5 * WAD}, insurance=1000, traders=20))
        fees = size * 1000 // 1000  # both fees, which are insurance too
        assert size * 1000 <= 5 * (1000 * WAD + fees)
        assert size * 1000 >= 4500 * WAD


class TestDeadOracle:
    PATH = path_of((0, "1000"), (600, "950"), (1200, "900"), (1800, "100"))

    @pytest.fixture(scope="class")
    def ended(self) -> Run:
        parameters = {"max_price_step": WAD // 100, "step_interval": 600}
        return run_along(self.PATH, parameters, keepers="prompt", insurance=700, oracle_dies_at=2)

    def test_everybody_leaves_to_the_last_wei(self, ended: Run) -> None:
        assert ended.final is not None and ended.wind_down is not None
        assert ended.final.sum_equity == 0
        assert ended.final.token_balance == ended.final.owed + ended.final.dust
        assert all(trader.equity == 0 for trader in ended.everybody)
        assert ended.wind_down.withdrawn == sum(trader.withdrawn for trader in ended.everybody)
        put_in = sum(trader.deposited for trader in ended.everybody) + 700 * WAD
        assert ended.wind_down.withdrawn + ended.final.vault + ended.final.dust == put_in
        assert ended.wind_down.still_open == 0

    def test_at_the_last_price_it_said(self, ended: Run) -> None:
        assert ended.wind_down is not None
        assert ended.wind_down.price == 900 * WAD
        assert ended.mode == "closed"
        assert ended.settlements[-1].receipt.mark_after == 900 * WAD

    def test_after_staleness_and_grace(self, ended: Run) -> None:
        assert ended.wind_down is not None
        # Said at 1200, stale an hour later, a day of grace; a block for the answer and one for each call.
        assert ended.wind_down.time == 1200 + 3600 + 86_400
        closed = [row.time for row in ended.settlements if row.mode == "closed"]
        alive = [row.time for row in ended.settlements if row.mode != "closed"]
        assert max(alive) <= 1200 + 3600 < ended.wind_down.time < min(closed)

    def test_in_the_report(self, ended: Run) -> None:
        assert ended.wind_down is not None
        found = report.report_json(ended)
        assert found["oracle_dies_at"] == 2
        assert found["wind_down"] == {
            "time": ended.wind_down.time,
            "price": str(900 * WAD),
            "withdrawn": str(ended.wind_down.withdrawn),
            "still_open": 0,
        }
        assert found["mode"] == "closed"
        assert sum(int(trader["withdrawn"]) for trader in [*found["traders_final"], found["keeper"]]) == int(
            found["wind_down"]["withdrawn"]
        )


class TestReport:
    ALL = MarketParameters.guarded(step_interval=60)

    @pytest.fixture(scope="class")
    def guarded(self) -> Run:
        setup = Setup(FALL, 8, Decimal(19), 2000, 2, self.ALL, "prompt")
        run = simulate(RevmChain(), setup)
        assert run.holds, run.violation
        return run

    @staticmethod
    def printed(run: Run) -> str:
        out = StringIO()
        report.show(run, Console(width=300, file=out))
        return out.getvalue()

    def test_json_of_a_settlement(self, guarded: Run) -> None:
        found = report.report_json(guarded)
        assert len(found["settlements"]) == len(guarded.settlements)
        for row, settlement in zip(found["settlements"], guarded.settlements, strict=True):
            assert row["price"] == str(settlement.receipt.mark_after)
            assert row["index_price"] == str(900 * WAD)
            assert row["bonus"] == str(settlement.receipt.bonus)
            assert row["adl_shortfall"] == str(settlement.receipt.adl_shortfall)
            assert row["funding"] is settlement.receipt.funding
            assert row["limited"] is (not row["funding"] and row["price"] != row["index_price"])
            assert row["stopped"] is False
            if not row["funding"]:  # whose mode is that after the move of the price in the same transaction
                assert row["mode"] == ("catch-up" if row["price"] != row["index_price"] else "active")
        assert {row["funding"] for row in found["settlements"]} == {True, False}
        assert found["guarantees"]["S8"] is True

    def test_json_of_the_parameters(self, guarded: Run) -> None:
        parameters = report.report_json(guarded)["parameters"]
        assert parameters["max_price_step"] == str(WAD // 100)
        assert parameters["oi_multiple"] == str(20 * WAD)
        assert parameters["step_interval"] == 60
        assert parameters["cooloff"] == 3600
        assert parameters.keys() == MarketParameters.__dataclass_fields__.keys()

    def test_json_totals_add_up(self, guarded: Run) -> None:
        found = report.report_json(guarded)
        rows = found["settlements"]
        for total, key in (("adl_shortfall", "adl_shortfall"), ("socialized", "socialized"), ("bonus", "bonus")):
            assert int(found["totals"][total]) == sum(int(row[key]) for row in rows)
        assert int(found["totals"]["insurance_drawn"]) == sum(int(row["covered"]) for row in rows)
        assert int(found["totals"]["funding_paid"]) == sum(int(row["gross"]) for row in rows if row["funding"]) > 0

    def test_money_adds_up_with_the_keeper(self, guarded: Run) -> None:
        assert guarded.final is not None
        assert guarded.final.sum_equity == sum(trader.equity for trader in guarded.everybody)
        put_in = sum(trader.deposited for trader in guarded.everybody) + 2000 * WAD
        assert guarded.final.sum_equity + guarded.final.vault + guarded.final.dust == put_in

    def test_one_line_a_price_with_its_settlements_added_up(self, guarded: Run) -> None:
        (row,) = report.rows(guarded)
        assert row.price_moves == len(guarded.price_moves) == 11  # 1000 * 0.99^11 < 900
        assert row.total("gross") == sum(move.receipt.gross for move in guarded.price_moves)
        assert row.funding == sum(move.receipt.gross for move in guarded.settlements if move.receipt.funding)
        assert row.losers == "longs"
        assert not row.lags

    def test_funding_that_shorts_pay_is_negative(self, guarded: Run) -> None:
        receipt = next(move.receipt for move in guarded.settlements if move.receipt.funding)
        assert report.funding_paid(receipt) == receipt.gross
        assert report.funding_paid(replace(receipt, loser=1)) == -receipt.gross
        assert report.funding_paid(replace(receipt, funding=False)) == 0

    def test_columns_only_where_they_say_something(self, guarded: Run) -> None:
        extra = ("moves", "bonus", "ADL short", "funding", "index", "mode")
        plain = self.printed(run_along(path_of((0, "1000"), (60, "880"))))
        head = plain.splitlines()[1]
        assert not any(word in head for word in extra)
        assert all(word in head for word in ("deficit", "covered", "socialized", "haircut", "open interest"))
        assert not any(word in plain for word in ("Keeper", "Winners bear", "Funding paid", "Wound down", "Mode"))
        shown = self.printed(guarded)
        assert all(word in shown for word in ("moves", "funding", "Keeper: #9", "Funding paid", "S8 holds"))
        assert not any(word in shown.splitlines()[1] for word in ("deficit", "haircut", "index", "mode"))

    def test_a_lagging_mark_shows_index_and_mode(self) -> None:
        path = path_of((0, "1000"), (3600, "900"), (3610, "899"))
        shown = self.printed(run_along(path, {"max_price_step": WAD // 100, "step_interval": 600}))
        head, first = shown.splitlines()[1:3]
        assert "index" in head and "mode" in head and "ADL" in head
        assert "990.000" in first or "990" in first
        assert "900" in first and "catch-up" in first

    def test_lines_fit(self) -> None:
        parameters = {"max_price_step": WAD // 50, "step_interval": 60, "max_funding": WAD // 400, "cooloff": 9999}
        run = run_along(load_named("black-thursday-2020"), parameters, keepers="prompt", traders=12, insurance=100)
        table = self.printed(run).split("Solvency")[0]
        assert max(len(line.rstrip()) for line in table.splitlines()) <= 140

    def test_the_picture_is_drawn_if_the_mark_moved(self, guarded: Run, tmp_path: Path) -> None:
        assert [written.name for written in report.write(guarded, tmp_path)] == ["report.json", "waterfall.png"]
        still = run_along(path_of((0, "1000"), (60, "1000")), {"max_funding": WAD // 400})
        assert [written.name for written in report.write(still, tmp_path / "still")] == ["report.json"]
        assert "funding" in self.printed(still)
