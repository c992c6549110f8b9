"""The content of data directories as a value.

Responsible for: reading and replacing all files of a directory. Must not depend on: the meaning of files, brokers.

Nothing else may use the directory meanwhile. The lock file is left out, as it belongs to the process that uses the
directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from kwire.storage.files import Files

# Paths from the directory on to the content of each file; a directory without files has None.
Tree: TypeAlias = Mapping[str, bytes | None]

_LEFT_OUT: Final = frozenset({".lock"})


def read_tree(files: Files, root: str) -> Tree:
    """Read a directory and all in it. Raises StorageFailure."""
    return dict(_read(files, root, ""))


def clear_tree(files: Files, root: str) -> None:
    """Empty a directory, which itself stays, as it may be a mount point. Raises StorageFailure."""
    for name in files.directories(root):
        files.remove_directory(f"{root}/{name}")
    for name in files.sizes(root):
        files.remove(f"{root}/{name}")


def write_tree(files: Files, root: str, tree: Tree) -> None:
    """Replace the content of a directory. Raises StorageFailure."""
    clear_tree(files, root)
    files.make_directory(root)
    made = {""}
    for path, content in tree.items():
        directory = path if content is None else path.rpartition("/")[0]
        if directory not in made:
            files.make_directory(f"{root}/{directory}")
            made.add(directory)
        if content is not None:
            files.write_bytes(f"{root}/{path}", content, durable=False)


def size_bytes(tree: Tree) -> int:
    """Give the bytes of all files together."""
    return sum(len(content) for content in tree.values() if content is not None)


def _read(files: Files, root: str, prefix: str) -> Iterator[tuple[str, bytes | None]]:
    directory = f"{root}/{prefix}".rstrip("/")
    names = files.sizes(directory)
    for name in names:
        if name not in _LEFT_OUT:
            content = files.read_bytes(f"{directory}/{name}")
            if content is not None:
                yield prefix + name, content
    below = files.directories(directory)
    if prefix and not names and not below:
        yield prefix.rstrip("/"), None
    for name in below:
        yield from _read(files, root, f"{prefix}{name}/")
