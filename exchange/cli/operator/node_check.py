"""Everything that a node needs, examined in order; each line says what was found, and what to do where it is wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grpc

from audit.log.lock import check_start
from audit.log.lock_factory import open_lock
from exchange.acts.node_view import end_of_epoch_before, newest_epoch
from exchange.cli.operator.addresses import addresses_of, own_address_misfit
from exchange.cli.operator.admin_client import silent_peers
from exchange.node.config import NodeConfig, load_config, paths_of
from exchange.node.federation_store import restore_federation
from exchange.node.home import MAX_BEHIND_MS, check_startable, clock_behind_ms
from exchange.node.node import now_ms, open_log
from exchange.rpc.transport.caller import check_pin
from exchange.rpc.transport.channel import peer_channel, probe, probe_context
from exchange.rpc.transport.status import error_of
from exchange.store.factory import engine_version, open_store
from exchange.store.home_paths import Paths
from exchange.store.store import NodeStore
from exchange.v1 import node_pb2, node_pb2_grpc
from keys import certificate
from keys.agency import TLS_FILE
from keys.countdown import STEPS, deadlines, warned
from keys.durations import DAY_MS
from keys.errors import IntegrityError, RefusedError, UnavailableError
from keys.federation import GRACE_MS, Federation
from keys.identity import AgencyId
from keys.key_files import ROOT_FOLDER, NodeKeys, load_node
from keys.node_certificates import leaf_ends_ms
from keys.refusals import Cure, Exit, cured_by
from keys.roster import Member

WARN_DAYS = STEPS[0]
WINDOW_DAYS = 25  # a node that runs has 30 days of windows ahead
OLD_MAIL = "what there is can be read"
RENEW = "exchange node renewal-request, then exchange keys renew where the agency's root lies"
MIN_FREE_BYTES = 1 << 30
CALL_SECONDS = 5.0
OURS_WRONG, PEER_WRONG = Exit.UNVERIFIED, Exit.INCOMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """One line of the examination."""

    name: str
    result: Literal["ok", "WARN", "FAIL"]
    detail: str
    hint: str = ""
    peer: bool = False


def exit_code(findings: Sequence[CheckFinding]) -> int:
    """Sum up: 6 if the node itself is not in order, 7 if a peer cannot be reached."""
    failed = [each for each in findings if each.result == "FAIL"]
    if any(not each.peer for each in failed):
        return OURS_WRONG
    return PEER_WRONG if failed else 0


def examine(home: Path, passphrase: Callable[[str], bytes], now_ms: int) -> list[CheckFinding]:
    """Examine a home and its peers.

    1 settings; 2 keys, and that the root's are not beside them; 3 storage; 4 clock, since to a wrong one all that follows seems expired or not yet to hold;
    5 log against lock; 6 roster; 7 own records; then each peer.

    Args:
        home: The node's.
        passphrase: Gives the node's passphrase.
        now_ms: Milliseconds UTC.

    Raises:
        FileNotFoundError: There is no such home.
        RefusedError: UNOPENABLE: nothing is examined without the node's passphrase.
    """
    config = load_config(home)
    findings = [CheckFinding(name="settings", result="ok", detail=f"{config.agency}, peers at {config.listen}")]  # 1
    try:
        check_startable(home)
    except IntegrityError as error:
        return [*findings, _ended("home", str(error), getattr(error, "hint", ""))]
    try:
        keys = load_node(home, lambda: passphrase(str(config.agency)))
    except FileNotFoundError as error:
        return [*findings, _ended("keys", f"{error.filename} is missing")]
    findings.append(_keys(keys, config, now_ms))  # 2
    findings += _root(home)
    findings.append(_storage(home))  # 3
    try:
        store = open_store(paths_of(home).store)
    except IntegrityError as error:
        return [*findings, _ended("database", str(error))]
    try:
        findings.append(_clock(store, now_ms))  # 4
        federation, _ = restore_federation(store.reads(), now_ms)
        findings.append(_log(store, federation, config, home))  # 5
        findings += records(federation, config.agency, now_ms)  # 6, 7
        findings += _ending(home, federation, config.agency, now_ms)
        findings += _listener(home, config, federation)
        others = [each.agency for each in federation.roster.members if each.agency != config.agency]
        addresses = {each: addresses_of(each, federation, store.reads(), config) for each in others}
    except IntegrityError as error:
        wrong_clock = findings[-1].name == "clock" and findings[-1].result == "FAIL"
        return [*findings, _ended("database", str(error), "set the clock first" if wrong_clock else "")]
    finally:
        store.close()
    return [*findings, *away(home), *asyncio.run(_peers(home, keys, federation, addresses, now_ms))]


def records(federation: Federation, agency: AgencyId, now_ms: int) -> list[CheckFinding]:
    """Examine what expires: the roster, and an agency's manifest and key sheet."""
    return [_roster(federation, now_ms), _records(federation, agency, now_ms)]


def warnings(store: NodeStore, federation: Federation, config: NodeConfig, home: Path) -> list[CheckFinding]:
    """Return what a node should report when it starts: its clock, what expires, an address that nobody is told."""
    at_ms = now_ms()
    found = [_clock(store, at_ms), *records(federation, config.agency, at_ms), *_listener(home, config, federation)]
    return [each for each in found if each.result != "ok"]


def _listener(home: Path, config: NodeConfig, federation: Federation) -> list[CheckFinding]:
    """Return that peers are told another port than the one we listen on; nothing where they are told the right one."""
    known = federation.manifests.get(config.agency)
    if known is None:
        return []
    detail, hint = own_address_misfit(home, config.listen, known.record.endpoints, known.record.version)
    return [CheckFinding(name="listen", result="WARN", detail=detail, hint=hint)] if detail else []


def away(home: Path) -> list[CheckFinding]:
    """Return the peers that stay away although something waits for them, as the running node knows."""
    hint = "can it dial us? the address in our manifest is the one that it tries; what it says itself is below"
    return [
        CheckFinding(name=peer, result="FAIL", detail=sentence, hint=hint, peer=True)
        for peer, sentence in silent_peers(home)
    ]


def _ended(name: str, detail: str, hint: str = "") -> CheckFinding:
    return CheckFinding(name=name, result="FAIL", detail=detail, hint=hint or "nothing after this was examined")


def _keys(keys: NodeKeys, config: NodeConfig, now_ms: int) -> CheckFinding:
    if keys.agency != config.agency:
        detail = f"they are {keys.agency}'s, and node.toml says {config.agency}"
        return CheckFinding(name="keys", result="FAIL", detail=detail, hint="this is another agency's home")
    last = max((each.until_ms for each in keys.encryption), default=0)
    days = (last - now_ms) // DAY_MS
    detail = f"open; {len(keys.encryption)} encryption keys, the last for {days} more days"
    if days < 0:
        detail = "open; the last encryption key's window is over, so that nobody can seal anything for us"
    if days < WINDOW_DAYS:
        hint = "the node makes the next ones as it starts and once a day; no-key-sheet in its log says why not"
        return CheckFinding(name="keys", result="WARN", detail=detail, hint=hint)
    return CheckFinding(name="keys", result="ok", detail=detail)


def _root(home: Path) -> list[CheckFinding]:
    """Examine whether the root's keys lie here, with which whoever has this machine could speak for the agency."""
    folder = home / ROOT_FOLDER
    if not folder.exists():
        return []
    detail = f"{folder}: the root's keys lie on the node"
    hint = f"move {folder} to a machine that is never connected, with its passphrase, and keep a second copy apart"
    return [CheckFinding(name="root", result="FAIL", detail=detail, hint=hint)]


def _storage(home: Path) -> CheckFinding:
    free = shutil.disk_usage(home).free
    detail = f"{engine_version(paths_of(home).store)}, {free >> 30} GiB free"
    if free < MIN_FREE_BYTES:
        return CheckFinding(name="storage", result="WARN", detail=detail, hint="a full disk stops the node")
    return CheckFinding(name="storage", result="ok", detail=detail)


def _log(store: NodeStore, federation: Federation, config: NodeConfig, home: Path) -> CheckFinding:
    paths = Paths(home=home)
    member = federation.roster.member(config.agency)
    if member is None:
        return CheckFinding(
            name="log", result="FAIL", detail=f"{config.agency} is not in the roster", hint="ask its makers"
        )
    lock = None
    try:
        lock = open_lock(paths.lock)
        epoch = newest_epoch(federation, config.agency)
        end = end_of_epoch_before(federation, config.agency, epoch)
        log = open_log(member.origin(epoch), end, store.reader(), store.name)
        check_start(log, lock, store.reader(), store.name)
    except IntegrityError as error:
        hint = "stop every other copy and bring back the newest node.db; else: exchange node recover --from-peers"
        return CheckFinding(name="log", result="FAIL", detail=str(error), hint=hint)
    finally:
        if lock is not None:
            lock.close()
    return CheckFinding(name="log", result="ok", detail=f"{log.size:,} entries, the database is what the lock says")


def _roster(federation: Federation, now_ms: int) -> CheckFinding:
    ends_ms = federation.roster.expires_ms
    days, grace = (ends_ms - now_ms) // DAY_MS, (ends_ms + GRACE_MS - now_ms) // DAY_MS
    detail = f"{federation.roster.version} of {federation.name}, {len(federation.roster.members)} members"
    if days >= 0:
        detail = f"{detail}, {days} days left"
        return CheckFinding(name="roster", result="WARN" if days < WARN_DAYS else "ok", detail=detail)
    goes_on = f"traffic goes on for {grace} more days" if grace >= 0 else f"traffic has stopped, {OLD_MAIL}"
    hint = "the federation's owners sign a new one"
    return CheckFinding(name="roster", result="FAIL", detail=f"{detail}, ended {-days} days ago; {goes_on}", hint=hint)


def _records(federation: Federation, agency: AgencyId, now_ms: int) -> CheckFinding:
    try:
        manifest = federation.manifest(agency, now_ms)
    except RefusedError as error:
        detail = f"{error}: nothing is signed or accepted for us, {OLD_MAIL}"
        return CheckFinding(name="records", result="FAIL", detail=detail, hint=RENEW)
    try:
        sheet = federation.key_sheet(agency, now_ms)
    except RefusedError as error:
        hint = "the node makes a new one as it starts"
        return CheckFinding(name="records", result="FAIL", detail=str(error), hint=hint)
    days = (manifest.expires_ms - now_ms) // DAY_MS
    detail = f"manifest {manifest.version}, key sheet {sheet.version}, {days} days left"
    if days < WARN_DAYS:
        return CheckFinding(name="records", result="WARN", detail=detail, hint=RENEW)
    return CheckFinding(name="records", result="ok", detail=detail)


def _ending(home: Path, federation: Federation, agency: AgencyId, now_ms: int) -> list[CheckFinding]:
    """Warn of the node's certificate in its countdown; roster, manifest and windows have a line of their own."""
    ends = deadlines(federation, agency, leaf_ends_ms(home))
    return [
        CheckFinding(name=each.what, result="WARN", detail=each.told(now_ms), hint=each.cure)
        for each in warned(ends, now_ms)
        if each.what == "certificate"
    ]


def _clock(store: NodeStore, now_ms: int) -> CheckFinding:
    behind_ms = clock_behind_ms(store.reads(), now_ms)
    if behind_ms > MAX_BEHIND_MS:
        hint = "set this machine's clock; if it is right, the node once ran with one ahead, and repeats that last time"
        return CheckFinding(
            name="clock", result="FAIL", detail=f"{_span(behind_ms)} behind the log's last entry", hint=hint
        )
    return CheckFinding(name="clock", result="ok", detail=f"{_span(-behind_ms)} after the log's last entry")


def _span(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    for length, name in ((DAY_MS // 1000, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


async def _peers(
    home: Path, keys: NodeKeys, federation: Federation, addresses: Mapping[AgencyId, list[str]], now_ms: int
) -> list[CheckFinding]:
    found = await asyncio.gather(
        *(_peer(home, keys, federation, peer, known, now_ms) for peer, known in addresses.items())
    )
    return list(found)


async def _peer(
    home: Path, keys: NodeKeys, federation: Federation, peer: AgencyId, addresses: list[str], now_ms: int
) -> CheckFinding:
    """Dial a peer as the node does: 1 its record, then at each address until one is right."""
    try:
        federation.manifest(peer, now_ms)  # 1
    except RefusedError as error:
        return _wrong(peer, str(error), "exchange node adopt its manifest and key sheet")
    member = federation.roster.member(peer)
    if not addresses or member is None:
        return _wrong(peer, "nobody says where it is", f'write {peer} = "host:port" under [peers] in node.toml')
    found = []
    for address in addresses:
        found.append(await _peer_at(home, keys, federation, member, address, now_ms))
        if found[-1].result == "ok":
            return found[-1]
    return _wrong(peer, "; ".join(each.detail for each in found), found[0].hint)


async def _peer_at(
    home: Path, keys: NodeKeys, federation: Federation, member: Member, address: str, now_ms: int
) -> CheckFinding:
    """Dial a peer at one address: 2 one TLS handshake and its pin, 3 one call, with our certificate."""
    peer, name = member.agency, certificate.node_name(member.agency, federation.name)
    try:
        context = probe_context(member.tls_ca)
        await probe(address, context, name, lambda leaf: check_pin(leaf, peer, federation, now_ms))  # 2
    except UnavailableError as error:
        return _wrong(peer, f"{address}: {error}", "is it running, and is this its address?")
    except RefusedError as error:
        expired = error.code in cured_by(Cure.RENEWAL)
        why = "what we hold of it has expired" if expired else "its certificate changed"
        return _wrong(peer, f"{address}: {error}", f"{why}: exchange node adopt its new manifest and key sheet")
    refused = await _call(home, keys, member.tls_ca, name, address)  # 3
    if refused is not None:
        hint = "it has not adopted our present key sheet yet"
        return _wrong(peer, f"{address}: it refuses us: {refused}", hint)
    return CheckFinding(
        name=peer, result="ok", detail=f"{address}: TLS, name and pin are right; it knows us", peer=True
    )


def _wrong(peer: AgencyId, detail: str, hint: str) -> CheckFinding:
    return CheckFinding(name=peer, result="FAIL", detail=detail, hint=hint, peer=True)


async def _call(home: Path, keys: NodeKeys, ca: bytes, name: str, address: str) -> Exception | None:
    """Ask a peer for its checkpoint with our certificate."""
    private = certificate.private_pem(keys.tls_private)
    async with peer_channel(address, ca, (home / TLS_FILE).read_bytes(), private, name) as channel:
        try:
            request = node_pb2.CheckpointRequest()
            await node_pb2_grpc.AuditLogStub(channel).Checkpoint(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            return error_of(error)
    return None
