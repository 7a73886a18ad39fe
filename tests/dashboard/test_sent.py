"""What a page sends its browser of a chart."""

import base64
import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autosearch.values import maximize, minimize
from autosearch.visualization.choice import Bound
from autosearch.visualization.trade_off import draw_trade_off, plot_trade_off
from dashboard.charts import as_json

OBJECTIVES = (maximize("accuracy"), minimize("size_bytes"))


def test_it_is_the_figure_that_a_notebook_shows() -> None:
    numbers = np.arange(1600)
    frame = pd.DataFrame({
        "candidate": [f"{n}-int8" for n in numbers],
        "trial": numbers,
        "quantization": "int8",
        "feasible": numbers % 3 > 0,
        "size_bytes": 1000.0 + numbers,
        "accuracy": 0.5 + numbers / 5000,
    })  # fmt: skip
    frame = frame.assign(accuracy_low=frame["accuracy"], accuracy_high=frame["accuracy"])
    judged = frame.iloc[[5]].assign(candidate="5-int8-refit")
    shown = {
        "suggested": "7-int8",
        "judged": judged,
        "baselines": {"majority": 0.55},
        "bounds": {"size_bytes": Bound(most=2_000.0)},
    }
    figure = plot_trade_off(frame, OBJECTIVES, **shown)
    sent = json.loads(as_json(draw_trade_off(frame, OBJECTIVES, **shown)))
    names = ["infeasible", "out of bounds", "front", "int8", "cross-validated", "suggested"]
    assert [trace["name"] for trace in sent["data"]] == names
    for told, trace in zip(sent["data"], figure.data, strict=True):
        for axis in ("x", "y"):
            data = np.frombuffer(base64.b64decode(told[axis]["bdata"]), told[axis]["dtype"])
            np.testing.assert_array_equal(data, trace[axis])
    assert go.Layout(sent["layout"]) == figure.layout
