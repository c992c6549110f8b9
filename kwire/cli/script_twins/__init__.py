"""JVM-free twins of the official scripts, by their official names.

Owns: the table of names, and the one place where a script's end becomes an exit code. May not know: what a script
does. Each module has ``main(argv) -> int`` and is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from kwire.cli.script_twins.exits import Failure
from kwire.cli.script_twins.options import Wrong

TWINS: Final = {
    "kafka-broker-api-versions": "broker_api_versions",
    "kafka-cluster": "cluster",
    "kafka-configs": "configs",
    "kafka-console-consumer": "console_consumer",
    "kafka-console-producer": "console_producer",
    "kafka-consumer-groups": "consumer_groups",
    "kafka-delete-records": "delete_records",
    "kafka-dump-log": "dump_log",
    "kafka-features": "features",
    "kafka-get-offsets": "get_offsets",
    "kafka-log-dirs": "log_dirs",
    "kafka-metadata-quorum": "metadata_quorum",
    "kafka-server-start": "server_start",
    "kafka-server-stop": "server_stop",
    "kafka-storage": "storage",
    "kafka-topics": "topics",
}


def run(name: str, argv: Sequence[str]) -> int:
    """Run a script by its official name, with or without `.sh`, and return its exit code. KeyError for another name."""
    module = importlib.import_module(f"{__name__}.{TWINS[name.removesuffix('.sh')]}")
    try:
        code: int = module.main(argv)
    except Failure as failure:
        return end(failure)
    except Wrong as error:
        return end(Failure(str(error)))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; what is left has nowhere to go, and Python would complain at exit.
        sys.stdout = None
        return 141
    return code


def end(failure: Failure) -> int:
    """Say what a failure says, and return its exit code."""
    sys.stdout.flush()
    stream = sys.stdout if failure.stream == "out" else sys.stderr
    if failure.message:
        stream.write(f"{failure.message}\n")
    stream.flush()
    return failure.code
