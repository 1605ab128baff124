"""Deploy a market with everything around it, mock token and mock price feed included; print and save the addresses."""

import json
from decimal import Decimal
from pathlib import Path

import click
from rich.console import Console

from prorata.ape_chain import ApeChain
from prorata.chain import Reverted
from prorata.cli import BadInput, Command, DecimalRange
from prorata.exchange import Exchange
from prorata.units import to_wad


@click.command(cls=Command)
@click.option(
    "--price", type=DecimalRange("PRICE", Decimal("1.1e-9"), Decimal(1_200_000)), default="1000", help="First price."
)
@click.option("--decimals", type=click.IntRange(0, 18), default=18, help="Decimals of the collateral token.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default="out/deployment.json", help="Where to save."
)
def cli(price: Decimal, decimals: int, out: Path) -> None:
    """Deploy a market to the connected chain and save its addresses as JSON."""
    try:
        mark = to_wad(price)
    except ValueError as error:
        raise BadInput(str(error)) from None
    chain = ApeChain()
    try:
        exchange = Exchange.deploy(chain, mark, decimals=decimals)
    except Reverted as revert:
        raise click.ClickException(f"the deployment was refused: {revert.reason}") from None
    saved = {
        "network": chain.network,
        "chain_id": chain.chain_id,
        "block_timestamp": chain.now,
        "price": str(mark),
        "decimals": decimals,
        **exchange.addresses.as_dict(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(saved, indent=2) + "\n")
    console = Console()
    for name, value in saved.items():
        console.print(f"{name:16} {value}", highlight=False)
    console.print(f"saved to {out}", highlight=False)
