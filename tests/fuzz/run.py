"""One random market and its life, from deployment to the exit of everybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.fast_exchange import FastExchange
from prorata.model import SHARE_OFFSET
from prorata.receipts import Receipt
from prorata.revm_chain import RevmChain
from prorata.storage import Holding, State
from prorata.twin import Violation
from prorata.units import WAD, from_wad
from tests.fuzz.audit import twin_of
from tests.fuzz.judge import Judge
from tests.fuzz.rules import FAST_ONLY, INSURERS, TRADERS, WORLD, Operation, Rules, Setting
from tests.fuzz.trials import Trials

#: An audit begins when so many operations have passed since the last one; it looks so far for one that the model knows.
AUDIT_EVERY, AUDIT_SEARCH = 75, 20
TRIAL_EVERY = 400
#: Settlements after which a closed market's way through empty bitmap words is cut short.
PATIENCE = 200
#: Operations that the vault has a preview of.
ENTRIES = {"insure", "mint_insurance"}
#: Bitmap words of a level over which a preview is no longer made.
FAR = 10_000
#: Operations tried on a market that was wound down, before everybody leaves.
AFTERLIFE = 30


@dataclass
class Figures:
    """What runs came across.

    Amounts in wei of quote, 18 digits; `largest_gap` is of operations between two audits; `hurried` counts markets that
    had so many empty bitmap words between their accounts at the end that the way through them was cut short.
    """

    operations: int = 0
    refused: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    moves: int = 0
    buckets_closed: int = 0
    deficits: int = 0
    socialized: int = 0
    epochs: int = 0
    markets_closed: int = 0
    hurried: int = 0
    audited: int = 0
    trials: Counter[str] = field(default_factory=Counter)
    largest_difference: int = 0
    largest_dust: int = 0
    largest_gap: int = 0

    def add(self, other: Figures) -> None:
        """Take another run's figures in."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(value, Counter):
                mine.update(value)
            else:
                setattr(self, name, max(mine, value) if name.startswith("largest") else mine + value)


class Run:
    """One market.

    Args:
        seed: of the whole campaign.
        number: of this run; the two decide everything that happens.
        operations: how long it lives.

    Attributes:
        history: every operation so far, the world's included.
    """

    def __init__(self, seed: int, number: int, operations: int) -> None:
        self.seed, self.number, self.operations = seed, number, operations
        self._rng = Random(f"{seed}:{number}")
        self.figures = Figures()
        self.history: list[Operation] = []
        chain = RevmChain()
        self.setting = Setting.draw(self._rng, chain.address(0))
        exchange = Exchange.deploy(
            chain, self.setting.mark, self.setting.parameters, self.setting.vault, self.setting.decimals
        )
        for trader in (0, *TRADERS):
            exchange.fund(trader)
        for insurer in INSURERS:
            exchange.approve(insurer, exchange.vault)
        self.driver = FastExchange(exchange, TRADERS)
        places = {int(chain.address(trader), 16): place for place, trader in enumerate(TRADERS)}
        self.judge = Judge(self.setting.parameters, self.setting.vault, exchange.unit, self.driver.reader, places)
        self.rules = Rules(self._rng, self.setting, self.driver)
        self.trials = Trials(self.driver, self.setting, self._rng, self.figures.trials)
        self.state = self.driver.read()
        self._since_audit = 0

    def live(self) -> Figures:
        """All of it.

        Raises:
            Violation: a guarantee does not hold; `history` says how it came to that.
        """
        since_trial = since_close = 0
        # In a closed market there is little left to do.
        while self.figures.operations < self.operations and since_close < AFTERLIFE:
            if self._since_audit >= AUDIT_EVERY:
                self._audit()
                self.figures.largest_gap = max(self.figures.largest_gap, self._since_audit)
                self._since_audit = 0
            if since_trial >= TRIAL_EVERY:
                since_trial = 0
                self.trials.try_one(self.state)
            counted = self.step(self.rules.next(self.state))
            self._since_audit += counted
            since_trial += counted
            since_close += self.state.closed
        self._leave()
        self.figures.largest_dust = self.judge.largest_dust
        return self.figures

    def step(self, operation: Operation) -> bool:
        """Carry one operation out and judge it; says whether it counts as one."""
        self.history.append(operation)
        if operation.name == "advance":
            self.driver.chain.advance(*operation.arguments)
            return False
        before = self.state
        promised = self._promised(operation)
        try:
            getattr(self.driver, operation.name)(*operation.arguments)
        except Reverted as refusal:
            self._refused(operation, refusal.reason)
            return True
        if operation.name in WORLD:
            return False
        self.state = self.driver.read()
        self.judge.judge(before, self.state, self.driver.events, self.driver.chain.now)
        if promised is not None:
            is_deposit = operation.name == "insure"
            self.judge.judge_entry(before, self.state, self.driver.events, is_deposit, promised)
        self._count(operation, self.driver.receipts(), self.state.epoch - before.epoch)
        return True

    def _promised(self, operation: Operation) -> int | None:
        """What the vault's preview of an entry says, 0 if it refuses. A preview has no budget, so it is not asked where
        it would have to look at too many bitmap words."""
        if operation.name not in ENTRIES or self._words_to(self.driver.answer[0]) > FAR:
            return None
        try:
            return self.driver.preview_entry(operation.name, operation.arguments[0])
        except Reverted:
            return 0

    def _words_to(self, price: int) -> int:
        """Bitmap words of one level that a move to a price, and funding before it, may look at; at most."""
        most = 0
        for one in self._open_ones():
            side = self.state.sides[one.side]
            lowest = side.index - side.scale * (abs(price - self.state.mark) + price + self.state.mark)
            top, *_ = self.driver.reader.level(self.state.epoch, one.side, one.level)
            most = max(most, top - (lowest >> one.level + 8))
        return most

    def _count(self, operation: Operation, receipts: Sequence[Receipt], epochs: int) -> None:
        self.figures.operations += 1
        self.figures.kinds[operation.name] += 1
        self.figures.epochs += epochs
        for receipt in receipts:
            self.figures.moves += 1
            self.figures.buckets_closed += receipt.buckets_closed
            self.figures.deficits += receipt.deficit > 0
            self.figures.socialized += receipt.socialized > 0

    def _refused(self, operation: Operation, reason: str) -> None:
        """A refusal has a name, and has changed nothing."""
        self.figures.operations += 1
        self.figures.refused += 1
        self.figures.kinds[f"{operation.name} refused: {reason}"] += 1
        if not reason:
            raise Violation("S7", f"{operation} was refused without a reason")
        if self.driver.read() != self.state:
            raise Violation("S1", f"{operation} was refused and changed the market")

    def _audit(self) -> None:
        """The next operation that the exact-rational model knows, on both."""
        for _ in range(AUDIT_SEARCH):
            operation = self.rules.next(self.state)
            known = operation.name not in WORLD | FAST_ONLY
            if known and self.trials.stopped_by_words(self.state) is None:
                self._in_lockstep(operation)
                return
            self._since_audit += self.step(operation)
        # Words stop every move. The model is told where they stop this one, and must agree on everything else.
        self._in_lockstep(Operation("settle"), self.trials.stopped_by_words(self.state))

    def _in_lockstep(self, operation: Operation, stopped: Receipt | None = None) -> None:
        """One operation on the contracts and on the model, which begins where they stand.

        Args:
            stopped: of the move that bitmap words stop.
        """
        twin = twin_of(self.driver, self.state, self.setting)
        if stopped and stopped.funding:
            payer = self.state.sides[stopped.loser]
            twin.model.funding_halt = Fraction(payer.index - stopped.indices[stopped.loser], payer.scale * WAD)
        elif stopped:
            twin.model.price_halt = from_wad(stopped.mark_after)
        self.history.append(operation)
        before = self.state
        try:
            getattr(twin, operation.name)(*operation.arguments)
        except Reverted as refusal:
            self._refused(operation, refusal.reason)
        else:
            self.state = self.driver.read()
            self._count(operation, twin.receipts, self.state.epoch - before.epoch)
            self.judge.check(self.state)
        found = twin.check()
        self.figures.largest_difference = max(self.figures.largest_difference, found.max_difference)
        self.figures.audited += 1

    def _leave(self) -> None:
        """The oracle dies, the market closes, and everybody goes with all they have: what is left is dust."""
        driver, chain = self.driver, self.driver.chain
        if not self.state.closed:
            self.step(Operation("set_round", (0, chain.now, 1, 1)))
            for _ in range(2):
                self.step(Operation("wind_down"))
                self.step(Operation("advance", (3600,)))
            self.state = driver.read()
            if not self.state.closed:
                raise Violation("S7", "a market with a dead oracle does not close")
        else:
            self.figures.markets_closed += 1
        self._catch_up()
        for trader, holding in zip(TRADERS, self.state.holdings, strict=True):
            amount = holding.equity // driver.unit * driver.unit
            if amount:
                self._must(Operation("withdraw", (trader, amount)))
        for insurer in INSURERS:
            self.step(Operation("request_redeem", (driver.vault_shares(insurer), insurer)))
            shares, _, opens = driver.redeem_request(insurer)
            # Shares worth less than a token unit cannot go; what the market owes counts in whole units.
            worth = shares * self._vault_units() // (self.state.supply + SHARE_OFFSET)
            if worth and opens + self.setting.vault.redeem_window > chain.now:
                self.step(Operation("advance", (max(opens - chain.now, 0),)))
                self._must(Operation("redeem", (shares, insurer)))
        left = sum(holding.equity for holding in self.state.holdings)
        if left >= len(TRADERS) * driver.unit:
            raise Violation("S7", f"{left} wei of equity could not leave")
        for insurer in INSURERS:
            shares = driver.vault_shares(insurer) + driver.redeem_request(insurer)[0]
            if shares * self._vault_units() > self.state.supply + SHARE_OFFSET:
                raise Violation("S7", f"insurer {insurer} could not leave with {shares} shares")

    def _catch_up(self) -> None:
        """Settle a closed market until its mark has arrived. If that takes too long, because the price has risen so far
        that bitmap words between two accounts are very many, settlements must make their way through them, and the rest
        of it is skipped."""
        skipped = False
        for _ in range(2 * PATIENCE):
            mark, accounts, words = self.state.mark, len(self._open_ones()), self._empty_words()
            for _ in range(PATIENCE):
                if not self.state.lagging and not self.state.sides[0].shares:
                    self.figures.hurried += skipped
                    return
                self.step(Operation("advance", (self.setting.parameters.step_interval,)))
                self.step(Operation("settle"))
            if len(self._open_ones()) < accounts:
                continue
            walked = words - self._empty_words()
            if walked > PATIENCE * self.setting.parameters.max_words // 2:
                self._skip_empty_words()  # down to the next account of each level
                skipped = True
            elif self.state.mark == mark:
                raise Violation("S7", f"{PATIENCE} settlements moved nothing and looked at {walked} of {words} words")
        raise Violation("S7", "a closed market does not catch up")

    def _open_ones(self) -> list[Holding]:
        return [one for one in self.state.holdings if one.shares]

    def _levels(self) -> Iterator[tuple[int, int, int]]:
        """Of every live level: the highest word that may be live, the highest that is, and the slot."""
        live: dict[tuple[int, int], int] = {}
        for one in self._open_ones():
            word = one.bucket >> 8
            live[one.side, one.level] = max(word, live.get((one.side, one.level), word))
        for (side, level), word in live.items():
            top, _, slot = self.driver.reader.level(self.state.epoch, side, level)
            yield top, word, slot

    def _empty_words(self) -> int:
        """Words that settlements of this market may have to look at in vain."""
        return sum(top - word for top, word, _ in self._levels())

    def _skip_empty_words(self) -> None:
        """Where settlements would come by looking at them."""
        market = self.driver.exchange.addresses.market
        for top, word, slot in self._levels():
            kept = self.driver.chain.word(market, slot) >> 128 << 128
            self.driver.chain.put(market, slot, kept | min(top, word) & (2**128 - 1))

    def _vault_units(self) -> int:
        """Token units that vault shares are worth together, the virtual one included."""
        return self.state.held // self.driver.unit + self.state.owed // self.driver.unit + 1

    def _must(self, operation: Operation) -> None:
        refused = self.figures.refused
        self.step(operation)
        if self.figures.refused > refused:
            raise Violation("S7", f"{operation} was refused at the exit")


def state_text(state: State) -> str:
    """A market for a person to read."""
    lines = [f"{name}: {value}" for name in state.__slots__ if name != "holdings" for value in [getattr(state, name)]]
    return "\n".join([*lines, *(f"trader {trader}: {one}" for trader, one in enumerate(state.holdings, start=1))])
