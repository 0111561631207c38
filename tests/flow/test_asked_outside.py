"""Witnesses without a node are asked what they hold of our log, at a start and in a recovery: they may know most."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from audit.note.checkpoint import VerifierKey, parse_note, verify_note
from audit.witness.request import format_request
from exchange.rpc.audit.external_witness import WitnessAheadError, known_sizes
from exchange.rpc.audit.witness_transport import ask_http
from exchange.rpc.recovery import rebuild
from exchange.rpc.recovery.rebuild import SilentError
from exchange.rpc.serve.options import ServeOptions
from exchange.rpc.serve.running_node import RunningNode, serve
from keys.errors import RefusedError
from tests.flow.recovering import gather
from tests.flow.test_outside_witnesses import outside_of
from tests.flow.test_recover import all_receipted, all_witnessed
from tests.flow.witnessing import SOON
from tests.flow.world import Member, World, bulletin, keys_of, until

A, B = "HK-SB", "TH-DSI"
NAME = "oversight.example/witness"


async def started(member: Member, prefix: str) -> RunningNode:
    """Serve a stopped node that asks before it signs, alone: no other member is there."""
    return await serve(
        member.open(), member.keys.node, ServeOptions(settings=SOON, witnesses={NAME: prefix}, alone=True)
    )


async def test_an_old_copy_signs_nothing_while_all_members_are_down_but_a_witness_without_a_node_is_not(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, (A, B), settings=SOON)
    member = world[A]
    node = member.open()
    vkey = node.vkey
    node.start()
    node.stop()
    with outside_of(tmp_path, vkey, NAME) as (prefix, witness):
        kept = tmp_path / "snapshot"
        shutil.copytree(member.home, kept)  # lock and all, as a virtual machine's snapshot
        running = await started(member, prefix)
        await running.ready()
        node = running.node
        await until(lambda: node.files.published[0] == node.reads.size() > 0)
        size, note = node.files.published
        await ask_http(prefix)(format_request(0, [], note))
        await running.drain(0.2)
        again = await started(member, prefix)  # control: the very home starts, whoever asks
        await again.ready()
        await again.drain(0.2)

        shutil.rmtree(member.home)
        shutil.copytree(kept, member.home)
        copy = await started(member, prefix)
        before = copy.node.reads.size()
        with pytest.raises(WitnessAheadError) as caught:
            await copy.ready()
        assert (caught.value.name, caught.value.size, caught.value.own) == (NAME, size, before)
        assert copy.node.reads.size() == before, "nothing was entered, and nothing signed"
        assert copy.node.note == ""
        await copy.drain(0.2)
        cosigned = witness.state.cosigned(vkey.name)
        assert cosigned is not None
        assert cosigned.size == size, "the question moves no witness"


async def test_a_witness_that_is_silent_or_knows_nothing_holds_no_start_up(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=SOON)
    with outside_of(tmp_path, _vkey(world[B]), NAME) as (prefix, _):
        running = await started(world[A], prefix)  # a witness of another log alone
        await running.ready()
        await running.drain(0.2)
    running = await started(world[A], prefix)  # it is gone
    await running.ready()
    await running.drain(0.2)


def _vkey(member: Member) -> VerifierKey:
    node = member.open()
    node.start()
    node.stop()
    return node.vkey


async def test_the_question_is_signed_for_the_empty_tree_alone(tmp_path: Path) -> None:
    signer = keys_of(A).node.log
    world = World(tmp_path, (A, B), settings=SOON)
    key = _vkey(world[A])
    with outside_of(tmp_path, key, NAME) as (prefix, witness):
        assert await known_sizes({NAME: prefix}, key.name, signer) == {NAME: 0}
        cosigned = witness.state.cosigned(key.name)
        assert cosigned is not None
        assert verify_note(cosigned.note, key).size == 0


async def test_a_recovery_does_not_cut_off_what_a_witness_without_a_node_has_cosigned(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B))
        await all_receipted(world, A)
        with outside_of(tmp_path, world[A].node.vkey, NAME) as (prefix, _):
            await world[B].stop()
            node = world[A].node
            await world[A].publish(bulletin(A, B))  # B never saw this
            await until(lambda: node.files.published[0] == node.reads.size())
            size, note = node.files.published
            await ask_http(prefix)(format_request(0, [], note))
            await world[A].stop()
            await world[B].start()
            gathered, _ = await gather(world, A)
            keys, external = world[A].keys.node, {NAME: prefix}
            with pytest.raises(RefusedError, match=f"{NAME} has cosigned size {size} of .* no member has seen more"):
                await rebuild.check_witnesses(gathered, external, keys, ())
            assert await rebuild.check_witnesses(gathered, external, keys, (NAME,)) == {}, "given up by name"
            await world[A].start()
            await world.connected()
            await all_receipted(world, A)
            await all_witnessed(world, A, B)
            origin = world[A].node.view.origin
            await world[A].stop()
            gathered, _ = await gather(world, A)
            assert parse_note(gathered.recovered[0].notes[-1][0]).checkpoint.origin == origin
            told = await rebuild.check_witnesses(gathered, external, keys, ())  # control: B has seen more now
            assert told == {NAME: size}
        with pytest.raises(SilentError, match=NAME):
            await rebuild.check_witnesses(gathered, external, keys, ())
