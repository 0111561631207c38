"""What a reader with ``openssl`` alone needs: public keys as PEM, the very bytes that were signed, and the signatures.

``check/list`` has a line for each signature: its name, the message, the key; they stand in ``check/NAME.sig``,
``check/MESSAGE.message`` and ``keys/KEY.pem``. Of a hybrid signature the Ed25519 half stands here, because few programs know ML-DSA-65. All of
it is made from the proven members, so that a verifier makes it again.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from audit.evidence import file
from audit.evidence.case import Case
from audit.evidence.trust import Trust
from audit.note.checkpoint import parse_note
from audit.note.cosignature import signed_message
from audit.note.tlogproof import parse_proof
from keys.dsse import SignedPayload, pae
from keys.errors import RefusedError

_SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: an Ed25519 public key follows
LIST = "check/list"


class _Signed(NamedTuple):
    """One signature, verified before."""

    name: str
    about: str  # the message's name
    key_name: str
    key: bytes
    message: bytes
    signature: bytes


def make_helps(case: Case) -> dict[str, bytes]:
    """Return keys, messages and signatures of a case that was proved."""
    members: dict[str, bytes] = {}
    rows: list[str] = []
    for each in _signatures(case):
        members[f"keys/{each.key_name}.pem"] = pem(each.key)
        members[f"check/{each.about}.message"] = each.message
        members[f"check/{each.name}.sig"] = each.signature[:64]
        rows.append(f"{each.name} {each.about} {each.key_name}\n")
    if file.DISPATCH in case.core:
        members["check/dispatch.payload"] = SignedPayload.decode(case.core[file.DISPATCH]).payload
    members[LIST] = "".join(sorted(set(rows))).encode()
    return members


def pem(key: bytes) -> bytes:
    """Return an Ed25519 public key as ``openssl`` reads it."""
    text = base64.b64encode(_SPKI + key[:32]).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n".encode()


def proof_names(core: Mapping[str, bytes]) -> list[str]:
    """Return the members that are tlog-proofs."""
    return sorted(name for name in core if name.endswith(".tlog-proof"))


def _signatures(case: Case) -> Iterator[_Signed]:
    trust, sender = case.trust, case.sender.agency
    yield from _rosters(case)
    for name in sorted(case.core):
        if match := file.MANIFESTS.fullmatch(name):
            root, label = trust.member(match[1]).root_key.public_key, f"manifest-{match[1]}-{match[2]}"
            for frame, signature in _frames(case.core[name]):
                yield _Signed(label, label, f"root-{match[1]}", root, frame, signature)
    for name, label in ((file.DISPATCH, "dispatch"), (file.LANE_HEAD, "lane-head")):
        if name in case.core:
            key_id = SignedPayload.decode(case.core[name]).signatures[0].key_id
            key = _any_operations_key(trust, sender, key_id)
            for frame, signature in _frames(case.core[name]):
                yield _Signed(label, label, f"operations-{key_id[:4].hex()}", key, frame, signature)
    if file.STATEMENT in case.core:
        frames = sorted(_typed(case.core[file.STATEMENT]), reverse=True)  # statement before release, as the signers
        for (_, person), (label, frame, signature) in zip(case.signers, frames, strict=True):
            yield _Signed(label, label, f"person-{person.id}", person.public.public_key, frame, signature)
    seen: set[str] = set()
    for name in proof_names(case.core):
        yield from _note(trust, parse_proof(case.core[name].decode()).note, seen)


def _rosters(case: Case) -> Iterator[_Signed]:
    for number, (data, roster) in enumerate(zip(file.rosters_of(case.core), case.trust.rosters, strict=True)):
        before = case.trust.rosters[number - 1] if number else roster
        roots = {each.key_id: each for each in (*before.roots, *roster.roots)}
        label = f"roster-{roster.version}"
        for each, (frame, signature) in zip(SignedPayload.decode(data).signatures, _frames(data), strict=True):
            short = each.key_id[:4].hex()
            yield _Signed(
                f"{label}-{short}", label, f"roster-root-{short}", roots[each.key_id].public_key, frame, signature
            )


def _frames(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    signed = SignedPayload.decode(data)
    for each in signed.signatures:
        yield pae(each.payload_type, signed.payload), each.signature


def _typed(data: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (role, frame, signature): the role is what stands in the type's name."""
    for frame, signature in _frames(data):
        yield frame.split(b".exchange.", 1)[1].split(b".", 1)[0].decode(), frame, signature


def _note(trust: Trust, text: str, seen: set[str]) -> Iterator[_Signed]:
    """Yield the log's signature and the known witnesses' on one checkpoint, once."""
    note = parse_note(text)
    point = note.checkpoint
    member, key = trust.log_of(point.origin)
    name = f"checkpoint-{member.agency}-{point.size}"
    if name in seen:
        return
    seen.add(name)
    for line in note.signatures:
        if (line.name, line.key_hash) == (key.name, key.key_hash):
            yield _Signed(name, name, f"log-{member.agency}", key.key, point.text().encode(), line.signature)
        for witness in trust.policy(member.agency).witnesses:
            if (line.name, line.key_hash) == (witness.name, witness.key_hash):
                time = int.from_bytes(line.signature[:8], "big")
                label = f"{name}-by-{witness.name.replace('/', '-')}"
                message = signed_message(point, witness, time)
                key_name = f"witness-{witness.name.replace('/', '-')}"
                yield _Signed(label, label, key_name, witness.key, message, line.signature[8:])


def _any_operations_key(trust: Trust, agency: str, key_id: bytes) -> bytes:
    for manifest in trust.manifests[agency]:
        if key_id in manifest.operations_by_id:
            return manifest.operations_by_id[key_id].public.public_key
    raise RefusedError("SIGNER_UNKNOWN", f"no manifest of {agency} has that operations key")
