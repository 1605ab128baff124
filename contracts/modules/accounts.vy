# pragma version 0.4.3
"""
@title Accounts
@license AGPL-3.0-only
@notice Loading an account folds everything that happened since its last touch into its collateral; storing it files it
        anew (design §2, §4). Between the two it is a value in memory whose collateral is its equity. A touch that changes
        nothing writes nothing, so touching costs an account nothing.
"""

from . import buckets
from . import fixed_point
from . import packing
from . import sides

uses: buckets
uses: sides

# Scales are rounded at every deleverage, so the two sides drift apart by dust, and the last two positions of a market
# would never quite close each other. A difference worth less than this part of the smallest position is none.
DUST_PART: constant(uint256) = 10**6


struct Account:
    collateral: uint256  # equity, quote, rounded down
    side: uint256
    shares: uint256  # 0: flat
    filing: buckets.Filing  # as stored; meaningless when flat


event AccountUpdated:
    account: indexed(address)
    collateral: uint256  # quote
    shares: uint256  # 0: flat
    bucket_id: uint256  # epoch 32 · side 1 · level 8 · bucket 128, as in BucketClosed; 0 if flat


_positions: HashMap[address, uint256]
_anchors: HashMap[address, uint256]


@internal
@view
def _state_for(owner: address) -> sides.State:
    """
    @notice What `_load` has to know to load an account: nothing for one that holds no position, not even one that is over.
    """
    if packing._has_shares(self._positions[owner]):
        return sides._load()
    return empty(sides.State)


@internal
@view
def _min_nonce(owner: address) -> uint256:
    """
    @notice Orders of the account with a lower nonce are void. Kept in the slot that a fill of its orders reads anyway.
    """
    return packing._min_nonce(self._positions[owner])


@internal
def _set_min_nonce(owner: address, min_nonce: uint256):
    position: packing.Position = packing._unpack_position(self._positions[owner])
    position.min_nonce = min_nonce
    self._positions[owner] = packing._pack_position(position)


@internal
@view
def _load(owner: address, state: sides.State) -> Account:
    """
    @notice The account at the present indices: flat and empty if its bucket was closed, flat if its epoch is over.
    """
    anchor: packing.Anchor = packing._unpack_anchor(self._anchors[owner])
    word: uint256 = self._positions[owner]
    account: Account = empty(Account)
    if not packing._has_shares(word):
        account.collateral = anchor.amount
        return account

    position: packing.Position = packing._unpack_position(word)
    filing: buckets.Filing = buckets.Filing(level=position.level, bucket=anchor.bucket, debt=anchor.amount)
    book: uint256 = sides._book(position.epoch, position.side)
    if buckets._generation(book, filing) != position.generation:
        return account

    if position.epoch < state.core.epoch:
        account.collateral = buckets._equity(position.shares, filing, sides._final_index[book])
        return account

    account.collateral = buckets._equity(position.shares, filing, state.sides[position.side].index)
    account.side = position.side
    account.shares = position.shares
    account.filing = filing
    return account


@internal
def _store(owner: address, old: Account, new: Account, level: uint256, epoch: uint256, index: int256) -> int256:
    """
    @notice Writes an account back and files it.
    @param old As loaded; `new` as it should stand. Side totals are the caller's business.
    @param level Where `new` is filed, if it has shares.
    @param index Of the side of `new`, 36 digits.
    @return The upper edge of its bucket, which the side's top must not lie under; NO_TOP if it is flat.
    """
    # A flat account's word keeps what it held but for the shares: to open a position in a slot that is not zero costs
    # 17,100 gas less.
    word: uint256 = packing._without_shares(self._positions[owner])
    filing: buckets.Filing = empty(buckets.Filing)
    amount: uint256 = new.collateral
    bucket_id: uint256 = 0
    edge: int256 = sides.NO_TOP

    if new.shares > 0:
        book: uint256 = sides._book(epoch, new.side)
        # More collateral never lifts an account to a higher bucket, whatever wei its debt and equity were rounded by.
        ceiling: int256 = max_value(int256)
        if new.shares == old.shares and new.side == old.side and new.collateral >= old.collateral:
            ceiling = (buckets._upper_edge(old.filing.level, old.filing.bucket) >> level) - 1
        filing = buckets._locate(level, new.shares, new.collateral, index, ceiling)
        amount = filing.debt
        bucket_id = buckets._id(book, level, filing.bucket)
        edge = buckets._upper_edge(level, filing.bucket)
        position: packing.Position = packing.Position(
            shares=new.shares,
            generation=0,
            epoch=epoch,
            level=level,
            side=new.side,
            min_nonce=packing._min_nonce(word),
        )
        if old.shares > 0 and old.side == new.side:
            position.generation = buckets._refile(book, old.filing, old.shares, filing, new.shares)
        else:
            position.generation = buckets._add(book, filing, new.shares)
        word = packing._pack_position(position)
    if old.shares > 0 and (new.shares == 0 or old.side != new.side):
        buckets._remove(sides._book(epoch, old.side), old.filing, old.shares)

    self._positions[owner] = word
    self._anchors[owner] = packing._pack_anchor(packing.Anchor(amount=amount, bucket=filing.bucket))
    log AccountUpdated(account=owner, collateral=new.collateral, shares=new.shares, bucket_id=bucket_id)
    return edge


@internal
@pure
def _trade(
    account: Account, is_long: bool, size: uint256, min_notional: uint256, scales: uint256[2], mark: uint256
) -> Account:
    """
    @notice The position after buying (long) or selling `size`: opened, increased, reduced, closed or turned over.
            Shares are rounded down on the way in and out; collateral is not touched.
    @param min_notional The smallest position, quote: sizes that differ by less than a millionth of it are the same.
    """
    side: uint256 = sides.SHORT
    if is_long:
        side = sides.LONG
    traded: Account = account
    if account.shares == 0 or account.side == side:
        traded.side = side
        traded.shares += size * fixed_point.WAD // scales[side]
        return traded

    held: uint256 = account.shares * scales[account.side] // fixed_point.WAD
    dust: uint256 = min_notional * fixed_point.WAD // (DUST_PART * mark)
    if size + dust < held:
        traded.shares -= size * fixed_point.WAD // scales[account.side]
    elif size <= held + dust:
        traded.shares = 0
    else:
        traded.side = side
        traded.shares = (size - held) * fixed_point.WAD // scales[side]
    return traded
