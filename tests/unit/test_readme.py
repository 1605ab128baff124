"""The README's gas figures are the snapshot's, which `tests/gas` holds to what is measured; the peers' are those of
the comparison in `prorata.gas`."""

import re
from pathlib import Path

from prorata.gas import STANDARDS, reviewed

FIGURE = re.compile(r"\d{1,3}(?:,\d{3})+")
README = Path(__file__).parents[2] / "README.md"


def test_every_gas_figure_is_in_the_snapshot() -> None:
    gas = set(reviewed().values())
    rows = [line for line in README.read_text().splitlines() if line.startswith("|") and line.endswith("|")]
    # What is measured here is in the second cell; the first may speak of accounts and buckets, the third is the peers'.
    cells = [row.split("|")[2] for row in rows if re.search(r"\d gas\b", row)]
    figures = [int(figure.replace(",", "")) for cell in cells for figure in FIGURE.findall(cell)]
    assert len(figures) >= 10
    assert [figure for figure in figures if figure not in gas] == []


def test_every_peers_figure_is_in_the_comparison() -> None:
    peers = {peer.gas for standard in STANDARDS.values() for peer in standard.peers}
    rows = [line for line in README.read_text().splitlines() if re.search(r"\d gas \|", line)]
    figures = [int(figure.replace(",", "")) for row in rows for figure in FIGURE.findall(row.split("|")[3])]
    assert len(figures) >= 10
    assert [figure for figure in figures if figure not in peers] == []
