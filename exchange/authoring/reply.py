"""A reply made from the bulletin that it answers: marking, audience, case and status are inherited, widening must be said.

The audience is the originator and whoever else was addressed; nobody who could not see the question sees the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from exchange.records.bulletin import kind_of
from exchange.v1 import bulletin_pb2 as pb

MAX_SUBJECT = 200  # characters, as the schema has them
_ANSWER = re.compile(r"(Q[1-9][0-9]?):\s*(.+)", re.DOTALL)


def make_reply(original: pb.Bulletin, texts: Sequence[str], *, agency: str) -> pb.Bulletin:
    """Write an information reply.

    Args:
        original: Opened and verified.
        texts: One for each question, ``Q2: …``; without a number they answer Q1, Q2 … in their order.
        agency: Ours.
    """
    reply = pb.Bulletin()
    inherit(reply.header, original.header, agency=agency)
    answers = dict(_numbered(texts))
    asked = [question.id for question in original.information_request.questions]
    reply.information_reply.type = _type(kind_of(original), asked, list(answers))
    for question, text in answers.items():
        reply.information_reply.answers.add(question=question).text.add(lang=reply.header.lang, text=text)
    return reply


def inherit(header: pb.Header, original: pb.Header, *, agency: str) -> None:
    """Fill in what a reply takes over and its author has left out; the relation to the original always."""
    if not header.addressees:
        header.addressees.add(agency=original.originator, role=pb.ADDRESSEE_ROLE_ACTION)
        for each in original.addressees:
            if each.agency not in (agency, original.originator):
                header.addressees.add(agency=each.agency, role=pb.ADDRESSEE_ROLE_INFO)
    if not header.HasField("marking"):
        header.marking.CopyFrom(original.marking)
    if not header.HasField("case") and original.HasField("case"):
        header.case.CopyFrom(original.case)
    header.status = header.status or original.status
    header.lang = header.lang or original.lang
    header.your_ref = header.your_ref or original.number[:64]
    header.purposes.extend(() if header.purposes else original.purposes)
    header.legal_basis.extend(() if header.legal_basis else original.legal_basis)
    if not header.subject:
        for line in original.subject:
            header.subject.add(lang=line.lang, text=f"Re: {line.text}"[:MAX_SUBJECT])
    if not any(each.bulletin_id == original.bulletin_id for each in header.relations):
        header.relations.add(type=pb.RELATION_TYPE_REPLIES_TO, bulletin_id=original.bulletin_id)


def _numbered(texts: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for number, text in enumerate(texts, start=1):
        said = _ANSWER.fullmatch(text)
        found.append((said[1], said[2]) if said else (f"Q{number}", text))
    return found


def _type(kind: str, asked: Sequence[str], answered: Sequence[str]) -> pb.ReplyType.ValueType:
    if kind != "information_request":
        return pb.REPLY_TYPE_INTERIM  # nothing was asked: an acknowledgement
    return pb.REPLY_TYPE_FULL if set(asked) <= set(answered) else pb.REPLY_TYPE_PARTIAL
