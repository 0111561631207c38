"""A time-stamping authority on loopback: ``openssl ts`` with its own CA behind a small HTTP server, made by the test."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

_CONFIG = """[tsa]
default_tsa = here
[here]
dir = {folder}
serial = $dir/serial
crypto_device = builtin
signer_cert = $dir/tsa.crt
certs = $dir/ca.pem
signer_key = $dir/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
_EXTENSIONS = (
    "extendedKeyUsage = critical,timeStamping\nbasicConstraints = CA:false\nkeyUsage = critical,digitalSignature\n"
)


@dataclass
class OpensslAuthority:
    """An authority whose answers a test may spoil."""

    folder: Path
    url: str = ""
    asked: int = 0
    content_type: str = "application/timestamp-reply"
    spoil: list[bytes] = field(default_factory=list)  # given as answers before real ones are

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def answer(self, query: bytes) -> bytes:
        """Stamp, with openssl itself."""
        self.asked += 1
        if self.spoil:
            return self.spoil.pop()
        (self.folder / "query.tsq").write_bytes(query)
        config = ["-config", str(self.folder / "ts.cnf"), "-section", "here"]
        run(
            "ts", "-reply", "-queryfile", str(self.folder / "query.tsq"), *config, "-out", str(self.folder / "made.tsr")
        )
        return (self.folder / "made.tsr").read_bytes()


def run(*words: str) -> str:
    """Run openssl; its stderr where it fails."""
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def make_authority(folder: Path, *, days: int = 30) -> OpensslAuthority:
    """Make a CA and an authority's certificate with openssl; skip where there is none."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: there is no authority to ask")
    folder.mkdir(parents=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/O=Exercise/CN=Time CA"]
    run("req", "-x509", *key, *subject, "-days", "30", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")
    run("req", *key, "-subj", "/O=Exercise/CN=Clock", "-keyout", f"{folder}/tsa.key", "-out", f"{folder}/tsa.csr")
    (folder / "ext").write_text(_EXTENSIONS)
    issue = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", str(days)]
    run("x509", "-req", "-in", f"{folder}/tsa.csr", *issue, "-extfile", f"{folder}/ext", "-out", f"{folder}/tsa.crt")
    (folder / "serial").write_text("01\n")
    (folder / "ts.cnf").write_text(_CONFIG.format(folder=folder))
    return OpensslAuthority(folder)


@contextmanager
def serving(authority: OpensslAuthority) -> Iterator[OpensslAuthority]:
    """Answer on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = authority.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", authority.content_type)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    authority.url = f"http://127.0.0.1:{server.server_port}/tsa"
    try:
        yield authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
