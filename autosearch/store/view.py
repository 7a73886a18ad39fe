"""A read-only view of a study: frames, front, hypervolume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from autosearch import pareto
from autosearch.errors import DefinitionError, NotFoundError
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.baselines import Baselines
from autosearch.store.database import Database
from autosearch.store.frames import epochs_reached
from autosearch.store.latencies import latencies_frame
from autosearch.store.study_frames import (
    CANDIDATE_COLUMNS,
    RESERVED_COLUMNS,
    by_estimate,
    candidate_id,
    candidates_frame,
    class_names,
    epochs_frame,
    minimized,
    on_one_target,
    records,
    trials_frame,
)
from autosearch.store.tables import (
    BaselineRow,
    CandidateRow,
    EpochRow,
    FinalistRow,
    StudyRow,
    TrialRow,
    WorkerRow,
)
from autosearch.values import Constraint, Estimate, Objective, TrialState

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = [
    "CANDIDATE_COLUMNS",
    "RESERVED_COLUMNS",
    "Finalist",
    "Progress",
    "StudyView",
    "candidate_id",
    "known_study",
    "records",
    "study_names",
]


def study_names(database: Database) -> list[str]:
    """The names of all studies, the newest first."""
    with database.session() as session:
        return list(session.scalars(select(StudyRow.name).order_by(StudyRow.id.desc())))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is.

    Attributes:
        counts: Trials by state.
        best_accuracy: Of the feasible candidates; None without one that has an accuracy.
        num_epochs: Epochs trained in all trials.
        run_seconds: Wall-clock seconds of all runs, of one that goes on to within some seconds.
        num_final_trainings: Trainings in the cross-validation of finalists.
        num_stops: How often its workers were asked to stop.
    """

    counts: Mapping[TrialState, int]
    best_accuracy: float | None
    num_epochs: int
    run_seconds: float
    num_final_trainings: int = 0
    num_stops: int = 0

    @property
    def num_counted(self) -> int:
        """Trials that count towards the budget."""
        return sum(count for state, count in self.counts.items() if state.counts)

    @property
    def num_evaluated(self) -> int:
        """Trials that show that evaluating works at all."""
        return sum(count for state, count in self.counts.items() if state.was_evaluated)


@dataclass(frozen=True, slots=True)
class Finalist:
    """How far the cross-validation of a trial is.

    Attributes:
        folds: Fold to quantization to the SHA-256 of what was predicted.
        is_done: Whether nothing more will happen.
        error: Why it failed, in a sentence.
    """

    folds: Mapping[int, Mapping[str, str]]
    is_done: bool
    error: str | None


class StudyView:
    """What a study has found so far. Every call reads the database anew.

    Args:
        database: Opened to read or to write.
        artifacts: Where the study's files are.
        name: The study's name.

    Raises:
        NotFoundError: There is no study of that name.
    """

    def __init__(self, database: Database, artifacts: ArtifactStore, name: str) -> None:
        self._database = database
        self._artifacts = artifacts
        with database.session() as session:
            row = session.scalar(select(StudyRow).where(StudyRow.name == name))
            if row is None:
                known = session.scalars(select(StudyRow.name).order_by(StudyRow.name)).all()
                listed = ", ".join(known) if known else "none"
                raise NotFoundError(f'there is no study "{name}"; expected one of: {listed}')
            self.id = row.id
            self.created_at = row.created_at
            self.seed = row.seed
            self.definition: dict[str, Any] = row.definition
            self.definition_sha256 = row.definition_sha256
            self.data_fingerprint = row.data_fingerprint
            self.environment: dict[str, Any] = row.environment
        self.name = name

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the study is after."""
        return tuple(Objective.model_validate(o) for o in self.definition["objectives"])

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What a candidate must keep to be feasible."""
        return tuple(Constraint.model_validate(c) for c in self.definition["constraints"])

    def progress(self) -> Progress:
        """How far the study is, in a few small queries."""
        with self._database.session() as session:
            counts = session.execute(
                select(TrialRow.state, func.count())
                .where(TrialRow.study_id == self.id)
                .group_by(TrialRow.state)
            ).all()
            best = session.scalar(
                select(func.max(CandidateRow.accuracy))
                .join(TrialRow, TrialRow.id == CandidateRow.trial_id)
                .where(
                    CandidateRow.study_id == self.id,
                    CandidateRow.is_feasible,
                    CandidateRow.estimate == Estimate.VALIDATION,
                    TrialRow.state != TrialState.DISCARDED,
                )
            )
            epochs = session.scalar(
                select(func.count())
                .select_from(EpochRow)
                .join(TrialRow, TrialRow.id == EpochRow.trial_id)
                .where(TrialRow.study_id == self.id)
            )
            known = select(StudyRow.run_seconds, StudyRow.num_stops).where(StudyRow.id == self.id)
            # A study can be deleted while it is watched.
            seconds, num_stops = session.execute(known).one_or_none() or (0.0, 0)
            finalists = session.execute(
                select(FinalistRow.folds, FinalistRow.is_done)
                .join(TrialRow, TrialRow.id == FinalistRow.trial_id)
                .where(TrialRow.study_id == self.id)
            ).all()
        return Progress(
            counts={TrialState(state): count for state, count in counts},
            best_accuracy=best,
            num_epochs=epochs or 0,
            run_seconds=seconds,
            num_stops=num_stops,
            num_final_trainings=sum(len(folds) + is_done for folds, is_done in finalists),
        )

    def num_attempts(self) -> int:
        """How often a trial, a finalist or a baseline was started and not only interrupted."""
        with self._database.session() as session:
            trials = select(func.sum(TrialRow.attempt)).where(TrialRow.study_id == self.id)
            finalists = (
                select(func.sum(FinalistRow.attempt))
                .join(TrialRow, TrialRow.id == FinalistRow.trial_id)
                .where(TrialRow.study_id == self.id)
            )
            baselines = select(func.sum(BaselineRow.attempt)).where(BaselineRow.study_id == self.id)
            return sum(session.scalar(count) or 0 for count in (trials, finalists, baselines))

    def longest_silence(self, now: datetime, *, host: str, pid: int) -> timedelta | None:
        """How long the trial of that worker process runs by now (UTC), if one does.

        Without the epochs that came to their end: a training may take days.
        """
        epochs_s = (
            select(func.coalesce(func.sum(EpochRow.seconds), 0.0))
            .where(EpochRow.trial_id == TrialRow.id)
            .scalar_subquery()
        )
        with self._database.session() as session:
            found = session.execute(
                select(TrialRow.started_at, epochs_s)
                .join(WorkerRow, WorkerRow.id == TrialRow.worker_id)
                .where(
                    TrialRow.study_id == self.id,
                    TrialRow.state == TrialState.RUNNING,
                    WorkerRow.host == host,
                    WorkerRow.pid == pid,
                )
            ).all()
        silences = [now - started - timedelta(seconds=spent) for started, spent in found]
        return max(silences, default=None)

    def last_epochs(self, numbers: Sequence[int]) -> dict[int, int]:
        """Of those trials that reported any, by number, the last epoch that each reported."""
        return epochs_reached(self._database, self.id, numbers)

    def finalists(self, *, num_folds: int, data_fingerprint: str) -> dict[int, Finalist]:
        """The trials that were judged by cross-validation on these images, by number."""
        statement = (
            select(TrialRow.number, FinalistRow)
            .join(TrialRow, TrialRow.id == FinalistRow.trial_id)
            .where(
                TrialRow.study_id == self.id,
                FinalistRow.num_folds == num_folds,
                FinalistRow.data_fingerprint == data_fingerprint,
            )
        )
        with self._database.session() as session:
            return {
                number: Finalist(
                    folds={int(fold): files for fold, files in row.folds.items()},
                    is_done=row.is_done,
                    error=row.error,
                )
                for number, row in session.execute(statement)
            }

    def data_sides(self) -> dict[str, Any] | None:
        """Of a study on files: ``classes``, and ``sides``, which maps SHA-256 to a split.

        ``absent`` is the same of files that it once had.
        """
        with self._database.session() as session:
            return session.scalar(select(StudyRow.data_sides).where(StudyRow.id == self.id))

    def sides(self) -> dict[str, str] | None:
        """SHA-256 of each file of a study to its split; None where its images are no files.

        Files that are there no more are among them: trials have learned from them, and they may
        come back.
        """
        known = self.data_sides()
        return None if known is None else {**known.get("absent", {}), **known["sides"]}

    def violations(self, number: int) -> dict[str, float]:
        """How far a finished trial exceeded each constraint; empty if none was checked."""
        with self._database.session() as session:
            found = session.scalar(
                select(TrialRow.violations).where(
                    TrialRow.study_id == self.id, TrialRow.number == number
                )
            )
        return found or {}

    def trials_frame(self) -> pd.DataFrame:
        """One row a trial, by number.

        Columns: ``number``, ``state``, ``config`` (parameter name to value), ``started_at`` and
        ``finished_at`` (UTC), ``duration_s``, ``error``, ``attempt``, ``parameters``, ``macs``,
        ``stage_seconds`` (stage to seconds), ``violations`` (constraint to how far exceeded),
        ``facts`` (what else the evaluator described), ``traceback``.
        """
        return trials_frame(self._database, self.id)

    def epochs_frame(self) -> pd.DataFrame:
        """One row an epoch of a trial.

        Columns: ``trial``, ``epoch`` (from 1), ``accuracy`` (validation), ``train_accuracy``,
        ``train_loss``, ``validation_loss``, ``learning_rate``, ``seconds``, and ``metrics`` with
        what else was reported.
        """
        return epochs_frame(self._database, self.id)

    def candidates_frame(self) -> pd.DataFrame:
        """One row a candidate and target, by trial; no target is one, where a search had none.

        Columns: ``candidate`` (the id that ``show`` and ``promote`` take), ``trial``,
        ``quantization``, ``feasible``, ``representative`` (the sampler was told this one),
        ``estimate`` (how the accuracy was come by, see ``Estimate``), ``accuracy``,
        ``accuracy_low``, ``accuracy_high`` (90 % interval), ``size_bytes``, ``latency_ms`` (p50),
        ``latency_p90_ms``, ``memory_bytes``, ``target`` (where those three were taken),
        ``is_measured``, ``parameters``, ``macs``, ``artifact`` (a path or URL that opens), then
        every other metric that the evaluator answered, and last ``artifact_sha256``,
        ``keras_sha256`` (of a network that is not the trial's own), ``predictions_sha256``,
        ``target_id``, ``target_description``, ``conditions`` (how the figures were taken) and
        ``reasons`` (metric to why it has no figure).
        """
        return candidates_frame(self._database, self.id, self._artifacts)

    def ranked_frame(
        self, target: str | None = None, *, estimate: str = Estimate.VALIDATION
    ) -> pd.DataFrame:
        """The feasible candidates that the front is taken from; see ``front_frame``."""
        if estimate not in tuple(Estimate):
            raise DefinitionError(
                f'"{estimate}" is no kind of figure; expected one of {", ".join(Estimate)}'
            )
        # The name is sought among all: that none is feasible, or of that kind, is no wrong name.
        frame = self._on_target(self.candidates_frame(), target)
        frame = frame[frame["feasible"].astype(bool)]
        return on_one_target(frame[frame["estimate"] == estimate])

    def front_frame(
        self, target: str | None = None, *, estimate: str = Estimate.VALIDATION
    ) -> pd.DataFrame:
        """The feasible candidates that no other feasible candidate dominates.

        Args:
            target: The name of the target whose figures are ranked; by default the one that most
                candidates have figures of, which is none where the search had none. Figures of
                two targets never meet.
            estimate: The kind of figure that is ranked, an ``Estimate``: by default the search's
                own. Figures of two kinds never meet.

        Returns:
            Rows of ``candidates_frame()``, in order of the first objective, the best first.

        Raises:
            DefinitionError: There is no such kind of figure.
            NotFoundError: No candidate was measured on that target.
        """
        frame = self.ranked_frame(target, estimate=estimate)
        front = frame[pareto.non_dominated(self.minimized(frame))] if len(frame) else frame
        first = self.objectives[0]
        ascending = first.direction == "minimize"
        return front.sort_values(
            [first.metric, "trial"] if first.metric in front else ["trial"],
            ascending=[ascending, True] if first.metric in front else [True],
            kind="stable",
        ).reset_index(drop=True)

    def baselines_frame(self) -> pd.DataFrame:
        """One row a reference trial; see ``store.baselines.Baselines.frame``."""
        return Baselines(self._database, self.id, self.data_fingerprint).frame()

    def hypervolume(self, reference_point: Sequence[float] | Mapping[str, float]) -> float:
        """The volume between the front and a reference point, in the objectives' units.

        Args:
            reference_point: A value for every objective, in their order or by name, worse than
                what is to be counted.

        Raises:
            ValueError: It has not one value for every objective.
        """
        metrics = [objective.metric for objective in self.objectives]
        if isinstance(reference_point, Mapping):
            reference_point = [reference_point[m] for m in metrics if m in reference_point]
        if len(reference_point) != len(metrics):
            raise ValueError(
                f"the reference point has {len(reference_point)} values, the study has "
                f"{len(metrics)} objectives; give one for each of: {', '.join(metrics)}"
            )
        reference = [o.minimized(v) for o, v in zip(self.objectives, reference_point, strict=True)]
        front = self.front_frame()
        return pareto.hypervolume(self.minimized(front), np.asarray(reference))

    def minimized(self, frame: pd.DataFrame) -> np.ndarray:
        """The objectives of a candidates' frame as an array (rows, objectives), lower is better."""
        return minimized(frame, self.objectives)

    def plot_trade_off(
        self, x: str | None = None, y: str | None = None, *, target: str | None = None
    ) -> Figure:
        """Draws the candidates as one metric against another, with the front and the bounds.

        Args:
            x: Metric across, such as ``latency_ms``; by default size, or another cost if no
                candidate has one.
            y: Metric upwards; by default accuracy, or the first objective if no candidate has one.
            target: Whose figures are drawn; by default the one on which most were measured.

        Returns:
            A Plotly figure: ``.show()`` opens it, ``.write_html(path)`` keeps it.

        Raises:
            NotFoundError: No candidate was measured on that target.
        """
        # Charts stand above the store; only who asks for one loads Plotly.
        from autosearch.visualization.choice import lead_objective
        from autosearch.visualization.trade_off import plot_trade_off

        frame, judged = by_estimate(self._on_target(self.candidates_frame(), target))
        y = lead_objective(frame, self.objectives).metric if y is None else y
        known = self.baselines_frame()
        return plot_trade_off(
            frame,
            self.objectives,
            x=x,
            y=y,
            judged=judged[judged["feasible"].astype(bool)],
            constraints=self.constraints,
            baselines=dict(zip(known["baseline"], known[y], strict=True)) if y in known else {},
        )

    def candidate(self, name: str) -> dict[str, Any]:
        """Everything about one candidate, JSON-friendly: its row of ``candidates_frame()``, too.

        Of its trial ``config``, ``facts``, ``stage_seconds``, ``started_at`` (UTC) and ``epochs``;
        ``classes`` in the order of ``conditions["confusion"]``; and ``latencies_again``, those that
        ``remeasure`` took.

        Raises:
            NotFoundError: The study has no such candidate.
        """
        frame = self.candidates_frame()
        # Without schemes a candidate is called as its trial is, by number.
        name = str(name)
        rows = frame[frame["candidate"] == name]
        if rows.empty:
            raise NotFoundError(
                f'study "{self.name}" has no candidate "{name}"; '
                f"list them with: autosearch front {self.name}"
            )
        record = records(on_one_target(rows))[0]
        trials = self.trials_frame()
        trial = records(trials[trials["number"] == record["trial"]])[0]
        epochs = self.epochs_frame()
        record["config"] = trial["config"]
        record["stage_seconds"] = trial["stage_seconds"]
        record["facts"] = trial["facts"]
        record["classes"] = class_names(record["conditions"], trial["facts"])
        record["keras_sha256"] = record["keras_sha256"] or trial["facts"].get("keras_sha256")
        record["started_at"] = trial["started_at"]
        record["epochs"] = records(epochs[epochs["trial"] == record["trial"]])
        again = self.latencies_frame()
        record["latencies_again"] = records(again[again["candidate"] == name])
        return record

    def latencies_frame(self) -> pd.DataFrame:
        """One row a latency that ``remeasure`` took again; see ``store.latencies``."""
        return latencies_frame(self._database, self.id)

    def artifact(self, sha256: str) -> bytes:
        """A file of the study, by content.

        Raises:
            NotFoundError: It is not in the artifact store.
        """
        return self._artifacts.get(sha256)

    def _on_target(self, frame: pd.DataFrame, target: str | None) -> pd.DataFrame:
        if target is None:
            return frame
        named: pd.DataFrame = frame[frame["target"] == target]
        if named.empty:
            known = ", ".join(sorted(set(frame["target"].dropna()))) or "none"
            raise NotFoundError(
                f'no candidate of "{self.name}" was measured on "{target}"; '
                f"expected one of: {known}"
            )
        return named


def open_study(name: str, *, storage: str | None = None, artifacts: str | None = None) -> StudyView:
    """A read-only view of a study in a database.

    Args:
        name: The study's name.
        storage: Database URL; by default ``AUTOSEARCH_STORAGE``, else SQLite in this folder.
        artifacts: Where its files are; by default beside the database.

    Raises:
        NotFoundError: There is no such database or study.
        StorageError: The database cannot be read.
    """
    database = Database.open_to_read(storage)
    return StudyView(database, ArtifactStore.beside(database, artifacts), name)


def known_study(
    database: Database, artifacts: ArtifactStore, name: str, *, begun_by: datetime | None = None
) -> StudyView | None:
    """The study of a name, if it is there still.

    A model outlives its study, whose name may be another's by now: one that was deleted and run
    anew, on other images or with another split.

    Args:
        database: Where it may be.
        artifacts: Where its files are.
        name: Its name.
        begun_by: When the study that is meant was there already (UTC), such as when a candidate
            of it was promoted.
    """
    try:
        view = StudyView(database, artifacts, name)
    except NotFoundError:
        return None
    return view if begun_by is None or view.created_at <= begun_by else None
