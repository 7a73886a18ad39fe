"""A study and its file: what is understood, what is refused, what counts as a change."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosearch import (
    Budget,
    SearchSpace,
    Study,
    Target,
    at_most,
    load_study_file,
    maximize,
    minimize,
)
from autosearch.changes import changes
from autosearch.data import Arrays, Digits
from autosearch.errors import DefinitionError, NotFoundError
from autosearch.space import CNN

STUDIES = Path(__file__).parent.parent / "studies"
HEAD = """
from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import Digits
from autosearch.space import CNN, Range
"""
ONE = 'study = Study(name="one", evaluator=print, objectives=[maximize("accuracy")])\n'


def digits(**words):
    parts = {
        "name": "digits",
        "dataset": Digits(),
        "space": SearchSpace(architecture=CNN(stages=(1, 2), width=[8, 16])),
        "objectives": [maximize("accuracy"), minimize("size_bytes")],
        "constraints": [at_most("size_bytes", 64_000)],
    }
    return Study(**{**parts, **words})


def load(tmp_path, text):
    path = tmp_path / "file.py"
    path.write_text(text)
    return load_study_file(path)


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.py")), ids=lambda path: path.stem)
def test_the_studies_to_begin_with_load(path, tmp_path, monkeypatch):
    for number in range(12):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    monkeypatch.setenv("AUTOSEARCH_DATA", str(tmp_path / "photos"))
    study = load_study_file(path)
    assert study.source_file == path.resolve()
    assert study.is_declarative == (path.stem not in ("own_model", "table"))
    assert f"autosearch run studies/{path.name}" in path.read_text()


def test_the_study_of_the_readme_is_one():
    readme = (STUDIES.parent / "README.md").read_text("utf-8")
    names = {}
    exec(readme.partition("```python\n")[2].partition("```")[0], names)
    assert isinstance(names["study"], Study)
    assert names["study"].is_declarative


def test_a_copy_that_is_otherwise_is_not_what_its_file_makes():
    study = load_study_file(STUDIES / "table.py")
    free = study.model_copy(update={"budget": Budget(trials=3)})
    assert free.source_file == study.source_file
    assert study.model_copy(update={"sampler": "random"}).source_file is None


def test_a_declarative_study_is_made_again_from_its_definition():
    study = digits()
    assert study.is_declarative
    definition = json.loads(json.dumps(study.definition()))
    assert definition == study.definition()
    again = Study.from_definition(definition)
    assert again == study
    assert again.definition_sha256() == study.definition_sha256()


def test_a_study_is_declarative_as_long_as_each_of_its_parts_is():
    images = np.arange(40, dtype=np.uint8).repeat(64).reshape(40, 8, 8, 1)
    assert not digits(dataset=Arrays(images, np.arange(40) % 2)).is_declarative
    assert digits(space=SearchSpace(architecture=[CNN(stages=1), CNN(stages=2)])).is_declarative
    assert not digits(space=SearchSpace(architecture=[CNN(), lambda hp: None])).is_declarative


class Halved(Digits):
    def load(self, split):
        images, labels = super().load(split)
        return images[::2], labels[::2]


class Renamed(Digits):
    def groups(self, split):
        return {}


def test_a_users_subclass_of_a_built_in_dataset_is_not_taken_for_that():
    assert not digits(dataset=Halved()).is_declarative
    assert Halved().fingerprint() != Digits().fingerprint()
    assert Halved().definition()["kind"] == "user"
    assert not digits(dataset=Renamed()).is_declarative
    assert Renamed().fingerprint() == Digits().fingerprint()


def test_a_study_with_code_is_not_made_from_its_definition():
    study = Study(name="s", evaluator=print, objectives=[maximize("m")])
    assert not study.is_declarative
    with pytest.raises(DefinitionError, match="name its file: --study-file FILE"):
        Study.from_definition(study.definition())


def test_a_budget_is_no_change_and_everything_else_is_named():
    before = digits()
    larger = digits(budget=Budget(minutes=5))
    assert larger.definition_sha256() == before.definition_sha256()
    assert changes(before.definition(), larger.definition()) == []
    after = digits(constraints=[at_most("size_bytes", 32_000)], sampler="random")
    assert changes(before.definition(), after.definition()) == [
        "constraints.0.bound: 64000.0 → 32000.0",
        'sampler: "pareto" → "random"',
    ]
    (change,) = changes(before.definition(), digits(constraints=[]).definition())[:1]
    assert "absent" in change or "→ []" in change


def test_layout_and_comments_of_a_function_are_no_change(tmp_path):
    texts = {
        "first": "def f(trial):\n    return {'m': trial.hp.Int('x', 1, 3)}\n",
        "formatted": "def f(trial):  # why\n\n    return {\n 'm': trial.hp.Int('x', 1, 3)\n}\n",
        "changed": "def f(trial):\n    return {'m': trial.hp.Int('x', 1, 4)}\n",
    }
    sums = {}
    for name, text in texts.items():
        study = load(tmp_path, f"{HEAD}\n{text}\n{ONE.replace('print', 'f')}")
        sums[name] = study.definition_sha256()
    assert sums["first"] == sums["formatted"] != sums["changed"]


def test_another_name_of_the_file_is_no_change(tmp_path):
    text = f"{HEAD}\ndef f(trial):\n    return 1.0\n{ONE.replace('print', 'f')}"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "renamed.py").write_text(text)
    renamed = load_study_file(tmp_path / "elsewhere" / "renamed.py")
    assert renamed.definition()["evaluator"]["callable"] == "study file:f"
    assert renamed.definition_sha256() == load(tmp_path, text).definition_sha256()


def test_another_name_of_the_file_is_no_change_of_a_dataset_in_it(tmp_path):
    text = f"""{HEAD}
from autosearch.data import Dataset
import numpy as np
class Own(Dataset):
    name, classes = "own", ("a", "b")
    def load(self, split):
        return np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 1, 0, 1])
study = Study(name="one", dataset=Own(), space=SearchSpace(), objectives=[maximize("accuracy")])
"""
    path = tmp_path / "renamed.py"
    path.write_text(text)
    dataset = load_study_file(path).definition()["dataset"]
    assert dataset["class"] == "study file:Own"
    assert dataset == load(tmp_path, text).definition()["dataset"]


def test_a_change_of_a_partial_function_or_of_what_it_was_given_is_a_change(tmp_path):
    def definition(factor, given):
        code = f"import functools\ndef f(trial, x, y=None):\n    return {factor} * x\n"
        one = ONE.replace("print", f"functools.partial(f, {given})")
        return load(tmp_path, HEAD + code + one).definition()

    before = definition(1, "x=1, y=[print]")
    assert before == definition(1, "x=1, y=[len]")  # what is no plain value is not looked at
    assert changes(before, definition(2, "x=1, y=[print]")) == ["evaluator: its code has changed"]
    assert changes(before, definition(1, "x=2, y=[print]")) == ["evaluator.arguments.x: 1 → 2"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"space": None}, "space is missing; give dataset and space, or an evaluator"),
        ({"dataset": None}, "dataset is missing"),
        ({"dataset": "mnist"}, "dataset is str; expected one of autosearch.data"),
        ({"evaluator": print}, "an evaluator takes the place of dataset and space"),
        ({"objectives": []}, "objectives"),
        ({"objectives": [maximize("acuracy")]}, 'objective "acuracy" is not known; expected one'),
        ({"constraints": [at_most("bytes", 1)]}, 'constraint "bytes" is not known'),
        ({"constraints": None, "target": Target("esp32_s3")}, "constraints: input should be a"),
        ({"objectives": [maximize("accuracy")] * 2}, 'objective "accuracy" is named twice'),
        ({"name": " digits"}, "the name must be printable"),
        ({"name": "--help"}, "the name must be printable"),
        ({"name": ""}, "name"),
        ({"objektives": []}, "objektives"),
        (
            {"objectives": ["accuracy"]},
            r'^study "digits": objectives.0: \'accuracy\' is no Objective; write maximize\("accura',
        ),
        ({"target": "esp32_s3"}, r"target: 'esp32_s3' is no Target; write Target\("),
        ({"budget": 10}, r"budget: 10 is no Budget; write Budget\(trials=30\)"),
    ],
)
def test_what_makes_no_study_is_refused_with_its_reason(words, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        digits(**words)


def test_a_lone_objective_or_constraint_is_a_list_of_one():
    alone = digits(objectives=maximize("accuracy"), constraints=at_most("size_bytes", 64_000))
    assert alone.objectives == (maximize("accuracy"),)
    assert alone.constraints == (at_most("size_bytes", 64_000),)


def test_all_faults_are_said_at_once():
    with pytest.raises(DefinitionError, match=r'missing.*"acuracy".*"bytes"'):
        digits(
            space=None,
            objectives=[maximize("acuracy")],
            constraints=[at_most("bytes", 1)],
        )


def test_an_evaluator_that_cannot_be_called_is_refused():
    with pytest.raises(DefinitionError, match="evaluator is int; expected a function of the trial"):
        Study(name="s", evaluator=3, objectives=[maximize("m")])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "declares no study"),
        (ONE.replace("study =", "a =") + ONE.replace("study =", "b ="), "declares several studies"),
        ("x = (\n", "line 1.*SyntaxError"),
        ("\n\nraise RuntimeError('luck')", "line 7, does not run .RuntimeError: luck"),
        ("space = CNN(stages=(5, 2))", "line 5, CNN: stages: .*low 5 is above high 2"),
        ("\n\nBudget()", "line 7, Budget: a budget needs a limit"),
        (ONE.replace('"accuracy"', '""'), "objective|metric|String"),
        ("raise SystemExit(3)", "does not run .SystemExit: 3"),
    ],
)
def test_a_file_that_does_not_serve_is_explained(tmp_path, text, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        load(tmp_path, (HEAD if "(\n" not in text else "") + text)


def test_a_file_that_is_not_there_or_no_python_is_explained(tmp_path):
    with pytest.raises(NotFoundError, match="there is no study file"):
        load_study_file(tmp_path / "none.py")
    (tmp_path / "study.yaml").touch()
    with pytest.raises(DefinitionError, match=r"expected one that ends in \.py"):
        load_study_file(tmp_path / "study.yaml")


def test_the_only_study_may_have_any_name_and_import_its_neighbour(tmp_path):
    (tmp_path / "neighbour_of_a_study.py").write_text("def f(trial):\n    return 1.0\n")
    declared = ONE.replace("print", "f").replace("study =", "mine =")
    study = load(tmp_path, f"{HEAD}from neighbour_of_a_study import f\n{declared}")
    assert study.name == "one"
    assert study.evaluator(None) == 1.0


def test_a_study_file_is_read_as_it_is_now_and_leaves_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "quick.py"
    text = (
        "from autosearch import Budget, Study, maximize\n"
        "study = Study(name='quick', evaluator=print, objectives=[maximize('accuracy')],"
        " budget=Budget(trials=1))\n"
    )
    for trials in (1, 7):
        path.write_text(text.replace("trials=1", f"trials={trials}"))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert load_study_file(path).budget.trials == trials
    assert [entry.name for entry in tmp_path.iterdir()] == ["quick.py"]
