"""The typed library behind the commands, and for whoever connects an agency's own systems.

One rule: nothing that the node says is believed because the node says it. What the client signs it composed and judged
itself; what it hands out as opened it has verified against the roster that was compared at enrolment.

    with Client.connect(Path("/var/lib/exchange"), "intake", passphrase=read) as node:
        node.publish(Path("bulletin.yaml"))
        for item in node.subscribe(after=cursor):
            opened = node.read(item, case="2025/17", because="intake")

Errors: RefusedError (``code``; for a bulletin's own faults RulesError with ``complaints``), UnavailableError (nothing
is wrong, try again), IntegrityError (the node's log contradicts what was seen of it).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self, TypeVar

from audit.entry import Kind
from exchange.agent import open_keys
from exchange.bulletin import encode_bulletin, id_bytes
from exchange.client_compose import Source, check_rules, complete_draft, fill_targets, needs, read_source
from exchange.client_gather import Gatherer
from exchange.client_trust import Trust
from exchange.client_values import (
    Composed,
    Opened,
    Published,
    Received,
    Sent,
    SentState,
    received_of,
    sent_of,
    uuid_text,
)
from exchange.enrolment import Enrolment, load_enrolment, load_seen, save_seen
from exchange.receipt import VerifiedReceipt, receipt_from_message
from exchange.rpc.channel import desk_channel
from exchange.rpc.status import error_of
from exchange.statement import LogHead, ReadPurpose, ReadRequest, Statement, recipients_of, statement_digest
from exchange.v1 import node_pb2, node_pb2_grpc
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.holders import OfficerKeys
from keys.identity import AgencyId

__all__ = [
    "Client",
    "Composed",
    "IntegrityError",
    "Opened",
    "Published",
    "ReadPurpose",
    "Received",
    "RefusedError",
    "Sent",
    "SentState",
    "UnavailableError",
]

DEADLINE_SECONDS = 10.0
PUBLISH_SECONDS = 60.0  # a publishing call may wait behind a full group
PAGE = 500
MIN_PREFIX = 8  # characters of an id that people may type
RETRIES = 3  # of a publishing call that broke; the node takes the same statement once
WAIT_SECONDS = 0.2

R = TypeVar("R")


class Client:
    """One person's or system's line to the own node."""

    def __init__(
        self,
        enrolment: Enrolment,
        keys: OfficerKeys,
        channel: Any,
        *,
        clock_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes] = os.urandom,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self.enrolment = enrolment
        self._keys, self._channel = keys, channel
        self._stub = node_pb2_grpc.DeskStub(channel)
        self._clock_ms, self._random, self._deadline = clock_ms, random_bytes, deadline_seconds
        self._seen = load_seen(enrolment)
        self._saved = self._seen
        self._lock = threading.Lock()
        self._gatherer: Gatherer | None = None
        self.trust = self._begin()

    @classmethod
    def connect(
        cls,
        home: Path,
        officer: str,
        *,
        passphrase: Callable[[], bytes] | None = None,
        keys: OfficerKeys | None = None,
        desk: str | None = None,
        clock_ms: Callable[[], int] | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> Client:
        """Open somebody's keys, dial the node, and check that it is the node of the federation that was compared.

        Args:
            home: The node's home, or a copy of its settings, ``ca.der`` and the person's folder.
            officer: Id within the agency.
            passphrase: Asked only where no agent holds the keys and none are given.
            keys: Already opened ones.
            desk: host:port instead of the one in the settings.
            clock_ms: Milliseconds UTC; the wall clock if not given.
            deadline_seconds: For each call but publishing.

        Raises:
            RefusedError: UNOPENABLE, PEER_UNTRUSTED, NOT_A_MEMBER and others; IntegrityError; UnavailableError.
        """
        enrolment = load_enrolment(home, officer)
        opened = keys if keys is not None else open_keys(enrolment, passphrase)
        channel = desk_channel(
            desk or enrolment.desk,
            agency=enrolment.agency,
            ca=enrolment.ca,
            leaf=enrolment.leaf,
            private=opened.tls_private,
        )
        try:
            return cls(
                enrolment, opened, channel, clock_ms=clock_ms or _wall_clock_ms, deadline_seconds=deadline_seconds
            )
        except BaseException:
            channel.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for answers that are owed, write down the newest checkpoint seen, hang up."""
        if self._gatherer is not None:
            self._gatherer.close()
        self._save()
        self._channel.close()

    @property
    def agency(self) -> AgencyId:
        """Ours."""
        return self.enrolment.agency

    # ------------------------------------------------------------------ publishing

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
            agency=self.agency,
            author=self.enrolment.officer,
            now_ms=self._clock_ms(),
            random_bytes=self._random,
            catalogue=self.trust.catalogue,
        )
        check_rules(bulletin, self.trust.catalogue, draft)
        if bulletin.header.originator != self.agency:
            raise RefusedError(
                "SENDER_DIFFERS", f"originator {bulletin.header.originator}, you write for {self.agency}"
            )
        wanted = needs(draft.message, bulletin, self.trust.catalogue)
        if wanted is not None:
            request = node_pb2.ReserveNumberRequest(kind_code=wanted[0], year=wanted[1])
            bulletin.header.number = self._call(self._stub.ReserveNumber, request).number
        fill_targets(bulletin, self._digest_of)
        return Composed(
            bulletin=bulletin,
            kind=bulletin.WhichOneof("body") or "",
            recipients=recipients_of(bulletin.header.addressees, self.agency),
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
            federation_id=self.trust.federation.federation_id,
            salt=self._random(32),
            bulletin=encode_bulletin(composed.bulletin),
            roster_digest=self.trust.federation.roster_digest,
            recipients=composed.recipients,
            log_head=self._seen,
        )
        return statement, dsse.sign(statement.encode(), ("statement", self._keys.signer)), composed

    def _submit(self, signed: SignedPayload) -> Future[node_pb2.PublishResult]:
        with self._lock:
            if self._gatherer is None or self._gatherer.broken:
                self._gatherer = Gatherer(self._stub.Publish, _translate)
            return self._gatherer.submit(signed)

    def _accept(
        self, result: node_pb2.PublishResult, statement: Statement, signed: SignedPayload, composed: Composed
    ) -> Published:
        if result.HasField("refusal"):
            raise _refusal(result.refusal)
        bulletin_id = composed.bulletin.header.bulletin_id
        proven, dispatch = self.trust.check_published(result, statement, signed, id_bytes(bulletin_id))
        self._saw(proven)
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
        sent = [item.statement_digest for item in self._outbox_page(0, bulletin_id).items]
        got = [item.statement_digest for item in self._inbox_page(0, bulletin_id).items]
        found = sent + got if own else got + sent
        if not found:
            raise RefusedError("TARGET_MISSING", f"bulletin {uuid_text(bulletin_id)} is neither in the inbox nor sent")
        return found[0]

    # ------------------------------------------------------------------ inbox

    def inbox(self, after: int = 0) -> Iterator[Received]:
        """Give what was received after a cursor, oldest first, then end."""
        while True:
            page = self._inbox_page(after)
            yield from map(received_of, page.items)
            if len(page.items) < PAGE:
                return
            after = page.cursor

    def subscribe(self, after: int = 0) -> Iterator[Received]:
        """Give what was received after a cursor and go on with what arrives; never ends by itself.

        At least once: keep ``item.cursor`` after handling, the bulletin's sender and id tell a repetition. Where the
        node goes away it is dialled again.

        Raises:
            RefusedError: The node refuses this person.
        """
        while True:
            try:
                for page in self._stub.Watch(node_pb2.WatchRequest(after=after)):
                    for item in page.items:
                        yield received_of(item)
                        after = item.index
                    after = max(after, page.cursor)
            except Exception as raised:
                error = _translate(raised)
                if not isinstance(error, UnavailableError):
                    raise error from raised
                time.sleep(max(error.retry_after_seconds, WAIT_SECONDS))

    def find(self, name: str) -> Received | Sent:
        """Find a bulletin by its number, its id or the beginning of it.

        Raises:
            RefusedError: NO_SUCH_BULLETIN; TOO_MANY where the beginning fits several.
        """
        wanted = name.strip()
        found: list[Received | Sent] = [each for each in self.inbox() if _names(wanted, each)]
        found += [each for each in self._sent_items() if _names(wanted, each)]
        if not found:
            raise RefusedError("NO_SUCH_BULLETIN", f"{wanted[:60]!a} is neither in the inbox nor sent")
        if len(found) > 1:
            raise RefusedError("TOO_MANY", f"{wanted[:60]!a} fits {len(found)} bulletins; type more of the id")
        return found[0]

    def subjects(self, items: Iterable[Received], *, case: str, because: str) -> dict[tuple[str, str], str]:
        """Read the subjects of bulletins; the signed request and its entry come first.

        Returns:
            By (sender, bulletin id), in the bulletin's first language.
        """
        listed = tuple(sorted({(each.sender, id_bytes(each.bulletin_id)) for each in items}))
        if not listed:
            return {}
        request = self._request(ReadPurpose.TRIAGE, case, because, listed=listed)
        signed = dsse.sign(request.encode(), ("read", self._keys.signer))
        answer = self._call(self._stub.ListSubjects, node_pb2.ListSubjectsRequest(read=signed.to_message()))
        proven = self.trust.check_own(receipt_from_message(answer.receipt), Kind.LISTED)
        if proven.body.count != len(listed):
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} lists {proven.body.count} bulletins")
        self._saw(proven)
        return {
            (line.sender, uuid_text(line.bulletin_id)): next((each.text for each in line.subject), "")
            for line in answer.subjects
        }

    def read(
        self, item: Received | Sent, *, case: str, because: str, purpose: ReadPurpose = ReadPurpose.CASE_WORK
    ) -> Opened:
        """Open one bulletin: the signed request is in the log before the node opens it, then everything is verified.

        Args:
            item: From ``inbox``, ``subscribe``, ``outbox`` or ``find``.
            case: The case it is for, 1 to 64 characters.
            because: Why, in the reader's words, 1 to 500 characters.
            purpose: In the log, as an enum.

        Raises:
            RefusedError: NOT_ALLOWED, KEY_GONE and others of the node; of the verification SIGNATURE_INVALID,
                AUTHOR_DIFFERS, RECIPIENTS_DIFFER, STATEMENT_DIFFERS, RECEIPT_INVALID and others.
        """
        sender = item.sender if isinstance(item, Received) else self.agency
        request = self._request(
            purpose,
            case,
            because,
            sender=sender,
            bulletin_id=id_bytes(item.bulletin_id),
            statement_digest=item.statement_digest,
        )
        signed = dsse.sign(request.encode(), ("read", self._keys.signer))
        answer = self._call(self._stub.Read, node_pb2.ReadRequest(read=signed.to_message()))
        receipt = receipt_from_message(answer.receipt)
        proven = self.trust.check_own(receipt, Kind.OPENED)
        if (proven.body.bulletin_id, proven.body.refers_to) != (request.bulletin_id, item.cursor):
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} is of another bulletin")
        self._saw(proven)
        statement = SignedPayload.from_message(answer.statement)
        verified = self.trust.check_statement(
            statement,
            sender=sender,
            digest=item.statement_digest,
            manifest=SignedPayload.from_message(answer.author_manifest),
            at_ms=item.received_ms if isinstance(item, Received) else item.published_ms,
        )
        return Opened(
            bulletin=verified.bulletin,
            statement=verified.statement,
            signed=statement,
            statement_digest=item.statement_digest,
            author=verified.author,
            key_id=verified.key_id,
            log_index=proven.entry.index,
            receipt=receipt,
            received=item if isinstance(item, Received) else None,
        )

    # ------------------------------------------------------------------ outbox

    def outbox(self, after: int = 0) -> Iterator[Sent]:
        """Give what we sent after a cursor, oldest first: one state a recipient, each receipt verified here.

        Raises:
            RefusedError: RECEIPT_INVALID and others where the node tells what no receipt proves.
        """
        for item in self._outbox_items(after):
            yield sent_of(item, self.trust.check_states(item))

    def _sent_items(self) -> Iterator[Sent]:
        """As ``outbox``, the states left out; to look something up."""
        for item in self._outbox_items(0):
            yield sent_of(item, ())

    def _outbox_items(self, after: int) -> Iterator[node_pb2.OutboxItem]:
        while True:
            page = self._outbox_page(after)
            yield from page.items
            if len(page.items) < PAGE:
                return
            after = page.cursor

    # ------------------------------------------------------------------ inside

    def _begin(self) -> Trust:
        profile = self._call(self._stub.Profile, node_pb2.ProfileRequest())
        if (profile.agency, profile.owner) != (self.agency, self.enrolment.owner):
            raise RefusedError(
                "PEER_UNTRUSTED", f"the node of {profile.agency[:30]!a} takes you for {profile.owner[:70]!a}"
            )
        trust = Trust.found(
            SignedPayload.from_message(profile.roster),
            SignedPayload.from_message(profile.manifest),
            pin=self.enrolment.pin,
            agency=self.agency,
            now_ms=self._clock_ms(),
        )
        head = trust.check_head(profile.checkpoint, self._seen)
        self._seen = LogHead(origin=head.origin, size=head.size, root=head.root)
        return trust

    def _request(self, purpose: ReadPurpose, case: str, because: str, **aim: Any) -> ReadRequest:
        return ReadRequest(
            federation_id=self.trust.federation.federation_id,
            agency=self.agency,
            officer=self.enrolment.officer,
            purpose=purpose,
            case=case,
            reason=because,
            nonce=self._random(16),
            time_ms=self._clock_ms(),
            log_head=self._seen,
            **aim,
        )

    def _inbox_page(self, after: int, bulletin_id: bytes = b"") -> node_pb2.InboxResponse:
        return self._call(self._stub.Inbox, node_pb2.InboxRequest(after=after, limit=PAGE, bulletin_id=bulletin_id))

    def _outbox_page(self, after: int, bulletin_id: bytes = b"") -> node_pb2.OutboxResponse:
        return self._call(self._stub.Outbox, node_pb2.OutboxRequest(after=after, limit=PAGE, bulletin_id=bulletin_id))

    def _call(self, method: Callable[..., R], request: object) -> R:
        try:
            return method(request, timeout=self._deadline)
        except Exception as raised:
            error = _translate(raised)
            if error is raised:
                raise
            raise error from raised

    def _saw(self, proven: VerifiedReceipt) -> None:
        """Remember the newest checkpoint of our log; written down when the client closes."""
        head = proven.checkpoint
        with self._lock:
            if self._seen is None or head.size > self._seen.size:
                self._seen = LogHead(origin=head.origin, size=head.size, root=head.root)

    def _save(self) -> None:
        if self._seen is not None and self._seen != self._saved:
            save_seen(self.enrolment, self._seen)
            self._saved = self._seen


def _names(wanted: str, item: Received | Sent) -> bool:
    if wanted in (item.number, item.bulletin_id):
        return True
    return len(wanted) >= MIN_PREFIX and item.bulletin_id.startswith(wanted.lower())


def _refusal(refusal: node_pb2.Refusal) -> RefusedError:
    """Make the node's refusal of a statement the error that it is."""
    from exchange.rules.complaint import Complaint, RulesError

    if refusal.complaints:
        return RulesError(
            tuple(
                Complaint(code=each.code, path=each.path, message=each.message, hint=each.hint or None)
                for each in refusal.complaints
            )
        )
    return RefusedError(refusal.code, refusal.message)


def _translate(raised: Exception) -> Exception:
    import grpc

    return error_of(raised) if isinstance(raised, grpc.RpcError) else raised


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
