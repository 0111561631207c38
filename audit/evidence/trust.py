"""Whose keys count in an evidence file: its chain of rosters, and the manifests that these rosters' agencies signed.

The chain begins with roster 1, whose digest names the federation, and goes version by version; each one names the one
before and is signed by the thresholds of both. The auditor's own roster must be one of the chain. Expiry is not
judged here: evidence is read years later; what counts is whether a key held at the time of the act.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.note.checkpoint import Checkpoint, VerifierKey
from audit.note.epochs import end_before
from audit.note.policy import WitnessPolicy
from audit.verify.trust import policy_of
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId, Usage, federation_id, parse_agency, record_digest, short
from keys.manifest import Manifest, Officer, parse_manifest
from keys.roster import Member, Roster, parse_roster, roster_digest, verify_first_roster
from keys.signer import PublicKey, register


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Verified rosters, oldest first, and the manifests that they vouch for."""

    rosters: tuple[Roster, ...]
    digests: tuple[bytes, ...]  # of the rosters
    federation_id: bytes
    manifests: Mapping[str, tuple[Manifest, ...]]  # by agency, as the file holds them

    @property
    def newest(self) -> Roster:
        """The last roster of the chain."""
        return self.rosters[-1]

    def member(self, agency: str) -> Member:
        """Find a member by its code; RefusedError NOT_A_MEMBER."""
        member = self.newest.member(agency)
        if member is None:
            raise RefusedError("NOT_A_MEMBER", f"{agency} is not in roster {self.newest.version}")
        return member

    def log_of(self, origin: str) -> tuple[Member, VerifierKey]:
        """Return whose log an origin names, and its key; RefusedError NOT_A_MEMBER, SIGNER_UNKNOWN."""
        log_name, _, epoch = origin.rpartition("/")
        member = next((each for each in self.newest.members if each.log_name == log_name), None)
        if member is None or not (epoch.isascii() and epoch.isdecimal()) or epoch.startswith("0") or len(epoch) > 9:
            raise RefusedError("NOT_A_MEMBER", f"roster {self.newest.version} names no log {origin}")
        key = member.log_key(int(epoch))
        if key is None:
            raise RefusedError("SIGNER_UNKNOWN", f"roster {self.newest.version} names no key of {origin}")
        return member, VerifierKey(name=origin, key=key.public_key)

    def end_of(self, agency: str, origin: str) -> Checkpoint | None:
        """Return where an epoch of an agency's log ended, by its newest manifest here; None while it goes on."""
        newest = max(self.manifests.get(agency, ()), key=lambda each: each.version, default=None)
        epochs = newest.log_epochs if newest is not None else ()
        return next((end for each in epochs if (end := end_before(each)) is not None and end.origin == origin), None)

    def policy(self, agency: AgencyId) -> WitnessPolicy:
        """Return whose cosignatures count on an agency's checkpoints."""
        return policy_of(self.newest, agency)

    def operations_key(self, agency: str, key_id: bytes, at_ms: int) -> PublicKey:
        """Find an operations key of an agency that held at a time; RefusedError SIGNER_UNKNOWN, KEY_EXPIRED."""
        found = [m.operations_by_id[key_id] for m in self.manifests.get(agency, ()) if key_id in m.operations_by_id]
        if not found:
            raise RefusedError("SIGNER_UNKNOWN", f"no manifest of {agency} here has the key {short(key_id)}")
        if not any(each.holds_at(at_ms) for each in found):
            raise RefusedError("KEY_EXPIRED", f"key {short(key_id)} of {agency} did not hold at that time")
        return found[-1].public

    def person(self, agency: str, key_id: bytes, at_ms: int) -> Officer:
        """Find a person of an agency by the key; errors as ``operations_key``."""
        found = [m.officers_by_key[key_id] for m in self.manifests.get(agency, ()) if key_id in m.officers_by_key]
        if not found:
            raise RefusedError("SIGNER_UNKNOWN", f"no manifest of {agency} here has the key {short(key_id)}")
        valid = [each for each in found if each.holds_at(at_ms)]
        if not valid:
            raise RefusedError("KEY_EXPIRED", f"key {short(key_id)} of {agency} did not hold at that time")
        return valid[-1]


def read_trust(rosters: Sequence[bytes], manifests: Mapping[str, bytes]) -> Trust:
    """Verify a chain of rosters from version 1 on, and the manifests under it.

    1 roster 1 by all its roots; 2 each further one: version exactly one more, the digest of the one before, the same
    name and federation, the thresholds of the old and the new roots; 3 each manifest by the root that the newest
    roster names for its agency, every key in it registered to that agency.

    Args:
        rosters: SignedPayloads, encoded, in the order of their versions.
        manifests: The same by the name of their member in the file, for messages.

    Raises:
        RefusedError: With the public code; the message names the record.
    """
    if not rosters:
        raise RefusedError("ROSTER_UNKNOWN", "the file holds no roster")
    signed = [SignedPayload.decode(each) for each in rosters]
    chain = [verify_first_roster(signed[0])]  # 1
    digests = [roster_digest(signed[0])]
    name = federation_id(signed[0].payload)
    for each in signed[1:]:
        chain.append(verify_next(chain[-1], digests[-1], each, name))  # 2
        digests.append(roster_digest(each))
    return Trust(
        rosters=tuple(chain),
        digests=tuple(digests),
        federation_id=name,
        manifests=_manifests(chain[-1], name, manifests),  # 3
    )


def verify_next(before: Roster, before_digest: bytes, signed: SignedPayload, federation: bytes) -> Roster:
    """Verify the roster that follows *before*: no step back, none left out, none that the old roots did not want.

    Raises:
        RefusedError: STALE_ROSTER (not the next version), ROSTER_UNKNOWN (another one before it), WRONG_FEDERATION,
            SIGNERS_DIFFER (a threshold is not reached) and those of form and signatures.
    """
    after = parse_roster(signed.payload)
    where = f"roster {after.version}"
    if after.version != before.version + 1:
        raise RefusedError("STALE_ROSTER", f"{where} stands after roster {before.version}; the next one was expected")
    if after.previous != before_digest:
        raise RefusedError("ROSTER_UNKNOWN", f"{where} names {short(after.previous)} before it, not this roster")
    if after.federation_id != federation or after.federation_name != before.federation_name:
        raise RefusedError("WRONG_FEDERATION", f"{where} is of another federation")
    roots = {each.key_id: each for each in (*before.roots, *after.roots)}
    keys = {key_id: register(each, owner=each.owner, usage={Usage.ROSTER_ROOT}) for key_id, each in roots.items()}
    good = {key.key_id for key in dsse.verify(signed, "roster", keys.get, count=None)}
    for roster in (before, after):
        owners = {each.owner for each in roster.roots if each.key_id in good}
        if len(owners) < roster.threshold:
            raise RefusedError(
                "SIGNERS_DIFFER",
                f"{where}: {len(owners)} owners of roster {roster.version} signed, {roster.threshold} were expected",
            )
    return after


def check_given(trust: Trust, given: SignedPayload) -> str:
    """Return which roster of the chain the auditor's own is.

    Raises:
        RefusedError: WRONG_FEDERATION where it is none of it; ROSTER_UNKNOWN where it is newer than the whole chain,
            so that nothing can be said.
    """
    digest = record_digest("roster", given.payload)
    for roster, known in zip(trust.rosters, trust.digests, strict=True):
        if known == digest:
            return f"the roster {roster.version} that was given, {short(digest)}"
    roster = parse_roster(given.payload)
    if roster.version > trust.newest.version and roster.federation_id == trust.federation_id:
        raise RefusedError(
            "ROSTER_UNKNOWN",
            f"the file's rosters end at {trust.newest.version}, the one given is {roster.version}:"
            f" give roster {trust.newest.version}, too",
        )
    raise RefusedError(
        "WRONG_FEDERATION",
        f"the roster given is {short(digest)}, version {roster.version}; the file's is {short(trust.digests[-1])}",
    )


def _manifests(roster: Roster, federation: bytes, members: Mapping[str, bytes]) -> dict[str, tuple[Manifest, ...]]:
    found: dict[str, list[Manifest]] = {}
    for name, data in members.items():
        try:
            manifest = _manifest(roster, federation, SignedPayload.decode(data))
        except RefusedError as error:
            raise RefusedError(error.code, f"{name}: {error}") from error
        found.setdefault(manifest.agency, []).append(manifest)
    return {agency: tuple(each) for agency, each in found.items()}


def _manifest(roster: Roster, federation: bytes, signed: SignedPayload) -> Manifest:
    manifest = parse_manifest(signed.payload)
    member = roster.member(parse_agency(manifest.agency))
    if member is None:
        raise RefusedError("NOT_A_MEMBER", f"{manifest.agency} is not in roster {roster.version}")
    dsse.verify(signed, "manifest", {member.root_key.key_id: member.root_key}.get)
    if manifest.federation_id != federation:
        raise RefusedError("WRONG_FEDERATION", f"manifest of {manifest.agency}: of another federation")
    for each in manifest.operations_keys:
        register(each.key, owner=member.agency, usage={Usage.AGENCY})
    for officer in manifest.officers:
        owner = f"{member.agency}/{officer.id}"
        register(officer.key, owner=owner, usage={Usage.OFFICER, Usage.SYSTEM})
    return manifest
