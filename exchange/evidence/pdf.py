"""The report of an evidence file on paper: made where weasyprint is installed (the extra ``pdf``), never a proof."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from audit.evidence import file
from audit.evidence.zip import read_archive
from keys.files import PUBLIC, write_file


def print_report(data: bytes, path: Path) -> bool:
    """Write the report of an evidence file as PDF/A; False where the extra is not installed. Nothing is fetched."""
    if find_spec("weasyprint") is None:
        return False
    from weasyprint import HTML

    page = read_archive(data)[file.REPORT].decode()
    # It leaves its own colour profile open, which is no business of whoever runs us with warnings as errors.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        printed = HTML(string=page, url_fetcher=_nothing).write_pdf(pdf_variant="pdf/a-3b")
    write_file(path, printed, mode=PUBLIC)
    return True


def _nothing(url: str, *_: object, **__: object) -> NoReturn:
    raise ValueError(f"the report loads nothing, but asked for {url[:80]!a}")
