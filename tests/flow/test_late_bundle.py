"""A bundle of a log that is in a later epoch, and of the one before it: what an auditor takes away after a loss."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.note.checkpoint import parse_note
from audit.tiles.tar import open_tar, write
from keys.dsse import SignedPayload, sign
from keys.manifest import Manifest, parse_manifest
from tests.audit.compare.bundled import OTHER_SETTINGS, exchange, remade, verify
from tests.flow.late import STAMPED, A, B, C, Homes, make
from tests.flow.world import keys_of
from tests.support.scale import SLOW

COUNT = 52  # so that either epoch has more entries than the 256 of one tile


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return asyncio.run(make(tmp_path_factory.mktemp("late") / "homes", COUNT))


def bundled(home: Path, path: Path, *words: object) -> Path:
    done = exchange("bundle", home, "-o", path, *words)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def bundle(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundled(homes.home, tmp_path_factory.mktemp("made") / "late.audit")


@pytest.fixture(scope="module")
def early(homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundled(homes.before, tmp_path_factory.mktemp("made") / "early.audit")


def size_of(home: Path) -> int:
    return parse_note((home / "log/checkpoint").read_text()).checkpoint.size


def details(told: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["detail"] for step in told["steps"]}


def test_a_bundle_of_a_later_epoch_is_verified_with_the_roster_alone(homes: Homes, bundle: Path) -> None:
    code, told = verify(bundle, "--roster", homes.roster)
    end, size = size_of(homes.before), size_of(homes.home)
    assert code == 0, told
    assert told["verdict"].startswith(f"verified, witnessed to {size}; restored at entry ")
    assert f"begun after size {end:,} of hk-sb.exercise.example/log/1, by manifest 2 of {A}" in details(told)["entries"]
    assert "where its epochs ended is what manifest 2 says" in details(told)["bundle"]
    # Each receipt that this epoch records, and no other: also the one of a delivery that was queued in the epoch before.
    assert details(told)["receipts"].startswith(f"{2 * COUNT + 1} receipts stand in their givers' logs")
    assert f"RECEIPT_RECORDED {2 * COUNT + 1}," in details(told)["bodies"]


def test_it_is_the_same_file_each_time_under_any_settings(homes: Homes, bundle: Path, tmp_path: Path) -> None:
    for number, settings in enumerate(OTHER_SETTINGS):
        again = tmp_path / f"{number}.audit"
        assert exchange("bundle", homes.home, "-o", again, env=settings).returncode == 0
        assert again.read_bytes() == bundle.read_bytes(), settings


def test_the_epoch_before_is_bundled_from_where_it_was_moved(homes: Homes, early: Path) -> None:
    code, told = verify(early, "--roster", homes.roster)
    assert code == 0
    assert told["verdict"] == f"verified, witnessed to {size_of(homes.before)}"
    assert details(told)["receipts"].startswith(f"{2 * COUNT + 1} receipts"), "those that the restored backup knows"


def test_tokens_of_time_stay_with_the_epoch_that_they_stamp(bundle: Path, early: Path) -> None:
    names = {f"timestamps/{name}" for name in STAMPED}
    assert names <= set(open_tar(early).members)
    assert not names & set(open_tar(bundle).members)


def test_without_roster_or_manifest_the_link_to_the_epoch_before_is_left_open(
    homes: Homes, bundle: Path, tmp_path: Path
) -> None:
    code, told = verify(bundle)
    assert code == 7
    assert "link to the epoch before was not checked" in details(told)["entries"]
    members = dict(open_tar(bundle).contents())
    del members[f"manifests/{A}/2"]
    code, told = verify(remade(members, tmp_path, bundle), "--roster", homes.roster)
    assert code == 7, told
    assert "link to the epoch before was not checked" in details(told)["entries"]


@pytest.mark.parametrize(
    ("first", "last", "epoch"),
    [
        (0, 3, 2),
        (255, 256, 1),
        *(
            pytest.param(first, last, epoch, marks=SLOW)
            for first, last, epoch in (
                (0, 3, 1),
                (0, 255, 1),
                (0, 255, 2),
                (256, None, 1),
                (256, None, 2),
                (255, 256, 2),
            )
        ),
    ],
)
def test_parts_on_either_side_of_the_border_are_verified_and_never_plainly(
    first: int, last: int | None, epoch: int, homes: Homes, tmp_path: Path
) -> None:
    home = homes.before if epoch == 1 else homes.home
    size = size_of(home)
    words = ["--from", first, *(["--to", last] if last is not None else [])]
    code, told = verify(bundled(home, tmp_path / "part.audit", *words), "--roster", homes.roster)
    whole = (first, last) == (255, 256)
    assert code == (0 if whole else 7), told
    assert told["verdict"].startswith(f"verified, witnessed to {size}")
    assert ("alone" in told["verdict"]) is not whole
    scar = epoch == 2 and first < 256
    assert ("restored at entry" in told["verdict"]) is scar
    if epoch == 2 and first == 0:
        assert "begun after size" in details(told)["entries"]


def test_entries_beyond_the_border_are_said_not_to_be_there(homes: Homes, tmp_path: Path) -> None:
    done = exchange("bundle", homes.home, "--from", size_of(homes.home), "-o", tmp_path / "none")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@SLOW  # tests/audit/compare/test_bundle_forged.py has some of them
def test_every_member_that_is_altered_is_found(homes: Homes, bundle: Path, tmp_path: Path) -> None:
    members = dict(open_tar(bundle).contents())
    seen: set[str] = set()
    for name in members:
        kind = name.rpartition("/")[0] + name.rpartition(".")[2] if name.startswith(("peers/", "tile/")) else name
        if kind in seen:
            continue  # one of each sort: receipts are by the hundred
        seen.add(kind)
        path = tmp_path / "altered.audit"
        with path.open("wb") as out:
            write(out, sorted({**members, name: flipped(members[name])}.items()))
        code, told = verify(path, "--roster", homes.roster)
        assert code == 6, (name, told)
    assert {f"manifests/{A}/2", "keys", "policy", "checkpoint", "receipts/receipts.tsv", "roster/1"} <= seen


def other_end(data: bytes) -> bytes:
    """Sign, with the agency's own root, that the epoch before ended elsewhere."""
    manifest = parse_manifest(SignedPayload.decode(data).payload)
    text = manifest.encode().replace(manifest.log_epochs[-1].previous_root, bytes([7]) * 32)
    return sign(text, ("manifest", keys_of(A).root.root)).encode()


def other_root(data: bytes) -> bytes:
    """Sign the same manifest with another member's root."""
    return sign(SignedPayload.decode(data).payload, ("manifest", keys_of(B).root.root)).encode()


def ended_at(data: bytes, size: bytes) -> bytes:
    """Return the first epoch's key with another end: its line is the second one, and the only one that ends."""
    first, second, *rest = data.splitlines(keepends=True)
    return b"".join([first, second.rpartition(b" ")[0] + b" " + size + b"\n", *rest])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (f"manifests/{A}/2", flipped, "manifests/"),
        (f"manifests/{A}/2", other_end, "does not begin a log of hk-sb.exercise.example/log/2 after size"),
        (f"manifests/{A}/2", other_root, f"manifests/{A}/2: "),
        ("keys", lambda data: ended_at(data, b"7"), "keys: hk-sb.exercise.example/log/1 ends at 7"),
        ("keys", lambda data: data.replace(b" 0 -\n", b" 0 9\n", 1), "keys: hk-sb.exercise.example/log/2 ends at 9"),
        ("keys", lambda data: data.replace(b"log/1", b"log/3", 1), "keys: "),
        ("receipts/receipts.tsv", lambda data: data.split(b"\n", 1)[1], "no line of receipts/receipts.tsv names it"),
        ("policy", lambda data: data.replace(b"log/2", b"log/1"), "policy: not what roster 1 says"),
        ("checkpoint", lambda data: data.replace(b"log/2", b"log/1"), "checkpoint"),
    ],
)
def test_a_forger_who_makes_the_readme_anew_is_found_too(
    name: str, change: Callable[[bytes], bytes], said: str, homes: Homes, bundle: Path, tmp_path: Path
) -> None:
    members = dict(open_tar(bundle).contents())
    altered = change(members[name])
    assert altered != members[name]
    members[name] = altered
    done = exchange("verify", "--json", remade(members, tmp_path, bundle), "--roster", homes.roster)
    assert done.returncode == 6, done.stdout
    assert said in done.stdout


def test_a_manifest_that_opens_no_such_epoch_says_nothing(homes: Homes, bundle: Path, tmp_path: Path) -> None:
    """The first manifest is genuine, signed and older: it opened epoch 1 alone."""
    members = dict(open_tar(bundle).contents())
    manifest = parse_manifest(SignedPayload.decode(members[f"manifests/{A}/2"]).payload)
    first = sign(_first(manifest), ("manifest", keys_of(A).root.root))
    members[f"manifests/{A}/2"] = first.encode()
    done = exchange("verify", "--json", remade(members, tmp_path, bundle), "--roster", homes.roster)
    assert done.returncode == 6
    assert "opens no epoch 2" in done.stdout


def _first(manifest: Manifest) -> bytes:
    return replace(manifest, version=1, log_epochs=manifest.log_epochs[:1]).encode()


def test_both_epochs_bundles_pair_with_the_partners_homes(homes: Homes, bundle: Path, early: Path) -> None:
    others = homes.folder / B, homes.folder / C
    done = exchange("compare", "--json", bundle, early, *others, "--roster", homes.roster)
    told = json.loads(done.stdout)
    assert (done.returncode, told["one_sided"], told["lost"], told["behind"]) == (0, [], [], []), told
    done = exchange("compare", "--json", homes.home, *others)
    assert (done.returncode, json.loads(done.stdout)["pairs"]) == (0, told["pairs"])
    assert told["pairs"] == (2 * COUNT + 2 + COUNT) + 1 + (2 * COUNT + 1)
    # Without the epoch before, what stood there is told as lost, and nothing is held against anybody.
    done = exchange("compare", "--json", bundle, *others, "--roster", homes.roster)
    told = json.loads(done.stdout)
    assert (done.returncode, told["one_sided"]) == (7, [])
    assert told["lost"]


def test_retention_of_a_bundle_says_that_an_epoch_is_missing_and_a_home_has_both(homes: Homes, bundle: Path) -> None:
    done = exchange("retention", "--json", homes.home, "--roster", homes.roster)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"overdue": []})
    done = exchange("retention", bundle, "--roster", homes.roster)
    assert done.returncode == 7
    assert "epochs looked at: 2" in done.stdout


def test_a_report_of_the_home_shows_the_scar(homes: Homes, tmp_path: Path) -> None:
    done = exchange("report", homes.home, "--roster", homes.roster, "-o", tmp_path / "report.html")
    assert done.returncode in (0, 7), done.stderr
    assert "restored at entry" in (tmp_path / "report.html").read_text()
