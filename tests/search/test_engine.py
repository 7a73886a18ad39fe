"""The search itself, on functions that cost nothing: no training, no mock."""

import hashlib
import json
import sqlite3

import numpy as np
import optuna
import psutil
import pytest

import autosearch
from autosearch import Budget, Study, at_most, maximize, minimize
from autosearch.errors import ChangedDefinitionError, DefinitionError, NothingTrainedError
from autosearch.search.engine import MAX_ATTEMPTS, Engine, best_trials
from autosearch.store.database import Database
from autosearch.store.judging import restated
from autosearch.store.recorder import Recorder
from autosearch.store.view import records
from autosearch.study import load_study_file
from autosearch.values import CandidateResult, TrialState

COMPLETE = optuna.trial.TrialState.COMPLETE
THREE = (maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms"))


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'search.db'}"


def look_up(trial):
    width = trial.hp.Int("width", 1, 64)
    depth = trial.hp.Float("depth", 0.0, 1.0)
    kind = trial.hp.Choice("kind", ["a", "b"])
    return {
        "accuracy": 1 - 1 / width - 0.1 * depth,
        "size_bytes": 100 * width * (1.5 if kind == "a" else 1.2),
        "latency_ms": width**0.5 * (2 - depth),
    }


def make_study(evaluator=look_up, *, objectives=THREE, trials=40, **words):
    return Study(
        name="table",
        evaluator=evaluator,
        objectives=objectives,
        budget=Budget(trials=trials),
        **{"sampler": "random", **words},
    )


def brute_force_front(frame, objectives):
    rows = frame[frame["feasible"]].reset_index(drop=True)
    signs = [-1 if o.direction == "maximize" else 1 for o in objectives]
    values = np.stack([s * rows[o.metric] for s, o in zip(signs, objectives, strict=True)], axis=1)
    kept = [
        not any((other <= one).all() and (other < one).any() for other in values) for one in values
    ]
    return set(rows["candidate"][kept])


def sampled_volume(frame, objectives, worst):
    """The share of random points that a feasible candidate dominates, times their volume."""
    rows = frame[frame["feasible"]]
    signs = np.array([-1 if o.direction == "maximize" else 1 for o in objectives])
    values = signs * rows[[o.metric for o in objectives]].to_numpy()
    reference = signs * [worst[o.metric] for o in objectives]
    ideal = values.min(axis=0)
    points = np.random.default_rng(0).uniform(ideal, reference, size=(4000, len(signs)))
    dominated = (values[:, None, :] <= points[None]).all(axis=2).any(axis=0)
    return dominated.mean() * np.prod(reference - ideal)


def configs_sha256(view):
    text = json.dumps(list(view.trials_frame()["config"]))
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("objectives", [THREE[:2], THREE], ids=["two", "three"])
def test_the_front_of_many_look_ups_is_the_one_by_brute_force(storage, objectives):
    study = make_study(objectives=objectives, constraints=[at_most("size_bytes", 5000)], trials=100)
    view = autosearch.run(study, storage=storage, seed=1)
    frame = view.candidates_frame()
    assert len(frame) == 100
    assert not frame["feasible"].all()
    expected = brute_force_front(frame, objectives)
    assert set(view.front_frame()["candidate"]) == expected
    assert len(expected) > 3
    worst = {"accuracy": -1.0, "size_bytes": 1e4, "latency_ms": 20.0}
    volume = sampled_volume(frame, objectives, worst)
    assert view.hypervolume(worst) == pytest.approx(volume, rel=0.05)
    assert view.hypervolume([worst[o.metric] for o in objectives]) == view.hypervolume(worst)
    with pytest.raises(ValueError, match="give one for each of: accuracy"):
        view.hypervolume([0.0])


def test_the_default_sampler_learns_from_constraints(storage):
    study = make_study(constraints=[at_most("size_bytes", 3000)], trials=40, sampler="tpe")
    frame = autosearch.run(study, storage=storage).candidates_frame()
    assert frame["feasible"][20:].mean() > frame["feasible"][:10].mean()


def test_the_same_seed_gives_the_same_configurations(tmp_path):
    shas = [
        configs_sha256(
            autosearch.run(
                make_study(trials=25, sampler="tpe"), storage=f"{tmp_path / name}.db", seed=seed
            )
        )
        for name, seed in [("a", 3), ("b", 3), ("c", 4)]
    ]
    assert shas[0] == shas[1] != shas[2]


def test_a_stop_in_the_midst_of_a_trial_loses_nothing(tmp_path, storage):
    stopped = []

    def stops_once(trial):
        answer = look_up(trial)
        trial.report(1, accuracy=0.5)
        if trial.number == 14 and not stopped:
            stopped.append(trial.number)
            raise KeyboardInterrupt
        return answer

    study = make_study(stops_once, trials=25, sampler="tpe")
    with pytest.raises(KeyboardInterrupt):
        autosearch.run(study, storage=storage, seed=3)
    view = autosearch.open_study("table", storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 14, TrialState.WAITING: 1}
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 25}
    assert list(view.trials_frame()["number"]) == list(range(25))
    assert len(view.epochs_frame()) == 25
    whole = autosearch.run(
        make_study(trials=25, sampler="tpe"), storage=f"{tmp_path / 'whole.db'}", seed=3
    )
    assert configs_sha256(view) == configs_sha256(whole)


def test_optuna_opens_the_study_from_the_same_url(storage):
    study = make_study(constraints=[at_most("size_bytes", 3000)], trials=12)
    view = autosearch.run(study, storage=storage)
    opened = optuna.load_study(study_name="table", storage=storage)
    assert opened.metric_names == ["accuracy", "size_bytes", "latency_ms"]
    assert len(opened.trials) == 12
    frame = view.candidates_frame()
    for trial, accuracy, feasible in zip(
        opened.trials, frame["accuracy"], frame["feasible"], strict=True
    ):
        assert trial.values[0] == pytest.approx(accuracy)
        assert (max(trial.constraints.values()) <= 0) == feasible


def test_an_infeasible_trial_ends_before_its_first_epoch(storage):
    def costs_first(trial):
        answer = look_up(trial)
        trial.check_cost(size_bytes=answer["size_bytes"])
        trial.report(1, accuracy=answer["accuracy"])
        return answer

    study = make_study(costs_first, constraints=[at_most("size_bytes", 3000)])
    view = autosearch.run(study, storage=storage)
    trials = view.trials_frame().set_index("number")
    infeasible = set(trials.index[trials["state"] == "infeasible"])
    assert infeasible
    assert not infeasible & set(view.epochs_frame()["trial"])
    assert all(trials["violations"][n]["size_bytes ≤ 3000"] > 0 for n in infeasible)


def test_a_bound_that_nothing_keeps_trains_nothing(storage):
    def costs_first(trial):
        trial.check_cost(size_bytes=look_up(trial)["size_bytes"])
        raise AssertionError("trained")

    study = make_study(costs_first, constraints=[at_most("size_bytes", 1)], trials=10)
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts == {TrialState.INFEASIBLE: 10}
    assert view.front_frame().empty


def test_an_ending_that_the_function_hides_still_ends_the_trial(storage):
    def hides(trial):
        answer = look_up(trial)
        try:
            trial.check_cost(size_bytes=answer["size_bytes"])
        except Exception:
            return answer
        return answer

    study = make_study(hides, constraints=[at_most("size_bytes", 1)], trials=3)
    assert autosearch.run(study, storage=storage).progress().counts == {TrialState.INFEASIBLE: 3}


def test_an_optuna_objective_runs_as_it_is(storage):
    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        n = trial.suggest_int("n", 1, 3)
        trial.set_user_attr("seen", True)
        for step in range(1, n + 1):
            trial.report(x, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        if x > 0.8:
            raise optuna.TrialPruned
        return x**2, n

    study = make_study(objective, objectives=(minimize("square"), minimize("n")))
    view = autosearch.run(study, storage=storage)
    counts = view.progress().counts
    assert counts[TrialState.PRUNED] > 0
    assert counts[TrialState.COMPLETE] + counts[TrialState.PRUNED] == 40
    frame = view.candidates_frame()
    config = view.trials_frame().set_index("number")["config"]
    assert frame["square"][0] == pytest.approx(config[frame["trial"][0]]["x"] ** 2)


def test_the_keywords_of_optunas_report_are_understood(storage):
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.report(value=x, step=1)
        trial.report(x / 2, step=2)
        return x

    study = make_study(objective, objectives=(maximize("score"),), trials=2)
    epochs = autosearch.run(study, storage=storage).epochs_frame()
    assert list(epochs["epoch"]) == [1, 2, 1, 2]
    x = epochs["metrics"][0]["score"]
    assert epochs["metrics"][1]["score"] == pytest.approx(x / 2)


def test_siblings_are_candidates_and_one_of_them_teaches(storage):
    def three_sizes(trial):
        answer = look_up(trial)
        return [
            {**answer, "size_bytes": answer["size_bytes"] / n, "quantization": f"int{n}",
             "representative": n == 2}
            for n in (1, 2, 4)
        ]  # fmt: skip

    view = autosearch.run(make_study(three_sizes, trials=5), storage=storage)
    frame = view.candidates_frame()
    assert len(frame) == 15
    assert list(frame["candidate"][:3]) == ["0-int1", "0-int2", "0-int4"]
    assert list(frame["representative"][:3]) == [False, True, False]
    told = optuna.load_study(study_name="table", storage=storage).trials[0].values
    assert told[1] == pytest.approx(frame["size_bytes"][1])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("fine", "expected a mapping of metrics"),
        ({"accuracy": 1.0}, 'the study asks for "size_bytes", and the evaluator answered accuracy'),
        ((1.0, 2.0), "answered 2 values, the study has 3 objectives"),
        ({"accuracy": "high"}, "answered 'high' for \"accuracy\"; expected a number"),
        ([{"accuracy": 1.0, "quantization": "a"}] * 2, "several candidates of one quantization"),
        ({"accuracy": 1.0, "trial": 3}, 'answered "trial", which is a column of every frame'),
    ],
)
def test_a_wrong_answer_stops_the_study_with_a_sentence(storage, answer, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        autosearch.run(make_study(lambda trial: answer), storage=storage)
    counts = autosearch.open_study("table", storage=storage).progress().counts
    assert TrialState.RUNNING not in counts


def test_a_failed_trial_is_recorded_and_the_search_goes_on(storage):
    def sometimes_fails(trial):
        answer = look_up(trial)
        if trial.number == 1:
            return {**answer, "accuracy": float("nan")}
        if trial.number == 3:
            raise MemoryError("no room")
        if trial.number == 4:
            raise SystemExit(2)
        return answer

    view = autosearch.run(make_study(sometimes_fails, trials=6), storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 6, TrialState.FAILED: 3}
    trials = view.trials_frame().set_index("number")
    assert "accuracy is nan" in trials["error"][1]
    assert trials["error"][3] == "MemoryError: no room"
    assert "sometimes_fails" in trials["traceback"][3]
    assert trials["config"][3]["width"] > 0


def test_five_failures_at_the_start_stop_the_run_and_say_why(storage):
    def fails(trial):
        trial.hp.Int("x", 1, 3)
        raise RuntimeError("no such device")

    with pytest.raises(NothingTrainedError, match=r"5 trials failed and none.*no such device"):
        autosearch.run(make_study(fails), storage=storage)


def test_what_is_infeasible_shows_not_that_evaluating_works(storage):
    def fails(trial):
        trial.check_cost(size_bytes=100 if trial.number % 2 else 1)
        raise RuntimeError("no such device")

    study = make_study(fails, constraints=[at_most("size_bytes", 10)])
    with pytest.raises(NothingTrainedError, match=r"5 trials failed and none.*no such device"):
        autosearch.run(study, storage=storage)
    counts = autosearch.open_study("table", storage=storage).progress().counts
    assert counts == {TrialState.FAILED: 5, TrialState.INFEASIBLE: 4}


def test_failures_before_any_cost_stop_no_study_whose_other_trials_come_to_theirs(storage):
    def fails(trial):
        if trial.number % 3 == 0:
            raise RuntimeError("no such network")
        trial.check_cost(size_bytes=100)

    study = make_study(fails, constraints=[at_most("size_bytes", 10)], trials=12)
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts == {TrialState.INFEASIBLE: 12, TrialState.FAILED: 6}


def test_a_kind_of_figure_that_there_is_not_is_refused(storage):
    view = autosearch.run(make_study(trials=2), storage=storage)
    with pytest.raises(DefinitionError, match='"cross-validation" is no kind of figure; expected'):
        view.front_frame(estimate="cross-validation")
    assert view.candidate(0)["trial"] == 0


def test_a_name_used_twice_with_different_ranges_stops_the_study(storage):
    def twice(trial):
        trial.hp.Int("x", 1, 3)
        trial.hp.Int("x", 1, 4)
        return look_up(trial)

    with pytest.raises(DefinitionError, match=r"\bx\b"):
        autosearch.run(make_study(twice), storage=storage)


def test_a_figure_that_is_not_to_be_had_is_neither_feasible_nor_on_the_front(storage):
    def no_latency(trial):
        answer = look_up(trial)
        return [{**answer, "latency_ms": None, "quantization": "a"},
                {**answer, "quantization": "b"}]  # fmt: skip

    view = autosearch.run(make_study(no_latency, trials=5), storage=storage)
    frame = view.candidates_frame()
    assert not frame["feasible"][frame["quantization"] == "a"].any()
    assert set(view.front_frame()["quantization"]) == {"b"}
    json.dumps(records(frame), allow_nan=False)


@pytest.mark.parametrize("metric", ["latency_ms", "size_bytes"])
def test_a_figure_that_is_no_number_is_one_that_is_not_to_be_had(storage, metric):
    def sibling_without(trial):
        answer = look_up(trial)
        return [{**answer, "quantization": "a"},
                {**answer, metric: float("nan"), "quantization": "b"}]  # fmt: skip

    study = make_study(
        sibling_without,
        objectives=(maximize("accuracy"), minimize("latency_ms")),
        constraints=[at_most("size_bytes", 1e6)],
        trials=3,
    )
    frame = autosearch.run(study, storage=storage).candidates_frame()
    assert list(frame["feasible"]) == [True, False] * 3
    assert frame[metric][frame["quantization"] == "b"].isna().all()


def test_a_constraint_on_no_number_is_broken(storage):
    def evaluate(trial):
        return {"accuracy": 0.5, "memory_bytes": float("nan")}

    study = make_study(
        evaluate,
        objectives=(maximize("accuracy"),),
        constraints=[at_most("memory_bytes", 10)],
        trials=2,
    )
    view = autosearch.run(study, storage=storage)
    assert not view.candidates_frame()["feasible"].any()
    opened = optuna.load_study(study_name="table", storage=storage)
    assert all(max(trial.constraints.values()) > 0 for trial in opened.trials)
    json.dumps(records(view.trials_frame()), allow_nan=False)


def test_a_study_without_candidates_has_empty_frames_with_their_columns(storage):
    def infeasible(trial):
        trial.check_cost(size_bytes=2)

    study = make_study(infeasible, constraints=[at_most("size_bytes", 1)], trials=1)
    view = autosearch.run(study, storage=storage)
    full = autosearch.run(make_study(trials=1).model_copy(update={"name": "full"}), storage=storage)
    for frame in (view.candidates_frame(), view.front_frame()):
        assert frame.empty
        assert list(frame.columns) == list(full.candidates_frame().columns)
        assert records(frame) == []
    assert view.epochs_frame().empty
    assert view.hypervolume([0.0, 1e6, 1e6]) == 0.0
    assert view.progress().best_accuracy is None


def test_more_trials_and_a_larger_budget_go_on_with_the_study(storage):
    autosearch.run(make_study(trials=5), storage=storage)
    assert autosearch.run(make_study(trials=5), storage=storage).progress().num_counted == 5
    assert autosearch.run(make_study(trials=8), storage=storage).progress().num_counted == 8
    view = autosearch.run(make_study(trials=8), storage=storage, trials=3)
    assert view.progress().num_counted == 11


def test_a_changed_definition_stops_and_says_what_changed(storage):
    autosearch.run(make_study(trials=3), storage=storage)
    changed = make_study(trials=3, constraints=[at_most("size_bytes", 10)])
    with pytest.raises(ChangedDefinitionError, match=r"constraints.*--accept-changes"):
        autosearch.run(changed, storage=storage)
    view = autosearch.run(changed, storage=storage, trials=2, accept_changes=True)
    assert view.progress().num_counted == 5
    with pytest.raises(ChangedDefinitionError, match="was started with seed 0, not 7"):
        autosearch.run(changed, storage=storage, seed=7)
    other_way = (maximize("accuracy"), maximize("size_bytes"), minimize("latency_ms"))
    for objectives in (THREE[:2], other_way):
        with pytest.raises(ChangedDefinitionError, match="other objectives"):
            autosearch.run(make_study(objectives=objectives), storage=storage, accept_changes=True)


def test_accepted_constraints_hold_for_the_candidates_that_are_there(storage):
    view = autosearch.run(make_study(trials=12), storage=storage)
    sizes = view.candidates_frame()["size_bytes"]
    assert view.candidates_frame()["feasible"].all()
    bound = float(sizes.median())
    tightened = make_study(trials=12, constraints=[at_most("size_bytes", bound)])
    view = autosearch.run(tightened, storage=storage, accept_changes=True)
    assert view.progress().num_counted == 12
    assert list(view.candidates_frame()["feasible"]) == list(sizes <= bound)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"study": "small.py"}, r"the study is 'small.py'; expected a Study, as .*load_study_file"),
        ({"trials": "3"}, "trials is '3'; expected a whole number from 1 on"),
        ({"trials": 1.5}, "trials is 1.5; expected"),
        ({"trials": 0}, "trials is 0; expected"),
        ({"seed": "a"}, "seed is 'a'; expected a whole number from 0"),
        ({"seed": -1}, "seed is -1; expected"),
        ({"workers": 0}, "workers is 0; expected at least 1"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(storage, words, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        autosearch.run(**{"study": make_study(), "storage": storage, **words})


def test_an_unknown_sampler_is_refused_before_anything_is_stored(storage, tmp_path):
    with pytest.raises(DefinitionError, match='sampler "annealing" is not known; expected one of'):
        autosearch.run(make_study(sampler="annealing"), storage=storage)
    assert list(tmp_path.iterdir()) == []


def test_a_sampler_of_the_users_own_is_used_as_it_is(storage):
    grid = optuna.samplers.GridSampler({"x": [1, 2, 3]})
    study = make_study(
        lambda trial: (trial.suggest_int("x", 1, 3),),
        objectives=(minimize("x"),),
        sampler=grid,
        trials=3,
    )
    frame = autosearch.run(study, storage=storage).candidates_frame()
    assert sorted(frame["x"]) == [1, 2, 3]


def test_a_grid_that_is_used_up_ends_the_run(storage):
    study = make_study(
        lambda trial: (trial.suggest_int("x", 1, 3),),
        objectives=(minimize("x"),),
        sampler=optuna.samplers.GridSampler({"x": [1, 2, 3]}),
    )
    assert autosearch.run(study, storage=storage).progress().counts == {TrialState.COMPLETE: 3}


def test_a_row_that_optuna_was_not_told_of_is_told_on_the_next_run(storage, tmp_path):
    autosearch.run(make_study(trials=4), storage=storage)
    with sqlite3.connect(tmp_path / "search.db") as connection:
        connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 2")
    autosearch.run(make_study(trials=5), storage=storage)
    opened = optuna.load_study(study_name="table", storage=storage)
    assert [trial.state.name for trial in opened.trials] == ["COMPLETE"] * 5


FILE = """
import os, pathlib, signal, time
from autosearch import Budget, Study, maximize

HERE = pathlib.Path(__file__).parent

def evaluate(trial):
    x = trial.hp.Float("x", 0, 1)
    trial.report(1, accuracy=x)
    marker = HERE / f"marker-{{trial.number}}"
    first = not marker.exists()
    marker.touch()
    {body}
    return {{"accuracy": x}}

study = Study(name="file", evaluator=evaluate, objectives=[maximize("accuracy")],
              sampler="random", budget=Budget(trials=5))
"""


def write_study(tmp_path, body):
    path = tmp_path / "study_file.py"
    path.write_text(FILE.format(body=body))
    return load_study_file(path)


def test_a_killed_worker_is_replaced_and_its_trial_tried_again(tmp_path, storage):
    body = "if trial.number == 2 and first: os.kill(os.getpid(), signal.SIGKILL)"
    view = autosearch.run(write_study(tmp_path, body), storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 5}
    trials = view.trials_frame().set_index("number")
    assert list(trials["attempt"]) == [1, 1, 2, 1, 1]
    assert len(view.epochs_frame()) == 5


def test_a_trial_that_always_kills_its_worker_fails_in_the_end(tmp_path, storage):
    body = (
        "trial.hp.Int('units', 8, 64, step=2, sampling='log')\n"
        "    if trial.number == 1: os.kill(os.getpid(), signal.SIGKILL)"
    )
    view = autosearch.run(write_study(tmp_path, body), storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 5, TrialState.FAILED: 1}
    trial = view.trials_frame().set_index("number").loc[1]
    assert trial["attempt"] == MAX_ATTEMPTS
    assert f"SIGKILL); tried {MAX_ATTEMPTS} times" in trial["error"]
    # Of a range like this Optuna holds a number that stands for the value.
    assert trial["config"] == {}
    assert set(trial["facts"]["optuna_params"]) >= {"units"}


def test_a_worker_that_finds_another_file_than_the_study_was_started_from_ends_it(
    tmp_path, storage
):
    body = (
        "if trial.number == 2 and first:\n"
        "        source = open(__file__).read()\n"
        "        open(__file__, 'w').write(source.replace('number == 2', 'number == 3'))\n"
        "        os.kill(os.getpid(), signal.SIGKILL)"
    )
    with pytest.raises(ChangedDefinitionError, match="differs from the one in the database"):
        autosearch.run(write_study(tmp_path, body), storage=storage)
    view = autosearch.open_study("file", storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 2, TrialState.WAITING: 1}


def test_a_trial_that_hangs_is_ended(tmp_path, storage):
    body = "time.sleep(600 if trial.number == 1 and first else 0)"
    view = autosearch.run(write_study(tmp_path, body), storage=storage, trial_timeout_s=1.0)
    assert view.progress().counts == {TrialState.COMPLETE: 5}


def test_what_the_worker_raises_is_raised_here(tmp_path, storage):
    body = "return 'nonsense'"
    with pytest.raises(DefinitionError, match="expected a mapping of metrics"):
        autosearch.run(write_study(tmp_path, body), storage=storage)


def test_what_json_cannot_hold_fails_its_trial_and_not_the_study(storage):
    def describes(trial):
        answer = look_up(trial)
        trial.describe(rates=np.array([0.5, np.nan]), parameters=np.int64(7))
        if trial.number == 1:
            trial.describe(model=object())
        conditions = {"seen": {1}} if trial.number == 2 else {"runs": np.float32(0.5)}
        metrics = {name: np.float32(value) for name, value in answer.items()}
        return CandidateResult(metrics=metrics, accuracy_low=np.float32(0), conditions=conditions)

    study = make_study(describes, trials=3, constraints=[at_most("size_bytes", 3000)])
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 3, TrialState.FAILED: 2}
    trials = view.trials_frame()
    assert trials["facts"][0] == {"rates": [0.5, None], "parameters": 7}
    assert trials["error"][1].startswith("model is of type object, which JSON cannot hold")
    assert trials["error"][2].startswith("conditions.seen is of type set")
    assert view.candidates_frame()["conditions"][0] == {"runs": 0.5}


def test_other_bounds_hold_for_the_trials_so_far(storage):
    def costs_first(trial):
        answer = look_up(trial)
        trial.describe(size_bytes=answer["size_bytes"])
        trial.check_cost(size_bytes=answer["size_bytes"])
        return answer

    def bounded(bound):
        return make_study(costs_first, constraints=[at_most("size_bytes", bound)], trials=16)

    first = autosearch.run(bounded(4000), storage=storage).trials_frame()
    sizes = [facts["size_bytes"] for facts in first["facts"]]
    for bound in (6000, 2000):
        autosearch.run(bounded(bound), storage=storage, accept_changes=True, trials=1)
        told = optuna.load_study(study_name="table", storage=storage).trials[:16]
        # None becomes complete that was never trained, though it would be allowed now.
        assert [t.state is COMPLETE for t in told] == [
            state == "complete" for state in first["state"]
        ]
        for trial, size in zip(told, sizes, strict=True):
            violations = {f"size_bytes ≤ {bound}": pytest.approx((size - bound) / bound)}
            assert trial.constraints == violations
        kinds = {(t.state is COMPLETE, max(t.constraints.values()) <= 0) for t in told}
        assert {(True, True), (bound == 2000, bound == 6000), (False, False)} <= kinds
    starts = {trial.number for trial in best_trials(Database.open_to_write(storage), "table")}
    assert starts & set(range(16))
    assert all(sizes[number] <= 2000 for number in starts & set(range(16)))


def test_a_bound_is_restated_from_what_an_earlier_one_told():
    now = [at_most("size_bytes", 4000), at_most("latency_ms", 2), at_most("macs", 1)]
    recorded = {"size_bytes ≤ 3000": 1 / 3, "latency_ms ≤ 0.5": 1.0, "memory_bytes ≤ 9": 0.5}
    # A latency that was not to be had breaks any bound; of what was not looked at nothing is said.
    assert restated(recorded, now) == {"size_bytes ≤ 4000": 0.0, "latency_ms ≤ 2": 1.0}


def test_a_trial_that_was_finished_meanwhile_stays_as_it_is(storage):
    view = autosearch.run(make_study(trials=1), storage=storage)
    database = Database.open_to_write(storage)
    engine = Engine(make_study(), database, seed=0)
    recorder = Recorder(database, view.id)
    trial = engine.start_trial(recorder, recorder.start_worker(60.0))
    optuna.load_study(study_name="table", storage=storage).tell(
        trial.number, state=optuna.trial.TrialState.FAIL
    )
    engine.tell(trial, TrialState.INFEASIBLE, violations={"size_bytes ≤ 1": 2.0}, seconds=1.0)
    told = optuna.load_study(study_name="table", storage=storage).trials[trial.number]
    assert (told.state, told.constraints) == (optuna.trial.TrialState.FAIL, {})


def test_reading_all_trials_anew_keeps_no_file_open(storage):
    autosearch.run(make_study(trials=1), storage=storage)
    engine = Engine(make_study(), Database.open_to_write(storage), seed=0)
    numbers = []
    for _ in range(4):
        engine.reopen()
        engine.known_trials()
        numbers.append(psutil.Process().num_fds())
    # SQLite itself keeps what it closed at first for as long as others have the file open.
    assert numbers[-1] <= numbers[0]
