"""The data report as one HTML page that needs nothing else: no script, no network."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.files import FileDataset, printable
from autosearch.data.photos import in_parallel, open_image

__all__ = ["page"]

_OF_A_CLASS = 16
_THUMBNAIL_PIXELS = 96
_MAX_ROWS = 500
_SETS_WITH_PICTURES, _PICTURES_OF_A_SET = 40, 6
_LONG = 12  # A longer list is folded up.

_STYLE = """
:root{--ink:#1f2328;--soft:#59636e;--line:#d8dee4;--card:#f6f8fa;--bar:#3b6ea8;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--line:#3a424c;
--card:#1b2129;--bar:#6ea3db;--bad:#ff8a80}body{background:#0f1419}}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;
color:var(--ink)}h1{margin-bottom:0}h1,h2,h3{line-height:1.2}h2{margin-top:2.2rem;
border-bottom:1px solid var(--line);padding-bottom:.3rem}h3{margin:1.2rem 0 .3rem}
.soft,.why,figcaption{color:var(--soft)}code{overflow-wrap:anywhere}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:1.2rem 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:.5rem;
padding:.5rem .9rem;min-width:6rem}.tile b{display:block;font-size:1.5rem;line-height:1.3}
.bad b{color:var(--bad)}.advice{list-style:none;padding:0}.advice li{border-left:3px solid
var(--bar);padding:.1rem 0 .1rem .8rem;margin:.6rem 0}.why{display:block}
.scroll{overflow-x:auto}table{border-collapse:collapse}td,th{padding:.2rem 1.2rem .2rem 0;
text-align:left;vertical-align:top;overflow-wrap:anywhere}tr+tr td{border-top:1px solid
var(--line)}td.n{text-align:right;font-variant-numeric:tabular-nums}
.bars{columns:22rem;column-gap:2rem}.bars div{display:grid;gap:.6rem;break-inside:avoid;
grid-template-columns:minmax(4rem,9rem) 3.5rem 1fr;align-items:center}
.bars span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.bars .n{text-align:right;
font-variant-numeric:tabular-nums}.bars i{background:var(--bar);height:.8rem;border-radius:2px}
.sheet{display:flex;flex-wrap:wrap;gap:4px}.sheet img{height:96px;max-width:192px;
min-width:8px;border-radius:3px;background:var(--card)}
.sets figure{display:inline-block;margin:0 .8rem .6rem 0;max-width:12rem;vertical-align:top}
.sets .set{border-top:1px solid var(--line);padding-top:.6rem}.sets img{height:96px;
max-width:192px;border-radius:3px}figcaption{font-size:.8rem;overflow-wrap:anywhere}
svg{max-width:100%;height:auto}svg text{fill:var(--soft);font-size:12px}
svg .axis{stroke:var(--line);fill:none}svg .dots{fill:var(--bar);fill-opacity:.5}
summary{cursor:pointer;color:var(--soft)}
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
    conflicting = report["conflicting_duplicates"]
    same = [paths for paths in report["duplicates"] if paths not in conflicting]
    pictures = _Pictures(dataset)
    body = "\n".join(
        (
            f'<h1>{title}</h1><p class="soft"><code>{escape(report["path"])}</code></p>',
            _tiles(report),
            _advice(report["advice"]),
            _counts(report),
            _sizes(dataset, report),
            _groups(report["groups"]),
            _unusable(report["unusable"]),
            _sets("Same picture, different labels", conflicting, pictures),
            _sets("Same picture", same, pictures),
            _sets("Look alike", report["near_duplicates"], pictures),
            _sets("Shot within seconds", report["bursts"], pictures),
            _sheets(dataset, pictures),
            _ignored(report["ignored"]),
        )
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


class _Pictures:
    """Thumbnails of the usable images, by printable path; each is drawn once."""

    def __init__(self, dataset: FileDataset) -> None:
        self._places = {printable(s.shown): s.path for s in dataset.survey.sources}
        self._drawn: dict[str, str] = {}

    def __call__(self, shown: Iterable[str]) -> list[str]:
        shown = list(shown)
        new = [name for name in dict.fromkeys(shown) if name not in self._drawn]
        drawn = in_parallel(_thumbnail, [self._places[name] for name in new])
        self._drawn.update(zip(new, drawn, strict=True))
        return [f'<img src="{self._drawn[name]}" alt="" title="{escape(name)}">' for name in shown]


def _thumbnail(path: Path) -> str:
    image = open_image(path)
    image.thumbnail((2 * _THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _tiles(report: Mapping[str, Any]) -> str:
    ratio = report["imbalance_ratio"]
    tiles = [
        (f"{report['num_images']:,}", "usable images", ""),
        (f"{len(report['classes']):,}", "classes", ""),
        (f"{ratio:.1f} : 1" if ratio else "–", "largest to smallest", ""),
    ]
    tiles += [(f"{n:,}", f"in {split}", "") for split, n in (report["splits"] or {}).items()]
    for key, words, kind in (
        ("unusable", "unusable files", "bad"),
        ("conflicting_duplicates", "labelled in two ways", "bad"),
        ("duplicates", "same picture", ""),
        ("near_duplicates", "look alike", ""),
    ):
        if report[key]:
            tiles.append((f"{len(report[key]):,}", words, kind))
    drawn = "".join(
        f'<div class="tile {kind}"><b>{figure}</b>{words}</div>' for figure, words, kind in tiles
    )
    return f'<div class="tiles">{drawn}</div>'


def _advice(advice: Iterable[Mapping[str, str]]) -> str:
    items = "".join(
        f"<li>{escape(a['advice'])} <span class=why>{escape(a['reason'])}</span></li>"
        for a in advice
    )
    return f'<h2>Advice</h2><ul class="advice">{items}</ul>'


def _bars(counts: Mapping[str, int]) -> str:
    largest = max(1, *counts.values())
    bars = "".join(
        f'<div><span title="{escape(name)}">{escape(name)}</span><span class="n">{count:,}</span>'
        f'<i style="width:{100 * count / largest:.1f}%"></i></div>'
        for name, count in counts.items()
    )
    return f'<div class="bars">{bars}</div>'


def _counts(report: Mapping[str, Any]) -> str:
    return f"<h2>Classes</h2>{_bars(report['classes'])}"


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
    words = "; ".join(
        f"{name} {s['min']:,} to {s['max']:,}, median {s['median']:g}"
        for name, s in report["sizes"].items()
    )
    return f"<h2>Sizes</h2><p>In pixels: {words}. Modes: {modes}.</p>{_plot(sizes, counts)}"


def _plot(sizes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> str:
    """Height against width, on logarithmic axes, since one panorama would crowd all others."""
    low, high = np.log2(sizes.min()) - 0.2, np.log2(sizes.max()) + 0.2
    pixels = 320 / (high - low)

    def place(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return np.asarray((np.log2(values) - low) * pixels, dtype=np.float64)

    shown = np.argsort(-counts, kind="stable")[:2000]
    radii = 2 + 6 * np.sqrt(counts / counts.max())
    dots = "".join(
        f'<circle cx="{50 + x:.1f}" cy="{330 - y:.1f}" r="{radii[i]:.1f}">'
        f"<title>{sizes[i][0]:,} × {sizes[i][1]:,}: {counts[i]:,}</title></circle>"
        for i, (x, y) in zip(shown, place(sizes[shown]), strict=True)
    )
    step = max(1, round((high - low) / 6))
    powers = range(int(np.ceil(low)), int(high) + 1, step)
    ticks = "".join(
        f'<path class="axis" d="M{50 + at:.1f} 10V330M50 {330 - at:.1f}H370"/>'
        f'<text x="{50 + at:.1f}" y="346" text-anchor="middle">{2**power:,}</text>'
        f'<text x="44" y="{334 - at:.1f}" text-anchor="end">{2**power:,}</text>'
        for power, at in ((power, float(place(2.0**power))) for power in powers)
    )
    return (
        '<svg width="400" height="370" viewBox="0 0 400 370" role="img" '
        'aria-label="Height against width">'
        f'{ticks}<path class="axis" d="M50 10V330H370"/><g class="dots">{dots}</g>'
        '<text x="210" y="365" text-anchor="middle">width</text>'
        '<text x="12" y="170" text-anchor="middle" transform="rotate(-90 12 170)">height</text>'
        "</svg>"
    )


def _groups(groups: Mapping[str, Mapping[str, int]]) -> str:
    parts = []
    for column, counts in groups.items():
        common = sorted(counts, key=lambda value: (-counts[value], value))[:_MAX_ROWS]
        sizes = Counter(counts.values())
        words = f"{len(counts):,} groups of {min(sizes):,} to {max(sizes):,} images"
        bars = _folded(_bars({value: counts[value] for value in common}), len(common))
        parts.append(f"<h3>{escape(column)}</h3><p>{words}.</p>{bars}")
    return f"<h2>Groups</h2>{''.join(parts)}" if parts else ""


def _unusable(rows: Sequence[Mapping[str, str]]) -> str:
    if not rows:
        return ""
    kinds = Counter(row["reason"].split(":")[0] for row in rows)
    words = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    cells = [(row["path"], row["reason"]) for row in rows]
    return f"<h2>Unusable: {len(rows):,}</h2><p>{escape(words)}.</p>{_table(cells, is_open=True)}"


def _sets(title: str, sets: Sequence[Sequence[str]], pictures: _Pictures) -> str:
    if not sets:
        return ""
    first, rest = sets[:_SETS_WITH_PICTURES], sets[_SETS_WITH_PICTURES:]
    drawn = []
    for paths in first:
        shown = paths[:_PICTURES_OF_A_SET]
        figures = "".join(
            f"<figure>{image}<figcaption>{escape(path)}</figcaption></figure>"
            for path, image in zip(shown, pictures(shown), strict=True)
        )
        more = f"and {len(paths) - len(shown):,} more" if len(paths) > len(shown) else ""
        drawn.append(f'<div class="set">{figures}{more}</div>')
    return (
        f'<h2>{escape(title)}: {len(sets):,}</h2><div class="sets">{"".join(drawn)}</div>'
        f"{_table(rest) if rest else ''}"
    )


def _sheets(dataset: FileDataset, pictures: _Pictures) -> str:
    parts = ["<h2>Contact sheets</h2>"]
    by_class: dict[str, list[str]] = {name: [] for name in dataset.classes}
    for source in dataset.survey.sources:
        # Ordered by contents, so the first few are as good as drawn by lot.
        if len(by_class[source.label]) < _OF_A_CLASS:
            by_class[source.label].append(printable(source.shown))
    drawn = iter(pictures(shown for of_class in by_class.values() for shown in of_class))
    for name, of_class in by_class.items():
        images = "".join(next(drawn) for _ in of_class) or "no usable image"
        parts.append(f'<h3>{escape(printable(name))}</h3><div class="sheet">{images}</div>')
    return "\n".join(parts)


def _ignored(paths: Sequence[str]) -> str:
    return f"<h2>Ignored: {len(paths):,}</h2>{_table([(p,) for p in paths])}" if paths else ""


def _table(rows: Sequence[Iterable[str]], *, is_open: bool = False) -> str:
    lines = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    more = f"<p>… and {len(lines) - _MAX_ROWS:,} more.</p>" if len(lines) > _MAX_ROWS else ""
    table = f'<div class="scroll"><table>{"".join(lines[:_MAX_ROWS])}</table>{more}</div>'
    return _folded(table, len(lines), is_open=is_open)


def _folded(content: str, count: int, *, is_open: bool = False) -> str:
    if count <= _LONG:
        return content
    state = " open" if is_open else ""
    return f"<details{state}><summary>All {count:,}</summary>{content}</details>"
