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
        an upper bound of its highest bitmap word that has any, so a scan starts there and not at the index. It is touched
        when a word of the bitmap wakes or falls asleep, so a bucket that wakes beside others costs no more than its bit.
"""

from . import fixed_point
from . import packing
from . import sides

# The compiler wants a bound for every loop. A scan ends by its budget, or by running out of gas in a preview without one;
# it must never end here, with buckets left out.
MAX_LOOKS: constant(uint256) = 2**64
# floor(log2(w * A * mark)) lies in 63..133 for the bounds of `parameters`, `settlement` and `oracle`.
MAX_LEVELS: constant(uint256) = 72
# Below the upper edge of every bucket there can be, unlike NO_TOP, which is one.
NOTHING_LEFT: constant(int256) = min_value(int256)
# To look at so many costs less than to find the highest bit of a word.
NEIGHBOURS: constant(int256) = 4


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
    bucket_id: uint256  # epoch 32 · side 1 · level 8 · bucket 128
    held: uint256  # the bucket's word before: generation 32 · debt 112 · shares 112


_buckets: HashMap[uint256, uint256]
_bitmaps: HashMap[uint256, uint256]
_levels: HashMap[uint256, uint256]
_live_levels: HashMap[uint256, uint256]


# ---------------------------------------------------------------------------------------------------------------- names


@internal
@pure
def _level_id(book: uint256, level: uint256) -> uint256:
    return book << 136 | level << 128


@internal
@pure
def _id(book: uint256, level: uint256, number: int256) -> uint256:
    """
    @notice The key of a bucket, or of a bitmap word: `number` counts either.
    """
    return book << 136 | level << 128 | convert(convert(number, bytes32), uint256) & (2**128 - 1)


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
    return fixed_point._log2(width * (scale * mark) // fixed_point.WAD)


@internal
@pure
def _narrower_level(level: uint256, width: uint256, scale: uint256, mark: uint256) -> uint256:
    """
    @notice The level of an account that adds no risk. Buckets filed at a higher price may be wide against the position
            now and close it early, so it moves to narrower ones; wider ones could close it at once, so never to those.
    @param level Where it is filed.
    """
    return min(level, self._level(width, scale, mark))


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
    # Sums that do not fit are refused when they are packed, long before they could overflow.
    bucket.shares = unsafe_add(bucket.shares, shares)
    bucket.debt = unsafe_add(bucket.debt, filing.debt)
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
    word: int256 = bucket >> 8
    id: uint256 = self._id(book, level, word)
    bits: uint256 = self._bitmaps[id]
    self._bitmaps[id] = bits | self._bit(bucket)
    if bits == 0:
        level_id: uint256 = self._level_id(book, level)
        entry: packing.Level = packing._unpack_level(self._levels[level_id])
        if entry.live == 0:
            self._live_levels[book] |= 1 << level
            entry.top = word
        entry.top = max(entry.top, word)
        entry.live += 1
        self._levels[level_id] = packing._pack_level(entry)


@internal
def _sleep(book: uint256, level: uint256, bucket: int256):
    """
    @notice Unmarks a bucket that became empty; its generation stays.
    """
    id: uint256 = self._id(book, level, bucket >> 8)
    bits: uint256 = self._bitmaps[id] ^ self._bit(bucket)
    self._bitmaps[id] = bits
    if bits == 0:
        level_id: uint256 = self._level_id(book, level)
        entry: packing.Level = packing._unpack_level(self._levels[level_id])
        entry.live -= 1
        if entry.live == 0:
            entry.top = 0
            self._live_levels[book] ^= 1 << level
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
    return word << 8 | convert(fixed_point._log2(bits), int256)


@internal
@pure
def _next(word: int256, bits: uint256, bucket: int256) -> int256:
    """
    @notice The highest bucket set in a bitmap word of which only buckets under `bucket` are left; the neighbours are tried
            first, because crowds stand close.
    """
    below: uint256 = bits << convert(bucket & 255 ^ 255, uint256)
    for step: int256 in range(1, NEIGHBOURS + 1):
        below <<= 1
        if below >> 255 == 1:
            return unsafe_sub(bucket, step)  # bucket numbers fit 128 bits
    return self._highest(word, bits)


@internal
@view
def _top(book: uint256, level: uint256) -> int256:
    """
    @notice No live bucket of a live level is above this one.
    """
    word: int256 = packing._unpack_level(self._levels[self._level_id(book, level)]).top
    return self._highest(word, self._bitmaps[self._id(book, level, word)])


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
         looked at: if its bucket is live it is summed, and so are the next ones of its word while they stand above every
         other cursor; if not, the cursor falls to the next live bucket of the word, or under the word. Buckets of different
         levels with the same upper edge are summed together or not at all.
    @param index The index at which `value` is stated, 36 digits.
    @param ceiling Buckets with an upper edge above it do not count: a preview's earlier move has closed them.
    @param max_buckets Buckets that may be summed (a tie may exceed it).
    @param max_words Looks that may find no bucket to sum. (Those by which the cursors are set are one a level.)
    """
    scan: Scan = Scan(shares=0, value=0, buckets=0, threshold=threshold, stopped=False, words=0)
    cursors: int256[MAX_LEVELS] = empty(int256[MAX_LEVELS])  # upper edge << 8 | level, so they compare by edge
    levels: uint256 = 0
    mask: uint256 = self._live_levels[book]
    for _: uint256 in range(MAX_LEVELS):
        if mask == 0:
            break
        level: uint256 = fixed_point._log2(mask)
        mask ^= 1 << level
        cursors[levels] = self._upper_edge(level, self._top(book, level)) << 8 | convert(level, int256)
        levels += 1

    debt: uint256 = 0
    last_edge: int256 = max_value(int256)
    for _: uint256 in range(MAX_LOOKS):
        # The level whose cursor stands highest, and where the next one's stands.
        highest: int256 = min_value(int256)
        next: int256 = min_value(int256)
        at: uint256 = 0
        for i: uint256 in range(levels, bound=MAX_LEVELS):
            cursor: int256 = cursors[i]
            if cursor > highest:
                next = highest
                highest = cursor
                at = i
            elif cursor > next:
                next = cursor
        edge: int256 = highest >> 8
        if edge <= threshold:
            break
        next_edge: int256 = max(next >> 8, threshold)

        # The live buckets at and under that cursor, as far as its word and the other cursors reach.
        level: uint256 = convert(highest & 255, uint256)
        bucket: int256 = (edge >> level) - 1
        word: int256 = bucket >> 8
        level_id: uint256 = self._level_id(book, level)
        bits: uint256 = self._bitmaps[self._id(book, level, word)]
        bits &= max_value(uint256) >> convert(255 - (bucket & 255), uint256)
        live: int256 = self._highest(word, bits)
        if live != bucket:
            if scan.words >= max_words and edge < last_edge:
                scan.stopped = True
                scan.threshold = edge
                break
            scan.words += 1
        else:
            for __: uint256 in range(256):
                if edge <= ceiling:
                    if scan.buckets >= max_buckets and edge < last_edge:
                        scan.stopped = True
                        scan.threshold = edge
                        break
                    id: uint256 = level_id | convert(convert(live, bytes32), uint256) & (2**128 - 1)
                    summed: packing.Bucket = packing._unpack_bucket(self._buckets[id])
                    # None of these can overflow: every bucket is a part of its side, and shares * index < 2**250 for
                    # all of that (`packing`).
                    scan.shares = unsafe_add(scan.shares, summed.shares)
                    scan.value = unsafe_add(
                        scan.value, unsafe_mul(convert(summed.shares, int256), unsafe_sub(index, live << level))
                    )
                    debt = unsafe_add(debt, summed.debt)
                    scan.buckets = unsafe_add(scan.buckets, 1)
                    last_edge = edge
                bits ^= 1 << convert(live & 255, uint256)
                live = self._next(word, bits, live)
                edge = unsafe_add(live, 1) << level
                if bits == 0 or edge <= next_edge:
                    break
            if scan.stopped:
                break
        cursors[at] = self._upper_edge(level, live) << 8 | convert(level, int256)
    scan.value -= convert(debt * fixed_point.INDEX_UNIT, int256)
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
        level: uint256 = fixed_point._log2(mask)
        mask ^= 1 << level
        left: int256 = self._close_level(book, level, threshold)
        if left == NOTHING_LEFT:
            kept ^= 1 << level
        top = max(top, left)
    self._live_levels[book] = kept
    return top


@internal
def _close_level(book: uint256, level: uint256, threshold: int256) -> int256:
    """
    @return An upper bound of the upper edges left live on this level; NOTHING_LEFT if none is.
    """
    level_id: uint256 = self._level_id(book, level)
    entry: packing.Level = packing._unpack_level(self._levels[level_id])
    lowest: int256 = threshold >> level  # (b + 1) * 2**level > threshold  <=>  b >= floor(threshold / 2**level)
    bits: uint256 = 0
    for _: uint256 in range(MAX_LOOKS):
        id: uint256 = self._id(book, level, entry.top)
        bits = self._bitmaps[id]
        closing: uint256 = 0
        if entry.top > lowest >> 8:
            closing = bits
        elif entry.top == lowest >> 8:
            closing = bits & max_value(uint256) << convert(lowest & 255, uint256)
        if closing != 0:
            self._close_word(level_id, entry.top, closing)
            bits ^= closing
            self._bitmaps[id] = bits
            if bits == 0:
                entry.live -= 1
        if bits != 0 or entry.live == 0 or entry.top <= lowest >> 8:
            break
        entry.top -= 1
    if entry.live == 0:
        self._levels[level_id] = 0
        return NOTHING_LEFT
    self._levels[level_id] = packing._pack_level(entry)
    return self._upper_edge(level, self._highest(entry.top, bits))


@internal
def _close_word(level_id: uint256, word: int256, closing: uint256):
    """
    @notice Empties the buckets of one bitmap word whose bits are set in `closing`, which is not zero.
    """
    bits: uint256 = closing
    bucket: int256 = self._highest(word, bits)
    for _: uint256 in range(256):
        id: uint256 = level_id | convert(convert(bucket, bytes32), uint256) & (2**128 - 1)
        held: uint256 = self._buckets[id]
        self._buckets[id] = packing._next_generation(held)
        log BucketClosed(bucket_id=id, held=held)
        bits ^= 1 << convert(bucket & 255, uint256)
        if bits == 0:
            break
        bucket = self._next(word, bits, bucket)
