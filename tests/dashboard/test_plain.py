"""A database that Optuna alone wrote opens with what there is to show."""

import optuna
import pytest


@pytest.fixture
def plain(tmp_path):
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    two = optuna.create_study(
        study_name="two <b>", storage=url, directions=["maximize", "minimize"]
    )

    def objective(trial):
        width = trial.suggest_int("width", 1, 64, log=True)
        kind = trial.suggest_categorical("kind", ["a", None, 3])
        if trial.number == 3:
            raise optuna.TrialPruned
        return width / 64 - (kind == "a") * 0.1, width * 10

    two.optimize(objective, n_trials=14)
    optuna.create_study(study_name="empty", storage=url)
    return url


def test_trials_values_and_parameters_are_shown(plain, page) -> None:
    test = page("studies", plain, study="two <b>")
    assert not test.exception
    assert not test.error
    assert test.title[0].value == "Optuna"
    assert any("**13** complete" in found.value for found in test.markdown)
    (table,) = [frame.value for frame in test.dataframe]
    assert {"value 0", "value 1", "width", "kind"} <= set(table)
    assert not any("could not be drawn" in caption.value for caption in test.caption)


def test_a_study_without_trials_says_what_it_waits_for(plain, page) -> None:
    test = page("studies", plain, study="empty")
    assert not test.exception
    assert "waits for the first" in test.info[0].value
