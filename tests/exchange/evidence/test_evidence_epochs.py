"""Evidence whose entries stand in several epochs of one log: each names the earlier one, and none is from beyond its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.entry.body import Body, parse_body
from audit.entry.entry import parse_entry
from audit.evidence import file
from audit.evidence.pages import embedded
from audit.note.tlogproof import parse_proof
from exchange.evidence.gather_evidence import evidence_file
from keys.epoch import open_epoch
from keys.manifest import LogEpoch
from tests.exchange.evidence.evidence_maker import AT_MS, NAMES, RECIPIENT, SENDER, FakeLog, Made, filled, make
from tests.exchange.evidence.test_evidence import judge, refused_core
from tests.exchange.evidence.test_evidence_pages import unpack, verdict
from tests.flow.world import keys_of, records
from tests.support.browser import open_page

QUEUED, ANSWERED = f"proofs/queued-{RECIPIENT}-1.tlog-proof", f"proofs/answered-{RECIPIENT}-1.tlog-proof"
LATER_MS = AT_MS + 2000


def body_of(core: dict[str, bytes], name: str) -> Body:
    entry = parse_proof(core[name].decode()).extra
    assert entry is not None
    return parse_body(parse_entry(entry).body)


def moved(made: Made, **changes: int) -> dict[str, bytes]:
    """Log the sender's RECEIPT_RECORDED in epoch 2 of its log, instead of in epoch 1."""
    log = filled(SENDER, epoch=2)
    at = log.add(body_of(made.core, ANSWERED)._replace(**{"refers_to_epoch": 1, **changes}), LATER_MS)  # type: ignore[arg-type]
    return {**made.core, ANSWERED: log.prove(at)}


def with_end(core: dict[str, bytes], log: FakeLog, size: int, root: bytes = b"") -> dict[str, bytes]:
    """Add the manifest that opened epoch 2 after *size* entries of a log."""
    end = LogEpoch(epoch=2, previous_origin=log.origin, previous_size=size, previous_root=root or log.tree.root(size))
    signed = open_epoch(keys_of(log.agency).root.root, records(NAMES).manifests[log.agency], end, LATER_MS)
    return {**core, f"manifests/{log.agency}-2.signed": signed.encode()}


def test_a_receipt_that_was_recorded_in_a_later_epoch_counts() -> None:
    made = make()
    core = with_end(moved(made), made.sender_log, len(made.sender_log.entries))
    report = judge(evidence_file(core))
    assert report.exit_code == 0, report.verdict
    assert "and later epochs of it, hk-sb.exercise.example/log/2" in report.steps[5].detail


@pytest.mark.parametrize("changes", [{"refers_to_epoch": 0}, {"refers_to_epoch": 2}, {"refers_to": 3}])
def test_an_entry_of_a_later_epoch_that_names_another_one_is_refused(changes: dict[str, int]) -> None:
    assert "is no RECEIPT_RECORDED of entry" in refused_core(moved(make(), **changes))


def test_no_entry_of_an_earlier_epoch_speaks_of_a_later_one() -> None:
    made = make()
    log = filled(SENDER, epoch=2)
    queued = log.add(body_of(made.core, QUEUED)._replace(refers_to_epoch=1), LATER_MS)
    core = {**made.core, QUEUED: log.prove(queued)}
    assert "is no RECEIPT_RECORDED of entry" in refused_core(core)
    done = body_of(made.core, ANSWERED)._replace(refers_to=queued)
    core[ANSWERED] = log.prove(log.add(done, LATER_MS))  # control: both in the later one
    assert judge(evidence_file(core)).exit_code == 0


def test_an_epoch_of_another_members_log_is_refused() -> None:
    made = make()
    log = filled(RECIPIENT, epoch=2)
    at = log.add(body_of(made.core, ANSWERED)._replace(refers_to_epoch=1), LATER_MS)
    assert "its log is" in refused_core({**made.core, ANSWERED: log.prove(at)})


def test_attack_20_what_the_old_key_signs_beyond_the_end_of_its_epoch_is_refused() -> None:
    made = make()
    size = len(made.sender_log.entries)
    assert judge(evidence_file(with_end(made.core, made.sender_log, size))).exit_code == 0  # control
    told = refused_core(with_end(made.core, made.sender_log, size - 1))
    assert f"which ended at size {size - 1}" in told
    assert "which ended at size" in refused_core(with_end(made.core, made.sender_log, size, bytes(32)))


def test_the_page_in_a_browser_takes_later_epochs_as_the_program_does(tmp_path: Path) -> None:
    made = make()
    core = moved(made)
    folder = unpack(evidence_file(core), tmp_path / "file")
    assert verdict(open_page(folder / file.PAGE, tmp_path).dom) == "Every check made here is good."
    page = (folder / file.PAGE).read_text()
    assert embedded(core) in page
    (folder / file.PAGE).write_text(page.replace(embedded(core), embedded(moved(made, refers_to_epoch=0))))
    assert verdict(open_page(folder / file.PAGE, tmp_path).dom) != "Every check made here is good."
