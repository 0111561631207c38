"""Who signed a statement, and whether that person might: the same questions at publishing and at intake."""

from __future__ import annotations

from exchange.acts.node_view import NodeView
from exchange.records.case_refusal import CaseRefusal
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId, short
from keys.manifest import Officer
from keys.signer import PublicKey
from keys.values import hot_value


@hot_value(frozen=True, slots=True, kw_only=True)
class Author:
    """A person or system in an agency's manifest, and the key that signed."""

    officer: Officer
    key: PublicKey


def find_author(signed: SignedPayload, agency: AgencyId, view: NodeView, now_ms: int) -> Author:
    """Look up who signed; the signature is checked later, once it is known to be worth it.

    Raises:
        RefusedError: SIGNERS_DIFFER, SIGNER_UNKNOWN, KEY_EXPIRED, MANIFEST_EXPIRED.
    """
    check_one_author(signed)
    officer, key = view.federation.person(agency, signed.signatures[0].key_id, now_ms)
    return Author(officer=officer, key=key)


def check_one_author(signed: SignedPayload) -> None:
    """Refuse a statement that more than its author has signed, or nobody."""
    if len(signed.signatures) != 1:
        raise RefusedError("SIGNERS_DIFFER", f"{len(signed.signatures)} signatures, one author's expected")


def known_author(signed: SignedPayload, officer: Officer | None, refusal: CaseRefusal | None) -> Author:
    """Return who signed, as a case has that person, or the refusal why there is none; errors as ``find_author``."""
    check_one_author(signed)
    if refusal is not None:
        raise RefusedError(*refusal)
    if officer is None or officer.public.key_id != signed.signatures[0].key_id:
        raise RefusedError("SIGNER_UNKNOWN", f"key {short(signed.signatures[0].key_id)} is not the author's")
    return Author(officer=officer, key=officer.public)


def check_author_named(bulletin: Bulletin, author: Author) -> None:
    """Refuse a bulletin whose header names another author than the one who signed."""
    named, officer = bulletin.header.author, author.officer.id  # of whom the key is: the manifest was read so
    if named != officer:
        raise RefusedError("AUTHOR_DIFFERS", f"header.author is {named!a}, signed by {officer}")


def check_role(author: Author, bulletin: Bulletin) -> None:
    """Refuse an author without that role, or above the author's ceiling."""
    if "author" not in author.officer.roles:
        raise RefusedError("NOT_ALLOWED", f"{author.key.owner} has no role author in the manifest")
    level = bulletin.header.marking.classification
    if level > author.officer.ceiling:
        raise RefusedError("NOT_ALLOWED", f"classification {level} is above {author.key.owner}'s ceiling")


def check_signature(signed: SignedPayload, author: Author) -> None:
    """Refuse anything but the author's one signature as a statement."""
    dsse.verify(signed, "statement", lambda key_id: author.key if key_id == author.key.key_id else None)
