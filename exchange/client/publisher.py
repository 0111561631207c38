"""Publishing from the author's side: compose, sign, hand over, verify what comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from audit.record.statement import Statement, statement_digest
from exchange.client.batcher import Batcher
from exchange.client.compose import (
    Source,
    check_audience,
    check_rules,
    complete_draft,
    fill_targets,
    needs,
    read_source,
)
from exchange.client.session import PAGE, Line, translate
from exchange.client.values import Composed, Published, uuid_text
from exchange.records.bulletin import encode_bulletin, id_bytes, kind_of, recipients_of
from exchange.records.receipt import receipt_from_message
from exchange.rules.complaint import Complaint, RulesError
from exchange.v1 import node_pb2
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.refusals import is_public

PUBLISH_SECONDS = 60.0  # a publishing call may wait behind a full group
RETRIES = 3  # of one that broke; the node takes the same statement once
WAIT_SECONDS = 0.2


class BulletinPublisher:
    """An author's side of publishing, on one line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._batcher: Batcher | None = None

    def close(self) -> None:
        """Wait for the answers that are owed."""
        if self._batcher is not None:
            self._batcher.close()

    def compose(self, source: Source) -> Composed:
        """Make a bulletin ready to be signed: read, complete, judge, compute its audience. Nothing is sent.

        Args:
            source: A YAML file's path, its bytes, or a bulletin message. What of the header nobody needs to type is
                filled in; a number is reserved at the node only for a bulletin that is right.

        Raises:
            RulesError: With every complaint.
            RefusedError: SENDER_DIFFERS, TARGET_MISSING, NO_RECIPIENT.
        """
        draft = read_source(source)
        bulletin = complete_draft(
            draft.message,
            agency=self._line.enrolment.agency,
            author=self._line.enrolment.officer,
            now_ms=self._line.clock_ms(),
            random_bytes=self._line.random,
            catalogue=self._line.trust.catalogue,
        )
        check_rules(bulletin, self._line.trust.catalogue, draft)
        if bulletin.header.originator != self._line.enrolment.agency:
            raise RefusedError(
                "SENDER_DIFFERS",
                f"originator {bulletin.header.originator}, you write for {self._line.enrolment.agency}",
            )
        recipients = recipients_of(bulletin.header.addressees, self._line.enrolment.agency)
        check_audience(recipients, self._line.trust.federation.roster)
        wanted = needs(draft.message, bulletin, self._line.trust.catalogue)
        if wanted is not None:
            request = node_pb2.ReserveNumberRequest(kind_code=wanted[0], year=wanted[1])
            bulletin.header.number = self._line.call(self._line.stub.ReserveNumber, request).number
        fill_targets(bulletin, self._digest_of)
        return Composed(
            bulletin=bulletin,
            kind=kind_of(bulletin),
            recipients=recipients,
        )

    def publish(self, source: Source | Composed) -> Published:
        """Sign a bulletin, hand it to the node, verify the receipt. Callers in many threads share messages.

        Raises:
            RefusedError: As ``compose``; what the node refuses; RECEIPT_INVALID for an answer that proves nothing.
            UnavailableError: After a few tries with the very same bytes; whether it was taken, ``outbox`` says.
        """
        statement, signed, composed = self._sign(source)
        for left in reversed(range(RETRIES)):
            try:
                return self._accept(self._submit(signed).result(PUBLISH_SECONDS), statement, signed, composed)
            except UnavailableError as error:
                if not left:
                    raise
                time.sleep(min(error.retry_after_seconds, WAIT_SECONDS * (RETRIES - left)))
            except TimeoutError as error:
                raise UnavailableError("the node did not answer; exchange outbox says whether it was taken") from error
        raise AssertionError("a loop that returns or raises")

    def publish_many(self, sources: Iterable[Source | Composed]) -> Iterator[Published | RefusedError]:
        """Publish many, gathered into few messages; answers in their order, a refusal in place of its answer.

        Raises:
            UnavailableError: The node went away; what was answered before is durable.
        """
        waiting: list[tuple[Statement, SignedPayload, Composed, Future[node_pb2.PublishResult]]] = []
        for source in sources:
            statement, signed, composed = self._sign(source)
            waiting.append((statement, signed, composed, self._submit(signed)))
            if len(waiting) >= PAGE:
                yield self._settled(*waiting.pop(0))
        for each in waiting:
            yield self._settled(*each)

    def _settled(
        self, statement: Statement, signed: SignedPayload, composed: Composed, future: Future[node_pb2.PublishResult]
    ) -> Published | RefusedError:
        try:
            return self._accept(future.result(PUBLISH_SECONDS), statement, signed, composed)
        except RefusedError as refusal:
            return refusal

    def _sign(self, source: Source | Composed) -> tuple[Statement, SignedPayload, Composed]:
        composed = source if isinstance(source, Composed) else self.compose(source)
        statement = Statement(
            federation_id=self._line.trust.federation.federation_id,
            salt=self._line.random(32),
            bulletin=encode_bulletin(composed.bulletin),
            roster_digest=self._line.trust.federation.roster_digest,
            recipients=composed.recipients,
            log_head=self._line.seen,
        )
        return statement, dsse.sign(statement.encode(), ("statement", self._line.keys.signer)), composed

    def _submit(self, signed: SignedPayload) -> Future[node_pb2.PublishResult]:
        with self._lock:
            if self._batcher is None or self._batcher.broken:
                self._batcher = Batcher(self._line.stub.Publish, translate)
            return self._batcher.submit(signed)

    def _accept(
        self, result: node_pb2.PublishResult, statement: Statement, signed: SignedPayload, composed: Composed
    ) -> Published:
        if result.HasField("refusal"):
            raise _refusal(result.refusal)
        bulletin_id = composed.bulletin.header.bulletin_id
        manifest = self._line.own_manifest(result.manifest)
        proven, dispatch = self._line.trust.check_published(result, statement, signed, id_bytes(bulletin_id), manifest)
        self._line.saw(proven)
        return Published(
            number=composed.number,
            bulletin_id=bulletin_id,
            statement_digest=statement_digest(signed.payload),
            log_index=proven.entry.index,
            receipt=receipt_from_message(result.receipt),
            recipients=tuple(each.agency for each in dispatch.recipients),
            absent={each.agency: each.reason.name.lower().replace("_", " ") for each in dispatch.absent},
        )

    def _digest_of(self, bulletin_id: bytes, *, own: bool) -> bytes:
        """Find the statement that a relation is about: among our own first, or among what came first."""
        sent = [item.statement_digest for item in self._line.outbox_page(0, bulletin_id).items]
        got = [item.statement_digest for item in self._line.inbox_page(0, bulletin_id).items]
        found = sent + got if own else got + sent
        if not found:
            raise RefusedError("TARGET_MISSING", f"bulletin {uuid_text(bulletin_id)} is neither in the inbox nor sent")
        return found[0]


def _refusal(refusal: node_pb2.Refusal) -> RefusedError:
    """Make the node's refusal of a statement the error that it is."""
    if refusal.complaints:
        return RulesError(
            tuple(
                Complaint(code=each.code, path=each.path, message=each.message, hint=each.hint or None)
                for each in refusal.complaints
            )
        )
    if not is_public(refusal.code):  # the node is of a newer release
        return RefusedError("NOT_UNDERSTOOD", f"{refusal.code}: {refusal.message}")
    return RefusedError(refusal.code, refusal.message)
