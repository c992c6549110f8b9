"""kafka-dump-log: print the files of a log.

Responsible for: the name alone; ``kwire.cli.dump.dump_log`` implements it, for ``kwire log dump`` as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kwire.cli.dump.dump_log import dump_main


def main(argv: Sequence[str]) -> int:
    return dump_main(argv, sys.stdout)
