"""What a recovery refuses: manifests that open no such epoch, and peers that give back what was never ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Body, Kind, encode_entry, leaf_hash
from audit.note.checkpoint import Checkpoint, parse_note, sign_checkpoint
from audit.record.dispatch import dispatch_digest
from audit.record.lane import delivery_digest, parse_delivery
from exchange.acts.node_view import NodeView
from exchange.records.receipt import Receipt, make_receipt
from exchange.recovery.proven_answers import ProvenAnswer, SentDelivery, check_answer, last_seen
from exchange.rpc.recovery import rebuild
from exchange.rpc.recovery.rebuild import SilentError
from exchange.rpc.recovery.service import PeerDial, ask
from exchange.rpc.transport.channel import Identity
from keys import dsse
from keys.certificate import private_pem
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.identity import AgencyId
from keys.manifest import LogEpoch, Manifest
from tests.flow.recovering import gather, sign
from tests.flow.test_recover import all_receipted
from tests.flow.world import World, bulletin, keys_of, until

A, B, C = "HK-SB", "TH-DSI", "TW-NHRC"


async def lost(world: World) -> rebuild.Gathered:
    """Let A and its peers exchange, stop A, and ask for everything."""
    await world.connected()
    await world[A].publish(bulletin(A, B, C), bulletin(A, B))
    await world[B].publish(bulletin(B, A))
    await all_receipted(world, A, B)
    await world[A].stop()
    return (await gather(world, A))[0]


def opened(agency: str, before: Manifest, **changes: object) -> SignedPayload:
    """Sign a manifest that says something else, with the agency's own root."""
    made = replace(before, version=before.version + 1, **changes)  # type: ignore[arg-type] # the test's own fields
    return dsse.sign(made.encode(), ("manifest", keys_of(agency).root.root))


async def test_a_manifest_that_opens_no_such_epoch_is_refused_row_63(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        gathered = await lost(world)
        note, end = rebuild.choose_end(gathered)
        now_ms = time.time_ns() // 1_000_000
        before = gathered.view.federation.manifests[AgencyId(A)].record
        true = LogEpoch(epoch=2, previous_origin=end.origin, previous_size=end.size, previous_root=end.root)

        def refused(signed: SignedPayload) -> str:
            with pytest.raises(RefusedError) as caught:
                rebuild.check_manifest(signed, gathered, now_ms)
            return f"{caught.value.code}: {caught.value}"

        def epochs(*more: LogEpoch) -> SignedPayload:
            return opened(A, before, log_epochs=(*before.log_epochs, *more))

        theirs = gathered.view.federation.manifests[AgencyId(B)].record
        assert refused(opened(B, theirs)).startswith("WRONG_MAKER: the manifest is TH-DSI's, not HK-SB's")
        assert "epoch 2 was expected" in refused(opened(A, before))
        assert "epoch 2 was expected" in refused(epochs(replace(true, epoch=3)))
        assert "after another log" in refused(epochs(replace(true, previous_origin="th-dsi.exercise.example/log/1")))
        assert "no member holds that" in refused(epochs(replace(true, previous_root=bytes(31) + b"\1")))
        assert "no member holds that" in refused(epochs(replace(true, previous_size=end.size + 1)))
        forged = dsse.sign(replace(before, version=2).encode(), ("manifest", keys_of(B).root.root))
        assert refused(forged).startswith("SIGN")
        # A cut: one member has seen more than where the manifest says that the log ended.
        smaller = min((c for each in gathered.recovered for _, c in each.notes), key=lambda c: c.size)
        if smaller.size < end.size:
            cut = replace(true, previous_size=smaller.size, previous_root=smaller.root)
            assert "has seen" in refused(epochs(cut))
        # Control: the manifest that says what they hold is taken.
        assert rebuild.check_manifest(sign(world[A], note, gathered), gathered, now_ms).epoch == 2


async def test_a_cut_is_refused_whoever_saw_more_row_63(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        gathered = await lost(world)
        _, end = rebuild.choose_end(gathered)
        first = gathered.recovered[0]
        early = replace(end, size=end.size - 1, root=bytes(32))  # as if somebody had seen an earlier one, too
        lesser = replace(gathered, recovered=(*gathered.recovered, replace(first, notes=(("", early),))))
        before = gathered.view.federation.manifests[AgencyId(A)].record
        opening = LogEpoch(epoch=2, previous_origin=early.origin, previous_size=early.size, previous_root=early.root)
        cut = opened(A, before, log_epochs=(*before.log_epochs, opening))
        with pytest.raises(RefusedError, match=f"has seen {end.size}"):
            rebuild.check_manifest(cut, lesser, time.time_ns() // 1_000_000)


async def test_two_histories_of_one_size_are_shown_and_none_is_chosen(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        gathered = await lost(world)
        _, end = rebuild.choose_end(gathered)
        other = replace(gathered.recovered[0], notes=(("", replace(end, root=bytes(32))),))
        with pytest.raises(RefusedError, match="two histories") as caught:
            last_seen((*gathered.recovered, other), end.origin)
        assert caught.value.code == "EQUIVOCATION"
        assert last_seen(gathered.recovered, end.origin) is not None
        assert last_seen((), end.origin) is None


async def test_nothing_is_taken_on_a_peers_word(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        gathered = await lost(world)
        view, member = gathered.view, world[A]
        identity = Identity(leaf=member.keys.tls_leaf, private_pem=private_pem(member.keys.node.tls_private))
        now_ms = time.time_ns() // 1_000_000
        told = {
            peer: (
                await ask(
                    PeerDial(
                        peer=AgencyId(peer),
                        address=world.endpoints[peer][0],
                        view=view,
                        identity=identity,
                        now_ms=now_ms,
                    )
                )
            ).answer
            for peer in (B, C)
        }
        true, third = told[B], told[C]
        assert check_answer(true, view).count == 3

        one, two = true.deliveries
        given = true.receipts[0]
        dispatch = one.dispatch
        assert dispatch is not None
        assert two.dispatch is not None
        resigned = dsse.sign(dispatch.payload, ("dispatch", keys_of(B).node.operations))
        assert dispatch_digest(resigned.payload) == dispatch_digest(dispatch.payload)
        changed = Receipt(entry=given.receipt.entry[:-1] + b"\0", proof=given.receipt.proof)
        note = parse_note(true.notes[0])
        lies: dict[str, Callable[[ProvenAnswer], ProvenAnswer]] = {
            "a delivery of another lane": lambda a: replace(a, deliveries=third.deliveries),
            "a delivery of a third agency that their log answers": lambda a: replace(
                a, deliveries=(forged(one, view),)
            ),
            "a gap at the beginning": lambda a: replace(a, deliveries=(two,)),
            "another delivery's proof": lambda a: replace(a, deliveries=(replace(one, receipt=two.receipt), two)),
            "another dispatch": lambda a: replace(a, deliveries=(replace(one, dispatch=two.dispatch), two)),
            "a dispatch that we never signed": lambda a: replace(a, deliveries=(replace(one, dispatch=resigned), two)),
            "the same delivery twice": lambda a: replace(a, deliveries=(one, one)),
            "our receipt for their answer": lambda a: replace(a, deliveries=(replace(one, receipt=given.receipt), two)),
            "an altered entry": lambda a: replace(a, receipts=(replace(given, receipt=changed),)),
            "their receipt for ours": lambda a: replace(a, receipts=(replace(given, receipt=one.receipt),)),
            "our delivery for theirs": lambda a: replace(a, receipts=(replace(given, delivery=one.delivery),)),
            "a note of another log": lambda a: replace(a, notes=(world[B].node.note,)),
            "a note with another size": lambda a: replace(
                a, notes=(true.notes[0].replace(f"\n{note.checkpoint.size}\n", f"\n{note.checkpoint.size + 1}\n", 1),)
            ),
        }
        taken = [lie for lie, tell in lies.items() if not refused(tell(true), view)]
        assert not taken


def forged(true: SentDelivery, view: NodeView) -> SentDelivery:
    """Let B's own log say that it answered us, about a delivery that C sent it."""
    old = parse_delivery(true.delivery)
    made = replace(old, lane=replace(old.lane, sender=AgencyId(C)))
    body = Body(
        kind=Kind.WITHDRAWN,
        peer=view.number,
        dispatch_digest=made.dispatch_digest,
        delivery_digest=delivery_digest(made.encode()),
    )
    entry = encode_entry(0, 1, bytes(32), body.encode())
    origin = view.log_key(AgencyId(B)).name
    note = sign_checkpoint(Checkpoint(origin=origin, size=1, root=leaf_hash(entry)), keys_of(B).node.log)
    return replace(true, delivery=made.encode(), dispatch=None, receipt=make_receipt(entry, 0, [], note))


def refused(answer: ProvenAnswer, view: NodeView) -> bool:
    """Return whether an answer is refused."""
    try:
        check_answer(answer, view)
    except RefusedError:
        return True
    return False


async def test_a_member_whose_address_nobody_says_is_named_with_what_to_give(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B))
    member, now_ms = world[A], time.time_ns() // 1_000_000
    view = rebuild.view_of_files(member.records.roster, [], member.keys.node, now_ms)  # roster 1 and no manifest
    identity = Identity(leaf=member.keys.tls_leaf, private_pem=private_pem(member.keys.node.tls_private))
    with pytest.raises(SilentError, match=f"{B}: no address is known; ") as caught:
        await rebuild.gather(view, identity, {}, [], now_ms)
    assert "--peer" in str(caught.value)
    assert "--record" in str(caught.value)


async def test_a_member_that_is_away_is_named_and_given_up_only_by_name(tmp_path: Path) -> None:
    world = World(tmp_path, (A, B, C))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B, C))
        await all_receipted(world, A)
        await world[A].stop()
        await world[C].stop()
        with pytest.raises(SilentError, match=f"no answer from {C}") as caught:
            await gather(world, A)
        assert f"--without {C}" in caught.value.hint
        gathered, _ = await gather(world, A, C)
        assert [each.peer for each in gathered.recovered] == [B]
        assert gathered.without == (C,)
        await world[C].start()
        await until(lambda: world[C].running is not None)


async def test_a_member_that_waits_for_others_itself_is_said_to_sign_nothing_yet(tmp_path: Path) -> None:
    """Both were down: the one that is left proves nothing before it goes on alone."""
    world = World(tmp_path, (A, B))
    async with world.serving():
        await world.connected()
        await world[A].publish(bulletin(A, B))
        await world[B].publish(bulletin(B, A))
        await all_receipted(world, A, B)
        await world[A].stop()
        await world[B].stop()
        await world[B].serve()
        with pytest.raises(SilentError, match=f"no answer from {B}: .*this node signs nothing now: ") as caught:
            await gather(world, A)
        assert "does not verify" not in str(caught.value)
        await world[B].stop()
        await world[B].start()
        gathered, _ = await gather(world, A)
        assert [len(each.deliveries) for each in gathered.recovered] == [1]
