"""What a client believes of its own node, after the end of its agency's records."""

from __future__ import annotations

import pytest

from exchange.client.verifier import Verifier
from keys.dsse import SignedPayload
from keys.durations import DAY_MS
from keys.errors import RefusedError
from keys.identity import AgencyId, record_digest
from tests.support.world import NOW_MS, records


def begun(at_ms: int, manifest: SignedPayload | None = None) -> Verifier:
    roster = records().roster
    pin = record_digest("roster", roster.payload)
    return Verifier.found(
        roster, manifest or records().manifests["TH-DSI"], pin=pin, agency=AgencyId("TH-DSI"), now_ms=at_ms
    )


@pytest.mark.parametrize("days", [0, 366, 400])
def test_what_came_before_the_end_of_manifest_and_roster_is_read_after_it(days: int) -> None:
    found = begun(NOW_MS + days * DAY_MS)
    assert found.federation.newest_manifest("TH-DSI").version == 1


def test_a_manifest_that_the_root_has_not_signed_is_none_however_old() -> None:
    good = records().manifests["TH-DSI"]
    forged = SignedPayload(payload=good.payload, signatures=records().manifests["HK-SB"].signatures)
    for days in (0, 400):
        with pytest.raises(RefusedError) as raised:
            begun(NOW_MS + days * DAY_MS, forged)
        assert raised.value.code == "SIGNER_UNKNOWN"
