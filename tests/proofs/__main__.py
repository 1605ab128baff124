"""`python -m tests.proofs`: run and print every proof."""

from tests.proofs.catalogue import show

show()
