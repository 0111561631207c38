"""Who calls: a peer on the peers' listener, an officer or a system on Desk.

TLS has finished the handshake with anybody whom some member's CA vouches for; that is not an identity. A peer is its
one dNSName **and** that member's own CA **and** membership **and** the pin in the key sheet. An officer is the pin in
the own key sheet. A peer's pin holds no longer than its key sheet; in the newest sheet of our own it holds until the
next one withdraws it, because a node whose sheet has run out must still show its officers what it keeps. Names in URIs,
subjects and common names are never read (rows 23 and 74).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from exchange.acts.node_view import NodeView
from exchange.rpc.transport.grpc_types import Context
from keys.certificate import node_name, peer_agency_name, spki_sha256, verify_client_leaf, verify_node_leaf
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import AgencyId, short, split_owner
from keys.key_sheet import PinKind
from keys.roster import Member

HYBRID_GROUP = b"X25519MLKEM768"  # as gRPC names it; what an eavesdropper of today cannot open later
MAX_CACHED = 1024  # leaves; one of each peer and officer, with room for new ones
CACHE_MS = 60_000  # dates and membership are judged again after that


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a call is from."""

    agency: AgencyId
    owner: str  # AGENCY for a node, AGENCY/id for a person or a system
    number: int  # of the member
    pinned: bool = True  # its key sheet pins this very leaf


def identify_peer(leaf: bytes, federation: Federation, now_ms: int, *, pinned: bool) -> Caller:
    """Return whose node a leaf is.

    1 exactly one dNSName and nothing else; 2 it is some member's node; 3 that member's own CA vouches for it, or the
    issuing key that its manifest names; 4 the member takes part; 5 its key sheet pins the key.

    Args:
        leaf: PEM, as the handshake left it.
        federation: What is adopted now.
        now_ms: Milliseconds UTC.
        pinned: False for Directory, where a new pin is learnt.

    Raises:
        RefusedError: PEER_UNTRUSTED, NOT_A_MEMBER, KEY_SHEET_EXPIRED.
    """
    name = peer_agency_name(leaf)  # 1
    member = find_member(name, federation)  # 2
    verify_node_leaf(leaf, member.tls_ca, now_ms, federation.issuing(member.agency))  # 3
    federation.member(member.agency, now_ms)  # 4
    if pinned:
        _check_pinned(leaf, member.agency, federation, now_ms)  # 5
    return Caller(member.agency, member.agency, member.number, pinned)


def find_member(name: str, federation: Federation) -> Member:
    """Find the member whose node has this dNSName."""
    for member in federation.roster.members:
        if node_name(member.agency, federation.name) == name:
            return member
    raise RefusedError("PEER_UNTRUSTED", "the certificate's name is no member's node")


def check_pin(leaf: bytes, agency: AgencyId, federation: Federation, now_ms: int) -> None:
    """Refuse a server's leaf, PEM or DER: 1 its CA or issuing key must vouch for it, 2 its key sheet pin it as a node's.

    A handshake alone would take a leaf of an issuing key that the manifest names no longer.
    """
    ca = federation.member(agency, now_ms).tls_ca
    verify_node_leaf(leaf, ca, now_ms, federation.issuing(agency))  # 1
    _check_pinned(leaf, agency, federation, now_ms)  # 2


def check_newest_pin(leaf: bytes, agency: AgencyId, federation: Federation, now_ms: int) -> None:
    """As ``check_pin``, whether the newest key sheet has expired or not.

    For what a node asks before it signs: where every sheet has run out, nobody could tell it anything otherwise.
    """
    ca = federation.member(agency, now_ms).tls_ca
    verify_node_leaf(leaf, ca, now_ms, federation.issuing(agency))
    _check_newest(leaf, agency, federation)


def _check_pinned(leaf: bytes, agency: AgencyId, federation: Federation, now_ms: int) -> None:
    federation.key_sheet(agency, now_ms)
    _check_newest(leaf, agency, federation)


def _check_newest(leaf: bytes, agency: AgencyId, federation: Federation) -> None:
    spki = spki_sha256(leaf)
    pin = federation.pin(agency, spki)
    if pin is None or pin.kind is not PinKind.NODE or pin.owner != agency:
        raise RefusedError("PEER_UNTRUSTED", f"key {short(spki)} is not pinned as the node of {agency}")


def identify_person(leaf: bytes, view: NodeView, now_ms: int) -> Caller:
    """Return which of the own officers or systems a leaf is.

    1 the own CA vouches for it, without any name, and its own dates hold; 2 the newest own key sheet pins it, and not
    as a node; 3 the newest own manifest names the person, whose time there is not over. That sheet and manifest may
    have expired: what came before stays readable.

    Raises:
        RefusedError: PEER_UNTRUSTED, NOT_A_MEMBER, KEY_EXPIRED.
    """
    member = view.federation.member(view.agency, now_ms)
    spki = verify_client_leaf(leaf, member.tls_ca, now_ms)  # 1
    pin = view.federation.pin(view.agency, spki)
    if pin is None or pin.kind is PinKind.NODE:  # 2
        raise RefusedError("PEER_UNTRUSTED", f"key {short(spki)} is not pinned as a person's or a system's")
    check_acts(pin.owner, view, now_ms)  # 3
    return Caller(view.agency, pin.owner, member.number)


def require_hybrid(found: Mapping[str, Iterable[bytes]], *, desk: bool) -> None:
    """Refuse a connection whose key exchange is classical: what is recorded of it, a quantum computer would open.

    Args:
        found: gRPC's ``auth_context``.
        desk: Whether it is the own desk, where the operator may allow it.
    """
    groups = list(found.get("ssl_negotiated_key_exchange_group", ()))
    if groups != [HYBRID_GROUP]:
        agreed = groups[0].decode("ascii", "replace")[:32] if groups else "no group that has a name"
        allowed = ", or desk_classical_tls = true in node.toml" if desk else ""
        raise RefusedError(
            "PEER_UNTRUSTED", f"the connection agreed on {agreed}; it takes {HYBRID_GROUP.decode()}{allowed}"
        )


class Callers(Protocol):
    """Finds out whom a call is from."""

    def of(self, context: Context, *, pinned: bool = True) -> Caller:
        """Return whom; RefusedError for whoever may not call."""


def check_acts(owner: str, view: NodeView, now_ms: int) -> None:
    """Refuse a person whom the newest own manifest names no more, or not for this time: PEER_UNTRUSTED, KEY_EXPIRED."""
    _, name = split_owner(owner)
    officer = view.federation.newest_manifest(view.agency).officers_by_id.get(name or "")
    if officer is None:
        raise RefusedError("PEER_UNTRUSTED", f"{owner} is not in the manifest")
    if not officer.holds_at(now_ms):
        raise RefusedError("KEY_EXPIRED", f"the time of {owner} is over, or has not begun")


class Identities:
    """Remembers for a minute what was found out about a leaf, as long as nothing new is adopted."""

    def __init__(
        self, view: Callable[[], NodeView], now_ms: Callable[[], int], *, desk: bool, classical: bool = False
    ) -> None:
        """Begin with nothing known; *classical* takes connections without ML-KEM too."""
        self._view, self._now_ms, self._desk, self._classical = view, now_ms, desk, classical
        self._known: dict[tuple[bytes, bool], tuple[Caller, int]] = {}
        self._of: Federation | None = None

    def of(self, context: Context, *, pinned: bool = True) -> Caller:
        """Return whom a call is from, by the leaf of its connection.

        Raises:
            RefusedError: As ``identify_peer`` and ``identify_person``; PEER_UNTRUSTED without ML-KEM.
        """
        found = context.auth_context()
        if not self._classical:
            require_hybrid(found, desk=self._desk)
        leaves = found.get("x509_pem_cert", ())
        if len(list(leaves)) != 1:
            raise RefusedError("PEER_UNTRUSTED", "the connection has no certificate")
        return self.of_leaf(next(iter(leaves)), pinned=pinned)

    def of_leaf(self, leaf: bytes, *, pinned: bool = True) -> Caller:
        """As ``of``, for a leaf in PEM."""
        view, now_ms = self._view(), self._now_ms()
        if view.federation is not self._of or len(self._known) >= MAX_CACHED:
            self._known.clear()
            self._of = view.federation
        found = self._known.get((leaf, pinned))
        if found is not None and now_ms < found[1]:
            return found[0]
        if self._desk:
            caller = identify_person(leaf, view, now_ms)
        else:
            caller = identify_peer(leaf, view.federation, now_ms, pinned=pinned)
        self._known[leaf, pinned] = (caller, now_ms + CACHE_MS)
        return caller
