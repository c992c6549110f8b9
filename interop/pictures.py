"""python -m interop.pictures: makes the pictures of docs/console.md again, in docs/images.

They are what cases of the console see in a Chromium of the system; nothing else is needed.
"""

import shutil
import tempfile
from pathlib import Path

from interop.case import Run, World
from interop.cases.console import every_view_shows_what_clients_sent_as_text
from interop.cases.console_schemas import what_stock_serializers_write_is_shown_decoded
from interop.jars import ROOT
from interop.processes import end_with

CASES = (every_view_shows_what_clients_sent_as_text, what_stock_serializers_write_is_shown_decoded)
# What a case has saved, and its name in docs/images.
PICTURES = {
    "messages-light.png": "console-messages.png",
    "faults-dark.png": "console-faults.png",
    "group.png": "console-group.png",
    "decoded.png": "console-decoded.png",
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kwire-pictures-") as name:
        world = World("kwire", Path(name))
        end_with(world.close)
        for body in CASES:
            body(Run(world, body.__name__))
        for seen, picture in PICTURES.items():
            (found,) = world.folder.rglob(seen)
            shutil.copy(found, ROOT / "docs" / "images" / picture)
            print(f"docs/images/{picture}")


if __name__ == "__main__":
    main()
