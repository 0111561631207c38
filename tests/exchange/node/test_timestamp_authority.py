"""Time stamps by a real ``openssl ts`` authority: made, kept, judged; attacks 11 and 15."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from audit.cli.main import audit
from audit.entry.entry import Body, Kind, parse_body, parse_entry
from audit.log.log import Log
from audit.log.publisher import Publisher
from audit.note.checkpoint import Checkpoint, parse_note, sign_checkpoint
from audit.note.cosignature import add_lines, cosign, cosigner_key
from audit.note.policy import WitnessPolicy, format_vkeys
from audit.tiles.tile_names import CHECKPOINT, WITNESSED
from audit.verify.rfc3161 import MAX_TOKEN_BYTES, load_authority, make_query, verify_token
from exchange.cli.main import run
from exchange.node.timestamp_authority import TimestampAuthority, ask, load, stamp
from exchange.rpc.serve.hourly import stamp_forever
from exchange.rpc.transport.program_log import ProgramLog
from exchange.store.sqlite import SqliteStore
from keys.errors import RefusedError, UnavailableError
from keys.identity import Usage
from keys.signer import Signer, signer_from_seed
from keys.suites import ED25519
from tests.exchange.node.keeping import Keeper, kept_for
from tests.support.authority import OpensslAuthority, make_authority, serving
from tests.support.authority import run as openssl

ORIGIN = "hk-immd.exercise.example/log/1"
NOTE = "a note\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpensslAuthority]:
    with serving(make_authority(tmp_path_factory.mktemp("tsa") / "here")) as made:
        yield made


@pytest.fixture(scope="module")
def asked(authority: OpensslAuthority) -> TimestampAuthority:
    return load(authority.url, authority.ca)


def code_of(act: object) -> str:
    with pytest.raises(RefusedError) as raised:
        act()  # type: ignore[operator] # a function without arguments
    return raised.value.code


# ------------------------------------------------------------------ tokens


def test_a_token_of_openssl_verifies_and_says_when(authority: OpensslAuthority, asked: TimestampAuthority) -> None:
    before = int(time.time())
    query = make_query(NOTE.encode())
    token = ask(asked.url, query.der)
    stamped = verify_token(token, NOTE.encode(), asked.trusted, "t.tsr", nonce=query.nonce)
    assert before - 1 <= stamped.time_us // 1_000_000 <= time.time() + 1
    assert stamped.authority == "CN=Clock,O=Exercise"
    assert len(token) < MAX_TOKEN_BYTES // 8


def test_a_token_of_another_note_authority_nonce_or_purpose_is_refused(
    authority: OpensslAuthority, asked: TimestampAuthority, tmp_path: Path
) -> None:
    query = make_query(NOTE.encode())
    token = ask(asked.url, query.der)

    def judged(token: bytes = token, note: str = NOTE, trusted: object = asked.trusted, **more: int) -> str:
        return code_of(lambda: verify_token(token, note.encode(), trusted, "t.tsr", **more))  # type: ignore[arg-type]

    assert judged(note="another note\n") == "RECEIPT_INVALID"
    assert judged(nonce=query.nonce + 1) == "SIGNATURE_INVALID"
    other = make_authority(tmp_path / "other")
    assert judged(trusted=load("http://x/", other.ca).trusted) == "SIGNATURE_INVALID"
    assert judged(trusted=()) == "SIGNATURE_INVALID"
    flipped = bytearray(token)
    flipped[-1] ^= 1  # the last byte of the signature
    assert judged(bytes(flipped)) == "SIGNATURE_INVALID"
    for cut in (0, 1, 10, len(token) // 2, len(token) - 1):
        assert judged(token[:cut]) == "MALFORMED"
    assert judged(token + bytes(MAX_TOKEN_BYTES)) == "TOO_LARGE"
    verify_token(token, NOTE.encode(), asked.trusted, "t.tsr", nonce=query.nonce)  # control


def test_a_certificate_that_had_ended_when_it_stamped_is_refused(tmp_path: Path) -> None:
    """openssl refuses to issue into the past by ``-days``, so the clock of the check is the token's and the leaf is old."""
    old = make_authority(tmp_path / "old")
    folder = old.folder
    dates = ["-not_before", "20200101000000Z", "-not_after", "20210101000000Z"]
    if "-not_before" not in subprocess.run(["openssl", "x509", "-help"], capture_output=True, text=True).stderr:
        (folder / "db").write_text("")
        (folder / "db.attr").write_text("unique_subject = no\n")
        (folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=c\n[c]\ndatabase={folder}/db\nnew_certs_dir={folder}\nserial={folder}/caserial\n"
            f"certificate={folder}/ca.pem\nprivate_key={folder}/ca.key\ndefault_md=sha256\npolicy=p\n"
            "[p]\nO=supplied\nCN=supplied\n"
        )
        (folder / "caserial").write_text("10\n")
        dates = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"]
        openssl(
            *("ca", "-batch", "-config", f"{folder}/ca.cnf", "-in", f"{folder}/tsa.csr", "-extfile", f"{folder}/ext"),
            *(*dates, "-out", f"{folder}/tsa.crt", "-notext"),
        )
    else:
        issue = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-extfile", f"{folder}/ext"]
        openssl("x509", "-req", "-in", f"{folder}/tsa.csr", *issue, *dates, "-out", f"{folder}/tsa.crt")
    query = make_query(NOTE.encode())
    token = old.answer(query.der)
    trusted = load("http://x/", old.ca).trusted
    assert code_of(lambda: verify_token(token, NOTE.encode(), trusted, "t.tsr")) == "SIGNATURE_INVALID"


def test_an_authority_that_refuses_answers_otherwise_or_not_at_all(
    authority: OpensslAuthority, asked: TimestampAuthority, tmp_path: Path
) -> None:
    rejected = bytes.fromhex("30053003020102")  # TimeStampResp with status 2, rejection
    authority.spoil = [rejected]
    with pytest.raises(RefusedError):
        verify_token(ask(asked.url, b"?"), NOTE.encode(), asked.trusted, "t.tsr")
    authority.content_type = "text/html"
    with pytest.raises(UnavailableError, match="another type"):
        ask(asked.url, make_query(NOTE.encode()).der)
    authority.content_type = "application/timestamp-reply"
    with pytest.raises(UnavailableError, match="does not answer"):
        ask("http://127.0.0.1:1/", b"?", deadline_seconds=60)
    for name, data in {"none": None, "empty": b"", "no": b"no certificate"}.items():
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        assert code_of(lambda path=path: load("http://x/", path)) == "MALFORMED"
    assert code_of(lambda: load_authority(b"", "f")) == "MALFORMED"


def test_without_the_extra_one_clear_line_says_what_is_missing(tmp_path: Path) -> None:
    """In a process where the library cannot be had."""
    script = (
        "import sys; sys.modules['rfc3161_client'] = None\n"
        "from audit.verify.rfc3161 import make_query\n"
        "try:\n make_query(b'x')\n"
        "except Exception as error:\n print(type(error).__name__, error, error.hint)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.startswith("ExtraMissingError time stamps need the extra `time`")
    control = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, audit.cli, audit.verify.timestamps; print('rfc3161_client' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert control.stdout == "False\n"  # nobody loads it who does not need it


# ------------------------------------------------------------------ a home's tokens


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper("HK-IMMD", tmp_path / "home")
    made.publish(kept_for(9, 1))
    made.node.stop()
    yield made
    made.start()
    made.close()


def verified(desk: Keeper, *words: object, ca: Path) -> tuple[Result, dict[str, str]]:
    """Verify a home's log with its key alone; the stamps' step beside the result."""
    typed = ["verify", "--json", "--key", str(desk.node.vkey), "--tsa-ca", str(ca), str(desk.home)]
    done = CliRunner().invoke(audit, [*typed, *map(str, words)])
    steps = json.loads(done.stdout).get("steps", ())
    return done, next((each for each in steps if each["name"] == "stamps"), {})


def test_a_stamped_note_is_kept_with_all_that_openssl_needs(
    desk: Keeper, authority: OpensslAuthority, asked: TimestampAuthority
) -> None:
    note = (desk.home / "log" / CHECKPOINT).read_text()
    assert verified(desk, ca=authority.ca)[1]["result"] == "not checked"  # control: no token yet
    made = stamp(desk.home, note, asked)
    assert made is not None
    path = made[0]
    size = parse_note(note).checkpoint.size
    assert path.name == f"{size}.tsr"
    data, ca = path.with_suffix(".note"), path.parent / "tsa.pem"
    assert "Verification: OK" in openssl("ts", "-verify", "-in", str(path), "-data", str(data), "-CAfile", str(ca))
    assert stamp(desk.home, note, asked) is None  # once
    done, step = verified(desk, ca=authority.ca)
    assert (done.exit_code, step["result"]) == (7, "ok")  # 7: no external checkpoint was given
    assert f"the first {size:,} entries existed before" in step["detail"]


def test_a_folder_of_tokens_that_is_not_there_is_said(
    desk: Keeper, authority: OpensslAuthority, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        done, _ = verified(desk, "--stamps", tmp_path / name, ca=authority.ca)
        assert (done.exit_code, f"no such file or folder: {tmp_path / name}" in done.stdout) == (5, True)
    assert verified(desk, "--stamps", tmp_path, ca=authority.ca)[1]["detail"] == "there are no tokens"  # control


def test_bad_tokens_in_a_home_refute_with_the_file_named(
    desk: Keeper, authority: OpensslAuthority, asked: TimestampAuthority, tmp_path: Path
) -> None:
    note = (desk.home / "log" / CHECKPOINT).read_text()
    made = stamp(desk.home, note, asked)
    assert made is not None
    path, token = made[0], made[0].read_bytes()
    for spoilt, words in ((token[:-1], "cut off"), (token[:-1] + bytes([token[-1] ^ 1]), "does not verify")):
        path.write_bytes(spoilt)
        done, step = verified(desk, ca=authority.ca)
        assert (done.exit_code, step["result"]) == (6, "refuted")
        assert path.name in step["detail"]
        assert words in step["detail"]
    path.write_bytes(token)
    other = make_authority(tmp_path / "other")
    assert verified(desk, ca=other.ca)[0].exit_code == 6
    assert verified(desk, ca=authority.ca)[0].exit_code == 7  # control
    path.with_suffix(".note").write_text(note.replace("\n\n", "\n\n\n"))
    assert verified(desk, ca=authority.ca)[0].exit_code == 6
    path.with_suffix(".note").unlink()
    done = CliRunner().invoke(
        audit, ["verify", "--key", str(desk.node.vkey), "--tsa-ca", str(authority.ca), str(desk.home)]
    )
    assert done.exit_code == 6
    assert "is missing" in done.stderr
    assert CliRunner().invoke(audit, ["verify", "--tsa-ca", str(tmp_path / "no"), str(desk.home)]).exit_code == 5


def test_attack_11_all_agencies_collude_and_a_token_kept_outside_refutes_them(
    desk: Keeper, authority: OpensslAuthority, asked: TimestampAuthority, tmp_path: Path
) -> None:
    """The log made anew, signed with its true key and cosigned by every witness; only the token remembers."""
    log = desk.home / "log"
    write_log(desk, "honest.db", Kind.HEARTBEAT)
    policy = cosigned(log, int(time.time()))
    made = stamp(desk.home, (log / WITNESSED).read_text(), asked)
    assert made is not None
    external = tmp_path / "external"
    shutil.move(made[0].parent, external)
    (tmp_path / "w").write_text(format_vkeys(policy))
    witnesses = ("--witnesses", tmp_path / "w", "--stamps", external)
    honest, step = verified(desk, *witnesses, ca=authority.ca)
    assert (honest.exit_code, step["result"]) == (0, "ok"), honest.stdout
    write_log(desk, "forged.db", Kind.NODE_STARTED)
    cosigned(log, int(time.time()))
    control, _ = verified(desk, "--witnesses", tmp_path / "w", ca=authority.ca)
    assert control.exit_code == 7
    assert "witnessed to" in json.loads(control.stdout)["verdict"]  # everybody inside swears to it
    told, step = verified(desk, *witnesses, ca=authority.ca)
    assert (told.exit_code, step["result"]) == (6, "refuted")
    assert "the log was another before" in step["detail"]


def test_entries_cut_off_the_end_are_seen_by_a_token(
    desk: Keeper, authority: OpensslAuthority, asked: TimestampAuthority
) -> None:
    write_log(desk, "whole.db", Kind.HEARTBEAT)
    stamp(desk.home, (desk.home / "log" / CHECKPOINT).read_text(), asked)
    assert verified(desk, ca=authority.ca)[1]["result"] == "ok"  # control
    write_log(desk, "cut.db", Kind.HEARTBEAT, cut=1)
    done, step = verified(desk, ca=authority.ca)
    assert done.exit_code == 6
    assert "the log ends at" in step["detail"]


def test_attack_15_a_witness_whose_clock_lies_is_caught_by_a_token(
    desk: Keeper, authority: OpensslAuthority, asked: TimestampAuthority, tmp_path: Path
) -> None:
    """A majority of witnesses dates itself into the next decade, so that the median does not help."""
    log, now = desk.home / "log", int(time.time())
    write_log(desk, "honest.db", Kind.HEARTBEAT)
    for time_s, result, code in ((now, "ok", 0), (now + 10 * 365 * 86_400, "refuted", 6)):
        policy = cosigned(log, time_s)
        (tmp_path / "w").write_text(format_vkeys(policy))
        shutil.rmtree(desk.home / "timestamps", ignore_errors=True)
        stamp(desk.home, (log / WITNESSED).read_text(), asked)
        done, step = verified(desk, "--witnesses", tmp_path / "w", ca=authority.ca)
        assert (done.exit_code, step["result"]) == (code, result), done.stdout
    assert "dated its cosignature" in step["detail"]
    lenient = CliRunner().invoke(
        audit, ["verify", "--key", str(desk.node.vkey), "--witnesses", str(tmp_path / "w"), str(desk.home)]
    )
    assert lenient.exit_code != 6  # control: without the token nobody sees it


def cosigned(log: Path, time_s: int) -> WitnessPolicy:
    """Have two witnesses cosign the newest checkpoint."""
    names = [f"w{index}.exercise.example/witness" for index in (1, 2)]
    signers = [signer_from_seed(Usage.WITNESS, ED25519, f"HK-W{index}", bytes([index]) * 32) for index in (1, 2)]
    note = (log / CHECKPOINT).read_text()
    checkpoint: Checkpoint = parse_note(note).checkpoint
    for name, signer in zip(names, signers, strict=True):
        note = add_lines(note, cosign(checkpoint, name, signer, time_s))
    (log / WITNESSED).unlink(missing_ok=True)
    (log / WITNESSED).write_text(note)
    keys = [cosigner_key(name, signer.key.public_key) for name, signer in zip(names, signers, strict=True)]
    return WitnessPolicy(quorum=2, witnesses=tuple(keys))


def write_log(desk: Keeper, name: str, kind: Kind, *, cut: int = 0) -> None:
    """Make the desk's log anew, as long as it was but for *cut* entries, dated now and under its true key; *kind* is what follows its start."""
    signer: Signer = desk.view.log_signer
    log, old = desk.home / "log", SqliteStore(desk.home / "node.db")
    size = old.reads().size()
    start = [parse_body(parse_entry(each).body) for each in old.reads().read_entries(0, 4)]
    old.close()
    store = SqliteStore(desk.home / name, create=True)
    made = Log.open(ORIGIN, store.reader())
    stage = made.begin(time.time_ns() // 1000)
    with store.transaction() as rows:
        for body in (*start, *(Body(kind=kind) for _ in range(size - 4 - cut))):
            stage.add(body)
        stage.write(rows)
    made.commit(stage)
    for path in sorted(log.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Publisher(log, store.reader(), desk.node.vkey).publish(sign_checkpoint(made.checkpoint(), signer))
    store.close()


# ------------------------------------------------------------------ by the node, and by hand


def test_a_checkpoint_is_stamped_by_hand_by_the_settings_authority_or_another(
    desk: Keeper, authority: OpensslAuthority, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = desk.home / "node.toml"
    settings.write_text('agency = "HK-IMMD"\n')
    assert run(["audit", "stamp", str(desk.home)]) == 2
    shutil.copyfile(authority.ca, desk.home / "tsa.pem")
    settings.write_text(f'agency = "HK-IMMD"\ntsa = "{authority.url}"\ntsa_ca = "tsa.pem"\ntsa_minutes = 5\n')
    capsys.readouterr()
    assert run(["audit", "stamp", "--json", str(desk.home)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["new"], told["authority"]) == (True, "CN=Clock,O=Exercise")
    assert run(["audit", "stamp", str(desk.home)]) == 0
    assert "was stamped before" in capsys.readouterr().out
    assert run(["audit", "stamp", str(desk.home), "--tsa", "ftp://x/"]) == 2
    shutil.rmtree(desk.home / "timestamps")
    other = ["--tsa", "http://127.0.0.1:1/", "--tsa-ca", str(authority.ca)]
    assert run(["audit", "stamp", str(desk.home), *other]) == 69


def test_a_node_stamps_by_itself_and_a_silent_authority_is_an_alarm(
    tmp_path: Path, authority: OpensslAuthority, asked: TimestampAuthority
) -> None:
    desk = Keeper("HK-IMMD", tmp_path / "node")
    told = io.StringIO()

    async def stamping(whom: TimestampAuthority, until: str) -> None:
        task = asyncio.create_task(stamp_forever(desk.node, whom, ProgramLog(told, "HK-IMMD"), 0.05))
        deadline = time.monotonic() + 120
        while until not in told.getvalue() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        asyncio.run(
            stamping(
                TimestampAuthority(url="http://127.0.0.1:1/", pem=asked.pem, trusted=asked.trusted), "no-time-stamp"
            )
        )
        assert not (desk.home / "timestamps").exists()
        asyncio.run(stamping(asked, '"stamped"'))
        assert [path.suffix for path in sorted((desk.home / "timestamps").iterdir())] == [".note", ".tsr", ".pem"]
    finally:
        desk.close()
