"""The expectations of applications of frameworks find what is lost, repeated and out of order."""

import pytest

pytest.importorskip("interop.frameworks.expectations", reason="interop is no part of the installed package")

from interop.frameworks.expectations import KEYS, copies, counts, fault_of_copies, fault_of_counts, key, short, value

FED = 3 * KEYS + 1


def test_the_copies_are_the_records_that_were_fed():
    fed = [(key(n), value(n)) for n in range(FED)]
    assert sorted(fed) == sorted((name, value) for name, values in copies(FED).items() for value in values)


@pytest.mark.parametrize("exactly", [True, False])
def test_right_output_has_no_fault(exactly):
    assert fault_of_copies(copies(FED), FED, exactly=exactly) == ""
    assert fault_of_counts(counts(FED), FED, exactly=exactly) == ""
    assert short(copies(FED), FED) == short(counts(FED), FED) == {}


@pytest.mark.parametrize("exactly", [True, False])
def test_a_lost_record_is_a_fault(exactly):
    copied, counted = copies(FED), counts(FED)
    del copied["key0"][1]
    counted["key0"].pop()
    assert "key0" in fault_of_copies(copied, FED, exactly=exactly)
    assert "key0" in fault_of_counts(counted, FED, exactly=exactly)
    assert short(copied, FED) == short(counted, FED) == {"key0": 1}


@pytest.mark.parametrize("exactly", [True, False])
def test_a_key_without_records_is_a_fault(exactly):
    copied, counted = copies(FED), counts(FED)
    del copied["key1"], counted["key1"]
    assert "key1" in fault_of_copies(copied, FED, exactly=exactly)
    assert "key1" in fault_of_counts(counted, FED, exactly=exactly)


def test_a_repeated_record_is_a_fault_of_exactly_once_only():
    copied, counted = copies(FED), counts(FED)
    copied["key2"].append(2)
    counted["key2"].append(4)
    assert "key2" in fault_of_copies(copied, FED, exactly=True)
    assert "key2" in fault_of_counts(counted, FED, exactly=True)
    assert fault_of_copies(copied, FED, exactly=False) == ""
    assert fault_of_counts(counted, FED, exactly=False) == ""


@pytest.mark.parametrize("exactly", [True, False])
def test_a_copy_of_what_was_never_fed_is_a_fault(exactly):
    copied = copies(FED)
    copied["key3"].append(99)
    assert "key3" in fault_of_copies(copied, FED, exactly=exactly)


def test_another_order_is_a_fault_of_exactly_once():
    copied = copies(FED)
    copied["key4"].reverse()
    assert fault_of_copies(copied, FED, exactly=True) == "key4: after [] comes [2, 1, 0] for [0, 1, 2]"
