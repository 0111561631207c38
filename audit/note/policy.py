"""Whose cosignatures count, and how many are enough.

The witnesses are Ed25519 keys (type 0x04); *quorum* of them must have cosigned a checkpoint. One key counts once. A
line by a known key that does not verify refuses the note: an ignored forgery would look like an absent witness.
ML-DSA-44 lines are checked and told where the key is known; they never make up for an Ed25519 one, so that verifiers
with and without them agree.

Sources: c2sp.org/tlog-policy for ``format_policy``; docs/log.md, "Quorum".
"""

import re
from dataclasses import dataclass

from audit.note.checkpoint import Note, VerifierKey, parse_note
from audit.note.cosignature import (
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    CosignerKey,
    parse_cosigner_key,
    verify_cosignature,
)
from keys.errors import RefusedError

MAX_WITNESSES = 32
_QUORUM = re.compile(r"# quorum (0|[1-9][0-9]{0,2})", re.ASCII)
_RESERVED = frozenset({"none", "quorum"})  # names of the policy language, and of our one group in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """Who has cosigned one checkpoint."""

    names: tuple[str, ...]  # in the order of the policy
    times: tuple[int, ...]  # seconds since 1970, one for each name
    median_s: int | None  # None where nobody has; of an even number the lower middle one
    reached: bool  # the quorum
    mldsa44: tuple[str, ...] = ()  # whose ML-DSA-44 line stands there too


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessPolicy:
    """The witnesses of one log.

    Raises:
        RefusedError: MALFORMED; a key of the wrong type, or one key or name twice.
    """

    quorum: int  # 0 where there is no witness: then nothing is ever witnessed
    witnesses: tuple[CosignerKey, ...]  # type 0x04
    mldsa44: tuple[CosignerKey, ...] = ()  # type 0x06: the witnesses', and the log's own under its origin

    def __post_init__(self) -> None:
        """Check types and doubles."""
        for keys, kind in ((self.witnesses, ED25519_COSIGNATURE), (self.mldsa44, MLDSA44_COSIGNATURE)):
            if any(each.type != kind for each in keys):
                raise _malformed(f"a key of another type than 0x{kind:02x}")
            for values in ({each.name for each in keys}, {each.key for each in keys}):
                if len(values) != len(keys):
                    raise _malformed("a witness or a key stands there twice")

    def judge(self, note: str | Note) -> Witnessed:
        """Verify every line by a known key, and count.

        Args:
            note: A checkpoint; that the log has signed it is checked elsewhere.

        Raises:
            RefusedError: MALFORMED, SIGNATURE_INVALID (a known key's line is wrong).
        """
        read = parse_note(note) if isinstance(note, str) else note
        times = {key.name: time for key in self.witnesses if (time := _time(read, key)) is not None}
        mldsa44 = tuple(key.name for key in self.mldsa44 if _time(read, key) is not None)
        return Witnessed(
            names=tuple(times),
            times=tuple(times.values()),
            median_s=median(tuple(times.values())),
            reached=0 < self.quorum <= len(times),
            mldsa44=mldsa44,
        )


def median(times: tuple[int, ...]) -> int | None:
    """Return the middle one of *times*, of an even number the lower; None of none.

    The lower, because it is a time that some witness stated, and a clock that runs ahead is the commoner fault.
    """
    return sorted(times)[(len(times) - 1) // 2] if times else None


def default_quorum(witnesses: int) -> int:
    """Return the least number that no two halves of the witnesses can both reach: two thirds and one; all of 1 or 2.

    Source: docs/log.md, "Quorum".
    """
    return witnesses if witnesses < 3 else 2 * witnesses // 3 + 1


def format_vkeys(policy: WitnessPolicy) -> str:
    """Return ``witnesses.vkeys``: ``# quorum K``, then one verifier key of type 0x04 a line."""
    return "".join(f"{line}\n" for line in (f"# quorum {policy.quorum}", *policy.witnesses))


def parse_vkeys(text: str) -> WitnessPolicy:
    """Read ``witnesses.vkeys``; keys of type 0x06 may stand among the others. Further ``#`` lines are skipped.

    Raises:
        RefusedError: MALFORMED, SUITE_UNKNOWN; the message says which line.
    """
    first, *lines = text.removesuffix("\n").split("\n")
    stated = _QUORUM.fullmatch(first)
    if stated is None:
        raise _malformed("line 1: '# quorum K' was expected")
    keys = [_key_at(line, number) for number, line in enumerate(lines, 2) if not line.startswith("#")]
    witnesses = tuple(key for key in keys if key.type == ED25519_COSIGNATURE)
    quorum = int(stated[1])
    if len(keys) > 2 * MAX_WITNESSES or quorum > len(witnesses) or (witnesses and not quorum):
        raise _malformed(f"line 1: a quorum of {quorum} of {len(witnesses)} witnesses")
    mldsa44 = tuple(key for key in keys if key.type == MLDSA44_COSIGNATURE)
    return WitnessPolicy(quorum=quorum, witnesses=witnesses, mldsa44=mldsa44)


def format_policy(policy: WitnessPolicy, log_key: VerifierKey) -> str:
    """Return the same policy for this log in the syntax of C2SP tlog-policy.

    Raises:
        RefusedError: MALFORMED; the syntax knows no quorum above the number of witnesses.
    """
    lines = [f"log {log_key}"]
    if not policy.witnesses:
        return "".join(f"{line}\n" for line in (*lines, "quorum none"))
    names = [key.name for key in policy.witnesses]
    if not 0 < policy.quorum <= len(names) or _RESERVED & set(names):
        raise _malformed(f"a quorum of {policy.quorum} of {', '.join(names)} cannot be written as a tlog-policy")
    lines += [f"witness {key.name} {key}" for key in policy.witnesses]
    lines += [f"group quorum {policy.quorum} {' '.join(names)}", "quorum quorum"]
    return "".join(f"{line}\n" for line in lines)


def _time(note: Note, key: CosignerKey) -> int | None:
    """Return the newest time of this key's lines, all of which must verify; None where there is none."""
    key_hash = key.key_hash
    lines = [line for line in note.signatures if line.name == key.name and line.key_hash == key_hash]
    return max((verify_cosignature(line, note.checkpoint, key) for line in lines), default=None)


def _key_at(line: str, number: int) -> CosignerKey:
    try:
        return parse_cosigner_key(line)
    except RefusedError as error:
        raise RefusedError(error.code, f"witnesses: line {number}: {error}") from error


def _malformed(what: str) -> RefusedError:
    return RefusedError("MALFORMED", f"witnesses: {what}")
