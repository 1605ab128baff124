"""`docs/walk-through.md` is what happens: every command is run, every output compared, and every figure."""

from __future__ import annotations

import re

import pytest

from tests import walk_through
from tests.walk_through import PAGE, PORT, Failed, blocks, rewritten

TEXT = PAGE.read_text()
#: With a thousands separator or a decimal point: what a command has printed, and nothing that is just a name.
FIGURE = re.compile(r"\b\d{1,3}(?:,\d{3})+(?:\.\d+)?\b|\b\d+\.\d+\b(?! %)")


@pytest.mark.node
def test_every_command_prints_what_stands_under_it() -> None:
    assert rewritten(TEXT) == TEXT


def test_it_has_a_session_and_commands_and_a_node_that_ends() -> None:
    kinds = [block.kind for block in blocks(TEXT)]
    assert kinds[0] == kinds[-1] == "sh"
    assert kinds.count("python") >= 6 and kinds.count("console") >= 5
    outputs = [line for block in blocks(TEXT) if block.kind != "sh" for line in block.text.splitlines()]
    assert len(outputs) > 100
    assert not [line for line in outputs if "Traceback" in line or "Error" in line]


def test_every_figure_in_the_words_was_printed() -> None:
    words = re.sub(r"```.*?```|\[[^\]]*\]\([^)]*\)", "", TEXT, flags=re.DOTALL)
    printed = "\n".join(block.text for block in blocks(TEXT))
    figures = FIGURE.findall(words)
    assert len(figures) >= 2
    assert [figure for figure in figures if figure not in printed] == ["3.11"]


# ---------------------------------------------------------------------------------------------------------- the runner


def page(kind: str, text: str) -> str:
    return f"before\n\n```{kind}\n{text}```\n\nafter\n"


def test_a_wrong_output_is_replaced() -> None:
    assert rewritten(page("console", "$ echo 2\n3\n4\n$ true\n5\n")) == page("console", "$ echo 2\n2\n$ true\n")


def test_what_no_two_runs_share_is_left_out() -> None:
    shown = "$ echo '2.75 s'; echo 'done  '; echo in 12 s, 0:01:10\n"
    assert rewritten(page("console", shown)) == page("console", f"{shown}0.00 s\ndone\nin 0 s, 0:00:00\n")


def test_blocks_share_one_shell_and_a_free_port() -> None:
    """A port that is free has five digits, the one that is shown instead four."""
    shown = f"$ echo $PLACE; test ${{#PLACE}} = 10\nhost:{PORT}\n"
    shared = page("sh", f"export PLACE=host:{PORT}\n") + page("console", shown)
    assert rewritten(shared) == shared


def test_a_command_that_does_not_end_is_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk_through, "PATIENCE", 0.5)
    with pytest.raises(Failed, match=r"\$ echo so far; sleep 60\nso far\ndid not end"):
        rewritten(page("console", "$ echo so far; sleep 60\n"))


def test_a_command_that_fails_is_no_output() -> None:
    for command in ("echo no; false", "{ echo no; false; } | cat"):
        with pytest.raises(Failed, match=r"\$ .*\nno\nexit code 1"):
            rewritten(page("console", f"$ {command}\n"))
