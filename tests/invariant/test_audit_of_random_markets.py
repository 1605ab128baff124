"""Whatever happens to a market whose contracts are right, an audit of its log finds nothing.

Random operations on the contracts, every one that leaves an event; then everything is recomputed from the log and
compared with the contracts, to the last digit. That an audit does find what is wrong, `tests/mutation` shows.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from prorata.audit.auditor import Auditor, Summary
from prorata.chain import Reverted
from prorata.revm_chain import RevmChain
from prorata.units import WAD
from tests import figures
from tests.fuzz import run as fuzzing
from tests.invariant.test_event_log import SEED, TRADERS, Run

RUNS, STEPS = 30, 160
INSURERS = (0, 1)
CAMPAIGN, OPERATIONS = 8, 600

#: What all runs together must come across, or they prove less than they say.
RARE = {
    "moves": 1_000,
    "fills": 150,
    "liquidations": 20,
    "buckets_closed": 40,
    "epochs": 10,
    "covered": 5,
    "socialized": 5,
    "adl_shortfall": 5,
    "funding": 6,
    "bonus": 1,
    "gifts": 5,
    "requests": 4,
}


class AuditedRun(Run):
    """More than a ledger books: orders cancelled, gifts, and insurers who come, hand shares on, wait and leave."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        super().__init__(
            seed,
            max_words=rng.choice([72, 72, 256]),
            bucket_width=rng.choice([WAD // 10_000, WAD // 10_000, WAD // 1000, WAD // 200]),
            margin_slope=rng.choice([0, 0, WAD // 1000]),
            oi_multiple=rng.choice([0, 0, 50 * WAD]),
            min_notional=rng.choice([WAD, 50 * WAD]),
            fee_rate=rng.choice([0, WAD // 2000, WAD // 200]),
        )
        self.exchange.approve(1, self.exchange.vault)

    def cancel(self) -> None:
        maker, _ = self.pair()
        self.exchange.cancel(maker, self.exchange.order(maker, True, WAD, self.price))

    def cancel_all(self) -> None:
        maker, _ = self.pair()
        nonce = self.exchange.nonces.get(maker, 0) + 1
        self.chain.transact(self.exchange.market, "cancel_all", nonce, sender=maker)
        self.exchange.nonces[maker] = nonce

    def give(self) -> None:
        """Tokens that nobody deposits."""
        to = self.rng.choice([self.exchange.market, self.exchange.vault])
        self.chain.transact(self.exchange.token, "transfer", to.address, self.rng.randint(1, 100), sender=1)

    def mint_shares(self) -> None:
        shares = self.rng.randint(10**6, 10**21)
        self.chain.transact(self.exchange.vault, "mint", shares, self.chain.address(1), sender=1)

    def hand_on(self) -> None:
        shares = self.exchange.vault_shares(0) // 3
        self.chain.transact(self.exchange.vault, "transfer", self.chain.address(1), shares, sender=0)

    def request(self) -> None:
        insurer = self.rng.choice(INSURERS)
        self.exchange.request_redeem(insurer, self.exchange.vault_shares(insurer) // self.rng.choice([1, 2, 3]))

    def cancel_request(self) -> None:
        self.exchange.cancel_redeem(self.rng.choice(INSURERS))

    def leave(self) -> None:
        """A part of a request, by shares or by what they bring, once the cooldown is over."""
        insurer = self.rng.choice(INSURERS)
        request = self.exchange.redeem_request(insurer)
        self.chain.advance(max(request.opens - self.chain.now, 0))
        self.settle()
        if self.rng.random() < 0.5:
            self.exchange.redeem(insurer, request.shares // self.rng.choice([1, 2]))
        else:
            part = request.worth // 3 // self.exchange.unit * self.exchange.unit
            self.exchange.withdraw_insurance(insurer, part)

    def rise_and_fall(self) -> None:
        """By orders of magnitude, so that buckets of many levels are live and bitmap words lie between them."""
        for factor in (40, 3, 5):
            self.price = min(max(self.price * factor // 10, WAD), 10**6 * WAD)
            for _ in range(6):
                with suppress(Reverted):
                    self.settle()
            with suppress(Reverted):
                self.trade()

    def step(self) -> None:
        more = (
            self.cancel,
            self.cancel_all,
            self.give,
            self.mint_shares,
            self.hand_on,
            self.request,
            self.cancel_request,
            self.leave,
            self.rise_and_fall,
        )
        if self.rng.random() < 0.25:
            self.do(self.rng.choice(more))
        else:
            super().step()

    def follow(self) -> None:
        """The audit comes afterwards; gifts are more than the ledger's balance."""


class RecordingChain(RevmChain):
    """Remembers the events of raw transactions too, which a campaign has no use for."""

    def send(self, sender: str, address: str, data: bytes) -> list[tuple[list[bytes], bytes]]:
        found = super().send(sender, address, data)
        self._history.append((self.now, tuple(self._emitted())))
        return found


def audited(run: Run, folder: Path) -> tuple[Summary, Auditor]:
    """A whole audit."""
    auditor = Auditor(run.chain, run.exchange.market.address, folder, account=run.chain.address(1))
    summary = auditor.run()
    auditor.close()
    return summary, auditor


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    seen: Counter[str] = Counter()
    events = 0
    for seed in range(SEED * RUNS, SEED * RUNS + RUNS):
        run = AuditedRun(seed)
        for _ in range(STEPS):
            with suppress(Reverted):
                run.step()
        summary, auditor = audited(run, tmp_path / str(seed))
        books = auditor.books
        assert books is not None and summary.complete
        assert summary.shown == [], f"seed {seed}"
        # What everybody's worth is made of adds up to it, to the last of 54 digits.
        assert all(holder.flows.worth == holder.worth for holder in books.holders.values())
        events += summary.events
        totals = books.totals
        seen.update({name: getattr(totals, name) for name in ("moves", "fills", "liquidations", "buckets_closed")})
        seen["epochs"] += totals.epochs
        seen.update({name: getattr(totals, name) > 0 for name in ("covered", "socialized", "adl_shortfall")})
        seen.update({name: getattr(totals, name) > 0 for name in ("funding", "bonus")})
        seen["gifts"] += books.gifts + books.vault_gifts > 0
        seen["requests"] += len(books.vault.requests)
        assert len(books.holders) <= TRADERS + 1
    print(dict(seen), events)
    figures.record("audits of random markets", {"markets": RUNS, "events": events, "findings": 0})
    assert {name: count for name, count in RARE.items() if seen[name] < count} == {}


def test_nothing_is_found_in_a_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markets of `make fuzz`: prices and sizes up to the numeric bounds, broken oracles, several transactions a second,
    and in the end everybody leaves."""
    monkeypatch.setattr(fuzzing, "RevmChain", RecordingChain)
    events = 0
    for number in range(CAMPAIGN):
        run = fuzzing.Run(SEED, number, OPERATIONS)
        run.live()
        exchange = run.driver.exchange
        auditor = Auditor(run.driver.chain, exchange.market.address, tmp_path / str(number))
        summary = auditor.run()
        auditor.close()
        assert (summary.shown, summary.complete) == ([], True), f"seed {SEED}, run {number}"
        events += summary.events
    figures.record("audits of a campaign", {"markets": CAMPAIGN, "events": events, "findings": 0})
    assert events > 100 * CAMPAIGN
