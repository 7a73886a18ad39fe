"""What a study learns from: balance of classes and groups, examples, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from autosearch.errors import AutosearchError
from autosearch.store.view import StudyView
from autosearch.visualization.samples import data_report, example_images
from autosearch.visualization.training import SMALL_GROUPS, plot_class_balance
from dashboard import source
from dashboard.charts import chart
from dashboard.links import markdown_text
from dashboard.views.common import chosen_study, enlarged, groups_left_out

__all__ = ["show"]

_FOUND = (
    ("unusable", "files that cannot be read"),
    ("duplicates", "sets of files with the same bytes"),
    ("conflicting_duplicates", "of them with two labels"),
    ("near_duplicates", "sets that look alike"),
    ("bursts", "bursts"),
)
_MAX_SHOWN = 50


def show() -> None:
    """Draws the page."""
    study = chosen_study("Data")
    if study is None:
        return
    definition = study.definition.get("dataset")
    if definition is None:
        st.info("This study has no images: its figures come from a function of the user's.")
        return
    facts = {**definition, "fingerprint (SHA-256)": study.data_fingerprint}
    st.dataframe(
        pd.DataFrame({"what": list(facts), "value": [str(v) for v in facts.values()]}),
        hide_index=True,
    )
    _balance(study, source.candidates(study))
    _examples(study)
    _report(study)


def _balance(study: StudyView, frame: pd.DataFrame) -> None:
    st.subheader("Validation images by class")
    conditions, support = _counted(study, frame)
    if frame.empty:
        st.caption("They are counted with the first candidate.")
    elif not support:
        st.caption(
            "They were not counted: the newest candidates have neither figures of single classes "
            "nor predictions."
        )
    else:
        chart(lambda: plot_class_balance(support), key="balance", name="balance")
        rarest = min(support, key=support.__getitem__)
        most = max(support, key=support.__getitem__)
        st.caption(
            f"{len(support)} classes, {sum(support.values()):,} validation images; the largest "
            f"class is {markdown_text(most)} ({support[most]:,}), the smallest "
            f"{markdown_text(rarest)} ({support[rarest]:,})."
        )
    for column, groups in (conditions.get("per_group") or {}).items():
        st.subheader(f"Validation images by {markdown_text(column)}")
        sizes = _support(groups)
        # Its images are those of other groups.
        sizes.pop(SMALL_GROUPS, None)
        chart(
            partial(plot_class_balance, sizes),
            key=f"balance {column}",
            name="balance of groups",
        )
        left_out = groups_left_out(conditions, column, len(sizes))
        if left_out:
            st.caption(left_out)


def _examples(study: StudyView) -> None:
    st.subheader("Examples")
    if not st.toggle("Show some images", help="Loads the study's validation images."):
        return
    try:
        found = example_images(study)
    except (AutosearchError, OSError) as error:
        st.caption(f"The images cannot be shown: {markdown_text(error)}")
        return
    for name, images in found.items():
        st.markdown(f":small[**{markdown_text(name)}**]")
        with st.container(horizontal=True, gap="small"):
            for image in images:
                st.image(enlarged(image), width=72)


def _report(study: StudyView) -> None:
    st.subheader("What is wrong with it")
    key = f"report of {study.name} {study.data_fingerprint}"
    if st.button(
        "Look at every file", help="As autosearch data inspect does; it may take a while."
    ):
        try:
            with st.spinner("Looking at every file …"):
                st.session_state[key] = data_report(study) or {}
        except (AutosearchError, OSError) as error:
            st.caption(f"The files cannot be looked at: {markdown_text(error)}")
            return
    report = st.session_state.get(key)
    if report is None:
        st.caption("Files that cannot be read, duplicates, look-alikes, and what to do about them.")
    elif not report:
        st.caption("This dataset is no folder of files: there is nothing to look at.")
    else:
        _findings(report)


def _findings(report: Mapping[str, Any]) -> None:
    counts = [f"**{report['num_images']:,}** images"]
    counts += [f"**{len(report[key]):,}** {words}" for key, words in _FOUND if report[key]]
    st.markdown(" · ".join(counts))
    if report["advice"]:
        st.dataframe(pd.DataFrame(report["advice"]), hide_index=True)
    if report["unusable"]:
        st.dataframe(pd.DataFrame(report["unusable"][:_MAX_SHOWN]), hide_index=True)


def _counted(study: StudyView, frame: pd.DataFrame) -> tuple[dict[str, Any], dict[str, int]]:
    """What is known of the images, and how many each class has, from the newest candidate."""
    for _, row in frame.tail(3).iloc[::-1].iterrows():
        details = source.details(row)
        conditions: dict[str, Any] = details["conditions"]
        support = _support(conditions.get("per_class"))
        if not support:
            # Of many classes there are no figures, but there may be what was predicted.
            seen = source.predictions(study, row["predictions_sha256"])
            if seen is not None and len(details["classes"]) == seen.probabilities.shape[1]:
                counts = np.bincount(seen.labels, minlength=len(details["classes"])).tolist()
                support = dict(zip(details["classes"], counts, strict=True))
        if support or conditions.get("per_group"):
            return conditions, support
    return {}, {}


def _support(figures: Mapping[str, Mapping[str, Any]] | None) -> dict[str, int]:
    return {name: int(found.get("support") or 0) for name, found in (figures or {}).items()}
