"""Every proof there is, and how they are run and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

from tests.proofs import bounds, filing, insurance, layout, moves, premium, rounding, trades
from tests.proofs.query import PROOFS, Proof
from tests.proofs.transcript import QUOTES

#: From single numbers to whole moves.
ROOMS = [room.__name__ for room in (rounding, layout, filing, moves, trades, insurance, premium, bounds)]


def proofs() -> list[Proof]:
    """All, room by room, in the order in which they are written."""
    return sorted(PROOFS, key=lambda one: ROOMS.index(one.room))


def table() -> Iterator[tuple[str, str, str]]:
    """Guarantee (S1 to S8, or a section of the design; "lemma" of a fact about numbers), name and statement of each."""
    for one in proofs():
        yield one.guarantee, one.name, one.statement


def quotes() -> list[tuple[str, str]]:
    """Every line of the contracts that a proof relies on: file below `contracts/`, and the line."""
    return list(QUOTES)


def show(names: Sequence[str] = ()) -> None:
    """Runs proofs and prints them: what is stated and assumed, what is not covered, what goes wrong without the guard.

    Args:
        names: which; none: all of them.

    Raises:
        LookupError: a name that no proof has.
        Unsound: a proof or its twin has the wrong outcome.
        Undecided: z3 does not know.
    """
    known = {one.name: one for one in proofs()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LookupError(f"no proof is called {', '.join(unknown)}")
    chosen = [known[name] for name in names] or list(known.values())
    started = perf_counter()
    slowest = (0.0, "")
    for one in chosen:
        seconds = one.holds()
        slowest = max(slowest, (seconds, one.name))
        one.example()
        print(f"\n{one.name}  [{one.guarantee}]  proved in {seconds:.2f} s")
        print(f"    {one.statement}")
        for assumption in one.assumes:
            print(f"    assumes   {assumption}")
        if one.beyond:
            print(f"    without   {one.beyond}")
        print(f"    dropped   {one.query.guards[0].text}")
        print("    fails at  " + one.counterexample().replace("\n", "; "))
    total = perf_counter() - started
    count = f"{len(chosen)} proofs" if len(chosen) > 1 else "1 proof"
    print(f"\n{count}, each with its twin, in {total:.0f} s; slowest: {slowest[1]}, {slowest[0]:.2f} s")
