"""The demo: the packaged bulletins between the agencies that they name, then an auditor, then a forger who is caught.

Everything is the product itself: keys, nodes, mutual TLS, officers' programs, logs and the verifier. What is easier
than in life is in ``demo_world``.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.entry.entry import Kind, parse_body, parse_entry
from audit.report.show import read_range
from audit.tiles.tile_names import CHECKPOINT
from audit.tiles.tiles import TileFolder
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.trust import policy_of, trust_of
from audit.verify.trust_steps import SourcedKey
from audit.verify.verdict import Report
from audit.verify.verify import verify_log
from audit.verify.witnesses import WitnessRules
from exchange.acts.retention_rules import day_of
from exchange.acts.stored_bulletin import retention_of
from exchange.client import Client, Sent, Surroundings
from exchange.demo.nodes import Nodes
from exchange.demo.world import OFFICER, ROSTER_FILE, DemoAgency, Example, World, found_world
from exchange.store.factory import open_store
from exchange.store.home_paths import LOG_FOLDER, PEERS_FOLDER, Paths
from exchange.store.rows import DeliveryState
from keys.identity import AgencyId
from keys.roster import parse_roster, roster_digest, words

ARRIVE_SECONDS = 300.0  # for the receipts of one wave; they take milliseconds once the streams are open
PATIENT = Surroundings(deadline_seconds=ARRIVE_SECONDS)
LOOK_SECONDS = 0.05
TAMPERED = "tampered"
CASE, REASON = "EXERCISE 2025/01", "exercise: every addressee reads what it was sent"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """What a demo came to, counted from the databases."""

    folder: Path
    agencies: tuple[tuple[DemoAgency, str, int], ...]  # with origin and size of the log
    bulletins: int
    deliveries: int
    receipts: int
    example: tuple[AgencyId, str]  # somebody who both sent and received, and the number of what was received
    tampered: AgencyId  # whose log's copy was altered
    reports: Mapping[AgencyId, Report]
    refuted: Report

    def to_json(self) -> dict[str, Any]:
        """Build the one object of ``exchange demo --json``."""
        return {
            "agencies": [
                {"id": agency.id, "home": str(agency.home), "origin": origin, "size": size}
                for agency, origin, size in self.agencies
            ],
            "bulletins": self.bulletins,
            "deliveries": self.deliveries,
            "receipts": self.receipts,
        }


def run_demo(folder: Path, tell: Tell, *, random_bytes: Callable[[int], bytes] = os.urandom) -> DemoOutcome:
    """Run all of it in a folder that is empty or not there.

    Args:
        folder: Keeps homes, roster and the altered copy.
        tell: Gets the story, a line at a time.
        random_bytes: The source of all keys.

    Raises:
        RuntimeError: Something did not come out as it must; the demo is a test, too.
    """
    begun = time.monotonic()
    tell("The agencies that 25 real bulletins name found a federation; each makes its keys:")
    world = found_world(folder, now_us=time.time_ns() // 1000, random_bytes=random_bytes)
    _tell_founding(world, tell)
    nodes = Nodes(world)
    tell(f"Their nodes run: {len(world.agencies)} on loopback, mutual TLS 1.3, each follows all others.")
    try:
        with ExitStack() as lines:
            clients = {
                each.id: lines.enter_context(
                    Client.connect(each.home, OFFICER, keys=each.officer_keys, surroundings=PATIENT)
                )
                for each in world.agencies
            }
            _publish_all(world, clients, tell)
            _read_all(world, clients, tell)
            tell("")
            tell("The nodes stop. Before, each has the end of its log cosigned by the others: from now on not even")
            tell("its own operator can rewrite it unseen.")
    finally:
        nodes.stop()
    tell("")
    tell("The nodes have stopped. An auditor comes, with the roster, the logs, and no network.")
    outcome = _audit(world, tell)
    tell(f"All this took {time.monotonic() - begun:.0f} s.")
    return outcome


def _tell_founding(world: World, tell: Tell) -> None:
    roster = parse_roster(world.roster.payload)
    names = [each.id for each in world.agencies]
    for at in range(0, len(names), 9):
        tell(f"  {'  '.join(names[at : at + 9])}")
    tell(f"{len(names)} agencies have signed roster 1 of {roster.federation_name}; homes, keys and logs are under")
    tell(f"{world.folder}. Its twelve words, which people compare over the telephone:")
    found = words(roster_digest(world.roster))
    for half in (found[:6], found[6:]):
        tell(f"  {' '.join(half)}")


# ------------------------------------------------------------------ bulletins


def waves(examples: Sequence[Example]) -> Iterator[tuple[Example, ...]]:
    """Order bulletins so that each comes after those that it answers, corrects or recalls."""
    known = {each.bulletin_id for each in examples}
    done: set[str] = set()
    left = list(examples)
    while left:
        ready = tuple(each for each in left if each.targets & known <= done)
        if not ready:
            raise RuntimeError("the bulletins refer to one another in a circle")
        yield ready
        done |= {each.bulletin_id for each in ready}
        left = [each for each in left if each not in ready]


def _publish_all(world: World, clients: Mapping[AgencyId, Client], tell: Tell) -> None:
    for number, wave in enumerate(waves(world.examples), start=1):
        tell("")
        first = "Bulletins that stand alone" if number == 1 else "Bulletins about those: replies, corrections, a recall"
        tell(f"{first}; each is signed by its author, sealed for its addressees alone, logged, receipted:")
        for each in wave:
            author = AgencyId(each.bulletin.header.originator)
            published = clients[author].publish(each.text)
            tell(f"  {each.name[:2]}  {published.number:<30} to {_several(published.recipients)}")
        _await_receipts(wave, clients)
        tell("  Every recipient's node has verified, opened and logged them; the senders hold their receipts.")


def _several(names: Sequence[str]) -> str:
    return ", ".join(names)


def _await_receipts(wave: Sequence[Example], clients: Mapping[AgencyId, Client]) -> None:
    """Wait until each sender holds a RECEIVED receipt of each recipient, verified by the sender's own program."""
    deadline = time.monotonic() + ARRIVE_SECONDS
    waiting = {each.bulletin_id for each in wave}
    for author in {AgencyId(each.bulletin.header.originator) for each in wave}:
        while missing := [sent for sent in clients[author].outbox() if sent.bulletin_id in waiting and _waits(sent)]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{author}: no receipts for {', '.join(each.number for each in missing)}")
            time.sleep(LOOK_SECONDS)


def _waits(sent: Sent) -> bool:
    for each in sent.recipients:
        if each.state not in (DeliveryState.WAITING, DeliveryState.RECEIVED):
            raise RuntimeError(f"{sent.number} to {each.agency}: {each.word} {each.reason}")
    return any(each.state == DeliveryState.WAITING for each in sent.recipients)


def _read_all(world: World, clients: Mapping[AgencyId, Client], tell: Tell) -> None:
    """Have every addressee's officer read everything that came."""
    count = 0
    example = ""
    for agency in world.agencies:
        client = clients[agency.id]
        for item in client.inbox():
            opened = client.read(item, case=CASE, because=REASON)
            count += 1
            if opened.bulletin.WhichOneof("body") == "lookout":
                expires = opened.bulletin.header.expires_at.ToDatetime().date()
                example = f"The lookout of 2022 crossed all the same; readers see that it EXPIRED on {expires}."
    tell("")
    tell(f"Officers of the addressees read: {count} readings. Each request, with case and reason, was signed and")
    tell("stood in the log before the node opened anything; each author's signature was verified once more.")
    if example:
        tell(example)


# ------------------------------------------------------------------ the auditor


def _audit(world: World, tell: Tell) -> DemoOutcome:
    reports = {each.id: _verify(world, each) for each in world.agencies}
    for name, report in reports.items():
        if report.exit_code:
            raise RuntimeError(f"the log of {name}: {report.verdict}")
        if report.witnessed != report.size:
            raise RuntimeError(f"the log of {name} is witnessed to {report.witnessed} of {report.size}")
    entries = sum(report.size or 0 for report in reports.values())
    tell(f"  {len(reports)} logs, {entries:,} entries: every one recomputed, each against what its peers hold of it.")
    least, quorum = _cosigners(world)
    tell(f"  Every log is witnessed to its last entry: at least {least} others have cosigned it, {quorum} are enough.")
    victim = max(world.agencies, key=lambda each: reports[each.id].size or 0)
    refuted, index = _tamper(world, victim)
    tell(f"Somebody alters one byte in a copy of the log of {victim.id}: entry {index}, where a bulletin was opened.")
    tell(f"  The verifier says: {refuted.verdict}")
    deliveries, receipts, bulletins = _count(world)
    tell("")
    tell(
        f"{bulletins} bulletins, {deliveries} deliveries, {receipts} receipts, each in two logs that prove each other."
    )
    return DemoOutcome(
        folder=world.folder,
        agencies=tuple((each, str(reports[each.id].origin), reports[each.id].size or 0) for each in world.agencies),
        bulletins=bulletins,
        deliveries=deliveries,
        receipts=receipts,
        example=find_example(world.examples, day_of(time.time_ns() // 1_000_000)),
        tampered=victim.id,
        reports=reports,
        refuted=refuted,
    )


def _verify(world: World, agency: DemoAgency, folder: Path | None = None) -> Report:
    """Verify a log as ``exchange audit verify --roster --against`` does: key and external checkpoints."""
    member = parse_roster(world.roster.payload).member(agency.id)
    if member is None:
        raise RuntimeError(f"{agency.id} is not in its own roster")
    trust = trust_of(world.folder / ROSTER_FILE, member.origin(1))
    return verify_log(
        folder or agency.home / LOG_FOLDER,
        key=SourcedKey(trust.key, trust.source),
        witnesses=WitnessRules(policy=trust.policy, source=trust.source, log_mldsa44=trust.mldsa44),
        external=[
            ExternalCheckpoint(name=str(path), data=path.read_bytes())
            for path in seen_by_others(world.folder, agency.id)
        ],
    )


def _cosigners(world: World) -> tuple[int, int]:
    """Count the cosignatures under the last checkpoint that has fewest, and say how many make a quorum."""
    roster = parse_roster(world.roster.payload)
    notes = {each.id: (each.home / LOG_FOLDER / CHECKPOINT).read_text("utf-8") for each in world.agencies}
    return min(len(policy_of(roster, name).judge(note).names) for name, note in notes.items()), roster.witness_quorum


def seen_by_others(folder: Path, agency: str) -> list[Path]:
    """List the checkpoints of an agency's log that other agencies hold, the newest first."""
    return sorted(
        path
        for path in folder.glob(f"*/{PEERS_FOLDER}/{agency}/checkpoint")
        if path.parts[-4] not in (agency, TAMPERED)
    )


def _tamper(world: World, victim: DemoAgency) -> tuple[Report, int]:
    """Copy a log, alter one byte of an OPENED entry in the copy, verify the copy."""
    source, copy = victim.home / LOG_FOLDER, world.folder / TAMPERED / victim.id / LOG_FOLDER
    shutil.copytree(source, copy)
    log = TileFolder(source)
    wanted = next(entry for entry in read_entries(log) if parse_body(parse_entry(entry).body).kind == Kind.OPENED)
    for path in (copy / "tile" / "entries").rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        at = data.find(wanted)
        if at >= 0:
            position = at + len(wanted) - 1
            path.chmod(0o600)
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            path.chmod(0o444)
    refuted = _verify(world, victim, copy)
    if refuted.exit_code != 6:
        raise RuntimeError(f"the altered log of {victim.id} was not refuted: {refuted.verdict}")
    return refuted, parse_entry(wanted).index


def read_entries(log: TileFolder) -> Iterator[bytes]:
    """Yield a log's entries from its files."""
    for _, entry in read_range(log, 0, None):
        yield entry


def find_example(examples: Sequence[Example], today: int) -> tuple[AgencyId, str]:
    """Choose a bulletin whose reader also writes, one about persons if there is one; it is worth a look.

    Not one past its date, days since 1970: a node that starts again erases that first of all.
    """
    writers = {each.bulletin.header.originator for each in examples}
    kept = [each for each in examples if not (day := retention_of(each.bulletin)[1]) or day > today]
    for each in sorted(kept, key=lambda example: not example.bulletin.persons):
        for addressee in each.bulletin.header.addressees:
            if addressee.agency in writers:
                return AgencyId(addressee.agency), each.bulletin.header.number
    raise RuntimeError("nobody both sends and receives")


def _count(world: World) -> tuple[int, int, int]:
    """Count deliveries, receipts and bulletins in the databases."""
    deliveries = receipts = bulletins = 0
    for agency in world.agencies:
        store = open_store(Paths(home=agency.home).store)
        try:
            reads = store.reads()
            bulletins += len(reads.stored_since(0, 1000, sent=True))
            for lane in reads.lanes():
                rows = reads.outbound(lane.row, 0, 1000) if lane.outgoing else []
                deliveries += len(rows)
                receipts += sum(1 for row in rows if row.receipt)
        finally:
            store.close()
    return deliveries, receipts, bulletins
