"""Counts the work of the event loop between two points at which other tasks can run."""

import gc
import sys

import trio

# Of objects with many partitions, each costs less than a call: a copy of a list is one.
CALLS_PER_PARTITION_MAX = 0.1


class Steps(trio.abc.Instrument):
    """The most calls within one step of a task while the block runs; ``look`` is called before each step."""

    def __init__(self, look=lambda: None):
        self.most = self.calls = self.count = 0
        self._look = look

    def before_task_step(self, _task):
        sys.setprofile(None)
        self.most, self.calls = max(self.most, self.calls), 0
        self.count += 1
        self._look()
        sys.setprofile(self._event)

    def __enter__(self):
        trio.lowlevel.add_instrument(self)
        gc.disable()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        gc.enable()
        trio.lowlevel.remove_instrument(self)
        self.most = max(self.most, self.calls)

    def _event(self, _frame, event, _arg):
        self.calls += event == "call"
