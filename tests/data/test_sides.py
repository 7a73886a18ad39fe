"""Which side of the split an image is on, and that its like is there too."""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from autosearch.data import SPLITS, ImageFolder, Manifest, dataset_from_definition, grouped_split
from autosearch.data.duplicates import bursts, clusters, near_duplicates
from autosearch.data.files import describe_growth
from autosearch.data.photos import Photo
from autosearch.errors import DefinitionError, NotFoundError


def side_of(dataset):
    return {path: split for split in SPLITS for path in dataset.paths(split)}


@given(
    groups=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=30, max_size=60),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_no_group_is_torn_and_no_image_lost(groups, seed):
    labels = np.array([label for group in groups for label in group] + [0, 1, 2, 3, 4] * 3)
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    numbers = np.concatenate([numbers, 1000 + np.arange(15)])
    parts = grouped_split(labels, numbers, seed=seed)
    together = np.concatenate([parts[split] for split in SPLITS])
    assert np.array_equal(np.sort(together), np.arange(len(labels)))
    seen = [set(numbers[parts[split]]) for split in SPLITS]
    assert sum(map(len, seen)) == len(set.union(*seen))
    for split in SPLITS:
        assert set(labels[parts[split]]) == {0, 1, 2, 3, 4}
    again = grouped_split(labels, numbers, seed=seed)
    assert all(np.array_equal(parts[split], again[split]) for split in SPLITS)


def test_many_groups_of_many_unbalanced_classes_keep_their_shares():
    rng = np.random.default_rng(0)
    weights = 1 / np.linspace(1, 25, 102)
    labels = rng.choice(102, 8000, p=weights / weights.sum())
    groups = rng.integers(0, 1300, 8000)
    parts = grouped_split(labels, groups, seed=0)
    counts = np.stack([np.bincount(labels[parts[split]], minlength=102) for split in SPLITS])
    shares = counts / counts.sum(axis=0)
    assert np.abs(shares - np.array([[0.6], [0.2], [0.2]])).max() < 0.1
    assert np.abs(counts.sum(axis=1) / 8000 - (0.6, 0.2, 0.2)).max() < 0.01


def test_a_class_of_one_group_is_in_training_or_refused():
    labels, groups = [0] * 30 + [1] * 5, [*range(30), *[99] * 5]
    with pytest.raises(DefinitionError, match='class "1" has 5 images that belong together'):
        grouped_split(labels, groups, seed=0)
    parts = grouped_split(labels, groups, seed=0, every_class_everywhere=False)
    assert set(range(30, 35)) <= set(parts["train"].tolist())


def test_clusters_join_through_others():
    assert clusters(6, [[4, 5], [0, 3], [3, 5]]).tolist() == [0, 1, 2, 0, 0, 0]


def test_copies_of_a_picture_stay_on_its_side(photos, make_scene):
    originals = sorted(photos.rglob("*.png"))[:12]
    for path in originals:
        image = Image.open(path)
        shutil.copy(path, path.with_name(f"{path.stem}-copy.png"))
        image.save(path.with_name(f"{path.stem}-again.jpg"), quality=60)
        image.resize((80, 60)).save(path.with_name(f"{path.stem}-large.webp"))
        ImageEnhance.Brightness(image).enhance(0.9).save(path.with_name(f"{path.stem}-dark.bmp"))
    for seed in range(3):
        side = side_of(ImageFolder(photos, split_seed=seed))
        assert len(side) == 30 + 48
        for path in originals:
            stem = f"cat/{path.stem}"
            names = ("-copy.png", "-again.jpg", "-large.webp", "-dark.bmp")
            assert {side[stem + name] for name in names} == {side[f"{stem}.png"]}


def test_different_pictures_are_no_duplicates(photos):
    survey = ImageFolder(photos).survey
    assert survey.duplicates == survey.near_duplicates == survey.bursts == ()


def test_photos_of_one_camera_within_seconds_are_a_burst():
    taken = [(0.0, "a"), (1.0, "a"), (3.0, "a"), (9.0, "a"), (1.0, "b"), (None, "")]
    found = [Photo("x", taken=when, camera=camera) for when, camera in taken]
    assert bursts(found) == [[0, 1, 2]]
    assert bursts([Photo("x", taken=5.0)] * 21) == []


def test_exif_times_are_read(tmp_path, fill_folder, make_scene):
    folder = fill_folder(tmp_path / "photos", {"cat": 6, "dog": 6})
    for index in range(6):
        exif = Image.Exif()
        exif[0x0110] = "Camera"
        exif.get_ifd(0x8769)[36867] = f"2024:05:01 12:00:{10 * (index // 2) + index % 2:02}"
        make_scene(300 + index).save(folder / "cat" / f"burst{index}.jpg", exif=exif)
    dataset = ImageFolder(folder)
    assert len(dataset.survey.bursts) == 3
    side = side_of(dataset)
    assert all(side[f"cat/burst{i}.jpg"] == side[f"cat/burst{i + 1}.jpg"] for i in (0, 2, 4))


def test_given_splits_are_respected_and_missing_ones_drawn_from_train(tmp_path, fill_folder):
    root = tmp_path / "photos"
    fill_folder(root / "train", {"cat": 20, "dog": 20})
    fill_folder(root / "Test", {"cat": 4, "dog": 5}, start=100)
    dataset = ImageFolder(root)
    assert dataset.split_counts() == {"train": 30, "validation": 10, "test": 9}
    assert all(path.startswith("Test/") for path in dataset.paths("test"))
    fill_folder(root / "val", {"cat": 3, "dog": 2}, start=200)
    dataset = ImageFolder(root)
    assert dataset.split_counts() == {"train": 40, "validation": 5, "test": 9}
    assert dataset.classes == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path, fill_folder):
    folder = fill_folder(tmp_path / "vehicles", {"train": 6, "bus": 6})
    assert ImageFolder(folder).classes == ("bus", "train")
    fill_folder(folder / "train", {"steam": 3}, start=50)
    assert ImageFolder(folder).classes == ("bus", "train")


def test_labels_of_the_test_split_change_nothing_in_training(tmp_path, fill_folder):
    root = tmp_path / "photos"
    for start, split in ((0, "train"), (100, "val"), (200, "test")):
        fill_folder(root / split, {"cat": 6, "dog": 6}, start)
    before = [ImageFolder(root).load(split) for split in ("train", "validation")]
    first = next((root / "test" / "cat").iterdir())
    second = next((root / "test" / "dog").iterdir())
    first.rename(root / "test" / "dog" / first.name)
    second.rename(root / "test" / "cat" / second.name)
    after = [ImageFolder(root).load(split) for split in ("train", "validation")]
    for (images, labels), (images_after, labels_after) in zip(before, after, strict=True):
        assert np.array_equal(labels, labels_after)
        assert all(np.array_equal(a, b) for a, b in zip(images, images_after, strict=True))


def test_names_decide_nothing(photos, tmp_path):
    before = ImageFolder(photos)
    moved = tmp_path / "elsewhere"
    shutil.copytree(photos, moved)
    for number, path in enumerate(sorted(moved.rglob("*.png"), reverse=True)):
        path.rename(path.with_name(f"new{number}.PNG"))
    after = ImageFolder(moved)
    assert after.fingerprint() == before.fingerprint()
    assert after.sides() == before.sides()


def test_the_fingerprint_covers_contents_class_and_split(photos, make_scene):
    before = ImageFolder(photos).fingerprint()
    assert ImageFolder(photos, split_seed=1).fingerprint() != before
    make_scene(777).save(photos / "cat" / "0003.png")
    assert ImageFolder(photos).fingerprint() != before


def test_in_a_grown_folder_known_images_keep_their_side(photos, fill_folder):
    before = ImageFolder(photos).sides()
    fill_folder(photos, {"cat": 5, "dog": 5}, start=400)
    copied = sorted((photos / "cat").iterdir())[0]
    shutil.copy(copied, photos / "cat" / "copy.png")
    grown = ImageFolder(photos, known_sides=before)
    after = grown.sides()
    assert all(after[sha256] == split for sha256, split in before.items())
    assert side_of(grown)["cat/copy.png"] == side_of(grown)[f"cat/{copied.name}"]
    assert describe_growth(before, after).startswith("10 images were added, 0 removed, 0 moved")
    assert min(grown.split_counts().values()) > min(ImageFolder(photos).split_counts().values()) - 3
    assert ImageFolder(photos).sides() != after


def write(path, rows, columns=("path", "label", "split", "camera")):
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_a_manifest_groups_by_a_column_and_lists_what_it_lacks(photos):
    paths = sorted(photos.rglob("*.png"))
    rows = [[p.relative_to(photos), p.parent.name, "", i % 10] for i, p in enumerate(paths)]
    rows += [["gone.png", "cat", "", 1], [rows[0][0], "cat", "", 1], [rows[1][0], "", "", 1]]
    dataset = Manifest(write(photos / "list.csv", rows), group="camera")
    assert sum(dataset.split_counts().values()) == 30
    reasons = [reason for _, reason in dataset.survey.unusable]
    assert sorted(reason.split(":")[0] for reason in reasons) == [
        "listed twice", "missing", "no label"
    ]  # fmt: skip
    camera = {str(row[0]): row[3] for row in rows[:30]}
    sides = {}
    for path, split in side_of(dataset).items():
        sides.setdefault(camera[path], set()).add(split)
    assert all(len(splits) == 1 for splits in sides.values())


def test_a_manifest_gives_splits(photos):
    paths = sorted(photos.rglob("*.png"))
    names = ("train", "val", "test")
    rows = [[p.absolute(), p.parent.name, names[i % 3], ""] for i, p in enumerate(paths)]
    dataset = Manifest(write(photos / "list.csv", rows))
    assert dataset.split_counts() == {"train": 10, "validation": 10, "test": 10}
    assert dataset.paths("test")[0] in {str(row[0]) for row in rows[2::3]}


def torn_rows(photos):
    """Rows of which some give a split, whose twins and cameras are among those that give none."""
    paths = sorted(photos.rglob("*.png"))
    names = ("train", "val", "test", "", "")
    rows = [[p.relative_to(photos), p.parent.name, names[i % 5], i] for i, p in enumerate(paths)]
    for row in rows[1:3]:
        for suffix, split in (("twin", ""), ("known", "train")):
            copy = photos / row[1] / f"{row[2]}-{suffix}.png"
            shutil.copy(photos / row[0], copy)
            rows.append([copy.relative_to(photos), row[1], split, ""])
    rows[3][3] = rows[1][3]  # one camera with validation
    rows[8][3] = rows[6][3] = rows[7][3]  # one camera that is torn between validation and test
    return rows


@pytest.mark.parametrize("given_parts", [("train", "val", "test"), ("val", "test"), ("test",)])
def test_an_image_without_a_split_follows_its_like_into_a_given_part(photos, given_parts):
    rows = torn_rows(photos)
    for row in rows:
        row[2] = row[2] if row[2] in given_parts else ""
    dataset = Manifest(write(photos / "list.csv", rows), group="camera")
    side = side_of(dataset)
    assert side["cat/test-twin.png"] == side[str(rows[8][0])] == "test"
    if "val" in given_parts:
        assert side["cat/val-twin.png"] == side[str(rows[3][0])] == "validation"
        assert side[str(rows[6][0])] == "validation"  # as it is given, whatever belongs to it
    if "train" in given_parts:
        assert side["cat/val-known.png"] == side["cat/test-known.png"] == "train"
    assert len(side) == len(rows)
    again = dataset.keeping_sides(dataset.sides())
    assert again.fingerprint() == dataset.fingerprint()


def test_copies_in_training_in_test_and_without_a_split_keep_their_sides(photos):
    paths = [p.relative_to(photos) for p in sorted(photos.rglob("*.png"))]
    rows = [[path, path.parent.name, "test" if i % 3 == 0 else "", ""] for i, path in
            enumerate(paths)]  # fmt: skip
    for path in paths[::3]:
        for split in ("train", ""):
            copy = path.with_name(f"{path.stem}-{split}.png")
            shutil.copy(photos / path, photos / copy)
            rows.append([copy, path.parent.name, split, ""])
    dataset = Manifest(write(photos / "list.csv", rows))
    assert all(side_of(dataset)[f"{path.parent}/{path.stem}-.png"] == "test" for path in paths[::3])
    again = dataset.keeping_sides(dataset.sides())
    assert again.fingerprint() == dataset.fingerprint()


def test_a_known_image_stays_in_training_when_its_twin_is_given_to_test(photos):
    paths = sorted(photos.rglob("*.png"))
    rows = [[p.relative_to(photos), p.parent.name, "", ""] for p in paths]
    for row in rows[::5]:
        row[2] = "test"
    before = Manifest(write(photos / "list.csv", rows))
    known = next(path for path in before.paths("train"))
    image = Image.open(photos / known)
    image.resize((80, 60)).save(photos / "twin.png")
    rows.append(["twin.png", known.split("/")[0], "test", ""])
    grown = Manifest(write(photos / "list.csv", rows))
    assert side_of(grown)[known] == "test"
    assert side_of(grown.keeping_sides(before.sides()))[known] == "train"


def test_the_frames_of_a_film_are_joined_by_few_pairs():
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (2, 16, 18))
    frames = [
        np.clip(scenes[i % 2] + rng.normal(0, 1, (16, 18)), 0, 255).astype(np.uint8).tobytes()
        for i in range(400)
    ]
    pairs = near_duplicates([Photo(str(i), luma=frame) for i, frame in enumerate(frames)])
    assert len(pairs) == 398
    assert clusters(400, pairs).tolist() == [0, 1] * 200


def test_a_manifest_may_be_parquet(photos):
    pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    paths = sorted(photos.rglob("*.png"))
    labels = [int(p.parent.name == "dog") for p in paths]
    frame = pd.DataFrame({"path": [str(p) for p in paths], "label": labels})
    frame.to_parquet(photos / "list.parquet")
    dataset = Manifest(photos / "list.parquet")
    assert dataset.classes == ("0", "1")
    assert sum(dataset.split_counts().values()) == 30


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_manifest_may_come_from_a_spreadsheet(photos, separator):
    rows = [f"{path}{separator}{path.parent.name}\r\n" for path in photos.rglob("*.png")]
    table = photos / "list.csv"
    table.write_text("".join([f"\ufeffpath{separator}label\r\n", *rows]), encoding="utf-8")
    assert sum(Manifest(table).split_counts().values()) == 30


def test_a_manifest_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file"):
        Manifest(tmp_path / "nowhere.csv")
    with pytest.raises(DefinitionError, match='no "label"'):
        Manifest(write(tmp_path / "a.csv", [], columns=("path", "class")))
    with pytest.raises(DefinitionError, match='the split "holdout"'):
        Manifest(write(tmp_path / "b.csv", [["a.png", "cat", "holdout", ""]]))
    with pytest.raises(DefinitionError, match="1 different classes in 1 rows"):
        Manifest(write(tmp_path / "c.csv", [["a.png", "cat", "", ""]]))
    with pytest.raises(DefinitionError, match='no "patient"'):
        Manifest(write(tmp_path / "d.csv", [["a.png", "cat", "", ""]]), group="patient")
    with pytest.raises(DefinitionError, match='column "site" twice'):
        Manifest(write(tmp_path / "f.csv", [], columns=("path", "label", "site", "site")))
    (tmp_path / "e.csv").write_bytes(b"\xff\xfe\x00p")
    with pytest.raises(DefinitionError, match="no CSV file"):
        Manifest(tmp_path / "e.csv")


def test_what_looks_alike_may_be_parted_if_one_says_so(photos, make_scene):
    (photos / "newt").mkdir()
    for quality in range(50, 90, 5):
        make_scene(999).save(photos / "newt" / f"{quality}.jpg", quality=quality)
    with pytest.raises(DefinitionError, match=r'class "newt".*keep_alike_together'):
        ImageFolder(photos).split_counts()
    dataset = ImageFolder(photos, keep_alike_together=False)
    assert {side_of(dataset)[f"newt/{q}.jpg"] for q in range(50, 90, 5)} == set(SPLITS)
    assert dataset_from_definition(dataset.definition()).fingerprint() == dataset.fingerprint()


def test_a_copy_of_a_given_test_image_keeps_the_side_that_was_drawn_for_it(tmp_path, fill_folder):
    root = tmp_path / "photos"
    fill_folder(root / "train", {"cat": 20, "dog": 20})
    fill_folder(root / "test", {"cat": 6, "dog": 6}, start=100)
    for number, path in enumerate(sorted((root / "test").rglob("*.png"))):
        shutil.copy(path, root / "train" / path.parent.name / f"copy{number}.png")
    dataset = ImageFolder(root)
    again = dataset.keeping_sides(dataset.sides())
    assert again.split_counts() == dataset.split_counts()
    assert again.fingerprint() == dataset.fingerprint()


def test_no_image_is_lost_where_a_split_is_given_later(photos, fill_folder):
    known = ImageFolder(photos).sides()
    for name in ("cat", "dog"):
        (photos / "train").mkdir(exist_ok=True)
        (photos / name).rename(photos / "train" / name)
    fill_folder(photos / "test", {"cat": 3, "dog": 3}, start=100)
    assert sum(ImageFolder(photos, known_sides=known).split_counts().values()) == 36


def test_numbers_written_in_two_ways_are_classes_in_an_order_of_their_own(photos):
    names = ["10", "1", "01", "001", "2"]
    rows = [[f"{name}.png", name, "", ""] for name in names]
    table = write(photos / "list.csv", rows)
    assert Manifest(table).classes == ("001", "01", "1", "2", "10")


def test_a_path_that_no_file_can_have_is_unusable(photos):
    paths = sorted(photos.rglob("*.png"))
    rows = [[p.relative_to(photos), p.parent.name, "", ""] for p in paths]
    dataset = Manifest(write(photos / "list.csv", [*rows, ["a\0.png", "cat", "", ""]]))
    assert [why for _, why in dataset.survey.unusable] == [
        "no path: a zero byte is part of no file's name"
    ]
