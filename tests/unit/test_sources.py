"""What figures were measured on."""

from __future__ import annotations

from pathlib import Path

from prorata import sources


def test_a_snapshot_is_stale_when_code_has_changed_and_not_when_a_comment_has(tmp_path: Path) -> None:
    source = '# pragma version 0.4.3\n"""\n@title One\n"""\nA: constant(uint256) = 1  # why\n'
    digests = []
    for text in (source, source.replace("why", "because").replace("One", "Two"), source.replace("= 1", "= 2")):
        (tmp_path / "one.vy").write_text(text)
        digests.append(sources.digest_of_contracts(tmp_path))
    assert digests[0] == digests[1] != digests[2]
    assert not sources.is_stale({"sources": sources.digest_of_contracts()})
    assert sources.is_stale({"sources": digests[0]})
