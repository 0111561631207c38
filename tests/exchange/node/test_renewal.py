"""Encryption windows and key sheets that a node makes for itself, cut off at every step."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest

from audit.entry.entry import Kind
from exchange.acts.directory import RecordKind
from exchange.node.renewal import Renewal
from keys import dsse
from keys.agency import AHEAD_DAYS, TLS_FILE, WINDOWS, Person, make_officer, save_officer
from keys.certificate import spki_sha256
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import UnavailableError
from keys.key_files import officer_folder, open_sealing
from keys.key_sheet import KeySheet, PinKind, parse_key_sheet
from keys.keystore import load_sealing_keys, save_sealing_keys
from keys.manifest import Manifest, Officer
from tests.exchange.node.keeping import PASSPHRASE, Keeper
from tests.support.world import keys_of


def renewal(desk: Keeper) -> Renewal:
    assert desk.keys is not None
    return Renewal(desk.node, desk.keys.derived, lambda: desk.at_ms, os.urandom)


def renew(desk: Keeper) -> SignedPayload | None:
    """Do all of it, as a node does each day."""
    made = renewal(desk)
    made.make_windows()
    signed = made.make_sheet()
    if signed is not None:
        desk.node.adopt_now(RecordKind.KEY_SHEET, signed)
    return signed


def in_file(desk: Keeper) -> set[bytes]:
    """Return the key ids of the windows that lie in the second key file."""
    assert desk.keys is not None
    windows, _ = open_sealing(load_sealing_keys(desk.home, desk.keys.derived))
    return {each.key.public.key_id for each in windows}


def keep_windows(desk: Keeper, days: int) -> None:
    """Leave the home the windows of so many days, as where a founder made no more."""
    assert desk.keys is not None
    stored = load_sealing_keys(desk.home, desk.keys.derived)
    windows = sorted((each for each in stored if each.startswith("encryption-")), key=lambda each: stored[each].from_ms)
    save_sealing_keys(
        desk.home, desk.keys.derived, {k: v for k, v in stored.items() if k not in windows[days:]}, os.urandom
    )


def sheet_of(desk: Keeper) -> KeySheet:
    return desk.view.federation.key_sheets[desk.agency].record


def manifest_of(desk: Keeper) -> Manifest:
    return desk.view.federation.manifests[desk.agency].record


def days_ahead(desk: Keeper) -> float:
    return (max(each.until_ms for each in sheet_of(desk).encryption_keys) - desk.at_ms) / DAY_MS


def adopt_manifest(desk: Keeper, *officers: Officer, version: int = 2) -> None:
    """Have the agency's root name these people, from now on."""
    made = replace(
        manifest_of(desk), version=version, issued_ms=desk.at_ms, officers=tuple(sorted(officers, key=lambda o: o.id))
    )
    signed = dsse.sign(made.encode(), ("manifest", keys_of(desk.agency).root.root))
    desk.node.adopt_now(RecordKind.MANIFEST, signed)


def pins(desk: Keeper) -> set[tuple[str, bytes]]:
    return {(each.owner, each.spki_sha256) for each in sheet_of(desk).pins}


def test_a_home_with_two_windows_has_thirty_days_of_them_after_its_first_run(keyed: Keeper) -> None:
    keep_windows(keyed, 2)
    assert renew(keyed) is not None
    assert AHEAD_DAYS < days_ahead(keyed) <= WINDOWS
    assert {each.public.key_id for each in sheet_of(keyed).encryption_keys} == in_file(keyed)
    assert set(keyed.view.encryption) == in_file(keyed)
    assert (sheet_of(keyed).manifest_version, sheet_of(keyed).version) == (1, 2)
    assert keyed.bodies(Kind.KEY_SHEET_ADOPTED)[-1].count == 2


def test_nothing_is_made_while_enough_is_ahead_and_a_sheet_comes_once_a_week(keyed: Keeper) -> None:
    assert renew(keyed) is None
    made = 0
    for _ in range(70):
        keyed.pass_days(1)
        made += renew(keyed) is not None
        assert days_ahead(keyed) >= AHEAD_DAYS
        assert sheet_of(keyed).encryption_key(keyed.at_ms) is not None
        assert all(each.until_ms > keyed.at_ms - 7 * DAY_MS for each in sheet_of(keyed).encryption_keys)
    assert 9 <= made <= 11


def test_windows_of_consecutive_days_overlap_whenever_they_were_made(keyed: Keeper) -> None:
    for days in (9, 5, 60):
        keyed.pass_days(days)
        renew(keyed)
    keys = sheet_of(keyed).encryption_keys
    assert len({each.until_ms for each in keys}) == len(keys) == WINDOWS
    assert all(one.until_ms - two.from_ms >= 600_000 for one, two in pairwise(keys))


def test_a_node_that_was_down_beyond_its_last_window_makes_new_ones(keyed: Keeper) -> None:
    keep_windows(keyed, 2)
    keyed.pass_days(100)
    keyed.restart()
    assert sheet_of(keyed).encryption_key(keyed.at_ms) is None
    assert renew(keyed) is not None
    assert sheet_of(keyed).encryption_key(keyed.at_ms) is not None
    assert days_ahead(keyed) > AHEAD_DAYS


def test_the_keys_lie_on_disk_before_a_sheet_names_them(keyed: Keeper) -> None:
    keep_windows(keyed, 2)
    made = renewal(keyed)
    assert made.make_windows() == WINDOWS - 2
    signed = made.make_sheet()
    assert signed is not None
    named = {each.public.key_id for each in parse_key_sheet(signed.payload).encryption_keys}
    assert named == in_file(keyed)


def test_a_run_cut_off_after_the_keys_is_finished_by_the_next(keyed: Keeper) -> None:
    keep_windows(keyed, 2)
    renewal(keyed).make_windows()
    there = in_file(keyed)
    keyed.restart()
    again = renewal(keyed)
    assert again.make_windows() == 0
    assert in_file(keyed) == there
    signed = again.make_sheet()
    assert signed is not None
    assert {each.public.key_id for each in parse_key_sheet(signed.payload).encryption_keys} == there


def test_a_run_cut_off_after_the_signature_signs_once_more(keyed: Keeper) -> None:
    keep_windows(keyed, 2)
    first = renewal(keyed)
    first.make_windows()
    assert first.make_sheet() is not None
    keyed.restart()  # it was adopted by nobody and shown to nobody
    assert renew(keyed) is not None
    assert sheet_of(keyed).version == 2
    assert renew(keyed) is None


def test_a_sheet_that_names_keys_which_this_node_has_lost_is_replaced(keyed: Keeper) -> None:
    lost = {each.public.key_id for each in sheet_of(keyed).encryption_keys}
    keep_windows(keyed, 0)
    assert renew(keyed) is not None
    named = {each.public.key_id for each in sheet_of(keyed).encryption_keys}
    assert named == in_file(keyed)
    assert not named & lost


def test_nothing_is_made_by_a_clock_in_doubt(keyed: Keeper) -> None:
    keep_windows(keyed, 2)
    keyed.node.writer.suspend("this machine's clock jumped by +31,536,000 s")
    with pytest.raises(UnavailableError, match="no encryption keys are made now"):
        renewal(keyed).make_windows()
    assert len(in_file(keyed)) == 2


def test_without_a_manifest_in_force_keys_are_made_and_no_sheet(keyed: Keeper) -> None:
    keep_windows(keyed, 2)
    keyed.pass_days(366)
    made = renewal(keyed)
    assert made.make_windows() > 0
    assert made.make_sheet() is None
    assert made.hindrance is not None
    assert made.hindrance.code == "MANIFEST_EXPIRED"
    keyed.pass_days(30)
    assert made.make_sheet() is None
    assert made.hindrance.code == "ROSTER_EXPIRED"


def test_a_new_manifest_has_a_sheet_under_it_with_the_pins_that_hold(keyed: Keeper) -> None:
    people = manifest_of(keyed).officers
    stays, leaves = people[0], people[1]
    ca = keys_of(keyed.agency).authority
    comes = make_officer(ca, Person(id="officer-9"), now_ms=keyed.at_ms, random_bytes=os.urandom)
    other = make_officer(ca, Person(id=people[2].id), now_ms=keyed.at_ms, random_bytes=os.urandom)
    shutil.rmtree(officer_folder(keyed.home, other.entry.id))
    for made in (comes, other):
        save_officer(keyed.home, made, PASSPHRASE, os.urandom)
    before = pins(keyed)
    adopt_manifest(keyed, stays, comes.entry, other.entry)
    assert renew(keyed) is not None
    assert (sheet_of(keyed).manifest_version, sheet_of(keyed).version) == (2, 1)
    leaf = (keyed.home / TLS_FILE).read_bytes()
    owned = {(each.key.owner, spki) for each, spki in ((comes.entry, spki_sha256(comes.tls_leaf)),)}
    owned |= {(other.entry.key.owner, spki_sha256(other.tls_leaf)), (keyed.agency, spki_sha256(leaf))}
    owned |= {pin for pin in before if pin[0] == stays.key.owner}
    assert pins(keyed) == owned
    assert leaves.key.owner not in {owner for owner, _ in pins(keyed)}


def test_a_pin_that_was_withdrawn_stays_so_under_a_new_manifest(keyed: Keeper) -> None:
    people = manifest_of(keyed).officers
    gone = people[0].key.owner
    kept = tuple(each for each in sheet_of(keyed).pins if each.owner != gone)
    withdrawn = replace(sheet_of(keyed), version=2, pins=kept)
    signed = dsse.sign(withdrawn.encode(), ("key-sheet", keyed.view.operations))
    keyed.node.adopt_now(RecordKind.KEY_SHEET, signed)
    adopt_manifest(keyed, *people)
    assert renew(keyed) is not None
    assert gone not in {owner for owner, _ in pins(keyed)}
    assert {each.kind for each in sheet_of(keyed).pins} >= {PinKind.NODE, PinKind.OFFICER}
