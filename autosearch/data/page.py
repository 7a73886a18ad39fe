"""The data report as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from autosearch.data.files import FileDataset
from autosearch.data.photos import in_parallel, open_image

__all__ = ["page"]

_NUM_THUMBNAILS = 16
_THUMBNAIL_PIXELS = 96
_MAX_ROWS = 500

_STYLE = """
body{font:16px/1.45 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:#222}
h1,h2,h3{line-height:1.2}table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;
text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{background:#3b6ea8;height:.9rem;display:inline-block}.sheet img{margin:2px;height:96px}
code{background:#f2f2f2;padding:0 .2rem}.why{color:#555}
""".strip()


def page(dataset: FileDataset, report: Mapping[str, Any]) -> str:
    """Draws a report: advice, counts, sizes, a contact sheet of each class, and what is wrong.

    Args:
        dataset: Where the pictures come from.
        report: What ``inspect`` said of it.

    Returns:
        HTML, with every picture as a ``data:`` URI and every name escaped.
    """
    title = f"Data: {escape(Path(report['path']).name)}"
    body = "\n".join(
        (
            f"<h1>{title}</h1>",
            f"<p><code>{escape(report['path'])}</code>: {report['num_images']:,} usable images in "
            f"{len(report['classes'])} classes.</p>",
            _advice(report["advice"]),
            _counts(report["classes"]),
            _sizes(dataset, report),
            _sheets(dataset),
            _rows("Unusable", ((row["path"], row["reason"]) for row in report["unusable"])),
            _rows("Same picture, different labels", report["conflicting_duplicates"]),
            _rows("Same picture", report["duplicates"]),
            _rows("Look alike", report["near_duplicates"]),
            _rows("Ignored", ((path,) for path in report["ignored"])),
        )
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _advice(advice: Iterable[Mapping[str, str]]) -> str:
    items = "".join(
        f"<li>{escape(a['advice'])} <span class=why>{escape(a['reason'])}</span></li>"
        for a in advice
    )
    return f"<h2>Advice</h2><ul>{items}</ul>"


def _counts(classes: Mapping[str, int]) -> str:
    largest = max(1, *classes.values())
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{count:,}</td>'
        f'<td><span class="bar" style="width:{24 * count / largest:.2f}rem"></span></td></tr>'
        for name, count in classes.items()
    )
    return f"<h2>Classes</h2><table>{rows}</table>"


def _sizes(dataset: FileDataset, report: Mapping[str, Any]) -> str:
    photos = dataset.survey.photos
    if not photos:
        return ""
    sizes, counts = np.unique(
        [(photo.width, photo.height) for photo in photos], axis=0, return_counts=True
    )
    modes = ", ".join(f"{escape(mode)} {count:,}" for mode, count in report["modes"].items())
    if len(sizes) == 1:
        width, height = sizes[0]
        return f"<h2>Sizes</h2><p>All have {width} × {height} pixels. Modes: {modes}.</p>"
    side = int(sizes.max())
    shown = np.argsort(-counts, kind="stable")[:2000]
    across, down = 30 + 300 * sizes[:, 0] / side, 310 - 300 * sizes[:, 1] / side
    radii = 2 + 6 * np.sqrt(counts / counts.max())
    dots = "".join(
        f'<circle cx="{across[i]:.1f}" cy="{down[i]:.1f}" r="{radii[i]:.1f}">'
        f"<title>{sizes[i][0]} × {sizes[i][1]}: {counts[i]}</title></circle>"
        for i in shown
    )
    words = "; ".join(
        f"{name} {s['min']} to {s['max']}, median {s['median']:g}"
        for name, s in report["sizes"].items()
    )
    return (
        f"<h2>Sizes</h2><p>In pixels: {words}. Modes: {modes}.</p>"
        '<svg width="350" height="340" role="img" aria-label="Height against width">'
        '<path d="M30 10V310H330" fill="none" stroke="#888"/>'
        f'<g fill="#3b6ea8" fill-opacity=".55">{dots}</g>'
        f'<text x="330" y="328" text-anchor="end" font-size="12">width, to {side}</text>'
        '<text x="4" y="10" font-size="12" transform="rotate(90 4 10)">height</text></svg>'
    )


def _sheets(dataset: FileDataset) -> str:
    parts = ["<h2>Contact sheets</h2>"]
    by_class: dict[str, list[Any]] = {name: [] for name in dataset.classes}
    for source in dataset.survey.sources:
        # Ordered by contents, so the first few are as good as drawn by lot.
        if len(by_class[source.label]) < _NUM_THUMBNAILS:
            by_class[source.label].append(source)
    chosen = [source for sources in by_class.values() for source in sources]
    images = dict(
        zip(
            (source.shown for source in chosen),
            in_parallel(_thumbnail, [source.path for source in chosen]),
            strict=True,
        )
    )
    for name, sources in by_class.items():
        pictures = "".join(
            f'<img src="{images[s.shown]}" alt="" title="{escape(_text(s.shown))}">'
            for s in sources
        )
        parts.append(f'<h3>{escape(_text(name))}</h3><div class="sheet">{pictures}</div>')
    return "\n".join(parts)


def _thumbnail(path: Path) -> str:
    image = open_image(path)
    image.thumbnail((2 * _THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _rows(title: str, rows: Iterable[Iterable[str]]) -> str:
    lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    if not lines:
        return ""
    more = f"<p>… and {len(lines) - _MAX_ROWS:,} more.</p>" if len(lines) > _MAX_ROWS else ""
    return (
        f"<h2>{escape(title)}: {len(lines):,}</h2><table>{''.join(lines[:_MAX_ROWS])}</table>{more}"
    )


def _text(name: str) -> str:
    return name.encode("utf-8", "replace").decode()
