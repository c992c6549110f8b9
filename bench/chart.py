"""The chart of ``docs/performance.md``: kwire's cost as a share of Apache Kafka's, row by row, as an SVG."""

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from bench.report import short
from bench.targets import Verdict, verdicts
from kwire.kafka_release import RELEASE

# What is drawn: all numbers of which less is better, so that a short bar is a good one.
_BARS: dict[tuple[str, str], str] = {
    ("start", "cpu_s"): "start, CPU",
    ("idle memory", "rss_mb"): "memory, idle",
    ("memory after the load", "rss_mb"): "memory, after load",
    ("produce 100 B", "cpu_s_per_gb"): "produce 100 B, CPU per GB",
    ("produce 1 KB", "cpu_s_per_gb"): "produce 1 KB, CPU per GB",
    ("produce 10 KB", "cpu_s_per_gb"): "produce 10 KB, CPU per GB",
    ("consume 1 KB", "cpu_s_per_gb"): "consume 1 KB, CPU per GB",
    ("pipelined", "cpu_us_per_request"): "small requests, pipelined, CPU",
    ("one in flight", "cpu_us_per_request"): "small requests, one at a time, CPU",
    ("end to end latency", "p50_ms"): "latency, p50",
    ("end to end latency", "p99_ms"): "latency, p99",
    ("1,000 connections", "cpu_s"): "1,000 connections, CPU",
    ("1,000 topics", "metadata_ms"): "Metadata of 1,000 topics",
    ("first group of five", "seconds"): "first group of five, time",
}
_ROW, _BAR, _LEFT, _WIDTH, _TOP = 26, 16, 230, 420, 46
_OURS, _THEIRS, _MARK, _TEXT, _PAPER = "#1f7a6d", "#d5d9de", "#c2410c", "#24292f", "#ffffff"


def chart(seen: Mapping[str, Any]) -> str:
    found = {(verdict.row, verdict.number): verdict for verdict in verdicts(seen)}
    drawn = [(words, found[key]) for key, words in _BARS.items() if key in found and found[key].ratio is not None]
    height = _TOP + len(drawn) * _ROW + 34
    size = f'viewBox="0 0 {_LEFT + _WIDTH + 90} {height}"'
    title = f"kwire beside Apache Kafka {RELEASE} (grey, 100 %)"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="{_TEXT}">',
        f"<title>{title}</title>",
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>',
        f'<text x="{_LEFT}" y="20" font-size="14" font-weight="600">{title}</text>',
        f'<text x="{_LEFT}" y="36">less is better; the mark is what was promised</text>',
    ]
    for number, (words, verdict) in enumerate(drawn):
        lines += _bar(_TOP + number * _ROW, words, verdict)
    lines += ["</svg>", ""]
    return "\n".join(lines)


def _bar(y: int, words: str, verdict: Verdict) -> list[str]:
    assert verdict.ratio is not None
    share = min(1.0, verdict.ratio)
    text = y + _BAR - 4
    lines = [
        f'<text x="{_LEFT - 8}" y="{text}" text-anchor="end">{escape(words)}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{_WIDTH}" height="{_BAR}" fill="{_THEIRS}"/>',
        f'<rect x="{_LEFT}" y="{y}" width="{share * _WIDTH:.1f}" height="{_BAR}" fill="{_OURS}"/>',
    ]
    if verdict.target is not None and not verdict.target.absolute:
        x = _LEFT + verdict.target.bound * _WIDTH
        lines.append(f'<path d="M{x:.1f} {y - 2}v{_BAR + 4}" stroke="{_MARK}" stroke-width="2"/>')
    lines.append(f'<text x="{_LEFT + _WIDTH + 8}" y="{text}">{short(verdict.ratio * 100)} %</text>')
    return lines
