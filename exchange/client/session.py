"""One person's or system's line to the own node: calls, the checks at their beginning, what was seen of the log."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from audit.record.statement import LogHead, ReadPurpose, ReadRequest
from exchange.client.verifier import Verifier
from exchange.node.enrolment import Enrolment, load_seen, save_leaf, save_seen
from exchange.records.receipt import VerifiedReceipt
from exchange.rpc.transport import channel
from exchange.rpc.transport.channel import blocking_desk_channel
from exchange.rpc.transport.status import error_of
from exchange.v1 import node_pb2, node_pb2_grpc
from keys import certificate, dsse
from keys.countdown import Deadline, deadlines, own_deadlines, warned
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.key_files import OfficerKeys
from keys.key_sheet import parse_key_sheet
from keys.manifest import Manifest

PAGE = 500
_Answer = TypeVar("_Answer")


class SilentNodeError(UnavailableError):
    """The own node does not answer, or not as itself: gRPC does not tell the two apart."""

    def __init__(self, enrolment: Enrolment, address: str, retry_after_seconds: float) -> None:
        super().__init__(f"the node of {enrolment.agency} does not answer at {address}", retry_after_seconds)
        self.hint = f"is it running? exchange node serve --home {enrolment.home}"


class ExpiredNodeError(UnavailableError):
    """The own node's certificate has ended, and no connection to it comes about."""

    def __init__(self, enrolment: Enrolment) -> None:
        super().__init__(f"the certificate of the node of {enrolment.agency} has expired", 60)
        self.hint = "its operator runs exchange node renewal-request, and exchange keys renew where the root lies"


def wall_clock_ms() -> int:
    """Read the wall clock: milliseconds UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a client takes from its machine, for anybody who runs it with other clocks and dice."""

    clock_ms: Callable[[], int] = wall_clock_ms  # milliseconds UTC
    random_bytes: Callable[[int], bytes] = os.urandom  # for salts, nonces and bulletin ids
    deadline_seconds: float = 30.0  # for each call but publishing; a node on a busy machine takes its time


class Line:
    """A channel, the roster that was compared, the keys that sign."""

    def __init__(self, enrolment: Enrolment, keys: OfficerKeys, address: str, surroundings: Surroundings) -> None:
        """Dial, and check that it is the node of the federation that was compared; errors as ``Client.connect``."""
        self.enrolment, self.keys = enrolment, keys
        self.clock_ms, self.random = surroundings.clock_ms, surroundings.random_bytes
        self._deadline = surroundings.deadline_seconds
        self._address = address
        self._lock = threading.Lock()
        self._records: dict[bytes, SignedPayload] = {}  # by digest
        self._manifests: dict[bytes, Manifest] = {}  # our own of before, verified, by digest
        self._saved = self.seen = load_seen(enrolment)
        self._channel = blocking_desk_channel(
            address,
            enrolment.ca,
            enrolment.leaf,
            certificate.private_pem(keys.tls_private),
            enrolment.node_name,
        )
        try:
            self.stub = node_pb2_grpc.DeskStub(self._channel)
            self.trust = self._begin()
        except BaseException:
            self._channel.close()
            raise

    def _begin(self) -> Verifier:
        try:
            profile = self.call(self.stub.Profile, node_pb2.ProfileRequest())
        except UnavailableError as error:
            self._check_certificates()
            raise SilentNodeError(self.enrolment, self._address, error.retry_after_seconds) from error
        if (profile.agency, profile.owner) != (self.enrolment.agency, self.enrolment.owner):
            taken = f"the node of {profile.agency[:30]!a} takes you for {profile.owner[:70]!a}"
            raise RefusedError("PEER_UNTRUSTED", taken)
        trust = Verifier.found(
            SignedPayload.from_message(profile.roster),
            SignedPayload.from_message(profile.manifest),
            pin=self.enrolment.pin,
            agency=self.enrolment.agency,
            now_ms=self.clock_ms(),
        )
        leaf = self.enrolment.leaf
        if profile.leaf and save_leaf(self.enrolment, profile.leaf, self.clock_ms()):
            leaf = profile.leaf
        self._ends = (certificate.ends_ms(leaf), profile.node_leaf_ends_ms or None, profile.key_sheet.payload)
        head = trust.check_head(profile.checkpoint, self.seen)
        self.seen = LogHead(origin=head.origin, size=head.size, root=head.root)
        return trust

    def _check_certificates(self) -> None:
        """Say where nobody answers because a certificate has ended: gRPC names it to neither side.

        Raises:
            RefusedError: KEY_EXPIRED, ours.
            ExpiredNodeError: The node's.
        """
        if certificate.ends_ms(self.enrolment.leaf) <= self.clock_ms():
            raise RefusedError("KEY_EXPIRED", f"the certificate of {self.enrolment.owner} has expired")
        if "expired" in channel.server_fault(self._address, self.enrolment.ca, self.enrolment.node_name):
            raise ExpiredNodeError(self.enrolment)

    def countdown(self) -> list[Deadline]:
        """Return what ends within its countdown, the soonest first: what the node has, and our own key and certificate.

        The end of its windows and of its certificate the node alone has told; the rest is signed.
        """
        own_ends, node_ends, sheet = self._ends
        federation, agency = self.trust.federation, self.enrolment.agency
        told = deadlines(federation, agency, node_ends, parse_key_sheet(sheet))
        told += own_deadlines(federation, agency, self.enrolment.officer, own_ends)
        return sorted(warned(told, self.clock_ms()), key=lambda each: each.ends_ms)

    def call(self, method: Callable[..., _Answer], request: object) -> _Answer:
        """Make one call; raises RefusedError, UnavailableError or IntegrityError."""
        try:
            return method(request, timeout=self._deadline)
        except grpc.RpcError as raised:
            raise error_of(raised) from raised

    def inbox_page(self, after: int, bulletin_id: bytes = b"") -> node_pb2.InboxResponse:
        """Ask for received bulletins after a cursor, or for one."""
        request = node_pb2.InboxRequest(after=after, limit=PAGE, bulletin_id=bulletin_id)
        answer: node_pb2.InboxResponse = self.call(self.stub.Inbox, request)
        return answer

    def outbox_page(self, after: int, bulletin_id: bytes = b"") -> node_pb2.OutboxResponse:
        """Ask for sent bulletins after a cursor, or for one."""
        request = node_pb2.OutboxRequest(after=after, limit=PAGE, bulletin_id=bulletin_id)
        answer: node_pb2.OutboxResponse = self.call(self.stub.Outbox, request)
        return answer

    def record(self, digest: bytes) -> SignedPayload:
        """Ask for a record by its digest, once for this line."""
        if digest not in self._records:
            answer = self.call(self.stub.Record, node_pb2.DeskRecordRequest(digest=digest))
            self._records[digest] = SignedPayload.from_message(answer.record)
        return self._records[digest]

    def own_manifest(self, digest: bytes) -> Manifest | None:
        """Return our own manifest of a digest, verified; None where it is the present one, or no node names it."""
        if not digest or digest == self.trust.manifest_digest:
            return None
        if digest not in self._manifests:
            signed = self.record(digest)
            self._manifests[digest] = self.trust.manifest_of_before(signed, self.enrolment.agency, digest)
        return self._manifests[digest]

    def sign_request(self, purpose: ReadPurpose | None, case: str, because: str, **aim: Any) -> SignedPayload:
        """Sign a request to read; *aim* is what it is for, as fields of ReadRequest. About a reading it has no purpose."""
        request = ReadRequest(
            federation_id=self.trust.federation.federation_id,
            agency=self.enrolment.agency,
            officer=self.enrolment.officer,
            purpose=purpose,
            case=case,
            reason=because,
            nonce=self.random(16),
            time_ms=self.clock_ms(),
            log_head=self.seen,
            **aim,
        )
        return dsse.sign(request.encode(), ("read", self.keys.signer))

    def saw(self, proven: VerifiedReceipt) -> None:
        """Remember the newest checkpoint of our log; it is written down at the end."""
        head = proven.checkpoint
        with self._lock:
            if self.seen is None or head.size > self.seen.size:
                self.seen = LogHead(origin=head.origin, size=head.size, root=head.root)

    def close(self) -> None:
        """Write down the newest checkpoint seen, hang up."""
        if self.seen is not None and self.seen != self._saved:
            save_seen(self.enrolment, self.seen)
            self._saved = self.seen
        self._channel.close()


def translate(raised: Exception) -> Exception:
    """Return the error that a stream ended with, as the node raised it."""
    return error_of(raised) if isinstance(raised, grpc.RpcError) else raised
