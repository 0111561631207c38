"""A node whose signing and opening keys are in a token: another process. It never sees a seed, and nobody notices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from audit.entry.entry import Kind
from audit.note.checkpoint import VerifierKey, parse_note, verify_read
from audit.record.statement import parse_statement
from exchange.demo.federation import found_federation
from exchange.records.bulletin import parse_bulletin
from exchange.v1 import node_pb2
from keys import suites
from keys.agency import AgencyKeys
from keys.identity import Usage
from keys.key_files import WindowKey
from keys.roster import LogKey
from keys.signer import make_record
from tests.flow.world import MADE_MS, World, bulletin, keys_of, until
from tests.keys.fake_token import Token, TokenOpener, TokenSigner


def in_token(keys: AgencyKeys, token: Token) -> AgencyKeys:
    """Return an agency's keys with all that its node signs and opens with in a token."""
    signer = {
        (usage, suite): token.make_signer(usage, suite, keys.agency)
        for usage, suite in (
            *((usage, suites.ED25519) for usage in (Usage.AGENCY, Usage.LOG, Usage.WITNESS)),
            *((usage, suites.MLDSA44) for usage in (Usage.LOG, Usage.WITNESS)),
        )
    }
    record = {what: make_record(each) for what, each in signer.items()}
    first, last = keys.node.encryption[0], keys.node.encryption[-1]
    window = WindowKey(key=token.make_opener(keys.agency), from_ms=first.from_ms, until_ms=last.until_ms)
    node = replace(
        keys.node,
        operations=signer[Usage.AGENCY, suites.ED25519],
        log=signer[Usage.LOG, suites.ED25519],
        witness=signer[Usage.WITNESS, suites.ED25519],
        log_mldsa44=signer[Usage.LOG, suites.MLDSA44],
        witness_mldsa44=signer[Usage.WITNESS, suites.MLDSA44],
        encryption=(window,),
    )
    member = replace(
        keys.application.member,
        log_keys=(LogKey(key=record[Usage.LOG, suites.ED25519], first_epoch=1),),
        log_mldsa44_keys=(LogKey(key=record[Usage.LOG, suites.MLDSA44], first_epoch=1),),
        witness=record[Usage.WITNESS, suites.ED25519],
        witness_mldsa44=record[Usage.WITNESS, suites.MLDSA44],
    )
    operations = replace(keys.operations, key=record[Usage.AGENCY, suites.ED25519])
    return replace(keys, node=node, operations=operations, application=replace(keys.application, member=member))


async def test_a_node_with_a_token_signs_its_checkpoints_and_opens_what_it_receives(tmp_path: Path) -> None:
    token = Token(tmp_path)
    founded = found_federation([keys_of("HK-IMMD"), in_token(keys_of("TH-DSI"), token)], now_ms=MADE_MS)
    world = World(tmp_path / "homes", ("HK-IMMD", "TH-DSI"), founded=founded)
    sender, reader = world["HK-IMMD"], world["TH-DSI"]
    message = bulletin("HK-IMMD", "TH-DSI")
    async with world.serving():
        await world.connected()
        view = reader.node.view
        assert isinstance(view.log_signer, TokenSigner)
        assert isinstance(view.operations, TokenSigner)
        assert [type(each) for each in view.encryption.values()] == [TokenOpener]
        await sender.publish(message)
        await until(lambda: len(sender.bodies(Kind.RECEIPT_RECORDED)) == 1)  # its receipt stands under its checkpoint
        async with reader.desk() as desk:
            [item] = (await desk.Inbox(node_pb2.InboxRequest())).items
            opened = await desk.Read(node_pb2.ReadRequest(read=reader.read_request(item).to_message()))
        assert parse_bulletin(parse_statement(opened.statement.payload).bulletin) == message
        note = reader.node.note
        key = VerifierKey(name=view.origin, key=view.log_signer.key.public_key)
        assert verify_read(parse_note(note), key).size == reader.node.reads.size()
        await reader.publish(bulletin("TH-DSI", "HK-IMMD"))  # signed with its operations key, sealed for the other
        await until(lambda: len(reader.bodies(Kind.RECEIPT_RECORDED)) == 1)
    token.close()
