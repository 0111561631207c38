"""Imports point one way, every module has its place, and what decides takes the hour and the dice as arguments.

``RINGS`` is the list, innermost first: a module imports from its own ring and from those before it. A module that
stands nowhere fails the test by name, so that somebody decides where it belongs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("keys", "audit", "exchange")

RINGS: dict[str, tuple[str, ...]] = {
    "keys": ("keys", "keys.*"),
    "audit": ("audit", "audit.*"),
    "wire": ("exchange", "exchange.v1*", "exchange.records.wire", "exchange.authoring.text", "exchange.acts.failpoint"),
    "bulletin": (
        "exchange.records.bulletin",
        "exchange.catalogue",
        "exchange.examples",
        "exchange.templates",
        "exchange.records.corrections",
        "exchange.rules*",
        "exchange.authoring.yaml_tree",
        "exchange.authoring.draft",
        "exchange.authoring.template",
        "exchange.authoring.check_drafts",
        "exchange.authoring.render",
        "exchange.authoring.render_fields",
        "exchange.authoring.reply",
    ),
    "statement": ("exchange.records.statement", "exchange.records.disclosure"),
    "dispatch": ("exchange.records.dispatch", "exchange.records.sealed_statement"),
    "lane": ("exchange.records.lane", "exchange.records.equivocation"),
    "receipt": ("exchange.records.receipt",),
    "store": (
        "exchange.store.store",
        "exchange.store.storage_key",
        "exchange.acts.summary",
        "exchange.acts.stored_bulletin",
        "exchange.acts.node_view",
        "exchange.store.log_position",
        "exchange.acts.unit_of_work",
    ),
    "sqlite": (
        "exchange.store.sqlite",
        "exchange.store.sqlite_readonly",
        "exchange.store.sqlite_reads",
        "exchange.store.sqlite_migrations",
        "exchange.store.sqlite_writes",
    ),
    "acts": (
        "exchange.acts.authorship",
        "exchange.acts.notices",
        "exchange.acts.delivery_checks",
        "exchange.acts.publishing",
        "exchange.acts.intake",
        "exchange.acts.stop_lane",
        "exchange.acts.reissue",
        "exchange.acts.lane_position",
        "exchange.recovery.proven_answers",
        "exchange.recovery.first_group",
        "exchange.acts.delivery",
        "exchange.acts.forks",
        "exchange.acts.reading",
        "exchange.acts.retention_rules",
        "exchange.acts.erasing",
        "exchange.acts.legal_hold",
        "exchange.acts.directory",
    ),
    "node": (
        "exchange.node.clock",
        "exchange.node.writer",
        "exchange.node.published_log",
        "exchange.node.witness_status",
        "exchange.node.node",
        "exchange.node.rollback_check",
        "exchange.node.copy_detection",
        "exchange.node.maintenance",
        "exchange.node.timestamping",
        "exchange.recovery.swap_files",
        "exchange.node.home",
        "exchange.node.config",
        "exchange.node.enrolment",
        "exchange.node.node_init",
        "exchange.evidence.gather_bundle",
        "exchange.node.close_epoch",
        "exchange.acts.completeness",
        "exchange.evidence.gather_evidence",
        "exchange.evidence.epoch_proofs",
        "exchange.evidence.pdf",
        "exchange.evidence.export",
    ),
    "rpc": ("exchange.rpc*",),
    "client": ("exchange.client.agent", "exchange.client.client", "exchange.client_*"),
    "cli": ("exchange.cli*", "exchange.demo.demo", "exchange.demo_*", "exchange.__main__"),
}

# Where the clock, the dice, threads and sockets may be.
EDGES = ("sqlite", "node", "rpc", "client", "cli")
EDGE_MODULES = (
    "keys.cli",
    "keys.cli_options",
    "audit.cli.main",
    "audit.verify.entries",
    "audit.verify.fork_pool",  # processes, and the signals that must not reach them
    "audit.witness.witness_state",  # threads share one file
    "audit.log.lock",  # as above
    "exchange.acts.failpoint",
)
IMPURE_MODULES = frozenset(
    {"time", "random", "secrets", "threading", "multiprocessing", "asyncio", "concurrent", "socket", "ssl", "signal"}
    | {"subprocess", "grpc", "structlog", "rich"}
)
IMPURE_CALLS = frozenset({"urandom", "getrandom", "now", "utcnow", "today", "uuid1", "uuid4", "token_bytes"})
# The acts do not even touch files.
LOCK_MODULES = ("audit.log.lock", "audit.log.lock_schema", "audit.witness.witness_state")  # SQL in files of their own
FILES = frozenset({"os", "io", "pathlib", "shutil", "tempfile", "apsw", "sqlite3"})
GRPC_RINGS = ("rpc", "client", "cli")


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its name, generated code included."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def ring_of(module: str) -> str | None:
    """Name the ring a module stands in; the innermost where two patterns match."""
    return next((ring for ring, names in RINGS.items() if any(fnmatch(module, name) for name in names)), None)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text())


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Yield what a module imports, wherever in it, with the line; imports for the type checker alone are left out."""
    unseen = {id(inner) for node in ast.walk(tree(module)) if _for_types(node) for inner in ast.walk(node)}
    for node in ast.walk(tree(module)):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else node.module, node.lineno


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


OURS = sorted(name for name in modules() if ".v1" not in name)


@pytest.mark.parametrize("module", OURS)
def test_each_module_has_its_place(module: str) -> None:
    assert ring_of(module) is not None, f"{module} stands in no ring: add it to RINGS where it belongs"


@pytest.mark.parametrize("module", OURS)
def test_imports_point_inwards(module: str) -> None:
    order = list(RINGS)
    own = order.index(ring_of(module) or order[-1])
    for target, line in imports(module):
        ring = ring_of(target) if target.split(".")[0] in PACKAGES else None
        if ring is not None and module != "exchange":
            assert order.index(ring) <= own, f"{module}:{line} imports {target}, which lies further out"


def test_no_module_imports_itself_around_a_corner() -> None:
    graph = {module: {target for target, _ in imports(module) if target in modules()} for module in OURS}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path, module))
        if module not in done:
            for target in sorted(graph.get(module, ())):
                if target != module:
                    visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", [m for m in OURS if ring_of(m) not in EDGES and m not in EDGE_MODULES])
def test_what_decides_reads_no_clock_and_throws_no_dice(module: str) -> None:
    for target, line in imports(module):
        assert target.split(".")[0] not in IMPURE_MODULES, f"{module}:{line} imports {target}"
    for node in ast.walk(tree(module)):
        name = node.attr if isinstance(node, ast.Attribute) else ""
        assert name not in IMPURE_CALLS, f"{module}:{getattr(node, 'lineno', 0)} uses {name}"


@pytest.mark.parametrize(
    "module", [m for m in OURS if ring_of(m) in ("statement", "dispatch", "lane", "receipt", "acts")]
)
def test_formats_and_acts_touch_no_file_and_no_database(module: str) -> None:
    for target, line in imports(module):
        assert target.split(".")[0] not in FILES, f"{module}:{line} imports {target}"
        assert ring_of(target) != "sqlite", f"{module}:{line} imports {target}"


@pytest.mark.parametrize("module", [m for m in OURS if ring_of(m) not in GRPC_RINGS])
def test_grpc_stays_at_the_edge(module: str) -> None:
    for target, line in imports(module):
        assert target.split(".")[0] not in {"grpc", "grpc_status", "grpc_health"}, f"{module}:{line} imports {target}"


def test_sql_stands_in_the_engine_alone() -> None:
    for module in OURS:
        if any(target.split(".")[0] in ("apsw", "sqlite3") for target, _ in imports(module)):
            runs = [
                node for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute) and "execute" in node.attr
            ]
            assert not runs or ring_of(module) == "sqlite" or module in LOCK_MODULES, module
