"""What `ape console` knows in this repository: on a local network, a market to play with (`prorata/playground.py`).

Nothing is deployed anywhere else. Ape asks for the names when the first one is typed; as an extension of IPython
(`console: plugins:` in ape-config.yaml) this module has it ask before the first prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ape.managers.accounts import AccountManager
    from ape.managers.networks import NetworkManager
    from ape.managers.project import ProjectManager
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Look for a name that is nowhere else, before somebody types one."""
    shell.user_ns.get("play")


def ape_init_extras(accounts: AccountManager, networks: NetworkManager, project: ProjectManager) -> dict[str, Any]:
    """The names that a session starts with; Ape hands over its own of the arguments' names."""
    provider = networks.active_provider
    if provider is None or not provider.network.is_local:
        print("prorata: not a local network, nothing was deployed; `--network ethereum:local:test` has a market")
        return {}
    # Here and not above: whoever looks at another network need not wait for them.
    from prorata.ape_chain import OUTAGES, ApeChain
    from prorata.chain import Reverted
    from prorata.parameters import MarketParameters
    from prorata.playground import ROLES, Playground

    try:
        play = Playground.open(ApeChain())
    except (*OUTAGES, Reverted, ValueError, LookupError) as error:
        # Ape would try again at every name that is typed, and take a LookupError for a name that is not there.
        print(f"prorata: no market, {provider.network_choice} would not have it: {error}")
        return {}
    deployed = play.exchange.addresses
    print(
        f"prorata: a market at {deployed.market}. move(800) is a crash, guide() says what there is;\n"
        f"{', '.join(ROLES)} are accounts, exchange drives the market;\n"
        "market, vault, token, feed and lens are Ape's contracts: market.withdraw(10**18, sender=trader)"
    )
    return {
        **play.verbs(),
        **{name: accounts.test_accounts[number] for name, number in ROLES.items()},
        "play": play,
        "exchange": play.exchange,
        "market": project.PerpetualMarket.at(deployed.market),
        "vault": project.InsuranceVault.at(deployed.vault),
        "token": project.MockToken.at(deployed.token),
        "feed": project.MockAggregator.at(deployed.feed),
        "lens": project.MarketLens.at(deployed.lens),
        "Playground": Playground,
        "MarketParameters": MarketParameters,
    }
