# pragma version 0.4.3
"""
@title Bankruptcy buckets
@license AGPL-3.0-only
@notice Every account with shares is filed under the index value at which it runs out (design §4):

            bankruptcy index   kappa = floor(K - c / n)           constant between touches
            level              j = floor(log2(w * A * mark))      a bucket is about w of the price wide
            bucket             b = kappa >> j                     covers [b * 2**j, (b + 1) * 2**j)

        An account is anchored at its bucket's lower edge: equity = floor(n * (K - edge)) - debt. So a bucket needs only
        two sums, of shares and of debt, to say exactly what all its accounts are worth at any index:

            E_b = N_b * (K - edge) - D_b

        Closing a bucket empties it and raises its generation; an account filed under an older generation is closed.

        A bitmap per level marks the buckets that hold shares, a mask per book the levels that have any. Each level keeps
        an upper bound of its highest bucket, so a scan starts there and not at the index.
"""

from snekmate.utils import math

from . import fixed_point
from . import packing
from . import sides

# The compiler wants a bound for every loop. A scan ends by its budget, or by running out of gas in a preview without one;
# it must never end here, with buckets left out.
MAX_LOOKS: constant(uint256) = 2**64
# floor(log2(w * A * mark)) lies in 63..133 for the bounds of `parameters`, `settlement` and `oracle`.
MAX_LEVELS: constant(uint256) = 72


struct Filing:
    level: uint256
    bucket: int256
    debt: uint256  # quote, at the bucket's lower edge


# What a scan saw. Nothing is written; `_close` repeats the walk down to `threshold`.
struct Scan:
    shares: uint256  # sum of N_b
    value: int256  # sum of E_b at the index the scan started from, exact quote
    buckets: uint256  # how many
    threshold: int256  # all buckets with an upper edge above it are in the sums, 36 digits
    stopped: bool  # the budget ended above the threshold asked for
    words: uint256  # looks that found no bucket to sum


event BucketClosed:
    bucket_id: indexed(uint256)  # epoch 32 · side 1 · level 8 · bucket 128
    shares: uint256
    debt: uint256


_buckets: HashMap[uint256, uint256]
_bitmaps: HashMap[uint256, uint256]
_levels: HashMap[uint256, uint256]
_live_levels: HashMap[uint256, uint256]


# ---------------------------------------------------------------------------------------------------------------- names


@internal
@pure
def _level_id(book: uint256, level: uint256) -> uint256:
    return (book << 136) | (level << 128)


@internal
@pure
def _id(book: uint256, level: uint256, number: int256) -> uint256:
    """
    @notice The key of a bucket, or of a bitmap word: `number` counts either.
    """
    return self._level_id(book, level) | (convert(convert(number, bytes32), uint256) & (2**128 - 1))


@internal
@pure
def _upper_edge(level: uint256, bucket: int256) -> int256:
    return (bucket + 1) << level


# --------------------------------------------------------------------------------------------------------------- filing


@internal
@pure
def _level(width: uint256, scale: uint256, mark: uint256) -> uint256:
    """
    @notice The level whose buckets are just under `width` of the price wide.
    @param width 18 digits.
    """
    return math._log2(width * (scale * mark) // fixed_point.WAD, False)


@internal
@pure
def _locate(level: uint256, shares: uint256, collateral: uint256, index: int256, ceiling: int256) -> Filing:
    """
    @notice Where an account belongs, and its debt there.
    @dev The debt is rounded up: the account pays at most one wei, and the sum of debts is exact.
    @param ceiling Not above this bucket.
    """
    drop: uint256 = fixed_point._ceil_div(collateral * fixed_point.INDEX_UNIT, shares)
    bucket: int256 = min((index - convert(drop, int256)) >> level, ceiling)
    above_edge: uint256 = convert(index - (bucket << level), uint256)
    return Filing(
        level=level,
        bucket=bucket,
        debt=fixed_point._quote_up(shares * above_edge) - collateral,
    )


@internal
@pure
def _equity(shares: uint256, filing: Filing, index: int256) -> uint256:
    """
    @notice What an account that is not closed holds, quote, rounded down.
    @dev A live account is worth at least nothing, but its debt was rounded up: below one wei of loss is nothing.
    """
    above_edge: int256 = index - (filing.bucket << filing.level)
    equity: int256 = fixed_point._quote_down(convert(shares, int256) * above_edge) - convert(filing.debt, int256)
    return convert(max(equity, 0), uint256)


@internal
@view
def _generation(book: uint256, filing: Filing) -> uint256:
    return packing._unpack_bucket(self._buckets[self._id(book, filing.level, filing.bucket)]).generation


@internal
def _add(book: uint256, filing: Filing, shares: uint256) -> uint256:
    """
    @notice Files an account.
    @return The generation it is filed under.
    """
    id: uint256 = self._id(book, filing.level, filing.bucket)
    bucket: packing.Bucket = packing._unpack_bucket(self._buckets[id])
    if bucket.shares == 0:
        self._awake(book, filing.level, filing.bucket)
    bucket.shares += shares
    bucket.debt += filing.debt
    self._buckets[id] = packing._pack_bucket(bucket)
    return bucket.generation


@internal
def _remove(book: uint256, filing: Filing, shares: uint256):
    """
    @notice Takes a live account out of its bucket.
    """
    id: uint256 = self._id(book, filing.level, filing.bucket)
    bucket: packing.Bucket = packing._unpack_bucket(self._buckets[id])
    bucket.shares -= shares
    bucket.debt -= filing.debt
    self._buckets[id] = packing._pack_bucket(bucket)
    if bucket.shares == 0:
        self._sleep(book, filing.level, filing.bucket)


@internal
def _refile(book: uint256, old: Filing, old_shares: uint256, new: Filing, new_shares: uint256) -> uint256:
    """
    @notice Moves a live account to another filing of the same book; within one bucket that is one slot.
    @return The generation it is filed under.
    """
    if old.level != new.level or old.bucket != new.bucket:
        self._remove(book, old, old_shares)
        return self._add(book, new, new_shares)

    id: uint256 = self._id(book, new.level, new.bucket)
    bucket: packing.Bucket = packing._unpack_bucket(self._buckets[id])
    bucket.shares = bucket.shares + new_shares - old_shares
    bucket.debt = bucket.debt + new.debt - old.debt
    self._buckets[id] = packing._pack_bucket(bucket)
    return bucket.generation


@internal
def _awake(book: uint256, level: uint256, bucket: int256):
    """
    @notice Marks a bucket that was empty as live.
    """
    self._bitmaps[self._id(book, level, bucket >> 8)] |= self._bit(bucket)

    level_id: uint256 = self._level_id(book, level)
    entry: packing.Level = packing._unpack_level(self._levels[level_id])
    if entry.live == 0:
        self._live_levels[book] |= 1 << level
        entry.top = bucket
    entry.top = max(entry.top, bucket)
    entry.live += 1
    self._levels[level_id] = packing._pack_level(entry)


@internal
def _sleep(book: uint256, level: uint256, bucket: int256):
    """
    @notice Unmarks a bucket that became empty; its generation stays.
    """
    self._bitmaps[self._id(book, level, bucket >> 8)] ^= self._bit(bucket)

    level_id: uint256 = self._level_id(book, level)
    entry: packing.Level = packing._unpack_level(self._levels[level_id])
    entry.live -= 1
    if entry.live == 0:
        self._levels[level_id] = 0
        self._live_levels[book] ^= 1 << level
    else:
        self._levels[level_id] = packing._pack_level(entry)


@internal
@pure
def _bit(bucket: int256) -> uint256:
    return 1 << convert(bucket & 255, uint256)


@internal
@pure
def _highest(word: int256, bits: uint256) -> int256:
    """
    @notice The highest bucket set in a bitmap word, or the one just under the word if none is.
    """
    if bits == 0:
        return (word << 8) - 1
    return (word << 8) + convert(math._log2(bits, False), int256)


# ------------------------------------------------------------------------------------------------------------- scanning


@internal
@view
def _scan(
    book: uint256,
    index: int256,
    ceiling: int256,
    threshold: int256,
    max_buckets: uint256,
    max_words: uint256,
) -> Scan:
    """
    @notice Sums up every live bucket with an upper edge above `threshold`, highest first over all levels, so that a scan
            that runs out of budget has still summed exactly the buckets above some lower-reaching threshold.
    @dev Each level has a cursor: no live bucket of the level that is not yet summed lies above it. The highest cursor is
         looked at: if its bucket is live it is summed, if not the cursor falls to the next live bucket of the word, or
         under the word. Buckets of different levels with the same upper edge are summed together or not at all.
    @param index The index at which `value` is stated, 36 digits.
    @param ceiling Buckets with an upper edge above it do not count: a preview's earlier move has closed them.
    @param max_buckets Buckets that may be summed (a tie may exceed it).
    @param max_words Looks that may find no bucket to sum.
    """
    scan: Scan = Scan(shares=0, value=0, buckets=0, threshold=threshold, stopped=False, words=0)
    cursors: int256[MAX_LEVELS] = empty(int256[MAX_LEVELS])  # bucket << 8 | level
    levels: uint256 = 0
    mask: uint256 = self._live_levels[book]
    for _: uint256 in range(MAX_LEVELS):
        if mask == 0:
            break
        level: uint256 = math._log2(mask, False)
        mask ^= 1 << level
        top: int256 = packing._unpack_level(self._levels[self._level_id(book, level)]).top
        cursors[levels] = (top << 8) | convert(level, int256)
        levels += 1

    last_edge: int256 = max_value(int256)
    for _: uint256 in range(MAX_LOOKS):
        # The level whose cursor stands highest.
        edge: int256 = min_value(int256)
        at: uint256 = 0
        for i: uint256 in range(levels, bound=MAX_LEVELS):
            cursor_edge: int256 = self._upper_edge(convert(cursors[i] & 255, uint256), cursors[i] >> 8)
            if cursor_edge > edge:
                edge = cursor_edge
                at = i
        if edge <= threshold:
            break

        # The next live bucket at or under that cursor, if its word has one.
        level: uint256 = convert(cursors[at] & 255, uint256)
        bucket: int256 = cursors[at] >> 8
        word: int256 = bucket >> 8
        bits: uint256 = self._bitmaps[self._id(book, level, word)]
        bits &= max_value(uint256) >> convert(255 - (bucket & 255), uint256)
        live: int256 = self._highest(word, bits)

        if live == bucket and edge > ceiling:
            live = self._highest(word, bits ^ self._bit(bucket))
        elif live == bucket:
            if scan.buckets >= max_buckets and edge < last_edge:
                scan.stopped = True
                scan.threshold = edge
                break
            summed: packing.Bucket = packing._unpack_bucket(self._buckets[self._id(book, level, bucket)])
            scan.shares += summed.shares
            scan.value += (
                convert(summed.shares, int256) * (index - (bucket << level))
                - convert(summed.debt * fixed_point.INDEX_UNIT, int256)
            )
            scan.buckets += 1
            last_edge = edge
            live = self._highest(word, bits ^ self._bit(bucket))
        else:
            if scan.words >= max_words and edge < last_edge:
                scan.stopped = True
                scan.threshold = edge
                break
            scan.words += 1
        cursors[at] = (live << 8) | convert(level, int256)
    return scan


@internal
def _close(book: uint256, threshold: int256) -> int256:
    """
    @notice Empties every bucket with an upper edge above `threshold`, the ones a scan has summed.
    @return An upper bound of the upper edges left live, 36 digits.
    """
    top: int256 = sides.NO_TOP
    mask: uint256 = self._live_levels[book]
    kept: uint256 = mask
    for _: uint256 in range(MAX_LEVELS):
        if mask == 0:
            break
        level: uint256 = math._log2(mask, False)
        mask ^= 1 << level
        level_id: uint256 = self._level_id(book, level)
        entry: packing.Level = packing._unpack_level(self._levels[level_id])
        lowest: int256 = threshold >> level  # (b + 1) * 2**level > threshold  <=>  b >= floor(threshold / 2**level)
        if entry.top >= lowest:
            for __: uint256 in range(MAX_LOOKS):
                if entry.top < lowest:
                    break
                word: int256 = entry.top >> 8
                bits: uint256 = self._bitmaps[self._id(book, level, word)]
                closing: uint256 = bits
                if lowest > word << 8:
                    closing &= max_value(uint256) << convert(lowest - (word << 8), uint256)
                bits ^= closing
                if closing != 0:
                    self._bitmaps[self._id(book, level, word)] = bits
                    entry.live -= self._close_word(book, level, word, closing)
                entry.top = self._highest(word, bits)
            if entry.live == 0:
                self._levels[level_id] = 0
                kept ^= 1 << level
            else:
                self._levels[level_id] = packing._pack_level(entry)
        if entry.live > 0:
            top = max(top, self._upper_edge(level, entry.top))
    self._live_levels[book] = kept
    return top


@internal
def _close_word(book: uint256, level: uint256, word: int256, closing: uint256) -> uint256:
    """
    @notice Empties the buckets of one bitmap word whose bits are set in `closing`.
    @return How many.
    """
    count: uint256 = 0
    bits: uint256 = closing
    for _: uint256 in range(256):
        if bits == 0:
            break
        bit: uint256 = math._log2(bits, False)
        bits ^= 1 << bit
        id: uint256 = self._id(book, level, (word << 8) + convert(bit, int256))
        bucket: packing.Bucket = packing._unpack_bucket(self._buckets[id])
        log BucketClosed(bucket_id=id, shares=bucket.shares, debt=bucket.debt)
        self._buckets[id] = packing._pack_bucket(packing.Bucket(shares=0, debt=0, generation=bucket.generation + 1))
        count += 1
    return count
