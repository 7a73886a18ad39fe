"""What a study learns from, as far as the database knows it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from autosearch.visualization.training import plot_class_balance
from dashboard import source
from dashboard.charts import chart
from dashboard.links import markdown_text
from dashboard.views.common import chosen_study

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    study = chosen_study("Data")
    if study is None:
        return
    definition = study.definition.get("dataset")
    if definition is None:
        st.info("This study has no images: a function of its own answers its figures.")
        return
    facts = {**definition, "fingerprint (SHA-256)": study.data_fingerprint}
    st.dataframe(
        pd.DataFrame({"what": list(facts), "value": [str(v) for v in facts.values()]}),
        hide_index=True,
    )
    frame = source.candidates(study)
    support = _support(frame)
    st.subheader("Validation images by class")
    if not support:
        st.caption(
            "No figures of single classes were kept. See images, balance and look-alikes with: "
            "`autosearch data inspect PATH --html report.html`"
        )
        return
    chart(lambda: plot_class_balance(support), key="balance", name="balance")
    rarest, most = min(support, key=support.__getitem__), max(support, key=support.__getitem__)
    st.caption(
        f"{len(support)} classes, {sum(support.values()):,} validation images; "
        f"{markdown_text(most)} has {support[most]:,}, {markdown_text(rarest)} {support[rarest]:,}."
    )


def _support(frame: pd.DataFrame) -> dict[str, int]:
    """Class to its validation images, from the newest candidate whose classes were counted."""
    for key in frame["candidate_key"].tail(3).iloc[::-1]:
        per_class: dict[str, dict[str, Any]] = source.details(int(key))["conditions"].get(
            "per_class", {}
        )
        if per_class:
            return {name: int(figures["support"]) for name, figures in per_class.items()}
    return {}
