"""What one delivery is judged by, and what comes of it: values with one canonical encoding and bounds.

``delivery_checks.judge`` takes a case, catalogues and the one window key that opens, and no store, so that it can run in
another process, or on a machine that is exposed. What comes back from there is parsed as strictly as what a peer sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from audit.record.dispatch import MAX_CIPHERTEXT_BYTES, MAX_DISPATCH_BYTES, Dispatch, SignerRole, parse_dispatch
from audit.record.lane import MAX_DELIVERY_BYTES, Delivery, parse_delivery
from audit.record.statement import MAX_STATEMENT_BYTES, Statement, parse_statement
from audit.record.wire import encode, malformed, need_agency, need_bytes, need_count, parse
from exchange.acts.node_view import NodeView
from exchange.records.bulletin import parse_bulletin
from exchange.records.case_refusal import CaseRefusal, parse_refusal, refusal_of
from exchange.records.lane_rules import LaneStep
from exchange.v1 import judgement_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId
from keys.manifest import Officer, parse_officer_entry
from keys.seal import WindowOpener
from keys.signer import PublicKey
from keys.values import hot_value

MAX_ROSTERS = 4096
MAX_PARCELS = 64  # of one message
MAX_PARCEL_BYTES = (1 << 20) + (128 << 10)  # the largest bucket sealed, with dispatch and wrap
MAX_CASE_BYTES = MAX_CIPHERTEXT_BYTES + MAX_DISPATCH_BYTES + MAX_DELIVERY_BYTES + 80 * MAX_ROSTERS + (16 << 10)
MAX_JUDGEMENT_BYTES = MAX_STATEMENT_BYTES + 256


@hot_value(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One delivery with what it carries, as received."""

    delivery: bytes
    dispatch: SignedPayload
    wrap: bytes
    body: bytes


def check_size(parcels: Sequence[Parcel]) -> None:
    """Refuse a message of too many deliveries, or of one that is too large: RefusedError TOO_LARGE."""
    if len(parcels) > MAX_PARCELS:
        raise RefusedError("TOO_LARGE", f"{len(parcels)} deliveries in a message, at most {MAX_PARCELS}")
    for parcel in parcels:
        size = len(parcel.delivery) + len(parcel.dispatch.payload) + len(parcel.wrap) + len(parcel.body)
        if size > MAX_PARCEL_BYTES:
            raise RefusedError("TOO_LARGE", f"a delivery of {size} bytes, at most {MAX_PARCEL_BYTES}")


class SenderKeys:
    """The keys of a message's sender as they hold now, each looked up once a message; errors as ``Federation``'s."""

    def __init__(self, view: NodeView, sender: AgencyId, now_ms: int) -> None:
        self._federation, self._sender, self._now_ms = view.federation, sender, now_ms
        self.until_ms = view.until_ms(sender)  # the first millisecond without one of those that were asked for
        self.operations = cache(self._operations)
        self.person = cache(self._person)

    def _operations(self, key_id: bytes) -> PublicKey:
        manifest = self._federation.manifest(self._sender, self._now_ms)
        found = manifest.operations_key(key_id, self._now_ms)
        self.until_ms = min(self.until_ms, manifest.operations_by_id[key_id].until_ms)
        return found

    def _person(self, key_id: bytes) -> tuple[Officer, PublicKey]:
        officer, key = self._federation.person(self._sender, key_id, self._now_ms)
        self.until_ms = min(self.until_ms, officer.until_ms)
        return officer, key


class KnownRoster(NamedTuple):
    """A roster that a statement may name."""

    digest: bytes  # 32 bytes
    catalogue_digest: bytes  # 32 bytes
    replaced_ms: int  # when the next one was issued; 0 for the newest


@hot_value(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is the same for every delivery of a message."""

    federation_id: bytes  # 32 bytes
    recipient: AgencyId  # who judges
    now_ms: int  # milliseconds UTC
    rosters: tuple[KnownRoster, ...]  # ascending by version
    traffic: CaseRefusal | None = None  # why nothing passes now


@hot_value(frozen=True, slots=True, kw_only=True)
class DeliveryCase:
    """One delivery whose dispatch is known to be its maker's."""

    terms: Terms
    delivery: Delivery
    dispatch: Dispatch
    wrap: bytes
    body: bytes
    stored_digest: bytes = b""  # 32 bytes, of the statement that is stored under its bulletin id
    author: Officer | None = None  # of the sender; whose key the dispatch names
    no_author: CaseRefusal | None = None  # where there is none

    def encode(self) -> bytes:
        """Write the case for another process."""
        terms = self.terms
        return encode(
            judgement_pb2.DeliveryCase(
                federation_id=terms.federation_id,
                recipient=terms.recipient,
                now_ms=terms.now_ms,
                rosters=[judgement_pb2.KnownRoster(**each._asdict()) for each in terms.rosters],
                traffic=terms.traffic.to_message() if terms.traffic is not None else None,
                delivery=self.delivery.encode(),
                dispatch=self.dispatch.encode(),
                wrap=self.wrap,
                sealed_body=self.body,
                stored=self.stored_digest,
                author=self.author.encode() if self.author is not None else b"",
                no_author=self.no_author.to_message() if self.no_author is not None else None,
            )
        )


@hot_value(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A bulletin that passed every check that needs no store."""

    statement: Statement
    bulletin: Bulletin
    content_key: bytes  # 32 bytes
    disclosure_root: bytes  # 32 bytes
    reply_due_ms: int  # 0 where no answer is owed
    not_understood: bool  # fields of a newer schema

    def encode(self) -> bytes:
        """Write the judgement for the process that asked for it."""
        return encode(
            judgement_pb2.Judgement(
                statement=self.statement.encode(),
                content_key=self.content_key,
                disclosure_root=self.disclosure_root,
                reply_due_ms=self.reply_due_ms,
                not_understood=self.not_understood,
            )
        )


def parse_case(data: bytes) -> DeliveryCase:
    """Read a case.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, and those of what is in it.
    """
    message = parse("case", data, judgement_pb2.DeliveryCase, MAX_CASE_BYTES)
    need_bytes("case", "federation_id", message.federation_id)
    need_count("case", "rosters", len(message.rosters), 1, MAX_ROSTERS)
    for each in message.rosters:
        need_bytes("case", "rosters.digest", each.digest)
        need_bytes("case", "rosters.catalogue_digest", each.catalogue_digest)
    if message.stored:
        need_bytes("case", "stored", message.stored)
    if not message.now_ms or bool(message.author) == message.HasField("no_author"):
        raise malformed("case", "no time, or not exactly one of author and no_author")
    dispatch = parse_dispatch(message.dispatch)
    return DeliveryCase(
        terms=Terms(
            federation_id=message.federation_id,
            recipient=need_agency(message.recipient),
            now_ms=message.now_ms,
            rosters=tuple(KnownRoster(r.digest, r.catalogue_digest, r.replaced_ms) for r in message.rosters),
            traffic=parse_refusal(message.traffic) if message.HasField("traffic") else None,
        ),
        delivery=parse_delivery(message.delivery),
        dispatch=dispatch,
        wrap=message.wrap,
        body=message.sealed_body,
        stored_digest=message.stored,
        author=parse_officer_entry(message.author, dispatch.sender) if message.author else None,
        no_author=parse_refusal(message.no_author) if message.HasField("no_author") else None,
    )


def parse_judgement(data: bytes) -> Judgement:
    """Read a judgement.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, and those of what is in it.
    """
    message = parse("judgement", data, judgement_pb2.Judgement, MAX_JUDGEMENT_BYTES)
    need_bytes("judgement", "content_key", message.content_key)
    need_bytes("judgement", "disclosure_root", message.disclosure_root)
    statement = parse_statement(message.statement)
    return Judgement(
        statement=statement,
        bulletin=parse_bulletin(statement.bulletin, newer_minor=message.not_understood),
        content_key=message.content_key,
        disclosure_root=message.disclosure_root,
        reply_due_ms=message.reply_due_ms,
        not_understood=message.not_understood,
    )


def terms_of(view: NodeView, now_ms: int) -> Terms:
    """Return what is the same for every delivery of a message."""
    rosters, traffic = view.federation.rosters, None
    try:
        view.federation.check_traffic(now_ms)
    except RefusedError as error:
        traffic = refusal_of(error)
    replaced = [*(each.record.issued_ms for each in rosters[1:]), 0]
    return Terms(
        federation_id=view.federation.federation_id,
        recipient=view.agency,
        now_ms=now_ms,
        rosters=tuple(
            KnownRoster(each.digest, each.record.catalogue_digest, until)
            for each, until in zip(rosters, replaced, strict=True)
        ),
        traffic=traffic,
    )


def case_of(
    step: LaneStep, parcel: Parcel, dispatch: Dispatch, terms: Terms, keys: SenderKeys, stored_digest: bytes
) -> DeliveryCase:
    """Gather what a delivery is judged by.

    Args:
        step: Of the delivery.
        parcel: What it carries.
        dispatch: Verified.
        terms: Of its message.
        keys: Of its maker.
        stored_digest: Of the statement that the store has under its bulletin id; empty where it has none.
    """
    author = no_author = None
    try:
        # What the dispatch lists is what must be inside (15), so its author is known before it is opened.
        key_id = next(each.key_id for each in dispatch.signers if each.role is SignerRole.AUTHOR)
        author, _ = keys.person(key_id)
    except RefusedError as error:
        no_author = refusal_of(error)
    return DeliveryCase(
        terms=terms,
        delivery=step.delivery,
        dispatch=dispatch,
        wrap=parcel.wrap,
        body=parcel.body,
        stored_digest=stored_digest,
        author=author,
        no_author=no_author,
    )


def window_key(dispatch: Dispatch, view: NodeView) -> WindowOpener | None:
    """Return the key that a dispatch was sealed for, where it names us and the key is here."""
    key_ids = [each.key_id for each in dispatch.recipients if each.agency == view.agency]
    return view.encryption.get(key_ids[0]) if key_ids else None
