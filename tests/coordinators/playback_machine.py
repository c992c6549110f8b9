"""What may happen to any coordinator between its commands: the rules that the random tests of machines share."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kwire.errors import Code


class PlaybackMachine(RuleBasedStateMachine):
    """A test sets ``playback`` in its ``initialize`` rule."""

    @property
    def machine(self):
        return self.playback.machine

    def clients_are_disconnected(self):
        """The machine is about to be loaded again: clients get no answer to what they have asked."""

    @rule(code=st.sampled_from([None, None, Code.NOT_COORDINATOR]))
    def fail(self, code):
        self.playback.fail_appends = code

    @rule()
    def hold(self):
        """The disk is slow: what is appended is not committed yet."""
        self.playback.is_held = True

    @rule()
    def release(self):
        self.playback.release()

    @rule()
    def lose(self):
        """The disk fails: what was not committed is lost, and the machine is loaded from the rest."""
        self.clients_are_disconnected()
        self.playback.lose()

    @rule()
    def restart(self):
        self.clients_are_disconnected()
        self.playback.restart()

    @rule(by_ms=st.sampled_from([-5000, 5000]))
    def clock_steps(self, by_ms):
        self.machine.clock_stepped(by_ms)
        self.playback.now_ms += by_ms
        self.playback.timers = {key: deadline_ms + by_ms for key, deadline_ms in self.playback.timers.items()}

    @invariant()
    def the_log_gives_the_durable_part(self):
        self.playback.check()
