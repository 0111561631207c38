"""Old mail after the end of the own manifest: read by whoever's own time is not over, by nobody else."""

from __future__ import annotations

from dataclasses import replace

from exchange.acts.directory import RecordKind
from keys import dsse
from keys.durations import DAY_MS
from tests.exchange.node.keeping import Keeper, code_of, delivered, kept_for
from tests.support.world import keys_of


def end_manifest(desk: Keeper, *, days: int, officer_days: int) -> None:
    """Adopt a manifest that ends after so many days, and names officer-1 for another number of them."""
    known = desk.view.federation.manifests[desk.agency].record
    officers = tuple(
        replace(each, until_ms=desk.at_ms + officer_days * DAY_MS) if each.id == "officer-1" else each
        for each in known.officers
    )
    made = replace(known, version=2, issued_ms=desk.at_ms, expires_ms=desk.at_ms + days * DAY_MS, officers=officers)
    signed = dsse.sign(made.encode(), ("manifest", keys_of(desk.agency).root.root))
    desk.node.adopt_now(RecordKind.MANIFEST, signed)


def test_what_was_received_is_read_after_the_manifest_has_ended(sender: Keeper, receiver: Keeper) -> None:
    message = kept_for(30, 21, text="Old mail")
    delivered(sender, receiver, message)
    end_manifest(receiver, days=2, officer_days=10)
    receiver.pass_days(5)
    assert receiver.read(message).statement.payload


def test_an_officer_whose_own_time_is_over_reads_nothing(sender: Keeper, receiver: Keeper) -> None:
    message = kept_for(30, 21, text="Old mail")
    delivered(sender, receiver, message)
    end_manifest(receiver, days=2, officer_days=4)
    receiver.pass_days(5)
    assert code_of(lambda: receiver.read(message)) == "KEY_EXPIRED"
