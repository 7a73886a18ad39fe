"""A study on one page that needs no server and no network: the same charts, in one HTML file."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from autosearch.store.database import Database
from autosearch.store.frames import LiveCandidates, epochs_of, trials_of
from autosearch.store.study_frames import by_estimate
from autosearch.store.view import StudyView
from autosearch.suggestion import PairedTests
from autosearch.visualization import search
from autosearch.visualization.choice import (
    Role,
    best_first,
    lead_objective,
    pick,
    roles,
    with_objectives,
)
from autosearch.visualization.hypervolume import hypervolume_frame, plot_hypervolume
from autosearch.visualization.importance import effects_frame, importance_frame, plot_importance
from autosearch.visualization.parameters import parameters_frame
from autosearch.visualization.style import CHART_CONFIG, figure_text, metric_label, not_yet
from autosearch.visualization.trade_off import costs_of, plot_trade_off
from autosearch.visualization.training import plot_learning_curves
from autosearch.visualization.unusual import unusual_parameters

__all__ = ["report_page"]

_COLUMNS = ("accuracy", "size_bytes", "latency_ms", "memory_bytes", "parameters")
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 "Source Sans 3", system-ui, sans-serif; margin: 0 auto; max-width: 1180px;
       padding: 24px; color: #1b2733; background: #fff; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.charts { display: flex; flex-wrap: wrap; gap: 8px 16px; }
.charts > div { flex: 1 1 340px; min-width: 0; }
.pick { border: 1px solid #8886; border-radius: 6px; padding: 12px 16px; }
.wide { overflow-x: auto; }
.charts.wide > div { min-width: 820px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: 4px 10px; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
small { opacity: 0.75; }
@media (prefers-color-scheme: dark) { body { color: #e6ebf0; background: #11161c; } }
"""
# A chart is drawn when the one beside it is not there yet, and so too wide.
_FIT = """
addEventListener("load", () => {
  for (const node of document.querySelectorAll(".plotly-graph-div")) Plotly.Plots.resize(node);
});
"""


def report_page(database: Database, view: StudyView) -> str:
    """The HTML of a study's report: its front, the suggested pick, and how the search went.

    Args:
        database: The one that the view reads.
        view: The study.

    Returns:
        A page with Plotly's script inside, about 5 MB.
    """
    frame, judged = by_estimate(LiveCandidates(database, view.id).frame())
    trials = trials_of(database, view.id)
    objectives, constraints = view.objectives, view.constraints
    role = roles(frame, objectives)
    front = frame[role == Role.FRONT.value]
    judged_role = roles(judged, objectives)
    is_known = (judged_role == Role.FRONT.value).any()
    shown_by = (judged, judged_role) if is_known else (frame, role)
    found = pick(*shown_by, objectives, tests=PairedTests(view.artifact))
    lead = lead_objective(frame, objectives)
    parameters = parameters_frame(trials)
    told = frame[frame["representative"].astype(bool)].drop_duplicates("trial").set_index("trial")
    metrics = told[[o.metric for o in objectives if o.metric in told]].dropna(axis=1, how="all")
    importance = importance_frame(parameters, metrics)
    effects = effects_frame(parameters, metrics, objectives)
    ranked = best_first(front, lead)
    best = ranked["trial"].drop_duplicates().head(4)
    volume = hypervolume_frame(frame, objectives, constraints=constraints)
    epochs = epochs_of(database, view.id, best.tolist())
    baselines = view.baselines_frame().reindex(columns=["baseline", lead.metric]).dropna()
    unusual = unusual_parameters(dict(zip(trials["number"], trials["config"], strict=True)))
    draw = partial(
        plot_trade_off,
        frame,
        objectives,
        role=role,
        unusual=unusual,
        constraints=constraints,
        judged=judged[judged["feasible"].astype(bool)],
        baselines=dict(zip(baselines["baseline"], baselines[lead.metric], strict=True)),
        suggested=found.candidate if found else None,
    )
    trade_offs = [partial(draw, x=cost) for cost in costs_of(frame, objectives)]
    shown = with_objectives(_COLUMNS, objectives)
    weights = {str(name): float(value) for name, value in importance.mean(axis=1).items()}
    sections = [
        ("Trade-off", _charts(trade_offs)),
        (f"The front: {len(front)} candidates", _table(ranked, shown)),
        *(
            [("Judged again by cross-validation", _table(best_first(judged, lead), shown))]
            if len(judged)
            else []
        ),
        (
            "How the front grew",
            _charts([lambda: plot_hypervolume({view.name: volume})]),
        ),
        (
            "What was tried",
            _charts(
                [lambda: search.plot_parallel_coordinates(parameters, metrics, importance=weights)],
                kind="charts wide",
            ),
        ),
        ("What mattered", _charts([lambda: plot_importance(importance, effects)])),
        ("How the best learned", _charts([lambda: plot_learning_curves(epochs)])),
        ("Who worked when", _charts([lambda: search.plot_timeline(trials)])),
        ("What went wrong", _failures(trials)),
    ]
    states = ", ".join(
        f"{count} {state}" for state, count in trials["state"].value_counts().items()
    )
    asked = "; ".join(map(str, [*objectives, *constraints]))
    suggested = (
        f'<p class="pick">Suggested: <b>{html.escape(found.candidate)}</b><br>'
        f"<small>{html.escape(found.reason)}</small></p>"
        if found
        else '<p class="pick">No candidate keeps the bounds of the study yet.</p>'
    )
    body = "".join(f"<h2>{html.escape(title)}</h2>{text}" for title, text in sections)
    name = html.escape(view.name)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><h1>{name}</h1><p>{html.escape(states) or 'no trial yet'}<br>"
        f"<small>{html.escape(asked)}; since {view.created_at:%Y-%m-%d %H:%M} UTC</small></p>"
        f"{suggested}{body}<script>{_FIT}</script></body></html>"
    )


def _charts(makers: Sequence[Callable[[], go.Figure]], *, kind: str = "charts") -> str:
    """Charts side by side; one that fails says so and leaves the others."""
    parts = []
    for make in makers:
        try:
            figure = make()
        except (ValueError, KeyError, TypeError) as error:
            figure = not_yet(f"This chart could not be drawn: {error}")
        parts.append(
            figure.to_html(
                full_html=False,
                include_plotlyjs=False,
                config={**CHART_CONFIG, "responsive": True},
                default_height=f"{figure.layout.height}px",
            )
        )
    return f'<div class="{kind}">{"".join(parts)}</div>'


def _table(ranked: pd.DataFrame, metrics: Sequence[str]) -> str:
    if ranked.empty:
        return "<p>No candidate is feasible yet.</p>"
    known = [name for name in metrics if name in ranked and ranked[name].notna().any()]
    head = "".join(f"<th>{html.escape(metric_label(name))}</th>" for name in known)
    rows = "".join(
        f"<tr><td>{html.escape(str(row['candidate']))}</td>"
        + "".join(f"<td>{html.escape(figure_text(name, row[name]))}</td>" for name in known)
        + "</tr>"
        for row in ranked.head(200).to_dict("records")
    )
    return f'<div class="wide"><table><tr><th>candidate</th>{head}</tr>{rows}</table></div>'


def _failures(trials: pd.DataFrame) -> str:
    failed = trials[trials["state"] == "failed"].tail(50)
    if failed.empty:
        return "<p>No trial failed.</p>"
    rows = "".join(
        f"<tr><td>trial {number}</td><td>{html.escape(str(error))}</td></tr>"
        for number, error in zip(failed["number"], failed["error"], strict=True)
    )
    return f'<div class="wide"><table>{rows}</table></div>'
