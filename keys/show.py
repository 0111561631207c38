"""A record in words: what it is, who made it, what stands in it, whether its signatures verify.

All that is printed has passed our parsers, which admit only ASCII codes, names and numbers; what they do not bound is
escaped here.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from keys import keystore
from keys.certificate import ends_ms, spki_sha256
from keys.dsse import SignedPayload, payload_type
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import Usage, federation_id, record_digest, short
from keys.key_sheet import KeySheet, parse_key_sheet
from keys.manifest import Manifest, Officer, parse_manifest
from keys.renewal import RenewalAnswer, RenewalRequest, parse_renewal, parse_request
from keys.roster import Application, ExternalWitness, Member, Roster, load_signed, parse_roster, verify_first_roster
from keys.timed_key import TimedKey
from keys.words import words

KINDS = ("roster", "manifest", "key-sheet", "renewal-request", "renewal")
_BY_OTHERS = {"renewal-request": "exchange keys renew", "renewal": "exchange node adopt"}  # who verifies these


def describe(data: bytes, *, federation: Federation | None = None, now_ms: int) -> list[str]:
    """Describe a file of the ceremony in lines of text.

    Args:
        data: A key file, an application (an agency's or a witness's), or a signed roster, manifest or key sheet.
        federation: What to verify manifests and key sheets against.
        now_ms: Milliseconds UTC, for what expires.

    Raises:
        RefusedError: MALFORMED where it is none of them.
    """
    if data.startswith(keystore.MAGIC):
        return list(_key_file(data))
    try:
        signed = SignedPayload.decode(data)
    except RefusedError:
        return list(_applying(data))
    kind = kind_of(signed)
    lines: dict[str, Callable[[], Iterator[str]]] = {
        "roster": lambda: _roster(parse_roster(signed.payload), signed),
        "manifest": lambda: _manifest(parse_manifest(signed.payload)),
        "key-sheet": lambda: _key_sheet(parse_key_sheet(signed.payload)),
        "renewal-request": lambda: _request(parse_request(signed.payload)),
        "renewal": lambda: _renewal(parse_renewal(signed.payload)),
    }
    digest = record_digest(kind, signed.payload)
    return [
        *lines[kind](),
        f"digest       {digest.hex()}",
        f"words        {' '.join(words(digest))}",
        f"signatures   {_verdict(signed, kind, federation, now_ms)}",
    ]


def kind_of(signed: SignedPayload) -> str:
    """Return what a signed payload is, by its signatures; without any it can only be a roster that waits for them.

    Raises:
        RefusedError: WRONG_TYPE.
    """
    if not signed.signatures:
        return "roster"
    for kind in KINDS:
        if signed.signatures[0].payload_type == payload_type(kind):
            return kind
    raise RefusedError("WRONG_TYPE", "this is no roster, manifest, key sheet, renewal request or renewal")


def load_kind(path: Path, *kinds: str) -> SignedPayload:
    """Read a signed file that must be of one of these kinds; nothing in it is verified by that.

    Raises:
        FileNotFoundError: There is none.
        RefusedError: MALFORMED for another kind, others as ``load_signed``; each names the file.
    """
    signed = load_signed(path)
    found = kind_of(signed)
    if found not in kinds:
        wanted = " or a ".join(kinds).replace("-", " ")
        raise RefusedError("MALFORMED", f"{path} is a {found.replace('-', ' ')}, not a {wanted}")
    return signed


def _verdict(signed: SignedPayload, kind: str, federation: Federation | None, now_ms: int) -> str:
    try:
        if kind == "roster":
            verify_first_roster(signed)
        elif federation is None:
            return f"{len(signed.signatures)}, not checked: no roster was given"
        elif kind in _BY_OTHERS:
            return f"{len(signed.signatures)}, not checked: {_BY_OTHERS[kind]} does"
        elif kind == "manifest":
            federation.with_manifest(signed, now_ms)
        else:
            federation.with_key_sheet(signed, now_ms)
    except RefusedError as error:
        return f"{len(signed.signatures)}, NOT verified: {error.code}: {error}"
    return f"{len(signed.signatures)}, all verified"


def _roster(roster: Roster, signed: SignedPayload) -> Iterator[str]:
    yield f"roster       version {roster.version} of {roster.federation_name}"
    yield f"federation   {federation_id(signed.payload).hex() if roster.version == 1 else roster.federation_id.hex()}"
    yield f"issued       {moment(roster.issued_ms)}"
    yield f"expires      {moment(roster.expires_ms)}"
    yield f"catalogue    {roster.catalogue_digest.hex()}"
    yield f"roots        {len(roster.roots)}, later versions need {roster.threshold} owners"
    signers = {each.key_id for each in signed.signatures}
    for root in sorted(roster.roots, key=lambda root: root.owner):  # people look for a name
        yield f"  {short(root.key_id)}   {root.owner}   {'signed' if root.key_id in signers else 'not signed yet'}"
    yield f"witnesses    {roster.witness_quorum} cosignatures make a checkpoint witnessed"
    for witness in roster.witnesses:
        yield f"  {_outside(witness)}"
    yield f"members      {len(roster.members)}"
    for member in roster.members:
        yield f"  {_member(member)}"


def _member(member: Member) -> str:
    number = f"{member.number:>3}  " if member.number else ""
    status = member.status.name.lower()
    return f"{number}{member.agency:<12} {status:<9} root {short(member.root.key_id)}  log {member.log_name}"


def _applying(data: bytes) -> Iterator[str]:
    try:
        return _application(Application.decode(data))
    except RefusedError as error:
        try:
            return _witness(ExternalWitness.decode(data))
        except RefusedError:
            none = "this is no roster, manifest, key sheet, application or key file"
            raise RefusedError(error.code, none) from None


def _witness(witness: ExternalWitness) -> Iterator[str]:
    yield f"application  of the witness {witness.name}"
    yield f"  {_outside(witness)}"
    digest = record_digest("application", witness.encode())
    yield f"digest       {digest.hex()}"
    yield f"words        {' '.join(words(digest))}"


def _outside(witness: ExternalWitness) -> str:
    second = witness.witness_mldsa44_key
    also = f"  and {short(second.key_id)} (ML-DSA-44)" if second is not None else ""
    return f"{witness.name}  key {short(witness.witness_key.key_id)}{also}"


def _application(application: Application) -> Iterator[str]:
    yield f"application  to {application.federation_name}"
    yield f"  {_member(application.member)}"
    root = application.roster_root
    yield f"roster root  {short(root.key_id) if root is not None else 'none'}"
    digest = record_digest("application", application.encode())
    yield f"digest       {digest.hex()}"
    yield f"words        {' '.join(words(digest))}"


def _manifest(manifest: Manifest) -> Iterator[str]:
    yield f"manifest     version {manifest.version} of {manifest.agency}"
    yield f"federation   {manifest.federation_id.hex()}"
    yield f"issued       {moment(manifest.issued_ms)}"
    yield f"expires      {moment(manifest.expires_ms)}"
    yield f"endpoints    {', '.join(manifest.endpoints) or 'none'}"
    yield f"log epochs   {', '.join(str(each.epoch) for each in manifest.log_epochs)}"
    if manifest.issuing:
        pin, until = short(spki_sha256(manifest.issuing)), moment(ends_ms(manifest.issuing))
        yield f"issuing      {pin}   renews the node's certificate until {until}"
    yield f"operations   {len(manifest.operations_keys)} keys"
    yield from (_timed(each) for each in manifest.operations_keys)
    yield f"people       {len(manifest.officers)}"
    yield from (_officer(each) for each in manifest.officers)


def _officer(officer: Officer) -> str:
    kind = "system" if officer.is_system else "officer"
    roles = ", ".join(officer.roles)
    until = moment(officer.until_ms)
    return f"  {short(officer.public.key_id)}   {officer.id} ({kind}: {roles}; ceiling {officer.ceiling}) until {until}"


def _key_sheet(sheet: KeySheet) -> Iterator[str]:
    yield f"key sheet    version {sheet.version} of {sheet.agency}"
    yield f"federation   {sheet.federation_id.hex()}"
    yield f"issued       {moment(sheet.issued_ms)}"
    yield f"expires      {moment(sheet.expires_ms)}"
    yield f"manifest     {sheet.manifest_version or 'none named'}"
    yield f"encryption   {len(sheet.encryption_keys)} keys"
    yield from (_timed(each) for each in sheet.encryption_keys)
    yield f"pins         {len(sheet.pins)}"
    for pin in sheet.pins:
        yield f"  {short(pin.spki_sha256)}   {pin.owner} ({pin.kind.name.lower()})"


def _request(request: RenewalRequest) -> Iterator[str]:
    yield f"request      of {request.agency} to its root, to renew manifest {request.present.version}"
    yield f"issued       {moment(request.issued_ms)}, to be answered until {moment(request.expires_ms)}"
    yield f"certificates the node{''.join(f', {each}' for each in request.leaves)}"
    yield f"issuing key  {'yes' if request.issuing_request else 'no'}"


def _renewal(renewal: RenewalAnswer) -> Iterator[str]:
    manifest = parse_manifest(renewal.manifest.payload)
    yield f"renewal      for {renewal.agency}: manifest {manifest.version} until {moment(manifest.expires_ms)}"
    yield f"issued       {moment(renewal.issued_ms)}"
    yield f"certificates the node{''.join(f', {each}' for each in renewal.leaves)}"


def _timed(each: TimedKey) -> str:
    return f"  {short(each.public.key_id)}   {moment(each.from_ms)} to {moment(each.until_ms)}"


def _key_file(data: bytes) -> Iterator[str]:
    """Describe a key file without opening it: the header is only believed once the file opens."""
    try:
        head = json.loads(data[len(keystore.MAGIC) : data.index(b"\n", len(keystore.MAGIC))])
        rows = [(str(row["key_id"]), str(row["name"]), str(row["owner"]), int(row["usage"])) for row in head["keys"]]
        kdf = str(head["kdf"])
        cost = f", {int(head['memory_kib']) // 1024} MiB, {int(head['passes'])} passes" if "memory_kib" in head else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RefusedError("MALFORMED", "the key file's header is in another form than ours") from None
    yield f"key file     version 1, sealed under {ascii(kdf)[1:-1]}{cost}"
    yield "not opened   what follows is the header's claim"
    for key, name, owner, usage in rows:
        known = Usage(usage).name.lower().replace("_", " ") if usage in tuple(Usage) else "other"
        yield f"  {ascii(key[:8])[1:-1]}   {ascii(name)[1:-1]} of {ascii(owner)[1:-1]} ({known})"


def moment(at_ms: int) -> str:
    """Return a time to the minute, UTC; a number where no calendar holds it."""
    try:
        return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%MZ")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"
