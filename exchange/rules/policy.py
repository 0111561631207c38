"""Layer P: who may say what to whom, how it must be marked, and what cannot be true together.

Each rule is a function named for its code; ``RULES`` is their order. A rule that meets an agency unknown to the
directory is silent: layer R has said it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from functools import cache, lru_cache

from exchange.records.bulletin import EPOCH, Tlp, enum_word, kind_of, milliseconds, tlp_of, uuid7_ms
from exchange.rules.catalogue import Catalogue, KindPolicy
from exchange.rules.codes import SPECIMEN
from exchange.rules.complaint import Complaint
from exchange.v1 import bulletin_pb2 as pb
from keys.durations import DAY_MS, HOUR_MS
from keys.values import hot_value

# Year-ends fall within these offsets from UTC; the number's year is the one on the officer's wall.
_EARLIEST, _LATEST = -12 * 3600, 14 * 3600
_DAY = 24 * 3600

_CHILD = {pb.MINOR_YES, pb.MINOR_PRESUMED}
_VICTIM = {pb.PERSON_CATEGORY_POSSIBLE_VICTIM, pb.PERSON_CATEGORY_VICTIM}
_VICTIM_STATUS = {pb.VICTIM_STATUS_POSSIBLE, pb.VICTIM_STATUS_ACTUAL}
_FOR_VICTIMS = {pb.LOOKOUT_ACTION_LOCATE_AND_REPORT, pb.LOOKOUT_ACTION_CHECK_WELFARE}
_OVERRIDES = {pb.LEGAL_BASIS_TYPE_VITAL_INTERESTS, pb.LEGAL_BASIS_TYPE_COURT_ORDER}
_NO_CONSENT = {pb.CONSENT_STATUS_REFUSED, pb.CONSENT_STATUS_WITHDRAWN}
_UNDOES = {pb.RELATION_TYPE_CORRECTS, pb.RELATION_TYPE_RECALLS}


@hot_value(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """One bulletin with what it is judged by."""

    bulletin: pb.Bulletin
    kind: str
    policy: KindPolicy
    catalogue: Catalogue
    targets: Mapping[str, pb.Bulletin]  # bulletin_id -> bulletin, as far as they are here
    header: pb.Header
    found: list[Complaint]  # so far

    def complain(self, code: str, path: str, message: str, hint: str | None) -> None:
        """Note what a rule finds."""
        self.found.append(Complaint(code=code, path=path, message=message, hint=hint))


Rule = Callable[[PolicyCase], None]


def check_policy(
    bulletin: pb.Bulletin, catalogue: Catalogue, targets: Mapping[str, pb.Bulletin]
) -> tuple[Complaint, ...]:
    """Run layer P over a bulletin that passed layer S; a kind without a policy row is not judged."""
    kind = kind_of(bulletin)
    policy = catalogue.kinds.get(kind)
    if policy is None:
        return ()
    case = policy_case(bulletin, kind, policy, catalogue, targets)
    for rule in _rules_of(kind):
        rule(case)
    return tuple(case.found)


def policy_case(
    bulletin: pb.Bulletin, kind: str, policy: KindPolicy, catalogue: Catalogue, targets: Mapping[str, pb.Bulletin]
) -> PolicyCase:
    """Begin to judge a bulletin of a kind by its row."""
    return PolicyCase(
        bulletin=bulletin,
        kind=kind,
        policy=policy,
        catalogue=catalogue,
        targets=targets,
        header=bulletin.header,
        found=[],
    )


def _issuer(case: PolicyCase) -> None:
    originator = case.header.originator
    agency_type = case.catalogue.type_of(originator)
    if agency_type and not case.catalogue.may_issue(case.kind, agency_type):
        allowed = ", ".join(sorted(case.policy.issue))
        message = f"{originator} ({agency_type}) may not issue a bulletin of kind {case.kind}"
        case.complain("P-ISSUER", "header.originator", message, f"allowed: {allowed}")


def _addressee(case: PolicyCase) -> None:
    for index, addressee in enumerate(case.header.addressees):
        agency_type = case.catalogue.type_of(addressee.agency)
        if agency_type and not case.catalogue.may_receive(case.kind, agency_type):
            message = f"{addressee.agency} ({agency_type}) may not receive a bulletin of kind {case.kind}"
            case.complain("P-ADDRESSEE", f"header.addressees[{index}]", message, "leave it out")


def _number(case: PolicyCase) -> None:
    header = case.header
    _, code, year, _ = header.number.split("/")
    issued = header.issued_at.seconds
    years = (_year((issued + _EARLIEST) // _DAY), _year((issued + _LATEST) // _DAY))
    if code != case.policy.code:
        hint = f"write {case.policy.code} for {case.kind}"
        case.complain("P-NUMBER", "header.number", f"the number says {code}, the body is {case.kind}", hint)
    elif year not in years:
        message = f"the number says {year}, issued_at {'/'.join(sorted({*years}))}"
        case.complain("P-NUMBER", "header.number", message, None)


def _marking(case: PolicyCase) -> None:
    """One complaint where both fit: the child's asks for more."""
    persons = case.bulletin.persons
    if not persons:
        return
    tlp = tlp_of(case.bulletin)
    if tlp < Tlp.AMBER_STRICT and any(person.minor in _CHILD for person in persons):
        message = "a (presumed) child may not travel below TLP:AMBER+STRICT"
        case.complain("P-MINOR", "header.marking.tlp", message, "write amber-strict or red")
    elif tlp == Tlp.CLEAR:
        message = "data about persons may not travel under TLP:CLEAR"
        case.complain("P-MARKING", "header.marking.tlp", message, f"usual for {case.kind}: {case.policy.tlp}")


def _expiry(case: PolicyCase) -> None:
    header, days = case.header, case.policy.max_days
    if days is None or not header.HasField("expires_at"):
        return
    if milliseconds(header.expires_at) > milliseconds(header.issued_at) + days * DAY_MS:
        message = f"a bulletin of kind {case.kind} lives {days} days at most"
        case.complain("P-EXPIRY", "header.expires_at", message, "set an earlier day and renew it in time")


def _victim(case: PolicyCase) -> None:
    if case.kind != "lookout" or case.bulletin.lookout.action in _FOR_VICTIMS:
        return
    subjects = set(case.bulletin.lookout.subjects)
    victims = [person.id for person in case.bulletin.persons if person.id in subjects and _is_victim(person)]
    if victims:
        message = f"{', '.join(victims)}: a (possible) victim may only be located or checked on"
        case.complain("P-VICTIM", "lookout.subjects", message, "action: locate-and-report or check-welfare")


def _consent(case: PolicyCase) -> None:
    header, persons = case.header, case.bulletin.persons
    if not persons:
        return
    overridden = any(basis.type in _OVERRIDES for basis in header.legal_basis)
    external: set[int] = set()
    for index, person in enumerate(persons):
        if person.consent.status in _NO_CONSENT and not overridden:
            message = f"{person.id} did not agree to this being shared"
            hint = "only vital interests or a court order (header.legal_basis) override that"
            case.complain("P-CONSENT", f"persons[{index}].consent", message, hint)
        if person.consent.status == pb.CONSENT_STATUS_GIVEN:
            allowed = frozenset(person.consent.share_with)
            for place, addressee in enumerate(header.addressees):
                stranger = addressee.agency not in case.catalogue.agencies
                own = addressee.agency == header.originator
                if not stranger and not own and not _covers(allowed, addressee.agency):
                    external.add(place)
    for place in sorted(external):
        message = f"{header.addressees[place].agency} is on no list that the persons agreed to"
        case.complain("P-CONSENT", f"header.addressees[{place}]", message, "ask the person, or leave it out")


def _specimen(case: PolicyCase) -> None:
    if case.header.status != pb.MESSAGE_STATUS_ACTUAL:
        return
    for index, person in enumerate(case.bulletin.persons):
        if any(document.issuer == SPECIMEN for document in person.documents):
            message = "UTO is the issuer of ICAO's specimen; it cannot be an actual document"
            case.complain("P-SPECIMEN", f"persons[{index}].documents", message, "status: exercise or test")


def _sum(case: PolicyCase) -> None:
    measures = case.bulletin.statistics_return.measures
    known = {"", *(measure.code for measure in measures)}
    if any(measure.part_of not in known for measure in measures):
        return  # R-REF says it, and without that part no sum can be judged
    for measure in measures:
        if measure.unit == pb.UNIT_PERCENT and measure.value > 100:
            case.complain("P-SUM", "statistics_return.measures", f"{measure.code} is over 100 per cent", None)
        parts = [part for part in measures if part.part_of == measure.code]
        if measure.exhaustive and parts and not _may_agree(measure, parts):
            total = sum(part.value for part in parts)
            message = f"the parts of {measure.code} add up to {total}, not {measure.value}"
            case.complain("P-SUM", "statistics_return.measures", message, "or take exhaustive: true away")


def _level(case: PolicyCase) -> None:
    order = case.catalogue.levels.get(case.bulletin.travel_alert.scheme, ())
    for index, area in enumerate(case.bulletin.travel_alert.areas):
        if area.level not in order or area.level_before not in order:
            continue
        step = order.index(area.level) - order.index(area.level_before)
        raised = area.change == pb.ALERT_CHANGE_RAISED and step <= 0
        if raised or (area.change == pb.ALERT_CHANGE_LOWERED and step >= 0):
            word = "above" if raised else "below"
            message = f"{area.level} is not {word} {area.level_before}"
            case.complain("P-LEVEL", f"travel_alert.areas[{index}]", message, f"in order: {', '.join(order)}")


def _state(case: PolicyCase) -> None:
    """Each change is one step; without ``from`` it goes on from the person's change before it, or begins a case."""
    enum, before = pb.CaseState.DESCRIPTOR, dict[str, str]()
    for index, change in enumerate(case.bulletin.status_update.changes):
        to = enum_word(enum, change.to)
        since = enum_word(enum, getattr(change, "from")) or before.get(change.person, "")
        before[change.person] = to
        allowed = case.catalogue.steps.get(since, frozenset()) if since else case.catalogue.first_states
        if to not in allowed:
            message = f"no step from {since} to {to}" if since else f"{to} cannot be the first state; say from which"
            hint = f"allowed: {', '.join(sorted(allowed))}"
            case.complain("P-STATE", f"status_update.changes[{index}]", message, hint)


def _owner(case: PolicyCase) -> None:
    if not case.policy.same_originator:
        return
    header = case.header
    for index, relation in enumerate(header.relations):
        target = case.targets.get(relation.bulletin_id) if relation.type in _UNDOES else None
        if target is not None and target.header.originator != header.originator:
            message = f"{relation.bulletin_id} is {target.header.originator}'s; only it may correct or recall it"
            case.complain("P-OWNER", f"header.relations[{index}]", message, "send it an information_request")


def _deadline(case: PolicyCase) -> None:
    header = case.header
    hours = case.catalogue.deadline_hours.get(enum_word(pb.Urgency.DESCRIPTOR, header.urgency))
    if case.kind != "information_request" or hours is None or not header.HasField("reply_by"):
        return
    # A day more, because calendar days are the receiver's.
    if milliseconds(header.reply_by) > milliseconds(header.issued_at) + hours * HOUR_MS + DAY_MS:
        message = f"this urgency asks for an answer within {hours} hours"
        case.complain("P-DEADLINE", "header.reply_by", message, "set it earlier, or lower the urgency")


def _id_time(case: PolicyCase) -> None:
    header = case.header
    if abs(uuid7_ms(header.bulletin_id) - milliseconds(header.issued_at)) > DAY_MS:
        message = "the time in bulletin_id is over a day from issued_at"
        case.complain("P-IDTIME", "header.bulletin_id", message, "'exchange draft' writes one of today")


RULES: tuple[Rule, ...] = (
    _issuer,
    _addressee,
    _number,
    _marking,
    _expiry,
    _victim,
    _consent,
    _specimen,
    _sum,
    _level,
    _state,
    _owner,
    _deadline,
    _id_time,
)


# What such a rule looks at stands in bulletins of one kind alone.
ONLY_OF: dict[Rule, str] = {
    _victim: "lookout",
    _sum: "statistics_return",
    _level: "travel_alert",
    _state: "status_update",
    _deadline: "information_request",
}


@cache
def _rules_of(kind: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if ONLY_OF.get(rule, kind) == kind)


@lru_cache(maxsize=1024)  # most are issued these days
def _year(day: int) -> str:
    """Return the year of a day, counted from 1970-01-01, within what a calendar can hold."""
    return str(dt.date.fromordinal(min(max(EPOCH.toordinal() + day, 1), dt.date.max.toordinal())).year)


def _is_victim(person: pb.Person) -> bool:
    return person.victim_status in _VICTIM_STATUS or any(one in _VICTIM for one in person.categories)


def _covers(allowed: frozenset[str], agency: str) -> bool:
    """Return whether a list names an agency, itself or by a prefix (``HK``); a group covers nobody in version 1."""
    parts = agency.split("-")
    return any("-".join(parts[:count]) in allowed for count in range(1, len(parts) + 1))


def _may_agree(total: pb.Measure, parts: list[pb.Measure]) -> bool:
    """Return whether parts can add up to their total, given what "at least" or "about" leave open."""
    ranges = [_range(part) for part in parts]
    low, high = sum(one[0] for one in ranges), sum(one[1] for one in ranges)
    total_low, total_high = _range(total)
    return low <= total_high and total_low <= high


def _range(measure: pb.Measure) -> tuple[float, float]:
    value = measure.value
    return {
        pb.QUALIFIER_EXACT: (value, value),
        pb.QUALIFIER_AT_LEAST: (value, float("inf")),
        pb.QUALIFIER_MORE_THAN: (value + 1, float("inf")),
        pb.QUALIFIER_AT_MOST: (0, value),
    }.get(measure.qualifier, (0, float("inf")))
