"""Found on the boundary shelf: what the vault sends to the market in a draw, and the market to the vault in a sweep, is
counted as sent and not as it arrives. A token that was fine when it was chosen and later takes a fee, or says yes and
does nothing, leaves the market (or the vault) with less than it owes: S1 is broken by what did not arrive.

Deposits look at the balance before and after, and refuse; these transfers do not.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.boundary.test_weird_tokens import tell, weird
from tests.boundary.world import DRAWN, EVERYBODY, SITUATIONS, SWEPT, Move, outcome

(DRAW, *_), (SWEEP, *_) = DRAWN, SWEPT


@pytest.mark.parametrize(
    ("move", "order", "arguments"),
    [
        pytest.param(DRAW, "charge", [10**6], id="a fee on a draw"),
        pytest.param(DRAW, "pretend", [], id="a draw of nothing"),
        pytest.param(SWEEP, "charge", [1], id="a fee on a sweep"),
    ],
)
def test_a_transfer_between_market_and_vault(move: Move, order: str, arguments: list[Any]) -> None:
    (situation,) = [name for name, one in SITUATIONS.items() if move in one.moves]
    exchange = weird(situation)
    tell(exchange, order, *arguments)
    outcome(partial(move.make, exchange))  # it may be refused, or count what has arrived
    owed = sum(exchange.account(person).equity for person in EVERYBODY) + exchange.insurance_owed
    assert exchange.token_balance(exchange.market) >= owed
    assert exchange.token_balance(exchange.vault) >= exchange.vault_held
