"""Insurance taken or left at the right moment, a price of shares that is bent, and a race for what is there.

Whoever enters or leaves the vault settles the market first and cannot while the mark lags, so what the chain already
knows is in the price of a share. What an oracle is about to say is not: those attacks have a bound above zero.
"""

from __future__ import annotations

from typing import ClassVar

from prorata.attacks.attack import DUST, Attack, Knob, part, units
from prorata.attacks.world import COALITION, HONEST, INSURER, LONGS, MAKER, MARK, SHORTS, VICTIM, World
from prorata.units import WAD

FIRST, SECOND, STAKE, OTHER = COALITION
#: A margin that leaves too much to be closed by a step of 5 %, and too little for another.
WEAK = 0.065


# ------------------------------------------------------------------------------------------------------------- helpers


def leverage(world: World, size: int, margin: float) -> None:
    """VICTIM long against MAKER at the mark, with so much of its notional as collateral; MAKER can pay anything."""
    notional = size * world.exchange.mark // WAD
    world.exchange.deposit(VICTIM, world.whole(part(notional, margin)))
    world.exchange.deposit(MAKER, world.whole(10 * notional))
    world.exchange.trade(VICTIM, MAKER, True, size, world.exchange.mark)


def insure(world: World, one: int, amount: int) -> None:
    """Deposit into the vault, in whole token units."""
    world.exchange.insure(one, world.whole(amount))


def ripen(world: World, one: int) -> None:
    """Wait until the window of a request is open; the oracle repeats itself and somebody settles."""
    world.chain.advance(max(0, world.exchange.redeem_request(one).opens - world.chain.now))
    world.move(world.index_price)


def redeem(world: World, one: int) -> None:
    """All that is in the queue."""
    world.exchange.redeem(one, world.exchange.redeem_request(one).shares)


def request(world: World, one: int) -> None:
    """All shares go into the queue."""
    world.exchange.request_redeem(one, world.exchange.vault_shares(one))


def leave(world: World, one: int) -> None:
    """Request, wait, redeem."""
    request(world, one)
    ripen(world, one)
    redeem(world, one)


def earn(world: World, times: int) -> None:
    """Two of the honest open and close 100 units more at the mark, so often; insurance gets the fees."""
    long, short = LONGS[0], SHORTS[0]
    for one in (long, short):
        world.exchange.deposit(one, 200_000 * WAD)
    for _ in range(times):
        for is_long in (True, False):
            world.exchange.trade(long, short, is_long, 100 * WAD, world.exchange.mark)


def empty_vault(world: World) -> None:
    """The honest insurer leaves; what fees came since its request stays behind and is nobody's."""
    leave(world, INSURER)


def give(world: World, one: int, receiver: str, amount: int) -> None:
    """Tokens sent to a contract without telling it."""
    exchange = world.exchange
    exchange.chain.transact(exchange.token, "transfer", receiver, exchange.to_units(world.whole(amount)), sender=one)


def share_of(stake: int, beside: int, amount: int) -> int:
    """The part of an amount that belongs to a stake in the vault, beside what others have there; rounded up."""
    return -(-amount * stake // (stake + beside))


# ---------------------------------------------------------------------------------------------------- entry and surplus


class JustInTimeInsurance(Attack):
    """Insures when a price is out that closes accounts with something left, and before anybody settles."""

    name = "just-in-time-insurance"
    title = "insurance in time for a known surplus"
    hope = "A part of what closed accounts leave, without having borne a risk."
    source = "Kwenta staking, audit 2, sandwich attack on trading rewards (Kwenta/token issue 115, 2022-07)"
    promise = "Nothing. A deposit settles the market first, and none is taken while the mark lags."
    knobs: ClassVar = {"stake": Knob(1.0, 200_000.0), "fall": Knob(0.94, 0.999)}
    expects: ClassVar = ("mode: catch-up",)

    def prepare(self, world: World) -> None:
        leverage(world, 40 * WAD, 0.06)

    def strike(self, world: World, **knobs: float) -> None:
        world.say(part(MARK, knobs["fall"]))
        insure(world, STAKE, units(knobs["stake"]))
        world.settle()
        leave(world, STAKE)

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, knobs["fall"]))


class AheadOfSurplus(JustInTimeInsurance):
    """The same one moment earlier: before the oracle speaks."""

    name = "ahead-of-surplus"
    title = "insurance ahead of the oracle"
    source = "Tokemak, Sherlock contest 2023-06, finding 222: deposits sandwich a rebalance that brings rewards"
    promise = (
        "What the oracle has not said no contract knows: the newcomer gets the part of the surplus that his stake is "
        "of the vault, as every insurer does, and bears a whole cooldown of losses for it."
    )

    def strike(self, world: World, **knobs: float) -> None:
        insure(world, STAKE, units(knobs["stake"]))
        world.move(part(MARK, knobs["fall"]))
        leave(world, STAKE)

    def bound(self, world: World, **knobs: float) -> int:
        surplus = sum(one.surplus - one.bonus for one in world.receipts)
        return DUST + share_of(units(knobs["stake"]), world.setting.insurance, surplus)


class RecoverySnipe(Attack):
    """Insures after a disaster, when shares are cheap, and leaves with what the vault earns next."""

    name = "recovery-snipe"
    title = "shares bought after a draw"
    hope = "Shares that were worth more will be again; a request is held against the recovery."
    source = "percolator-stake, issue 145 (2026-06): deposits during a recoverable loss capture the recovery"
    promise = (
        "A share is priced at what is there, nothing is owed to those who lost. A request brings at most its value "
        "when made, so nothing of what comes later; who requests later has an insurer's part, for a cooldown of risk."
    )
    knobs: ClassVar = {"stake": Knob(100.0, 200_000.0), "early": Knob(0, 1), "times": Knob(1, 4)}

    def prepare(self, world: World) -> None:
        leverage(world, 40 * WAD, WEAK)
        world.move(part(MARK, 0.7))

    def strike(self, world: World, **knobs: float) -> None:
        insure(world, STAKE, units(knobs["stake"]))
        if knobs["early"]:
            request(world, STAKE)
        earn(world, int(knobs["times"]))
        if not knobs["early"]:
            request(world, STAKE)
        ripen(world, STAKE)
        redeem(world, STAKE)

    def abstain(self, world: World, **knobs: float) -> None:
        earn(world, int(knobs["times"]))

    def bound(self, world: World, **knobs: float) -> int:
        if knobs["early"]:
            return DUST
        fee = 100 * world.exchange.mark * world.parameters.fee_rate // WAD + 1
        assets = world.exchange.vault_assets  # what the honest have: the coalition has left
        return DUST + share_of(
            units(knobs["stake"]), assets - 4 * fee * int(knobs["times"]), 4 * fee * int(knobs["times"])
        )


# ------------------------------------------------------------------------------------------------------- exit and loss


class ExitBeforeKnownLoss(Attack):
    """Has a request in its window when a price is out that ruins others, and redeems before anybody settles."""

    name = "exit-before-known-loss"
    title = "insurance taken out ahead of a settlement"
    hope = "The others cover the deficit."
    source = "Liquity, loss evasion by stability depositors (liquity/dev issue 34, 2020-04-27)"
    promise = "Nothing. Redeeming settles the market first, and is shut while the mark lags."
    knobs: ClassVar = {"part": Knob(0.05, 1.0), "fall": Knob(0.5, 0.95)}
    expects: ClassVar = ("mode: catch-up",)

    def prepare(self, world: World) -> None:
        leverage(world, 40 * WAD, WEAK)
        insure(world, STAKE, 20_000 * WAD)
        request(world, STAKE)
        ripen(world, STAKE)

    def strike(self, world: World, **knobs: float) -> None:
        world.say(part(MARK, knobs["fall"]))
        self.take_out(world, knobs["part"])
        world.settle()

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, knobs["fall"]))
        self.take_out(world, knobs["part"])

    @staticmethod
    def take_out(world: World, of_it: float) -> None:
        """A part of the request."""
        world.exchange.redeem(STAKE, part(world.exchange.redeem_request(STAKE).shares, of_it))


class ExitAheadOfOracle(ExitBeforeKnownLoss):
    """The same one moment earlier: before the oracle speaks. Against an insurer who stays."""

    name = "exit-ahead-of-oracle"
    title = "a standing request, used ahead of the oracle"
    source = "Sentiment v2, Sherlock contest 2024-08, finding 533: withdrawal race prior to the liquidation of bad debt"
    promise = (
        "What the oracle has not said no contract knows. Of what is taken out, a window of draws would have cost at "
        "most the draw cap; and only who asked a cooldown before, and whose window is open, can."
    )

    def strike(self, world: World, **knobs: float) -> None:
        self.take_out(world, knobs["part"])
        world.move(part(MARK, knobs["fall"]))

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, knobs["fall"]))

    def bound(self, world: World, **knobs: float) -> int:
        return DUST + part(20_000 * WAD, knobs["part"]) * world.setting.vault.draw_cap // WAD


class StandingRequest(Attack):
    """Requests at a good price, waits in the window for what comes, and redeems at the value of then."""

    name = "standing-request"
    title = "a request held as an option"
    hope = "The better of the value at request and the value now."
    source = "Keep coverage pools, two-step withdrawal (keep-network/coverage-pools PR 56, 2021-05-21)"
    promise = "Nothing. A request brings the lesser of both values, its shares bear every loss, and its window lapses."
    knobs: ClassVar = {"fall": Knob(0.6, 0.999), "times": Knob(0, 2), "late": Knob(0.0, 1.2)}
    expects: ClassVar = ("vault: redeem window has lapsed",)

    def prepare(self, world: World) -> None:
        leverage(world, 40 * WAD, WEAK)
        insure(world, STAKE, 20_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        request(world, STAKE)
        self.news(world, **knobs)
        redeem(world, STAKE)

    def abstain(self, world: World, **knobs: float) -> None:
        self.news(world, **knobs)

    @staticmethod
    def news(world: World, fall: float, times: float, late: float) -> None:
        """Fees, then a fall, then some part of the window."""
        earn(world, int(times))
        world.move(part(MARK, fall))
        vault = world.setting.vault
        world.chain.advance(vault.redeem_cooldown + int(late * vault.redeem_window))
        world.move(world.index_price)


class RequestAddedTo(Attack):
    """Puts new shares to a request whose shares have lost value since."""

    name = "request-added-to"
    title = "old losses that lend room to new shares"
    hope = "Old shares' value at request caps all of it, so that new shares may keep a recovery."
    source = "3Jane USD3, Veridise audit, H-2: lock period bypassed by startCooldown() (in yearn/risk-score PR 444)"
    promise = (
        "Nothing against two requests of two accounts: a request that is added to is valued anew, whole. Two "
        "redemptions are rounded down twice, one once: a token unit."
    )
    knobs: ClassVar = {"old": Knob(100.0, 20_000.0), "new": Knob(100.0, 20_000.0), "times": Knob(1, 3)}

    def prepare(self, world: World) -> None:
        leverage(world, 40 * WAD, WEAK)

    def strike(self, world: World, **knobs: float) -> None:
        self.deposits(world, STAKE, **knobs)
        redeem(world, STAKE)

    def abstain(self, world: World, **knobs: float) -> None:
        self.deposits(world, OTHER, **knobs)
        for one in (STAKE, OTHER):
            redeem(world, one)

    def bound(self, world: World, **knobs: float) -> int:
        return DUST + world.exchange.unit

    @staticmethod
    def deposits(world: World, later: int, old: float, new: float, times: float) -> None:
        """One before a disaster and one after, both requested at once; then fees, and the second cooldown."""
        insure(world, STAKE, units(old))
        request(world, STAKE)
        world.move(part(MARK, 0.7))
        insure(world, later, units(new))
        request(world, later)
        earn(world, int(times))
        ripen(world, later)


# ------------------------------------------------------------------------------------------------- the price of a share


class FirstDepositor(Attack):
    """Owns the first few shares, makes them dear by fees of its own, and waits for a deposit to be rounded down."""

    name = "first-depositor"
    title = "inflation of an empty vault by fees"
    hope = "The next depositor gets no shares for his money, or too few."
    source = "OpenZeppelin, A Novel Defense Against ERC4626 Inflation Attacks; Hundred Finance (2023-04-15)"
    promise = "Nothing: a million virtual shares a token unit, and a deposit that would get no share is refused."
    knobs: ClassVar = {"first": Knob(1, 10**6), "burnt": Knob(0.0, 100.0), "victim": Knob(0.01, 1000.0)}
    expects: ClassVar = ("margin: open interest cap",)  # where nothing is insured

    def prepare(self, world: World) -> None:
        empty_vault(world)
        for one in (FIRST, SECOND):
            world.exchange.deposit(one, 100_000 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        exchange.insure(STAKE, int(knobs["first"]) * exchange.unit)
        self.inflate(world, units(knobs["burnt"]))
        insure(world, VICTIM, units(knobs["victim"]))
        leave(world, STAKE)

    def abstain(self, world: World, **knobs: float) -> None:
        insure(world, VICTIM, units(knobs["victim"]))

    @staticmethod
    def inflate(world: World, amount: int) -> None:
        """Two accounts trade in and out until insurance has been paid so much in fees."""
        exchange = world.exchange
        size = amount * WAD // (4 * exchange.mark * world.parameters.fee_rate // WAD)
        if size * exchange.mark // WAD > world.parameters.min_notional:
            for is_long in (True, False):
                exchange.trade(FIRST, SECOND, is_long, size, exchange.mark)


class Donation(FirstDepositor):
    """Sends tokens to the vault and to the market themselves, where nobody has asked for them."""

    name = "donation"
    title = "tokens sent to vault and market"
    hope = "Shares that are few become dear, or somebody's equity counts what the market has."
    source = "Resupply, donation to an empty ERC-4626 vault (2025-06-26)"
    promise = "Nothing: vault and market count what they were given by `deposit`, so a donation is lost."
    knobs: ClassVar = {
        "first": Knob(1, 10**6),
        "to_vault": Knob(0.0, 1000.0),
        "to_market": Knob(0.0, 1000.0),
        "victim": Knob(0.01, 2000.0),
    }

    def strike(self, world: World, **knobs: float) -> None:
        exchange = world.exchange
        exchange.insure(STAKE, int(knobs["first"]) * exchange.unit)
        give(world, STAKE, exchange.vault.address, units(knobs["to_vault"]))
        give(world, STAKE, exchange.market.address, units(knobs["to_market"]))
        insure(world, VICTIM, units(knobs["victim"]))
        leave(world, STAKE)
        for one in (FIRST, SECOND):
            world.leave(one)


class WipedOut(Attack):
    """Insures in a vault that disasters have all but emptied."""

    name = "wiped-out"
    title = "first to come after the vault was emptied"
    hope = "Next to shares that are worth nothing a deposit owns everything, or mints shares without end."
    source = "Sentiment v2, Sherlock contest 2024-08, finding 584: shares left where assets are zero after bad debt"
    promise = (
        "Nothing: no draw takes more than the cap of what is there, so shares keep a price and a deposit its value. "
        "What closed accounts leave later is shared by what each has in the vault then."
    )
    knobs: ClassVar = {"stake": Knob(0.000001, 100_000.0), "fall": Knob(0.6, 0.999), "early": Knob(0, 1)}

    def prepare(self, world: World) -> None:
        for _ in range(3):
            leverage(world, 60 * WAD, WEAK)
            world.move(part(MARK, 0.6))
            world.chain.advance(world.setting.vault.draw_window)
            world.move(MARK)
        leverage(world, 60 * WAD, WEAK)

    def strike(self, world: World, **knobs: float) -> None:
        self.disaster(world, bool(knobs["early"]), knobs["fall"])
        insure(world, STAKE, units(knobs["stake"]))
        self.disaster(world, not knobs["early"], knobs["fall"])
        leave(world, STAKE)

    def abstain(self, world: World, **knobs: float) -> None:
        self.disaster(world, True, knobs["fall"])

    def bound(self, world: World, **knobs: float) -> int:
        if knobs["early"]:
            return DUST
        surplus = sum(one.surplus - one.bonus for one in world.receipts)
        honest = max(0, world.exchange.vault_assets - surplus)  # at least, when he came: he has left
        return DUST + share_of(units(knobs["stake"]), honest, surplus)

    @staticmethod
    def disaster(world: World, happens: bool, fall: float) -> None:
        """One more, if it happens."""
        if happens:
            world.move(part(MARK, fall))


# ----------------------------------------------------------------------------------------------------- windows of draws


class WindowBoundary(Attack):
    """Ruins two accounts of its own, one after the other, so that two windows pay."""

    name = "window-boundary"
    title = "losses split over two windows of draws"
    hope = "The cap is taken twice, at the end of one window and the beginning of the next, or for every loss anew."
    source = "fixed-window rate limits, burst at the boundary (duckkit.dev glossary); percolator, issue 41 (2026-04)"
    promise = (
        "Insurance pays at most the draw cap of what it has in every window, all losses in it together; the rest of "
        "the gain is what receipts state that winners go without."
    )
    knobs: ClassVar = {"size": Knob(5, 60), "wait": Knob(0.0, 1.5), "fall": Knob(0.75, 0.92)}

    def prepare(self, world: World) -> None:
        world.exchange.deposit(MAKER, 10**6 * WAD)

    def strike(self, world: World, **knobs: float) -> None:
        self.lose(world, FIRST, SECOND, knobs)
        self.days(world, knobs)
        self.lose(world, STAKE, OTHER, knobs)

    def abstain(self, world: World, **knobs: float) -> None:
        for wait in (True, False):
            world.move(part(MARK, knobs["fall"]))
            world.move(MARK)
            if wait:
                self.days(world, knobs)

    def bound(self, world: World, **knobs: float) -> int:
        vault = world.setting.vault
        # An hour more than was waited: time in which the mark moves.
        windows = 1 + (int(knobs["wait"] * vault.draw_window) + 3600) // vault.draw_window
        covered = sum(one.covered for one in world.receipts)
        most = world.exchange.vault_held + world.exchange.insurance_owed + covered
        left = most * (WAD - vault.draw_cap) ** windows // WAD**windows
        return DUST + most - left + sum(one.socialized + one.adl_shortfall for one in world.receipts)

    @staticmethod
    def lose(world: World, losing: int, winning: int, knobs: dict[str, float]) -> None:
        """One account long and another short with each other, a fall that ruins the first, and the other closes."""
        exchange, size = world.exchange, int(knobs["size"]) * WAD
        exchange.deposit(losing, world.whole(part(size * MARK // WAD, WEAK)))
        exchange.deposit(winning, world.whole(size * MARK // WAD))
        exchange.trade(losing, winning, True, size, MARK)
        world.move(part(MARK, knobs["fall"]))
        exchange.trade(MAKER, winning, False, -world.size(winning), exchange.mark)
        world.move(MARK)

    @staticmethod
    def days(world: World, knobs: dict[str, float]) -> None:
        """Some part of a window of draws passes."""
        world.chain.advance(int(knobs["wait"] * world.setting.vault.draw_window))
        world.move(MARK)


class DustWindow(Attack):
    """Opens a window of draws with a dust account's deficit while the vault is small, and insures right after."""

    name = "dust-window"
    title = "a window opened by dust, to insure without being drawn on"
    hope = "Until the window ends, losses stop at the cap of what was there before, and the deposit earns its part."
    source = "3Jane USD3, Veridise audit, H-1: small donations that reset a lock's timer (in yearn/risk-score PR 444)"
    promise = (
        "Of what the old cap leaves uncovered, and receipts state as socialized, the part that his stake is of the "
        "vault; never more than the draw cap of the stake. And cents: what the dust itself loses, whoever misses it. "
        "It needs two gaps in one window, the first beyond a margin: where steps are within it the cents are all."
    )
    knobs: ClassVar = {"stake": Knob(1_000.0, 200_000.0), "dust": Knob(1.1, 10.0), "fall": Knob(0.5, 0.9)}

    def prepare(self, world: World) -> None:
        leverage(world, 60 * WAD, 0.16)

    def strike(self, world: World, **knobs: float) -> None:
        exchange, size = world.exchange, part(WAD // 1000, knobs["dust"])
        exchange.deposit(FIRST, world.whole(part(size * MARK // WAD, WEAK)))
        exchange.trade(FIRST, MAKER, True, size, MARK)
        self.abstain(world, **knobs)

    def abstain(self, world: World, **knobs: float) -> None:
        world.move(part(MARK, 0.93))
        insure(world, STAKE, units(knobs["stake"]))
        world.move(part(MARK, knobs["fall"]))

    def bound(self, world: World, **knobs: float) -> int:
        stake, honest = units(knobs["stake"]), world.setting.insurance - units(knobs["dust"])
        uncovered = sum(one.socialized for one in world.receipts)
        spared = min(share_of(stake, honest, uncovered), stake * world.setting.vault.draw_cap // WAD)
        return DUST + spared + part(units(knobs["dust"]), 0.07)  # a dollar's worth each, and a fall of 7 %


# ------------------------------------------------------------------------------------------------------------- the end


class BankRun(Attack):
    """The oracle dies in the middle of a move, the market closes, and who comes first takes all he has."""

    name = "bank-run"
    title = "first out of a closed market"
    hope = "What is there does not suffice for all, and the last have to do without."
    source = "Drift v1 (2022-05-11): 13.7 M$ became 4.9 M$ in twelve hours, those who left first were paid whole"
    promise = "Nothing against leaving last: everything is covered before and after the end, and everybody does leave."
    knobs: ClassVar = {
        "size": Knob(1, 60),
        "jump": Knob(0.8, 1.25),
        "steps": Knob(0, 20),
        "stake": Knob(100.0, 20_000.0),
    }

    def strike(self, world: World, **knobs: float) -> None:
        self.end(world, **knobs)
        self.go(world, COALITION)
        self.go(world, (INSURER, *HONEST))

    def abstain(self, world: World, **knobs: float) -> None:
        self.end(world, **knobs)
        self.go(world, (INSURER, *HONEST))
        self.go(world, COALITION)

    @staticmethod
    def end(world: World, size: float, jump: float, steps: float, stake: float) -> None:
        """The coalition is long and short; after a jump, some steps on the way, the oracle answers zero for good."""
        exchange = world.exchange
        insure(world, STAKE, units(stake))
        exchange.deposit(FIRST, world.whole(int(size) * 60 * WAD))
        exchange.deposit(MAKER, world.whole(int(size) * 2000 * WAD))
        exchange.trade(FIRST, MAKER, jump > 1, int(size) * WAD, MARK)
        world.say(part(MARK, jump))
        world.settle(1 + int(steps))
        exchange.set_round(0, world.chain.now)
        exchange.wind_down()
        world.chain.advance(world.parameters.oracle_grace)
        exchange.wind_down()
        world.settle()
        exchange.settle()

    @staticmethod
    def go(world: World, people: tuple[int, ...]) -> None:
        """Everybody withdraws, and redeems when the cooldown is over."""
        insurers = [one for one in people if world.exchange.vault_shares(one)]
        for one in people:
            world.leave(one)
        for one in insurers:
            request(world, one)
        world.chain.advance(world.setting.vault.redeem_cooldown)
        for one in insurers:
            redeem(world, one)
