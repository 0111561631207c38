"""What the formats have room for and no program of this release makes: it is read, and refused as not understood.

So that a later program needs no new format, and an older one says cleanly what it cannot do. Each of these goes when
what it stands for is built.
"""

from __future__ import annotations

from audit.record.dispatch import AbsentReason, Dispatch, SignerRole
from audit.record.statement import Statement
from keys.dsse import SETTLED, SignedPayload, payload_type
from keys.errors import RefusedError

_TYPES = frozenset(map(payload_type, SETTLED))
_LATER = frozenset({AbsentReason.NOT_ENTITLED, AbsentReason.OTHER_PART})


def check_statement_built(statement: Statement) -> None:
    """Refuse a statement that is judged by records that nobody adopts so far.

    Raises:
        RefusedError: NOT_UNDERSTOOD.
    """
    if statement.rests_on:
        raise _not_understood(f"statement: it rests on a record of type {statement.rests_on[0].type}")


def check_signatures_built(signed: SignedPayload) -> None:
    """Refuse signatures of types that nobody makes so far.

    Raises:
        RefusedError: NOT_UNDERSTOOD.
    """
    for each in signed.signatures:
        if each.payload_type in _TYPES:
            raise _not_understood(f"a signature of type {each.payload_type}")


def check_dispatch_built(dispatch: Dispatch) -> None:
    """Refuse one of several parts, a signer of another agency, and agencies that are absent for reasons to come.

    Raises:
        RefusedError: NOT_UNDERSTOOD.
    """
    if dispatch.parts:
        raise _not_understood(f"dispatch: part {dispatch.part} of {dispatch.parts}")
    if any(signer.role is SignerRole.JOINT for signer in dispatch.signers):
        raise _not_understood("dispatch: a joint signer")
    for absent in dispatch.absent:
        if absent.reason in _LATER:
            raise _not_understood(f"dispatch: {absent.agency} is absent for reason {int(absent.reason)}")


def _not_understood(what: str) -> RefusedError:
    return RefusedError("NOT_UNDERSTOOD", f"{what}, which this release does not take")
