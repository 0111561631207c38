"""Make the generated code from the schemas, check that it is what is committed, lint the schemas.

Three packages, mirrored by three folders: ``proto/keys/v1`` becomes ``keys/v1`` and so on. The rules in
``bulletin.proto`` need ``buf/validate/validate.proto``, which no package ships as a file: its descriptor is
taken from the installed protovalidate. Before code is made, that import is dropped from our descriptors; the
options stay in them as bytes, and no package named ``buf`` is needed. The rules become ``exchange/rules/walk.py``
(``walk``), so that a node that judges bulletins reads no options either. ``keys/refusals.py`` becomes the table of codes
in ``proto/README.md``.

    python proto/generate.py             writes the generated code
    python proto/generate.py --check     fails if the committed code differs from what would be written
    python proto/generate.py --lint      buf lint, and buf breaking against proto/released.binpb
    python proto/generate.py --release   takes the present schemas as the released ones
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from protovalidate._gen.buf.validate import validate_pb

from proto.walk import Walk

PROTO = Path(__file__).resolve().parent
ROOT = PROTO.parent
RELEASED = PROTO / "released.binpb"
BIN = Path(sys.executable).parent
BUNDLED = "audit/schema/entry.proto"
WALK = "exchange/rules/walk.py"
PROSE = "proto/README.md"
CODES_HEAD = "| code | number | meaning |\n|---|---|---|\n"
VALIDATE = "buf/validate/validate.proto"
WELL_KNOWN = [f"google/protobuf/{name}.proto" for name in ("descriptor", "duration", "field_mask", "timestamp")]


def sources() -> list[str]:
    """List our schemas, as protoc names them."""
    return sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("*/v1/*.proto"))


def run(*words: str) -> None:
    """Run a tool of ours; its words reach the terminal, its failure ends us."""
    done = subprocess.run(words, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def protoc(*words: str) -> None:
    run(sys.executable, "-m", "grpc_tools.protoc", *words)


def build_image(folder: Path) -> Path:
    """Compile every schema into one descriptor set with its imports; return its path."""
    known = folder / "known.binpb"
    protoc(f"-I{_well_known()}", f"--descriptor_set_out={known}", *WELL_KNOWN)
    rules = descriptor_pb2.FileDescriptorSet.FromString(known.read_bytes())
    rules.file.append(descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary()))
    known.write_bytes(rules.SerializeToString())
    image = folder / "image.binpb"
    protoc(
        f"--descriptor_set_in={known}",
        f"-I{PROTO}",
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={image}",
        *sources(),
    )
    return image


def _well_known() -> Path:
    import grpc_tools

    return Path(grpc_tools.__file__).parent / "_proto"


def generate(folder: Path, into: Path) -> None:
    """Write modules, stubs and services for every schema below *into*."""
    image = descriptor_pb2.FileDescriptorSet.FromString(build_image(folder).read_bytes())
    for file in image.file:
        if VALIDATE in file.dependency:
            file.dependency.remove(VALIDATE)
    kept = [file for file in image.file if file.name != VALIDATE]
    stripped = folder / "stripped.binpb"
    stripped.write_bytes(descriptor_pb2.FileDescriptorSet(file=kept).SerializeToString())
    with_services = [file.name for file in kept if file.service]
    plugins = [
        f"--plugin=protoc-gen-mypy={BIN / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={BIN / 'protoc-gen-mypy_grpc'}",
    ]
    protoc(f"--descriptor_set_in={stripped}", *plugins, f"--python_out={into}", f"--mypy_out=quiet:{into}", *sources())
    if with_services:
        out = [f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}"]
        protoc(f"--descriptor_set_in={stripped}", *plugins, *out, *with_services)
    for package in ("keys", "audit", "exchange"):
        (into / package / "v1" / "__init__.py").write_text("")
    bundled = into / BUNDLED  # every bundle for an auditor carries the entry's schema
    bundled.parent.mkdir(parents=True, exist_ok=True)
    bundled.write_bytes((PROTO / "audit/v1/entry.proto").read_bytes())
    write_walk(image, into / WALK)
    write_codes(into / PROSE)


def write_walk(image: descriptor_pb2.FileDescriptorSet, path: Path) -> None:
    """Write the rules of a bulletin as one walk."""
    from exchange.rules import registry  # late: it stands beside what is written here

    pool = DescriptorPool()  # of its own: the program's has the schemas as they were
    for file in image.file:
        pool.Add(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Walk(pool, registry).source(pool.FindMessageTypeByName("exchange.v1.Bulletin")))
    run(str(BIN / "ruff"), "format", "-q", "--line-length", "120", str(path))


def write_codes(path: Path) -> None:
    """Write the prose with the table of refusal codes as ``keys.refusals`` has it; the rest stays as it is."""
    from keys.refusals import TABLE  # late, as above

    before, _, rest = (ROOT / PROSE).read_text().partition(CODES_HEAD)
    after = rest.partition("\n\n")[2]
    rows = [
        f"| {row.code} | {int(row.number)} | {row.sentence} |\n" for row in TABLE.values() if row.number is not None
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((before, CODES_HEAD, *rows, "\n", after)))


def committed(folder: Path) -> dict[str, bytes]:
    """Read every generated file below *folder* by its relative name."""
    generated = [path for package in ("keys", "audit", "exchange") for path in (folder / package / "v1").glob("*.py*")]
    found = [path for path in (*generated, folder / BUNDLED, folder / WALK, folder / PROSE) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def check() -> None:
    """Fail, naming the files, if the committed code is not what the schemas give."""
    with tempfile.TemporaryDirectory() as name:
        into = Path(name) / "made"
        into.mkdir()
        generate(Path(name), into)
        made, here = committed(into), committed(ROOT)
    differing = sorted(name for name in made.keys() | here.keys() if made.get(name) != here.get(name))
    if differing:
        print("generated code differs from proto/:", *differing, sep="\n  ")
        sys.exit(1)


def lint() -> None:
    """Lint the schemas and compare them with the released ones."""
    with tempfile.TemporaryDirectory() as name:
        image = str(build_image(Path(name)))
        rules = '{"version":"v2","lint":{"use":["STANDARD"],"except":["SERVICE_SUFFIX"]}}'
        ours = [word for package in ("keys", "audit", "exchange") for word in ("--path", f"{package}/v1")]
        run(str(BIN / "buf"), "lint", image, "--config", rules, *ours)
        run(str(BIN / "buf"), "breaking", image, "--against", str(RELEASED), "--config", rules, *ours)


def release() -> None:
    """Take the present schemas as the released ones."""
    with tempfile.TemporaryDirectory() as name:
        RELEASED.write_bytes(build_image(Path(name)).read_bytes())


def main() -> None:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    actions = {"--check": check, "--lint": lint, "--release": release}
    if word in actions:
        actions[word]()
        return
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name), ROOT)


if __name__ == "__main__":
    main()
