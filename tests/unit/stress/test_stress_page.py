"""The page of a sweep: everything in one file, its numbers those of the figures."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

from prorata.stress import figures, page, picture, risk
from prorata.stress.config import Sweep
from prorata.stress.engine import bytecode, run_paths
from prorata.stress.figures import Figures
from prorata.stress.hunt import hunt
from prorata.stress.store import Identity, table

PLOTS = ("shortfall_plot", "surface_plot", "needed_plot", "exceedance_plot", "keepers_plot", "hazard_plot")
COMMAND = "ape run sweep --paths 120 --seed 11 --out 'out/a & b'"


class Reader(HTMLParser):
    """Tags, whatever a browser would fetch from elsewhere, ids, and the text of every table cell."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.cells: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.fetched += [f"{tag} {given[name]}" for name in ("src", "href") if given.get(name)]
        self.ids += [str(given["id"])] if "id" in given else []
        self.open.append(tag)
        if tag == "td":
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self.open[-1:]:
            self.scripts[-1] += data
        elif "td" in self.open:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def made(small: Sweep, tmp_path_factory: pytest.TempPathFactory) -> tuple[Figures, pd.DataFrame, Path]:
    found = table(run_paths(small, 11, 0, 120, audit=0.05)).to_pandas()
    collected = figures.collect(
        found, small, Identity(small.digest, 11, 0.05, bytecode()), hunt(small, 11, 120, 400, replays=3)
    )
    folder = tmp_path_factory.mktemp("page")
    collected.write(folder)
    page.write(found, collected, small, COMMAND, folder)
    return collected, found, folder


@pytest.fixture(scope="module")
def read(made: tuple[Figures, pd.DataFrame, Path]) -> Reader:
    reader = Reader()
    reader.feed((made[2] / "index.html").read_text())
    reader.close()
    return reader


def drawn(reader: Reader) -> Iterator[tuple[str, list[dict[str, Any]], dict[str, Any]]]:
    """Name, traces and layout of every plot, out of its call of plotly."""
    for script in reader.scripts[1:]:
        found = re.search(r'Plotly\.newPlot\(\s*"(\w+)",\s*(\[.*\]),\s*(\{.*?\}),\s*\{"displaylogo"', script, re.DOTALL)
        if found:
            yield found[1], json.loads(found[2]), json.loads(found[3])


def numbers(values: Any) -> Any:
    """A trace's values: a list, or plotly's base64 of an array."""
    if isinstance(values, dict):
        import base64

        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return values


def test_nothing_is_fetched_from_anywhere(read: Reader) -> None:
    assert read.fetched == []
    assert "plotly.js v" in read.scripts[0][:2000]


def test_every_plot_is_there_with_something_in_it(read: Reader) -> None:
    plots = {name: (traces, layout) for name, traces, layout in drawn(read)}
    assert sorted(plots) == sorted(PLOTS)
    assert set(PLOTS) <= set(read.ids)
    for name, (traces, layout) in plots.items():
        assert traces, name
        values = [value for trace in traces for value in np.ravel(numbers(trace["y"]))]
        assert values, name
        assert layout["xaxis"]["title"]["text"]
        assert layout["yaxis"]["title"]["text"]
    # Some traces of a plot with buttons are shown, and every button shows as many.
    for name in ("shortfall_plot", "exceedance_plot"):
        traces, layout = plots[name]
        shown = [trace.get("visible", True) for trace in traces]
        for button in layout["updatemenus"][0]["buttons"]:
            assert sum(button["args"][0]["visible"]) == sum(shown) > 0


@pytest.mark.node
def test_its_scripts_run(made: tuple[Figures, pd.DataFrame, Path], read: Reader, tmp_path: Path) -> None:
    """In Node, with plotly itself parsed and its drawing replaced: every plot is drawn, into a place that is there."""
    whole = tmp_path / "plotly.js"
    whole.write_text(read.scripts[0])
    assert subprocess.run(["node", "--check", str(whole)], capture_output=True, timeout=60).returncode == 0
    stage = """
        const drawn = [];
        const window = {PLOTLYENV: {}};
        const note = (name, traces, layout, config) => drawn.push([name, traces.length, config.displaylogo]);
        const Plotly = {newPlot: note};
        const document = {getElementById: (name) => places.includes(name) ? {} : null};
    """
    script = tmp_path / "page.js"
    parts = [f"const places = {json.dumps(read.ids)};", stage, *(f"{{ {one} }}" for one in read.scripts[1:])]
    script.write_text("\n".join([*parts, "console.log(JSON.stringify(drawn));"]))
    ran = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert sorted(name for name, _, _ in json.loads(ran.stdout)) == sorted(PLOTS)
    assert all(traces > 0 and not logo for _, traces, logo in json.loads(ran.stdout))


def test_the_curves_are_the_figures(read: Reader, made: tuple[Figures, pd.DataFrame, Path], small: Sweep) -> None:
    collected = made[0]
    plots = {name: traces for name, traces, _ in drawn(read)}
    by_level = [trace for trace in plots["shortfall_plot"] if trace["visible"]]
    for cap, trace in zip(small.grid.step_caps, by_level, strict=True):
        expected = [cell.tails["haircut"].es[1].value for cell in collected.cells if cell.step_cap == cap]
        assert numbers(trace["y"]) == pytest.approx(expected)
    first = numbers(plots["exceedance_plot"][0]["y"])
    assert first == sorted(first, reverse=True)
    assert 0 < first[-1] < first[0] <= 1


def test_tables_say_what_the_figures_do(read: Reader, made: tuple[Figures, pd.DataFrame, Path]) -> None:
    collected, found, _ = made
    assert f"{collected.paths:,} of {collected.scenarios:,} scenarios" in read.cells
    worst = found.loc[(found["socialized"] / found["notional"]).idxmax(), "path"]
    assert f"--seed 11 --only {worst}" in read.cells
    tail = collected.cells[0].tails["haircut"]
    assert f"{tail.es[1].value:.2%} ({tail.es[1].low:.2%} to {tail.es[1].high:.2%})" in read.cells


def test_the_parameters_are_the_sweep_s_and_the_command_is_the_user_s(
    made: tuple[Figures, pd.DataFrame, Path], small: Sweep
) -> None:
    text = (made[2] / "index.html").read_text()
    parameters = re.search(r'<pre id="parameters">(.*?)</pre>', text, re.DOTALL)
    command = re.search(r'<pre id="command">(.*?)</pre>', text, re.DOTALL)
    assert parameters is not None
    assert command is not None
    assert Sweep.of(yaml.safe_load(unescape(parameters[1]))) == small
    assert unescape(command[1]) == COMMAND


def test_figures_as_json(made: tuple[Figures, pd.DataFrame, Path]) -> None:
    collected, found, folder = made
    written = json.loads((folder / "figures.json").read_text())
    assert written == json.loads(json.dumps(asdict(collected)))
    assert (written["paths"], written["settlements"]) == (120, int(found["moves"].sum()))
    assert written["audited"] == int(found["audited"].sum()) > 0
    assert written["mismatches"] == written["violations"] == 0
    assert written["scan_alike"] == 1
    assert 0 < written["largest_difference"] < 10**9


def test_the_picture(made: tuple[Figures, pd.DataFrame, Path]) -> None:
    """A picture with more than one colour in it."""
    image = plt.imread(picture.draw(made[0], made[2]))
    assert image.shape[:2] == (484, 1100)
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50


def test_the_hunt_finds_worse_than_most(small: Sweep, made: tuple[Figures, pd.DataFrame, Path]) -> None:
    collected, found, _ = made
    rates = risk.with_rates(found, small)["socialized_rate"]
    hunted = [one["socialized_rate"] for one in collected.hunted]
    assert hunted == sorted(hunted, reverse=True)
    assert len(hunted) == 3
    assert min(hunted) > rates.quantile(0.95)
    assert all(one["path"] >= 120 for one in collected.hunted)


def test_a_sweep_of_one_path_has_a_page_too(small: Sweep, tmp_path: Path) -> None:
    found = table(run_paths(small, 11, 0, 1, audit=0)).to_pandas()
    collected = figures.collect(found, small, Identity(small.digest, 11, 0.0, bytecode()), None)
    text = page.write(found, collected, small, COMMAND, tmp_path).read_text()
    assert "No further paths were scanned" in text
