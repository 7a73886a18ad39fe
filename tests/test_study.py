"""A study's definition: refused with all its faults, identified, and made again."""

import json

import pytest

from autosearch import Budget, SearchSpace, Study, Target, at_most, maximize, minimize
from autosearch.data import Arrays, Digits
from autosearch.errors import DefinitionError, NotFoundError
from autosearch.space import CNN, Training
from autosearch.study import changes, load_study_file
from autosearch.values import Constraint, Objective


def make(**words):
    return Study(
        **{
            "name": "s",
            "dataset": Digits(),
            "space": SearchSpace(),
            "objectives": [maximize("accuracy"), minimize("size_bytes")],
            **words,
        }
    )


def test_a_declarative_study_comes_back_from_its_definition():
    study = make(constraints=[at_most("size_bytes", 64_000)], budget=Budget(trials=3, minutes=9))
    definition = json.loads(json.dumps(study.definition()))
    again = Study.from_definition(definition)
    assert study.is_declarative
    assert again.definition() == study.definition() == definition
    assert again.definition_sha256() == study.definition_sha256()
    assert again.budget == study.budget


def test_another_budget_is_no_change_and_another_space_is():
    study = make(budget=Budget(trials=3))
    assert make(budget=Budget(trials=9)).definition_sha256() == study.definition_sha256()
    other = make(space=SearchSpace(training=Training(epochs=7)))
    assert other.definition_sha256() != study.definition_sha256()
    assert changes(study.definition(), other.definition()) == ["space.training.epochs: 20 → 7"]
    assert changes(study.definition(), make(budget=Budget(trials=9)).definition()) == []


def test_reformatting_a_function_is_no_change_and_another_body_is(tmp_path):
    shas = []
    for index, body in enumerate(["return {'accuracy': 1}", "return {\n 'accuracy':  1 }  # x",
                                  "return {'accuracy': 2}"]):  # fmt: skip
        path = tmp_path / f"{index}" / "study_file.py"
        path.parent.mkdir()
        path.write_text(
            "from autosearch import Study, maximize\n"
            f"def evaluate(trial):\n    {body}\n"
            "study = Study(name='s', evaluator=evaluate, objectives=[maximize('accuracy')])\n"
        )
        study = load_study_file(path)
        assert not study.is_declarative
        assert study.source_file == path
        shas.append(study.definition_sha256())
    assert shas[0] == shas[1] != shas[2]
    with pytest.raises(DefinitionError, match="--study-file"):
        Study.from_definition(study.definition())


def test_all_faults_are_said_at_once():
    with pytest.raises(DefinitionError) as caught:
        make(objectives=[maximize("acuracy")], constraints=[at_most("bytes", 1)], dataset="digits")
    message = str(caught.value)
    assert 'objective "acuracy" is not known; expected one of: accuracy' in message
    assert 'constraint "bytes" is not known' in message
    assert "dataset is str; expected one of autosearch.data" in message


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"name": ""}, "name"),
        ({"name": "-x"}, "leading '-'"),
        ({"objectives": []}, "objectives"),
        ({"objectives": [maximize("accuracy")] * 2}, 'objective "accuracy" is named twice'),
        ({"space": None}, "space is missing"),
        ({"dataset": None}, "dataset is missing"),
        ({"evaluator": lambda trial: 1.0}, "leave those out"),
        ({"evaluator": 3, "space": None, "dataset": None}, "evaluator is int"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_fault_is_a_sentence(words, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        make(**words)


def test_a_dataset_of_the_users_own_is_not_declarative():
    import numpy as np

    images = np.zeros((40, 8, 8, 1), np.uint8)
    study = make(dataset=Arrays(images, np.arange(40) % 2))
    assert not study.is_declarative


def test_budget_and_target_refuse_what_makes_no_sense():
    with pytest.raises(ValueError, match="a budget needs a limit"):
        Budget()
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Budget(trials=0)
    with pytest.raises(ValueError, match='expected Target\\("host"\\)'):
        Target("moon")


def test_objective_and_constraint_speak_for_themselves():
    assert str(maximize("accuracy")) == "maximize accuracy"
    assert maximize("accuracy").minimized(0.9) == -0.9
    constraint = at_most("size_bytes", 100)
    assert str(constraint) == "size_bytes ≤ 100"
    assert constraint.violation(100) == 0
    assert constraint.violation(150) == 0.5
    assert constraint.violation(None) == 1.0
    for value, kind in [(maximize("x"), Objective), (constraint, Constraint)]:
        assert kind.model_validate_json(value.model_dump_json()) == value


def test_a_file_that_is_not_there_or_declares_two_studies(tmp_path):
    with pytest.raises(NotFoundError, match="there is no study file"):
        load_study_file(tmp_path / "none.py")
    path = tmp_path / "two.py"
    path.write_text(
        "from autosearch import Study, maximize\n"
        "a = Study(name='a', evaluator=len, objectives=[maximize('x')])\n"
        "b = Study(name='b', evaluator=len, objectives=[maximize('x')])\n"
    )
    with pytest.raises(DefinitionError, match="declares several studies"):
        load_study_file(path)


def test_a_list_of_architectures_is_declarative_as_long_as_each_is():
    assert make(space=SearchSpace(architecture=[CNN(stages=1), CNN(stages=2)])).is_declarative
    assert not make(space=SearchSpace(architecture=[CNN(), lambda hp: None])).is_declarative
