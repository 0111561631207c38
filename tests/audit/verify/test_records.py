"""Which records an entry says that it was judged by: held against what the log itself had adopted before."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from audit.entry.body import Body
from audit.entry.kinds import Kind, Outcome
from audit.note.checkpoint import VerifierKey
from audit.verify.entry_run import verify_run
from audit.verify.external_checkpoints import ExternalCheckpoint
from audit.verify.incremental import verify_incremental
from audit.verify.verdict import Report
from audit.verify.verify import verify_log
from keys.identity import records_digest
from keys.signer import Ed25519Signer
from tests.audit.forge import chain, sign, write_log
from tests.audit.store import UPGRADED, digest, exchange_bodies, first_bodies
from tests.audit.verify.test_entry_run_fast import found
from tests.independent.reader import read_log_records
from tests.support.scale import SCALE

ROSTER, MANIFEST, SHEET = Kind.ROSTER_ADOPTED, Kind.MANIFEST_ADOPTED, Kind.KEY_SHEET_ADOPTED
OURS = records_digest(digest(1), digest(2), digest(3))
THEIRS = records_digest(digest(1), bytes(32), bytes(32))
NAMING = (Kind.PUBLISHED, Kind.RECEIPT_RECORDED, Kind.RECEIVED, Kind.OPENED)
ASKED = {"actor": digest(1, 20)[16:], "actor_epoch": 1, "bulletin_id": bytes([7] * 16)}
OPENED = Body(kind=Kind.OPENED, refers_to=7, digest=digest(1, 21), records=OURS, **ASKED)

Verify = Callable[[Sequence[Body]], Report]


@pytest.fixture
def verify(tmp_path: Path, key: VerifierKey, signer: Ed25519Signer) -> Verify:
    """Verify a forged log whole, on one core, from the beginning incrementally, and both ways a run can take."""

    def verified(bodies: Sequence[Body]) -> Report:
        entries = chain(bodies)
        folder = write_log(tmp_path / "log", entries, sign(entries, signer), key)
        bundles = -(-len(entries) // 256)
        walked = verify_run(folder, len(entries), 0, bundles, at_once=0)
        assert found(verify_run(folder, len(entries), 0, bundles)) == found(walked)
        report, other = verify_log(folder, key=key), verify_incremental(folder, key=key)
        assert report.verdict == other.verdict
        return report

    return verified


def exchanges(bodies: list[Body], count: int, number: int = UPGRADED) -> list[Body]:
    """Return a log with so many bulletins more."""
    for each in range(number, number + count):
        bodies = bodies + exchange_bodies(each, len(bodies))
    return bodies


def adopted(kind: Kind, peer: int, number: int) -> Body:
    return Body(kind=kind, peer=0 if kind is ROSTER else peer, count=number, digest=digest(number, 30))


def replaced(bodies: list[Body], index: int, **fields: bytes) -> list[Body]:
    return [*bodies[:index], bodies[index]._replace(**fields), *bodies[index + 1 :]]


def test_a_log_that_says_nothing_of_records_is_verified_and_so_is_one_that_begins_to(verify: Verify) -> None:
    old = exchanges(first_bodies(), 20, number=1)
    assert not any(body.records for body in old)
    assert verify(old).verdict == "verified, end not anchored"
    both = exchanges(old, 20)
    assert {body.kind for body in both if body.records} == set(NAMING)
    assert verify(both).verdict == "verified, end not anchored"


@pytest.mark.parametrize("many", [1, 80], ids=["few", "many"])
@pytest.mark.parametrize("kind", NAMING)
def test_an_entry_that_names_other_records_refutes_the_log(kind: Kind, many: int, verify: Verify) -> None:
    good = exchanges(first_bodies(), many)
    assert verify(good).verdict == "verified, end not anchored"  # control
    index = [at for at, body in enumerate(good) if body.kind == kind][many // 2]
    peer = good[index].peer if kind in (Kind.RECEIPT_RECORDED, Kind.RECEIVED) else 0
    whose = f"member {peer}'s" if peer else "our own"
    report = verify(replaced(good, index, records=digest(99)))
    assert report.verdict == f"refuted at entry {index}: it names other records than {whose} in force before it"
    assert report.exit_code == 6


@pytest.mark.parametrize("many", [1, 80], ids=["few", "many"])
@pytest.mark.parametrize("kind", NAMING)
def test_an_entry_that_names_none_after_one_that_did_refutes_the_log(kind: Kind, many: int, verify: Verify) -> None:
    good = exchanges(exchanges(first_bodies(), many, number=1), many + 1)
    index = [at for at, body in enumerate(good) if body.kind == kind][-1]
    report = verify(replaced(good, index, records=b""))
    assert report.verdict == f"refuted at entry {index}: it names no records, and entries before it did"


@pytest.mark.parametrize("many", [1, 80], ids=["few", "many"])
@pytest.mark.parametrize(
    ("kind", "peer", "ours", "theirs"),
    [
        (ROSTER, 0, (digest(2, 30), digest(2), digest(3)), (digest(2, 30), bytes(32), bytes(32))),
        (MANIFEST, 1, (digest(1), digest(2, 30), digest(3)), (digest(1), bytes(32), bytes(32))),
        (SHEET, 1, (digest(1), digest(2), digest(2, 30)), (digest(1), bytes(32), bytes(32))),
        (MANIFEST, 3, (digest(1), digest(2), digest(3)), (digest(1), digest(2, 30), bytes(32))),
        (SHEET, 3, (digest(1), digest(2), digest(3)), (digest(1), bytes(32), digest(2, 30))),
    ],
)
def test_what_is_adopted_is_in_force_from_the_next_entry_on_and_of_its_maker_alone(
    kind: Kind,
    peer: int,
    ours: tuple[bytes, bytes, bytes],
    theirs: tuple[bytes, bytes, bytes],
    many: int,
    verify: Verify,
) -> None:
    start = [*exchanges(first_bodies(), many), adopted(kind, peer, 2)]
    later = exchanges(start, many, number=500)[len(start) :]
    now = {OURS: records_digest(*ours), THEIRS: records_digest(*theirs)}

    def of(body: Body) -> bytes:  # of member 3, who sent; member 2 took, and nothing of it changed but the roster
        return now[body.records] if body.peer != 2 or kind is ROSTER else body.records

    good = start + [body._replace(records=of(body)) if body.records else body for body in later]
    assert verify(good).verdict == "verified, end not anchored"
    stale = next(at for at, body in enumerate(later) if body.records and of(body) != body.records)
    assert verify(start + later).verdict.startswith(f"refuted at entry {len(start) + stale}: it names other records")
    early = replaced(good, 4, records=now[OURS])
    assert verify(early).exit_code == (7 if now[OURS] == OURS else 6)  # not before it is adopted


def test_random_adoptions_verify_one_wrong_record_is_found_and_another_reader_says_the_same(verify: Verify) -> None:
    dice = random.Random(24)
    for _ in range(12 * SCALE):
        force = {(ROSTER, 0): digest(1), (MANIFEST, 1): digest(2), (SHEET, 1): digest(3)}
        bodies = first_bodies()
        for number in range(2, dice.randrange(20, 200)):
            if dice.random() < dice.choice((0.02, 0.5)):
                kind = dice.choice((ROSTER, MANIFEST, SHEET))
                body = adopted(kind, dice.choice((1, 2, 3)), number)
                force[kind, body.peer] = body.digest
                bodies.append(body)
                continue
            for body in exchange_bodies(UPGRADED + number, len(bodies)):
                maker = 1 if body.kind in (Kind.PUBLISHED, Kind.OPENED) else body.peer
                three = (force.get(each, bytes(32)) for each in ((ROSTER, 0), (MANIFEST, maker), (SHEET, maker)))
                bodies.append(body._replace(records=records_digest(*three)) if body.records else body)
        naming = [at for at, body in enumerate(bodies) if body.records]
        wrong = dice.choice(naming) if naming else 0
        for changed in [bodies] + [replaced(bodies, wrong, records=each) for each in (digest(9), b"") if naming]:
            report = verify(changed)
            other = read_log_records({"bodies": [body.encode().hex() for body in changed]})["refuted"]
            told = f"refuted at entry {other}: it names" if other is not None else "verified, end not anchored"
            assert report.verdict.startswith(told)
            assert other in (None, wrong) or wrong == naming[0]


def test_where_the_beginning_is_not_looked_at_entries_are_compared_with_each_other(
    tmp_path: Path, key: VerifierKey, signer: Ed25519Signer
) -> None:
    start = exchanges(first_bodies(), 70)
    old = ExternalCheckpoint(name="old", data=sign(chain(start), signer).encode())

    def since(bodies: list[Body]) -> str:
        entries = chain(bodies)
        folder = write_log(tmp_path / "log", entries, sign(entries, signer), key)
        return verify_incremental(folder, old=old, key=key).verdict

    good = exchanges(start, 20, number=500)
    assert since(good) == "verified"
    at = max(index for index, body in enumerate(good) if body.kind == Kind.PUBLISHED)
    other = f"refuted at entry {at}: it names other records than our own in force before it"
    assert since(replaced(good, at, records=digest(99))) == other
    assert "it names no records" in since(replaced(good, at, records=b""))
    # One adoption says what changed, and not what the other two are; after all three everything is known again.
    three = [adopted(ROSTER, 0, 2), adopted(MANIFEST, 3, 3), adopted(SHEET, 3, 4)]
    known = records_digest(*(each.digest for each in three))
    for count in (1, 2, 3):
        begun = good + three[:count]
        later = [b for b in exchange_bodies(900, len(begun)) if b.kind == Kind.RECEIVED]
        right, wrong = ([*begun, *(body._replace(records=each) for body in later)] for each in (known, digest(99)))
        assert since(right) == "verified"
        assert since(wrong).startswith("refuted" if count == 3 else "verified"), count


@pytest.mark.parametrize("far", [0, 600], ids=["near", "far"])
@pytest.mark.parametrize(
    ("again", "said"),
    [
        ({}, ""),
        ({"actor": bytes([9] * 16)}, "where another actor read"),
        ({"bulletin_id": bytes([9] * 16)}, "where another bulletin was read"),
        ({"actor": bytes([9] * 16), "actor_epoch": 2}, ""),  # another key of pseudonyms: nobody can compare them
    ],
    ids=["same", "actor", "bulletin", "key"],
)
@pytest.mark.parametrize("kind", [Kind.OPENED, Kind.READ_FAILED])
def test_what_refers_to_a_reading_is_of_the_same_actor_and_bulletin(
    kind: Kind, again: dict[str, object], said: str, far: int, verify: Verify
) -> None:
    start = [*exchanges(first_bodies(), 3), OPENED]
    opened = len(start) - 1
    fields = {"outcome": Outcome.SIGNER_UNKNOWN, "records": b""} if kind is Kind.READ_FAILED else {}
    body = OPENED._replace(kind=kind, refers_to=opened, **fields, **again)
    report = verify([*start, *[Body(kind=Kind.HEARTBEAT)] * far, body])
    name = kind.name
    index = opened + far + 1
    wanted = (
        f"refuted at entry {index}: {name} refers to entry {opened}, {said}" if said else "verified, end not anchored"
    )
    assert report.verdict == wanted


def test_a_reading_in_an_older_run_is_compared_too(tmp_path: Path, key: VerifierKey, signer: Ed25519Signer) -> None:
    start = [*exchanges(first_bodies(), 3), OPENED]
    rest = [Body(kind=Kind.HEARTBEAT)] * 17_000  # longer than a run
    other = OPENED._replace(refers_to=len(start) - 1, actor=bytes([9] * 16))
    for body, code in ((OPENED._replace(refers_to=len(start) - 1), 7), (other, 6)):
        entries = chain([*start, *rest, body])
        folder = write_log(tmp_path / "log", entries, sign(entries, signer), key)
        assert verify_log(folder, key=key).exit_code == code
        old = ExternalCheckpoint(name="old", data=sign(entries[:-1], signer).encode())
        assert verify_incremental(folder, old=old, key=key).exit_code == (0 if code == 7 else 6)


def test_a_failed_reading_refers_to_no_bulletin(verify: Verify) -> None:
    start = exchanges(first_bodies(), 1)
    failed = Body(kind=Kind.READ_FAILED, outcome=Outcome.SIGNER_UNKNOWN, refers_to=7, digest=digest(1), **ASKED)
    report = verify([*start, failed])
    assert report.verdict == f"refuted at entry {len(start)}: READ_FAILED refers to entry 7, which is RECEIVED"
