"""A bound is worth something only if it repeats exactly what the product did, and nothing was missed."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench import bound, counting
from bench.acts import Acts
from bench.classical import WRAP_BYTES, x25519_alone
from bench.counting import Calls, ZeroCallsError, by_name, demand
from bench.federation import ABSENT, READERS, Federation, bulletins, found
from exchange.records.bulletin import encode_bulletin
from exchange.rules import check_bulletin, packaged_catalogue
from keys import seal
from keys.signer import Ed25519Signer

NUMBER = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    return found(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def calls(made: Federation) -> Calls:
    with ExitStack() as stack:
        acts = Acts(made, stack)
        with counting.counting() as counted:
            acts.whole_job(bulletins(NUMBER, 2048, *READERS, ABSENT))
    return counted


def test_the_whole_job_makes_the_calls_that_its_design_says(calls: Calls) -> None:
    names = by_name(calls)
    heads, checkpoints = 2, 2 + 2 * 2 - 1  # one message to each reader; groups: publishing, two of each lane
    assert names[counting.WRAP] == 3 * NUMBER
    assert names[counting.UNWRAP] == names[counting.OPEN] == 2 * NUMBER
    assert names[counting.SEAL] == NUMBER
    assert names[counting.STORE] == 3 * NUMBER
    assert names[counting.COMMIT] == checkpoints
    assert names[counting.SIGN] == 2 * NUMBER + heads + checkpoints
    # The author's at publishing; at each reader dispatch and author's, and the head; the readers' checkpoints. Beside
    # the job each node verifies the checkpoints that it puts into its log's files, at its own pace.
    job = NUMBER + 2 * (2 * NUMBER + 1) + 2
    assert job <= names[counting.VERIFY] <= job + checkpoints


def test_nothing_stays_wrapped_after_counting(calls: Calls) -> None:
    assert calls
    assert hashlib.sha256(b"").name == "sha256"
    assert hmac.digest.__module__ == "hmac"
    assert Ed25519Signer.sign.__qualname__ == "Ed25519Signer.sign"
    assert type(seal._SUITE).__name__ == "Suite"


def test_the_bound_repeats_exactly_the_products_calls(calls: Calls, tmp_path: Path) -> None:
    seconds, repeated = bound.run(calls, bound.Primitives(), tmp_path)
    assert repeated == calls
    assert seconds > 0


def test_two_cores_share_the_calls_and_drop_none(calls: Calls, tmp_path: Path) -> None:
    _, repeated = bound.run_on_two_cores(calls, tmp_path)
    assert repeated == calls


def test_a_count_of_zero_is_an_error(calls: Calls) -> None:
    demand(calls, counting.WHOLE_JOB)
    without = Counter({key: number for key, number in calls.items() if key[0] != counting.UNWRAP})
    with pytest.raises(ZeroCallsError, match="hpke unwrap"):
        demand(without, counting.WHOLE_JOB)


def test_bulletins_have_the_size_that_a_row_names_and_break_no_rule() -> None:
    for size in (2048, 8192):
        [one, two] = bulletins(2, size, *READERS)
        assert size - 16 <= len(encode_bulletin(one)) <= size
        assert one.header.bulletin_id != two.header.bulletin_id
        assert check_bulletin(one, packaged_catalogue()) == ()


def test_the_classical_run_really_wraps_with_x25519_alone(made: Federation) -> None:
    with x25519_alone():
        public = made.keys[READERS[0]].node.encryption[0].key.public
        assert len(seal.wrap(bytes(32), public, b"")) == WRAP_BYTES
    assert len(seal.wrap(bytes(32), public, b"")) == seal.WRAP_BYTES
