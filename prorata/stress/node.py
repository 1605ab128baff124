"""A share of a sweep's paths once more on a real node, through Ape on Anvil: the same outcome, the same gas.

A sweep runs in pyrevm, which cannot tell gas: it keeps slots warm from one call to the next, and what is put into a
fresh instance is warm from the start. So a path runs a third time on the metered EVM (`prorata.metered_chain`). That is
py-evm, another implementation than Anvil's, so to agree with it to the unit, transaction by transaction, says more.

What is compared: all that a path reports, with what the sweep has of it; gas of every transaction that the contracts
took, from the first deposit to the last settlement. A refused liquidation must be refused on both, but has no gas here.
Deployments and the funding of accounts belong to no path.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from itertools import zip_longest
from random import Random
from typing import cast

import ape
import pandas as pd
from ape.exceptions import ApeException
from rich.console import Console
from rich.progress import track

from prorata.ape_chain import OUTAGES, ApeChain
from prorata.chain import Chain
from prorata.metered_chain import MeteredChain
from prorata.stress.config import Sweep
from prorata.stress.engine import replayed
from prorata.stress.figures import OnAnvil
from prorata.stress.markets import ChainMarket, Spent, opened
from prorata.stress.path import Path, Result, unlike

NETWORK = "ethereum:local:foundry"


class NodeError(RuntimeError):
    """The node cannot do it: one line."""


@dataclass(frozen=True)
class Replayed:
    """One path on Anvil.

    Attributes:
        spent: transactions and their gas.
        refused: liquidations that the contracts did not take.
        differences: from the sweep's path and the metered one, each one line.
    """

    path: int
    spent: tuple[Spent, ...]
    refused: int
    differences: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line."""
        verdict = f"{len(self.differences)} differences" if self.differences else "the same"
        gas = sum(one.gas for one in self.spent)
        return f"path {self.path} on Anvil: {len(self.spent):,} transactions, {gas:,} gas, {verdict}"


def sample(seed: int, paths: int, count: int) -> list[int]:
    """So many of a sweep's paths, chosen by its seed."""
    return sorted(Random(f"on Anvil {seed}").sample(range(paths), count))


def replay(sweep: Sweep, seed: int, found: pd.DataFrame, count: int, console: Console) -> OnAnvil:
    """Run a sample of the paths again on an Anvil that Ape starts, and say how each went.

    Args:
        found: all paths of the sweep.

    Raises:
        NodeError: there is no Anvil, it does not answer, or it is not a fresh one.
    """
    rows = found.set_index("path", drop=False)
    replays = []
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ape.networks.parse_network_choice(NETWORK):
            # With a node Ape installs handlers of its own, which exit without a word.
            for one, handler in handlers.items():
                signal.signal(one, handler)
            chain = ApeChain()
            _check_fresh(chain)
            numbers = sample(seed, len(found), count)
            for number in track(numbers, "on Anvil", console=console, transient=True, disable=not console.is_terminal):
                with chain.anchor():
                    replays.append(_replayed(chain, sweep, seed, Result(**rows.loc[number].to_dict())))
                console.print(replays[-1].summary)
    except (ApeException, *OUTAGES) as error:
        if _interrupted(error):
            raise KeyboardInterrupt from None
        raise NodeError(f"Anvil: {' '.join(str(error).split())}") from None
    return OnAnvil(
        paths=tuple(one.path for one in replays),
        transactions=sum(len(one.spent) for one in replays),
        gas=sum(spent.gas for one in replays for spent in one.spent),
        refused=sum(one.refused for one in replays),
        differences=tuple(difference for one in replays for difference in one.differences),
    )


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error came of an interruption: Ctrl-C in a terminal ends the node as well, which then does not answer
    when it is to go back."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__))


def _check_fresh(chain: ApeChain) -> None:
    """Contracts must come to the same addresses in the same seconds, or calldata and with it gas would differ."""
    fresh = MeteredChain()
    if (chain.now, chain.next_address(0)) != (fresh.now, fresh.next_address(0)):
        raise NodeError("Anvil: it has been used before; a fresh one is wanted")


def _replayed(chain: ApeChain, sweep: Sweep, seed: int, expected: Result) -> Replayed:
    found, spent = _run(cast(Chain, chain), sweep, seed, expected.path)
    _, metered = _run(cast(Chain, MeteredChain()), sweep, seed, expected.path)
    where = f"path {expected.path}"
    differences = [f"{where}: {one}" for one in unlike(found, replace(expected, audited=False, difference=0))]
    for number, (here, there) in enumerate(zip_longest(spent, metered), start=1):
        if here != there:
            differences.append(f"{where}, transaction {number}: {here or 'none'} on Anvil, {there or 'none'} metered")
    return Replayed(expected.path, tuple(spent), found.refused, tuple(differences))


def _run(chain: Chain, sweep: Sweep, seed: int, number: int) -> tuple[Result, list[Spent]]:
    drawn, step_cap, insurance = replayed(sweep, seed, number)
    market = ChainMarket(chain, sweep, drawn.mark, step_cap)
    opened(market, sweep, drawn)
    return Path(market, sweep, drawn, step_cap, insurance, number).run(), market.spent
