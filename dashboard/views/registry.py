"""Promoted models: what each alias points to, and how it came there."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from autosearch.store.promotions import Promotion
from autosearch.visualization.style import figure_text
from dashboard import source
from dashboard.links import link, markdown_text
from dashboard.promotion import CommandError, exported
from dashboard.views.promote import confirm, run_promotion

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    st.title("Registry")
    history = source.all_promotions()
    if not history:
        how = (
            "Open a candidate and press Promote."
            if source.is_promotion_allowed()
            else "Promote with: `autosearch promote STUDY CANDIDATE`, "
            "or start the dashboard with `--allow-promote`."
        )
        st.info(f"Nothing was promoted yet. {how}")
        return
    for model in dict.fromkeys(promotion.model for promotion in history):
        _model(model, [promotion for promotion in history if promotion.model == model])


def _model(model: str, history: list[Promotion]) -> None:
    with st.container(border=True):
        st.subheader(markdown_text(model))
        for alias in dict.fromkeys(promotion.alias for promotion in history):
            _alias(model, alias, [p for p in history if p.alias == alias])
        with st.expander(f"History ({len(history)})"):
            st.dataframe(
                pd.DataFrame([_line(promotion) for promotion in history]),
                hide_index=True,
                placeholder="–",
            )


def _alias(model: str, alias: str, history: list[Promotion]) -> None:
    present = history[0]
    test = present.test_metrics
    study = str(present.record.get("study", ""))
    st.markdown(
        f":blue-badge[{markdown_text(alias)}] **{markdown_text(present.candidate)}** of "
        f"{markdown_text(study)} — test accuracy "
        f"**{markdown_text(figure_text('accuracy', test.get('accuracy')))}** · "
        f"size {markdown_text(figure_text('size_bytes', present.record.get('size_bytes')))} · "
        f"{present.promoted_at:%Y-%m-%d %H:%M} UTC"
        + (f"  \n:small[{markdown_text(present.note)}]" if present.note else "")
    )
    key = f"{model}\x00{alias}"
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        link(
            "candidate",
            "Open",
            study=study,
            candidate=present.candidate,
            sha256=present.artifact_sha256,
        )
        if st.button("Export …", key=f"export {key}", icon=":material/package_2:"):
            st.dialog("Export", width="large")(_export)(model, alias)
        earlier = next((p for p in history[1:] if _differs(p, present)), None)
        reason = None if earlier is not None else "There is no earlier one."
        if not source.is_promotion_allowed():
            reason = "This dashboard only reads: start it with --allow-promote."
        is_pressed = st.button(
            "Move back …",
            key=f"back {key}",
            icon=":material/undo:",
            disabled=reason is not None,
            help=reason,
        )
        if is_pressed and earlier is not None:
            confirm(partial(_move_back, model, alias, present, earlier), title="Move back")


def _differs(one: Promotion, other: Promotion) -> bool:
    return one.artifact_sha256 != other.artifact_sha256


def _export(model: str, alias: str) -> None:
    st.markdown(
        f"{markdown_text(alias)} of **{markdown_text(model)}** as a folder that stands on its own."
    )
    packed: bytes | None = None
    with st.status("Writing and verifying it …", expanded=True) as status:
        try:
            for said in exported(model=model, alias=alias):
                if isinstance(said, bytes):
                    packed = said
                else:
                    st.text(said)
        except CommandError as error:
            status.update(label="It was not exported.", state="error")
            st.error(markdown_text(error))
            return
        status.update(label="Written and verified.", state="complete", expanded=False)
    if packed is not None:
        st.download_button(
            f"Download {len(packed) / 1000:,.0f} kB",
            packed,
            file_name="bundle.zip",
            mime="application/zip",
            type="primary",
            on_click="ignore",
        )


def _move_back(model: str, alias: str, present: Promotion, earlier: Promotion) -> None:
    if not source.is_promotion_allowed():
        st.error("This dashboard only reads: start it with --allow-promote.")
        return
    st.markdown(
        f"**{markdown_text(alias)}** moves from **{markdown_text(present.candidate)}** back to "
        f"**{markdown_text(earlier.candidate)}**: test accuracy "
        f"{markdown_text(figure_text('accuracy', present.test_metrics.get('accuracy')))} → "
        f"{markdown_text(figure_text('accuracy', earlier.test_metrics.get('accuracy')))}, size "
        f"{markdown_text(figure_text('size_bytes', present.record.get('size_bytes')))} → "
        f"{markdown_text(figure_text('size_bytes', earlier.record.get('size_bytes')))}. "
        "It is measured once more, and the history keeps both."
    )
    note = st.text_input("Note", value=f"back from {present.candidate}")
    if st.button("Move it back", type="primary"):
        run_promotion(
            study=str(earlier.record.get("study", "")),
            candidate=earlier.candidate,
            sha256=earlier.artifact_sha256,
            model=model,
            alias=alias,
            note=note,
        )


def _line(promotion: Promotion) -> dict[str, Any]:
    return {
        "when (UTC)": promotion.promoted_at,
        "alias": promotion.alias,
        "study": promotion.record.get("study"),
        "candidate": promotion.candidate,
        "test accuracy": figure_text("accuracy", promotion.test_metrics.get("accuracy")),
        "validation": figure_text(
            "accuracy", promotion.record.get("validation", {}).get("accuracy")
        ),
        "size": figure_text("size_bytes", promotion.record.get("size_bytes")),
        "note": promotion.note,
    }
