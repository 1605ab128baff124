"""Millions of random operations on the compiled contracts, each judged: `make fuzz STEPS=10000000`.

`run` is one random market and its life; `rules` proposes operations; `judge` settles every move again, account by
account, and checks every guarantee after every operation; `trials` tries what needs two futures of one market; `audit`
runs some operations on the exact-rational model as well.
"""
