"""A configuration that was evaluated before is not evaluated again."""

import sqlite3

import optuna
import pytest

import autosearch
from autosearch import Budget, Study, at_most, maximize, minimize
from autosearch.store.database import Database
from autosearch.store.steering import discard_trial
from autosearch.values import TrialState

SCHEMES = ("float32", "int8")


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'search.db'}"


def make_study(evaluated, *, trials=6, **words):
    def evaluate(trial):
        width = trial.hp.Int("width", 1, 3)
        scheme = trial.hp.Choice("quantization", list(SCHEMES))
        trial.identify({"width": width}, quantization=scheme)
        evaluated.append((trial.number, width))
        return [
            {
                "quantization": name,
                "representative": name == scheme,
                "accuracy": 0.1 * width + 0.01 * trial.number,
                "size_bytes": 100 * width / (1 + SCHEMES.index(name)),
            }
            for name in SCHEMES
        ]

    return Study(
        name="narrow",
        evaluator=evaluate,
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        sampler="random",
        budget=Budget(trials=trials),
        **words,
    )


def test_the_same_is_evaluated_once_and_its_result_told_in_the_sampled_scheme(storage):
    evaluated = []
    view = autosearch.run(make_study(evaluated, trials=12), storage=storage)
    assert sorted(width for _, width in evaluated) == [1, 2, 3]
    originals = {width: number for number, width in evaluated}
    trials = view.trials_frame()
    assert set(trials["state"]) == {TrialState.COMPLETE}
    told = optuna.load_study(study_name="narrow", storage=storage).trials
    for trial in trials.itertuples():
        width, scheme = trial.config["width"], trial.config["quantization"]
        size = 100 * width / (1 + SCHEMES.index(scheme))
        accuracy = 0.1 * width + 0.01 * originals[width]
        assert told[trial.number].values == pytest.approx([accuracy, size])
        repeats = {"trial": originals[width], "quantization": scheme}
        assert trial.facts.get("repeats", repeats) == repeats
        assert ("repeats" in trial.facts) == (trial.number != originals[width])
    # No candidate is there twice.
    assert sorted(view.candidates_frame()["trial"]) == sorted(2 * list(originals.values()))


def test_a_repeated_trial_that_was_cut_off_before_the_sampler_knew_is_told_later(storage, tmp_path):
    view = autosearch.run(make_study([]), storage=storage)
    repeated = next(t.number for t in view.trials_frame().itertuples() if "repeats" in t.facts)
    before = optuna.load_study(study_name="narrow", storage=storage).trials[repeated].values
    with sqlite3.connect(tmp_path / "search.db") as connection:
        connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = ?", (repeated,))
        connection.execute(
            "DELETE FROM trial_values WHERE trial_id = "
            "(SELECT trial_id FROM trials WHERE number = ?)",
            (repeated,),
        )
    autosearch.run(make_study([], trials=7), storage=storage)
    after = optuna.load_study(study_name="narrow", storage=storage).trials[repeated]
    assert after.values == before


def test_what_changed_code_would_come_to_is_not_taken_from_the_old(storage):
    autosearch.run(make_study([]), storage=storage)

    def evaluate(trial):
        width = trial.hp.Int("width", 1, 3)
        trial.hp.Choice("quantization", list(SCHEMES))
        trial.identify({"width": width}, quantization="int8")
        return {"quantization": "int8", "accuracy": 1.0, "size_bytes": width}

    changed = make_study([]).model_copy(update={"evaluator": evaluate})
    view = autosearch.run(changed, storage=storage, accept_changes=True, trials=1)
    assert view.candidates_frame()["accuracy"].iloc[-1] == 1.0


def test_a_repeated_result_that_breaks_a_bound_is_told_with_how_far(storage):
    study = make_study([], trials=12, constraints=[at_most("size_bytes", 150)])
    view = autosearch.run(study, storage=storage)
    told = optuna.load_study(study_name="narrow", storage=storage).trials
    sizes = {
        t.number: 100 * t.config["width"] / (1 + SCHEMES.index(t.config["quantization"]))
        for t in view.trials_frame().itertuples()
        if "repeats" in t.facts
    }
    assert {size > 150 for size in sizes.values()} == {True, False}
    for number, size in sizes.items():
        assert told[number].constraints["size_bytes ≤ 150"] == pytest.approx((size - 150) / 150)


def states_of(storage, numbers):
    told = optuna.load_study(study_name="narrow", storage=storage).trials
    return {told[number].state for number in numbers}


def test_trials_with_the_figures_of_a_discarded_one_go_with_it(storage, tmp_path):
    view = autosearch.run(make_study([]), storage=storage)
    frame = view.trials_frame()
    repeats = [t.number for t in frame.itertuples() if "repeats" in t.facts]
    original = frame["facts"][repeats[0]]["repeats"]["trial"]
    mine = [n for n in repeats if frame["facts"][n]["repeats"]["trial"] == original]
    discard_trial(Database.open_to_write(storage), "narrow", original, reason="a bad lens")
    after = view.trials_frame()
    gone = set(after["number"][after["state"] == TrialState.DISCARDED])
    assert gone == {original, *mine}
    assert f"trial {original}, which was discarded: a bad lens" in after["error"][mine[0]]
    assert states_of(storage, gone) == {optuna.trial.TrialState.FAIL}
    # As a trial that took them over at that very moment, and was cut off before it was told.
    with sqlite3.connect(tmp_path / "search.db") as connection:
        connection.execute(
            "UPDATE autosearch_trials SET state = 'complete' WHERE number = ?", (mine[0],)
        )
        connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = ?", (mine[0],))
    autosearch.run(make_study([]), storage=storage, trials=1)
    assert states_of(storage, mine[:1]) == {optuna.trial.TrialState.FAIL}
