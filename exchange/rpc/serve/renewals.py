"""A running node's renewals: windows and key sheet at its start and once a day, the sheet as soon as the manifest moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from exchange.acts.directory import RecordKind
from exchange.acts.node_view import NodeView
from exchange.node.node import Node
from exchange.node.renewal import Renewal
from exchange.rpc.transport.program_log import ProgramLog
from exchange.rpc.transport.status import UNAVAILABLE
from keys.errors import RefusedError, UnavailableError
from keys.keystore import SEALING_FILE
from keys.secret import Secret


class Renewals:
    """Renews what one node renews by itself; in the event loop, with the work on files beside it.

    Args:
        node: Begun.
        derived: Of its first key file. None where its keys are in no file: then nothing is renewed here.
        now_ms: The clock.
        log: The program's.
    """

    def __init__(self, node: Node, derived: Secret | None, now_ms: Callable[[], int], log: ProgramLog) -> None:
        self._node, self._log = node, log
        in_files = derived is not None and (node.paths.home / SEALING_FILE).exists()
        self._renewal = Renewal(node, derived, now_ms, node.random_bytes) if derived and in_files else None
        self._one = asyncio.Lock()
        self._moved = asyncio.Event()
        self._manifest = self._digest(node.view)
        node.on_view.append(self._see)

    async def begin(self) -> None:
        """Do it before anybody is followed; where it cannot be done now, the day's work tries again."""
        try:
            await self.run()
        except (RefusedError, UnavailableError) as error:
            self._hinder(error)

    async def run(self) -> None:
        """Make the windows that are missing, then the key sheet that is due; in force when this returns.

        Raises:
            UnavailableError: Nothing can be written now.
            IntegrityError: The key files cannot be read or written.
        """
        if self._renewal is None:
            return
        made = await asyncio.to_thread(self._renewal.make_windows)
        if made:
            self._log.write("renewed", kind="windows", count=made)
        await self.renew_sheet()

    async def renew_sheet(self) -> None:
        """Make and adopt the key sheet that is due; who follows us is told by the adoption."""
        renewal = self._renewal
        if renewal is None:
            return
        async with self._one:
            signed = await asyncio.to_thread(renewal.make_sheet)
            if renewal.hindrance is not None:
                self._hinder(renewal.hindrance)
            if signed is not None:
                await self._node.adopt(RecordKind.KEY_SHEET, signed)
                sheet = self._node.view.federation.key_sheets[self._node.view.agency].record
                self._log.write("renewed", kind="key-sheet", version=sheet.version, count=len(sheet.encryption_keys))

    async def follow(self) -> None:
        """Make a sheet under each own manifest that comes into force, until cancelled."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self.renew_sheet()
            except (RefusedError, UnavailableError) as error:  # the day's run tries again
                self._hinder(error)
            except Exception as error:  # noqa: BLE001 - the node goes on without a new sheet, and it must be seen
                self._log.fault("renewal", error)

    def _hinder(self, error: RefusedError | UnavailableError) -> None:
        self._log.alarm("no-key-sheet", code=error.code if isinstance(error, RefusedError) else UNAVAILABLE)

    def _see(self, view: NodeView) -> None:
        digest = self._digest(view)
        if digest != self._manifest:
            self._manifest = digest
            self._moved.set()

    @staticmethod
    def _digest(view: NodeView) -> bytes:
        known = view.federation.manifests.get(view.agency)
        return known.digest if known is not None else b""
