"""The algebra of the settlement, as the contracts compute it, proved with z3 (design §3, §11).

A proof is a function that states its variables, what it assumes, one guard and one goal (`query.py`). It holds when
no values satisfy the assumptions, the guard and the goal's negation. Dropping the guard must yield a counterexample,
and assumptions and guard together must be satisfiable; an answer "unknown" is a failure in all three.

Formulas of the contracts are written once, in `transcript.py` and `words.py`, as functions that compute with z3's
terms or with Python's integers. Each quotes its lines of the contract; `test_transcript.py` finds the quotes in the
sources and evaluates the functions beside the compiled contracts.

Sums over accounts are proved in two steps: a lemma about one account, and an induction step over the aggregates that
the contract keeps (shares and debts of a bucket, shares of a side). A proof that rests on another says so by name.

How they add up:

S1. What an account shows is at most its ghost, what it would hold had no touch rounded
(equity_is_never_in_the_accounts_favour). The market holds at least all ghosts, flat collateral and its debt to
insurance: fills, liquidations, withdrawals (trades.py) and covers and sweeps (insurance.py) keep what is there; an
index move changes ghosts by shares times the move (an_index_move_pays_by_shares); a move that closes accounts gives
away no more than it takes (a_move_conserves, a_move_for_nobody_conserves, a_move_that_closes_nobody_conserves). What
it keeps is bounded (dust_of_a_move_is_bounded, the touches).

S2. A bucket covers its members' bankruptcy, so while its upper edge is at or under the index their ghosts are not
negative (an_open_account_is_not_under_zero, a_deposit_leaves_nobody_under_zero); whoever stands higher is closed by
the next move or loses nothing in it (exactly_the_buckets_above_close, a_stop_above_the_threshold_moves_nothing);
neither is their sum (sums_of_accounts_are_not_under_zero), so deficit_is_at_most_gross.

S8. A move closes exactly the accounts above T (exactly_the_buckets_above_close), also a stopped one (the proofs of
stops); who comes in stands under T (maintenance_stands_under_the_threshold), winning keeps one there
(winners_stay_under_the_threshold); then a step or funding within the close-out margin passes nobody, and
no_deficit_but_roundings.

`python -m tests.proofs` prints all of them, `tests.proofs.table()` yields them for a specification.
"""

from tests.proofs.catalogue import table

__all__ = ["table"]
