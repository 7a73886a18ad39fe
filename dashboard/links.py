"""From page to page, with what the address carries."""

from __future__ import annotations

import re
from typing import NoReturn

import streamlit as st

__all__ = ["PAGES_KEY", "code_text", "go", "link", "markdown_text"]

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


def code_text(text: object) -> str:
    """Text as code in Markdown, whatever a user put into a name.

    Example:
        >>> code_text("autosearch trials a"), code_text("a`b")
        ('`autosearch trials a`', '`` a`b ``')
    """
    shown = " ".join(str(text).split())
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}" if longest else f"{fence}{shown}{fence}"


def markdown_text(text: object) -> str:
    """Text that Markdown shows as it stands, whatever a user put into a name.

    Example:
        >>> markdown_text("[x](y)") == chr(92).join(["", "[x", "]", "(y", ")"])
        True
    """
    return str(text).translate(_MARKDOWN)
