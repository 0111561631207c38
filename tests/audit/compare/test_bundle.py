"""Bundles of a real home: the same bytes from the same log, nothing of a bulletin in them, checked by other programs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.entry.kinds import Kind
from audit.tiles.entry_proof import prove_entry
from audit.tiles.tar import open_tar
from audit.tiles.tiles import TileFolder
from tests.audit.compare.bundled import HOME, OTHER_SETTINGS, ROOT, exchange, process, remade, unpacked, verify
from tests.audit.compare.paired import AGENCIES, TEXT, Logs
from tests.support.home_files import DATABASE
from tests.support.world import Desk, advisory


def test_a_bundle_is_verified_with_the_roster_alone(bundle: Path, template: Path) -> None:
    code, told = verify(bundle, "--roster", template / "roster")
    assert (code, told["verdict"]) == (0, f"verified, witnessed to {told['size']}")
    steps = {step["step"]: step for step in told["steps"]}
    assert [steps[n]["result"] for n in (9, 10, 11)] == ["ok"] * 3
    assert steps[11]["detail"].startswith("5 receipts stand in their givers' logs")
    # Control: without the roster its keys are only its own word.
    code, told = verify(bundle)
    assert code == 7
    assert {step["name"] for step in told["steps"] if step["result"] == "not checked"} >= {"key", "bundle", "receipts"}


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of one's own needs root")
def test_a_bundle_is_verified_where_there_is_no_network(bundle: Path, template: Path) -> None:
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives nobody a network namespace")
    assert verify(bundle, "--roster", template / "roster", before=("unshare", "-n"))[0] == 0


def test_the_same_log_gives_the_same_bytes_under_any_settings(bundle: Path, template: Path, tmp_path: Path) -> None:
    for number, settings in enumerate(OTHER_SETTINGS):
        again = tmp_path / f"{number}.audit"
        assert exchange("bundle", template / HOME, "-o", again, env=settings).returncode == 0
        assert again.read_bytes() == bundle.read_bytes(), settings
    changed = tmp_path / "dsi.audit"  # control: another log, other bytes
    assert exchange("bundle", template / "TH-DSI", "-o", changed).returncode == 0
    assert changed.read_bytes() != bundle.read_bytes()


def other_pythons() -> list[str]:
    """Find interpreters of other versions that can run the program: those named, and those on the path."""
    named = [each for each in os.environ.get("EXCHANGE_PYTHONS", "").split(":") if each]
    found = [path for version in ("3.11", "3.12", "3.13") if (path := shutil.which(f"python{version}"))]
    found += [str(path) for path in [ROOT / ".venv/other/bin/python"] if path.exists()]  # tests/other_python
    probe = (
        "import sys, exchange.cli.auditor.audit_bundle; sys.exit(sys.version_info[:2] == tuple(map(int, sys.argv[1:])))"
    )
    own = [str(number) for number in sys.version_info[:2]]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = {
        path: subprocess.run([path, "-c", probe, *own], capture_output=True, env=env, check=False).returncode
        for path in [*named, *found]
    }
    return [path for path, code in runs.items() if code == 0]


def test_the_same_log_gives_the_same_bytes_under_another_python(bundle: Path, template: Path, tmp_path: Path) -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("no Python of another version has this program's libraries: tests/other_python")
    for number, python in enumerate(pythons):
        again = tmp_path / f"{number}.audit"
        command = [python, "-m", "exchange", "audit", "bundle", str(template / HOME), "-o", str(again)]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
        assert again.read_bytes() == bundle.read_bytes(), python


def test_a_copy_of_the_home_with_other_times_and_modes_gives_the_same_bytes(
    bundle: Path, logs: Logs, tmp_path: Path
) -> None:
    for path in logs.home(HOME).rglob("*"):
        os.utime(path, (1, 1))
    assert exchange("bundle", logs.home(HOME), "-o", tmp_path / "again.audit").returncode == 0
    assert (tmp_path / "again.audit").read_bytes() == bundle.read_bytes()


def test_it_is_a_plain_tar_with_nothing_of_this_machine_in_it(bundle: Path) -> None:
    with tarfile.open(bundle) as file:
        members = file.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    for member in members:
        assert member.isfile()
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
        assert member.mode == 0o644


def test_it_holds_what_its_readme_says(bundle: Path) -> None:
    names = set(open_tar(bundle).members)
    assert {"README", "checkpoint", "log.vkey", "keys", "policy", "witnesses.vkeys", "check.py"} <= names
    assert {"schema/entry.proto", "schema/kinds.tsv", "receipts/receipts.tsv", "roster/1"} <= names
    assert "peers/th-dsi.exercise.example/log/1/checkpoint" in names
    assert len([name for name in names if name.endswith(".tlog-proof")]) == 5
    assert not any(name.startswith("manifests/") for name in names)  # they name officers; later epochs need one


def test_the_readmes_own_words_are_run(bundle: Path, template: Path, tmp_path: Path) -> None:
    folder = unpacked(bundle, tmp_path / "B")
    readme = (folder / "README").read_text()
    for line in (
        "grep -E '^[0-9a-f]{64}  ' README | sha256sum --check --quiet",
        'python3 check.py . "$(cat KEY)" witnesses.vkeys',
    ):
        assert line in readme
        typed = line.replace("python3", sys.executable).replace("KEY", "log.vkey")
        done = subprocess.run(["bash", "-o", "pipefail", "-c", typed], cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
    for name in ("tile/entries/000.p/*", "checkpoint", "witnesses.vkeys"):  # control: what is changed is found
        path = next(folder.glob(name))
        good = path.read_bytes()
        path.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
        command = [sys.executable, "check.py", ".", (folder / "log.vkey").read_text(), "witnesses.vkeys"]
        assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode != 0, name
        path.write_bytes(good)
    command = [sys.executable, "-m", "audit.cli.main", "verify", str(bundle), "--roster", str(template / "roster")]
    assert "exchange-audit verify THIS --roster ROSTER" in readme
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_too_few_cosignatures_are_refused_by_the_script(bundle: Path, tmp_path: Path) -> None:
    folder = unpacked(bundle, tmp_path / "B")
    lines = (folder / "checkpoint").read_text().splitlines(keepends=True)
    kept = [line for line in lines if "/witness " not in line]
    (folder / "checkpoint").write_text("".join(kept))
    command = [sys.executable, "check.py", ".", (folder / "log.vkey").read_text()]
    assert subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0
    done = subprocess.run([*command, "witnesses.vkeys"], cwd=folder, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "refuted: 0 witnesses have signed; quorum 3\n")


def test_an_unpacked_bundle_is_a_log_folder(bundle: Path, template: Path, tmp_path: Path) -> None:
    folder = unpacked(bundle, tmp_path / "B")
    code, told = verify(folder, "--roster", template / "roster")
    assert code in (0, 7)
    assert told["verdict"].startswith("verified, witnessed to ")
    original = template / HOME / "log"
    for path in original.rglob("*"):
        if path.is_file():
            assert (folder / path.relative_to(original)).read_bytes() == path.read_bytes()


def encodings(value: str) -> dict[str, bytes]:
    raw = value.encode()
    digest = hashlib.sha256(raw)
    found = {"utf-8": raw, "utf-16-le": value.encode("utf-16-le"), "utf-16-be": value.encode("utf-16-be")}
    found |= {"hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    found |= {"sha256": digest.digest(), "sha256 hex": digest.hexdigest().encode()}
    found |= {"sha256 base64": base64.b64encode(digest.digest())}
    for shift in range(3):  # base64 of it at any place of a longer text, without the characters at its ends
        found[f"base64+{shift}"] = base64.b64encode(bytes(shift) + raw)[(0, 2, 4)[shift] : -4]
    return found


def test_nothing_of_a_bulletin_is_in_a_bundle_in_any_encoding(logs: Logs, tmp_path: Path) -> None:
    planted = (TEXT, "officer-1", "HK-IMMD/ADV/2025/000001", "exercise: every addressee")
    # Decoded too: what a proof carries in base64 is looked into as it reads.
    for agency in AGENCIES:
        path = tmp_path / f"{agency}.audit"
        assert exchange("bundle", logs.home(agency), "-o", path).returncode == 0
        whole = path.read_bytes() + b"".join(decoded(path))
        for token in planted:
            hits = [name for name, form in encodings(token).items() if form in whole]
            assert hits == [], (agency, token, hits)
    haystack = b"".join(form for form in encodings(TEXT).values())  # control: each form is found where it is
    assert all(form in haystack for form in encodings(TEXT).values())


def decoded(path: Path) -> Iterator[bytes]:
    for name, data in open_tar(path).contents():
        if name.endswith(".tlog-proof"):
            for line in data.split(b"\n"):
                word = line.removeprefix(b"extra ").split(b" ")[-1]
                try:
                    yield base64.b64decode(word, validate=True)
                except ValueError:
                    continue


def test_a_file_that_is_there_stays_and_a_folder_gets_the_name(logs: Logs, tmp_path: Path) -> None:
    kept = tmp_path / "kept.audit"
    kept.write_text("mine")
    done = exchange("bundle", logs.home(HOME), "-o", kept)
    assert (done.returncode, kept.read_text()) == (2, "mine")
    assert "is there already" in done.stderr
    assert exchange("bundle", logs.home(HOME), "-o", kept, "--force").returncode == 0
    assert kept.read_bytes() != b"mine"
    done = exchange("bundle", logs.home(HOME), "-o", tmp_path, "--json")
    told = json.loads(done.stdout)
    assert Path(told["file"]).name == f"hk-immd.exercise.example.log.1-0-{told['size'] - 1}.audit"
    assert told["sha256"] == hashlib.sha256(Path(told["file"]).read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".bundle")] == []


def test_what_cannot_be_bundled_is_said_in_one_line(logs: Logs, tmp_path: Path) -> None:
    for words, code in (
        ((tmp_path / "nowhere",), 5),
        ((logs.home(HOME), "--from", "900"), 5),
        ((logs.home(HOME), "--from", "3", "--to", "2"), 5),
        ((logs.home(HOME), "-o", tmp_path / "no/such/folder/file"), 2),
    ):
        done = exchange("bundle", *words)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), (words, done.stderr)
    (logs.home(HOME) / "log/checkpoint").write_text("nonsense")
    done = exchange("bundle", logs.home(HOME), "-o", tmp_path / "x")
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)


def test_a_home_whose_database_is_another_agencys_is_refused(logs: Logs, tmp_path: Path) -> None:
    for path in logs.home(HOME).glob("node.db*"):
        path.unlink()
    for path in logs.home("TH-DSI").glob("node.db*"):
        shutil.copy(path, logs.home(HOME) / path.name)
    done = exchange("bundle", logs.home(HOME), "-o", tmp_path / "x")
    assert done.returncode == 6
    assert "the database is TH-DSI's" in done.stderr


def test_a_mirror_without_a_database_is_bundled_without_receipts(logs: Logs, tmp_path: Path) -> None:
    for path in logs.home(HOME).glob(f"{DATABASE}*"):
        path.unlink()
    assert exchange("bundle", logs.home(HOME), "-o", tmp_path / "x.audit").returncode == 0
    assert verify(tmp_path / "x.audit", "--roster", logs.roster)[0] == 0


def test_a_receipt_that_is_not_the_one_recorded_refutes_row_33(bundle: Path, template: Path, tmp_path: Path) -> None:
    """Two receipts are exchanged for each other: each is genuine, neither is what our log recorded."""
    members = dict(open_tar(bundle).contents())
    first, second = sorted(name for name in members if name.startswith("peers/th-dsi") and name.endswith("tlog-proof"))[
        :2
    ]
    table = members["receipts/receipts.tsv"].decode().splitlines()
    rows = [line.split("\t") for line in table]
    wanted = {first.rpartition("/")[2].partition(".")[0], second.rpartition("/")[2].partition(".")[0]}
    mine = [row for row in rows if row[3] in wanted and row[2].startswith("th-dsi")]
    mine[0][3], mine[1][3] = mine[1][3], mine[0][3]
    members["receipts/receipts.tsv"] = "".join("\t".join(row) + "\n" for row in rows).encode()
    code, told = verify(remade(members, tmp_path, bundle), "--roster", template / "roster")
    assert code == 6
    assert "does not record it" in told["verdict"]
    # Control: the same members with the table as it was.
    members["receipts/receipts.tsv"] = "".join(f"{line}\n" for line in table).encode()
    assert verify(remade(members, tmp_path, bundle), "--roster", template / "roster")[0] == 0


def test_a_proof_that_does_not_lead_to_its_givers_root_is_named(bundle: Path, template: Path, tmp_path: Path) -> None:
    members = dict(open_tar(bundle).contents())
    name = next(name for name in members if name.endswith(".tlog-proof"))
    lines = members[name].split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(b"index ")) + 1
    lines[at] = base64.b64encode(bytes(32))
    members[name] = b"\n".join(lines)
    code, told = verify(remade(members, tmp_path, bundle), "--roster", template / "roster")
    assert code == 6
    assert told["verdict"].startswith(f"refuted: {name}: inclusion proof: ")


def test_a_receipt_that_is_no_answer_is_named_though_the_log_records_it(logs: Logs, tmp_path: Path) -> None:
    """The operator lets its own log record a peer's QUEUED as if it were the answer; the proof of it is genuine."""
    recorded, sent = logs.find(HOME, Kind.RECEIPT_RECORDED, "TH-DSI"), logs.find("TH-DSI", Kind.QUEUED, HOME)
    old, other = logs.bodies(HOME)[recorded], logs.bodies("TH-DSI")[sent]
    fields = {"delivery_digest": other.delivery_digest, "dispatch_digest": other.dispatch_digest}
    logs.alter(HOME, recorded, **fields, peer_index=sent, peer_leaf_hash=logs.leaf("TH-DSI", sent))
    path = tmp_path / "x.audit"
    assert exchange("bundle", logs.home(HOME), "-o", path).returncode == 0
    members = dict(open_tar(path).contents())
    peer = "th-dsi.exercise.example/log/1"
    del members[f"peers/{peer}/{old.peer_index}.tlog-proof"]
    members[f"peers/{peer}/{sent}.tlog-proof"] = prove_entry(TileFolder(logs.home("TH-DSI") / "log"), sent).encode()
    table = members["receipts/receipts.tsv"].decode()
    row = f"{recorded}\t{old.refers_to}\t{peer}\t"
    members["receipts/receipts.tsv"] = table.replace(f"{row}{old.peer_index}\n", f"{row}{sent}\n").encode()
    code, told = verify(remade(members, tmp_path, path), "--roster", logs.roster)
    assert code == 6
    assert "QUEUED answers no delivery" in told["verdict"]


def test_a_peers_cosigned_checkpoint_goes_in_before_one_that_nobody_has_cosigned_yet(
    logs: Logs, tmp_path: Path
) -> None:
    peer, name = logs.home(HOME) / "peers/TH-DSI", "peers/th-dsi.exercise.example/log/1/checkpoint"
    cosigned = (logs.home("TH-DSI") / "log/checkpoint").read_text()
    one, two = tmp_path / "one.audit", tmp_path / "two.audit"
    head, _, lines = cosigned.partition("\n\n")
    (peer / "checkpoint").write_text(f"{head}\n\n{lines.splitlines()[0]}\n")
    assert exchange("bundle", logs.home(HOME), "-o", one).returncode == 0  # control: none is held
    assert dict(open_tar(one).contents())[name].decode() == (peer / "checkpoint").read_text() != cosigned
    (peer / "witnessed").write_text(cosigned)
    for path in (two, tmp_path / "three.audit"):
        assert exchange("bundle", logs.home(HOME), "-o", path).returncode == 0
    assert two.read_bytes() == (tmp_path / "three.audit").read_bytes()
    members = dict(open_tar(two).contents())
    assert members[name].decode() == cosigned
    counts = []
    for path in (one, two):
        code, told = verify(path, "--roster", logs.roster)
        detail = next(each["detail"] for each in told["steps"] if each["name"] == "receipts")
        assert code == 0, told
        counts.append(int(detail.partition("peers' logs ")[2].split(" ")[0]))
    assert counts[1] == counts[0] + 1
    members[name] = members[name][:-6] + b"AAAA=\n"
    code, told = verify(remade(members, tmp_path, two), "--roster", logs.roster)
    assert (code, told["verdict"].startswith(f"refuted: {name}")) == (6, True)


def test_a_bundle_that_cannot_be_written_names_the_file_that_was_asked_for(logs: Logs, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no folder")
    for path in (tmp_path / "nowhere/x.audit", tmp_path / "plain/x.audit"):
        done = exchange("bundle", logs.home(HOME), "-o", path)
        assert done.returncode == 2
        assert f"{path} cannot be written: " in done.stderr
        assert ".bundle-" not in done.stderr


def test_two_bundles_of_a_running_node_show_one_moment_each(logs: Logs, tmp_path: Path) -> None:
    """The node writes between the reading of the checkpoint and that of the tiles: the bundle is of the checkpoint."""
    desk = Desk(HOME, logs.home(HOME))
    try:
        size = desk.node.log.size
        for serial in range(10, 14):
            desk.publish(advisory(HOME, "TH-DSI", serial=serial))
            path = tmp_path / f"{serial}.audit"
            words = ["audit", "bundle", str(logs.home(HOME)), "-o", str(path)]
            assert process("exchange", words).returncode == 0  # a node's own process has its files open
            code, told = verify(path, "--key", str(desk.node.vkey))
            assert code == 7, told
            assert told["size"] >= size
            assert Kind.NODE_STARTED.name in json.dumps(told)
    finally:
        desk.close()
