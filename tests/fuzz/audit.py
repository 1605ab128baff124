"""The exact-rational model, set up where a market stands: some operations of every run go through both, in lockstep."""

from __future__ import annotations

from fractions import Fraction

from prorata.exchange import CLOSED, GUARDED, SUSPECT
from prorata.fast_exchange import FastExchange
from prorata.model import Account, Model, RedeemRequest, Side
from prorata.storage import State
from prorata.twin import Twin
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD, from_wad
from tests.fuzz.rules import INSURERS, TRADERS, Setting

_EXACT = INDEX_UNIT * WAD


def twin_of(driver: FastExchange, state: State, setting: Setting) -> Twin:
    """The market and the model, which begins with what the contracts say and has no history."""
    return Twin.of(driver.exchange, model_of(driver, state, setting), len(TRADERS), driver.answer)


def model_of(driver: FastExchange, state: State, setting: Setting) -> Model:
    """The model of a market at one moment; accounts are exact, not rounded as views show them."""
    model = Model(setting.parameters, setting.vault, from_wad(state.mark), setting.decimals)
    model.sides = [Side(from_wad(side.scale), Fraction(side.index, INDEX_UNIT)) for side in state.sides]
    for trader, holding in zip(TRADERS, state.holdings, strict=True):
        account = Account(collateral=Fraction(holding.worth, _EXACT))
        if holding.shares:
            account.side, account.level = holding.side, holding.level
            account.size = from_wad(holding.shares) * model.sides[holding.side].scale
            account.edge = Fraction(holding.edge, INDEX_UNIT)
        model.accounts[str(trader)] = account
    model.owed, model.epoch, model.premium = from_wad(state.owed), state.epoch, from_wad(state.premium)
    model.accrued_at, model.limited_at = state.accrued_at, state.limited_at
    model.reduce_only_until = state.reduce_only_until
    model.guarded = bool(state.conditions & GUARDED)
    model.closed = bool(state.conditions & CLOSED)
    model.reported_at = driver.reader.reported_at() if state.conditions & SUSPECT else None
    _set_lag(model, driver, state)
    _set_vault(model, driver, state)
    return model


def _set_lag(model: Model, driver: FastExchange, state: State) -> None:
    """What a market in catch-up, or a closed one, has still to do."""
    index_price, target, rest = driver.reader.lag()
    model.accepted = from_wad(index_price) if state.lagging or state.closed else model.mark
    if state.lagging:
        model.step_target = from_wad(target) if target else None
        payer = model.sides[LONG if rest > 0 else SHORT]
        model.funding_rest = Fraction(rest, INDEX_UNIT) / payer.scale


def _set_vault(model: Model, driver: FastExchange, state: State) -> None:
    vault = model.vault
    vault.held, vault.supply = from_wad(state.held), state.supply
    vault.window_start = state.window_start
    vault.window_assets, vault.window_drawn = from_wad(state.window_assets), from_wad(state.window_drawn)
    for insurer in INSURERS:
        vault.shares[str(insurer)] = driver.vault_shares(insurer)
        shares, worth, opens = driver.redeem_request(insurer)
        if shares:
            vault.requests[str(insurer)] = RedeemRequest(shares, from_wad(worth), opens)
