"""What is read from storage words is what the contracts' own views say, all through a market's life."""

from prorata.exchange import CLOSED, LAGGING
from prorata.storage import signed
from tests.fuzz.rules import INSURERS, TRADERS
from tests.fuzz.run import Run


def compare(run: Run) -> None:
    """Everything that has a view."""
    exchange, state, core = run.driver.exchange, run.driver.read(), run.driver.exchange.core
    said = (core.mark, core.epoch, core.insurance_owed, core.conditions, core.premium)
    assert (state.mark, state.epoch, state.owed, state.conditions, state.premium) == said
    times = (core.accrued_at, core.limited_at, core.reduce_only_until)
    assert (state.accrued_at, state.limited_at, state.reduce_only_until) == times
    for number, side in enumerate(state.sides):
        view = exchange.side(number)
        assert (side.shares, side.scale, side.index) == (view.shares, view.scale, view.index)
    for trader, holding in zip(TRADERS, state.holdings, strict=True):
        view = exchange.account(trader)
        assert (holding.equity, holding.shares) == (view.equity, view.shares)
        if view.shares:
            filed = (holding.side, holding.level, holding.bucket, holding.edge)
            assert filed == (view.side, view.level, view.bucket, view.edge)
    assert (state.held, state.supply) == (exchange.vault_held, exchange.vault_supply)
    assert (state.window_start, state.window_assets, state.window_drawn) == exchange.vault_window
    assert state.market_balance == exchange.token_balance(exchange.market)
    assert state.vault_balance == exchange.token_balance(exchange.vault)
    assert (state.socialized, state.adl_shortfall) == exchange.totals
    for insurer in INSURERS:
        assert run.driver.vault_shares(insurer) == exchange.vault_shares(insurer)
        request = exchange.redeem_request(insurer)
        assert run.driver.redeem_request(insurer) == (request.shares, request.worth, request.opens)


def test_a_life():
    """Four markets; among their states are catch-up, ended epochs, closed accounts and, at the end, a closed market."""
    seen = 0
    epochs = 0
    for number in range(4):
        run = Run(5, number, 250)
        while run.figures.operations < run.operations:
            run.step(run.rules.next(run.state))
            if run.figures.operations % 5 == 0:
                compare(run)
                seen |= run.state.conditions
        run._leave()
        compare(run)
        seen |= run.state.conditions
        epochs = max(epochs, run.state.epoch)
    assert seen & LAGGING and seen & CLOSED and epochs


def test_signed():
    assert [signed(value, 8) for value in (0, 1, 127, 128, 255)] == [0, 1, 127, -128, -1]
