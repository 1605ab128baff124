"""The same shocks under the known rules: who pays for what losers cannot pay.

One module a rule, each written from its published algebra and cited there. `book.py` is what they settle, `shocks.py`
what happens to it, `metrics.py` what is compared, `comparison.py` and `tables.py` make `ape run compare` of it.
"""

from __future__ import annotations

from prorata.rules.adl import AutoDeleveraging, binance_rank, hyperliquid_rank
from prorata.rules.both_sides import BothSides
from prorata.rules.clawback import WeeklyClawback
from prorata.rules.emergency import EmergencySettlement
from prorata.rules.junior import JuniorProfit
from prorata.rules.per_side import LossPerSide
from prorata.rules.rule import Rule
from prorata.rules.settlement import ProRata

_HYPERLIQUID = "hyperliquid.gitbook.io/hyperliquid-docs/trading/auto-deleveraging"

RULES: tuple[Rule, ...] = (
    ProRata(),
    AutoDeleveraging("adl-hyperliquid", "ADL, Hyperliquid's queue", _HYPERLIQUID, hyperliquid_rank),
    AutoDeleveraging(
        "adl-hyperliquid-documented",
        "ADL, Hyperliquid, previous mark",
        _HYPERLIQUID,
        hyperliquid_rank,
        at_previous_mark=True,
    ),
    AutoDeleveraging("adl-binance", "ADL, Binance's queue", "binance.com/en/support/faq/360033525471", binance_rank),
    LossPerSide(),
    EmergencySettlement(),
    BothSides(),
    WeeklyClawback(),
    JuniorProfit(),
)

__all__ = ["RULES", "Rule"]
