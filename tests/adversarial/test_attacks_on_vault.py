"""Attacks on the insurance vault: none gains more than its bound, and without the defence it fails at it does."""

from __future__ import annotations

import pytest

from prorata.attacks import orders, vault
from prorata.attacks.attack import DUST, Attack
from prorata.units import WAD
from tests.adversarial.strikes import searched, struck, without
from tests.mutation.planted import Patch

ATTACKS: tuple[type[Attack], ...] = (
    vault.JustInTimeInsurance,
    vault.AheadOfSurplus,
    vault.RecoverySnipe,
    vault.ExitBeforeKnownLoss,
    vault.ExitAheadOfOracle,
    vault.StandingRequest,
    vault.RequestAddedTo,
    vault.FirstDepositor,
    vault.Donation,
    vault.WipedOut,
    vault.WindowBoundary,
    vault.DustWindow,
    vault.BankRun,
)


@pytest.mark.parametrize(
    ("attack", "setting"),
    [pytest.param(attack, setting, id=f"{attack.name}-{setting}") for attack in ATTACKS for setting in attack.settings],
)
def test_gains_no_more_than_its_bound(attack: type[Attack], setting: str) -> None:
    found = searched(attack, setting)
    assert found.tried >= 24
    assert set(found.refused) <= set(attack.expects)
    assert found.within_bound, f"{found.gain} > {found.bound} by {found.parameters}, paid by {found.payers}"
    assert found.payer != "nobody" or found.gain <= DUST


class TestWhatTheDesignDoesNotPrevent:
    """A price that only the oracle knows, and gaps beyond a margin: these gain, and others pay."""

    @pytest.mark.parametrize(
        ("attack", "payer"),
        [(vault.AheadOfSurplus, "insurance"), (vault.ExitAheadOfOracle, "shorts"), (vault.DustWindow, "shorts")],
    )
    def test_where_steps_may_be_large(self, attack: type[Attack], payer: str) -> None:
        found = searched(attack, "open")
        assert DUST < found.gain <= found.bound
        assert found.payer == payer

    @pytest.mark.parametrize("attack", [vault.ExitAheadOfOracle, vault.DustWindow])
    def test_where_steps_stay_within_the_close_out_margin(self, attack: type[Attack]) -> None:
        found = searched(attack, "guarded")
        assert found.gain < WAD and not found.refused  # of a dust account's own


# ------------------------------------------------------------------------------------------------------ weakened vaults

_VAULT, _RESERVE = "InsuranceVault.vy", "modules/reserve.vy"
_LESSER = "return min(redemptions._capped(request, shares), self._assets_for(shares, self._total_assets(), False))"
#: Entry and exit do not settle, and what is put to a request adds its value.
BLIND = (
    Patch(
        _VAULT,
        "    self._settle()\n    core: IPerpetualMarket.Core = staticcall IPerpetualMarket(market).core()\n",
        "    core: IPerpetualMarket.Core = staticcall IPerpetualMarket(market).core()\n",
    ),
    Patch(
        _VAULT,
        "    self._settle()\n"
        "    request: redemptions.Request = redemptions._claim(controller)\n"
        "    assets: uint256 = self._value_of(request, shares)\n",
        "    request: redemptions.Request = redemptions._claim(controller)\n"
        "    assets: uint256 = self._value_of(request, shares)\n",
    ),
    Patch(
        _VAULT,
        "worth: uint256 = self._assets_for(requested, self._total_assets(), False)",
        "worth: uint256 = redemptions.redeem_request[controller].worth"
        " + self._assets_for(shares, self._total_assets(), False)",
    ),
)
#: A request brings its value when made, every draw opens a window of its own, and redemptions, not locked, pay first.
GENEROUS = (
    Patch(_VAULT, _LESSER, "return redemptions._capped(request, shares)"),
    Patch(_RESERVE, "    return start == 0 or block.timestamp - start >= draw_window\n", "    return True\n"),
    Patch(_VAULT, "@nonreentrant\ndef redeem(", "def redeem("),
    Patch(
        _VAULT,
        "    redemptions._reduce(controller, request, shares)\n    erc20._burn(self, shares)\n",
        "    tokens._push(asset, receiver, assets)\n"
        "    redemptions._reduce(controller, request, shares)\n"
        "    erc20._burn(self, shares)\n",
    ),
    Patch(
        _VAULT,
        "    reserve._release(assets)\n    tokens._push(asset, receiver, assets)\n",
        "    reserve._release(assets)\n",
    ),
)
#: A request brings its value now, shares are as in the simplest ERC-4626, and whatever is there counts.
SIMPLE = (
    Patch(_VAULT, _LESSER, "return self._assets_for(shares, self._total_assets(), False)"),
    Patch(
        _VAULT,
        "math._mul_div(assets, erc20.totalSupply + SHARE_OFFSET, total_assets + 1, roundup)",
        "math._mul_div(assets, max(erc20.totalSupply, 1), max(total_assets, 1), roundup)",
    ),
    Patch(
        _VAULT,
        "math._mul_div(shares, total_assets + 1, erc20.totalSupply + SHARE_OFFSET, roundup)",
        "math._mul_div(shares, max(total_assets, 1), max(erc20.totalSupply, 1), roundup)",
    ),
    Patch(
        _VAULT,
        "    errors._require(extcall IPerpetualMarket(market).settle(), errors.MODE_CATCH_UP)\n",
        "    errors._require(extcall IPerpetualMarket(market).settle(), errors.MODE_CATCH_UP)\n"
        "    reserve._receive(tokens._balance(asset, self) - reserve._held())\n",
    ),
)


def check(name: str, patches: tuple[Patch, ...], attack: type[Attack], setting: str, **knobs: float) -> None:
    """The same strike is within its bound on the market, and above it on the weakened one."""
    found = struck(without(name, "InsuranceVault", patches), attack, setting, knobs)
    assert not found.refused
    assert found.gain > found.bound + WAD // 1000


@pytest.mark.xdist_group("weakened vault")
class TestBrokenDefences:
    def test_without_settlement_before_entry(self) -> None:
        check("blind-vault", BLIND, vault.JustInTimeInsurance, "open", stake=100_000.0, fall=0.95)

    def test_without_settlement_before_exit(self) -> None:
        check("blind-vault", BLIND, vault.ExitBeforeKnownLoss, "open", part=1.0, fall=0.7)

    def test_if_requests_were_added_up(self) -> None:
        check("blind-vault", BLIND, vault.RequestAddedTo, "open", old=10_000.0, new=10_000.0, times=3)

    def test_if_a_request_brought_its_value_when_made(self) -> None:
        check("generous-vault", GENEROUS, vault.StandingRequest, "open", fall=0.7, times=0, late=0.5)

    def test_if_every_draw_opened_a_window(self) -> None:
        check("generous-vault", GENEROUS, vault.WindowBoundary, "open", size=30, wait=0.0, fall=0.7)

    def test_if_a_request_brought_its_value_now(self) -> None:
        check("simple-vault", SIMPLE, vault.RecoverySnipe, "open", stake=50_000.0, early=1, times=4)

    def test_without_virtual_shares(self) -> None:
        check("simple-vault", SIMPLE, vault.FirstDepositor, "open", first=10, burnt=50.0, victim=70.0)

    def test_if_donations_counted(self) -> None:
        check(
            "simple-vault",
            SIMPLE,
            vault.Donation,
            "open",
            first=10,
            to_vault=1000.0,
            to_market=0.0,
            victim=1500.0,
        )

    def test_if_redemptions_paid_first(self) -> None:
        weak = without("generous-vault", "InsuranceVault", GENEROUS)
        knobs = {"inner": 0, "again": 1.0, "part": 1.0}
        found = struck(weak, orders.ReentrantRedemption, "open", knobs)
        assert found.gain > 9_999 * WAD
        assert found.payers.keys() == {"insurance"}
