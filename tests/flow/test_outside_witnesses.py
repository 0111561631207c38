"""Witnesses without a node, asked over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audit.log.sqlite_witness import SqliteWitnessState
from audit.note.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from audit.note.cosignature import cosigner_key
from audit.note.policy import WitnessPolicy, format_vkeys
from audit.verify.trust import policy_of
from audit.witness.request import format_request
from audit.witness.witness import Witness, WitnessRefusal
from exchange.cli.operator.witness_http import WitnessServer
from exchange.demo.federation import found_federation
from exchange.rpc.audit.cosignatures import CosignatureSet
from exchange.rpc.audit.witness_transport import ask_http
from exchange.rpc.serve.options import ServeOptions
from exchange.rpc.serve.running_node import serve
from keys.errors import UnavailableError
from keys.external_witness import make_external_witness
from keys.identity import Usage
from keys.roster import parse_roster
from keys.signer import Ed25519Signer
from tests.flow.witnessing import SOON, A, B
from tests.flow.world import MADE_MS, Member, World, keys_of, until


@contextmanager
def outside_of(folder: Path, vkey: VerifierKey, name: str) -> Iterator[tuple[str, Witness]]:
    """Serve a witness without a node, of one log, over HTTP."""
    signer = Ed25519Signer.from_seed(Usage.WITNESS, name, b"\x07" * 32)
    state = SqliteWitnessState.create(folder / "witness.db")
    witness = Witness(
        name=name,
        signers=(signer,),
        state=state,
        log_key_of={vkey.name: vkey}.get,
        clock_s=lambda: int(time.time()),
    )
    server = WitnessServer(("127.0.0.1", 0), witness)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", witness
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        state.close()


async def test_a_witness_without_a_node_is_asked_over_http(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=SOON)
    await world[A].start()
    name = "oversight.example/witness"
    try:
        with outside_of(tmp_path, world[A].node.vkey, name) as (prefix, witness):
            ask, node = ask_http(prefix), world[A].node
            await until(lambda: node.files.published[0] >= 6)
            size, note = node.files.published
            key = cosigner_key(name, witness.signers[0].key.public_key)
            cosignatures = CosignatureSet(WitnessPolicy(quorum=1, witnesses=(key,)))
            cosignatures.take(name, cosignatures.aim(note), await ask(format_request(0, [], note)))
            found = cosignatures.cosigned()
            assert found is not None
            assert found[0] == size
            older = sign_checkpoint(
                Checkpoint(origin=node.vkey.name, size=3, root=node.log.root(3)), node.view.log_signer
            )
            for body, code, stands in ((format_request(0, [], older), 409, size), (b"old x", 400, None)):
                with pytest.raises(WitnessRefusal) as caught:
                    await ask(body)
                assert (caught.value.status, caught.value.size) == (code, stands)
        with pytest.raises(UnavailableError):
            await ask(format_request(0, [], note))  # it is gone
    finally:
        await world[A].stop()


async def test_a_lone_agency_is_witnessed_by_an_oversight_body_that_its_roster_names(tmp_path: Path) -> None:
    name = "oversight.example/witness"
    made = keys_of(A)
    application = make_external_witness(Ed25519Signer.from_seed(Usage.WITNESS, name, b"\x07" * 32), None)
    founded = found_federation([made], now_ms=MADE_MS, witnesses=[application])
    member = Member(made.agency, tmp_path / A, founded, {}, SOON)
    member.make()
    node = member.open()
    node.start()
    with outside_of(tmp_path, node.vkey, name) as (prefix, _):
        running = await serve(node, made.node, ServeOptions(settings=SOON, witnesses={name: prefix}))
        try:
            await until(lambda: node.witnessed[0] == node.reads.size())
            assert (tmp_path / A / "witnesses.vkeys").read_text() == format_vkeys(
                policy_of(parse_roster(founded.roster.payload), A)
            )
            assert policy_of(node.view.federation.roster, A).judge(node.witnessed[1]).names == (name,)
        finally:
            await running.drain(0.2)
