"""The pages of an evidence file: in a real browser without network, in a plain shell, and under hostile words."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from audit.evidence import file
from audit.evidence.pages import embedded, make_pages
from audit.evidence.verify import verify_evidence
from audit.evidence.zip import read_archive
from audit.report.pages import template
from exchange.evidence.gather_evidence import evidence_file, word_core
from tests.exchange.evidence.evidence_maker import altered, make, roster
from tests.support.browser import open_page
from tests.support.older import older_read

VECTORS = Path(__file__).resolve().parents[3] / "../shared/vectors"
# What the browser's page leaves to `exchange audit verify`, as it says itself.
NOT_IN_BROWSER = frozenset({file.TEXT, file.LOG_HEAD, file.LANE_HEAD, file.LANE_DELIVERIES})


def unpack(data: bytes, folder: Path) -> Path:
    for name, content in read_archive(data).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def verdict(dom: str) -> str:
    found = re.search(r'<p id="verdict"[^>]*>([^<]*)</p>', dom)
    assert found is not None, dom[:2000]
    return found[1]


# ------------------------------------------------------------------ the page that verifies itself


@pytest.mark.parametrize("fragment", ["", "#own-arithmetic"])
def test_the_page_verifies_itself_in_a_browser_without_network(tmp_path: Path, fragment: str) -> None:
    folder = unpack(evidence_file(make().core), tmp_path / "file")
    opened = open_page(folder / file.PAGE, tmp_path, fragment)
    assert verdict(opened.dom) == "Every check made here is good."
    assert opened.dom.count('<tr class="ok">') == 9
    assert (opened.console, opened.requests) == ((), ())


def test_a_request_in_the_form_of_an_older_program_is_good_for_the_program_and_for_the_page(tmp_path: Path) -> None:
    core = make(request_form=older_read).core
    data = evidence_file(core)
    assert verify_evidence(data, given=roster(), render=word_core).exit_code == 0
    folder = unpack(data, tmp_path / "file")
    assert verdict(open_page(folder / file.PAGE, tmp_path).dom) == "Every check made here is good."
    other = make(request_form=lambda read: older_read(replace(read, bulletin_id=bytes(16)))).core
    page = (folder / file.PAGE).read_text()
    (folder / file.PAGE).write_text(page.replace(embedded(core), embedded(other)))
    assert verdict(open_page(folder / file.PAGE, tmp_path).dom) == "Refuted: the request is for another bulletin."


def test_one_altered_byte_in_the_page_turns_it_red(tmp_path: Path) -> None:
    folder = unpack(evidence_file(make().core), tmp_path / "file")
    page = (folder / file.PAGE).read_text()
    position = page.index('"dispatch.signed":["') + 100
    old = page[position]
    (folder / file.PAGE).write_text(page[:position] + ("A" if old != "A" else "B") + page[position + 1 :])
    opened = open_page(folder / file.PAGE, tmp_path)
    assert verdict(opened.dom) == "Refuted: dispatch.signed was altered."
    assert '<tr class="failed">' in opened.dom


HARNESS = """
async function bend() {{
  const data = JSON.parse(document.getElementById("data").textContent), told = [];
  for (const [name, places] of {places}) {{
    for (const [at, bit] of places) {{
      const copy = structuredClone(data), raw = unbase64(copy[name][1]);
      raw[at] ^= 1 << bit;
      copy[name] = [hex(await sha(raw)), btoa(String.fromCharCode(...raw.slice(0, 1000)) + Array.from(raw.slice(1000), (c) => String.fromCharCode(c)).join(""))];
      let found = "nothing";
      try {{ await verifyAll(copy, () => undefined); }} catch (error) {{ found = error.message; }}
      told.push(`${{name}} ${{at}} ${{bit}}: ${{found}}`);
    }}
  }}
  document.getElementById("verdict").textContent = told.join("\\n");
}}
bend();
"""


def test_any_altered_member_turns_the_page_red_although_its_digest_was_made_right(tmp_path: Path) -> None:
    """In each member four bits, with the digest beside it computed anew, as a forger of the page would."""
    core = make().core
    places = [
        (name, [(at, at % 8) for at in sorted({3, 40 % len(data), len(data) // 2, len(data) - 1})])
        for name, data in core.items()
    ]
    script = template("ed25519.js") + template("verify.js").rpartition("run();")[0]
    page = tmp_path / "harness.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><p id="verdict"></p><table id="checks"></table>'
        f'<script type="application/json" id="data">{embedded(core)}</script>'
        f"<script>{script}{HARNESS.format(places=json.dumps(places))}</script>"
    )
    lines = verdict(open_page(page, tmp_path).dom).splitlines()
    assert len(lines) == sum(len(each) for _, each in places)
    passed = {line.split(" ")[0] for line in lines if line.endswith(": nothing")}
    assert passed <= NOT_IN_BROWSER | {"rosters/1.signed", *(n for n in core if n.startswith("manifests/"))}, lines
    # A root's signature has two halves, and no browser verifies the ML-DSA one; what it signs is covered all the same.
    assert not [
        line
        for line in lines
        if line.endswith(": nothing") and line.split(" ")[1] in ("3", "40") and line.split(" ")[0] not in NOT_IN_BROWSER
    ]


def _vectors() -> list[tuple[str, str, str, str, bool | None]]:
    """(name, key, signature, message, expected); None where only libsodium's word counts."""
    if not VECTORS.is_dir():
        pytest.skip("../shared/vectors is missing")
    rows: list[tuple[str, str, str, str, bool | None]] = []
    for number, line in enumerate((VECTORS / "rfc8032/ed25519-sign.input.first256").read_text().splitlines()[:40]):
        _, key, message, signature = line.split(":")[:4]
        rows.append((f"rfc8032 {number}", key, signature[:128], message, True))
    for group in json.loads((VECTORS / "wycheproof/ed25519_test.json").read_text())["testGroups"]:
        for case in group["tests"]:
            name = f"wycheproof {case['tcId']}"
            rows.append((name, group["publicKey"]["pk"], case["sig"], case["msg"], case["result"] == "valid"))
    for number, case in enumerate(json.loads((VECTORS / "speccheck/cases.json").read_text())):
        rows.append((f"speccheck {number}", case["pub_key"], case["signature"], case["message"], None))
    return rows


def test_our_ed25519_in_javascript_agrees_with_the_public_vectors_and_with_libsodium(tmp_path: Path) -> None:
    from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
    from nacl.exceptions import BadSignatureError

    rows = _vectors()
    expected = []
    for _, key, signature, message, stated in rows:
        good = stated
        if good is None:
            try:
                crypto_sign_open(bytes.fromhex(signature) + bytes.fromhex(message), bytes.fromhex(key))
                good = crypto_core_ed25519_is_valid_point(bytes.fromhex(key))
            except (BadSignatureError, ValueError):
                good = False
        expected.append(good)
    assert True in expected
    assert False in expected
    page = tmp_path / "vectors.html"
    data = json.dumps([row[1:4] for row in rows])
    page.write_text(
        f'<!doctype html><p id="verdict"></p><script>{template("ed25519.js")}'
        "const raw = (s) => Uint8Array.from(s.match(/../g) || [], (pair) => parseInt(pair, 16));"
        f"const rows = {data};"
        "(async () => { const told = [];"
        "for (const own of [true, false]) for (const [key, signature, message] of rows)"
        "  told.push(await edVerify(raw(key), raw(signature), raw(message), own) ? 1 : 0);"
        'document.getElementById("verdict").textContent = told.join(""); })();</script>'
    )
    told = verdict(open_page(page, tmp_path).dom)
    assert len(told) == 2 * len(rows)
    for half in (told[: len(rows)], told[len(rows) :]):
        differ = [rows[i][0] for i, good in enumerate(expected) if (half[i] == "1") != good]
        assert differ == []


# ------------------------------------------------------------------ the report


def test_the_report_opens_in_a_browser_and_asks_for_nothing(tmp_path: Path) -> None:
    folder = unpack(evidence_file(make().core), tmp_path / "file")
    opened = open_page(folder / file.REPORT, tmp_path)
    assert "Evidence of one bulletin" in opened.dom
    assert "Beware of paid tickets" in opened.dom
    assert (opened.console, opened.requests) == ((), ())


class Tags(HTMLParser):
    """Every element and attribute that a parser sees."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {(tag, "")} | {(tag, name) for name, _ in attrs}


def tags(page: bytes | str) -> set[tuple[str, str]]:
    parser = Tags()
    parser.feed(page.decode() if isinstance(page, bytes) else page)
    return parser.found


def payloads() -> list[str]:
    """A hundred ways to become code, a link, a formula or another line."""
    run = "document.title='pwned'"
    elements = (
        *(
            "<script>{}</script>",
            "<img src=x onerror={}>",
            "<svg onload={}>",
            "<body onload={}>",
            "<iframe src=javascript:{}>",
        ),
        *("<a href=javascript:{}>x</a>", "<math><mtext><img src=x onerror={}>", "<details open ontoggle={}>"),
        *("<video><source onerror={}>", "<style>@import 'http://x'</style>", "<link rel=stylesheet href=http://x>"),
        *(
            "<base href=http://x>",
            "<meta http-equiv=refresh content=0;url=http://x>",
            "<form action=http://x><input name=a>",
        ),
        *(
            "<object data=http://x>",
            "<embed src=http://x>",
            "<template><script>{}</script></template>",
            "<noscript><p title='</noscript><img src=x onerror={}>'>",
        ),
    )
    escapes = ("{}", "</td>{}", "</pre>{}", "</title>{}", '">{}', "'>{}", "-->{}", "]]>{}")
    found = [escape.format(each.format(run)) for each in elements for escape in escapes[:5]]
    found += ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://x")', "{{7*7}}", "{% raw %}", "${7*7}"]
    found += [
        "\u202egnp.exe",
        "\u2066x\u2069",
        "\x00",
        "\x1b[2J",
        "&lt;script&gt;",
        "&#60;script&#62;",
        "\ufeff<b>",
        "\u2028x",
    ]
    return found[:100] if len(found) >= 100 else [*found, *(f"<x{i} onclick={run}>" for i in range(100 - len(found)))]


def test_a_hundred_hostile_texts_stay_text_row_47(tmp_path: Path) -> None:
    hostile = payloads()
    assert len(hostile) == len(set(hostile)) == 100
    plain = tags(make_pages(make().core)[file.REPORT])
    shut = make(content=False).core
    plain_page = tags(make_pages(shut)[file.PAGE])
    for each in hostile:
        page = make_pages({**shut, file.PURPOSE: each.encode()})
        assert tags(page[file.REPORT]) <= plain, each
        assert ("script", "") not in tags(page[file.REPORT])
        assert tags(page[file.PAGE]) == plain_page
    together = evidence_file(make(text="\n".join(hostile).replace("\x00", "")).core)
    folder = unpack(together, tmp_path / "file")
    opened = open_page(folder / file.REPORT, tmp_path)
    assert tags(opened.dom) <= plain | {("tbody", "")}
    assert "<title>Evidence of bulletin" in opened.dom
    assert (opened.console, opened.requests) == ((), ())
    assert verify_evidence(together, given=roster(), render=word_core).exit_code == 0
    # Control: one of them, not escaped, does become code and is seen by both readers.
    bare = (folder / file.REPORT).read_text().replace("<h1>", "<h1><img src=x onerror=\"document.title='pwned'\">")
    bare = re.sub(r"<meta http-equiv[^>]*>", "", bare)
    (folder / "bare.html").write_text(bare)
    assert not tags(bare) <= plain
    assert "<title>pwned" in open_page(folder / "bare.html", tmp_path).dom


# ------------------------------------------------------------------ with openssl and a shell


def commands(howto: str) -> str:
    """The lines that the HOWTO wants to be typed, as they stand."""
    return "".join(f"{line[4:]}\n" for line in howto.splitlines() if line.startswith("    "))


def follow(folder: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    shell = ["sh", "-e", "-c", commands((folder / file.HOWTO).read_text())]
    return subprocess.run(shell, cwd=folder, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.parametrize("sent", [True, False])
def test_the_howto_holds_with_openssl_and_a_shell_alone(tmp_path: Path, sent: bool) -> None:
    folder = unpack(evidence_file(make(sent=sent).core), tmp_path / "file")
    assert "python" not in (folder / file.HOWTO).read_text() + (folder / file.SCRIPT).read_text()
    done = follow(folder)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    signatures = (folder / "check/list").read_text().splitlines()
    assert sum("signed by" in line for line in done.stdout.splitlines()) >= len(signatures)
    assert done.stdout.count("is in ") == sum(n.suffix == ".tlog-proof" for n in folder.rglob("*"))
    assert "check/statement.message is the statement that was dispatched" in done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("check/dispatch.sig", "FAILED: dispatch"),
        ("check/dispatch.message", "FAILED: dispatch"),
        ("proofs/published.tlog-proof", "FAILED: "),
        ("keys/log-HK-SB.pem", "FAILED: "),
        ("check/dispatch.payload", "is about something else"),
    ],
)
def test_the_howto_finds_what_was_altered_although_the_sums_are_right(tmp_path: Path, name: str, said: str) -> None:
    folder = unpack(evidence_file(make().core), tmp_path / "file")
    data = (folder / name).read_bytes()
    if name.endswith(".tlog-proof"):
        lines = data.decode().splitlines(keepends=True)
        lines[3] = base64.b64encode(bytes(32)).decode() + "\n"
        bent = "".join(lines).encode()
    elif name.endswith(".pem"):
        bent = (folder / "keys/log-TH-DSI.pem").read_bytes()
    else:
        bent = altered(data, len(data) - 1)
    (folder / name).write_bytes(bent)
    members = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / file.SUMS).write_bytes(file.sums(members))
    done = follow(folder)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
