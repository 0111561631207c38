"""A malicious member: true keys of its own, and it signs what it likes.

Every altered message in these tests is signed again by the sender's real operations key (and the statement inside by
a real officer's), so that the altered field, and nothing else, is what the receiver can object to.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from audit.record.dispatch import (
    ROLE_OF_TYPE,
    Dispatch,
    DispatchSigner,
    Recipient,
    Urgency,
    ciphertext_digest,
    dispatch_digest,
    signers_of,
    wrap_digest,
)
from audit.record.lane import Delivery, LaneClass, LaneHead, LaneId, Withdrawn, delivery_digest
from audit.record.statement import Statement, statement_digest
from exchange.acts.intake import Message
from exchange.acts.judgement import Parcel
from exchange.acts.node_view import NodeView
from exchange.demo.federation import FoundedFederation
from exchange.records.bulletin import encode_bulletin, id_bytes, recipients_of
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.dsse import SignedPayload
from keys.identity import AgencyId
from keys.seal import pad, seal_body, wrap, wrap_info
from tests.support.world import NOW_MS, Desk, keys_of, signer, view_of

_times = itertools.count(NOW_MS + 1)


@dataclass(frozen=True)
class Made:
    """A sealed statement as its sender holds it."""

    statement: Statement
    signed: SignedPayload
    dispatch: SignedPayload
    body: bytes
    wraps: dict[str, bytes]

    def parcel(self, delivery: bytes, recipient: str) -> Parcel:
        return Parcel(delivery=delivery, dispatch=self.dispatch, wrap=self.wraps.get(recipient, b""), body=self.body)


def _signers_of(signed: SignedPayload) -> tuple[DispatchSigner, ...]:
    """Name the signers inside, but for those of types that no dispatch can name."""
    known = tuple(each for each in signed.signatures if each.payload_type in ROLE_OF_TYPE)
    return signers_of(replace(signed, signatures=known))


class Forger:
    """One member with its true keys."""

    def __init__(self, agency: str, records: FoundedFederation | None = None) -> None:
        self.agency = AgencyId(agency)
        self.view: NodeView = view_of(agency, records)

    def statement(self, message: Bulletin, **changes: object) -> Statement:
        """Make the statement that an honest client makes, then change fields."""
        addressees = recipients_of(message.header.addressees, self.agency) if "recipients" not in changes else ()
        honest = Statement(
            federation_id=self.view.federation.federation_id,
            salt=os.urandom(32),
            bulletin=encode_bulletin(message),
            roster_digest=self.view.federation.roster_digest,
            recipients=addressees,
        )
        return replace(honest, **changes)

    def sign(self, statement: Statement, officer: str = "officer-1", role: str = "statement") -> SignedPayload:
        return dsse.sign(statement.encode(), (role, signer(self.agency, officer)))

    def seal(
        self,
        message: Bulletin,
        *,
        officer: str = "officer-1",
        author: str | None = None,
        statement: dict[str, object] | None = None,
        signed: SignedPayload | None = None,
        federation_id: bytes | None = None,
        served: Sequence[str] | None = None,
        alter: Callable[[Dispatch], Dispatch] = lambda dispatch: dispatch,
    ) -> Made:
        """Seal and sign a dispatch.

        Args:
            message: The bulletin; its author is filled in.
            officer: Who signs it.
            author: Whom its header names; by default who signs.
            statement: Fields of the statement to change before it is signed.
            signed: Take this statement instead, with its signatures.
            federation_id: What the dispatch and the sealing name.
            served: Whom it is sealed for; by default all that the statement names.
            alter: The last change to the dispatch before it is signed.
        """
        message.header.author = officer if author is None else author
        stated = self.statement(message, **(statement or {}))
        if signed is None:
            signed = self.sign(stated, officer)
        dispatch, body, wraps = self._seal(message, stated, signed, federation_id, served)
        encoded = alter(dispatch).encode()
        return Made(stated, signed, dsse.sign(encoded, ("dispatch", self.view.operations)), body, wraps)

    def _seal(
        self,
        message: Bulletin,
        stated: Statement,
        signed: SignedPayload,
        federation_id: bytes | None,
        served: Sequence[str] | None,
    ) -> tuple[Dispatch, bytes, dict[str, bytes]]:
        federation = federation_id or self.view.federation.federation_id
        digest, content_key = statement_digest(signed.payload), os.urandom(32)
        body = seal_body(content_key, federation, digest, pad(signed.encode()))
        keys = {agency: encryption_key(agency) for agency in sorted(stated.recipients if served is None else served)}
        wraps = {
            agency: wrap(content_key, key, wrap_info(federation, digest, key.key_id)) for agency, key in keys.items()
        }
        dispatch = Dispatch(
            federation_id=federation,
            bulletin_id=id_bytes(message.header.bulletin_id),
            sender=self.agency,
            statement_digest=digest,
            signers=_signers_of(signed),
            recipients=tuple(
                Recipient(agency=AgencyId(agency), key_id=keys[agency].key_id, wrap_digest=wrap_digest(wrapped))
                for agency, wrapped in wraps.items()
            ),
            expires_ms=NOW_MS + 86_400_000,
            urgency=Urgency(message.header.urgency),
            ciphertext_digest=ciphertext_digest(body),
            ciphertext_size=len(body),
        )
        return dispatch, body, wraps

    def lane(self, recipient: str, lane_class: int = 2, epoch: int = 1) -> LaneId:
        return LaneId(
            federation_id=self.view.federation.federation_id,
            sender=self.agency,
            recipient=AgencyId(recipient),
            lane_class=LaneClass(lane_class),
            epoch=epoch,
        )

    def head(
        self,
        lane: LaneId,
        sequence: int,
        digest: bytes,
        *,
        latest: int = 0,
        withdrawn: Sequence[Withdrawn] = (),
        **changes: object,
    ) -> SignedPayload:
        """Sign a head; each one later than all before."""
        head = LaneHead(
            lane=lane,
            sequence=sequence,
            delivery_digest=digest,
            latest=latest or sequence,
            withdrawn=tuple(withdrawn),
            time_ms=next(_times),
        )
        return dsse.sign(replace(head, **changes).encode(), ("lane-head", self.view.operations))

    def deliver(
        self,
        receiver: Desk,
        *made: Made,
        lane_class: int = 2,
        at: tuple[int, bytes] | None = None,
        withdrawn: Sequence[Withdrawn] = (),
        latest: int = 0,
        delivery_ms: int = NOW_MS,
        parcels: Callable[[Parcel], Parcel] = lambda parcel: parcel,
    ) -> Message:
        """Put sealed statements into the lane, from where the receiver stands or from *at*, under a good head."""
        lane = self.lane(receiver.agency, lane_class)
        sequence, digest = self.position(receiver, lane_class) if at is None else at
        out = []
        for each in made:
            sequence += 1
            delivery = Delivery(
                lane=lane,
                sequence=sequence,
                previous=digest,
                dispatch_digest=dispatch_digest(each.dispatch.payload),
                time_ms=delivery_ms,
            ).encode()
            digest = delivery_digest(delivery)
            out.append(parcels(each.parcel(delivery, receiver.agency)))
        time_ms = self.later(receiver, lane_class)
        head = self.head(lane, sequence, digest, latest=latest, withdrawn=withdrawn, time_ms=time_ms)
        return Message(parcels=tuple(out), head=head)

    def later(self, receiver: Desk, lane_class: int = 2) -> int:
        """Return a time after every head that the receiver holds of this lane."""
        state = receiver.node.reads.lane(outgoing=False, peer=self.agency, lane_class=lane_class, epoch=1)
        return max(next(_times), state.head_time_ms + 1 if state is not None else 0)

    def position(self, receiver: Desk, lane_class: int = 2) -> tuple[int, bytes]:
        """Return where the receiver stands in our lane."""
        state = receiver.node.reads.lane(outgoing=False, peer=self.agency, lane_class=lane_class, epoch=1)
        return (0, bytes(32)) if state is None else (state.sequence, state.digest)


def encryption_key(agency: str):  # type: ignore[no-untyped-def] # a member's public key of today
    return keys_of(agency).node.encryption[0].key.public
