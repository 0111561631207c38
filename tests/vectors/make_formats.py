"""Make the vectors of the formats, once: ``python -m tests.vectors.make_formats`` from the root of the repository.

They freeze the formats, so existing files are never overwritten: a change of format carries a new version. What is
sealed in them differs with each making; it is for opening and verifying only.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from audit.entry.entry import Kind, Outcome
from audit.record.dispatch import (
    Absent,
    AbsentReason,
    Dispatch,
    DispatchSigner,
    SignerRole,
    dispatch_digest,
    parse_dispatch,
)
from audit.record.lane import LaneHead, Withdrawn, WithdrawnReason, delivery_digest, lane_head_digest, parse_delivery
from audit.record.statement import (
    ReadPurpose,
    ReadRequest,
    RestsOn,
    Statement,
    opened_digest,
    opening,
    read_digest,
    statement_digest,
)
from audit.record.wire import encode
from exchange.records.equivocation import Equivocation
from exchange.records.receipt import Receipt, format_receipt
from keys.dsse import SignedPayload
from keys.identity import AgencyId, key_id
from tests.exchange.records import formats

FOLDER = Path(__file__).parent / "formats"


def plain(value: Any) -> Any:
    """Turn a value into JSON: bytes in hex, enums as numbers, values as objects."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, IntEnum):
        return int(value)
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def record(value: Any, digest: Any) -> dict[str, Any]:
    payload = value.encode()
    return {"fields": plain(value), "payload": payload.hex(), "digest": digest(payload).hex()}


def read_requests() -> dict[str, ReadRequest]:
    opens = ReadRequest(
        federation_id=formats.FEDERATION,
        agency=formats.PEER,
        officer="noor",
        purpose=ReadPurpose.CASE_WORK,
        case="PDRM-2026-117",
        reason="the person was named by a witness",
        nonce=formats.seed("nonce")[:16],
        time_ms=formats.NOW_MS,
        sender=formats.SENDER,
        bulletin_id=formats.BULLETIN_ID,
        statement_digest=statement_digest(formats.STATEMENT.encode()),
        log_head=formats.STATEMENT.log_head,
    )
    listed = ((formats.SENDER, formats.BULLETIN_ID), (formats.OTHER, formats.BULLETIN_ID))
    bare = replace(opens, sender="", bulletin_id=b"", statement_digest=b"", log_head=None)
    about = replace(bare, purpose=None, case="", reason="", position=1 << 40 | 117)
    return {
        "read: opens": opens,
        "read: exports": replace(opens, purpose=ReadPurpose.EXPORT),
        "read: lists": replace(bare, purpose=ReadPurpose.TRIAGE, listed=listed),
        "read: holds": replace(opens, purpose=ReadPurpose.HOLD),
        "read: releases": replace(opens, purpose=ReadPurpose.RELEASE),
        "read: again": about,
        "read: failed": replace(about, outcome=Outcome.SIGNER_UNKNOWN),
    }


def resting() -> Statement:
    """Return a statement as a later program may make it."""
    rests_on = (RestsOn("agreement", formats.seed("agreement")), RestsOn("group", formats.seed("group")))
    return replace(formats.STATEMENT, rests_on=rests_on)


def part(dispatch: Dispatch) -> Dispatch:
    """Return a dispatch as a later program may make it."""
    reasons = {AgencyId("ZZ-NONE"): AbsentReason.NOT_ENTITLED, AgencyId("ZZ-PART"): AbsentReason.OTHER_PART}
    absent = tuple(Absent(agency=agency, reason=reason) for agency, reason in reasons.items())
    joint = DispatchSigner(role=SignerRole.JOINT, key_id=formats.seed("joint"))
    return replace(dispatch, signers=(*dispatch.signers, joint), absent=(*dispatch.absent, *absent), part=2, parts=3)


def records() -> dict[str, Any]:
    bare = Statement(
        federation_id=formats.FEDERATION,
        salt=formats.seed("another salt"),
        bulletin=b"\x01",
        roster_digest=formats.seed("roster"),
        recipients=(formats.PEER,),
    )
    deliveries = formats.chain(2)
    empty = LaneHead(lane=formats.LANE, sequence=0, delivery_digest=bytes(32), latest=0, time_ms=formats.NOW_MS)
    withdrawn = (Withdrawn(sequence=2, reason=WithdrawnReason.RECALLED),)
    sealed = formats.seal()
    made = {
        "statement": record(formats.STATEMENT, statement_digest),
        "statement: first of a log": record(bare, statement_digest),
        "statement: rests on records": record(resting(), statement_digest),
        "dispatch": record(parse_dispatch(sealed.dispatch.payload), dispatch_digest),
        "dispatch: part of three, signed jointly": record(
            part(parse_dispatch(sealed.dispatch.payload)), dispatch_digest
        ),
        "delivery": record(parse_delivery(deliveries[0]), delivery_digest),
        "lane-head": record(formats.head_of(deliveries, 2, latest=7, withdrawn=withdrawn), lane_head_digest),
        "lane-head: empty lane": record(empty, lane_head_digest),
    }
    made |= {name: record(value, read_digest) for name, value in read_requests().items()}
    return {"records": made, "derived": derived(delivery_digest(deliveries[0]))}


def derived(delivery: bytes) -> dict[str, Any]:
    salt, blind, request = formats.STATEMENT.salt, formats.seed("blind"), formats.seed("request")
    key = formats.AUTHOR.key
    return {
        "key_id": {
            "usage": int(key.usage),
            "suite": key.suite,
            "owner": key.owner,
            "public_key": key.public_key.hex(),
            "key_id": key_id(key.usage, key.suite, key.owner, key.public_key).hex(),
        },
        "opening": {"salt": salt.hex(), "delivery_digest": delivery.hex(), "opening": opening(salt, delivery).hex()},
        "opened": {"blind": blind.hex(), "request": request.hex(), "digest": opened_digest(blind, request).hex()},
    }


def public(signer: Any) -> dict[str, Any]:
    key = signer.key
    return {"usage": int(key.usage), "suite": key.suite, "owner": key.owner, "public_key": key.public_key.hex()}


def envelope(*, released: bool) -> tuple[dict[str, Any], bytes, bytes]:
    """Return an envelope as it reaches one recipient, and its dispatch and delivery digests."""
    signed = formats.signed_statement(released=released)
    sealed = formats.seal(signed)
    digest = dispatch_digest(sealed.dispatch.payload)
    delivery = replace(parse_delivery(formats.chain(1)[0]), dispatch_digest=digest).encode()
    head = formats.sign_head(formats.head_of([delivery], 1))
    key = formats.ENCRYPTION[formats.PEER]
    made = {
        "federation_id": formats.FEDERATION.hex(),
        "recipient": formats.PEER,
        "encryption_seed": formats.seed(formats.PEER).hex(),
        "encryption_key_id": key.public.key_id.hex(),
        "operations": public(formats.OPERATIONS),
        "author": public(formats.AUTHOR),
        "releaser": public(formats.RELEASER) if released else None,
        "lane_head": head.encode().hex(),
        "delivery": delivery.hex(),
        "dispatch": sealed.dispatch.encode().hex(),
        "wrap": sealed.wraps[formats.PEER].hex(),
        "sealed_body": sealed.body.hex(),
        "statement": signed.encode().hex(),
        "content_key": sealed.content_key.hex(),
    }
    return made, digest, delivery_digest(delivery)


def receipts(dispatch: bytes, delivery: bytes) -> dict[str, Any]:
    log = formats.SmallLog()
    earlier = formats.seed("an earlier delivery")
    bodies = {
        "received": formats.answer(Kind.RECEIVED, dispatch, delivery).encode(),
        "refused": formats.answer(Kind.REFUSED, dispatch, delivery, outcome=Outcome.STALE_ROSTER).encode(),
        "original": formats.answer(Kind.RECEIVED, dispatch, earlier).encode(),
        "withdrawn": formats.answer(Kind.WITHDRAWN, dispatch, delivery).encode(),
    }
    at = {name: log.append(body) for name, body in bodies.items()}
    duplicate = formats.answer(Kind.DUPLICATE, dispatch, delivery, refers_to=at["original"])
    at["duplicate"] = log.append(duplicate.encode())
    # A later version's: kind 99, and RECEIVED with a field 40 (row 71).
    at["unknown kind"] = log.append(formats.answer(99, dispatch, delivery).encode())  # type: ignore[arg-type] # wrong or merged on purpose
    at["unknown field"] = log.append(bodies["received"] + bytes([40 << 3 & 127 | 128, 40 >> 4, 1]))
    made = {name: receipt(log.receipt(index)) for name, index in at.items()}
    second = formats.SmallLog("my-pdrm.exercise.example/log/2", final_root=formats.seed("final root of epoch 1"))
    made["second epoch"] = receipt(second.receipt(second.append(bodies["received"])))
    key = formats.LOG.key.public_key.hex()
    return {
        "log_key": key,
        "dispatch_digest": dispatch.hex(),
        "delivery_digest": delivery.hex(),
        "earlier_delivery_digest": earlier.hex(),
        "salt": formats.STATEMENT.salt.hex(),
        "peer": formats.OUR_NUMBER,
        "receipts": made,
    }


def shared_receipts() -> dict[str, Any]:
    """Receipts of seven of thirteen entries: neighbours, one alone, and the last of a tree that is not whole."""
    log = formats.SmallLog()
    for place in range(12):
        log.append(formats.answer(Kind.WITHDRAWN, formats.seed("dispatch"), formats.seed(f"delivery {place}")).encode())
    indices = (1, 2, 3, 6, 7, 9, 12)
    shared = log.shared(*indices)
    return {
        "log_key": formats.LOG.key.public_key.hex(),
        "sequences": list(shared.sequences),
        "note": shared.note,
        "entries": [entry.hex() for entry in shared.entries],
        "hashes": [value.hex() for value in shared.hashes],
        "encoded": encode(shared.to_message()).hex(),
        "receipts": [log.receipt(index).encode().hex() for index in indices],
    }


def receipt(made: Receipt) -> dict[str, Any]:
    return {
        "entry": made.entry.hex(),
        "proof": made.proof,
        "encoded": made.encode().hex(),
        "file": format_receipt(made),
    }


def equivocation() -> dict[str, Any]:
    shared = formats.chain(2)
    last = delivery_digest(shared[-1])
    sides = [
        shared[:2] + formats.chain(count, first=3, previous=last, mark=mark) for mark, count in (("", 2), ("other ", 1))
    ]
    heads: list[SignedPayload] = [
        formats.sign_head(formats.head_of(side, len(side), time_ms=formats.NOW_MS + place))
        for place, side in enumerate(sides)
    ]
    evidence = Equivocation(
        head_a=heads[0], deliveries_a=tuple(sides[0][2:]), head_b=heads[1], deliveries_b=tuple(sides[1][2:])
    )
    return {"operations": public(formats.OPERATIONS), "sequence": 3, "evidence": evidence.encode().hex()}


def disclosure() -> dict[str, Any]:
    """A salt, a bulletin, its twenty commitments, and what opens each field that it has, and all of them."""
    from audit.record.commitments import SLOTS, commitments, disclosure_root, salt_stream, slot_values
    from audit.record.disclosure import open_fields

    salt, bulletin = bytes(range(32)), bulletin_bytes()
    values = slot_values(bulletin)
    present = [name for name, value in zip(SLOTS, values, strict=True) if value]
    return {
        "salt": salt.hex(),
        "bulletin": bulletin.hex(),
        "salt_stream": salt_stream(salt).hex(),
        "commitments": plain(tuple(commitments(salt_stream(salt), values))),
        "root": disclosure_root(salt, bulletin).hex(),
        "slots": [{"name": n, "value": v.hex()} for n, v in zip(SLOTS, values, strict=True)],
        "opened": [plain(open_fields(salt, bulletin, names)) for names in (*([each] for each in present), present)],
    }


def bulletin_bytes() -> bytes:
    from exchange.authoring.draft import read_draft
    from exchange.records.bulletin import encode_bulletin

    path = FOLDER.parents[2] / "exchange/examples/21-arrest-notice-four-men.yaml"
    return encode_bulletin(read_draft(path.read_bytes()).message)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    one, dispatch, delivery = envelope(released=False)
    two, _, _ = envelope(released=True)
    files = {
        "records.json": records(),
        "envelope.json": one,
        "envelope-released.json": two,
        "receipts.json": receipts(dispatch, delivery),
        "shared-receipts.json": shared_receipts(),
        "equivocation.json": equivocation(),
        "disclosure.json": disclosure(),
    }
    for name, content in files.items():
        path = FOLDER / name
        if not path.exists():
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
