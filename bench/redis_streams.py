"""The same sealing in front of Redis: its clients sign, seal to three, append to a stream, read, open and verify.

Redis with ``appendfsync always`` on loopback, pipelines of 32. It keeps the stream in memory, checks nothing, logs no
reader, proves nothing and gives no receipt; what it is asked here is only to be a durable queue.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from audit.record.statement import statement_digest
from bench.acts import BATCH, Acts
from bench.federation import ABSENT, READERS, SENDER, Federation, bulletins, sign
from bench.setting import Setting
from bench.spent import Rounds, cpu_of, spent
from bench.table import Row, not_measured
from exchange.v1.bulletin_pb2 import Bulletin
from keys import dsse, seal
from keys.dsse import SignedPayload

ASKED: dict[str, Any] = {"must": 0.8, "aim": 1}
NUMBER = 64  # bulletins a round


def measure(setting: Setting) -> list[Row]:
    """Measure both sizes; the product and Redis take turns, each on one core."""
    names = {name: f"whole job, acts, CPU against Redis streams, {name}" for name in setting.sizes}
    if shutil.which("redis-server") is None:
        return [not_measured(name, "redis-server is not installed (bench/install)", **ASKED) for name in names.values()]
    folder = setting.scratch("redis")
    path = folder / "socket"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with ExitStack() as stack:
            acts = Acts(setting.federation(), stack)
            redis = Redis(path)
            return [_row(setting, acts, (redis, server.pid), names[name], size) for name, size in setting.sizes.items()]
    finally:
        server.terminate()
        server.wait()


def _row(setting: Setting, acts: Acts, rival: tuple[Redis, int], what: str, size: int) -> Row:
    made, rounds, (redis, server) = setting.federation(), Rounds(NUMBER), rival
    for _ in range(setting.rounds):
        fresh = bulletins(NUMBER, size, *READERS, ABSENT, first=setting.serials(NUMBER))
        ours = spent(partial(acts.whole_job, fresh), NUMBER)
        both = partial(_errand, redis, made, fresh)
        rounds.add(ours, spent(both, NUMBER, lambda: time.process_time() + cpu_of(server)))
    return Row(
        what=what,
        product=rounds.product,
        bound=rounds.rival,
        share=rounds.cpu_share,
        cpu_us=rounds.cpu_us,
        bound_cpu_us=rounds.rival_cpu_us,
        note="CPU of Redis and of its clients",
        **ASKED,
    )


def _errand(redis: Redis, made: Federation, fresh: list[Bulletin]) -> None:
    """Sign, seal, XADD; both readers XRANGE, open and verify."""
    for first in range(0, len(fresh), BATCH):
        sealed = [_seal(made, each) for each in fresh[first : first + BATCH]]
        ids = redis.ask(*((b"XADD", b"lane", b"*", b"digest", d, b"body", b, *w) for d, b, w in sealed))
        for reader in READERS:
            [entries] = redis.ask((b"XRANGE", b"lane", ids[0], ids[-1]))
            for _, fields in entries:
                _open(made, reader, dict(zip(fields[::2], fields[1::2], strict=True)))


def _seal(made: Federation, message: Bulletin) -> tuple[bytes, bytes, list[bytes]]:
    signed = sign(message, made)
    digest, key = statement_digest(signed.payload), b"k" * 32
    body = seal.seal_body(key, made.id, digest, seal.pad(signed.encode()))
    wraps: list[bytes] = []
    for reader in (*READERS, ABSENT):
        public = made.keys[reader].node.encryption[0].key.public
        wraps += (reader.encode(), seal.wrap(key, public, seal.wrap_info(made.id, digest, public.key_id)))
    return digest, body, wraps


def _open(made: Federation, reader: str, fields: dict[bytes, bytes]) -> None:
    own, digest = made.keys[reader].node.encryption[0].key, fields[b"digest"]
    key = own.unwrap(fields[reader.encode()], seal.wrap_info(made.id, digest, own.public.key_id))
    signed = SignedPayload.decode(seal.unpad(seal.open_body(key, made.id, digest, fields[b"body"])))
    author = made.keys[SENDER].officers[0].keys.signer.key
    dsse.verify(signed, "statement", {author.key_id: author}.get)


class Redis:
    """As much of the Redis protocol as this needs."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        for _ in range(100):
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                time.sleep(0.05)
        self._file = self._socket.makefile("rb", 1 << 16)

    def ask(self, *commands: tuple[bytes, ...]) -> list[Any]:
        """Send commands together; give their answers."""
        parts = []
        for words in commands:
            parts.append(b"*%d\r\n" % len(words))
            parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        self._socket.sendall(b"".join(parts))
        return [self._answer() for _ in commands]

    def _answer(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest
