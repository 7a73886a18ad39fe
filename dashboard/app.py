"""The entry point: which page an address shows, and what a page says when it cannot be read."""

from __future__ import annotations

import streamlit as st

from autosearch.errors import AutosearchError
from dashboard.links import PAGES_KEY
from dashboard.views import candidate, compare, data, registry, search, studies, trade_off

st.set_page_config(page_title="autosearch", page_icon=":material/scatter_plot:", layout="wide")
st.html(
    """<style>
    .stMainBlockContainer { padding-top: 4rem; padding-bottom: 3rem; }
    @media (max-width: 640px) {
      .stMainBlockContainer { padding-left: 0.8rem; padding-right: 0.8rem; }
    }
    h1 { font-size: 1.6rem !important; padding: 0.2rem 0 !important; }
    h3 { font-size: 1.15rem !important; }
    </style>"""
)

pages = {
    "studies": st.Page(studies.show, title="Studies", icon=":material/list:", default=True),
    **{
        name: st.Page(show, title=title, icon=f":material/{icon}:", url_path=name)
        for name, show, title, icon in (
            ("trade-off", trade_off.show, "Trade-off", "scatter_plot"),
            ("compare", compare.show, "Compare", "compare_arrows"),
            ("candidate", candidate.show, "Candidate", "target"),
            ("search", search.show, "Search", "travel_explore"),
            ("data", data.show, "Data", "image"),
            ("registry", registry.show, "Registry", "verified"),
        )
    },
}
st.session_state[PAGES_KEY] = pages
page = st.navigation(list(pages.values()), position="top")
try:
    page.run()
except AutosearchError as error:
    st.error(" ".join(str(error).split()).replace("[", "\\["), icon=":material/error:")
