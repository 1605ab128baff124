"""What came of every mutant: kept line by line as it comes, so that a run can be broken off and taken up again."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.mutation.mutator import Mutant
from tests.mutation.suite import PATHS, ROOT

FOLDER = ROOT / ".build" / "mutation"
SNAPSHOT = ROOT / "snapshots" / "mutation.json"
EQUIVALENT = Path(__file__).parent / "equivalent.toml"

KILLED, TIMEOUT, SURVIVED, SAME_CODE, NOT_VIABLE = "killed", "timeout", "survived", "same code", "not viable"
#: So far: the likely tests have not noticed it, the others have not been tried.
OUTLIVED = "outlived"


@dataclass(frozen=True)
class Result:
    """What came of a mutant.

    Attributes:
        outcome: one of those above.
        test: what killed it, or never ended; why it does not compile.
        ran: how many tests it met.
        sources, tests: digests of the contracts and the tests it was tried with.
    """

    id: str
    outcome: str
    test: str
    ran: int
    seconds: float
    sources: str
    tests: str


def digest_of_tests() -> str:
    """Of the suite, and of the Python it stands on."""
    paths = [path for place in (*PATHS, "prorata") for path in _python(ROOT / place)]
    return sha256("\0".join(path.read_text() for path in paths).encode()).hexdigest()[:16]


def _python(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


class Store:
    """The results so far, of one state of the contracts and the tests.

    A mutant that was killed stays killed as long as its killer is still there: tests that are added or changed are not
    tried on it again. One that survived is tried again whenever any test has changed, unless it is argued why no test
    could kill it.
    """

    def __init__(
        self, path: Path, sources: str, tests: str, killers: Iterable[str], argued: Iterable[str] = ()
    ) -> None:
        self._path = path
        self._argued = set(argued)
        self.sources = sources
        self.tests = tests
        known = set(killers)
        rows = [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
        self.results = {row.id: row for row in rows if self._holds(row, known)}

    def _holds(self, row: Result, killers: set[str]) -> bool:
        if row.sources != self.sources:
            return False
        if row.outcome in (KILLED, TIMEOUT):
            return row.test in killers
        return row.outcome not in (SURVIVED, OUTLIVED) or row.tests == self.tests or row.id in self._argued

    def add(self, result: Result) -> None:
        """Keep a result, on disk too."""
        self.results[result.id] = result
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def equivalents() -> dict[str, str]:
    """Mutants that change nothing anybody can see, by id, each with the argument."""
    if not EQUIVALENT.exists():
        return {}
    found: dict[str, str] = tomllib.loads(EQUIVALENT.read_text())
    return found


def summary(mutants: Sequence[Mutant], store: Store, argued: dict[str, str]) -> dict[str, Any]:
    """The figures of all mutants that were tried.

    `viable` compile to something else than the original; `killed` include those that never ended (`timeouts`);
    `equivalent` survived, and it is argued why nothing could kill them; `survivors` are all others, of which some have
    not met all tests yet (`unfinished`).
    """
    tried = [(mutant, store.results[mutant.id]) for mutant in mutants if mutant.id in store.results]
    by_outcome = Counter(result.outcome for _, result in tried)
    survived = [mutant for mutant, result in tried if result.outcome in (SURVIVED, OUTLIVED)]
    survivors = [mutant for mutant in survived if mutant.id not in argued]
    killed = by_outcome[KILLED] + by_outcome[TIMEOUT]
    counted = killed + len(survivors)
    return {
        "sources": store.sources,
        "mutants": len(mutants),
        "tried": len(tried),
        "not_viable": by_outcome[NOT_VIABLE],
        "same_code": by_outcome[SAME_CODE],
        "viable": killed + len(survived),
        "killed": killed,
        "timeouts": by_outcome[TIMEOUT],
        "unfinished": sum(store.results[mutant.id].outcome == OUTLIVED for mutant in survivors),
        "equivalent": len(survived) - len(survivors),
        "score": round(killed / counted, 4) if counted else 0.0,
        "seconds": round(sum(result.seconds for _, result in tried)),
        "operators": _by_operator(tried),
        "equivalents": {mutant.id: argued[mutant.id] for mutant in survived if mutant.id in argued},
        "survivors": {mutant.id: described(mutant) for mutant in survivors},
    }


def described(mutant: Mutant) -> str:
    """Where, and what instead of what."""
    before, after = (" ".join(text.split()) for text in (mutant.before, mutant.after))
    return f"{mutant.file}:{mutant.line}: {before}  =>  {after}"


def _by_operator(tried: Sequence[tuple[Mutant, Result]]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for mutant, result in tried:
        found.setdefault(mutant.operator, Counter())[result.outcome] += 1
    return {operator: dict(sorted(counts.items())) for operator, counts in sorted(found.items())}
