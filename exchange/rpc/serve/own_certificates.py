"""A running node's certificate: shown to others, renewed by the issuing key, or asked for; and what the root gives back.

Listeners and dialling share one ``Identity``; what is put into it is shown from the next handshake on, and no open
connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from exchange.acts import directory
from exchange.acts.directory import RecordKind
from exchange.acts.node_view import NodeView
from exchange.node.node import Node
from exchange.rpc.lane.records import RecordAdoption
from exchange.rpc.transport.channel import Identity
from exchange.rpc.transport.program_log import ProgramLog
from keys import node_certificates as certificates
from keys.countdown import Deadline, deadlines
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.key_files import NodeKeys

DAY_SECONDS = 86_400.0
AGAIN_SECONDS = 600.0  # after a run that could not write


class OwnCertificates:
    """The certificate of one node and what its root renews.

    Args:
        node: Opened.
        keys: Its keys.
        identity: What listeners and dialling show; changed in place.
        now_ms: The clock.
        log: The program's.
    """

    def __init__(
        self, node: Node, keys: NodeKeys, identity: Identity, now_ms: Callable[[], int], log: ProgramLog
    ) -> None:
        self._node, self._home = node, node.paths.home
        self._keys, self._identity = keys, identity
        self._now_ms, self._log = now_ms, log
        self._one = asyncio.Lock()
        node.on_view.append(self._see)

    def show(self) -> bool:
        """Show what lies in the home from the next handshake on; return whether it is another certificate."""
        chain = certificates.own_chain(self._home, self._node.view)
        changed, self._identity.leaf = chain != self._identity.leaf, chain
        return changed

    async def request(self) -> SignedPayload:
        """Make what the root is asked for now."""
        work = (self._home, self._node.view, self._keys, self._now_ms())
        return await asyncio.to_thread(certificates.own_request, *work)

    async def revive(self) -> None:
        """Renew a certificate that has expired while the node was down, before others are asked: they would not answer.

        What cannot be renewed here is told at once; it is nobody's fault but stops everything.
        """
        view, now_ms = self._node.view, self._now_ms()
        async with self._one:
            if certificates.leaf_ends_ms(self._home) > now_ms:
                return
            work = (self._home, view, self._keys, now_ms, self._node.random_bytes)
            try:
                renewed = await asyncio.to_thread(certificates.renew_leaf, *work)
            except RefusedError as error:
                self._log.alarm("no-certificate", code=error.code)
                return
            if renewed:
                self.show()
                self._log.write("renewed", kind="certificate")
            else:
                self._log.alarm("certificate-expired")

    async def run(self) -> None:
        """Renew the certificate where it is due and the issuing key can; write the request where the root is needed.

        Raises:
            OSError: The home takes no file.
            RefusedError: The issuing key is not the manifest's.
        """
        async with self._one:
            now_ms, view = self._now_ms(), self._node.view
            if certificates.leaf_ends_ms(self._home) - now_ms < certificates.DUE_MS:
                work = (self._home, view, self._keys, now_ms, self._node.random_bytes)
                if await asyncio.to_thread(certificates.renew_leaf, *work):
                    self.show()
                    self._log.write("renewed", kind="certificate")
            due = self._due(now_ms)
            await asyncio.to_thread(
                certificates.put_request, self._home, (await self.request()).encode() if due else b""
            )
            for each in due:
                self._log.alarm("renewal-due", kind=each.what, count=each.days(now_ms))

    async def take(self, signed: SignedPayload, adoption: RecordAdoption) -> bool:
        """Put a renewal in force: 1 judged as a whole, 2 the leaves written, 3 the manifest adopted, 4 the leaf shown.

        Returns:
            Whether its manifest is new here.

        Raises:
            RefusedError: As ``certificates.check_renewal``; nothing is changed then.
        """
        async with self._one:
            view = self._node.view
            renewal = certificates.check_renewal(signed, view, self._home, self._now_ms())  # 1
            if not directory.is_known(self._node.reads, RecordKind.MANIFEST, renewal.manifest):
                directory.check_own(RecordKind.MANIFEST, renewal.manifest, view, self._now_ms())
            await asyncio.to_thread(certificates.put_renewal, self._home, view, renewal)  # 2
            fresh = await adoption.take(renewal.manifest)  # 3
            self.show()  # 4
            certificates.put_request(self._home, b"")
        self._log.write("renewed", kind="certificate")
        return fresh

    async def follow(self) -> None:
        """Do it at the start and once a day, until cancelled; what cannot be done now is tried again soon."""
        while True:
            pause = DAY_SECONDS
            try:
                await self.run()
            except RefusedError as error:
                self._log.alarm("no-certificate", code=error.code)
            except Exception as error:  # noqa: BLE001 - the node goes on with what it has, and it must be seen
                self._log.fault("certificates", error)
                pause = AGAIN_SECONDS
            await asyncio.sleep(pause)

    def _due(self, now_ms: int) -> list[Deadline]:
        ends_ms = certificates.leaf_ends_ms(self._home)
        told = deadlines(self._node.view.federation, self._node.view.agency, ends_ms)
        return [each for each in told if each.by_root and each.ends_ms - now_ms < certificates.DUE_MS]

    def _see(self, view: NodeView) -> None:
        """Show the issuing key's certificate as the manifest that is in force now names it."""
        if view.federation.issuing(view.agency):
            self.show()
