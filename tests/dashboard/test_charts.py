"""What the charts of the dashboard are drawn with."""

from pathlib import Path

import plotly

import dashboard
from dashboard.server import SCRIPT


def test_the_script_is_of_the_version_that_figures_are_written_for() -> None:
    head = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text()[:200]
    script = (Path(dashboard.__file__).parent / SCRIPT).read_text()[:200]
    (version,) = [line for line in head.splitlines() if "plotly.js" in line]
    number = version.rsplit("v", 1)[1]
    assert f"v{number}" in script
    assert number in SCRIPT  # a browser keeps what it has of an address
