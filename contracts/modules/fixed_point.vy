# pragma version 0.4.3
"""
@title Fixed point
@license AGPL-3.0-only
@notice Scales and roundings, the rounding always in the name (design §11).

        | quantity                          | digits | bound            |
        |-----------------------------------|--------|------------------|
        | size, shares, scale, price, quote | 18     | see packing      |
        | index K, bucket edge              | 36     | |K| < 2**159     |
        | shares * index ("exact quote")    | 54     | < 2**250         |

        scale * price is an index amount and shares * index an exact quote amount, both without any rounding. Rounding
        happens only where exact quote becomes quote, and is always against whoever is paid.
"""

WAD: constant(uint256) = 10**18
# One unit of the index; also the quotient between exact quote (54 digits) and quote (18 digits).
INDEX_UNIT: constant(uint256) = 10**36


@internal
@pure
def _floor_div(x: int256, y: int256) -> int256:
    """
    @notice floor(x / y) for y > 0. Vyper's `//` truncates towards zero, which would round a loss in the loser's favour.
    """
    quotient: int256 = x // y
    # Neither overflows: y is positive, and a quotient that is -2**255 has no remainder.
    if unsafe_sub(x, unsafe_mul(quotient, y)) < 0:  # the remainder has the sign of x: "x negative and not divisible"
        quotient = unsafe_sub(quotient, 1)
    return quotient


@internal
@pure
def _ceil_div(x: uint256, y: uint256) -> uint256:
    """
    @notice ceil(x / y) for y > 0.
    """
    if x == 0:
        return 0
    # x is not zero, and a quotient of x - 1 is below the largest number.
    return unsafe_add(unsafe_sub(x, 1) // y, 1)


@internal
@pure
def _quote_down(exact: int256) -> int256:
    """
    @notice Exact quote (54 digits) to quote (18 digits), towards minus infinity.
    """
    return self._floor_div(exact, convert(INDEX_UNIT, int256))


@internal
@pure
def _quote_up(exact: uint256) -> uint256:
    """
    @notice Exact quote (54 digits) to quote (18 digits), upwards.
    """
    return self._ceil_div(exact, INDEX_UNIT)


@internal
@pure
def _power(x: uint256, n: uint256) -> uint256:
    """
    @notice x ** n for x <= 1, both with 36 digits, by repeated squaring.
    @dev Every product is rounded down. A squaring doubles the relative error, so the result is low by less than
         2 n * 10**-36.
    @param n Below 2**40.
    """
    power: uint256 = INDEX_UNIT
    square: uint256 = x
    rest: uint256 = n
    for _: uint256 in range(40):
        if rest == 0:
            break
        if rest & 1 == 1:
            power = power * square // INDEX_UNIT
        square = square * square // INDEX_UNIT
        rest >>= 1
    return power


@internal
@pure
def _log2(x: uint256) -> uint256:
    """
    @notice floor(log2(x)) for x > 0: the highest bit set. snekmate's also rounds up, and costs twice as much; here every
            bucket that a settlement closes asks for it.
    """
    bits: uint256 = x
    log2: uint256 = 0
    if bits >> 128 != 0:
        bits >>= 128
        log2 = 128
    if bits >> 64 != 0:
        bits >>= 64
        log2 |= 64
    if bits >> 32 != 0:
        bits >>= 32
        log2 |= 32
    if bits >> 16 != 0:
        bits >>= 16
        log2 |= 16
    if bits >> 8 != 0:
        bits >>= 8
        log2 |= 8
    if bits >> 4 != 0:
        bits >>= 4
        log2 |= 4
    if bits >> 2 != 0:
        bits >>= 2
        log2 |= 2
    return log2 | bits >> 1
