"""An audit of a market from its event log: every account rebuilt eagerly, every number recomputed, nothing believed.

    auditor     all of it, for a market at an address; files, checkpoints
    replay      the log, transaction by transaction; its parts are `settling` (moves), `accounts` (deposits, fills,
                withdrawals, liquidations) and `insuring` (the vault), which share a `desk`
    eager       one move, settled account by account
    books       the state that the log implies; `rules` has the design's arithmetic
    reconcile   the state of the contracts against the books
    statement   what one account went through
    report      what was found, for people; `output` writes files that can be cut back

Nothing in here asks the contracts what a number should be.
"""
