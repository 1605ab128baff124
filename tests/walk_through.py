"""`python -m tests.walk_through`: run every command of docs/walk-through.md and write what it really prints under it.

Three kinds of blocks are run, in their order, in one shell at the root of the repository:

- `sh`: as it stands; what it prints is not shown;
- `console`: what stands after `$ ` is run, and everything under it is what it printed;
- `python`: what stands after `>>> ` is typed into the `ape console` that the last console block before has started.

What is shown is what is printed, but for what no two runs have in common: spaces at the ends of lines are left out,
elapsed times are 0, and 8545 stands for the port of the node, which here is one that is free.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "walk-through.md"
#: Where the commands of the page write; empty when it begins.
OUT = ROOT / "out" / "walk-through"
#: The port that is on the page.
PORT = "8545"
PATIENCE = 300  # seconds that a command may take
#: End what a command, and what a line typed into a console printed. Nothing prints them otherwise.
_END, _LINE_END = "\x1f", "\x1e"
_BLOCK = re.compile(r"^```(sh|console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROMPTS = {"console": "$ ", "python": ">>> "}
_ELAPSED = (
    (re.compile(r"\b\d:\d\d:\d\d\b"), "0:00:00"),
    (re.compile(r"\b\d+\.\d\d s\b"), "0.00 s"),
    (re.compile(r"\bin \d+ s\b"), "in 0 s"),
)


class Failed(Exception):
    """A command that did not end as it should: it, and what it printed."""


@dataclass(frozen=True)
class Block:
    """A block of the page.

    Attributes:
        kind: "sh", "console" or "python".
        text: between its fences.
        start, end: where the text stands in the page.
    """

    kind: str
    text: str
    start: int
    end: int

    @property
    def commands(self) -> list[str]:
        """What is typed, a line each; of an `sh` block all of it at once."""
        if self.kind == "sh":
            return [self.text]
        prompt = _PROMPTS[self.kind]
        return [line.removeprefix(prompt) for line in self.text.splitlines() if line.startswith(prompt)]


def blocks(page: str) -> list[Block]:
    """All that is run, in order."""
    return [Block(found[1], found[2], *found.span(2)) for found in _BLOCK.finditer(page)]


class Shell:
    """One bash, at the root of the repository, and a port that is free."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = str(free.getsockname()[1])
        # Not a terminal, so there are no colours; what a developer has set otherwise must not bring them back.
        plain = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "COLUMNS", "LINES")}
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-o", "pipefail"],
            cwd=ROOT,
            env={**plain, "NO_COLOR": "1", "TERM": "dumb"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> str:
        """What a command prints, errors among it.

        Raises:
            Failed: its exit code is not 0, or it does not end.
        """
        assert self._bash.stdin is not None and self._bash.stdout is not None
        late = Timer(PATIENCE, self._kill)
        late.start()
        typed = re.sub(rf"(?<=[: ]){PORT}\b", self.port, command)
        self._bash.stdin.write(f"{{ {typed}\n}} < /dev/null\nprintf '{_END}%d\\n' $?\n")
        self._bash.stdin.flush()
        printed = ""
        for line in self._bash.stdout:
            printed += line
            if _END in line:
                break
        late.cancel()
        output, ended, code = printed.rpartition(_END)
        if not ended:
            raise Failed(f"$ {command}\n{printed}did not end")
        if code != "0\n":
            raise Failed(f"$ {command}\n{output}exit code {code}")
        return output.replace(f":{self.port}", f":{PORT}")

    def wait_for_node(self) -> None:
        """Until something listens at the port.

        Raises:
            Failed: nothing does.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(self.port))) == 0:
                    return
            time.sleep(0.05)
        raise Failed(f"nothing listens at port {self.port}")

    def close(self) -> None:
        """End the shell and whatever it has started."""
        self._kill()
        self._bash.communicate()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGTERM)


@contextmanager
def shell() -> Iterator[Shell]:
    """A shell that is gone in the end, and its node with it."""
    opened = Shell()
    try:
        yield opened
    finally:
        opened.close()


def rewritten(page: str) -> str:
    """The page with what its commands print now.

    Raises:
        Failed: a command has an exit code other than 0.
    """
    shutil.rmtree(OUT, ignore_errors=True)
    found = blocks(page)
    texts: list[str] = []
    with shell() as bash:
        while len(texts) < len(found):
            at = len(texts)
            session = list(_session(found[at + 1 :])) if _opens_console(found[at]) else []
            if session:
                texts += _typed(bash, found[at], session)
            elif found[at].kind == "sh":
                bash.run(found[at].text)
                if "anvil " in found[at].text:
                    bash.wait_for_node()
                texts.append(found[at].text)
            else:
                texts.append(_shown("$ ", [(one, bash.run(one)) for one in found[at].commands]))
    for block, text in reversed(list(zip(found, texts, strict=True))):
        page = page[: block.start] + text + page[block.end :]
    return page


def _opens_console(block: Block) -> bool:
    return block.kind == "console" and block.commands[-1].startswith("ape console")


def _session(following: Sequence[Block]) -> Iterator[Block]:
    """The Python blocks that come before anything else does."""
    for block in following:
        if block.kind != "python":
            return
        yield block


def _typed(bash: Shell, opening: Block, session: Sequence[Block]) -> list[str]:
    """The texts of the block that opens a console, and of those that are typed into it."""
    (command,) = opening.commands
    lines = [f"print({_LINE_END!r})"]
    for block in session:
        for line in block.commands:
            lines += [line, f"print({_LINE_END!r})"]
    code = "\n".join(lines)
    banner, *outputs = bash.run(f"{command} -c {shlex.quote(code)}").split(f"{_LINE_END}\n")
    texts = [_shown("$ ", [(command, banner)])]
    printed = iter(outputs)
    texts += [_shown(">>> ", [(line, next(printed)) for line in block.commands]) for block in session]
    return texts


def _shown(prompt: str, run: Sequence[tuple[str, str]]) -> str:
    """Commands with what they print."""
    return "".join(f"{prompt}{command}\n{_normal(output)}" for command, output in run)


def _normal(output: str) -> str:
    """Without what no two runs have in common."""
    lines = [line.rstrip() for line in output.splitlines()]
    text = "\n".join(lines).strip("\n")
    for elapsed, nothing in _ELAPSED:
        text = elapsed.sub(nothing, text)
    return f"{text}\n" if text else ""


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
    print(f"wrote {PAGE.relative_to(ROOT)}")
