"""How a page shows figures: linked charts that keep their zoom, and single ones that may fail."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from autosearch.visualization.style import CHART_CONFIG

__all__ = ["as_json", "chart", "linked_charts", "picture"]

_logger = logging.getLogger(__name__)

_HTML = '<div class="linked-charts"><div class="waiting">Drawing …</div></div>'
_CSS = """
.linked-charts { display: flex; flex-wrap: wrap; gap: 8px 16px; }
.linked-chart { flex: 1 1 340px; min-width: 0; }
.waiting { min-height: 420px; opacity: 0.6; }
"""
_PICTURE_SCRIPT = """
export default function ({ parentElement, data }) {
  parentElement.querySelector(".picture").innerHTML = data.svg;
}
"""


def linked_charts(
    figures: Sequence[str],
    *,
    key: str,
    selected: Sequence[str],
    on_selected: Callable[[list[str]], None],
) -> None:
    """Shows figures side by side that share one selection of candidates.

    ``st.plotly_chart`` mounts a changed figure anew and so loses zoom and selection. Here the
    browser keeps the nodes, and a selection shows in all of them without a round trip.

    Args:
        figures: As JSON; their points' first custom datum is the candidate's id.
        key: Of the widget: with another one zooms begin anew.
        selected: What is selected now.
        on_selected: Called with what the reader selected, the same as before or not.
    """

    def tell() -> None:
        on_selected(list(st.session_state[key]["selected"]["names"]))

    mount = st.components.v2.component("autosearch_linked_charts", **_parts(), isolate_styles=False)
    mount(
        key=key,
        data={"figures": list(figures), "selected": list(selected), "config": CHART_CONFIG},
        on_selected_change=tell,
    )


def as_json(figure: Mapping[str, Any]) -> str:
    """A figure that is plain data as JSON, with floating point numbers as the bytes they are."""
    return json.dumps(figure, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        data = base64.b64encode(value.tobytes()).decode()
        return {"dtype": f"f{value.itemsize}", "bdata": data}
    return value.tolist()


def chart(make: Callable[[], go.Figure], *, key: str, name: str) -> None:
    """Shows one figure; where it cannot be made, the rest of the page stays."""
    try:
        figure = make()
    except Exception:
        _logger.exception("the chart %s failed", name)
        st.caption(f"The chart of {name} could not be drawn; the log of the dashboard says why.")
        return
    st.plotly_chart(figure, key=key, config=CHART_CONFIG)


def picture(svg: str, *, key: str) -> None:
    """Shows a drawing of ours, which ``st.html`` would leave out."""
    mount = st.components.v2.component(
        "autosearch_picture", html='<div class="picture"></div>', js=_PICTURE_SCRIPT
    )
    mount(key=key, data={"svg": svg})


@cache
def _parts() -> dict[str, str]:
    here = Path(__file__).parent
    scripts = (here / name for name in ("point_cloud.js", "linked_charts.js"))
    js = "\n".join(script.read_text(encoding="utf-8") for script in scripts)
    return {"html": _HTML, "css": _CSS, "js": js}
