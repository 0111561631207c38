"""``exchange audit verify``: one command for whatever can be verified; ``audit.cli.file_kinds`` says who verifies what.

A path is a folder (a log, or a node's home) or a file that its first bytes tell. A file that is none of these is
refused with 6: a broken file is never "nothing there".
"""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.cli.epoch import epoch_end
from audit.cli.shared import RENDER, judging, open_folder, parse_now, shown, working
from audit.cli.verify_options import VerifyOptions
from keys.cli.ending import print_json
from keys.cli.failure import CommandError
from keys.cli.options import JSON
from keys.refusals import Exit, row_of

if TYPE_CHECKING:  # loaded when they are needed: help stays quick
    from audit.note.checkpoint import VerifierKey
    from audit.note.epochs import EpochEnd
    from audit.tiles.tiles import TileFolder
    from audit.verify.external_checkpoints import ExternalCheckpoint
    from audit.verify.trust_steps import SourcedKey
    from audit.verify.verdict import Report
    from audit.verify.witnesses import WitnessRules

PROCESSES = min(2, os.cpu_count() or 1)


class _ManyValues(click.Command):
    """A command whose ``--against`` takes every value up to the next option; it may also be repeated."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        out: list[str] = []
        values: list[int] = []  # places in *out* of the values that --against has taken
        rest = list(args)
        own_values = {name for p in self.params if _takes_one(p) for name in p.opts}
        positional, many = False, False
        while rest:
            word = rest.pop(0)
            if word == "--against" and rest:
                out += [word, rest.pop(0)]
                values.append(len(out) - 1)
                many = True
            elif word.startswith("-") and word != "-":
                many = False
                out.append(word)
                if word in own_values and rest:
                    out.append(rest.pop(0))
            elif many:
                out += ["--against", word]
                values.append(len(out) - 1)
            else:
                out.append(word)
                positional = True
        if not positional and len(values) > 1:  # verify --against A B DIR: the last one is the folder
            del out[values[-1] - 1]
        return super().parse_args(ctx, out)


def _takes_one(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not parameter.is_flag and "--against" not in parameter.opts


@click.command(cls=_ManyValues)
@click.argument("directory", metavar="DIR")
@click.option("--key", "key_text", metavar="VKEY", help="The log's key, from somebody you trust: NAME+HASH+BASE64.")
@click.option("--roster", "roster_file", metavar="FILE", help="Take the log's key from this roster.")
@click.option(
    "--against", multiple=True, metavar="CHECKPOINT...", help="Checkpoints or receipts of this log that others kept."
)
@click.option(
    "--witnesses", "witnesses_file", metavar="FILE", help="Without a roster: whose cosignatures count, witnesses.vkeys."
)
@click.option("--now", metavar="TIME", help="How old may cosignatures be? As 2026-11-22T10:00:00Z; else no matter.")
@click.option(
    "--from-checkpoint", "since_file", metavar="CHECKPOINT", help="Verify only what is new since this one of yours."
)
@click.option(
    "--manifest", "manifest_file", metavar="FILE", help="Of a later epoch: the agency's manifest that opened it."
)
@click.option("--tsa-ca", "tsa_file", metavar="FILE", help="Whose time stamps count: an authority's certificate, PEM.")
@click.option("--stamps", metavar="DIR", help="Tokens that you kept, N.tsr with N.note; else those beside the log.")
@JSON
@click.pass_context
def verify(
    ctx: click.Context,
    directory: str,
    key_text: str | None,
    roster_file: str | None,
    against: tuple[str, ...],
    witnesses_file: str | None,
    now: str | None,
    since_file: str | None,
    manifest_file: str | None,
    tsa_file: str | None,
    stamps: str | None,
    as_json: bool,
) -> int:
    """Recompute a log from its files and say what was checked and what was not.

    DIR is a log folder or a node's home, or a file: a bundle, evidence, or the two notes of a fork.

    Exit 0: the key came from outside and the log agrees with an outside checkpoint, or with one that the witnesses'
    quorum cosigned. 6: refuted. 7: verified as far as it goes, but something was not checked. 5: no such folder.
    """
    if key_text and roster_file:
        raise click.UsageError("--key and --roster name the same thing: give one of them")
    if witnesses_file and roster_file:
        raise click.UsageError("--roster names the witnesses, too: leave --witnesses out")
    if stamps and not tsa_file:
        raise click.UsageError("--stamps needs --tsa-ca: whom you trust to tell the time")
    options = VerifyOptions(
        key_text=key_text,
        roster_file=roster_file,
        against=against,
        as_json=as_json,
        witnesses_file=witnesses_file,
        now_s=parse_now(now),
        since_file=since_file,
        tsa_file=tsa_file,
        stamps=stamps,
        manifest_file=manifest_file,
        render=(ctx.obj or {}).get(RENDER),
    )
    path = Path(directory)
    try:
        return _verify_file(path, options) if path.is_file() else verify_folder(directory, options)
    except CommandError as error:
        if row_of(error.code).exit_code in (Exit.UNVERIFIED, Exit.INCOMPLETE):  # a verdict, which keeps its form
            error.answer = _not_verified(str(error))
        raise


def _not_verified(why: str) -> dict[str, Any]:
    """Return the verdict on what could not be read so far that any step was made."""
    return {"verdict": f"not verified: {why}", "origin": None, "size": None, "root": None, "steps": []}


def _verify_file(path: Path, options: VerifyOptions) -> int:
    from audit.cli.file_kinds import FLAGS, kind_of

    with judging(str(path)):
        kind = kind_of(path)
    asked = [name for name in FLAGS if getattr(options, name)]
    if odd := [name for name in asked if name not in kind.takes]:
        taken = " and ".join(flag for name, flag in FLAGS.items() if name in kind.takes)
        raise click.UsageError(f"{path}: {kind.name}, which takes {taken}, but not {FLAGS[odd[0]]}")
    module, _, function = kind.verify.partition(":")
    verified: Callable[[Path, VerifyOptions], int] = getattr(import_module(module), function)
    return verified(path, options)


def verify_folder(directory: str, options: VerifyOptions) -> int:
    """Verify a log folder or the log of a node's home, report, and return the exit code."""
    return report_on(log_report(open_folder(directory), options), options.as_json)


def log_report(folder: "TileFolder", options: VerifyOptions, *, whole: bool = True) -> "Report":
    """Verify a log as the options say; *whole* is False where not all of its entries are here."""
    from audit.cli.timestamps import add_stamps
    from audit.verify.trust_steps import SourcedKey

    key, source = log_key(folder, options)
    given = SourcedKey(key, source) if key is not None else None
    rules = witness_rules(folder, options)
    external = [read_external(name, folder) for name in options.against]
    before = epoch_end(folder, options)
    if whole and options.since_file is None:
        from audit.verify.verify import verify_log

        with working():
            report = verify_log(
                folder.root, key=given, external=external, processes=PROCESSES, witnesses=rules, before=before
            )
    else:
        report = _report_since(folder, options, given, external, rules, before)
    return add_stamps(folder, options, key, rules, report)


def _report_since(
    folder: "TileFolder",
    options: VerifyOptions,
    key: "SourcedKey | None",
    external: "list[ExternalCheckpoint]",
    rules: "WitnessRules | None",
    before: "EpochEnd | None",
) -> "Report":
    from audit.verify.incremental import verify_incremental
    from keys.errors import RefusedError

    old = read_external(options.since_file, folder) if options.since_file else None
    try:
        with working():
            return verify_incremental(folder.root, old=old, key=key, external=external, witnesses=rules, before=before)
    except RefusedError as error:
        why = str(error).removeprefix(f"{options.since_file}: ")
        raise CommandError("REFUTED", f"--from-checkpoint {options.since_file}: {why}") from error


def report_on(report: "Report", as_json: bool) -> int:
    """Print a report and return its exit code."""
    if as_json:
        print_json(report_json(report))
    else:
        print_report(report)
    return report.exit_code


def log_key(folder: "TileFolder", options: VerifyOptions) -> "tuple[VerifierKey | None, str]":
    """Return the log's key and where it is from, as the options name it; None where they name none."""
    if options.key_text:
        return given_key(options.key_text), "given"
    if options.roster_file:
        from audit.verify.trust import key_of_origin

        origin = _origin(folder)
        with judging(options.roster_file):
            return key_of_origin(Path(options.roster_file), origin)
    return None, ""


def given_key(text: str) -> "VerifierKey":
    """Read the value of ``--key``."""
    from audit.note.checkpoint import parse_verifier_key
    from keys.errors import RefusedError

    try:
        return parse_verifier_key(text)
    except RefusedError as error:
        raise click.UsageError(f"--key: {str(error).removeprefix('checkpoint: ')}") from error


def _origin(folder: "TileFolder") -> str:
    """Read whose log it says it is; a checkpoint that cannot be read is the log's fault, not the roster's."""
    from audit.note.checkpoint import parse_note

    with judging(str(folder.root)):
        return parse_note(folder.note()).checkpoint.origin


def witness_rules(folder: "TileFolder", options: VerifyOptions) -> "WitnessRules | None":
    """Return whose cosignatures count, as the options say; None where they name nobody."""
    from audit.note.checkpoint import parse_note
    from audit.note.policy import parse_vkeys
    from audit.verify.witnesses import WitnessRules
    from keys.bounds import MAX_NOTE_BYTES

    name = options.roster_file or options.witnesses_file
    if name is None:
        return None
    with judging(name):
        if options.roster_file:
            from audit.verify.trust import trust_of

            trust = trust_of(Path(name), parse_note(folder.note()).checkpoint.origin)
            policy, source, second = trust.policy, trust.source.partition(", as ")[0], trust.mldsa44
        else:
            if Path(name).resolve().is_relative_to(folder.root.resolve()):
                raise click.UsageError(f"--witnesses: {name} lies in what is verified, so it says nothing from outside")
            with Path(name).open("rb") as file:
                policy = parse_vkeys(file.read(MAX_NOTE_BYTES + 1).decode())
            source, second = f"from {name}", None
    if not policy.witnesses and options.witnesses_file:
        raise CommandError("REFUTED", f"{name}: it names no witness")
    if not policy.witnesses:  # a federation of one member
        return None
    return WitnessRules(policy=policy, source=source, log_mldsa44=second, now_s=options.now_s)


def read_external(name: str, folder: "TileFolder") -> "ExternalCheckpoint":
    """Read a file of ``--against``, which must lie outside the log folder."""
    from audit.verify.external_checkpoints import MAX_EXTERNAL_BYTES, ExternalCheckpoint

    try:
        if Path(name).resolve().is_relative_to(folder.root.resolve()):
            return ExternalCheckpoint(
                name=name, problem="it lies in the log folder itself, so it says nothing from outside"
            )
        with Path(name).open("rb") as file:
            return ExternalCheckpoint(name=name, data=file.read(MAX_EXTERNAL_BYTES + 1))
    except FileNotFoundError:
        raise
    except OSError as error:
        return ExternalCheckpoint(name=name, problem=f"cannot be read: {error.strerror}")


def report_json(report: "Report") -> dict[str, Any]:
    """Return a report as the one object of --json."""
    return {
        "verdict": report.verdict,
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex() if report.root is not None else None,
        "steps": [
            {"step": step.step, "name": step.name, "result": step.result, "detail": step.detail}
            for step in report.steps
        ],
    }


def print_report(report: "Report") -> None:
    """Print a report for people."""
    if report.origin is not None:
        print(f"{shown(report.origin)}")
    for step in report.steps:
        detail = step.detail if step.result == "ok" else f"{step.result}: {step.detail}"
        print(f"  {step.step} {step.name:<11} {shown(detail)}{'  ok' if step.result == 'ok' else ''}")
    print(f"{shown(report.verdict[0].upper() + report.verdict[1:])}. {_unchecked(report)}")


def _unchecked(report: "Report") -> str:
    """Return what no verifier can, and what this run did not."""
    if report.is_refuted:
        return "Keep these files as they are: they are the evidence."
    missing = ["whether an entry's content is true"]
    if report.anchored is None:
        missing.append("whether entries were cut off the end")
    elif report.size is not None and report.anchored < report.size:
        missing.append(f"entries from {report.anchored:,} on against anybody outside")
    missing += [f"step {step.step}, {step.name}" for step in report.steps if step.result == "not checked"]
    return f"Not checked here: {'; '.join(missing)}."
