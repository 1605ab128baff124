"""Contracts with something changed in them: a copy of `contracts/` with other text in some files, and its compilers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from uuid import uuid4

from vyper.cli.vyper_compile import get_search_paths
from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
from vyper.compiler.output import build_abi_output
from vyper.compiler.phases import CompilerData
from vyper.compiler.settings import OptimizationLevel, Settings, anchor_settings

from prorata.abi import Interface
from prorata.embedded import CONTRACTS, Compiled, Compiler

#: What is deployed; every module is part of some of them.
DEPLOYABLES = ("PerpetualMarket", "TradingLogic", "InsuranceVault", "MarketLens")
_IMPORT = re.compile(r"^from (?:\.|\.modules|modules) import (\w+)", re.MULTILINE)
_OPTIMIZE = re.compile(r"^# pragma optimize .*$", re.MULTILINE)


def write(changes: Mapping[str, str], folder: Path) -> Path:
    """Make `folder` a copy of `contracts/` with other text in some files, unless it is one already.

    Two processes may do so at once: whichever is later finds it there.

    Args:
        changes: path under `contracts/` to text.
    """
    wanted = {path.relative_to(CONTRACTS): path.read_text() for path in CONTRACTS.rglob("*.vy*")}
    wanted |= {Path(file): text for file, text in changes.items()}
    if not all((folder / file).exists() and (folder / file).read_text() == text for file, text in wanted.items()):
        made = folder.with_name(f"{folder.name}-{uuid4().hex}")
        for file, text in wanted.items():
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            (made / file).write_text(text)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return folder


@cache
def modules_of(source: str) -> frozenset[str]:
    """The names of all modules that a contract, or a source that a test compiles, is made of."""
    direct = _IMPORT.findall(source)
    below = (modules_of((CONTRACTS / "modules" / f"{name}.vy").read_text()) for name in direct)
    return frozenset(direct).union(*below)


def affected(file: str) -> list[str]:
    """The deployables that a file is part of."""
    return [name for name in DEPLOYABLES if _is_part(file, name, (CONTRACTS / f"{name}.vy").read_text())]


def _is_part(file: str, name: str | None, source: str) -> bool:
    stem = Path(file).stem
    return stem == name or (file.startswith("modules/") and stem in modules_of(source))


class DirectCompiler(Compiler):
    """Compiles each thing once and asks for the creation code alone, which is faster than titanoboa and its cache."""

    #: As the source says.
    optimize: OptimizationLevel | None = None

    def _compile(self, source: str, path: Path | None) -> Compiled:
        data = compiled(source, path, self.folder, self.optimize)
        with anchor_settings(data.settings):
            return Interface(build_abi_output(data)), data.bytecode


class ChangedCompiler(DirectCompiler):
    """Compiles what a change concerns; what it does not concern comes from the usual compiler."""

    def __init__(self, folder: Path, files: frozenset[str], usual: Compiler) -> None:
        super().__init__(folder)
        self._files = files
        self._usual = usual

    def contract(self, name: str) -> Compiled:
        source = next(CONTRACTS.rglob(f"{name}.vy")).read_text()
        return super().contract(name) if self._concerns(name, source) else self._usual.contract(name)

    def source(self, source: str) -> Compiled:
        return super().source(source) if self._concerns(None, source) else self._usual.source(source)

    def _concerns(self, name: str | None, source: str) -> bool:
        return any(_is_part(file, name, source) for file in self._files)


class QuickCompiler(DirectCompiler):
    """Without optimization, in half the time. Code is larger than a chain takes."""

    optimize = OptimizationLevel.NONE


class QuickChangedCompiler(ChangedCompiler):
    """The same for mutants."""

    optimize = OptimizationLevel.NONE


def compiled(source: str, path: Path | None, folder: Path, optimize: OptimizationLevel | None = None) -> CompilerData:
    """The compiler's data of a source, in which nothing is computed yet.

    Args:
        path: where it stands; `None`: nowhere.
        folder: where its modules are.
        optimize: `None`: as the source says.
    """
    place = path or folder / "unnamed.vy"
    if optimize is not None:
        source = _OPTIMIZE.sub("", source)
    given = FileInput(contents=source, source_id=-1, path=place, resolved_path=place.resolve())
    bundle = FilesystemInputBundle(get_search_paths([str(folder)]))
    return CompilerData(given, bundle, Settings(optimize=optimize))
