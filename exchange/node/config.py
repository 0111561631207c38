"""What a person may set for a home: ``HOME/node.toml``, one file, one value, every key explained here.

It holds names, addresses and the store's URI. Key material stays in key files; a passphrase comes from the terminal, a file descriptor
or a systemd credential, never from here.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType

from exchange.node.timestamp_authority import TimestampAuthority, is_url
from exchange.node.timestamp_authority import load as load_authority
from exchange.store.factory import DEFAULT_STORE, store_in
from exchange.store.home_paths import Paths
from keys.errors import RefusedError
from keys.identity import AgencyId, is_witness_name, parse_agency

CONFIG_FILE = "node.toml"
MAX_MINUTES = 10_080  # a week
_NO_TEXT = ("peers", "witnesses", "tsa_minutes", "desk_classical_tls")
PEERS_PORT, DESK_PORT = 7443, 7444

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", re.ASCII)
_PREFIX = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?", re.ASCII)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class ConfigError(RefusedError):
    """The file and the key at fault, and where possible the right word."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("MALFORMED", message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One home's settings.

    Attributes:
        agency: Whose node it is, as ``HK-IMMD``. The only key that must be there.
        listen: Where peers dial us, host:port; ``0.0.0.0:7443`` if not given. Port 0 takes any free one.
        desk: Where our own officers and systems dial us; ``127.0.0.1:7444`` if not given.
        admin: Reflection and health for operators, loopback only; no such listener if not given.
        metrics: The node's numbers for a monitoring program, http://127.0.0.1:PORT/metrics, loopback only; no such
            listener if not given.
        peers: Where else to dial a peer than at the endpoints in its manifests: a table of agency = "host:port".
        store: What keeps the node's state, engine and name; ``sqlite:node.db`` if not given: a file of that name in the
            home. It is chosen before ``exchange node init`` and never changed after it.
        tsa: An RFC 3161 time-stamping authority that stamps our checkpoints, http://host/path; none if not given.
        tsa_ca: What it is trusted by, a file with its certificate in PEM; where it is not absolute, it lies in the home.
        tsa_minutes: How often; 60 if not given.
        witnesses: Where a witness without a node answers over HTTP: a table of name = "http://host:port", the name as
            the roster has it. One that is not here is never asked.
        desk_classical_tls: Our own systems may dial the desk with a TLS library that has no ML-KEM; false if not given.
            What is recorded of such a connection can be opened once there are quantum computers.
    """

    agency: AgencyId
    listen: str = f"0.0.0.0:{PEERS_PORT}"
    desk: str = f"127.0.0.1:{DESK_PORT}"
    admin: str = ""
    metrics: str = ""
    store: str = DEFAULT_STORE
    tsa: str = ""
    tsa_ca: str = ""
    tsa_minutes: int = 60
    desk_classical_tls: bool = False
    peers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    witnesses: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def endpoints(self) -> Mapping[str, tuple[str, ...]]:
        """Return the addresses of ``peers``, by agency."""
        return {agency: (address,) for agency, address in self.peers.items()}


def load_config(home: Path) -> NodeConfig:
    """Read a home's settings.

    Raises:
        FileNotFoundError: There is no such home, or no ``node.toml`` in it.
        ConfigError: Not TOML, an unknown key, a value of another form.
    """
    path = home / CONFIG_FILE
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse_config(read, str(path))


def parse_config(read: Mapping[str, object], name: str) -> NodeConfig:
    """Take settings from a parsed file; *name* is the file's, for complaints."""
    known = [each.name for each in fields(NodeConfig)]
    for key in read:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
            raise ConfigError(f"{name}: there is no key {_shown(key)}", hint)
    if "agency" not in read:
        raise ConfigError(f"{name}: agency is missing", 'write agency = "HK-IMMD" with your own code')
    text = {key: _text(value, name, key) for key, value in read.items() if key not in _NO_TEXT}
    for key in ("listen", "desk", "admin", "metrics"):
        if key in text:
            _check_address(text[key], name, key)
    for key in ("admin", "metrics"):
        if text.get(key) and text[key].rpartition(":")[0] not in _LOOPBACK:
            raise ConfigError(f"{name}: {key} is {_shown(text[key])}", "it may listen on 127.0.0.1 only")
    if "store" in text:
        _check_store(text["store"], name)
    _check_authority(text, name)
    return NodeConfig(
        agency=_agency(text.pop("agency"), name, "agency"),
        tsa_minutes=_minutes(read.get("tsa_minutes", 60), name),
        desk_classical_tls=_flag(read, name, "desk_classical_tls"),
        peers=_peers(read.get("peers", {}), name),
        witnesses=_witnesses(read.get("witnesses", {}), name),
        **text,
    )


def format_config(config: NodeConfig) -> str:
    """Write settings as ``exchange node init`` leaves them, each key with its meaning."""
    lines = [
        f'agency = "{config.agency}"',
        "",
        "# where peers dial us",
        f'listen = "{config.listen}"',
        "",
        "# where our own officers and systems dial us",
        f'desk = "{config.desk}"',
    ]
    if config.admin:
        lines += ["", "# reflection and health for operators, loopback only", f'admin = "{config.admin}"']
    if config.metrics:
        lines += ["", "# the node's numbers for a monitoring program, loopback only", f'metrics = "{config.metrics}"']
    if config.store != DEFAULT_STORE:
        lines += ["", "# what keeps the node's state", f'store = "{config.store}"']
    if config.tsa:
        lines += ["", "# who stamps our checkpoints (RFC 3161), what it is trusted by, and how often"]
        lines += [f'tsa = "{config.tsa}"', f'tsa_ca = "{config.tsa_ca}"', f"tsa_minutes = {config.tsa_minutes}"]
    if config.desk_classical_tls:
        lines += ["", "# our own systems may dial the desk without ML-KEM", "desk_classical_tls = true"]
    lines += ["", "# where else to dial a peer than at the endpoint in its manifest", "[peers]"]
    lines += [f'{agency} = "{address}"' for agency, address in sorted(config.peers.items())]
    if config.witnesses:
        lines += ["", "# where witnesses without a node answer over HTTP", "[witnesses]"]
        lines += [f'"{witness}" = "{prefix}"' for witness, prefix in sorted(config.witnesses.items())]
    return "\n".join([*lines, ""])


def _peers(value: object, name: str) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: peers is no table", '[peers] with lines of AGENCY = "host:port"')
    found: dict[str, str] = {}
    for agency, address in value.items():
        key = f"peers.{agency}"
        found[_agency(agency, name, key)] = _text(address, name, key)
        _check_address(found[agency], name, key)
    return MappingProxyType(found)


def _witnesses(value: object, name: str) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: witnesses is no table", '[witnesses] with lines of "NAME" = "http://host:port"')
    found: dict[str, str] = {}
    for witness, prefix in value.items():
        key = f"witnesses.{witness}"
        if not is_witness_name(witness):
            raise ConfigError(f"{name}: {_shown(key)} names no witness", "a name reads oversight.example/witness")
        found[witness] = _text(prefix, name, _shown(key))
        if not _PREFIX.fullmatch(found[witness]):
            shown = f"{_shown(key)} is {_shown(found[witness])}"
            raise ConfigError(f"{name}: {shown}", "an address reads http://127.0.0.1:7445 or https://host")
    return MappingProxyType(found)


def authority_of(
    config: NodeConfig, home: Path, *, url: str | None = None, certificate: Path | None = None
) -> TimestampAuthority | None:
    """Load the time-stamping authority of a home's settings, or another one; None where neither names one.

    Raises:
        RefusedError: MALFORMED; its certificate cannot be read.
    """
    url = url or config.tsa
    return load_authority(url, certificate or home / config.tsa_ca) if url else None


def paths_of(home: Path) -> Paths:
    """Return where a home keeps what, by its settings; where they are lost, by what they are if nothing is said.

    Raises:
        ConfigError: The settings cannot be read, or name no store.
    """
    path = home / CONFIG_FILE
    try:
        named = tomllib.loads(path.read_text(encoding="utf-8")).get("store", DEFAULT_STORE)
    except FileNotFoundError:
        return Paths(home=home)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    _check_store(_text(named, str(path), "store"), str(path))
    return Paths(home=home, engine=named)


def _check_store(named: str, name: str) -> None:
    try:
        store_in(Path(), named)
    except RefusedError as error:
        raise ConfigError(f"{name}: store: {error}", f"an engine and a file's name, as {DEFAULT_STORE}") from error


def _check_authority(text: Mapping[str, str], name: str) -> None:
    if "tsa" in text and not is_url(text["tsa"]):
        raise ConfigError(f"{name}: tsa is {_shown(text['tsa'])}", "an authority's address reads http://host/path")
    if bool(text.get("tsa")) != bool(text.get("tsa_ca")):
        raise ConfigError(
            f"{name}: tsa and tsa_ca stand together", 'tsa_ca = "tsa.pem" is what the authority is trusted by'
        )


def _flag(read: Mapping[str, object], name: str, key: str) -> bool:
    value = read.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{name}: {key} is {_shown(str(value))}", "true or false, without quotes")
    return value


def _minutes(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_MINUTES:
        raise ConfigError(f"{name}: tsa_minutes is {_shown(str(value))}", f"a whole number from 1 to {MAX_MINUTES}")
    return value


def _agency(text: str, name: str, key: str) -> AgencyId:
    try:
        return parse_agency(text)
    except RefusedError as error:
        raise ConfigError(f"{name}: {key}: {error}", "a code reads HK-IMMD") from error


def _text(value: object, name: str, key: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name}: {key} is no text", "put the value in double quotes")
    return value


def _check_address(text: str, name: str, key: str) -> None:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise ConfigError(f"{name}: {key} is {_shown(text)}", "an address reads host:port, as 127.0.0.1:7443")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:60] + "...")
