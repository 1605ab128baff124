"""The audit: no event of a log may lie in any number, and an audit broken off ends as one that was not."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prorata.audit import auditor as auditing
from prorata.audit.auditor import Auditor, NoAudit, Summary
from prorata.audit.desk import Finding
from prorata.chain import Chain, Entry, Log
from prorata.exchange import Exchange
from prorata.parameters import VaultParameters
from prorata.revm_chain import RevmChain
from prorata.units import INDEX_UNIT, LONG, WAD
from tests.unit.test_ledger import DEPOSITOR, KEEPER, MAKER, MARK, STRANGER, TAKER, Market, opened, rich


class Told:
    """A chain whose log says what a test wants.

    Args:
        chain: what is really there.
        tell: the events of some blocks, and what to say instead.
    """

    def __init__(self, chain: Chain, tell: Callable[[list[Entry]], list[Entry]]) -> None:
        self._chain, self._tell = chain, tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def entries(self, from_block: int, to_block: int) -> list[Entry]:
        return self._tell(list(self._chain.entries(from_block, to_block)))


def audit(chain: Any, exchange: Exchange, folder: Path, **options: Any) -> Auditor:
    """A whole one; its files are closed."""
    auditor = Auditor(chain, exchange.market.address, folder, **options)
    try:
        auditor.run()
    finally:
        auditor.close()
    return auditor


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def story() -> Market:
    """A market that had every event but those of its end; token units of 6 decimals."""
    market = Market(6, max_funding=WAD // 400)
    for step in rich(market):
        step()
    exchange = market.exchange
    exchange.insure(DEPOSITOR, 10 * WAD)
    exchange.request_redeem(DEPOSITOR, exchange.vault_shares(DEPOSITOR) // 2)
    exchange.cancel_redeem(DEPOSITOR)
    return market


@pytest.fixture(scope="module")
def ended() -> Market:
    """A market whose oracle died, to the last withdrawal."""
    market = opened(6, max_price_step=WAD // 100)
    market.move(1_005)
    market.exchange.set_price(1_030 * WAD)
    market.exchange.settle()
    market.exchange.set_round(0, market.chain.now)
    market.exchange.wind_down()
    market.chain.advance(86_400)
    market.exchange.wind_down()
    for _ in range(2):
        market.exchange.settle()
    market.exchange.withdraw(TAKER, 60 * WAD)
    return market


@pytest.fixture(params=["story", "ended"])
def told_of(request: pytest.FixtureRequest) -> Market:
    """Both markets in turn."""
    found: Market = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def address(story: Market) -> str:
    return story.chain.address(MAKER)


class TestAStory:
    def test_nothing_is_different(self, story: Market, tmp_path: Path) -> None:
        auditor = audit(story.chain, story.exchange, tmp_path)
        assert auditor.summary.shown == []
        assert auditor.summary.complete and auditor.summary.last_block == story.chain.block
        found = json.loads((tmp_path / "audit.json").read_text())
        assert (found["findings"], found["complete"]) == (0, True)
        assert int(found["token_balance"]) == story.exchange.token_balance(story.exchange.market)
        assert int(found["sum_equity"]) == sum(story.exchange.account(trader).equity for trader in range(6))
        totals = story.ledger().totals
        for name in ("gross", "deficit", "covered", "socialized", "adl_shortfall"):
            assert int(found["totals"][name]) == getattr(totals, name)
        moves = rows(tmp_path / "settlements.csv")
        assert len(moves) == totals.settlements
        assert all(row["haircut"] == row["haircut_by_rule"] for row in moves)
        assert any(float(row["haircut"]) > 0 for row in moves)
        assert rows(tmp_path / "findings.csv") == []

    def test_what_everybody_has_is_accounted_for(self, story: Market, tmp_path: Path) -> None:
        auditor = audit(story.chain, story.exchange, tmp_path)
        assert auditor.books is not None
        assert all(holder.flows.worth == holder.worth for holder in auditor.books.holders.values())
        accounts = {row["account"]: row for row in rows(tmp_path / "accounts.csv")}
        assert set(accounts) == {story.chain.address(trader) for trader in (MAKER, TAKER, KEEPER, STRANGER)}
        taker = accounts[story.chain.address(TAKER)]
        assert float(taker["deposited"]) == 110.5
        assert float(taker["equity"]) == story.exchange.account(TAKER).equity / WAD

    def test_up_to_a_block(self, story: Market, tmp_path: Path) -> None:
        auditor = audit(story.chain, story.exchange, tmp_path, to_block=40)
        assert (auditor.summary.last_block, auditor.summary.complete, auditor.summary.findings) == (40, False, 0)

    def test_no_market(self, story: Market, tmp_path: Path) -> None:
        for nowhere in (story.chain.address(MAKER), story.exchange.token.address):
            with pytest.raises(NoAudit, match="no market at"):
                Auditor(story.chain, nowhere, tmp_path)

    def test_the_log_must_begin_with_the_deployment(self, story: Market, tmp_path: Path) -> None:
        with pytest.raises(NoAudit, match="after the market's deployment"):
            audit(story.chain, story.exchange, tmp_path, from_block=20)
        with pytest.raises(NoAudit, match="no deployment of"):
            audit(story.chain, story.exchange, tmp_path, to_block=3)


#: Fields that follow from no rule: who asked for it, under which name.
FREE = {
    ("Traded", "order_hash"),
    ("Deposit", "owner"),
    ("RedeemRequest", "owner"),
    ("RedeemRequest", "sender"),
    ("RedeemRequest", "requestId"),
    ("RedeemRequestCancelled", "sender"),
    ("Withdraw", "sender"),
    ("Deployed", "oracle"),
    ("Deployed", "token"),
    ("Deployed", "insurance"),
    ("Deployed", "trading"),
    ("OrderCancelled", "order_hash"),
}
#: Events of deployments and allowances; vault shares are looked at where they are bought and redeemed.
UNREAD = ("Approval", "Deployed", "Transfer", "OwnershipTransferred", "RoleMinterChanged")
NOBODY = "0x" + "11" * 20


def lies(log: Log) -> Iterator[tuple[str, Any]]:
    """Other values of an event's fields, each near the true one."""
    for name, value in log.fields.items():
        if (log.name, name) in FREE:
            continue
        if log.name == "Moved" and name == "index_price" and value != log.fields["mark_after"]:
            continue  # how far a limited step had still to go, only the oracle knows
        if name == "receipt":
            yield from ((name, (*value[:i], value[i] + 1, *value[i + 1 :])) for i in range(len(value)))
        elif name == "bucket_id" and not value:
            continue  # of a flat account, where nothing is filed
        elif isinstance(value, bool):
            yield name, not value
        elif isinstance(value, int):
            yield name, value + 1
        elif isinstance(value, str):
            yield name, NOBODY


class TestNoEventMayLie:
    """Every event of the story in turn says something else; the audit finds it, as a rule in the very transaction."""

    def test_in_no_number(self, told_of: Market, tmp_path: Path) -> None:
        entries = list(told_of.chain.entries(0, told_of.chain.block))
        ours = (told_of.exchange.market.address, told_of.exchange.vault.address)
        unseen, elsewhere, told_lies = [], [], 0
        for at, entry in enumerate(entries):
            if entry.log.address not in ours or entry.log.name in UNREAD:
                continue
            for name, value in lies(entry.log):
                told = [*entries]
                told[at] = replace(entry, log=replace(entry.log, fields={**entry.log.fields, name: value}))
                summary = self.found(told_of, told, tmp_path)
                told_lies += 1
                what = (entry.log.name, name, entry.block)
                if not summary.findings:
                    unseen.append(what)
                elif not any(finding.where.block == entry.block for finding in summary.shown):
                    elsewhere.append(what)
        assert told_lies > 80
        assert unseen == []
        # What a switch or a queued request should have been shows in the contracts' state only.
        assert {name for name, *_ in elsewhere} <= {"ReduceOnly", "RedeemRequest"}

    def test_by_leaving_one_out(self, told_of: Market, tmp_path: Path) -> None:
        entries = list(told_of.chain.entries(0, told_of.chain.block))
        unseen = []
        for at, entry in enumerate(entries):
            relevant = entry.log.address == told_of.exchange.market.address or entry.log.name in (
                "Covered",
                "Deposit",
                "Withdraw",
                "RedeemRequest",
                "RedeemRequestCancelled",
            )
            if relevant and entry.log.name not in ("Deployed", "OrderCancelled"):
                summary = self.found(told_of, [*entries[:at], *entries[at + 1 :]], tmp_path)
                if not summary.findings:
                    unseen.append((entry.log.name, entry.block))
        assert unseen == []

    def test_by_tokens_that_move_for_no_reason(self, story: Market, tmp_path: Path) -> None:
        """Taken from the market: named. Given to it: a gift, that counts for nothing."""
        entries = list(story.chain.entries(0, story.chain.block))
        market = story.exchange.market.address
        at, transfer = next(
            (at, entry)
            for at, entry in enumerate(entries)
            if entry.log.name == "Transfer" and market in entry.log.fields.values()
        )
        sender, receiver, amount = transfer.log.fields
        for fields, found in (
            ({sender: market, receiver: NOBODY, amount: 5}, ["tokens"]),
            ({sender: NOBODY, receiver: market, amount: 5}, ["state"]),
        ):
            stolen = replace(transfer, log=replace(transfer.log, fields=fields))
            summary = self.found(story, [*entries[:at], stolen, *entries[at:]], tmp_path)
            assert [finding.rule for finding in summary.shown] == found

    def found(self, story: Market, told: list[Entry], folder: Path) -> Summary:
        """What an audit of another log finds."""
        (folder / "checkpoint.json").unlink(missing_ok=True)
        chain = Told(story.chain, lambda _entries: told)
        return audit(chain, story.exchange, folder).summary


class TestBrokenOff:
    FILES = ("audit.json", "findings.csv", "settlements.csv", "accounts.csv")

    @contextmanager
    def small_pieces(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Ten blocks at a time, and a checkpoint after each piece."""
        with monkeypatch.context() as patch:
            patch.setattr(auditing, "CHUNK", 10)
            patch.setattr(auditing, "_SAVE_EVERY", 0.0)
            patch.setattr(auditing, "_SAVE_PART", 0)
            yield

    def contents(self, folder: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(folder.iterdir()) if path.name != "checkpoint.json"}

    def test_it_goes_on_and_ends_the_same(
        self, story: Market, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        audit(story.chain, story.exchange, tmp_path / "whole", account=address)
        with self.small_pieces(monkeypatch):
            pieces, done = 0, False
            while not done:
                pieces += 1
                done = self.piece(story, address, tmp_path / "pieces")
        assert pieces > 3
        assert self.contents(tmp_path / "pieces") == self.contents(tmp_path / "whole")

    def piece(self, story: Market, address: str, folder: Path) -> bool:
        """An audit that reads one new piece and is broken off in the next; whether it came to an end."""
        reads = 0

        def tell(entries: list[Entry]) -> list[Entry]:
            nonlocal reads
            reads += 1
            if reads > 3:  # where the last one ended is looked at twice
                raise KeyboardInterrupt
            return entries

        try:
            audit(Told(story.chain, tell), story.exchange, folder, account=address)
        except KeyboardInterrupt:
            return False
        return True

    def test_an_outage_asks_for_less_and_then_gives_up(
        self, story: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        class Refusing(Told):
            def entries(self, from_block: int, to_block: int) -> list[Entry]:
                asked.append(to_block - from_block + 1)
                if asked[-1] > 7:
                    raise OSError("too many blocks")
                return super().entries(from_block, to_block)

        found = audit(Refusing(story.chain, lambda entries: entries), story.exchange, tmp_path)
        assert found.summary.findings == 0 and found.summary.complete
        assert max(asked) > 7 >= asked[-1]

        class Dead(Told):
            def entries(self, from_block: int, to_block: int) -> list[Entry]:
                raise OSError("no answer")

        with pytest.raises(OSError, match="no answer"):
            audit(Dead(story.chain, lambda entries: entries), story.exchange, tmp_path / "dead")

    def test_again_reads_what_is_new(self, tmp_path: Path) -> None:
        market = Market(6)
        market.deposit(MAKER=1_000, TAKER=1_000)
        first = audit(market.chain, market.exchange, tmp_path)
        market.exchange.trade(MAKER, TAKER, True, WAD, MARK)
        market.move(1_010)
        second = audit(market.chain, market.exchange, tmp_path)
        assert (second.summary.resumed_at, second.summary.findings) == (first.summary.last_block, 0)
        assert second.books is not None and second.books.totals.moves == 1

    def test_of_something_else_begins_anew(self, story: Market, address: str, tmp_path: Path) -> None:
        audit(story.chain, story.exchange, tmp_path)
        assert audit(story.chain, story.exchange, tmp_path).summary.resumed_at == story.chain.block
        assert audit(story.chain, story.exchange, tmp_path, account=address).summary.resumed_at is None
        assert audit(story.chain, story.exchange, tmp_path, account=address).summary.resumed_at is not None
        other = Market(6)
        other.deposit(MAKER=5)
        assert audit(other.chain, other.exchange, tmp_path, account=address).summary.resumed_at is None
        # A checkpoint that is no checkpoint.
        (tmp_path / "checkpoint.json").write_text("{")
        assert audit(other.chain, other.exchange, tmp_path, account=address).summary.resumed_at is None

    def test_another_chain_begins_anew(self, tmp_path: Path) -> None:
        """Two chains with a market at one address, as after a reorganisation."""
        for amount in (5, 6):
            market = Market(6)
            market.deposit(MAKER=amount)
            if amount == 6:
                market.exchange.withdraw(MAKER, WAD)
            found = audit(market.chain, market.exchange, tmp_path)
            assert (found.summary.resumed_at, found.summary.findings) == (None, 0)
            # So that the last block that was read is another one's.
            state = json.loads((tmp_path / "checkpoint.json").read_text())
            state["last"][1] = "0x" + "ab" * 32
            (tmp_path / "checkpoint.json").write_text(json.dumps(state))


class TestMemory:
    def long_log(self, market: Market, moves: int) -> Told:
        """The market, and then the price up and down by one so many times in a second chain of blocks."""
        head, now = market.chain.block, market.chain.now
        sides = [market.exchange.side(side) for side in (0, 1)]
        emitter = market.exchange.market.address

        def moved(number: int) -> Entry:
            up = number % 2 == 0
            mark = MARK + (0 if up else WAD)
            change = INDEX_UNIT if up else 0
            fields = {
                "loser": 1 if up else 0,
                "funding": False,
                "mark_before": mark,
                "mark_after": 2 * MARK + WAD - mark,
                "index_price": 2 * MARK + WAD - mark,
                "gross": sides[0].shares,
                "open_interest": sides[0].open_interest,
                "long_index": sides[0].index + change,
                "short_index": sides[1].index - change,
            }
            return Entry(head + 1 + number, now, f"0x{head + 1 + number:064x}", Log(emitter, "Moved", fields))

        class Long(Told):
            @property
            def block(self) -> int:
                return head + moves

            def entries(self, from_block: int, to_block: int) -> list[Entry]:
                old = market.chain.entries(from_block, min(to_block, head))
                return [*old, *(moved(at - head - 1) for at in range(max(from_block, head + 1), to_block + 1))]

        return Long(market.chain, lambda entries: entries)

    def test_what_is_kept_does_not_grow_with_the_log(self, tmp_path: Path) -> None:
        market = Market(18)
        market.deposit(MAKER=2_000, TAKER=2_000, KEEPER=50)
        market.exchange.trade(MAKER, TAKER, True, WAD, MARK)
        sizes = []
        for moves in (2, 10_000):
            folder = tmp_path / str(moves)
            auditor = audit(self.long_log(market, moves), market.exchange, folder)
            # It comes back to where the contracts are, so their state agrees too.
            assert auditor.summary.findings == 0 and auditor.summary.complete
            assert auditor.books is not None and auditor.books.totals.moves == moves
            sizes.append((folder / "checkpoint.json").stat().st_size)
        assert sizes[1] - sizes[0] < 100  # some longer numbers


class TestBitmapWords:
    def test_a_move_that_words_have_stopped(self, tmp_path: Path) -> None:
        """A is left, and B stands tens of thousands of narrow buckets higher: the mark gets there in pieces."""
        market = Market(18, max_words=72, bucket_width=WAD // 10**4, fee_rate=0)
        exchange = market.exchange
        market.deposit(MAKER=60, TAKER=40_000, KEEPER=1_000_000)
        for short in (MAKER, TAKER):
            exchange.trade(short, KEEPER, False, WAD, MARK)
        exchange.trade(MAKER, KEEPER, True, WAD, MARK)
        exchange.set_price(40_000 * WAD)
        while exchange.mark != 40_000 * WAD:
            exchange.settle()
        auditor = audit(market.chain, exchange, tmp_path)
        assert auditor.books is not None and auditor.summary.shown == []
        assert auditor.books.totals.stopped_by_words > 3


class TestStatement:
    def test_every_row_adds_up(self, story: Market, address: str, tmp_path: Path) -> None:
        auditor = audit(story.chain, story.exchange, tmp_path, account=address)
        found = rows(tmp_path / f"statement-{address}.csv")
        assert {row["event"] for row in found} >= {"deposit", "withdrawal", "fill", "price", "funding", "epoch ended"}
        equity = 0
        for row in found:
            wei = {name: wei_of(value) for name, value in row.items() if value and name not in _WORDS}
            assert wei["equity_before"] == equity, row
            come = wei["gain_after_haircut"] + wei["price_difference"] + wei["reward"] + wei["cash"]
            gone = wei["fee"] + wei["liquidation_fee"] + wei["forfeited"] + wei["rounding"]
            equity = wei["equity_after"]
            assert equity == wei["equity_before"] + come - gone
            # Haircut and bonus are what stands between the gain as it was lost by others and as it was had.
            parts = wei["gain_before_haircut"] - wei["haircut"] + wei["bonus"]
            assert abs(parts - wei["gain_after_haircut"]) <= 3, row
            assert -2 <= wei["rounding"] <= 3
        assert equity == story.exchange.account(MAKER).equity
        assert auditor.summary.findings == 0

    def test_a_haircut_and_a_deleverage_in_words(self, tmp_path: Path) -> None:
        """MAKER is long 2, TAKER short 1 with 100 left, so it lacks 100 at 1,200; a tenth of 2 in fees covers it."""
        market = Market()
        market.deposit(MAKER=1_001, TAKER=100.5, KEEPER=1_000.5)
        for short in (TAKER, KEEPER):
            market.exchange.trade(MAKER, short, True, WAD, MARK)
        market.move(1_200)
        address, taker = market.chain.address(MAKER), market.chain.address(TAKER)
        audit(market.chain, market.exchange, tmp_path / "maker", account=address)
        (row,) = (row for row in rows(tmp_path / "maker" / f"statement-{address}.csv") if row["event"] == "price")
        (receipt,) = (row for row in rows(tmp_path / "maker" / "settlements.csv") if row["kind"] == "price")
        assert wei_of(row["gain_before_haircut"]) == 400 * WAD
        assert wei_of(row["haircut"]) == 998 * WAD // 10
        assert 0 <= wei_of(receipt["socialized"]) - wei_of(row["haircut"]) <= 2
        assert (row["size_before"], row["size_after"]) == ("2.000000000000000000", "1.000000000000000000")
        audit(market.chain, market.exchange, tmp_path / "taker", account=taker)
        last = rows(tmp_path / "taker" / f"statement-{taker}.csv")[-1]
        assert (last["event"], last["size_after"], wei_of(last["equity_after"])) == (
            "closed",
            "0.000000000000000000",
            0,
        )
        assert abs(wei_of(last["forfeited"]) + 100 * WAD) <= 2
        text = (tmp_path / "maker" / f"statement-{address}.txt").read_text()
        assert f"Statement of {address}" in text
        assert "-99.80" in text and "haircuts borne" in text

    def test_of_nobody(self, story: Market, tmp_path: Path) -> None:
        audit(story.chain, story.exchange, tmp_path, account=NOBODY)
        (path,) = tmp_path.glob("statement-*.txt")
        assert "0 events touched it" in path.read_text()


_WORDS = ("block", "time", "transaction", "event", "side")


def wei_of(number: str) -> int:
    """A decimal number with 18 digits as an integer."""
    whole, digits = number.split(".")
    assert len(digits) == 18
    return int(whole + digits)


def test_findings_beyond_those_shown_are_in_the_file(story: Market, tmp_path: Path) -> None:
    """A market of which every event is left out that says why an account was written."""

    def tell(entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if entry.log.name not in ("Deposited", "Traded", "Liquidated", "Withdrawn")]

    auditor = audit(Told(story.chain, tell), story.exchange, tmp_path)
    assert auditor.summary.findings > auditing.SHOWN == len(auditor.summary.shown)
    assert len(rows(tmp_path / "findings.csv")) == auditor.summary.findings


def test_a_late_bid_for_the_vault(tmp_path: Path) -> None:
    """What a redemption brings is recomputed: half of a request now, the rest in a later window's time."""
    market = Market(6)
    exchange: Exchange = market.exchange
    exchange.insure(DEPOSITOR, 1_000 * WAD)
    shares = exchange.vault_shares(DEPOSITOR)
    exchange.request_redeem(DEPOSITOR, shares)
    market.chain.advance(VaultParameters().redeem_cooldown)
    market.move(1_000)
    exchange.redeem(DEPOSITOR, shares // 2)
    exchange.withdraw_insurance(DEPOSITOR, 100 * WAD)
    auditor = audit(market.chain, exchange, tmp_path)
    assert auditor.summary.shown == []
    assert auditor.books is not None and auditor.books.vault.requests[market.chain.address(DEPOSITOR)].shares > 0
    assert auditor.books.sides[LONG].shares == 0


def of(findings: Sequence[Finding], rule: str) -> list[Finding]:
    return [finding for finding in findings if finding.rule == rule]


def test_a_state_that_the_log_does_not_explain_is_named_with_its_last_writer(story: Market, tmp_path: Path) -> None:
    chain = story.chain
    assert isinstance(chain, RevmChain)

    class Lying(Told):
        def call(self, contract: Any, function: str, *arguments: Any) -> Any:
            found = chain.call(contract, function, *arguments)
            if function == "account" and arguments == (chain.address(KEEPER),):
                return (found[0] + 1, *found[1:])
            return found

    auditor = audit(Lying(chain, lambda entries: entries), story.exchange, tmp_path)
    (finding,) = of(auditor.summary.shown, "state")
    assert auditor.books is not None
    assert finding.where.transaction == auditor.books.holders[chain.address(KEEPER)].written
