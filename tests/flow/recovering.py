"""Recovery as ``exchange node recover`` does it, in the test's own event loop and with keys from memory."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from audit.note.checkpoint import Checkpoint
from exchange.recovery import swap_files
from exchange.recovery.first_group import Entered
from exchange.rpc.recovery import rebuild
from exchange.rpc.recovery.rebuild import Gathered
from exchange.rpc.transport.channel import Identity
from exchange.store.home_paths import Paths
from keys.certificate import private_pem
from keys.dsse import SignedPayload
from keys.epoch import open_epoch, read_end
from keys.errors import IntegrityError
from keys.identity import AgencyId
from tests.flow.world import Member, World
from tests.support.home_files import DATABASE

KEPT = ("tls.der",)  # beside the keys, which these tests have in memory


@dataclass(frozen=True)
class Recovery:
    """What came of it."""

    gathered: Gathered
    end: Checkpoint
    manifest: SignedPayload
    entered: Entered
    before: Path


def destroy(member: Member) -> None:
    """Delete a home but for what lies beside the keys."""
    for path in member.home.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def backup(member: Member, to: Path) -> None:
    """Copy a stopped node's database, as a backup does: never the lock."""
    to.mkdir(parents=True)
    for suffix in ("", "-wal"):
        source = member.home / f"{DATABASE}{suffix}"
        if source.exists():
            shutil.copyfile(source, to / source.name)


def restore(member: Member, kept: Path) -> None:
    """Put a backup's database in the place of the present one."""
    for suffix in ("", "-wal", "-shm"):
        (member.home / f"{DATABASE}{suffix}").unlink(missing_ok=True)
    for path in kept.iterdir():
        shutil.copyfile(path, member.home / path.name)


async def gather(world: World, agency: str, *without: str) -> tuple[Gathered, str | None]:
    """Ask the members, with what the home still knows."""
    member = world[agency]
    now_ms = time.time_ns() // 1_000_000
    look = member.home / "recovery.part"
    shutil.rmtree(look, ignore_errors=True)
    look.mkdir()
    paths = Paths(home=member.home)
    old: str | None = swap_files.copied_to(paths, look)
    try:
        store = swap_files.copy_database(paths, look)
    except IntegrityError:
        old = None
        view = rebuild.view_of_files(member.records.roster, [], member.keys.node, now_ms)
    else:
        view = rebuild.view_of_database(store.reads(), [], member.keys.node, now_ms)
        store.close()
    identity = Identity(leaf=member.keys.tls_leaf, private_pem=private_pem(member.keys.node.tls_private))
    addresses = {AgencyId(peer): where for peer, where in world.endpoints.items() if peer != agency}
    chosen = [AgencyId(each) for each in without]
    return await rebuild.gather(view, identity, addresses, chosen, now_ms), old


def sign(member: Member, note: str, gathered: Gathered) -> SignedPayload:
    """Do what whoever keeps the agency's root does."""
    view = gathered.view
    own = view.federation.roster.member(member.agency)
    assert own is not None
    before = view.federation.manifests[member.agency].signed
    return open_epoch(member.keys.root.root, before, read_end(note, own), time.time_ns() // 1_000_000)


async def recover(world: World, agency: str, *without: str) -> Recovery:
    """Do all of it; the node is stopped before and after."""
    member = world[agency]
    gathered, old = await gather(world, agency, *without)
    rebuild.save_recovered(member.home, gathered)
    note, end = rebuild.choose_end(gathered)
    rebuild.save_for_root(member.home, note, gathered)
    manifest = sign(member, note, gathered)
    now_us = time.time_ns() // 1000
    view = rebuild.check_manifest(manifest, gathered, now_us // 1000)
    part = swap_files.part_of(member.home, view.epoch)
    entered = swap_files.build(Paths(home=member.home), part, rebuild.plan_of(view, gathered), old, now_us, os.urandom)
    before = swap_files.change_places(Paths(home=member.home))
    shutil.rmtree(member.home / "recovery.part")
    return Recovery(gathered, end, manifest, entered, before)
