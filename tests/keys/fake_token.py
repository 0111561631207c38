"""A token that is none: a process that holds keys and answers on a Unix socket, so that nobody else ever has a seed.

It makes its keys itself and signs by other libraries than the product where there are any. ``Token`` is the client:
what it gives are a ``Signer`` and a ``WindowOpener`` that know a public key and a socket.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA65PrivateKey
from nacl.signing import SigningKey

from keys import suites
from keys.identity import Usage
from keys.seal import EncryptionKey, unopenable
from keys.signer import PublicKey


def _ed25519() -> tuple[bytes, Callable[[bytes], bytes]]:
    key = SigningKey.generate()
    return key.verify_key.encode(), lambda frame: key.sign(frame).signature


def _hybrid() -> tuple[bytes, Callable[[bytes], bytes]]:
    public, sign = _ed25519()
    second = MLDSA65PrivateKey.generate()
    return (
        public + second.public_key().public_bytes_raw(),
        lambda frame: sign(frame) + second.sign(frame, suites.MLDSA65_CONTEXT),
    )


def _mldsa44() -> tuple[bytes, Callable[[bytes], bytes]]:
    key = MLDSA44PrivateKey.generate()
    return key.public_key().public_bytes_raw(), key.sign


MAKERS = {suites.ED25519: _ed25519, suites.ED25519_MLDSA65: _hybrid, suites.MLDSA44: _mldsa44}


class Keys:
    """What the process holds: by number, in the order in which they were made."""

    def __init__(self) -> None:
        self._sign: list[Callable[[bytes], bytes]] = []
        self._windows: list[EncryptionKey] = []

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "make":
            public, sign = MAKERS[asked["suite"]]()
            self._sign.append(sign)
            return {"public": public.hex(), "number": len(self._sign) - 1}
        if asked["do"] == "sign":
            return {"signature": self._sign[asked["number"]](bytes.fromhex(asked["frame"])).hex()}
        if asked["do"] == "make-window":
            self._windows.append(EncryptionKey.from_seed(asked["owner"], os.urandom(32)))
            return {"public": self._windows[-1].public.public_key.hex(), "number": len(self._windows) - 1}
        window = self._windows[asked["number"]]
        opened = window.try_unwrap(bytes.fromhex(asked["wrapped"]), bytes.fromhex(asked["info"]))
        return {"opened": opened.hex() if opened is not None else None}


def serve(path: str) -> None:
    """Answer one caller until it goes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        print("ready", flush=True)
        caller, _ = listener.accept()
        keys = Keys()
        with caller, caller.makefile("rw") as lines:
            for line in lines:
                lines.write(json.dumps(keys.answer(json.loads(line))) + "\n")
                lines.flush()


class Token:
    """The process, seen from outside."""

    def __init__(self, folder: Path) -> None:
        path = str(folder / "token")
        command = [sys.executable, "-m", "tests.keys.fake_token", path]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rw")
        self._turn = threading.Lock()

    def ask(self, **asked: Any) -> dict[str, Any]:
        with self._turn:
            self._lines.write(json.dumps(asked) + "\n")
            self._lines.flush()
            return dict(json.loads(self._lines.readline()))

    def make_signer(self, usage: Usage, suite: int, owner: str) -> TokenSigner:
        made = self.ask(do="make", suite=suite)
        key = PublicKey(usage=usage, suite=suite, owner=owner, public_key=bytes.fromhex(made["public"]))
        return TokenSigner(self, key, made["number"])

    def make_opener(self, owner: str) -> TokenOpener:
        made = self.ask(do="make-window", owner=owner)
        raw = bytes.fromhex(made["public"])
        key = PublicKey(usage=Usage.ENCRYPTION, suite=suites.HYBRID_KEM, owner=owner, public_key=raw)
        return TokenOpener(self, key, made["number"])

    def close(self) -> None:
        """Let go; the process ends by itself."""
        self._lines.close()
        self._socket.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass(frozen=True)
class TokenSigner:
    """Signs where the key is."""

    token: Token
    key: PublicKey
    number: int

    def sign(self, frame: bytes) -> bytes:
        return bytes.fromhex(self.token.ask(do="sign", number=self.number, frame=frame.hex())["signature"])


@dataclass(frozen=True)
class TokenOpener:
    """Opens where the key is."""

    token: Token
    public: PublicKey
    number: int

    def try_unwrap(self, wrapped: bytes, info: bytes) -> bytes | None:
        asked = {"number": self.number, "wrapped": wrapped.hex(), "info": info.hex()}
        opened = self.token.ask(do="unwrap", **asked)["opened"]
        return bytes.fromhex(opened) if opened is not None else None

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        opened = self.try_unwrap(wrapped, info)
        if opened is None:
            raise unopenable()
        return opened


if __name__ == "__main__":
    serve(sys.argv[1])
