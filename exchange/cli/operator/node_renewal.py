"""``exchange node renewal-request``: what the agency's root is asked to renew, as one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exchange.cli.options import home_option, json_option, passphrase_option, read_passphrase
from keys.cli.ending import answer

if TYPE_CHECKING:
    from keys.dsse import SignedPayload

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)


@click.command("renewal-request", short_help="Ask the agency's root to renew what only it can.")
@home_option
@passphrase_option
@click.option("-o", "--output", type=FILE, required=True, help="The new file.")
@json_option
def renewal_request(home: Path, passphrase_fd: int | None, output: Path, as_json: bool) -> None:
    """Write what the root renews, for the machine that has it: exchange keys renew FILE.

    Manifest and certificates, for the same people and keys. A running node needs no passphrase; a stopped one does.
    The file holds no secret. What comes back is adopted: exchange node adopt FILE.
    """
    from keys.renewal import parse_request
    from keys.roster import save_signed

    made = _ask(home, passphrase_fd)
    save_signed(output, made)
    request = parse_request(made.payload)
    version = request.present.version
    answer(
        as_json,
        {"file": str(output), "agency": request.agency, "version": version, "leaves": len(request.leaves) + 1},
        [
            f"made {output}: {request.agency} asks to renew manifest {version} and {len(request.leaves) + 1} certificates"
        ],
        [f"on the machine with the root: exchange keys renew {output.name} --home FOLDER -o renewal"],
    )


def _ask(home: Path, passphrase_fd: int | None) -> SignedPayload:
    from exchange.node.config import load_config
    from exchange.node.home import running_process

    config = load_config(home)
    if running_process(home) is not None:
        return _of_running(home)
    from exchange.node.home import open_node
    from keys.node_certificates import own_request

    opened, keys = open_node(home, lambda: read_passphrase(passphrase_fd, str(config.agency)))
    try:
        return own_request(home, opened.view, keys, time.time_ns() // 1_000_000)
    finally:
        opened.stop()


def _of_running(home: Path) -> SignedPayload:
    from exchange.cli.operator.admin_client import SECONDS, admin
    from exchange.v1 import admin_pb2
    from keys.dsse import SignedPayload

    with admin(home) as stub:
        answered = stub.AskRoot(admin_pb2.AskRootRequest(), timeout=SECONDS, wait_for_ready=True)
    return SignedPayload.from_message(answered.request)
