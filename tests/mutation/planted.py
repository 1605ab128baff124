"""Faults that other markets have had, and one of this market's own, planted in the contracts.

bug = planted.BUGS["fee credited but not collected"]
with compiling(bug.compiler()):
    exchange = Exchange.deploy(...)     # of a market with the fault
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prorata.embedded import CONTRACTS, USUAL, Compiler
from tests.mutation.changed import ChangedCompiler, write

FOLDER = Path(__file__).parent.parent.parent / ".build" / "planted"


class NotFound(LookupError):
    """A patch does not apply: the contracts have changed where the fault should be."""


@dataclass(frozen=True)
class Patch:
    """Text of a contract, which must occur just once, and what stands there instead."""

    file: str
    before: str
    after: str

    def applied(self, source: str) -> str:
        """The source with the patch.

        Raises:
            NotFound: there is no such text, or more than one.
        """
        if source.count(self.before) != 1:
            raise NotFound(f"{source.count(self.before)} times in {self.file}: {self.before.strip()}")
        return source.replace(self.before, self.after)


@dataclass(frozen=True)
class Bug:
    """A fault by name.

    Attributes:
        story: who is hurt, and how.
        guarantee: the first of S1 to S8 that no longer holds.
    """

    name: str
    story: str
    guarantee: str
    patches: tuple[Patch, ...]

    def sources(self) -> dict[str, str]:
        """The files that are different, by path under `contracts/`."""
        changed: dict[str, str] = {}
        for patch in self.patches:
            source = changed.get(patch.file) or (CONTRACTS / patch.file).read_text()
            changed[patch.file] = patch.applied(source)
        return changed

    def compiler(self) -> Compiler:
        """For `prorata.embedded.compiling`."""
        sources = self.sources()
        folder = write(sources, FOLDER / self.name.replace(" ", "-"))
        return ChangedCompiler(folder, frozenset(sources), USUAL)


_SETTLEMENT, _BUCKETS, _MARKET = "modules/settlement.vy", "modules/buckets.vy", "PerpetualMarket.vy"
_TRADING, _ACCOUNTS = "TradingLogic.vy", "modules/accounts.vy"
_INDEX, _FIXED_POINT = "modules/index.vy", "modules/fixed_point.vy"

_ALL = (
    Bug(
        "social loss rounded half up",
        "Winners are charged a social loss rounded to the nearest wei. When that is less than the loss, they are paid "
        "money that is not there, and whoever loses just so on purpose drains the market wei by wei.",
        "S1",
        (
            Patch(
                _SETTLEMENT,
                "plan.deficit = min(convert(-value, uint256), plan.gross)",
                "plan.deficit = min((convert(-value, uint256) + fixed_point.INDEX_UNIT // 2) // fixed_point.INDEX_UNIT"
                " * fixed_point.INDEX_UNIT, plan.gross)",
            ),
        ),
    ),
    Bug(
        "fee credited but not collected",
        "Insurance is credited with the whole fee of a party that could not pay all of it.",
        "S1",
        (
            Patch(
                _TRADING,
                "return accounts._store(owner, party.old, new, level, epoch, seen.index), fee",
                "return accounts._store(owner, party.old, new, level, epoch, seen.index), due",
            ),
        ),
    ),
    Bug(
        "insurance drawn before surplus",
        "The vault covers every bucket that is short, although other closed buckets have more left than is missing; "
        "what they have left goes to the vault, but the draw has used up the window that a real deficit will need.",
        "S3",
        (
            Patch(_BUCKETS, "    shares: uint256  # sum of N_b\n", "    shares: uint256\n    short: uint256\n"),
            Patch(_BUCKETS, "Scan = Scan(shares=0, ", "Scan = Scan(shares=0, short=0, "),
            Patch(
                _BUCKETS,
                "                    debt = unsafe_add(debt, summed.debt)\n",
                "                    debt = unsafe_add(debt, summed.debt)\n"
                "                    worth: int256 = convert(summed.shares, int256) * (index - (live << level))\n"
                "                    worth -= convert(summed.debt * fixed_point.INDEX_UNIT, int256)\n"
                "                    scan.short += convert(max(-worth, 0), uint256)\n",
            ),
            Patch(_SETTLEMENT, "            L.index,\n", "            L.index - plan.index_drop,\n"),
            Patch(
                _SETTLEMENT,
                "int256 = closed.value - convert(closed.shares, int256) * plan.index_drop",
                "int256 = closed.value",
            ),
            Patch(
                _SETTLEMENT,
                "            plan.surplus = convert(value, uint256)\n",
                "            plan.deficit = min(closed.short, plan.gross)\n"
                "            plan.surplus = convert(value, uint256) + plan.deficit\n",
            ),
        ),
    ),
    Bug(
        "margin check skipped on reduce",
        "Whoever reduces is not asked whether it is as healthy as before: a position is sold to a friend at the worst "
        "price of the band, and what is left of it has no margin.",
        "S3",
        (
            Patch(
                _TRADING,
                "margin._require_health(new.collateral, new.shares, party.old.collateral, party.old.shares)",
                "pass",
            ),
        ),
    ),
    Bug(
        "stored close-out price",
        "The bucket is chosen anew at every touch, from the mark at that moment, instead of following from what the "
        "account did: a stranger's wei of a deposit moves a victim to where the next tick closes it.",
        "S4",
        (
            Patch(
                _MARKET,
                "    if msg.sender == account and old.shares > 0:\n        level = self._narrower_level(old, state)\n",
                "    if old.shares > 0:\n"
                "        scale: uint256 = state.sides[old.side].scale\n"
                "        level = buckets._level(PARAMETERS.bucket_width, scale, state.core.mark)\n",
            ),
            Patch(
                _MARKET,
                "    accounts._store(account, old, new, level, state.core.epoch, state.sides[new.side].index)\n",
                "    edge: int256 = accounts._store(\n"
                "        account, old, new, level, state.core.epoch, state.sides[new.side].index\n"
                "    )\n"
                "    if edge > state.sides[new.side].top:\n"
                "        state.sides[new.side].top = edge\n"
                "        sides._store(state)\n",
            ),
            Patch(
                _ACCOUNTS,
                "            ceiling = (buckets._upper_edge(old.filing.level, old.filing.bucket) >> level) - 1\n",
                "            pass\n",
            ),
        ),
    ),
    Bug(
        "funding netted with price",
        "What payers of funding gain by the price is set off against what they owe, so accounts that funding bankrupts "
        "are carried over to a price they should not have seen.",
        "S3",
        (
            Patch(
                _MARKET,
                "    if lag.funding_rest != 0:\n"
                "        step: settlement.Step = settlement._funding(lag.funding_rest, lag.index_price)\n",
                "    netted: int256 = 0\n"
                "    if lag.funding_rest != 0:\n"
                "        step: settlement.Step = settlement._funding(lag.funding_rest, lag.index_price)\n"
                "        ahead: settlement.Step = settlement._towards(state, lag.index_price, lag.index_price)\n"
                "        if ahead.loser != step.loser:\n"
                "            netted = min(step.index_drop, ahead.index_drop)\n"
                "        step.index_drop -= netted\n",
            ),
            Patch(
                _MARKET,
                "state, done = settlement._move(state, terms, settlement._towards(state, target, lag.index_price))",
                "onward: settlement.Step = settlement._towards(state, target, lag.index_price)\n"
                "        onward.index_drop -= netted\n"
                "        state, done = settlement._move(state, terms, onward)",
            ),
        ),
    ),
    Bug(
        "truncating division",
        "A loss is rounded towards zero, as Vyper divides, so in the loser's favour.",
        "S3",
        (Patch(_FIXED_POINT, "        quotient = unsafe_sub(quotient, 1)\n", "        pass\n"),),
    ),
    Bug(
        "early exit on a zero price step",
        "When the price stands where the mark is there seems to be nothing to settle, and nobody ever pays funding.",
        "S3",
        (
            Patch(
                _INDEX,
                "if price == core.mark and core.premium == 0 and core.conditions & ~modes.GUARDED == 0:",
                "if price == core.mark:",
            ),
        ),
    ),
    Bug(
        "stopped funding lost",
        "What a funding move stopped by its budget leaves undone is forgotten, so those in the last buckets never pay.",
        "S3",
        (
            Patch(
                _MARKET,
                "        lag.funding_rest = left if lag.funding_rest > 0 else -left\n",
                "        lag.funding_rest = 0\n",
            ),
        ),
    ),
    Bug(
        "edge that means no edge",
        "A level is said to have nothing left by a number that is also the edge of a bucket. Whoever stands there "
        "alone, which he can choose, hides everybody who comes to the level later: they are never closed, and winners "
        "are paid money that is not there.",
        "S1",
        (
            Patch(
                _BUCKETS,
                "NOTHING_LEFT: constant(int256) = min_value(int256)",
                "NOTHING_LEFT: constant(int256) = -(2**158)",
            ),
        ),
    ),
)
BUGS = {bug.name: bug for bug in _ALL}
