from kwire.broker.partitions.watches import Watch


def test_a_watch_without_a_waiter_only_counts():
    watch = Watch(committed_only=False)
    watch.note("a", 10)
    assert list(watch.dirty) == ["a"]


def test_a_wait_ends_when_the_missing_bytes_have_come_from_any_partition():
    watch = Watch(committed_only=False)
    event = watch.arm(missing_bytes=100)
    watch.note("a", 60)
    assert not event.is_set()
    watch.note("b", 40)
    assert event.is_set()


def test_a_change_ends_the_wait_whatever_is_missing():
    watch = Watch(committed_only=True)
    event = watch.arm(missing_bytes=100)
    watch.wake("a")
    assert event.is_set()
    assert "a" in watch.dirty


def test_after_disarming_an_append_wakes_no_waiter():
    watch = Watch(committed_only=False)
    event = watch.arm(missing_bytes=1)
    watch.disarm()
    watch.note("a", 1)
    assert not event.is_set()
