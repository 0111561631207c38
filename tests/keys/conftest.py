"""A federation of three agencies, made once; every value in it is immutable."""

from __future__ import annotations

import pytest

from keys.agency import AgencyKeys
from keys.dsse import SignedPayload
from keys.federation import Federation
from tests.keys import world


@pytest.fixture(scope="session")
def agencies() -> list[AgencyKeys]:
    return [world.agency(code) for code in world.CODES]


@pytest.fixture(scope="session")
def roster(agencies: list[AgencyKeys]) -> SignedPayload:
    return world.roster_of(agencies)


@pytest.fixture(scope="session")
def federation(agencies: list[AgencyKeys], roster: SignedPayload) -> Federation:
    return world.federation_of(agencies, roster)
