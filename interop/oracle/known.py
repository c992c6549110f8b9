"""The differences that are meant: each with the reason a user would nod at. They go into docs/compatibility.md."""

import re
from typing import NamedTuple


class Known(NamedTuple):
    story: str  # a pattern for the story's title
    line: str  # a pattern for the difference's line
    reason: str


KNOWN: tuple[Known, ...] = (
    Known(
        "transactions-refused",
        r"EndTxn v4 again\.errorCode: 51 / 0",
        "The markers are written before EndTxn is answered, so who asks again at once finds the transaction ended.",
    ),
)


def known(title: str, line: str) -> bool:
    return any(re.fullmatch(item.story, title) and re.search(item.line, line) for item in KNOWN)
