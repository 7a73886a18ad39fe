"""Figures by group: from the same rows as the images, and none that chance alone makes."""

import json

import numpy as np
import pytest
from PIL import Image

import autosearch
from autosearch.data import Digits, ImageFolder, Manifest
from autosearch.errors import DefinitionError
from autosearch.evaluation.groups import MIN_GROUP_IMAGES, Groups

POOL = "(groups of fewer than 20 images)"


def predictions(*wanted):
    return np.eye(2)[list(wanted)]


def test_the_worst_group_is_that_of_lowest_accuracy_in_any_column():
    labels = np.zeros(80, np.int64)
    # The first 40 are right, of the other 40 each fourth is.
    outputs = predictions(*([0] * 40), *([0, 1, 1, 1] * 10))
    camera = ["a"] * 40 + ["b"] * 40
    site = ["x", "y"] * 40
    found = Groups({"camera": camera, "site": site}).figures(labels, outputs)
    assert found.worst_accuracy == 0.25
    assert found.reason is None
    worst = found.figures["worst_group"]
    assert (worst["column"], worst["group"], worst["support"]) == ("camera", "b", 40)
    assert worst["accuracy_low"] < 0.25 < worst["accuracy_high"]
    assert found.figures["per_group"]["site"]["y"]["accuracy"] == 0.5
    assert set(found.figures["per_group"]["camera"]["a"]) >= {
        "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "support",
    }  # fmt: skip
    assert json.loads(json.dumps(found.figures)) == found.figures


def test_many_tiny_groups_give_no_worst_group_rather_than_zero():
    groups = {"patient": [f"p{i // 6}" for i in range(7800)]}
    labels = np.zeros(7800, np.int64)
    outputs = predictions(*(np.random.default_rng(0).random(7800) < 0.3).astype(int))
    found = Groups(groups).figures(labels, outputs)
    assert found.worst_accuracy is None
    assert "no group has 20 images" in found.reason
    assert found.figures == {}
    assert Groups(groups).counted() is None


def test_a_column_of_names_costs_no_figures_beside_one_of_groups():
    groups = {"": list(map(str, range(60))), "camera": ["a", "b", "b"] * 20}
    labels, outputs = np.zeros(60, np.int64), predictions(*([0, 0, 1] * 20))
    found = Groups(groups).figures(labels, outputs)
    assert found.worst_accuracy == 0.5
    assert set(found.figures["per_group"]) == {"camera"}
    assert Groups(groups).counted().tolist() == [[0], [1], [1]] * 20


def test_of_many_groups_the_largest_are_shown_and_the_worst():
    groups = {"patient": [f"p{i % 59}" for i in range(59 * 20)] + ["p0"] * 5}
    labels = np.zeros(len(groups["patient"]), np.int64)
    outputs = predictions(*(int(value == "p58") for value in groups["patient"]))
    found = Groups(groups).figures(labels, outputs)
    assert {"p0", "p58"} < set(found.figures["per_group"]["patient"])
    assert found.figures["num_groups_not_shown"] == {"patient": 8}


def test_small_groups_count_together():
    groups = {"camera": ["big"] * 30 + [f"rare{i // 2}" for i in range(20)]}
    labels = np.zeros(50, np.int64)
    found = Groups(groups).figures(labels, predictions(*([0] * 30), *([0, 1] * 10)))
    assert found.worst_accuracy == 0.5
    assert found.figures["worst_group"]["group"] == POOL
    figures = found.figures["per_group"]["camera"]
    assert figures[POOL]["support"] == 20
    assert (figures["rare3"]["counts"], figures["rare3"]["support"]) == (False, 2)


def test_a_group_counts_from_twenty_images_on():
    labels, outputs = np.zeros(41, np.int64), predictions(*([0] * 21), *([1] * 20))
    groups = {"camera": ["a"] * 21 + ["b"] * 20}
    assert Groups(groups).figures(labels, outputs).worst_accuracy == 0.0
    groups = {"camera": ["a"] * 22 + ["b"] * 19}
    assert Groups(groups).figures(labels, outputs).worst_accuracy == pytest.approx(21 / 22)
    assert MIN_GROUP_IMAGES == 20


def test_an_image_without_a_value_is_in_no_group():
    labels, outputs = np.zeros(60, np.int64), predictions(*([0] * 30), *([1] * 30))
    found = Groups({"camera": ["a"] * 30 + [""] * 30}).figures(labels, outputs)
    assert found.worst_accuracy == 1.0
    assert list(found.figures["per_group"]["camera"]) == ["a"]


@pytest.mark.parametrize("groups", [{}, {"camera": ["", ""]}])
def test_without_groups_there_is_a_reason(groups):
    assert Groups(groups).reason == "the dataset has no groups"
    found = Groups(groups).figures(np.array([0, 1]), np.eye(2))
    assert (found.worst_accuracy, dict(found.figures)) == (None, {})


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match='Got 1 values of the group column "a"; expected 2'):
        Groups({"a": ["x"]}).figures(np.array([0, 1]), np.eye(2))


def write_photos(folder, per_class=75, cameras=("left", "right")):
    """Pictures of two classes, of cameras in turn, and the table that lists them."""
    rng = np.random.default_rng(0)
    lines = ["path,label,camera"]
    for index in range(2 * per_class):
        label = ("dark", "light")[index % 2]
        camera = cameras[(index // 2) % len(cameras)]
        low = 0 if label == "dark" else 150
        pixels = rng.integers(low, low + 100, (8, 8, 1), dtype=np.uint8)
        path = folder / label / f"{camera}_{rng.integers(10**9)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(path)
        lines.append(f"{path.relative_to(folder)},{label},{camera}")
    table = folder / "table.csv"
    table.write_text("\n".join(lines))
    return table


@pytest.mark.parametrize("kind", ["folder", "manifest"])
def test_groups_stand_in_the_order_of_the_images(tmp_path, kind):
    table = write_photos(tmp_path, per_class=40, cameras=[f"cam{i}" for i in range(10)])
    if kind == "manifest":
        dataset, column = Manifest(table, keep_alike_together=False), "camera"
    else:
        dataset = ImageFolder(tmp_path, group=r"cam\d+", keep_alike_together=False)
        column = "group"
    assert dataset.group_columns == (column,)
    for split in ("train", "validation", "test"):
        paths = dataset.paths(split)
        assert dataset.groups(split)[column] == [p.split("/")[1].split("_")[0] for p in paths]
    with pytest.raises(DefinitionError, match="is not known"):
        dataset.groups("tests")


def grouped_study(dataset, metric="worst_group_accuracy"):
    return autosearch.Study(
        name="grouped",
        dataset=dataset,
        space=autosearch.SearchSpace(
            preprocessing={"size": 8, "color": "greyscale"},
            architecture={"stages": 1, "width": 4, "block": "plain", "attention": "none"},
            training={"epochs": 1, "batch_size": 16},
            quantization={"schemes": ["float32"]},
        ),
        objectives=[autosearch.maximize(metric)],
        budget=autosearch.Budget(trials=1),
    )


def test_the_worst_group_is_an_objective_like_any_other(tmp_path):
    table = write_photos(tmp_path, per_class=120)
    study = grouped_study(Manifest(table, keep_alike_together=False))
    view = autosearch.run(study, storage=f"sqlite:///{tmp_path / 'x.db'}")
    (row,) = view.front_frame().to_dict("records")
    figures = row["conditions"]["per_group"]["camera"]
    assert row["worst_group_accuracy"] == min(f["accuracy"] for f in figures.values())
    assert sum(f["support"] for f in figures.values()) == row["conditions"]["num_validation_images"]


def test_a_study_that_asks_for_groups_where_none_are_does_not_begin(tmp_path):
    with pytest.raises(DefinitionError, match='needs groups, and dataset "digits" has none'):
        grouped_study(Digits())
    assert grouped_study(Digits(), "accuracy").name == "grouped"


def test_a_study_whose_groups_are_all_too_small_stops_at_once(tmp_path):
    table = write_photos(tmp_path, per_class=20)
    study = grouped_study(Manifest(table, keep_alike_together=False))
    with pytest.raises(autosearch.errors.StudyError, match="no group has 20 images"):
        autosearch.run(study, storage=f"sqlite:///{tmp_path / 'x.db'}")
