"""What a sampler is shown of a long study."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from autosearch import pareto
from autosearch.search.finished import CONTINUES
from autosearch.search.history import SHOWN_TRIALS, choose_trials, shown_trials
from autosearch.search.samplers import make_sampler

SPACE = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(13)} | {
    f"kind{i}": CategoricalDistribution(["a", "b", "c"]) for i in range(12)
}


def study_of(count, *, seed=0):
    rng = np.random.default_rng(seed)
    trials = []
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    for _ in range(count):
        params = {n: float(rng.random()) if n[0] == "x" else "abc"[rng.integers(3)] for n in SPACE}
        is_pruned = bool(rng.random() < 0.2)
        trials.append(
            optuna.create_trial(
                params=params,
                distributions=SPACE,
                values=None if is_pruned else list(rng.random(3)),
                state=states[is_pruned],
                constraints={"size": 0.5 if is_pruned else -0.5},
            )
        )
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    study.add_trials(trials)
    return study


def sample(study, name, *, number):
    study.sampler = make_sampler(name, seed=1, number=number)
    trial = study.ask()
    return {n: trial._suggest(n, d) for n, d in SPACE.items()}


def test_all_trials_are_shown_until_there_are_too_many():
    values = np.random.default_rng(0).random((80, 2))
    assert choose_trials(values, np.ones(80, dtype=bool), 100).tolist() == list(range(80))


def test_the_front_the_newest_and_some_infeasible_trials_are_shown():
    rng = np.random.default_rng(0)
    values = rng.random((5000, 3))
    is_feasible = rng.random(5000) < 0.7
    values[~is_feasible] = np.nan
    chosen = choose_trials(values, is_feasible, 250)
    assert 240 <= len(chosen) <= 250
    assert (np.diff(chosen) > 0).all()
    front = np.flatnonzero(is_feasible)[pareto.non_dominated(values[is_feasible])]
    assert set(front) <= set(chosen)
    assert set(range(4925, 5000)) <= set(chosen)
    assert (~is_feasible[chosen]).sum() > 30
    assert len(chosen[chosen < 2500]) > 50


def test_a_front_that_is_too_long_is_shown_from_end_to_end():
    first = np.random.default_rng(0).permutation(2000) / 2000
    values = np.stack([first, 1 - first], axis=1)
    chosen = choose_trials(values, np.ones(2000, dtype=bool), 100)
    assert len(chosen) <= 100
    assert {int(first.argmin()), int(first.argmax())} <= set(chosen)


def test_a_sampler_is_shown_as_many_trials_of_a_long_study_as_of_a_short_one():
    assert len(shown_trials(study_of(60))) == 60
    assert len(shown_trials(study_of(600))) <= SHOWN_TRIALS


@pytest.mark.parametrize("name", ["tpe", "pareto"])
def test_a_long_study_is_sampled_alike_with_the_same_seed(name):
    first = sample(study_of(1000), name, number=1000)
    assert first == sample(study_of(1000), name, number=1000)


def test_a_network_that_was_trained_on_teaches_nothing_of_what_is_trained_briefly():
    study = study_of(6)
    study.add_trial(
        optuna.create_trial(
            params=study.trials[0].params,
            distributions=SPACE,
            values=[2.0, 0.5, 0.5],
            user_attrs={CONTINUES: {"trial": 0}},
        )
    )
    assert [trial.number for trial in shown_trials(study)] == list(range(6))
