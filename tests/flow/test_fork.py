"""A stolen log key: two histories of one log, shown to two peers. Row 17, and attacks 8 and 9: the fork drill."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from audit.entry.entry import Kind
from audit.note.checkpoint import parse_note
from audit.note.cosignature import add_lines, cosign
from audit.note.fork import parse_fork, verify_fork
from audit.verify.trust import policy_of
from tests.flow.world import QUICK, Member, World, bulletin, until

VICTIM, ONE, OTHER, LIAR = "HK-IMMD", "HK-SB", "TH-DSI", "TW-NHRC"
SETTINGS = replace(QUICK, gossip_seconds=0.0)


async def delivered(sender: Member, recipient: Member) -> None:
    """Publish one bulletin and wait for its receipt."""
    before = len(sender.bodies(Kind.RECEIPT_RECORDED))
    await sender.publish(bulletin(sender.agency, recipient.agency))
    await until(lambda: len(sender.bodies(Kind.RECEIPT_RECORDED)) > before)


def place(member: Member, **others: Member) -> None:
    """Give a member a view of the network of its own."""
    member.endpoints = {each.agency: [f"127.0.0.1:{each.running.peers_port}"] for each in others.values()}  # type: ignore[union-attr]


async def split(world: World, tmp_path: Path) -> Member:
    """Let a thief with the victim's keys and an old copy of its home take the victim's place before one peer."""
    victim, one, other = world[VICTIM], world[ONE], world[OTHER]
    for each in (victim, one, other):
        await each.serve()
    for each in (victim, one, other):
        assert each.running is not None
        await each.running.ready()
    for each in (one, other):
        await delivered(victim, each)
        await delivered(each, victim)
    await victim.stop()
    thief = Member(victim.agency, shutil.copytree(victim.home, tmp_path / "thief"), victim.records, {}, victim.settings)
    place(victim, one=one)
    place(thief, other=other)
    one.endpoints = {OTHER: world.endpoints[OTHER]}
    other.endpoints = {ONE: world.endpoints[ONE]}
    for running in (one, other):  # they dial whom their network shows them
        await running.stop()
    for each, seen in ((one, one.endpoints), (other, other.endpoints)):
        await each.serve(alone=True)
        world.endpoints[each.agency] = [f"127.0.0.1:{each.running.peers_port}"]  # type: ignore[union-attr]
        seen[each.agency] = world.endpoints[each.agency]
    one.endpoints[OTHER], other.endpoints[ONE] = world.endpoints[OTHER], world.endpoints[ONE]
    for each in (one, other):
        assert each.running is not None
        await each.running.ready()
    place(victim, one=one)
    place(thief, other=other)
    for each, peer in ((victim, one), (thief, other)):
        running = await each.serve()
        peer.endpoints[VICTIM] = [f"127.0.0.1:{running.peers_port}"]
        await running.ready()
    return thief


def note_of(member: Member) -> str:
    """What a peer holds of the victim."""
    known = member.node.reads.peer_checkpoint(VICTIM)
    assert known is not None
    return known[1]


async def test_attacks_08_and_09_every_honest_pair_finds_a_split_view_within_one_delivery_row_17(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "world", (VICTIM, ONE, OTHER, LIAR), settings=SETTINGS)
    victim, one, other = world[VICTIM], world[ONE], world[OTHER]
    thief = await split(world, tmp_path)
    await world[LIAR].serve(alone=True)  # as a witness of the victim it is honest
    victim.endpoints[LIAR] = world.endpoints[LIAR]
    await until(lambda: victim.node.vouching.by_most(victim.node.view))
    for _ in range(3):
        await delivered(one, victim)
    await delivered(other, thief)
    assert parse_note(note_of(one)).checkpoint.root != parse_note(note_of(other)).checkpoint.root
    assert parse_note(note_of(one)).checkpoint.size > parse_note(note_of(other)).checkpoint.size
    # Neither history has a quorum, whatever one lying witness of three signs: k - 1 of them are not enough.
    roster = victim.node.view.federation.roster
    policy, liar = policy_of(roster, VICTIM), roster.member(LIAR)
    assert liar is not None
    for note, honest in ((note_of(one), one), (note_of(other), other)):
        lines = [
            cosign(parse_note(note).checkpoint, each.witness_name, keys.witness, int(time.time()))
            for each, keys in ((liar, world[LIAR].keys.node), (roster.member(honest.agency), honest.keys.node))
            if each is not None
        ]
        judged = policy.judge(add_lines(note, "".join(map(str, lines))))
        assert len(judged.names) == 2
        assert not judged.reached

    # The two peers: one delivery, whose receipt carries what the other holds.
    await until(lambda: OTHER in {each._peer for each in one.running._followers if each.connected})  # type: ignore[union-attr]
    await delivered(one, other)
    await until(lambda: len(one.bodies(Kind.FORK_SEEN)) == 1)
    (seen,) = one.bodies(Kind.FORK_SEEN)
    path = one.home / "evidence" / f"fork-{victim.node.view.origin.replace('/', '-')}.fork"
    await until(path.exists)
    made = parse_fork(path.read_text())
    assert made.digest == seen.digest
    assert verify_fork(made, victim.node.vkey).proven
    # For anybody: a program without network, the file, and the roster.
    roster_file = tmp_path / "roster"
    roster_file.write_bytes(world[ONE].records.roster.encode())
    done = subprocess.run(
        [sys.executable, "-m", "audit.cli.main", "verify", str(path), "--roster", str(roster_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6, done.stderr
    assert "Fork proven" in done.stdout

    # The victim and the peer that was deceived: the victim's own dial shows it the echo.
    victim.endpoints[OTHER] = world.endpoints[OTHER]
    await until(lambda: len(victim.bodies(Kind.OWN_KEY_MISUSE)) == 1)
    assert '"own-key-misused"' in victim.log.getvalue()
    await until(lambda: any((victim.home / "evidence").glob("own-key-*.fork")))
    (path,) = (victim.home / "evidence").glob("own-key-*.fork")
    assert verify_fork(parse_fork(path.read_text()), victim.node.vkey).proven
    assert victim.node.writer.failure is None
    await delivered(victim, one)  # the victim's sound log goes on


async def test_attacks_08_and_09_control_one_history_raises_no_alarm_row_17(tmp_path: Path) -> None:
    """Control: the same members, deliveries and gossip, and nobody in the victim's place."""
    world = World(tmp_path, (VICTIM, ONE, OTHER), settings=SETTINGS)
    async with world.serving():
        await world.connected()
        for sender in (VICTIM, ONE, OTHER):
            for recipient in {VICTIM, ONE, OTHER} - {sender}:
                await delivered(world[sender], world[recipient])
        for each in world.members.values():
            assert each.bodies(Kind.FORK_SEEN, Kind.OWN_KEY_MISUSE) == []
            assert not (each.home / "evidence").exists()
            assert '"alarm"' not in each.log.getvalue()
