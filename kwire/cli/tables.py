"""Tables on a terminal.

Responsible for: column widths. Must not depend on: the content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click


def print_table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns as wide as their longest cell; None is a dash, and columns of numbers align right."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    numeric = [
        bool(cells) and all(row[column].lstrip("-").isdecimal() or row[column] == "-" for row in cells)
        for column in range(len(heading))
    ]
    widths = [max(len(row[column]) for row in [heading, *cells]) for column in range(len(heading))]
    for row in [heading, *cells]:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())
