"""The page of a sweep in a browser, as whoever was not there opens it: from a disk, on a desk and on a telephone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Locator, Page

from prorata.stress.config import Sweep
from prorata.stress.figures import OnAnvil
from prorata.stress.risk import LEVELS, MEASURES
from tests import sweeps

PLOTS = ("shortfall_plot", "surface_plot", "needed_plot", "exceedance_plot", "keepers_plot", "hazard_plot")
#: As many step caps as a real one, so that legends are as long.
SWEEP = replace(sweeps.SMALL, grid=replace(sweeps.SMALL.grid, step_caps=(0.01, 0.03, 0.1, 0.5)))
DESK, TELEPHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}

#: What a plot really draws: curves that have a length or a point, groups of bars with an area, heat maps.
DRAWN = """plot => plot.querySelectorAll('.heatmaplayer image').length
    + [...plot.querySelectorAll('.scatterlayer .trace')].filter(trace => trace.querySelector('.points path')
        || trace.querySelector('.js-line')?.getTotalLength() > 0).length
    + [...plot.querySelectorAll('.barlayer .trace')].filter(
        trace => [...trace.querySelectorAll('.point path')].some(bar => bar.getBBox().width > 0)).length"""
TRACES = """plot => plot.data.map(trace => ({
    visible: trace.visible ?? true, y: Array.from(trace.y), z: trace.z && trace.z.map(one => Array.from(one))}))"""
#: Places on the screen, left and right, and what should fit there.
WORDS = """plot => [...plot.querySelectorAll('.infolayer text, .xaxislayer-above text, .yaxislayer-above text')]
    .filter(one => one.textContent).map(one => [one.textContent, one.getBoundingClientRect().toJSON()])"""


#: Places of the labels of an x axis, unless they are turned.
TICKS = """plot => [...plot.querySelectorAll('.xtick text')].filter(one => !/rotate\\((?!0[,)])/.test(
    one.getAttribute('transform') ?? '')).map(one => one.getBoundingClientRect().toJSON())"""


@dataclass
class Opened:
    """The page, what it asked for and what it complained of, and the figures it is to show."""

    page: Page
    url: str
    asked: list[str]
    complaints: list[str]
    figures: dict[str, Any]

    def plot(self, name: str) -> Locator:
        return self.page.locator(f"#{name}")

    def table(self, after: str) -> list[list[str]]:
        """The rows of the first table after an element."""
        table = self.page.locator(f"{after} >> xpath=following::table[1]").first
        rows = table.locator("tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        return [list(row) for row in rows]

    def visible(self, name: str) -> list[int]:
        traces = self.plot(name).evaluate(TRACES)
        return [number for number, trace in enumerate(traces) if trace["visible"] is True]


@pytest.fixture(scope="module")
def opened(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    on_anvil = OnAnvil((3, 70), transactions=98, gas=7_654_321, refused=1, differences=())
    made = sweeps.made(tmp_path_factory.mktemp("page"), SWEEP, on_anvil)
    page = browser.new_page(viewport=DESK)  # type: ignore[arg-type]
    found = Opened(
        page,
        (made.folder / "index.html").as_uri(),
        [],
        [],
        json.loads((made.folder / "figures.json").read_text()),
    )
    page.on("request", lambda request: found.asked.append(request.url))
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.goto(found.url)
    yield found
    page.close()


@pytest.fixture(autouse=True)
def untroubled(opened: Opened) -> Iterator[None]:
    """Whatever a test does, the page asks nobody for anything and has nothing to complain of."""
    yield
    assert opened.asked == [opened.url]
    assert opened.complaints == []


def numbers(cell: str) -> list[float]:
    """All numbers in a cell, percentages as parts of one."""
    scale = 0.01 if "%" in cell else 1.0
    return [float(one.replace(",", "")) * scale for one in re.findall(r"[+-]?[\d,]*\.?\d+(?:e-?\d+)?", cell)]


def test_every_plot_is_drawn(opened: Opened) -> None:
    assert opened.page.locator(".js-plotly-plot").count() == len(PLOTS)
    for name in PLOTS:
        traces = opened.plot(name).evaluate(TRACES)
        # With steps of 50 % no insurance tried is enough for any haircut.
        expected = sum(one["visible"] is True and any(value is not None for value in one["y"]) for one in traces)
        assert opened.plot(name).evaluate(DRAWN) == expected > 0, name


def test_the_plots_show_the_figures(opened: Opened) -> None:
    figures = opened.figures
    caps = sorted({cell["step_cap"] for cell in figures["cells"]})

    def drawn(name: str, what: str = "y") -> list[Any]:
        return [trace[what] for trace in opened.plot(name).evaluate(TRACES)]

    tails = {cap: [cell["tails"] for cell in figures["cells"] if cell["step_cap"] == cap] for cap in caps}
    shortfalls = [
        [tail["haircut"]["es"][at]["value"] for tail in tails[cap]] for at in range(len(LEVELS)) for cap in caps
    ]
    assert drawn("shortfall_plot") == shortfalls
    costs = [[tail["loss_rate"]["mean"]["value"] for tail in tails[cap]] for cap in caps]
    assert drawn("surface_plot", "z") == [costs]
    assert drawn("needed_plot") == list(figures["needed"].values())
    keepers = [
        [one[what] for one in figures["keepers"] if one["step_cap"] == cap]
        for what in ("deficit_rate", "solvent")
        for cap in caps
    ]
    assert drawn("keepers_plot") == keepers
    hazard = [
        [sign * one[what] for one in figures["hazard"] if one["step_cap"] == cap]
        for cap in caps
        for what, sign in (("left", 1), ("borne", -1))
    ]
    assert drawn("hazard_plot") == hazard
    for curve in drawn("exceedance_plot"):
        assert curve == sorted(curve, reverse=True)
        assert 0 < curve[-1] <= curve[0] < 1


def test_the_tables_say_what_the_figures_do(opened: Opened) -> None:
    figures = opened.figures

    def same(row: list[str], *expected: float | None) -> None:
        found = [number for cell in row for number in numbers(cell)]
        wanted = [one for one in expected if one is not None]
        assert found == pytest.approx(wanted, rel=6e-3, abs=6e-4), row

    for row, one in zip(opened.table("#recommended"), figures["recommended"], strict=True):
        same([row[0]], one["step_cap"])
        same([row[1], row[3]], one["insurance"], one["cost"])
        sizes = [cell["insurance"] for cell in figures["cells"] if cell["step_cap"] == one["step_cap"]]
        enough = [size for size, at in zip(sizes, one["at"], strict=True) if at <= SWEEP.targets.haircut]
        assert numbers(row[2]) == enough[:1]
    assert [row[4] for row in opened.table("#recommended")].count("recommended") == 1
    for measure, (name, _) in MEASURES.items():
        summary = f"summary:text('{name}:')"
        for row, cell in zip(opened.table(summary), figures["cells"], strict=True):
            tail = cell["tails"][measure]
            assert [numbers(one) for one in row[:2]] == [[cell["step_cap"]], [cell["insurance"]]]
            assert numbers(row[2]) == [tail["paths"]]
            for text, one in zip(row[3:], [tail["mean"], *tail["var"], *tail["es"]], strict=True):
                assert numbers(text) == pytest.approx([one["value"], one["low"], one["high"]], abs=6e-5)
    for row, one in zip(opened.table("#keepers"), figures["keepers"], strict=True):
        same(row[1:4], *(one[name] for name in ("step_cap", "paths", "solvent")))
        interval = [one["deficit_rate"], one["deficit_low"], one["deficit_high"]]
        assert numbers(row[4]) == pytest.approx(interval, abs=6e-6)
        same([row[5]], one["closed_rate"])
        assert numbers(row[6]) == pytest.approx([one["liquidated"]], abs=0.06)
    for row, one in zip(opened.table("#hazard"), figures["hazard"], strict=True):
        assert row[0] == one["class"]
        same(row[1:], *(one[name] for name in ("step_cap", "left", "borne", "gain")))
    for place, paths in (("#worst", figures["worst"]), ("h3:text('Found by')", figures["hunted"])):
        for row, one in zip(opened.table(place), paths, strict=True):
            assert row[-1] == f"--seed {sweeps.SEED} --only {one['path']}"
            names = ("path", "step_cap", "insurance")
            same(row[:3], *(one[name] for name in names))
            same(row[4:9], *(one[name] for name in ("severity", "low", "high", "haircut", "socialized_rate")))
            assert numbers(row[9]) == [one["closed"]]
    facts = {row[0]: row[1] for row in opened.table("#done")}
    assert facts["settlements"] == f"{figures['settlements']:,}"
    assert facts["paths on which a guarantee did not hold"] == "0"
    audited = "paths audited by the exact-rational model"
    assert numbers(facts[audited]) == [figures["audited"], figures["mismatches"], figures["largest_difference"]]
    assert facts["paths run again through Ape on Anvil"].startswith("2 paths, 98 transactions, 7,654,321 gas: every")
    tiles = opened.page.locator("#tiles b").all_inner_texts()
    assert f"{figures['paths']:,}" in tiles
    assert f"{figures['settlements']:,}" in tiles


def test_parameters_command_and_seed_are_those_of_the_sweep(opened: Opened) -> None:
    parameters = opened.page.locator("#parameters").text_content()
    assert Sweep.of(yaml.safe_load(parameters or "")) == SWEEP
    assert opened.page.locator("#command").text_content() == sweeps.COMMAND
    assert f"seed {sweeps.SEED}" in opened.page.title()
    opened.page.get_by_role("link", name="below").click()
    assert opened.page.url.endswith("#again")
    assert opened.page.locator("#again").evaluate("place => place.getBoundingClientRect().top") < DESK["height"]
    opened.asked[:] = [url for url in opened.asked if not url.endswith("#again")]  # a place in the page, not a request


@pytest.mark.parametrize("name", [name for name in PLOTS if name != "surface_plot"])
def test_a_click_on_the_legend_hides_and_brings_back(opened: Opened, name: str) -> None:
    plot, shown = opened.plot(name), opened.visible(name)
    entries = plot.locator(".legendtoggle")
    # The hazard's two bars of a step cap are one entry.
    assert entries.count() == len(opened.figures["needed"])
    before, hidden = plot.evaluate(DRAWN), "one => one.visible === 'legendonly'"
    entries.first.click()
    opened.page.wait_for_function(f"document.getElementById('{name}').data.some({hidden})")
    assert len(opened.visible(name)) == len(shown) - len(shown) // entries.count()
    assert plot.evaluate(DRAWN) < before
    entries.first.click()
    opened.page.wait_for_function(f"!document.getElementById('{name}').data.some({hidden})")
    assert opened.visible(name) == shown
    assert plot.evaluate(DRAWN) == before


@pytest.mark.parametrize(
    ("name", "choices"), [("shortfall_plot", len(LEVELS)), ("exceedance_plot", len(MEASURES)), ("keepers_plot", 2)]
)
def test_every_button_shows_its_own_curves(opened: Opened, name: str, choices: int) -> None:
    buttons = opened.page.locator(f".choices[data-plot={name}] button")
    assert buttons.count() == choices
    pressed = [one == "true" for one in buttons.evaluate_all("all => all.map(one => one.ariaPressed)")]
    assert pressed.count(True) == 1
    each, plot = len(opened.figures["needed"]), opened.plot(name)
    for number in [*range(choices), pressed.index(True)]:
        buttons.nth(number).click()
        assert opened.visible(name) == list(range(number * each, (number + 1) * each))
        assert plot.evaluate(DRAWN) == each
        now = buttons.evaluate_all("all => all.map(one => one.ariaPressed)")
        assert [at for at, one in enumerate(now) if one == "true"] == [number]
        assert plot.locator(".ytitle").text_content() == buttons.nth(number).get_attribute("data-title")


def test_every_fold_opens_and_closes(opened: Opened) -> None:
    folds = opened.page.locator("details")
    assert folds.count() == len(MEASURES) + 2  # and terms, and parameters
    opens = []
    for fold in folds.all():
        content, was_open = fold.locator("dl, table, pre").first, fold.get_attribute("open") is not None
        opens.append(was_open)
        assert content.is_visible() == was_open
        fold.locator("summary").click()
        assert content.is_visible() != was_open
        fold.locator("summary").click()
        assert content.is_visible() == was_open
    assert opens.count(True) == 1


#: The middle of something that a plot has drawn, on the screen.
PLACE = """plot => {
    const bar = [...plot.querySelectorAll('.barlayer .point path')].find(one => one.getBBox().height > 2);
    const found = bar ?? plot.querySelector('.heatmaplayer image');
    if (found) {
        const box = found.getBoundingClientRect();
        return [box.left + box.width / 2, box.top + box.height / 2];
    }
    const {xaxis, yaxis} = plot._fullLayout, corner = plot.querySelector('.nsewdrag').getBoundingClientRect();
    const trace = plot.data.find(one => one.visible ?? true), at = Math.floor(trace.x.length / 2);
    return [corner.left + xaxis.d2p(trace.x[at]), corner.top + yaxis.d2p(trace.y[at])];
}"""


@pytest.mark.parametrize("name", PLOTS)
def test_hovering_tells_the_number(opened: Opened, name: str) -> None:
    plot = opened.plot(name)
    plot.scroll_into_view_if_needed()
    opened.page.mouse.move(1, 1)
    opened.page.mouse.move(*plot.evaluate(PLACE), steps=3)
    words = plot.locator(".hoverlayer .hovertext").first.text_content()
    assert re.search(r"\d%", words or ""), words


@pytest.mark.parametrize("size", [DESK, TELEPHONE], ids=["desk", "telephone"])
def test_nothing_is_cut_off_or_covered(opened: Opened, size: dict[str, int]) -> None:
    """The page never scrolls sideways; wide tables do, in their own boxes, and words of plots stay within."""
    page, width = opened.page, size["width"]
    page.set_viewport_size(size)  # type: ignore[arg-type]
    try:
        for fold in page.locator("details").all():
            fold.evaluate("one => { one.dataset.was = one.open; one.open = true; }")
        page.wait_for_function(
            f"[...document.querySelectorAll('.main-svg')].every(one => one.getBoundingClientRect().right <= {width})"
        )
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for name in PLOTS:
            plot = opened.plot(name)
            for words, box in plot.evaluate(WORDS):
                assert 0 <= box["left"] <= box["right"] <= width, (name, words)
            ticks = sorted((box["left"], box["right"]) for box in plot.evaluate(TICKS))
            assert all(right <= left for (_, right), (left, _) in pairwise(ticks)), name
            legend, area = plot.locator(".legend"), plot.locator(".nsewdrag").first.bounding_box()
            assert area is not None and area["height"] > 150, name
            if legend.count():
                box = legend.bounding_box()
                assert box is not None and box["y"] + box["height"] <= area["y"] + 1, name
        for button in page.locator(".choices button").all():
            box = button.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
        cut = page.locator(".wide").evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)")
        assert size == TELEPHONE or max(cut) <= 0
    finally:
        for fold in page.locator("details").all():
            fold.evaluate("one => { one.open = one.dataset.was === 'true'; }")
        page.set_viewport_size(DESK)  # type: ignore[arg-type]
