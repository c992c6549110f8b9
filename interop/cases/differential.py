"""Random sequences of requests beside Apache Kafka: a hundred seeds of them."""

from interop.case import Run, case
from interop.differential.command import run as compare_seeds


@case("differential", "random sequences", "a-hundred-seeds")
def a_hundred_seeds(run: Run) -> None:
    tally = compare_seeds(run.world, range(1, 101), shrink_s=30)
    assert not tally.failures, "\n\n".join(tally.failures.values())
    assert tally.unsteady <= 5, f"{tally.unsteady} of {tally.sequences} sequences differed once, but not again"


@case("differential", "random sequences", "members-of-all-protocols")
def members_of_all_protocols(run: Run) -> None:
    """Classic, consumer, share and streams members, also in each other's groups."""
    tally = compare_seeds(run.world, range(1, 25), "protocols", shrink_s=30)
    assert not tally.failures, "\n\n".join(tally.failures.values())
    assert tally.unsteady <= 2, f"{tally.unsteady} of {tally.sequences} sequences differed once, but not again"
