"""Verify what a bundle adds to a log: that it is whole and says of itself what is true, and what peers say in it.

Two steps beside those of the log. 10 *bundle*: the tar has the only form that it can have, it holds the members that
it must and no other, every byte is the one that README gives, schema and script are this program's, keys and policy are
those of the roster that the auditor brought. 11 *receipts*: each peer's entry is in that peer's log, answers a delivery
of ours, and is the one that our RECEIPT_RECORDED names.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import NoReturn

from audit.entry.body import Body, parse_body
from audit.entry.entry import HEAD_LENGTH, leaf_hash
from audit.entry.grammar import ANSWERS
from audit.entry.kinds import Kind
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, parse_verifier_key, verify_note
from audit.note.epochs import split_origin
from audit.note.policy import format_policy, format_vkeys
from audit.note.tlogproof import parse_proof, verify_proof
from audit.tiles.bundle_folder import BundleFolder
from audit.tiles.bundle_format import KEYS, POLICY, README, RECEIPTS, WITNESSES, Range, expected_tiles, static_members
from audit.tiles.bundle_readme import readme
from audit.tiles.tile_names import CHECKPOINT, KEY_FILE, parse_tile_name
from audit.tiles.tiles import TileFolder
from audit.tree.merkle import TILE_WIDTH
from audit.verify.trust import log_key, member_of_log, policy_of
from audit.verify.verdict import NAMES, NOT_CHECKED, OK, REFUTED, Report, Step
from audit.verify.witnesses import WITNESS_NAME
from keys.dsse import SignedPayload, verify
from keys.errors import RefusedError
from keys.identity import short
from keys.manifest import Manifest, parse_manifest
from keys.member import Member
from keys.roster import Roster, roster_digest, verify_first_roster

BUNDLE_STEP, RECEIPTS_STEP = 10, 11
STEP_NAMES = {BUNDLE_STEP: "bundle", RECEIPTS_STEP: "receipts"}
_MUST = frozenset({README, CHECKPOINT, KEY_FILE})


@dataclass(slots=True)
class _Told:
    """A step's details, and whether something could not be checked."""

    details: list[str]
    unchecked: bool = False

    def skip(self, what: str) -> None:
        self.details.append(what)
        self.unchecked = True

    def step(self, number: int) -> Step:
        result = NOT_CHECKED if self.unchecked else OK
        return Step(step=number, name=STEP_NAMES[number], result=result, detail="; ".join(self.details))


class _Wrong(Exception):  # noqa: N818 - it ends a step, nobody else sees it
    """What refutes a bundle."""


def check_bundle(folder: BundleFolder, roster: SignedPayload | None) -> tuple[Step, ...]:
    """Return steps 10 and 11.

    Args:
        folder: The bundle.
        roster: The auditor's own, verified; None leaves keys and policy unchecked.
    """
    number = BUNDLE_STEP
    steps: list[Step] = []
    try:
        for number, check in ((BUNDLE_STEP, _check_whole), (RECEIPTS_STEP, _check_receipts)):
            steps.append(check(folder, roster).step(number))
    except (_Wrong, RefusedError) as error:
        steps.append(Step(step=number, name=STEP_NAMES[number], result=REFUTED, detail=str(error)))
    missing = [n for n in STEP_NAMES if n > number]
    told = "the bundle was refuted before"
    return (*steps, *(Step(step=n, name=STEP_NAMES[n], result=NOT_CHECKED, detail=told) for n in missing))


def require_whole(folder: TileFolder) -> None:
    """Refuse a bundle with one altered byte, also where only its log is read; a log folder has no such list.

    Raises:
        RefusedError: MALFORMED; what refutes it.
    """
    steps = check_bundle(folder, None) if isinstance(folder, BundleFolder) else ()
    if wrong := next((step for step in steps if step.result == REFUTED), None):
        raise RefusedError("MALFORMED", wrong.detail)


def with_steps(report: Report, steps: tuple[Step, ...]) -> Report:
    """Add steps to a log's report; one that refutes refutes all."""
    wrong = next((step for step in steps if step.result == REFUTED), None)
    verdict = f"refuted: {wrong.detail}" if wrong and report.exit_code != 6 else report.verdict
    return replace(report, verdict=verdict, steps=tuple(sorted((*report.steps, *steps), key=lambda each: each.step)))


def refused(error: RefusedError) -> Report:
    """Report a file that is no well-formed bundle: nothing in it was looked at."""
    names = [*enumerate((*NAMES, WITNESS_NAME), 1), *STEP_NAMES.items()]
    told = "the bundle could not be read"
    steps = [Step(step=number, name=name, result=NOT_CHECKED, detail=told) for number, name in names]
    steps[-2] = replace(steps[-2], result=REFUTED, detail=str(error))
    return Report(verdict=f"refuted: {error}", origin=None, size=None, root=None, steps=tuple(steps))


def _check_whole(folder: BundleFolder, roster: SignedPayload | None) -> _Told:
    """10: members, bytes, schema, trust."""
    checkpoint = parse_note(folder.note()).checkpoint
    first, end = folder.stored(checkpoint.size)
    stored = Range(first=first, end=end, size=checkpoint.size)
    _check_members(folder, stored)
    count = _check_digests(folder, checkpoint, stored)
    told = _Told([f"{count:,} members, each byte as README gives it"])
    for name, source in static_members().items():
        if folder.tar.members.get(name) and folder.tar.read(name) != source():
            told.skip(f"{name} is not this program's")
    _check_trust(told, folder, checkpoint, roster)
    stamps = sum(name.startswith("timestamps/") and name.endswith(".tsr") for name in folder.tar.members)
    if stamps:
        told.details.append(f"{stamps} tokens of time, which openssl ts checks")
    return told


def _check_members(folder: BundleFolder, stored: Range) -> None:
    tiles = {name for name in folder.tar.members if parse_tile_name(name)}
    # One more than are here: the first that is missing is among them, however many the checkpoint claims.
    expected = set(islice(expected_tiles(stored), len(tiles) + 1))
    if len(expected) <= len(tiles) and (odd := sorted(tiles - expected)):
        raise _Wrong(f"{odd[0]}: nothing that the checkpoint commits to")
    if absent := sorted((expected - tiles) | (_MUST - set(folder.tar.members))):
        raise _Wrong(f"{absent[0]}: missing")


def _check_digests(folder: BundleFolder, checkpoint: Checkpoint, stored: Range) -> int:
    """Make README again from the other members, and compare."""
    digests: dict[str, str] = {}
    given = b""
    for name, data in folder.tar.contents():
        if name == README:
            given = data
        else:
            digests[name] = sha256(data).hexdigest()
    expected = readme(checkpoint, stored.first, stored.end, digests).encode()
    if given != expected:
        lines = enumerate(zip(_lines(given), _lines(expected), strict=False), 1)
        number, (found, wanted) = next(((n, pair) for n, pair in lines if pair[0] != pair[1]), (0, ("", "")))
        raise _Wrong(f"{README}: line {number}: {found[:100]!a}, {wanted[:100]!a} was expected")
    return len(digests) + 1


def _lines(text: bytes) -> Iterator[str]:
    yield from text.decode("utf-8", "replace").split("\n")
    yield "the end"


def _check_trust(told: _Told, folder: BundleFolder, checkpoint: Checkpoint, roster: SignedPayload | None) -> None:
    """Compare keys, policy and rosters with the auditor's own roster; theirs alone says nothing."""
    if roster is None:
        told.skip("keys, policy and rosters in it were not compared with a roster of yours")
        return
    own = verify_first_roster(roster)
    stored = [name for name in folder.tar.members if name.startswith("roster/")]
    digests = {_digest(folder, name): name for name in stored}
    if stored and roster_digest(roster) not in digests:
        told.skip(f"your roster {own.version}, {short(roster_digest(roster))}, is not among its rosters")
        return
    if stored and digests[roster_digest(roster)] != max(stored, key=lambda name: int(name.partition("/")[2])):
        told.skip("it holds rosters that are newer than yours")
        return
    member, _ = member_of_log(own, checkpoint.origin)
    policy, key = policy_of(own, member.agency), log_key(own, checkpoint.origin)
    for name, expected in ((POLICY, format_policy(policy, key)), (WITNESSES, format_vkeys(policy))):
        if name in folder.tar.members and folder.text(name) != expected:
            raise _Wrong(f"{name}: not what roster {own.version} says")
    for key in _keys(folder).values():
        if log_key(own, key.name) != key:
            raise _Wrong(f"{KEYS}: key {key.key_hash.hex()} of {key.name} is not the one of roster {own.version}")
    _check_ends(told, folder, member)
    told.details.append(f"keys and policy are those of roster {own.version}, {short(roster_digest(roster))}")


def _check_ends(told: _Told, folder: BundleFolder, member: Member) -> None:
    """Compare the sizes at which our own keys ended with the manifest that opened the epochs after them."""
    name = next((each for each in folder.tar.members if each.startswith(f"manifests/{member.agency}/")), None)
    if name is None:
        return  # the first epoch
    signed = SignedPayload.decode(folder.tar.read(name))
    verify(signed, "manifest", {member.root_key.key_id: member.root_key}.get)
    manifest: Manifest = parse_manifest(signed.payload)
    ends = {each.previous_origin: str(each.previous_size) for each in manifest.log_epochs if each.previous_origin}
    for line in folder.text(KEYS).splitlines() if KEYS in folder.tar.members else ():
        key, _, end = line.split(" ")
        origin = parse_verifier_key(key).name
        if split_origin(origin)[0] == member.log_name and end != ends.get(origin, "-"):
            raise _Wrong(f"{KEYS}: {origin} ends at {end}; {ends.get(origin, '-')} in manifest {manifest.version}")
    told.details.append(f"where its epochs ended is what manifest {manifest.version} says")


def _digest(folder: BundleFolder, name: str) -> bytes:
    try:
        return roster_digest(SignedPayload.decode(folder.tar.read(name)))
    except RefusedError as error:
        raise _Wrong(f"{name}: {error}") from error


def _keys(folder: BundleFolder) -> dict[str, VerifierKey]:
    """Read the file ``keys``: a verifier key and the sizes it holds for, a line each."""
    if KEYS not in folder.tar.members:
        return {}
    keys: dict[str, VerifierKey] = {}
    for number, line in enumerate(folder.text(KEYS).splitlines(), 1):
        parts = line.split(" ")
        try:
            key = parse_verifier_key(parts[0])
        except RefusedError as error:
            raise _Wrong(f"{KEYS}: line {number}: {error}") from error
        if len(parts) != 3 or parts[1] != "0" or not (parts[2] == "-" or parts[2].isdecimal()) or key.name in keys:
            raise _Wrong(f"{KEYS}: line {number}: a key of a log not named before, 0, and a size or - were expected")
        keys[key.name] = key
    return keys


def _check_receipts(folder: BundleFolder, roster: SignedPayload | None) -> _Told:
    """11: peers' checkpoints are theirs, peers' entries stand in their logs and answer ours."""
    keys = _keys(folder)
    known: Roster | None = verify_first_roster(roster) if roster is not None else None
    peers = [name for name in folder.tar.members if name.startswith("peers/")]
    proofs = {name for name in peers if name.endswith(".tlog-proof")}
    notes = sorted(set(peers) - proofs)
    witnessed = {name.rpartition("/")[0] for name in notes if _check_peer(folder, name, _key_of(name, keys), known)}
    rows = list(_rows(folder))
    for recorded, queued, name in rows:
        if name not in proofs:
            raise _Wrong(f"{RECEIPTS}: {name}: missing, or named twice")
        proofs.discard(name)
        _check_receipt(folder, name, recorded, queued, _key_of(name, keys))
    if proofs:
        raise _Wrong(f"{min(proofs)}: no line of {RECEIPTS} names it")
    told = _Told([f"{len(rows):,} receipts stand in their givers' logs and answer what stands here"])
    if known is not None and notes:
        logs = len({name.rpartition("/")[0] for name in notes})
        told.details.append(f"of {logs:,} peers' logs {len(witnessed):,} are cosigned by their quorum")
    if known is None and peers:
        told.skip("under keys that this bundle itself names")
    return told


def _check_peer(folder: BundleFolder, name: str, key: VerifierKey, roster: Roster | None) -> bool:
    """Check a peer's checkpoint, and the lines of those witnesses that a roster names; say whether they are enough."""
    note = folder.text(name)
    try:
        verify_note(note, key)
        if roster is not None:
            return policy_of(roster, member_of_log(roster, key.name)[0].agency).judge(note).reached
    except RefusedError as error:
        _bad(name, str(error))
    return False


def _key_of(name: str, keys: dict[str, VerifierKey]) -> VerifierKey:
    origin = name.removeprefix("peers/").rpartition("/")[0]
    key = keys.get(origin)
    if key is None:
        raise _Wrong(f"{name}: {KEYS} holds no key of {origin}")
    return key


def _rows(folder: BundleFolder) -> Iterator[tuple[int, int, str]]:
    """Yield (our RECEIPT_RECORDED, our QUEUED, the proof's member) of each line of the table."""
    last = -1
    text = folder.tar.read(RECEIPTS).decode("ascii", "replace") if RECEIPTS in folder.tar.members else ""
    for number, line in enumerate(text.split("\n")[:-1], 1):
        parts = line.split("\t")
        if len(parts) != 4 or not all(_is_number(part) for part in (parts[0], parts[1], parts[3])):
            raise _Wrong(f"{RECEIPTS}: line {number}: four fields, 'entry entry origin entry', were expected")
        if int(parts[0]) <= last:
            raise _Wrong(f"{RECEIPTS}: line {number}: entry {parts[0]} after {last}")
        last = int(parts[0])
        yield last, int(parts[1]), f"peers/{parts[2]}/{parts[3]}.tlog-proof"
    if text and not text.endswith("\n"):
        raise _Wrong(f"{RECEIPTS}: the last line has no end")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20 and str(int(text)) == text


def _check_receipt(folder: BundleFolder, name: str, recorded: int, queued: int, key: VerifierKey) -> None:
    """Check 1. the proof, 2. that the entry is an answer, 3. that our entry names exactly this one."""
    proof = parse_proof(folder.tar.read(name).decode("utf-8", "replace"))
    if proof.extra is None or str(proof.index) != name.rpartition("/")[2].removesuffix(".tlog-proof"):
        _bad(name, "it is of another entry, or without its entry")
    entry: bytes = proof.extra
    try:
        verify_proof(proof, entry, key)  # 1
        theirs = parse_body(entry[HEAD_LENGTH:])
    except RefusedError as error:
        _bad(name, str(error))
    if theirs.understood and theirs.kind not in ANSWERS:  # 2
        _bad(name, f"{Kind(theirs.kind).name} answers no delivery")
    ours = _entry(folder, name, recorded)
    found = (ours.kind, ours.refers_to, ours.delivery_digest, ours.peer_index, ours.peer_leaf_hash)
    wanted = (Kind.RECEIPT_RECORDED, queued, theirs.delivery_digest, proof.index, leaf_hash(entry))
    if found != wanted:  # 3
        _bad(name, f"entry {recorded} here does not record it")


def _entry(folder: BundleFolder, name: str, index: int) -> Body:
    size = parse_note(folder.note()).checkpoint.size
    bundle, offset = divmod(index, TILE_WIDTH)
    if index >= size:
        _bad(name, f"the log has no entry {index}")
    entries = folder.entries_once(bundle, min(TILE_WIDTH, size - bundle * TILE_WIDTH))
    return parse_body(entries[offset][HEAD_LENGTH:])


def _bad(name: str, what: str) -> NoReturn:
    raise _Wrong(f"{name}: {what}")
