from __future__ import annotations

import importlib
import sys
import threading

import pytest

from kwire.cli import deferred_imports

MODULE = "deferred_for_a_test"


@pytest.fixture
def loads(tmp_path, monkeypatch):
    """The list of what the code of the deferred module did when it ran."""
    ran = []
    monkeypatch.setattr(sys, "deferred_for_a_test_ran", ran, raising=False)
    (tmp_path / f"{MODULE}.py").write_text(f"import sys\nsys.{MODULE}_ran.append('ran')\nimport {MODULE}\nx = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(deferred_imports, "DEFERRED", {MODULE})
    deferred_imports.defer_imports()
    yield ran
    sys.modules.pop(MODULE, None)


def test_the_code_of_a_module_runs_when_an_attribute_is_read_and_only_once(loads):
    import deferred_for_a_test
    import deferred_for_a_test as second

    importlib.import_module(MODULE)
    assert not loads
    assert (deferred_for_a_test.x, second.x) == (5, 5)
    assert loads == ["ran"]
    assert sys.modules[MODULE] is second


def test_an_import_from_a_deferred_module_loads_it(loads):
    from deferred_for_a_test import x

    assert (x, loads) == (5, ["ran"])


def test_threads_that_use_a_module_at_once_see_it_whole(loads, tmp_path):
    begun, may_end = threading.Event(), threading.Event()
    (tmp_path / f"{MODULE}.py").write_text(
        f"import sys\nbegun, may_end = sys.{MODULE}_ran\nbegun.set()\nmay_end.wait(150)\nx = 5\n"
    )
    loads[:] = [begun, may_end]
    module = importlib.import_module(MODULE)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(module.x)) for _ in range(2)]
    threads[0].start()
    assert begun.wait(150)
    threads[1].start()
    may_end.set()
    for thread in threads:
        thread.join()
    assert seen == [5, 5]


def test_a_thread_that_reads_an_attribute_while_another_ends_the_load_sees_the_module_whole(loads):
    module = importlib.import_module(MODULE)
    read = type(module).__getattribute__  # looked up by one thread
    assert module.x == 5  # loaded by another one meanwhile
    assert read(module, "x") == 5
    assert loads == ["ran"]


def test_a_module_that_cannot_be_loaded_raises_at_each_use(loads, tmp_path):
    (tmp_path / f"{MODULE}.py").write_text("import no_module_has_this_name\n")
    module = importlib.import_module(MODULE)
    for _ in range(2):
        with pytest.raises(ImportError, match="no_module_has_this_name"):
            _ = module.x
    assert not loads
