import pytest

from kwire.cli.durations import in_milliseconds


@pytest.mark.parametrize(
    ("key", "text", "milliseconds"),
    [
        ("retention.ms", "1d", "86400000"),
        ("retention.ms", "90s", "90000"),
        ("segment.ms", "2 h", "7200000"),
        ("flush.ms", "5ms", "5"),
        ("retention.ms", "60000", "60000"),
        ("retention.ms", "-1", "-1"),
        ("retention.ms", "soon", "soon"),
        ("retention.bytes", "1d", "1d"),
    ],
)
def test_a_duration_becomes_milliseconds_where_the_setting_is_in_milliseconds(key, text, milliseconds):
    assert in_milliseconds(key, text) == milliseconds
