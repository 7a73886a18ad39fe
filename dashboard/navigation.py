"""Which page an address shows, and what a page says when the database cannot be read."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import streamlit as st

from autosearch.errors import AutosearchError
from dashboard import source
from dashboard.left_pages import forget_left_pages
from dashboard.links import PAGES_KEY
from dashboard.views import candidate, compare, data, registry, search, studies, trade_off
from dashboard.views.common import refreshed, say_error

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

__all__ = ["run"]

_STYLE = """<style>
.stMainBlockContainer { padding-top: 4rem; padding-bottom: 3rem; }
.st-key-wide_parallel { overflow-x: auto; }
.st-key-wide_parallel > div { min-width: 820px; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 0.8rem; padding-right: 0.8rem; }
}
h1 { font-size: 1.6rem !important; padding: 0.2rem 0 !important; }
h3 { font-size: 1.15rem !important; }
</style>"""
# Drawn here: a named icon would be fetched from elsewhere.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
    '<path d="M3 21V14h6V8h6V3h6" fill="none" stroke="#0072B2" stroke-width="3"/></svg>'
)
_PAGES = (
    ("studies", studies.show, "Studies", "list"),
    ("trade-off", trade_off.show, "Trade-off", "scatter_plot"),
    ("compare", compare.show, "Compare", "compare_arrows"),
    ("candidate", candidate.show, "Candidate", "target"),
    ("search", search.show, "Search", "travel_explore"),
    ("data", data.show, "Data", "image"),
    ("registry", registry.show, "Registry", "verified"),
)

_ASKED_AGAIN_S = 5.0

# Streamlit has all garbage collected after every run of a page. What was loaded until here stays
# for good, and looking through it took 0.1 s, in which nothing was sent to the browser.
gc.freeze()

forget_left_pages()


def run(first: str = "studies") -> None:
    """Shows the page of the address.

    Args:
        first: The one at ``/``.
    """
    st.set_page_config(page_title="autosearch", page_icon=_ICON, layout="wide")
    st.html(_STYLE)
    problem = None
    try:
        if source.is_plain():
            _plain()
            return
    except AutosearchError as error:
        problem = error
    pages = {
        name: st.Page(
            show,
            title=title,
            icon=f":material/{icon}:",
            url_path=None if name == first else name,
            default=name == first,
        )
        for name, show, title, icon in _PAGES
    }
    st.session_state[PAGES_KEY] = pages
    page = st.navigation(list(pages.values()), position="top")
    if problem is not None:
        _wait(problem)
        return
    _run(page)


def _wait(problem: AutosearchError) -> None:
    """Says what is wrong with the database, and shows the page as soon as that is over."""
    unsaid = [problem]

    def ask() -> None:
        if unsaid:
            raise unsaid.pop()
        source.is_plain()
        st.rerun()

    refreshed(ask, every=_ASKED_AGAIN_S)


def _plain() -> None:
    # Imports Optuna, which no other page needs.
    from dashboard.views import plain

    _run(st.navigation([st.Page(plain.show, title="Optuna", default=True)], position="hidden"))


def _run(page: StreamlitPage) -> None:
    try:
        page.run()
    except AutosearchError as error:
        say_error(error)
