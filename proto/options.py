"""The options that ``bulletin.proto`` states its rules in, as messages of protovalidate's schema."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from protovalidate._gen.buf.validate import validate_pb

from proto.cel import UnknownRuleError

OF_FIELDS = ("required", "ignore", "cel", "string", "enum", "repeated", "timestamp", "uint32", "uint64", "double")
IGNORE_ZERO = 1  # buf.validate.IGNORE_IF_ZERO_VALUE
_EXTENSION = 1159  # buf.validate's number in the options of fields, messages and oneofs


def options_pool() -> DescriptorPool:
    """Make a pool with the schema of the options, which comes with protovalidate."""
    pool = DescriptorPool()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(validate_pb.desc().proto.to_binary())
    return pool


def only(rules: Any, *known: str) -> None:
    """Refuse rules that state anything else: UnknownRuleError."""
    for field, _ in rules.ListFields():
        if field.name not in known:
            raise UnknownRuleError(field.full_name)


def stated(pool: DescriptorPool, options: Message, name: str, *known: str) -> Any:
    """Read what options state: a ``buf.validate`` message, empty where they state nothing.

    Raises:
        UnknownRuleError: They state anything but *known*.
    """
    rules = GetMessageClass(pool.FindMessageTypeByName(f"buf.validate.{name}"))()
    kept = UnknownFieldSet(options)
    for place in range(len(kept)):
        if kept[place].field_number == _EXTENSION:
            rules.MergeFromString(kept[place].data)
    only(rules, *known)
    return rules


def expect(rules: Any, kind: str = "") -> None:
    """Refuse rules of another kind than the field's: UnknownRuleError."""
    if rules.WhichOneof("type") not in (None, kind):
        raise UnknownRuleError(str(rules.WhichOneof("type")))
