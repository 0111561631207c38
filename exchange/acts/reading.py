"""Reading: the officer's signed request is committed to the log before anything is opened.

Only ``open_bulletin`` makes an ``OpenedBulletin``, and only from a grant, which exists once OPENED is durable. An OPENED
is never taken back. What its reader could not show is said by a READ_FAILED of the same officer, and reading once more is
a new OPENED that refers to the first and is for the same case and reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from audit.entry.entry import Body, Kind, Outcome, Role
from audit.record.statement import Asked, ReadRequest, opened_digest, parse_read, parse_stored_read
from exchange.acts.node_view import NodeView
from exchange.acts.stored_bulletin import check_showable, open_content
from exchange.acts.unit_of_work import NOTHING, RandomBytes, UnitOfWork
from exchange.store.rows import LoggedReading, StoredBulletin
from exchange.store.store import Reads
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import record_digest, short
from keys.manifest import Officer
from keys.signer import PublicKey

OPENS_NOTHING = frozenset({Asked.HOLD, Asked.RELEASE, Asked.FAILED})
_OPENING = {Asked.EXPORT: Kind.EXPORTED, Asked.LIST: Kind.LISTED}
CLOCK_MS = 5 * 60_000  # how far an officer's clock may be from the node's


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """An officer or system whose signed request is good."""

    officer: Officer
    key: PublicKey
    request: ReadRequest
    signed: SignedPayload
    digest: bytes  # of the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What may be opened once the entry is durable."""

    entry_index: int
    stored: tuple[StoredBulletin, ...]
    blind: bytes  # 32 bytes; with it the reader checks that the entry commits to the request
    denied: RefusedError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBulletin:
    """Decrypted content whose reading is in the log; its signatures were verified at intake."""

    stored: StoredBulletin
    statement: SignedPayload
    dispatch: SignedPayload
    granted: Granted


def check_request(signed: SignedPayload, *, caller: str, view: NodeView, now_ms: int) -> Reader:
    """Check an officer's request to read.

    1 federation and agency; 2 the caller is who signed; 3 the request names them; 4 their signature; 5 the time.
    The nonce is taken in the transaction (7); whether they may read that is judged there too (8), because a
    denial is logged. That our manifest has run out closes no old mail: the officer's own key must hold.

    Raises:
        RefusedError: WRONG_FEDERATION, WRONG_MAKER, AUTHOR_DIFFERS, CLOCK_DIFFERS and those of signatures.
    """
    request = parse_read(signed.payload)
    check_federation(request, view)  # 1
    if len(signed.signatures) != 1:
        raise RefusedError("SIGNERS_DIFFER", f"{len(signed.signatures)} signatures on a request to read")
    # Of the newest manifest, expired or not: what came before its end is read after it too.
    officer, key = view.federation.newest_manifest(view.agency).person(signed.signatures[0].key_id, now_ms)
    check_caller(key, caller)  # 2
    check_named(request, officer)  # 3
    check_signature(signed, key)  # 4
    check_time(request, now_ms)  # 5
    return Reader(
        officer=officer, key=key, request=request, signed=signed, digest=record_digest("read", signed.payload)
    )


def check_federation(request: ReadRequest, view: NodeView) -> None:
    if request.federation_id != view.federation.federation_id:
        raise RefusedError("WRONG_FEDERATION", f"request of federation {short(request.federation_id)}")
    if request.agency != view.agency:
        raise RefusedError("WRONG_MAKER", f"request to the node of {request.agency}, this is {view.agency}")


def check_caller(key: PublicKey, caller: str) -> None:
    if key.owner != caller:
        raise RefusedError("AUTHOR_DIFFERS", f"signed by {key.owner}, brought by {caller}")


def check_named(request: ReadRequest, officer: Officer) -> None:
    if request.officer != officer.id:
        raise RefusedError("AUTHOR_DIFFERS", f"the request names {request.officer}, signed by {officer.id}")


def check_signature(signed: SignedPayload, key: PublicKey) -> None:
    dsse.verify(signed, "read", lambda key_id: key if key_id == key.key_id else None)


def check_time(request: ReadRequest, now_ms: int) -> None:
    if abs(request.time_ms - now_ms) > CLOCK_MS:
        seconds = (request.time_ms - now_ms) // 1000
        raise RefusedError("CLOCK_DIFFERS", f"the request's time is {seconds} s from the node's clock")


def grant(work: UnitOfWork, reader: Reader, view: NodeView, random_bytes: RandomBytes) -> Granted:
    """Log a reading: OPENED, LISTED or EXPORTED, or ACCESS_DENIED where it is not allowed.

    6 all that can be checked of the bulletin without opening it; 7 the nonce is new; 8 role and ceiling.

    Returns:
        What may be opened after the commit; where it is denied, why.

    Raises:
        RefusedError: REPLAYED, NO_SUCH_BULLETIN, KEY_GONE for what is erased, MALFORMED, NOT_ALLOWED for somebody
            else's reading; as ``check_showable``. Nothing is logged.
        RecordsMovedError: Check the request again, by what is in force now.
    """
    work.check_in_force(view.adopted_at)
    request = reader.request
    check_opens(request)
    first = first_reading(work.rows, reader) if request.asked is Asked.AGAIN else None
    meant = first.request if first is not None else request
    wanted = request.listed or ((meant.sender, meant.bulletin_id),)
    stored = tuple(find_stored(work, sender, bulletin_id) for sender, bulletin_id in wanted)
    if not request.listed:
        check_statement(stored[0], meant)
        check_showable(stored[0], view.storage, work.rows)  # 6
    if first is not None:
        check_opened(work.rows, stored[0], first.position)
    check_nonce(work, request)  # 7
    denied = None
    try:
        check_allowed(reader, stored)  # 8
    except RefusedError as refusal:
        denied = refusal
    granted = Granted(entry_index=0, stored=stored, blind=random_bytes(32), denied=denied)
    position = work.position(work.log.add(_entry(work, reader, granted, view, first)))
    work.rows.add_reading(position, granted.blind, reader.signed.encode())
    if denied is None and not request.listed:
        work.rows.mark_opened(stored[0].entry_index)
        work.rows.add_opened(position, stored[0].entry_index)
    return replace(granted, entry_index=position)


def fail(work: UnitOfWork, reader: Reader, view: NodeView, random_bytes: RandomBytes) -> Granted:
    """Log that an officer's program could not show what was opened: READ_FAILED, for that very reading.

    9 it is one that opened this bulletin; 10 the nonce is new.

    Returns:
        The entry; nothing may be opened.

    Raises:
        RefusedError: NO_SUCH_BULLETIN, NOT_ALLOWED, MALFORMED, REPLAYED. Nothing is logged.
    """
    request = reader.request
    if request.asked is not Asked.FAILED or request.outcome is None:
        raise RefusedError("MALFORMED", f"a request to {request.asked.name.lower()} reports no failure")
    first = first_reading(work.rows, reader)
    stored = work.rows.find(first.request.sender, first.request.bulletin_id)
    if stored is None:
        raise RefusedError("NO_SUCH_BULLETIN", f"no bulletin {short(first.request.bulletin_id)} is here")
    check_opened(work.rows, stored, request.position)  # 9
    check_nonce(work, request)  # 10
    random = random_bytes(32)
    body = Body(
        kind=Kind.READ_FAILED,
        actor=view.pseudonym(reader.key.owner),
        actor_epoch=view.pseudonym_epoch,
        role=Role.READER,
        bulletin_id=stored.bulletin_id,
        purpose=int(first.request.purpose or 0),
        outcome=request.outcome,
        digest=opened_digest(random, reader.digest),
        **work.refers(request.position),
    )
    position = work.position(work.log.add(body))
    work.rows.add_reading(position, random, reader.signed.encode())
    work.rows.fail_opened(request.position, position)
    return Granted(entry_index=position, stored=(), blind=random)


class FirstReading(NamedTuple):
    """The reading whose case and reason a later one takes over."""

    position: int  # of its OPENED
    request: ReadRequest


def first_reading(reads: Reads, reader: Reader) -> FirstReading:
    """Find the reading that a request is about, or the one that this repeats: of the same officer.

    Raises:
        RefusedError: NO_SUCH_BULLETIN where it is not here any more, NOT_ALLOWED where it is somebody else's.
    """
    position = reader.request.position
    while True:
        kept = reads.reading(position)
        if kept is None:
            raise RefusedError("NO_SUCH_BULLETIN", f"no reading stands at position {position}, or it was erased")
        request = parse_stored_read(SignedPayload.decode(kept[1]).payload)
        if request.officer != reader.request.officer:
            raise RefusedError("NOT_ALLOWED", f"the reading at position {position} is not yours")
        if request.asked is not Asked.AGAIN:
            return FirstReading(position, request)
        position = request.position


def check_opened(reads: Reads, stored: StoredBulletin, position: int) -> None:
    """Refuse a position that is of no reading which opened the bulletin: RefusedError NO_SUCH_BULLETIN."""
    if position not in {each.entry_index for each in reads.readings_of(stored.entry_index)}:
        raise RefusedError("NO_SUCH_BULLETIN", f"the entry at position {position} did not open this bulletin")


def last_reading(reads: Reads, stored: StoredBulletin, officer: str) -> LoggedReading | None:
    """Return the newest OPENED of a bulletin by one officer; None where there is none, or its request was erased."""
    for each in reversed(reads.readings_of(stored.entry_index)):
        kept = reads.reading(each.entry_index)
        if kept is None:
            continue
        request = parse_stored_read(SignedPayload.decode(kept[1]).payload)
        if request.officer == officer and request.asked is not Asked.EXPORT:
            return each
    return None


def check_opens(request: ReadRequest) -> None:
    """Refuse a request that its officer signed for something else than opening."""
    if request.asked in OPENS_NOTHING:
        raise RefusedError("MALFORMED", f"a request to {request.asked.name.lower()} opens nothing")


def find_stored(work: UnitOfWork, sender: str, bulletin_id: bytes) -> StoredBulletin:
    """Return a bulletin that can still be opened: RefusedError NO_SUCH_BULLETIN, or KEY_GONE for an erased one."""
    stored = work.rows.find(sender, bulletin_id)
    if stored is None:
        raise RefusedError("NO_SUCH_BULLETIN", f"no bulletin {short(bulletin_id)} of {sender} is here")
    if stored.erased:
        raise RefusedError("KEY_GONE", f"bulletin {short(bulletin_id)} of {sender} was erased")
    return stored


def check_statement(stored: StoredBulletin, request: ReadRequest) -> None:
    """Refuse a request for another statement than the one that is stored."""
    if stored.statement_digest != request.statement_digest:
        raise RefusedError(
            "NO_SUCH_BULLETIN", f"statement {short(request.statement_digest)} is not the one stored here"
        )


def check_nonce(work: UnitOfWork, request: ReadRequest) -> None:
    if not work.rows.take_nonce(request.nonce):
        raise RefusedError("REPLAYED", f"request {short(request.nonce)} was made before")


def check_allowed(reader: Reader, stored: tuple[StoredBulletin, ...]) -> None:
    if "reader" not in reader.officer.roles:
        raise RefusedError("NOT_ALLOWED", f"{reader.key.owner} has no role reader in the manifest")
    level = max(item.facts.classification for item in stored)
    if level > reader.officer.ceiling:
        raise RefusedError("NOT_ALLOWED", f"classification {level} is above {reader.key.owner}'s ceiling")


def _entry(
    work: UnitOfWork,
    reader: Reader,
    granted: Granted,
    view: NodeView,
    first: FirstReading | None,
) -> Body:
    stored, denied = granted.stored, granted.denied
    listing = bool(reader.request.listed)
    meant = first.request if first is not None else reader.request
    about = first.position if first is not None else stored[0].entry_index
    kind = Kind.ACCESS_DENIED if denied else _OPENING.get(reader.request.asked, Kind.OPENED)
    return Body(
        kind=kind,
        actor=view.pseudonym(reader.key.owner),
        actor_epoch=view.pseudonym_epoch,
        role=Role.READER,
        bulletin_id=b"" if listing else stored[0].bulletin_id,
        purpose=int(meant.purpose or 0),
        outcome=Outcome[denied.code] if denied else 0 if kind is Kind.EXPORTED else Outcome.DONE,
        count=len(stored) if listing else 0,
        digest=opened_digest(granted.blind, reader.digest),
        records=view.records[view.agency] if kind is Kind.OPENED else b"",
        **(NOTHING if listing else work.refers(about)),
    )


def open_bulletin(granted: Granted, stored: StoredBulletin, view: NodeView, reads: Reads) -> OpenedBulletin:
    """Open what a grant allows. Its entry is durable by now.

    Raises:
        RefusedError: What the grant denied; KEY_GONE.
        IntegrityError: The stored bytes do not open: they are not what was received.
    """
    if granted.denied is not None:
        raise granted.denied
    content = reads.content(stored.entry_index)
    if content is None or stored not in granted.stored:
        raise RefusedError("NO_SUCH_BULLETIN", f"the content of {short(stored.bulletin_id)} is not here")
    return OpenedBulletin(
        stored=stored,
        statement=open_content(content, stored, view.storage),
        dispatch=SignedPayload.decode(content.dispatch),
        granted=granted,
    )
