"""The root opens a new epoch of the log from a checkpoint that its own log signed, and from nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit.note.checkpoint import Checkpoint, sign_checkpoint
from exchange.demo.federation import found_roster
from keys.agency import AgencyKeys, make_agency, save_agency
from keys.ceremony import agency_manifest, save_signed
from keys.cli.main import keys
from keys.dsse import SignedPayload
from keys.epoch import open_epoch, read_end
from keys.errors import RefusedError
from keys.identity import AgencyId
from keys.keystore import INTERACTIVE
from keys.manifest import LogEpoch, parse_manifest
from keys.member import Member
from keys.roster import load_signed, parse_roster

NOW_MS = 1_800_000_000_000
ORIGIN = "hk-sb.exercise.example/log/1"
END = Checkpoint(origin=ORIGIN, size=80, root=bytes(range(32)))


@pytest.fixture(scope="module")
def made() -> AgencyKeys:
    return make_agency(AgencyId("HK-SB"), "exercise.example", [], now_ms=NOW_MS, random_bytes=os.urandom)


@pytest.fixture(scope="module")
def roster(made: AgencyKeys) -> SignedPayload:
    return found_roster([made], now_ms=NOW_MS, catalogue=bytes(32))


@pytest.fixture
def member(roster: SignedPayload) -> Member:
    found = parse_roster(roster.payload).member("HK-SB")
    assert found is not None
    return found


def test_the_new_manifest_is_the_old_one_with_one_epoch_more(
    made: AgencyKeys, roster: SignedPayload, member: Member
) -> None:
    before = agency_manifest(made, roster, ["127.0.0.1:7443"], NOW_MS)
    opening = read_end(sign_checkpoint(END, made.node.log), member)
    assert opening == LogEpoch(epoch=2, previous_origin=ORIGIN, previous_size=80, previous_root=END.root)
    old, new = (
        parse_manifest(before.payload),
        parse_manifest(open_epoch(made.root.root, before, opening, NOW_MS + 1).payload),
    )
    assert (new.version, new.log_epochs) == (2, (LogEpoch(epoch=1), opening))
    assert replace(new, version=1, issued_ms=old.issued_ms, expires_ms=old.expires_ms, log_epochs=old.log_epochs) == old


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("unsigned", "MALFORMED", "expected three lines"),
        ("cut off", "MALFORMED", "expected three lines"),
        ("other log", "WRONG_MAKER", "not of hk-sb"),
        ("other key", "SIGNER_UNKNOWN", "1 expected"),
        ("other root", "SIGNATURE_INVALID", "does not verify"),
        ("leading zero", "MALFORMED", "line 2"),
        ("no root", "MALFORMED", "line 3"),
        ("two lines of the key", "SIGNER_UNKNOWN", "2 signatures"),
    ],
)
def test_a_checkpoint_that_the_log_did_not_sign_opens_nothing(
    made: AgencyKeys, member: Member, name: str, code: str, text: str
) -> None:
    note = sign_checkpoint(END, made.node.log)
    lines = note.splitlines(keepends=True)
    changed = {
        "unsigned": END.text(),
        "cut off": note[:-1],
        "other log": sign_checkpoint(replace(END, origin="th-dsi.exercise.example/log/1"), made.node.log),
        "other key": sign_checkpoint(END, made.node.witness),
        "other root": "".join(
            [lines[0], lines[1], replace(END, root=bytes(32)).text().splitlines(True)[2], *lines[3:]]
        ),
        "leading zero": note.replace("\n80\n", "\n080\n"),
        "no root": "".join([lines[0], lines[1], "AAAA\n", *lines[3:]]),
        "two lines of the key": note + lines[-1],
    }[name]
    with pytest.raises(RefusedError, match=text) as caught:
        read_end(changed, member)
    assert caught.value.code == code
    assert read_end(note, member).previous_size == 80  # control


def test_an_epoch_is_opened_once_and_by_its_own_root(made: AgencyKeys, roster: SignedPayload, member: Member) -> None:
    before = agency_manifest(made, roster, ["127.0.0.1:7443"], NOW_MS)
    opening = read_end(sign_checkpoint(END, made.node.log), member)
    second = open_epoch(made.root.root, before, opening, NOW_MS)
    with pytest.raises(RefusedError, match="is in epoch 2, the checkpoint is of epoch 1"):
        open_epoch(made.root.root, second, opening, NOW_MS)
    third = read_end(sign_checkpoint(replace(END, origin=ORIGIN[:-1] + "2"), made.node.log), member)
    assert parse_manifest(open_epoch(made.root.root, second, third, NOW_MS).payload).log_epochs[-1].epoch == 3
    stranger = make_agency(AgencyId("HK-SB"), "exercise.example", [], now_ms=NOW_MS, random_bytes=os.urandom)
    with pytest.raises(RefusedError) as caught:
        open_epoch(stranger.root.root, before, opening, NOW_MS)
    assert caught.value.code == "SIGNER_UNKNOWN"


def test_the_command_writes_the_manifest_and_refuses_in_one_line(tmp_path: Path) -> None:
    import time

    now_ms = time.time_ns() // 1_000_000
    made = make_agency(AgencyId("HK-SB"), "exercise.example", [], now_ms=now_ms, random_bytes=os.urandom)
    roster = found_roster([made], now_ms=now_ms, catalogue=bytes(32))
    home = tmp_path / "home"
    save_agency(home, made, lambda _: b"secret", os.urandom, root_profile=INTERACTIVE)
    save_signed(tmp_path / "roster", roster)
    save_signed(tmp_path / "manifest", agency_manifest(made, roster, ["127.0.0.1:7443"], now_ms))
    (tmp_path / "note").write_text(sign_checkpoint(END, made.node.log))
    (tmp_path / "bad").write_text(sign_checkpoint(END, made.node.witness))

    def type_line(note: str, output: str) -> tuple[int, str]:
        handle, writer = os.pipe()
        os.write(writer, b"secret\n")
        os.close(writer)
        line = ["make", "epoch", str(tmp_path / note), "--home", str(home), "--roster", str(tmp_path / "roster")]
        line += ["--manifest", str(tmp_path / "manifest"), "-o", str(tmp_path / output), "--passphrase-fd", str(handle)]
        done = CliRunner().invoke(keys, line)
        os.close(handle)
        return done.exit_code, done.output

    code, said = type_line("note", "manifest-2")
    assert (code, "opens epoch 2" in said) == (0, True), said
    assert parse_manifest(load_signed(tmp_path / "manifest-2").payload).log_epochs[-1].previous_size == 80
    assert type_line("bad", "manifest-3")[0] == 4  # SIGNER_UNKNOWN: a key that signs no log of ours
    assert type_line("missing", "manifest-3")[0] == 5
    assert type_line("note", "manifest-2")[0] == 2  # what is there stays
