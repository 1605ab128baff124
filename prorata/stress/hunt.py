"""Bad paths: numpy looks through many more than the sweep has, and the contracts replay the worst it finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

from prorata.stress import risk
from prorata.stress.config import Sweep
from prorata.stress.engine import run_paths
from prorata.stress.scan import Comparison, compare, scan

#: What makes a path bad: socialized losses over open interest.
BADNESS = "socialized_rate"


@dataclass(frozen=True)
class Hunt:
    """What was found among paths `first` to `first + scanned - 1`.

    Attributes:
        worst: as the contracts ran them, audited by the exact model, the worst first.
        compared: the scan beside them.
    """

    first: int
    scanned: int
    worst: pd.DataFrame
    compared: Comparison


def hunt(sweep: Sweep, seed: int, first: int, count: int, replays: int) -> Hunt:
    """Scan paths and replay the worst of them, from different scenarios; the same scenario is as bad in many cells."""
    found = risk.with_rates(scan(sweep, seed, first, count), sweep)
    worst = found.sort_values([BADNESS, "path"], ascending=[False, True]).drop_duplicates("scenario").head(replays)
    run = pd.DataFrame([asdict(run_paths(sweep, seed, int(path), 1, audit=1)[0]) for path in worst["path"]])
    rated = risk.with_rates(run, sweep).sort_values([BADNESS, "path"], ascending=[False, True])
    return Hunt(first, count, rated.reset_index(drop=True), compare(worst, run))
