"""Figures that tests measure, printed when the session ends: gas of operations, largest differences of a campaign."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / ".build" / "figures"


def record(name: str, figures: dict[str, Any]) -> None:
    """Keep figures under a name; a later record of the same name replaces it. Works from any test process."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(figures))


def recorded() -> dict[str, dict[str, Any]]:
    """Everything recorded in this session, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def forget() -> None:
    """Start afresh."""
    for path in FOLDER.glob("*.json"):
        path.unlink()
