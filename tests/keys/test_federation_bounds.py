"""Manifests and key sheets as bytes: each field out of its bounds is refused, each record comes back as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from keys import ceremony
from keys.errors import RefusedError
from keys.identity import Usage
from keys.key_sheet import KeySheet, PinKind, TlsPin, parse_key_sheet
from keys.manifest import LogEpoch, Manifest, parse_manifest
from keys.signer import Ed25519Signer, make_record
from keys.v1 import manifest_pb2
from tests.keys import world
from tests.keys.world import NOW, refused


def _manifests(manifest: Manifest) -> dict[str, tuple[str, Manifest]]:
    operations, officer = manifest.operations_keys[0], manifest.officers[0]
    first, second = (
        LogEpoch(epoch=1),
        LogEpoch(epoch=2, previous_origin="x/1", previous_size=9, previous_root=bytes(32)),
    )

    def one(code: str = "MALFORMED", **fields: object) -> tuple[str, Manifest]:
        return code, replace(manifest, **fields)  # type: ignore[arg-type] # wrong or merged on purpose

    def person(code: str = "MALFORMED", **fields: object) -> tuple[str, Manifest]:
        return one(code, officers=(replace(officer, **fields),))  # type: ignore[arg-type] # wrong or merged on purpose

    return {
        "federation-id-of-31-bytes": one(federation_id=bytes([1]) * 31),
        "agency-in-small-letters": one(agency="hk-sb"),
        "version-zero": one(version=0),
        "never-issued": one(issued_ms=0),
        "expired-when-issued": one(expires_ms=manifest.issued_ms),
        "no-operations-key": one(operations_keys=()),
        "operations-key-twice": one(operations_keys=(operations, operations)),
        "operations-keys-descend": one(operations_keys=(operations, replace(operations, from_ms=1))),
        "operations-key-holds-no-time": one(operations_keys=(replace(operations, until_ms=operations.from_ms),)),
        "operations-key-of-a-person": one("WRONG_TYPE", operations_keys=(replace(operations, key=officer.key),)),
        "operations-key-of-another-agency": one("WRONG_MAKER", operations_keys=(replace(operations, key=replace(operations.key, owner="TH-DSI")),)),
        "too-many-operations-keys": one(operations_keys=tuple(replace(operations, from_ms=number) for number in range(1, 40))),
        "officer-twice": one(officers=(officer, officer)),
        "officers-descend": one(officers=manifest.officers[::-1]),
        "officer-without-an-id": person(id=""),
        "officer-of-another-name": person("WRONG_MAKER", id="other"),
        "officer-with-the-operations-key": person("WRONG_TYPE", key=operations.key),
        "officer-without-a-role": person(roles=()),
        "officer-of-an-unknown-role": person(roles=("author", "boss")),
        "roles-descend": person(roles=("reader", "author")),
        "role-twice": person(roles=("author", "author")),
        "officer-without-a-ceiling": person(ceiling=0),
        "officer-above-all-ceilings": person(ceiling=16),
        "officer-holds-no-time": person(until_ms=officer.from_ms),
        "endpoint-without-a-port": one(endpoints=("node",)),
        "endpoint-with-a-path": one(endpoints=("node:1/x",)),
        "endpoint-twice": one(endpoints=("node:1", "node:1")),
        "too-many-endpoints": one(endpoints=tuple(f"node:{number}" for number in range(1, 10))),
        "no-log-epoch": one(log_epochs=()),
        "log-epoch-twice": one(log_epochs=(first, first)),
        "log-epochs-descend": one(log_epochs=(second, first)),
        "log-epoch-zero": one(log_epochs=(LogEpoch(epoch=0),)),
        "first-epoch-with-a-predecessor": one(log_epochs=(replace(second, epoch=1),)),
        "second-epoch-without-one": one(log_epochs=(first, LogEpoch(epoch=2))),
        "second-epoch-without-a-root": one(log_epochs=(first, replace(second, previous_root=b""))),
        "second-epoch-without-a-size": one(log_epochs=(first, replace(second, previous_size=0))),
    }  # fmt: skip


def _sheets(sheet: KeySheet) -> dict[str, tuple[str, KeySheet]]:
    key, pin = sheet.encryption_keys[0], sheet.pins[0]

    def one(code: str = "MALFORMED", **fields: object) -> tuple[str, KeySheet]:
        return code, replace(sheet, **fields)  # type: ignore[arg-type] # wrong or merged on purpose

    def pinned(code: str = "MALFORMED", **fields: object) -> tuple[str, KeySheet]:
        return one(code, pins=(replace(pin, **fields),))  # type: ignore[arg-type] # wrong or merged on purpose

    signing = make_record(Ed25519Signer.from_seed(Usage.AGENCY, "HK-SB", bytes(32)))
    return {
        "version-zero": one(version=0),
        "expired-when-issued": one(expires_ms=sheet.issued_ms),
        "keys-descend": one(encryption_keys=sheet.encryption_keys[::-1]),
        "key-twice": one(encryption_keys=(key, key)),
        "key-holds-no-time": one(encryption_keys=(replace(key, until_ms=key.from_ms),)),
        "signing-key-as-encryption-key": one("WRONG_TYPE", encryption_keys=(replace(key, key=signing),)),
        "key-of-another-agency": one("WRONG_MAKER", encryption_keys=(replace(key, key=replace(key.key, owner="TH-DSI")),)),
        "key-too-short": one(encryption_keys=(replace(key, key=replace(key.key, public_key=b"short")),)),
        "pins-descend": one(pins=sheet.pins[::-1]),
        "pin-twice": one(pins=(pin, pin)),
        "one-pin-for-two": one(pins=(pin, TlsPin(owner="HK-SB/duty", kind=PinKind.OFFICER, spki_sha256=pin.spki_sha256))),
        "pin-of-another-agency": pinned("WRONG_MAKER", owner="TH-DSI"),
        "node-s-pin-of-a-person": pinned(owner="HK-SB/duty"),
        "person-s-pin-of-the-agency": pinned(kind=PinKind.OFFICER),
        "pin-of-31-bytes": pinned(spki_sha256=bytes([1]) * 31),
        "pin-without-an-owner": pinned(owner=""),
    }  # fmt: skip


_WORLD = [world.agency(code) for code in world.CODES]
_ROSTER = world.roster_of(_WORLD)
_MANIFEST = parse_manifest(ceremony.agency_manifest(_WORLD[0], _ROSTER, ["127.0.0.1:7001"], NOW).payload)
_SHEET = parse_key_sheet(ceremony.agency_key_sheet(_WORLD[0], _ROSTER, NOW).payload)


@pytest.mark.parametrize("name", sorted(_manifests(_MANIFEST)))
def test_a_manifest_out_of_bounds_is_refused(name: str) -> None:
    code, altered = _manifests(_MANIFEST)[name]
    refused(code, lambda: parse_manifest(altered.encode()))


@pytest.mark.parametrize("name", sorted(_sheets(_SHEET)))
def test_a_key_sheet_out_of_bounds_is_refused(name: str) -> None:
    code, altered = _sheets(_SHEET)[name]
    refused(code, lambda: parse_key_sheet(altered.encode()))


def test_a_pin_of_an_unknown_kind_is_refused() -> None:
    message = manifest_pb2.KeySheet.FromString(_SHEET.encode())
    message.pins[0].kind = 9  # type: ignore[assignment] # a number that the schema lacks, on purpose
    refused("MALFORMED", lambda: parse_key_sheet(message.SerializeToString(deterministic=True)))


def test_records_survive_encoding() -> None:
    assert parse_manifest(_MANIFEST.encode()) == _MANIFEST
    assert parse_key_sheet(_SHEET.encode()) == _SHEET
    epochs = (LogEpoch(epoch=1), LogEpoch(epoch=2, previous_origin="x/1", previous_size=9, previous_root=bytes(32)))
    later = replace(_MANIFEST, log_epochs=epochs)
    assert parse_manifest(later.encode()).log_epochs == epochs


@pytest.mark.parametrize("parse", [parse_manifest, parse_key_sheet])
@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\x0a\x20" + bytes(32), b"\xff" * 40, bytes((1 << 20) + 1)])
def test_garbage_is_refused(parse: Callable[[bytes], object], garbage: bytes) -> None:
    with pytest.raises(RefusedError):
        parse(garbage)


def test_lists_have_limits() -> None:
    officer, key, pin = _MANIFEST.officers[0], _SHEET.encryption_keys[0], _SHEET.pins[0]
    names = [f"a{number:04}" for number in range(1001)]
    officers = tuple(
        replace(officer, id=name, key=replace(officer.key, owner=f"HK-SB/{name}", proof=b"")) for name in names
    )
    keys = tuple(replace(key, from_ms=number) for number in range(1, 402))
    pins = tuple(replace(pin, spki_sha256=number.to_bytes(32, "big")) for number in range(2101))
    said = {
        "there are 1001 officers, 0 to 1000 may be": lambda: parse_manifest(
            replace(_MANIFEST, officers=officers).encode()
        ),
        "there are 401 encryption keys, 0 to 400 may be": lambda: parse_key_sheet(
            replace(_SHEET, encryption_keys=keys).encode()
        ),
        "there are 2101 pins, 0 to 2100 may be": lambda: parse_key_sheet(replace(_SHEET, pins=pins).encode()),
    }
    for message, parse in said.items():
        assert str(refused("MALFORMED", parse)) == message
