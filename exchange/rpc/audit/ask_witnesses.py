"""Having our checkpoints cosigned: each published one is shown to all witnesses at once, and the quorum is kept.

One task for each witness, so that a slow or dead one holds up nobody. Every answer is verified before it counts. When
the quorum is reached, ``log/witnessed`` (and ``log/checkpoint``, if that is of the size) gets the lines. A quorum that
is missing never stops a bulletin: the log is *pending*, says so in ``witnessing.json``, and alarms after ten minutes.
What each witness cosigned last is kept there too; it is only a hint, since a witness that stands elsewhere says where.
In an epoch that follows a loss, a witness that had fallen behind is first shown the cosigned end of each one before.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

from audit.note.checkpoint import parse_note
from audit.verify.trust import policy_of
from audit.witness.request import format_request
from audit.witness.witness import WitnessRefusal
from exchange.evidence.epoch_proofs import end_notes
from exchange.node.job import no_act
from exchange.node.witness_status import ALARM_MS, Pending, load_pending, save_pending
from exchange.node.writer import Group
from exchange.rpc.audit.cosignatures import CosignatureSet, Target
from exchange.rpc.audit.witness_transport import Ask, NoChannelError, SlowError
from exchange.rpc.transport.runtime import Runtime
from exchange.rpc.transport.status import ELSEWHERE, FORBIDDEN, NOT_EXTENDED
from keys.errors import IntegrityError, RefusedError, UnavailableError

ATTEMPTS = 3  # of one question: a witness that stands elsewhere is asked again from there
PAUSE_SECONDS, PAUSE_MOST_SECONDS = 0.25, 10.0  # between questions to one that does not answer
LOOK_SECONDS = 0.5  # so soon it is looked again whether a witness's node is followed
SAVE_SECONDS = 0.1  # lines that come so soon after one another are written together
WATCH_SECONDS = 5.0  # so often it is looked whether an alarm is due


Look = Callable[[], Awaitable[None]]


class _Witness:
    """One witness as we know it."""

    def __init__(self, name: str, ask: Ask, cosigned_size: int) -> None:
        self.name, self.ask = name, ask
        self.cosigned_size = cosigned_size  # size of ours that it cosigned last, as far as we know
        self.done = 0  # size that we have its line for
        self.tried = 0  # size that it was asked about last, whatever came of it
        self.wanted = asyncio.Event()


class WitnessRounds:
    """Asks the witnesses of our log."""

    def __init__(
        self, runtime: Runtime, asks: Mapping[str, Ask], looks: Mapping[str, Look] = MappingProxyType({})
    ) -> None:
        """Prepare; *asks* says how each witness is asked, by name: who is not in it is never asked.

        *looks* holds what a witness that refuses has of our log against it; one without a node shows nothing.
        """
        node, self._looks = runtime.node, looks
        self._node, self._settings, self._now_ms, self._log = node, runtime.settings, runtime.now_ms, runtime.log
        policy = policy_of(node.view.federation.roster, node.view.agency)
        self._quorum, self._cosignatures = policy.quorum, CosignatureSet(policy)
        saved = load_pending(node.paths.home)
        cosigned_sizes = saved.witnesses if saved is not None and saved.origin == node.view.origin else {}
        asked = [key.name for key in policy.witnesses if key.name in asks]
        self._witnesses = {name: _Witness(name, asks[name], cosigned_sizes.get(name, 0)) for name in asked}
        self._waiting: list[tuple[int, int]] = []  # (size, published at ms), not witnessed yet; ascending
        if saved is not None and saved.since_ms:
            self._waiting.append((node.witnessed[0] + 1, saved.since_ms))
        self._ends = end_notes(node.paths.home, node.view)
        self._alarmed_ms = 0
        self._target: Target | None = None
        self._aimed = 0.0  # on the monotonic clock
        self._timer: asyncio.TimerHandle | None = None
        self._proofs: dict[tuple[int, int], asyncio.Future[list[bytes] | None]] = {}
        self._dirty, self._progress = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._work = threading.Lock()
        self._saves = self._written = 0

    @property
    def pending_since_ms(self) -> int | None:
        """Since when something published waits for its quorum; None where nothing does."""
        return self._waiting[0][1] if self._waiting else None

    def start(self) -> None:
        """Ask from now on."""
        loop = asyncio.get_running_loop()

        def tell(size: int, note: str) -> None:
            with suppress(RuntimeError):  # the loop has ended, and nobody waits for witnesses any more
                loop.call_soon_threadsafe(self._on_published, size, note)

        self._node.files.on_published.append(tell)
        self._tasks = [asyncio.create_task(self._serve(each)) for each in self._witnesses.values()]
        self._tasks += [asyncio.create_task(self._save_forever()), asyncio.create_task(self._watch())]
        size, note = self._node.files.published
        if note:
            self._on_published(size, note)

    async def finish(self, seconds: float) -> None:
        """Show the last checkpoint to all who answer within so many seconds, keep what they say, and end."""
        if self._tasks and self._node.writer.failure is None:
            size, note = await asyncio.to_thread(self._node.files.publish_now)
            if note and self._witnesses:
                self._published_at(size)
                self._aim(note)
                await self._all_tried(size, time.monotonic() + seconds)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._save()
        self._tasks = []

    def check_pending(self) -> None:
        """Alarm, every ten minutes, as long as something has waited longer than that."""
        since, now = self.pending_since_ms, self._now_ms()
        if since is None or now - since < ALARM_MS or now - self._alarmed_ms < ALARM_MS:
            return
        self._alarmed_ms = now
        self._log.alarm("not-witnessed", size=self._waiting[-1][0], seconds=(now - since) // 1000)

    # ---- what is asked about

    def _on_published(self, size: int, note: str) -> None:
        """Aim at what was published, but not more often than ``witness_seconds``."""
        self._published_at(size)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._aimed + self._settings.witness_seconds - time.monotonic()
        if wait <= 0:
            self._aim(note)
        else:
            self._timer = asyncio.get_running_loop().call_later(wait, self._aim, note)

    def _published_at(self, size: int) -> None:
        if self._quorum and size > self._node.witnessed[0] and (not self._waiting or size > self._waiting[-1][0]):
            self._waiting.append((size, self._now_ms()))

    def _aim(self, note: str) -> None:
        self._aimed = time.monotonic()
        self._proofs.clear()
        self._target = self._cosignatures.aim(note)
        self._dirty.set()
        for each in self._witnesses.values():
            each.wanted.set()

    # ---- one witness

    async def _serve(self, witness: _Witness) -> None:
        pause = PAUSE_SECONDS
        while True:
            await witness.wanted.wait()
            witness.wanted.clear()
            target = self._target
            if target is None or witness.done >= target.size or self._node.writer.failure is not None:
                continue
            try:
                await self._ask(witness, target)
                pause = PAUSE_SECONDS
            except (RefusedError, UnavailableError) as error:
                self._complain(witness, error)
                await self._look(witness, error)
                wait = LOOK_SECONDS if isinstance(error, NoChannelError) else pause
                pause = PAUSE_SECONDS if isinstance(error, NoChannelError) else min(2 * pause, PAUSE_MOST_SECONDS)
                again = asyncio.get_running_loop().call_later(wait, witness.wanted.set)
                if not isinstance(error, SlowError):  # it is there, and the last round goes on asking it
                    self._tried(witness, target)
                await witness.wanted.wait()
                again.cancel()
            except Exception as error:  # noqa: BLE001 - one witness must not end the asking of the others
                self._log.fault("cosigning", error)
                self._tried(witness, target)
                await asyncio.sleep(PAUSE_MOST_SECONDS)
            else:
                self._tried(witness, target)

    def _tried(self, witness: _Witness, target: Target) -> None:
        witness.tried = target.size
        self._progress.set()

    async def _ask(self, witness: _Witness, target: Target) -> None:
        """Ask from where the witness stands; where it stands elsewhere, again from there."""
        shown = not self._ends
        for _ in range(ATTEMPTS):
            old = min(witness.cosigned_size, target.size)
            proof = await self._prove(old, target.size)
            try:
                answer = await witness.ask(format_request(old, proof, target.note))
            except WitnessRefusal as refusal:
                if refusal.status == FORBIDDEN and not shown:
                    shown = True
                    for end in self._ends:  # in their order: each builds on the one before
                        await self._show_end(witness, end)
                    continue
                if refusal.status != ELSEWHERE or refusal.size is None or refusal.size == old:
                    raise
                witness.cosigned_size = refusal.size
                if refusal.size > self._node.reads.size():
                    raise  # it has seen more of our log than we have
                if refusal.size > target.size:
                    return  # somebody has shown it a newer one of ours: the next that is published reaches it
                continue
            time_s = self._cosignatures.take(witness.name, target, answer)
            self._node.clock.heard(witness.name, time_s * 1_000_000)
            witness.cosigned_size = witness.done = target.size
            self._node.vouching.add(witness.name, target.size)
            self._dirty.set()
            return
        raise UnavailableError("the witness stands elsewhere each time it is asked")

    async def _show_end(self, witness: _Witness, note: str) -> None:
        """Show a witness where an earlier epoch ended, in case it stands before that; it notes it, or says why not.

        There is no proof from where it stands: the entries are lost. The cosignatures under the note replace it.
        """
        end = old = parse_note(note).checkpoint.size
        for _ in range(2):
            try:
                await witness.ask(format_request(old, [], note))
            except WitnessRefusal as refusal:
                if refusal.status != ELSEWHERE or refusal.size is None or refusal.size >= end:
                    return  # noted, which is no cosignature; or it will say so when it is asked again
                old = refusal.size

    async def _prove(self, old: int, new: int) -> list[bytes]:
        """Prove once for all witnesses that stand at the same size."""
        if old in (0, new):
            return []
        found = self._proofs.get((old, new))
        if found is None:
            found = self._node.writer.submit(no_act, lambda _, group: _consistency(group, old, new))
            self._proofs[old, new] = found
        proof = await asyncio.shield(found)
        if proof is None:
            raise UnavailableError(f"sizes {old} to {new} cannot be proven here")
        return proof

    def _complain(self, witness: _Witness, error: RefusedError | UnavailableError) -> None:
        """Log once for each size what a witness has against it, if it has more than no time."""
        target = self._target
        if isinstance(error, RefusedError) and target is not None and witness.tried != target.size:
            code = f"{error.status}" if isinstance(error, WitnessRefusal) else error.code
            self._log.alarm("witness-refuses", peer=witness.name, code=code, size=witness.cosigned_size)

    async def _look(self, witness: _Witness, error: RefusedError | UnavailableError) -> None:
        """See what a witness holds that stands where we never were: it may be another copy's, or a thief's."""
        look = self._looks.get(witness.name)
        if look is not None and isinstance(error, WitnessRefusal) and error.status in (ELSEWHERE, NOT_EXTENDED):
            with suppress(RefusedError, UnavailableError, IntegrityError):  # said and acted upon where it was found
                await look()

    # ---- what came of it

    async def _all_tried(self, size: int, until: float) -> None:
        while any(each.tried < size for each in self._witnesses.values()):
            left = until - time.monotonic()
            if left <= 0:
                return
            self._progress.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._progress.wait(), left)

    async def _save_forever(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._save()
            await asyncio.sleep(SAVE_SECONDS)

    async def _save(self) -> None:
        """Write the cosigned checkpoint, then what is pending."""
        found = self._cosignatures.cosigned()
        if found is not None and found[0] >= self._node.witnessed[0] and found != self._node.witnessed:
            await asyncio.to_thread(self._node.files.add_cosigned, *found)
        size = self._node.witnessed[0]
        self._waiting = [each for each in self._waiting if each[0] > size]
        state = Pending(
            origin=self._node.view.origin,
            quorum=self._quorum,
            size=size,
            since_ms=self.pending_since_ms or 0,
            witnesses={each.name: each.cosigned_size for each in self._witnesses.values()},
        )
        self._saves += 1
        await asyncio.to_thread(self._write_down, self._saves, state)

    def _write_down(self, number: int, state: Pending) -> None:
        """Write what is pending, in a thread; one whose task was cancelled goes on, and must not come last."""
        with self._work:
            if number > self._written:
                try:
                    save_pending(self._node.paths.home, state)
                except OSError as error:  # it is a hint; what is witnessed stands in the log's own files
                    self._log.fault("pending", error)
                self._written = number

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.check_pending()


def _consistency(group: Group, old: int, new: int) -> list[bytes] | None:
    try:
        return group.log.consistency(old, new)
    except LookupError:
        return None
