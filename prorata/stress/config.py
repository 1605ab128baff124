"""What a sweep is made of: a YAML file, checked field by field before anything runs.

Every number that decides a result stands here, with its unit, its bounds and where it comes from. The defaults of
`Prices` are the fit of `prorata.stress.calibration` to the published events in `scenarios/`, rounded to three digits; a
test repeats the fit. What no event tells (impact, crowd, keepers) is an assumption, and is said to be one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

#: The crowd and its keeper; every one is a test account.
MAX_TRADERS = 48
MAX_PATHS = 10**8
#: Lag of a keeper that never comes.
ABSENT = -1
#: As much leverage as a market with 5 % initial margin and 0.05 % fee lets anybody open.
_MAX_LEVERAGE = 19.8


class ConfigError(ValueError):
    """A configuration that cannot be used: one line that names the field and the reason."""


def _number(default: float, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning})


def _numbers(default: tuple[float, ...], low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning})


@dataclass(frozen=True)
class Prices:
    """The index. A path is an event: its severity is drawn once, its moves are fat-tailed around that."""

    start: float = _number(1000.0, 1e-3, 1e5, "first price, quote")
    steps: int = _number(48, 1, 2000, "prices after the first")
    interval: int = _number(150, 10, 3600, "seconds between two prices")
    severity: float = _number(0.056, 1e-6, 1, "median over events of a typical move in 900 s, log price")
    severity_spread: float = _number(2.2, 0, 5, "standard deviation of the logarithm of that between events")
    largest_severity: float = _number(0.5, 1e-6, 2, "no event is more severe than this")
    student_weight: float = _number(0.5, 0, 1, "part of paths with Student-t moves; the others jump")
    student_df: float = _number(3.8, 1, 100, "degrees of freedom of the Student-t")
    student_scale: float = _number(1.23, 0.01, 10, "its scale, in typical moves")
    jump_chance: float = _number(0.11, 0, 1, "chance that a move is a jump")
    diffusion_scale: float = _number(1.28, 0.01, 10, "standard deviation of a move that is none, in typical moves")
    jump_scale: float = _number(3.97, 0.01, 50, "standard deviation of a jump, in typical moves")
    largest_move: float = _number(0.5, 0.001, 2, "no single move of the log price is larger")


@dataclass(frozen=True)
class Crowd:
    """Who trades. Assumptions: no venue publishes its accounts' leverage."""

    traders: int = _number(20, 2, MAX_TRADERS, "accounts")
    wealth: float = _number(2500.0, 100, 1e9, "median collateral, quote")
    wealth_spread: float = _number(1.0, 0, 3, "standard deviation of its logarithm")
    lowest_leverage: float = _number(2.0, 0.1, _MAX_LEVERAGE, "of the calmest")
    highest_leverage: float = _number(18.0, 0.1, _MAX_LEVERAGE, "of the wildest")
    correlation: float = _number(0.3, 0, 0.99, "of two traders' leverage within a path (Gaussian copula)")
    herding: float = _number(0.3, 0, 1, "part of the crowd that joins one side instead of tossing a coin")


@dataclass(frozen=True)
class Keepers:
    """Who liquidates. A lag is in prices; -1 is a keeper that never comes. One is drawn for every scenario."""

    lags: tuple[int, ...] = _numbers((0, 1, 4, ABSENT), ABSENT, 1000, "prices between seeing an account and acting")
    weights: tuple[float, ...] = _numbers((0.25, 0.25, 0.25, 0.25), 0, 1e6, "how often each of them")
    capital: float = _number(0.5, 0, 100, "the keeper's collateral, in collaterals of all traders together")


@dataclass(frozen=True)
class Liquidity:
    """What forced closing does to the index: -impact x (closed longs - closed shorts, over open interest) ** exponent.

    Deleveraged winners and keepers undo their hedges elsewhere, which moves the index that everybody is marked at. The
    square root is the usual law of impact; its size is an assumption.
    """

    impact: float = _number(0.05, 0, 1, "log price, if all open interest is closed at once")
    exponent: float = _number(0.5, 0.1, 2, "of the closed part")
    recovery: float = _number(0.2, 0, 1, "part of past impact that is gone at the next price")


@dataclass(frozen=True)
class Grid:
    """What is compared: every scenario runs in every cell, insurance x step cap."""

    insurance: tuple[float, ...] = _numbers(
        (0.0, 0.01, 0.05, 0.2, 1.0), 0, 100, "vault at the start, in values of open interest"
    )
    step_caps: tuple[float, ...] = _numbers((0.01, 0.03, 0.1, 0.5), 0.0001, 0.5, "max_price_step")
    step_interval: int = _number(12, 0, 3600, "seconds after a limited step")


@dataclass(frozen=True)
class Targets:
    """What the recommended parameters must achieve."""

    haircut: float = _number(0.01, 1e-6, 1, "of the winners' gains")
    confidence: float = _number(0.99, 0.5, 0.9999, "expected shortfall of the haircut beyond this quantile meets it")
    capital_price: float = _number(
        0.02, 0, 1, "what it costs to hold insurance from one disaster to the next, an assumption"
    )


@dataclass(frozen=True)
class Sweep:
    """A whole configuration."""

    prices: Prices = field(default_factory=Prices)
    crowd: Crowd = field(default_factory=Crowd)
    keepers: Keepers = field(default_factory=Keepers)
    liquidity: Liquidity = field(default_factory=Liquidity)
    grid: Grid = field(default_factory=Grid)
    targets: Targets = field(default_factory=Targets)

    @property
    def cells(self) -> list[tuple[float, float]]:
        """Step cap and insurance of every cell; cells of one deployment stand together."""
        return [(cap, insurance) for cap in self.grid.step_caps for insurance in self.grid.insurance]

    @property
    def digest(self) -> str:
        """A name for what the configuration says, but for `targets`, which concern the figures only."""
        said = {name: value for name, value in asdict(self).items() if name != "targets"}
        return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    @classmethod
    def load(cls, path: Path) -> Sweep:
        """The configuration in a YAML file; what it leaves out is as usual.

        Raises:
            ConfigError: the file cannot be read, is not such a table, or a value is out of bounds.
        """
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        try:
            return cls.of({} if given is None else given)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def of(cls, given: Any) -> Sweep:
        """The configuration that a table of tables says.

        Raises:
            ConfigError: an unknown name, a value of the wrong kind or out of bounds, or two that contradict each other.
        """
        sections = {one.name: one for one in fields(cls)}
        table = _table(given, "the file", sections)
        parts = {name: _section(sections[name], values) for name, values in table.items()}
        sweep = cls(**parts)
        _check(sweep)
        return sweep


def _section(section: Field[Any], values: Any) -> Any:
    assert section.default_factory is not MISSING
    kind = type(section.default_factory())
    known = {one.name: one for one in fields(kind)}
    table = _table(values, section.name, known)
    return kind(**{name: _value(f"{section.name}.{name}", known[name], value) for name, value in table.items()})


def _table(given: Any, where: str, known: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: a table of {', '.join(known)} is wanted, not {_shown(given)}")
    for name in given:
        if name not in known:
            raise ConfigError(f"{where}: unknown {_shown(name)}; known: {', '.join(known)}")
    return given


def _value(where: str, one: Field[Any], value: Any) -> Any:
    """A number, or a list of them, of the kind and within the bounds of its field."""
    if isinstance(one.default, tuple):
        if not isinstance(value, list) or not value:
            raise ConfigError(f"{where}: a list of numbers is wanted, not {_shown(value)}")
        return tuple(_bounded(where, one, item, type(one.default[0])) for item in value)
    return _bounded(where, one, value, type(one.default))


def _bounded(where: str, one: Field[Any], value: Any, kind: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where}: {_shown(value)} is not a number")
    low, high = one.metadata["low"], one.metadata["high"]
    if not low <= value <= high:
        raise ConfigError(f"{where}: {value} is not between {low} and {high}")
    if kind is int and value != int(value):
        raise ConfigError(f"{where}: {value} is not a whole number")
    return kind(value)


def _check(sweep: Sweep) -> None:
    """What no single field can know about itself."""
    crowd, keepers, grid = sweep.crowd, sweep.keepers, sweep.grid
    if crowd.lowest_leverage > crowd.highest_leverage:
        raise ConfigError("crowd: lowest_leverage is above highest_leverage")
    if len(keepers.lags) != len(keepers.weights):
        raise ConfigError("keepers: lags and weights are not equally many")
    if not sum(keepers.weights):
        raise ConfigError("keepers: all weights are 0")
    for where, values in (("insurance", grid.insurance), ("step_caps", grid.step_caps)):
        if list(values) != sorted(set(values)):
            raise ConfigError(f"grid.{where}: not in rising order")
    if len(set(keepers.lags)) < len(keepers.lags):
        raise ConfigError("keepers.lags: a lag is there twice")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
