"""Pruning, on learning curves that cost nothing."""

import json

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from typer.testing import CliRunner

import autosearch
from autosearch import (
    Budget,
    NoPruner,
    ParetoPruner,
    SearchSpace,
    Study,
    at_most,
    maximize,
    minimize,
    pareto,
)
from autosearch.cli.main import app
from autosearch.data import Digits
from autosearch.errors import DefinitionError
from autosearch.search.finished import RUNGS
from autosearch.search.pruning import place_on_rung, survives
from autosearch.store.rungs import why_pruned
from autosearch.values import TrialState

LENGTH = 5
TWO = (maximize("accuracy"), minimize("size_bytes"))


def curve(trial):
    """Learns the longer and the better, the wider it is; a bad rate spoils that."""
    width = trial.hp.Int("width", 4, 64)
    rate = trial.hp.Float("rate", 0.0, 1.0)
    trial.describe(num_epochs=LENGTH)
    trial.check_cost(size_bytes=100 * width)
    best = 0.9 - 1 / width - 0.5 * (rate - 0.4) ** 2
    for epoch in range(1, LENGTH + 1):
        accuracy = best * (1 - 0.4**epoch)
        trial.report(epoch, accuracy=accuracy)
    return {"accuracy": accuracy}


def make_study(evaluator=curve, *, objectives=TWO, trials=16, **words):
    words = {"pruner": ParetoPruner(eta=2, min_epochs=2), "sampler": "random", **words}
    return Study(
        name="curves",
        evaluator=evaluator,
        objectives=objectives,
        budget=words.pop("budget", Budget(trials=trials)),
        **words,
    )


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'curves.db'}"


def told(view):
    """The rungs as they were told: by epoch, each trial's error and size in their order."""
    epochs = view.epochs_frame()
    return {
        epoch: {int(row.trial): (-row.accuracy, row.metrics["size_bytes"]) for row in rows}
        for epoch in (2, 4)
        if (rows := list(epochs[epochs["epoch"] == epoch].itertuples()))
    }


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)),
                     elements=st.integers(0, 4).map(float)))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_places_are_an_order_in_which_no_trial_comes_before_one_that_dominates_it(values):
    places = [place_on_rung(values, i) for i in range(len(values))]
    assert sorted(places) == list(range(1, len(values) + 1))
    for i, one in enumerate(values):
        for j, other in enumerate(values):
            if pareto.dominates(one, other):
                assert places[i] < places[j]
    rescaled = np.exp(3 * values) * 10.0 ** np.arange(values.shape[1])
    assert [place_on_rung(rescaled, i) for i in range(len(values))] == places


def test_within_a_front_the_best_comes_first_and_then_what_lies_farthest():
    values = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 3.0], [4.0, 2.0], [5.0, 1.0]])
    assert [place_on_rung(values, i) for i in range(5)] == [1, 4, 3, 5, 2]


def test_a_share_goes_on_rounded_up_and_everybody_before_there_are_enough():
    assert [place for place in range(1, 11) if survives(place, 10, 3)] == [1, 2, 3, 4]
    assert survives(2, 2, 3)
    assert not survives(2, 3, 3)


def test_a_trial_goes_on_only_if_it_is_among_the_best_that_reached_the_rung(storage):
    view = autosearch.run(make_study(), storage=storage, seed=2)
    trials = view.trials_frame().set_index("number")
    pruned_at = {n: facts["pruned"]["epoch"] for n, facts in trials["facts"].items()
                 if "pruned" in facts}  # fmt: skip
    assert {2, 4} == set(pruned_at.values())
    for epoch, rung in told(view).items():
        for number in rung:
            before = [n for n in rung if n <= number]
            place = place_on_rung(np.array([rung[n] for n in before]), before.index(number))
            goes_on = survives(place, len(before), 2)
            assert goes_on == (pruned_at.get(number) != epoch)
            if not goes_on:
                expected = {"epoch": epoch, "place": place, "num_trials": len(before)}
                assert trials.at[number, "facts"]["pruned"] == expected
    counts = view.progress().counts
    assert counts[TrialState.PRUNED] == len(pruned_at)
    assert counts[TrialState.PRUNED] + counts[TrialState.COMPLETE] == 16
    assert set(view.candidates_frame()["trial"]).isdisjoint(pruned_at)
    # Its epochs stay, and count.
    assert view.progress().num_epochs == sum(pruned_at.get(n, LENGTH) for n in range(16))


def test_rungs_survive_a_restart(tmp_path, storage):
    at_once = autosearch.run(make_study(), storage=storage, seed=5)
    other = f"sqlite:///{tmp_path / 'parts.db'}"
    for trials in (6, 10):
        in_parts = autosearch.run(
            make_study(), storage=other, seed=5 if trials == 6 else None, trials=trials
        )
    for column in ("state", "config", "facts"):
        assert list(in_parts.trials_frame()[column]) == list(at_once.trials_frame()[column])


def test_a_trial_is_not_pruned_by_an_interrupted_attempt_of_its_own(storage):
    cut = []

    def stops_after_the_rung(trial):
        answer = curve(trial)
        if trial.number == 4 and not cut:
            cut.append(trial.number)
            raise KeyboardInterrupt
        return answer

    study = make_study(stops_after_the_rung, trials=5, pruner=ParetoPruner(eta=2, min_epochs=2))
    with pytest.raises(KeyboardInterrupt):
        autosearch.run(study, storage=storage, seed=1)
    autosearch.run(study, storage=storage)
    assert len(told(autosearch.open_study("curves", storage=storage))[2]) == 5


def test_nothing_is_told_to_optuna_that_makes_it_raise_and_the_sampler_goes_on(storage):
    autosearch.run(make_study(trials=16, sampler="tpe"), storage=storage, seed=2)
    study = optuna.load_study(study_name="curves", storage=storage)
    pruned = study.get_trials(states=(optuna.trial.TrialState.PRUNED,))
    assert len(pruned) > 3
    assert not any(trial.intermediate_values or trial.values for trial in pruned)


def test_the_sampler_learns_what_pruned_trials_had_reached(storage):
    study = make_study(sampler="pareto", trials=30)
    view = autosearch.run(study, storage=storage, seed=0)
    told = optuna.load_study(study_name=study.name, storage=storage).trials
    pruned = [t for t in told if t.state is optuna.trial.TrialState.PRUNED]
    assert pruned
    assert all(set(t.user_attrs[RUNGS]) <= {"2", "4"} for t in told)
    frame = view.epochs_frame().set_index(["trial", "epoch"])
    for trial in pruned:
        epoch, (accuracy, size) = max(trial.user_attrs[RUNGS].items())
        assert accuracy == pytest.approx(frame.loc[(trial.number, int(epoch)), "accuracy"])
        assert size == 100 * trial.params["width"]


def test_a_report_that_an_evaluator_hides_prunes_all_the_same(storage):
    def hides(trial):
        try:
            return curve(trial)
        except optuna.TrialPruned:
            return {"accuracy": 1.0}

    view = autosearch.run(make_study(hides), storage=storage, seed=2)
    assert view.progress().counts[TrialState.PRUNED] > 3
    assert view.candidates_frame()["accuracy"].max() < 1.0


def test_a_trial_without_a_figure_of_every_objective_is_not_compared(storage):
    def silent(trial):
        for epoch in range(1, LENGTH + 1):
            trial.report(epoch, accuracy=0.5)
        return {"accuracy": 0.5, "size_bytes": trial.hp.Int("width", 1, 9)}

    view = autosearch.run(make_study(silent), storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 16}


def test_a_single_objective_takes_any_of_optunas_pruners(storage):
    study = make_study(
        objectives=(maximize("accuracy"),),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
        sampler="tpe",
    )
    view = autosearch.run(study, storage=storage, seed=1)
    whys = [why for facts in view.trials_frame()["facts"] if (why := why_pruned(facts))]
    assert len(whys) > 3
    assert all(why.endswith("by MedianPruner") for why in whys)
    assert view.candidates_frame()["accuracy"].max() > 0.8


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2),
        optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    ],
    ids=["median", "halving"],
)
def test_a_trial_that_was_put_back_is_judged_by_its_new_attempt(storage, pruner):
    attempts = []

    def stops_once(trial):
        attempts.append(trial.number)
        factor = 1.0 if attempts.count(trial.number) == 1 else 2.0
        for epoch in range(1, LENGTH + 1):
            trial.report(epoch, accuracy=factor * (trial.number + epoch))
            if trial.number == 3 and epoch == 4 and factor == 1.0:
                raise KeyboardInterrupt
        return {"accuracy": trial.hp.Float("x", 0.0, 1.0)}

    study = make_study(stops_once, objectives=(maximize("accuracy"),), trials=4, pruner=pruner)
    with pytest.raises(KeyboardInterrupt):
        autosearch.run(study, storage=storage)
    waiting = optuna.load_study(study_name="curves", storage=storage).trials[3]
    assert waiting.state is optuna.trial.TrialState.WAITING
    assert not waiting.intermediate_values
    assert not [name for name in waiting.system_attrs if name.startswith("completed_rung")]
    autosearch.run(study, storage=storage)
    told = optuna.load_study(study_name="curves", storage=storage).trials[3]
    assert told.intermediate_values == {e: 2.0 * (3 + e) for e in range(1, LENGTH + 1)}


def test_a_pruner_for_one_figure_is_refused_with_several_objectives(storage):
    study = make_study(pruner=optuna.pruners.MedianPruner())
    with pytest.raises(DefinitionError, match='2 objectives; write pruner="mo_asha"'):
        autosearch.run(study, storage=storage)
    with pytest.raises(DefinitionError, match=r"pruner is int; expected \"mo_asha\""):
        autosearch.run(make_study(pruner=7), storage=storage)
    with pytest.raises(DefinitionError, match='"asha" is not known; expected "mo_asha"'):
        make_study(pruner="asha")


def test_by_default_a_study_prunes_whose_budget_buys_further_trials_for_it():
    assert make_study(pruner=None, budget=Budget(minutes=1)).chosen_pruner == ParetoPruner()
    assert make_study(pruner=None, budget=Budget(trials=9, total_epochs=9)).chosen_pruner == (
        ParetoPruner()
    )
    assert make_study(pruner=None).chosen_pruner == NoPruner()
    assert make_study(pruner=NoPruner(), budget=Budget(minutes=1)).chosen_pruner == NoPruner()


@pytest.mark.parametrize("pruner", [None, NoPruner(), "mo_asha", ParetoPruner(eta=4)])
def test_a_study_with_a_pruner_is_made_again_from_its_definition(pruner):
    study = Study(
        name="digits",
        dataset=Digits(),
        space=SearchSpace(),
        objectives=TWO,
        constraints=[at_most("size_bytes", 9e4)],
        pruner=pruner,
    )
    again = Study.from_definition(json.loads(json.dumps(study.definition())))
    assert again.pruner == study.pruner
    assert again.is_declarative
    # A pruner changes no figure of a candidate, so a study may go on with another.
    assert (
        again.definition_sha256()
        == Study(**{**dict(study), "pruner": NoPruner()}).definition_sha256()
    )


def test_the_command_line_says_why_a_trial_was_pruned(storage):
    view = autosearch.run(make_study(), storage=storage, seed=2)
    first = next(f["pruned"] for f in view.trials_frame()["facts"] if "pruned" in f)
    shown = (
        CliRunner()
        .invoke(app, ["trials", "curves", "--storage", storage, "--format", "json"])
        .stdout
    )
    row = next(row for row in json.loads(shown) if row["state"] == "pruned")
    assert row["facts"]["pruned"] == first
    shown = CliRunner().invoke(app, ["trials", "curves", "--storage", storage]).stdout
    assert "pruned at" in shown
    assert why_pruned({"pruned": {"epoch": 4, "place": 21, "num_trials": 22}}) == (
        "pruned at epoch 4: 21st of 22 on the rung"
    )
    assert why_pruned({"pruned": {"epoch": 4, "place": 13, "num_trials": 22}}) == (
        "pruned at epoch 4: 13th of 22 on the rung"
    )
    assert why_pruned({}) is None
