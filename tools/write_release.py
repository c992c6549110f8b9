"""Write the name, the error codes and the feature levels of a release from the official jars.

    python tools/write_release.py [--libs DIRECTORY]

Writes ``kwire/kafka_release.py`` and the codes in ``kwire/errors.py``. Responsible for: the layout of both. Must not
depend on: which of the levels kwire serves (``kwire/metadata/features.py``).
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from official_java import ROOT, run_java

MODULE = ROOT / "kwire" / "kafka_release.py"
ERRORS = ROOT / "kwire" / "errors.py"
HEAD = '''"""The release of Apache Kafka that kwire speaks. Written by tools/write_release.py.

Responsible for: the name of the release, and the feature levels that it knows. Must not depend on: any other package
of kwire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

RELEASE: Final = "{release}"
COMMIT: Final = "{commit}"


class FeatureLevel(NamedTuple):
    """One level of a feature.

    ``since`` is the lowest level of metadata.version at which a new cluster has it; ``needs`` are the levels of other
    features without which it cannot be set.
    """

    level: int
    since: int
    needs: Mapping[str, int]


# Level of metadata.version -> its name, and whether going from the one before to it changed the metadata's form.
METADATA_VERSIONS: Final[Mapping[int, tuple[str, bool]]] = MappingProxyType(
    {{
{metadata_versions}
    }}
)

# The levels of all other features, in the order in which Kafka's tools list them.
FEATURES: Final[Mapping[str, Sequence[FeatureLevel]]] = MappingProxyType(
    {{
{features}
    }}
)
'''
CODES = re.compile(r"(?<=\n\n)(?:    [A-Z_]+ = -?\d+\n)+")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the name, the error codes and the feature levels of a release.")
    parser.add_argument("--libs", help="a directory that holds the official jars; by default those of make jars")
    write_release(parser.parse_args().libs)


def write_release(libs: str | None = None) -> None:
    """Write both files."""
    (line,) = run_java("ReflectRelease", libs, "")
    reflected = json.loads(line)
    MODULE.write_text(module_text(reflected), "utf-8")
    ERRORS.write_text(errors_text(ERRORS.read_text("utf-8"), reflected), "utf-8")


def module_text(reflected: dict[str, Any]) -> str:
    """Return the text of ``kafka_release.py``."""
    return HEAD.format(
        release=reflected["release"],
        commit=reflected["commit"],
        metadata_versions="\n".join(
            f'        {level}: ("{name}", {changed}),' for level, name, changed in reflected["metadata_versions"]
        ),
        features="\n".join(_feature_lines(reflected["features"])),
    )


def errors_text(text: str, reflected: dict[str, Any]) -> str:
    """Return the text of ``errors.py`` with all codes of the release."""
    codes = "".join(f"    {name} = {code}\n" for code, name in sorted(reflected["errors"]))
    written, count = CODES.subn(codes, text)
    if count != 1:
        raise SystemExit(f"{ERRORS}: the list of codes was found {count} times")
    return written


def _feature_lines(features: dict[str, list[Any]]) -> list[str]:
    lines = []
    for name, levels in features.items():
        lines.append(f'        "{name}": (')
        for level, since, needs in levels:
            shown = ", ".join(f'"{needed}": {at}' for needed, at in needs.items())
            lines.append(f"            FeatureLevel({level}, {since}, {{{shown}}}),")
        lines.append("        ),")
    return lines


if __name__ == "__main__":
    main()
