"""Settle published events once more, with keepers prompt, late and absent, beside what was published of their end."""

import signal
import sys
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prorata import replay_report
from prorata.cli import BadInput, DecimalRange, PlainCommand
from prorata.outcomes import DEFAULT_INSURANCE, DEFAULT_LEVERAGE, DEFAULT_TRADERS, Outcome, OutcomeError, load_outcomes
from prorata.parameters import MarketParameters
from prorata.replay import CASES, Overrides, Replay, replay
from prorata.scenarios import PathError, named
from prorata.simulation import max_leverage

#: The audit looks at everybody after every settlement.
MAX_TRADERS = 500
#: What a shell expects of a command that Ctrl-C ended.
INTERRUPTED = 130


def _outcomes() -> dict[str, Outcome]:
    try:
        return load_outcomes()
    except OutcomeError as error:
        raise BadInput(str(error)) from None


def _chosen(names: Sequence[str], all_of_them: bool) -> list[Outcome]:
    """The events asked for, each once, in the order asked for.

    Raises:
        BadInput: none, or one that is not there; lists those there are.
    """
    outcomes = _outcomes()
    known = f"known: {', '.join(sorted(outcomes))}"
    if all_of_them and names:
        raise BadInput(f"--all and {names[0]} exclude each other")
    if not all_of_them and not names:
        raise BadInput(f"name an event, or --all; {known}")
    for name in names:
        if name not in outcomes:
            raise BadInput(f"no event {name!r}; {known}")
    return [outcomes[name] for name in dict.fromkeys(names)] if names else list(outcomes.values())


def _prepare(out: Path | None) -> None:
    """See now, and not after the last event, that results can be written."""
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=out):
                pass
        except OSError as error:
            raise BadInput(f"--out {out}: {error.strerror}") from None


def _replay_all(
    outcomes: Sequence[Outcome], seed: int, overrides: Overrides, out: Path | None, console: Console
) -> list[Replay]:
    """Replay one event after the other; what is finished is shown, and written, before the next begins."""
    finished: list[Replay] = []
    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(outcomes) * len(CASES))
        try:
            for outcome in outcomes:
                progress.update(task, description=outcome.name)
                finished.append(replay(outcome, seed, overrides, lambda _case: progress.advance(task)))
                replay_report.show(finished[-1], console)
                if out is not None:
                    replay_report.write(finished, out)
        except KeyboardInterrupt:
            progress.stop()
    return finished


@click.command(cls=PlainCommand, epilog=f"Events: {', '.join(named())}.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "all_of_them", is_flag=True, help="Every event there is.")
@click.option(
    "--traders", type=click.IntRange(2, MAX_TRADERS), help=f"[default: the event's, or {DEFAULT_TRADERS}]", metavar="N"
)
@click.option(
    "--leverage",
    type=DecimalRange("L", 1, max_leverage(MarketParameters())),
    help=f"The highest; traders draw theirs up to this.  [default: the event's, or {DEFAULT_LEVERAGE}]",
)
@click.option(
    "--insurance",
    type=DecimalRange("X", 0, 1000),
    help="Over the open interest that the traders want, e.g. 0.1.  [default: the event's where published, or "
    f"{float(DEFAULT_INSURANCE):g}]",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write replays.json and replays.md here.")
def cli(
    names: tuple[str, ...],
    all_of_them: bool,
    traders: int | None,
    leverage: Decimal | None,
    insurance: Decimal | None,
    seed: int,
    out: Path | None,
) -> None:
    """Settle published events (by the NAME of their price path) six times each on an in-process chain, and compare.

    Exit code 1 if a guarantee does not hold (S1 to S3, and S8 of the guarded market), 2 for bad input. Ctrl-C ends it
    after what is finished.
    """
    outcomes = _chosen(names, all_of_them)
    _prepare(out)
    overrides = Overrides(traders, leverage, None if insurance is None else Fraction(insurance))
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"seed {seed}; {replay_report.LEGEND}\n", highlight=False)
    # Ape would exit at once; a supervisor's way to say Ctrl-C is SIGTERM.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, signal.default_int_handler)
    try:
        finished = _replay_all(outcomes, seed, overrides, out, console)
    except PathError as error:
        raise BadInput(str(error)) from None
    if out is not None and finished:
        replay_report.write(finished, out)
        console.print(f"wrote {out / 'replays.json'} and {out / 'replays.md'}", highlight=False)
    if not all(one.holds for one in finished):
        sys.exit(1)
    if len(finished) < len(outcomes):
        console.print(f"interrupted: {len(finished)} of {len(outcomes)} events replayed", highlight=False)
        sys.exit(INTERRUPTED)
