"""A witness without a node: an oversight body's key pair, as the roster lists it and as it applies to be listed.

It cosigns checkpoints and does nothing else; it has no number, no manifest and no say in the roster. Its keys' owner is
its cosigner name, which no agency's code can be.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from keys import bounds
from keys.identity import Usage, parse_witness_name
from keys.member import check_witness
from keys.signer import KeyRecord, PublicKey, Signer, make_record, public_key, register
from keys.v1 import roster_pb2

MAX_FILE_BYTES = 16 << 10  # two records are about 4 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalWitness:
    """One such witness. ``encode`` makes the file that it sends to the person who puts a roster together."""

    name: str  # cosigner name, as oversight.example/witness; the owner of its keys
    witness: KeyRecord  # suite 1
    witness_mldsa44: KeyRecord | None = None  # suite 3; None where it makes no second line
    witness_key: PublicKey = field(init=False, compare=False)
    witness_mldsa44_key: PublicKey | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        second = public_key(self.witness_mldsa44) if self.witness_mldsa44 is not None else None
        object.__setattr__(self, "witness_key", public_key(self.witness))
        object.__setattr__(self, "witness_mldsa44_key", second)

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        """Both key records, or the one."""
        return (self.witness,) if self.witness_mldsa44 is None else (self.witness, self.witness_mldsa44)

    def encode(self) -> bytes:
        """Encode to the file ``application`` of a witness."""
        return bounds.encode_record(witness_to_message(self))

    @classmethod
    def decode(cls, data: bytes) -> ExternalWitness:
        """Parse such a file, and check that each key has signed its own key id.

        Raises:
            RefusedError: MALFORMED, TOO_LARGE, NOT_UNDERSTOOD, SUITE_UNKNOWN, WRONG_TYPE, WRONG_MAKER,
                SIGNATURE_INVALID.
        """
        made = witness_from_message(bounds.parse_record(data, roster_pb2.ExternalWitness, limit=MAX_FILE_BYTES))
        check_external_witness(made)
        register_external_witness(made)
        return made


def make_external_witness(signer: Signer, mldsa44: Signer | None) -> ExternalWitness:
    """Make the application of a witness whose keys are here; the name is their owner.

    Raises:
        RefusedError: As ``decode``: what no roster would take is not made.
    """
    made = ExternalWitness(
        name=signer.key.owner,
        witness=make_record(signer),
        witness_mldsa44=make_record(mldsa44) if mldsa44 is not None else None,
    )
    return ExternalWitness.decode(made.encode())


def check_external_witness(witness: ExternalWitness) -> None:
    """Check what needs no cryptography: name, owners, usages, suites."""
    parse_witness_name(witness.name)
    owned = all(each.owner == witness.name for each in witness.records)
    bounds.require(owned, f"a key of {witness.name} has another owner", "WRONG_MAKER")
    check_witness(witness.name, witness.witness, witness.witness_mldsa44)


def register_external_witness(witness: ExternalWitness) -> None:
    """Check that each key has signed its own key id; errors as ``register``."""
    register(witness.witness, owner=witness.name, usage={Usage.WITNESS})
    if witness.witness_mldsa44 is not None:
        register(witness.witness_mldsa44, owner=witness.name, usage={Usage.WITNESS}, second=True)


def witness_from_message(message: roster_pb2.ExternalWitness) -> ExternalWitness:
    second = message.HasField("witness_mldsa44")
    return ExternalWitness(
        name=message.name,
        witness=KeyRecord.from_message(message.witness),
        witness_mldsa44=KeyRecord.from_message(message.witness_mldsa44) if second else None,
    )


def witness_to_message(witness: ExternalWitness) -> roster_pb2.ExternalWitness:
    second = witness.witness_mldsa44
    return roster_pb2.ExternalWitness(
        name=witness.name,
        witness=witness.witness.to_message(),
        witness_mldsa44=second.to_message() if second is not None else None,
    )
