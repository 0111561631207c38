"""Pages from templates: autoescape in every .html, and a policy that lets a page load nothing from elsewhere."""

from __future__ import annotations

import base64
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # help and verify of other files stay quick
    from jinja2 import Environment

_TEMPLATES = ("report.html", "report.css", "verify.html", "verify.js", "ed25519.js", "howto.txt", "check.sh")
_LOG_TEMPLATES = ("log.html",)  # of audit.report.report


def content_policy(script: str, style: str) -> str:
    """Return the page's policy: nothing but this one script and this one style, by their digests."""
    parts = ["default-src 'none'", f"style-src '{_source(style)}'", "base-uri 'none'", "form-action 'none'"]
    if script:
        parts.insert(1, f"script-src '{_source(script)}'")
    return "; ".join(parts)


def render_page(name: str, **values: Any) -> bytes:
    """Fill a template; everything in an .html one is escaped unless it is ours."""
    text: str = _environment().get_template(name).render(**values)
    return text.encode()


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined, select_autoescape
    from markupsafe import Markup

    made = Environment(
        loader=DictLoader({name: template(name) for name in (*_TEMPLATES, *_LOG_TEMPLATES)}),
        autoescape=select_autoescape(enabled_extensions=("html",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Our own style and script, and JSON of names and base64: nothing in them can end its element.
    made.filters["verbatim"] = Markup
    return made


def template(name: str) -> str:
    """Read a template of ours."""
    return (resources.files("audit") / "templates" / name).read_text("utf-8")


def _source(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"
