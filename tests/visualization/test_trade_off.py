"""The trade-off chart, on its data."""

import numpy as np
import pytest

from autosearch.values import at_most, maximize, minimize
from autosearch.visualization.choice import Bound, Role, best_first, lead_objective, roles
from autosearch.visualization.trade_off import costs_of, plot_trade_off

OBJECTIVES = (maximize("accuracy"), minimize("size_bytes"))


def names_of(figure, name):
    return [
        point[0]
        for trace in figure.data
        if trace.name == name and trace.customdata is not None
        for point in trace.customdata
    ]


def test_every_known_candidate_is_drawn_once(frame) -> None:
    figure = plot_trade_off(frame, OBJECTIVES)
    drawn = [p[0] for t in figure.data if t.customdata is not None for p in t.customdata]
    assert sorted(drawn) == ["0-int8", "1-int8", "2-float32", "3-int8", "4-int8"]
    assert names_of(figure, "infeasible") == ["4-int8"]


def test_the_front_is_a_line_of_steps_through_the_feasible_points(frame) -> None:
    (line,) = [t for t in plot_trade_off(frame, OBJECTIVES).data if t.name == "front"]
    assert list(line.x) == [8_000, 10_000, 100_000]
    assert list(line.y) == [0.80, 0.97, 0.99]
    assert line.line.shape == "hv"


def test_the_line_goes_through_what_lacks_a_figure_that_is_not_shown(frame) -> None:
    latency = [np.nan, 1.0, 2.0, 3.0, 4.0, 5.0]
    objectives = (*OBJECTIVES, minimize("latency_ms"))
    figure = plot_trade_off(frame.assign(latency_ms=latency), objectives)
    (line,) = [t for t in figure.data if t.name == "front"]
    assert list(line.x) == [8_000, 10_000, 100_000]


def test_size_is_logarithmic_and_axes_bear_units(frame) -> None:
    layout = plot_trade_off(frame, OBJECTIVES).layout
    assert layout.xaxis.type == "log"
    assert layout.xaxis.title.text == "size (kB)"
    assert "10" in layout.xaxis.ticktext
    low, high = layout.xaxis.range
    assert low < np.log10(8_000) < np.log10(900_000) < high


def test_the_axes_hold_whatever_is_drawn_before_a_browser_has_seen_it(frame) -> None:
    judged = frame[:1].assign(accuracy=0.1, size_bytes=1_000)
    layout = plot_trade_off(frame, OBJECTIVES, judged=judged, baselines={"majority": 0.05}).layout
    assert layout.yaxis.range[0] < 0.05 < 0.1 < frame["accuracy"].max() < layout.yaxis.range[1]
    assert layout.xaxis.range[0] < 3


def test_finalists_of_another_machine_stand_beside_the_others_by_size_alone(frame) -> None:
    objectives = (*OBJECTIVES, minimize("latency_ms"))
    frame = frame.assign(latency_ms=1.0, target_id=1)
    judged = frame[:1].assign(candidate="0-int8-refit", target_id=2)
    for x, is_drawn in (("size_bytes", True), ("latency_ms", False)):
        figure = plot_trade_off(frame, objectives, x=x, judged=judged)
        drawn = [p[0] for t in figure.data if t.customdata is not None for p in t.customdata]
        assert ("0-int8-refit" in drawn) == is_drawn
    figure = plot_trade_off(frame, objectives, x="latency_ms", judged=judged.assign(target_id=1))
    drawn = [p[0] for t in figure.data if t.customdata is not None for p in t.customdata]
    assert "0-int8-refit" in drawn


def test_bounds_are_drawn_with_their_unit_and_grey_what_is_out(frame) -> None:
    figure = plot_trade_off(
        frame,
        OBJECTIVES,
        bounds={"size_bytes": Bound(most=20_000)},
        constraints=[at_most("size_bytes", 500_000)],
    )
    texts = [note.text for note in figure.layout.annotations]
    assert any("your bound 20.0 kB" in text for text in texts)
    assert any("study's bound 500.0 kB" in text for text in texts)
    assert sorted(names_of(figure, "out of bounds")) == ["0-int8", "3-int8"]


def test_the_suggested_candidate_is_ringed(frame) -> None:
    figure = plot_trade_off(frame, OBJECTIVES, suggested="1-int8")
    (ring,) = [t for t in figure.data if t.name == "suggested"]
    assert list(ring.x) == [10_000]


def test_a_name_cannot_carry_markup(make) -> None:
    frame = make(("<script>alert(1)</script>", 0.9, 10.0, True))
    (trace,) = [t for t in plot_trade_off(frame, OBJECTIVES).data if t.customdata is not None]
    assert trace.customdata[0][1].startswith("<b>&lt;script&gt;alert(1)&lt;/script&gt;</b>")


@pytest.mark.parametrize("metric", ["latency_ms", "size_bytes"])
def test_a_metric_without_figures_is_waited_for(metric, frame) -> None:
    frame = frame.assign(size_bytes=np.nan)
    figure = plot_trade_off(frame, (maximize("accuracy"), minimize(metric)), x=metric)
    assert len(figure.data) == 0
    assert "No candidate has a figure" in figure.layout.annotations[0].text


def test_without_an_accuracy_the_first_objective_is_drawn_upwards(frame) -> None:
    frame = frame.assign(accuracy=np.nan, score=[1.0, 3.0, 2.0, 5.0, 4.0, 0.0], cost=range(6))
    objectives = (maximize("score"), minimize("size_bytes"), minimize("cost"))
    figure = plot_trade_off(frame, objectives)
    assert figure.layout.yaxis.title.text == "score"
    assert names_of(figure, "infeasible") == ["4-int8"]
    assert costs_of(frame, objectives) == ["size_bytes", "cost"]
    assert costs_of(frame, objectives[1:]) == ["cost"]
    assert costs_of(frame.assign(accuracy=0.5), objectives) == ["score", "size_bytes"]


def test_the_best_comes_first_whichever_way_it_is_better(frame) -> None:
    frame = frame.assign(error=[0.1, 0.1, 0.3, 0.2, 0.4, np.nan])
    assert best_first(frame, lead_objective(frame, OBJECTIVES)).index[0] == 4
    lead = lead_objective(frame.assign(accuracy=np.nan), (minimize("error"),))
    assert best_first(frame, lead).index.tolist() == [1, 0, 3, 2, 4, 5]


def test_infeasible_candidates_alone_make_a_chart_without_a_front(frame) -> None:
    figure = plot_trade_off(frame.assign(feasible=False), OBJECTIVES)
    assert [trace.name for trace in figure.data] == ["infeasible"]


def drawn(figure):
    customs = [c for trace in figure.data if trace.customdata is not None for c in trace.customdata]
    return {custom if isinstance(custom, str) else custom[0] for custom in customs}


def test_of_many_points_those_under_others_are_left_out_but_never_one_of_the_front(make) -> None:
    generator = np.random.default_rng(0)
    rows = [
        (f"{n}-int8", 0.5 + 0.4 * generator.random(), 10 ** (3 + 2 * generator.random()), True)
        for n in range(4000)
    ]
    frame = make(*rows)
    shown = drawn(plot_trade_off(frame, OBJECTIVES))
    assert 1000 < len(shown) < 2500
    front = frame[roles(frame, OBJECTIVES) == Role.FRONT]
    assert set(front["candidate"]) <= shown
    few = frame.iloc[:1500]
    assert drawn(plot_trade_off(few, OBJECTIVES)) == set(few["candidate"])


def lines_of(figure):
    return {shape.y0 for shape in figure.layout.shapes if shape.y0 == shape.y1}


def test_baselines_are_level_lines_with_their_figure_and_in_the_picture(frame) -> None:
    figure = plot_trade_off(
        frame, OBJECTIVES, baselines={"logistic <b>": 0.75, "majority class": 0.1, "no": np.nan}
    )
    assert lines_of(figure) == {0.75}
    assert "logistic &lt;b&gt; 75.0 %" in [note.text for note in figure.layout.annotations]
    low, high = figure.layout.yaxis.range
    assert low < 0.75
    assert high > 0.999


def test_what_is_unusual_is_told_where_a_point_is_pointed_at(frame) -> None:
    texts = [
        point[1]
        for trace in plot_trade_off(frame, OBJECTIVES, unusual={1: "width <64>"}).data
        if trace.customdata is not None
        for point in trace.customdata
    ]
    assert [text for text in texts if "unusual" in text] == [
        text for text in texts if text.endswith("<i>unusual: width &lt;64&gt;</i>")
    ]
    assert sum("unusual" in text for text in texts) == 1


def test_what_has_no_logarithm_is_drawn_on_a_linear_axis(frame) -> None:
    objectives = (maximize("accuracy"), minimize("memory_bytes"))
    frame = frame.assign(memory_bytes=[0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0, np.nan])
    bounds = {"memory_bytes": Bound(most=0)}
    figure = plot_trade_off(frame, objectives, x="memory_bytes", bounds=bounds)
    assert len(drawn(figure)) == 5
    axis = figure.layout.xaxis
    assert (axis.type, axis.title.text, axis.tickformat) == (None, "arena (B)", "~s")
    assert axis.range[0] < 0 < 40_000 < axis.range[1]
    (note,) = figure.layout.annotations
    assert (note.text, note.x) == ("your bound 0.0 kB", 0)
    above = plot_trade_off(frame[1:], objectives, x="memory_bytes", bounds=bounds)
    assert above.layout.xaxis.type == "log"
    assert not above.layout.annotations


def test_notes_on_a_logarithmic_axis_stand_at_their_lines_upwards_too(frame) -> None:
    frame = frame.assign(accuracy=np.nan, latency_ms=[1.0, 2, 3, 4, 5, 9])
    figure = plot_trade_off(
        frame,
        (minimize("latency_ms"), minimize("size_bytes")),
        constraints=[at_most("latency_ms", 5)],
        bounds={"latency_ms": Bound(most=4)},
        baselines={"plain": 15.0, "none": 0.0},
    )
    assert figure.layout.yaxis.type == "log"
    assert lines_of(figure) == {5, 4, 15}
    assert figure.layout.yaxis.range[1] > np.log10(15)
    assert [note.y for note in figure.layout.annotations] == [
        pytest.approx(np.log10(place)) for place in (5, 4, 15)
    ]


def test_a_baseline_far_below_presses_no_logarithmic_axis_into_a_corner(make) -> None:
    frame = make(*((f"{n}-int8", 0.9, size, True) for n, size in enumerate((2e4, 1e5, 4e5))))
    frame["latency_ms"] = [1.0, 2.0, 3.0]
    figure = plot_trade_off(
        frame,
        OBJECTIVES,
        x="latency_ms",
        y="size_bytes",
        baselines={"majority": 100.0, "logistic": 9_000.0},
    )
    assert [note.text for note in figure.layout.annotations] == ["logistic 9.0 kB"]
    low, _ = figure.layout.yaxis.range
    assert 3.5 < low < np.log10(9_000)
    assert min(figure.layout.yaxis.tickvals) <= 9_000
