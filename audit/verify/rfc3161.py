"""A time that no member of the federation tells: RFC 3161 tokens over checkpoints.

An authority signs that it saw the hash of a note at a time, so the checkpoint, and every entry under it, existed
before that time, whoever colludes afterwards. What is stamped is the whole note as it was published, cosignatures
included. The library is an extra, loaded only where a token is made or checked; what is stored is the authority's
answer as it came, which ``openssl ts -verify`` reads.

Source: RFC 3161.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from keys.errors import RefusedError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

STAMPS_FOLDER, AUTHORITY_FILE = "timestamps", "tsa.pem"  # in a node's home: N.tsr over N.note, and who was trusted
MAX_TOKEN_BYTES = 64 << 10  # of an answer; with a chain of certificates it has some five thousand
MAX_AUTHORITY_BYTES = 256 << 10
_CERTIFICATES = 0xA0  # [0] IMPLICIT SET OF, in SignedData
_SHA256 = "2.16.840.1.101.3.4.2.1"


class ExtraMissingError(RefusedError):
    """The library that reads tokens is not installed."""

    def __init__(self) -> None:
        super().__init__("NOT_UNDERSTOOD", "time stamps need the extra `time` (rfc3161-client), which is not installed")
        self.hint = "pip install 'interagency-exchange[time]'; or check the files with openssl ts -verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What an authority is asked."""

    der: bytes  # RFC 3161 TimeStampReq
    nonce: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """That a note existed at a time; made by ``verify_token`` only."""

    time_us: int  # microseconds since 1970, as the authority says
    authority: str  # subject of the certificate that signed


def make_query(note: bytes) -> Query:
    """Make the question about a note: its SHA-256, a fresh nonce, the certificate wanted with the answer.

    Raises:
        ExtraMissingError: The library is not there.
    """
    library = _library()
    made = library.TimestampRequestBuilder().data(note).hash_algorithm(library.HashAlgorithm.SHA256).build()
    return Query(der=bytes(made.as_bytes()), nonce=int(made.nonce))


def load_authority(data: bytes, name: str) -> tuple[Certificate, ...]:
    """Read the certificates that are trusted to tell the time: PEM, one or more.

    Raises:
        RefusedError: MALFORMED.
    """
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return tuple(load_pem_x509_certificates(data))
    except ValueError as error:
        raise RefusedError("MALFORMED", f"{name}: certificates in PEM were expected") from error


def verify_token(
    token: bytes, note: bytes, trusted: Sequence[Certificate], name: str, *, nonce: int | None = None
) -> Stamped:
    """Check an authority's answer about a note.

    1 its form, and that it was granted; 2 SHA-256 of this very note; 3 the chain to a trusted certificate, at the
    time that it states, for the purpose of time stamping; 4 the nonce, where one was sent.

    Args:
        token: RFC 3161 TimeStampResp, DER.
        note: As it was stamped.
        trusted: From ``load_authority``.
        name: What to call the token in messages: its file.
        nonce: As sent; None where only the answer was kept.

    Raises:
        ExtraMissingError: The library is not there.
        RefusedError: MALFORMED, RECEIPT_INVALID (another note, not granted), SIGNATURE_INVALID.
    """
    library = _library()
    if len(token) > MAX_TOKEN_BYTES:
        raise RefusedError("TOO_LARGE", f"{name}: a token of {len(token)} bytes, at most {MAX_TOKEN_BYTES}")
    answer = _parse(library, token, name)  # 1
    info = answer.tst_info
    imprint = info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256 or bytes(imprint.message) != sha256(note).digest():  # 2
        raise RefusedError("RECEIPT_INVALID", f"{name}: the token is of something else than this checkpoint's note")
    builder = library.VerifierBuilder(roots=list(trusted), nonce=nonce)
    try:
        builder.build().verify(answer, sha256(note).digest())  # 3, 4
    except (library.VerificationError, ValueError) as error:
        why = str(error).split("\n", 1)[0][:200]
        raise RefusedError("SIGNATURE_INVALID", f"{name}: the token does not verify: {why}") from error
    return Stamped(time_us=int(info.gen_time.timestamp() * 1_000_000), authority=_signer(answer))


def _parse(library: Any, token: bytes, name: str) -> Any:
    try:
        answer = library.decode_timestamp_response(_in_order(token))
        granted = answer.status == library.PKIStatus.GRANTED
        _ = answer.tst_info if granted else None
    except ValueError as error:
        raise RefusedError("MALFORMED", f"{name}: not an RFC 3161 answer, or cut off") from error
    if not granted:
        raise RefusedError("RECEIPT_INVALID", f"{name}: the authority refused, status {int(answer.status)}")
    return answer


def _in_order(token: bytes) -> bytes:
    """Put the certificates of an answer into the order that DER asks of a set; the signature does not cover them.

    OpenSSL writes them in the order in which it has them, and the library refuses that. Nothing else is touched; what
    is not of this form is left to the library to refuse.
    """
    try:
        _, at, end = _element(token, 0)  # TimeStampResp
        *_, at = _element(token, at)  # past the status
        _, at, _ = _element(token, at)  # ContentInfo
        *_, at = _element(token, at)  # past its type
        _, at, _ = _element(token, at)  # [0]
        _, at, end = _element(token, at)  # SignedData
        for _ in range(3):
            *_, at = _element(token, at)  # past version, digest algorithms, content
        tag, start, end = _element(token, at)
        rows, at = [], start
        while tag == _CERTIFICATES and at < end:
            *_, after = _element(token, at)
            rows.append(token[at:after])
            at = after
        return token[:start] + b"".join(sorted(rows)) + token[end:] if rows and at == end else token
    except IndexError:
        return token


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, beginning and end of the content of one DER element; IndexError where it is cut off."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[at + 2 : start], "big")
    if start + length > len(data):
        raise IndexError
    return tag, start, start + length


def _signer(answer: Any) -> str:
    from cryptography.x509 import load_der_x509_certificate

    (info,) = answer.signed_data.signer_infos
    for der in answer.signed_data.certificates:
        certificate = load_der_x509_certificate(der)
        if (certificate.issuer, certificate.serial_number) == (info.issuer, info.serial_number):
            return certificate.subject.rfc4514_string()
    return str(info.issuer.rfc4514_string())


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise ExtraMissingError from error
    return rfc3161_client
