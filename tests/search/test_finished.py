"""What is read of finished trials."""

import numpy as np
import optuna
import pytest

from autosearch.search.finished import (
    CONTINUES,
    RUNGS,
    SECONDS,
    FinishedTrials,
    teaching_trials,
)


def study_of(count):
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number in range(count):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr(SECONDS, 1.0 + number)
        trial.set_constraint("size", x - 0.5)
        study.tell(trial, [x, 1 - x])
    return study


def read_anew(study):
    ended = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return FinishedTrials.of(ended, study.directions)


def assert_same(found, expected):
    assert [t.number for t in found.trials] == [t.number for t in expected.trials]
    for name in ("values", "violations", "seconds", "configurations", "is_failed", "teaches"):
        one, other = getattr(found, name), getattr(expected, name)
        assert np.array_equal(one, other, equal_nan=True), name


def test_a_finished_trial_is_read_once(monkeypatch):
    study, lengths, read = study_of(5), [], FinishedTrials.of

    def counted(trials, directions):
        lengths.append(len(trials))
        return read(trials, directions)

    monkeypatch.setattr(FinishedTrials, "of", counted)
    for more in (0, 2, 0):
        for _ in range(more):
            study.tell(study.ask(), [0.5, 0.5])
        teaching_trials(study)
    monkeypatch.undo()
    assert lengths == [5, 2, 0]
    assert_same(teaching_trials(study), read_anew(study))


def test_trials_of_two_studies_and_those_that_end_late_stand_at_their_places():
    one, other = study_of(4), study_of(6)
    first, second, third = (one.ask() for _ in range(3))
    for trial in (third, first, second):
        for study in (one, other):
            assert_same(teaching_trials(study), read_anew(study))
        one.tell(trial, [trial.number / 10, 0.5])
    assert_same(teaching_trials(one), read_anew(one))


def test_a_failed_trial_teaches_who_asks_for_it_and_one_trained_on_nobody():
    study = study_of(3)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    more = study.ask()
    more.set_user_attr(CONTINUES, {"trial": 0})
    study.tell(more, [1.0, 0.0])
    assert [t.number for t in teaching_trials(study).trials] == [0, 1, 2]
    failed = study.ask()
    failed.suggest_float("x", 0, 1)
    failed.set_constraint("autosearch:failed", 1.0)
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    assert [t.number for t in teaching_trials(study, with_failed=True).trials] == [0, 1, 2, 5]


def rung_trial(at_two, at_last=None, *, bytes_=100.0):
    """A trial that had that accuracy after two epochs, and ended or was pruned there."""
    state = optuna.trial.TrialState.PRUNED if at_last is None else optuna.trial.TrialState.COMPLETE
    return optuna.create_trial(
        values=None if at_last is None else [at_last, bytes_],
        state=state,
        user_attrs={RUNGS: {"2": [at_two, bytes_]}},
    )


def test_of_a_pruned_trial_is_expected_what_others_came_to_from_there():
    directions = [optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE]

    def expected(trials):
        return FinishedTrials.of(trials, directions).expected_values()

    ended = [
        rung_trial(at_two, 0.8 + at_two / 4, bytes_=100 + 10 * i)
        for i, at_two in enumerate((0.4, 0.5, 0.6, 0.7, 0.8))
    ]
    pruned = [rung_trial(0.2, bytes_=500.0), rung_trial(0.3, bytes_=20.0)]
    found = expected([*pruned[:1], *ended, *pruned[1:]])
    assert found[0] == pytest.approx([-0.85, 500.0])
    assert found[-1] == pytest.approx([-0.875, 20.0])
    assert found[1:-1].tolist() == FinishedTrials.of(ended, directions).values.tolist()
    alike = [rung_trial(at_two, 0.9) for at_two in (0.4, 0.5, 0.6, 0.7, 0.8)]
    assert expected([pruned[0], *alike])[0] == pytest.approx([-0.9, 500.0])
    # Nothing is made up from a handful, nor where nothing was told.
    assert np.isnan(expected([*pruned, *ended[:4]])[:2]).all()
    untold = optuna.create_trial(state=optuna.trial.TrialState.PRUNED)
    assert np.isnan(expected([untold, *ended])[0]).all()
