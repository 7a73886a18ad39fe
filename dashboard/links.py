"""From page to page, with what the address carries."""

from __future__ import annotations

from typing import NoReturn

import streamlit as st

__all__ = ["PAGES_KEY", "go", "link", "markdown_text"]

PAGES_KEY = "autosearch_pages"

_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in r"\`*_{}[]<>()#+-.!|~$:^="})


def go(page: str, **query: str) -> NoReturn:
    """Turns to another page."""
    st.switch_page(st.session_state[PAGES_KEY][page], query_params=query)


def link(page: str, label: str, *, icon: str | None = None, **query: str) -> None:
    """A link to another page. The label is shown as it stands."""
    st.page_link(
        st.session_state[PAGES_KEY][page],
        label=markdown_text(label),
        icon=icon,
        query_params=query,
    )


def markdown_text(text: object) -> str:
    """Text that Markdown shows as it stands, whatever a user put into a name.

    Example:
        >>> markdown_text("[x](y)") == chr(92).join(["", "[x", "]", "(y", ")"])
        True
    """
    return str(text).translate(_MARKDOWN)
