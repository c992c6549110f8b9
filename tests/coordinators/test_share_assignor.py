from itertools import permutations

import pytest

from kwire.coordinators.group.modern.assignment import MemberSpec
from kwire.coordinators.group.share.assignor import assign


@pytest.mark.parametrize("numbers", list(permutations((1, 2, 3), 2)))
def test_a_balanced_target_stays_when_subscriptions_differ(numbers):
    one, other = (bytes([number]) * 16 for number in numbers)
    targets = {"a": {one: (0,), other: (0, 1)}, "b": {one: (1,)}}
    members = {name: MemberSpec(frozenset(target), target) for name, target in targets.items()}
    assigned = assign(members, {one: (0, 1), other: (0, 1)}, is_homogeneous=False)
    held = {name: {topic_id: tuple(indexes) for topic_id, indexes in got.items()} for name, got in assigned.items()}
    assert held == targets
