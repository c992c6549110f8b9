"""`python -m bench document`: writes the measured tables into ``docs/performance.md`` and ``docs/scale.md``.

It draws the chart too. The pages are written by hand; the text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is
generated from the JSON files in ``docs/performance/``: ``rows.json`` (`--json` of the table), ``compiled.json`` (the
same of the compiled wheel), ``tls.json`` (the rows whose names begin with TLS), ``growth.json``, ``soak.json``,
``scale.json`` (`--json` of `python -m bench scale`), ``proxy.json`` (`--json` of `python -m bench proxy`).
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import growth, proxy, report
from bench.chart import chart

_FOLDER = Path("docs/performance")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench document", description=__doc__)
    parser.add_argument("--folder", type=Path, default=_FOLDER)
    options = parser.parse_args(arguments)
    for page, blocks in _PAGES.items():
        if not page.exists():
            continue
        text = page.read_text()
        for name, write in blocks.items():
            path = options.folder / f"{name.partition(' ')[0]}.json"
            if path.exists():
                text = _replaced(text, name, write(json.loads(path.read_text())))
        page.write_text(text)
    rows = options.folder / "rows.json"
    if rows.exists():
        rows.with_suffix(".svg").write_text(chart(json.loads(rows.read_text())["rows"]))
    return 0


def _replaced(page: str, name: str, text: str) -> str:
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    assert block.search(page), f"the page has no place for {name}"
    return block.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page)


def _machine(document: Mapping[str, Any]) -> str:
    about = document["machine"]
    pinned = "cores not pinned" if about["pinned"] == "no" else about["pinned"]
    return f"{_software(about)}, {pinned}, {about['rounds']} rounds at scale {about['scale']:g}."


def _one_side(document: Mapping[str, Any]) -> str:
    """Where Apache Kafka has no part."""
    about = document["machine"]
    return (
        f"{about['cores']} cores ({about['cpu']}, a virtual machine), {about['kernel']}, Python {about['python']}, "
        f"{about['rounds']} rounds at scale {about['scale']:g}."
    )


def _software(about: Mapping[str, Any]) -> str:
    return (
        f"{about['cores']} cores ({about['cpu']}, a virtual machine), {about['kernel']}, Python {about['python']}, "
        f"librdkafka {about['librdkafka']}, {about['java']}, Kafka {about['kafka']}"
    )


def _floor(document: Mapping[str, Any]) -> str:
    lines = ["| floor | |", "|---|---:|"]
    lines += [f"| {name} | {report.short(value)} |" for name, value in document["floor"].items()]
    return "\n".join(lines)


def _growth(document: Mapping[str, Any]) -> str:
    lines = []
    for axis, by_size in document["axes"].items():
        sizes = [f"{int(size):,}" for size in by_size]
        lines += [f"### {axis.capitalize()}", "", f"| | {' | '.join(sizes)} | |", f"|---|{'---:|' * len(sizes)}---|"]
        for number, (values, words) in growth.judged(by_size).items():
            lines.append(f"| {number} | {' | '.join(map(report.short, values))} | {words} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _soak(document: Mapping[str, Any]) -> str:
    rows = document["rows"]
    names = {"minute": "minute", "rss_mb": "MB", "descriptors": "descriptors", "cpu_percent": "CPU %",
             "produced_mb": "MB produced", "p50_ms": "p50 ms", "p99_ms": "p99 ms"}  # fmt: skip
    lines = [f"| {' | '.join(names.values())} |", f"|{'---:|' * len(names)}"]
    lines += [f"| {' | '.join(report.short(row[name]) for name in names)} |" for row in _some(rows)]
    return "\n".join([*lines, "", *(f"- {word}" for word in document["verdict"])])


def _some(rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """A dozen of them are enough to see it."""
    step = max(1, len(rows) // 12)
    return list(rows[::step])


def _scale(document: Mapping[str, Any]) -> str:
    """A table for each part; a column for each kind of broker, of the model for each size."""
    lines: list[str] = []
    for part, by_kind in document.items():
        if part != "machine":
            lines += [f"### {part.capitalize()}", "", *(_by_size if part == "model" else _by_kind)(by_kind), ""]
    return "\n".join(lines).rstrip()


def _by_size(measured: Mapping[str, Any]) -> list[str]:
    sizes = measured["model"]
    lines = [f"| | {' | '.join(sizes)} |", f"|---|{'---:|' * len(sizes)}"]
    for number in next(iter(sizes.values())):
        values = " | ".join(report.short(numbers[number]) for numbers in sizes.values())
        lines.append(f"| {report.unit(number)} | {values} |")
    return lines


def _by_kind(measured: Mapping[str, Any]) -> list[str]:
    kinds = [kind.replace("apache", "Apache Kafka") for kind in measured]
    lines = [f"| | | {' | '.join(kinds)} |", f"|---|---|{'---:|' * len(kinds)}"]
    for name, numbers in next(iter(measured.values())).items():
        for index, number in enumerate(numbers):
            values = [by_name.get(name, {}).get(number) for by_name in measured.values()]
            shown = " | ".join("" if value is None else report.short(value) for value in values)
            lines.append(f"| {'' if index else name} | {report.unit(number)} | {shown} |")
    return lines


_BLOCKS = {
    "rows": lambda document: report.markdown(document["rows"]),
    "rows summary": lambda document: report.summary(document["rows"]) + ".",
    "rows machine": _machine,
    "rows floor": _floor,
    "compiled": lambda document: report.markdown(document["rows"]),
    "tls": lambda document: report.markdown(document["rows"]),
    "tls machine": _machine,
    "growth": _growth,
    "soak": _soak,
    "proxy": lambda document: proxy.markdown(document["rows"]),
    "proxy summary": lambda document: proxy.sentence(document["rows"]),
    "proxy machine": _one_side,
}
_PAGES = {
    Path("docs/performance.md"): _BLOCKS,
    Path("docs/scale.md"): {
        "scale": _scale,
        "scale machine": lambda document: f"{_software(document['machine'])}.",
    },
}
