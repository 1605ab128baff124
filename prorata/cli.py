"""What the commands share: one clear line for bad input, and options that check themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

import click
from ape.cli import ConnectedProviderCommand
from eth_utils.address import is_address

#: Where `ape run deploy` saves the addresses of a deployment unless told otherwise.
DEFAULT_ADDRESSES = Path("out/deployment.json")
#: What a decorator of options decorates.
_Function = TypeVar("_Function", bound=Callable[..., Any])


class BadInput(click.ClickException):
    """Something the user can put right: one line on stderr, exit code 2."""

    exit_code = 2


class PlainCommand(click.Command):
    """A command whose complaints about its options are one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise BadInput(" ".join(error.format_message().split())) from None


class Command(PlainCommand, ConnectedProviderCommand):
    """The same, connected to the network that `--network` names."""


class DecimalRange(click.ParamType):
    """A decimal number between two bounds; shown as `name` in help.

    Args:
        low, high: bounds, included.
    """

    def __init__(self, name: str, low: Decimal | int, high: Decimal | int) -> None:
        self.name = name
        self._low, self._high = Decimal(low), Decimal(high)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not number.is_finite() or not self._low <= number <= self._high:
            self.fail(f"{value} is not between {self._low} and {self._high}", param, ctx)
        return number


class Part(click.FloatRange):
    """A part of something, from 0 to 1; click would take nan for one."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not between 0 and 1", param, ctx)
        return number


def exclusive(**options: Any) -> str | None:
    """The name of the one option that is set, or None.

    Raises:
        BadInput: more than one is set.
    """
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise BadInput(f"{' and '.join('--' + name for name in given)} exclude each other")
    return given[0] if given else None


def market_options(command: _Function) -> _Function:
    """`--market` and `--addresses`, of which `saved_market` makes an address."""
    saved = click.option(
        "--addresses",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"Take the market from a file saved by `ape run deploy`.  [default: {DEFAULT_ADDRESSES}]",
    )
    named = click.option("--market", metavar="ADDRESS", help="The market; everything else it says itself.")
    return named(saved(command))


def saved_market(market: str | None, addresses: Path | None) -> str:
    """A market's address, as given or as saved by `ape run deploy`.

    Raises:
        BadInput: both are given, or what is given holds no address.
    """
    exclusive(market=market, addresses=addresses)
    if market is None:
        market = _saved(addresses or DEFAULT_ADDRESSES)
    if not is_address(market):
        raise BadInput(f"{market!r} is not an address")
    return market


def _saved(path: Path) -> str:
    """The market in a file of addresses."""
    try:
        return str(json.loads(path.read_text())["market"])
    except OSError as error:
        raise BadInput(f"no --market given, and {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{path} holds no market's address") from None
