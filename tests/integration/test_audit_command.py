"""`ape run audit` as a user runs it, on a real Anvil; and an audit alike on every network."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ape
import pytest
from click.testing import CliRunner

from prorata.ape_chain import ApeChain
from prorata.audit.auditor import Auditor
from prorata.embedded import USUAL
from prorata.exchange import Exchange
from prorata.units import WAD
from scripts.audit import cli
from tests.integration.anvil import NETWORK, Node, ape_run
from tests.integration.conftest import EMBEDDED

MAKER, THIN, RICH = 1, 2, 3
MARK = 1_000 * WAD
NOWHERE = "0x" + "22" * 20


def live(exchange: Exchange) -> None:
    """A crash: one short is closed with a deficit, one long is deleveraged and bears a part of it."""
    exchange.fund(0)
    exchange.approve(0, exchange.vault)
    exchange.insure(0, 100 * WAD)
    for trader, amount in ((MAKER, 2_000), (THIN, 101), (RICH, 1_000)):
        exchange.fund(trader)
        exchange.deposit(trader, amount * WAD)
    for short in (THIN, RICH):
        exchange.trade(MAKER, short, True, WAD, MARK)
    exchange.set_price(1_250 * WAD)
    exchange.settle()
    exchange.withdraw(MAKER, 300 * WAD)


def test_an_audit_on_every_network(chain: ApeChain, tmp_path: Path) -> None:
    exchange = Exchange.deploy(chain, MARK, decimals=6)
    live(exchange)
    auditor = Auditor(chain, exchange.market.address, tmp_path, account=chain.address(MAKER))
    summary = auditor.run()
    auditor.close()
    assert (summary.shown, summary.complete) == ([], True)
    assert auditor.books is not None and auditor.books.totals.accounts_closed == 1
    assert summary.largest_haircut > 0 and len(summary.largest_haircut_at) == 66
    with (tmp_path / f"statement-{chain.address(MAKER)}.csv").open() as file:
        assert [row["event"] for row in csv.DictReader(file)] == ["deposit", "fill", "fill", "price", "withdrawal"]


def test_bug_an_audit_went_on_from_another_history_with_the_same_last_transaction(
    chain: ApeChain, tmp_path: Path
) -> None:
    """Of a dev node that was restarted: the oracle had said something else, all transactions after it were the same."""
    for price in (800 * WAD, 900 * WAD):
        with chain.anchor():
            exchange = Exchange.deploy(chain, MARK, decimals=6)
            live(exchange)
            exchange.set_price(price)
            exchange.settle()
            auditor = Auditor(chain, exchange.market.address, tmp_path)
            summary = auditor.run()
            auditor.close()
            assert (summary.resumed_at, summary.shown, summary.complete) == (None, [], True)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    anvil = Node(tmp_path_factory.mktemp("anvil"))
    anvil.start()
    yield anvil
    anvil.stop()


@pytest.mark.node
def test_it_goes_on_agrees_and_finds_what_was_done_to_the_state(node: Node, tmp_path: Path) -> None:
    with ape.networks.parse_network_choice(NETWORK, provider_settings={"host": node.url}) as provider:
        # Whoever only looks leaves even the clock alone.
        assert ApeChain(first_second=0).block == 0
        chain = ApeChain()
        exchange = Exchange.deploy(chain, MARK, decimals=6)
        live(exchange)
        market, maker = exchange.market.address, chain.address(MAKER)
        options = ("--market", market, "--account", maker, "--out", str(tmp_path), "--network", NETWORK)

        # A part of the log, then all of it from there on.
        part = ape_run("audit", *options, "--to-block", str(chain.block - 2), node=node)
        assert part.returncode == 0, part.stdout + part.stderr
        assert "the contracts' state was not compared" in part.stdout
        state = chain.block, chain.now
        done = ape_run("audit", *options, node=node)
        assert (chain.block, chain.now) == state
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"goes on after block {chain.block - 2}" in done.stdout
        assert "no difference: log, rule and contracts agree to the wei" in done.stdout
        found = json.loads((tmp_path / "audit.json").read_text())
        assert (found["findings"], found["complete"], found["last_block"]) == (0, True, chain.block)
        assert (tmp_path / f"statement-{maker}.txt").read_text().count("withdrawal") == 1

        # Somebody has been at the market's storage.
        slot = USUAL.storage_layout("PerpetualMarket")["settlement"]["total_socialized"]["slot"]
        words = [market, f"0x{slot:064x}", f"0x{WAD:064x}"]
        provider.web3.provider.make_request("anvil_setStorageAt", words)
        wrong = ape_run("audit", *options, node=node)
        assert wrong.returncode == 1, wrong.stdout + wrong.stderr
        assert f"total_socialized is {WAD}, by the log" in " ".join(wrong.stdout.split())
        assert "1 difference\n" in wrong.stdout


@pytest.mark.parametrize(
    ("happens", "says"),
    [(KeyboardInterrupt(), "stopped"), (ConnectionError("refused"), "the node does not answer (refused)")],
    ids=["Ctrl-C", "an outage"],
)
def test_what_is_broken_off_does_not_look_like_a_clean_audit(
    happens: BaseException, says: str, chain_there: ApeChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = Exchange.deploy(chain_there, MARK)
    options = ("--market", exchange.market.address, "--out", str(tmp_path), "--network", EMBEDDED)

    def broken_off(*_arguments: Any) -> None:
        raise happens

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Auditor, "_follow", broken_off)
            stopped = CliRunner().invoke(cli, options)
        done = CliRunner().invoke(cli, options)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
            signal.signal(number, handler)
    assert stopped.exit_code == 3, stopped.output
    assert f"{says}; the same command goes on from where it was" in stopped.output
    assert "no difference" not in stopped.output
    assert done.exit_code == 0, done.output


@pytest.fixture
def chain_there(connect: Callable[[str], ApeChain]) -> Iterator[ApeChain]:
    """The embedded network alone, as it was found."""
    network = connect(EMBEDDED)
    with network.anchor():
        yield network


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--market", "nowhere"), "'nowhere' is not an address"),
        (("--market", NOWHERE), "no market at 0x2222"),
        (("--market", NOWHERE, "--account", "me"), "--account: 'me' is not an address"),
        (("--market", NOWHERE, "--from-block", "100000"), "--from-block 100000 is after the last block"),
        (("--market", NOWHERE, "--addresses", "x.json"), "exclude each other"),
        (("--addresses", "{missing}"), "cannot be read"),
        (("--from-block", "never"), "--from-block"),
    ],
    ids=lambda value: "-".join(word.strip("-") for word in value if word.startswith("--")) if value else "",
)
def test_bad_input_is_one_line(arguments: Sequence[str], word: str, tmp_path: Path, chain_there: ApeChain) -> None:
    given = [argument.format(missing=tmp_path / "missing.json") for argument in arguments]
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, [*given, "--out", str(out), "--network", EMBEDDED])
    assert done.exit_code == 2, done.output
    assert word in done.output
    assert done.output.strip().count("\n") == 0, done.output
