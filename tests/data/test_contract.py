"""What every dataset keeps to, whatever its kind."""

import csv
import gzip

import numpy as np
import pytest

from autosearch.data import (
    SPLITS,
    Arrays,
    Digits,
    Idx,
    ImageFolder,
    KerasDataset,
    Manifest,
    TensorFlowDataset,
    dataset_from_definition,
    prepare_all,
)
from autosearch.errors import DefinitionError, StudyError


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    contents = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(contents) if path.suffix == ".gz" else contents)


def write_mnist(folder, num_train=30, num_test=10, labels=(0, 1)):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix, count, suffix in (("train", num_train, ".gz"), ("t10k", num_test, "")):
        images = rng.integers(0, 256, (count, 6, 5))
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(
            folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.resize(np.array(labels), count)
        )
    return folder


def write_manifest(folder, file):
    with file.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["path", "label", "camera"])
        for index, path in enumerate(sorted(folder.rglob("*.png"))):
            writer.writerow([path.relative_to(file.parent), path.parent.name, index // 2])
    return file


def prepare_tensorflow_dataset(folder, rows=None, *, dtype=np.uint8, channels=3):
    """A dataset of two splits, as anyone may prepare one; Windows has no package for it."""
    tfds = pytest.importorskip("tensorflow_datasets")
    rng = np.random.default_rng(0)
    rows = rows or [
        {
            "image": rng.integers(0, 256, (6 + i % 3, 5, 3), dtype=np.uint8),
            "label": ("circle", "square")[i % 2],
        }
        for i in range(40)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="shapes",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, channels), dtype=dtype),
                "label": tfds.features.ClassLabel(names=["circle", "square"]),
            }
        ),
        split_datasets={
            "train": list(enumerate(rows[:30])),
            "test": list(enumerate(rows[30:])),
        },
        data_dir=folder,
    )
    return folder


@pytest.fixture(params=["digits", "arrays", "npz", "idx", "folder", "given", "manifest", "tfds"])
def dataset(request, tmp_path, fill_folder):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8), np.arange(30) % 3
    if request.param == "digits":
        return Digits(split_seed=3)
    if request.param == "arrays":
        return Arrays(images, labels)
    if request.param == "npz":
        np.savez(tmp_path / "some.npz", images=images, labels=labels)
        return Arrays.from_npz(tmp_path / "some.npz", classes=["a", "b", "c"])
    if request.param == "idx":
        return Idx(write_mnist(tmp_path / "mnist"))
    if request.param == "tfds":
        return TensorFlowDataset("shapes", data_dir=prepare_tensorflow_dataset(tmp_path))
    if request.param == "given":
        for start, split in ((0, "train"), (100, "val"), (200, "test")):
            fill_folder(tmp_path / "given" / split, {"cat": 4, "dog": 3}, start)
        return ImageFolder(tmp_path / "given")
    folder = fill_folder(tmp_path / "photos", {"cat": 20, "dog": 10})
    if request.param == "folder":
        return ImageFolder(folder, split_seed=2, group=r"\d(?=\.png)")
    return Manifest(write_manifest(folder, tmp_path / "photos.csv"), group="camera")


def test_images_are_uint8_with_one_or_three_channels_and_labels_index_the_classes(dataset):
    for split in SPLITS:
        images, labels = dataset.load(split)
        assert len(images) == len(labels) > 0
        assert labels.dtype == np.int64
        assert 0 <= labels.min() <= labels.max() < len(dataset.classes)
        for image in (images[0], images[len(images) - 1]):
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[-1] in (1, 3)


def test_slices_and_iteration_give_what_indexing_gives(dataset):
    images, _ = dataset.load("train")
    assert len(images[:3]) == 3
    for index, image in enumerate(images[:3]):
        assert np.array_equal(image, images[index])


def test_every_class_is_in_every_split(dataset):
    for split in SPLITS:
        assert set(dataset.load(split)[1]) == set(range(len(dataset.classes)))


def test_split_counts_are_the_lengths_of_what_is_loaded(dataset):
    assert dataset.split_counts() == {split: len(dataset.load(split)[1]) for split in SPLITS}


def test_loading_again_gives_the_same(dataset):
    (first, labels), (again, labels_again) = dataset.load("test"), dataset.load("test")
    assert np.array_equal(labels, labels_again)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(DefinitionError, match='"holdout" is not known'):
        dataset.load("holdout")


def test_the_definition_makes_the_dataset_again_if_it_can_be_had_without_code(dataset):
    definition = dataset.definition()
    if definition["kind"] == "arrays":
        with pytest.raises(DefinitionError, match="--study-file"):
            dataset_from_definition(definition)
        return
    again = dataset_from_definition(definition)
    assert again.fingerprint() == dataset.fingerprint()
    assert again.definition() == definition
    assert (again.name, again.classes) == (dataset.name, dataset.classes)


def test_the_fingerprint_is_the_same_in_another_object(dataset):
    assert len(dataset.fingerprint()) == 64
    assert dataset.fingerprint() == dataset.fingerprint()


def test_any_split_can_be_prepared_for_a_network(dataset):
    images, labels = dataset.load("validation")
    prepared = prepare_all(images, size=4, color="rgb", resize="bilinear", fit="crop")
    assert prepared.shape == (len(labels), 4, 4, 3)


def test_a_keras_dataset_without_a_network_says_what_to_do(monkeypatch, tmp_path):
    pipeline = pytest.importorskip("autosearch.data.pipeline")

    def fail(name):
        raise Exception(f"URL fetch failure on https://example.org/{name}.npz")

    monkeypatch.setattr(pipeline, "download_keras_dataset", fail)
    dataset = KerasDataset("mnist", split_seed=4)
    assert dataset_from_definition(dataset.definition()).split_seed == 4
    with pytest.raises(StudyError, match=r'"mnist".*cannot be downloaded.*ImageFolder\(path\)'):
        dataset.load("train")


def test_a_keras_dataset_of_an_unknown_name_is_refused():
    with pytest.raises(DefinitionError, match=r"imagenet.*cifar10"):
        KerasDataset("imagenet")


def test_idx_files_that_are_none_are_named(tmp_path):
    folder = write_mnist(tmp_path / "mnist")
    labels = folder / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(DefinitionError, match="9 values; its header promises 10"):
        Idx(folder).load("test")
    labels.write_bytes(b"hello")
    with pytest.raises(DefinitionError, match="no IDX file"):
        Idx(folder).load("test")


def test_idx_labels_need_not_begin_at_nought(tmp_path):
    folder = write_mnist(tmp_path / "letters", labels=(1, 2, 4))
    dataset = Idx(folder)
    assert dataset.classes == ("1", "2", "4")
    assert set(dataset.load("train")[1].tolist()) == {0, 1, 2}
    assert dataset.load("test")[1].tolist() == [0, 1, 2] * 3 + [0]
    assert sorted(dataset.members("train") + dataset.members("validation")) == list(range(30))
    named = Idx(folder, classes=["a", "b", "d"])
    assert named.classes == ("a", "b", "d")
    assert named.load("test")[1].tolist() == dataset.load("test")[1].tolist()


@pytest.mark.parametrize("classes", [list("abcd"), list("ab"), []])
def test_idx_classes_are_a_name_for_each_label_that_occurs(tmp_path, classes):
    folder = write_mnist(tmp_path / "letters", labels=(1, 2, 4))
    with pytest.raises(DefinitionError, match=r"are 1, 2, 4; expected a name for each of these"):
        Idx(folder, classes=classes)


def test_an_idx_label_that_is_not_trained_on_is_named(tmp_path):
    folder = write_mnist(tmp_path / "letters", labels=(1, 2))
    write_idx(folder / "t10k-labels-idx1-ubyte", np.resize([1, 3], 10))
    with pytest.raises(DefinitionError, match="test images with label 3, which no training image"):
        Idx(folder).load("test")


def test_an_npz_file_without_the_arrays_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "some.npz", x=np.zeros(3))
    with pytest.raises(DefinitionError, match=r"\['x'\]; expected \"images\" and \"labels\""):
        Arrays.from_npz(tmp_path / "some.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DefinitionError, match=r"no \.npz file"):
        Arrays.from_npz(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DefinitionError, match=r"no \.npz file; write one with"):
        Arrays.from_npz(tmp_path / "one.npy")


def test_a_tensorflow_dataset_keeps_its_own_splits_and_draws_what_it_lacks(tmp_path):
    dataset = TensorFlowDataset("shapes", data_dir=prepare_tensorflow_dataset(tmp_path))
    assert dataset.classes == ("circle", "square")
    assert dataset.split_counts() == {"train": 24, "validation": 6, "test": 10}


def test_tensorflow_images_without_a_class_are_left_out_and_16_bits_scaled(tmp_path):
    rows = [{"image": np.full((4, 4, 1), 257 * i, np.uint16), "label": i % 2} for i in range(40)]
    for row in rows[30:]:
        row["label"] = -1
    folder = prepare_tensorflow_dataset(tmp_path, rows, dtype=np.uint16, channels=1)
    dataset = TensorFlowDataset("shapes", data_dir=folder)
    assert dataset.split_counts() == {"train": 18, "validation": 6, "test": 6}
    for split in SPLITS:
        images, labels = dataset.load(split)
        assert [int(image[0, 0, 0]) % 2 for image in images] == labels.tolist()
        assert {image.dtype for image in images} == {np.dtype(np.uint8)}


def test_a_tensorflow_dataset_that_is_nowhere_is_said_in_a_sentence(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(StudyError, match="is not on this machine and cannot be downloaded"):
        TensorFlowDataset("no_such_dataset_anywhere", data_dir=tmp_path)
