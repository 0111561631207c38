"""``exchange help TOPIC`` and ``exchange completion SHELL``."""

from __future__ import annotations

import click

from keys.cli.topics import make_completion, make_help

_ENVIRONMENT = {
    "EXCHANGE_HOME": "the node's home folder, as --home",
    "EXCHANGE_AS": "who you are, as --as",
    "EXCHANGE_WITNESS_HOME": "the folder of a witness without a node, as exchange witness --home",
    "XDG_RUNTIME_DIR": "where the agent of exchange unlock listens",
    "CREDENTIALS_DIRECTORY": "of systemd: exchange-passphrase in it is the passphrase",
}


def _group() -> click.Group:
    from exchange.cli.main import cli

    return cli


topics = make_help("exchange", _group, {"environment": ("variables that are read", _ENVIRONMENT)})
completion = make_completion("exchange", _group)
