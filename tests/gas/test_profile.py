"""The profile is of the transaction that the snapshot has, to the unit, although another EVM runs it."""

import pytest
from click.testing import CliRunner

from prorata.gas import reviewed
from prorata.profile import main, profile_of


@pytest.mark.parametrize("name", ["fill_open_live", "fill_close", "settle_quiet", "insurance_deposit_first"])
def test_the_parts_add_up_to_the_snapshot(name: str) -> None:
    profile = profile_of(name)
    assert profile.total == reviewed()[name]
    for parts in (profile.opcodes, profile.functions, profile.lines):
        assert sum(parts.values()) == profile.used - profile.intrinsic


def test_an_unknown_name_is_one_line() -> None:
    result = CliRunner().invoke(main, ["fill_everything"])
    assert result.exit_code == 2
    assert (
        result.output == "Error: no measured operation is called 'fill_everything'; snapshots/gas.json has the names\n"
    )
