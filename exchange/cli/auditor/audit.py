"""``exchange audit``: the auditor's commands, and beside them those that read a node's own files."""

from __future__ import annotations

import click

from audit.cli.lazy import LazyGroup
from audit.cli.main import COMMANDS
from audit.cli.main import audit as offline
from audit.cli.shared import RENDER

# What needs the node's database or keys; everything else stands in audit.cli and works as exchange-audit, too.
OWN_COMMANDS: dict[str, tuple[str, str]] = {
    "bundle": ("exchange.cli.auditor.audit_bundle:bundle", "Write a log and what belongs to it as one file."),
    "lanes": ("exchange.cli.auditor.audit_lanes:lanes", "Prove that nothing of what peers sent is missing."),
    "compare": ("exchange.cli.auditor.audit_compare:compare", "Pair what agencies sent with what others received."),
    "evidence": (
        "exchange.cli.auditor.audit_evidence:evidence",
        "Write what proves one bulletin as one file for a court.",
    ),
    "disclose": (
        "exchange.cli.auditor.audit_disclose:disclose",
        "Show some fields of a bulletin, the rest stays shut.",
    ),
    "stamp": ("exchange.cli.auditor.audit_stamp:stamp", "Have the newest cosigned checkpoint stamped (RFC 3161)."),
}


class _ExchangeAuditGroup(LazyGroup):
    lazy = COMMANDS | OWN_COMMANDS


# How the exchange words a bulletin, for `verify` of evidence that shows one; exchange-audit alone knows no bulletins.
_OBJECT = {"obj": {RENDER: "exchange.evidence.gather_evidence:word_core"}}

audit: click.Group = _ExchangeAuditGroup(
    name="audit", help=offline.help, context_settings={**offline.context_settings, **_OBJECT}
)
