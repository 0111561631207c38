"""Nodes that were started with the roster and addresses alone fetch each other's records and exchange."""

from __future__ import annotations

from pathlib import Path

from tests.kept.make import AGENCIES, Maker
from tests.kept.programs import present
from tests.kept.test_mixed_versions import check_read, free_ports, publish


def test_three_that_brought_no_records_of_each_other_exchange(tmp_path: Path) -> None:
    maker = Maker(tmp_path, present(), free_ports())
    maker.found(introduced=False)
    try:
        maker.start(*AGENCIES)
        maker.until(lambda: all(_follows(maker, agency) == len(AGENCIES) - 1 for agency in AGENCIES), "nobody follows")
        sent = publish(maker, "Never introduced")
        maker.arrived()
        check_read(maker, sent, "Never introduced")
    finally:
        maker.stop(*maker.nodes)


def _follows(maker: Maker, agency: str) -> int:
    return sum(each["follows_since"] is not None for each in maker.status(agency)["peers"])
