"""``exchange node``: made, run, looked at. The node itself is ``exchange.node``; its sockets are ``exchange.rpc``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exchange.cli.operator.compare_words import compare_words
from exchange.cli.operator.node_adopt import adopt
from exchange.cli.operator.node_backup import backup, restore
from exchange.cli.operator.node_recover import recover
from exchange.cli.operator.node_renewal import renewal_request
from exchange.cli.options import home_option, json_option, passphrase_option, read_passphrase
from keys.cli.ending import answer, print_json

if TYPE_CHECKING:
    from exchange.node.config import NodeConfig
    from exchange.node.node import Node
    from exchange.node.timestamp_authority import TimestampAuthority
    from exchange.rpc.serve.options import ServeOptions
    from exchange.rpc.serve.running_node import RunningNode
    from keys.dsse import SignedPayload

FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
WORDS = 12
HASTE_SECONDS = 3.0  # a start that takes longer is explained
WAITING = (
    "waiting until another member says what it holds of this node's log; nothing is signed before."
    " If this node is really the only one that runs, start it with --alone: it goes on after a minute"
)


@click.group()
def node() -> None:
    """Make, run and examine a node."""


@node.command(short_help="Make a home with keys in it into a node's.")
@home_option
@click.option("--agency", required=True, metavar="AGENCY", help="Whose node it is, as HK-IMMD.")
@click.option("--roster", "roster_file", type=FILE, required=True, help="Roster 1, signed by all its roots.")
@click.option("--manifest", "manifest_file", type=FILE, required=True, help="Our own manifest.")
@click.option("--key-sheet", "sheet_file", type=FILE, required=True, help="Our own key sheet.")
@click.option(
    "--record", "records", type=FILE, multiple=True, help="Another member's manifest or key sheet; repeat it."
)
@click.option(
    "--peer", "peers", multiple=True, metavar="AGENCY=HOST:PORT", help="Where a member is, whose records come later."
)
@click.option("--listen", default="0.0.0.0:7443", show_default=True, help="Where peers dial us.")
@click.option("--desk", default="127.0.0.1:7444", show_default=True, help="Where our own officers dial us.")
@click.option("--words", "told", metavar="WORDS", help="The roster's twelve words, as you were told them; or be asked.")
@json_option
def init(
    home: Path,
    agency: str,
    roster_file: Path,
    manifest_file: Path,
    sheet_file: Path,
    records: tuple[Path, ...],
    peers: tuple[str, ...],
    listen: str,
    desk: str,
    told: str | None,
    as_json: bool,
) -> None:
    """Make a home with keys in it into a node's: database, lock, log, settings; enrol its officers.

    Nothing is trusted on first use: the roster's twelve words are compared with what you were told by another way.
    """
    from exchange.acts.directory import FirstRecords
    from exchange.cli.operator.recovery_steps import addresses_of
    from exchange.node.config import parse_config
    from exchange.node.node_init import settle
    from exchange.rules.catalogue import packaged_catalogue
    from keys.show import load_kind

    given = {each: found[-1] for each, found in addresses_of(peers).items()}
    config = parse_config({"agency": agency, "listen": listen, "desk": desk, "peers": given}, "the options")
    roster = load_kind(roster_file, "roster")
    manifest, key_sheet = load_kind(manifest_file, "manifest"), load_kind(sheet_file, "key-sheet")
    compare_words(roster, told)
    enrolled = settle(
        home,
        config,
        FirstRecords(
            agency=config.agency,
            roster=roster,
            manifest=manifest,
            key_sheet=key_sheet,
            others=in_order([load_kind(each, "manifest", "key-sheet") for each in records]),
            catalogue=packaged_catalogue().files,
        ),
        now_us=time.time_ns() // 1000,
        random_bytes=os.urandom,
    )
    answer(
        as_json,
        {"agency": config.agency, "home": str(home), "enrolled": list(enrolled)},
        [f"{config.agency}: a node in {home}; its log has begun", f"enrolled: {', '.join(enrolled) or 'nobody'}"],
        [f"next: exchange node serve --home {home}"],
    )


@node.command(short_help="Write down for an officer which roster was compared.")
@home_option
@click.option("--as", "officer", required=True, envvar="EXCHANGE_AS", metavar="OFFICER", help="Who is enrolled.")
@click.option("--roster", "roster_file", type=FILE, required=True, help="Roster 1.")
@click.option("--words", "told", metavar="WORDS", help="The roster's twelve words, as you were told them; or be asked.")
@json_option
def enrol(home: Path, officer: str, roster_file: Path, told: str | None, as_json: bool) -> None:
    """Write down for an officer which roster was compared, so that no node can show another one."""
    from exchange.node.enrolment import save_pin
    from keys.roster import roster_digest, verify_first_roster
    from keys.show import load_kind

    roster = load_kind(roster_file, "roster")
    verify_first_roster(roster)
    compare_words(roster, told)
    save_pin(home, officer, roster_digest(roster))
    answer(as_json, {"home": str(home), "enrolled": [officer]}, [f"enrolled: {officer}"])


def in_order(records: list[SignedPayload]) -> list[SignedPayload]:
    """Put manifests before key sheets, which they verify."""
    from exchange.acts.directory import RecordKind, kind_of_record

    return sorted(records, key=lambda each: RecordKind(kind_of_record(each)))


@node.command(short_help="Run the node until it is told to stop.")
@home_option
@passphrase_option
@click.option("--alone", is_flag=True, help="Go on if no other member has answered for a minute; the log says so.")
@click.option("--trust-clock", is_flag=True, help="This machine's clock was compared with another one and is right.")
@click.option("--quiet", is_flag=True, help="No log lines on stderr.")
@json_option
def serve(home: Path, passphrase_fd: int | None, alone: bool, trust_clock: bool, quiet: bool, as_json: bool) -> None:
    """Run the node until it is told to stop (SIGTERM, Ctrl-C); then it drains and commits what waits.

    It signs nothing before another member has said what it holds of this node's log: a restored copy ends with 6.
    """
    import asyncio

    from exchange.node.config import authority_of, load_config
    from exchange.node.garbage import collect_rarely
    from exchange.node.home import check_idle, check_startable, open_node
    from exchange.rpc.serve.listeners import check_free
    from exchange.rpc.serve.running_node import serve as start

    config = load_config(home)
    authority = authority_of(config, home)
    check_idle(home)
    check_startable(home)
    for address in (config.listen, config.desk, config.admin, config.metrics):
        check_free(address)
    opened, keys = open_node(home, lambda: read_passphrase(passphrase_fd, str(config.agency)))
    _warn(opened, config, home)

    async def run() -> None:
        running = await start(
            opened,
            keys,
            _options(config, authority, alone=alone, quiet=quiet),
        )
        announcing = asyncio.create_task(_announce(running, config, as_json))
        try:
            await running.run_until_signal()
        finally:
            announcing.cancel()

    if trust_clock:
        opened.clock.trust()
    collect_rarely()
    asyncio.run(run())
    size = opened.log.size
    answer(
        as_json, {"event": "stopped", "size": size}, [f"{config.agency} stopped; its log is complete at {size} entries"]
    )


def _options(config: NodeConfig, authority: TimestampAuthority | None, *, alone: bool, quiet: bool) -> ServeOptions:
    from exchange.rpc.serve.options import ServeOptions

    return ServeOptions(
        peers_address=config.listen,
        desk_address=config.desk,
        admin_address=config.admin or None,
        metrics_address=config.metrics or None,
        endpoints=config.endpoints,
        witnesses=config.witnesses,
        authority=authority,
        stamp_seconds=config.tsa_minutes * 60.0,
        desk_classical_tls=config.desk_classical_tls,
        log=None if quiet else sys.stderr,
        alone=alone,
    )


def _warn(opened: Node, config: NodeConfig, home: Path) -> None:
    """Say what is not right, and is no reason not to start."""
    from exchange.cli.operator.node_check import warnings

    for each in warnings(opened.store, opened.view.federation, config, home):
        click.echo(f"exchange: warning: {each.name}: {each.detail}" + (f"; {each.hint}" if each.hint else ""), err=True)


async def _announce(running: RunningNode, config: NodeConfig, as_json: bool) -> None:
    """Print that the node serves, and before that what it waits for."""
    import asyncio
    import contextlib

    ready = asyncio.create_task(running.ready())
    done, _ = await asyncio.wait([ready], timeout=HASTE_SECONDS)
    if not done:
        click.echo(f"exchange: {WAITING}", err=True)
    with contextlib.suppress(Exception):  # whoever runs the node raises it
        await ready
        told = {"event": "serving", "agency": config.agency, "listen": config.listen, "desk": config.desk}
        answer(as_json, told, [f"{config.agency} serves: peers at {config.listen}, its officers at {config.desk}"])


@node.command(short_help="Say what a node holds, running or not; no key is needed.")
@home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Say what a node holds, running or not; no key is needed."""
    from exchange.cli.operator.node_status import read_status, to_lines

    told: dict[str, Any] = read_status(home, time.time_ns() // 1_000_000)
    if as_json:
        print_json({"ok": True, **told})
        return
    for line in to_lines(told):
        click.echo(line)


@node.command(short_help="Print the node's numbers for a monitoring program.")
@home_option
@json_option
def metrics(home: Path, as_json: bool) -> None:
    """Print the node's numbers in Prometheus' text format, running or not; no key is needed.

    With `metrics = "127.0.0.1:PORT"` in node.toml a running node serves the same at http://127.0.0.1:PORT/metrics.
    """
    from exchange.cli.operator.node_status import read_report
    from exchange.status.prometheus import to_text

    now_ms = time.time_ns() // 1_000_000
    text = to_text(read_report(home, now_ms)[1], now_ms)
    if as_json:
        print_json({"ok": True, "metrics": text})
    else:
        click.echo(text, nl=False)


@node.command(short_help="Examine what a node needs, and say what to do.")
@home_option
@passphrase_option
@json_option
def check(home: Path, passphrase_fd: int | None, as_json: bool) -> int:
    """Examine everything that a node needs, and say what to do where something is not right.

    Ends with 0 if all is well, with 6 if the node itself is not in order, with 7 if a peer cannot be reached.
    """
    from exchange.cli.operator.node_check import examine, exit_code

    findings = examine(home, lambda whose: read_passphrase(passphrase_fd, whose), time.time_ns() // 1_000_000)
    if as_json:
        print_json(
            {
                "ok": exit_code(findings) == 0,
                "findings": [
                    {
                        "number": number,
                        "result": each.result,
                        "name": each.name,
                        "detail": each.detail,
                        "hint": each.hint,
                    }
                    for number, each in enumerate(findings, start=1)
                ],
            }
        )
    else:
        width = max(len(each.name) for each in findings)
        for number, each in enumerate(findings, start=1):
            click.echo(f"{number:>3}  {each.result:<4}  {each.name:<{width}}  {each.detail}")
            if each.hint:
                click.echo(f"{'':>9}  {'':<{width}}  → {each.hint}")
    return exit_code(findings)


node.add_command(backup)
node.add_command(restore)
node.add_command(recover)
node.add_command(renewal_request)
node.add_command(adopt)
