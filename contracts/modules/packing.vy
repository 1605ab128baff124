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
        | position | min_nonce 64 · side 8 · level 8 · epoch 32 · generation 32 · shares 112 | 1 / account |
        | anchor   | bucket 128 · collateral (flat) or debt (with shares) 128       | 1 / account |
        | bucket   | generation 32 · debt 112 · shares 112                          | 1 / bucket |
        | level    | live 64 · top 128 (both in words of its bitmap)                | 1 / level |

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
    min_nonce: uint256  # of the account's orders


struct Anchor:
    amount: uint256  # quote: the collateral of a flat account, the debt at the bucket's lower edge of another
    bucket: int256


struct Bucket:
    shares: uint256  # sum of n
    debt: uint256  # sum of debt at the lower edge, quote
    generation: uint256


struct Level:
    top: int256  # no bitmap word of this level above this one has a live bucket
    live: uint256  # how many have


@internal
@pure
def _require_room(overflow: uint256):
    """
    @param overflow The bits of all fields of a word that lie beyond their widths, or-ed. A signed field of n bits is moved
           up by 2**(n - 1) first, so that what fits has no bits beyond.
    """
    assert overflow == 0, "packing: out of range"


@internal
@pure
def _pack_core(core: IPerpetualMarket.Core) -> uint256:
    self._require_room(
        core.mark >> 80 | core.epoch >> 32 | core.insurance_owed >> 128 | core.conditions >> 8
    )
    return core.mark | core.epoch << 80 | core.insurance_owed << 112 | core.conditions << 240


@internal
@pure
def _pack_clock(core: IPerpetualMarket.Core) -> uint256:
    self._require_room(
        convert(convert(unsafe_add(core.premium, 2**119), bytes32), uint256) >> 120
        | core.accrued_at >> 40
        | core.limited_at >> 40
        | core.reduce_only_until >> 40
    )
    return (
        convert(convert(core.premium, bytes32), uint256) & (2**120 - 1)
        | core.accrued_at << 120
        | core.limited_at << 160
        | core.reduce_only_until << 200
    )


@internal
@pure
def _unpack_core(word: uint256, clock: uint256) -> IPerpetualMarket.Core:
    return IPerpetualMarket.Core(
        mark=word & (2**80 - 1),
        epoch=(word >> 80) & (2**32 - 1),
        insurance_owed=(word >> 112) & (2**128 - 1),
        conditions=(word >> 240) & (2**8 - 1),
        premium=convert(convert(clock << 136, bytes32), int256) >> 136,
        accrued_at=(clock >> 120) & (2**40 - 1),
        limited_at=(clock >> 160) & (2**40 - 1),
        reduce_only_until=(clock >> 200) & (2**40 - 1),
    )


@internal
@pure
def _pack_exposure(side: Side) -> uint256:
    self._require_room(side.shares >> 112 | side.scale >> 64)
    return side.shares | side.scale << 112


@internal
@pure
def _pack_reach(side: Side) -> uint256:
    # The top is a bound, so it may be coarse, but only upwards.
    top: int256 = -((-side.top) >> 64)
    self._require_room(
        convert(convert(unsafe_add(side.index, 2**159), bytes32), uint256) >> 160
        | convert(convert(unsafe_add(top, 2**95), bytes32), uint256) >> 96
    )
    return (
        convert(convert(side.index, bytes32), uint256) & (2**160 - 1)
        | convert(convert(top, bytes32), uint256) << 160
    )


@internal
@pure
def _unpack_side(exposure: uint256, reach: uint256) -> Side:
    return Side(
        shares=exposure & (2**112 - 1),
        scale=(exposure >> 112) & (2**64 - 1),
        index=convert(convert(reach << 96, bytes32), int256) >> 96,
        top=self._unpack_top(reach),
    )


@internal
@pure
def _unpack_top(reach: uint256) -> int256:
    return (convert(convert(reach, bytes32), int256) >> 160) << 64


@internal
@pure
def _pack_position(position: Position) -> uint256:
    self._require_room(
        position.shares >> 112
        | position.generation >> 32
        | position.epoch >> 32
        | position.level >> 8
        | position.side >> 8
        | position.min_nonce >> 64
    )
    return (
        position.shares
        | position.generation << 112
        | position.epoch << 144
        | position.level << 176
        | position.side << 184
        | position.min_nonce << 192
    )


@internal
@pure
def _unpack_position(word: uint256) -> Position:
    return Position(
        shares=word & (2**112 - 1),
        generation=(word >> 112) & (2**32 - 1),
        epoch=(word >> 144) & (2**32 - 1),
        level=(word >> 176) & (2**8 - 1),
        side=(word >> 184) & (2**8 - 1),
        min_nonce=word >> 192,
    )


@internal
@pure
def _has_shares(position: uint256) -> bool:
    return position & (2**112 - 1) != 0


@internal
@pure
def _min_nonce(position: uint256) -> uint256:
    return position >> 192


@internal
@pure
def _without_shares(position: uint256) -> uint256:
    return position >> 112 << 112


@internal
@pure
def _pack_anchor(anchor: Anchor) -> uint256:
    self._require_room(anchor.amount >> 128 | convert(convert(unsafe_add(anchor.bucket, 2**127), bytes32), uint256) >> 128)
    return anchor.amount | convert(convert(anchor.bucket, bytes32), uint256) << 128


@internal
@pure
def _unpack_anchor(word: uint256) -> Anchor:
    return Anchor(amount=word & (2**128 - 1), bucket=convert(convert(word, bytes32), int256) >> 128)


@internal
@pure
def _pack_bucket(bucket: Bucket) -> uint256:
    self._require_room(bucket.shares >> 112 | bucket.debt >> 112 | bucket.generation >> 32)
    return bucket.shares | bucket.debt << 112 | bucket.generation << 224


@internal
@pure
def _next_generation(bucket: uint256) -> uint256:
    """
    @notice A bucket emptied, all in one word.
    """
    generation: uint256 = unsafe_add(bucket >> 224, 1)
    assert generation >> 32 == 0, "packing: out of range"
    return generation << 224


@internal
@pure
def _unpack_bucket(word: uint256) -> Bucket:
    return Bucket(
        shares=word & (2**112 - 1),
        debt=(word >> 112) & (2**112 - 1),
        generation=word >> 224,
    )


@internal
@pure
def _pack_level(level: Level) -> uint256:
    self._require_room(level.live >> 64 | convert(convert(unsafe_add(level.top, 2**127), bytes32), uint256) >> 128)
    return convert(convert(level.top, bytes32), uint256) & (2**128 - 1) | level.live << 128


@internal
@pure
def _unpack_level(word: uint256) -> Level:
    return Level(
        top=convert(convert(word << 128, bytes32), int256) >> 128,
        live=(word >> 128) & (2**64 - 1),
    )
