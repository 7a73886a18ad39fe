"""A database that Optuna alone wrote: its studies, as far as they can be shown."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
import pandas as pd
from optuna.exceptions import StorageInternalError

from autosearch.errors import StorageError, first_line
from autosearch.values import Direction, Objective

__all__ = ["PlainStudy", "plain_study", "plain_study_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainStudy:
    """A study that Optuna ran without us.

    Attributes:
        name: Its name.
        objectives: What it is after, by the names of its metrics, or ``value 0``, ``value 1``.
        trials: One row a trial: ``number``, ``state``, ``config``, ``started_at``,
            ``finished_at`` (Optuna's local times) and a column a metric.
    """

    name: str
    objectives: tuple[Objective, ...]
    trials: pd.DataFrame


def plain_study_names(url: str) -> list[str]:
    """The names of Optuna's studies in a database, in order.

    Raises:
        StorageError: Optuna cannot read it.
    """
    return sorted(optuna.get_all_study_names(_storage(url)))


def plain_study(url: str, name: str) -> PlainStudy:
    """Reads a study of Optuna's.

    Raises:
        StorageError: Optuna cannot read it, or there is no such study.
    """
    try:
        study = optuna.load_study(study_name=name, storage=_storage(url))
        trials = study.get_trials(deepcopy=False)
    except (KeyError, StorageInternalError) as error:
        raise StorageError(f'Optuna cannot read the study "{name}" ({error})') from error
    metrics = study.metric_names or (
        ["value"]
        if len(study.directions) == 1
        else [f"value {place}" for place in range(len(study.directions))]
    )
    rows = [
        {
            "number": trial.number,
            "state": trial.state.name.lower(),
            "config": trial.params,
            "started_at": trial.datetime_start,
            "finished_at": trial.datetime_complete,
            **dict(zip(metrics, trial.values or [], strict=False)),
        }
        for trial in trials
    ]
    columns = ["number", "state", "config", "started_at", "finished_at", *metrics]
    return PlainStudy(
        name=name,
        objectives=tuple(
            Objective(
                metric=metric,
                direction=Direction.MAXIMIZE
                if direction is optuna.study.StudyDirection.MAXIMIZE
                else Direction.MINIMIZE,
            )
            for metric, direction in zip(metrics, study.directions, strict=True)
        ),
        trials=pd.DataFrame(rows, columns=columns),
    )


def _storage(url: str) -> optuna.storages.RDBStorage:
    try:
        return optuna.storages.RDBStorage(url, skip_table_creation=True)
    except (RuntimeError, StorageInternalError) as error:
        raise StorageError(
            f"Optuna cannot read this database: {first_line(error)}; "
            "install the version of Optuna that wrote it"
        ) from error
