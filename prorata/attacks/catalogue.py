"""All attacks, by name, in the order of their families."""

from __future__ import annotations

import inspect
from types import ModuleType

from prorata.attacks import funding, gaps, griefing, margins, modes, orders, timing, vault
from prorata.attacks.attack import Attack

FAMILIES: tuple[ModuleType, ...] = (gaps, timing, margins, vault, griefing, funding, modes, orders)


def of_family(family: ModuleType) -> list[type[Attack]]:
    """The attacks that a module defines, in its order."""
    found = (one for one in vars(family).values() if inspect.isclass(one) and issubclass(one, Attack))
    return [one for one in found if one.__module__ == family.__name__ and not inspect.isabstract(one)]


ATTACKS: dict[str, type[Attack]] = {attack.name: attack for family in FAMILIES for attack in of_family(family)}
