"""The agent: one person's opened keys, kept in a process of their own for a sitting, so that the passphrase is typed once.

It listens on a Unix socket of mode 0600 in a folder of mode 0700 that is ours, answers only our own user id, signs only
statements and requests to read (never a roster or a certificate), never hands out the signing key, and forgets
everything after fifteen idle minutes. The TLS key it does hand out: gRPC must hold it in its own memory, and it opens a
connection to the own node, nothing else (decision 0007).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from exchange.node.enrolment import Enrolment
from keys import certificate
from keys.dsse import payload_type
from keys.errors import RefusedError
from keys.identity import Usage
from keys.key_files import OfficerKeys, load_officer
from keys.memory_guard import harden
from keys.signer import PublicKey

IDLE_SECONDS = 15 * 60.0
MAX_REQUEST_BYTES = 2 << 20  # a statement of 1 MiB in base64, with its frame
CALL_SECONDS = 5.0  # one request; a caller that stalls is hung up on
SIGNABLE = ("statement", "read")

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def since_boot() -> float:
    """Count seconds, those asleep too: a closed laptop is idle."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class AgentError(RefusedError):
    """The agent, or the folder it would use, is not as it must be."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("KEYS_CLOSED", message)
        self.hint = hint


def open_keys(enrolment: Enrolment, passphrase: Callable[[], bytes] | None) -> OfficerKeys:
    """Return somebody's keys: from the agent if it holds them, else from the key file.

    Raises:
        RefusedError: UNOPENABLE; NOT_ALLOWED where there is no passphrase either.
    """
    known = ask_keys(enrolment)
    if known is not None:
        return known
    if passphrase is None:
        raise AgentError(f"the keys of {enrolment.owner} are closed", "exchange unlock opens them for a sitting")
    return load_officer(enrolment.home, enrolment.officer, passphrase)


# ------------------------------------------------------------------ who asks


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSigner:
    """Signs through the agent; the key stays there."""

    key: PublicKey
    path: Path

    def sign(self, frame: bytes) -> bytes:
        """Sign a frame of a statement or a request to read.

        Raises:
            AgentError: The agent has locked meanwhile, or refuses the frame.
        """
        answer = call(self.path, {"do": "sign", "frame": _text(frame)})
        if answer is None:
            raise AgentError("the agent has locked", "exchange unlock opens the keys again")
        return _bytes(answer, "signature")


def ask_keys(enrolment: Enrolment) -> OfficerKeys | None:
    """Take the keys of somebody whom an agent holds; None where there is none.

    Raises:
        AgentError: It holds somebody else's.
    """
    path = socket_path(enrolment)
    answer = call(path, {"do": "hello"})
    if answer is None:
        return None
    if answer.get("owner") != enrolment.owner:
        raise AgentError(f"the agent at {path} holds other keys than {enrolment.owner}'s")
    key = PublicKey(
        usage=Usage(int(str(answer["usage"]))),
        suite=int(str(answer["suite"])),
        owner=enrolment.owner,
        public_key=_bytes(answer, "public_key"),
    )
    return OfficerKeys(
        agency=enrolment.agency,
        id=enrolment.officer,
        signer=AgentSigner(key=key, path=path),
        tls_private=certificate.private_from_bytes(_bytes(answer, "tls")),
    )


def call(path: Path, request: Mapping[str, str]) -> dict[str, object] | None:
    """Ask an agent one thing; None where nobody listens.

    Raises:
        AgentError: What it refuses.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(CALL_SECONDS)
        try:
            line.connect(str(path))
            _check_peer(line)
            line.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_read_line(line))
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
            return None
        except (OSError, ValueError) as error:
            raise AgentError(f"the agent at {path} does not answer: {type(error).__name__}") from error
    if not isinstance(answer, dict) or "refused" in answer:
        raise AgentError(f"the agent refuses: {answer.get('refused') if isinstance(answer, dict) else 'no answer'}")
    return answer


def socket_path(enrolment: Enrolment) -> Path:
    """Return where the agent of somebody listens; nothing is made."""
    name = hashlib.sha256(f"{enrolment.home.resolve()}\0{enrolment.officer}".encode()).hexdigest()[:16]
    return runtime_folder() / f"{name}.sock"


def runtime_folder() -> Path:
    """Name our folder for sockets: in the user's runtime folder, else under the user's own state."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    usual = Path(given) if given else Path(f"/run/user/{os.geteuid()}")
    if usual.is_dir() and _is_private(usual):
        return usual / "exchange"
    return platformdirs.user_state_path("exchange") / "agent"


def _is_private(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


# ------------------------------------------------------------------ who holds


class Agent:
    """Holds one person's keys and answers on a socket until it is told to lock, or has been idle."""

    def __init__(
        self,
        path: Path,
        keys: OfficerKeys,
        *,
        idle_seconds: float = IDLE_SECONDS,
        monotonic: Callable[[], float] = since_boot,
    ) -> None:
        """Listen.

        Raises:
            AgentError: The folder is not ours alone, or an agent answers there already.
        """
        self.path, self._keys = path, keys
        self._idle, self._monotonic = idle_seconds, monotonic
        self._line = _listen(path)
        self._line.settimeout(min(1.0, idle_seconds))

    def serve(self) -> None:
        """Answer until the end, then take the socket away."""
        last = self._monotonic()
        try:
            while self._monotonic() - last < self._idle:
                try:
                    caller, _ = self._line.accept()
                except TimeoutError:
                    continue
                with caller:
                    done = self._answer(caller)
                if done == "lock":
                    return
                if done:
                    last = self._monotonic()
        finally:
            self.path.unlink(missing_ok=True)
            self._line.close()

    def _answer(self, caller: socket.socket) -> str:
        """Answer one request; return what was done, or nothing where it was refused."""
        caller.settimeout(CALL_SECONDS)
        try:
            _check_peer(caller)
            request = json.loads(_read_line(caller))
            done = str(request["do"])
            caller.sendall(json.dumps(self._do(done, request)).encode() + b"\n")
            return done
        except RefusedError as error:
            _refuse(caller, str(error))
        except (OSError, ValueError, KeyError, TypeError):
            _refuse(caller, "not understood")
        return ""

    def _do(self, what: str, request: Mapping[str, object]) -> Mapping[str, object]:
        if what == "sign":
            frame = _bytes(request, "frame")
            check_frame(frame)
            return {"signature": _text(self._keys.signer.sign(frame))}
        key = self._keys.signer.key
        told = {
            "hello": {
                "owner": key.owner,
                "usage": int(key.usage),
                "suite": key.suite,
                "public_key": _text(key.public_key),
                "tls": _text(certificate.private_bytes(self._keys.tls_private)),
            },
            "lock": {},
        }
        return told[what]


def check_frame(frame: bytes) -> None:
    """Refuse to sign anything but a statement or a request to read.

    Raises:
        AgentError: Another payload type, or no frame at all.
    """
    # DSSE: "DSSEv1" SP length SP type SP length SP payload; the length makes the type unambiguous.
    for role in SIGNABLE:
        name = payload_type(role).encode()
        if frame.startswith(b"DSSEv1 %d %b " % (len(name), name)):
            return
    raise AgentError("only statements and requests to read are signed here")


def detach(agent: Agent) -> int:
    """Go on as a process of its own, without terminal, core files or debugger.

    Returns:
        In the caller its process id; the new process does not return.
    """
    child = os.fork()
    if child:
        return child
    os.setsid()
    harden()
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    os.chdir("/")
    try:
        agent.serve()
    finally:
        os._exit(0)


def _listen(path: Path) -> socket.socket:
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder):
        raise AgentError(f"{folder} is not a folder of ours alone", "its mode must be 0700")
    if call(path, {"do": "hello"}) is not None:
        raise AgentError(f"an agent answers at {path} already", "exchange lock ends it")
    path.unlink(missing_ok=True)  # left by one that was killed
    line = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        line.bind(str(path))
    finally:
        os.umask(before)
    line.listen(8)
    return line


def _check_peer(line: socket.socket) -> None:
    """Refuse another user, whoever made the folder readable."""
    raw = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    if _CREDENTIALS.unpack(raw)[1] != os.geteuid():
        raise AgentError("another user is at the other end")


def _read_line(line: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        more = line.recv(1 << 16)
        if not more or len(data) + len(more) > MAX_REQUEST_BYTES:
            raise ConnectionResetError
        data += more
    return bytes(data)


def _refuse(caller: socket.socket, why: str) -> None:
    try:
        caller.sendall(json.dumps({"refused": why}).encode() + b"\n")
    except OSError:
        return  # it has hung up


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(message: Mapping[str, object], name: str) -> bytes:
    return base64.b64decode(str(message[name]), validate=True)
