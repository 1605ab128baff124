# pragma version 0.4.3
"""
@title Packing
@license AGPL-3.0-only
@notice The layout of every packed storage word, and nothing else. Packing a value that does not fit reverts: the bounds
        below are the overflow argument of the whole market (design §11).

        | word     | high bits ............................................ low bits | slots |
        |----------|----------------------------------------------------------------|-------|
        | core     | conditions 8 · insurance_owed 128 · epoch 32 · mark 80         | 1     |
        | clock    | reduce_only_until 40 · limited_at 40 · accrued_at 40 · premium 120 | 1 |
        | exposure | scale 64 · shares 112                                          | 1 / side |
        | reach    | top 96 (in units of 2**64, rounded up) · index 160             | 1 / side |
        | position | side 8 · level 8 · epoch 32 · generation 32 · shares 112       | 1 / account |
        | anchor   | bucket 128 · collateral (flat) or debt (with shares) 128       | 1 / account |
        | bucket   | generation 32 · debt 112 · shares 112                          | 1 / bucket |
        | level    | live 64 · top 128                                              | 1 / level |

        Bounds. mark < 2**80 and scale <= 10**18 < 2**60, so an index amount scale * price < 2**140. Open interest is
        below 2**96 and scale >= 10**14, so shares < 2**96 * 10**4 < 2**110 and exact quote shares * scale * price
        < 2**250. A bucket's debt is at most shares * width / 10**36 plus a wei a member, below 2**112. The premium is at
        most the value of the open interest, < 2**117 quote either way. Seconds fit 40 bits for 34,000 years.
"""

from ..interfaces import IPerpetualMarket

struct Side:
    shares: uint256  # N, 18 digits
    scale: uint256  # A, size per share, 18 digits; starts at 1, only falls
    index: int256  # K, quote per share, 36 digits
    top: int256  # no live bucket has an upper edge above this, 36 digits


struct Position:
    shares: uint256  # n, 18 digits
    generation: uint256  # of the bucket at filing; another one now means: closed
    epoch: uint256
    level: uint256
    side: uint256


struct Anchor:
    amount: uint256  # quote: the collateral of a flat account, the debt at the bucket's lower edge of another
    bucket: int256


struct Bucket:
    shares: uint256  # sum of n
    debt: uint256  # sum of debt at the lower edge, quote
    generation: uint256


struct Level:
    top: int256  # no live bucket of this level is above this one
    live: uint256  # how many buckets hold shares


@internal
@pure
def _field(x: uint256, width: uint256, offset: uint256) -> uint256:
    assert x >> width == 0, "packing: out of range"
    return x << offset


@internal
@pure
def _signed_field(x: int256, width: uint256, offset: uint256) -> uint256:
    word: uint256 = convert(convert(x, bytes32), uint256) << (256 - width)
    assert convert(convert(word, bytes32), int256) >> (256 - width) == x, "packing: out of range"
    return (word >> (256 - width)) << offset


@internal
@pure
def _get(word: uint256, width: uint256, offset: uint256) -> uint256:
    return (word >> offset) & ((1 << width) - 1)


@internal
@pure
def _get_signed(word: uint256, width: uint256, offset: uint256) -> int256:
    return convert(convert(word << (256 - width - offset), bytes32), int256) >> (256 - width)


@internal
@pure
def _pack_core(core: IPerpetualMarket.Core) -> uint256:
    return (
        self._field(core.mark, 80, 0)
        | self._field(core.epoch, 32, 80)
        | self._field(core.insurance_owed, 128, 112)
        | self._field(core.conditions, 8, 240)
    )


@internal
@pure
def _pack_clock(core: IPerpetualMarket.Core) -> uint256:
    return (
        self._signed_field(core.premium, 120, 0)
        | self._field(core.accrued_at, 40, 120)
        | self._field(core.limited_at, 40, 160)
        | self._field(core.reduce_only_until, 40, 200)
    )


@internal
@pure
def _unpack_core(word: uint256, clock: uint256) -> IPerpetualMarket.Core:
    return IPerpetualMarket.Core(
        mark=self._get(word, 80, 0),
        epoch=self._get(word, 32, 80),
        insurance_owed=self._get(word, 128, 112),
        conditions=self._get(word, 8, 240),
        premium=self._get_signed(clock, 120, 0),
        accrued_at=self._get(clock, 40, 120),
        limited_at=self._get(clock, 40, 160),
        reduce_only_until=self._get(clock, 40, 200),
    )


@internal
@pure
def _pack_exposure(side: Side) -> uint256:
    return self._field(side.shares, 112, 0) | self._field(side.scale, 64, 112)


@internal
@pure
def _pack_reach(side: Side) -> uint256:
    # The top is a bound, so it may be coarse, but only upwards.
    return self._signed_field(side.index, 160, 0) | self._signed_field(-((-side.top) >> 64), 96, 160)


@internal
@pure
def _unpack_side(exposure: uint256, reach: uint256) -> Side:
    return Side(
        shares=self._get(exposure, 112, 0),
        scale=self._get(exposure, 64, 112),
        index=self._get_signed(reach, 160, 0),
        top=self._get_signed(reach, 96, 160) << 64,
    )


@internal
@pure
def _pack_position(position: Position) -> uint256:
    return (
        self._field(position.shares, 112, 0)
        | self._field(position.generation, 32, 112)
        | self._field(position.epoch, 32, 144)
        | self._field(position.level, 8, 176)
        | self._field(position.side, 8, 184)
    )


@internal
@pure
def _unpack_position(word: uint256) -> Position:
    return Position(
        shares=self._get(word, 112, 0),
        generation=self._get(word, 32, 112),
        epoch=self._get(word, 32, 144),
        level=self._get(word, 8, 176),
        side=self._get(word, 8, 184),
    )


@internal
@pure
def _pack_anchor(anchor: Anchor) -> uint256:
    return self._field(anchor.amount, 128, 0) | self._signed_field(anchor.bucket, 128, 128)


@internal
@pure
def _unpack_anchor(word: uint256) -> Anchor:
    return Anchor(amount=self._get(word, 128, 0), bucket=self._get_signed(word, 128, 128))


@internal
@pure
def _pack_bucket(bucket: Bucket) -> uint256:
    return self._field(bucket.shares, 112, 0) | self._field(bucket.debt, 112, 112) | self._field(bucket.generation, 32, 224)


@internal
@pure
def _unpack_bucket(word: uint256) -> Bucket:
    return Bucket(
        shares=self._get(word, 112, 0),
        debt=self._get(word, 112, 112),
        generation=self._get(word, 32, 224),
    )


@internal
@pure
def _pack_level(level: Level) -> uint256:
    return self._signed_field(level.top, 128, 0) | self._field(level.live, 64, 128)


@internal
@pure
def _unpack_level(word: uint256) -> Level:
    return Level(top=self._get_signed(word, 128, 0), live=self._get(word, 64, 128))
