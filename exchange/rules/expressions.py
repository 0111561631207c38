"""The schema's rules about how fields agree, written twice: there in CEL, here in Python, side by side.

The key is the expression as it stands in ``bulletin.proto``. Whoever changes it there changes the key: the quick way
(``quick``) then knows it no more, leaves such bulletins to protovalidate, and a test says which expression lacks its
second half. ``this`` is the message, or the field's value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from exchange.v1 import bulletin_pb2 as pb

Agrees = Callable[[Any], bool]

_UUID7 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_POOLS = ("persons", "vehicles", "places", "contacts", "accounts", "organisations")
_CHILD = (pb.MINOR_YES, pb.MINOR_PRESUMED)
_VICTIMS = {pb.PERSON_CATEGORY_ASSISTANCE_SEEKER, pb.PERSON_CATEGORY_POSSIBLE_VICTIM, pb.PERSON_CATEGORY_VICTIM}
_ACCUSED = {pb.PERSON_CATEGORY_SUSPECT, pb.PERSON_CATEGORY_CONVICTED}


def _is_kind(this: Any, kind: str) -> bool:
    return bool(this.WhichOneof("body") == kind)


def _relations(this: Any, kind: int) -> int:
    return sum(each.type == kind for each in this.header.relations)


def _replies(this: Any) -> bool:
    return not _is_kind(this, "information_reply") or _relations(this, pb.RELATION_TYPE_REPLIES_TO) > 0


def _corrects(this: Any) -> bool:
    return not _is_kind(this, "correction") or _relations(this, pb.RELATION_TYPE_CORRECTS) == 1


def _recalls(this: Any) -> bool:
    return not _is_kind(this, "recall") or _relations(this, pb.RELATION_TYPE_RECALLS) > 0


def _asks(this: Any) -> bool:
    asking = this.WhichOneof("body") in ("information_request", "intervention_request")
    return not asking or bool(this.header.HasField("reply_by"))


def _unique_ids(this: Any) -> bool:
    ids = [each.id for name in _POOLS for each in getattr(this, name)]
    return len(set(ids)) == len(ids)


def _instant(stamp: Any) -> tuple[int, int]:
    return stamp.seconds, stamp.nanos


def _expires_later(this: Any) -> bool:
    if not this.HasField("expires_at"):
        return True
    end = _instant(this.expires_at)
    return end > _instant(this.issued_at) and (not this.HasField("valid_from") or end > _instant(this.valid_from))


def _dual(this: Any) -> bool:
    categories = set(this.categories)
    return not (categories & _VICTIMS and categories & _ACCUSED) or this.non_punishment_review != ""


def _palermo(this: Any) -> bool:
    if this.victim_status != pb.VICTIM_STATUS_ACTUAL:
        return True
    found = this.exploitation
    return bool(found.acts and found.purposes and (found.means or this.minor in _CHILD))


EXPRESSIONS: Mapping[str, Agrees] = MappingProxyType(
    {
        "!has(this.information_reply) || this.header.relations.exists(r, r.type == 1)": _replies,
        "!has(this.correction) || this.header.relations.filter(r, r.type == 2).size() == 1": _corrects,
        "!has(this.recall) || this.header.relations.exists(r, r.type == 3)": _recalls,
        "!has(this.lookout) || has(this.header.expires_at)": (
            lambda this: not _is_kind(this, "lookout") or this.header.HasField("expires_at")
        ),
        "!(has(this.information_request) || has(this.intervention_request)) || has(this.header.reply_by)": _asks,
        "(this.persons.map(x, x.id) + this.vehicles.map(x, x.id) + this.places.map(x, x.id)"
        " + this.contacts.map(x, x.id) + this.accounts.map(x, x.id)"
        " + this.organisations.map(x, x.id)).unique()": _unique_ids,
        "this.matches('^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')": (
            lambda this: _UUID7.fullmatch(this) is not None
        ),
        "!has(this.reply_by) || this.reply_by > this.issued_at": (
            lambda this: not this.HasField("reply_by") or _instant(this.reply_by) > _instant(this.issued_at)
        ),
        "!has(this.expires_at) || (this.expires_at > this.issued_at && (!has(this.valid_from)"
        " || this.expires_at > this.valid_from))": _expires_later,
        "this.urgency == 4 || this.urgency_reason != ''": (
            lambda this: this.urgency == pb.URGENCY_ROUTINE or this.urgency_reason != ""
        ),
        "this.number.startsWith(this.originator + '/')": lambda this: this.number.startswith(this.originator + "/"),
        "this.tlp != 1 || this.classification == 1": (
            lambda this: this.tlp != pb.TLP_CLEAR or this.classification == pb.CLASSIFICATION_UNCLASSIFIED
        ),
        "!this.handling.exists(h, h == 4) || this.handling_text != ''": (
            lambda this: pb.HANDLING_CODE_H3 not in this.handling or this.handling_text != ""
        ),
        "this.bulletin_id != '' || has(this.case)": lambda this: this.bulletin_id != "" or this.HasField("case"),
        "(this.basis == 3) == (this.confidence != 0)": (
            lambda this: (this.basis == pb.BASIS_ASSESSMENT) == (this.confidence != 0)
        ),
        "this.label != '' || this.names.size() > 0": lambda this: this.label != "" or len(this.names) > 0,
        "!(this.minor == 1 || this.minor == 3) || this.best_interests != ''": (
            lambda this: this.minor not in _CHILD or this.best_interests != ""
        ),
        "!(this.categories.exists(c, c in [1, 2, 3]) && this.categories.exists(c, c in [5, 6]))"
        " || this.non_punishment_review != ''": _dual,
        "this.victim_status != 2 || (has(this.exploitation) && this.exploitation.acts.size() > 0"
        " && this.exploitation.purposes.size() > 0 && (this.exploitation.means.size() > 0"
        " || this.minor == 1 || this.minor == 3))": _palermo,
        "this.victim_status == 0 || this.victim_status_decided_by != 0": (
            lambda this: this.victim_status == 0 or this.victim_status_decided_by != 0
        ),
        "(this.to == 13) == (this.closure != 0)": (
            lambda this: (this.to == pb.CASE_STATE_CLOSED) == (this.closure != 0)
        ),
        "this.action != 4 || has(this.warrant)": (
            lambda this: this.action != pb.LOOKOUT_ACTION_ARREST or this.HasField("warrant")
        ),
        "this.change == 5 || this.level != ''": (
            lambda this: this.change == pb.ALERT_CHANGE_INFO_UPDATED or this.level != ""
        ),
        "!(this.stage in [4, 5]) || (has(this.at) && this.place != '')": (
            lambda this: (
                this.stage not in (pb.HANDOVER_STAGE_SCHEDULED, pb.HANDOVER_STAGE_COMPLETED)
                or (this.HasField("at") and this.place != "")
            )
        ),
        "(this.type == 5) == (this.refusal != 0)": (
            lambda this: (this.type == pb.REPLY_TYPE_REFUSED) == (this.refusal != 0)
        ),
        "this.type != 6 || has(this.new_due)": (
            lambda this: this.type != pb.REPLY_TYPE_DELAY_NOTICE or this.HasField("new_due")
        ),
        "!(this.type in [2, 3]) || this.answers.size() > 0": (
            lambda this: this.type not in (pb.REPLY_TYPE_PARTIAL, pb.REPLY_TYPE_FULL) or len(this.answers) > 0
        ),
    }
)
