"""What a row says about itself."""

from __future__ import annotations

from bench.recipients import fit
from bench.table import LESS, Row, markdown, median_ratio, not_measured, percentile


def test_a_share_is_held_against_must_and_aim() -> None:
    assert Row(what="", share=0.95, must=0.6, aim=0.9).verdict == "aim"
    assert Row(what="", share=0.7, must=0.6, aim=0.9).verdict == "must"
    assert Row(what="", share=0.5, must=0.6, aim=0.9).verdict == "SHORT"


def test_where_less_is_better_the_comparison_turns() -> None:
    assert Row(what="", share=100, must=120, aim=80, better=LESS).verdict == "must"
    assert Row(what="", share=130, must=120, aim=80, better=LESS).verdict == "SHORT"


def test_what_was_not_measured_says_so_and_has_no_figure() -> None:
    row = not_measured("x / GnuPG", "gpg is not installed", must=30, aim=50)
    assert (row.share, row.product, row.verdict) == (None, None, "")
    assert "not measured: gpg is not installed" in markdown([row])


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(list(map(float, range(1, 101))), 0.99) == 99.0


def test_ratios_are_taken_pair_by_pair() -> None:
    assert median_ratio([(1, 2), (30, 10), (4, 4)]) == 1


def test_a_line_through_points_has_its_slope() -> None:
    assert round(fit({1: 10.0, 5: 30.0, 9: 50.0}), 9) == 5
