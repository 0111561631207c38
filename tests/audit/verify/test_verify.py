"""Verification: attacks by the numbers of the threat tables, each with a control that loses nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind, parse_entry
from audit.note.checkpoint import VerifierKey
from audit.tiles.entry_proof import prove_entry
from audit.tiles.tiles import TileFolder
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.incremental import verify_incremental
from audit.verify.verdict import NAMES, NOT_CHECKED, OK, REFUTED, Report
from audit.verify.verify import verify_log
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.audit.forge import chain, read_log, rechain, sign, write_log
from tests.audit.store import ORIGIN, digest, exchange_bodies, first_bodies

SIZE = 300


def note_of(folder: Path) -> ExternalCheckpoint:
    return ExternalCheckpoint(name="kept.txt", data=(folder / "checkpoint").read_bytes())


def result(report: Report, step: int) -> str:
    return report.steps[step - 1].result


@pytest.fixture
def kept(template: Path) -> ExternalCheckpoint:
    """Return the checkpoint that somebody outside has kept."""
    return note_of(template)


def test_a_log_with_outside_key_and_checkpoint_is_verified(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    report = verify_log(folder, key=key, external=[kept])
    assert (report.verdict, report.exit_code, report.anchored) == ("verified", 0, SIZE)
    assert [step.name for step in report.steps] == [*NAMES, "witnesses"]
    assert {step.result for step in report.steps[:-1]} == {OK}


def test_without_a_roster_the_witnesses_are_not_checked_and_the_report_says_what_to_give(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    for report in (
        verify_log(folder, key=key, external=[kept]),
        verify_log(folder),
        verify_incremental(folder, old=kept),
    ):
        last = report.steps[-1]
        assert (last.step, last.name, last.result) == (9, "witnesses", NOT_CHECKED)
        assert "a roster that names them, or --witnesses FILE" in last.detail


def test_without_an_outside_checkpoint_the_end_is_not_anchored(folder: Path, key: VerifierKey) -> None:
    report = verify_log(folder, key=key)
    assert (report.verdict, report.exit_code) == ("verified, end not anchored", 7)
    assert [s.step for s in report.steps if s.result == NOT_CHECKED] == [7, 9]


def test_without_an_outside_key_the_first_step_says_so(folder: Path, kept: ExternalCheckpoint) -> None:
    report = verify_log(folder, external=[kept])
    assert (report.verdict, report.exit_code) == ("verified", 7)
    assert (report.steps[0].result, report.steps[0].detail) == (NOT_CHECKED, "key taken from the log itself")


Edit = Callable[[list[bytes]], list[bytes]]
EDITS: dict[str, tuple[Edit, str]] = {
    "edit": (lambda e: [*e[:100], e[100][:-1] + bytes([e[100][-1] ^ 1]), *e[101:]], "entry 100"),
    "edit-last": (lambda e: [*e[:-1], e[-1][:-1] + bytes([e[-1][-1] ^ 1])], "entry 299"),
    "swap": (lambda e: [*e[:100], e[101], e[100], *e[102:]], "entry 100"),
    "delete": (lambda e: e[:100] + e[101:], "entry 100"),
    "delete-first": (lambda e: e[1:], "entry 0"),
    "insert": (lambda e: [*e[:100], e[100], *e[100:]], "entry 101"),
    "reorder": (lambda e: [*e[:4], *reversed(e[4:])], "entry 4"),
    "truncate": (lambda e: e[:299], "entry"),
    "halve": (lambda e: e[:150], "entry"),
    "empty": (lambda e: [], "entry 0"),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("tiles", ["tiles kept", "tiles made anew"])
def test_attack_01_and_row_19_an_edited_log_is_refuted_at_the_entry(
    name: str, tiles: str, folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    edit, at = EDITS[name]
    note = (folder / "checkpoint").read_text()
    entries = edit(read_log(folder, SIZE))
    if tiles == "tiles kept":
        copy = write_log(folder.with_name("edited"), entries, note)
        shutil.rmtree(folder / "tile/entries")
        if (copy / "tile/entries").is_dir():
            shutil.copytree(copy / "tile/entries", folder / "tile/entries")
    else:
        write_log(folder, entries, note, key)
    report = verify_log(folder, key=key, external=[kept])
    assert report.exit_code == 6
    assert report.verdict.startswith("refuted")
    if tiles == "tiles kept":
        assert f"at {at}" in report.verdict


def test_attack_01_control_the_same_entries_written_again_verify(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    entries, note = read_log(folder, SIZE), (folder / "checkpoint").read_text()
    write_log(folder, rechain(entries), note, key)
    assert verify_log(folder, key=key, external=[kept]).exit_code == 0


def suffix_rewritten(folder: Path) -> list[bytes]:
    entries = read_log(folder, SIZE)
    entries[200] = entries[200][:52] + Body(kind=Kind.HEARTBEAT, count=7).encode()
    return rechain(entries)


def test_attack_02_a_rewritten_suffix_under_the_old_note_is_refuted(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    write_log(folder, suffix_rewritten(folder), (folder / "checkpoint").read_text(), key)
    report = verify_log(folder, key=key, external=[kept])
    assert (report.exit_code, [s.step for s in report.steps if s.result == REFUTED]) == (6, [5])


def test_attack_03_the_same_signed_anew_with_the_real_key_is_refuted_by_an_older_note(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint, signer: Ed25519Signer
) -> None:
    entries = suffix_rewritten(folder)
    write_log(folder, entries, sign(entries, signer), key)
    control = verify_log(folder, key=key)
    assert (control.exit_code, control.verdict) == (7, "verified, end not anchored")
    report = verify_log(folder, key=key, external=[kept])
    assert (report.exit_code, result(report, 7)) == (6, REFUTED)
    assert "another history" in report.verdict


def test_attack_04_a_cut_tail_signed_anew_is_seen_from_outside_only(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint, signer: Ed25519Signer
) -> None:
    entries = read_log(folder, SIZE)[:280]
    write_log(folder, entries, sign(entries, signer), key)
    control = verify_log(folder, key=key)
    assert (control.exit_code, control.verdict) == (7, "verified, end not anchored")
    report = verify_log(folder, key=key, external=[kept])
    assert report.exit_code == 6
    assert report.verdict.startswith("refuted at entry 280: kept.txt: it commits to 300 entries")


def test_attack_04_a_receipt_for_a_vanished_entry_refutes(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, template: Path
) -> None:
    receipt = ExternalCheckpoint(name="r.tlog-proof", data=prove_entry(TileFolder(template), 290).encode())
    assert verify_log(folder, key=key, external=[receipt]).exit_code == 0  # control
    entries = read_log(folder, SIZE)[:280]
    write_log(folder, entries, sign(entries, signer), key)
    assert verify_log(folder, key=key, external=[receipt]).exit_code == 6


def test_an_older_outside_checkpoint_agrees_and_its_size_is_said(
    folder: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    for size in (1, 255, 256, 257, 299):
        old = ExternalCheckpoint(name="old", data=sign(read_log(folder, SIZE)[:size], signer).encode())
        report = verify_log(folder, key=key, external=[old])
        assert (report.exit_code, report.anchored) == (0, size)


def test_attack_16_entries_of_another_log_are_refuted(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, kept: ExternalCheckpoint
) -> None:
    entries = chain([parse_entry(e).body for e in read_log(folder, SIZE)], "hk-immd.exercise.example/log/1")
    write_log(folder, entries, sign(entries, signer), key)
    report = verify_log(folder, key=key)
    assert report.verdict == f"refuted at entry 0: it does not begin a log of {ORIGIN}"
    write_log(folder, rechain(entries), sign(rechain(entries), signer), key)
    assert verify_log(folder, key=key).exit_code == 7  # control: the same bodies in their own log


def test_attack_16_an_entry_from_another_position_is_refuted(folder: Path, key: VerifierKey) -> None:
    entries = read_log(folder, SIZE)
    entries[50] = entries[58]
    write_log(folder, entries, (folder / "checkpoint").read_text(), key)
    assert "at entry 50: tile/entries/000: its index is 58" in verify_log(folder, key=key).verdict


TWO_WAYS = {
    "kind-twice": b"\x08\x20\x08\x0c",
    "descending": b"\xb0\x01\x05\x08\x20",
    "default": b"\x08\x20\xb0\x01\x00",
    "long-varint": b"\x08\x20\xb0\x01\x85\x00",
    "long-length": b"\x08\x01\xba\x01\xa0\x00" + bytes(32),
    "group": b"\x08\x20\x1b\x1c",
    "opening-in-withdrawn": b"\x08\x11" + exchange_bodies(3, 9)[3].encode()[2:],
    "no-digest-in-genesis": b"\x08\x01",
    "refers-to-itself": Body(kind=Kind.ERASED, refers_to=4).encode(),
    "refers-to-the-future": Body(kind=Kind.ERASED, refers_to=5).encode(),
    "refers-to-a-roster": Body(kind=Kind.ERASED, refers_to=1).encode(),
}


@pytest.mark.parametrize("name", TWO_WAYS)
def test_attack_17_a_body_that_reads_two_ways_or_breaks_its_rule_is_refuted(
    name: str, tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    entries = chain([*first_bodies(), TWO_WAYS[name], Body(kind=Kind.HEARTBEAT)])
    write_log(tmp_path / "log", entries, sign(entries, signer), key)
    report = verify_log(tmp_path / "log", key=key)
    assert (report.exit_code, result(report, 6)) == (6, REFUTED)
    assert report.verdict.startswith("refuted at entry 4: ")


SETTLED = [f"08{kind:02x}ba0120" + "01" * 32 for kind in range(35, 41)]  # of kinds and fields of a later program
SETTLED += [f"0820{field}20" + "01" * 32 for field in ("ca01", "d201")]


@pytest.mark.parametrize("body", ["0863", "0820d80105", "080f60ff01", *SETTLED])
def test_attack_17_control_a_newer_body_is_not_understood_and_not_refuted(
    body: str, tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    entries = chain([*first_bodies(), bytes.fromhex(body), Body(kind=Kind.HEARTBEAT)])
    write_log(tmp_path / "log", entries, sign(entries, signer), key)
    report = verify_log(tmp_path / "log", key=key)
    assert (report.exit_code, result(report, 6)) == (7, NOT_CHECKED)
    assert "1 not understood, at 4: newer than this program" in report.steps[5].detail


def test_attack_18_the_counts_of_kinds_add_up_to_the_size(folder: Path, key: VerifierKey) -> None:
    detail = verify_log(folder, key=key).steps[5].detail.partition(": ")[2]
    assert sum(int(part.rsplit(" ", 1)[1]) for part in detail.split(", ")) == SIZE


@pytest.mark.parametrize("name", ["checkpoint", "log.vkey"])
@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_attack_19_an_unsigned_or_empty_log_is_never_verified(
    name: str, content: bytes | None, folder: Path, kept: ExternalCheckpoint
) -> None:
    assert verify_log(folder, external=[kept]).exit_code == 7  # control
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    report = verify_log(folder, external=[kept])
    assert report.exit_code == 6
    assert name in report.verdict


def test_attack_19_an_empty_folder_is_never_verified(tmp_path: Path, key: VerifierKey) -> None:
    assert verify_log(tmp_path, key=key).exit_code == 6


def test_attack_20_a_log_signed_by_another_key_is_refuted(
    folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    other = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(32))
    entries = read_log(folder, SIZE)
    write_log(folder, entries, sign(entries, other), VerifierKey(name=ORIGIN, key=other.key.public_key))
    assert verify_log(folder, key=key).exit_code == 6
    assert verify_log(folder, external=[kept]).exit_code == 6
    assert verify_log(folder).exit_code == 7  # control: in itself it is a log; nobody outside vouches for its key


UNUSABLE = {
    "empty": b"",
    "binary": b"\xff\xfe",
    "garbage": b"hello\n",
    "huge": b"x" * 1_000_000,
    "proof-without-note": b"c2sp.org/tlog-proof@v1\nindex 0\n\n",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_attack_25_an_unusable_outside_file_is_said_and_never_ends_in_0(
    name: str, folder: Path, key: VerifierKey, kept: ExternalCheckpoint
) -> None:
    report = verify_log(folder, key=key, external=[kept, ExternalCheckpoint(name="odd.txt", data=UNUSABLE[name])])
    assert (report.exit_code, result(report, 7)) == (7, NOT_CHECKED)
    assert "odd.txt: not usable: " in report.steps[6].detail
    assert report.verdict == "verified"


def test_an_outside_checkpoint_of_another_origin_is_a_clear_error(
    folder: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    other = ExternalCheckpoint(name="other", data=sign(read_log(folder, SIZE), signer, "bee.example/log/1").encode())
    report = verify_log(folder, key=key, external=[other])
    assert (report.exit_code, report.verdict) == (7, "verified, end not anchored")
    assert f"a checkpoint of bee.example/log/1, not of {ORIGIN}" in report.steps[6].detail


def test_an_outside_checkpoint_of_size_0_anchors_nothing(folder: Path, key: VerifierKey, signer: Ed25519Signer) -> None:
    report = verify_log(folder, key=key, external=[ExternalCheckpoint(name="zero", data=sign([], signer).encode())])
    assert (report.exit_code, report.anchored) == (7, None)


@pytest.mark.parametrize("change", ["entry", "hash", "index", "signature", "root"])
def test_an_altered_receipt_refutes_or_is_unusable(change: str, folder: Path, key: VerifierKey, template: Path) -> None:
    lines = prove_entry(TileFolder(template), 100).split("\n")
    at = {"entry": 1, "index": 2, "hash": 3, "root": -5, "signature": -2}[change]
    line = lines[at]
    lines[at] = "index 101" if change == "index" else line[:60] + ("A" if line[60:61] != "A" else "B") + line[61:]
    if change in ("hash", "root"):
        lines[at] = ("A" if line[0] != "A" else "B") + line[1:]
    report = verify_log(folder, key=key, external=[ExternalCheckpoint(name="r", data="\n".join(lines).encode())])
    assert report.exit_code in (6, 7)
    assert result(report, 7) != OK


def two_answers(kind: Kind) -> list[bytes]:
    received = exchange_bodies(6, 4)[3]
    present = {k: v for k, v in received.present().items() if k not in ("kind", "opening", "retain_until_day")}
    extra = {Kind.REFUSED: {"outcome": 70}, Kind.DUPLICATE: {"refers_to": 4}, Kind.RECEIVED: {"opening": digest(1)}}
    again = Body(**{"kind": kind, **present, **extra.get(kind, {})})
    return chain([*first_bodies(), received, Body(kind=Kind.HEARTBEAT), again])


@pytest.mark.parametrize("kind", [Kind.RECEIVED, Kind.REFUSED, Kind.DUPLICATE, Kind.WITHDRAWN])
def test_two_answers_to_one_delivery_refute_the_log(
    kind: Kind, tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    entries = two_answers(kind)
    write_log(tmp_path / "log", entries, sign(entries, signer), key)
    report = verify_log(tmp_path / "log", key=key)
    assert report.verdict == "refuted at entry 6: the delivery that entry 4 answered is answered again"
    assert result(report, 8) == REFUTED


def test_of_two_answers_the_later_one_is_named_where_many_entries_are_looked_at_by_their_length(
    tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    other, again = (
        Body(kind=Kind.WITHDRAWN, peer=2, dispatch_digest=digest(2), delivery_digest=digest(each)) for each in (3, 4)
    )
    received = Body(
        kind=Kind.RECEIVED,
        peer=2,
        bulletin_id=bytes(16),
        dispatch_digest=digest(2),
        delivery_digest=digest(4),
        opening=digest(5),
    )
    rest = [Body(kind=Kind.HEARTBEAT)] * 100
    entries = chain([*first_bodies(), other, received, again, *rest])  # the withdrawals are of one length
    write_log(tmp_path / "log", entries, sign(entries, signer), key)
    report = verify_log(tmp_path / "log", key=key)
    assert report.verdict == "refuted at entry 6: the delivery that entry 5 answered is answered again"
    write_log(tmp_path / "log", entries[:6], sign(entries[:6], signer), key)
    assert verify_log(tmp_path / "log", key=key).exit_code == 7  # control


def test_a_log_begins_as_every_log_does(tmp_path: Path, key: VerifierKey, signer: Ed25519Signer) -> None:
    first, beat = first_bodies(), Body(kind=Kind.HEARTBEAT)
    for bodies, at in (
        ([beat], 0),
        ([first[0], beat], 1),
        ([first[0], first[1], first[3]], 2),
        ([*first[:3], first[2], beat], 4),
        ([*first, first[0]], 4),
        ([*first, Body(kind=Kind.EPOCH_CLOSED), beat], 5),
    ):
        entries = chain(bodies)
        write_log(tmp_path / "log", entries, sign(entries, signer), key)
        report = verify_log(tmp_path / "log", key=key)
        assert report.verdict.startswith(f"refuted at entry {at}: "), bodies
        assert result(report, 8) == REFUTED
    entries = chain([*first[:3], first[2], *first[3:], beat, Body(kind=Kind.EPOCH_CLOSED)])
    write_log(tmp_path / "log", entries, sign(entries, signer), key)
    assert verify_log(tmp_path / "log", key=key).exit_code == 7  # control


def test_time_never_goes_back(tmp_path: Path, key: VerifierKey, signer: Ed25519Signer) -> None:
    entries = chain([*first_bodies(), Body(kind=Kind.HEARTBEAT)])
    back = parse_entry(entries[4])
    earlier = parse_entry(entries[3]).time_us - 1
    entries[4] = entries[4][:12] + earlier.to_bytes(8, "big") + entries[4][20:]
    assert back.time_us > earlier
    write_log(tmp_path / "log", entries, sign(entries, signer), key)
    assert "at entry 4: tile/entries/000.p/5: its time is before" in verify_log(tmp_path / "log", key=key).verdict


def test_an_epoch_after_the_first_says_that_its_beginning_was_not_checked(
    tmp_path: Path, signer: Ed25519Signer
) -> None:
    origin = "hk-sb.exercise.example/log/2"
    entries = chain(first_bodies(), origin)
    later = VerifierKey(name=origin, key=signer.key.public_key)
    write_log(tmp_path / "log", entries, sign(entries, signer, origin), later)
    report = verify_log(tmp_path / "log", key=later)
    assert (report.exit_code, result(report, 3)) == (7, NOT_CHECKED)


def test_an_empty_signed_log_is_not_anchored(tmp_path: Path, key: VerifierKey, signer: Ed25519Signer) -> None:
    write_log(tmp_path / "log", [], sign([], signer), key)
    report = verify_log(tmp_path / "log", key=key)
    assert (report.exit_code, report.verdict, report.size) == (7, "verified, end not anchored", 0)
