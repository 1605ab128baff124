# pragma version 0.4.3
"""
@title Reserve
@license AGPL-3.0-only
@notice What the insurance vault holds, and how much of it a disaster may take (design §7): per window at most the draw cap
        of what there was at the window's first draw, and never more than the cap of what is there now.

        | word    | high bits ......... low bits                      |
        |---------|---------------------------------------------------|
        | holding | window_start 128 · held 128                       |
        | window  | window_drawn 128 · window_assets 128              |

        No token has more than 2**121 quote here and with the market (`tokens.vy`), and a draw is never more than that.
"""

from . import errors
from . import fixed_point
from . import packing

draw_cap: public(immutable(uint256))  # of the assets at the window's first draw, 18 digits
draw_window: public(immutable(uint256))  # seconds

_holding: uint256
_window: uint256


@deploy
def __init__(cap: uint256, window: uint256):
    assert cap > 0 and cap <= fixed_point.WAD * 9 // 10, errors.PARAMETERS_DRAW
    assert window > 0, errors.PARAMETERS_WINDOW
    draw_cap = cap
    draw_window = window


@external
@view
def held() -> uint256:
    """
    @notice Token units received and not paid out.
    """
    return self._held()


@external
@view
def window_start() -> uint256:
    """
    @notice When the last window began, seconds; 0: nothing was ever drawn.
    """
    return self._holding >> 128


@external
@view
def window_assets() -> uint256:
    """
    @notice Quote there was at the window's first draw.
    """
    return self._low(self._window)


@external
@view
def window_drawn() -> uint256:
    """
    @notice Quote drawn in it.
    """
    return self._window >> 128


@internal
@pure
def _low(word: uint256) -> uint256:
    return word & (2**128 - 1)


@internal
@pure
def _pack(high: uint256, low: uint256) -> uint256:
    packing._require_room(high >> 128 | low >> 128)
    return high << 128 | low


@internal
@view
def _held() -> uint256:
    return self._low(self._holding)


@internal
def _receive(amount: uint256):
    word: uint256 = self._holding
    self._holding = self._pack(word >> 128, self._low(word) + amount)


@internal
def _release(amount: uint256):
    word: uint256 = self._holding
    self._holding = self._pack(word >> 128, self._low(word) - amount)


@internal
@view
def _drawable(assets: uint256) -> uint256:
    """
    @notice The most that may be drawn now, quote.
    @param assets What is there now, quote.
    """
    cap: uint256 = self._capped(assets)
    if self._window_is_over():
        return cap
    # Assets may have left since the window began: never more than the cap of what is here now.
    return min(self._capped(self._low(self._window)) - (self._window >> 128), cap)


@internal
def _draw(amount: uint256, assets: uint256) -> uint256:
    """
    @notice Counts a draw, in a new window if the last one is over.
    @return Drawn in the window, quote.
    """
    errors._require(amount <= self._drawable(assets), errors.VAULT_DRAW_CAP)
    window: uint256 = self._window
    if self._window_is_over():
        self._holding = self._pack(block.timestamp, self._held())
        window = self._pack(0, assets)
    drawn: uint256 = (window >> 128) + amount
    self._window = self._pack(drawn, self._low(window))
    return drawn


@internal
@view
def _window_is_over() -> bool:
    start: uint256 = self._holding >> 128
    # As a difference, because a window may be as long as it likes.
    return start == 0 or block.timestamp - start >= draw_window


@internal
@view
def _capped(assets: uint256) -> uint256:
    return assets * draw_cap // fixed_point.WAD
