# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Mock puppet
@license AGPL-3.0-only
@notice A contract that does what anybody tells it: it signs orders by ERC-1271, takes that back, and makes a call out of
        the middle of calls that others make to it. For tests and local chains.
"""

MAGIC: constant(bytes4) = 0x1626ba7e  # of ERC-1271
# For the call in the middle: one that is refused for writing in a static call takes all it is given.
GIVEN: constant(uint256) = 2_000_000

refused_digest: public(bytes32)
target: public(address)
payload: public(Bytes[1024])
# How often the call in the middle went through.
successes: public(uint256)


@external
def forward(target: address, payload: Bytes[1024]):
    """
    @notice Makes a call.
    """
    raw_call(target, payload)


@external
def arm(target: address, payload: Bytes[1024]):
    """
    @notice The call to be made in the middle of another; once, where there is something to remember it by.
    """
    self.target = target
    self.payload = payload


@external
def refuse(digest: bytes32):
    """
    @notice The one order that it does not sign.
    """
    self.refused_digest = digest


@external
def tokens_move():
    """
    @notice What a token with hooks calls.
    """
    if self.target != empty(address):
        target: address = self.target
        self.target = empty(address)
        if raw_call(target, self.payload, gas=GIVEN, revert_on_failure=False):
            self.successes += 1


@external
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    """
    @notice ERC-1271: yes to everything but the order that is refused. Not a view: it tries its call first.
    """
    if self.target != empty(address):
        done: bool = raw_call(self.target, self.payload, gas=GIVEN, revert_on_failure=False)
    if digest == self.refused_digest:
        return empty(bytes4)
    return MAGIC
