"""A log of four full bundles and a partial one, and what a report says of it."""

from __future__ import annotations

from audit.verify.verdict import Report

SIZE = 1100  # four full bundles and a partial one


def step(report: Report, number: int) -> tuple[str, str]:
    found = next(each for each in report.steps if each.step == number)
    return found.result, found.detail
