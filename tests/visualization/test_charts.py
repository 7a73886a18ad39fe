"""The charts of training and search, on their data."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from autosearch.store.predictions import Predictions
from autosearch.values import at_most, maximize, minimize
from autosearch.visualization import search, style, training
from autosearch.visualization.architecture import (
    Layer,
    architecture_svg,
    plot_layers,
    plot_networks,
)
from autosearch.visualization.hypervolume import hypervolume_frame, plot_hypervolume
from autosearch.visualization.importance import effects_frame, importance_frame, plot_importance
from autosearch.visualization.mistakes import mistakes_frame, plot_reliability
from autosearch.visualization.parameters import parameters_frame
from autosearch.visualization.rungs import plot_rungs, rungs_frame

OBJECTIVES = (maximize("accuracy"), minimize("size_bytes"))
START = datetime(2026, 1, 1)


def trials(count):
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "number": range(count),
            "state": ["failed" if n == 1 else "complete" for n in range(count)],
            "config": [
                {
                    "width": int(generator.integers(1, 99)),
                    "noise": float(generator.uniform()),
                    "k": 3,
                }
                for _ in range(count)
            ],
            "started_at": [START + timedelta(seconds=n) for n in range(count)],
            "finished_at": [START + timedelta(seconds=n + 1) for n in range(count)],
            "worker": [n % 2 for n in range(count)],
        }
    )


def note_of(figure):
    return figure.layout.annotations[0].text


def test_parameters_that_never_varied_are_left_out() -> None:
    assert list(parameters_frame(trials(5))) == ["width", "noise"]


def test_the_parameter_that_decides_is_the_important_one() -> None:
    parameters = parameters_frame(trials(60))
    metrics = pd.DataFrame({"accuracy": parameters["width"] / 100})
    importance = importance_frame(parameters, metrics)["accuracy"]
    assert importance["width"] > 0.9
    assert importance.sum() == pytest.approx(1)
    figure = plot_importance(importance_frame(parameters, metrics))
    assert figure.layout.yaxis.ticktext[0] == "width"


def test_importance_waits_for_ten_trials() -> None:
    parameters = parameters_frame(trials(9))
    frame = importance_frame(parameters, pd.DataFrame({"accuracy": parameters["width"]}))
    assert "at least 10 finished trials" in note_of(plot_importance(frame))


def test_parameters_that_are_called_the_same_but_for_their_scope_have_a_bar_each() -> None:
    names = ["head", "CNN/head", "CNN/width"]
    importance = pd.DataFrame({"accuracy": [0.5, 0.3, 0.2]}, index=names)
    figure = plot_importance(importance)
    assert figure.data[0].y == (0, 1, 2)
    assert figure.layout.yaxis.ticktext == ("head", "CNN: head", "width")


def test_the_hypervolume_never_shrinks_and_counts_the_bound(make) -> None:
    rows = [(f"{n}-int8", 0.5 + n / 100, 1e4 * (1 + n), True) for n in range(30)]
    frame = make(*rows).assign(trial=range(30))
    found = hypervolume_frame(frame, OBJECTIVES)
    assert (np.diff(found["hypervolume"]) >= -1e-12).all()
    assert 0 < found["hypervolume"].iloc[-1] <= 1
    bounded = hypervolume_frame(frame, OBJECTIVES, constraints=[at_most("size_bytes", 1_000_000)])
    assert bounded["hypervolume"].iloc[-1] > found["hypervolume"].iloc[-1]


def test_with_many_objectives_the_curve_has_fewer_points_which_are_as_exact(make) -> None:
    rows = [(f"{n}-int8", 0.5 + n / 100, 1e4 * (1 + n), True) for n in range(70)]
    frame = make(*rows).assign(a=range(70), b=range(70, 0, -1), trial=range(70))
    many = (*OBJECTIVES, minimize("a"), minimize("b"))
    found = hypervolume_frame(frame, many).set_index("trial")["hypervolume"]
    assert (len(found), found.index[0], found.index[-1]) == (15, 0, 69)
    place = found.index[7]
    earlier = hypervolume_frame(frame[: place + 1], many, among=frame)["hypervolume"]
    assert found[place] == pytest.approx(earlier.iloc[-1])
    assert len(hypervolume_frame(frame, (*many, maximize("b")))) == 5


def test_the_hypervolume_waits_for_a_feasible_candidate(frame) -> None:
    empty = hypervolume_frame(frame.assign(feasible=False, trial=0), OBJECTIVES)
    assert "needs a feasible candidate" in note_of(plot_hypervolume({"a": empty}))


def test_studies_in_one_box_are_comparable(make) -> None:
    good = make(("0-int8", 0.9, 1e3, True), ("1-int8", 0.5, 1e4, True)).assign(trial=[0, 1])
    poor = make(("0-int8", 0.6, 5e3, True), ("1-int8", 0.55, 9e3, True)).assign(trial=[0, 1])
    among = pd.concat([good, poor])
    alone = hypervolume_frame(poor, OBJECTIVES)["hypervolume"].iloc[-1]
    shared = [hypervolume_frame(f, OBJECTIVES, among=among)["hypervolume"] for f in (good, poor)]
    assert alone == pytest.approx(1, abs=1e-6)
    assert shared[0].iloc[-1] == pytest.approx(1, abs=1e-6)
    assert 0 < shared[1].iloc[-1] < 0.5
    figure = plot_hypervolume(
        {"good": good.assign(hypervolume=1.0), "<b>": poor.assign(hypervolume=0.1)}
    )
    assert [trace.name for trace in figure.data] == ["good", "&lt;b&gt;"]


def test_which_way_a_parameter_works_follows_the_objectives_direction() -> None:
    parameters = pd.DataFrame(
        {"width": range(20), "kind": ["a", "b"] * 10, "noise": [1, 2, 2, 1] * 5}
    )
    metrics = pd.DataFrame(
        {
            "accuracy": [0.5 + 0.01 * n for n in range(20)],
            "size_bytes": [100.0 * n + 1 for n in range(20)],
        }
    )
    effects = effects_frame(parameters, metrics, OBJECTIVES)
    assert effects.loc["width"].tolist() == ["more is better", "less is better"]
    assert effects.loc["kind"].tolist() == ["best: b", "best: a"]
    assert effects.loc["noise"].tolist() == ["", ""]
    importance = pd.DataFrame({"accuracy": [0.9, 0.08, 0.02]}, index=["width", "kind", "noise"])
    (bars,) = plot_importance(importance, effects).data
    assert list(bars.text) == ["more is better", "best: b", ""]


def test_parallel_coordinates_draw_a_line_a_trial_with_units() -> None:
    parameters = parameters_frame(trials(5))
    metrics = pd.DataFrame({"accuracy": [0.1, 0.2, 0.3, 0.4, np.nan], "size_bytes": [1e3] * 5})
    (drawn,) = search.plot_parallel_coordinates(parameters, metrics).data
    assert [d.label for d in drawn.dimensions] == ["width", "noise", "accuracy", "size (kB)"]
    assert {len(d["values"]) for d in drawn.dimensions} == {4}


@pytest.mark.parametrize("values", [[1e-4, 1e-2, 1e-1], [0.1, 0.3, 0.5], list(range(8, 20))])
def test_what_a_trial_did_not_sample_stands_below_the_axis_and_is_called_so(values) -> None:
    parameters = pd.DataFrame({"rate": [*values, None], "width": range(len(values) + 1)})
    metrics = pd.DataFrame({"accuracy": np.linspace(0.1, 0.2, len(values) + 1)})
    (drawn,) = search.plot_parallel_coordinates(parameters, metrics).data
    axis = next(d for d in drawn.dimensions if d["label"] == "rate")
    *known, absent = axis["values"]
    low, high = min(known), max(known)
    assert 0 < low - absent <= 0.15 * (high - low)
    assert axis["ticktext"][list(axis["tickvals"]).index(absent)] == "–"
    assert len(axis["ticktext"]) > 2


def test_a_parameter_that_no_finished_trial_has_gets_no_axis() -> None:
    parameters = pd.DataFrame({"width": [1, 2, 3, 4], "expansion": [None, None, 2, 4]})
    metrics = pd.DataFrame({"accuracy": [0.1, 0.2]})
    (drawn,) = search.plot_parallel_coordinates(parameters, metrics).data
    assert [d.label for d in drawn.dimensions] == ["width", "accuracy"]
    nothing = search.plot_parallel_coordinates(parameters[["expansion"]], metrics)
    assert "two finished trials" in note_of(nothing)


def test_parallel_coordinates_wait_for_two_trials() -> None:
    none = pd.DataFrame({"accuracy": []}, dtype=float)
    figure = search.plot_parallel_coordinates(parameters_frame(trials(1)), none)
    assert "two finished trials" in note_of(figure)


@pytest.mark.parametrize(
    ("least", "kind", "drawn", "told"),
    [(1_000.0, "log", 1_000.0, "1.0 kB"), (0.0, None, 0.0, "0.0 kB")],
)
def test_a_slice_of_bytes_bears_its_unit_whatever_is_not_known(least, kind, drawn, told) -> None:
    parameters = parameters_frame(trials(5))
    sizes = pd.DataFrame({"memory_bytes": [least, 20_000.0, np.nan, 40_000.0, 9_000.0]})
    figure = search.plot_slice(parameters, sizes, parameter="width", metric="memory_bytes")
    (points,) = figure.data
    axis = figure.layout.yaxis
    assert (axis.title.text, axis.type) == ("arena (kB)", kind)
    assert points.y[0] == drawn
    assert points.y[1] == (20_000 if kind else 20)
    if kind:
        assert axis.ticktext[axis.tickvals.index(20_000)] == "20"
    assert [text for _, text in points.customdata][:3] == [told, "20.0 kB", "–"]
    assert "%{customdata[1]}" in points.hovertemplate


def test_the_timeline_has_a_row_for_every_worker() -> None:
    figure = search.plot_timeline(trials(4))
    assert list(figure.layout.yaxis.ticktext) == ["worker 0", "worker 1"]
    assert {trace.name for trace in figure.data} == {"complete", "failed"}


def test_a_running_trial_lasts_until_now() -> None:
    running = trials(1).assign(finished_at=pd.NaT, state="running")
    (bar,) = search.plot_timeline(running, now=START + timedelta(seconds=9)).data
    assert list(bar.x) == [9000]


def test_the_trial_of_a_lost_worker_ends_where_that_was_last_known_to_live() -> None:
    running = trials(2).assign(finished_at=pd.NaT, state="running")
    leases = {0: START + timedelta(seconds=3), 1: START + timedelta(days=9)}
    now = START + timedelta(days=1)
    (bar,) = search.plot_timeline(running, now=now, leases=leases).data
    assert list(bar.x) == [3000, 86_399_000]


def test_learning_curves_of_one_trial_show_training_too() -> None:
    epochs = pd.DataFrame(
        {
            "trial": 3,
            "epoch": [1, 2, 3],
            "accuracy": [0.1, 0.2, 0.3],
            "train_accuracy": [0.1, 0.3, 0.5],
        }
    )
    names = [trace.name for trace in training.plot_learning_curves(epochs).data]
    assert names == ["validation", "training"]
    two = pd.concat([epochs, epochs.assign(trial=4)])
    assert [t.name for t in training.plot_learning_curves(two).data] == ["trial 3", "trial 4"]
    assert "need a trained epoch" in note_of(training.plot_learning_curves(epochs.iloc[:0]))


def test_the_confusion_matrix_shows_shares_of_the_true_class() -> None:
    heat, *counts = training.plot_confusion_matrix([[3, 1], [0, 0]], ["<b>", "b"]).data
    assert heat.z.tolist() == [[0.75, 0.25], [0, 0]]
    assert heat.customdata[0][1].tolist() == ["1", "&lt;b&gt;", "b"]
    assert [list(trace.text) for trace in counts] == [["3"], ["1"]]
    assert "No confusion matrix" in note_of(training.plot_confusion_matrix(None, ["a"]))
    assert "No confusion matrix" in note_of(training.plot_confusion_matrix([[1]], ["a", "b"]))


def test_the_worst_class_stands_on_top_and_one_without_images_last() -> None:
    figures = {
        "good": {"recall": 0.9, "support": 5},
        "none": {"recall": None, "support": 0},
        "bad": {"recall": 0.1, "support": 5},
    }
    figure = training.plot_class_recall({"0-int8": figures})
    assert list(figure.layout.yaxis.ticktext) == ["bad", "good", "none"]


def test_groups_stand_with_their_interval_the_worst_on_top() -> None:
    figures = {"accuracy_low": 0.4, "accuracy_high": 0.7, "support": 30}
    figure = training.plot_group_accuracy(
        {"<b>": figures | {"accuracy": 0.6}, "b": figures | {"accuracy": 0.5}, "c": {"support": 0}}
    )
    (points,) = figure.data
    assert list(figure.layout.yaxis.ticktext) == ["b", "&lt;b&gt;"]
    assert list(points.error_x.array) == pytest.approx([0.2, 0.1])
    assert "No figures of single groups" in note_of(training.plot_group_accuracy({}))


def test_groups_that_count_stand_before_those_of_too_few_images() -> None:
    def figures(accuracy, counts):
        return {"accuracy": accuracy, "support": 30, "counts": counts}

    known = {f"small {n}": figures(0.0, False) for n in range(50)}
    known |= {"good": figures(0.9, True), "bad": figures(0.4, True)}
    (points,) = training.plot_group_accuracy(known).data
    assert len(points.x) == training.MAX_GROUPS
    assert [name for name, _ in points.customdata[:3]] == ["bad", "good", "small 0"]
    assert points.marker.symbol[:3] == ("circle", "circle", "circle-open")


def test_ticks_of_a_logarithmic_axis_are_written_out() -> None:
    ticks = style.log_ticks([1_500.0, 40_000.0], is_bytes=True)
    assert ticks["ticktext"] == ["1", "2", "5", "10", "20", "50", "100", "200", "500"]
    assert style.log_ticks([]) == {}


@pytest.mark.parametrize(
    ("values", "is_bytes", "inside"),
    [
        ([22e3, 46e3], True, ["25", "30", "35", "40", "45"]),
        ([30e3, 30e3], True, ["30"]),
        ([18.0, 46.0], False, ["20", "25", "30", "35", "40", "45"]),
        ([100_000.05, 100_000.45], False, ["100,000.1", "100,000.2", "100,000.3", "100,000.4"]),
        ([0.0021, 0.0024], False, ["0.0021", "0.0022", "0.0023", "0.0024"]),
    ],
)
def test_a_logarithmic_axis_of_values_that_lie_close_has_ticks_among_them(
    values, is_bytes, inside
) -> None:
    ticks = style.log_ticks(values, is_bytes=is_bytes)
    texts = dict(zip(ticks["tickvals"], ticks["ticktext"], strict=True))
    assert list(ticks["tickvals"]) == sorted(texts)
    low, high = min(values) * (1 - 1e-12), max(values) * (1 + 1e-12)
    found = [text for place, text in texts.items() if low <= place <= high]
    assert set(found) <= set(inside)
    assert len(found) >= min(2, len(inside))
    # Whoever zooms out still finds the others.
    assert ticks["tickvals"][0] < low
    assert ticks["tickvals"][-1] > high


def test_parallel_coordinates_of_sizes_that_lie_close_have_ticks() -> None:
    parameters = parameters_frame(trials(5))
    metrics = pd.DataFrame({"size_bytes": [22e3, 30e3, 46e3, 25e3, 40e3]})
    (drawn,) = search.plot_parallel_coordinates(parameters, metrics).data
    assert drawn.dimensions[-1].ticktext == ("25", "30", "35", "40", "45")


def test_a_scheme_keeps_its_colour_whatever_else_there_is() -> None:
    alone = style.scheme_colours(["int8"])["int8"]
    assert style.scheme_colours(["float16", "int8", "mine"])["int8"] == alone
    assert len(set(style.scheme_colours(["float16", "int8", "mine"]).values())) == 3


def test_a_rung_counts_who_went_on_and_who_was_pruned_there() -> None:
    ended = pd.DataFrame(
        {
            "number": [0, 1, 2, 3],
            "state": ["complete", "pruned", "pruned", "pruned"],
            "facts": [{}, {"pruned": {"epoch": 2}}, {"pruned": {"epoch": 4}}, {}],
        }
    )
    found = rungs_frame(ended, {0: 8, 1: 2, 2: 4, 3: 2})
    assert found.to_dict("records") == [
        {"epoch": 2, "went_on": 2, "pruned": 2},
        {"epoch": 4, "went_on": 1, "pruned": 1},
    ]
    assert [list(bar.y) for bar in plot_rungs(found).data] == [[2, 1], [2, 1]]
    assert "No trial was pruned" in note_of(plot_rungs(rungs_frame(ended.iloc[:1], {0: 8})))


def test_a_network_is_a_picture_with_every_layer_in_it() -> None:
    def layer(operator, reads=(), weight_bytes=0, weights=""):
        return Layer(
            operator=operator,
            detail="3 × 3" if operator == "CONV_2D" else "",
            activation="",
            shape=(4, 4, 2),
            kind="INT8",
            reads=reads,
            weights=weights,
            weight_bytes=weight_bytes,
            macs=10,
        )

    layers = (layer("INPUT"), layer("CONV_2D", (0,), 2000, "INT4"), layer("ADD", (1, 0)))
    picture = architecture_svg(layers)
    for words in ("input", "convolution · 3 × 3 · int4", "4 × 4 × 2", "2.0 kB", "2 layers"):
        assert words in picture
    # One line for each path: two straight ones, and one past the convolution.
    assert picture.count("<path") == 3
    assert picture.count(" C ") == 1
    bars = plot_layers(layers, [0, 2.0, 0], unit="weights (kB)").data[0]
    assert (list(bars.y), list(bars.x)) == (["1 convolution"], [2.0])
    two = plot_networks({"a": layers, "b": layers}, {"a": [0, 2, 3], "b": [0, 4, 1]}, unit="kB")
    convolutions, sums = two.data
    assert (list(convolutions.base), list(convolutions.x)) == ([0, 0], [2, 4])
    assert (list(sums.base), list(sums.x)) == ([2, 4], [3, 1])


def test_who_is_always_as_right_as_sure_lies_on_the_diagonal() -> None:
    labels = np.repeat([0, 1], 50)
    probabilities = np.tile(np.array([0.75, 0.25], np.float32), (100, 1))
    probabilities[50:75] = [0.25, 0.75]
    seen = Predictions(labels, probabilities)
    figure = plot_reliability({"a": seen})
    assert figure.data[1].x.tolist() == pytest.approx([0.75])
    assert figure.data[1].y.tolist() == pytest.approx([0.75])
    worst = mistakes_frame(seen, ("cat", "dog"))
    assert len(worst) == 24
    assert worst.iloc[0].to_dict() == {
        "image": 75,
        "true": "dog",
        "predicted": "cat",
        "confidence": pytest.approx(0.75),
        "true_probability": pytest.approx(0.25),
    }


def test_ticks_of_a_parameters_axis_never_lie_on_each_other() -> None:
    parameters = pd.DataFrame({"dropout": [0.0, 0.02505, 0.0252, 0.1575]})
    metrics = pd.DataFrame({"accuracy": [0.5, 0.6, 0.7, 0.8]})
    (drawn,) = search.plot_parallel_coordinates(parameters, metrics).data
    assert list(drawn.dimensions[0].tickvals) == [0.0, 0.02505, 0.1575]
    assert list(drawn.dimensions[0].ticktext) == ["0", "0.025", "0.158"]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1024, 3, "1,024"), (1008.4, 3, "1,008"), (1_234_567, 6, "1,234,567"), (2e9, 6, "2e+09"),
     (0.001, 3, "0.001"), (12.345, 3, "12.3")],
)  # fmt: skip
def test_numbers_to_a_billion_are_written_without_powers_of_ten(value, digits, text) -> None:
    assert style.number_text(value, digits) == text


def test_ticks_from_a_thousand_on_tell_values_apart() -> None:
    parameters = pd.DataFrame({"units": [1000, 1500, 2000, 1000]})
    metrics = pd.DataFrame({"accuracy": [0.1, 0.2, 0.3, 0.4]})
    (drawn,) = search.plot_parallel_coordinates(parameters, metrics).data
    assert list(drawn.dimensions[0].ticktext) == ["1,000", "1,500", "2,000"]
    assert style.log_ticks([1e6, 3e7])["ticktext"][0] == "1,000,000"
