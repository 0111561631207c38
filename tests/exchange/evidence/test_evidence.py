"""Evidence for one bulletin, judged by somebody who has nothing but the file and the roster."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from audit.entry.body import parse_body
from audit.entry.entry import HEAD_LENGTH, Body, Kind
from audit.evidence import file
from audit.evidence.pages import make_pages
from audit.evidence.trust import verify_next
from audit.evidence.verify import verify_evidence
from audit.evidence.zip import read_archive, write_archive
from audit.record.lane import delivery_digest
from audit.record.statement import opening, parse_statement
from audit.verify.verdict import Report
from exchange.evidence.gather_evidence import evidence_file, word_core
from keys import dsse
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.roster import parse_roster
from tests.exchange.evidence.evidence_maker import (
    FILLING,
    NAMES,
    RECIPIENT,
    SENDER,
    Made,
    altered,
    filled,
    make,
    number,
    pack,
    roster,
)
from tests.flow.world import keys_of
from tests.support.scale import lengths

ROOT = Path(__file__).resolve().parents[3]


@cache
def whole() -> Made:
    return make()


@cache
def whole_file() -> bytes:
    return evidence_file(whole().core)


def judge(data: bytes, *, given: SignedPayload | None = None, trusted: bool = True) -> Report:
    return verify_evidence(data, given=given or (roster() if trusted else None), render=word_core)


def refused(data: bytes) -> str:
    report = judge(data)
    assert report.exit_code == 6, report.verdict
    assert report.verdict.startswith("refuted: ")
    return report.verdict


def refused_core(core: dict[str, bytes], pages_of: dict[str, bytes] | None = None) -> str:
    """Judge a core that proves nothing, under the pages of one that does."""
    return refused(pack({**make_pages(pages_of or whole().core), **core}))


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("content", [True, False])
def test_sender_and_recipient_prove_a_bulletin_with_and_without_its_content(sent: bool, content: bool) -> None:
    report = judge(evidence_file(make(sent=sent, content=content).core))
    assert report.exit_code == 0, report.verdict
    assert ("without content" in report.verdict) is not content
    assert report.anchored == report.size


def test_the_same_evidence_is_the_same_file_twice() -> None:
    assert evidence_file(whole().core) == evidence_file(dict(reversed(whole().core.items())))


def test_without_the_auditors_own_roster_the_verdict_is_never_plain() -> None:
    report = judge(whole_file(), trusted=False)
    assert report.exit_code == 7
    assert report.steps[1].result == "not checked"
    assert "compare its words" in report.steps[1].detail


def test_without_a_quorum_the_witnesses_are_left_open() -> None:
    report = judge(evidence_file(make(witnesses=(RECIPIENT,)).core))
    assert (report.exit_code, report.steps[6].result) == (7, "not checked")
    assert "1 of 2 have cosigned" in report.steps[6].detail


def test_without_the_exchange_the_words_beside_the_statement_are_left_open() -> None:
    report = verify_evidence(whole_file(), given=roster())
    assert [each.name for each in report.steps if each.result == "not checked"] == ["text"]


def test_a_quorum_that_the_file_itself_names_anchors_nothing() -> None:
    """Whoever makes a file can make a roster, and witnesses in it, too."""
    own, trusted = judge(whole_file(), trusted=False), judge(whole_file())
    assert (own.exit_code, own.anchored, own.verdict) == (7, None, "verified; not checked: roster")
    assert trusted.anchored == trusted.size
    assert trusted.verdict == f"verified, witnessed to {trusted.size}"  # control


# ------------------------------------------------------------------ rows


def test_who_denies_to_have_received_is_refuted_by_a_third_party_row_32(tmp_path: Path) -> None:
    (tmp_path / "evidence.zip").write_bytes(whole_file())
    (tmp_path / "roster").write_bytes(roster().encode())
    program = (
        "import sys\n"
        "def refuse(event, arguments):\n"
        "    if event.startswith('socket.'): raise SystemExit('a socket was opened')\n"
        "sys.addaudithook(refuse)\n"
        "from audit.cli.main import main\n"
        "main(['verify', 'evidence.zip', '--roster', 'roster'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stdout + done.stderr  # the words beside the statement are the exchange's to judge
    assert "only who opened it could make its opening  ok" in done.stdout
    # Control: without that receipt the file says nothing about the recipient.
    core = {name: data for name, data in whole().core.items() if "receipts/" not in name and "answered" not in name}
    assert f"none yet of {RECIPIENT}" in judge(evidence_file(core)).steps[7].detail


def test_who_confirms_without_opening_is_refuted_row_32() -> None:
    guessed = make(received={"opening": bytes(32)})
    assert "its opening is" in refused_core(guessed.core)
    # Control: without the statement nobody can tell, and the report says so.
    blind = make(received={"opening": bytes(32)}, content=False)
    report = judge(evidence_file(blind.core))
    assert report.exit_code == 0
    assert "only who opened it" not in report.steps[7].detail
    assert "the proof of it needs the content" in read_archive(evidence_file(blind.core))[file.REPORT].decode()


def test_a_receipt_out_of_a_log_that_others_never_saw_is_refuted_row_33() -> None:
    made = whole()
    name = f"receipts/{RECIPIENT}-1.tlog-proof"
    split = filled(RECIPIENT)
    split.add(Body(kind=Kind.HEARTBEAT))
    index = split.add(Body(kind=Kind.RECEIVED, peer=number(SENDER), opening=_opening(made), **_about(made)))
    false = {**made.core, name: split.prove(index)}
    assert "what the sender recorded" in refused_core(false)
    # Control: the receipt out of the log that the sender saw is good.
    assert judge(pack({**make_pages(made.core), **made.core})).exit_code == 0


def test_two_deliveries_under_one_number_are_told_apart_row_16() -> None:
    one, two = whole(), make(serial=2)
    mixed = {**one.core, f"deliveries/{RECIPIENT}-1.bin": two.delivery}
    assert "its dispatch is" in refused_core(mixed)
    assert judge(evidence_file(two.core)).exit_code == 0  # control: each alone is good


def test_attack_21_content_swapped_afterwards_is_not_what_was_dispatched() -> None:
    other = make(text="Nothing to see")
    swapped = {**whole().core, file.STATEMENT: other.core[file.STATEMENT], file.TEXT: other.core[file.TEXT]}
    assert f"{file.STATEMENT}: its digest is" in refused_core(swapped)


class Rosters:
    """A chain of rosters, each signed by whoever the test says."""

    def __init__(self) -> None:
        self.signed = [roster()]

    def follow(self, *, signers: tuple[str, ...] = NAMES, version: int = 0, previous: bytes = b"", **changes: object):  # type: ignore[no-untyped-def]
        from keys.identity import federation_id, record_digest

        before = parse_roster(self.signed[-1].payload)
        after = replace(
            before,
            federation_id=federation_id(roster().payload),
            version=version or before.version + 1,
            previous=previous or record_digest("roster", self.signed[-1].payload),
            **changes,  # type: ignore[arg-type]
        )
        roots = [keys_of(each).root.roster_root for each in signers]
        return dsse.sign(after.encode(), *(("roster", each) for each in roots if each is not None))


def next_roster(signed: SignedPayload) -> None:
    from keys.identity import federation_id, record_digest

    first = roster()
    verify_next(
        parse_roster(first.payload), record_digest("roster", first.payload), signed, federation_id(first.payload)
    )


def test_a_chain_of_rosters_steps_neither_back_nor_over_one_row_21() -> None:
    chain = Rosters()
    next_roster(chain.follow())  # control
    for changes, words in (
        ({"version": 3}, "the next one was expected"),
        ({"previous": bytes(range(32))}, "before it, not this roster"),
        ({"signers": (SENDER,)}, "owners of roster 1 signed"),
    ):
        with pytest.raises(RefusedError, match=words):
            next_roster(chain.follow(**changes))
    second = chain.follow()
    core = {**whole().core, "rosters/2.signed": second.encode()}
    assert judge(evidence_file(core), given=second).exit_code == 0
    assert judge(evidence_file(core), given=roster()).exit_code == 0
    skipped = {name: data for name, data in core.items() if name != "rosters/1.signed"}
    assert "roster" in refused_core(skipped)


def test_a_frozen_chain_that_ends_before_the_auditors_roster_is_left_open_row_21() -> None:
    second = Rosters().follow()
    report = judge(whole_file(), given=second)
    assert (report.exit_code, report.steps[1].result) == (7, "not checked")
    assert "end at 1, the one given is 2" in report.steps[1].detail


def test_a_roster_of_another_federation_is_refused_row_21() -> None:
    other = replace(parse_roster(roster().payload), issued_ms=parse_roster(roster().payload).issued_ms + 1)
    signed = dsse.sign(other.encode(), *(("roster", keys_of(each).root.roster_root) for each in NAMES))  # type: ignore[misc]
    report = judge(whole_file(), given=signed)
    assert (report.exit_code, report.steps[1].result) == (6, "refuted")


# ------------------------------------------------------------------ time


def test_a_time_stamp_bounds_the_time_for_whoever_trusts_its_authority(tmp_path: Path) -> None:
    from audit.verify.rfc3161 import load_authority, make_query
    from tests.support.authority import make_authority

    authority, made = make_authority(tmp_path / "tsa"), whole()
    trusted = load_authority(authority.ca.read_bytes(), "ca.pem")
    note = made.sender_log.note(FILLING + 2)
    core = {
        **made.core,
        file.STAMPED: made.sender_log.prove(FILLING, FILLING + 2),
        file.STAMP: authority.answer(make_query(note.encode()).der),
    }
    data = evidence_file(core)
    report = verify_evidence(data, given=roster(), render=word_core, authority=trusted)
    assert report.exit_code == 0, report.verdict
    assert "CN=Clock,O=Exercise stamped it" in report.steps[8].detail
    shut = judge(data)
    assert (shut.exit_code, shut.steps[8].result) == (7, "not checked")
    assert "openssl ts -verify" in read_archive(data)[file.HOWTO].decode()
    other = {**core, file.STAMP: authority.answer(make_query(b"another note").der)}
    stranger = load_authority(make_authority(tmp_path / "other").ca.read_bytes(), "ca.pem")
    wrong = {**core, file.STAMPED: made.sender_log.prove(FILLING + 1)}
    for bent, believed in ((other, trusted), (core, stranger), (wrong, trusted)):
        found = verify_evidence(
            pack({**make_pages(core), **bent}), given=roster(), render=word_core, authority=believed
        )
        assert (found.exit_code, found.steps[8].result) == (6, "refuted"), found.verdict
    for alone in (file.STAMP, file.STAMPED):
        assert "stand together" in refused_core({name: each for name, each in core.items() if name != alone}, core)


# ------------------------------------------------------------------ bytes


@pytest.mark.parametrize("times", lengths(1, 2))
def test_any_altered_byte_of_any_member_is_found(times: int) -> None:
    """Random bits of every member with the sums made right again, and of the file as it is."""
    dice = random.Random(20261122)
    members = read_archive(whole_file())
    for name, data in members.items():
        for _ in range(times if file.is_core(name) else -(-times // 2)):
            bent = {**members, name: altered(data, dice.randrange(len(data)), dice.randrange(8))}
            if name == file.EDITION:  # another edition, whose wording nobody else can judge: never 0
                assert judge(pack(bent)).exit_code in (6, 7)
            elif name != file.SUMS:
                refused(pack(bent))
    for _ in range(20 * times):
        refused(altered(whole_file(), dice.randrange(len(whole_file())), dice.randrange(8)))


def test_members_removed_added_or_swapped_between_two_files_are_found() -> None:
    one, two = read_archive(whole_file()), read_archive(evidence_file(make(serial=2).core))
    for name in one.keys() - {file.SUMS}:
        refused(pack({each: data for each, data in one.items() if each != name}))
        if one[name] != two[name]:
            refused(pack({**one, name: two[name]}))
    without = {name: data for name, data in one.items() if name != file.SUMS}
    refused(write_archive(without))
    refused(write_archive({**one, file.SUMS: two[file.SUMS]}))
    refused(pack({**one, "note.txt": b"believe me"}))
    refused(pack({**one, f"receipts/{SENDER}-1.tlog-proof": one[f"receipts/{RECIPIENT}-1.tlog-proof"]}))


@pytest.mark.parametrize(
    ("bend", "words"),
    [
        (lambda data: data[:-1], "the directory at the end"),
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: data[:20], "ends in the head"),
        (lambda data: data + b"\0", "the directory at the end"),
        (lambda data: b"PK\x05\x06" + data, "begins with"),
        (lambda data: data * 200, "archive: "),
        (lambda data: b"", "begins with nothing"),
    ],
)
def test_a_file_that_is_cut_or_grown_gets_one_line(bend, words: str) -> None:  # type: ignore[no-untyped-def]
    verdict = refused(bend(whole_file()))
    assert words in verdict
    assert "\n" not in verdict


def _opening(made: Made) -> bytes:
    return opening(parse_statement(made.statement.payload).salt, delivery_digest(made.delivery))


def _about(made: Made) -> dict[str, bytes]:
    body = parse_body(made.recipient_log.entries[FILLING][HEAD_LENGTH:])
    names = ("bulletin_id", "dispatch_digest", "delivery_digest")
    return {name: getattr(body, name) for name in names}
