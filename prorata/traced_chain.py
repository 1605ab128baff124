"""titanoboa, with a note of every jump: which branches of the contracts' source are taken, and which ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import boa

from prorata.boa_chain import BoaChain
from prorata.branches import Branch, Code
from prorata.profile import parts


class Trace:
    """What was executed in all chains that share it.

    Args:
        codes: the bytecode that counts, from `prorata.branches.marked`; may grow until it runs.
    """

    def __init__(self, codes: list[Code]) -> None:
        self._codes = codes
        self._known: dict[bytes, Code | None] = {}
        #: By the code that ran, every two places that came one after the other.
        self._steps: dict[bytes, set[tuple[int, int]]] = defaultdict(set)
        #: Calls of `errors._require`, and whether the condition held.
        self._required = set[tuple[Branch, bool]]()

    def add(self, computation: Any) -> None:
        """Take down what a computation and all that it called did."""
        for part in parts(computation):
            code, places = part.msg.code, part.code._trace
            self._steps[code].update(pairwise(places))
            known = self._code(code)
            if known is not None:
                self._required.update(_required(known, places))

    def outcomes(self) -> set[tuple[Branch, bool]]:
        """Every branch that was met, with the outcomes seen; True: its condition held."""
        decided = {
            (jump.branch, _jumped(step) == jump.if_taken)
            for code, step in self._jumps()
            if (jump := code.jumps[step[0]]) is not None
        }
        return decided | self._required

    def checks(self) -> set[tuple[bytes, int, bool]]:
        """What the compiler's own checks did: code, place, and whether it jumped."""
        return {(code.code, step[0], _jumped(step)) for code, step in self._jumps() if code.jumps[step[0]] is None}

    def lines(self) -> set[tuple[str, int]]:
        """File and line of everything that ran."""
        return {
            known.lines[place]
            for code, steps in self._steps.items()
            if (known := self._code(code)) is not None
            for step in steps
            for place in step
            if place in known.lines
        }

    def clear(self) -> None:
        """Forget what ran."""
        self._known.clear()
        self._steps.clear()
        self._required.clear()

    def _jumps(self) -> Iterator[tuple[Code, tuple[int, int]]]:
        """Every JUMPI that ran in known code, with what came after it."""
        for code, steps in self._steps.items():
            known = self._code(code)
            if known is not None:
                yield from ((known, step) for step in steps if step[0] in known.jumps)

    def _code(self, code: bytes) -> Code | None:
        """What is known about the code that runs: immutables or arguments follow what was compiled."""
        if code not in self._known:
            self._known[code] = next((known for known in self._codes if code.startswith(known.code)), None)
        return self._known[code]


class TracedChain(BoaChain):
    """Takes down everything that is executed in `trace`, which has to be set first and which all these chains share."""

    trace: ClassVar[Trace]

    def __init__(self) -> None:
        super().__init__()
        self._env = _TracedEnv(self.trace)


class _TracedEnv(boa.Env):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace
        # titanoboa wraps these two once more for every environment, in a table that all environments share: with
        # hundreds of them each would take as many Python frames.
        opcodes = self.evm.vm.state.computation_class.opcodes
        opcodes[0x20] = opcodes[0x20].sha3
        opcodes[0x55] = opcodes[0x55].sstore

    def execute_code(self, *arguments: Any, **named: Any) -> Any:
        computation = super().execute_code(*arguments, **named)
        self._trace.add(computation)
        return computation

    def deploy(self, *arguments: Any, **named: Any) -> Any:
        address, computation = super().deploy(*arguments, **named)
        self._trace.add(computation)
        return address, computation


def _jumped(step: tuple[int, int]) -> bool:
    """Whether the JUMPI of a step was taken: if not, what follows it in the code follows."""
    place, after = step
    return after != place + 1


def _required(code: Code, places: list[int]) -> Iterator[tuple[Branch, bool]]:
    """Every call of `errors._require` in a run, and whether the condition held."""
    for place, steps in code.requires.items():
        jump = code.jumps[place]
        assert jump is not None
        for at, (found, after) in enumerate(pairwise(places)):
            if found == place:
                yield code.calls[places[at - steps - 1]], _jumped((found, after)) == jump.if_taken
