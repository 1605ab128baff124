"""`ape run deploy` as a user runs it: what it prints is what it saves, and bad input is one line."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CONTRACTS = ("token", "feed", "trading", "vault", "market", "lens")


def deploy(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ape", "run", "deploy", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_prints_and_saves_addresses(tmp_path: Path) -> None:
    saved = tmp_path / "new" / "addresses.json"
    done = deploy("--price", "7900.5", "--decimals", "6", "--out", str(saved), "--network", "ethereum:local:test")
    assert done.returncode == 0, done.stderr
    found = json.loads(saved.read_text())
    assert found["price"] == str(79005 * 10**17)
    assert (found["decimals"], found["network"]) == (6, "ethereum:local:test")
    addresses = [found[name] for name in CONTRACTS]
    assert len(set(addresses)) == len(CONTRACTS)
    assert all(address in done.stdout for address in addresses)


@pytest.mark.parametrize(
    ("arguments", "word"), [(("--price", "free"), "free"), (("--price", "0"), "--price"), (("--decimals", "19"), "19")]
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, str], word: str) -> None:
    saved = tmp_path / "addresses.json"
    done = deploy(*arguments, "--out", str(saved))
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert word in done.stderr
    assert not saved.exists()
