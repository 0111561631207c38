"""Two notes of one log as evidence: what proves a fork to anybody, and what only claims one."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.cli.main import audit
from audit.entry.entry import leaf_hash
from audit.note.checkpoint import Checkpoint, VerifierKey, parse_note, sign_checkpoint
from audit.note.fork import Fork, format_fork, pair, parse_fork, verify_fork, with_proof
from audit.tree.merkle import Tree
from keys.errors import RefusedError
from keys.identity import Usage
from keys.signer import Ed25519Signer
from tests.audit.conftest import SEED
from tests.audit.store import ORIGIN

SIGNER = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", SEED)
KEY = VerifierKey(name=ORIGIN, key=SIGNER.key.public_key)


def tree_of(size: int, from_entry: int, history: str) -> Tree:
    """Grow a tree whose leaves from one entry on are those of another history."""
    tree = Tree(0, lambda level, index: None, lambda first, count: [])
    for index in range(size):
        tree.append(leaf_hash(f"{index} {history if index >= from_entry else ''}".encode()))
    return tree


def note_of(tree: Tree, size: int) -> str:
    return sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=tree.root(size)), SIGNER)


def fork_of(older: int, newer: int, parted: int) -> Fork:
    """Take two notes of a log that parted at an entry, and the proof that its newer side offers."""
    one, other = tree_of(older, parted, "one"), tree_of(newer, parted, "other")
    made = pair(note_of(one, older), note_of(other, newer))
    if older == newer:
        return made
    return with_proof(made, other.consistency(older, newer), lambda size: other.consistency(size, newer))


def test_two_roots_of_one_size_prove_a_fork_by_themselves() -> None:
    found = verify_fork(fork_of(5, 5, 3), KEY)
    assert found.proven
    assert found.verdict == f"fork proven: {ORIGIN} signed two histories, at size 5 and size 5"


@pytest.mark.parametrize(("older", "newer"), list(itertools.combinations(range(2, 20), 2)))
def test_an_honest_proof_of_the_other_history_proves_a_fork_of_any_two_sizes(older: int, newer: int) -> None:
    made = fork_of(older, newer, older - 1)
    if older & (older - 1) == 0 and newer == older + 1:
        assert not verify_fork(made, KEY).proven  # the one case in which no proof of that log holds the root
        made = Fork(older=made.older, newer=made.newer, root=tree_of(older, older - 1, "other").root(older), proof=())
        other = tree_of(newer, older - 1, "other")
        made = Fork(older=made.older, newer=made.newer, root=made.root, proof=tuple(other.consistency(older, newer)))
    assert verify_fork(made, KEY).proven
    assert verify_fork(parse_fork(format_fork(made)), KEY).proven


def test_two_notes_of_one_history_are_no_fork() -> None:
    tree = tree_of(9, 9, "")
    for size in (5, 8):
        made = with_proof(pair(note_of(tree, 9), note_of(tree, size)), tree.consistency(size, 9), lambda at: [])
        assert made.root is None
        assert not verify_fork(made, KEY).proven
        joined = Fork(older=made.older, newer=made.newer, root=tree.root(size), proof=tuple(tree.consistency(size, 9)))
        with pytest.raises(RefusedError, match="that is no fork"):
            verify_fork(joined, KEY)
    with pytest.raises(RefusedError, match="say the same"):
        verify_fork(pair(note_of(tree, 9), note_of(tree, 9)), KEY)


def test_a_proof_that_leads_nowhere_proves_nothing() -> None:
    made = fork_of(5, 9, 3)
    bad = Fork(older=made.older, newer=made.newer, root=bytes(32), proof=made.proof)
    with pytest.raises(RefusedError, match="does not lead"):
        verify_fork(bad, KEY)
    assert with_proof(pair(made.older, made.newer), [bytes(32)] * 3).root is None


def test_a_note_that_the_log_never_signed_is_no_evidence() -> None:
    made = fork_of(5, 9, 3)
    stranger = Ed25519Signer.from_seed(Usage.LOG, "HK-SB", bytes(32))
    forged = sign_checkpoint(parse_note(made.newer).checkpoint, stranger)
    with pytest.raises(RefusedError, match="no signature by key"):
        verify_fork(Fork(older=made.older, newer=forged, root=made.root, proof=made.proof), KEY)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_cut_or_changed_file_is_refused_or_proves_no_other_thing(data: st.DataObject) -> None:
    text = format_fork(fork_of(6, 11, 4))
    at = data.draw(st.integers(0, len(text) - 2))
    changed = text[:at] if data.draw(st.booleans()) else text[:at] + data.draw(st.characters()) + text[at + 1 :]
    if changed == text:
        return
    with pytest.raises(RefusedError):
        verify_fork(parse_fork(changed), KEY)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(audit, list(words))
    return done.exit_code, done.output


def test_the_file_verifies_alone_with_the_key_and_says_what_it_proves(tmp_path: Path) -> None:
    proven, claimed = tmp_path / "proven", tmp_path / "claimed"
    made = fork_of(5, 9, 3)
    proven.write_text(format_fork(made))
    claimed.write_text(format_fork(pair(made.older, made.newer)))
    code, told = run("verify", str(proven), "--key", str(KEY))
    assert code == 6
    assert "Fork proven:" in told
    assert "two histories" in told
    code, told = run("verify", "--json", str(proven), "--key", str(KEY))
    assert code == 6
    assert '"proven": true' in told
    code, told = run("verify", str(claimed), "--key", str(KEY))
    assert code == 7
    assert "Fork not proven:" in told
    code, told = run("verify", str(proven))
    assert code == 7
    assert "--key or --roster" in told


@pytest.mark.parametrize("content", [b"exchange-fork/1\n", b"exchange-fork/1\n\n\xff\n", b"exchange-fork/1\n" * 20000])
def test_a_damaged_file_gets_one_line_and_7(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "evidence"
    path.write_bytes(content)
    code, told = run("verify", str(path), "--key", str(KEY))
    assert code == 7
    assert len(told.splitlines()) == 1
    assert "Traceback" not in told


def test_an_auditor_makes_the_file_from_two_notes(tmp_path: Path) -> None:
    made = fork_of(5, 5, 3)
    for name, note in (("one", made.older), ("two", made.newer)):
        (tmp_path / name).write_text(note)
    target = tmp_path / "fork"
    words = ["fork", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(target), "--key", str(KEY)]
    code, told = run(*words)
    assert code == 6
    assert "Fork proven" in told
    assert verify_fork(parse_fork(target.read_text()), KEY).proven
    assert run(*words)[0] == 2  # what is there stays
    code, told = run("fork", str(tmp_path / "one"), str(tmp_path / "none"), "-o", str(tmp_path / "x"), "--key", "k")
    assert code == 5
    assert "no such file" in told
    assert not (tmp_path / "x").exists()


def test_with_json_the_file_that_was_made_is_one_object_and_so_is_each_failure(tmp_path: Path) -> None:
    made = fork_of(5, 5, 3)
    for name, note in (("one", made.older), ("two", made.newer)):
        (tmp_path / name).write_text(note)
    target = str(tmp_path / "fork")
    words = ["fork", "--json", str(tmp_path / "one"), str(tmp_path / "two"), "-o", target, "--key", str(KEY)]
    done = CliRunner().invoke(audit, words)
    told = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (6, "")
    assert (told["file"], told["proven"], told["origin"]) == (target, True, ORIGIN)
    assert verify_fork(parse_fork(Path(target).read_text()), KEY).proven
    for at, other, code in ((3, str(tmp_path / "none"), 5), (5, target, 2)):
        done = CliRunner().invoke(audit, [*words[:at], other, *words[at + 1 :]])
        assert (done.exit_code, json.loads(done.stdout)["ok"], done.stderr) == (code, False, "")


@pytest.mark.parametrize("size", [100, 128, 299])
def test_a_log_folder_proves_that_another_note_is_not_its(folder: Path, tmp_path: Path, size: int) -> None:
    other, target = tmp_path / "other", tmp_path / "fork"
    other.write_text(note_of(tree_of(size, 3, "other"), size))
    words = ["fork", str(other), str(folder / "checkpoint"), "--key", str(KEY)]
    assert run(*words, "-o", str(tmp_path / "claimed"))[0] == 7  # control: two notes alone prove nothing
    code, told = run(*words, "--log", str(folder), "-o", str(target))
    assert code == 6
    assert f"at size {size} and size 300" in told
    assert run("verify", str(target), "--key", str(KEY))[0] == 6
    assert (
        run(
            "fork", str(folder / "checkpoint"), str(folder / "checkpoint"), "-o", str(tmp_path / "x"), "--key", str(KEY)
        )[0]
        == 7
    )


def test_which_of_two_notes_is_malformed_is_said(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(note_of(tree_of(3, 9, "one"), 3))
    bad.write_text("x" * 100_000)
    for pair_of in ((good, bad), (bad, good)):
        done = CliRunner().invoke(audit, ["fork", *map(str, pair_of), "--key", str(KEY), "-o", str(tmp_path / "out")])
        assert (done.exit_code, f"error: {bad}: more than 65536 bytes" in done.output) == (7, True)
    assert not (tmp_path / "out").exists()


def test_notes_of_two_logs_are_named_as_that(tmp_path: Path) -> None:
    note = note_of(tree_of(9, 9, ""), 9)
    (tmp_path / "one").write_text(note)
    (tmp_path / "two").write_text(note.replace(ORIGIN, "another.example/log/1", 1))
    code, told = run("fork", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(tmp_path / "x"), "--key", str(KEY))
    assert (code, (tmp_path / "x").exists()) == (7, False)
    assert f"notes of two logs, {ORIGIN} and another.example/log/1: a fork is two histories of one" in told
