"""What a statement is checked and sealed by before it is published, and what comes of it: values with one encoding.

``statement_checks.prepare`` takes a case and the catalogues, and no store, so that it can run in another process; of keys it
is given the content key only, which serves this one statement. What comes from elsewhere is parsed as strictly as what
a peer sends: never pickle, because later it comes from machines that are trusted less.
"""

from __future__ import annotations

from dataclasses import field
from typing import NamedTuple

from audit.record.dispatch import MAX_CIPHERTEXT_BYTES, MAX_DISPATCH_BYTES, AbsentReason, parse_dispatch
from audit.record.statement import MAX_STATEMENT_BYTES, Statement, parse_statement
from audit.record.wire import (
    ID_BYTES,
    MAX_RECIPIENTS,
    encode,
    malformed,
    need_agency,
    need_ascending,
    need_bytes,
    need_count,
    need_enum,
    parse,
)
from exchange.records.bulletin import MAX_BULLETIN_BYTES, encode_bulletin, parse_bulletin
from exchange.records.case_refusal import CaseRefusal, parse_refusal
from exchange.records.seal_order import SealedParts
from exchange.v1 import judgement_pb2
from exchange.v1.bulletin_pb2 import Bulletin
from keys import suites
from keys.dsse import SignedPayload
from keys.identity import AgencyId, Usage, split_owner
from keys.manifest import Officer, parse_officer_entry
from keys.seal import CONTENT_KEY_BYTES, WRAP_BYTES
from keys.signer import PublicKey
from keys.values import hot_value

MAX_TARGETS = 4096  # statements known under the ids that one bulletin relates to
MAX_CASE_BYTES = MAX_STATEMENT_BYTES + MAX_BULLETIN_BYTES + 2048 * MAX_RECIPIENTS + 60 * MAX_TARGETS + (64 << 10)
MAX_SEALED_BYTES = MAX_CIPHERTEXT_BYTES + MAX_DISPATCH_BYTES + 2048 * MAX_RECIPIENTS


class CaseTarget(NamedTuple):
    """A statement that is known under an id that the bulletin relates to."""

    bulletin_id: bytes  # 16 bytes
    statement_digest: bytes  # 32 bytes


class CaseRecipient(NamedTuple):
    """An agency that the statement names: the key to seal to, or why there is none."""

    agency: AgencyId
    key: PublicKey | None
    absent: AbsentReason | None


@hot_value(frozen=True, slots=True, kw_only=True)
class StatementTerms:
    """What is the same for every statement of a batch."""

    federation_id: bytes  # 32 bytes
    agency: AgencyId  # whose node publishes
    caller: str  # owner of the certificate that brought them, AGENCY/id
    now_ms: int  # milliseconds UTC
    roster_digest: bytes  # 32 bytes, of the roster in force
    roster_version: int
    catalogue_digest: bytes  # 32 bytes, the roster's
    traffic: CaseRefusal | None = None  # why nothing passes now


@hot_value(frozen=True, slots=True, kw_only=True)
class StatementCase:
    """One statement, parsed, and what the node knows about it."""

    terms: StatementTerms
    signed: SignedPayload
    statement: Statement
    bulletin: Bulletin
    author: Officer | None  # whose key the signature names, as the manifest has that person now
    no_author: CaseRefusal | None  # why there is none
    stored_digest: bytes  # of the statement that is stored under its bulletin id; empty where none is
    no_member: CaseRefusal | None  # why an agency that it names can be no recipient
    targets: tuple[CaseTarget, ...]
    corrected: Bulletin | None  # what it corrects, where that is here
    no_target: CaseRefusal | None  # why targets could not be looked up
    recipients: tuple[CaseRecipient, ...]  # ascending by agency
    content_key: bytes = field(repr=False)  # 32 bytes, new for each statement

    def encode(self) -> bytes:
        """Write the case for another process."""
        terms = self.terms
        return encode(
            judgement_pb2.StatementCase(
                federation_id=terms.federation_id,
                agency=terms.agency,
                now_ms=terms.now_ms,
                roster_digest=terms.roster_digest,
                roster_version=terms.roster_version,
                catalogue_digest=terms.catalogue_digest,
                traffic=_refusal(terms.traffic),
                signed=self.signed.encode(),
                caller=terms.caller,
                author=self.author.encode() if self.author is not None else b"",
                no_author=_refusal(self.no_author),
                stored=self.stored_digest,
                no_member=_refusal(self.no_member),
                targets=[judgement_pb2.CaseTarget(**each._asdict()) for each in self.targets],
                corrected=encode_bulletin(self.corrected) if self.corrected is not None else b"",
                no_target=_refusal(self.no_target),
                recipients=[_recipient_message(each) for each in self.recipients],
                content_key=self.content_key,
            )
        )


@hot_value(frozen=True, slots=True, kw_only=True)
class SealedStatement:
    """A statement that passed every check that needs no store, sealed; its dispatch is not signed yet."""

    parts: SealedParts
    disclosure_root: bytes  # 32 bytes: what the log commits to, field by field
    reply_due_ms: int  # 0 where no answer is wanted

    def encode(self) -> bytes:
        """Write it for the process that asked for it."""
        return encode(
            judgement_pb2.SealedStatement(
                dispatch=self.parts.dispatch.encode(),
                sealed_body=self.parts.body,
                wraps=[judgement_pb2.CaseWrap(agency=agency, wrap=wrap) for agency, wrap in self.parts.wraps],
                disclosure_root=self.disclosure_root,
                reply_due_ms=self.reply_due_ms,
            )
        )


def parse_statement_case(data: bytes) -> StatementCase:
    """Read a case.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, and those of what is in it.
    """
    message = parse("case", data, judgement_pb2.StatementCase, MAX_CASE_BYTES)
    for name in ("federation_id", "roster_digest", "catalogue_digest"):
        need_bytes("case", name, getattr(message, name))
    need_bytes("case", "content_key", message.content_key, CONTENT_KEY_BYTES)
    if message.stored:
        need_bytes("case", "stored", message.stored)
    if not message.now_ms or not message.roster_version:
        raise malformed("case", "no time, or no version of a roster")
    if bool(message.author) == message.HasField("no_author"):
        raise malformed("case", "not exactly one of author and no_author")
    split_owner(message.caller)
    need_count("case", "targets", len(message.targets), 0, MAX_TARGETS)
    need_count("case", "recipients", len(message.recipients), 0, MAX_RECIPIENTS)
    need_ascending("case", "recipients", [each.agency for each in message.recipients])
    signed = SignedPayload.decode(message.signed)
    statement, agency = parse_statement(signed.payload), need_agency(message.agency)
    return StatementCase(
        terms=_parse_terms(message, agency),
        signed=signed,
        statement=statement,
        bulletin=parse_bulletin(statement.bulletin),
        author=parse_officer_entry(message.author, agency) if message.author else None,
        no_author=parse_refusal(message.no_author) if message.HasField("no_author") else None,
        stored_digest=message.stored,
        no_member=parse_refusal(message.no_member) if message.HasField("no_member") else None,
        targets=tuple(_parse_target(each) for each in message.targets),
        corrected=parse_bulletin(message.corrected, newer_minor=True) if message.corrected else None,
        no_target=parse_refusal(message.no_target) if message.HasField("no_target") else None,
        recipients=tuple(_parse_recipient(each) for each in message.recipients),
        content_key=message.content_key,
    )


def parse_sealed_statement(data: bytes) -> SealedStatement:
    """Read what came of a case.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, and those of the dispatch.
    """
    message = parse("sealed statement", data, judgement_pb2.SealedStatement, MAX_SEALED_BYTES)
    need_bytes("sealed statement", "disclosure_root", message.disclosure_root)
    need_ascending("sealed statement", "wraps", [each.agency for each in message.wraps])
    for each in message.wraps:
        need_bytes("sealed statement", "wraps.wrap", each.wrap, WRAP_BYTES)
    dispatch = parse_dispatch(message.dispatch)
    wraps = tuple((need_agency(each.agency), each.wrap) for each in message.wraps)
    if tuple(agency for agency, _ in wraps) != dispatch.served or len(message.sealed_body) != dispatch.ciphertext_size:
        raise malformed("sealed statement", "wraps and body are not those of its dispatch")
    return SealedStatement(
        parts=SealedParts(dispatch=dispatch, body=message.sealed_body, wraps=wraps),
        disclosure_root=message.disclosure_root,
        reply_due_ms=message.reply_due_ms,
    )


def _parse_terms(message: judgement_pb2.StatementCase, agency: AgencyId) -> StatementTerms:
    return StatementTerms(
        federation_id=message.federation_id,
        agency=agency,
        caller=message.caller,
        now_ms=message.now_ms,
        roster_digest=message.roster_digest,
        roster_version=message.roster_version,
        catalogue_digest=message.catalogue_digest,
        traffic=parse_refusal(message.traffic) if message.HasField("traffic") else None,
    )


def _parse_target(message: judgement_pb2.CaseTarget) -> CaseTarget:
    need_bytes("case", "targets.bulletin_id", message.bulletin_id, ID_BYTES)
    need_bytes("case", "targets.statement_digest", message.statement_digest)
    return CaseTarget(message.bulletin_id, message.statement_digest)


def _parse_recipient(message: judgement_pb2.CaseRecipient) -> CaseRecipient:
    agency = need_agency(message.agency)
    if bool(message.public_key) == bool(message.absent):
        raise malformed("case", f"{agency}: not exactly one of a key and a reason why there is none")
    if not message.public_key:
        return CaseRecipient(agency, None, need_enum("case", "recipients.absent", message.absent, AbsentReason))
    suite = suites.HYBRID_KEM
    need_bytes("case", "recipients.public_key", message.public_key, suites.suite(suite).public_key_bytes)
    key = PublicKey(usage=Usage.ENCRYPTION, suite=suite, owner=agency, public_key=message.public_key)
    return CaseRecipient(agency, key, None)


def _recipient_message(each: CaseRecipient) -> judgement_pb2.CaseRecipient:
    if each.key is not None:
        return judgement_pb2.CaseRecipient(agency=each.agency, public_key=each.key.public_key)
    return judgement_pb2.CaseRecipient(agency=each.agency, absent=each.absent or 0)


def _refusal(refusal: CaseRefusal | None) -> judgement_pb2.CaseRefusal | None:
    return refusal.to_message() if refusal is not None else None
