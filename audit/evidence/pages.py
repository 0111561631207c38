"""The pages of an evidence file: a report to read, a page that verifies itself, instructions for other programs.

All are made from the proven members, the same bytes each time, so that a verifier of the same edition makes them again
and compares. Everything in them passes through autoescape and ``safe_text``; nothing is loaded from elsewhere, and the
page's own policy forbids it.
"""

import base64
import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from audit.evidence import file as ef
from audit.evidence.openssl_helps import make_helps, proof_names
from audit.evidence.steps import Examination, examine
from audit.evidence.story import tell
from keys.errors import RefusedError

if TYPE_CHECKING:  # help and verify of other files stay quick
    from jinja2 import Environment

_TEMPLATES = ("report.html", "report.css", "verify.html", "verify.js", "ed25519.js", "howto.txt", "check.sh")
_LOG_TEMPLATES = ("log.html",)  # of audit.report
_EDITION_LABEL = b"exchange/evidence/pages/1\n"  # a change of the code that words them is a new number


def make_pages(core: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make every member that is not proved by itself, SHA256SUMS excepted.

    Raises:
        RefusedError: The core does not hold.
    """
    found = examine(core)
    if found.case is None or found.refuted is not None:
        step = found.refuted
        raise RefusedError("DAMAGED", f"nothing is proved: {step.name}: {step.detail}" if step else "nothing is proved")
    members = make_helps(found.case)
    members[ef.REPORT] = _report(found)
    members[ef.PAGE] = _page(core, found)
    members[ef.HOWTO] = _howto(core, found)
    members[ef.SCRIPT] = template("check.sh").encode()
    members[ef.EDITION] = f"{edition()}\n".encode()
    return members


@cache
def edition() -> str:
    """Name the edition of the pages: the SHA-256 of their templates."""
    text = b"".join(name.encode() + b"\n" + template(name).encode() for name in _TEMPLATES)
    return sha256(_EDITION_LABEL + text).hexdigest()


def content_policy(script: str, style: str) -> str:
    """Return the page's policy: nothing but this one script and this one style, by their digests."""
    parts = ["default-src 'none'", f"style-src '{_source(style)}'", "base-uri 'none'", "form-action 'none'"]
    if script:
        parts.insert(1, f"script-src '{_source(script)}'")
    return "; ".join(parts)


def embedded(core: Mapping[str, bytes]) -> str:
    """Return the core as the JSON that the page reads: name, SHA-256 in hex, bytes in base64."""
    rows = {name: [sha256(data).hexdigest(), base64.b64encode(data).decode()] for name, data in sorted(core.items())}
    return json.dumps(rows, separators=(",\n", ":"))


def _report(found: Examination) -> bytes:
    style = template("report.css")
    return render_page("report.html", story=tell(found), style=style, policy=content_policy("", style))


def _page(core: Mapping[str, bytes], found: Examination) -> bytes:
    style = template("report.css")
    script = template("ed25519.js") + template("verify.js")
    return render_page(
        "verify.html",
        story=tell(found),
        style=style,
        script=script,
        data=embedded(core),
        policy=content_policy(script, style),
    )


def _howto(core: Mapping[str, bytes], found: Examination) -> bytes:
    return render_page("howto.txt", story=tell(found), proofs=proof_names(core), core=core, ef=ef)


def render_page(name: str, **values: Any) -> bytes:
    """Fill a template; everything in an .html one is escaped unless it is ours."""
    text: str = _environment().get_template(name).render(**values)
    return text.encode()


@cache
def _environment() -> "Environment":
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
    return (resources.files("audit.templates") / name).read_text("utf-8")


def _source(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"
