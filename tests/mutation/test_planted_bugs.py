"""Every planted fault is found by a check of its own, which names the guarantee it breaks; the market passes all.

And an audit of the log of a market with the fault, which knows nothing of it, names the transaction where it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from prorata.audit.auditor import Auditor, Summary
from prorata.chain import Reverted
from prorata.embedded import Compiler, compiling
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.twin import Twin, Violation
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD
from tests.mutation import audited, planted

MARK = 1000 * WAD
TRADER, OTHER, THIRD, RICH, RICHER = range(1, 6)
DAY = 86_400


def twin(**parameters: int) -> Twin:
    """A market beside its model; RICH and RICHER have plenty."""
    market = Twin(RevmChain(), MARK, RICHER, MarketParameters(max_staleness=10**9, **parameters))
    for trader in (RICH, RICHER):
        market.deposit(trader, 10**6 * WAD)
    return market


def exchange(**parameters: int) -> Exchange:
    """A market without a model, the same otherwise."""
    market = Exchange.deploy(RevmChain(), MARK, MarketParameters(**parameters))
    for trader in range(1, RICHER + 1):
        market.fund(trader)
    for trader in (RICH, RICHER):
        market.deposit(trader, 10**6 * WAD)
    return market


def opened(market: Twin, collaterals: dict[int, int]) -> None:
    """Each buys one unit from RICH with so much collateral, in hundredths of quote."""
    for trader, collateral in collaterals.items():
        market.deposit(trader, collateral * WAD // 100)
        market.trade(trader, RICH, True, WAD, MARK)


# ------------------------------------------------------------------------------------------------------------- checks


def winners_get_no_more_than_there_is() -> None:
    """S1, to the last of 54 digits: what winners gain, losers have paid. Some sizes, for several fractions of a wei."""
    for part in range(7, 15):
        market = exchange(fee_rate=0)
        size = 10 * WAD // part
        market.deposit(TRADER, 1000 * WAD // part)
        market.trade(TRADER, RICH, True, size, MARK)
        held = market.account(TRADER)
        above_edge = market.side(LONG).index - (held.bucket << held.level)
        debt = held.shares * above_edge // INDEX_UNIT - held.equity
        market.set_price(MARK * 85 // 100)
        (receipt,) = receipts_in(market.settle().logs)
        worth = held.shares * (receipt.indices[LONG] - (held.bucket << held.level)) - debt * INDEX_UNIT
        paid = held.shares * -receipt.indices[LONG] + worth
        assert worth < 0 < receipt.deficit
        if receipt.indices[SHORT] * size > paid:
            raise Violation("S1", "winners gained more than losers paid")


def a_fee_is_what_was_paid() -> None:
    """A position is sold so far below the mark that its last cents do not pay the fee."""
    market = twin()
    opened(market, {TRADER: 55_00})
    market.set_price(980 * WAD)
    market.settle()
    market.trade(TRADER, RICH, False, WAD, 980 * WAD - 344 * WAD // 10)
    market.check()
    assert market.exchange.account(TRADER).equity == 0


def fellow_losers_pay_before_insurance() -> None:
    """Two buckets in one move: what the one is short of, the other has left, and more."""
    market = twin()
    market.insure(1000 * WAD)
    opened(market, {TRADER: 100_00, OTHER: 105_00})
    market.set_price(900 * WAD)
    market.settle()
    market.check()
    (receipt,) = market.receipts
    assert (receipt.buckets_closed, receipt.covered) == (2, 0)


def whoever_reduces_stays_as_healthy() -> None:
    """Half of a position at a price that costs more than half of what the trader has."""
    market = twin()
    opened(market, {TRADER: 110_00})
    market.trade(TRADER, RICH, True, WAD, MARK)
    market.set_price(985 * WAD)
    with pytest.raises(Reverted, match="margin: less healthy than before"):
        market.trade(TRADER, RICH, False, WAD, 936 * WAD)


def a_touch_changes_no_close_out() -> None:
    """A short in an even bucket, the mark half a bucket short of closing it; at the mark's own level its bucket would
    be twice as wide and end above."""
    market = exchange()
    market.deposit(TRADER, 500 * WAD)
    market.trade(TRADER, RICH, False, WAD, MARK)
    while market.account(TRADER).bucket % 2:
        market.deposit(TRADER, WAD // 3)
    held = market.account(TRADER)
    position = market.chain.call(market.lens, "position", market.market.address, market.chain.address(TRADER))
    market.set_price(position[-1] - (1 << held.level) // 202 * 100 // WAD)
    market.settle()
    survives = []
    for touches in (0, 1):
        with market.chain.anchor():
            for _ in range(touches):
                market.deposit(RICHER, 1, TRADER)
            market.set_price(market.mark + 1)
            market.settle()
            survives.append(market.account(TRADER).shares > 0)
    if survives[0] != survives[1]:
        raise Violation("S4", "a stranger's wei decides who is closed")


def funding_is_paid_before_the_price_moves() -> None:
    """Longs owe funding, and the price rises: they pay what they owe first, and gain then."""
    market = twin(fee_rate=WAD // 400, max_funding=WAD // 100)
    market.trade(RICHER, RICH, True, 8 * WAD, 1004 * WAD)
    market.exchange.chain.advance(DAY)
    market.set_price(1010 * WAD)
    market.settle()
    market.check()
    assert [receipt.loser for receipt in market.receipts] == [LONG, SHORT]


def a_loss_is_rounded_up() -> None:
    """Bought a wei above the mark. To a size of 5**36 every edge of a bucket is a whole number of wei, so that nothing
    is rounded but what the trade costs, and nobody may have a wei more than in exact numbers."""
    market = twin(fee_rate=0)
    for trader in (TRADER, OTHER):
        market.deposit(trader, 10**10 * WAD)
    market.trade(TRADER, OTHER, True, 5**36, MARK + 1)
    found = market.check()
    if found.max_favour > 0:
        raise Violation("S3", f"an account has {found.max_favour} wei more than it should")


def funding_accrues_while_the_price_stands() -> None:
    """A day after a fill above the mark longs have paid, although the price is what it was."""
    market = twin(fee_rate=WAD // 400, max_funding=WAD // 100)
    market.trade(RICHER, RICH, True, 8 * WAD, 1004 * WAD)
    market.exchange.chain.advance(DAY)
    market.settle()
    market.check()
    assert [receipt.funding for receipt in market.receipts] == [True]


def funding_goes_on_after_a_stop() -> None:
    """Three buckets that funding empties, one a call; whoever is left pays all the same."""
    market = twin(fee_rate=WAD // 400, max_funding=WAD // 100, max_buckets=1)
    opened(market, {TRADER: 55_00, OTHER: 56_00, THIRD: 57_00})
    view = market.exchange.chain.call(
        market.exchange.lens, "position", market.exchange.market.address, market.exchange.chain.address(TRADER)
    )
    market.set_price(view[-1] + WAD // 100)
    market.settle_fully()
    market.trade(RICHER, RICH, True, 8 * WAD, market.exchange.mark * 1004 // 1000)
    market.exchange.chain.advance(30 * DAY)
    market.settle_fully()
    market.check()
    assert not any(market.exchange.account(trader).shares for trader in (TRADER, OTHER, THIRD))


def whoever_is_ruined_is_closed() -> None:
    """On a level of which somebody's edge could be mistaken for none."""
    market, _ = audited.hidden_level()
    equities = sum(market.account(trader).equity for trader in range(1, RICHER + 1))
    if equities + market.insurance_owed > market.token_balance(market.market):
        raise Violation("S1", "winners are owed more than there is")
    assert market.account(THIRD).shares == 0


CHECKS: dict[str, Callable[[], None]] = {
    "social loss rounded half up": winners_get_no_more_than_there_is,
    "fee credited but not collected": a_fee_is_what_was_paid,
    "insurance drawn before surplus": fellow_losers_pay_before_insurance,
    "margin check skipped on reduce": whoever_reduces_stays_as_healthy,
    "stored close-out price": a_touch_changes_no_close_out,
    "funding netted with price": funding_is_paid_before_the_price_moves,
    "truncating division": a_loss_is_rounded_up,
    "early exit on a zero price step": funding_accrues_while_the_price_stands,
    "stopped funding lost": funding_goes_on_after_a_stop,
    "edge that means no edge": whoever_is_ruined_is_closed,
}


#: The two tests of a fault share a process, and what one has compiled.
BUGS = [pytest.param(name, marks=pytest.mark.xdist_group(f"planted {name}")) for name in CHECKS]


@cache
def compiler_of(name: str) -> Compiler:
    """Of contracts with a fault."""
    return planted.BUGS[name].compiler()


def audit(exchange: Exchange, folder: Path) -> Summary:
    """What an audit finds that has the market's address and nothing else."""
    auditor = Auditor(exchange.chain, exchange.market.address, folder)
    summary = auditor.run()
    auditor.close()
    return summary


def test_every_bug_has_a_check_and_a_market_to_audit() -> None:
    assert CHECKS.keys() == audited.MARKETS.keys() == planted.BUGS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_the_market_passes(name: str, tmp_path: Path) -> None:
    CHECKS[name]()
    exchange, _ = audited.MARKETS[name]()
    found = audit(exchange, tmp_path)
    assert (found.shown, found.complete) == ([], True)


@pytest.mark.parametrize("name", BUGS)
def test_bug(name: str) -> None:
    """The check of its name finds it, and says what it breaks."""
    with compiling(compiler_of(name)), pytest.raises(Violation) as caught:
        CHECKS[name]()
    assert caught.value.guarantee == planted.BUGS[name].guarantee


@pytest.mark.parametrize("name", BUGS)
def test_an_audit_names_its_transaction(name: str, tmp_path: Path) -> None:
    """The first thing that it finds is the fault, where it happened, and what it breaks."""
    with compiling(compiler_of(name)):
        exchange, block = audited.MARKETS[name]()
    found = audit(exchange, tmp_path)
    assert found.findings > 0
    where = found.shown[0].where
    assert (where.block, where.transaction) == (block, f"0x{block:064x}")
    assert found.shown[0].guarantee == planted.BUGS[name].guarantee


def test_a_patch_that_does_not_apply_says_so() -> None:
    patch = planted.Patch("modules/index.vy", "no such line", "")
    bug = planted.Bug("none", "", "S1", (patch,))
    with pytest.raises(planted.NotFound, match=r"0 times in modules/index\.vy: no such line"):
        bug.sources()
