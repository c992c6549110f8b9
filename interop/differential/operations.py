"""One operation of a sequence, and the text form of a sequence: a line of JSON for each operation.

A body holds values as the protocol's JSON form has them, and these in their place:

```
"~t0"                                  the name, with the prefix of this run in place of the tilde
{"$": "id.m0", "else": "", "plus": 1}  what an answer before gave ("keep" names it), or the value of "else"
{"$id": "~t0", "nth": -1}              the topic's id; nth counts the ids that the name has had
{"$next": ["p0", "~t0", 0], "plus": 0} the producer's next sequence number for the partition
{"$subscription": ["~t0"]}             what a consumer that joins a classic group says of these topics
{"$acknowledge": "n0", "type": 1}      all that the last ShareFetch answer on n0 gave, each with this type
{"$batch": {...}}                      records; see `values.Values.batch`
{"$assign": "m0"}                      an assignment for each member that the last JoinGroup answer on m0 lists
```
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """A request on a connection; or, without an API, a pause or the end of a connection."""

    on: str = ""
    api: str = ""
    version: int = 0
    body: Json = field(default_factory=dict)
    keep: dict[str, str] = field(default_factory=dict)  # name -> path into the answer, such as "topics.0.topicId"
    pause_s: float = 0.0

    @property
    def label(self) -> str:
        if self.api:
            return f"{self.on} {self.api} v{self.version}"
        return f"pause {self.pause_s} s" if self.pause_s else f"close {self.on}"


def to_line(operation: Operation) -> str:
    if operation.pause_s:
        return json.dumps({"pause": operation.pause_s})
    if not operation.api:
        return json.dumps({"close": operation.on})
    line: Json = {
        "on": operation.on,
        "api": operation.api,
        "version": operation.version,
        "body": operation.body,
    }
    if operation.keep:
        line["keep"] = operation.keep
    return json.dumps(line)


def from_line(line: str) -> Operation:
    value = json.loads(line)
    if "pause" in value:
        return Operation(pause_s=value["pause"])
    if "close" in value:
        return Operation(on=value["close"])
    return Operation(**value)


def read_script(lines: Iterable[str]) -> list[Operation]:
    """The operations of a printed script; lines that begin with # are answers and remarks."""
    return [from_line(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
