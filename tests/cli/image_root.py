"""The container image as a folder: its files at its paths under a scratch root, with those paths written into them.

No container engine runs in the tests. What is rewritten is the beginning of absolute paths, nothing else.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from click.testing import CliRunner

from kwire.cli.main import main

ROOT = Path(__file__).parent.parent.parent
_PATHS = re.compile(
    r"(?<![\w.])/(?=(?:etc/kafka|etc/confluent|opt/kafka|var/lib|mnt/shared|tmp/|usr/sbin/|tc-start|testcontainers_start))"
)


class ImageRoot:
    """``path`` is the root directory of the container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in (
            "etc/kafka",
            "etc/confluent",
            "var/lib/kafka/data",
            "opt/kafka",
            "tmp",
            "usr/sbin",
            "home/kwire",
        ):
            (path / folder).mkdir(parents=True)
        for target in ("etc/kafka/docker", "etc/confluent/docker"):
            shutil.copytree(ROOT / "docker" / "etc", path / target)
        shutil.copytree(ROOT / "docker" / "bin", path / "opt/kafka/bin")
        shutil.copy(ROOT / "docker" / "entrypoint.sh", path / "opt/kafka/entrypoint.sh")
        for file in [*path.glob("etc/*/docker/*"), path / "opt/kafka/entrypoint.sh"]:
            file.write_text(self.inside(file.read_text()))
        scripts = CliRunner().invoke(main, ["scripts", "--install", str(path / "opt/kafka/bin")])
        assert scripts.exit_code == 0

    def inside(self, text: str) -> str:
        """Text with the absolute paths of a container under this root."""
        return _PATHS.sub(f"{self.path}/", text)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the image, without those of the test run."""
        base = {key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "KWIRE_"))}
        base.pop("CLUSTER_ID", None)
        return {**base, "PATH": f"{self.path}/opt/kafka/bin:{Path(sys.executable).parent}:{base['PATH']}"}
