"""A bulletin from its author to its reader, over real mutual TLS."""

from __future__ import annotations

from pathlib import Path

from audit.entry.entry import Kind
from audit.record.statement import opening, parse_statement
from exchange.records.bulletin import parse_bulletin
from exchange.records.receipt import ExpectedAnswer, check_exchange_receipt, receipt_from_message, verify_receipt
from exchange.v1 import node_pb2
from tests.flow.world import World, bulletin, bulletin_id, until


async def test_a_bulletin_is_published_received_receipted_and_read(tmp_path: Path) -> None:
    world = World(tmp_path, ("HK-IMMD", "TH-DSI", "TW-NHRC"))
    async with world.serving():
        await world.connected()
        sender, reader = world["HK-IMMD"], world["TH-DSI"]
        message = bulletin("HK-IMMD", "TH-DSI", "TW-NHRC")
        signed = sender.statement(message)
        async with sender.desk() as desk:
            answer = await desk.PublishOne(node_pb2.PublishOneRequest(statement=signed.to_message()))
            assert not answer.result.HasField("refusal"), answer.result.refusal
            published = verify_receipt(receipt_from_message(answer.result.receipt), sender.node.vkey)
            assert published.body.kind == Kind.PUBLISHED
            await until(lambda: len(sender.bodies(Kind.RECEIPT_RECORDED)) == 2)
            outbox = await desk.Outbox(node_pb2.OutboxRequest(bulletin_id=bulletin_id(message)))
        for state in outbox.items[0].recipients:
            assert state.state == node_pb2.DELIVERY_STATE_RECEIVED
            assert state.opening == opening(parse_statement(signed.payload).salt, _digest(state.delivery))
            check_exchange_receipt(
                receipt_from_message(state.receipt),
                world[state.agency].node.vkey,
                ExpectedAnswer(
                    dispatch_digest=published.body.dispatch_digest,
                    delivery_digest=_digest(state.delivery),
                    expected_opening=state.opening,
                    peer_number=sender.node.view.number,
                ),
            )
        async with reader.desk() as desk:
            inbox = await desk.Inbox(node_pb2.InboxRequest())
            (item,) = inbox.items
            assert (item.sender, item.kind, item.opened) == ("HK-IMMD", "advisory", False)
            opened = await desk.Read(node_pb2.ReadRequest(read=reader.read_request(item).to_message()))
            assert parse_bulletin(parse_statement(opened.statement.payload).bulletin) == message
            assert verify_receipt(receipt_from_message(opened.receipt), reader.node.vkey).body.kind == Kind.OPENED
            again = await desk.Inbox(node_pb2.InboxRequest())
            assert again.items[0].opened


def _digest(delivery: bytes) -> bytes:
    from audit.record.lane import delivery_digest

    return delivery_digest(delivery)
