"""Official brokers of older releases, also those that keep their metadata in ZooKeeper."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from interop import jars
from interop.brokers import ONE_MACHINE, Apache, Kwire, free_port, wait_until_serving
from interop.case import Run, Skip
from kwire.personas import persona


def official_broker(folder: Path, release: str, settings: Mapping[str, str] | None = None) -> Apache:
    """A broker of a release such as "3.9.1", with its default settings for one machine, not started yet.

    ``settings`` are beside those.
    """
    jars.ARTEFACTS.setdefault(release, (f"org.apache.kafka:kafka_2.13:{release}", "org.slf4j:slf4j-simple:1.7.36"))
    kind = WithZooKeeper if release.startswith("2.") else Older
    return kind(folder, release, settings)


@contextlib.contextmanager
def beside_official(run: Run, name: str, settings: Mapping[str, str] | None = None) -> Iterator[tuple[Apache, Kwire]]:
    """The official broker of a release, and kwire that appears as it (``name``, such as "3.9"); not started yet.

    Both are killed at the end. Raises Skip where kwire is not the target.
    """
    if run.target != "kwire":
        raise Skip("kwire appears as another release")
    release = persona(name)
    assert release is not None
    apache = official_broker(run.folder / "apache", release.release, settings)
    ours = Kwire(run.folder / "kwire", {**(settings or {}), "kwire.as.release": name})
    try:
        yield apache, ours
    finally:
        apache.kill()
        ours.kill()


class Older(Apache):
    """A broker of one release, its own controller."""

    def __init__(self, folder: Path, release: str, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, settings)
        self.release = release


class WithZooKeeper(Older):
    """A broker of a release that keeps its metadata in ZooKeeper, and that."""

    _zookeeper: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.port, zookeeper = free_port(), free_port()
        where = self.folder / "zookeeper.properties"
        where.write_text(
            f"dataDir={self.folder}/zookeeper\nclientPort={zookeeper}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\nmaxClientCnxns=0\n"
        )
        properties = {
            "broker.id": "1",
            "listeners": f"PLAINTEXT://localhost:{self.port}",
            "zookeeper.connect": f"127.0.0.1:{zookeeper}",
            "log.dirs": str(self.data),
            **{key: value for key, value in ONE_MACHINE.items() if not key.startswith(("share.", "group.consumer."))},
            **self.settings,
        }
        config = self.folder / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        self._zookeeper = self._java("org.apache.zookeeper.server.quorum.QuorumPeerMain", where, "zookeeper.log")
        self._process = self._java("kafka.Kafka", config, self.log.name)
        wait_until_serving(self.port, self._process, self)

    def stop(self) -> None:
        super().stop()
        self._stop_zookeeper()

    def kill(self) -> None:
        super().kill()
        self._stop_zookeeper()

    def _stop_zookeeper(self) -> None:
        zookeeper, self._zookeeper = self._zookeeper, None
        if zookeeper is not None:
            zookeeper.terminate()
            zookeeper.wait(60)

    def _java(self, main: str, config: Path, log: str) -> subprocess.Popen[str]:
        command = [jars.need("java"), *self.jvm, "-cp", jars.classpath(self.release), main, str(config)]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=(self.folder / log).open("ab"),
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )
