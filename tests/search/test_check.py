"""A study that is tried out before it costs anything."""

import optuna

from autosearch import Budget, SearchSpace, Study, TrainOn, maximize, minimize
from autosearch.data import Digits
from autosearch.search.check import check_study
from autosearch.space import CNN, Preprocessing, Quantization, Training


def test_an_optuna_objective_is_tried_as_it_would_run(capfd):
    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr("twice", 2 * trial.params["x"])
        if trial.study.directions[0] is not optuna.study.StudyDirection.MAXIMIZE:
            raise AssertionError
        return x, trial.user_attrs["twice"]

    report = check_study(
        Study(
            name="optunas",
            evaluator=objective,
            objectives=[maximize("accuracy"), minimize("seconds")],
            budget=Budget(trials=5),
        )
    )
    assert (report.num_configurations, report.num_feasible, report.num_failed) == (20, 20, 0)
    # Optuna would tell of each study that it makes.
    assert capfd.readouterr().err == ""


def test_a_trial_of_a_search_that_trains_on_is_as_long_as_its_first_epochs():
    small = CNN(stages=1, width=4, blocks_per_stage=1, kernel_size=3, block="plain")
    report = check_study(
        Study(
            name="brief",
            dataset=Digits(),
            space=SearchSpace(
                preprocessing=Preprocessing(size=8, color="greyscale"),
                architecture=small,
                training=Training(epochs=100_000, batch_size=64),
                quantization=Quantization("float32"),
            ),
            objectives=[maximize("accuracy")],
            budget=Budget(total_epochs=10),
            train_on=TrainOn(first_epochs=2),
        )
    )
    # 100,000 epochs, whatever the machine, are more than a quarter of an hour.
    assert report.stage_seconds["train"] < 900
    assert report.budget_minutes < 15
