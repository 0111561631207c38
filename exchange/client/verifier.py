"""What a client believes, and why: it verifies again whatever its own node says.

The roster is the one that was compared at enrolment; every key comes from it. A node that was broken into can still
withhold, but it cannot show an officer a bulletin that its author did not sign, nor a receipt that no log holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.entry.entry import Kind
from audit.note.checkpoint import Checkpoint, VerifierKey, verify_note
from audit.note.epochs import epoch_of_origin
from audit.record.commitments import disclosure_root
from audit.record.dispatch import (
    AbsentReason,
    Dispatch,
    check_recipients,
    check_signers,
    dispatch_digest,
    parse_dispatch,
)
from audit.record.lane import delivery_digest, parse_delivery
from audit.record.settled import check_dispatch_built, check_statement_built
from audit.record.statement import LogHead, Statement, opened_digest, parse_statement, read_digest, statement_digest
from exchange.acts.node_view import newest_epoch
from exchange.client.values import ABSENT, SentState
from exchange.records.bulletin import parse_bulletin, recipients_of
from exchange.records.receipt import (
    ExpectedAnswer,
    Receipt,
    VerifiedReceipt,
    check_exchange_receipt,
    origin_of,
    reason_name,
    receipt_from_message,
    verify_receipt,
)
from exchange.rules.catalogue import Catalogue, packaged_catalogue
from exchange.store.log_position import log_position
from exchange.store.rows import DeliveryState
from exchange.v1 import node_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.federation import Federation
from keys.identity import AgencyId, record_digest, records_digest, short
from keys.manifest import Manifest, verify_manifest
from keys.refusals import Cure, cured_by
from keys.roster import catalogue_digest

RUN_OUT = cured_by(Cure.RENEWAL)
_STATES: dict[int, DeliveryState] = {
    Kind.RECEIVED: DeliveryState.RECEIVED,
    Kind.REFUSED: DeliveryState.REFUSED,
    Kind.DUPLICATE: DeliveryState.DUPLICATE,
    Kind.WITHDRAWN: DeliveryState.WITHDRAWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A statement whose author is proven."""

    bulletin: Bulletin
    statement: Statement
    author: str  # AGENCY/id
    key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """The federation as the enrolment pins it, and our own agency's place in it."""

    agency: AgencyId
    federation: Federation  # the roster, and our own manifest
    catalogue: Catalogue

    @classmethod
    def found(
        cls, roster: SignedPayload, manifest: SignedPayload, *, pin: bytes, agency: AgencyId, now_ms: int
    ) -> Verifier:
        """Begin with the roster that the node shows, if it is the one that was compared.

        1. the digest is the pinned one; 2. its roots have signed it; 3. we are a member; 4. our manifest is signed by
        the root that the roster names, and may have run out: what came before is read after it; 5. the catalogue that
        it names is the one in this program.

        Raises:
            RefusedError: PEER_UNTRUSTED for another roster, NOT_A_MEMBER, ROSTER_UNKNOWN, and as the records' checks.
        """
        federation = Federation.found(roster)
        if federation.roster_digest != pin:  # 1
            shown = short(federation.roster_digest)
            raise RefusedError("PEER_UNTRUSTED", f"the node shows roster {shown}, enrolled was {short(pin)}")
        federation.member(agency, now_ms)  # 3
        catalogue = packaged_catalogue()
        if catalogue_digest(catalogue.files) != federation.roster.catalogue_digest:  # 5
            wanted = short(federation.roster.catalogue_digest)
            raise RefusedError(
                "ROSTER_UNKNOWN", f"the roster names catalogue {wanted}, which this program does not hold"
            )
        try:
            federation = federation.with_manifest(manifest, now_ms)  # 4
        except RefusedError as refusal:
            if refusal.code not in RUN_OUT:
                raise
            federation = federation.with_manifest_of_before(manifest)
        return cls(agency=agency, federation=federation, catalogue=catalogue)

    def log_key(self, agency: AgencyId, origin: str) -> VerifierKey:
        """Return the key of a member's log in the epoch that an origin names, from the roster alone.

        Raises:
            RefusedError: NOT_A_MEMBER; RECEIPT_INVALID for an origin that is none of the member's.
        """
        member, epoch = self.federation.roster.member(agency), epoch_of_origin(origin)
        key = member.log_key(epoch) if member is not None else None
        if member is None or key is None:
            raise RefusedError("NOT_A_MEMBER", f"{agency} has no log key of epoch {epoch} in the roster")
        if origin != member.origin(epoch):
            raise RefusedError("RECEIPT_INVALID", f"{origin!a} is no log of {agency}")
        return VerifierKey(name=origin, key=key.public_key)

    def _own_origin(self) -> str:
        """Name our own log in the epoch that our manifest opened last."""
        member = self.federation.roster.member(self.agency)
        return member.origin(newest_epoch(self.federation, self.agency)) if member is not None else ""

    def check_head(self, note: str, seen: LogHead | None) -> Checkpoint:
        """Verify our own log's checkpoint and that it does not fall behind what this person has seen.

        Raises:
            IntegrityError: It is smaller, or of the same size with another root: the log was rolled back or forked.
            RefusedError: It is not signed by the log key that the roster names.
        """
        head = verify_note(note, self.log_key(self.agency, self._own_origin()))
        if seen is None or seen.origin != head.origin:
            return head
        if head.size < seen.size or (head.size == seen.size and head.root != seen.root):
            raise IntegrityError(
                f"the log of {self.agency} shows size {head.size}, root {short(head.root)};"
                f" seen before: {seen.size}, {short(seen.root)}"
            )
        return head

    def check_own(self, receipt: Receipt, kind: Kind) -> VerifiedReceipt:
        """Verify a receipt of our own log about one act of ours.

        Raises:
            RefusedError: RECEIPT_INVALID.
        """
        verified = verify_receipt(receipt, self.log_key(self.agency, origin_of(receipt)))
        if verified.body.kind != kind:
            raise RefusedError("RECEIPT_INVALID", f"entry {verified.entry.index} is no {kind.name}")
        return verified

    def check_reading(self, receipt: Receipt, kind: Kind, blind: bytes, request: SignedPayload) -> VerifiedReceipt:
        """Verify that our own log commits to this very request to read.

        Raises:
            RefusedError: RECEIPT_INVALID.
        """
        verified = self.check_own(receipt, kind)
        if verified.body.digest != opened_digest(blind, read_digest(request.payload)):
            raise RefusedError("RECEIPT_INVALID", f"entry {verified.entry.index} is of another request")
        return verified

    def check_committed(self, receipt: Receipt, bulletin_id: bytes, statement: Statement) -> VerifiedReceipt:
        """Verify that our own log commits to the fields of a statement.

        Raises:
            RefusedError: RECEIPT_INVALID.
        """
        verified = verify_receipt(receipt, self.log_key(self.agency, origin_of(receipt)))
        same = (verified.body.bulletin_id, verified.body.digest) == (
            bulletin_id,
            disclosure_root(statement.salt, statement.bulletin),
        )
        if verified.body.kind not in (Kind.PUBLISHED, Kind.RECEIVED) or not same:
            raise RefusedError("RECEIPT_INVALID", f"entry {verified.entry.index} commits to another bulletin's fields")
        return verified

    def manifest_of_before(self, signed: SignedPayload, agency: str, digest: bytes) -> Manifest:
        """Verify a manifest that was in force once, by the root that our roster names; only its time is not judged.

        Args:
            signed: As the node hands it out.
            agency: Whose.
            digest: Which one it is said to be.

        Raises:
            RefusedError: PEER_UNTRUSTED for another one than it is said to be, NOT_A_MEMBER, and as manifests.
        """
        if record_digest("manifest", signed.payload) != digest:
            raise RefusedError("PEER_UNTRUSTED", f"the node hands out another manifest than {short(digest)}")
        member = self.federation.roster.member(agency)
        if member is None:
            raise RefusedError("NOT_A_MEMBER", f"{agency} is not in roster {self.federation.roster.version}")
        return verify_manifest(signed, member, self.federation.federation_id, None)

    @property
    def manifest_digest(self) -> bytes:
        """Name our own manifest as the node showed it first."""
        return self.federation.manifests[self.agency].digest

    def check_accepted(
        self, receipt: Receipt, position: int, bulletin_id: bytes, records: node_pb2.RecordsInForce
    ) -> int:
        """Verify the entry by which our node accepted a bulletin, and by whose records it says so.

        1. it is that entry of our log; 2. it is of that bulletin; 3. it names those records, but for one that an older
        program wrote, which names none.

        Returns:
            When that was, milliseconds UTC.

        Raises:
            RefusedError: RECEIPT_INVALID, NOT_A_MEMBER.
        """
        proven = verify_receipt(receipt, self.log_key(self.agency, origin_of(receipt)))
        body, epoch = proven.body, epoch_of_origin(proven.checkpoint.origin)
        if log_position(epoch, proven.entry.index) != position:  # 1
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} is not where it was accepted")
        if body.kind not in (Kind.PUBLISHED, Kind.RECEIVED) or body.bulletin_id != bulletin_id:  # 2
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} accepted another bulletin")
        named = records_digest(records.roster, records.manifest, records.key_sheet)
        if body.records and body.records != named:  # 3
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} names other records than the node shows")
        return proven.entry.time_us // 1000

    def check_published(
        self,
        result: node_pb2.PublishResult,
        statement: Statement,
        signed: SignedPayload,
        bulletin_id: bytes,
        manifest: Manifest | None = None,
    ) -> tuple[VerifiedReceipt, Dispatch]:
        """Verify what our node answers to a statement: it is in the log, and sealed for exactly whom we named.

        Raises:
            RefusedError: RECEIPT_INVALID, RECIPIENTS_DIFFER, SIGNERS_DIFFER, STATEMENT_DIFFERS, as signatures.
        """
        proven = self.check_own(receipt_from_message(result.receipt), Kind.PUBLISHED)
        digest = statement_digest(signed.payload)
        if (proven.body.statement_digest, proven.body.bulletin_id) != (digest, bulletin_id):
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} is of another statement")
        dispatch = self.check_dispatch(SignedPayload.from_message(result.dispatch), digest, manifest)
        if proven.body.dispatch_digest != dispatch_digest(result.dispatch.payload):
            raise RefusedError("RECEIPT_INVALID", f"entry {proven.entry.index} is of another dispatch")
        check_recipients(statement, dispatch)
        check_signers(signed, dispatch)
        return proven, dispatch

    def check_dispatch(self, signed: SignedPayload, digest: bytes, manifest: Manifest | None = None) -> Dispatch:
        """Verify a dispatch of ours, by our manifest when it was signed; the present one if none is given.

        Raises:
            RefusedError: STATEMENT_DIFFERS, SENDER_DIFFERS, SIGNER_UNKNOWN, SIGNATURE_INVALID.
        """
        keys = (manifest or self.federation.manifests[self.agency].record).operations_by_id
        dsse.verify(signed, "dispatch", lambda key_id: keys[key_id].public if key_id in keys else None)
        dispatch = parse_dispatch(signed.payload)
        check_dispatch_built(dispatch)
        if dispatch.statement_digest != digest:
            raise RefusedError("STATEMENT_DIFFERS", f"the dispatch is of statement {short(dispatch.statement_digest)}")
        if dispatch.sender != self.agency:
            raise RefusedError("SENDER_DIFFERS", f"the dispatch is of {dispatch.sender}")
        return dispatch

    def check_statement(
        self, signed: SignedPayload, *, sender: str, digest: bytes, manifest: Manifest, at_ms: int
    ) -> Verified:
        """Verify a bulletin that our node has opened for us.

        1. it is the statement that was asked for; 2. the manifest is the author's agency's; 3. the author's signature; 4. federation, roster, originator, author, audience; 5. we are of the audience.

        Args:
            signed: As the node hands it out.
            sender: Whose it is said to be.
            digest: Of the statement that was asked for.
            manifest: The author's agency's in force when our node accepted it, verified.
            at_ms: When that was: keys that held then count.

        Raises:
            RefusedError: STATEMENT_DIFFERS, WRONG_FEDERATION, ROSTER_UNKNOWN, SENDER_DIFFERS, AUTHOR_DIFFERS,
                RECIPIENTS_DIFFER, NOT_FOR_US, and as manifests and signatures.
        """
        if statement_digest(signed.payload) != digest:  # 1
            raise RefusedError("STATEMENT_DIFFERS", f"statement {short(digest)} was asked for, another one came")
        if manifest.agency != sender:  # 2
            raise RefusedError("WRONG_MAKER", f"a manifest of {manifest.agency} for a statement of {sender}")
        officer, key = manifest.person(signed.signatures[0].key_id if signed.signatures else b"", at_ms)
        dsse.verify(signed, "statement", lambda key_id: key if key_id == key.key_id else None)  # 3
        statement = parse_statement(signed.payload)
        check_statement_built(statement)
        bulletin = parse_bulletin(statement.bulletin, newer_minor=True)
        self._check_equal(statement, bulletin, sender, officer.id)  # 4
        if self.agency != sender and self.agency not in statement.recipients:  # 5
            raise RefusedError("NOT_FOR_US", f"statement {short(digest)} is not addressed to {self.agency}")
        return Verified(bulletin=bulletin, statement=statement, author=key.owner, key_id=key.key_id)

    def _check_equal(self, statement: Statement, bulletin: Bulletin, sender: str, officer: str) -> None:
        if statement.federation_id != self.federation.federation_id:
            raise RefusedError("WRONG_FEDERATION", f"signed for federation {short(statement.federation_id)}")
        self.federation.roster_by_digest(statement.roster_digest)
        if bulletin.header.originator != sender:
            raise RefusedError("SENDER_DIFFERS", f"originator {bulletin.header.originator[:40]!a}, sent by {sender}")
        if bulletin.header.author != officer:
            raise RefusedError(
                "AUTHOR_DIFFERS", f"header.author is {bulletin.header.author[:40]!a}, signed by {officer}"
            )
        if recipients_of(bulletin.header.addressees, sender) != statement.recipients:
            raise RefusedError("RECIPIENTS_DIFFER", "the statement's recipients are not the bulletin's addressees")

    def check_states(self, item: node_pb2.OutboxItem, manifest: Manifest | None = None) -> tuple[SentState, ...]:
        """Verify what became of one bulletin of ours, recipient by recipient; *manifest* as for ``check_dispatch``.

        Raises:
            RefusedError: RECIPIENTS_DIFFER where one is missing or too many, RECEIPT_INVALID, as ``check_dispatch``.
        """
        dispatch = self.check_dispatch(SignedPayload.from_message(item.dispatch), item.statement_digest, manifest)
        digest = dispatch_digest(item.dispatch.payload)
        absent = {each.agency: each.reason for each in dispatch.absent}
        states = [self._state(each, digest) for each in item.recipients if each.agency not in absent]
        _check_complete([each.agency for each in states], [each.agency for each in dispatch.recipients])
        states += [_absent(agency, reason) for agency, reason in absent.items()]
        return tuple(sorted(states, key=lambda each: each.agency))

    def _state(self, told: node_pb2.OutboxState, digest: bytes) -> SentState:
        """Hold one recipient's receipt against what we sent: its entry says state and reason, whatever we are told."""
        agency = AgencyId(told.agency)
        if int(told.state) == DeliveryState.WAITING:
            return _sent_state(told, None, "")
        delivery = parse_delivery(told.delivery)
        if (delivery.lane.recipient, delivery.lane.sender, delivery.dispatch_digest) != (agency, self.agency, digest):
            raise RefusedError("RECEIPT_INVALID", f"delivery {told.sequence} to {agency} is of something else")
        member = self.federation.roster.member(self.agency)  # a receipt proves what it did, whoever takes part today
        receipt = receipt_from_message(told.receipt)
        proven = check_exchange_receipt(
            receipt,
            self.log_key(agency, origin_of(receipt)),
            ExpectedAnswer(
                dispatch_digest=digest,
                delivery_digest=delivery_digest(told.delivery),
                expected_opening=told.opening,
                peer_number=member.number if member is not None else 0,
            ),
        )
        if int(told.state) != _STATES.get(proven.body.kind, DeliveryState.NOT_UNDERSTOOD):
            raise RefusedError("RECEIPT_INVALID", f"{agency} says another thing than the node tells")
        return _sent_state(told, proven, reason_name(proven.body.outcome) if proven.body.kind == Kind.REFUSED else "")


def _sent_state(told: node_pb2.OutboxState, proven: VerifiedReceipt | None, reason: str) -> SentState:
    return SentState(
        agency=AgencyId(told.agency),
        state=told.state,
        reason=reason,
        sequence=told.sequence,
        since_ms=told.since_ms,
        log_index=proven.entry.index if proven is not None else None,
        receipt=receipt_from_message(told.receipt) if proven is not None else None,
        silent_since_ms=told.silent_since_ms,
    )


def _absent(agency: AgencyId, reason: AbsentReason) -> SentState:
    return SentState(
        agency=agency,
        state=ABSENT,
        reason=reason.name.lower().replace("_", " "),
        sequence=0,
        since_ms=0,
        log_index=None,
        receipt=None,
    )


def _check_complete(told: Sequence[str], sent: Sequence[str]) -> None:
    if sorted(told) != sorted(sent):
        raise RefusedError("RECIPIENTS_DIFFER", f"{len(told)} states for {len(sent)} recipients")
