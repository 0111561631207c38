"""``exchange audit`` and ``exchange-audit``: verify, show and prove logs, offline.

Exit codes never depend on ``--json``: 0 verified from outside, 2 wrong use, 5 no such thing here, 6 verification
failed, 7 verified as far as it goes but something was not checked. Nothing but the log folder and the files that were
named is read, and no network is touched.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:  # loaded by the commands that need them: help stays quick
    from audit.checkpoint import VerifierKey
    from audit.outside import Outside
    from audit.tiles import TileFolder
    from audit.verify import Report

EXIT_USAGE, EXIT_NONE, EXIT_REFUTED, EXIT_INTERRUPTED = 2, 5, 6, 130
_PROCESSES = min(2, os.cpu_count() or 1)


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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def audit() -> None:
    """Verify, show and prove audit logs, offline.

    DIR is a log folder (with a file `checkpoint` in it) or a node's home (with `log/checkpoint`).
    """


@audit.command(cls=_ManyValues)
@click.argument("directory", metavar="DIR")
@click.option("--key", "key_text", metavar="VKEY", help="The log's key, from somebody you trust: NAME+HASH+BASE64.")
@click.option("--roster", "roster_file", metavar="FILE", help="Take the log's key from this roster.")
@click.option(
    "--against", multiple=True, metavar="CHECKPOINT...", help="Checkpoints or receipts of this log that others kept."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def verify(
    ctx: click.Context,
    directory: str,
    key_text: str | None,
    roster_file: str | None,
    against: tuple[str, ...],
    as_json: bool,
) -> None:
    """Recompute a log from its files and say what was checked and what was not.

    Exit 0: the key came from outside and the log agrees with at least one outside checkpoint. 6: refuted. 7: verified
    as far as it goes, but something was not checked. 5: no such folder.
    """
    from audit.verify import verify_log

    if key_text and roster_file:
        raise click.UsageError("--key and --roster name the same thing: give one of them")
    folder = _folder(ctx, directory, as_json)
    key, source = _key(ctx, folder, key_text, roster_file, as_json)
    outside = [_outside(ctx, name, folder, as_json) for name in against]
    report = verify_log(folder.root, key=key, key_source=source, outside=outside, processes=_PROCESSES)
    if as_json:
        _print_json(_report_json(report))
    else:
        _print_report(report)
    ctx.exit(report.exit_code)


@audit.command()
@click.argument("directory", metavar="DIR")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="First entry, from 0.")
@click.option("--to", "last", type=click.IntRange(min=0), help="Last entry, included.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind, as RECEIVED; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def show(
    ctx: click.Context, directory: str, first: int, last: int | None, kinds: tuple[str, ...], as_json: bool
) -> None:
    """Print entries as they are stored; `verify` says whether they are true."""
    from audit.kinds import Kind
    from audit.show import describe, line, read_range
    from keys.errors import RefusedError

    wanted = {kind.upper() for kind in kinds}
    if unknown := wanted - set(Kind.__members__):
        raise click.UsageError(f"no kind {', '.join(sorted(unknown))}; kinds are {', '.join(Kind.__members__)}")
    folder = _folder(ctx, directory, as_json)
    try:
        for index, entry in read_range(folder, first, last):
            told = describe(index, entry)
            if not wanted or told["kind"] in wanted:
                print(json.dumps(told) if as_json else line(told))
    except RefusedError as error:
        _fail(ctx, EXIT_REFUTED, str(error), as_json)


@audit.command()
@click.argument("directory", metavar="DIR")
@click.argument("index", type=click.IntRange(min=0))
@click.option("-o", "--output", metavar="FILE", help="Write here instead of stdout; an existing file stays.")
@click.pass_context
def prove(ctx: click.Context, directory: str, index: int, output: str | None) -> None:
    """Write the proof that entry INDEX is in the log: a C2SP tlog-proof with the entry as its extra line.

    Whoever has the log's key can verify it without the log.
    """
    from audit.prove import prove_entry
    from keys.errors import RefusedError

    folder = _folder(ctx, directory, False)
    try:
        text = prove_entry(folder, index)
    except RefusedError as error:
        _fail(ctx, EXIT_REFUTED, str(error), False)
    except LookupError as error:
        _fail(ctx, EXIT_NONE, str(error), False)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        with Path(output).open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError:
        _fail(ctx, EXIT_USAGE, f"{output} is there already", False)
    except OSError as error:
        _fail(ctx, EXIT_USAGE, f"{output} cannot be written: {error.strerror}", False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``exchange-audit`` and end the process with its exit code."""
    try:
        code = audit.main(
            args=None if arguments is None else list(arguments), prog_name="exchange-audit", standalone_mode=False
        )
    except click.ClickException as error:
        print(f"exchange-audit: error: {error.format_message()}", file=sys.stderr)
        code = EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away; the verdict was not delivered, so it must not be 0.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _folder(ctx: click.Context, directory: str, as_json: bool) -> "TileFolder":
    from audit.tiles import CHECKPOINT, TileFolder

    root = Path(directory)
    if not root.is_dir():
        _fail(ctx, EXIT_NONE, f"{directory}: no such folder", as_json)
    if not (root / CHECKPOINT).exists() and (root / "log" / CHECKPOINT).exists():
        root /= "log"
    return TileFolder(root)


def _key(
    ctx: click.Context, folder: "TileFolder", key_text: str | None, roster_file: str | None, as_json: bool
) -> "tuple[VerifierKey | None, str]":
    from audit.checkpoint import parse_verifier_key
    from keys.errors import RefusedError

    if key_text:
        try:
            return parse_verifier_key(key_text), "given"
        except RefusedError as error:
            _fail(ctx, EXIT_USAGE, f"--key: {str(error).removeprefix('checkpoint: ')}", as_json)
    if roster_file:
        from audit.trust import key_from_roster

        try:
            return key_from_roster(Path(roster_file), folder)
        except FileNotFoundError:
            _fail(ctx, EXIT_NONE, f"{roster_file}: no such file", as_json)
        except (RefusedError, OSError) as error:
            _fail(ctx, EXIT_REFUTED, f"{roster_file}: {error}", as_json)
    return None, ""


def _outside(ctx: click.Context, name: str, folder: "TileFolder", as_json: bool) -> "Outside":
    from audit.outside import MAX_OUTSIDE_BYTES, Outside

    try:
        if Path(name).resolve().is_relative_to(folder.root.resolve()):
            return Outside(name=name, problem="it lies in the log folder itself, so it says nothing from outside")
        with Path(name).open("rb") as file:
            return Outside(name=name, data=file.read(MAX_OUTSIDE_BYTES + 1))
    except FileNotFoundError:
        _fail(ctx, EXIT_NONE, f"{name}: no such file", as_json)
    except OSError as error:
        return Outside(name=name, problem=f"cannot be read: {error.strerror}")


def _report_json(report: "Report") -> dict[str, Any]:
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


def _print_report(report: "Report") -> None:
    if report.origin is not None:
        print(f"{_safe(report.origin)}")
    for step in report.steps:
        told = step.detail if step.result == "ok" else f"{step.result}: {step.detail}"
        print(f"  {step.step} {step.name:<11} {_safe(told)}{'  ok' if step.result == 'ok' else ''}")
    print(f"{_safe(report.verdict[0].upper() + report.verdict[1:])}. {_unchecked(report)}")


def _unchecked(report: "Report") -> str:
    """Say what no verifier can, and what this run did not."""
    if report.exit_code == EXIT_REFUTED:
        return "Keep these files as they are: they are the evidence."
    missing = ["whether an entry's content is true"]
    if report.anchored is None:
        missing.append("whether entries were cut off the end")
    elif report.size is not None and report.anchored < report.size:
        missing.append(f"entries from {report.anchored:,} on against anybody outside")
    missing += [f"step {step.step}, {step.name}" for step in report.steps if step.result == "not checked"]
    return f"Not checked here: {'; '.join(missing)}."


def _fail(ctx: click.Context, code: int, message: str, as_json: bool) -> NoReturn:
    if as_json and ctx.info_name == "verify":
        _print_json({"verdict": f"not verified: {message}", "origin": None, "size": None, "root": None, "steps": []})
    elif as_json:
        _print_json({"ok": False, "message": message})
    else:
        print(f"{ctx.find_root().info_name}: error: {_safe(message)}", file=sys.stderr)
    ctx.exit(code)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value))


def _safe(text: str) -> str:
    """Keep whatever a file says from steering the terminal."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


if __name__ == "__main__":
    main()
