"""What the schema says of its fields: the rules in the options of ``bulletin.proto``, read as data.

The generated code keeps these options as bytes, because no package named ``buf`` is needed to run. Their own schema is
the one that protovalidate brings, so both ways of judging read the same rules.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

_EXTENSION = 1159  # buf.validate's number in the options of fields, messages and oneofs
_IMPORTED = (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2)


def field_rules(field: FieldDescriptor) -> Any:
    """Give a field's ``buf.validate.FieldRules``; an empty message where it has none."""
    return _read(field.GetOptions(), "FieldRules")


def message_rules(descriptor: Descriptor) -> Any:
    """Give a message type's ``buf.validate.MessageRules``; an empty message where it has none."""
    return _read(descriptor.GetOptions(), "MessageRules")


def oneof_rules(oneof: OneofDescriptor) -> Any:
    """Give a oneof's ``buf.validate.OneofRules``; an empty message where it has none."""
    return _read(oneof.GetOptions(), "OneofRules")


def _read(options: Message, name: str) -> Any:
    rules, kept = _rules(name)(), UnknownFieldSet(options)
    for place in range(len(kept)):
        if kept[place].field_number == _EXTENSION:
            rules.MergeFromString(kept[place].data)
    return rules


@cache
def _rules(name: str) -> Any:
    return GetMessageClass(_pool().FindMessageTypeByName(f"buf.validate.{name}"))


@cache
def _pool() -> DescriptorPool:
    # Imported late: it costs 100 ms, and commands that judge nothing do not need it.
    from protovalidate._gen.buf.validate import validate_pb

    pool = DescriptorPool()  # of its own: another program in this process may hold another version
    for module in _IMPORTED:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(validate_pb.desc().proto.to_binary())
    return pool
