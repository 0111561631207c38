"""Rebuilding a node from its peers: what the home still knows, what each member gives back, and what follows from both.

All members are asked, because each holds what no other has. The checkpoint at which the lost epoch ended is the largest
that any of them has seen under our key; the agency's root signs it, offline, into the next manifest, and only with that
manifest a new epoch is built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from audit.entry.entry import parse_head
from audit.note.checkpoint import Checkpoint, SignatureLine, parse_note
from audit.note.cosignature import add_lines
from audit.note.epochs import check_first_entry, epoch_of_origin
from audit.verify.trust import policy_of
from exchange.acts.node_view import NodeView, end_of_epoch_before, newest_epoch
from exchange.evidence.epoch_proofs import RECOVERED, true_lines
from exchange.node.federation_store import restore_federation
from exchange.node.home import view_from
from exchange.records.receipt import Receipt, format_receipt
from exchange.recovery.proven_answers import Recovered, check_answer, last_seen
from exchange.recovery.swap_files import Plan
from exchange.rpc.audit.external_witness import known_sizes
from exchange.rpc.recovery import service
from exchange.rpc.recovery.service import PeerDial
from exchange.rpc.transport import status
from exchange.rpc.transport.channel import Identity
from exchange.rules import packaged_catalogue
from exchange.store.factory import read_old_entry
from exchange.store.store import Reads
from keys.dsse import SignedPayload
from keys.errors import RefusedError, UnavailableError
from keys.federation import Federation
from keys.files import PUBLIC, write_file
from keys.identity import AgencyId, short
from keys.key_files import NodeKeys
from keys.manifest import parse_manifest
from keys.roster import catalogue_digest

CHECKPOINT_FILE, MANIFEST_FILE = "checkpoint", "manifest"  # in it: what whoever keeps the root needs
AT_ONCE = 4  # members asked at the same time


class SilentError(UnavailableError):
    """A member gave no answer: what it holds would be missing."""

    def __init__(self, missing: Mapping[AgencyId, str]) -> None:
        told = "; ".join(f"{peer}: {why}" for peer, why in sorted(missing.items()))
        super().__init__(f"no answer from {told}", 60)
        names = " ".join(f"--without {peer}" for peer in sorted(missing))
        self.hint = f"try again when it is back; or give up what it alone holds: {names}"


class NobodyError(RefusedError):
    """No member has seen anything of the lost log."""

    def __init__(self, origin: str) -> None:
        super().__init__("NO_SUCH_BULLETIN", f"nobody holds a checkpoint of {origin}: there is nothing to go on from")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the members gave back, verified."""

    view: NodeView  # with every record that they hold
    recovered: tuple[Recovered, ...]
    without: tuple[AgencyId, ...]


def view_of_database(reads: Reads, records: Sequence[SignedPayload], keys: NodeKeys, now_ms: int) -> NodeView:
    """Return who we are by an old database, and by newer records here; errors as ``restore_federation``."""
    federation, catalogues = restore_federation(reads, now_ms)
    federation = _with_records(federation, records, now_ms)
    return view_from(federation, keys.agency, keys, reads.meta("pseudonym-key") or bytes(32), catalogues)


def view_of_files(roster: SignedPayload, records: Sequence[SignedPayload], keys: NodeKeys, now_ms: int) -> NodeView:
    """Return who we are by a roster alone, and whatever records are here; errors as their checks."""
    federation = _with_records(Federation.found(roster), records, now_ms)
    return view_from(federation, keys.agency, keys, bytes(32), {})


def _with_records(federation: Federation, records: Sequence[SignedPayload], now_ms: int) -> Federation:
    """Adopt what verifies and is newer; an old, expired or unsigned one teaches nothing and does no harm."""
    for signed in records:
        for adopt in (Federation.with_manifest, Federation.with_key_sheet):
            try:
                federation = adopt(federation, signed, now_ms)
            except RefusedError:
                continue
            break
    return federation


async def gather(
    view: NodeView,
    identity: Identity,
    addresses: Mapping[AgencyId, Sequence[str]],
    without: Sequence[AgencyId],
    now_ms: int,
) -> Gathered:
    """Ask every member that takes part, and verify what each gives back.

    Args:
        view: As far as the home knows.
        identity: What we show.
        addresses: Where members are; those that it lacks are looked up in their manifests.
        without: Not asked.
        now_ms: Milliseconds UTC.

    Raises:
        SilentError: Some gave no answer that verifies.
    """
    members = [each.agency for each in view.federation.roster.members if each.takes_part(now_ms)]
    asked = [each for each in members if each != view.agency and each not in without]
    turns = asyncio.Semaphore(AT_ONCE)
    found = await asyncio.gather(
        *(_ask(peer, view, identity, addresses.get(peer, ()), turns, now_ms) for peer in asked)
    )
    told = {peer: each for peer, each in zip(asked, found, strict=True) if isinstance(each, service.Told)}
    missing = {peer: each for peer, each in zip(asked, found, strict=True) if isinstance(each, str)}
    records = [record for each in told.values() for record in each.records]
    view = replace(view, federation=_with_records(view.federation, records, now_ms))
    view = replace(view, epoch=newest_epoch(view.federation, view.agency))
    recovered = []
    for peer, each in told.items():
        try:
            recovered.append(check_answer(each.answer, view))
        except RefusedError as refusal:
            missing[peer] = f"what it gives back does not verify: {refusal}"
    if missing:
        raise SilentError(missing)
    return Gathered(view=view, recovered=tuple(recovered), without=tuple(without))


async def _ask(
    peer: AgencyId,
    view: NodeView,
    identity: Identity,
    addresses: Sequence[str],
    turns: asyncio.Semaphore,
    now_ms: int,
) -> service.Told | str:
    """Ask one member at each of its addresses; say why where none answered."""
    known = view.federation.manifests.get(peer)
    why = "no address is known; name one with --peer, or give its manifest with --record"
    for address in addresses or (known.record.endpoints if known is not None else ()):
        try:
            async with turns:
                return await service.ask(
                    PeerDial(peer=peer, address=address, view=view, identity=identity, now_ms=now_ms)
                )
        except grpc.RpcError as error:
            made = status.error_of(error)
            why = f"{address}: {made}"
        except (RefusedError, UnavailableError) as error:
            why = f"{address}: {error}"
    return why


async def show_all(
    gathered: Gathered,
    identity: Identity,
    addresses: Mapping[AgencyId, Sequence[str]],
    note: str,
    prove: service.Prove,
    now_ms: int,
) -> str:
    """Show our closing checkpoint to every member that has answered, and add the lines that they give.

    Raises:
        SilentError: Nobody has taken it: then no member holds where the epoch ended.
    """
    missing: dict[AgencyId, str] = {}
    lines: list[SignatureLine] = []
    for each in gathered.recovered:
        known = gathered.view.federation.manifests.get(each.peer)
        for address in addresses.get(each.peer) or (known.record.endpoints if known is not None else ()):
            try:
                dial = PeerDial(peer=each.peer, address=address, view=gathered.view, identity=identity, now_ms=now_ms)
                given = await service.show(dial, note=note, prove=prove)
                lines += parse_note(add_lines(note, given)).signatures
                missing.pop(each.peer, None)
                break
            except grpc.RpcError as error:
                missing[each.peer] = f"{address}: {status.error_of(error)}"
            except (RefusedError, UnavailableError) as error:
                missing[each.peer] = f"{address}: {error}"
    if gathered.recovered and len(missing) == len(gathered.recovered):
        raise SilentError(missing)
    read = parse_note(note)
    kept = _true_lines([*read.signatures, *lines], read.checkpoint, gathered.view)
    return f"{read.checkpoint.text()}\n{''.join(map(str, kept))}"


async def check_witnesses(
    gathered: Gathered, witnesses: Mapping[str, str], keys: NodeKeys, without: Sequence[str]
) -> dict[str, int]:
    """Ask witnesses without a node what they hold of the lost log; none may hold more than any member.

    They tell a size and keep no entries: an end below it would cut off what they have cosigned, and they would cosign
    nothing more.

    Returns:
        What each holds, by name.

    Raises:
        SilentError: One gives no answer, and was not given up.
        RefusedError: RECEIPT_INVALID; one holds more.
    """
    view = gathered.view
    asked = {name: prefix for name, prefix in witnesses.items() if name not in without}
    found = await known_sizes(asked, view.origin, keys.log)
    if missing := {AgencyId(name): each for name, each in found.items() if isinstance(each, str)}:
        raise SilentError(missing)
    seen = last_seen(gathered.recovered, view.origin)
    most = seen[1].size if seen is not None else 0
    sizes = {name: each for name, each in found.items() if isinstance(each, int)}
    for name, size in sizes.items():
        if size > most:
            raise RefusedError(
                "RECEIPT_INVALID",
                f"{name} has cosigned size {size} of {view.origin}, and no member has seen more than {most}: a member"
                f" that is left out, or a newer copy of this home, has the rest; or give it up: --without {name}",
            )
    return sizes


def choose_end(gathered: Gathered) -> tuple[str, Checkpoint]:
    """Choose where the lost epoch ended, with all signature lines that anybody has for that checkpoint.

    Raises:
        RefusedError: EQUIVOCATION, as ``last_seen``.
        NobodyError: No member has seen anything.
    """
    found = last_seen(gathered.recovered, gathered.view.origin)
    if found is None:
        raise NobodyError(gathered.view.origin)
    _, end = found
    given = [
        line
        for answer in gathered.recovered
        for note, checkpoint in answer.notes
        if checkpoint == end
        for line in parse_note(note).signatures
    ]
    return f"{end.text()}\n{''.join(map(str, _true_lines(given, end, gathered.view)))}", end


def _true_lines(given: Sequence[SignatureLine], end: Checkpoint, view: NodeView) -> list[SignatureLine]:
    """Keep what is true of the lines of notes that were verified."""
    policy = policy_of(view.federation.roster, view.agency)
    return true_lines(given, end, view.key_of(view.agency, end.origin), policy)


def check_manifest(signed: SignedPayload, gathered: Gathered, now_ms: int) -> NodeView:
    """Judge the manifest that opens the new epoch; returns our view in it.

    1. It is ours, under our root, and newer than the one in force. 2. It opens exactly one epoch more. 3. Where it
    says that the epoch before ended, a member holds that very checkpoint; 4. and no member holds a larger one.

    Raises:
        RefusedError: WRONG_MAKER, MALFORMED, RECEIPT_INVALID and those of manifests.
    """
    view = gathered.view
    maker = parse_manifest(signed.payload).agency
    if maker != view.agency:
        raise RefusedError("WRONG_MAKER", f"the manifest is {maker}'s, not {view.agency}'s")  # 1
    federation = view.federation.with_manifest(signed, now_ms)
    ours = view.federation.manifests.get(view.agency)
    known = [each.epoch for each in parse_manifest(signed.payload).log_epochs]
    same = ours is not None and ours.signed.payload == signed.payload  # a recovery that is repeated
    before = view.epoch - 1 if same else view.epoch
    if known[-1] != before + 1:  # 2
        raise RefusedError("MALFORMED", f"the manifest is in epoch {known[-1]}; epoch {before + 1} was expected")
    end = end_of_epoch_before(federation, view.agency, known[-1])
    member = federation.roster.member(view.agency)
    if end is None or member is None or end.origin != member.origin(before):
        raise RefusedError("MALFORMED", f"the manifest opens epoch {known[-1]} after another log than our own")
    _check_seen(end, gathered)
    return replace(view, federation=federation, epoch=known[-1])


def is_there(old: str | None, view: NodeView) -> bool:
    """Return whether a home's store, copied to *old*, is of this very epoch already: the recovery took place before."""
    if old is None or view.before is None:
        return False
    try:
        check_first_entry(parse_head(read_old_entry(old, 0)).previous, view.origin, view.before)
    except (RefusedError, UnavailableError):
        return False
    return True


def plan_of(view: NodeView, gathered: Gathered) -> Plan:
    """Put together what is built.

    Raises:
        RefusedError: ROSTER_UNKNOWN where the roster's catalogue is not this program's.
    """
    wanted, packaged = view.federation.roster.catalogue_digest, packaged_catalogue().files
    known = view.catalogues.get(wanted)
    files = known.files if known is not None else packaged
    if catalogue_digest(files) != wanted:
        raise RefusedError("ROSTER_UNKNOWN", f"the roster names catalogue {short(wanted)}, which is not here")
    if view.before is None:
        raise AssertionError("the manifest was judged")
    return Plan(view=view, end=view.before, recovered=gathered.recovered, without=gathered.without, catalogue=files)


def _check_seen(end: Checkpoint, gathered: Gathered) -> None:
    shown = [(each.peer, c) for each in gathered.recovered for _, c in each.notes if c.origin == end.origin]
    if all(checkpoint != end for _, checkpoint in shown):  # 3
        raise RefusedError(
            "RECEIPT_INVALID",
            f"the manifest says that {end.origin} ended at size {end.size}, root {short(end.root)}: no member holds that",
        )
    for peer, checkpoint in shown:  # 4
        if checkpoint.size > end.size:
            raise RefusedError(
                "RECEIPT_INVALID",
                f"the manifest says that {end.origin} ended at size {end.size}, {peer} has seen {checkpoint.size}:"
                " sign one that begins after that",
            )


def save_recovered(home: Path, gathered: Gathered) -> Path:
    """Keep what members gave back as files that any auditor can use, whatever becomes of the database.

    ``recovered/PEER/sent/…`` are their receipts for what we sent, ``recovered/PEER/given/…`` our own for what they
    sent, both as tlog-proofs; ``recovered/PEER/checkpoint-EPOCH`` is what they saw of our log.
    """
    folder = home / RECOVERED
    for answer in gathered.recovered:
        member_folder = folder / answer.peer
        for name in ("sent", "given"):
            (member_folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for note, checkpoint in answer.notes:
            _save(member_folder / f"checkpoint-{checkpoint.origin.rpartition('/')[2]}", note.encode())
        for each in answer.deliveries:
            _save(
                member_folder / "sent" / _name(each.lane.lane_class.name, each.lane.epoch, each.sequence),
                _text(each.receipt),
            )
            if each.dispatch is not None:
                _save(member_folder / "sent" / f"{each.dispatch_digest.hex()[:16]}.dispatch", each.dispatch.encode())
        for given in answer.receipts:
            lane = given.lane
            _save(
                member_folder / "given" / _name(lane.lane_class.name, lane.epoch, given.sequence), _text(given.receipt)
            )
    return folder


def _name(lane_class: str, epoch: int, sequence: int) -> str:
    return f"{lane_class.lower()}-{epoch}-{sequence:09d}.tlog-proof"


def _text(receipt: Receipt) -> bytes:
    return format_receipt(receipt).encode()


def _save(path: Path, data: bytes) -> None:
    """Write a file whole; there are many of them, and all are asked for again if the machine stops now."""
    if path.exists() and path.read_bytes() == data:
        return
    write_file(path, data, mode=PUBLIC, replace=True, durable=False)


def save_for_root(home: Path, note: str, gathered: Gathered) -> tuple[Path, Path | None]:
    """Write what whoever keeps the root needs: the checkpoint, and our newest manifest where it is known."""
    folder = home / RECOVERED
    folder.mkdir(mode=0o700, exist_ok=True)
    write_file(folder / CHECKPOINT_FILE, note.encode(), mode=PUBLIC, replace=True)
    # The next recovery writes another one there; whoever stands before this end must be shown it still.
    epoch = epoch_of_origin(parse_note(note).checkpoint.origin)
    write_file(folder / f"{CHECKPOINT_FILE}-{epoch}", note.encode(), mode=PUBLIC, replace=True)
    known = gathered.view.federation.manifests.get(gathered.view.agency)
    if known is None:
        return folder / CHECKPOINT_FILE, None
    write_file(folder / MANIFEST_FILE, known.signed.encode(), mode=PUBLIC, replace=True)
    return folder / CHECKPOINT_FILE, folder / MANIFEST_FILE
