import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from autosearch.data import (
    SPLITS,
    Arrays,
    Dataset,
    Digits,
    dataset_from_definition,
    stratified_split,
)
from autosearch.data.labelled import read_labelled
from autosearch.data.splits import fold_numbers
from autosearch.errors import DefinitionError


class Stripes(Dataset):
    name = "stripes"
    classes = ("light", "dark")

    def load(self, split):
        return np.full((2, 4, 4, 1), len(split), np.uint8), np.array([0, 1])


def random_images(count, *shape):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_digits_are_split_60_20_20_and_cover_every_grey_level():
    dataset = Digits()
    assert dataset.split_counts() == {"train": 1078, "validation": 359, "test": 360}
    images, labels = dataset.load("train")
    assert images.shape == (1078, 8, 8, 1)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert (images.min(), images.max(), len(np.unique(images))) == (0, 255, 17)
    assert len(dataset.classes) == 10


def test_no_digit_is_lost_or_in_two_splits_however_they_are_drawn():
    def everything(seed):
        parts = [Digits(split_seed=seed).load(split)[0] for split in SPLITS]
        return sorted(image.tobytes() for image in np.concatenate(parts))

    assert len(everything(0)) == 1797
    assert everything(0) == everything(5)


def test_loading_twice_gives_the_same_images_and_another_seed_gives_others():
    first, again, other = (Digits(s).load("validation")[0] for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_fingerprint_depends_on_contents_classes_and_split():
    images, labels = random_images(20, 6, 6, 1), [0, 1] * 10
    fingerprint = Arrays(images, labels).fingerprint()
    changed = images.copy()
    changed[3, 2, 2, 0] ^= 1
    assert Arrays(images.copy(), labels).fingerprint() == fingerprint
    assert Arrays(list(images), labels).fingerprint() == fingerprint
    assert Arrays(changed, labels).fingerprint() != fingerprint
    assert Arrays(images, labels, split_seed=1).fingerprint() != fingerprint
    assert Arrays(images, labels, classes=("a", "b")).fingerprint() != fingerprint
    assert len(fingerprint) == 64


def test_digits_come_back_from_their_definition():
    dataset = Digits(split_seed=7)
    assert dataset_from_definition(dataset.definition()) == dataset


@pytest.mark.parametrize(
    "dataset", [Arrays(random_images(20, 6, 6, 1), [0, 1] * 10, name="mine"), Stripes()]
)
def test_what_is_not_in_the_database_says_to_pass_the_study_file(dataset):
    definition = dataset.definition()
    assert definition["fingerprint"] == dataset.fingerprint()
    with pytest.raises(DefinitionError, match=f'"{dataset.name}".*--study-file'):
        dataset_from_definition(definition)


def test_a_definition_with_foreign_arguments_is_refused():
    with pytest.raises(DefinitionError, match="does not take"):
        dataset_from_definition({"kind": "digits", "colour": "red"})


@pytest.mark.parametrize("seed", [-1, 1.5, True, "0"])
def test_a_split_seed_is_a_whole_number(seed):
    with pytest.raises(DefinitionError, match="split_seed"):
        Digits(split_seed=seed)


def test_arrays_of_many_sizes_keep_their_sizes():
    images = [np.zeros((4 + i, 5, 3), np.uint8) for i in range(20)]
    dataset = Arrays(images, [0, 1] * 10)
    loaded, labels = dataset.load("test")
    assert len(loaded) == len(labels) == 4
    assert {image.shape[1:] for image in loaded} == {(5, 3)}
    assert len({image.shape[0] for image in loaded}) == 4


def test_images_without_a_channel_axis_get_one():
    images, _ = Arrays(random_images(20, 6, 6), [0, 1] * 10).load("train")
    assert images.shape == (12, 6, 6, 1)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (random_images(20, 6, 6, 1) / 255, [0, 1] * 10, "float64.*expected uint8"),
        (random_images(20, 6, 6, 2), [0, 1] * 10, r"\(20, 6, 6, 2\)"),
        ([np.zeros((6, 6), np.uint8)], [0], "image 0"),
        ([], [], "no images"),
        (random_images(20, 6, 6, 1), [0, 1] * 9, "20 whole numbers"),
        (random_images(20, 6, 6, 1), ["a", "b"] * 10, "20 whole numbers.*np.unique"),
        (random_images(20, 6, 6, 1), np.eye(2)[[0, 1] * 10], "20 whole numbers.*argmax"),
        (random_images(20, 0, 6, 1), [0, 1] * 10, r"\(20, 0, 6, 1\)"),
        (None, None, "no images"),
        (random_images(20, 6, 6, 1), [0, 2] * 10, "from 0 to 2"),
        (random_images(20, 6, 6, 1), [0, -1] * 10, "from -1 to 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(DefinitionError, match=message):
        Arrays(images, labels, classes=("a", "b"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0] * 20}, "one class"),
        ({"classes": ("a", "a")}, 'name "a" twice'),
        ({"split_seed": -1}, "split_seed -1 is no seed"),
    ],
)
def test_arrays_that_make_no_search_are_refused(arguments, message):
    with pytest.raises(DefinitionError, match=message):
        Arrays(random_images(20, 6, 6, 1), **{"labels": [0, 1] * 10, **arguments})


def test_class_names_may_be_what_numpy_answers(tmp_path):
    classes, labels = np.unique(["yes", "no"] * 10, return_inverse=True)
    images = random_images(20, 8, 8)
    assert Arrays(images, labels, classes=classes).classes == ("no", "yes")
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    dataset = Arrays.from_npz(tmp_path / "x.npz", classes=classes)
    assert json.loads(json.dumps(dataset.definition()))["classes"] == ["no", "yes"]


@pytest.mark.parametrize("given", [np.unique([3, 5]), list(np.unique([3, 5])), [3, 5], ["3", "5"]])
def test_class_names_are_texts_also_where_they_were_numbers(given, tmp_path):
    images, labels = random_images(20, 8, 8), [0, 1] * 10
    expected = Arrays(images, labels, classes=("3", "5")).fingerprint()
    dataset = Arrays(images, labels, classes=given)
    assert dataset.classes == ("3", "5")
    assert dataset.fingerprint() == expected
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    dataset = Arrays.from_npz(tmp_path / "x.npz", classes=given)
    assert json.loads(json.dumps(dataset.definition()))["classes"] == ["3", "5"]
    with pytest.raises(DefinitionError, match='name "1" twice'):
        Arrays(images, labels, classes=[1, "1"])


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (np.arange(30) % 2, None, ("0", "1")),
        (np.arange(30) % 2, ["no", "yes"], ("no", "yes")),
        (np.arange(30) % 2, [b"no", b"yes"], ("no", "yes")),
        (np.array(["no", "yes"] * 15), None, ("no", "yes")),
        (np.array(["no", "yes"] * 15), ["yes", "no"], ("yes", "no")),
    ],
)
def test_an_npz_file_is_read_alike_to_search_and_to_judge(tmp_path, labels, classes, expected):
    path = tmp_path / "x.npz"
    arrays = {} if classes is None else {"classes": np.array(classes)}
    images = random_images(30, 4, 4)
    np.savez(path, images=images, labels=labels, **arrays)
    dataset, judged = Arrays.from_npz(path), read_labelled(path)
    assert dataset.classes == judged.classes == expected
    numbers = [expected.index(x) if x in expected else x for x in labels.tolist()]
    assert judged.labels.tolist() == numbers
    for split in SPLITS:
        rows = dataset.members(split)
        assert dataset.load(split)[1].tolist() == [numbers[row] for row in rows]
    again = dataset_from_definition(json.loads(json.dumps(dataset.definition())))
    assert again.fingerprint() == dataset.fingerprint()
    # What the caller says goes before what the file says.
    names = {"no": "no!", "yes": "yes!"} if labels.dtype.kind != "U" else {}
    named = [names.get(name, name) for name in ("yes", "no")]
    assert Arrays.from_npz(path, classes=named).classes == tuple(named)


def test_an_npz_file_whose_classes_do_not_fit_is_named(tmp_path):
    path = tmp_path / "x.npz"
    labels = np.array(["no", "yes", "eel"] * 10)
    np.savez(path, images=random_images(30, 4, 4), labels=labels, classes=["no", "yes"])
    for read in (Arrays.from_npz, read_labelled):
        with pytest.raises(DefinitionError, match='labels "eel", which is none of the classes no'):
            read(path)
    np.savez(path, images=random_images(30, 4, 4), labels=labels, classes=np.eye(3))
    with pytest.raises(DefinitionError, match=r"classes of shape \(3, 3\)"):
        Arrays.from_npz(path)
    assert Arrays.from_npz(path, classes=["eel", "no", "yes"]).classes == ("eel", "no", "yes")


def test_an_npz_files_arrays_of_any_name_and_kind_are_read_or_named(tmp_path):
    path, images = tmp_path / "x.npz", random_images(30, 4, 4)
    numbers = np.arange(30) % 2
    # What holds the labels is no list of names.
    np.savez(path, images=images, classes=numbers)
    assert Arrays.from_npz(path, labels="classes").classes == ("0", "1")
    # What is not needed is not read.
    np.savez(path, images=images, labels=numbers, classes=np.array(["a", None], dtype=object))
    assert Arrays.from_npz(path, classes=["cat", "dog"]).classes == ("cat", "dog")
    with pytest.raises(DefinitionError, match=r'"classes" of ".*x\.npz" holds no plain arrays'):
        Arrays.from_npz(path)
    np.savez(path, images=images, labels=numbers, classes=np.array(["a", "b"])[numbers])
    with pytest.raises(DefinitionError, match=r'x.npz" the 30 classes name "a" twice.*classes=\['):
        Arrays.from_npz(path)
    in_bytes = np.array(["é".encode(), b"b"])
    np.savez(path, images=images, labels=in_bytes[numbers], side=in_bytes[numbers])
    dataset = Arrays.from_npz(path, groups=["side"])
    assert dataset.classes == ("b", "é")
    assert set(dataset.groups("train")["side"]) == {"b", "é"}
    np.savez(path, images=images, labels=np.array([b"\xff", b"b"])[numbers])
    with pytest.raises(DefinitionError, match="no text in UTF-8"):
        Arrays.from_npz(path)
    np.savez(path, images=images, labels=numbers, side=np.int64(3))
    with pytest.raises(DefinitionError, match=r"the shape \(\); expected \(30,\)"):
        Arrays.from_npz(path, groups=["side"])


def test_copies_that_leave_a_side_without_a_class_are_refused():
    images, labels = random_images(55, 4, 4), np.repeat([0, 1, 2], [25, 25, 5])
    images[51:55] = images[50]
    with pytest.raises(DefinitionError, match='class "2" has 5 images that belong together'):
        Arrays(images, labels)


def test_an_npz_file_damaged_within_its_packed_bytes_is_named(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=random_images(200, 8, 8) // 9, labels=np.arange(200) % 2)
    contents = bytearray(path.read_bytes())
    contents[500] ^= 0xFF
    path.write_bytes(contents)
    for read in (Arrays.from_npz, read_labelled):
        with pytest.raises(DefinitionError, match="no plain arrays"):
            read(path)


def test_importing_the_data_package_loads_neither_tensorflow_nor_optuna():
    code = (
        "import sys, autosearch.data;"
        "print([m for m in ('tensorflow', 'keras', 'optuna', 'sklearn') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr


def arrays_with_groups(**words):
    labels = np.arange(120) % 2
    return Arrays(
        np.arange(120, dtype=np.uint8).repeat(16).reshape(-1, 4, 4), labels,
        groups={"camera": [f"c{i % 3}" for i in range(120)], "patient": np.arange(120) // 6},
        **words,
    )  # fmt: skip


@pytest.mark.parametrize("group", [None, "patient"])
def test_groups_of_arrays_follow_their_images(group):
    dataset = arrays_with_groups(group=group)
    assert dataset.group_columns == ("camera", "patient")
    sides = {}
    for split in ("train", "validation", "test"):
        rows = [int(image[0, 0, 0]) for image in dataset.load(split)[0]]
        groups = dataset.groups(split)
        assert groups["camera"] == [f"c{row % 3}" for row in rows]
        assert groups["patient"] == [str(row // 6) for row in rows]
        sides[split] = set(groups["patient"])
    is_torn = bool(sides["train"] & sides["test"] or sides["validation"] & sides["test"])
    assert is_torn == (group is None)


def test_groups_of_arrays_stay_together_in_folds_too():
    patients = [f"p{number // 6}" for number in range(120)]
    words = {"groups": {"patient": patients}, "group": "patient"}
    dataset = Arrays(random_images(120, 4, 4), np.arange(120) % 2, **words)
    labels = np.concatenate([dataset.load(split)[1] for split in SPLITS[:2]])
    of_image = [p for split in SPLITS[:2] for p in dataset.groups(split)["patient"]]
    folds = fold_numbers(labels, dataset.clusters(SPLITS[:2]), folds=4, seed=0)
    assert len(set(zip(of_image, folds.tolist(), strict=True))) == len(set(of_image))


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("group", [None, "patient"])
def test_copies_of_an_image_stay_on_one_side_of_the_split_and_in_one_fold(as_list, group):
    images = np.tile(random_images(100, 6, 6), (2, 1, 1))
    labels = np.tile(np.arange(100) % 3, 2)
    # The copies of each ten images are of two patients, which the copies join.
    words = {} if group is None else {"groups": {"patient": np.arange(200) // 10}, "group": group}
    dataset = Arrays(list(images[..., np.newaxis]) if as_list else images, labels, **words)
    side = {row % 100: split for split in SPLITS for row in dataset.members(split)}
    for split in SPLITS:
        assert {side[row % 100] for row in dataset.members(split)} == {split}
    assert all(count > 20 for count in dataset.split_counts().values())
    rows = [row for split in SPLITS[:2] for row in dataset.members(split)]
    loaded = np.concatenate([dataset.load(split)[1] for split in SPLITS[:2]])
    folds = fold_numbers(loaded, dataset.clusters(SPLITS[:2]), folds=4, seed=0)
    pairs = {(row % 100, fold) for row, fold in zip(rows, folds.tolist(), strict=True)}
    assert len(pairs) == len(rows) / 2


def test_arrays_without_copies_are_split_as_they_ever_were():
    labels = np.arange(60) % 3
    drawn = stratified_split(labels, seed=3)
    # The same bytes in another shape are another image.
    images = [*random_images(59, 4, 6, 1), random_images(59, 4, 6, 1)[0].reshape(6, 4, 1)]
    dataset = Arrays(images, labels, split_seed=3)
    assert all(dataset.members(split) == drawn[split].tolist() for split in SPLITS)


def test_arrays_of_one_image_alone_cannot_be_split():
    with pytest.raises(DefinitionError, match=r"10 images that belong together \(a group, copies"):
        Arrays(np.zeros((20, 4, 4), np.uint8), [0, 1] * 10)


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT, ""])
def test_images_without_a_value_belong_to_no_group(missing):
    values = [missing] * 60 + [f"p{number // 6}" for number in range(60)]
    dataset = Arrays(
        random_images(120, 4, 4), np.arange(120) % 2, groups={"patient": values}, group="patient"
    )
    assert len(np.unique(dataset.clusters(SPLITS))) == 70
    assert {value for s in SPLITS for value in dataset.groups(s)["patient"]} == {
        "", *(f"p{number}" for number in range(10))
    }  # fmt: skip


def test_numbers_of_groups_in_an_npz_file_may_be_missing(tmp_path):
    values = np.where(np.arange(60) < 30, np.nan, np.arange(60) // 6)
    cameras = np.array([b"left", b"right"] * 30)
    np.savez(
        tmp_path / "x.npz",
        images=random_images(60, 4, 4), labels=np.arange(60) % 2, site=values, camera=cameras,
    )  # fmt: skip
    dataset = Arrays.from_npz(tmp_path / "x.npz", groups=["site", "camera"], group="site")
    found = {column: {v for s in SPLITS for v in dataset.groups(s)[column]}
             for column in dataset.group_columns}  # fmt: skip
    assert found["site"] == {"", "5.0", "6.0", "7.0", "8.0", "9.0"}
    assert found["camera"] == {"left", "right"}


def test_groups_of_arrays_must_fit():
    images = random_images(6, 4, 4)
    with pytest.raises(DefinitionError, match='group column "a" has 1 values; expected 6'):
        Arrays(images, [0, 1] * 3, groups={"a": ["x"]})
    with pytest.raises(DefinitionError, match='group "b" is none of the columns'):
        Arrays(images, [0, 1] * 3, groups={"a": "xxyyzz"}, group="b")
    with pytest.raises(DefinitionError, match="split_seed -1 is no seed"):
        Arrays(images, [0, 1] * 3, split_seed=-1, groups={"a": "xxyyzz"}, group="a")


def test_groups_in_an_npz_file_come_back_from_the_definition(tmp_path):
    path = tmp_path / "x.npz"
    images = random_images(60, 4, 4)
    np.savez(path, images=images, labels=np.arange(60) % 2, site=np.arange(60) // 4)
    dataset = Arrays.from_npz(path, groups=["site"], group="site")
    again = dataset_from_definition(json.loads(json.dumps(dataset.definition())))
    assert again.groups("test") == dataset.groups("test")
    with pytest.raises(DefinitionError, match='expected "images" and "labels" and "camera"'):
        Arrays.from_npz(path, groups=["camera"])
