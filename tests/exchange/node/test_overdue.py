"""Attack 23: a bulletin kept past its date stands in the retention report, by the log alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audit.cli.main import audit
from audit.compare.overdue import check_retention
from audit.entry.body import Body, parse_body
from audit.entry.entry import Entry, genesis_previous, leaf_hash, parse_entry
from audit.entry.kinds import Kind
from audit.note.checkpoint import VerifierKey, parse_note
from audit.note.cosignature import add_lines, cosign, cosigner_key
from audit.note.policy import WitnessPolicy, format_vkeys
from audit.record.statement import ReadPurpose
from audit.tiles.tile_names import CHECKPOINT, WITNESSED
from audit.tiles.tiles import TileFolder
from exchange.cli.main import run
from keys.durations import DAY_MS
from keys.errors import RefusedError
from keys.identity import Usage
from keys.signer import signer_from_seed
from keys.suites import ED25519
from tests.audit.forge import read_log, root, sign, write_log
from tests.exchange.node.keeping import TODAY, Keeper, delivered, kept_for
from tests.support.world import NOW_MS, keys_of


def typed(*words: object) -> Result:
    return CliRunner().invoke(audit, ["retention", *map(str, words)])


def stopped(desk: Keeper) -> Path:
    """Let the node publish and end one entry later, so that the log itself tells the day."""
    desk.restart()
    desk.node.stop()
    return desk.home


def cosigned(home: Path, *times_s: int) -> WitnessPolicy:
    """Have three witnesses cosign the newest checkpoint at these times, and write it as the node does."""
    signers = [
        signer_from_seed(Usage.WITNESS, ED25519, f"HK-W{number}", bytes([number]) * 32) for number in range(1, 4)
    ]
    names = [f"w{number}.exercise.example/witness" for number in range(1, 4)]
    note = (home / "log" / CHECKPOINT).read_text()
    checkpoint = parse_note(note).checkpoint
    for name, signer, time_s in zip(names, signers, times_s, strict=True):
        note = add_lines(note, cosign(checkpoint, name, signer, time_s))
    path = home / "log" / WITNESSED
    path.unlink(missing_ok=True)
    path.write_text(note)
    keys = [cosigner_key(name, signer.key.public_key) for name, signer in zip(names, signers, strict=True)]
    return WitnessPolicy(quorum=3, witnesses=tuple(keys))


def test_attack_23_a_bulletin_kept_past_its_date_is_reported(sender: Keeper, receiver: Keeper) -> None:
    overdue, on_hold, released, later = (kept_for(days, serial) for serial, days in ((1, 1), (2, 1), (3, 1), (4, 9)))
    delivered(sender, receiver, overdue, on_hold, released, later)
    receiver.hold(on_hold)
    receiver.hold(released)
    receiver.hold(released, ReadPurpose.RELEASE)
    positions = {desk: [desk.stored(each).entry_index for each in (overdue, released)] for desk in (sender, receiver)}
    everything = [sender.stored(each).entry_index for each in (overdue, on_hold, released)]
    for desk in (sender, receiver):
        control = typed("--json", stopped(desk))
        assert (control.exit_code, json.loads(control.stdout)) == (0, {"overdue": []})  # no date has passed
        desk.pass_days(2)
        told = typed("--json", stopped(desk))
        assert told.exit_code == 7
        found = json.loads(told.stdout)["overdue"]
        assert [each["entry"] for each in found] == (everything if desk is sender else positions[desk])
        assert found[0] == {
            "entry": positions[desk][0],
            "bulletin": overdue.header.bulletin_id,
            "since": str(TODAY.fromordinal(TODAY.toordinal() + 1)),
        }
        assert typed(desk.home / "log").exit_code == 7
        assert "overdue" in typed(desk.home).stdout
        desk.start()
        desk.keep_up()
        after = typed("--json", stopped(desk))
        assert (after.exit_code, json.loads(after.stdout)) == (0, {"overdue": []})
        desk.start()


def test_the_witnesses_hour_decides_and_not_the_operators(sender: Keeper) -> None:
    """An operator whose clock stands still keeps what it likes, in its own eyes."""
    sender.publish(kept_for(1, 5))
    home = stopped(sender)
    folder, soon, late = TileFolder(home / "log"), NOW_MS // 1000, (NOW_MS + 2 * DAY_MS) // 1000
    assert check_retention(folder, None).overdue == ()
    policy = cosigned(home, late, late + 1, soon)
    assert len(check_retention(folder, policy).overdue) == 1  # the median of three
    assert check_retention(folder, replace(policy, quorum=4)).overdue == ()  # too few to be believed
    assert check_retention(folder, cosigned(home, late, soon, soon)).overdue == ()  # control: one liar moves nothing
    policy = cosigned(home, late, late, late)
    (home / "witnesses.vkeys").write_text(format_vkeys(policy))
    assert typed(home).exit_code == 7
    text = (home / "log" / WITNESSED).read_text()
    line = next(each for each in text.split("\n") if each.startswith("— w1"))
    other = "B" if line[-20] == "A" else "A"
    (home / "log" / WITNESSED).write_text(text.replace(line, line[:-20] + other + line[-19:]))
    with pytest.raises(RefusedError):
        check_retention(folder, policy)
    assert typed(home).exit_code == 6
    sender.start()


def test_a_refuted_log_an_empty_folder_and_wrong_use_have_their_codes(sender: Keeper, tmp_path: Path) -> None:
    sender.publish(kept_for(1, 6))
    home = stopped(sender)
    assert typed("--json", home).exit_code == 0
    (entries,) = (home / "log/tile/entries").rglob("000.p/*")
    entries.chmod(0o644)
    data = bytearray(entries.read_bytes())
    data[300] ^= 1
    entries.write_bytes(data)
    told = typed("--json", home)
    assert told.exit_code == 6
    assert json.loads(told.stdout)["ok"] is False
    assert typed(tmp_path / "nothing").exit_code == 5
    assert typed(home, "--key", "a", "--roster", "b").exit_code == 2
    assert typed(home, "--key", "nonsense").exit_code == 2
    entries.write_bytes(bytes(data[:300]) + bytes([data[300] ^ 1]) + bytes(data[301:]))
    sender.start()


def test_a_log_without_days_has_nothing_overdue(receiver: Keeper) -> None:
    receiver.pass_days(10_000)
    told = typed("--json", stopped(receiver))
    assert (told.exit_code, json.loads(told.stdout)) == (0, {"overdue": []})
    receiver.start()


def test_a_bundle_tells_the_same_and_one_with_entries_missing_is_incomplete(sender: Keeper, tmp_path: Path) -> None:
    for serial in range(300):
        sender.publish(kept_for(1 if serial == 299 else 900, 100 + serial))
    sender.pass_days(2)
    home, whole, part = stopped(sender), tmp_path / "whole.audit", tmp_path / "part.audit"
    size = parse_note((home / "log" / CHECKPOINT).read_text()).checkpoint.size
    assert run(["audit", "bundle", str(home), "-o", str(whole)]) == 0
    assert run(["audit", "bundle", str(home), "--to", "200", "-o", str(part)]) == 0
    told = typed("--json", whole)
    assert (told.exit_code, json.loads(told.stdout)) == (7, json.loads(typed("--json", home).stdout))
    assert len(json.loads(told.stdout)["overdue"]) == 1
    cut = typed("--json", part)  # the last entries are not in it: an overdue one, or its ERASED, may be among them
    assert cut.exit_code in (6, 7)
    later = tmp_path / "later.audit"
    assert run(["audit", "bundle", str(home), "--from", str(size - 10), "-o", str(later)]) == 0
    assert typed("--json", later).exit_code == 7
    assert "Not checked" in typed(later).stdout
    spoilt = tmp_path / "spoilt.audit"
    spoilt.write_bytes(whole.read_bytes()[:-2000])
    assert typed("--json", spoilt).exit_code == 6
    sender.start()


def test_witnesses_that_cannot_be_read_end_in_one_line(sender: Keeper) -> None:
    sender.publish(kept_for(9, 1))
    home = stopped(sender)
    for content in (b"\xff\xfe", b"# quorum 1\n" * (1 << 16), b"nothing of the kind"):
        (home / "witnesses.vkeys").write_bytes(content)
        told = typed("--json", home)
        assert (told.exit_code, json.loads(told.stdout)["ok"]) == (6, False)
        assert "witnesses" in json.loads(told.stdout)["message"]
    (home / "witnesses.vkeys").unlink()
    assert typed("--json", home).exit_code == 0  # control


def begin_anew(home: Path, agency: str, *more: Body) -> None:
    """Move a log aside as a recovery does, and write epoch 2 with these entries."""
    old, signer, name = home / "log", keys_of(agency).node.log, f"{agency.lower()}.exercise.example/log"
    entries = read_log(old, parse_note(TileFolder(old).note()).checkpoint.size)
    restored = Body(kind=Kind.RESTORED, peer_size=len(entries), peer_root=root(entries))
    bodies = [*(parse_body(parse_entry(each).body) for each in entries[:4]), restored, *more]
    made: list[bytes] = []
    link = genesis_previous(f"{name}/2", root(entries))
    for index, body in enumerate(bodies):
        time_us = parse_entry(entries[-1]).time_us
        made.append(Entry(index=index, time_us=time_us, previous=link, body=body.encode()).encode())
        link = leaf_hash(made[-1])
    aside = home / "before-epoch-2"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    old.rename(aside / "log")
    write_log(old, made, sign(made, signer, f"{name}/2"), VerifierKey(name=f"{name}/2", key=signer.key.public_key))


@pytest.mark.parametrize("kind", [Kind.ERASED, Kind.HOLD_SET])
def test_an_entry_of_an_earlier_epoch_is_overdue_until_a_later_epoch_names_it(sender: Keeper, kind: Kind) -> None:
    kept = kept_for(1, 6)
    sender.publish(kept)
    sender.pass_days(2)
    position, home = sender.stored(kept).entry_index, stopped(sender)
    assert [each["entry"] for each in json.loads(typed("--json", home).stdout)["overdue"]] == [position]  # control
    other, elsewhere = home.parent / "other", home.parent / "elsewhere"
    shutil.copytree(home, other)
    shutil.copytree(home, elsewhere)
    begin_anew(home, "HK-IMMD")
    told = typed("--json", home)
    assert told.exit_code == 7
    assert [(each["epoch"], each["entry"]) for each in json.loads(told.stdout)["overdue"]] == [(1, position)]
    assert "epochs looked at: 2" in typed(home / "log").stdout  # the earlier epoch is not there: not checked, 7
    assert typed(home / "log").exit_code == 7
    begin_anew(other, "HK-IMMD", Body(kind=kind, refers_to=position, refers_to_epoch=1))
    done = typed("--json", other)
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"overdue": []}), done.output
    begin_anew(elsewhere, "HK-IMMD", Body(kind=kind, refers_to=4))  # of its own epoch: names another entry
    assert typed("--json", elsewhere).exit_code != 0
    path = next((home / "before-epoch-2/log/tile/entries").rglob("*.p/*"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    assert typed("--json", home).exit_code == 6
