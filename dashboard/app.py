"""The entry point: which page an address shows, and what a page says when it cannot be read."""

from __future__ import annotations

import streamlit as st

from autosearch.errors import AutosearchError
from dashboard.links import PAGES_KEY
from dashboard.views import studies, trade_off

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
    "trade-off": st.Page(
        trade_off.show, title="Trade-off", icon=":material/scatter_plot:", url_path="trade-off"
    ),
}
st.session_state[PAGES_KEY] = pages
page = st.navigation(list(pages.values()), position="top")
try:
    page.run()
except AutosearchError as error:
    st.error(" ".join(str(error).split()).replace("[", "\\["), icon=":material/error:")
