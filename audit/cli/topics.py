"""``exchange-audit help TOPIC`` and ``exchange-audit completion SHELL``."""

from __future__ import annotations

import click

from keys.cli.topics import make_completion, make_help


def _group() -> click.Group:
    from audit.cli.main import audit

    return audit


topics = make_help("exchange-audit", _group, {})
completion = make_completion("exchange-audit", _group)
