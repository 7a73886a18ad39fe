"""The confirmation of a promotion: what changes against the present champion, then the doing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from autosearch.metrics import METRICS
from autosearch.store.promotions import Promotion
from autosearch.store.view import StudyView
from autosearch.values import TARGET_METRICS
from autosearch.visualization.style import figure_text, metric_label
from dashboard import source
from dashboard.links import link, markdown_text
from dashboard.promotion import CommandError, promoted

__all__ = ["confirm", "promote_button", "run_promotion"]

_DONE = "promotion_done"
_COMPARED = ("accuracy", "size_bytes", "latency_ms", "latency_p90_ms", "memory_bytes")


def promote_button(study: StudyView, candidate: str, row: pd.Series[Any]) -> None:
    """A button that opens the confirmation, or says why there is none."""
    allowed = source.is_promotion_allowed()
    is_pressed = st.button(
        "Promote …",
        type="primary",
        icon=":material/verified:",
        disabled=not allowed,
        help=None if allowed else "This dashboard only reads: start it with --allow-promote.",
    )
    if is_pressed:
        confirm(partial(_confirmation, study, candidate, row), title="Promote a candidate")


def confirm(ask: Callable[[], None], *, title: str) -> None:
    """Opens a dialog that may end in a promotion.

    Args:
        ask: Draws it.
        title: Stands on top.
    """
    st.session_state.pop(_DONE, None)
    # The page behind it shows what is promoted by then.
    st.dialog(title, width="large", on_dismiss="rerun")(ask)()


def run_promotion(
    *, study: str, candidate: str, sha256: str, model: str, alias: str, note: str
) -> bool:
    """Promotes with progress; whether it succeeded.

    Args:
        study: The study that found it.
        candidate: Its id.
        sha256: The file that was shown, which alone is promoted.
        model: The line that it joins.
        alias: What to promote it to.
        note: Kept with the promotion.
    """
    asked = (study, candidate, sha256, model, alias, note)
    if st.session_state.get(_DONE) == asked:
        # The button was pressed twice: the test images are not to be read again.
        st.success("Promoted.")
        return True
    with st.status("Measuring it on the test images …", expanded=True) as status:
        try:
            for line in promoted(
                study=study,
                candidate=candidate,
                sha256=sha256,
                model=model,
                alias=alias,
                note=note,
            ):
                st.text(line)
        except CommandError as error:
            status.update(label="It was not promoted.", state="error")
            st.error(markdown_text(error))
            return False
        status.update(label="Promoted.", state="complete")
    st.session_state[_DONE] = asked
    return True


def _confirmation(study: StudyView, candidate: str, row: pd.Series[Any]) -> None:
    if not source.is_promotion_allowed():
        st.error("This dashboard only reads: start it with --allow-promote.")
        return
    st.markdown(f"**{markdown_text(candidate)}** of {markdown_text(study.name)}")
    left, right = st.columns(2)
    model = left.text_input("Model", value=study.name, max_chars=200, help="The line it joins.")
    alias = right.text_input("Alias", value="champion", max_chars=200)
    note = st.text_area("Note", placeholder="Why this one?", height=70)
    present = _present(model.strip(), alias.strip())
    if present is None:
        st.info(
            f"Nothing is {markdown_text(alias)} of {markdown_text(model)} yet: this is the first."
        )
    else:
        st.markdown(
            f"It takes the place of **{markdown_text(present.candidate)}** "
            f"({markdown_text(present.record.get('study', ''))}, "
            f"{present.promoted_at:%Y-%m-%d %H:%M} UTC):"
        )
    st.dataframe(_comparison(row, present), hide_index=True)
    if present is not None and present.artifact_sha256 == row["artifact_sha256"]:
        st.caption("It is the very file that the alias points to already.")
    if not st.button("Promote it", type="primary", disabled=not model.strip() or not alias.strip()):
        st.caption("The test images are read once, for this candidate alone.")
        return
    if run_promotion(
        study=study.name,
        candidate=candidate,
        sha256=row["artifact_sha256"],
        model=model.strip(),
        alias=alias.strip(),
        note=note.strip(),
    ):
        link("registry", "See it in the registry")


def _present(model: str, alias: str) -> Promotion | None:
    for promotion in source.all_promotions():
        if promotion.model == model and promotion.alias == alias:
            return promotion
    return None


def _comparison(row: pd.Series[Any], present: Promotion | None) -> pd.DataFrame:
    """Validation figures of both, side by side, in words."""
    before = dict(present.record.get("validation", {})) if present else {}
    if present:
        before["size_bytes"] = present.record.get("size_bytes")
    reasons = _not_comparable(row, present) if present else {}
    lines = []
    for metric in _COMPARED:
        new = float(row[metric]) if metric in row and pd.notna(row[metric]) else None
        old = before.get(metric)
        if new is None and old is None:
            continue
        line = {"figure": metric_label(metric), "this one": figure_text(metric, new)}
        if present:
            line["present"] = figure_text(metric, old)
            line["change"] = reasons.get(metric) or _change(metric, old, new)
        lines.append(line)
    return pd.DataFrame(lines)


def _not_comparable(row: pd.Series[Any], present: Promotion) -> dict[str, str]:
    """The metrics of which the two figures do not meet, and why."""
    record, kind = present.record, row["estimate"]
    target = {"name": row["target"], **(source.details(row)["target"] or {})}
    reasons: dict[str, str] = {}
    if record.get("target", target) != target:
        reasons |= dict.fromkeys(TARGET_METRICS, "measured elsewhere")
    if record.get("validation", {}).get("estimate", kind) != kind:
        reasons["accuracy"] = "judged otherwise"
    return reasons


def _change(metric: str, old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return "–"
    if new == old:
        return "the same"
    is_better = (new > old) == METRICS[metric].more_is_better
    amount = (
        f"{100 * (new - old):+.1f} points"
        if metric == "accuracy"
        else f"{new / old - 1:+.0%}"
        if old
        else f"{new - old:+.4g}"
    )
    return f"{amount}, {'better' if is_better else 'worse'}"
