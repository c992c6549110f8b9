"""A timeline against a model: a list of maps, one for each version."""

from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kwire.coordinators.timeline import NestedTable, Table, Timeline

KEYS = st.sampled_from(["a", "b", "c"])
PATHS = st.tuples(st.sampled_from(["g", "h"]), st.integers(0, 1))
VALUES = st.integers(0, 9)


class TimelineMachine(RuleBasedStateMachine):
    """``versions``: what is committed, then what each held step wrote; the last is what commands see."""

    def __init__(self):
        super().__init__()
        self.timeline = Timeline()
        self.table = Table(self.timeline)
        self.nested = NestedTable(self.timeline)
        self.versions = [({}, {})]
        self.offset = 0
        self.written = ({}, {})
        self.in_step = False
        self.seen = (-1, -1), ({}, {}, {}, {})

    @rule(key=KEYS, value=VALUES | st.none())
    def change(self, key, value):
        self.begin()
        if value is None:
            self.table.pop(key)
            self.written[0].pop(key, None)
        else:
            self.table[key] = value
            self.written[0][key] = value

    @rule(path=PATHS, value=VALUES | st.none())
    def change_nested(self, path, value):
        self.begin()
        if value is None:
            self.nested.remove(path)
            self.written[1].pop(path, None)
        else:
            self.nested.set(path, value)
            self.written[1][path] = value

    def begin(self):
        if not self.in_step:
            self.timeline.begin()
            self.in_step = True

    @precondition(lambda self: self.in_step)
    @rule()
    def revert(self):
        self.timeline.revert()
        self.in_step = False
        self.written = tuple(dict(each) for each in self.versions[-1])

    @precondition(lambda self: self.in_step)
    @rule()
    def hold(self):
        self.offset += 1
        self.timeline.hold(self.offset)
        self.in_step = False
        self.versions.append(tuple(dict(each) for each in self.written))

    @precondition(lambda self: self.in_step and len(self.versions) == 1)
    @rule()
    def drop(self):
        self.timeline.drop()
        self.in_step = False
        self.versions = [tuple(dict(each) for each in self.written)]

    @precondition(lambda self: not self.in_step)
    @rule(count=st.integers(0, 3))
    def commit(self, count):
        count = min(count, len(self.versions) - 1)
        self.timeline.commit(self.offset - len(self.versions) + 1 + count)
        self.versions = self.versions[count:]

    @invariant()
    def commands_see_what_is_written(self):
        table, nested = self.written
        assert dict(self.table.items()) == table
        assert {key: self.table.get(key) for key in "abc"} == {key: table.get(key) for key in "abc"}
        assert dict(self.nested.under()) == nested
        assert {path: value for each in "gh" for path, value in self.nested.under(each)} == nested
        assert set(self.nested.keys()) == {path[0] for path in nested}

    @precondition(lambda self: not self.in_step)
    @invariant()
    def questions_see_what_is_committed(self):
        table, nested = self.versions[0]
        assert dict(self.table.committed_items()) == table
        assert {key: self.table.committed(key) for key in "abc"} == {key: table.get(key) for key in "abc"}
        assert dict(self.nested.committed_under()) == nested
        assert dict(self.nested.committed_under("g")) == {
            path: value for path, value in nested.items() if path[0] == "g"
        }
        for prefix in ((), ("g",), ("h",)):
            under = [path[len(prefix)] for path in nested if path[: len(prefix)] == prefix]
            children = self.nested.committed_children(*prefix)
            assert len(children) == len(set(children))
            assert set(children) == set(under)
        assert self.timeline.has_uncommitted == (len(self.versions) > 1)

    @precondition(lambda self: not self.in_step)
    @invariant()
    def what_did_not_count_as_a_change_is_as_before(self):
        changes = self.table.changes, self.nested.changes
        shown = self.written[0].copy(), self.versions[0][0], self.written[1].copy(), self.versions[0][1]
        before, shown_before = self.seen
        for index, is_same in enumerate(now == then for now, then in zip(changes, before, strict=True)):
            if is_same:
                assert shown[2 * index : 2 * index + 2] == shown_before[2 * index : 2 * index + 2]
        self.seen = changes, shown


TestTimeline = TimelineMachine.TestCase
TestTimeline.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)
