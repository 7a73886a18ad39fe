"""A network as a picture, and where the bytes and the time of a file go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from autosearch.evaluation.layers import Layer, layer_times_ms, layers_of
from autosearch.visualization.style import GREY, PALETTE, base_figure, escaped, not_yet

# What reads a file stands here too, for pages that see the library through its charts alone.
__all__ = [
    "Layer",
    "architecture_svg",
    "layer_names",
    "layer_times_ms",
    "layers_of",
    "plot_layers",
    "plot_networks",
]

_NAMES = {
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "depthwise convolution",
    "FULLY_CONNECTED": "dense",
    "AVERAGE_POOL_2D": "average pooling",
    "MAX_POOL_2D": "max pooling",
    "MEAN": "mean",
    "ADD": "add",
    "MUL": "multiply",
    "SOFTMAX": "softmax",
    "LOGISTIC": "sigmoid",
    "RESHAPE": "reshape",
    "REDUCE_MAX": "maximum",
    "QUANTIZE": "requantize",
    "DEQUANTIZE": "dequantize",
}
_MIN_SHARE = 0.02
# By what an operator does, so that the eye finds the parts of a network.
_COLOURS = {
    "CONV_2D": PALETTE[0],
    "DEPTHWISE_CONV_2D": PALETTE[5],
    "FULLY_CONNECTED": PALETTE[3],
    "AVERAGE_POOL_2D": PALETTE[1],
    "MAX_POOL_2D": PALETTE[1],
    "MEAN": PALETTE[1],
    "REDUCE_MAX": PALETTE[1],
    "ADD": PALETTE[2],
    "MUL": PALETTE[2],
}
_WIDTH, _HEIGHT, _GAP, _LEFT = 300, 34, 16, 64
_BAR = 130
_MAX_BARS = 40


def layer_names(layers: Sequence[Layer]) -> list[str]:
    """A name for each layer that no other of the network has, such as ``3 convolution``."""
    return [f"{place} {_name(layer)}" for place, layer in enumerate(layers)]


def architecture_svg(layers: Sequence[Layer]) -> str:
    """Draws a network from top to bottom: each layer with its output's shape and its bytes.

    A layer that reads more than the one before it is joined to the others by a curve on the left;
    the bar on the right is the share of the weights' bytes.

    Args:
        layers: As ``layers_of`` gives them.

    Returns:
        An ``<svg>`` element without scripts, in the colour of the text around it.
    """
    step = _HEIGHT + _GAP
    height = len(layers) * step + 4
    most = max((layer.weight_bytes for layer in layers), default=0) or 1
    right = _LEFT + _WIDTH
    parts = []
    for place, layer in enumerate(layers):
        top = place * step
        colour = _COLOURS.get(layer.operator, GREY)
        parts.append(_box(top, _label(layer), _times(layer.shape), colour))
        for source in layer.reads:
            if source == place - 1:
                x = _LEFT + _WIDTH / 2
                parts.append(_line(f"M {x} {top - _GAP} V {top}"))
            else:
                y0, y1 = source * step + _HEIGHT / 2, top + _HEIGHT / 2
                x = max(4.0, _LEFT - 14 - 6 * (place - source))
                parts.append(_line(f"M {_LEFT} {y0} C {x} {y0} {x} {y1} {_LEFT} {y1}"))
        if layer.weight_bytes:
            width = max(1.0, _BAR * layer.weight_bytes / most)
            y = top + _HEIGHT / 2
            parts.append(
                f'<rect x="{right + 12}" y="{y - 5}" width="{width:.1f}" height="10" rx="2" '
                f'fill="{GREY}" fill-opacity="0.55"/>'
                f'<text x="{right + 18 + width:.1f}" y="{y + 4}" font-size="11" '
                f'fill="currentColor">{_bytes(layer.weight_bytes)}</text>'
            )
    whole = right + _BAR + 90
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" '
        f'style="width:100%;max-width:{whole}px" role="img" '
        f'aria-label="The network, {len(layers) - 1} layers" '
        f'font-family="Source Sans, sans-serif">{"".join(parts)}</svg>'
    )


def plot_layers(
    layers: Sequence[Layer], values: Sequence[float], *, unit: str, height: int | None = None
) -> go.Figure:
    """Draws a figure of every layer that has one, from the first to the last, forty at most.

    Args:
        layers: As ``layers_of`` gives them.
        values: One a layer.
        unit: What the values are, such as ``weights (kB)``.
        height: Pixels; by the number of layers if not given.
    """
    places = [place for place, value in enumerate(values) if value > 0]
    if not places:
        return not_yet("No layer has a figure to show")
    heaviest = sorted(places, key=lambda place: -values[place])[:_MAX_BARS]
    places = sorted(heaviest)
    names = layer_names(layers)
    figure = base_figure(height=height or 90 + 24 * len(places))
    figure.add_bar(
        y=[names[place] for place in places],
        x=[values[place] for place in places],
        orientation="h",
        marker={"color": [_COLOURS.get(layers[place].operator, GREY) for place in places]},
        hovertemplate=f"%{{y}}: %{{x:.3~g}} {unit}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title={"text": unit}, rangemode="tozero")
    return figure


def plot_networks(
    networks: Mapping[str, Sequence[Layer]],
    values: Mapping[str, Sequence[float]],
    *,
    unit: str,
    height: int | None = None,
) -> go.Figure:
    """Draws a figure of the layers of several networks: a bar each, one piece a layer.

    Args:
        networks: Candidate to its layers.
        values: Candidate to one value a layer.
        unit: What the values are, such as ``weights (kB)``.
        height: Pixels; by the number of networks if not given.
    """
    totals: dict[str, float] = {}
    for name, layers in networks.items():
        for layer, value in zip(layers, values[name], strict=True):
            totals[layer.operator] = totals.get(layer.operator, 0.0) + value
    # What would be too thin to see is of one colour: each has a row in the legend.
    least = _MIN_SHARE * sum(totals.values())
    pieces: dict[str, list[tuple[str, float, float, str]]] = {}
    for name, layers in networks.items():
        reached = 0.0
        for layer, label, value in zip(layers, layer_names(layers), values[name], strict=True):
            if value > 0:
                is_named = layer.operator in _COLOURS and totals[layer.operator] >= least
                kind = layer.operator if is_named else ""
                pieces.setdefault(kind, []).append((escaped(name), reached, value, label))
                reached += value
    if not pieces:
        return not_yet("No layer has a figure to show")
    figure = base_figure(height=height or 180 + 46 * len(networks), legend_rows=2)
    for kind in sorted(pieces, key=lambda kind: list(_COLOURS).index(kind) if kind else 99):
        rows = pieces[kind]
        figure.add_bar(
            y=[row[0] for row in rows],
            base=[row[1] for row in rows],
            x=[row[2] for row in rows],
            customdata=[row[3] for row in rows],
            orientation="h",
            name=_NAMES[kind] if kind else "other",
            marker={
                "color": _COLOURS.get(kind, GREY),
                "line": {"width": 1, "color": "rgba(255,255,255,0.8)"},
            },
            hovertemplate=f"%{{y}}, %{{customdata}}: %{{x:.3~g}} {unit}<extra></extra>",
        )
    order = [escaped(name) for name in networks]
    figure.update_yaxes(
        type="category", autorange="reversed", categoryorder="array", categoryarray=order
    )
    figure.update_xaxes(title={"text": unit}, rangemode="tozero")
    figure.update_layout(barmode="overlay", bargap=0.35)
    return figure


def _name(layer: Layer) -> str:
    return _NAMES.get(layer.operator, layer.operator.lower().replace("_", " "))


def _label(layer: Layer) -> str:
    # Four bits are the exception: the other types are those of the whole file.
    narrow = "int4" if layer.weights == "INT4" else ""
    extra = [part for part in (layer.detail, layer.activation, narrow) if part]
    return " · ".join([_name(layer), *extra])


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _bytes(size: int) -> str:
    return f"{size:,} B" if size < 1000 else f"{size / 1000:,.1f} kB"


def _box(top: float, label: str, shape: str, colour: str) -> str:
    middle = top + _HEIGHT / 2 + 4
    return (
        f'<rect x="{_LEFT}" y="{top + 1}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
        f'fill="{colour}" fill-opacity="0.14" stroke="{colour}" stroke-width="1.2"/>'
        f'<text x="{_LEFT + 10}" y="{middle}" font-size="12.5" fill="currentColor">'
        f"{escape(label)}</text>"
        f'<text x="{_LEFT + _WIDTH - 10}" y="{middle}" font-size="12" text-anchor="end" '
        f'fill="currentColor" fill-opacity="0.75">{escape(shape)}</text>'
    )


def _line(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="1.4"/>'
