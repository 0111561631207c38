"""What a node answers as a witness, by the protocol's status codes, and what it enters of two histories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from audit.entry.entry import Kind, Outcome
from audit.note.cosignature import parse_lines
from audit.witness.request import format_request
from tests.flow.witnessing import A, B, C, asked, log_of, refused
from tests.flow.world import QUICK, World


async def test_a_witness_answers_with_the_protocol_s_status_codes(tmp_path: Path) -> None:
    """A itself does not run: its node would show B its own log, and what B then holds would be a matter of time."""
    world = World(tmp_path, (A, B, C), settings=replace(QUICK, witness_seconds=60.0))
    await world[B].start()
    note = world[B].node.note
    try:
        log = log_of(world[A]).grow(5)
        first, second, proof = log.note(3), log.note(5), log.tree.consistency(3, 5)
        good = await asked(world[A], world[B], format_request(0, [], first))
        assert len(parse_lines(good)) == 2  # Ed25519 and ML-DSA-44
        stranger = replace(log, origin="xx.example/log/1").note(3)
        unsigned = replace(log, signer=world[B].keys.node.log).note(5)
        cases = {
            404: format_request(0, [], stranger),
            403: format_request(3, proof, unsigned),
            400: b"old five\n\n" + second.encode(),
            409: format_request(0, [], second),
            422: format_request(3, [bytes(32)], second),
        }
        for code, body in cases.items():
            refusal = await refused(asked(world[A], world[B], body))
            assert refusal.status == code
            assert refusal.size == (3 if code == 409 else None)
        own = await refused(asked(world[A], world[B], format_request(0, [], note)))
        assert own.status == 404  # nobody witnesses itself
        # Anybody may bring it: what C brings of A's log is judged by A's signature.
        assert await asked(world[C], world[B], format_request(3, proof, second))
        again = await refused(asked(world[A], world[B], format_request(0, [], first)))
        assert (again.status, again.size) == (409, 5)
        await world[B].stop()
        await world[B].start()
        refusals = world[B].refused()
        # A restart forgets nothing.
        again = await refused(asked(world[A], world[B], format_request(3, proof, second)))
        assert (again.status, again.size) == (409, 5)
        assert world[B].bodies(Kind.FORK_SEEN) == []
        # What is counted against the caller; a 409 is no offence.
        counted = {(peer == 0, outcome): count for (peer, outcome), count in refusals.items()}
        assert counted == {
            (False, Outcome.MALFORMED): 1,
            (False, Outcome.SIGNATURE_INVALID): 1,
            (False, Outcome.SIGNER_UNKNOWN): 2,
            (False, Outcome.RECEIPT_INVALID): 1,
        }
    finally:
        await world[B].stop()


async def test_two_roots_of_one_size_are_entered_as_fork_seen_once_and_kept(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B), settings=replace(QUICK, witness_seconds=60.0))
    await world[B].start()
    try:
        one, two = (log_of(world[A]).grow(4, salt).note() for salt in "12")
        await asked(world[A], world[B], format_request(0, [], one))
        for _ in range(2):
            assert (await refused(asked(world[A], world[B], format_request(4, [], two)))).status == 409
        (seen,) = world[B].bodies(Kind.FORK_SEEN)
        roster = world[B].node.view.federation.roster
        assert (roster.by_number(seen.peer), seen.peer_size) == (roster.member(A), 4)
        kept = [content for _, name, content in world[B].node.reads.evidence() if name.startswith("fork ")]
        assert len(kept) == 1
        assert one.encode() in kept[0]
        assert two.encode() in kept[0]
        assert "fork-seen" in world[B].log.getvalue()
    finally:
        await world[B].stop()
