"""Manifests and key sheets: versions only rise, two of one version are evidence, what is adopted survives a restart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Kind, Outcome
from exchange.acts import directory
from exchange.acts.directory import RecordKind
from exchange.node.federation_store import restore_federation
from keys.agency import AgencyKeys, Person, make_agency
from keys.ceremony import RecordHead, make_key_sheet, make_manifest, window_keys
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import AgencyId, federation_id
from keys.key_sheet import parse_key_sheet
from tests.support.world import AGENCIES, FEDERATION, NOW_MS, Desk, keys_of, records

DAY_MS = 86_400_000


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """HK-IMMD with its own records alone."""
    made = Desk("HK-IMMD", tmp_path / "home", introduced=False)
    own = AgencyId("HK-IMMD")
    federation = made.view.federation
    made.node.set_federation(
        replace(federation, manifests={own: federation.manifests[own]}, key_sheets={own: federation.key_sheets[own]})
    )
    yield made
    made.close()


def adopt(desk: Desk, kind: RecordKind, signed: SignedPayload, now_ms: int = NOW_MS) -> Federation:
    """Adopt at a time of the test's choice, and take it into use."""
    federation = desk.node.writer.run(
        lambda w: directory.adopt(replace(w, now_ms=now_ms), kind, signed, desk.view)
    ).federation
    desk.node.set_federation(federation)
    return federation


def refused(desk: Desk, kind: RecordKind, signed: SignedPayload, code: str, now_ms: int = NOW_MS) -> None:
    size = desk.node.reads.size()
    with pytest.raises(RefusedError) as raised:
        adopt(desk, kind, signed, now_ms)
    assert raised.value.code == code, raised.value
    assert desk.node.reads.size() == size


HEAD = ("agency", "federation", "now_ms", "version", "valid_ms")


def split(values: dict[str, object]) -> tuple[RecordHead, dict[str, object]]:
    """Return a record's head, and what else it holds."""
    head = RecordHead(**{name: value for name, value in values.items() if name in HEAD})  # type: ignore[arg-type] # wrong or merged on purpose
    return head, {name: value for name, value in values.items() if name not in HEAD}


def manifest(
    agency: str = "TH-DSI", version: int = 1, keys: AgencyKeys | None = None, **changes: object
) -> SignedPayload:
    made = keys or keys_of(agency)
    values = {
        "agency": made.agency,
        "federation": federation_id(records().roster.payload),
        "operations": [made.operations],
        "officers": [each.entry for each in made.officers],
        "endpoints": ["127.0.0.1:1"],
        "now_ms": NOW_MS,
        "version": version,
    }
    head, rest = split(values | changes)
    return make_manifest(keys_of(agency).root.root, head, **rest)  # type: ignore[arg-type] # wrong or merged on purpose


def sheet(agency: str = "TH-DSI", version: int = 1, keys: AgencyKeys | None = None, **changes: object) -> SignedPayload:
    made = keys or keys_of(agency)
    values = {
        "agency": made.agency,
        "federation": federation_id(records().roster.payload),
        "encryption": window_keys(made.node),
        "pins": parse_key_sheet(records().key_sheets[agency].payload).pins,
        "now_ms": NOW_MS,
        "version": version,
    }
    head, rest = split(values | changes)
    return make_key_sheet(made.node.operations, head, **rest)  # type: ignore[arg-type] # wrong or merged on purpose


def test_a_log_begins_with_the_roster_and_the_own_records(desk: Desk) -> None:
    kinds = [body.kind for body in desk.bodies()]
    assert kinds[:5] == [
        Kind.GENESIS,
        Kind.ROSTER_ADOPTED,
        Kind.MANIFEST_ADOPTED,
        Kind.KEY_SHEET_ADOPTED,
        Kind.NODE_STARTED,
    ]
    genesis, roster = desk.bodies(Kind.GENESIS)[0], desk.bodies(Kind.ROSTER_ADOPTED)[0]
    assert genesis.digest == roster.digest == desk.view.federation.roster_digest


def test_a_manifest_and_its_key_sheet_are_adopted_logged_and_in_force(desk: Desk) -> None:
    adopt(desk, RecordKind.MANIFEST, manifest())
    adopt(desk, RecordKind.KEY_SHEET, sheet())
    found = desk.bodies(Kind.MANIFEST_ADOPTED, Kind.KEY_SHEET_ADOPTED)[2:]
    assert [(body.peer, body.count) for body in found] == [(3, 1), (3, 1)]
    assert desk.view.federation.encryption_key("TH-DSI", NOW_MS) is not None
    assert [record.version for record in directory.adopted(desk.node.reads)] == [1, 1, 1, 1, 1]


def test_1_the_very_record_that_is_known_is_not_adopted_again_row_14(desk: Desk) -> None:
    adopt(desk, RecordKind.MANIFEST, manifest())
    refused(desk, RecordKind.MANIFEST, manifest(), "MALFORMED")
    adopt(desk, RecordKind.MANIFEST, manifest(version=2))  # the node goes on


def test_1_what_the_database_holds_counts_even_where_its_manifest_is_no_longer_in_force(desk: Desk) -> None:
    before = desk.view.federation
    adopt(desk, RecordKind.MANIFEST, manifest(version=2))
    desk.node.set_federation(before)  # as after a restart at which version 2 had expired
    refused(desk, RecordKind.MANIFEST, manifest(version=1), "MALFORMED")
    refused(desk, RecordKind.MANIFEST, manifest(version=2, endpoints=["127.0.0.1:2"]), "EQUIVOCATION")
    adopt(desk, RecordKind.MANIFEST, manifest(version=3))


def test_a_lower_version_is_refused_row_21(desk: Desk) -> None:
    adopt(desk, RecordKind.MANIFEST, manifest(version=2))
    refused(desk, RecordKind.MANIFEST, manifest(version=1), "REPLAYED")
    adopt(desk, RecordKind.KEY_SHEET, sheet(version=5))
    refused(desk, RecordKind.KEY_SHEET, sheet(version=4), "REPLAYED")


def test_two_records_of_one_version_are_refused_and_the_second_is_kept_row_60(desk: Desk) -> None:
    adopt(desk, RecordKind.MANIFEST, manifest())
    other = manifest(endpoints=["127.0.0.1:2"])
    refused(desk, RecordKind.MANIFEST, other, "EQUIVOCATION")
    for again in (other, manifest(endpoints=["127.0.0.1:3"])):  # the first pair is kept, others are not
        desk.node.writer.run(
            lambda w, record=again: directory.keep(w, RecordKind.MANIFEST, record, desk.view),
        )
    [(index, what, content)] = list(desk.node.store.evidence())
    assert (what, content) == ("manifest TH-DSI", other.encode())
    [body] = desk.bodies(Kind.REFUSED)
    assert (body.outcome, body.peer) == (Outcome.EQUIVOCATION, 3)
    assert body.digest == directory.digest_of(RecordKind.MANIFEST, other)
    assert index == desk.node.reads.size() - 1


@pytest.mark.parametrize(
    ("signed", "code"),
    [
        (lambda: manifest(federation=bytes(range(32))), "WRONG_FEDERATION"),
        (lambda: manifest(now_ms=NOW_MS + DAY_MS), "CLOCK_DIFFERS"),
        (lambda: manifest(now_ms=NOW_MS - 2 * DAY_MS, valid_ms=DAY_MS), "MANIFEST_EXPIRED"),
        (lambda: replace(manifest(), signatures=sheet().signatures), "WRONG_TYPE"),
        (lambda: replace(manifest(), signatures=manifest("TW-NHRC").signatures), "SIGNER_UNKNOWN"),
        (lambda: replace(manifest(), payload=manifest(version=9).payload), "SIGNATURE_INVALID"),
    ],
    ids=["federation", "future", "expired", "type", "signer", "signature"],
)
def test_a_manifest_that_does_not_verify_is_refused(desk: Desk, signed, code: str) -> None:  # type: ignore[no-untyped-def] # its types are those of what it stands in for
    refused(desk, RecordKind.MANIFEST, signed(), code)


def test_a_key_sheet_counts_only_under_its_agencys_own_manifest(desk: Desk) -> None:
    refused(desk, RecordKind.KEY_SHEET, sheet(), "SIGNER_UNKNOWN")  # no manifest of TH-DSI yet
    adopt(desk, RecordKind.MANIFEST, manifest())
    refused(desk, RecordKind.KEY_SHEET, replace(sheet(), signatures=sheet("TW-NHRC").signatures), "SIGNER_UNKNOWN")
    refused(desk, RecordKind.KEY_SHEET, sheet(now_ms=NOW_MS - 2 * DAY_MS, valid_ms=DAY_MS), "KEY_SHEET_EXPIRED")
    adopt(desk, RecordKind.KEY_SHEET, sheet())


def test_a_stranger_is_no_member_whatever_it_signs(desk: Desk) -> None:
    refused(desk, RecordKind.MANIFEST, stranger_manifest(), "NOT_A_MEMBER")


def stranger_manifest() -> SignedPayload:
    made = make_agency(AgencyId("MM-CG-HK"), FEDERATION, [], now_ms=NOW_MS, random_bytes=os.urandom)
    return make_manifest(
        made.root.root,
        RecordHead(agency=made.agency, federation=federation_id(records().roster.payload), now_ms=NOW_MS),
        operations=[made.operations],
        officers=[],
        endpoints=[],
    )


def test_an_expired_roster_adopts_nothing_new_once_its_grace_is_over(desk: Desk) -> None:
    refused(desk, RecordKind.MANIFEST, manifest(), "ROSTER_EXPIRED", now_ms=NOW_MS + 396 * DAY_MS)


def test_rosters_and_revocations_are_not_adopted_one_by_one_yet(desk: Desk) -> None:
    for kind in (RecordKind.ROSTER, RecordKind.REVOCATION):
        refused(desk, kind, records().roster, "NOT_UNDERSTOOD")


def test_everything_adopted_is_there_after_a_restart_and_verified_anew(desk: Desk) -> None:
    for agency in AGENCIES[1:]:
        adopt(desk, RecordKind.MANIFEST, records().manifests[agency])
        adopt(desk, RecordKind.KEY_SHEET, records().key_sheets[agency])
    federation, catalogues = restore_federation(desk.node.reads, NOW_MS)
    assert set(federation.manifests) == set(federation.key_sheets) == set(AGENCIES)
    assert set(catalogues) == {federation.roster.catalogue_digest}


def test_a_restart_after_the_operations_key_was_replaced_finds_the_new_key_sheet(desk: Desk) -> None:
    adopt(desk, RecordKind.MANIFEST, manifest())
    adopt(desk, RecordKind.KEY_SHEET, sheet())
    people = [Person(id="officer-9")]
    successor = make_agency(AgencyId("TH-DSI"), FEDERATION, people, now_ms=NOW_MS, random_bytes=os.urandom)
    adopt(desk, RecordKind.MANIFEST, manifest(version=2, keys=successor))
    adopt(desk, RecordKind.KEY_SHEET, sheet(version=2, keys=successor))
    federation, _ = restore_federation(desk.node.reads, NOW_MS)
    assert federation.key_sheets[AgencyId("TH-DSI")].record.version == 2
    key = federation.encryption_key("TH-DSI", NOW_MS)
    assert key == successor.node.encryption[0].key.public
