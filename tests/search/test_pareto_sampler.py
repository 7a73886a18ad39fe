"""The sampler that looks for hypervolume, and the parts it is made of."""

import itertools

import numpy as np
import optuna
import pytest

from autosearch import pareto
from autosearch.search.finished import CONTINUES, FAILED, SECONDS
from autosearch.search.gaussian import GaussianProcess, Geometry, Group, fit_hyperparameters
from autosearch.search.improvement import expected_improvement
from autosearch.search.samplers import make_sampler
from autosearch.search.scales import AsItIs, ByRank
from autosearch.search.vectors import Vectors


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def search(objective, directions, *, trials, seed=0, sampler="pareto"):
    study = optuna.create_study(directions=directions)
    for number in range(trials):
        study.sampler = make_sampler(sampler, seed=seed, number=number)
        trial = study.ask()
        study.tell(trial, objective(trial))
    return study


def conditional(trial):
    kind = trial.suggest_categorical("kind", ["dense", "convolution"])
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    loss = abs(np.log10(rate) + 3)
    if kind == "dense":
        return loss + 1, trial.suggest_int("units", 8, 64, step=8) / 64
    layers = trial.suggest_int("layers", 1, 3)
    widths = [trial.suggest_int(f"width{i}", 4, 64, log=True) for i in range(layers)]
    return loss + 1 / sum(widths), sum(widths) / 192


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_expected_improvement_is_what_samples_improve_on_average(objectives):
    rng = np.random.default_rng(objectives)
    points = rng.random((12, objectives))
    front, reference = points[pareto.non_dominated(points)], np.full(objectives, 1.1)
    predicted = rng.random((3, objectives, 4))
    before = pareto.hypervolume(front, reference)
    for expected, values in zip(
        expected_improvement(front, reference, predicted), predicted, strict=True
    ):
        combined = np.stack(np.meshgrid(*values), axis=-1).reshape(-1, objectives)
        gains = [pareto.hypervolume([*front, d], reference) - before for d in combined]
        assert expected == pytest.approx(np.mean(gains), abs=1e-9)


def test_a_process_knows_what_it_was_shown_and_which_parameter_matters():
    rng = np.random.default_rng(0)
    geometry = Geometry(np.array([False, True, False]))
    points = np.stack([rng.random(60), rng.integers(3, size=60), rng.random(60)], axis=1)
    points[::7, 2] = np.nan
    targets = np.sin(4 * points[:, 0]) + points[:, 1]
    normed = (targets - targets.mean()) / targets.std()
    found = fit_hyperparameters(geometry.differences(points, points), normed)
    assert found.variances[2] < 0.3 * found.variances[:2].min()
    kernel = geometry.differences(points[:40], points).kernels([found])[0]
    half = GaussianProcess(kernel[:, :40], targets[:40], found)
    mean, sd = half.predict(kernel[:, 40:])
    assert np.abs(mean - targets[40:]).max() < 0.3
    assert sd.min() > 0
    assert np.abs(half.without_each() - targets[:40]).max() < 0.5


def test_costs_of_alike_layers_are_known_after_a_few_trials():
    rng = np.random.default_rng(0)
    points = rng.integers(5, size=(315, 6)).astype(float)
    costs = np.array([0.0, 0.0, 1.0, 9.0, 0.0])[points.astype(int)].sum(axis=1)
    seen = points[:15]
    normed = (costs[:15] - costs[:15].mean()) / costs[:15].std()

    def error(groups):
        geometry = Geometry(np.ones(6, dtype=bool), groups)
        found = fit_hyperparameters(geometry.differences(seen, seen), normed)
        kernel = geometry.differences(seen, points).kernels([found])[0]
        mean, _ = GaussianProcess(kernel[:, :15], costs[:15], found).predict(kernel[:, 15:])
        return np.abs(mean - costs[15:]).mean() / costs.std()

    assert error((Group(tuple(range(6)), 5),)) < 0.1 < error(())


@pytest.mark.parametrize("scale", [AsItIs, ByRank])
def test_a_scale_gives_back_what_was_found_and_lets_the_best_be_beaten(scale):
    known = np.array([90.0, 12.0, 9.0, 8.5, 90.0, 14.0, 11.0])
    made = scale(known)
    assert made.backward(made.forward(known)) == pytest.approx(known)
    best = made.forward(known).min()
    assert 0 <= made.backward(np.array([best - 0.5])).item() < 8.5


def test_a_parameter_of_one_branch_is_absent_in_the_other():
    study = search(conditional, ["minimize", "minimize"], trials=40, sampler="random")
    vectors = Vectors.of(study.trials)
    rng, parents = np.random.default_rng(0), vectors.encode(study.trials)
    for row in vectors.vary(parents, rng, 300, random_share=0.3):
        values = vectors.decode(row)
        assert ("units" in values) == (values["kind"] == "dense")
        assert ("width1" in values) == (values.get("layers", 1) > 1)
        for name, value in values.items():
            distribution = vectors.space[name]
            assert distribution._contains(distribution.to_internal_repr(value)), (name, value)


def test_the_same_seed_searches_alike_and_never_the_same_configuration_twice():
    study, again = (search(conditional, ["minimize"] * 2, trials=22, seed=3) for _ in range(2))
    configurations = [tuple(sorted(t.params.items())) for t in study.trials]
    assert configurations == [tuple(sorted(t.params.items())) for t in again.trials]
    assert len(set(configurations[10:])) == 12


def test_the_first_trials_take_every_choice_and_reach_over_the_whole_range():
    study = search(conditional, ["minimize"] * 2, trials=10, seed=1)
    kinds = [t.params["kind"] for t in study.trials]
    assert kinds.count("dense") == 5
    tenths = [int(10 * (np.log10(t.params["rate"]) + 4) / 3) for t in study.trials]
    assert sorted(tenths) == list(range(10))


def test_trials_that_come_before_anything_is_known_do_not_repeat_the_first_ones():
    study = optuna.create_study(directions=["minimize", "minimize"])
    drawn = []
    for number in range(20):
        study.sampler = make_sampler("pareto", seed=0, number=number)
        trial = study.ask()
        conditional(trial)
        drawn.append(str(sorted(trial.params.items())))
        # As of workers whose first trials fail or still run.
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert len(set(drawn)) == 20


def test_a_range_of_one_value_is_no_further_choice():
    def objective(trial):
        trial.suggest_float("fixed", 0.5, 0.5)
        loss = trial.suggest_int("width", 1, 15) + 20 * trial.suggest_int("depth", 0, 1)
        return float(loss), -float(loss)

    study = search(objective, ["minimize", "minimize"], trials=36)
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 30


def test_it_finds_more_than_random_search():
    def volume(sampler, seed):
        study = search(conditional, ["minimize"] * 2, trials=30, seed=seed, sampler=sampler)
        return pareto.hypervolume([t.values for t in study.trials], [2.0, 1.0])

    ours, random = ([volume(s, seed) for seed in range(2)] for s in ("pareto", "random"))
    assert np.mean(ours) > np.mean(random)


@pytest.mark.parametrize("count", [1, 4])
def test_one_objective_or_four_are_searched_too(count):
    def objective(trial):
        x = [trial.suggest_float(f"x{i}", 0, 1) for i in range(3)]
        return [abs(x[i % 3] - 0.2 * (i + 1)) for i in range(count)]

    study = search(objective, ["minimize"] * count, trials=30)
    late = [sum(t.values) for t in study.trials[15:]]
    assert np.mean(late) < np.mean([sum(t.values) for t in study.trials[:10]])


def test_it_learns_from_infeasible_trials_of_which_there_is_nothing_else():
    study = optuna.create_study(directions=["maximize", "minimize"])
    is_infeasible = []
    for number in range(30):
        study.sampler = make_sampler("pareto", seed=1, number=number)
        trial = study.ask()
        size = 100 * trial.suggest_int("width", 1, 64) * trial.suggest_int("depth", 1, 8)
        trial.set_constraint("size", size / 1500 - 1)
        is_infeasible.append(size > 1500)
        if size > 1500:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, [1 - 1 / size, size])
    assert np.mean(is_infeasible[:10]) > 0.6
    assert np.mean(is_infeasible[15:]) < 0.6


def test_where_time_is_short_what_is_quick_comes_first():
    def kinds(impatience):
        study = optuna.create_study(directions=["minimize"] * 2)
        for number in range(20):
            study.sampler = make_sampler("pareto", seed=1, number=number, impatience=impatience)
            trial = study.ask()
            is_slow = trial.suggest_categorical("kind", ["quick", "slow"]) == "slow"
            x = trial.suggest_float("x", 0, 1)
            trial.set_user_attr(SECONDS, 100.0 if is_slow else 1.0)
            y = trial.suggest_float("y", 0, 1)
            study.tell(trial, [x + y, 1 - x**2 + y])
        return [t.params["kind"] for t in study.trials[10:]]

    assert kinds(1.0).count("quick") >= 8 > kinds(0.0).count("quick")


def test_of_accuracies_those_far_below_the_best_are_looked_for_no_further():
    def accuracies(shares):
        study = optuna.create_study(directions=["maximize", "minimize"])
        for number in range(40):
            study.sampler = make_sampler("pareto", seed=2, number=number, shares=shares)
            trial = study.ask()
            width = trial.suggest_int("width", 1, 256, log=True)
            waste = trial.suggest_float("waste", 0, 1)
            # The smaller, the worse, and there is always something smaller.
            study.tell(trial, [0.95 - 0.6 / width**0.5 - 0.01 * waste, width * (1 + waste)])
        return [t.values[0] for t in study.trials[15:]]

    def useful(found):
        return np.mean([accuracy > 0.8 for accuracy in found])

    assert useful(accuracies((True, False))) > 0.7 > useful(accuracies(()))


def search_a_network(seed, *, describe):
    """Six layers, of which only the product of the widths matters, and the number of them."""

    def objective(trial):
        widths = [trial.suggest_int(f"width{i}", 1, 8) for i in range(6)]
        size = float(np.prod(widths))
        # Neither too small nor too large: a rank of widths one by one says little.
        return abs(np.log(size) - 7) + 0.1 * widths[0], size**0.5

    study = optuna.create_study(directions=["minimize", "minimize"])
    for number in range(18):
        study.sampler = make_sampler("pareto", seed=seed, number=number, describe=describe)
        trial = study.ask()
        study.tell(trial, objective(trial))
    return pareto.hypervolume(np.array([t.values for t in study.trials]), [7.0, 100.0])


def test_what_is_known_of_a_configuration_untried_finds_more() -> None:
    def describe(params):
        return (float(np.log(list(params.values())).sum()),)

    seeds = range(2)
    blind = [search_a_network(seed, describe=None) for seed in seeds]
    seeing = [search_a_network(seed, describe=describe) for seed in seeds]
    assert np.mean(seeing) > np.mean(blind)


def test_where_trials_fail_it_looks_less_and_less():
    study, failed = optuna.create_study(direction="maximize"), []
    for number in range(40):
        study.sampler = make_sampler("pareto", seed=0, number=number)
        trial = study.ask()
        size = trial.suggest_int("width", 1, 64) * trial.suggest_int("depth", 1, 8)
        if size <= 250:
            study.tell(trial, 1 - 1 / (1 + size / 50))
            continue
        failed.append(number)
        trial.set_constraint(FAILED, 1.0)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    # Larger is better, up to where it fails: without a lesson nearly all of 30 would.
    assert sum(number >= 10 for number in failed) < 20


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_what_is_feasible_from_far_out_of_bounds(seed):
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number in range(30):
        study.sampler = make_sampler("pareto", seed=seed, number=number)
        trial = study.ask()
        width = trial.suggest_int("width", 8, 64, step=8)
        growth = trial.suggest_categorical("growth", [1.0, 1.5, 2.0])
        stages, blocks = trial.suggest_int("stages", 3, 4), trial.suggest_int("blocks", 1, 3)
        widths = [width * growth**stage for stage in range(stages)]
        size = 9 * blocks * sum(a * b for a, b in itertools.pairwise(widths))
        trial.set_constraint("size", (size - 16_000) / 16_000)
        study.tell(trial, [np.log(size), size])
    feasible = [t.number for t in study.trials if t.constraints["size"] <= 0]
    assert len(feasible) >= 5


def test_the_spread_of_the_first_trials_has_no_holes_where_others_were_trained_on():
    study = optuna.create_study(directions=["minimize"] * 2)
    values = []
    for number in range(20):
        study.sampler = make_sampler("pareto", seed=0, number=number)
        if number % 2:
            study.enqueue_trial({"x": 0.0}, user_attrs={CONTINUES: {"trial": number - 1}})
        x = study.ask().suggest_float("x", 0, 1)
        if number % 2 == 0:
            values.append(x)
    assert sorted(int(10 * x) for x in values) == list(range(10))


def test_a_configuration_that_is_shown_no_more_is_not_tried_again():
    study = optuna.create_study(directions=["minimize"] * 2)
    names = {"a": list(range(20)), "b": list(range(20))}
    distributions = {n: optuna.distributions.CategoricalDistribution(c) for n, c in names.items()}
    for place in range(320):
        a, b = place % 20, place // 20
        study.add_trial(
            optuna.trial.create_trial(
                params={"a": a, "b": b}, distributions=distributions, values=[a + b, 40.0 - a]
            )
        )
    tried = {(t.params["a"], t.params["b"]) for t in study.trials}
    for number in range(320, 332):
        study.sampler = make_sampler("pareto", seed=0, number=number)
        trial = study.ask()
        drawn = tuple(trial.suggest_categorical(n, c) for n, c in names.items())
        assert drawn not in tried
        tried.add(drawn)
        study.tell(trial, [sum(drawn), 40.0 - drawn[0]])
