"""The typed library behind the commands, and for anybody who connects an agency's own systems.

One rule: nothing that the node says is believed because the node says it. What the client signs it composed and judged
itself; what it hands out as opened it has verified against the roster that was compared at enrolment.

    with Client.connect(Path("/var/lib/exchange"), "intake", passphrase=read) as node:
        node.publish(Path("bulletin.yaml"))
        for item in node.subscribe(after=cursor):
            opened = node.read(item, case="2025/17", because="intake")

Errors: RefusedError (``code``; for a bulletin's own faults RulesError with ``complaints``), UnavailableError (nothing
is wrong, try again), IntegrityError (the node's log contradicts what was seen of it), UnverifiedError (opened, and not
to be verified now: it was not handled, read it again).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from audit.entry.entry import Kind, Outcome
from audit.note.epochs import epoch_of_origin
from audit.record.statement import ReadPurpose
from exchange.client.agent import open_keys
from exchange.client.compose import Source
from exchange.client.publisher import BulletinPublisher
from exchange.client.session import PAGE, Line, Surroundings, translate
from exchange.client.values import (
    Composed,
    Exported,
    Hold,
    Opened,
    OwnReading,
    Published,
    Received,
    Sent,
    UnverifiedError,
    is_named,
    received_of,
    sent_of,
    uuid_text,
    whole_id,
)
from exchange.node.enrolment import Enrolment, load_enrolment
from exchange.records.bulletin import id_bytes
from exchange.records.receipt import VerifiedReceipt, receipt_from_message
from exchange.store.log_position import log_position
from exchange.v1 import node_pb2
from keys.countdown import Deadline
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.identity import AgencyId
from keys.key_files import OfficerKeys

WAIT_SECONDS = 0.2
SUBJECTS = 100  # of one request: their texts must fit one message


class Client:
    """What one person or system can do at the own node."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._publisher = BulletinPublisher(line)
        self.trust = line.trust

    @classmethod
    def connect(
        cls,
        home: Path,
        officer: str,
        *,
        passphrase: Callable[[], bytes] | None = None,
        keys: OfficerKeys | None = None,
        desk: str | None = None,
        surroundings: Surroundings | None = None,
    ) -> Client:
        """Open somebody's keys, dial the node, and check that it is the node of the federation that was compared.

        Args:
            home: The node's home, or a copy of its settings, ``ca.der`` and the person's folder.
            officer: Id within the agency.
            passphrase: Asked only where no agent holds the keys and none are given.
            keys: Already opened ones.
            desk: host:port instead of the one in the settings.
            surroundings: The machine's if not given.

        Raises:
            RefusedError: UNOPENABLE, PEER_UNTRUSTED, NOT_A_MEMBER and others.
            IntegrityError: The node's log is behind what was seen of it.
            UnavailableError: The node does not answer.
        """
        enrolment = load_enrolment(home, officer)
        opened = keys if keys is not None else open_keys(enrolment, passphrase)
        return cls(Line(enrolment, opened, desk or enrolment.desk, surroundings or Surroundings()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for answers that are owed, write down the newest checkpoint seen, hang up."""
        self._publisher.close()
        self._line.close()

    @property
    def agency(self) -> AgencyId:
        """Ours."""
        return self._line.enrolment.agency

    @property
    def enrolment(self) -> Enrolment:
        """Who we are in which home."""
        return self._line.enrolment

    @property
    def now_ms(self) -> int:
        """The client's clock, milliseconds UTC."""
        return self._line.clock_ms()

    def countdown(self) -> list[Deadline]:
        """Return what ends soon for our agency's node and for us, as ``Line.countdown``."""
        return self._line.countdown()

    # ------------------------------------------------------------------ publishing

    def compose(self, source: Source) -> Composed:
        """Make a bulletin ready to be signed, as ``BulletinPublisher.compose``; nothing is sent."""
        return self._publisher.compose(source)

    def publish(self, source: Source | Composed) -> Published:
        """Sign a bulletin, hand it to the node, verify the receipt, as ``BulletinPublisher.publish``."""
        return self._publisher.publish(source)

    def publish_many(self, sources: Iterable[Source | Composed]) -> Iterator[Published | RefusedError]:
        """Publish many, gathered into few messages, as ``BulletinPublisher.publish_many``."""
        return self._publisher.publish_many(sources)

    # ------------------------------------------------------------------ inbox

    def inbox(self, after: int = 0) -> Iterator[Received]:
        """Yield what was received after a cursor, oldest first, then end."""
        while True:
            page = self._line.inbox_page(after)
            yield from map(received_of, page.items)
            if len(page.items) < PAGE:
                return
            after = page.cursor

    def subscribe(self, after: int = 0) -> Iterator[Received]:
        """Yield what was received after a cursor and go on with what arrives; never ends by itself.

        At least once: keep ``item.cursor`` after handling, the bulletin's sender and id tell a repetition. Where the
        node goes away it is dialled again.

        Raises:
            RefusedError: The node refuses this person.
        """
        while True:
            try:
                for page in self._line.stub.Watch(node_pb2.WatchRequest(after=after)):
                    for item in page.items:
                        yield received_of(item)
                        after = item.index
                    after = max(after, page.cursor)
            except Exception as raised:
                error = translate(raised)
                if not isinstance(error, UnavailableError):
                    raise error from raised
                time.sleep(max(error.retry_after_seconds, WAIT_SECONDS))

    def find(self, name: str) -> Received | Sent:
        """Find a bulletin by its number, its id or the beginning of it.

        Raises:
            RefusedError: NO_SUCH_BULLETIN; TOO_MANY where the beginning fits several.
        """
        wanted = name.strip()
        found: list[Received | Sent] = [each for each in self._inbox_items(wanted) if is_named(wanted, each)]
        found += [each for each in self._sent_items(wanted) if is_named(wanted, each)]
        if not found:
            raise RefusedError("NO_SUCH_BULLETIN", f"{wanted[:60]!a} is neither in the inbox nor sent")
        if len(found) > 1:
            raise RefusedError("TOO_MANY", f"{wanted[:60]!a} fits {len(found)} bulletins; type more of the id")
        return found[0]

    def subjects(self, items: Iterable[Received], *, case: str, because: str) -> dict[tuple[str, str], str]:
        """Read the subjects of bulletins; the signed requests and their entries come first, one for each hundred.

        Returns:
            By (sender, bulletin id), in the bulletin's first language; what is erased has none.
        """
        listed = tuple(sorted({(each.sender, id_bytes(each.bulletin_id)) for each in items if not each.erased}))
        told: dict[tuple[str, str], str] = {}
        for first in range(0, len(listed), SUBJECTS):
            told |= self._subjects(listed[first : first + SUBJECTS], case, because)
        return told

    def _subjects(
        self, listed: tuple[tuple[AgencyId, bytes], ...], case: str, because: str
    ) -> dict[tuple[str, str], str]:
        signed = self._line.sign_request(ReadPurpose.TRIAGE, case, because, listed=listed)
        answer = self._line.call(self._line.stub.ListSubjects, node_pb2.ListSubjectsRequest(read=signed.to_message()))
        proven = self.trust.check_reading(receipt_from_message(answer.receipt), Kind.LISTED, answer.blind, signed)
        if proven.body.count != len(listed):
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} lists {proven.body.count} bulletins")
        self._line.saw(proven)
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
            UnverifiedError: It was opened and cannot be verified now; the node knows that this reading failed.
        """
        return self._read(item, self._sign_about(item, purpose, case, because), item.cursor)

    def own_reading(self, item: Received | Sent) -> OwnReading | None:
        """Return where this person's last reading of a bulletin stands, and whether it failed; None before the first."""
        wanted = id_bytes(item.bulletin_id)
        items: list[node_pb2.InboxItem] | list[node_pb2.OutboxItem] = (
            [each for each in self._line.inbox_page(0, wanted).items if each.sender == item.sender]
            if isinstance(item, Received)
            else list(self._line.outbox_page(0, wanted).items)
        )
        found = next((each.own_reading for each in items if each.HasField("own_reading")), None)
        return OwnReading(position=found.index, failed=found.failed) if found is not None else None

    def read_again(self, item: Received | Sent) -> Opened:
        """Read once more what this person has read, for the same case and reason; the log has a new OPENED.

        Raises:
            RefusedError: NO_SUCH_BULLETIN where this person has not read it before, or the request was erased; as ``read``.
        """
        last = self.own_reading(item)
        if last is None:
            raise RefusedError("NO_SUCH_BULLETIN", f"you have not read {item.bulletin_id} before: say case and reason")
        return self._read(item, self._line.sign_request(None, "", "", position=last.position), last.position)

    def _read(self, item: Received | Sent, signed: SignedPayload, about: int) -> Opened:
        answer = self._line.call(self._line.stub.Read, node_pb2.ReadRequest(read=signed.to_message()))
        proven = self._prove_reading(item, signed, answer, Kind.OPENED, about)
        with self._reporting(proven):
            return self._verify_opened(item, answer, proven)

    @contextmanager
    def _reporting(self, proven: VerifiedReceipt) -> Iterator[None]:
        """Report to the node what cannot be shown of a reading whose entry is proven, and raise UnverifiedError."""
        try:
            yield
        except (RefusedError, IntegrityError) as error:
            self._report_failed(log_position(epoch_of_origin(proven.checkpoint.origin), proven.entry.index), error)
            raise UnverifiedError(error) from error

    def _report_failed(self, position: int, error: RefusedError | IntegrityError) -> None:
        """Tell the node that this reading showed nothing; where that cannot be entered the reading still showed nothing."""
        code = error.code if isinstance(error, RefusedError) else "DAMAGED"
        outcome = Outcome[code] if code in Outcome.__members__ else Outcome.DAMAGED
        signed = self._line.sign_request(None, "", "", position=position, outcome=outcome)
        with suppress(RefusedError, UnavailableError):
            request = node_pb2.ReportFailedRequest(read=signed.to_message())
            answer = self._line.call(self._line.stub.ReportFailed, request)
            receipt = receipt_from_message(answer.receipt)
            self._line.saw(self.trust.check_reading(receipt, Kind.READ_FAILED, answer.blind, signed))

    def export(self, item: Received | Sent, *, case: str, because: str) -> Exported:
        """Open one bulletin to show some of it outside: as ``read``, with its errors, but the log says EXPORTED.

        Returns:
            What was opened, with the proof of the entry that commits to its fields.
        """
        signed = self._sign_about(item, ReadPurpose.EXPORT, case, because)
        answer = self._line.call(self._line.stub.Export, node_pb2.ExportRequest(read=signed.to_message()))
        proven = self._prove_reading(item, signed, answer.opened, Kind.EXPORTED, item.cursor)
        with self._reporting(proven):
            opened = self._verify_opened(item, answer.opened, proven)
            receipt = receipt_from_message(answer.published)
            self.trust.check_committed(receipt, id_bytes(item.bulletin_id), opened.statement)
        return Exported(opened=opened, proof=receipt, request=signed, blind=answer.opened.blind)

    def hold(self, item: Received | Sent, *, case: str, because: str, release: bool = False) -> Hold:
        """Keep a bulletin from erasure until it is released, or release all its holds; signed and logged.

        Raises:
            RefusedError: NOT_ALLOWED, KEY_GONE for an erased one, NO_SUCH_BULLETIN where none is to release.
        """
        purpose = ReadPurpose.RELEASE if release else ReadPurpose.HOLD
        signed = self._sign_about(item, purpose, case, because)
        answer = self._line.call(self._line.stub.Hold, node_pb2.HoldRequest(read=signed.to_message()))
        receipt = receipt_from_message(answer.receipt)
        kind = Kind.HOLD_RELEASED if release else Kind.HOLD_SET
        proven = self.trust.check_reading(receipt, kind, answer.blind, signed)
        self._line.saw(proven)
        return Hold(log_index=proven.entry.index, count=answer.count, receipt=receipt)

    def _sign_about(self, item: Received | Sent, purpose: ReadPurpose, case: str, because: str) -> SignedPayload:
        return self._line.sign_request(
            purpose,
            case,
            because,
            sender=item.sender if isinstance(item, Received) else self.agency,
            bulletin_id=id_bytes(item.bulletin_id),
            statement_digest=item.statement_digest,
        )

    def _prove_reading(
        self, item: Received | Sent, signed: SignedPayload, answer: node_pb2.ReadResponse, kind: Kind, about: int
    ) -> VerifiedReceipt:
        """Verify that our log commits to this very reading: of the bulletin, or of an earlier reading of it."""
        proven = self.trust.check_reading(receipt_from_message(answer.receipt), kind, answer.blind, signed)
        epoch = proven.body.refers_to_epoch or epoch_of_origin(proven.checkpoint.origin)
        refers = log_position(epoch, proven.body.refers_to)
        again = about != item.cursor and item.cursor < refers <= about  # the first of the readings of it
        if proven.body.bulletin_id != id_bytes(item.bulletin_id) or (refers != about and not again):
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} is of another bulletin")
        self._line.saw(proven)
        return proven

    def _verify_opened(self, item: Received | Sent, answer: node_pb2.ReadResponse, proven: VerifiedReceipt) -> Opened:
        """Hold an answer against what the author signed, by the records in force when our node accepted it."""
        sender = item.sender if isinstance(item, Received) else self.agency
        at_ms = item.received_ms if isinstance(item, Received) else item.published_ms
        if answer.HasField("accepted"):
            accepted = receipt_from_message(answer.accepted)
            at_ms = self.trust.check_accepted(accepted, item.cursor, id_bytes(item.bulletin_id), answer.records)
        manifest = SignedPayload.from_message(answer.author_manifest)
        statement = SignedPayload.from_message(answer.statement)
        verified = self.trust.check_statement(
            statement,
            sender=sender,
            digest=item.statement_digest,
            manifest=self.trust.manifest_of_before(manifest, sender, answer.records.manifest),
            at_ms=at_ms,
        )
        return Opened(
            bulletin=verified.bulletin,
            statement=verified.statement,
            signed=statement,
            statement_digest=item.statement_digest,
            author=verified.author,
            key_id=verified.key_id,
            log_index=proven.entry.index,
            receipt=receipt_from_message(answer.receipt),
            received=item if isinstance(item, Received) else None,
        )

    # ------------------------------------------------------------------ outbox

    def outbox(self, after: int = 0) -> Iterator[Sent]:
        """Yield what we sent after a cursor, oldest first: one state a recipient, each receipt verified here.

        Raises:
            RefusedError: RECEIPT_INVALID and others where the node tells what no receipt proves.
        """
        for item in self._outbox_items(after):
            yield sent_of(item, self.trust.check_states(item, self._line.own_manifest(item.manifest)))

    def _inbox_items(self, name: str) -> Iterator[Received]:
        """Yield where a name can be found: one question for an id, the whole inbox for a number or a beginning."""
        whole = whole_id(name)
        return map(received_of, self._line.inbox_page(0, whole).items) if whole else self.inbox()

    def _sent_items(self, name: str) -> Iterator[Sent]:
        """The same of the outbox, states left out."""
        whole = whole_id(name)
        for item in self._line.outbox_page(0, whole).items if whole else self._outbox_items(0):
            yield sent_of(item, ())

    def _outbox_items(self, after: int) -> Iterator[node_pb2.OutboxItem]:
        while True:
            page = self._line.outbox_page(after)
            yield from page.items
            if not page.items:  # a page may be short because its receipts filled it, so only an empty one is the end
                return
            after = page.cursor
