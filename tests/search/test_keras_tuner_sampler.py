"""Keras Tuner's oracles as samplers of Optuna's."""

import itertools
import subprocess
import sys

import optuna
import pytest
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

import autosearch
from autosearch import Budget, Study, at_most, maximize, minimize
from autosearch.errors import DefinitionError
from autosearch.search.keras_tuner_sampler import ORACLES, KerasTunerSampler
from autosearch.search.samplers import SAMPLERS, make_sampler


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'search.db'}"


class TestOptunasOwnSuite(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture(params=ORACLES)
    def sampler(self, request):
        # By default the model is asked from the third or sixth trial on, which takes its time.
        words = {"num_initial_points": 9} if request.param == "bayesian" else {}
        return lambda: KerasTunerSampler(request.param, seed=1, **words)


def conditional(trial):
    kind = trial.suggest_categorical("kind", ["dense", None])
    size = 0
    if kind == "dense":
        size = trial.suggest_int("size", 2, 8, step=3)
        if size == 5:
            size += trial.suggest_float("share", 0.0, 0.2, step=0.1)
    return (trial.suggest_categorical("shift", [0.5, None]) or 0) + size


def search(objective, oracle, *, trials, seed=0):
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        study.sampler = make_sampler(f"keras_tuner.{oracle}", seed=seed, number=number)
        trial = study.ask()
        study.tell(trial, objective(trial))
    return study


def test_a_grid_tries_every_combination_once_and_leaves_out_what_is_not_asked_for():
    study = search(conditional, "grid", trials=12)
    tried = [tuple(sorted(trial.params.items(), key=str)) for trial in study.trials]
    # Of three sizes the middle one has three shares: 2 × (1 + 1 + 3) and 2 without a size.
    assert len(set(tried)) == len(tried) == 12
    assert study.sampler.is_exhausted


def test_a_grid_goes_on_where_values_decide_in_ways_that_no_single_parameter_tells():
    def both(trial):
        a, b = (trial.suggest_int(name, 0, 1) for name in "ab")
        return trial.suggest_int("c", 0, 2) if a == b else -1

    study = optuna.create_study()
    sampler = KerasTunerSampler("grid")
    while not sampler.is_exhausted:
        study.sampler = sampler = KerasTunerSampler("grid")
        trial = study.ask()
        study.tell(trial, both(trial))
        assert len(study.trials) <= 12
    reached = {(t.params["a"], t.params["b"], t.params.get("c")) for t in study.trials}
    assert reached == {
        *itertools.product((0,), (0,), (0, 1, 2)), *itertools.product((1,), (1,), (0, 1, 2)),
        (0, 1, None), (1, 0, None),
    }  # fmt: skip


def test_a_grid_fills_the_gaps_around_what_a_user_enqueued():
    study = optuna.create_study()
    study.enqueue_trial({"x": 2, "y": 1})
    study.enqueue_trial({"x": 0, "y": 2})
    study.sampler = KerasTunerSampler("grid")
    study.optimize(lambda t: t.suggest_int("x", 0, 2) + t.suggest_int("y", 0, 2), n_trials=9)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 9
    assert study.sampler.is_exhausted


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_seed_gives_the_same_trials_again(oracle):
    def sloping(trial):
        return trial.suggest_float("x", 0, 1) - trial.suggest_float("y", 1e-4, 1, log=True)

    first, again = (search(sloping, oracle, trials=8, seed=2) for _ in range(2))
    assert [t.params for t in first.trials] == [t.params for t in again.trials]
    assert len({tuple(t.params.values()) for t in first.trials}) == 8
    if oracle == "bayesian":
        # Six at random, then the model's own.
        assert max(t.value for t in first.trials[6:]) > max(t.value for t in first.trials[:6])


def test_the_model_turns_away_from_what_breaks_a_constraint():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("bound", x - 0.5)
        return x

    study = search(objective, "bayesian", trials=9)
    assert any(trial.params["x"] > 0.5 for trial in study.trials)
    assert study.trials[-1].params["x"] <= 0.5


def test_several_objectives_are_refused_before_anything_is_stored(storage, tmp_path):
    study = Study(
        name="two",
        evaluator=lambda trial: {"accuracy": 1.0, "size_bytes": 1.0},
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        sampler="keras_tuner.bayesian",
    )
    with pytest.raises(DefinitionError, match=r'has 2; write sampler="tpe", "pareto"'):
        autosearch.run(study, storage=storage)
    assert not list(tmp_path.iterdir())


def test_a_study_ends_when_its_grid_is_used_up(storage):
    def look_up(trial):
        trial.hp.Choice("kind", ["a", "b"])
        with trial.hp.conditional_scope("kind", ["a"]):
            depth = trial.hp.Int("depth", 1, 3)
        return {"accuracy": depth or 0.5, "size_bytes": 10 * (depth or 1)}

    study = Study(
        name="grid",
        evaluator=look_up,
        objectives=[maximize("accuracy")],
        constraints=[at_most("size_bytes", 20)],
        sampler="keras_tuner.grid",
        budget=Budget(trials=20),
    )
    configs = list(autosearch.run(study, storage=storage).trials_frame()["config"])
    assert configs == [*({"kind": "a", "depth": d} for d in (1, 2, 3)), {"kind": "b"}]


def test_naming_a_sampler_loads_neither_keras_tuner_nor_tensorflow():
    code = (
        "import sys; from autosearch.search.samplers import SAMPLERS, make_sampler\n"
        "for name in set(SAMPLERS) - {'gp'}: make_sampler(name, seed=0, number=0)\n"
        "assert not {'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {f"keras_tuner.{oracle}" for oracle in ORACLES} <= set(SAMPLERS)
