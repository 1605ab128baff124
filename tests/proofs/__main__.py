"""`python -m tests.proofs [NAME]...`: run and print proofs; without a name, all of them."""

import sys

from tests.proofs.catalogue import show

try:
    show(sys.argv[1:])
except LookupError as unknown:
    print(f"{unknown.args[0]}; SPECIFICATION.md lists them", file=sys.stderr)
    sys.exit(2)
