"""What people wrote of a candidate."""

from __future__ import annotations

import math
import time

import streamlit as st

from autosearch.errors import AutosearchError
from autosearch.store.view import StudyView
from dashboard import source
from dashboard.links import markdown_text
from dashboard.views.common import kept_of

__all__ = ["show_notes"]

_AUTHOR = "note_author"
_TWICE_S = 3.0


def show_notes(study: StudyView, candidate: str) -> None:
    """Draws the notes, and a form for another one where that is allowed."""
    st.subheader("Notes")
    found = source.notes(study, candidate)
    for note in found:
        with st.container(border=True):
            who = note.author or "unnamed"
            st.caption(f"{markdown_text(who)}, {note.written_at:%Y-%m-%d %H:%M} UTC")
            # Streamlit shows HTML as text. A picture would be fetched from wherever it says.
            st.markdown(note.text.replace("![", "!\\["))
    if not source.are_notes_allowed():
        if not found:
            st.caption("None. To leave one, start the dashboard with --allow-notes.")
        return
    key = kept_of(study, f"note on {candidate}")
    with st.form(key, clear_on_submit=True, border=False):
        st.text_area("Note", placeholder="Markdown", max_chars=10_000, height=90, key=f"{key} text")
        st.text_input(
            "Your name",
            value=st.session_state.get(_AUTHOR, ""),
            max_chars=200,
            width=260,
            key=f"{key} name",
        )
        st.form_submit_button("Leave the note", on_click=_leave, args=(study, candidate, key))
    fault = st.session_state.pop(f"{key} fault", None)
    if fault is not None:
        st.error(markdown_text(fault))


def _leave(study: StudyView, candidate: str, key: str) -> None:
    """Keeps what is in the form: before the page is drawn, which a further click would end."""
    state = st.session_state
    text, author = state[f"{key} text"], state[f"{key} name"]
    last, left_at = state.get(f"{key} last", ("", -math.inf))
    if text in ("", last) and time.monotonic() - left_at < _TWICE_S:
        # Pressed twice: the form may have been emptied since, or not yet.
        return
    state[_AUTHOR], state[f"{key} last"] = author, (text, time.monotonic())
    try:
        source.add_note(study, candidate, author=author, text=text)
    except AutosearchError as error:
        state[f"{key} fault"], state[f"{key} text"] = str(error), text
        del state[f"{key} last"]
