"""The finals: where few images judge, the best trials are judged again by cross-validation.

What the search compared its trials on has chosen among them, so the best figure is too good: by
as much as the images are few. See ``autosearch.values.CrossValidation``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from autosearch.data.splits import most_folds
from autosearch.errors import AutosearchError, StorageError, TrainingError, TrialError
from autosearch.search.answers import named
from autosearch.search.continuation import epochs_trained, first_of
from autosearch.search.origins import goes_on_from_its_own_images
from autosearch.search.samplers import trial_seed
from autosearch.search.trial import InterruptedTrial
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import Parameter, Scalar
from autosearch.store.configs import whole_config
from autosearch.store.predictions import Predictions
from autosearch.values import (
    CandidateResult,
    CrossValidation,
    Direction,
    Estimate,
    TrialState,
    feasible_schemes,
)

if TYPE_CHECKING:
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.recorder import Recorder
    from autosearch.store.view import StudyView
    from autosearch.study import Study

__all__ = ["Finals", "ReplayedTrial", "is_due", "plan_finals", "run_finals"]

_JUDGED_ON = ("train", "validation")
_MAX_ATTEMPTS = 3
_MIN_TRIALS = 6
"""Of fewer trials the best is hardly too good, and whoever runs so few is only trying."""


class _Key(TypedDict):
    num_folds: int
    data_fingerprint: str


@dataclass(frozen=True, slots=True)
class Finals:
    """What is to be judged again.

    Attributes:
        num_folds: Into how many parts the images are divided: fewer than were asked for, if the
            classes or groups are too small for so many.
        max_finalists: How many trials, at most.
        data_fingerprint: Of the images: what was judged on others does not count.
        metric: Which figure the finalists are chosen by.
        is_maximized: Whether more of it is better.
    """

    num_folds: int
    max_finalists: int
    data_fingerprint: str
    metric: str
    is_maximized: bool

    def finalists(self, view: StudyView) -> list[int]:
        """The numbers of the trials to judge, the best first.

        Those on the front come first, so that what is judged again is worth having; of a network
        and what it was trained on to, only the better one.
        """
        num_complete = view.progress().counts.get(TrialState.COMPLETE, 0)
        if num_complete < _MIN_TRIALS:
            return []
        limit = min(self.max_finalists, max(1, num_complete // (self.num_folds + 1)))
        frame = view.candidates_frame()
        frame = frame[(frame["estimate"] == Estimate.VALIDATION) & frame["feasible"].astype(bool)]
        frame = frame[frame["artifact_sha256"].notna() & frame[self.metric].notna()]
        front = set(view.front_frame()["trial"])
        best = frame.groupby("trial")[self.metric].agg("max" if self.is_maximized else "min")
        sign = -1 if self.is_maximized else 1
        ranked = sorted(best.items(), key=lambda item: (item[0] not in front, sign * item[1]))
        facts, networks = _facts(view), dict[int, int]()
        for number in (int(str(number)) for number, _ in ranked):
            networks.setdefault(first_of(number, facts), number)
        return list(networks.values())[:limit]


def plan_finals(study: Study, *, on_message: Callable[[str], None] | None = None) -> Finals | None:
    """What the study's definition asks for, as far as its images can be divided.

    Args:
        study: Its definition.
        on_message: Called with a sentence if they cannot be divided, or were learned from already.

    Returns:
        None where there are images enough, or none that can be divided and judge.
    """
    rules: CrossValidation | None = study.cross_validation
    objective = study.quality_objective
    if rules is None or study.dataset is None or objective is None:
        return None
    if len(study.dataset.members("validation")) >= rules.below:
        return None
    if goes_on_from_its_own_images(study):
        if on_message is not None:
            on_message(
                "No trial is judged again by cross-validation: the network that the study begins "
                "from has seen the images that each fold would judge on."
            )
        return None
    labels = np.concatenate([study.dataset.load(split)[1] for split in _JUDGED_ON])
    num_folds = min(rules.folds, most_folds(labels, study.dataset.clusters(_JUDGED_ON)))
    if num_folds < 2:
        if on_message is not None:
            on_message(
                "No trial is judged again by cross-validation: no class has two images to train "
                "and validate on, or all of them belong together."
            )
        return None
    return Finals(
        num_folds=num_folds,
        max_finalists=rules.finalists,
        data_fingerprint=study.dataset.fingerprint(),
        metric=objective.metric,
        is_maximized=objective.direction is Direction.MAXIMIZE,
    )


def is_due(finals: Finals | None, view: StudyView) -> bool:
    """Whether a trial of the finals is still to be judged."""
    return finals is not None and bool(_left(finals, view))


def run_finals(
    finals: Finals,
    study: Study,
    view: StudyView,
    *,
    worker_id: int | None,
    evaluator: Any,
    recorder: Recorder,
    artifacts: ArtifactStore,
    seed: int,
    should_stop: Callable[[], bool],
    should_end: Callable[[], bool] = lambda: False,
) -> bool:
    """Judges every finalist that is not judged yet and that no other worker is about.

    Each fold is recorded as it ends.

    Args:
        finals: What to judge.
        study: Its definition.
        view: Reads it.
        worker_id: Of this worker.
        evaluator: The one that trains with Keras.
        recorder: Writes the study's rows.
        artifacts: Where files go.
        seed: The study's seed.
        should_stop: Asked after every epoch.
        should_end: Asked before every training, so that none is lost.

    Returns:
        Whether all came to their end; False if it was asked to stop.
    """
    from autosearch.evaluation.cross_validation import judge_fold, refit

    key: _Key = {"num_folds": finals.num_folds, "data_fingerprint": finals.data_fingerprint}
    left = _left(finals, view)
    # After they were chosen: a trial that others end meanwhile has not described itself before.
    frame = view.trials_frame()
    facts = dict(zip(frame["number"], frame["facts"], strict=True))
    configs = dict(zip(frame["number"], frame["config"], strict=True))
    for number in left:
        attempt = recorder.start_finalist(number, worker_id, **key)
        if attempt is None:
            continue
        known = view.finalists(**key)[number].folds
        # What was trained on was trained for longer than a trial of the search is.
        num_epochs = epochs_trained(facts[number]) if study.train_on is not None else None
        config = whole_config(configs[number], facts[number])
        trial = ReplayedTrial(number, config, artifacts, should_stop, num_epochs=num_epochs)
        candidates, error = list[CandidateResult](), None
        try:
            if attempt > _MAX_ATTEMPTS + len(known):
                raise TrainingError(f"the worker was lost {_MAX_ATTEMPTS} times while judging it")
            folds = {
                fold: {s: Predictions.from_bytes(artifacts.get(f)) for s, f in files.items()}
                for fold, files in known.items()
            }
            for fold in range(finals.num_folds):
                if fold in folds:
                    continue
                _interrupt_if(should_end())
                trial.seed = trial_seed(trial_seed(seed, number), fold)
                folds[fold] = judge_fold(
                    evaluator,
                    study.dataset,
                    trial,
                    fold=fold,
                    num_folds=finals.num_folds,
                    split_seed=seed,
                )
                stored = {s: artifacts.put(seen.to_bytes()) for s, seen in folds[fold].items()}
                recorder.add_fold(number, fold, stored, **key)
            _interrupt_if(should_end())
            trial.seed = trial_seed(seed, number)
            candidates = refit(
                evaluator,
                study.dataset,
                trial,
                _joined(folds),
                num_folds=finals.num_folds,
                split_seed=seed,
            )
        except (InterruptedTrial, KeyboardInterrupt) as ending:
            recorder.interrupt_finalist(number, **key)
            if isinstance(ending, KeyboardInterrupt):
                raise
            return False
        except StorageError:
            raise
        except (Exception, SystemExit) as fault:
            # The search's own figures stand; this trial has no better ones.
            error = str(fault) if isinstance(fault, AutosearchError) else named(fault)
        recorder.finish_finalist(
            number,
            candidates=candidates,
            feasible=feasible_schemes(candidates, study.objectives, study.constraints),
            target=trial.facts.get("target"),
            error=error,
            **key,
        )
    return True


def _interrupt_if(is_to_end: bool) -> None:
    if is_to_end:
        raise InterruptedTrial


def _left(finals: Finals, view: StudyView) -> list[int]:
    known = view.finalists(num_folds=finals.num_folds, data_fingerprint=finals.data_fingerprint)
    return [n for n in finals.finalists(view) if n not in known or not known[n].is_done]


def _facts(view: StudyView) -> dict[int, Mapping[str, Any]]:
    """What each trial's evaluator described, by number."""
    trials = view.trials_frame()
    return dict(zip(trials["number"], trials["facts"], strict=True))


def _joined(folds: Mapping[int, Mapping[str, Predictions]]) -> dict[str, Predictions]:
    """By scheme, the predictions of all folds; a scheme that misses one is left out."""
    ordered = [folds[fold] for fold in sorted(folds)]
    schemes = set(ordered[0]).intersection(*ordered)
    return {scheme: Predictions.joined([fold[scheme] for fold in ordered]) for scheme in schemes}


class ReplayedTrial:
    """A finished trial's configuration as a trial that records nothing.

    Attributes:
        number: The trial's.
        seed: Of the next training.
        facts: What the evaluator described.
        continues: Nothing: each network is trained from its beginning.
        num_epochs: How long; None for as long as the study says.

    Args:
        number: The trial's.
        config: What it was sampled as: values by parameter name.
        artifacts: Where files go.
        should_stop: Asked after every epoch.
        num_epochs: How long to train, if not for as long as the study says.
    """

    def __init__(
        self,
        number: int,
        config: Mapping[str, Any],
        artifacts: ArtifactStore,
        should_stop: Callable[[], bool],
        *,
        num_epochs: int | None = None,
    ) -> None:
        self.number = number
        self.seed = 0
        self.facts: dict[str, Any] = {}
        self.continues = None
        self.num_epochs = num_epochs
        self._config = dict(config)
        self._artifacts = artifacts
        self._should_stop = should_stop

    @property
    def hp(self) -> HyperParameters:
        """Answers what the trial had sampled."""
        return HyperParameters(answer=self._answer)

    def _answer(self, parameter: Parameter) -> tuple[Scalar]:
        if parameter.name not in self._config:
            raise TrialError(
                f"trial {self.number} has no value of parameter '{parameter.name}', which the "
                "study samples by now"
            )
        return (self._config[parameter.name],)

    def check_cost(self, **metrics: float | None) -> None:
        """A trial that was complete has kept its constraints."""

    def check_time(self, seconds: float) -> None:
        """Nothing: the finals come after the study's minutes."""

    def check_costs(self, costs: Mapping[str, Mapping[str, float | None]]) -> list[str]:
        """Likewise, every name."""
        return list(costs)

    def identify(self, what: Mapping[str, Any], *, quantization: str = "") -> None:
        """What a finalist trains, it trains again."""

    def report(self, epoch: float, step: int | None = None, **metrics: float | None) -> None:
        """Ends here if the run was asked to stop.

        Raises:
            InterruptedTrial: It was.
        """
        if self._should_stop():
            raise InterruptedTrial

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times nothing."""
        yield

    def describe(self, **facts: Any) -> None:
        """Keeps facts for the candidates."""
        self.facts.update(facts)

    def store_artifact(self, content: bytes) -> str:
        """Puts a file into the artifact store and answers its SHA-256."""
        return self._artifacts.put(content)

    def load_artifact(self, sha256: str) -> bytes:
        """The content of a file in the artifact store."""
        return self._artifacts.get(sha256)
