"""A reply takes over marking, audience, case and status; nobody hears it who could not hear the question."""

from __future__ import annotations

from pathlib import Path

import pytest

from exchange.authoring.draft import read_draft
from exchange.authoring.reply import inherit, make_reply
from exchange.v1 import bulletin_pb2 as pb

EXAMPLES = Path(__file__).resolve().parents[3] / "exchange/examples"


def _example(number: str) -> pb.Bulletin:
    (path,) = EXAMPLES.glob(f"{number}-*.yaml")
    message = read_draft(path.read_bytes()).message
    assert message is not None
    return message


@pytest.mark.parametrize("number", [f"{each:02}" for each in range(1, 26)])
def test_the_marking_is_never_below_the_originals(number: str) -> None:
    original = _example(number)
    reply = make_reply(original, ["Seen."], agency="HK-IMMD")
    assert reply.header.marking == original.header.marking
    assert reply.header.status == original.header.status


def test_the_audience_is_who_heard_the_question_and_who_asked_it() -> None:
    original = _example("07")
    reply = make_reply(original, ["Seen."], agency="HK-SB")
    told = {each.agency: each.role for each in reply.header.addressees}
    assert told.pop("HK-IMMD") == pb.ADDRESSEE_ROLE_ACTION
    assert set(told) == {each.agency for each in original.header.addressees} - {"HK-SB"}
    assert set(told.values()) == {pb.ADDRESSEE_ROLE_INFO}


def test_it_names_what_it_answers() -> None:
    original = _example("12")
    reply = make_reply(original, ["One.", "Two."], agency="HK-SB")
    (relation,) = reply.header.relations
    assert (relation.type, relation.bulletin_id) == (pb.RELATION_TYPE_REPLIES_TO, original.header.bulletin_id)
    assert reply.header.your_ref == original.header.number


def test_every_question_answered_is_a_full_reply_else_a_partial_one() -> None:
    original = _example("12")
    asked = [each.id for each in original.information_request.questions]
    assert len(asked) > 1
    full = make_reply(original, [f"{each}: yes" for each in asked], agency="HK-SB")
    assert full.information_reply.type == pb.REPLY_TYPE_FULL
    assert [each.question for each in full.information_reply.answers] == asked
    partial = make_reply(original, ["Q2: later"], agency="HK-SB")
    assert partial.information_reply.type == pb.REPLY_TYPE_PARTIAL
    assert [each.question for each in partial.information_reply.answers] == ["Q2"]


def test_where_nothing_was_asked_it_is_an_acknowledgement() -> None:
    reply = make_reply(_example("11"), ["Seen."], agency="HK-IMMD")
    assert reply.information_reply.type == pb.REPLY_TYPE_INTERIM


def test_what_the_author_wrote_stays() -> None:
    original, own = _example("12"), pb.Bulletin()
    own.header.addressees.add(agency="HK-LEGCO", role=pb.ADDRESSEE_ROLE_ACTION)
    own.header.marking.tlp = pb.TLP_RED
    own.header.your_ref = "mine"
    inherit(own.header, original.header, agency="HK-SB")
    assert [each.agency for each in own.header.addressees] == ["HK-LEGCO"]
    assert own.header.marking.tlp == pb.TLP_RED
    assert own.header.your_ref == "mine"
