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

from audit.evidence import file
from audit.evidence.openssl_helps import make_helps, proof_names
from audit.evidence.steps import Examination, examine
from audit.evidence.story import tell
from audit.report.pages import _TEMPLATES, content_policy, render_page, template
from keys.errors import RefusedError

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
    members[file.REPORT] = _report(found)
    members[file.PAGE] = _page(core, found)
    members[file.HOWTO] = _howto(core, found)
    members[file.SCRIPT] = template("check.sh").encode()
    members[file.EDITION] = f"{edition()}\n".encode()
    return members


@cache
def edition() -> str:
    """Name the edition of the pages: the SHA-256 of their templates."""
    text = b"".join(name.encode() + b"\n" + template(name).encode() for name in _TEMPLATES)
    return sha256(_EDITION_LABEL + text).hexdigest()


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
    return render_page("howto.txt", story=tell(found), proofs=proof_names(core), core=core, ef=file)
