"""The client believes its own checks: what a node says without proof is refused. Real nodes, real mutual TLS."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audit.entry.entry import Kind
from audit.record.statement import LogHead
from exchange.client import Client, Published, Received, RulesError
from exchange.client.session import PAGE
from exchange.demo.nodes import Nodes
from exchange.demo.world import OFFICER
from exchange.node.enrolment import PIN_FILE, SEEN_FILE, load_enrolment, load_seen, save_pin, save_seen
from exchange.records.receipt import receipt_from_message
from exchange.v1 import bulletin_pb2, node_pb2
from keys.errors import IntegrityError, RefusedError, UnavailableError
from tests.exchange.client.raw_answers import answer_of, check_answer, outbox_item, request_of
from tests.support.running import Federation, note, running, two_that_begin_alike


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("client")) as made:
        yield made


@pytest.fixture(scope="module")
def sender(federation: Federation) -> Iterator[Client]:
    with federation.client("HK-SB") as client:
        yield client


@pytest.fixture(scope="module")
def reader(federation: Federation) -> Iterator[Client]:
    with federation.client("TH-DSI") as client:
        yield client


@pytest.fixture(scope="module")
def published(federation: Federation, sender: Client) -> Published:
    made = sender.publish(note("To be read", "TH-DSI", "HK-IMMD"))
    federation.await_received(sender, made)
    return made


@pytest.fixture(scope="module")
def received(federation: Federation, reader: Client, published: Published) -> Received:
    return federation.await_item(reader, published.bulletin_id)


def test_a_draft_of_ten_lines_is_completed_published_and_receipted(published: Published) -> None:
    assert published.number.startswith("HK-SB/LIA/20")
    assert published.recipients == ("HK-IMMD", "TH-DSI")
    assert not published.absent


def test_numbers_are_reserved_one_by_one(sender: Client) -> None:
    first, second = (sender.publish(note(f"Number {number}", "TH-DSI")).number for number in (1, 2))
    assert int(second.rpartition("/")[2]) == int(first.rpartition("/")[2]) + 1


def test_a_wrong_draft_reserves_no_number_and_names_its_lines(sender: Client) -> None:
    before = sender.publish(note("Before", "TH-DSI")).number
    with pytest.raises(RulesError) as caught:
        sender.compose(note("Wrong", "TH-DSI", more="  urgency: flash\n"))
    assert caught.value.complaints[0].line is not None
    after = sender.publish(note("After", "TH-DSI")).number
    assert int(after.rpartition("/")[2]) == int(before.rpartition("/")[2]) + 1


def test_somebody_who_is_no_member_is_named_with_who_was_probably_meant(sender: Client) -> None:
    with pytest.raises(RefusedError) as caught:
        sender.compose(note("To a stranger", "TH-RTP"))
    assert (caught.value.code, str(caught.value)) == ("NOT_A_MEMBER", "TH-RTP is not in roster 1")


def test_nobody_writes_in_another_agencys_name(sender: Client) -> None:
    with pytest.raises(RefusedError) as caught:
        sender.compose(note("For another", "TH-DSI", originator="HK-IMMD"))
    assert caught.value.code == "SENDER_DIFFERS"


def test_what_was_read_is_what_was_signed(reader: Client, received: Received) -> None:
    opened = reader.read(received, case="7/26", because="to see it")
    assert opened.author == f"HK-SB/{OFFICER}"
    assert opened.bulletin.header.subject[0].text == "To be read"
    assert opened.statement.recipients == ("HK-IMMD", "TH-DSI")


def test_subjects_come_only_after_a_logged_request(reader: Client, received: Received) -> None:
    told = reader.subjects([received], case="7/26", because="triage")
    assert told == {("HK-SB", received.bulletin_id): "To be read"}


def test_a_bulletin_is_found_by_number_by_id_and_by_its_beginning(reader: Client, received: Received) -> None:
    for name in (received.number, received.bulletin_id):
        assert reader.find(name) == reader.find(received.bulletin_id)
    with pytest.raises(RefusedError) as caught:
        reader.find(received.bulletin_id[:7])
    assert caught.value.code == "NO_SUCH_BULLETIN"


def test_a_beginning_that_fits_several_is_refused(sender: Client) -> None:
    common = two_that_begin_alike(sender)[0].bulletin_id[:8]
    with pytest.raises(RefusedError) as caught:
        sender.find(common)
    assert caught.value.code == "TOO_MANY"


def test_the_outbox_tells_one_verified_state_a_recipient(sender: Client, published: Published) -> None:
    sent = next(each for each in sender.outbox() if each.bulletin_id == published.bulletin_id)
    assert [(each.agency, each.word) for each in sent.recipients] == [("HK-IMMD", "received"), ("TH-DSI", "received")]
    assert all(each.receipt is not None and each.log_index for each in sent.recipients)


def test_a_subscription_goes_on_after_its_cursor(federation: Federation, sender: Client, reader: Client) -> None:
    first = sender.publish(note("First of two", "TH-DSI"))
    item = federation.await_item(reader, first.bulletin_id)
    second = sender.publish(note("Second of two", "TH-DSI"))
    following = next(iter(reader.subscribe(after=item.cursor)))
    assert following.bulletin_id == second.bulletin_id


def test_many_publish_in_few_messages_and_in_their_order(sender: Client) -> None:
    composed = [sender.compose(note(f"Bulk {number}", "TH-DSI")) for number in range(70)]
    results = list(sender.publish_many(composed))
    assert [each.number for each in results if isinstance(each, Published)] == [each.number for each in composed]


def test_many_threads_publish_through_one_client(sender: Client) -> None:
    done: list[Published] = []
    threads = [
        threading.Thread(target=lambda number=number: done.append(sender.publish(note(f"Thread {number}", "TH-DSI"))))
        for number in range(16)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len({each.log_index for each in done}) == 16


def test_an_outbox_of_more_than_one_message_is_told_whole(federation: Federation, sender: Client) -> None:
    composed = [sender.compose(note(f"Many {number}", "TH-DSI", "HK-IMMD")) for number in range(PAGE + 10)]
    made = [each for each in sender.publish_many(composed) if isinstance(each, Published)]
    federation.await_received(sender, made[-1])
    told = {each.bulletin_id for each in sender.outbox()}
    assert len(sender._line.outbox_page(0).items) < len(told)  # the control: one page does not hold them all
    assert told >= {each.bulletin_id for each in made}
    assert sender.find(made[-1].number).bulletin_id == made[-1].bulletin_id
    with federation.client("HK-IMMD") as other:
        items = list(other.inbox())
        assert len(other.subjects(items, case="7/26", because="triage")) == len(items) > PAGE


def test_a_refusal_among_many_stands_in_its_place(sender: Client) -> None:
    good = sender.compose(note("Good", "TH-DSI"))
    again = replace(good, bulletin=bulletin_pb2.Bulletin.FromString(good.bulletin.SerializeToString()))
    results = list(sender.publish_many([good, again, sender.compose(note("Good too", "TH-DSI"))]))
    assert [getattr(each, "code", "done") for each in results] == ["done", "EQUIVOCATION", "done"]


def test_a_reply_names_the_very_statement_that_it_answers(
    federation: Federation, reader: Client, received: Received
) -> None:
    text = f"  relations:\n    - type: replies-to\n      bulletin_id: {received.bulletin_id}\n"
    composed = reader.compose(note("Answer", "HK-SB", originator="TH-DSI", more=text))
    assert composed.bulletin.header.relations[0].statement_digest == received.statement_digest


def test_a_reply_to_what_is_not_held_is_refused(reader: Client) -> None:
    text = "  relations:\n    - type: replies-to\n      bulletin_id: 0194726a-f600-7ae3-863a-63b208bd8731\n"
    with pytest.raises(RefusedError) as caught:
        reader.compose(note("Answer to nothing", "HK-SB", originator="TH-DSI", more=text))
    assert caught.value.code == "TARGET_MISSING"


# ------------------------------------------------------------------ what a lying node would say


def test_an_entry_that_commits_to_another_request_is_no_proof_of_reading(reader: Client, received: Received) -> None:
    signed, other = request_of(reader, received), request_of(reader, received)
    answer = reader._line.call(reader._line.stub.Read, node_pb2.ReadRequest(read=signed.to_message()))
    receipt = receipt_from_message(answer.receipt)
    reader.trust.check_reading(receipt, Kind.OPENED, answer.blind, signed)
    for blind, request in ((answer.blind, other), (bytes(32), signed)):
        with pytest.raises(RefusedError, match="another request"):
            reader.trust.check_reading(receipt, Kind.OPENED, blind, request)


def test_an_altered_signature_is_not_shown(reader: Client, received: Received) -> None:
    answer = answer_of(reader, received)
    check_answer(reader.trust, answer, received)
    broken = bytearray(answer.statement.signatures[0].signature)
    broken[0] ^= 1
    answer.statement.signatures[0].signature = bytes(broken)
    with pytest.raises(RefusedError) as caught:
        check_answer(reader.trust, answer, received)
    assert caught.value.code == "SIGNATURE_INVALID"


def test_another_statement_than_the_one_asked_for_is_not_shown(
    federation: Federation, sender: Client, reader: Client, received: Received
) -> None:
    other = federation.await_item(reader, sender.publish(note("Another", "TH-DSI")).bulletin_id)
    with pytest.raises(RefusedError) as caught:
        check_answer(reader.trust, answer_of(reader, other), received)
    assert caught.value.code == "STATEMENT_DIFFERS"


def test_a_manifest_of_another_agency_proves_no_author(
    federation: Federation, reader: Client, received: Received
) -> None:
    answer = answer_of(reader, received)
    answer.author_manifest.CopyFrom(reader.trust.federation.manifests[reader.agency].signed.to_message())
    with pytest.raises(RefusedError):
        check_answer(reader.trust, answer, received)


def test_a_statement_in_another_senders_name_is_not_shown(reader: Client, received: Received) -> None:
    with pytest.raises(RefusedError):
        check_answer(reader.trust, answer_of(reader, received), received, sender="HK-IMMD")


def test_a_receipt_with_another_opening_is_refused(sender: Client, published: Published) -> None:
    item = outbox_item(sender, published)
    sender.trust.check_states(item)
    item.recipients[0].opening = bytes(32)
    with pytest.raises(RefusedError) as caught:
        sender.trust.check_states(item)
    assert caught.value.code == "RECEIPT_INVALID"


def test_a_state_that_the_receipt_does_not_prove_is_refused(sender: Client, published: Published) -> None:
    item = outbox_item(sender, published)
    item.recipients[0].state = node_pb2.DELIVERY_STATE_REFUSED
    with pytest.raises(RefusedError) as caught:
        sender.trust.check_states(item)
    assert caught.value.code == "RECEIPT_INVALID"


def test_a_receipt_of_another_recipient_is_refused(sender: Client, published: Published) -> None:
    item = outbox_item(sender, published)
    item.recipients[0].receipt.CopyFrom(item.recipients[1].receipt)
    with pytest.raises(RefusedError) as caught:
        sender.trust.check_states(item)
    assert caught.value.code == "RECEIPT_INVALID"


def test_a_recipient_who_is_left_out_is_noticed(sender: Client, published: Published) -> None:
    item = outbox_item(sender, published)
    del item.recipients[0]
    with pytest.raises(RefusedError) as caught:
        sender.trust.check_states(item)
    assert caught.value.code == "RECIPIENTS_DIFFER"


def test_a_dispatch_that_is_not_signed_by_our_node_is_refused(sender: Client, published: Published) -> None:
    item = outbox_item(sender, published)
    item.dispatch.signatures[0].signature = bytes(64)
    with pytest.raises(RefusedError) as caught:
        sender.trust.check_states(item)
    assert caught.value.code == "SIGNATURE_INVALID"


# ------------------------------------------------------------------ connecting


def _copy_home(federation: Federation, folder: Path, name: str = "HK-SB") -> Path:
    """Copy what an officer's own machine needs."""
    home = federation.home(name)
    for part in ("node.toml", "ca.der", "tls.der"):
        folder.mkdir(exist_ok=True)
        shutil.copy2(home / part, folder / part)
    shutil.copytree(home / "officers", folder / "officers")
    return folder


def _connect(federation: Federation, home: Path, name: str = "HK-SB") -> Client:
    return Client.connect(home, OFFICER, keys=federation.agency(name).officer_keys)


def test_another_roster_than_the_compared_one_is_not_trusted(federation: Federation, tmp_path: Path) -> None:
    home = _copy_home(federation, tmp_path / "copy")
    (home / "officers" / OFFICER / PIN_FILE).write_text("00" * 32 + "\n")
    with pytest.raises(RefusedError) as caught:
        _connect(federation, home)
    assert caught.value.code == "PEER_UNTRUSTED"


def test_without_a_compared_roster_nobody_connects(federation: Federation, tmp_path: Path) -> None:
    home = _copy_home(federation, tmp_path / "copy")
    (home / "officers" / OFFICER / PIN_FILE).unlink()
    with pytest.raises(RefusedError, match="no roster was compared"):
        _connect(federation, home)


def test_enrolment_never_changes_to_another_roster(federation: Federation, tmp_path: Path) -> None:
    home = _copy_home(federation, tmp_path / "copy")
    with pytest.raises(RefusedError) as caught:
        save_pin(home, OFFICER, bytes(32))
    assert caught.value.code == "WRONG_FEDERATION"


def test_a_log_that_is_behind_what_was_seen_is_an_alarm(federation: Federation, tmp_path: Path) -> None:
    home = _copy_home(federation, tmp_path / "copy")
    _connect(federation, home).close()
    enrolment = load_enrolment(home, OFFICER)
    seen = load_seen(enrolment)
    assert seen is not None
    save_seen(enrolment, replace(seen, size=seen.size + 10_000))
    with pytest.raises(IntegrityError, match="seen before"):
        _connect(federation, home)


def test_another_root_of_the_same_size_is_an_alarm(reader: Client) -> None:
    note_text = reader._line.call(reader._line.stub.Profile, node_pb2.ProfileRequest()).checkpoint
    head = reader.trust.check_head(note_text, None)
    seen = LogHead(origin=head.origin, size=head.size, root=head.root)
    assert reader.trust.check_head(note_text, seen) == head
    with pytest.raises(IntegrityError, match="seen before"):
        reader.trust.check_head(note_text, replace(seen, root=bytes(32)))


def test_a_file_of_what_was_seen_that_is_not_ours_is_an_alarm(federation: Federation, tmp_path: Path) -> None:
    home = _copy_home(federation, tmp_path / "copy")
    (home / "officers" / OFFICER / SEEN_FILE).write_text("{}")
    with pytest.raises(IntegrityError):
        _connect(federation, home)


def test_keys_of_another_person_do_not_get_in(federation: Federation) -> None:
    with pytest.raises((RefusedError, UnavailableError)):
        Client.connect(federation.home("HK-SB"), OFFICER, keys=federation.agency("TH-DSI").officer_keys)


def test_a_silent_node_is_named_with_what_to_do(federation: Federation) -> None:
    with pytest.raises(UnavailableError, match=r"the node of HK-SB does not answer at 127\.0\.0\.1:1"):
        Client.connect(
            federation.home("HK-SB"), OFFICER, keys=federation.agency("HK-SB").officer_keys, desk="127.0.0.1:1"
        )


def test_a_wrong_passphrase_opens_nothing(federation: Federation) -> None:
    with pytest.raises(RefusedError) as caught:
        Client.connect(federation.home("HK-SB"), OFFICER, passphrase=lambda: b"wrong")
    assert caught.value.code == "UNOPENABLE"


def test_a_recipient_who_is_said_to_be_absent_but_was_served_is_refused(sender: Client, published: Published) -> None:
    item = outbox_item(sender, published)
    item.recipients[0].state = node_pb2.DELIVERY_STATE_ABSENT
    with pytest.raises(RefusedError) as caught:
        sender.trust.check_states(item)
    assert caught.value.code == "RECEIPT_INVALID"


def test_a_subscription_outlives_its_node(tmp_path: Path) -> None:
    with running(tmp_path, ("HK-SB", "TH-DSI")) as small, small.client("TH-DSI") as listener:
        came = listener.subscribe()
        with small.client("HK-SB") as author:
            first = author.publish(note("Before the restart", "TH-DSI"))
            assert next(came).bulletin_id == first.bulletin_id
        small.nodes.stop()
        small.nodes = Nodes(small.world)
        with small.client("HK-SB") as author:
            second = author.publish(note("After the restart", "TH-DSI"))
        assert next(came).bulletin_id == second.bulletin_id


def test_watch_writes_one_object_a_line_until_it_is_interrupted(federation: Federation, received: Received) -> None:
    home = federation.home("TH-DSI")
    words = f"{sys.executable} -m exchange inbox --watch --json --home {home} --as {OFFICER} --passphrase-fd 0".split()
    # Whoever runs these tests in the background has a shell that lets its children ignore interrupts.
    heeding = "import os, sys; from signal import *; signal(SIGINT, SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    with (
        (home / "passphrase").open("rb") as secret,
        subprocess.Popen(
            [sys.executable, "-c", heeding, *words],
            stdin=secret,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watch,
    ):
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["sender"] == "HK-SB"
        watch.send_signal(signal.SIGINT)
        watch.communicate()
    assert watch.returncode == 130
