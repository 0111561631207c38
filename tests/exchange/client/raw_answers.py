"""What a node really answers, before a client has checked it: to be altered, as a lying node would."""

from __future__ import annotations

from exchange.client import Client, Published, ReadPurpose, Received
from exchange.client.verifier import Verifier
from exchange.records.bulletin import id_bytes
from exchange.v1 import node_pb2
from keys.dsse import SignedPayload


def request_of(client: Client, item: Received) -> SignedPayload:
    return client._line.sign_request(
        ReadPurpose.CASE_WORK,
        "7/26",
        "to alter the answer",
        sender=item.sender,
        bulletin_id=id_bytes(item.bulletin_id),
        statement_digest=item.statement_digest,
    )


def answer_of(client: Client, item: Received) -> node_pb2.ReadResponse:
    """Ask the node as ``Client.read`` does, and give its raw answer, to be altered."""
    signed = request_of(client, item)
    return client._line.call(client._line.stub.Read, node_pb2.ReadRequest(read=signed.to_message()))


def check_answer(trust: Verifier, answer: node_pb2.ReadResponse, item: Received, sender: str = "") -> None:
    trust.check_statement(
        SignedPayload.from_message(answer.statement),
        sender=sender or item.sender,
        digest=item.statement_digest,
        manifest=trust.manifest_of_before(
            SignedPayload.from_message(answer.author_manifest), sender or item.sender, answer.records.manifest
        ),
        at_ms=item.received_ms,
    )


def outbox_item(client: Client, published: Published) -> node_pb2.OutboxItem:
    page = client._line.outbox_page(0, id_bytes(published.bulletin_id))
    return page.items[0]
