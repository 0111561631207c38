"""What older programs wrote, and nodes have kept."""

from __future__ import annotations

from audit.record.statement import ReadRequest
from audit.v1 import statement_pb2


def older_read(read: ReadRequest) -> bytes:
    """Return a request in the form of before it was said what is asked: its purpose says that."""
    message = statement_pb2.Read.FromString(read.encode())
    message.ClearField("asked")
    message.purpose = statement_pb2.ReadPurpose.ValueType(read.purpose or 0)
    message.sender, message.bulletin_id, message.statement_digest = read.sender, read.bulletin_id, read.statement_digest
    message.listed.extend(statement_pb2.ListedBulletin(sender=s, bulletin_id=b) for s, b in read.listed)
    return message.SerializeToString(deterministic=True)
