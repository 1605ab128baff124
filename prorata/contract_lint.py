"""natrix on the contracts and on every module: a part of `make lint`.

natrix looks at what it can compile: a module that only `uses` others cannot be compiled, and what a contract imports is
not looked at. So its rules are run here on the syntax trees of all that the contracts import, as the compiler has
annotated them. natrix has no way to accept a finding where it stands; those that are as they have to be stand below,
each with its reason. A finding that is not there fails, and so does an entry that is no longer found.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boa
from natrix.rules.common import RuleRegistry
from vyper.compiler.output import build_annotated_ast_dict, build_metadata_output

from prorata.embedded import CONTRACTS

#: Not `_argument`, natrix's default: here an underscore means internal. L and W are the design's losers and winners.
RULES = {"ArgNamingConvention": {"pattern": r"^([a-z]\w*|L|W)$"}}

#: Findings that are as they have to be: file, rule and what it is about.
ACCEPTED = {
    "It makes a call that changes state, which the rule does not see; the compiler would refuse `@view`.": (
        "InsuranceVault.vy NTX4 _settle",
        "InsuranceVault.vy NTX4 _settle_for_entry",
        "PerpetualMarket.vy NTX4 _delegate",
        "PerpetualMarket.vy NTX4 _settle",
        "PerpetualMarket.vy NTX4 cancel",
        "PerpetualMarket.vy NTX4 cancel_all",
        "PerpetualMarket.vy NTX4 fill",
        "PerpetualMarket.vy NTX4 fill_batch",
        "PerpetualMarket.vy NTX4 liquidate",
        "PerpetualMarket.vy NTX4 set_reduce_only",
        "PerpetualMarket.vy NTX4 settle",
        "PerpetualMarket.vy NTX4 wind_down",
        "TradingLogic.vy NTX4 _settled",
        "modules/tokens.vy NTX4 _pull",
        "modules/tokens.vy NTX4 _push",
    ),
    "Declared for the interface and the decoding of calldata; the trading logic is handed the calldata as it came.": (
        "PerpetualMarket.vy NTX10 cancel.order",
        "PerpetualMarket.vy NTX10 cancel_all.min_nonce",
        "PerpetualMarket.vy NTX10 fill.order",
        "PerpetualMarket.vy NTX10 fill.signature",
        "PerpetualMarket.vy NTX10 fill.size",
        "PerpetualMarket.vy NTX10 fill_batch.fills",
        "PerpetualMarket.vy NTX10 liquidate.owner",
        "PerpetualMarket.vy NTX10 liquidate.size",
        "PerpetualMarket.vy NTX10 set_reduce_only.on",
    ),
    "ERC-4626 prescribes the argument; the limit is the same for everybody.": (
        "InsuranceVault.vy NTX10 maxDeposit.receiver",
        "InsuranceVault.vy NTX10 maxMint.receiver",
    ),
    "ERC-4626 prescribes the argument, and ERC-7540 that it always reverts.": (
        "InsuranceVault.vy NTX10 previewRedeem.shares",
        "InsuranceVault.vy NTX10 previewWithdraw.assets",
    ),
    "It returns `self`, which a pure function must not read.": ("InsuranceVault.vy NTX5 share",),
    "The loop around it counts with `_`; nobody asks for the number of either.": ("modules/buckets.vy NTX8 __",),
}


def findings(data: Any, folder: Path) -> Iterator[tuple[str, str]]:
    """What natrix finds in a compiled contract and all it imports, as far as it lies in a folder.

    Yields:
        the finding as in ACCEPTED, and where it stands, in full.
    """
    functions = build_metadata_output(data)["function_info"].items()
    annotated = build_annotated_ast_dict(data)
    for tree in (annotated["ast"], *annotated["imports"]):
        path = Path(tree["resolved_path"])
        if path.suffix != ".vy" or not path.is_relative_to(folder):
            continue
        own = {name: one for name, one in functions if str(path).endswith(one["module_path"])}
        for rule in _rules():
            for issue in rule.run({"contract_name": str(path), "ast": tree, "metadata": {"function_info": own}}):
                quoted = re.findall(r"'(\w+)'", issue.message)
                subject = ".".join(quoted[:2] if "argument" in issue.message else quoted[:1])
                about = f"{path.relative_to(folder)} {issue.code} {subject}"
                yield about, f"{path}:{issue.position} {issue.code}: {issue.message}"


def judged(found: dict[str, str]) -> list[str]:
    """What has to be put right: new findings, and accepted ones that are gone."""
    accepted = {about for group in ACCEPTED.values() for about in group}
    new = [where for about, where in sorted(found.items()) if about not in accepted]
    return new + [f"accepted, but no longer found: {about}" for about in sorted(accepted - set(found))]


def _rules() -> Any:
    RuleRegistry.discover_rules()
    return RuleRegistry.get_rules(RULES)


def main() -> int:
    """Lint the contracts."""
    found = dict[str, str]()
    for path in sorted(CONTRACTS.glob("*.vy")):
        found |= findings(boa.load_partial(str(path)).compiler_data, CONTRACTS)
    wrong = judged(found)
    print("\n".join(wrong) if wrong else f"natrix: {len(found)} findings, all accepted with a reason")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
