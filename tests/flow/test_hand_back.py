"""Contents that were lost with a disk come back: from whom we sent them to, and from whom they came."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from audit.entry.entry import Kind
from exchange.acts.stored_bulletin import open_content
from exchange.recovery.hand_back import give, is_given
from exchange.store.rows import StoredBulletin, Wanted
from exchange.store.sqlite_backup import back_up
from keys.errors import RefusedError
from keys.identity import AgencyId
from tests.flow.recovering import recover
from tests.flow.test_recover import A, B, C, all_receipted, logs_verify, paired, verifiers
from tests.flow.world import Member, World, bulletin, bulletin_id, until
from tests.support.home_files import DATABASE, LOCK


def lose_contents(member: Member) -> None:
    """Put a backup in the place of a stopped node's database: whatever opens content is gone."""
    kept = member.home / "kept.db"
    back_up(member.home / DATABASE, kept)
    for suffix in ("", "-wal", "-shm"):
        (member.home / f"{DATABASE}{suffix}").unlink(missing_ok=True)
        (member.home / f"{LOCK}{suffix}").unlink(missing_ok=True)
    shutil.move(kept, member.home / DATABASE)


def stored(member: Member, sender: str, sent: bytes) -> StoredBulletin:
    found = member.node.reads.find(sender, sent)
    assert found is not None
    return found


def has_content(member: Member, sender: str, sent: bytes) -> bool:
    found = member.node.reads.find(sender, sent)
    content = member.node.reads.content(found.entry_index) if found is not None else None
    return content is not None and not content.erased and bool(content.body)


async def test_contents_come_back_from_recipients_and_senders(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        ours, theirs, urgent = bulletin(A, B, C), bulletin(B, A, C), bulletin(C, A, urgency=2)
        await world[A].publish(ours)
        await world[B].publish(theirs)
        await world[C].publish(urgent)
        await all_receipted(world, A, B, C)
        number = stored(world[A], A, bulletin_id(ours)).facts.number
        await world[A].stop()
        lose_contents(world[A])
        recovery = await recover(world, A)
        assert recovery.entered.wanted == 3
        await world[A].start()
        await world.connected()
        for sender, each in ((A, ours), (B, theirs), (C, urgent)):
            await until(lambda sender=sender, each=each: has_content(world[A], sender, bulletin_id(each)))
        await until(lambda: not world[A].node.reads.wanted(("", b""), 10))
        assert stored(world[A], A, bulletin_id(ours)).facts.number == number
        await all_receipted(world, A, B, C)
        for sender, each in ((A, ours), (B, theirs), (C, urgent)):
            kept = stored(world[A], sender, bulletin_id(each))
            content = world[A].node.reads.content(kept.entry_index)
            assert content is not None
            assert open_content(content, kept, world[A].node.view.storage).payload
        duplicates = world[A].bodies(Kind.DUPLICATE)
        assert len(duplicates) == 2
        asked = [len(world[B].bodies(Kind.QUEUED)), len(world[C].bodies(Kind.QUEUED))]
        assert asked == [3, 2], "one delivery more each, and none for every time that A asked"
        keys = verifiers(world, A, B, C)
    logs_verify(world, keys)
    found = paired(world, A, B, C)
    assert (found.one_sided, found.behind) == ([], [])


async def test_what_is_erased_recalled_or_anothers_is_not_given(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        ours, other = bulletin(A, B), bulletin(C, B)
        await world[A].publish(ours)
        await world[C].publish(other)
        await all_receipted(world, A, C)
        node, now_ms = world[B].node, stored(world[B], A, bulletin_id(ours)).at_ms
        kept = stored(world[B], A, bulletin_id(ours))
        wanted = Wanted(sender=A, bulletin_id=kept.bulletin_id, statement_digest=kept.statement_digest)

        def code(asked: Wanted, peer: str, at_ms: int = now_ms) -> str:
            try:
                give(asked, AgencyId(peer), node.view, node.reads, at_ms)
            except RefusedError as refusal:
                return refusal.code
            return ""

        assert code(wanted, A) == ""
        assert code(wanted, C) == "NOT_FOR_US"
        assert code(replace(wanted, statement_digest=bytes(32)), A) == "NO_SUCH_BULLETIN"
        assert code(replace(wanted, sender=B), A) == "NO_SUCH_BULLETIN"
        day_after = (kept.retain_until_day + 1) * 86_400_000
        assert code(wanted, A, day_after) == "KEY_GONE"
        sent = stored(world[C], C, bulletin_id(other))
        of_c = Wanted(sender=C, bulletin_id=sent.bulletin_id, statement_digest=sent.statement_digest)
        for peer, refused in ((A, "NOT_FOR_US"), (B, "")):
            try:
                give(of_c, AgencyId(peer), world[C].node.view, world[C].node.reads, now_ms)
                found = ""
            except RefusedError as refusal:
                found = refusal.code
            assert found == refused
        await node.writer.submit(lambda work: work.rows.erase(kept.entry_index))
        assert code(wanted, A) == "KEY_GONE"
        assert not is_given(node.reads, A, kept.bulletin_id, now_ms)
