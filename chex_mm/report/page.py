"""A report as one HTML page that needs no other file.

Legible on a phone and on paper: pictures shrink with the page, and what is
too wide for a phone scrolls by itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light; --ink: #1c2733; --soft: #5b6876;
  --line: #dfe5ea; --tint: #f5f7f9; --blue: #1f6feb; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 54rem;
  color: var(--ink); background: white;
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans',
  sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.4rem 0; }
h2 { font-size: 1.15rem; margin: 0 0 0.3rem; }
p { margin: 0.3rem 0 0.8rem; }
.lead, figcaption, td small { color: var(--soft); }
section { margin: 2.2rem 0; }
.cards { display: grid; gap: 0.7rem; margin: 1.2rem 0;
  grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); }
.card { border: 1px solid var(--line); border-radius: 8px;
  padding: 0.7rem 0.9rem; background: var(--tint); }
.card b { display: block; font-size: 1.45rem; line-height: 1.25; }
.card span { color: var(--soft); font-size: 0.85rem; }
figure { margin: 0.6rem 0 1.2rem; }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch; }
.wide img { min-width: 34rem; }
img { display: block; width: 100%; max-width: 44rem; height: auto; }
table { border-collapse: collapse; font-size: 0.92rem; min-width: 50%;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
pre { background: var(--tint); border: 1px solid var(--line);
  border-radius: 8px; padding: 0.8rem; overflow-x: auto;
  font-size: 0.78rem; line-height: 1.4; }
summary { cursor: pointer; color: var(--blue); }
@media (max-width: 36rem) {
  table { font-size: 0.78rem; }
  th, td { padding: 0.25rem 0.35rem; }
}
@media print {
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  section, figure, .card, tr { break-inside: avoid; }
  section.long { break-inside: auto; }
  h2, h2 + p { break-after: avoid; }
  .wide { overflow: visible; }
  img { max-width: 15cm; max-height: 23cm; object-fit: contain;
    object-position: left; }
  .wide img { min-width: 0; }
  summary { display: none; }
  details::details-content { content-visibility: visible; display: block; }
  pre { white-space: pre-wrap; border: 0; padding: 0; font-size: 7pt; }
}
"""


@dataclass(frozen=True)
class Table:
    """Columns, and rows of as many cells."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: Its heading.
        text: What there is to see, or why there is nothing.
        pictures: PNG files.
        table: Below them.
        code: Text that is shown when it is asked for.
        is_wide: Whether the pictures scroll on a narrow screen instead of
            getting illegible.
    """

    title: str
    text: str
    pictures: tuple[Path, ...] = ()
    table: Table | None = None
    code: str = ''
    is_wide: bool = False


@dataclass(frozen=True)
class Card:
    """A number that matters, and what it is."""

    value: str
    name: str


def page(
    title: str, lead: str, cards: Iterable[Card], sections: Iterable[Section]
) -> str:
    """The whole page."""
    numbers = ''.join(
        f'<div class="card"><b>{escape(card.value)}</b>'
        f'<span>{escape(card.name)}</span></div>'
        for card in cards
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, '
        'initial-scale=1">'
        f'<title>{escape(title)}</title><style>{STYLE}</style></head><body>'
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>'
        f'<div class="cards">{numbers}</div>'
        f'{"".join(map(_section, sections))}</body></html>\n'
    )


def _section(section: Section) -> str:
    kind = ' class="long"' if section.code or section.is_wide else ''
    parts = [f'<h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>']
    wide = ' class="wide"' if section.is_wide else ''
    for path in section.pictures:
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(
            f'<figure{wide}><img alt="{escape(section.title)}" '
            f'src="data:image/png;base64,{data}"></figure>'
        )
    if section.table:
        parts.append(f'<div class="wide">{_table(section.table)}</div>')
    if section.code:
        parts.append(
            '<details><summary>show</summary>'
            f'<pre>{escape(section.code)}</pre></details>'
        )
    return f'<section{kind}>{"".join(parts)}</section>\n'


def _table(table: Table) -> str:
    head = ''.join(f'<th>{escape(name)}</th>' for name in table.columns)
    rows = ''.join(
        '<tr>' + ''.join(f'<td>{escape(cell)}</td>' for cell in row) + '</tr>'
        for row in table.rows
    )
    return (
        f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )
