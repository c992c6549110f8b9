"""A start of the whole server, as a process, with each broker setting given."""

import runpy
import signal
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from interop.brokers import PYTHON
from interop.case import Run, Skip, case
from interop.jars import ROOT

# A few texts for each setting, which the official classes accept. The sweep starts brokers in memory with all of them.
TEXTS: dict[str, list[str]] = runpy.run_path(str(ROOT / "tests" / "server" / "test_start_with_each_setting.py"))[
    "TEXTS"
]
AT_ONCE = 2
STARTED, REFUSED = "started", "refused"


@case("tools", "start", "each-setting")
def each_setting(run: Run) -> None:
    """With one text of each setting it starts and stops, or is refused in a sentence; no traceback in either case."""
    if run.target != "kwire":
        raise Skip("kwire's own settings and sentences")
    given = [(name, texts[-1]) for name, texts in TEXTS.items()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda pair: start_with(*pair), given))
    wrong = [outcome for outcome in outcomes if outcome not in (STARTED, REFUSED)]
    print(f"# {len(outcomes)} starts with {len(TEXTS)} settings: {dict(Counter(outcomes))}", flush=True)
    assert not wrong, f"{len(wrong)} of {len(outcomes)}\n" + "\n".join(wrong[:20])


def start_with(name: str, text: str) -> str:
    """``STARTED`` or ``REFUSED``, or what was wrong."""
    label = f"{name}={text}"
    with tempfile.TemporaryDirectory(prefix="kwire-start-") as folder:
        command = [PYTHON, "-P", "-m", "kwire", "serve", "--set", label.replace("://:", "://127.0.0.1:")]
        if name not in ("listeners", "advertised.listeners"):
            command += ["--listen", "127.0.0.1:0"]
        if name not in ("log.dir", "log.dirs"):
            command += ["--data", str(Path(folder) / "data")]
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        ready = process.stdout.readline().startswith("ready ")
        if ready:
            process.send_signal(signal.SIGTERM)
        try:
            _, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"{label}: did not stop"
    if "Traceback" in err or "bug in kwire" in err:
        return f"{label}: {err[-600:]}"
    if ready:
        return STARTED if process.returncode == 0 else f"{label}: ended with {process.returncode}: {err[-300:]}"
    sentences = err.splitlines()
    if process.returncode == 1 and sentences and sentences[-1].startswith("kwire: "):
        return REFUSED
    return f"{label}: neither ready nor refused in a sentence: {process.returncode}, {err[-300:]}"
