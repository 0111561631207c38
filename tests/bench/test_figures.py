"""The file of CPU figures, and when a row counts as worse."""

from __future__ import annotations

from pathlib import Path

from bench import figures
from bench.table import Row

ROW = Row(what="ingest", cpu_us=3000.0, bound_cpu_us=1000.0)


def test_a_figure_is_relative_to_the_bound_of_its_run() -> None:
    assert figures.of([ROW, Row(what="memory")]) == {
        "ingest": {"cpu_us": 3000.0, "bound_cpu_us": 1000.0, "relative": 3.0}
    }


def test_a_row_that_was_not_measured_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    figures.keep([ROW, Row(what="reader", cpu_us=20.0, bound_cpu_us=10.0)], path)
    figures.keep([Row(what="ingest", cpu_us=2000.0, bound_cpu_us=1000.0)], path)
    assert {what: each["relative"] for what, each in figures.load(path).items()} == {"ingest": 2.0, "reader": 2.0}


def test_fifteen_in_a_hundred_more_than_committed_is_worse() -> None:
    committed = figures.of([ROW])
    assert figures.worse(figures.of([Row(what="ingest", cpu_us=3400.0, bound_cpu_us=1000.0)]), committed) == []
    [said] = figures.worse(figures.of([Row(what="ingest", cpu_us=3500.0, bound_cpu_us=1000.0)]), committed)
    assert said == "ingest: 3.500 times its bound, committed 3.000"


def test_a_slower_machine_is_not_a_worse_row_and_a_new_row_is_none() -> None:
    found = figures.of(
        [Row(what="ingest", cpu_us=9000.0, bound_cpu_us=3000.0), Row(what="x", cpu_us=2, bound_cpu_us=1)]
    )
    assert figures.worse(found, figures.of([ROW])) == []
