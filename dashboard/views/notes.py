"""What people wrote of a candidate."""

from __future__ import annotations

import streamlit as st

from autosearch.errors import AutosearchError
from autosearch.store.view import StudyView
from dashboard import source
from dashboard.links import markdown_text
from dashboard.views.common import kept_of

__all__ = ["show_notes"]

_AUTHOR = "note_author"


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
    with st.form(kept_of(study, f"note on {candidate}"), clear_on_submit=True, border=False):
        text = st.text_area("Note", placeholder="Markdown", max_chars=10_000, height=90)
        author = st.text_input(
            "Your name", value=st.session_state.get(_AUTHOR, ""), max_chars=200, width=260
        )
        if not st.form_submit_button("Leave the note"):
            return
    st.session_state[_AUTHOR] = author
    try:
        source.add_note(study, candidate, author=author, text=text)
    except AutosearchError as error:
        st.error(markdown_text(error))
        return
    st.rerun()
