"""The least that an acknowledged call can be: gRPC over mutual TLS, one row committed to SQLite, the request back."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import apsw
import grpc
import grpc.aio

from keys.agency import CA_FILE, TLS_FILE
from keys.certificate import to_pem


async def serve(home: Path, key: Path) -> None:
    """Serve until standard input ends."""
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        database = apsw.Connection(str(Path(folder) / "rows.db"))
        database.pragma("journal_mode", "wal")
        database.pragma("synchronous", "FULL")
        database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, row BLOB) STRICT")

        async def echo(request: bytes, context: object) -> bytes:
            database.execute("INSERT INTO rows (row) VALUES (?)", (request,))
            return request

        server = grpc.aio.server()
        handlers: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
        pair = (key.read_bytes(), to_pem((home / TLS_FILE).read_bytes()))
        roots = to_pem((home / CA_FILE).read_bytes())
        made = grpc.ssl_server_credentials([pair], root_certificates=roots, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", made)
        await server.start()
        os.write(1, f"{port}\n".encode())
        await asyncio.to_thread(sys.stdin.read)
        await server.stop(0)
        database.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
