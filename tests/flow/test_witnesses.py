"""Nodes that witness one another over real mTLS: the quorum, its absence, restarts, and what never counts."""

from __future__ import annotations

import io
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Kind
from audit.note.checkpoint import Checkpoint, parse_note, sign_checkpoint, verify_note
from audit.note.cosignature import cosign, cosigner_key
from audit.note.policy import WitnessPolicy, format_vkeys
from audit.tiles.tile_names import MLDSA44_KEY_FILE
from audit.verify.trust import policy_of
from exchange.cli.operator.node_status import read_status, to_lines
from exchange.node.config import NodeConfig, format_config
from exchange.node.witness_status import STATE_FILE
from exchange.rpc.audit.ask_witnesses import WitnessRounds
from exchange.rpc.audit.cosignatures import CosignatureSet
from exchange.rpc.audit.peer_witnessed import PeerWitnessed
from exchange.rpc.audit.witness_transport import SlowError
from keys.errors import RefusedError, UnavailableError
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.flow.witnessing import (
    MINUTE,
    SOON,
    A,
    B,
    C,
    D,
    E,
    cosigners,
    is_witnessed,
    pending,
    policy,
)
from tests.flow.world import CALM, NEVER_SECONDS, PATIENCE_SECONDS, World, bulletin, keys_of, runtime, until

# ------------------------------------------------------------------ the quorum


async def test_what_is_published_is_cosigned_by_all(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.serving():
        await world.connected()
        sender = world[B]
        await sender.publish(bulletin(B, C))
        began, size = time.monotonic(), sender.node.reads.size()
        await until(lambda: sender.node.witnessed[0] >= size)
        print(f"published and cosigned {time.monotonic() - began:.2f} s after the append")
        await until(lambda: len(sender.bodies(Kind.RECEIPT_RECORDED)) == 1)  # the last entry of this test
        await until(lambda: is_witnessed(sender) and len(cosigners(sender)) == 3)
        judged = policy(sender).judge(sender.node.witnessed[1])
        assert judged.reached
        assert len(judged.mldsa44) == 3
        assert (sender.home / "log" / "witnessed").read_text() == sender.node.witnessed[1]
        assert (sender.home / "witnesses.vkeys").read_text() == format_vkeys(policy(sender))
        assert (sender.home / "witnesses.vkeys").read_text().startswith("# quorum 3\n")


async def test_the_log_s_own_second_line_stands_in_files_and_not_in_receipts(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=SOON)
    async with world.serving():
        await world.connected()
        node = world[A].node
        results = await world[A].publish(bulletin(A, B))
        assert results[0].receipt.proof.count("\n— ") == 1  # the Ed25519 line alone
        assert node.note.count("\n— ") == 1
        await until(lambda: node.files.published[0] == node.reads.size())
        published = parse_note(node.files.published[1])
        assert [len(line.signature) for line in published.signatures] == [64, 8 + 2420]
        assert {line.name for line in published.signatures} == {node.vkey.name}
        vkey = (world[A].home / "log" / MLDSA44_KEY_FILE).read_text()
        assert vkey.startswith(f"{node.vkey.name}+{published.signatures[1].key_hash.hex()}+")


async def test_one_dead_witness_of_four_holds_up_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C, D, E), settings=SOON)
    async with world.serving():
        await world.connected()
        await world[D].stop()
        await world[A].publish(bulletin(A, B))
        # At one moment: the receipt that comes next makes a checkpoint which waits for its lines.
        await until(lambda: is_witnessed(world[A]) and len(cosigners(world[A])) == 3)
        assert world[A].node.view.federation.roster.witness_quorum == 3


async def test_without_a_quorum_an_urgent_bulletin_passes_and_the_log_says_that_it_is_pending(tmp_path: Path) -> None:
    world = World(tmp_path, settings=SOON)
    try:
        await world[A].start()
        await world[B].start()
        await world[A].publish(bulletin(A, B, urgency=2))
        await until(lambda: len(world[B].bodies(Kind.RECEIVED)) == 1)
        await until(lambda: len(world[A].bodies(Kind.RECEIPT_RECORDED)) == 1)  # and the receipt is back
        await until(lambda: pending(world[A]) > 0)
        assert world[A].node.witnessed == (0, "")
        (world[A].home / "node.toml").write_text(format_config(NodeConfig(agency=world[A].agency)))
        told = read_status(world[A].home, int(time.time() * 1000))
        assert told["witnessed_size"] == 0
        assert told["pending_since"]
        assert not told["witness_alarm"]
        lines = to_lines(told)
        assert any("witnessed to 0 of " in line and "quorum 3, pending since 20" in line for line in lines)
        assert set(told["cosigned"]) | set(told["missing"]) == set(told["witnesses"])
        dead = sorted(name for name in told["witnesses"] if name.startswith((C.lower(), D.lower())))
        assert set(dead) <= set(told["missing"])
        assert all(name in line for line in lines if "pending since" in line for name in (*dead, "missing: "))
        late = read_status(world[A].home, int(time.time() * 1000) + 11 * MINUTE)
        assert any(line.startswith("ALARM") and "10 minutes" in line for line in to_lines(late))
        for other in (C, D):  # the others come: what waited is witnessed
            await world[other].start()
        await until(lambda: is_witnessed(world[A]) and pending(world[A]) == 0)

        def told_pending() -> bool:
            return any("pending" in line for line in to_lines(read_status(world[A].home, int(time.time() * 1000))))

        await until(lambda: not told_pending())
    finally:
        for member in world.members.values():
            await member.stop()


async def test_a_drained_node_leaves_its_last_checkpoint_cosigned(tmp_path: Path) -> None:
    slow = replace(CALM, witness_seconds=NEVER_SECONDS)  # so that only the last round can have done it
    world = World(tmp_path, settings=slow)
    async with world.serving():
        await world.connected()
        await until(lambda: all(member.node.files.published[0] for member in world.members.values()))
        await world[A].publish(bulletin(A, B))
        await until(lambda: len(world[A].bodies(Kind.RECEIPT_RECORDED)) == 1)
        await world.connected()  # whom it does not follow at that moment it cannot ask
        node, running = world[A].node, world[A].running
        assert running is not None
        await running.quiesce()
        await running.witness_last(PATIENCE_SECONDS)  # a drain gives it three seconds, which a busy machine may need
        await running.drain()
        world[A].running = None
        note = (world[A].home / "log" / "checkpoint").read_text()
        assert verify_note(note, node.vkey).size == node.log.size
        assert policy_of(node.view.federation.roster, A).judge(note).reached


# ------------------------------------------------------------------ pending, with a clock that is passed in


async def test_pending_alarms_after_ten_minutes_and_again_every_ten(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    node = world[A].open()
    node.start()
    try:
        now, log = [1_000_000_000_000], io.StringIO()
        rounds = WitnessRounds(runtime(node, lambda: now[0], SOON, log), {})
        rounds.start()
        await until(lambda: rounds.pending_since_ms is not None)
        assert rounds.pending_since_ms == now[0]
        for passed, alarms in ((9 * MINUTE, 0), (MINUTE, 1), (9 * MINUTE, 1), (MINUTE, 2)):
            now[0] += passed
            rounds.check_pending()
            assert log.getvalue().count("not-witnessed") == alarms, passed
        assert '"seconds": 1200' in log.getvalue()
        await rounds.finish(0.1)
        assert pending(world[A]) == 1_000_000_000_000
        again = WitnessRounds(runtime(node, lambda: now[0], SOON, log), {})  # after a restart it has waited as long
        assert again.pending_since_ms == 1_000_000_000_000
    finally:
        node.stop()


# ------------------------------------------------------------------ the last round


async def test_the_last_round_waits_for_a_slow_witness_and_for_none_that_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    node = world[A].open()
    node.start()
    name, key = keys_of(B).application.member.witness_name, keys_of(B).node.witness
    asks: list[str] = []

    async def slow(body: bytes) -> str:
        asks.append("slow")
        if len(asks) < 3:
            raise SlowError("no answer in time")
        return cosign(parse_note(body.decode().partition("\n\n")[2]).checkpoint, name, key, int(time.time()))

    async def gone(body: bytes) -> str:
        asks.append("gone")
        raise UnavailableError("nobody listens there")

    try:
        for ask, size in ((gone, 0), (slow, node.reads.size())):
            asks.clear()
            rounds = WitnessRounds(runtime(node, settings=SOON), {name: ask})
            rounds.start()
            await rounds.finish(PATIENCE_SECONDS)
            assert node.witnessed[0] == size
            assert len(asks) <= 4, "one that is gone is not asked for two minutes"
    finally:
        node.stop()


# ------------------------------------------------------------------ what never counts


@pytest.mark.parametrize("kind", ["flipped", "another-checkpoint", "another-s-key", "no-key-of-its-own", "not-lines"])
async def test_a_wrong_cosignature_is_never_merged(kind: str, tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    node = world[A].open()
    node.start()
    keys = keys_of(B).node
    name = keys_of(B).application.member.witness_name
    strange = Ed25519Signer.from_seed(Usage.WITNESS, B, bytes(32))

    async def answer(body: bytes, wrong: bool = True) -> str:
        checkpoint = parse_note(body.decode().partition("\n\n")[2]).checkpoint
        good = cosign(checkpoint, name, keys.witness, int(time.time()))
        if not wrong:
            return good
        other = Checkpoint(origin=checkpoint.origin, size=checkpoint.size, root=bytes(32))
        at = len(good) - 20
        return {
            "flipped": good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :],
            "another-checkpoint": cosign(other, name, keys.witness, int(time.time())),
            "another-s-key": cosign(checkpoint, name, strange, int(time.time())),
            "no-key-of-its-own": cosign(checkpoint, "somebody.example/witness", strange, 1),
            "not-lines": "thank you\n",
        }[kind]

    async def right(body: bytes) -> str:
        return await answer(body, wrong=False)

    try:
        log = io.StringIO()
        bad = WitnessRounds(runtime(node, settings=SOON, log=log), {name: answer})
        bad.start()
        await until(lambda: "witness-refuses" in log.getvalue())
        await bad.finish(1.0)
        assert node.witnessed == (0, "")
        assert (world[A].home / "log" / "checkpoint").read_text() == node.files.published[1]
        good = WitnessRounds(runtime(node, settings=SOON), {name: right})  # the control
        good.start()
        await until(lambda: node.witnessed[0] > 0)
        await good.finish(1.0)
        assert policy_of(node.view.federation.roster, A).judge(node.witnessed[1]).names == (name,)
    finally:
        node.stop()


async def test_lines_of_a_witness_that_is_asked_do_not_count_for_another() -> None:
    """B is asked and answers with its own good line and one in C's name: only B's is kept."""
    keys = {each: keys_of(each) for each in (A, B, C)}
    made = [keys[each].application.member for each in (B, C)]
    witnesses = tuple(cosigner_key(each.witness_name, each.witness_key.public_key) for each in made)
    both = WitnessPolicy(quorum=2, witnesses=witnesses)
    cosignatures = CosignatureSet(both)
    checkpoint = Checkpoint(origin=keys[A].application.member.origin(1), size=7, root=bytes(32))
    target = cosignatures.aim(sign_checkpoint(checkpoint, keys[A].node.log))
    lines = {each: cosign(checkpoint, m.witness_name, keys[each].node.witness, 5) for each, m in zip((B, C), made, strict=True)}  # fmt: skip
    cosignatures.take(made[0].witness_name, target, lines[B] + lines[C])
    assert cosignatures.cosigned() is None
    cosignatures.take(made[1].witness_name, target, lines[C])  # the control
    found = cosignatures.cosigned()
    assert found is not None
    assert found[0] == 7
    assert both.judge(found[1]).names == tuple(each.witness_name for each in made)


# ------------------------------------------------------------------ peers' cosigned checkpoints


async def test_a_peer_s_cosigned_checkpoint_is_taken_and_only_a_quorum_s(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C), settings=SOON)
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B))
        await until(lambda: len(world[A].bodies(Kind.RECEIPT_RECORDED)) == 1)  # its last entry: what follows stands
        path = world[B].home / "peers" / A / "checkpoint"

        def carries() -> bool:
            return path.exists() and policy(world[A]).judge(path.read_text()).reached

        await until(lambda: carries() and parse_note(path.read_text()).checkpoint.size == world[A].node.reads.size())
        assert path.with_name("witnessed").read_text().count("/witness ") == 4
        bare = world[A].node.files.published[1]
        await world[B].stop()  # while it runs it takes them by itself
        node = world[B].open()
        proven = PeerWitnessed(node, world[A].agency)

        async def prove(old: int, new: int) -> list[bytes]:
            return world[A].node.log.consistency(old, new)

        with pytest.raises(RefusedError) as caught:
            await proven.take("".join(bare.splitlines(keepends=True)), prove)
        assert caught.value.code == "RECEIPT_INVALID"
        cosigned = world[A].node.witnessed[1]
        assert not await proven.take(cosigned, prove)  # not newer than what is there
        path.with_name("witnessed").unlink()
        assert await proven.take(cosigned, prove)  # the control
        node.stop()


async def test_a_hint_that_cannot_be_written_neither_stops_cosigning_nor_an_orderly_end(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=SOON)
    async with world.serving():
        await world.connected()
        sender = world[B]
        node = sender.node

        def stands_in_the_way() -> bool:
            """Put a folder there, which nothing replaces; between two steps the node may write its file again."""
            path = sender.home / STATE_FILE
            if path.is_file():
                path.unlink()
            with suppress(FileExistsError):
                path.mkdir()
            return path.is_dir()

        await until(lambda: (sender.home / STATE_FILE).exists())
        await until(stands_in_the_way)
        await sender.publish(bulletin(B, A))
        await until(lambda: len(sender.bodies(Kind.RECEIPT_RECORDED)) == 1)
        await until(lambda: is_witnessed(sender))
        await sender.stop()
        assert verify_note((sender.home / "log" / "checkpoint").read_text(), node.vkey).size == node.log.size
