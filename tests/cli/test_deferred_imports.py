from __future__ import annotations

import importlib
import sys
import threading
import time

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
    assert importlib.import_module(MODULE).x == 5
    assert loads == ["ran"]


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


@pytest.fixture
def package(loads, tmp_path):
    """The same as a package, with a submodule that it imports."""
    (tmp_path / f"{MODULE}.py").unlink()
    folder = tmp_path / MODULE
    folder.mkdir()
    (folder / "__init__.py").write_text(f"import sys\nsys.{MODULE}_ran.append('ran')\nfrom {MODULE} import inner\n")
    (folder / "inner.py").write_text(f"import sys\nsys.{MODULE}_ran.append('inner ran')\n")
    yield folder
    sys.modules.pop(f"{MODULE}.inner", None)


@pytest.mark.usefixtures("package")
def test_an_import_of_a_submodule_runs_its_code_once(loads):
    package = importlib.import_module(MODULE)
    inner = importlib.import_module(f"{MODULE}.inner")
    assert package.inner is inner
    assert importlib.import_module(f"{MODULE}.inner") is inner
    assert loads == ["ran", "inner ran"]


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="Python 3.14 refuses this with _DeadlockError, also where nothing is deferred"
)
def test_threads_that_use_a_package_and_import_its_submodule_at_once_do_not_wait_for_each_other(loads, package):
    begun, may_end = threading.Event(), threading.Event()
    (package / "__init__.py").write_text(
        f"import sys\nbegun, may_end = sys.{MODULE}_ran\nbegun.set()\nmay_end.wait(150)\n"
        f"from {MODULE} import inner\nx = 5\n"
    )
    (package / "inner.py").write_text("")
    loads[:] = [begun, may_end]
    module = importlib.import_module(MODULE)
    threads = [
        threading.Thread(target=getattr, args=(module, "x"), daemon=True),
        threading.Thread(target=importlib.import_module, args=(f"{MODULE}.inner",), daemon=True),
    ]
    threads[0].start()
    assert begun.wait(150)
    threads[1].start()
    while f"{MODULE}.inner" not in importlib._bootstrap._module_locks and threads[1].is_alive():
        time.sleep(0)  # until the import has begun; nothing tells of that
    may_end.set()
    for thread in threads:
        thread.join(150)
    assert not any(thread.is_alive() for thread in threads)
    assert module.x == 5


def test_a_module_that_cannot_be_loaded_raises_at_each_use(loads, tmp_path):
    (tmp_path / f"{MODULE}.py").write_text("import no_module_has_this_name\n")
    module = importlib.import_module(MODULE)
    for _ in range(2):
        with pytest.raises(ImportError, match="no_module_has_this_name"):
            _ = module.x
    assert not loads
