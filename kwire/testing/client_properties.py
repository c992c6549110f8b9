"""A file of settings for a client that logs in over TLS, as Java and kwire's commands read it.

Responsible for: the text and the mode of the file, which has a password. Must not depend on: who the user is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TEXT: Final = """\
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
  username="{user}" password="{password}";
ssl.truststore.type=PEM
ssl.truststore.location={ca}
"""


def write_client_properties(path: Path, user: str, password: str, ca: Path) -> None:
    """Write the file, which only its owner may read, in place of one that is there. Raises OSError."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_TEXT.format(user=user, password=password, ca=ca))
