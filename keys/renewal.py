"""What only the agency's root can renew, as one file each way: the node asks, the root's machine answers.

The **request** carries the manifest in force, the node's and the issuing key's certificate requests, and the leaves of
officers and systems; an operations key has signed it. The **renewal** carries the next manifest, with the same people
for another year, and leaves for the same keys, so that no pin changes; the root has signed it. Everything in it is
verified by itself too, when it is put to use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from keys import bounds, certificate
from keys.agency import Random
from keys.certificate import Authority
from keys.dsse import SignedPayload, payload_type, sign, verify
from keys.durations import DAY_MS, YEAR_MS
from keys.errors import RefusedError
from keys.identity import AgencyId, parse_agency, parse_officer
from keys.issuing import make_issuing
from keys.key_files import NodeKeys, RootKeys
from keys.manifest import MAX_OFFICERS, Manifest, Officer, parse_manifest
from keys.roster import Member
from keys.timed_key import CLOCK_SKEW_MS, check_maker
from keys.v1 import renewal_pb2

REQUEST_MS = 30 * DAY_MS  # so long a request may lie until it is answered
LATE_MS = 30 * DAY_MS  # whose time ended longer ago than that is not renewed with the others
MAX_REQUEST_BYTES, MAX_LEAF_BYTES = 4096, 4096


class StaleRequestError(RefusedError):
    """A request has lain too long: what the node has may have changed since."""

    hint = "have the node make a new one: exchange node renewal-request"

    def __init__(self, message: str) -> None:
        super().__init__("NOT_ALLOWED", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRequest:
    """What a node asks its root for."""

    federation_id: bytes
    agency: AgencyId
    issued_ms: int
    expires_ms: int
    roster_digest: bytes
    manifest: SignedPayload
    node_request: bytes  # PEM
    issuing_request: bytes  # PEM; empty where the agency has no issuing key
    leaves: Mapping[str, bytes] = field(default_factory=dict)  # DER by officer or system

    def encode(self) -> bytes:
        """Encode to the payload that an operations key signs."""
        return bounds.encode_record(
            renewal_pb2.RenewalRequest(
                federation_id=self.federation_id,
                agency=self.agency,
                issued_ms=self.issued_ms,
                expires_ms=self.expires_ms,
                roster_digest=self.roster_digest,
                manifest=self.manifest.to_message(),
                node_request=self.node_request,
                issuing_request=self.issuing_request,
                leaves=_leaf_messages(self.leaves),
            )
        )

    @property
    def present(self) -> Manifest:
        """The manifest that it carries, parsed."""
        return parse_manifest(self.manifest.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalAnswer:
    """What the root gives back."""

    federation_id: bytes
    agency: AgencyId
    issued_ms: int
    manifest: SignedPayload
    node_leaf: bytes  # DER
    leaves: Mapping[str, bytes] = field(default_factory=dict)  # DER by officer or system

    @property
    def expires_ms(self) -> int:
        """Until when what it carries is of use: its manifest's end."""
        return parse_manifest(self.manifest.payload).expires_ms

    def encode(self) -> bytes:
        """Encode to the payload that the agency's root signs."""
        return bounds.encode_record(
            renewal_pb2.Renewal(
                federation_id=self.federation_id,
                agency=self.agency,
                issued_ms=self.issued_ms,
                manifest=self.manifest.to_message(),
                node_leaf=self.node_leaf,
                leaves=_leaf_messages(self.leaves),
            )
        )


def make_request(
    node: NodeKeys, manifest: SignedPayload, roster_digest: bytes, leaves: Mapping[str, bytes], now_ms: int
) -> SignedPayload:
    """Make and sign what a node asks its root for.

    Args:
        node: Its keys, opened.
        manifest: The own one in force.
        roster_digest: Of the newest roster.
        leaves: Officers' and systems' leaves, DER by id; whose is not here keeps the one of now.
        now_ms: Milliseconds UTC.
    """
    present = parse_manifest(manifest.payload)
    issuing = certificate.make_request(node.issuing_private) if node.issuing_private is not None else b""
    request = RenewalRequest(
        federation_id=present.federation_id,
        agency=present.agency,
        issued_ms=now_ms,
        expires_ms=now_ms + REQUEST_MS,
        roster_digest=roster_digest,
        manifest=manifest,
        node_request=certificate.make_request(node.tls_private),
        issuing_request=issuing,
        leaves={each: leaf for each, leaf in leaves.items() if each in present.officers_by_id},
    )
    payload = request.encode()
    parse_request(payload)
    return sign(payload, ("renewal-request", node.operations))


def parse_request(payload: bytes) -> RenewalRequest:
    """Parse a request and check every bound and order that needs no signature; errors as ``bounds.parse_record``."""
    message = bounds.parse_record(payload, renewal_pb2.RenewalRequest)
    bounds.digest_field(message.federation_id, "the federation id")
    bounds.window(message.issued_ms, message.expires_ms, "a request")
    size = max(len(message.node_request), len(message.issuing_request))
    bounds.require(size <= MAX_REQUEST_BYTES, "a certificate request is too large")
    return RenewalRequest(
        federation_id=message.federation_id,
        agency=parse_agency(message.agency),
        issued_ms=message.issued_ms,
        expires_ms=message.expires_ms,
        roster_digest=bounds.digest_field(message.roster_digest, "the roster's digest"),
        manifest=SignedPayload.from_message(message.manifest),
        node_request=message.node_request,
        issuing_request=message.issuing_request,
        leaves=_leaves(message.leaves),
    )


def parse_renewal(payload: bytes) -> RenewalAnswer:
    """Parse a renewal and check every bound and order that needs no signature; errors as ``bounds.parse_record``."""
    message = bounds.parse_record(payload, renewal_pb2.Renewal)
    bounds.digest_field(message.federation_id, "the federation id")
    bounds.require(message.issued_ms > 0, "a renewal has no time")
    bounds.require(0 < len(message.node_leaf) <= MAX_LEAF_BYTES, "the node's leaf is absent or too large")
    return RenewalAnswer(
        federation_id=message.federation_id,
        agency=parse_agency(message.agency),
        issued_ms=message.issued_ms,
        manifest=SignedPayload.from_message(message.manifest),
        node_leaf=message.node_leaf,
        leaves=_leaves(message.leaves),
    )


def verify_request(signed: SignedPayload, member: Member, now_ms: int) -> RenewalRequest:
    """Verify what a node asks for, on the machine with the root; whose time has ended may ask, late as it is.

    1. its manifest is signed by the root, 2. the request by an operations key of that manifest, 3. both are of this
    agency and one federation, 4. it is neither of the future nor has lain too long, 5. the certificate requests are
    signed by their own keys, 6. the CA has issued each leaf before.

    Args:
        signed: As received.
        member: The agency's own application to the roster.
        now_ms: Milliseconds UTC.

    Raises:
        RefusedError: WRONG_MAKER, CLOCK_DIFFERS, NOT_ALLOWED, WRONG_FEDERATION, PEER_UNTRUSTED, and as
            ``dsse.verify`` and ``parse_request``.
    """
    request = parse_request(signed.payload)
    bounds.require(
        request.agency == member.agency, f"a request of {request.agency}, this root is {member.agency}'s", "WRONG_MAKER"
    )
    verify(request.manifest, "manifest", {member.root_key.key_id: member.root_key}.get)  # 1
    known = {key_id: each.public for key_id, each in request.present.operations_by_id.items()}
    verify(signed, "renewal-request", known.get)  # 2
    check_maker(request.present, member.agency, request.federation_id)  # 3
    ahead_s = (request.issued_ms - now_ms) // 1000  # 4
    bounds.require(
        request.issued_ms <= now_ms + CLOCK_SKEW_MS,
        f"the request is made {ahead_s:,} s after this machine's time: one of the two clocks is wrong",
        "CLOCK_DIFFERS",
    )
    days = (now_ms - request.issued_ms) // DAY_MS
    if now_ms >= request.expires_ms:
        raise StaleRequestError(f"the request of {request.agency} is {days} days old")
    for each in filter(None, (request.node_request, request.issuing_request)):  # 5
        certificate.read_request(each)
    for leaf in request.leaves.values():  # 6
        certificate.check_issued(certificate.load(leaf), certificate.load(member.tls_ca))
    return request


def following_manifest(request: RenewalRequest, now_ms: int, signed: int = 0) -> Manifest:
    """Return the next manifest before it is certified and signed: the same people and keys, for a year from now.

    Whose time ended more than 30 days before the others' is left as it stands. *signed* is the highest version that
    the root has signed, which the node may not know.
    """
    present = request.present
    until = now_ms + YEAR_MS
    alive = min(now_ms, present.expires_ms) - LATE_MS
    return replace(
        present,
        version=max(present.version, signed) + 1,
        issued_ms=max(now_ms, present.issued_ms),
        expires_ms=until,
        operations_keys=tuple(
            replace(each, until_ms=until) if each.until_ms > alive else each for each in present.operations_keys
        ),
        officers=tuple(replace(each, until_ms=until) if each.until_ms > alive else each for each in present.officers),
        issuing=b"",
    )


def renew(
    request: RenewalRequest, root: RootKeys, ca: Authority, manifest: SignedPayload, now_ms: int, random_bytes: Random
) -> SignedPayload:
    """Sign the one file that is given back.

    Args:
        request: Verified.
        root: Opened.
        ca: Of the same agency.
        manifest: As ``sign_following`` made it.
        now_ms: Milliseconds UTC.
        random_bytes: For serial numbers.
    """
    people = parse_manifest(manifest.payload).officers_by_id
    leaves = {
        holder: certificate.make_officer_leaf(ca, _public_of(leaf), now_ms, random_bytes)
        for holder, leaf in request.leaves.items()
        if holder in people
    }
    public = certificate.read_request(request.node_request)
    renewal = RenewalAnswer(
        federation_id=request.federation_id,
        agency=request.agency,
        issued_ms=now_ms,
        manifest=manifest,
        node_leaf=certificate.make_node_leaf(ca, public, now_ms, random_bytes),
        leaves=leaves,
    )
    payload = renewal.encode()
    parse_renewal(payload)
    return sign(payload, ("renewal", root.root))


def sign_following(
    request: RenewalRequest, root: RootKeys, ca: Authority, made: Manifest, *, issuing: bool, random_bytes: Random
) -> SignedPayload:
    """Certify the issuing key where there is one and it stays, and sign the following manifest."""
    if issuing and request.issuing_request:
        public = certificate.read_request(request.issuing_request)
        made = replace(made, issuing=make_issuing(ca, public, made.issued_ms, random_bytes))
    payload = made.encode()
    parse_manifest(payload)
    return sign(payload, ("manifest", root.root))


def verify_renewal(signed: SignedPayload, member: Member, federation_id: bytes, now_ms: int) -> RenewalAnswer:
    """Verify a renewal before anything of it is kept; its manifest is judged as every other one when it is adopted.

    1. signed by the root that the roster names, 2. of this agency and federation, its manifest too, 3. not of the
    future, 4. each leaf is the CA's, the node's with the node's name.

    Raises:
        RefusedError: WRONG_MAKER, WRONG_FEDERATION, CLOCK_DIFFERS, MANIFEST_EXPIRED, PEER_UNTRUSTED, and as ``dsse.verify``.
    """
    renewal = parse_renewal(signed.payload)
    bounds.require(
        renewal.agency == member.agency,
        f"a renewal for {renewal.agency}, this is {member.agency}'s node",
        "WRONG_MAKER",
    )
    verify(signed, "renewal", {member.root_key.key_id: member.root_key}.get)  # 1
    manifest = parse_manifest(renewal.manifest.payload)
    for each in (renewal, manifest):
        check_maker(each, member.agency, federation_id)  # 2
    bounds.require(renewal.issued_ms <= now_ms + CLOCK_SKEW_MS, "the renewal is of the future", "CLOCK_DIFFERS")  # 3
    bounds.require(now_ms < manifest.expires_ms, "the renewal's manifest has expired", "MANIFEST_EXPIRED")
    certificate.verify_node_leaf(renewal.node_leaf, member.tls_ca, now_ms)  # 4
    for leaf in renewal.leaves.values():
        certificate.verify_client_leaf(leaf, member.tls_ca, now_ms)
    return renewal


def differences(before: Manifest, after: Manifest) -> list[str]:
    """Say in words what one manifest has that another has not: people, their roles and keys, addresses."""
    told = []
    for name in sorted({*before.officers_by_id, *after.officers_by_id}):
        old, new = before.officers_by_id.get(name), after.officers_by_id.get(name)
        if old is None or new is None:
            told.append(f"{'comes' if old is None else 'goes'}: {name}")
        elif _standing(old) != _standing(new):
            told.append(f"changes: {name}, {_words(old)} → {_words(new)}")
    if before.endpoints != after.endpoints:
        told.append(f"addresses: {', '.join(before.endpoints) or 'none'} → {', '.join(after.endpoints) or 'none'}")
    if {*before.operations_by_id} != {*after.operations_by_id}:
        told.append("the operations keys change")
    return told


def is_renewal(signed: SignedPayload) -> bool:
    """Return whether a signed payload claims to be what a root gives back."""
    return [each.payload_type for each in signed.signatures] == [payload_type("renewal")]


def _standing(each: Officer) -> tuple[object, ...]:
    return each.roles, each.ceiling, each.public.key_id


def _words(each: Officer) -> str:
    return f"{', '.join(each.roles)}, ceiling {each.ceiling}, key {each.public.key_id[:4].hex()}"


def _public_of(leaf: bytes) -> certificate.PublicKey:
    return certificate.p256(certificate.load(leaf))


def _leaf_messages(leaves: Mapping[str, bytes]) -> list[renewal_pb2.HolderLeaf]:
    return [renewal_pb2.HolderLeaf(holder=holder, leaf=leaf) for holder, leaf in sorted(leaves.items())]


def _leaves(messages: list[renewal_pb2.HolderLeaf]) -> dict[str, bytes]:
    bounds.count(messages, 0, MAX_OFFICERS, "leaves")
    holders = [parse_officer(each.holder) for each in messages]
    bounds.require(all(one < two for one, two in pairwise(holders)), "leaves do not ascend, or one stands twice")
    for each in messages:
        bounds.require(0 < len(each.leaf) <= MAX_LEAF_BYTES, f"the leaf of {each.holder} is absent or too large")
    return {each.holder: each.leaf for each in messages}
