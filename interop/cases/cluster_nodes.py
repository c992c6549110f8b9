"""A kwire broker under Apache Kafka's own controller: it joins, and serves the official tools."""

from collections.abc import Iterator
from contextlib import contextmanager

from interop.case import Run, case
from interop.cluster.rig import APACHE, KWIRE, Rig
from interop.jars import CURRENT


@contextmanager
def cluster(run: Run, *brokers: str, release: str = CURRENT, **more: object) -> Iterator[Rig]:
    """Run a cluster with one official controller; everything is killed at the end."""
    # mypy cannot match **more with the keywords of Rig.
    with Rig(run.folder, brokers=brokers, controllers=(APACHE,), release=release, **more) as rig:  # type: ignore[arg-type]
        yield rig
        rig.assert_alive()


@case("cluster", "nodes", smoke=True)
def official_tools_through_a_kwire_broker(run: Run) -> None:
    _tools(run, CURRENT)


@case("cluster", "nodes")
def official_tools_through_a_kwire_broker_431(run: Run) -> None:
    _tools(run, "4.3.1")


def _tools(run: Run, release: str) -> None:
    with cluster(run, KWIRE, APACHE, release=release) as rig:
        server = ("--bootstrap-server", f"127.0.0.1:{rig.broker(1).port}")

        def tool(name: str, *args: str) -> str:
            return run.tool(name, *server, *args, release=release).ok().out

        versions = tool("broker-api-versions")
        assert "(id: 1 " in versions, versions
        assert "(id: 2 " in versions, versions
        tool("topics", "--create", "--topic", "t", "--partitions", "4", "--replication-factor", "1")
        described = tool("topics", "--describe", "--topic", "t")
        assert "PartitionCount: 4" in described, described
        assert "Leader: 1" in described, described
        assert "Leader: 2" in described, described
        java = run.tool(
            "topics", "--bootstrap-server", f"127.0.0.1:{rig.broker(2).port}", "--describe", release=release
        )
        assert sorted(java.ok().out.splitlines()) == sorted(described.splitlines())
        quorum = tool("metadata-quorum", "describe", "--status")
        assert "LeaderId:               3000" in quorum, quorum
        assert '"id": 3000' in quorum, quorum
        observers = [
            line.split()
            for line in tool("metadata-quorum", "describe", "--replication").splitlines()
            if line.endswith("Observer") or "Observer" in line
        ]
        assert sorted(line[0] for line in observers) == ["1", "2"], observers
        tool(
            "configs", "--alter", "--entity-type", "topics", "--entity-name", "t", "--add-config", "retention.ms=99999"
        )
        assert "retention.ms=99999" in tool("configs", "--describe", "--entity-type", "topics", "--entity-name", "t")
        tool("topics", "--alter", "--topic", "t", "--partitions", "6")
        assert "PartitionCount: 6" in tool("topics", "--describe", "--topic", "t")
        tool("topics", "--delete", "--topic", "t")
        assert tool("topics", "--list").strip() == ""
        features = tool("features", "describe")
        assert "Feature: metadata.version" in features, features
