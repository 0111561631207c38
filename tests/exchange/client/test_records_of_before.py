"""A new manifest, without the author and without the key that signed: what was read before is readable after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.entry.entry import Kind, parse_body, parse_entry
from exchange.client import Client, Opened, Published, Received, Surroundings, UnverifiedError
from exchange.demo.world import OFFICER, PASSPHRASE_FILE
from exchange.node.config import paths_of
from exchange.node.enrolment import save_pin
from exchange.records.receipt import receipt_from_message
from exchange.store.factory import open_reading
from exchange.v1 import node_pb2
from keys.errors import RefusedError
from keys.key_files import load_officer
from keys.roster import roster_digest
from tests.exchange.client.raw_answers import answer_of
from tests.support.running import SECONDS, Federation, Typed, note, running, type_line

NEXT = "officer-2"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("before")) as made:
        yield made


@pytest.fixture(scope="module")
def published(federation: Federation) -> Published:
    """What duty-1 of HK-SB has published, before the manifest names them no more."""
    with federation.client("HK-SB") as sender, federation.client("TH-DSI") as reader:
        made = sender.publish(note("From somebody who has left", "TH-DSI"))
        federation.await_received(sender, made)
        read_it(reader, made)
    replace_author(federation)
    return made


def read_it(reader: Client, published: Published) -> Opened:
    return reader.read(reader.find(published.bulletin_id), case="7/26", because="to see it")


def replace_author(federation: Federation) -> None:
    """Have HK-SB's root sign a manifest with officer-2 and without duty-1; the running node takes it."""
    home, folder = federation.home("HK-SB"), federation.world.folder
    secret = (home / PASSPHRASE_FILE).read_bytes()
    typed(["keys", "make", "officer", f"{NEXT}:author,reader:4", "--home", str(home)], folder, secret * 2)
    new = folder / "manifest-2"
    present = folder / "manifest-1"
    store = open_reading(paths_of(home).store)
    try:
        present.write_bytes(store.reads().records_at("HK-SB", 1 << 62).manifest.signed)
    finally:
        store.close()
    words = ["keys", "make", "manifest", "--home", str(home), "--roster", str(folder / "roster")]
    typed([*words, "--manifest", str(present), "--remove", OFFICER, "-o", str(new)], folder, secret)
    sheet = folder / "sheet"  # this node's keys lie in memory, and it makes none by itself
    words = ["keys", "make", "sheet", "--home", str(home), "--roster", str(folder / "roster")]
    typed([*words, "--manifest-version", "2", "-o", str(sheet)], folder, secret)
    assert type_line(["node", "adopt", "--home", str(home), str(new), str(sheet)]).code == 0
    save_pin(home, NEXT, roster_digest(federation.world.roster))


def typed(words: list[str], folder: Path, passphrases: bytes) -> Typed:
    (folder / "typed").write_bytes(passphrases)
    with (folder / "typed").open("rb") as file:
        done = type_line([*words, "--passphrase-fd", str(file.fileno())])
    assert done.code == 0, done.both
    return done


def in_force(federation: Federation, agency: str) -> int:
    """Return which of HK-SB's manifests an agency's node has in force."""
    store = open_reading(paths_of(federation.home(agency)).store)
    try:
        found = store.reads().records_at("HK-SB", 1 << 62).manifest
        return found.version if found is not None else 0
    finally:
        store.close()


@pytest.fixture(scope="module")
def adopted(federation: Federation, published: Published) -> Published:
    """The same, once both nodes have the new manifest."""
    deadline = time.monotonic() + SECONDS
    while min(in_force(federation, "HK-SB"), in_force(federation, "TH-DSI")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return published


@pytest.fixture(scope="module")
def reader(federation: Federation, adopted: Published) -> Iterator[Client]:
    with federation.client("TH-DSI") as client:
        yield client


def successor(federation: Federation) -> Client:
    home = federation.home("HK-SB")
    keys = load_officer(home, NEXT, (home / PASSPHRASE_FILE).read_bytes().strip())
    return Client.connect(home, NEXT, keys=keys, surroundings=Surroundings(deadline_seconds=SECONDS))


def test_a_recipient_reads_what_an_author_wrote_who_has_left(reader: Client, adopted: Published) -> None:
    assert read_it(reader, adopted).author == f"HK-SB/{OFFICER}"


def test_the_author_s_agency_reads_it_and_its_outbox_verifies(federation: Federation, adopted: Published) -> None:
    with successor(federation) as client:
        assert read_it(client, adopted).author == f"HK-SB/{OFFICER}"
        sent = next(each for each in client.outbox() if each.bulletin_id == adopted.bulletin_id)
        assert [(each.agency, each.word) for each in sent.recipients] == [("TH-DSI", "received")]


def test_who_has_left_is_let_in_no_more(federation: Federation, adopted: Published) -> None:
    with pytest.raises(RefusedError):
        federation.client("HK-SB").close()


def raw(reader: Client, adopted: Published) -> tuple[Received, node_pb2.ReadResponse]:
    item = reader.find(adopted.bulletin_id)
    assert isinstance(item, Received)
    return item, answer_of(reader, item)


def test_the_records_are_those_that_the_log_names_and_no_others_are_believed(
    reader: Client, adopted: Published
) -> None:
    item, answer = raw(reader, adopted)
    bulletin_id, receipt = parse_body(parse_entry(answer.accepted.entry).body).bulletin_id, answer.accepted
    assert reader.trust.check_accepted(receipt_from_message(receipt), item.cursor, bulletin_id, answer.records)
    answer.records.manifest = bytes(32)
    for position, named in ((item.cursor, bulletin_id), (item.cursor + 1, bulletin_id), (item.cursor, bytes(16))):
        with pytest.raises(RefusedError) as caught:
            reader.trust.check_accepted(receipt_from_message(receipt), position, named, answer.records)
        assert caught.value.code == "RECEIPT_INVALID"


def test_another_manifest_than_the_one_named_proves_nobody(reader: Client, adopted: Published) -> None:
    _, answer = raw(reader, adopted)
    own = reader.trust.federation.manifests[reader.agency].signed
    with pytest.raises(RefusedError) as caught:
        reader.trust.manifest_of_before(own, "HK-SB", answer.records.manifest)
    assert caught.value.code == "PEER_UNTRUSTED"


class Lying:
    """A node's stub whose answers about one bulletin are altered on their way."""

    def __init__(self, stub: object) -> None:
        self._stub, self.lies = stub, True

    def __getattr__(self, name: str) -> object:
        return getattr(self._stub, name)

    def Read(self, request: node_pb2.ReadRequest, **more: object) -> node_pb2.ReadResponse:
        answer: node_pb2.ReadResponse = self._stub.Read(request, **more)  # type: ignore[attr-defined]
        if self.lies:
            answer.statement.signatures[0].signature = bytes(64)
        return answer

    def Export(self, request: node_pb2.ExportRequest, **more: object) -> node_pb2.ExportResponse:
        answer: node_pb2.ExportResponse = self._stub.Export(request, **more)  # type: ignore[attr-defined]
        answer.opened.statement.signatures[0].signature = bytes(64)
        return answer


def test_what_cannot_be_verified_now_is_told_logged_as_failed_and_read_again(
    federation: Federation, adopted: Published
) -> None:
    with federation.client("TH-DSI") as client:
        stub = client._line.stub = Lying(client._line.stub)  # type: ignore[assignment]
        with pytest.raises(UnverifiedError) as caught:
            read_it(client, adopted)
        assert caught.value.code == "SIGNATURE_INVALID"
        item = client.find(adopted.bulletin_id)
        last = client.own_reading(item)
        assert last is not None
        assert last.failed
        stub.lies = False
        assert client.read_again(item).author == f"HK-SB/{OFFICER}"
        assert not client.own_reading(item).failed  # type: ignore[union-attr]
    store = open_reading(paths_of(federation.home("TH-DSI")).store)
    try:
        reads = store.reads()
        kinds = [parse_body(parse_entry(each).body).kind for each in reads.read_entries(0, reads.size())]
    finally:
        store.close()
    assert [kind for kind in kinds if kind in (Kind.OPENED, Kind.READ_FAILED)][-3:] == [
        Kind.OPENED,
        Kind.READ_FAILED,
        Kind.OPENED,
    ]


def test_a_loop_that_goes_on_after_refusals_does_not_take_it_for_handled() -> None:
    assert not issubclass(UnverifiedError, RefusedError)


def test_an_export_that_cannot_be_verified_is_logged_as_failed(federation: Federation, adopted: Published) -> None:
    with federation.client("TH-DSI") as client:
        item = client.find(adopted.bulletin_id)
        client._line.stub = Lying(client._line.stub)  # type: ignore[assignment]
        with pytest.raises(UnverifiedError) as caught:
            client.export(item, case="9/26", because="for the court")
    assert caught.value.code == "SIGNATURE_INVALID"
    store = open_reading(paths_of(federation.home("TH-DSI")).store)
    try:
        [(exported, failed)] = [
            (each.entry_index, each.failed)
            for each in store.reads().readings_of(item.cursor)
            if parse_body(parse_entry(store.reads().read_entries(each.entry_index, 1)[0]).body).kind == Kind.EXPORTED
        ]
        body = parse_body(parse_entry(store.reads().read_entries(failed, 1)[0]).body)
    finally:
        store.close()
    assert (body.kind, body.refers_to) == (Kind.READ_FAILED, exported)


def test_the_command_reads_again_without_case_and_reason(federation: Federation, adopted: Published) -> None:
    first = federation.type(f"read {adopted.bulletin_id} --for 7/26 --because 'to see it'", "TH-DSI")
    again = federation.type(f"read {adopted.bulletin_id} --again", "TH-DSI")
    assert (first.code, again.code) == (0, 0), again.both
    assert "From somebody who has left" in again.out
    bare = federation.type(f"read {adopted.bulletin_id}", "TH-DSI")
    assert bare.code == 2
    assert "--for" in bare.err
