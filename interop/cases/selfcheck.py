"""`kwire selfcheck` against both brokers: as many APIs and versions, with the same outcome of each."""

import json
import sys

from interop.case import Run, case
from interop.jars import ROOT
from interop.oracle.story import pair


@case("oracle", "ApiVersions", "selfcheck-walks-the-same-versions")
def walks_the_same_versions(run: Run) -> None:
    walked = []
    for broker in pair(run.world):
        command = [sys.executable, "-P", "-m", "kwire", "selfcheck", broker.bootstrap, "--timeout", "20", "--json"]
        answer = json.loads(run.program(command, cwd=ROOT, timeout_s=120).out)
        walked.append({(one["request"], one["version"]): one["outcome"] for one in answer["versions"]})
    apache, other = walked
    assert apache, "nothing was walked"
    assert other.keys() == apache.keys(), sorted(apache.keys() ^ other.keys())
    assert set(other.values()) <= {"answered", "not asked"}, other
