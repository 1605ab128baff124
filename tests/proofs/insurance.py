"""The insurance vault: its share price, its draws, its redemptions (design §7; S1).

Shares and assets are multiplied and divided by snekmate's `_mul_div`, in 512 bits. The proofs take its result for the
exact quotient, rounded as asked; `test_transcript.py` compares.
"""

from __future__ import annotations

import z3

from prorata.units import INDEX_UNIT, WAD
from tests.proofs import domain
from tests.proofs.query import Query, proof
from tests.proofs.transcript import (
    capped,
    ceil_div,
    cover,
    drawable,
    request_part,
    request_shares,
    sweep,
    total_assets,
    vault_assets_down,
    vault_assets_up,
    vault_shares_down,
    vault_shares_up,
)

OFFSET = 10**6


def vault(q: Query) -> tuple[z3.ArithRef, z3.ArithRef]:
    """Supply of shares, and total assets in token units."""
    assets = q.integer("total assets", 0, domain.MAX_COLLATERAL, "tokens.vy, MAX_BALANCE")
    return q.integer("supply", 0, 2**200, "vault_shares_down, MAX_BALANCE"), assets


def no_cheaper(
    supply: z3.ArithRef, assets: z3.ArithRef, new_supply: z3.ArithRef, new_assets: z3.ArithRef
) -> z3.BoolRef:
    """The price of a share, virtual shares and the virtual unit counted, is not lower than before: cross-multiplied."""
    return (new_assets + 1) * (supply + OFFSET) >= (assets + 1) * (new_supply + OFFSET)


def small(q: Query, supply: z3.ArithRef, assets: z3.ArithRef) -> None:
    """Looks for counterexamples in a vault of a few units."""
    q.pin(supply == 10 * OFFSET, assets == 12)


# --------------------------------------------------------------------------------------------------------- share price


@proof("§7", "A deposit never lowers the price of a share: shares are rounded down.", "")
def a_deposit_never_lowers_the_share_price(q: Query) -> None:
    supply, assets = vault(q)
    paid, minted = q.integer("deposited", 1), q.integer("minted", 0)
    most = vault_shares_down(q, paid, supply, assets)
    q.show("shares for it", most)
    q.guard("no more shares than it buys", minted <= most, "InsuranceVault.vy, `deposit`")
    q.prove(no_cheaper(supply, assets, supply + minted, assets + paid))
    small(q, supply, assets)


@proof("§7", "A mint never lowers the price of a share: what it costs is rounded up.", "")
def a_mint_never_lowers_the_share_price(q: Query) -> None:
    supply, assets = vault(q)
    minted, paid = q.integer("minted", 1), q.integer("paid", 0)
    least = vault_assets_up(q, minted, supply, assets)
    q.show("price of them", least)
    q.guard("no less paid than they cost", paid >= least, "InsuranceVault.vy, `mint`")
    q.prove(no_cheaper(supply, assets, supply + minted, assets + paid))
    small(q, supply, assets)


@proof(
    "§7",
    "A redemption never lowers the price of the other shares: what it pays is rounded down, and is the lesser of two "
    "values.",
    "",
)
def a_redemption_never_lowers_the_share_price(q: Query) -> None:
    supply, assets = vault(q)
    burned, paid = q.integer("burned", 1, supply, "erc20"), q.integer("paid", 0)
    most = vault_assets_down(q, burned, supply, assets)
    q.show("value of them", most)
    q.guard("no more than they are worth now", paid <= most, "InsuranceVault.vy, `_value_of`")
    q.prove(no_cheaper(supply, assets, supply - burned, assets - paid))
    q.prove(paid <= assets)
    small(q, supply, assets)


@proof(
    "§7",
    "A withdrawal by amount never lowers the price of the other shares: as many shares as it costs are burned, "
    "rounded up.",
    "",
)
def a_withdrawal_never_lowers_the_share_price(q: Query) -> None:
    supply, assets = vault(q)
    paid, burned = q.integer("paid", 1, assets, "reserve.vy, `_release`"), q.integer("burned", 0, supply, "erc20")
    least = vault_shares_up(q, paid, supply, assets)
    q.show("shares of it", least)
    q.guard("no fewer shares than it costs", burned >= least, "InsuranceVault.vy, `withdraw`")
    q.prove(no_cheaper(supply, assets, supply - burned, assets - paid))
    small(q, supply, assets)


@proof("§7", "In and out at once never gains: shares for an amount are worth at most the amount.", "")
def a_round_trip_never_gains(q: Query) -> None:
    supply, assets = vault(q)
    paid, minted = q.integer("deposited", 1), q.integer("minted", 0)
    most = vault_shares_down(q, paid, supply, assets)
    q.guard("no more shares than it buys", minted <= most, "InsuranceVault.vy, `deposit`")
    back = vault_assets_down(q, minted, supply + minted, assets + paid)
    q.show("shares for it", most)
    q.show("worth", back)
    q.prove(back <= paid)
    small(q, supply, assets)


@proof(
    "§7",
    "Fees and surplus never lower the price of a share: income credited to insurance raises total assets or leaves "
    "them.",
    "",
)
def income_never_lowers_the_share_price(q: Query) -> None:
    held, owed = domain.collateral(q, "held"), domain.collateral(q, "owed")
    scale = q.integer("quote per token unit", 1, WAD, "tokens.vy, `_scale`")
    income = q.integer("income")
    q.guard("income is not negative", income >= 0, "a_fill_conserves, a_liquidation_conserves, bonus <= surplus")
    before, after = total_assets(q, held, owed, scale), total_assets(q, held, owed + income, scale)
    q.show("total assets before", before)
    q.show("total assets after", after)
    q.prove(after >= before)
    q.pin(held == 5, scale == 1, owed == 7, income + owed >= 0)


@proof(
    "§7", "Sweeping what the market owes changes nothing but where it lies: total assets stay the same to the unit.", ""
)
def a_sweep_changes_no_value(q: Query) -> None:
    held, owed = domain.collateral(q, "held"), domain.collateral(q, "owed")
    scale = q.integer("quote per token unit", 1, WAD, "tokens.vy, `_scale`")
    held_after, owed_after = sweep(q, held, owed, scale)
    source = "PerpetualMarket.vy, `sweep`"
    sent = q.rather("whole units are sent", held_after - held, ceil_div(q, owed, scale), source)
    q.show("sent", sent)
    after = total_assets(q, held + sent, owed_after, scale)
    q.show("owed after", owed_after)
    q.prove(z3.And(after == total_assets(q, held, owed, scale), owed_after >= 0, owed_after < scale))
    q.pin(held == 5, scale == 1000, owed == 2500)


@proof(
    "§7",
    "A redemption finds what it pays: at most total assets, which are there once the market has sent what it owes.",
    "",
)
def a_redemption_finds_its_money(q: Query) -> None:
    supply = q.integer("supply", 1, 2**200, "vault_shares_down")
    held, owed = domain.collateral(q, "held"), domain.collateral(q, "owed")
    scale = q.integer("quote per token unit", 1, WAD, "tokens.vy, `_scale`")
    burned, assets = q.integer("burned", 1, source="InsuranceVault.vy"), q.integer("total assets")
    q.assume("as `_total_assets` counts them", assets == total_assets(q, held, owed, scale), "InsuranceVault.vy")
    q.guard("no more shares than there are", burned <= supply, "erc20, the vault's custody")
    paid = vault_assets_down(q, burned, supply, assets)
    q.show("paid", paid)
    q.prove(paid <= sweep(q, held, owed, scale)[0])
    q.pin(supply == OFFSET, held == 10, owed == 0, scale == 1)


# --------------------------------------------------------------------------------------------------------------- draws


@proof(
    "S1",
    "Covering a deficit moves money and makes none: insurance has just the cover less, the market's debt to it never "
    "falls below zero, and the vault holds the units it sends.",
    "the token's transfer",
)
def cover_moves_what_is_there(q: Query) -> None:
    held, owed = domain.collateral(q, "held"), domain.collateral(q, "owed")
    scale = q.integer("quote per token unit", 1, WAD, "tokens.vy, `_scale`")
    amount = q.integer("covered", 0)
    cap = domain.ratio(q, "draw_cap", 1, WAD * 9 // 10)
    most = capped(q, held * scale + owed, cap)
    q.show("most", most)
    q.guard("at most the cap of what is there is asked", amount <= most, "reserve.vy, `_draw`")
    transfer, held_after, owed_after = cover(q, amount, held, owed, scale)
    q.show("sent", transfer)
    q.show("held after", held_after)
    q.prove(held_after * scale + owed_after == held * scale + owed - amount)
    q.prove(z3.And(held_after >= 0, owed_after >= 0, transfer >= 0))
    q.pin(held == 10, owed == 500, scale == 1000, cap == WAD // 2)


@proof(
    "§7",
    "In a window at most draw_cap of what was there at its first draw is drawn, and the room left is never negative: "
    "by induction over draws.",
    "draws of two windows that follow each other: each has its own cap",
)
def a_window_draws_at_most_its_cap(q: Query) -> None:
    cap = domain.ratio(q, "draw_cap", 1, WAD * 9 // 10)
    at_start, now = domain.collateral(q, "assets at the start"), domain.collateral(q, "assets now")
    drawn, amount = q.integer("drawn", 0), q.integer("amount", 0)
    most = capped(q, at_start, cap)
    q.assume("so far", drawn <= most, "the induction; a window begins with zero")
    room = drawable(q, now, at_start, drawn, cap)
    q.show("drawable", room)
    q.guard("no more than is drawable", amount <= room, "reserve.vy, `_draw`")
    q.prove(z3.And(drawn + amount <= most, room >= 0, room <= now))
    q.pin(cap == WAD // 2, at_start == 1000, now == 900, drawn == 100)


@proof(
    "§7",
    "The first draw of a window is at most the cap of what is there, so the window begins within its cap.",
    "",
)
def a_window_begins_within_its_cap(q: Query) -> None:
    cap, assets = domain.ratio(q, "draw_cap", 1, WAD * 9 // 10), domain.collateral(q, "assets")
    amount, counted = q.integer("amount", 0), q.integer("assets counted in the window", 0)
    q.assume("no more than is drawable", amount <= capped(q, assets, cap), "reserve.vy, `_drawable`")
    q.guard("the window counts from what is there", counted == assets, "reserve.vy, `_draw`")
    q.prove(amount <= capped(q, counted, cap))
    q.pin(assets == 1000, cap == WAD // 2, counted == 100)


@proof(
    "§7",
    "No draw empties the vault: a tenth of what was there is left after each, so assets never reach zero, however many "
    "windows pass.",
    "",
)
def a_draw_leaves_assets(q: Query) -> None:
    cap, assets = domain.ratio(q, "draw_cap", 1), domain.collateral(q, "assets")
    amount = q.integer("amount", 0)
    q.assume("there is something", assets > 0, "the premise")
    q.assume("no more than is drawable", amount <= capped(q, assets, cap), "reserve.vy, `_drawable`")
    q.guard("draw_cap <= 90 %", 10 * cap <= 9 * WAD, "reserve.vy, `__init__`")
    q.prove(z3.And(assets - amount > 0, 10 * (assets - amount) >= assets))
    q.pin(assets == 1000)


@proof(
    "§7",
    "Whatever is drawn, the price of a share falls by the draw and by nothing else: total assets after are those of "
    "the quote that is left, to the unit.",
    "",
)
def a_draw_lowers_assets_by_itself_only(q: Query) -> None:
    held, owed = domain.collateral(q, "held"), domain.collateral(q, "owed")
    scale = q.integer("quote per token unit", 1, WAD, "tokens.vy, `_scale`")
    amount = q.integer("covered", 0, held * scale + owed, "reserve.vy, `_draw`")
    transfer, held_after, owed_after = cover(q, amount, held, owed, scale)
    released = q.rather("what is sent is released", transfer, z3.IntVal(0), "InsuranceVault.vy, `cover`")
    q.show("released", released)
    after = total_assets(q, held - released, owed_after, scale)
    q.show("held after", held_after)
    exact = held * scale + owed - amount
    q.prove(z3.And(after * scale <= exact, exact < after * scale + scale))
    q.pin(held == 10, owed == 500, scale == 1000)


# --------------------------------------------------------------------------------------------------------- redemptions


@proof(
    "§7",
    "Redeemed in parts a request brings at most its value at request: a part and what is left add up to no more.",
    "",
)
def parts_of_a_request_bring_no_more(q: Query) -> None:
    worth, shares = domain.collateral(q, "worth"), q.integer("shares", 1, 2**200, "vault_shares_down")
    part = q.integer("part", 0, shares, "redemptions.vy, `_reduce`")
    left_worth, brought = q.integer("worth of what is left"), request_part(q, worth, part, shares)
    q.show("brought", brought)
    q.guard(
        "what is left has its part of the worth",
        left_worth == request_part(q, worth, shares - part, shares),
        "redemptions.vy, `_reduce`",
    )
    q.prove(z3.And(brought + left_worth <= worth, brought >= 0, left_worth >= 0, brought + left_worth >= worth - 1))
    q.pin(worth == 100, shares == 10, part == 4, left_worth == worth)


@proof(
    "§7",
    "The shares that a withdrawal takes out of a request do bring the amount at the value at request, and one less "
    "would not.",
    "",
)
def a_withdrawals_shares_bring_the_amount(q: Query) -> None:
    worth, shares = q.integer("worth", 1, domain.MAX_COLLATERAL, "VAULT_ZERO"), q.integer("shares", 1, 2**200, "erc20")
    assets = q.integer("assets", 1, worth, "redemptions.vy, `_shares_of`")
    fewer = q.quotient(assets * shares, worth)
    taken = q.rather(
        "they are rounded up", request_shares(q, assets, shares, worth), fewer, "redemptions.vy, `_shares_of`"
    )
    q.show("shares taken", taken)
    q.prove(z3.And(request_part(q, worth, taken, shares) >= assets, taken <= shares))
    q.prove(worth * (taken - 1) < assets * shares)
    q.pin(worth == 100, shares == 10, assets == 25)


@proof(
    "§7",
    "Previews of entry count surplus and bonus in whole wei each, the settlement counts their difference: the "
    "preview is no lower and at most a wei higher, so it promises no shares that a deposit would not bring.",
    "a move with nobody on the winning side, whose gross the preview does not count",
)
def a_preview_of_entry_promises_no_more(q: Query) -> None:
    surplus, bonus = q.integer("surplus", 0, 2**250, "bounds.py"), q.integer("bonus", 0)
    q.guard("the bonus comes out of the surplus", bonus <= surplus, "the_bonus_comes_from_surplus")
    preview = q.quotient(surplus, INDEX_UNIT) - q.quotient(bonus, INDEX_UNIT)
    settled = q.quotient(surplus - bonus, INDEX_UNIT)
    q.show("previewed", preview)
    q.show("settled", settled)
    q.prove(z3.And(preview >= settled, preview <= settled + 1, settled >= 0))
    q.pin(surplus == INDEX_UNIT, bonus == 2 * INDEX_UNIT)
