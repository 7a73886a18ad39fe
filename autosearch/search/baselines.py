"""Before anything is sampled: what the study's images give without a search."""

from __future__ import annotations

import time
from collections.abc import Callable

from autosearch.errors import AutosearchError, StorageError
from autosearch.search.answers import named
from autosearch.search.finals import ReplayedTrial
from autosearch.search.trial import InterruptedTrial
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.baselines import BASELINES, Baselines
from autosearch.study import Study
from autosearch.values import CandidateResult

__all__ = ["are_wanted", "run_baselines"]

_MIN_TRIALS = 10
_MIN_MINUTES = 2.0
"""A study of less is only tried out, and the baselines would be most of it."""


def are_wanted(study: Study) -> bool:
    """Whether the study is large enough for baselines, and on images."""
    budget = study.budget
    return (
        study.baselines
        and study.dataset is not None
        and study.space is not None
        and (budget.trials is None or budget.trials >= _MIN_TRIALS)
        and (budget.minutes is None or budget.minutes >= _MIN_MINUTES)
    )


def run_baselines(
    study: Study,
    baselines: Baselines,
    *,
    worker_id: int,
    artifacts: ArtifactStore,
    should_stop: Callable[[], bool],
    should_end: Callable[[], bool] = lambda: False,
) -> bool:
    """Judges every baseline that is not judged yet and that no other worker is about.

    Args:
        study: On images.
        baselines: Where they are recorded.
        worker_id: Of this worker.
        artifacts: Where files go.
        should_stop: Asked after every epoch.
        should_end: Asked before every baseline, so that none is lost.

    Returns:
        Whether it was not asked to stop.
    """
    for name in BASELINES:
        if should_stop() or should_end():
            return False
        if not baselines.claim(name, worker_id):
            continue
        started = time.monotonic()
        result = error = None
        trial = ReplayedTrial(0, {"quantization": "int8"}, artifacts, should_stop)
        try:
            result = _judge(name, study, trial)
        except (InterruptedTrial, KeyboardInterrupt) as ending:
            baselines.release(name)
            if isinstance(ending, KeyboardInterrupt):
                raise
            return False
        except StorageError:
            raise
        except (Exception, SystemExit) as fault:
            # A search needs no baseline: this one has no figures, and says why.
            error = str(fault) if isinstance(fault, AutosearchError) else named(fault)
        seconds = time.monotonic() - started
        baselines.finish(
            name,
            result,
            seconds=seconds,
            keras=trial.facts.get("keras_sha256"),
            target=trial.facts.get("target"),
            error=error,
        )
    return True


def _judge(name: str, study: Study, trial: ReplayedTrial) -> CandidateResult:
    from autosearch.evaluation import baselines as judges

    if name == "majority class":
        return judges.judge_majority_class(study)
    if name == "logistic regression":
        return judges.judge_logistic_regression(study)
    return judges.judge_plain_cnn(study, trial)
