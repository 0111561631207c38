"""``exchange keys renew`` by hand: facts before the passphrase, one file out, nothing where anything is off."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from keys import dsse
from keys.agency import TLS_FILE
from keys.cli.options import now_ms
from keys.federation import Federation
from keys.files import PUBLIC, write_file
from keys.identity import AgencyId
from keys.key_files import load_node, officer_folder
from keys.manifest import parse_manifest
from keys.renewal import make_request, parse_renewal, parse_request, verify_renewal
from keys.roster import load_signed, save_signed
from tests.keys.cli.test_main import good, typed

HK = AgencyId("HK-SB")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One agency with an issuing key; its root carried away."""
    folder = tmp_path_factory.mktemp("renew")
    (folder / "catalogue").mkdir()
    (folder / "catalogue/policy.yaml").write_text("schema_minor: 0\n")
    people = ["--officer", "duty", "--officer", "lee"]
    agency = ["--agency", HK, "--federation", "exercise.example", "-o", folder / "hk", "--floor", "--windows", 1]
    good("make", "agency", *agency, *people, "--issuing")
    typed("make", "roster", folder / "hk/application", "--catalogue", folder / "catalogue", "-o", folder / "roster")
    good("sign", "roster", folder / "roster", "--home", folder / "hk", "--yes")
    where = ["--home", folder / "hk", "--roster", folder / "roster", "-o", folder / "manifest"]
    good("make", "manifest", *where)
    (folder / "offline").mkdir()
    shutil.move(folder / "hk/root", folder / "offline/root")
    return folder


def request(folder: Path, at_ms: int | None = None) -> Path:
    """Have the node ask, at a time."""
    home, node = folder / "hk", load_node(folder / "hk", b"secret")
    federation = Federation.found(load_signed(folder / "roster"))
    leaves = {"duty": (officer_folder(home, "duty") / TLS_FILE).read_bytes()}
    made = make_request(node, load_signed(folder / "manifest"), federation.roster_digest, leaves, at_ms or now_ms())
    save_signed(folder / "request", made, replace=True)
    return folder / "request"


@pytest.fixture(autouse=True)
def fresh(folder: Path) -> None:
    for each in (folder / "answer", folder / "offline/root/manifest"):
        each.unlink(missing_ok=True)


def words(folder: Path, asked: Path, *more: str) -> list[object]:
    return ["renew", asked, "--home", folder / "offline", "-o", folder / "answer", *more]


def test_the_root_s_folder_alone_renews_and_says_what_before_it_asks(folder: Path) -> None:
    result = typed(*words(folder, request(folder), "--passphrase-fd", "{fd}"))
    assert result.exit_code == 0, result.output
    assert "will sign: manifest 2 until" in result.stderr
    assert "  lee (officer: author, reader; ceiling 2) until" in result.stderr
    assert "certificates for a year: the node, duty\n" in result.stderr
    assert "no certificate, because the node has not seen theirs: lee\n" in result.stderr
    assert "beside the node, for a year\n" in result.stderr
    assert "has renewed nothing before" in result.stderr
    assert result.stdout == f"made {folder / 'answer'}: manifest 2 of HK-SB, 2 certificates\n"
    federation = Federation.found(load_signed(folder / "roster"))
    federation = federation.with_manifest(load_signed(folder / "manifest"), now_ms())
    member = federation.member(HK, now_ms())
    renewal = verify_renewal(load_signed(folder / "answer"), member, federation.federation_id, now_ms())
    assert federation.with_manifest(renewal.manifest, now_ms()).manifest(HK, now_ms()).version == 2


def test_a_wrong_passphrase_is_asked_for_after_the_facts_and_leaves_nothing(folder: Path) -> None:
    result = typed(*words(folder, request(folder), "--passphrase-fd", "{fd}"), lines=b"another\n")
    assert result.exit_code == 4, result.output
    assert result.stderr.index("will sign: manifest 2") < result.stderr.index("root.keys does not open")
    assert not (folder / "answer").exists()
    assert not (folder / "offline/root/manifest").exists()


def test_an_answer_that_was_lost_is_followed_by_the_next_number(folder: Path) -> None:
    good(*words(folder, request(folder)))
    (folder / "answer").unlink()
    result = typed(*words(folder, request(folder), "--no-issuing", "--passphrase-fd", "{fd}"))
    assert "will sign: manifest 3 until" in result.stderr
    assert "since manifest 2, signed here" in result.stderr
    assert "is withdrawn\n" in result.stderr
    made = parse_manifest(parse_renewal(load_signed(folder / "answer").payload).manifest.payload)
    assert (made.version, made.issuing) == (3, b"")
    (folder / "answer").unlink()
    refused = typed(*words(folder, request(folder), "--json"))
    assert json.loads(refused.stdout)["code"] == "REPLAYED"
    assert not (folder / "answer").exists()


@pytest.mark.parametrize(
    ("name", "exit_code", "told"),
    [
        ("truncated", 2, "MALFORMED"),
        ("old", 3, "the request of HK-SB is 31 days old"),
        ("of the future", 2, "s after this machine's time: one of the two clocks is wrong"),
        ("of another agency", 6, "a request of TH-DSI, this root is HK-SB's"),
        ("a manifest", 2, "manifest is a manifest, not a renewal request"),
    ],
)
def test_a_request_that_is_off_is_refused_without_asking(folder: Path, name: str, exit_code: int, told: str) -> None:
    asked = request(folder, now_ms() + {"old": -31, "of the future": 1}.get(name, 0) * 86_400_000)
    if name == "truncated":
        asked.write_bytes(asked.read_bytes()[:-100])
    if name == "a manifest":
        asked = folder / "manifest"
    if name == "of another agency":
        node = load_node(folder / "hk", b"secret")
        other = replace(parse_request(load_signed(asked).payload), agency=AgencyId("TH-DSI"))
        save_signed(asked, dsse.sign(other.encode(), ("renewal-request", node.operations)), replace=True)
    result = typed(*words(folder, asked))
    assert result.exit_code == exit_code, result.output
    assert told in result.stderr
    assert "Passphrase" not in result.output
    assert not (folder / "answer").exists()


def test_an_open_key_file_and_an_answer_that_is_there_are_refused(folder: Path) -> None:
    write_file(folder / "answer", b"kept", mode=PUBLIC)
    assert typed(*words(folder, request(folder))).exit_code == 2
    assert (folder / "answer").read_bytes() == b"kept"
    (folder / "answer").unlink()
    keys = folder / "offline/root/root.keys"
    keys.chmod(0o644)
    result = typed(*words(folder, request(folder), "--passphrase-fd", "{fd}"))
    keys.chmod(0o600)
    assert f"{keys} has mode 0644" in result.stderr
    assert not (folder / "answer").exists()
