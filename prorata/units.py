"""Scales of the contracts: prices, sizes and quote have 18 digits, index values 36 (design §11)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

WAD = 10**18
INDEX_UNIT = 10**36
LONG, SHORT = 0, 1
ZERO_ADDRESS = "0x" + "00" * 20

#: Below this scale, 18 digits, both sides close and start again (`contracts/modules/settlement.vy`).
MIN_SCALE = 10**14

#: Prices the market accepts, 18 digits (`contracts/modules/oracle.vy`).
MIN_PRICE, MAX_PRICE = 2**30, 2**80 - 1


def to_wad(amount: Decimal | int | str) -> int:
    """An amount in whole units as an 18-digit integer.

    Raises:
        ValueError: more than 18 digits after the point, or not a finite number.
    """
    if not Decimal(amount).is_finite():
        raise ValueError(f"{amount} is not a finite number")
    scaled = Fraction(Decimal(amount)) * WAD
    if scaled.denominator != 1:
        raise ValueError(f"{amount} has more than 18 digits after the point")
    return scaled.numerator


def from_wad(amount: int) -> Fraction:
    """An 18-digit integer as the exact number it stands for."""
    return Fraction(amount, WAD)
