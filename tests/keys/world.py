"""Real keys from a seeded stream, and a small federation of three agencies, for the tests of ``keys``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exchange.demo.federation import found_roster
from keys import ceremony
from keys.agency import AgencyKeys, KeyPlan, Person
from keys.dsse import SignedPayload
from keys.errors import RefusedError
from keys.federation import Federation
from keys.identity import AgencyId

NAME = "exercise.example"
NOW = 1_795_000_000_000  # 2026-11-18T11:06:40Z
CODES = ("HK-SB", "KH-NCCT", "TH-DSI")
PUBLIC = Path(__file__).resolve().parents[2] / "../shared/vectors"
OWN = Path(__file__).resolve().parents[1] / "vectors/keys"


def stream(seed: str) -> Callable[[int], bytes]:
    """Return a source of bytes that is the same for the same seed."""
    state = [0]

    def random_bytes(count: int) -> bytes:
        state[0] += 1
        return hashlib.shake_256(f"{seed}/{state[0]}".encode()).digest(count)

    return random_bytes


def agency(code: str, seed: str = "world") -> AgencyKeys:
    """Make one agency with an officer, a releaser and a system."""
    people = [
        Person(id="duty", roles=("author", "reader")),
        Person(id="chief", roles=("author", "reader", "releaser")),
        Person(id="gate", roles=("author",), system=True),
    ]
    return ceremony.make_agency(
        AgencyId(code), NAME, people, now_ms=NOW, random_bytes=stream(f"{seed}/{code}"), plan=KeyPlan(windows=3)
    )


def roster_of(agencies: list[AgencyKeys]) -> SignedPayload:
    """Make roster 1, signed by every root."""
    return found_roster(agencies, now_ms=NOW, catalogue=b"\xca" * 32)


def federation_of(agencies: list[AgencyKeys], roster: SignedPayload) -> Federation:
    """Adopt everything."""
    federation = Federation.found(roster)
    for each in agencies:
        federation = federation.with_manifest(ceremony.agency_manifest(each, roster, ["127.0.0.1:7001"], NOW), NOW)
        federation = federation.with_key_sheet(ceremony.agency_key_sheet(each, roster, NOW), NOW)
    return federation


def refused(code: str, act: Callable[[], object]) -> RefusedError:
    """Run an act that must be refused with this code; give the refusal."""
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.code == code, f"{caught.value.code}: {caught.value}"
    return caught.value


def published(path: str) -> Any:
    """Read somebody else's vectors in place; skip where that folder is missing."""
    if not PUBLIC.is_dir():
        pytest.skip("../shared/vectors is missing")
    return json.loads((PUBLIC / path).read_text())
