"""Proof that an entry stands in somebody's log: the entry, its index, its path, the giver's newest checkpoint.

The text is a C2SP tlog-proof, so that any tlog tool can check it. The giver's Ed25519 line must verify; other lines
are ignored. What a delivery's receipt must say, ``check_exchange_receipt`` knows: exactly this dispatch and delivery,
exactly us as the peer, and in RECEIVED an ``opening`` that only somebody who opened the statement could make.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence, Set
from dataclasses import field
from functools import lru_cache

from audit.entry.entry import MAX_ENTRY_BYTES, Body, Entry, Kind, Outcome, leaf_hash, parse_body, parse_entry
from audit.entry.grammar import ANSWERS
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, verify_note
from audit.note.tlogproof import MAX_PROOF_BYTES, TlogProof, format_proof, parse_proof
from audit.record.wire import encode, malformed, parse
from audit.tree.proof import verify_inclusion
from audit.v1 import dispatch_pb2
from keys.errors import RefusedError
from keys.identity import short
from keys.values import hot_value

MAX_RECEIPT_BYTES = MAX_PROOF_BYTES + MAX_ENTRY_BYTES + 16
_OUTCOMES = frozenset(Outcome)


@hot_value(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An entry and the tlog-proof of it."""

    entry: bytes  # head and body, as logged
    proof: str  # without extra line
    made: TlogProof | None = field(default=None, init=False, compare=False, repr=False)  # what *proof* is written from

    @property
    def parsed(self) -> TlogProof:
        """Return the proof as read from its text, or what we wrote the text from; RefusedError MALFORMED."""
        return self.made or _parsed(self.proof)

    @property
    def note(self) -> str:
        """Return the checkpoint, to the byte: what follows the first blank line, whatever stands before it."""
        return self.made.note if self.made is not None else self.proof.partition("\n\n")[2]

    def encode(self) -> bytes:
        """Write the receipt as it is stored and sent."""
        return encode(self.to_message())

    def to_message(self) -> dispatch_pb2.Receipt:
        """Return the generated message."""
        return dispatch_pb2.Receipt(entry=self.entry, proof=self.proof)


@hot_value(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """A receipt whose entry is in its giver's log; made by ``verify_receipt`` only."""

    entry: Entry
    body: Body  # ``body.understood`` is False where it says more than we know
    checkpoint: Checkpoint
    leaf_hash: bytes  # 32 bytes


@hot_value(frozen=True, slots=True, kw_only=True)
class ExpectedAnswer:
    """What a receipt must say to answer one delivery of ours."""

    dispatch_digest: bytes  # 32 bytes
    delivery_digest: bytes  # 32 bytes
    expected_opening: bytes  # 32 bytes, ``statement.opening`` of salt and delivery
    peer_number: int  # our own member number, as the giver's log must name us


def make_receipt(entry: bytes, index: int, hashes: Sequence[bytes], note: str) -> Receipt:
    """Put a receipt together from our own log.

    Args:
        entry: Head and body, as logged.
        index: Of the entry.
        hashes: Its inclusion proof in the checkpoint's tree, lowest level first.
        note: The signed checkpoint.
    """
    receipt = Receipt(entry=entry, proof=format_proof(index, hashes, note))
    object.__setattr__(receipt, "made", TlogProof(index=index, hashes=tuple(hashes), note=note))
    return receipt


def receipt_from_message(message: dispatch_pb2.Receipt) -> Receipt:
    """Take a receipt from a message; ``verify_receipt`` bounds and checks it."""
    return Receipt(entry=message.entry, proof=message.proof)


def decode_receipt(data: bytes) -> Receipt:
    """Read a receipt as it is stored and sent.

    Raises:
        RefusedError: MALFORMED, TOO_LARGE or NOT_UNDERSTOOD.
    """
    return receipt_from_message(parse("receipt", data, dispatch_pb2.Receipt, MAX_RECEIPT_BYTES))


def format_receipt(receipt: Receipt) -> str:
    """Write the file form, ``.tlog-proof``: the text with the entry as its extra line."""
    proof = parse_proof(receipt.proof)
    return format_proof(proof.index, proof.hashes, proof.note, receipt.entry)


def parse_receipt(text: str) -> Receipt:
    """Read the file form.

    Raises:
        RefusedError: MALFORMED.
    """
    proof = parse_proof(text)
    if proof.extra is None:
        raise malformed("receipt", "no extra line with the entry")
    return make_receipt(proof.extra, proof.index, proof.hashes, proof.note)


def verify_receipt(receipt: Receipt, vkey: VerifierKey) -> VerifiedReceipt:
    """Check that the entry is in the log that *vkey* signs for.

    1. The text has its form, without extra line. 2. The entry has its form, its body is canonical; a field or kind
    that we do not know is marked and does no harm (row 71). 3. The checkpoint is signed by *vkey*. 4. The proof is
    for the entry's own index. 5. The entry is in the checkpoint's tree.

    Raises:
        RefusedError: RECEIPT_INVALID.
    """
    try:
        proof = receipt.parsed  # 1
        if proof.extra is not None:
            raise malformed("receipt", "an extra line stands in the proof")
        entry = parse_entry(receipt.entry)  # 2
        body = parse_body(entry.body)
        checkpoint = verified_note(proof.note, vkey)  # 3
        if proof.index != entry.index:  # 4
            raise malformed("receipt", f"the proof is for {proof.index}, the entry is {entry.index}")
        leaf = leaf_hash(receipt.entry)
        verify_inclusion(leaf, proof.index, proof.hashes, checkpoint)  # 5
    except RefusedError as error:
        raise RefusedError("RECEIPT_INVALID", str(error)) from error
    return VerifiedReceipt(entry=entry, body=body, checkpoint=checkpoint, leaf_hash=leaf)


def check_exchange_receipt(
    receipt: Receipt,
    vkey: VerifierKey,
    expected: ExpectedAnswer,
    allowed: Set[Kind] = ANSWERS,
) -> VerifiedReceipt:
    """Check that a receipt answers one delivery of ours.

    1. It is in the giver's log. 2. It names our dispatch, our delivery and us. 3. It is one of the answers. 4.
    ``opening`` stands in RECEIVED, is the one that the statement's salt gives, and stands nowhere else. 5. A refusal
    has a reason. Of a kind that we do not know only 1 and 2 can be said: ``body.understood`` is False, and what it
    means the caller cannot say.

    Args:
        receipt: As received.
        vkey: The giver's log key for the entry's epoch, from the roster.
        expected: Of the delivery.
        allowed: The kinds that may answer.

    Raises:
        RefusedError: RECEIPT_INVALID.
    """
    verified = verify_receipt(receipt, vkey)  # 1
    body = verified.body
    if (body.dispatch_digest, body.delivery_digest) != (expected.dispatch_digest, expected.delivery_digest):  # 2
        raise _invalid(expected, f"entry {verified.entry.index} is of {short(body.delivery_digest)}")
    if body.peer != expected.peer_number:
        raise _invalid(expected, f"it names member {body.peer}, {expected.peer_number} expected")
    if not body.understood and body.kind not in Kind.__members__.values():
        return verified
    if body.kind not in allowed:  # 3
        raise _invalid(expected, f"kind {body.kind} is no answer here")
    right = expected.expected_opening if body.kind == Kind.RECEIVED else b""
    if not hmac.compare_digest(body.opening, right):  # 4
        raise _invalid(expected, "its opening is not the statement's")
    if body.kind == Kind.REFUSED and not body.outcome:  # 5
        raise _invalid(expected, "a refusal without a reason")
    return verified


def origin_of(receipt: Receipt) -> str:
    """Name the log and epoch that a receipt says it is of, before anything of it is verified.

    Raises:
        RefusedError: RECEIPT_INVALID.
    """
    try:
        return _origin(receipt.parsed.note)
    except RefusedError as error:
        raise RefusedError("RECEIPT_INVALID", str(error)) from error


def reason_name(outcome: int) -> str:
    """Name a refusal's reason; one from a newer program reads ``unknown-4000``, and 0 is no reason at all."""
    if not outcome:
        return ""
    return Outcome(outcome).name if outcome in _OUTCOMES else f"unknown-{outcome}"


@lru_cache(maxsize=16)  # a receipt is asked for its origin, then verified
def _parsed(proof: str) -> TlogProof:
    return parse_proof(proof)


@lru_cache(maxsize=64)  # as below
def _origin(note: str) -> str:
    return parse_note(note).checkpoint.origin


@lru_cache(maxsize=64)  # one checkpoint covers a whole group of receipts; a note has at most 64 KiB
def verified_note(note: str, vkey: VerifierKey) -> Checkpoint:
    """Do as ``verify_note``, once for a note that is asked for again: with its batch, and with the next one."""
    return verify_note(note, vkey)


def _invalid(expected: ExpectedAnswer, what: str) -> RefusedError:
    return RefusedError("RECEIPT_INVALID", f"receipt for delivery {short(expected.delivery_digest)}: {what}")
