"""A report as plain blocks, and its two forms: one self-contained HTML file, and Markdown."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3; others can link to it."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Attributes:
        text: shown.
        best: set in bold.
        link: anchor of a picture or heading it points to.
    """

    text: str
    best: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing or a picture.

    Attributes:
        name: file name without folder, as `success-day.svg` or `worst-car1-0012.jpg`.
        data: its bytes.
        caption: below it.
    """

    name: str
    data: bytes
    caption: str

    @property
    def anchor(self) -> str:
        """Where links lead to."""
        return slug(Path(self.name).stem)


Block = Heading | Paragraph | Table | Figure


def slug(text: str) -> str:
    """Lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;
background:#fff;color:#1b1f24}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
caption{text-align:left;color:#57606a;padding-bottom:.3rem}
th,td{border:1px solid #d0d7de;padding:.25rem .6rem;text-align:right}
td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}
thead th,thead th:first-child{background:#f3f5f7}
figure{margin:.6rem .5% .6rem 0;display:inline-block;max-width:49%;vertical-align:top}
figure img{max-width:100%;height:auto}
figcaption{color:#57606a}figure:target{outline:3px solid #0969da}
"""
_MIME = {".svg": "image/svg+xml", ".jpg": "image/jpeg", ".png": "image/png"}


def render_html(title: str, blocks: Sequence[Block]) -> str:
    """Render one file that needs no other."""
    body = "\n".join(_html_block(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _html_block(block: Block) -> str:
    if isinstance(block, Heading):
        text = html.escape(block.text)
        return f'<h{block.level} id="{slug(block.text)}">{text}</h{block.level}>'
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Figure):
        mime = _MIME[Path(block.name).suffix]
        data = base64.b64encode(block.data).decode()
        caption = html.escape(block.caption)
        return (
            f'<figure id="{block.anchor}"><img alt="{caption}" src="data:{mime};base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    head = "".join(f"<th>{html.escape(text)}</th>" for text in block.headings)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{_html_cell(cell)}</td>" for cell in row) + "</tr>"
        for row in block.rows
    )
    caption = f"<caption>{html.escape(block.caption)}</caption>" if block.caption else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _html_cell(cell: Cell) -> str:
    text = html.escape(cell.text)
    if cell.link:
        text = f'<a href="#{html.escape(cell.link)}">{text}</a>'
    return f"<strong>{text}</strong>" if cell.best else text


def render_markdown(blocks: Sequence[Block], folder: str) -> str:
    """Render Markdown; figures are files in `folder`, a path relative to the text."""
    return "\n\n".join(_markdown_block(block, folder) for block in blocks) + "\n"


def _markdown_block(block: Block, folder: str) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Paragraph):
        return block.text
    if isinstance(block, Figure):
        return f'<a id="{block.anchor}"></a>\n![{block.caption}]({folder}/{block.name})'
    lines = [
        "| " + " | ".join(_escape(h) for h in block.headings) + " |",
        "| --- |" + " ---: |" * (len(block.headings) - 1),
        *("| " + " | ".join(_markdown_cell(cell) for cell in row) + " |" for row in block.rows),
    ]
    caption = f"{block.caption}\n\n" if block.caption else ""
    return caption + "\n".join(lines)


def _markdown_cell(cell: Cell) -> str:
    text = _escape(cell.text)
    if cell.link:
        text = f"[{text}](#{cell.link})"
    return f"**{text}**" if cell.best else text


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def write_report(out: Path, title: str, blocks: Sequence[Block]) -> tuple[Path, Path]:
    """Write `report.html`, `report.md` and the latter's figures.

    Returns:
        the two files.
    """
    out.mkdir(parents=True, exist_ok=True)
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    for block in blocks:
        if isinstance(block, Figure):
            (figures / block.name).write_bytes(block.data)
    page, text = out / "report.html", out / "report.md"
    page.write_text(render_html(title, blocks), encoding="utf-8")
    text.write_text(render_markdown(blocks, figures.name), encoding="utf-8")
    return page, text
