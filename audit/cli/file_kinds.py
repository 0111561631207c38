"""What kinds of file ``exchange audit verify`` tells apart by their first bytes, and which options each of them takes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keys.cli.failure import CommandError

HEAD_BYTES = 1024  # of a file are shown to the kinds: a tar member's header and the beginning of its content


class FileKind(NamedTuple):
    """A kind of file: how its first ``HEAD_BYTES`` tell it, and ``module:function(path, options)`` to verify it.

    The function prints its own report and returns the exit code. An option that the kind does not take is
    refused: who asks for a check must not be told "verified" without it.
    """

    name: str
    is_one: Callable[[bytes], bool]
    verify: str
    takes: frozenset[str]  # of ``FLAGS``


# Options by what they fill in ``VerifyOptions``.
FLAGS = {
    "key_text": "--key",
    "roster_file": "--roster",
    "against": "--against",
    "witnesses_file": "--witnesses",
    "now_s": "--now",
    "since_file": "--from-checkpoint",
    "manifest_file": "--manifest",
    "tsa_file": "--tsa-ca",
    "stamps": "--stamps",
}

# The first that fits; a folder is a log or a home.
FILE_KINDS: tuple[FileKind, ...] = (
    FileKind(
        "an evidence file",
        lambda head: head.startswith(b"PK\x03\x04"),
        "audit.cli.evidence:verify_file",
        frozenset(("roster_file", "tsa_file")),
    ),
    FileKind(
        "two notes of a fork",
        lambda head: head.startswith(b"exchange-fork/1\n"),
        "audit.cli.fork:verify_file",
        frozenset(("key_text", "roster_file")),
    ),
    FileKind(
        "a bundle",
        lambda head: head[257:263] == b"ustar\0" or head[:7] == b"README\0",
        "audit.cli.bundle:verify_file",
        frozenset(FLAGS),
    ),
    FileKind(
        "disclosed fields",
        lambda head: head.startswith(b"exchange/v1/disclosure\n"),
        "audit.cli.disclosure:verify_file",
        frozenset(("key_text", "roster_file")),
    ),
)


def kind_of(path: Path) -> FileKind:
    """Return what a file is, by its first bytes.

    Raises:
        CommandError: REFUTED: it is of no kind that can be verified, and a broken file is never "nothing there".
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for kind in FILE_KINDS:
        if kind.is_one(head):
            return kind
    kinds = " nor ".join(["a log folder", *(kind.name for kind in FILE_KINDS)])
    raise CommandError("REFUTED", f"{path}: neither {kinds}")
