"""The demo's federation: every agency that the packaged bulletins name, founded in a folder as a real one would be.

Only two things are easier than in life: one machine holds all the keys, and the passphrases lie in a file beside them.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from exchange.authoring.draft import read_draft
from exchange.demo.federation import FoundedFederation, found_federation
from exchange.node.config import NodeConfig
from exchange.node.node_init import settle
from exchange.records.bulletin import id_bytes
from exchange.v1.bulletin_pb2 import Bulletin
from keys import ceremony
from keys.agency import AgencyKeys, Person, make_agency, save_agency
from keys.dsse import SignedPayload
from keys.files import PRIVATE, write_file
from keys.identity import AgencyId
from keys.key_files import NodeKeys, OfficerKeys
from keys.keystore import INTERACTIVE

FEDERATION = "exercise.example"
OFFICER = "duty-1"
CEILING = 4  # secret: the highest marking that may enter the system
PASSPHRASE_FILE, ROSTER_FILE = "passphrase", "roster"
PORTS = range(20_000, 32_768)  # below those that systems hand out to anybody who asks for any
ATTEMPTS = 200  # at finding one of them free


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One packaged bulletin."""

    name: str  # its file
    text: bytes
    bulletin: Bulletin

    @property
    def bulletin_id(self) -> str:
        """Its id, as the header has it."""
        return self.bulletin.header.bulletin_id

    @property
    def targets(self) -> frozenset[str]:
        """The bulletins that it is about, which must have arrived before."""
        return frozenset(each.bulletin_id for each in self.bulletin.header.relations if each.bulletin_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAgency:
    """One agency of the demo, its keys opened."""

    id: AgencyId
    home: Path
    config: NodeConfig
    node_keys: NodeKeys = field(repr=False)
    officer_keys: OfficerKeys = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The founded federation; its ports are reserved until the nodes listen on them."""

    folder: Path
    roster: SignedPayload
    agencies: tuple[DemoAgency, ...]
    examples: tuple[Example, ...]
    reserved_ports: ExitStack = field(repr=False)


def load_examples() -> tuple[Example, ...]:
    """Read the packaged bulletins in the order of their names."""
    folder = resources.files("exchange") / "examples"
    found = []
    for each in sorted(folder.iterdir(), key=lambda item: item.name):
        if each.name.endswith(".yaml"):
            text = each.read_bytes()
            message = read_draft(text).message
            if message is None:
                raise RuntimeError(f"packaged bulletin {each.name} cannot be read")
            id_bytes(message.header.bulletin_id)
            found.append(Example(name=each.name, text=text, bulletin=message))
    return tuple(found)


def agencies_of(examples: Sequence[Example]) -> tuple[AgencyId, ...]:
    """Name every agency that sends or receives one of them."""
    names: set[str] = set()
    for each in examples:
        names.add(each.bulletin.header.originator)
        names.update(addressee.agency for addressee in each.bulletin.header.addressees)
    return tuple(AgencyId(name) for name in sorted(names))


def found_world(
    folder: Path, *, now_us: int, random_bytes: Callable[[int], bytes], names: Sequence[str] | None = None
) -> World:
    """Make every key, hold the ceremony, write every home.

    Args:
        folder: Empty or not there yet; homes are its sub-folders by agency.
        now_us: Microseconds UTC.
        random_bytes: The source of all keys.
        names: Agencies; those of the packaged bulletins if not given.
    """
    examples = load_examples()
    chosen = agencies_of(examples) if names is None else tuple(AgencyId(name) for name in sorted(names))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now_ms = now_us // 1000
    ports = ExitStack()
    configs = {name: _config(name, ports) for name in chosen}

    def found(name: AgencyId) -> AgencyKeys:
        people = [Person(id=OFFICER, roles=("author", "reader"), ceiling=CEILING)]
        keys = make_agency(name, FEDERATION, people, now_ms=now_ms, random_bytes=random_bytes)
        passphrase = secrets.token_hex(16).encode()
        # An exercise's root may cost no more to open than its node: eighteen of them are made at once.
        save_agency(folder / name, keys, lambda _: passphrase, random_bytes, root_profile=INTERACTIVE)
        write_file(folder / name / PASSPHRASE_FILE, passphrase + b"\n", mode=PRIVATE)
        return keys

    with ThreadPoolExecutor(2) as pool:
        made = dict(zip(chosen, pool.map(found, chosen), strict=True))
    endpoints = {str(name): config.listen for name, config in configs.items()}
    founded = found_federation(list(made.values()), now_ms=now_ms, endpoints=endpoints)
    ceremony.save_signed(folder / ROSTER_FILE, founded.roster)
    _settle_all(folder, founded, configs, now_us, random_bytes)
    agencies = tuple(
        DemoAgency(
            id=name,
            home=folder / name,
            config=configs[name],
            node_keys=keys.node,
            officer_keys=keys.officers[0].keys,
        )
        for name, keys in made.items()
    )
    return World(folder=folder, roster=founded.roster, agencies=agencies, examples=examples, reserved_ports=ports)


def _settle_all(
    folder: Path,
    founded: FoundedFederation,
    configs: dict[AgencyId, NodeConfig],
    now_us: int,
    random_bytes: Callable[[int], bytes],
) -> None:
    """Make each home a node's, with everybody's records adopted from the start."""
    for name, config in configs.items():
        home = folder / name
        ceremony.save_signed(home / "manifest", founded.manifests[name])
        ceremony.save_signed(home / "key-sheet", founded.key_sheets[name])
        settle(home, config, founded.first_records(name), now_us=now_us, random_bytes=random_bytes)


def _config(agency: AgencyId, ports: ExitStack) -> NodeConfig:
    return NodeConfig(agency=agency, listen=f"127.0.0.1:{_hold(ports)}", desk=f"127.0.0.1:{_hold(ports)}")


def _hold(ports: ExitStack) -> int:
    """Hold a free port, bound but not listening, until its node is about to listen there.

    It is none of those that the system hands out by itself: a node that is stopped and started again would now and
    then find that some other program's connection has taken its port meanwhile.
    """
    line = ports.enter_context(socket.socket())
    for _ in range(ATTEMPTS):
        try:
            line.bind(("127.0.0.1", secrets.choice(PORTS)))
            break
        except OSError:
            continue  # somebody has it
    else:
        line.bind(("127.0.0.1", 0))
    port: int = line.getsockname()[1]
    return port
