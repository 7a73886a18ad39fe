import functools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import keras_tuner
import optuna
import pytest

from autosearch.errors import DefinitionError
from autosearch.space import CNN, HyperParameters, Quantization, Range, SearchSpace, Training
from autosearch.space.architecture import (
    architecture_name,
    architecture_names,
    architecture_scope,
    choose_architecture,
)
from autosearch.space.sources import syntax_hash


def build_small(hp: HyperParameters) -> int:
    # A comment that does not count.
    return int(hp.Int("units", 2, 4))


class MLPModel(keras_tuner.HyperModel):
    def __init__(self, depth: int = 1, name: str | None = None) -> None:
        super().__init__(name=name)
        self.depth = depth

    def build(self, hp: Any) -> Any:
        return hp.Int("units", 8, 32)


class Made:
    def __call__(self, hp: Any) -> Any:
        return None


def test_a_declarative_space_survives_the_way_to_json_and_back() -> None:
    for architecture in (CNN(), [CNN(), CNN(stages=Range(1, 5, step=2))], [CNN(stages=1)]):
        space = SearchSpace(
            architecture=architecture,
            training=Training(epochs=3, weight_decay=0.0),
            quantization=Quantization("int8", "float32"),
        )
        assert space.is_declarative
        assert SearchSpace.model_validate_json(space.model_dump_json()) == space
        assert SearchSpace.model_validate(space.model_dump()) == space
        definition = json.loads(json.dumps(space.definition()))
        assert SearchSpace.from_definition(definition) == space
        assert SearchSpace.from_definition(definition).definition() == definition


def test_one_architecture_in_a_list_is_that_architecture() -> None:
    assert SearchSpace(architecture=[CNN()]) == SearchSpace(architecture=CNN()) == SearchSpace()
    assert SearchSpace().architectures == (CNN(),)


def test_a_function_is_written_as_its_name_and_a_hash_of_its_syntax() -> None:
    space = SearchSpace(architecture=[build_small, CNN()])
    assert not space.is_declarative
    written = space.definition()["architecture"]
    assert written[0] == {
        "callable": f"{__name__}:build_small",
        "syntax_hash": syntax_hash(build_small),
    }
    assert len(written[0]["syntax_hash"]) == 64
    assert written[1] == CNN().model_dump(mode="json")
    json.dumps(space.definition())
    with pytest.raises(DefinitionError, match="build_small is a function of the study file"):
        SearchSpace.from_definition(space.definition())


def test_a_hypermodel_is_written_with_what_it_was_given() -> None:
    shallow = SearchSpace(architecture=MLPModel(1)).definition()["architecture"]
    deep = SearchSpace(architecture=MLPModel(2)).definition()["architecture"]
    assert shallow["callable"] == f"{__name__}:MLPModel"
    assert shallow["syntax_hash"] == deep["syntax_hash"] is not None
    assert shallow["arguments"]["depth"] == 1
    assert deep["arguments"]["depth"] == 2


def test_a_partial_function_is_written_with_its_arguments() -> None:
    bound = functools.partial(MLPModel.build, hp=3)
    written = SearchSpace(architecture=bound).definition()["architecture"]
    assert written["callable"] == f"{__name__}:MLPModel.build"
    assert written["arguments"] == {"hp": 3}


def module_of(folder: Path, source: str) -> ModuleType:
    path = folder / f"source_{abs(hash(source))}.py"
    path.write_text(source)
    module = ModuleType("study_file")
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def test_the_hash_sees_syntax_and_not_layout(tmp_path: Path) -> None:
    def hashed(source: str) -> str | None:
        return syntax_hash(module_of(tmp_path, source).build)

    plain = hashed("def build(hp):\n    return hp.Int('a', 1, 2)\n")
    assert plain is not None
    assert hashed("\n\ndef build( hp ):\n    # why\n    return hp.Int('a',\n 1, 2)\n") == plain
    assert hashed("def build(hp):\n    return hp.Int('a', 1, 3)\n") != plain
    assert hashed("def build(hp):\n    return hp.Int('a', 1, None)\n") != plain


def test_the_hash_is_the_same_under_every_python() -> None:
    # ast.dump differs between Python 3.11, 3.12 and 3.13; this was computed under 3.11.
    assert syntax_hash(build_small) == (
        "d25460e3730fcab21933ba0a39249db8ca59c69c7442699933fa61838d815ff0"
    )


def test_a_function_without_source_has_no_hash() -> None:
    namespace: dict[str, Any] = {}
    exec("def build(hp): return None", namespace)
    assert syntax_hash(namespace["build"]) is None


def test_architectures_have_short_and_different_names() -> None:
    assert architecture_name(build_small) == "build_small"
    assert architecture_name(MLPModel()) == "mlp_model"
    assert architecture_name(MLPModel(name="perceptron")) == "perceptron"
    assert architecture_name(Made()) == "made"
    assert architecture_name(functools.partial(build_small)) == "build_small"
    assert architecture_name(lambda hp: None) == "lambda"
    names = architecture_names([CNN(), build_small, CNN(), CNN(), MLPModel(name="cnn_2")])
    assert names == ("cnn", "build_small", "cnn_2", "cnn_3", "cnn_2_2")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "architecture: the list is empty; write CNN"),
        (5, "architecture: 5 is no architecture; write CNN"),
        (MLPModel, r"architecture: MLPModel is a class; write an instance of it: MLPModel\(\)"),
        ({"stages": (5, 2)}, "stages: low 5 is above high 2"),
        ({"callable": "m:f"}, "m:f is a function of the study file"),
    ],
)
def test_what_is_no_architecture_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        SearchSpace(architecture=wrong)


def test_a_built_model_is_refused() -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(DefinitionError, match="is a model that is built already"):
        SearchSpace(architecture=model)


def test_of_several_architectures_one_is_sampled_with_its_own_parameters() -> None:
    architectures = SearchSpace(architecture=[CNN(stages=(1, 2)), MLPModel(), build_small])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(40):
        trial = study.ask()
        hp = HyperParameters(trial)
        name, chosen = choose_architecture(hp, architectures.architectures)
        seen.add(name)
        with architecture_scope(hp, architectures.architectures, name):
            if isinstance(chosen, CNN):
                assert chosen.sample(hp).stages == hp["architecture/stages"]
            elif isinstance(chosen, MLPModel):
                assert chosen.build(hp) == hp["units"]
            else:
                assert build_small(hp) in (2, 3, 4)
        assert hp["architecture"] == name
        own = set(trial.params) - {"architecture"}
        assert own
        assert all(key.endswith(f"[architecture={name}]") for key in own)
        study.tell(trial, 0.0)
    assert seen == {"cnn", "mlp_model", "build_small"}


def test_a_single_architecture_is_not_sampled() -> None:
    trial = optuna.create_study().ask()
    hp = HyperParameters(trial)
    assert choose_architecture(hp, (build_small,)) == ("build_small", build_small)
    with architecture_scope(hp, (build_small,), "build_small"):
        build_small(hp)
    assert list(trial.params) == ["units"]


def test_a_dry_run_samples_everything_but_a_users_build() -> None:
    space = SearchSpace(architecture=[CNN(), build_small])
    runs = space.dry_run(40, seed=3)
    assert len(runs) == 40
    assert runs == space.dry_run(40, seed=3) != space.dry_run(40, seed=4)
    assert {run["architecture"] for run in runs} == {"cnn", "build_small"}
    assert all("units" not in run for run in runs)
    assert all(("architecture/stages" in run) == (run["architecture"] == "cnn") for run in runs)
    concerns = {name.partition("/")[0] for run in runs for name in run}
    assert concerns == {
        "preprocessing",
        "architecture",
        "augmentation",
        "weighting",
        "training",
        "quantization",
    }


def test_faults_of_several_parts_are_reported_at_once() -> None:
    with pytest.raises(DefinitionError, match="SearchSpace has 2 faults") as caught:
        SearchSpace(preprocessing={"size": (5, 2)}, architecture=5)
    assert "size: low 5 is above high 2; write (2, 5)" in str(caught.value)
