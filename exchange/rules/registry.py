"""Layer R: characters, dates, codes and references, field by field.

``CHECKS`` and ``LISTED`` are the tables: what a string field holds besides text. The walk is generated from them and
from the schema (``proto/walk.py``); whatever needs several fields of one object stands in ``OBJECTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from exchange.rules import codes
from exchange.rules.characters import text_fault
from exchange.rules.complaint import Fault, nearest
from exchange.rules.edtf import is_date, is_edtf
from exchange.rules.findings import Findings
from exchange.rules.mrz import mrz_fault
from exchange.v1.bulletin_pb2 import AccountType, ContactType

# Running text; every other string is one line without isolates.
PROSE = frozenset(
    (
        *("LangText.text", "Question.text", "Offence.text", "Place.address", "Recall.explanation"),
        *("Header.urgency_reason", "Marking.handling_text", "Person.best_interests", "Person.non_punishment_review"),
        *("InterventionRequest.do_not", "Handover.risk_assessment", "InformationRequest.purpose_text"),
        *("InformationRequest.why_you", "InformationRequest.use_limits"),
        *("FieldChange.old", "FieldChange.new", "FieldChange.reason", "LegalBasis.cite", "Source.locator"),
        *("AssistanceRequest.promised_job", "Warrant.offence", "ProtectionReferral.receiving"),
    )
)
LINES = frozenset(["TravelDocument.mrz"])
_KIND_NAMES = {"P": "person", "V": "vehicle", "L": "place", "C": "contact", "A": "account", "O": "organisation"}
_ANYTHING = "PVLCAO"


Check = Callable[[str, Findings], Fault | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A text that must be one of a list, which the walk looks up by itself."""

    words: str  # what Findings calls the list
    fault: Callable[[str, Findings], Fault]  # of a text that is not in it


def line_fault(text: str) -> Fault | None:
    """Return what may not stand in one line."""
    return _in_text(text_fault(text, prose=False))


def lines_fault(text: str) -> Fault | None:
    """Return what may not stand in one value of several lines."""
    return _in_text(text_fault(text, prose=False, lines=True))


def prose_fault(text: str) -> Fault | None:
    """Return what may not stand in running text."""
    return _in_text(text_fault(text, prose=True))


def _in_text(found: str | None) -> Fault | None:
    return ("R-TEXT", found, "type the text anew instead of pasting it") if found else None


def _edtf(text: str, _: Findings) -> Fault | None:
    hint = "as 2022-08-29, 2022-08, 2022-08-XX, 2022-08~, 2022-03/2022-07 or ../2022-08"
    return None if is_edtf(text) else ("R-EDTF", "no date of the EDTF profile", hint)


def _date(text: str, _: Findings) -> Fault | None:
    return None if is_date(text) else ("R-DATE", "no day of the calendar", "as 2026-01-24")


def _language(text: str, _: Findings) -> Fault | None:
    hint = text.replace("_", "-") if "_" in text else "as en, zh-Hant or my-Latn"
    return None if codes.is_language(text) else ("R-LANG", "no BCP 47 language tag", hint)


def _no_country(text: str, _: Findings) -> Fault:
    return "R-COUNTRY", f"{text} is no ISO 3166-1 code", None


def _no_travel_country(text: str, _: Findings) -> Fault:
    return "R-COUNTRY", f"{text} is no ICAO 9303 code", None


def _no_agency(text: str, findings: Findings) -> Fault:
    if text.startswith("@"):
        return "R-AGENCY", "groups are not in use yet", "name each agency"
    return "R-AGENCY", f"{text} is not in the directory", nearest(text, findings.catalogue.agencies)


def _mrz(text: str, _: Findings) -> Fault | None:
    fault = mrz_fault(text)
    return ("R-MRZ", fault, "compare it with the document") if fault else None


def _industry(text: str, _: Findings) -> Fault | None:
    known = len(text) == 1 and "A" <= text <= "U"
    return None if known else ("R-CODE", f"'{text[:40]}' is no ISIC section", "one letter from A to U")


def _code(name: str) -> Check:
    def check(text: str, findings: Findings) -> Fault | None:
        known = findings.catalogue.codes.get(name, frozenset())
        if text in known:
            return None
        return "R-CODE", f"'{text[:40]}' is not in the list {name}", nearest(text, sorted(known))

    return check


def _reference(kinds: str) -> Check:
    names = " or ".join(_KIND_NAMES[kind] for kind in kinds) if kinds != _ANYTHING else "object"

    def check(text: str, findings: Findings) -> Fault | None:
        if text not in findings.objects:
            return "R-REF", f"this bulletin has no '{text[:40]}'", nearest(text, sorted(findings.objects))
        return None if text[0] in kinds else ("R-REF", f"{text} is no {names}", None)

    return check


def _fields(check: Check, *names: str) -> dict[str, Check]:
    return dict.fromkeys(names, check)


def _listed_in(words: str, fault: Callable[[str, Findings], Fault], *names: str) -> dict[str, Listed]:
    return dict.fromkeys(names, Listed(words=words, fault=fault))


# Checks that admit nothing but plain letters of ASCII.
PLAIN = frozenset((_edtf, _date, _language, _industry))
LISTED: dict[str, Listed] = (
    _listed_in("countries", _no_country, "Person.residence", "Place.country", "Vehicle.plate_country")
    | _listed_in("countries", _no_country, "Contact.dial_from", "Advisory.destinations", "RatingChange.country")
    | _listed_in("travel_countries", _no_travel_country, "Person.nationalities", "TravelDocument.issuer")
    | _listed_in("agencies", _no_agency, "Header.originator", "Header.on_behalf_of", "Addressee.agency")
    | _listed_in("agencies", _no_agency, "CaseRef.owner", "Handover.from_agency", "Handover.to_agency")
)


CHECKS: dict[str, Check] = (
    _fields(_edtf, "Header.as_of", "Source.published", "Assertion.as_of", "Person.birth_date", "Consent.obtained_on")
    | _fields(_edtf, "AssistanceRequest.reported_on", "AssistanceRequest.last_contact", "Sighting.at")
    | _fields(_edtf, "StatusChange.effective", "Warrant.issued", "ArrestNotice.at", "AreaLevel.effective")
    | _fields(_edtf, "CaseOutcome.decided", "CooperationNote.date", "StatisticsReturn.period", "Measure.period")
    | _fields(_date, "Retention.review_by", "TravelDocument.expires")
    | _fields(_language, "Header.lang", "LangText.lang", "PersonName.lang", "Person.languages")
    | _fields(_mrz, "TravelDocument.mrz")
    | {f"Exploitation.{name}": _code(name) for name in ("acts", "means", "purposes", "recruitment")}
    | _fields(_industry, "Exploitation.industries")
    | _fields(_code("indicators"), "AssistanceRequest.indicators")
    | _fields(_code("assistance"), "AssistanceRequest.assistance")
    | _fields(_code("actions"), "InterventionRequest.actions")
    | _fields(_code("services"), "ProtectionReferral.services")
    | _fields(_code("dangers"), "Lookout.dangers")
    | _fields(_code("mo_tags"), "Advisory.mo_tags")
    | _fields(_code("channels"), "Advisory.channels")
    | _fields(_reference(_ANYTHING), "Assertion.about")
    | _fields(_reference("P"), "AssistanceRequest.persons", "InterventionRequest.persons", "ArrestNotice.persons")
    | _fields(_reference("P"), "Handover.persons", "ProtectionReferral.persons", "StatusChange.person")
    | _fields(_reference("P"), "PersonOutcome.person")
    | _fields(_reference("L"), "AssistanceRequest.last_known_place", "InterventionRequest.place", "Sighting.place")
    | _fields(_reference("L"), "StatusChange.place", "ArrestNotice.place", "AreaLevel.place", "Handover.place")
    | _fields(_reference("L"), "CooperationNote.place")
    | _fields(_reference("PVCAO"), "Sighting.subject", "Lookout.subjects")
    | _fields(_reference("V"), "ArrestNotice.vehicles")
    | _fields(_reference("C"), "Advisory.hotlines")
)


Found = Iterator[tuple[str, Fault]]  # field of the object, fault
Several = Callable[[Any, Findings], Found]


def _place(place: Any, findings: Findings) -> Found:
    """A subdivision lies in the place's country, and a P-code in both."""
    if place.country not in codes.countries():
        return  # R-COUNTRY says it
    if place.subdivision:
        if place.subdivision not in codes.subdivisions():
            yield "subdivision", ("R-PLACE", f"{place.subdivision} is no ISO 3166-2 code", None)
            return
        if not place.subdivision.startswith(f"{place.country}-"):
            yield "subdivision", ("R-PLACE", f"{place.subdivision} does not lie in {place.country}", None)
            return
    if place.pcode:
        known = findings.catalogue.places.get(place.pcode)
        if known is None:
            hint = nearest(place.pcode, findings.catalogue.places)
            yield "pcode", ("R-PLACE", f"the gazetteer has no P-code {place.pcode}", hint)
        elif known.country != place.country or (place.subdivision and known.subdivision != place.subdivision):
            lies = known.subdivision or known.country
            yield "pcode", ("R-PLACE", f"P-code {place.pcode} lies in {lies}", f"write subdivision: {lies}")


def _contact(contact: Any, _: Findings) -> Found:
    """A telephone number is E.164; a hotline is what one dials, and from where."""
    if contact.type == ContactType.CONTACT_TYPE_PHONE and not codes.is_phone(contact.value):
        yield "value", ("R-PHONE", "no possible number in E.164 form", "as +85212345678; short numbers are hotlines")
    if contact.type == ContactType.CONTACT_TYPE_HOTLINE:
        if not codes.is_dialled(contact.value):
            yield "value", ("R-PHONE", "no number that one can dial", None)
        if not contact.dial_from:
            yield "dial_from", ("R-PHONE", "a hotline needs dial_from: where it can be dialled", "as HK")


_ACCOUNTS: dict[int, tuple[str, Callable[[str], bool]]] = {
    AccountType.ACCOUNT_TYPE_IBAN: ("IBAN", codes.is_iban),
    AccountType.ACCOUNT_TYPE_BTC: ("Bitcoin address", codes.is_bitcoin),
    AccountType.ACCOUNT_TYPE_EVM: ("EVM address", codes.is_evm),
    AccountType.ACCOUNT_TYPE_TRON: ("Tron address", codes.is_tron),
}


def _account(account: Any, _: Findings) -> Found:
    """Check digits, where the kind of account has any."""
    name, is_right = _ACCOUNTS.get(account.type, ("", bool))
    if name and not is_right(account.value):
        yield "value", ("R-ACCOUNT", f"no {name}: its form or check digits do not fit", None)


def _travel_alert(alert: Any, findings: Findings) -> Found:
    """The scheme is known, and every level belongs to it."""
    levels = findings.catalogue.levels.get(alert.scheme)
    if levels is None:
        yield "scheme", ("R-CODE", f"'{alert.scheme[:40]}' is no known scheme", _listed(findings.catalogue.levels))
        return
    for index, area in enumerate(alert.areas):
        for name in ("level", "level_before"):
            level = getattr(area, name)
            if level and level not in levels:
                fault = ("R-CODE", f"'{level[:40]}' is no level of {alert.scheme}", _listed(levels))
                yield f"areas[{index}].{name}", fault


def _rating(rating: Any, findings: Findings) -> Found:
    """The scheme is known, and both ratings belong to it."""
    ratings = findings.catalogue.ratings.get(rating.scheme)
    if ratings is None:
        yield "scheme", ("R-CODE", f"'{rating.scheme[:40]}' is no known scheme", _listed(findings.catalogue.ratings))
        return
    for name in ("from", "to"):
        if getattr(rating, name) not in ratings:
            yield name, ("R-CODE", f"no rating of {rating.scheme}", _listed(ratings))


def _statistics(statistics: Any, _: Findings) -> Found:
    """A part names a measure of this return."""
    known = {measure.code for measure in statistics.measures}
    for measure in statistics.measures:
        if measure.part_of and measure.part_of not in known:
            sentence = f"{measure.code} is part of '{measure.part_of[:40]}', which is no measure here"
            yield "measures", ("R-REF", sentence, nearest(measure.part_of, known))


def _listed(words: Any) -> str:
    return f"one of: {', '.join(words)}"


OBJECTS: dict[str, Several] = {
    "Place": _place,
    "Contact": _contact,
    "Account": _account,
    "TravelAlert": _travel_alert,
    "RatingChange": _rating,
    "StatisticsReturn": _statistics,
}
