"""kafka-dump-log: what is in the files of a log.

Owns: nothing but the name; ``kwire.cli.dump_log`` does the work, for ``kwire log dump`` as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kwire.cli.dump_log import dump_main


def main(argv: Sequence[str]) -> int:
    return dump_main(argv, sys.stdout)
