"""The node's own certificate in its home: what is shown, what is due, what a renewal writes, and what a full disk leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exchange.demo.federation import found_roster
from keys import ceremony, certificate
from keys.agency import TLS_FILE, AgencyKeys, KeyPlan, Person
from keys.durations import DAY_MS
from keys.errors import IntegrityError
from keys.federation import Federation
from keys.identity import AgencyId
from keys.key_files import officer_folder
from keys.node_certificates import (
    check_renewal,
    leaf_ends_ms,
    leaves_of,
    newer_leaf,
    note_leaf,
    own_chain,
    own_leaf,
    own_request,
    put_renewal,
    renew_leaf,
)
from keys.renewal import RenewalAnswer, following_manifest, parse_request, renew, sign_following
from tests.keys.world import NAME, NOW, refused, stream

HK = AgencyId("HK-SB")
LATER = NOW + 340 * DAY_MS
RANDOM = stream("node-certificates")
PEOPLE = [Person(id="duty"), Person(id="chief")]


@dataclass(frozen=True)
class View:
    agency: AgencyId
    federation: Federation


@pytest.fixture(scope="module")
def keys() -> AgencyKeys:
    plan = KeyPlan(windows=400, issuing=True)
    return ceremony.make_agency(HK, NAME, PEOPLE, now_ms=NOW, random_bytes=stream("node-certificates/HK"), plan=plan)


@pytest.fixture(scope="module")
def view(keys: AgencyKeys) -> View:
    roster = found_roster([keys], now_ms=NOW, catalogue=b"\xca" * 32)
    made = Federation.found(roster).with_manifest(ceremony.agency_manifest(keys, roster, ["127.0.0.1:7001"], NOW), NOW)
    return View(HK, made.with_key_sheet(ceremony.agency_key_sheet(keys, roster, NOW), NOW))


@pytest.fixture
def home(tmp_path: Path, keys: AgencyKeys) -> Path:
    (tmp_path / TLS_FILE).write_bytes(keys.tls_leaf)
    return tmp_path


def answer(home: Path, view: View, keys: AgencyKeys, at_ms: int = LATER) -> RenewalAnswer:
    request = parse_request(own_request(home, view, keys.node, at_ms).payload)
    following = following_manifest(request, at_ms)
    manifest = sign_following(request, keys.root, keys.authority, following, issuing=True, random_bytes=RANDOM)
    signed = renew(request, keys.root, keys.authority, manifest, at_ms, RANDOM)
    return check_renewal(signed, view, home, at_ms)


def test_a_home_without_a_leaf_says_so(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="the node has no TLS leaf"):
        own_leaf(tmp_path)


def test_the_issuing_key_renews_the_leaf_and_is_shown_with_it(home: Path, view: View, keys: AgencyKeys) -> None:
    assert own_chain(home, view).count(b"BEGIN") == 1
    at_ms = NOW + 200 * DAY_MS
    assert renew_leaf(home, view, keys.node, at_ms, RANDOM)
    assert own_chain(home, view) == certificate.to_pem(own_leaf(home)) + certificate.to_pem(keys.issuing)
    assert leaf_ends_ms(home) <= certificate.ends_ms(keys.issuing)
    without = replace(view.federation.manifests[HK], record=replace(view.federation.manifests[HK].record, issuing=b""))
    withdrawn = View(HK, replace(view.federation, manifests={HK: without}))
    assert own_chain(home, withdrawn).count(b"BEGIN") == 1
    assert not renew_leaf(home, withdrawn, keys.node, at_ms, RANDOM)


def test_the_issuing_key_does_nothing_near_its_own_end_or_for_another(home: Path, view: View, keys: AgencyKeys) -> None:
    assert not renew_leaf(home, view, keys.node, LATER, RANDOM), "30 days before its end the root renews both"
    assert not renew_leaf(home, view, replace(keys.node, issuing_private=None), NOW, RANDOM)
    other = replace(keys.node, issuing_private=certificate.new_private_key(RANDOM))
    refused("PEER_UNTRUSTED", lambda: renew_leaf(home, view, other, NOW, RANDOM))
    assert own_leaf(home) == keys.tls_leaf


def test_leaves_that_come_to_the_desk_are_noted_and_renewed_ones_wait(home: Path, view: View, keys: AgencyKeys) -> None:
    chief, duty = keys.officers
    note_leaf(home, "duty", certificate.to_pem(duty.tls_leaf))
    assert leaves_of(home, view) == {"duty": duty.tls_leaf}
    note_leaf(home, "duty", certificate.to_pem(chief.tls_leaf))
    assert leaves_of(home, view) == {"duty": duty.tls_leaf}, "what is there stays"
    assert newer_leaf(home, "duty", certificate.to_pem(duty.tls_leaf)) == b""
    assert newer_leaf(home, "chief", certificate.to_pem(chief.tls_leaf)) == b""
    put_renewal(home, view, answer(home, view, keys))
    waiting = newer_leaf(home, "duty", certificate.to_pem(duty.tls_leaf))
    assert waiting == (officer_folder(home, "duty") / TLS_FILE).read_bytes()
    assert newer_leaf(home, "duty", certificate.to_pem(chief.tls_leaf)) == b"", "another's key"
    assert leaf_ends_ms(home) > LATER + 300 * DAY_MS


def test_nobody_is_turned_away_because_the_home_takes_no_file(home: Path, view: View, keys: AgencyKeys) -> None:
    (home / "officers").write_bytes(b"a file where a folder belongs")
    note_leaf(home, "duty", certificate.to_pem(keys.officers[1].tls_leaf))
    assert leaves_of(home, view) == {}


def test_a_leaf_that_the_key_sheet_does_not_pin_stays_out(home: Path, view: View, keys: AgencyKeys) -> None:
    chief, duty = keys.officers
    made = answer(home, view, keys)
    put_renewal(home, view, replace(made, leaves={"duty": chief.tls_leaf, "chief": keys.tls_leaf}))
    assert leaves_of(home, view) == {}
    put_renewal(home, view, replace(made, leaves={"duty": duty.tls_leaf}))
    assert leaves_of(home, view) == {"duty": duty.tls_leaf}


def test_a_renewal_for_another_key_is_refused(home: Path, view: View, keys: AgencyKeys) -> None:
    made = certificate.make_node_leaf(keys.authority, certificate.new_private_key(RANDOM).public_key(), NOW, RANDOM)
    (home / TLS_FILE).write_bytes(made)
    refused("PEER_UNTRUSTED", lambda: answer(home, view, keys))


@pytest.mark.parametrize("block", [lambda home: home / "officers", lambda home: home / "officers/duty/tls.der.renewed"])
def test_files_that_cannot_all_be_written_leave_everything_as_it_was(
    block: Callable[[Path], Path], home: Path, view: View, keys: AgencyKeys
) -> None:
    duty = keys.officers[1]
    made = replace(answer(home, view, keys), leaves={"duty": duty.tls_leaf})
    blocked = block(home)
    if blocked.name == "officers":
        blocked.write_bytes(b"a file where a folder belongs")
    else:
        blocked.mkdir(parents=True)
    with pytest.raises((FileExistsError, NotADirectoryError, IsADirectoryError)):
        put_renewal(home, view, made)
    assert own_leaf(home) == keys.tls_leaf
    assert [name for name in os.listdir(home) if name.startswith(TLS_FILE)] == [TLS_FILE]
