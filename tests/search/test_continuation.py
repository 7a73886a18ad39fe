"""What a budget has left for training on, and what is worth it."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import autosearch
from autosearch import Budget, Study, TrainOn, maximize, minimize
from autosearch.data import Digits
from autosearch.errors import DefinitionError
from autosearch.search.continuation import Promise, TrainingOn
from autosearch.search.worker import Limits
from autosearch.search.worth import are_shares, worst_worth_having
from autosearch.space import SearchSpace, Training
from autosearch.values import Continuation, TrialState

FULL = 12


@pytest.fixture
def view(tmp_path):
    """Six trials of 3 epochs, of which 0, 2 and 4 are on the front."""

    def look_up(trial):
        number = trial.number
        trial.suggest_float("x", 0, 1)
        trial.describe(num_epochs=3, keras_sha256=f"{number:064d}")
        with trial.stage("train"):
            time.sleep(0.01)
        for epoch in (1, 2, 3):
            trial.report(epoch, accuracy=0.5)
        is_dominated = number % 2
        accuracy = 0.9 + 0.01 * number - 0.5 * is_dominated
        return {"accuracy": accuracy, "size_bytes": 100 + number}

    study = Study(
        name="briefly",
        evaluator=look_up,
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        budget=Budget(trials=6),
        sampler="random",
    )
    return autosearch.run(study, storage=f"sqlite:///{tmp_path / 'briefly.db'}")


def training_on(view, *, share=1.0, minutes=None, **limits):
    return TrainingOn(
        TrainOn(first_epochs=3, share=share),
        full_epochs=FULL,
        limits=Limits(**(limits or {"counted_trials": 12})),
        minutes=minutes,
        view=view,
    )


def test_each_of_the_front_is_gone_on_from_once(view):
    chooser, started = training_on(view), []
    while (chosen := chooser.next(started)) is not None:
        started.append(chosen)
    assert sorted(c.trial for c in started) == [0, 2, 4]
    trial = started[0].trial
    assert started[0] == Continuation(
        trial=trial, keras_sha256=f"{trial:064d}", epochs_before=3, epochs=3
    )


def promised(known, objectives, of, *, times=2.0):
    promise = Promise(np.array(known), objectives)
    return [promise.of(np.array(known)[rows], times=times) for rows in of]


def test_what_is_small_and_mostly_wrong_promises_little():
    objectives = [maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")]
    known = [
        [-0.40, 6_000.0, 0.17],   # the smallest, as slow as any, and wrong more often than not
        [-0.86, 18_000.0, 0.016],
        [-0.89, 30_000.0, 0.031],
        [-0.90, 90_000.0, 0.17],  # hardly better, and large
        [-0.85, 95_000.0, 0.17],  # on no front
    ]  # fmt: skip
    found = promised(known, objectives, [[0], [1], [2], [3]])
    assert max(found[0], found[3]) < min(found[1], found[2]) / 5
    assert promised(known, objectives[1:], [[0]]) == [0.0]


def test_a_network_with_several_files_is_trained_on_for_all_of_them():
    objectives = [maximize("accuracy"), minimize("size_bytes")]
    known = [[-0.8, 10.0], [-0.82, 20.0], [-0.9, 30.0], [-0.5, 40.0]]
    both, first, second = promised(known, objectives, [[0, 1], [0], [1]])
    assert both > max(first, second)


def test_what_is_nearly_trained_to_its_end_promises_less_than_what_has_far_to_go():
    objectives = [maximize("accuracy"), minimize("size_bytes")]
    known = [[-0.87, 10.0], [-0.9, 30.0], [-0.5, 40.0]]
    (twice,), (quarter,) = (promised(known, objectives, [[0]], times=t) for t in (2.0, 1.25))
    assert quarter == pytest.approx(np.log2(1.25) * twice, rel=0.05)


def test_what_was_trained_briefly_is_held_against_the_front_as_it_would_be():
    objectives = [maximize("accuracy"), minimize("size_bytes")]
    # After 2 epochs beaten by a smaller one that had 16; as good as that after 8, and better after.
    known = [[-0.90, 10.0], [-0.87, 12.0], [-0.5, 40.0]]
    assert promised(known, objectives, [[1]]) == [0.0]
    assert promised(known, objectives, [[1]], times=8.0)[0] > 0


def test_training_on_gets_its_share_of_the_time_and_no_more(view):
    frame = view.trials_frame()
    frame["facts"] = [
        {**facts, "continues": {"trial": 0, "epochs_before": 3}} if number < 3 else facts
        for number, facts in zip(frame["number"], frame["facts"], strict=True)
    ]
    frame["duration_s"] = 1.0
    # Three seconds of six, and one more would make four of seven.
    assert training_on(_Seen(view, frame), share=0.56).next([]) is None
    assert training_on(_Seen(view, frame), share=0.58).next([]) is not None


def test_of_the_last_quarter_of_the_budget_all_goes_to_training_on(view):
    assert training_on(view, share=0.01, counted_trials=9).next([]) is None
    assert training_on(view, share=0.01, counted_trials=8).next([]) is not None


@pytest.mark.parametrize(
    ("look_s", "last_s"),
    [
        # Nine epochs to the end and a look of three are 12 seconds: the last quarter has room.
        (3.0, 15.0),
        (6.0, 24.0),
        # It would take all, and half is for what is not known yet.
        (15.0, 30.0),
    ],
)
def test_time_is_kept_to_train_a_network_to_its_end(view, look_s, last_s):
    frame = view.trials_frame()
    frame["duration_s"] = look_s

    def chosen(left_s):
        chooser = training_on(
            _Seen(view, frame), share=0.01, minutes=1, deadline=time.time() + left_s
        )
        return chooser.next([])

    assert chosen(last_s - 1) is not None
    assert chosen(last_s + 1) is None


def test_epochs_are_kept_to_train_a_network_to_its_end(view):
    # Nine epochs to the end and a look of three are kept; 18 are spent.
    assert training_on(view, share=0.01, total_epochs=28).next([]) is not None
    assert training_on(view, share=0.01, total_epochs=40).next([]) is None


def test_a_training_that_goes_on_fits_into_what_is_left(view):
    assert training_on(view, total_epochs=20).next([]).epochs == 2
    assert training_on(view, total_epochs=18).next([]) is None
    # What another worker trains on has its epochs still to come, but for those that it reported.
    other = Continuation(trial=0, keras_sha256="0" * 64, epochs_before=0, epochs=3)
    for of, left in ((9, 2), (5, 5)):
        found = training_on(view, total_epochs=23).next([], {of: other})
        assert found.epochs == min(left, 3)
    assert training_on(view, total_epochs=21).next([], {9: other}) is None


def test_what_was_interrupted_is_cut_to_what_is_left_by_then(view):
    chosen = training_on(view).next([])
    assert chosen.epochs == 3
    assert training_on(view).cut(chosen) == chosen
    assert training_on(view, total_epochs=20).cut(chosen) == replace(chosen, epochs=2)
    now = time.time()
    assert training_on(view, deadline=now - 1).cut(chosen) == replace(chosen, epochs=1)


def test_how_much_is_spent_is_told_by_the_limit_that_comes_first(view):
    progress = view.progress()
    assert (progress.num_counted, progress.num_epochs) == (6, 18)
    assert Limits(counted_trials=12).used(progress, None) == pytest.approx(0.5)
    both = Limits(counted_trials=60, total_epochs=20)
    assert both.used(progress, None) == pytest.approx(0.9)
    with_time = Limits(counted_trials=60, deadline=time.time() + 15)
    assert with_time.used(progress, 1) == pytest.approx(0.75, abs=0.02)
    assert Limits(counted_trials=5).used(progress, None) == 1.0
    # Of six that are done four were before the run that was asked for four more.
    assert Limits(counted_trials=8, further_trials=4).used(progress, None) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("budget", "num_trials"),
    [
        (Budget(trials=4, total_epochs=100, minutes=10), 4),
        (Budget(trials=50, total_epochs=10, minutes=10), 4),
        (Budget(trials=5000, total_epochs=50000, minutes=0.1), None),
    ],
)
def test_a_budget_ends_with_whichever_limit_comes_first(tmp_path, budget, num_trials):
    def three_epochs(trial):
        for epoch in (1, 2, 3):
            trial.report(epoch, accuracy=0.5)
        time.sleep(0.05)
        return {"accuracy": trial.hp.Float("x", 0, 1)}

    study = Study(
        name="limits", evaluator=three_epochs, objectives=[maximize("accuracy")],
        budget=budget, sampler="random", pruner=autosearch.NoPruner(),
    )  # fmt: skip
    storage = f"sqlite:///{tmp_path / 'limits.db'}"
    view = autosearch.run(study, storage=storage)
    counts = view.progress().counts
    assert set(counts) == {TrialState.COMPLETE}
    assert counts[TrialState.COMPLETE] == (num_trials or counts[TrialState.COMPLETE])
    assert counts[TrialState.COMPLETE] < 5000
    # It is spent: running it again adds nothing.
    assert autosearch.run(study, storage=storage).progress().counts == counts


def test_training_on_needs_something_left_to_train():
    words = {
        "name": "digits",
        "dataset": Digits(),
        "space": SearchSpace(training=Training(epochs=5)),
        "objectives": [maximize("accuracy")],
    }
    study = Study(**words, train_on=TrainOn(first_epochs=2))
    assert Study.from_definition(study.definition()).train_on == study.train_on
    assert study.definition_sha256() != Study(**words).definition_sha256()
    with pytest.raises(DefinitionError, match="first_epochs is 5, and the space trains for 5"):
        Study(**words, train_on=TrainOn(first_epochs=5))
    with pytest.raises(DefinitionError, match="train_on needs a dataset and a space"):
        Study(
            name="own", evaluator=len, objectives=[maximize("accuracy")],
            train_on=TrainOn(first_epochs=1),
        )  # fmt: skip


class _Seen:
    """A view whose trials took another time."""

    def __init__(self, view: autosearch.StudyView, trials: pd.DataFrame):
        self._view, self._trials = view, trials

    def trials_frame(self):
        return self._trials

    def __getattr__(self, name):
        return getattr(self._view, name)


def test_what_has_less_than_nine_tenths_of_the_best_accuracy_is_not_worth_having():
    objectives = [maximize("accuracy"), minimize("log_loss"), minimize("size_bytes")]
    assert are_shares(objectives) == (True, False, False)
    known = np.array([[-0.95, 0.2, 90.0], [-0.6, 1.0, 10.0]])
    worst = worst_worth_having(known, are_shares(objectives))
    assert worst.tolist() == pytest.approx([-0.855, np.inf, np.inf])
    assert worst_worth_having(known, ()).tolist() == [np.inf] * 3
    # The two bests are of two networks, and each has too little of the other.
    known = np.array([[-0.95, -0.2], [-0.8, -0.7]])
    assert worst_worth_having(known, (True, True)).tolist() == [np.inf] * 2
    one_has_both = np.vstack([known, [-0.95, -0.7]])
    assert worst_worth_having(one_has_both, (True, True)).tolist() == pytest.approx([-0.855, -0.63])
    # A user's function may call anything an accuracy.
    assert worst_worth_having(np.array([[0.5], [2.0]]), (True,)).tolist() == [np.inf]


class _EndingMeanwhile(_Seen):
    """A view whose trial 4 ends, by another worker, while the candidates are read."""

    def ranked_frame(self):
        ranked = self._view.ranked_frame()
        self._trials = self._view.trials_frame()
        return ranked


def test_a_trial_that_another_worker_ends_meanwhile_is_known_as_it_ended(view):
    running = view.trials_frame()
    running.at[4, "facts"] = {}
    seen = _EndingMeanwhile(view, running)
    assert training_on(seen, deadline=time.time() + 30).next([]) is not None
