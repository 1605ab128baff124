"""What the pages for people say is there: files, links, commands, targets, and figures of other pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "docs/walk-through.md")
#: What stands for a name of the reader's.
PLACEHOLDER = re.compile(r"NAME|WHAT_IS_WRONG|DIR")
FIGURE = re.compile(r"\d{1,3}(?:,\d{3})*\.\d{2}")


def text(page: str) -> str:
    """Without blocks of code and what they print."""
    return re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text(page))
    assert len(links) >= 3
    assert [link for link in links if not ((ROOT / page).parent / link).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_is_there(page: str) -> None:
    """Paths from the root; a name alone is one of the contracts' modules."""
    quoted = re.findall(r"`([\w./-]+(?:\.(?:py|vy|md|csv|toml|json|lock)|/))`", text(page))
    assert len(quoted) >= 4
    missing = [
        name
        for name in quoted
        if not PLACEHOLDER.search(name)
        and not any((ROOT / place / name).exists() for place in ("", "contracts/modules", "scenarios"))
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    words = text(page)
    assert set(re.findall(r"`make ([a-z-]+)", words)) <= targets
    assert set(re.findall(r"^    make ([a-z-]+)", words, flags=re.MULTILINE)) <= targets
    assert set(re.findall(r"`ape run ([a-z]+)", words)) <= scripts
    for target in re.findall(r"`pytest[^`]* (tests/\S+?)`", words):
        assert PLACEHOLDER.search(target) or (ROOT / target).exists(), target


def test_every_function_of_the_contracts_stands_where_it_is_said_to() -> None:
    """ "`fill` in `contracts/TradingLogic.vy`", and internal ones after the file they are in."""
    words = " ".join(text("docs/walk-through.md").split())
    said = re.findall(r"`(\w+)` in `([\w/.]+\.vy)`", words)
    said += [(name, file) for file, name in re.findall(r"`([\w/.]+\.vy)`; `(_\w+)`", words)]
    assert len(said) == 4
    for name, file in said:
        path = ROOT / file if "/" in file else ROOT / "contracts" / "modules" / file
        assert f"\ndef {name}(" in path.read_text(), (name, file)


def test_figures_of_attacks_are_those_of_the_threat_model() -> None:
    rows = {
        name: [re.split(r" / ", cell)[0] for cell in cells.split(" | ")]
        for name, cells in re.findall(
            r"^\| `([a-z-]+)`: [^|]*\| ([^|]+ \| [^|]+ \| [^|]+ \| [^|]+) \|",
            (ROOT / "docs" / "threat-model.md").read_text(),
            flags=re.MULTILINE,
        )
    }
    stated = re.findall(
        r"^\| [^|]*\(`([a-z-]+)`\) \| ([^|]+ \| [^|]+ \| [^|]+ \| [^|]+) \|$", text("SECURITY.md"), flags=re.MULTILINE
    )
    assert len(stated) == 7
    for name, cells in stated:
        assert cells.split(" | ") == rows[name], name
    (count,) = re.findall(r"has (\d+) attacks", text("SECURITY.md"))
    assert int(count) == len(rows)


def test_every_figure_of_security_stands_in_that_table() -> None:
    known = (ROOT / "docs" / "threat-model.md").read_text()
    figures = FIGURE.findall(text("SECURITY.md"))
    assert len(figures) >= 20
    assert [figure for figure in figures if figure not in known] == []
