"""What a user declares: frozen, without unknown words, and every fault of it in one sentence."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from autosearch.errors import DefinitionError

__all__ = ["Declared"]

_EXAMPLES = {
    "Budget": "Budget(trials=30)",
    "CNN": "CNN(width=[8, 16])",
    "Constraint": 'at_most("size_bytes", 64_000)',
    "CrossValidation": "CrossValidation(folds=5)",
    "NoPruner": "NoPruner()",
    "Objective": 'maximize("accuracy")',
    "ParetoPruner": "ParetoPruner(eta=3)",
    "Quantization": 'Quantization("float32", "int8")',
    "Target": 'Target("host")',
    "TrainOn": "TrainOn(first_epochs=2)",
}


class Declared(BaseModel):
    """The base of everything that is declared: studies, spaces, budgets, targets.

    Raises:
        DefinitionError: With every fault of what was given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, *unnamed: Any, **words: Any) -> None:
        if unnamed:
            name = type(self).__name__
            known = ", ".join(type(self).model_fields)
            example = _EXAMPLES.get(name, f"{name}({known.partition(',')[0]}=…)")
            rest = f" such as {example}, with one or more of {known}" if known else f" {example}"
            raise DefinitionError(f"{name}: {unnamed[0]!r} came without a name; write{rest}")
        try:
            super().__init__(**words)
        except ValidationError as error:
            raise DefinitionError(_sentence(self._called(words), type(self), error)) from None

    @classmethod
    def _called(cls, words: dict[str, Any]) -> str:
        """What a message calls the thing that was to be made of these words."""
        return cls.__name__


def _sentence(called: str, model: type[BaseModel], error: ValidationError) -> str:
    faults = []
    found = error.errors(include_url=False)
    places = [fault["loc"][:1] for fault in found]
    for fault in found:
        if fault["type"] == "too_short" and places.count(fault["loc"][:1]) > 1:
            continue  # Only because those that were given are none.
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields) or "none"
            message = f"no such parameter; {model.__name__} has {known}"
        elif fault["type"] == "missing":
            message = "is missing"
        elif fault["type"] == "model_type":
            kind = str(fault["ctx"]["class_name"])
            message = f"{fault['input']!r} is no {kind}; write {_EXAMPLES.get(kind, f'{kind}(…)')}"
        elif fault["type"] != "value_error":
            # pydantic's own words: "Input should be …".
            message = f"{message[:1].lower()}{message[1:]}, not {fault['input']!r}"
        faults.append(f"{place}: {message}" if place else message)
    if len(faults) == 1:
        return f"{called}: {faults[0]}"
    return f"{called} has {len(faults)} faults: " + " | ".join(faults)
