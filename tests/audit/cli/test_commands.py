"""The commands as an auditor types them: exact exit codes, one object with --json, no network, no traceback."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.entry.entry import parse_entry
from audit.note.checkpoint import VerifierKey, parse_note
from audit.note.cosignature import add_lines, cosign, cosigner_key
from audit.note.policy import WitnessPolicy, format_vkeys
from keys.agency import AgencyKeys
from keys.roster import save_signed
from keys.signer import Ed25519Signer
from tests.audit.cli.typed import OFFLINE, ROOT, run
from tests.audit.forge import chain, read_log, sign, write_log
from tests.audit.store import first_bodies
from tests.keys.world import agency, roster_of


def verify_json(*words: str | Path) -> tuple[int, dict[str, object]]:
    done = run("verify", "--json", *words)
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert list(told) == ["verdict", "origin", "size", "root", "steps"]
    return done.returncode, told


def error_json(*words: str | Path) -> tuple[int, dict[str, object]]:
    """Type a line that comes to no verdict: the one form of an error, whatever the command."""
    done = run(*words, "--json")
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
    told = json.loads(done.stdout)
    assert list(told) == ["ok", "code", "message", "hint", "retryable"]
    return done.returncode, told


@pytest.fixture(scope="module")
def agencies() -> list[AgencyKeys]:
    return [agency("HK-SB"), agency("KH-NCCT")]


@pytest.fixture
def kept(template: Path, tmp_path: Path) -> Path:
    path = tmp_path / "kept.txt"
    shutil.copy(template / "checkpoint", path)
    return path


def test_verify_ends_in_0_only_with_an_outside_key_and_an_outside_checkpoint(
    folder: Path, key: VerifierKey, kept: Path
) -> None:
    code, told = verify_json(folder, "--key", str(key), "--against", kept)
    assert (code, told["verdict"], told["origin"], told["size"]) == (0, "verified", key.name, 300)
    assert [(s["step"], s["result"]) for s in told["steps"]] == [*((n, "ok") for n in range(1, 9)), (9, "not checked")]  # type: ignore[attr-defined] # read from JSON or narrowed by the code
    assert all(set(step) == {"step", "name", "result", "detail"} for step in told["steps"])  # type: ignore[attr-defined] # read from JSON or narrowed by the code
    assert verify_json(folder, "--against", kept)[0] == 7
    assert verify_json(folder, "--key", str(key))[0] == 7
    assert verify_json(folder)[0] == 7


def test_the_words_for_people_say_what_was_and_what_was_not_checked(folder: Path) -> None:
    done = run("verify", folder)
    assert done.returncode == 7
    assert "  1 key         not checked: key taken from the log itself\n" in done.stdout
    assert "  5 root        recomputed from the entries, and the one that was signed  ok\n" in done.stdout
    assert "\nVerified, end not anchored. Not checked here: whether an entry's content is true; " in done.stdout
    assert done.stderr == ""


def test_a_nodes_home_is_a_log_folders_parent_and_nothing_else_in_it_is_read(
    folder: Path, key: VerifierKey, kept: Path
) -> None:
    (folder.parent / "node.db").mkdir()  # would fail if it were opened
    assert verify_json(folder.parent, "--key", str(key), "--against", kept)[0] == 0


def test_against_takes_many_values_before_or_after_the_folder(
    folder: Path, key: VerifierKey, kept: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "e.tlog-proof"
    assert run("prove", folder, "299", "-o", proof).returncode == 0
    for words in (
        (folder, "--key", str(key), "--against", kept, proof),
        ("--against", kept, proof, folder, "--key", str(key)),
        ("--key", str(key), "--against", kept, proof, "--", folder),
        (folder, "--against", kept, "--against", proof, "--key", str(key)),
        ("--key", str(key), "--against", proof, "--against", kept, folder),
    ):
        code, told = verify_json(*words)
        assert (code, told["verdict"]) == (0, "verified"), words
        assert "1 checkpoint and 1 receipt agree" in told["steps"][6]["detail"]  # type: ignore[index] # read from JSON


def test_a_changed_byte_ends_in_6_and_names_the_entry(folder: Path, key: VerifierKey, kept: Path) -> None:
    path = folder / "tile/entries/000"
    data = bytearray(path.read_bytes())
    data[data.index(parse_entry(read_log(folder, 300)[77]).body) + 9] ^= 0x20
    path.write_bytes(data)
    done = run("verify", folder, "--key", str(key), "--against", kept)
    assert done.returncode == 6
    assert "Refuted at entry 77: tile/0/000: the entry's hash is not the one in the tile." in done.stdout
    code, told = verify_json(folder, "--key", str(key), "--against", kept)
    assert (code, str(told["verdict"]).startswith("refuted at entry 77: ")) == (6, True)


def test_no_such_folder_ends_in_5(tmp_path: Path, folder: Path) -> None:
    missing = tmp_path / "nowhere"
    done = run("verify", missing)
    assert (done.returncode, done.stderr) == (5, f"exchange-audit: error: no such file or folder: {missing}\n")
    none = tmp_path / "none"
    for words in (
        ("verify", missing),
        ("verify", folder, "--roster", none),
        ("verify", folder, "--against", none),
        ("verify", folder, "--from-checkpoint", none),
        ("verify", folder, "--tsa-ca", none),
        ("verify", folder, "--tsa-ca", folder / "checkpoint", "--stamps", none),
        ("compare", missing, folder),
        ("compare", folder, folder, "--roster", none),
        ("show", missing),
        ("prove", missing, "0"),
        ("report", missing, "-o", tmp_path / "page"),
        ("retention", missing),
        ("fork", folder / "checkpoint", missing, "-o", tmp_path / "out"),
    ):
        code, told = error_json(*words)
        assert (code, told["code"], told["retryable"]) == (5, "NO_SUCH_FILE", False), words


def test_a_file_that_is_nothing_of_ours_is_refused_and_not_missed(tmp_path: Path, folder: Path) -> None:
    strange = tmp_path / "strange"
    for content in (b"", b"\0", b"garbage" * 1000, (folder / "checkpoint").read_bytes()):
        strange.write_bytes(content)
        assert verify_json(strange)[0] == 6
        done = run("verify", strange)
        assert (done.returncode, done.stderr.count("\n")) == (6, 1)
        assert done.stderr.startswith(f"exchange-audit: error: {strange}: neither a log folder")


BEGINNINGS = {
    "an evidence file": b"PK\x03\x04",
    "two notes of a fork": b"exchange-fork/1\n",
    "disclosed fields": b"exchange/v1/disclosure\n",
}


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_who_asks_a_file_for_a_check_that_it_has_not_is_told_so(kind: str, tmp_path: Path, kept: Path) -> None:
    """Never "verified" beside an option that nobody looked at."""
    path = tmp_path / "file"
    path.write_bytes(BEGINNINGS[kind])
    for option in ("--now", "--from-checkpoint", "--manifest", "--against", "--witnesses"):
        value = "2030-01-01" if option == "--now" else kept
        code, told = error_json("verify", path, option, value)
        assert (code, told["code"], f"{kind}, which takes " in str(told["message"])) == (2, "USAGE", True), option
        assert str(told["message"]).endswith(f", but not {option}")
    assert run("verify", path, "--roster", tmp_path / "none").returncode in (5, 6, 7)  # control: each takes it


def test_a_file_is_written_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "e.tlog-proof"
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"  # as a disk without room
    words = [sys.executable, "-c", full + OFFLINE, "prove", str(folder), "3", "-o", str(proof)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, proof.exists()) == (2, False)
    assert done.stderr == f"exchange-audit: error: {proof} cannot be written: File too large\n"
    assert run("prove", folder, "3", "-o", proof).returncode == 0  # control
    assert proof.stat().st_size > 100


@pytest.mark.parametrize("words", [["verify"], ["compare"], ["bogus"], ["verify", ".", "--now", "no\x1b[31mtime"]])
def test_wrong_use_is_one_object_with_json_and_a_line_with_a_hint_without(words: list[str]) -> None:
    done = run(*words, "--json")
    assert (done.returncode, done.stderr, json.loads(done.stdout)["code"]) == (2, "", "USAGE")
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    error, *hint = done.stderr.splitlines()
    assert error.startswith("exchange-audit: error: ")
    assert len(hint) <= 1
    assert all(line.startswith("exchange-audit: hint: ") and line.endswith(" --help") for line in hint)
    assert "\x1b" not in done.stderr


def test_no_name_of_a_log_steers_the_terminal(folder: Path, signer: Ed25519Signer, tmp_path: Path) -> None:
    """Whoever signs a log with a key of its own may call it anything."""
    logs = []
    for number, name in enumerate(("one", "two"), 1):
        origin = f"{name}\x9b31m\u202e\u3164\u2800.exercise.example/log/1"
        *first, manifest = first_bodies()[:3]
        entries = chain([*first, manifest._replace(peer=number)], origin)
        key = VerifierKey(name=origin, key=signer.key.public_key)
        logs.append(write_log(tmp_path / name, entries, sign(entries, signer, origin), key))
    for command in ("verify", "compare", "retention", "show"):
        done = run(command, *(logs if command == "compare" else logs[:1]))
        assert not {"\x9b", "\u202e", "\u3164", "\u2800"} & set(done.stdout + done.stderr), command
        assert command in ("show", "retention") or "⟨U+3164⟩⟨U+2800⟩" in done.stdout + done.stderr, command
        assert done.returncode != 1, done.stderr
    assert "⟨U+009B⟩" in run("verify", logs[0]).stdout  # control: it is shown


def test_a_folder_for_stamps_that_nobody_would_read_is_wrong_use(folder: Path, key: VerifierKey) -> None:
    done = run("verify", folder, "--key", str(key), "--stamps", folder.parent)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--stamps needs --tsa-ca" in done.stderr


def test_a_checkpoint_that_cannot_be_read_is_not_the_rosters_fault(
    folder: Path, agencies: list[AgencyKeys], tmp_path: Path
) -> None:
    save_signed(tmp_path / "roster", roster_of(agencies))
    (folder / "checkpoint").unlink()
    (folder / "checkpoint").write_bytes(b"")
    code, told = verify_json(folder, "--roster", tmp_path / "roster")
    assert (code, str(told["verdict"]).partition(": expected")[0]) == (6, f"not verified: {folder}: checkpoint")


def test_a_file_that_was_named_is_named_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for option, name, words in (
        ("--roster", "empty", "is no signed record: a signed payload is empty"),
        ("--roster", ".", "cannot be read: Is a directory"),
        ("--witnesses", ".", "cannot be read: Is a directory"),
    ):
        path = tmp_path / name
        code, told = verify_json(folder, option, path)
        assert (code, told["verdict"]) == (6, f"not verified: {path}: {words}")


def test_a_folder_without_a_log_is_never_verified(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert verify_json(tmp_path / "empty")[0] == 6


def test_the_logs_own_checkpoint_is_not_from_outside(folder: Path, key: VerifierKey) -> None:
    code, told = verify_json(folder, "--key", str(key), "--against", folder / "checkpoint")
    assert (code, told["verdict"]) == (7, "verified, end not anchored")


def test_attack_25_malformed_outside_files_end_in_one_line_and_never_in_0(
    folder: Path, key: VerifierKey, signer: Ed25519Signer, tmp_path: Path, kept: Path
) -> None:
    bad = tmp_path / "bad.txt"
    for content in (b"", b"\xff", b"a\nb\nc\n\n", b"x" * 500_000, sign([], signer, "bee.example/log/1").encode()):
        bad.write_bytes(content)
        done = run("verify", folder, "--key", str(key), "--against", kept, bad)
        assert done.returncode == 7
        assert sum("bad.txt" in line for line in done.stdout.splitlines()) == 1
        assert done.stderr == ""


def test_attack_25_malformed_keys_and_rosters_end_in_one_line(folder: Path, tmp_path: Path) -> None:
    done = run("verify", folder, "--key", "nonsense")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    bad = tmp_path / "roster"
    for content in (b"", b"garbage", bytes(10_000)):
        bad.write_bytes(content)
        done = run("verify", folder, "--roster", bad)
        assert done.returncode == 6
        assert done.stderr.startswith(f"exchange-audit: error: {bad}: ")
        assert done.stderr.count("\n") == 1
    assert run("verify", folder, "--roster", bad, "--key", "x").returncode == 2


def test_a_roster_gives_the_key_of_the_agency_that_the_origin_names(agencies: list[AgencyKeys], tmp_path: Path) -> None:
    roster = tmp_path / "roster"
    save_signed(roster, roster_of(agencies))
    signer = agencies[0].node.log
    origin = "hk-sb.exercise.example/log/1"
    log_key = VerifierKey(name=origin, key=signer.key.public_key)
    entries = chain(first_bodies())
    kept = tmp_path / "kept"
    kept.write_text(sign(entries, signer))
    log = write_log(tmp_path / "log", entries, sign(entries, signer), log_key)
    code, told = verify_json(log, "--roster", roster, "--against", kept)
    assert (code, told["verdict"]) == (7, "verified")  # the roster names a witness, and no quorum has cosigned it
    note = sign(entries, signer)
    checkpoint, time_s = parse_note(note).checkpoint, parse_entry(entries[-1]).time_us // 1_000_000
    line = cosign(checkpoint, "kh-ncct.exercise.example/witness", agencies[1].node.witness, time_s)
    write_log(log, entries, add_lines(note, line), log_key)
    for more in ((), ("--against", kept)):
        code, told = verify_json(log, "--roster", roster, *more)
        assert (code, told["verdict"]) == (0, f"verified, witnessed to {len(entries)}")
        assert told["steps"][8]["name"] == "witnesses"  # type: ignore[index] # read from JSON
    assert ", from roster 1, " in told["steps"][0]["detail"]  # type: ignore[index] # read from JSON
    other = agencies[1].node.log  # control: another agency's key signs nothing here
    write_log(log, entries, sign(entries, other), VerifierKey(name=origin, key=other.key.public_key))
    assert verify_json(log, "--roster", roster)[0] == 6
    write_log(log, chain(first_bodies(), "bee.example/log/1"), sign(entries, signer, "bee.example/log/1"))
    assert verify_json(log, "--roster", roster)[0] == 6


def test_witnesses_and_time_are_named_without_a_roster(
    agencies: list[AgencyKeys], folder: Path, key: VerifierKey, tmp_path: Path
) -> None:
    witness, vkeys = agencies[1].node.witness, tmp_path / "witnesses.vkeys"
    known = cosigner_key("w.example/witness", witness.key.public_key)
    vkeys.write_text(format_vkeys(WitnessPolicy(quorum=1, witnesses=(known,))))
    note = (folder / "checkpoint").read_text()
    checkpoint = parse_note(note).checkpoint
    time_s = parse_entry(read_log(folder, checkpoint.size)[-1]).time_us // 1_000_000
    words = ("--key", str(key), "--witnesses", vkeys)
    assert verify_json(folder, *words)[0] == 7  # control: nobody has cosigned it
    (folder / "checkpoint").write_text(add_lines(note, cosign(checkpoint, known.name, witness, time_s)))
    code, told = verify_json(folder, *words)
    assert (code, told["verdict"]) == (0, f"verified, witnessed to {checkpoint.size}")
    assert verify_json(folder, *words, "--now", str(datetime.fromtimestamp(time_s + 60, UTC)))[0] == 0
    assert verify_json(folder, *words, "--now", str(datetime.fromtimestamp(time_s + 3600, UTC)))[0] == 7
    assert verify_json(folder, "--witnesses", vkeys)[0] == 7  # the log's key is its own
    assert run("verify", folder, *words, "--now", "soon").returncode == 2
    (folder / "witnesses.vkeys").write_bytes(vkeys.read_bytes())  # what the log itself names vouches for nothing
    assert run("verify", folder, "--key", str(key), "--witnesses", folder / "witnesses.vkeys").returncode == 2
    assert run("verify", folder, "--witnesses", vkeys, "--roster", vkeys).returncode == 2
    assert error_json("verify", folder, "--key", str(key), "--witnesses", tmp_path / "none")[0] == 5
    for bad in (
        b"",
        b"\xff\xfe",
        b"# quorum 1\n",
        b"# quorum 0\n",
        format_vkeys(WitnessPolicy(quorum=1, witnesses=(known,))).encode()[:-5],
    ):
        vkeys.write_bytes(bad)
        done = run("verify", folder, *words)
        assert (done.returncode, done.stderr.count("\n")) == (6, 1)
        assert done.stderr.startswith(f"exchange-audit: error: {vkeys}: ")
