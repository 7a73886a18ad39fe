"""What a page still asks for while it is being left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlit.runtime import app_session
from streamlit.runtime.scriptrunner import ScriptRunner

if TYPE_CHECKING:
    from streamlit.runtime.scriptrunner import RerunData

__all__ = ["forget_left_pages"]


class _ScriptRunner(ScriptRunner):
    """Runs no part of a page that is not there any more.

    A page asks for its live parts every few seconds, and for others with every click. Streamlit
    refuses what is asked for a page that was left, but not what was asked between a click that
    turns the page and the next one's start: that was run after the next page, as the former one,
    and left the browser with neither.
    """

    def _run_script(self, rerun_data: RerunData) -> None:
        parts = rerun_data.fragment_id_queue
        if not parts or any(map(self._fragment_storage.contains, parts)):
            super()._run_script(rerun_data)


def forget_left_pages() -> None:
    """Has what a left page asked for dropped also where it had to wait for its turn."""
    app_session.ScriptRunner = _ScriptRunner  # type: ignore[attr-defined]  # its import
