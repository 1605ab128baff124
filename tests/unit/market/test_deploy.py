"""Deployment: what is fixed for good, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from rlp import encode as rlp_encode

from prorata.chain import Contract, Reverted
from prorata.embedded import CONTRACTS, EmbeddedChain, compile_contract
from prorata.exchange import Exchange, SideState
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD, ZERO_ADDRESS

MARK = 1000 * WAD
CODE_LIMIT = 24_576  # EIP-170
INITCODE_LIMIT = 49_152  # EIP-3860
STALENESS = MarketParameters().max_staleness

CODE_SIZE = """
# pragma version 0.4.3
@external
@view
def of(contract: address) -> uint256:
    return contract.codesize
"""

# A constructor's events can only be seen in the transaction of a contract that creates.
CREATOR = """
# pragma version 0.4.3
created: public(address)

@external
def create(code: Bytes[49152]):
    self.created = raw_create(code)
"""

# Says whatever the market wants to hear of its vault.
YES_VAULT = """
# pragma version 0.4.3
market: public(address)
asset: public(address)

@deploy
def __init__(market: address, asset: address):
    self.market = market
    self.asset = asset
"""


# Says whatever the market wants to hear of its trading logic.
YES_LOGIC = """
# pragma version 0.4.3
terms_hash: public(bytes32)

@deploy
def __init__(terms_hash: bytes32):
    self.terms_hash = terms_hash
"""


def deploy_market(
    chain: EmbeddedChain,
    token: Contract,
    feed: Contract,
    insurance: Contract,
    parameters: MarketParameters,
    trading: str | None = None,
) -> Contract:
    """A market; with a trading logic of its own in the transaction before, unless one is given."""
    trading = trading or deploy_logic(chain, feed, parameters).address
    addresses = [contract.address for contract in (token, feed, insurance)]
    return chain.deploy("PerpetualMarket", *addresses, trading, parameters.as_tuple())


def deploy_logic(chain: EmbeddedChain, feed: Contract, parameters: MarketParameters) -> Contract:
    """A trading logic for markets with this feed and these parameters."""
    return chain.deploy("TradingLogic", feed.address, parameters.as_tuple())


def deploy_vault(chain: EmbeddedChain, token: Contract, skip: int = 0) -> Contract:
    """A vault for the market that is deployed `skip` deployments after its trading logic, which comes next."""
    market = chain.next_address(0, skip=2 + skip)
    return chain.deploy("InsuranceVault", token.address, market, *VaultParameters().as_tuple())


def hash_of(feed: Contract, parameters: MarketParameters) -> bytes:
    """By which a market knows its trading logic: of feed and parameters, as the ABI encodes them."""
    values = parameters.as_tuple()
    return keccak(encode(["address", f"({'uint256,' * (len(values) - 1)}address)"], [feed.address, values]))


def test_is_fixed_as_told(each_twin: Callable[..., Twin]) -> None:
    vault = {"draw_cap": WAD // 3, "draw_window": 4321, "redeem_cooldown": 567, "redeem_window": 89}
    exchange = each_twin(fee_rate=WAD // 1234, max_buckets=77, **vault).exchange
    chain, addresses = exchange.chain, exchange.addresses
    assert chain.call(exchange.market, "TOKEN") == addresses.token
    assert chain.call(exchange.market, "INSURANCE") == addresses.vault
    assert chain.call(exchange.market, "feed") == addresses.feed
    assert chain.call(exchange.market, "TRADING") == addresses.trading
    assert chain.call(exchange.market, "TOKEN_SCALE") == exchange.unit
    expected = MarketParameters(fee_rate=WAD // 1234, max_buckets=77)
    assert chain.call(exchange.market, "parameters") == expected.as_tuple()

    assert chain.call(exchange.vault, "asset") == addresses.token
    assert chain.call(exchange.vault, "market") == addresses.market
    assert {name: chain.call(exchange.vault, name) for name in vault} == vault
    assert chain.call(exchange.vault, "decimals") == exchange.decimals + 6


def test_starts_empty_at_the_oracle_price(twin_everywhere: Callable[..., Twin]) -> None:
    exchange = twin_everywhere(mark=1234 * WAD + 5).exchange
    assert exchange.mark == 1234 * WAD + 5
    assert exchange.epoch == exchange.insurance_owed == exchange.vault_assets == 0
    for side in (LONG, SHORT):
        assert exchange.side(side) == SideState(shares=0, scale=WAD, index=0, open_interest=0)


@pytest.mark.parametrize(
    ("feed_decimals", "answer"), [(0, 1000), (8, 1000 * 10**8 + 1), (18, MIN_PRICE), (18, MAX_PRICE)]
)
def test_scales_the_first_mark_to_18_digits(feed_decimals: int, answer: int) -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", feed_decimals, answer)
    market = deploy_market(chain, token, feed, deploy_vault(chain, token), MarketParameters())
    assert chain.call(market, "mark") == chain.call(market, "index_price") == answer * 10 ** (18 - feed_decimals)


def test_logs_what_it_fixed() -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 6)
    feed = chain.deploy("MockAggregator", 18, MARK)
    creator = chain.deploy_source(CREATOR)
    created = keccak(rlp_encode([to_canonical_address(creator.address), 1]))[12:]
    market = chain.at("PerpetualMarket", to_checksum_address(created))
    vault = chain.deploy("InsuranceVault", token.address, market.address, *VaultParameters().as_tuple())
    given = MarketParameters.guarded(guardian=chain.address(7))
    trading = deploy_logic(chain, feed, given)
    interface, code = compile_contract("PerpetualMarket")
    parameters = given.as_tuple()
    *numbers, guardian = parameters
    contracts = (token, feed, vault, trading)
    arguments = interface.constructor((*(contract.address for contract in contracts), parameters))

    transaction = chain.transact(creator, "create", code + arguments, sender=0)

    (log,) = transaction.logs
    assert (log.address, log.name) == (market.address, "Deployed")
    *logged_numbers, logged_guardian = log.fields["parameters"]
    assert (logged_numbers, to_checksum_address(logged_guardian)) == (numbers, guardian)
    assert {name: value for name, value in log.fields.items() if name != "parameters"} == {
        "token": token.address,
        "oracle": feed.address,
        "insurance": vault.address,
        "trading": trading.address,
        "mark": MARK,
    }


def test_nobody_owns_the_vault() -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 6)
    creator = chain.deploy_source(CREATOR)
    created = keccak(rlp_encode([to_canonical_address(creator.address), 1]))[12:]
    chain.at("InsuranceVault", to_checksum_address(created))
    interface, code = compile_contract("InsuranceVault")
    arguments = interface.constructor((token.address, chain.address(1), *VaultParameters().as_tuple()))
    logs = chain.transact(creator, "create", code + arguments, sender=0).logs
    owners = [log.fields["new_owner"] for log in logs if log.name == "OwnershipTransferred"]
    assert owners[-1] == ZERO_ADDRESS


def test_refuses_parameters_that_do_not_fit_together() -> None:
    """Each rule by itself: tests/unit/modules/test_parameters.py."""
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    with pytest.raises(Reverted, match=r"^parameters: "):
        deploy_market(chain, token, feed, deploy_vault(chain, token), MarketParameters(closeout_margin=0))


def test_refuses_a_vault_of_another_market() -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    vault = deploy_vault(chain, token, skip=1)
    with pytest.raises(Reverted, match=r"^parameters: vault belongs to another market$"):
        deploy_market(chain, token, feed, vault, MarketParameters())


def test_refuses_a_vault_of_another_token() -> None:
    chain = RevmChain()
    token, other = chain.deploy("MockToken", 18), chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    vault = deploy_vault(chain, other)
    with pytest.raises(Reverted, match=r"^parameters: vault holds another token$"):
        deploy_market(chain, token, feed, vault, MarketParameters())


def test_refuses_trading_logic_without_code() -> None:
    """A delegatecall to it would succeed, and every trade would do nothing. The call that asks it is refused."""
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    vault = chain.deploy("InsuranceVault", token.address, chain.next_address(0, skip=1), *VaultParameters().as_tuple())
    with pytest.raises(Reverted, match=r"^$"):
        deploy_market(chain, token, feed, vault, MarketParameters(), trading=chain.address(1))


def test_refuses_trading_logic_that_does_not_say_whose_it_is() -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    vault = chain.deploy("InsuranceVault", token.address, chain.next_address(0, skip=1), *VaultParameters().as_tuple())
    with pytest.raises(Reverted, match=r"^$"):
        deploy_market(chain, token, feed, vault, MarketParameters(), trading=token.address)


@pytest.mark.parametrize("name", [field.name for field in fields(MarketParameters)])
def test_refuses_trading_logic_of_a_market_with_other_parameters(name: str) -> None:
    """Whichever of them it is; it would trade by another rule than the market settles by."""
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    vault = deploy_vault(chain, token)
    parameters = MarketParameters()
    other: Any = chain.address(1) if name == "guardian" else getattr(parameters, name) + 1
    trading = deploy_logic(chain, feed, replace(parameters, **{name: other}))
    with pytest.raises(Reverted, match=r"^parameters: trading logic of another market$"):
        deploy_market(chain, token, feed, vault, parameters, trading=trading.address)


def test_refuses_trading_logic_of_a_market_with_another_feed() -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed, other = (chain.deploy("MockAggregator", 18, MARK) for _ in range(2))
    vault = deploy_vault(chain, token)
    trading = deploy_logic(chain, other, MarketParameters())
    with pytest.raises(Reverted, match=r"^parameters: trading logic of another market$"):
        deploy_market(chain, token, feed, vault, MarketParameters(), trading=trading.address)


def test_trading_logic_is_known_by_the_hash_of_its_feed_and_parameters() -> None:
    chain = RevmChain()
    feed = chain.deploy("MockAggregator", 18, MARK)
    for parameters in (MarketParameters(), MarketParameters.guarded(guardian=chain.address(7))):
        trading = deploy_logic(chain, feed, parameters)
        assert bytes(chain.call(trading, "terms_hash")) == hash_of(feed, parameters)


def test_asks_the_trading_logic_for_that_hash_and_nothing_else() -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    vault = deploy_vault(chain, token)
    logic = chain.deploy_source(YES_LOGIC, hash_of(feed, MarketParameters()))
    market = deploy_market(chain, token, feed, vault, MarketParameters(), trading=logic.address)
    assert chain.call(market, "TRADING") == logic.address


def test_refuses_a_token_with_more_than_18_decimals() -> None:
    chain = RevmChain()
    feed = chain.deploy("MockAggregator", 18, MARK)
    token = chain.deploy("MockToken", 19)
    with pytest.raises(Reverted, match=r"^token: more than 18 decimals$"):
        deploy_vault(chain, token)
    vault = chain.deploy_source(YES_VAULT, chain.next_address(0, skip=2), token.address)
    with pytest.raises(Reverted, match=r"^token: more than 18 decimals$"):
        deploy_market(chain, token, feed, vault, MarketParameters())


@pytest.mark.parametrize(
    ("reason", "round_id", "answer", "age", "answered_in"),
    [
        ("oracle: non-positive answer", 1, 0, 0, 1),
        ("oracle: non-positive answer", 1, -1, 0, 1),
        ("oracle: incomplete round", 2, MARK, 0, 1),
        ("oracle: future-dated", 1, MARK, -1, 1),
        ("oracle: stale", 1, MARK, STALENESS + 1, 1),
        ("oracle: price out of range", 1, MIN_PRICE - 1, 0, 1),
        ("oracle: price out of range", 1, MAX_PRICE + 1, 0, 1),
    ],
)
def test_refuses_a_first_price_it_would_refuse_later(
    reason: str, round_id: int, answer: int, age: int, answered_in: int
) -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, MARK)
    vault = deploy_vault(chain, token)
    # The market is deployed in the block after its trading logic's, which follows this transaction's.
    chain.transact(feed, "set_round", round_id, answer, chain.now + 3 - age, answered_in, sender=0)
    with pytest.raises(Reverted, match=f"^{reason}$"):
        deploy_market(chain, token, feed, vault, MarketParameters())


@pytest.mark.parametrize("age", [0, STALENESS])
def test_accepts_a_first_price_of_any_age_that_is_not_stale(age: int) -> None:
    chain = RevmChain()
    token = chain.deploy("MockToken", 18)
    feed = chain.deploy("MockAggregator", 18, 1)
    vault = deploy_vault(chain, token)
    chain.transact(feed, "set_round", 7, MARK, chain.now + 3 - age, 7, sender=0)
    assert chain.call(deploy_market(chain, token, feed, vault, MarketParameters()), "mark") == MARK


def test_every_deployable_fits_a_contract() -> None:
    chain = RevmChain()
    addresses = Exchange.deploy(chain, MARK).addresses
    deployed = {
        "PerpetualMarket": addresses.market,
        "TradingLogic": addresses.trading,
        "InsuranceVault": addresses.vault,
        "MarketLens": addresses.lens,
    }
    assert set(deployed) == {path.stem for path in CONTRACTS.glob("*.vy")}
    probe = chain.deploy_source(CODE_SIZE)
    for name, address in deployed.items():
        size = chain.call(probe, "of", address)
        assert 1000 < size <= CODE_LIMIT, f"{name}: {size} bytes"
        assert len(compile_contract(name)[1]) <= INITCODE_LIMIT


def test_signs_orders_under_its_own_domain(exchange: Callable[..., Exchange]) -> None:
    made = exchange()
    fields, name, version, chain_id, contract, salt, extensions = made.chain.call(made.market, "eip712Domain")
    assert (fields, name, version, salt, extensions) == (b"\x0f", "prorata", "1", bytes(32), ())
    assert (chain_id, contract) == (made.chain.chain_id, made.addresses.market)
