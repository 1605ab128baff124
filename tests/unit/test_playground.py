"""The market of a session: what its verbs print is what the contracts say, and what cannot be is said in one line."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from prorata.parameters import MarketParameters
from prorata.playground import DEPOSITS, INSURED, ROLES, TRADES, VERBS, Playground
from prorata.report import money
from prorata.revm_chain import RevmChain
from prorata.units import LONG, WAD

Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def opened() -> Playground:
    return Playground.open(RevmChain())


@pytest.fixture
def play(opened: Playground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Playground]:
    monkeypatch.chdir(tmp_path)  # audits write files
    with opened.exchange.chain.anchor():
        yield opened


def cells(printed: str, row: str) -> list[str]:
    """What stands in the row of a table that begins so."""
    (line,) = (line for line in printed.splitlines() if line.startswith(row))
    return line.removeprefix(row).split()


def test_people_have_what_the_tables_say(play: Playground) -> None:
    exchange, fee = play.exchange, MarketParameters().fee_rate
    sold = {name: sum(size for *pair, size in TRADES if name in pair) for name in ROLES}
    for name, deposit in DEPOSITS.items():
        account = exchange.account(ROLES[name])
        assert account.shares == sold[name] * WAD
        assert 0 <= deposit * WAD - sold[name] * 1_000 * fee - account.equity <= 2
    assert exchange.vault_assets == INSURED * WAD + 2 * sum(size for *_, size in TRADES) * 1_000 * fee


def test_a_crash_shows_the_receipt_that_the_curve_promised(play: Playground, capsys: Printed) -> None:
    play.curve(800)
    promised = cells(capsys.readouterr().out, "  800")
    play.move(800)
    assert cells(capsys.readouterr().out, "price  longs  1,000.00")[2:] == promised
    socialized, _ = play.exchange.totals
    assert socialized > 0 and promised[3] == money(socialized)
    play.receipts()
    assert cells(capsys.readouterr().out, "price  longs  1,000.00")[2:] == promised


def test_balances_are_the_accounts(play: Playground, capsys: Printed) -> None:
    play.balances()
    printed = capsys.readouterr().out
    for name, number in ROLES.items():
        account = play.exchange.account(number)
        side, size, equity, *_ = cells(printed, f"{name} ")
        assert equity == money(account.equity)
        assert (side, size) == (
            ("long" if account.side == LONG else "short", money(account.shares)) if account.shares else ("-", "-")
        )


def test_state_says_when_the_mark_lags(play: Playground, capsys: Printed) -> None:
    play.say(900)
    play.state()
    printed = capsys.readouterr().out
    assert [cells(printed, what) for what in ("mode", "mark", "index price")] == [["catch-up"], ["1,000.00"], ["900"]]


def test_a_statement_adds_up(play: Playground, capsys: Printed) -> None:
    play.move(800)
    capsys.readouterr()
    play.statement("gambler")
    closed = cells(capsys.readouterr().out, "closed")
    mark, size, before, gross, gain, fee, cash, forfeited, after = (
        0.0 if cell == "-" else float(cell.replace(",", "")) for cell in closed
    )
    assert (mark, size, fee, cash, after) == (800, 0, 0, 0, 0)
    assert gross == gain == -40 * 200
    assert before + gain - forfeited == after


def test_a_statement_of_who_did_nothing_is_one_line(play: Playground, capsys: Printed) -> None:
    play.statement("depositor")
    assert capsys.readouterr().out.startswith("mistake: nothing has happened to the account of 0x")


def test_an_audit_begins_anew_and_agrees(play: Playground, capsys: Printed) -> None:
    """Also of another market of the same session, whose log lies between two others."""
    for price in (900, 800):
        play.move(price)
        second = Playground.open(play.exchange.chain)
        for one in (play, second):
            capsys.readouterr()
            one.audit()
            printed = capsys.readouterr().out
            assert "no difference: log, rule and contracts agree to the wei" in printed
            assert "goes on after" not in printed


def test_a_trade_is_at_the_mark_unless_said_otherwise(play: Playground, capsys: Printed) -> None:
    before = play.exchange.account(ROLES["attacker"]).equity
    play.trade("attacker", "maker", "2.5")
    held = play.exchange.account(ROLES["attacker"])
    assert (held.side, held.shares) == (LONG, 25 * WAD // 10)
    assert capsys.readouterr().out == "AccountUpdated, AccountUpdated, Traded\n"
    assert 0 <= before - held.equity - 2_500 * MarketParameters().fee_rate <= 2
    play.trade("attacker", "maker", 1, 1_010)
    paid = held.equity - play.exchange.account(ROLES["attacker"]).equity
    assert 0 <= paid - 10 * WAD - 1_000 * MarketParameters().fee_rate <= 2


def test_money_goes_in_and_out(play: Playground) -> None:
    exchange, keeper = play.exchange, ROLES["keeper"]
    play.deposit("keeper", 5)
    assert exchange.account(keeper).equity == (DEPOSITS["keeper"] + 5) * WAD
    play.withdraw("keeper", 50_005)
    assert exchange.account(keeper).equity == 0
    before = exchange.vault_held
    play.insure("keeper", 7)
    assert exchange.vault_held >= before + 7 * WAD


def test_a_keeper_takes_over_who_is_below_maintenance(play: Playground, capsys: Printed) -> None:
    play.liquidate("keeper", "gambler")
    assert capsys.readouterr().out == "refused: liquidation: healthy account\n"
    play.move(955)
    play.liquidate("keeper", "gambler")
    assert play.exchange.account(ROLES["keeper"]).shares > 0


def test_waiting_keeps_the_oracle_fresh(play: Playground, capsys: Printed) -> None:
    before = play.exchange.chain.now
    play.say(990)
    play.wait(2 * MarketParameters().max_staleness)
    play.settle()
    assert play.exchange.mark == 990 * WAD
    assert play.exchange.chain.now > before + 2 * MarketParameters().max_staleness
    assert "refused" not in capsys.readouterr().out


def test_a_market_with_every_defence_takes_steps(opened: Playground) -> None:
    chain = opened.exchange.chain
    with chain.anchor():
        careful = Playground.open(chain, MarketParameters.guarded())
        careful.move(800)
        assert careful.exchange.mark == 990 * WAD
        assert opened.exchange.mark == 1_000 * WAD


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("move('free')", "mistake: 'free' is not a number of at most 18 digits after the point"),
        ("move('nan')", "mistake: 'nan' is not a number of at most 18 digits after the point"),
        ("move(None)", "mistake: None is not a number of at most 18 digits after the point"),
        ("move('1e-19')", "mistake: '1e-19' is not a number of at most 18 digits after the point"),
        ("move(-1)", "mistake: -1 is not above zero"),
        ("trade('trader', 'me', 1)", "mistake: me is nobody here; there are: maker, trader,"),
        ("trade('trader', 7, 1)", "mistake: 7 is nobody here; there are: maker, trader,"),
        ("wait(-1)", "mistake: -1 is not a number of seconds"),
        ("withdraw('gambler', 1000)", "refused: account: above free collateral"),
        ("trade('attacker', 'maker', 1000)", "refused: margin: below initial"),
        ("trade('trader', 'trader', 1)", "refused: "),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    play: Playground, capsys: Printed, line: str, complaint: str
) -> None:
    before = play.exchange.core, play.exchange.account(ROLES["gambler"])
    eval(f"play.{line}", {"play": play})
    printed = capsys.readouterr().out
    assert printed.startswith(complaint) and printed.count("\n") == 1, printed
    assert (play.exchange.core, play.exchange.account(ROLES["gambler"])) == before


def test_an_account_stands_for_its_role(play: Playground, capsys: Printed) -> None:
    play.deposit(SimpleNamespace(address=play.people["trader"]), 1)
    play.deposit(play.people["trader"], 1)
    by_account, by_address = capsys.readouterr().out.splitlines()
    assert by_account == by_address
    assert play.exchange.account(ROLES["trader"]).equity > (DEPOSITS["trader"] + 2 - 6) * WAD


def test_the_guide_says_what_every_verb_does(play: Playground, capsys: Printed) -> None:
    public = {name for name, _ in inspect.getmembers(Playground, inspect.isfunction) if not name.startswith("_")}
    assert public - {"verbs"} == set(VERBS) == set(play.verbs())
    play.guide()
    printed = capsys.readouterr().out
    for name in VERBS:
        assert len(cells(printed, f"{name} ")) >= 4
