"""Put what `ape run compare --out` wrote into `docs/compare.md`: `make compare`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

BEGIN, END = "<!-- compare -->\n", "<!-- end -->\n"
DOCS = Path(__file__).resolve().parents[2] / "docs"


def embed(page: str, tables: str) -> str:
    """The page with other tables between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("no place for tables on the page")
    return f"{before}{begin}{tables}{end}{after}"


if __name__ == "__main__":
    made = Path(sys.argv[1])
    target = DOCS / "compare.md"
    target.write_text(embed(target.read_text(), (made / "compare.md").read_text()))
    shutil.copyfile(made / "who-paid.png", DOCS / "who-paid.png")
