"""Attacks searched for their best strike, and struck on markets that lack a defence: what they fail at."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from prorata.attacks.attack import Attack
from prorata.attacks.search import Costs, Result, Strike, result
from prorata.attacks.world import SETTINGS
from prorata.embedded import CONTRACTS, USUAL, Compiler
from tests.adversarial import undefended
from tests.mutation.changed import QuickChangedCompiler, write
from tests.mutation.planted import Patch

FOLDER = Path(__file__).parent.parent.parent / ".build" / "weakened"


@cache
def searched(attack: type[Attack], setting: str) -> Result:
    """The best of a few strikes."""
    return result(attack(), setting, strikes=24, seed=1, costs=Costs())


@cache
def without(name: str, deployable: str, patches: tuple[Patch, ...]) -> Compiler:
    """A compiler for which one deployable is without some defences.

    Args:
        name: of the folder that its sources are written to.
        deployable: only this one is compiled anew, whatever else is made of a changed module.
    """
    sources: dict[str, str] = {}
    for one in patches:
        source = sources.get(one.file) or (CONTRACTS / one.file).read_text()
        sources[one.file] = one.applied(source)
    return QuickChangedCompiler(write(sources, FOLDER / name), frozenset({f"{deployable}.vy"}), USUAL)


def struck(compiler: Compiler, attack: type[Attack], setting: str, knobs: dict[str, float]) -> Strike:
    """One strike on a weakened market."""
    return undefended.struck(attack(), SETTINGS[setting], knobs, compiler)
