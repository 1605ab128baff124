"""The contracts' sources as what figures were measured on: a digest that no comment changes."""

from __future__ import annotations

import io
import tokenize
from hashlib import sha256
from pathlib import Path
from typing import Any

from prorata.embedded import CONTRACTS


def digest_of_contracts(folder: Path = CONTRACTS) -> str:
    """Of the code of all contracts, whatever their comments and docstrings say; mocks do not count."""
    paths = sorted(path for path in folder.rglob("*.vy*") if "mocks" not in path.parts)
    code = (part for path in paths for part in (path.name, *_code_of(path.read_text())))
    return sha256("\0".join(code).encode()).hexdigest()[:16]


def is_stale(snapshot: dict[str, Any]) -> bool:
    """Whether a snapshot, by its `sources`, is of other contracts than these."""
    return bool(snapshot["sources"] != digest_of_contracts())


def _code_of(source: str) -> list[str]:
    """Tokens, without comments and docstrings."""
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in (tokenize.COMMENT, tokenize.NL)
    ]
    ends = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    before = [tokenize.NEWLINE, *(token.type for token in tokens)]
    return [
        token.string
        for token, last in zip(tokens, before, strict=False)
        if not (token.type == tokenize.STRING and last in ends)
    ]
