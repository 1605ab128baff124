"""Audit a market from its event log: rebuild everything, recompute every number, reconcile with the contracts."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
from eth_utils.address import is_address
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prorata.ape_chain import OUTAGES, ApeChain
from prorata.audit import report
from prorata.audit.auditor import Auditor, NoAudit
from prorata.cli import BadInput, Command, market_options, saved_market

DIFFERENT, UNFINISHED = 1, 3


def _address(name: str, value: str | None) -> str | None:
    if value is not None and not is_address(value):
        raise BadInput(f"--{name}: {value!r} is not an address")
    return value


def _auditor(market: str, from_block: int, to_block: int | None, account: str | None, out: Path) -> Auditor:
    """On the connected network."""
    try:
        chain = ApeChain(first_second=0)
        head = chain.block
        for name, block in (("from-block", from_block), ("to-block", to_block)):
            if block is not None and block > head:
                raise BadInput(f"--{name} {block} is after the last block, {head}")
        if to_block is not None and to_block < from_block:
            raise BadInput(f"--to-block {to_block} is before --from-block {from_block}")
        return Auditor(chain, market, out, from_block, to_block, account, OUTAGES)
    except (NoAudit, ValueError) as error:
        raise BadInput(str(error)) from None
    except OUTAGES as error:
        raise click.ClickException(f"the node does not answer: {error}") from None


@click.command(cls=Command)
@market_options
@click.option(
    "--from-block", type=click.IntRange(0), default=0, show_default=True, help="Look for the deployment from here."
)
@click.option(
    "--to-block", type=click.IntRange(0), help="Read so far and no further; the contracts' state is then not compared."
)
@click.option("--account", metavar="ADDRESS", help="Write a statement of everything that this account went through.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="out/audit",
    show_default=True,
    help="Where the files go; an audit that was broken off goes on from what is there.",
)
def cli(
    market: str | None, addresses: Path | None, from_block: int, to_block: int | None, account: str | None, out: Path
) -> None:
    """Audit a market: settle every move of its log again, account by account, and compare everything with what log and
    contracts say, to the wei. Ctrl-C keeps what is done.

    Exit code 0 if nothing is different, 1 if anything is, 2 for bad input, 3 if it did not come to an end.
    """
    owner = _address("account", account)
    auditor = _auditor(saved_market(market, addresses), from_block, to_block, owner, out)
    # Long lines stay whole in a file.
    console = Console(width=None if sys.stdout.isatty() else 160)
    if auditor.summary.resumed_at is not None:
        console.print(f"goes on after block {auditor.summary.resumed_at}", highlight=False)
    # Ape would exit at once; a supervisor's way to say Ctrl-C is SIGTERM.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, signal.default_int_handler)
    try:
        _run(auditor, console)
    except NoAudit as error:
        raise BadInput(str(error)) from None
    except (KeyboardInterrupt, *OUTAGES) as error:
        why = "stopped" if isinstance(error, KeyboardInterrupt) else f"the node does not answer ({error})"
        console.print(f"{why}; the same command goes on from where it was", highlight=False, markup=False)
        sys.exit(UNFINISHED)
    finally:
        auditor.close()
    report.show(auditor, console)
    if auditor.summary.findings:
        sys.exit(DIFFERENT)
    if not auditor.summary.complete and to_block is None:
        console.print("the chain moved on faster than its state could be compared", highlight=False)
        sys.exit(UNFINISHED)


def _run(auditor: Auditor, console: Console) -> None:
    with Progress(
        TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        tasks = {what: progress.add_task(what, total=None, visible=False) for what in ("blocks", "comparing")}

        def advance(what: str, done: int, of: int) -> None:
            task = tasks["blocks" if what == "blocks" else "comparing"]
            progress.update(task, completed=done, total=of, visible=True, description=what)

        auditor.run(advance)
