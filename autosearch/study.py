"""A study: what may be searched, what is sought, and what it may cost."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from importlib import machinery, util
from pathlib import Path
from types import CodeType
from typing import Any

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from autosearch.changes import WITHOUT_IDENTITY
from autosearch.code_names import STUDY_MODULE, code_name
from autosearch.data import Dataset, dataset_from_definition
from autosearch.declared import Declared
from autosearch.errors import AutosearchError, DefinitionError, NotFoundError
from autosearch.space import SearchSpace
from autosearch.space.sources import given_arguments, syntax_hash
from autosearch.targets import MICRO_SCHEMES, Target
from autosearch.values import (
    MEASURED_METRICS,
    QUALITY_METRICS,
    Budget,
    Constraint,
    CrossValidation,
    NoPruner,
    Objective,
    ParetoPruner,
    TrainOn,
)

__all__ = ["Study", "load_study_file"]

_PRUNER_NAMES: dict[type[NoPruner | ParetoPruner], str] = {
    NoPruner: "none",
    ParetoPruner: "mo_asha",
}

_TIMES = ("latency_ms", "latency_p90_ms")
_LISTED = (Objective, Constraint)


class Study(Declared):
    """A named search: declare it in a Python file, and start it with ``autosearch run FILE``.

    Either ``dataset`` and ``space`` are given, and Keras trains what is sampled, or ``evaluator``
    is a function of the trial, and whatever it answers is the result.

    Attributes:
        name: The study's name in the database; running the same name again resumes it.
        dataset: The labelled images.
        space: What may be sampled.
        evaluator: A function of the trial, or an object with ``evaluate(trial)``, in place of
            training.
        objectives: What is better, in order of importance for listings.
        constraints: What a candidate must keep to be feasible; those of the target are added.
        budget: What the study may spend.
        target: Where the model will run; a microcontroller's memory bounds file and arena.
        sampler: ``"pareto"``, ``"tpe"``, ``"nsga2"``, ``"nsga3"``, ``"random"``, ``"qmc"``,
            ``"gp"`` (with PyTorch installed), any ``optuna.samplers.BaseSampler``, or for one
            objective ``"keras_tuner.random"``, ``"keras_tuner.bayesian"``, ``"keras_tuner.grid"``.
        pruner: Which trials end early: ``"mo_asha"``, a ``ParetoPruner``, ``NoPruner()``, or with a
            single objective any ``optuna.pruners.BasePruner``. By default "mo_asha" if the budget
            is one of minutes or epochs, so that what is saved is spent on further trials; none if
            it counts trials alone, or with ``train_on``, which does the same and keeps the files.
        train_on: Train briefly first, and what promises most for longer; None to train every
            trial for the space's ``epochs``.
        cross_validation: How the best trials are judged again where few images judge; None to
            leave it at the search's own figures.
        baselines: Whether to judge the majority class, a logistic regression and a plain small
            network before the search, at a tenth of its trainings or 3 % of its minutes at most.
            With a budget below 10 trials or 2 minutes there are none.

    Raises:
        DefinitionError: With every fault of the definition.

    Example:
        >>> from autosearch import Budget, Study, maximize, minimize
        >>> def look_up(trial):
        ...     width = trial.hp.Int("width", 8, 64, step=8)
        ...     return {"accuracy": 1 - 1 / width, "size_bytes": 100 * width}
        >>> study = Study(
        ...     name="table",
        ...     evaluator=look_up,
        ...     objectives=[maximize("accuracy"), minimize("size_bytes")],
        ...     budget=Budget(trials=20),
        ... )
        >>> study.is_declarative
        False
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = Field(min_length=1, max_length=200)
    dataset: Any = None
    space: SearchSpace | None = None
    evaluator: Any = None
    objectives: tuple[Objective, ...] = Field(min_length=1)
    constraints: tuple[Constraint, ...] = ()
    budget: Budget = Budget(trials=100)
    target: Target = Target("host")
    sampler: Any = "pareto"
    pruner: Any = None
    train_on: TrainOn | None = None
    cross_validation: CrossValidation | None = CrossValidation()
    baselines: bool = True

    _source_file: Path | None = PrivateAttr(default=None)

    @classmethod
    def _called(cls, words: dict[str, Any]) -> str:
        return f'study "{words["name"]}"' if words.get("name") else "the study"

    @field_validator("pruner")
    @classmethod
    def _named_pruner(cls, pruner: Any) -> Any:
        if not isinstance(pruner, str):
            return pruner
        if pruner != "mo_asha":
            raise ValueError(
                f'"{pruner}" is not known; expected "mo_asha", ParetoPruner(...) or NoPruner()'
            )
        return ParetoPruner()

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, words: Any) -> Any:
        """Takes a lone objective or constraint for a list of one, and adds the target's bounds."""
        words = {k: (v,) if isinstance(v, _LISTED) else v for k, v in words.items()}
        target = words.get("target")
        if isinstance(target, Mapping):
            target = Target.model_validate(target)
        if not isinstance(target, Target):
            return words
        given = words.get("constraints", ())
        if not isinstance(given, Iterable):
            return words
        given = tuple(given)
        # A definition from the database has them already.
        added = [constraint for constraint in target.constraints if constraint not in given]
        return {**words, "target": target, "constraints": (*given, *added)}

    @model_validator(mode="after")
    def _is_whole(self) -> Study:
        faults = [
            *self._faults_of_parts(),
            *self._faults_of_metrics(),
            *self._faults_of_target(),
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _faults_of_parts(self) -> list[str]:
        faults = []
        if not self.name.isprintable() or self.name != self.name.strip() or self.name[0] == "-":
            faults.append("the name must be printable, without spaces around it or a leading '-'")
        if self.evaluator is None and (self.space is None or self.dataset is None):
            missing = "space" if self.space is None else "dataset"
            faults.append(f"{missing} is missing; give dataset and space, or an evaluator")
        if self.evaluator is not None and (self.space is not None or self.dataset is not None):
            faults.append("an evaluator takes the place of dataset and space; leave those out")
        if self.evaluator is not None and not (
            callable(self.evaluator) or callable(getattr(self.evaluator, "evaluate", None))
        ):
            faults.append(
                f"evaluator is {type(self.evaluator).__name__}; expected a function of the trial, "
                "or an object with evaluate(trial)"
            )
        if self.train_on is not None:
            faults += self._faults_of_training_on(self.train_on)
        if self.dataset is not None and not isinstance(self.dataset, Dataset):
            faults.append(
                f"dataset is {type(self.dataset).__name__}; expected one of autosearch.data, "
                "such as Digits(), or a Dataset of your own"
            )
        return faults

    def _faults_of_training_on(self, rules: TrainOn) -> list[str]:
        if self.evaluator is not None:
            return ["train_on needs a dataset and a space: an evaluator trains as it likes"]
        if self.space is not None and rules.first_epochs >= self.space.training.epochs:
            return [
                f"train_on.first_epochs is {rules.first_epochs}, and the space trains for "
                f"{self.space.training.epochs} epochs in all; expected fewer first ones"
            ]
        return []

    def _faults_of_metrics(self) -> list[str]:
        faults = []
        metrics = [objective.metric for objective in self.objectives]
        faults += [f'objective "{m}" is named twice' for m in sorted(set(metrics))
                   if metrics.count(m) > 1]  # fmt: skip
        if self.evaluator is None:
            named = [("objective", metric) for metric in metrics]
            named += [("constraint", constraint.metric) for constraint in self.constraints]
            faults += [
                f'{kind} "{metric}" is not known; expected one of: {", ".join(MEASURED_METRICS)}'
                for kind, metric in named
                if metric not in MEASURED_METRICS
            ]
            if isinstance(self.dataset, Dataset) and not self.dataset.group_columns:
                faults += [
                    f'{kind} "{metric}" needs groups, and dataset "{self.dataset.name}" has none; '
                    "give ImageFolder a group=REGEX that finds them in the paths, Manifest a "
                    "table with a column for them, or Arrays groups={COLUMN: values}"
                    for kind, metric in named
                    if metric == "worst_group_accuracy"
                ]
        return faults

    def _faults_of_target(self) -> list[str]:
        """What a microcontroller cannot give; a user's function may know better."""
        if not self.target.is_microcontroller or self.evaluator is not None:
            return []
        place = f'the target is "{self.target.name}"'
        faults = [
            f'objective "{o.metric}" is the time on the machine that searches, and {place}; write '
            'minimize("macs"), which stands in for it as an estimate'
            for o in self.objectives
            if o.metric in _TIMES
        ]
        faults += [
            f'constraint "{c.metric}" is on the time of the machine that searches, and {place}; '
            'write at_most("macs", …), which stands in for it as an estimate'
            for c in self.constraints
            if c.metric in _TIMES
        ]
        schemes = self.space.quantization.schemes if self.space is not None else ()
        if schemes and not set(schemes).intersection(MICRO_SCHEMES):
            faults.append(
                f"quantization names {', '.join(schemes)}, which TensorFlow Lite Micro does not "
                f"run, and {place}; add one or more of {', '.join(MICRO_SCHEMES)}"
            )
        return faults

    def keeping_sides(self, sides: Mapping[str, str] | None) -> Study:
        """The study with the images of an earlier run on the sides where they were then."""
        if sides is None or self.dataset is None:
            return self
        kept = self.model_copy(update={"dataset": self.dataset.keeping_sides(sides)})
        kept._source_file = self._source_file
        return kept

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Study:
        """A copy, of which something is otherwise: its file does not make it, unless that is free.

        Such a study is evaluated in the process that made it, unless its definition alone makes it.
        """
        copied = super().model_copy(update=update, deep=deep)
        if not set(update or {}).issubset(WITHOUT_IDENTITY):
            copied._source_file = None
        return copied

    @property
    def chosen_pruner(self) -> Any:
        """The pruner, and where none was named the default."""
        if self.pruner is not None:
            return self.pruner
        counts_trials_alone = self.budget.minutes is None and self.budget.total_epochs is None
        # Training on is successive halving by itself, and of whole files.
        return NoPruner() if counts_trials_alone or self.train_on else ParetoPruner()

    @property
    def quality_objective(self) -> Objective | None:
        """The first objective that tells how well a file classifies; None for a user's function."""
        if self.evaluator is not None:
            return None
        return next((o for o in self.objectives if o.metric in QUALITY_METRICS), None)

    @property
    def source_file(self) -> Path | None:
        """The file that it was loaded from, by ``load_study_file``."""
        return self._source_file

    @property
    def is_declarative(self) -> bool:
        """Whether its definition alone makes it again, with no code of the user's."""
        return (
            self.evaluator is None
            and self.space is not None
            and self.space.is_declarative
            and isinstance(self.sampler, str)
            and isinstance(self.chosen_pruner, ParetoPruner | NoPruner)
            and dataset_is_built_in(self.dataset)
        )

    def definition(self) -> dict[str, Any]:
        """The study in JSON's terms.

        What is code is named by module and hash, so that a change is noticed; the study is made
        again from it only if ``is_declarative``.
        """
        words = {
            "name": self.name,
            "dataset": self.dataset.definition() if self.dataset is not None else None,
            "space": self.space.definition() if self.space is not None else None,
            "evaluator": code_definition(self.evaluator) if self.evaluator is not None else None,
            "objectives": [o.model_dump(mode="json") for o in self.objectives],
            "constraints": [c.model_dump(mode="json") for c in self.constraints],
            "budget": self.budget.model_dump(mode="json"),
            "target": self.target.model_dump(mode="json", exclude_none=True),
            "sampler": self.sampler
            if isinstance(self.sampler, str)
            else {"class": type(self.sampler).__qualname__},
            "baselines": self.baselines,
            "pruner": _pruner_definition(self.pruner),
            **(
                {} if self.train_on is None else {"train_on": self.train_on.model_dump(mode="json")}
            ),
            "cross_validation": self.cross_validation.model_dump(mode="json")
            if self.cross_validation is not None
            else None,
        }
        # As the database gives it back: lists for tuples, or a comparison would see changes.
        as_stored: dict[str, Any] = json.loads(json.dumps(words))
        return as_stored

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Study:
        """Makes a declarative study again.

        Raises:
            DefinitionError: Part of it is code, which only its file holds.
        """
        is_code = definition["evaluator"] is not None or not isinstance(definition["sampler"], str)
        if is_code or "class" in (definition.get("pruner") or {}):
            raise DefinitionError(
                f'study "{definition["name"]}" has code of its own; '
                "name its file: --study-file FILE"
            )
        return cls(
            name=definition["name"],
            dataset=dataset_from_definition(definition["dataset"]),
            space=SearchSpace.from_definition(definition["space"]),
            objectives=[Objective.model_validate(o) for o in definition["objectives"]],
            constraints=[Constraint.model_validate(c) for c in definition["constraints"]],
            budget=Budget.model_validate(definition["budget"]),
            target=Target.model_validate(definition["target"]),
            sampler=definition["sampler"],
            # Studies of the first version have no word of these.
            baselines=definition.get("baselines", True),
            pruner=_defined_pruner(definition.get("pruner")),
            train_on=definition.get("train_on"),
            cross_validation=definition.get("cross_validation", CrossValidation()),
        )

    def definition_sha256(self) -> str:
        """Identifies the definition, as far as it decides how a trial goes and is ranked."""
        identity = {k: v for k, v in self.definition().items() if k not in WITHOUT_IDENTITY}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def dataset_is_built_in(dataset: Any) -> bool:
    """Whether the dataset's definition alone makes it again: not what a user's subclass adds."""
    try:
        return type(dataset_from_definition(dataset.definition())) is type(dataset)
    except AutosearchError:
        return False


def _pruner_definition(pruner: Any) -> dict[str, Any] | None:
    if pruner is None:
        return None
    if isinstance(pruner, NoPruner | ParetoPruner):
        return {"name": _PRUNER_NAMES[type(pruner)], **pruner.model_dump(mode="json")}
    return {"class": type(pruner).__qualname__}


def _defined_pruner(definition: Mapping[str, Any] | None) -> ParetoPruner | NoPruner | None:
    if definition is None:
        return None
    words = {key: value for key, value in definition.items() if key != "name"}
    kind = next(kind for kind, name in _PRUNER_NAMES.items() if name == definition["name"])
    return kind.model_validate(words)


def code_definition(code: Any) -> dict[str, Any]:
    """Names a function or an object's class, with a hash of its syntax tree.

    Layout and comments do not count, so reformatting a file is no change. A partial function is
    the one that it calls, with what it was given.
    """
    if isinstance(code, functools.partial):
        return {**code_definition(code.func), "arguments": given_arguments(code)}
    named = code if inspect.isroutine(code) or inspect.isclass(code) else type(code)
    digest = syntax_hash(named)
    if digest is None:
        # A lambda within a call, or code typed at a prompt, has no source of its own.
        code_bytes = getattr(getattr(named, "__code__", None), "co_code", b"")
        digest = hashlib.sha256(code_bytes).hexdigest()
    return {"callable": code_name(named), "syntax_sha256": digest}


class _FromSource(machinery.SourceFileLoader):
    """Compiles a file each time.

    Python's cache would lie beside it, and holds for a file of the same size that was changed
    within the same second.
    """

    def get_code(self, fullname: str) -> CodeType:
        """The file as it is now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def load_study_file(path: str | Path) -> Study:
    """Runs a Python file and answers the study that it declares.

    The study is the variable ``study``, or else the only ``Study`` at the top of the file.

    Raises:
        NotFoundError: There is no such file.
        DefinitionError: It does not run, or declares no study.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f'there is no study file "{path}"; name a Python file with a Study')
    if path.suffix != ".py":
        raise DefinitionError(f'"{path}" is not a Python file; expected one that ends in .py')
    module_name = f"{STUDY_MODULE}{path.stem}"
    loader = _FromSource(module_name, str(path))
    spec = util.spec_from_file_location(module_name, path, loader=loader)
    assert spec is not None  # It is, with a loader.
    module = util.module_from_spec(spec)
    sys.modules[module_name] = module
    # The file may import what stands beside it, as it could when run by itself, and a function
    # of it may do so later.
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        loader.exec_module(module)
    except DefinitionError as error:
        raise DefinitionError(f"{path}{_line_in(path, error)} {error}") from error
    except AutosearchError:
        raise
    except (Exception, SystemExit) as error:
        where = _line_in(path, error)
        raise DefinitionError(
            f"{path}{where} does not run ({type(error).__name__}: {error}); "
            "mend it, or see the whole traceback with --debug"
        ) from error
    study = getattr(module, "study", None)
    if not isinstance(study, Study):
        found = [value for value in vars(module).values() if isinstance(value, Study)]
        if len(found) != 1:
            raise DefinitionError(
                f'"{path}" declares {"several studies" if found else "no study"}; '
                "expected one: study = Study(...)"
            )
        study = found[0]
    study._source_file = path.resolve()
    return study


def _line_in(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno},"
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(path):
            line = step.tb_lineno
        step = step.tb_next
    return f", line {line}," if line is not None else ""
