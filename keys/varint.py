"""Protobuf's numbers of variable length: seven bits a byte, the lowest first, in the one form that we take.

At most 64 bits, and no byte more than the value needs: then equal numbers are equal bytes. Whoever walks many fields
takes a number of one byte by itself and asks here for the longer ones.

Source: Protocol Buffers, "Encoding", section "Base 128 Varints".
"""

from __future__ import annotations

from keys.errors import RefusedError

MAX_U64 = (1 << 64) - 1
_ONE_BYTE = tuple(bytes([value]) for value in range(0x80))


class VarintError(RefusedError):
    """A number in another form, or one that does not end; MALFORMED."""

    def __init__(self, message: str) -> None:
        super().__init__("MALFORMED", message)


def write_varint(value: int) -> bytes:
    """Return *value*, at least 0, in its shortest form."""
    if value < 0x80:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number that begins at *at*, and where the next byte stands.

    Args:
        data: The whole record.
        at: From 0.
        end: No byte from here on belongs to the number.

    Raises:
        VarintError: It does not end, has more than 64 bits or more bytes than it needs.
    """
    value = shift = 0
    while True:
        if at >= end:
            raise VarintError(f"byte {at}: it ends inside a number")
        if shift > 63:
            raise VarintError(f"byte {at}: a number is longer than 64 bits")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if value > MAX_U64 or (not byte and shift):
        raise VarintError(f"byte {at - 1}: a number is not written in its shortest form")
    return value, at
