"""Start a bulletin: a commented template per kind, and the header fields that nobody needs to type.

Policy gives marking, urgency and retention; a kind's template adds what policy does not say: purposes and legal basis.
Both ways in, a template and a file with ten lines, get the same values. No clock and no randomness: both are arguments.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from google.protobuf.descriptor import EnumDescriptor

from exchange.records.bulletin import EPOCH, enum_words, kind_of
from exchange.rules.catalogue import Catalogue, KindPolicy
from exchange.v1 import bulletin_pb2 as pb
from keys.durations import DAY_MS

BLANK = "# ←"  # marks what the officer fills in; an example follows "e.g."
LOOKOUT_DAYS = 30  # what a template proposes; policy allows more
_COLUMN = 34  # where comments begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What a kind is for, and by what right it is usually sent."""

    about: str
    purposes: tuple[str, ...]
    legal_basis: tuple[str, ...]
    relation: str = ""  # the relation that this kind cannot do without
    body: str = ""  # the kind's own part of a template


_KEPT_DAYS = {  # until review, by retention class
    "public": 5 * 365,
    "statistical": 10 * 365,
    "transient-90d": 90,
    "case-close-plus-1y": 365,
    "case-5y": 5 * 365,
    "audit-7y": 7 * 365,
}
_ASKS = ("information_request", "intervention_request")  # kinds that need reply_by


@cache
def usual_of(kind: str) -> Usual:
    """Return what ``exchange/templates/`` says of a kind: what is usual, then ``---``, then the body's template."""
    file = resources.files("exchange") / "templates" / f"{kind}.yaml"
    if not file.is_file():
        return Usual(about="", purposes=(), legal_basis=(), body=f"{kind}:\n")
    head, _, body = file.read_text(encoding="utf-8").partition("---\n")
    said = yaml.load(head, Loader=yaml.BaseLoader)  # noqa: S506 - plain strings and lists of them
    return Usual(
        about=said["about"],
        purposes=tuple(said["purposes"]),
        legal_basis=tuple(said["legal_basis"]),
        relation=said.get("relation", ""),
        body=body,
    )


def make_number(originator: str, policy: KindPolicy, now_ms: int, serial: int) -> str:
    """Write a bulletin's number: ``HK-SB/TRA/2025/000001``."""
    return f"{originator}/{policy.code}/{_day(now_ms).year}/{serial % 1_000_000:06}"


def minute_of_year(now_ms: int) -> int:
    """A serial for who keeps no register: it fits six digits, and an officer writes one bulletin a minute at most."""
    first = (dt.date(_day(now_ms).year, 1, 1) - EPOCH).days * DAY_MS
    return (now_ms - first) // 60_000


_MARKING = (
    "    # handling: [h1]              # h0 police use, h1 not in court, h2 not onward, h3 see handling_text",
    "    # pap: amber                  # what may be done with it: clear, green, amber, red",
)
_OPTIONAL = (
    "  # case: {owner: HK-SB, ref: SBCR 1065/2/2091/92 Pt.2}",
    "  # as_of: 2025-01-24             # the day the information is true of; also 2025-01, 2025-01~, 2025-01-XX",
    "  # grading: {source: b, information: '2'}   # a to f, 1 to 6",
    "  # sources: [{file: name of a document, locator: page}]",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who issues a bulletin, when, and under which numbers."""

    agency: str  # the author's, the originator
    author: str  # the officer's id without the agency; it overrides what the draft says
    now_ms: int  # milliseconds UTC, for issued_at, number and review_by
    serial: int  # for the number, below a million
    bulletin_id: str  # a new UUID version 7


def complete(message: pb.Bulletin, issuer: Issuer, catalogue: Catalogue) -> pb.Bulletin:
    """Fill in the header fields that a draft leaves out; what stands there stays.

    Args:
        message: A draft as read; it is not changed.
        issuer: Who, when.
        catalogue: Its policy row of the kind gives marking, urgency and retention.
    """
    done = pb.Bulletin()
    done.CopyFrom(message)
    header, kind = done.header, kind_of(done)
    header.author = issuer.author
    header.bulletin_id = header.bulletin_id or issuer.bulletin_id
    header.originator = header.originator or issuer.agency
    header.status = header.status or pb.MESSAGE_STATUS_ACTUAL
    header.lang = header.lang or (header.subject[0].lang if header.subject else "en")
    if not header.HasField("issued_at"):
        header.issued_at.FromMilliseconds(issuer.now_ms)
    policy = catalogue.kinds.get(kind)
    if policy is not None:
        header.number = header.number or make_number(header.originator, policy, issuer.now_ms, issuer.serial)
        _fill_policy(header, policy, issuer.now_ms)
        _fill_usual(header, usual_of(kind))
    return done


def _fill_policy(header: pb.Header, policy: KindPolicy, now_ms: int) -> None:
    header.urgency = header.urgency or _number_of(pb.Urgency.DESCRIPTOR, policy.urgency)
    header.marking.tlp = header.marking.tlp or _number_of(pb.Tlp.DESCRIPTOR, policy.tlp)
    marked = _number_of(pb.Classification.DESCRIPTOR, policy.classification)
    header.marking.classification = header.marking.classification or marked
    retention = header.retention
    if not getattr(retention, "class"):
        setattr(retention, "class", _number_of(pb.RetentionClass.DESCRIPTOR, policy.retention))
        retention.review_by = retention.review_by or _review_by(policy, now_ms)


def _fill_usual(header: pb.Header, usual: Usual) -> None:
    if not header.purposes:
        header.purposes.extend(_number_of(pb.Purpose.DESCRIPTOR, word) for word in usual.purposes)
    if not header.legal_basis:
        for word in usual.legal_basis:
            header.legal_basis.add(type=_number_of(pb.LegalBasisType.DESCRIPTOR, word))


def make_template(
    kind: str, *, originator: str | None, status: str, bulletin_id: str, now_ms: int, catalogue: Catalogue
) -> str:
    """Write a commented template that passes the check once its blanks are filled in.

    Args:
        kind: A body key of the catalogue.
        originator: The author's agency; None leaves it and the number blank.
        status: actual, exercise or test.
        bulletin_id: A new UUID version 7.
        now_ms: Milliseconds UTC.
        catalogue: Gives the defaults.
    """
    policy, usual = catalogue.kinds[kind], usual_of(kind)
    now = dt.datetime.combine(_day(now_ms), dt.time(), dt.UTC) + dt.timedelta(milliseconds=now_ms % DAY_MS)
    lines = [
        f"# {kind} ({policy.code}): {usual.about}",
        f"# Fill in every line marked {BLANK[2:]}  Lines that begin with # are optional: take the # away to use one.",
        "# Then: exchange check FILE, and exchange publish FILE",
        "header:",
        _line("bulletin_id:", bulletin_id),
        *_identity(kind, policy, originator, now_ms, catalogue),
        _line("issued_at:", f"'{now:%Y-%m-%dT%H:%M:%SZ}'", "any offset will do, but one must stand there"),
        _line("status:", status, "actual, exercise or test"),
        *_urgency(kind, policy, now, catalogue),
        "  addressees:",
        _blank("    - agency:", "who must act; one such pair of lines each", _receiver(kind, originator, catalogue)),
        "      role: action                # action or info",
        "  subject:",
        "    - lang: en",
        _blank("      text:", "one line", "What this is about"),
        "  marking:",
        _line("  tlp:", policy.tlp, "clear, green, amber, amber-strict, red"),
        _line("  classification:", policy.classification, "unclassified, restricted, confidential, secret"),
        *_MARKING,
        _line("purposes:", f"[{', '.join(usual.purposes)}]"),
        "  legal_basis:",
        *(f"    - type: {word}" for word in usual.legal_basis),
        _line("lang:", "en"),
        "  retention:",
        _line("  class:", policy.retention),
        _line("  review_by:", _review_by(policy, now_ms)),
        *_relations(usual),
        *_OPTIONAL,
        usual.body,
    ]
    return "\n".join(lines)


def _identity(kind: str, policy: KindPolicy, originator: str | None, now_ms: int, catalogue: Catalogue) -> list[str]:
    if originator is not None:
        number = make_number(originator, policy, now_ms, minute_of_year(now_ms))
        return [_line("number:", number, "your register's number, if it has one"), _line("originator:", originator)]
    may = (code for code, row in catalogue.agencies.items() if catalogue.may_issue(kind, row.type))
    agency = next(may, "HK-SB")
    number = make_number(agency, policy, now_ms, 1)
    return [
        _blank("  number:", "originator/kind/year/serial", number),
        _blank("  originator:", "your agency", agency),
    ]


def _urgency(kind: str, policy: KindPolicy, now: dt.datetime, catalogue: Catalogue) -> list[str]:
    hours = catalogue.deadline_hours
    listed = ", ".join(f"{word} {limit} h" for word, limit in hours.items())
    lines = [_line("urgency:", policy.urgency, f"answers within: {listed}")]
    if policy.urgency != "routine":
        lines.append(_blank("  urgency_reason:", "why it cannot wait", "persons are held against their will"))
    if kind in _ASKS:
        due = now + dt.timedelta(hours=hours[policy.urgency])
        lines.append(_line("reply_by:", f"'{due:%Y-%m-%dT%H:%M:%SZ}'"))
    if policy.max_days is not None:
        ends = now + dt.timedelta(days=min(LOOKOUT_DAYS, policy.max_days))
        lines.append(_line("expires_at:", f"'{ends:%Y-%m-%dT%H:%M:%SZ}'", f"at most {policy.max_days} days"))
    return lines


def _relations(usual: Usual) -> list[str]:
    if not usual.relation:
        return ["  # relations: [{type: follows, bulletin_id: 0182e6ae-ed80-7198-aab8-7ecb5884e668}]"]
    blank = _blank("      bulletin_id:", "of the bulletin meant", "0182e6ae-ed80-7198-aab8-7ecb5884e668")
    return ["  relations:", f"    - type: {usual.relation}", blank]


def _receiver(kind: str, originator: str | None, catalogue: Catalogue) -> str:
    """Find an agency that may receive this kind, for the example."""
    others = (agency for agency in catalogue.agencies if agency != originator)
    return next((one for one in others if catalogue.may_receive(kind, catalogue.agencies[one].type)), "HK-IMMD")


def _number_of(enum: EnumDescriptor, word: str) -> Any:
    """Find an enum's number by its word; the stubs give each enum a type of its own."""
    return enum_words(enum)[word]


def _review_by(policy: KindPolicy, now_ms: int) -> str:
    return (_day(now_ms) + dt.timedelta(days=_KEPT_DAYS.get(policy.retention, 365))).isoformat()


def _day(now_ms: int) -> dt.date:
    return EPOCH + dt.timedelta(days=now_ms // DAY_MS)


def _line(key: str, value: str, comment: str = "") -> str:
    line = f"  {key} {value}"
    return f"{line.ljust(_COLUMN - 1)} # {comment}" if comment else line


def _blank(key: str, what: str, example: str) -> str:
    return f"{key.ljust(_COLUMN)}{BLANK} {what}, e.g. {example}"
