"""Source of Protobuf, compiled by the ``protoc`` of grpcio-tools.

Responsible for: running it. Must not depend on: registries.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from kwire.schemas.problems import SchemaError, TooSlow

_COMPILE_S: Final = 2.0
# A reference names a file: a hostile one could name a file outside of the directory.
_NAME: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def compile_source(sources: Sequence[tuple[str, str]]) -> list[FileDescriptorProto]:
    """Compile files by their names, the last of which imports the others. Raises SchemaError.

    The result begins with all that it needs, google/protobuf/*.proto included.
    """
    if importlib.util.find_spec("grpc_tools") is None:
        raise SchemaError("the registry gives Protobuf as source: to read it, pip install grpcio-tools beside kwire")
    with tempfile.TemporaryDirectory(prefix="kwire-protoc-") as folder:
        for name, text in sources:
            if not _NAME.fullmatch(name):
                raise SchemaError(f"it refers to {name!r}, which is not the name of a .proto file")
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        output = Path(folder, ".descriptors")
        return _run(Path(folder), output, sources[-1][0])


def _run(folder: Path, output: Path, main: str) -> list[FileDescriptorProto]:
    command = [sys.executable, "-P", "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{_included()}", "--include_imports"]
    try:
        done = subprocess.run(  # noqa: S603 (the names were checked)
            [*command, f"--descriptor_set_out={output}", main],
            capture_output=True,
            text=True,
            timeout=_COMPILE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TooSlow(f"protoc did not compile it within {_COMPILE_S:g} s") from None
    if done.returncode != 0:
        raise SchemaError(f"protoc refuses it: {done.stderr.replace(str(folder) + '/', '')}")
    return list(FileDescriptorSet.FromString(output.read_bytes()).file)


def _included() -> Path:
    """Give the directory of google/protobuf/*.proto in grpcio-tools."""
    found = importlib.util.find_spec("grpc_tools")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "_proto"
