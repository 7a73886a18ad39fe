"""How a folder's sub-folders are read: as classes, as a split, or as neither."""

import re

import pytest

from autosearch.data import ImageFolder
from autosearch.errors import DefinitionError


def test_a_class_may_begin_with_underscores(tmp_path, fill_folder):
    fill_folder(tmp_path, {"__odd": 6, "plain": 6})
    dataset = ImageFolder(tmp_path)
    assert dataset.classes == ("__odd", "plain")
    assert sum(dataset.split_counts().values()) == 12


@pytest.mark.parametrize("name", [".cache", "__MACOSX", "@eaDir"])
def test_what_systems_leave_behind_is_no_class_and_no_photo(photos, fill_folder, name):
    fill_folder(photos, {name: 2, f"cat/{name}": 2}, start=500)
    dataset = ImageFolder(photos)
    assert dataset.classes == ("cat", "dog")
    assert sum(dataset.split_counts().values()) == 30
    assert len(dataset.listing.ignored) == 4


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (("train", "val", "other"), r'gives a split \(train, val\) and has images in "other"'),
        (("val", "test"), r"gives a split \(test, val\) without train; expected train"),
        (("train", "val", "valid"), r"two folders for the same part \(train, val, valid\)"),
    ],
)
def test_a_split_that_is_none_is_refused_and_no_class(tmp_path, fill_folder, folders, sentence):
    fill_folder(tmp_path, {f"{name}/{label}": 3 for name in folders for label in "ab"})
    with pytest.raises(DefinitionError, match=sentence):
        ImageFolder(tmp_path)


@pytest.mark.parametrize("name", ["test", "Testing", "val"])
def test_a_part_whose_images_are_in_no_class_is_refused_and_no_class(tmp_path, fill_folder, name):
    fill_folder(tmp_path, {"train/cat": 6, "train/dog": 6, name: 6})
    with pytest.raises(DefinitionError, match=rf'gives a split \(train\) .* images in "{name}"'):
        ImageFolder(tmp_path)


def test_a_part_of_an_unknown_name_is_refused_and_no_class(tmp_path, fill_folder):
    fill_folder(tmp_path, {f"{part}/{name}": 3 for part in ("train", "dev") for name in "ab"})
    with pytest.raises(DefinitionError, match=r'gives a split \(train\) .* images in "dev"'):
        ImageFolder(tmp_path)


def test_train_may_be_a_class_beside_others(tmp_path, fill_folder):
    fill_folder(tmp_path, {"train/old": 6, "bus": 6})
    assert ImageFolder(tmp_path).classes == ("bus", "train")


def test_the_folder_within_a_folder_is_proposed(photos):
    inner = photos.rename(photos.parent / "inner")
    outer = photos.parent / "outer"
    outer.mkdir()
    inner.rename(outer / "inner")
    question = re.escape(f'did you mean "{outer / "inner"}"?')
    with pytest.raises(DefinitionError, match=rf'one sub-folder, "inner"; .*{question}'):
        ImageFolder(outer)


def test_a_class_whose_files_are_all_broken_says_why(photos):
    for path in (photos / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DefinitionError, match=r'"dog".*10 unusable: dog/\S+ is empty: 0 bytes'):
        ImageFolder(photos).split_counts()


def test_one_group_of_all_images_cannot_be_split(photos):
    with pytest.raises(DefinitionError, match=r'to one group, copies .* "validation" gets none'):
        ImageFolder(photos, group="png").split_counts()


def test_a_group_that_no_path_has_is_refused(photos):
    with pytest.raises(DefinitionError, match=r"group 'Patient.*is in none of the 30 paths, such"):
        ImageFolder(photos, group=r"Patient-(\d+)")
