"""Versions of a machine's state: as written, as last committed, and as it was before the command that runs.

Responsible for: tables that keep earlier values of their keys, undoing one command, and reads of the committed state.
Must not depend on: any particular coordinator, the log.

A machine keeps all its state in tables of one ``Timeline``. Its caller reports each step:

    begin ──► command ──► append ──┬─ refused ───────────────────────► revert: all tables as they were at begin
                                   ├─ committed ─► drop ──► replay     nothing to keep
                                   └─ only written ─► replay ─► hold(end offset) ... commit(high watermark)

Between ``hold`` and ``commit`` the tables show the written state to commands, which must build on it, and
``committed`` shows the state before it to requests that read. Kafka's coordinators have timeline data structures for
the same purpose; docs/decisions/coordinator-commit.md compares them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, cast

K = TypeVar("K")
V = TypeVar("V")


class Absent:
    """The value of a key that is not in the table."""


ABSENT: Final = Absent()


class Timeline:
    """The changes of one machine that may have to be undone, or hidden until they are committed."""

    __slots__ = ("_held", "_step", "_table_count")

    def __init__(self) -> None:
        self._step: dict[tuple[int, Any], tuple[Versioned[Any, Any], Any]] | None = None
        self._held: deque[tuple[int, list[tuple[Versioned[Any, Any], Any]]]] = deque()
        self._table_count = 0

    def add_table(self) -> int:
        """Give a table its number."""
        self._table_count += 1
        return self._table_count

    def begin(self) -> None:
        """A command begins: record its changes."""
        self._step = {}

    def note(self, table: Versioned[K, V], key: K) -> None:
        """``key`` of ``table`` is about to change."""
        table.changes += 1
        step = self._step
        if step is not None and (table.number, key) not in step:
            step[table.number, key] = (table, table.current(key))

    def drop(self) -> None:
        """The command's changes need not be undone or hidden: they are committed, or no record depends on them."""
        self._step = None

    def revert(self) -> None:
        """Undo all changes since ``begin``."""
        step, self._step = self._step or {}, None
        for (_, key), (table, before) in step.items():
            table.restore(key, before)

    def hold(self, end_offset: int) -> None:
        """Hold the changes since ``begin``, whose records below ``end_offset`` are not committed yet."""
        step, self._step = self._step or {}, None
        changed = []
        for (_, key), (table, before) in step.items():
            table.history.setdefault(key, deque()).append(before)
            changed.append((table, key))
        self._held.append((end_offset, changed))

    def commit(self, offset: int) -> None:
        """All records below ``offset`` are committed: readers see their changes."""
        held = self._held
        while held and held[0][0] <= offset:
            for table, key in held.popleft()[1]:
                table.changes += 1
                versions = table.history[key]
                versions.popleft()
                if not versions:
                    del table.history[key]

    @property
    def has_uncommitted(self) -> bool:
        return bool(self._held)


class Versioned(Generic[K, V]):
    """The interface of a table for its timeline. ``history``: values of keys before each held step, oldest first.

    ``changes`` grows whenever the written or committed state may have changed.
    """

    __slots__ = ("changes", "history", "number", "timeline")

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.number = timeline.add_table()
        self.changes = 0
        self.history: dict[K, deque[V | Absent]] = {}

    def current(self, key: K) -> V | Absent:
        """The newest value, committed or not; ABSENT without one."""
        raise NotImplementedError

    def restore(self, key: K, before: V | Absent) -> None:
        """Set the value, or remove the key for ABSENT, without noting a change."""
        raise NotImplementedError

    def committed(self, key: K) -> V | None:
        """The committed value of ``key``; None without one."""
        versions = self.history.get(key)
        found = self.current(key) if versions is None else versions[0]
        return None if isinstance(found, Absent) else found


class Table(Versioned[K, V]):
    """A map whose values are replaced, never changed in place."""

    __slots__ = ("_values",)

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._values: dict[K, V] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: K) -> V:
        return self._values[key]

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def items(self) -> list[tuple[K, V]]:
        """Keys and values as a list of their own, so the table may change meanwhile."""
        return list(self._values.items())

    def values(self) -> list[V]:
        return list(self._values.values())

    def __setitem__(self, key: K, value: V) -> None:
        self.timeline.note(self, key)
        self._values[key] = value

    def pop(self, key: K) -> V | None:
        """Remove a key and return its value; None if the table does not have it."""
        if key not in self._values:
            return None
        self.timeline.note(self, key)
        return self._values.pop(key)

    def committed_items(self) -> Iterator[tuple[K, V]]:
        """All keys with their committed values."""
        history = self.history
        for key, value in self._values.items():
            if key not in history:
                yield key, value
        for key, versions in history.items():
            if not isinstance(versions[0], Absent):
                yield key, versions[0]

    def current(self, key: K) -> V | Absent:
        return self._values.get(key, ABSENT)

    def restore(self, key: K, before: V | Absent) -> None:
        if isinstance(before, Absent):
            self._values.pop(key, None)
        else:
            self._values[key] = before


class NestedTable(Versioned[tuple[Any, ...], V]):
    """A map from paths, tuples of one length, whose values are found by every prefix of their path."""

    __slots__ = ("_root",)

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._root: dict[Any, Any] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NestedTable) and self._root == other._root

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._root)

    def get(self, path: tuple[Any, ...]) -> V | None:
        found = self.current(path)
        return None if isinstance(found, Absent) else found

    def set(self, path: tuple[Any, ...], value: V) -> None:
        self.timeline.note(self, path)
        self._put(path, value)

    def remove(self, path: tuple[Any, ...]) -> None:
        if not isinstance(self.current(path), Absent):
            self.timeline.note(self, path)
            self._prune(path)

    def under(self, *prefix: Any) -> list[tuple[tuple[Any, ...], V]]:
        """Each path that begins with ``prefix``, whole, with its value."""
        node: Any = self._root
        for part in prefix:
            node = node.get(part)
            if node is None:
                return []
        return list(_leaves(node, prefix))

    def has_under(self, first: Any) -> bool:
        """Whether the path of any value begins with ``first``."""
        return first in self._root

    def branch(self, *prefix: Any) -> Mapping[Any, Any]:
        """The entries under ``prefix``, by the next part of their paths. Read only, and valid until the next change."""
        node: Any = self._root
        for part in prefix:
            node = node.get(part)
            if node is None:
                return {}
        return cast("Mapping[Any, Any]", node)

    def committed_children(self, *prefix: Any) -> list[Any]:
        """The parts that follow ``prefix`` in paths that are committed, each once."""
        node: Any = self._root
        for part in prefix:
            node = node.get(part, {})
        if not self.history:
            return list(node)
        count = len(prefix)
        uncommitted = [path for path in self.history if path[:count] == prefix]
        if not uncommitted:
            return list(node)
        # A part stays if a path below it did not change, or was there before it changed.
        changed = dict.fromkeys(path[count] for path in uncommitted)
        paths = [path for part in changed for path, _ in self.committed_under(*prefix, part)]
        return [part for part in node if part not in changed] + list(dict.fromkeys(path[count] for path in paths))

    def keys(self) -> list[Any]:
        """The first part of all paths, each once."""
        return list(self._root)

    def count(self, key: Any) -> int:
        """How many paths of three parts begin with ``key``."""
        return sum(map(len, self._root.get(key, {}).values()))

    def committed_under(self, *prefix: Any) -> list[tuple[tuple[Any, ...], V]]:
        """The same of the committed state."""
        found = self.under(*prefix)
        if not self.history:
            return found
        count = len(prefix)
        versions = {path: held[0] for path, held in self.history.items() if path[:count] == prefix}
        if not versions:
            return found
        unchanged = [(path, value) for path, value in found if path not in versions]
        return unchanged + [(path, value) for path, value in versions.items() if not isinstance(value, Absent)]

    def current(self, path: tuple[Any, ...]) -> V | Absent:
        node: Any = self._root
        for part in path:
            node = node.get(part)
            if node is None:
                return ABSENT
        return cast("V", node)

    def restore(self, path: tuple[Any, ...], before: V | Absent) -> None:
        if not isinstance(before, Absent):
            self._put(path, before)
        elif not isinstance(self.current(path), Absent):
            self._prune(path)

    def _put(self, path: tuple[Any, ...], value: V) -> None:
        node = self._root
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = value

    def _prune(self, path: tuple[Any, ...]) -> None:
        """Remove a path, and the maps on its way that are empty then."""
        nodes = [self._root]
        for part in path[:-1]:
            nodes.append(nodes[-1][part])
        for node, part in zip(reversed(nodes), reversed(path), strict=True):
            del node[part]
            if node:
                break


def _leaves(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if not isinstance(node, dict):
        yield path, node
        return
    for part, inner in node.items():
        yield from _leaves(inner, (*path, part))
