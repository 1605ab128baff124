"""Found by reading: the wei by which a debt is rounded up at filing could make a deficit larger than the gross loss.

An account worth nothing at all is worth a fraction of a wei less in its bucket. If all of a losing side is worth that,
gross - deficit fell below zero and the settlement reverted for good. Such an account needs a position of a few wei.
"""

from prorata.boa_chain import BoaChain

HARNESS = """
from interfaces import IInsuranceVault
from modules import buckets
from modules import settlement
from modules import sides
initializes: sides
initializes: buckets
initializes: settlement[buckets := buckets, sides := sides]

@deploy
def __init__():
    sides._begin(10**21)

gross: public(uint256)
deficit: public(uint256)

@external
def lose(debt: uint256):
    state: sides.State = sides._load()
    filing: buckets.Filing = buckets.Filing(level=119, bucket=0, debt=debt)
    buckets._add(0, filing, 1)
    state.sides[0].shares = 1
    state.sides[0].top = buckets._upper_edge(119, 0)
    state.sides[1].shares = 1
    terms: settlement.Terms = settlement.Terms(
        closeout_margin=10**16, max_buckets=1, max_words=1, cooloff=0, insurance=IInsuranceVault(self)
    )
    step: settlement.Step = settlement._towards(state, 10**21 - 1, 10**21 - 1)
    plan: settlement.Plan = settlement._plan(state, terms, step, max_value(int256))
    self.gross = plan.gross
    self.deficit = plan.deficit

@external
@view
def drawable(owed: uint256) -> uint256:
    return 0
"""


def test_deficit_is_at_most_gross() -> None:
    chain = BoaChain()
    harness = chain.deploy_source(HARNESS)
    chain.transact(harness, "lose", 1, sender=0)
    assert chain.call(harness, "gross") == chain.call(harness, "deficit") == 10**18
