"""Desk: what the own officers and systems ask of their node. Each method is one column: check, convert, act, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from audit.record.dispatch import parse_dispatch
from audit.record.statement import Asked, parse_statement
from exchange.acts import legal_hold, reading
from exchange.acts.reading import Granted, Reader
from exchange.acts.reissue import renew
from exchange.acts.stored_bulletin import author_key, manifest_of
from exchange.acts.unit_of_work import RecordsMovedError
from exchange.node.failpoint import failpoint
from exchange.node.writer import Group
from exchange.records.bulletin import parse_bulletin
from exchange.records.receipt import Receipt
from exchange.rpc.desk.items import cursor, inbox_item, lanes_by_row, outbox_item, tell_silence
from exchange.rpc.desk.publish_stream import PublishStream
from exchange.rpc.desk.single_calls import SingleCalls
from exchange.rpc.transport.fanout import Fanout
from exchange.rpc.transport.grpc_types import Context
from exchange.rpc.transport.interceptor import caller
from exchange.rpc.transport.limits import MAX_PAGE, PAGE
from exchange.rpc.transport.runtime import Runtime
from exchange.rpc.transport.silence import silences
from exchange.store.log_position import epoch_of
from exchange.store.rows import StoredBulletin
from exchange.v1 import node_pb2
from keys import node_certificates
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.identity import short
from keys.v1 import signed_pb2

YEARS = range(1970, 10_000)
ATTEMPTS = 3  # at entering a reading while records are adopted beside it


class Desk:
    """The servicer of ``exchange.v1.Desk``."""

    def __init__(self, runtime: Runtime, fanout: Fanout) -> None:
        self._node, self._fanout, self._now_ms = runtime.node, fanout, runtime.now_ms
        self._publish_stream = PublishStream(runtime)
        self._single_calls = SingleCalls(self._publish_stream.enter)
        self._runtime = runtime
        self._stopping = False

    def stop(self) -> None:
        """End the feeds in order."""
        self._stopping = True
        self._fanout.wake_all()

    async def Profile(self, request: node_pb2.ProfileRequest, context: Context) -> node_pb2.ProfileResponse:
        """Return what a client must know before it signs, and a renewed certificate that waits for its owner."""
        view, home, owner = self._node.view, self._node.paths.home, caller().owner
        shown = next(iter(context.auth_context()["x509_pem_cert"]))
        officer = owner.partition("/")[2]
        node_certificates.note_leaf(home, officer, shown)
        return node_pb2.ProfileResponse(
            agency=view.agency,
            roster=view.federation.rosters[-1].signed.to_message(),
            manifest=view.federation.manifests[view.agency].signed.to_message(),
            key_sheet=view.federation.key_sheets[view.agency].signed.to_message(),
            checkpoint=self._node.note,
            owner=owner,
            leaf=node_certificates.newer_leaf(home, officer, shown),
            node_leaf_ends_ms=node_certificates.leaf_ends_ms(home),
        )

    async def ReserveNumber(
        self, request: node_pb2.ReserveNumberRequest, context: Context
    ) -> node_pb2.ReserveNumberResponse:
        """Return the next number of a kind and a year; RefusedError MALFORMED for a kind that there is not."""
        view, code, year = self._node.view, request.kind_code, request.year
        catalogue = view.catalogue(view.federation.roster_digest)
        if code not in {kind.code for kind in catalogue.kinds.values()} or year not in YEARS:
            raise RefusedError("MALFORMED", "no kind of this code, or no such year")
        number = await self._node.writer.submit(lambda work: work.rows.next_number(code, year))
        return node_pb2.ReserveNumberResponse(number=f"{view.agency}/{code}/{year}/{number:06d}")

    async def Publish(self, requests: AsyncIterator[node_pb2.PublishRequest], context: Context) -> None:
        """Publish statements in batches; answers in order, refusals among them."""
        await self._publish_stream.stream(requests, context, caller())

    async def PublishOne(self, request: node_pb2.PublishOneRequest, context: Context) -> node_pb2.PublishOneResponse:
        """Publish one statement; the same path."""
        return node_pb2.PublishOneResponse(result=await self._single_calls.publish(request.statement, caller()))

    async def Inbox(self, request: node_pb2.InboxRequest, context: Context) -> node_pb2.InboxResponse:
        """List received bulletins after a cursor, or one by its id."""
        stored = self._page(request.after, request.limit, request.bulletin_id, sent=False)
        items = [inbox_item(each, self._node.reads) for each in stored]
        if request.bulletin_id:
            self._tell_own_readings(items, stored)
        return node_pb2.InboxResponse(items=items, cursor=cursor(stored, request.after))

    async def Watch(self, request: node_pb2.WatchRequest, context: Context) -> None:
        """List received bulletins after a cursor and go on with what arrives; pulled from the store, never queued."""
        check_cursor(request.after)
        event, after = self._fanout.watch(), request.after
        try:
            while not self._stopping:
                event.clear()
                stored = self._node.reads.stored_since(after, PAGE, sent=False)
                if not stored:
                    await event.wait()
                    continue
                after = cursor(stored, after)
                items = [inbox_item(each, self._node.reads) for each in stored]
                await context.write(node_pb2.WatchResponse(items=items, cursor=after))
        finally:
            self._fanout.unwatch(event)
        raise UnavailableError("the node is stopping; go on from the last cursor", 5)

    async def Outbox(self, request: node_pb2.OutboxRequest, context: Context) -> node_pb2.OutboxResponse:
        """List what was published, with one state and one reason for each recipient."""
        stored = self._page(request.after, request.limit, request.bulletin_id, sent=True)
        reads = self._node.reads
        lanes, silent = lanes_by_row(reads), silences(self._runtime)
        items: list[node_pb2.OutboxItem] = []
        shown: list[StoredBulletin] = []
        size = 0
        for each in stored:
            item = outbox_item(each, lanes, self._node.view, reads)
            tell_silence(item, silent)
            size += item.ByteSize()
            if items and size > 1 << 20:
                break  # the rest is asked for with the cursor
            items.append(item)
            shown.append(each)
        if request.bulletin_id:
            self._tell_own_readings(items, shown)
        return node_pb2.OutboxResponse(items=items, cursor=cursor(shown, request.after))

    async def ListSubjects(
        self, request: node_pb2.ListSubjectsRequest, context: Context
    ) -> node_pb2.ListSubjectsResponse:
        """Show subjects of the bulletins that a signed request lists, once LISTED is committed."""
        reader = self._check(request.read)
        if reader.request.asked is not Asked.LIST:
            raise RefusedError("MALFORMED", "a request to list that lists nothing")
        granted, receipt, _ = await self._grant(reader)
        lines = [self._subject(granted, each) for each in granted.stored]
        return node_pb2.ListSubjectsResponse(subjects=lines, receipt=receipt.to_message(), blind=granted.blind)

    async def Read(self, request: node_pb2.ReadRequest, context: Context) -> node_pb2.ReadResponse:
        """Open one bulletin, once OPENED is committed."""
        reader = self._check(request.read)
        if reader.request.asked in (Asked.LIST, Asked.EXPORT):
            raise RefusedError("MALFORMED", "a request to open that lists bulletins, or is one to export")
        granted, receipt, accepted = await self._grant(reader)
        return self._opened(granted, receipt, accepted)

    async def ReportFailed(
        self, request: node_pb2.ReportFailedRequest, context: Context
    ) -> node_pb2.ReportFailedResponse:
        """Enter that an officer's program could not show what was opened for it."""
        reader, view = self._check(request.read), self._node.view
        failed, receipt = await self._node.writer.submit(
            lambda work: reading.fail(work, reader, view, self._node.random_bytes),
            lambda failed, group: (failed, group.receipt(failed.entry_index, self._node.entry)),
        )
        return node_pb2.ReportFailedResponse(receipt=receipt.to_message(), blind=failed.blind)

    async def Record(self, request: node_pb2.DeskRecordRequest, context: Context) -> node_pb2.DeskRecordResponse:
        """Return a record by its digest; RefusedError ROSTER_UNKNOWN if it is not here."""
        record = self._node.reads.record_by_digest(request.digest)
        if record is None:
            raise RefusedError("ROSTER_UNKNOWN", f"no record {short(request.digest)} is here")
        return node_pb2.DeskRecordResponse(record=SignedPayload.decode(record.signed).to_message())

    async def Export(self, request: node_pb2.ExportRequest, context: Context) -> node_pb2.ExportResponse:
        """Open one bulletin to be shown outside, once EXPORTED is committed; with the proof of what the log says of it."""
        reader = self._check(request.read)
        if reader.request.asked is not Asked.EXPORT:
            raise RefusedError("MALFORMED", "a request that is not one to export")
        granted, receipt, accepted = await self._grant(reader)
        published = await self._node.writer.submit(
            lambda work: renew(work, granted.stored[0].entry_index, self._node.old_entry),
            lambda position, group: group.receipt(position, self._node.entry),
        )
        opened = self._opened(granted, receipt, accepted)
        return node_pb2.ExportResponse(opened=opened, published=published.to_message())

    async def Hold(self, request: node_pb2.HoldRequest, context: Context) -> node_pb2.HoldResponse:
        """Keep a bulletin from erasure, or let it go, once that is committed."""
        reader, view = self._check(request.read), self._node.view
        kept, receipt = await self._node.writer.submit(
            lambda work: legal_hold.hold(work, reader, view, self._node.random_bytes),
            lambda kept, group: (kept, group.receipt(kept.entry_index, self._node.entry)),
        )
        if kept.denied is not None:
            raise kept.denied
        return node_pb2.HoldResponse(receipt=receipt.to_message(), blind=kept.blind, count=kept.count)

    def _opened(self, granted: Granted, receipt: Receipt, accepted: Receipt | None) -> node_pb2.ReadResponse:
        failpoint("opened-committed")
        stored, view = granted.stored[0], self._node.view
        opened = reading.open_bulletin(granted, stored, view, self._node.reads)
        statement = parse_statement(opened.statement.payload)
        author = author_key(parse_dispatch(opened.dispatch.payload))
        reads, names = self._node.reads, lambda manifest: author in manifest.officers_by_key
        roster_digest, then, sheet_digest = reads.records_at(stored.sender, stored.entry_index).digests
        _, manifest = manifest_of(stored, names, reads)
        if manifest.digest != then:
            accepted = None  # it came back after a loss, behind records that name its author no more
        response = node_pb2.ReadResponse(
            statement=opened.statement.to_message(),
            dispatch=opened.dispatch.to_message(),
            receipt=receipt.to_message(),
            blind=granted.blind,
            author_manifest=SignedPayload.decode(manifest.signed).to_message(),
            records=node_pb2.RecordsInForce(roster=roster_digest, manifest=manifest.digest, key_sheet=sheet_digest),
            accepted=accepted.to_message() if accepted is not None else None,
        )
        if stored.sender != view.agency:
            response.item.CopyFrom(inbox_item(stored, self._node.reads))
        for roster in view.federation.rosters:
            if roster.digest == statement.roster_digest:
                response.author_roster.CopyFrom(roster.signed.to_message())
        return response

    def _page(self, after: int, limit: int, bulletin_id: bytes, *, sent: bool) -> list[StoredBulletin]:
        if limit > MAX_PAGE:
            raise RefusedError("TOO_MANY", f"{limit} rows, at most {MAX_PAGE}")
        check_cursor(after)
        reads, view = self._node.reads, self._node.view
        if bulletin_id:
            return [each for each in reads.find_any(bulletin_id) if (each.sender == view.agency) == sent]
        return reads.stored_since(after, limit or PAGE, sent=sent)

    def _check(self, read: signed_pb2.SignedPayload) -> Reader:
        return reading.check_request(
            SignedPayload.from_message(read), caller=caller().owner, view=self._node.view, now_ms=self._now_ms()
        )

    async def _grant(self, reader: Reader) -> tuple[Granted, Receipt, Receipt | None]:
        """Log the reading; what was denied is raised only now, when its entry is durable."""
        for left in reversed(range(ATTEMPTS)):
            try:
                done = await self._enter_grant(reader)
            except RecordsMovedError:
                if not left:
                    raise
                reader = self._check(reader.signed.to_message())
                continue
            if done[0].denied is not None:
                raise done[0].denied
            return done
        raise AssertionError("the last attempt returns or raises")

    async def _enter_grant(self, reader: Reader) -> tuple[Granted, Receipt, Receipt | None]:
        view = self._node.view
        return await self._node.writer.submit(
            lambda work: reading.grant(work, reader, view, self._node.random_bytes), self._finish
        )

    def _finish(self, granted: Granted, group: Group) -> tuple[Granted, Receipt, Receipt | None]:
        """Prove the entry, and the one by which what is opened was accepted, where this epoch of the log has that."""
        accepted, entry = granted.stored[0].entry_index, self._node.entry
        here = len(granted.stored) == 1 and epoch_of(accepted) == epoch_of(granted.entry_index)
        return granted, group.receipt(granted.entry_index, entry), group.receipt(accepted, entry) if here else None

    def _tell_own_readings(
        self, items: Sequence[node_pb2.InboxItem | node_pb2.OutboxItem], stored: list[StoredBulletin]
    ) -> None:
        """Tell the caller's own last reading of each, so that it can be read again without case and reason."""
        officer = caller().owner.partition("/")[2]
        for item, each in zip(items, stored, strict=True):
            last = reading.last_reading(self._node.reads, each, officer)
            if last is not None:
                item.own_reading.CopyFrom(node_pb2.OwnReading(index=last.entry_index, failed=last.failed > 0))

    def _subject(self, granted: Granted, stored: StoredBulletin) -> node_pb2.SubjectLine:
        opened = reading.open_bulletin(granted, stored, self._node.view, self._node.reads)
        statement = parse_statement(opened.statement.payload)
        bulletin = parse_bulletin(statement.bulletin, newer_minor=stored.facts.not_understood)
        return node_pb2.SubjectLine(
            sender=stored.sender,
            bulletin_id=stored.bulletin_id,
            subject=[node_pb2.SubjectText(lang=each.lang, text=each.text) for each in bulletin.header.subject],
        )


def check_cursor(after: int) -> None:
    """Refuse a cursor that is no index of any log: RefusedError MALFORMED."""
    if after >= 1 << 63:
        raise RefusedError("MALFORMED", f"cursor {after} is no index of a log")
