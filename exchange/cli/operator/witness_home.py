"""The home of a witness without a node: its keys, what it cosigned, and the roster whose logs it witnesses.

``witness.keys`` its two keys, ``application`` what it applies with for a roster, ``witness.db`` what it
has cosigned (never restored from a backup), ``roster`` the one whose words were compared, ``manifests/`` those that
open later epochs of logs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.log.lock_factory import create_witness_state, open_witness_state, witness_state_in
from audit.note.checkpoint import VerifierKey
from audit.note.cosignature import CosignerKey, cosigner_key
from audit.note.policy import WitnessPolicy
from audit.verify.trust import log_key, member_of_log, policy_of
from audit.witness.witness import Witness
from keys.dsse import SignedPayload
from keys.errors import IntegrityError, RefusedError
from keys.external_witness import MAX_FILE_BYTES, ExternalWitness, make_external_witness
from keys.files import PUBLIC, write_file
from keys.identity import Usage, federation_id, parse_witness_name
from keys.keystore import INTERACTIVE, Passphrase, new_signing_key, save_keystore
from keys.manifest import LogEpoch, Manifest, parse_manifest, verify_manifest
from keys.roster import Roster, load_signed, roster_digest, save_signed, verify_first_roster
from keys.signer_factory import open_keys

KEYS_FILE, APPLICATION_FILE, ROSTER_FILE, MANIFESTS = (
    "witness.keys",
    "application",
    "roster",
    "manifests",
)
ED25519, MLDSA44 = "witness", "witness-mldsa44"  # names in the key file


class NoRosterError(RefusedError):
    """Nobody has said yet which logs this witness witnesses."""

    def __init__(self, home: Path) -> None:
        super().__init__("NO_ROSTER", f"{home}: no roster is trusted here yet")
        self.hint = f"exchange witness trust --home {home} ROSTER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The roster that was compared, and what its members' manifests say of their logs' epochs."""

    roster: Roster
    digest: bytes
    manifests: dict[str, Manifest]  # by agency

    def key_of(self, origin: str) -> VerifierKey | None:
        """Return the key of a log; None for one that is no member's, or in an epoch that no key holds for."""
        try:
            return log_key(self.roster, origin)
        except RefusedError:
            return None

    def opening_of(self, origin: str) -> LogEpoch | None:
        """Return how the manifest says that this epoch began."""
        member, epoch = member_of_log(self.roster, origin)
        manifest = self.manifests.get(member.agency)
        return next((each for each in manifest.log_epochs if each.epoch == epoch), None) if manifest else None

    def policy_of(self, origin: str) -> WitnessPolicy:
        """Return who witnesses this log, and how many make a quorum."""
        return policy_of(self.roster, member_of_log(self.roster, origin)[0].agency)

    def successor_of(self, origin: str) -> LogEpoch | None:
        """Return the epoch that the manifest lets follow this one."""
        manifest = self.manifests.get(member_of_log(self.roster, origin)[0].agency)
        return (
            next((each for each in manifest.log_epochs if each.previous_origin == origin), None) if manifest else None
        )


def make_home(
    home: Path, name: str, passphrase: bytes, random_bytes: Callable[[int], bytes] = os.urandom
) -> ExternalWitness:
    """Make the keys of a new witness, its empty state and its application.

    Raises:
        FileExistsError, IntegrityError: There is a witness already.
        RefusedError: MALFORMED name.
    """
    check_new(home, name)
    home.mkdir(parents=True, exist_ok=True)
    first = new_signing_key(Usage.WITNESS, name, random_bytes)
    second = new_signing_key(Usage.WITNESS, name, random_bytes, second=True)
    application = make_external_witness(first.signer(), second.signer())
    stored = {ED25519: first, MLDSA44: second}
    save_keystore(home / KEYS_FILE, passphrase, stored, INTERACTIVE, random_bytes)
    create_witness_state(witness_state_in(home)).close()
    write_file(home / APPLICATION_FILE, application.encode(), mode=PUBLIC)
    return application


def check_new(home: Path, name: str) -> None:
    """Refuse before anybody types a passphrase; errors as ``make_home``."""
    parse_witness_name(name)
    if (home / KEYS_FILE).exists():
        raise FileExistsError(17, "there is a witness already", str(home / KEYS_FILE))


def load_application(home: Path) -> ExternalWitness:
    """Read who this witness is; no key is opened.

    Raises:
        FileNotFoundError: There is no witness here.
        RefusedError: The file is not as we wrote it.
    """
    with (home / APPLICATION_FILE).open("rb") as file:
        return ExternalWitness.decode(file.read(MAX_FILE_BYTES + 1))


def vkeys(application: ExternalWitness) -> tuple[CosignerKey, ...]:
    """Return both keys as C2SP tools take them."""
    return tuple(cosigner_key(application.name, record.public_key) for record in application.records)


def trust(home: Path, roster: SignedPayload, manifests: tuple[SignedPayload, ...], now_ms: int) -> Trusted:
    """Keep a roster whose words were compared, and manifests that it verifies.

    Raises:
        RefusedError: WRONG_FEDERATION where another roster is trusted here; those of rosters and manifests; NOT_ALLOWED
            for a manifest older than the one that is kept.
    """
    verified = verify_first_roster(roster)
    kept = home / ROSTER_FILE
    if kept.exists() and load_signed(kept).payload != roster.payload:
        raise RefusedError(
            "WRONG_FEDERATION", f"{home} witnesses another federation; make another witness for this one"
        )
    for each in manifests:
        manifest = _verified(each, verified, roster, now_ms)
        path = home / MANIFESTS / manifest.agency
        if path.exists() and parse_manifest(load_signed(path).payload).version > manifest.version:
            raise RefusedError("NOT_ALLOWED", f"manifest {manifest.version} of {manifest.agency} is older than ours")
        path.parent.mkdir(exist_ok=True)
        save_signed(path, each, replace=True)
    save_signed(kept, roster, replace=True)
    return load_trusted(home)


def load_trusted(home: Path) -> Trusted:
    """Read what is trusted here.

    Raises:
        NoRosterError: Nothing yet.
        RefusedError: A file is not as we wrote it.
    """
    try:
        signed = load_signed(home / ROSTER_FILE)
    except FileNotFoundError as error:
        raise NoRosterError(home) from error
    roster = verify_first_roster(signed)
    # Verified when they were taken; an expired one still says how an epoch began.
    found = [parse_manifest(load_signed(path).payload) for path in sorted((home / MANIFESTS).glob("[A-Z]*"))]
    return Trusted(roster=roster, digest=roster_digest(signed), manifests={each.agency: each for each in found})


def open_witness(home: Path, passphrase: Passphrase, clock_s: Callable[[], int]) -> Witness:
    """Open a witness to serve.

    Raises:
        RefusedError: UNOPENABLE and other faults of the key file, NoRosterError.
        IntegrityError: What was cosigned is missing, or the keys are not those of the application.
    """
    application, trusted = load_application(home), load_trusted(home)
    keys = open_keys(f"file:{home / KEYS_FILE}", lambda _: passphrase() if callable(passphrase) else passphrase)
    signers = tuple(keys.signer(name) for name in (ED25519, MLDSA44))
    if [each.key.public_key for each in signers] != [record.public_key for record in application.records]:
        raise IntegrityError(f"{home / KEYS_FILE} holds other keys than {home / APPLICATION_FILE}")
    return Witness(
        name=application.name,
        signers=signers,
        state=open_witness_state(witness_state_in(home)),
        log_key_of=trusted.key_of,
        clock_s=clock_s,
        opening_of=trusted.opening_of,
        successor_of=trusted.successor_of,
        policy_of=trusted.policy_of,
    )


def _verified(signed: SignedPayload, roster: Roster, roster_record: SignedPayload, now_ms: int) -> Manifest:
    agency = parse_manifest(signed.payload).agency
    member = roster.member(agency)
    if member is None:
        raise RefusedError("NOT_A_MEMBER", f"a manifest of {agency}, which the roster does not list")
    return verify_manifest(signed, member, federation_id(roster_record.payload), now_ms)
