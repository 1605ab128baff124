"""Contradictions between parameters: each refused by name one step beyond its boundary, and accepted on it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import astuple, replace
from functools import partial
from typing import Any

import pytest

from prorata.boa_chain import BoaChain
from prorata.embedded import CONTRACTS
from prorata.parameters import MarketParameters, VaultParameters

WAD = 10**18
PERCENT = WAD // 100

#: Round numbers with room on every side, so that a test may move one without tripping over another.
SOUND = MarketParameters(
    initial_margin=10 * PERCENT,
    maintenance_margin=5 * PERCENT,
    closeout_margin=PERCENT,
    bucket_width=PERCENT // 10,
    fee_rate=PERCENT // 10,
    price_band=5 * PERCENT,
    min_notional=WAD,
    max_staleness=3600,
    max_buckets=128,
    max_words=256,
    max_price_step=10 * PERCENT,
    step_interval=12,
    liquidation_fee=PERCENT,
    liquidator_share=50 * PERCENT,
    premium_retention=WAD - WAD // 28_800,
    max_funding=PERCENT // 2,
    margin_slope=PERCENT // 10,
    oi_multiple=20 * WAD,
    cooloff=3600,
    oracle_grace=86_400,
)

SOURCE = """
from interfaces import IPerpetualMarket
from modules import parameters

@external
@pure
def check(p: IPerpetualMarket.Parameters):
    parameters._check(p)
"""


@pytest.fixture(scope="module")
def check(chain: BoaChain) -> Callable[[MarketParameters], None]:
    read = partial(chain.call, chain.deploy_source(SOURCE), "check")
    return lambda parameters: read(astuple(parameters))


def test_the_defaults_are_sound(check: Callable[[MarketParameters], None]) -> None:
    check(MarketParameters())
    check(MarketParameters.guarded())
    check(SOUND)


#: What is changed: (the last value accepted, the first refused), by the reason.
BOUNDARIES: list[tuple[str, dict[str, int], dict[str, int]]] = [
    ("closeout margin is zero", {"closeout_margin": 1, "max_funding": 0}, {"closeout_margin": 0, "max_funding": 0}),
    (
        "bucket width not in 0.01 %..1 %",
        {"bucket_width": PERCENT // 100},
        {"bucket_width": PERCENT // 100 - 1},
    ),
    ("bucket width not in 0.01 %..1 %", {"bucket_width": PERCENT}, {"bucket_width": PERCENT + 1}),
    ("bucket width not in 0.01 %..1 %", {"bucket_width": PERCENT}, {"bucket_width": 2**256 - 1}),
    (
        "maintenance < closeout + 2 widths",
        {"maintenance_margin": 12 * PERCENT // 10},
        {"maintenance_margin": 12 * PERCENT // 10 - 1},
    ),
    (
        "maintenance < closeout + 2 widths",
        {"closeout_margin": 48 * PERCENT // 10},
        {"closeout_margin": 48 * PERCENT // 10 + 1},
    ),
    (
        "maintenance < closeout + 2 widths",
        {"maintenance_margin": 3 * PERCENT, "bucket_width": PERCENT},
        {"maintenance_margin": 3 * PERCENT - 1, "bucket_width": PERCENT},
    ),
    ("initial <= maintenance", {"initial_margin": 5 * PERCENT + 1}, {"initial_margin": 5 * PERCENT}),
    ("initial <= maintenance", {"maintenance_margin": 10 * PERCENT - 1}, {"maintenance_margin": 10 * PERCENT}),
    ("initial above 100 %", {"initial_margin": WAD}, {"initial_margin": WAD + 1}),
    ("initial above 100 %", {"initial_margin": WAD}, {"initial_margin": 2**256 - 1}),
    ("fee above maintenance", {"fee_rate": 5 * PERCENT}, {"fee_rate": 5 * PERCENT + 1}),
    ("fee above maintenance", {"fee_rate": 0}, {"fee_rate": 2**256 - 1}),
    ("price band not in (0, 50 %]", {"price_band": 1}, {"price_band": 0}),
    ("price band not in (0, 50 %]", {"price_band": WAD // 2}, {"price_band": WAD // 2 + 1}),
    ("minimum notional out of range", {"min_notional": 10**15}, {"min_notional": 10**15 - 1}),
    ("minimum notional out of range", {"min_notional": 2**96 - 1}, {"min_notional": 2**96}),
    ("settlement budget out of range", {"max_buckets": 128}, {"max_buckets": 129}),
    ("settlement budget out of range", {"max_buckets": 1}, {"max_buckets": 0}),
    ("settlement budget out of range", {"max_words": 320}, {"max_words": 321}),
    ("settlement budget out of range", {"max_words": 72}, {"max_words": 71}),
    ("price step not in (0, 50 %]", {"max_price_step": 1}, {"max_price_step": 0}),
    ("price step not in (0, 50 %]", {"max_price_step": WAD // 2}, {"max_price_step": WAD // 2 + 1}),
    ("step interval out of range", {"step_interval": 0}, {"step_interval": 2**256 - 1}),
    ("step interval out of range", {"step_interval": 86_400}, {"step_interval": 86_401}),
    ("liquidation fee above maintenance", {"liquidation_fee": 5 * PERCENT}, {"liquidation_fee": 5 * PERCENT + 1}),
    ("liquidation fee above maintenance", {"liquidation_fee": 0}, {"liquidation_fee": 2**256 - 1}),
    ("liquidator share above 100 %", {"liquidator_share": WAD}, {"liquidator_share": WAD + 1}),
    ("liquidator share above 100 %", {"liquidator_share": 0}, {"liquidator_share": 2**256 - 1}),
    ("premium retention out of range", {"premium_retention": WAD // 2}, {"premium_retention": WAD // 2 - 1}),
    ("premium retention out of range", {"premium_retention": WAD - 1}, {"premium_retention": WAD}),
    ("max funding above closeout margin", {"max_funding": PERCENT}, {"max_funding": PERCENT + 1}),
    ("max funding above closeout margin", {"max_funding": 0}, {"max_funding": 2**256 - 1}),
    ("margin slope above 100 %", {"margin_slope": WAD}, {"margin_slope": WAD + 1}),
    ("margin slope above 100 %", {"margin_slope": 0}, {"margin_slope": 2**256 - 1}),
    ("open interest multiple too large", {"oi_multiple": 2**96}, {"oi_multiple": 2**96 + 1}),
    ("open interest multiple too large", {"oi_multiple": 0}, {"oi_multiple": 2**256 - 1}),
    ("cooloff or grace out of range", {"cooloff": 2**32}, {"cooloff": 2**32 + 1}),
    ("cooloff or grace out of range", {"cooloff": 0}, {"cooloff": 2**256 - 1}),
    ("cooloff or grace out of range", {"oracle_grace": 3600}, {"oracle_grace": 3599}),
    ("cooloff or grace out of range", {"oracle_grace": 2**32}, {"oracle_grace": 2**32 + 1}),
]


@pytest.mark.parametrize(("reason", "accepted", "refused"), BOUNDARIES)
def test_boundary(
    check: Callable[[MarketParameters], None],
    refuses: Callable[[str], Any],
    reason: str,
    accepted: dict[str, int],
    refused: dict[str, int],
) -> None:
    check(replace(SOUND, **accepted))
    with refuses(f"parameters: {reason}"):
        check(replace(SOUND, **refused))


def test_every_reason_has_its_boundary() -> None:
    """Of every contradiction that parameters alone can show; the others are in `TestDeployment`."""
    texts = re.findall(r'"parameters: (.+)"', (CONTRACTS / "modules" / "errors.vy").read_text())
    named = re.findall(r"errors\.(PARAMETERS_\w+)", (CONTRACTS / "modules" / "parameters.vy").read_text())
    assert {reason for reason, _, _ in BOUNDARIES} <= set(texts)
    assert len({reason for reason, _, _ in BOUNDARIES}) == len(set(named))


@pytest.mark.parametrize("guardian", ["0x" + "00" * 20, "0x" + "ff" * 20])
def test_anybody_may_be_guardian(check: Callable[[MarketParameters], None], guardian: str) -> None:
    check(replace(SOUND, guardian=guardian))


def test_no_words_at_all_are_refused(check: Callable[[MarketParameters], None], refuses: Callable[[str], Any]) -> None:
    with refuses("parameters: settlement budget out of range"):
        check(replace(SOUND, max_words=0))


class TestDeployment:
    """What cannot be seen in the parameters alone."""

    @staticmethod
    def market(
        chain: BoaChain,
        parameters: MarketParameters = SOUND,
        vault: VaultParameters | None = None,
        vault_market: str | None = None,
        vault_decimals: int | None = None,
        trading: MarketParameters | None = None,
    ) -> None:
        """A market; a vault that insures `vault_market`, in a token of its own if `vault_decimals` is given; a
        trading logic for `trading`."""
        vault = vault or VaultParameters()
        token = chain.deploy("MockToken", 18)
        feed = chain.deploy("MockAggregator", 18, 1000 * WAD)
        logic = chain.deploy("TradingLogic", feed.address, (trading or parameters).as_tuple())
        asset = token if vault_decimals is None else chain.deploy("MockToken", vault_decimals)
        market = chain.next_address(0, skip=1)
        insurance = chain.deploy("InsuranceVault", asset.address, vault_market or market, *vault.as_tuple())
        contracts = (token, feed, insurance, logic)
        chain.deploy("PerpetualMarket", *(contract.address for contract in contracts), parameters.as_tuple())

    def test_accepts_a_sound_market(self, chain: BoaChain) -> None:
        with chain.anchor():
            self.market(chain)

    def test_checks_its_parameters(self, chain: BoaChain, refuses: Callable[[str], Any]) -> None:
        with chain.anchor(), refuses("parameters: initial <= maintenance"):
            self.market(chain, replace(SOUND, initial_margin=SOUND.maintenance_margin))

    def test_refuses_a_staleness_of_zero(self, chain: BoaChain, refuses: Callable[[str], Any]) -> None:
        with chain.anchor(), refuses("parameters: staleness is zero"):
            self.market(chain, replace(SOUND, max_staleness=0))

    def test_refuses_a_vault_of_another_market(self, chain: BoaChain, refuses: Callable[[str], Any]) -> None:
        with chain.anchor(), refuses("parameters: vault belongs to another market"):
            self.market(chain, vault_market=chain.address(1))

    def test_refuses_a_vault_of_another_token(self, chain: BoaChain, refuses: Callable[[str], Any]) -> None:
        with chain.anchor(), refuses("parameters: vault holds another token"):
            self.market(chain, vault_decimals=18)

    def test_refuses_trading_logic_of_another_market(self, chain: BoaChain, refuses: Callable[[str], Any]) -> None:
        with chain.anchor(), refuses("parameters: trading logic of another market"):
            self.market(chain, trading=replace(SOUND, max_buckets=SOUND.max_buckets + 1))

    @pytest.mark.parametrize(("accepted", "refused"), [(1, 0), (WAD * 9 // 10, WAD * 9 // 10 + 1)])
    def test_draw_cap(self, chain: BoaChain, refuses: Callable[[str], Any], accepted: int, refused: int) -> None:
        with chain.anchor():
            self.market(chain, vault=VaultParameters(draw_cap=accepted))
        with chain.anchor(), refuses("parameters: draw cap not in (0, 90 %]"):
            self.market(chain, vault=VaultParameters(draw_cap=refused))

    def test_draw_window(self, chain: BoaChain, refuses: Callable[[str], Any]) -> None:
        with chain.anchor():
            self.market(chain, vault=VaultParameters(draw_window=1))
        with chain.anchor(), refuses("parameters: draw window is zero"):
            self.market(chain, vault=VaultParameters(draw_window=0))
