"""From what somebody wrote to what can be signed: read, complete, judge, name the statements that relations are about.

Only bytes that the program fully understands are signed, so a draft is judged here as strictly as at the node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from exchange.acts.stored_bulletin import needs_target
from exchange.authoring.draft import Draft, read_draft
from exchange.authoring.template import Issuer, complete
from exchange.authoring.yaml_tree import MAX_FILE_BYTES
from exchange.records.bulletin import id_bytes, kind_of, uuid7
from exchange.rules import check_bulletin
from exchange.rules.catalogue import Catalogue
from exchange.rules.complaint import RulesError, nearest
from exchange.v1 import bulletin_pb2 as pb
from keys.errors import RefusedError
from keys.roster import Roster

Source = Path | bytes | pb.Bulletin

_OWN_TARGETS = frozenset({pb.RELATION_TYPE_CORRECTS, pb.RELATION_TYPE_RECALLS, pb.RELATION_TYPE_SUPERSEDES})


class FindDigest(Protocol):
    """Looks up the digest of a stored statement; RefusedError TARGET_MISSING."""

    def __call__(self, bulletin_id: bytes, *, own: bool) -> bytes: ...


class Readable(Protocol):
    """A draft whose message is there."""

    @property
    def message(self) -> pb.Bulletin: ...
    def line_of(self, path: str) -> int | None: ...


def read_source(source: Source) -> Readable:
    """Read a draft.

    Raises:
        RulesError: It cannot be read as one.
        FileNotFoundError: There is no such file.
    """
    if isinstance(source, pb.Bulletin):
        return _Made(source)
    if isinstance(source, Path):
        with source.open("rb") as opened:
            source = opened.read(MAX_FILE_BYTES + 1)
    draft = read_draft(source)
    if draft.message is None:
        raise RulesError(draft.complaints)
    return _Made(draft.message, draft)


class _Made:
    """A message, with the lines that it was read from, if it was."""

    def __init__(self, message: pb.Bulletin, draft: Draft | None = None) -> None:
        self.message, self._draft = message, draft

    def line_of(self, path: str) -> int | None:
        return self._draft.line_of(path) if self._draft is not None else None


def complete_draft(
    message: pb.Bulletin,
    *,
    agency: str,
    author: str,
    now_ms: int,
    random_bytes: Callable[[int], bytes],
    catalogue: Catalogue,
) -> pb.Bulletin:
    """Fill in the header; where the number is missing the first of the year stands in until one is reserved."""
    bulletin_id = uuid7(now_ms, random_bytes(10))
    issuer = Issuer(agency=agency, author=author, now_ms=now_ms, serial=1, bulletin_id=bulletin_id)
    return complete(message, issuer, catalogue)


def check_rules(bulletin: pb.Bulletin, catalogue: Catalogue, draft: Readable) -> None:
    """Judge a complete bulletin; RulesError with every complaint, each with its line."""
    found = check_bulletin(bulletin, catalogue)
    if found:
        raise RulesError(tuple(replace(each, line=draft.line_of(each.path)) for each in found))


class AudienceError(RefusedError):
    """Somebody is addressed who is not in the roster."""

    def __init__(self, agency: str, roster: Roster) -> None:
        super().__init__("NOT_A_MEMBER", f"{agency} is not in roster {roster.version}")
        self.hint = nearest(agency, (each.agency for each in roster.members)) or ""

    @property
    def exit_as(self) -> str:
        """Return that the draft is wrong: nobody untrusted is at the other side."""
        return "USAGE"


def check_audience(recipients: Iterable[str], roster: Roster) -> None:
    """Refuse a bulletin for an agency that is no member; AudienceError says whom was probably meant."""
    for agency in recipients:
        if roster.member(agency) is None:
            raise AudienceError(agency, roster)


def needs(written: pb.Bulletin, bulletin: pb.Bulletin, catalogue: Catalogue) -> tuple[str, int] | None:
    """Return which number must be reserved, as (kind's code, year); None where the author wrote one."""
    if written.header.number:
        return None
    year = bulletin.header.number.split("/")[2]
    return catalogue.kinds[kind_of(bulletin)].code, int(year)


def fill_targets(bulletin: pb.Bulletin, find: FindDigest) -> None:
    """Name the very statements that relations are about; an author writes their ids only."""
    for relation in bulletin.header.relations:
        if relation.bulletin_id and not relation.statement_digest and needs_target(relation):
            relation.statement_digest = find(id_bytes(relation.bulletin_id), own=relation.type in _OWN_TARGETS)
