"""What officers and systems ask of their node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from audit.entry.entry import Kind, Outcome
from audit.record.statement import statement_digest
from exchange.records.receipt import receipt_from_message, verify_receipt
from exchange.rpc.serve import running_node
from exchange.rpc.transport import status
from exchange.store.storage_key import StorageKeys
from exchange.v1 import node_pb2
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from tests.flow.world import World, bulletin, bulletin_id, until

A, B = "HK-IMMD", "TH-DSI"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, (A, B))
    async with made.serving():
        await made.connected()
        yield made


async def refusal(call: grpc.aio.UnaryUnaryCall) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = status.error_of(caught.value)
    assert isinstance(error, RefusedError)
    return error.code


async def test_a_system_keeps_64_calls_in_flight_on_one_connection(world: World) -> None:
    signed = [world[A].statement(bulletin(A, B)) for _ in range(64)]
    async with world[A].desk() as desk:
        requests = [node_pb2.PublishOneRequest(statement=each.to_message()) for each in signed]
        answers = await asyncio.gather(*(desk.PublishOne(request) for request in requests))
    assert all(answer.result.HasField("receipt") for answer in answers)


async def test_single_calls_that_are_sealed_together_are_answered_each_by_itself(world: World) -> None:
    signed = [world[A].statement(bulletin(A, B)) for _ in range(20)]
    signed[3] = SignedPayload(payload=signed[3].payload + b"\x00", signatures=signed[3].signatures)
    signed[7] = signed[6]
    requests = [node_pb2.PublishOneRequest(statement=each.to_message()) for each in signed]
    async with world[A].desk() as desk, world[A].desk("robot-1") as other:
        calls = [desk.PublishOne(each) for each in requests]
        brought = [other.PublishOne(each) for each in requests[:2]]
        gone = desk.PublishOne(node_pb2.PublishOneRequest(statement=world[A].statement(bulletin(A, B)).to_message()))
        await asyncio.sleep(0)
        gone.cancel()
        results = [answer.result for answer in await asyncio.gather(*calls)]
        foreign = [answer.result.refusal.code for answer in await asyncio.gather(*brought)]
    assert {index: each.refusal.code for index, each in enumerate(results) if each.refusal.code} == {3: "MALFORMED"}
    assert foreign == ["AUTHOR_DIFFERS", "AUTHOR_DIFFERS"]
    assert [each.statement_digest for each in results] == [statement_digest(each.payload) for each in signed]
    assert results[6].dispatch == results[7].dispatch
    published = len(world[A].bodies(Kind.PUBLISHED))
    assert published in {18, 19}  # the call that was given up may have been taken in before


async def test_a_fault_while_single_calls_are_sealed_ends_those_calls_alone(world: World) -> None:
    node = world[A].node
    sound = node.view
    node.view = replace(sound, storage=StorageKeys(present=bytes(32), secrets={}))
    requests = [node_pb2.PublishOneRequest(statement=world[A].statement(bulletin(A, B)).to_message()) for _ in range(5)]
    async with world[A].desk() as desk:
        ended = await asyncio.gather(*(desk.PublishOne(each) for each in requests), return_exceptions=True)
        assert {each.code() for each in ended if isinstance(each, grpc.aio.AioRpcError)} == {grpc.StatusCode.INTERNAL}
        node.view = sound
        answers = await asyncio.gather(*(desk.PublishOne(each) for each in requests))
    assert all(answer.result.HasField("receipt") for answer in answers)
    assert len(world[A].bodies(Kind.PUBLISHED)) == 5


async def test_a_stream_answers_in_order_with_refusals_among_them(world: World) -> None:
    good = [world[A].statement(bulletin(A, B)) for _ in range(3)]
    spoilt = SignedPayload(payload=good[0].payload + b"\x00", signatures=good[0].signatures)
    against = bulletin(A, B)
    against.header.ClearField("subject")
    broken = world[A].statement(against)
    async with world[A].desk() as desk:
        call = desk.Publish()
        batch = [good[0], spoilt, good[1], broken, good[0]]
        await call.write(node_pb2.PublishRequest(statements=[each.to_message() for each in batch]))
        await call.write(node_pb2.PublishRequest(statements=[good[2].to_message()]))
        await call.done_writing()
        answers = [answer async for answer in call]
    results = [result for answer in answers for result in answer.results]
    assert [each.refusal.code for each in results] == ["", "MALFORMED", "", "RULES", "", ""]
    assert results[3].refusal.complaints[0].path.startswith("header.subject")
    assert results[0].statement_digest == results[4].statement_digest
    assert results[0].dispatch == results[4].dispatch
    indices = [
        verify_receipt(receipt_from_message(results[place].receipt), world[A].node.vkey).entry.index
        for place in (0, 2, 5)
    ]
    assert indices == sorted(set(indices))
    assert len(world[A].bodies(Kind.PUBLISHED)) == 3


async def test_refused_statements_are_logged_with_their_count(world: World) -> None:
    signed = world[A].statement(bulletin(A, B))
    stripped = SignedPayload(payload=signed.payload)
    async with world[A].desk() as desk:
        for _ in range(3):
            answer = await desk.PublishOne(node_pb2.PublishOneRequest(statement=stripped.to_message()))
            assert answer.result.HasField("refusal")
    running = world[A].running
    assert running is not None
    await running._refusals.flush()
    [((peer, _), count)] = world[A].refused().items()
    assert (peer, count) == (world[A].node.view.number, 3)


async def test_an_officer_cannot_publish_what_another_has_signed(world: World) -> None:
    signed = world[A].statement(bulletin(A, B))
    async with world[A].desk("robot-1") as desk:
        answer = await desk.PublishOne(node_pb2.PublishOneRequest(statement=signed.to_message()))
    assert answer.result.refusal.code == "AUTHOR_DIFFERS"


async def test_a_feed_begins_at_its_cursor_and_goes_on_with_what_arrives(world: World) -> None:
    first, second = bulletin(A, B), bulletin(A, B)
    await world[A].publish(first)
    async with world[B].desk() as desk:
        call = desk.Watch(node_pb2.WatchRequest())
        one = await call.read()
        assert isinstance(one, node_pb2.WatchResponse)
        assert [item.bulletin_id for item in one.items] == [bulletin_id(first)]
        await world[A].publish(second)
        two = await call.read()
        assert isinstance(two, node_pb2.WatchResponse)
        assert [item.bulletin_id for item in two.items] == [bulletin_id(second)]
        call.cancel()
        again = desk.Watch(node_pb2.WatchRequest(after=one.cursor))
        three = await again.read()
        assert three == two
        again.cancel()


async def test_a_draining_node_ends_its_feeds_and_says_to_come_again(world: World) -> None:
    async with world[B].desk() as desk:
        call = desk.Watch(node_pb2.WatchRequest())
        reading = asyncio.ensure_future(call.read())
        running = world[B].running
        assert running is not None
        await until(lambda: bool(running._desk._fanout._watchers))  # the feed is open
        await running.drain()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reading
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_inbox_shows_no_text_and_pages_by_its_cursor(world: World) -> None:
    messages = [bulletin(A, B) for _ in range(5)]
    await world[A].publish(*messages)
    await until(lambda: len(world[B].bodies(Kind.RECEIVED)) == 5)
    async with world[B].desk() as desk:
        one = await desk.Inbox(node_pb2.InboxRequest(limit=3))
        two = await desk.Inbox(node_pb2.InboxRequest(limit=3, after=one.cursor))
        assert [item.bulletin_id for page in (one, two) for item in page.items] == [*map(bulletin_id, messages)]
        assert messages[0].header.subject[0].text.encode() not in one.SerializeToString()
        (item,) = (await desk.Inbox(node_pb2.InboxRequest(bulletin_id=bulletin_id(messages[2])))).items
        assert item == one.items[2]
        assert await refusal(desk.Inbox(node_pb2.InboxRequest(limit=501))) == "TOO_MANY"
        assert not (await desk.Inbox(node_pb2.InboxRequest(limit=500, after=two.cursor))).items


async def test_subjects_are_shown_only_under_a_logged_request(world: World) -> None:
    message = bulletin(A, B)
    await world[A].publish(message)
    await until(lambda: len(world[B].bodies(Kind.RECEIVED)) == 1)
    async with world[B].desk() as desk:
        (item,) = (await desk.Inbox(node_pb2.InboxRequest())).items
        listed = world[B].read_request(
            item, sender="", bulletin_id=b"", statement_digest=b"", listed=((A, bulletin_id(message)),)
        )
        answer = await desk.ListSubjects(node_pb2.ListSubjectsRequest(read=listed.to_message()))
        assert answer.subjects[0].subject[0].text == message.header.subject[0].text
        proven = verify_receipt(receipt_from_message(answer.receipt), world[B].node.vkey)
        assert (proven.body.kind, proven.body.count) == (Kind.LISTED, 1)
        # Each method takes its own kind of request, and a request only once.
        assert await refusal(desk.ListSubjects(node_pb2.ListSubjectsRequest(read=listed.to_message()))) == "REPLAYED"
        assert await refusal(desk.Read(node_pb2.ReadRequest(read=listed.to_message()))) == "MALFORMED"
        opening = world[B].read_request(item).to_message()
        assert await refusal(desk.ListSubjects(node_pb2.ListSubjectsRequest(read=opening))) == "MALFORMED"
        assert await refusal(desk.Read(node_pb2.ReadRequest())) == "MALFORMED"


async def test_an_officers_own_bulletin_is_read_like_any_other_and_is_no_inbox_item(world: World) -> None:
    message = bulletin(A, B)
    (result,) = await world[A].publish(message)
    item = node_pb2.InboxItem(sender=A, bulletin_id=bulletin_id(message), statement_digest=result.statement_digest)
    async with world[A].desk() as desk:
        read = world[A].read_request(item).to_message()
        opened = await desk.Read(node_pb2.ReadRequest(read=read))
        assert not opened.HasField("item")
        assert opened.author_manifest.payload == world[A].records.manifests[A].payload
        assert opened.author_roster.payload == world[A].records.roster.payload
        assert await refusal(desk.Read(node_pb2.ReadRequest(read=read))) == "REPLAYED"
    assert len(world[A].bodies(Kind.OPENED)) == 1


async def test_a_request_signed_by_another_is_refused_and_opens_nothing(world: World) -> None:
    message = bulletin(A, B)
    await world[A].publish(message)
    await until(lambda: len(world[B].bodies(Kind.RECEIVED)) == 1)
    async with world[B].desk() as desk:
        (item,) = (await desk.Inbox(node_pb2.InboxRequest())).items
        good = world[B].read_request(item)
        forged = dsse.sign(good.payload, ("read", world[B].person("robot-1").keys.signer))
        assert await refusal(desk.Read(node_pb2.ReadRequest(read=forged.to_message()))) == "AUTHOR_DIFFERS"
        stale = world[B].read_request(item, time_ms=1)
        assert await refusal(desk.Read(node_pb2.ReadRequest(read=stale.to_message()))) == "CLOCK_DIFFERS"
    assert world[B].bodies(Kind.OPENED, Kind.ACCESS_DENIED) == []


async def test_numbers_are_given_once(world: World) -> None:
    async with world[A].desk() as desk:
        asked = [desk.ReserveNumber(node_pb2.ReserveNumberRequest(kind_code="ADV", year=2026)) for _ in range(3)]
        numbers = sorted([(await each).number for each in asked])
        assert numbers == [f"HK-IMMD/ADV/2026/00000{n}" for n in (1, 2, 3)]
        for code, year in (("XXX", 2026), ("ADV", 1), ("", 0)):
            request = node_pb2.ReserveNumberRequest(kind_code=code, year=year)
            assert await refusal(desk.ReserveNumber(request)) == "MALFORMED"


async def test_the_outbox_says_why_nobody_answers_yet(tmp_path: Path) -> None:
    made = World(tmp_path, (A, B))
    await made[A].start()
    message = bulletin(A, B)
    await made[A].publish(message)
    async with made[A].desk() as desk:
        (item,) = (await desk.Outbox(node_pb2.OutboxRequest())).items
        (state,) = item.recipients
        assert (state.agency, state.state, state.reason) == (B, node_pb2.DELIVERY_STATE_WAITING, "")
        assert not state.HasField("receipt")
        assert await refusal(desk.Outbox(node_pb2.OutboxRequest(limit=501))) == "TOO_MANY"


async def test_another_statement_under_a_published_id_is_refused(world: World) -> None:
    first, second = bulletin(A, B), bulletin(A, B)
    second.header.bulletin_id = first.header.bulletin_id
    await world[A].publish(first)
    (result,) = await world[A].publish(second)
    assert result.refusal.code == Outcome.EQUIVOCATION.name
    assert result.statement_digest


async def test_the_admin_port_is_on_loopback_alone_and_describes_the_services(tmp_path: Path) -> None:
    made = World(tmp_path, (A, B))
    node = made[A].open()
    await asyncio.to_thread(node.start)
    with pytest.raises(ValueError, match="loopback"):
        await running_node.serve(node, made[A].keys.node, running_node.ServeOptions(admin_address="0.0.0.0:0"))
    running = await running_node.serve(node, made[A].keys.node, running_node.ServeOptions(admin_address="127.0.0.1:0"))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.admin_port}") as opened:
        call = reflection_pb2_grpc.ServerReflectionStub(opened).ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {each.name for each in (await call.read()).list_services_response.service}
        assert {"exchange.v1.Desk", "exchange.v1.Lane"} <= names
        call.cancel()
        health = health_pb2_grpc.HealthStub(opened)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    await running.drain()
    await running.drain()  # again does nothing


async def test_a_peer_reads_from_health_that_a_node_is_leaving(world: World) -> None:
    async with world[A].dial(world[B]) as opened:
        call = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(service="exchange.v1.Lane"))
        assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.ensure_future(world[B].stop())
        assert (await call.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        call.cancel()
        await stopping
