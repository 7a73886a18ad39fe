import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from lone_trial import LoneTrial
from PIL import Image

from autosearch import SearchSpace, Study, maximize
from autosearch.data import Arrays, Dataset, ImageFolder, decoding, prepare_all
from autosearch.data import cache as module
from autosearch.data import photos as photos_module
from autosearch.data.cache import ImageCache, load_prepared
from autosearch.data.photos import Photos
from autosearch.errors import DefinitionError, StudyError
from autosearch.space import CNN, Preprocessing, Quantization, Training
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.search_space import RandomTrial

WORDS = {"size": 16, "color": "rgb", "resize": "bilinear", "fit": "stretch"}
KEY = {"fingerprint": "ab" * 32, "split": "train", "preprocessing": WORDS}


@pytest.fixture
def cache(tmp_path):
    return ImageCache(tmp_path / "cache")


@pytest.fixture
def odd_photos(tmp_path, make_scene):
    """Photos of several modes and orientations."""
    folder = tmp_path / "odd"
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    scene = make_scene(1)
    scene.save(folder / "a.jpg", exif=turned, quality=95)
    scene.save(folder / "b.png", exif=turned)
    scene.convert("L").save(folder / "c.jpg")
    scene.convert("P").save(folder / "d.gif")
    scene.convert("CMYK").save(folder / "e.jpg")
    alpha = scene.convert("RGBA")
    alpha.putalpha(100)
    alpha.save(folder / "f.png")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).save(folder / "g.png")
    return Photos(sorted(folder.iterdir()))


def only(cache):
    (entry,) = cache.entries()
    return entry


@pytest.mark.parametrize("color", ["rgb", "greyscale"])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_pixels_are_those_that_memory_would_hold(cache, odd_photos, color, fit):
    words = {**WORDS, "color": color, "fit": fit}
    for _ in range(2):
        pixels = cache.prepared(odd_photos, **{**KEY, "preprocessing": words})
        assert np.array_equal(pixels, prepare_all(odd_photos, **words))
    assert only(cache).color == color


def test_a_second_worker_decodes_nothing(cache, photos):
    dataset = ImageFolder(photos)
    pixels, labels = load_prepared(dataset, "train", WORDS, cache=cache)
    assert pixels.shape == (len(labels), 16, 16, 3)
    for file in photos.glob("*/*.png"):
        file.write_bytes(b"")
    again, _ = load_prepared(dataset, "train", WORDS, cache=ImageCache(cache.root))
    assert np.array_equal(pixels, again)


def test_each_split_and_each_preparation_is_an_entry_of_its_own(cache, photos):
    dataset = ImageFolder(photos)
    for split, size in (("train", 8), ("train", 12), ("validation", 8)):
        pixels, _ = load_prepared(dataset, split, {**WORDS, "size": size}, cache=cache)
        expected = prepare_all(dataset.load(split)[0], **{**WORDS, "size": size})
        assert np.array_equal(pixels, expected)
    assert {(e.split, e.size, e.fingerprint) for e in cache.entries()} == {
        (split, size, dataset.fingerprint())
        for split, size in (("train", 8), ("train", 12), ("validation", 8))
    }


def test_the_file_is_an_array_that_numpy_opens(cache, odd_photos):
    pixels = cache.prepared(odd_photos, **KEY)
    assert np.array_equal(np.load(only(cache).path, mmap_mode="r"), pixels)


def test_writing_to_the_pixels_changes_neither_the_file_nor_another_worker(cache, odd_photos):
    pixels = cache.prepared(odd_photos, **KEY)
    before = pixels.copy()
    pixels[:] = 0
    assert np.array_equal(cache.prepared(odd_photos, **KEY), before)


@pytest.mark.parametrize("damage", ["truncated", "empty", "a pixel", "the header", "longer"])
def test_a_damaged_entry_is_made_again(cache, odd_photos, damage):
    expected = np.array(cache.prepared(odd_photos, **KEY))
    path = only(cache).path
    contents = bytearray(path.read_bytes())
    if damage == "a pixel":
        contents[300] ^= 1
    elif damage == "the header":
        contents[20] ^= 1
    elif damage == "longer":
        contents += b"\0"
    else:
        del contents[0 if damage == "empty" else -10 :]
    path.unlink()  # What is mapped stays as it was.
    path.write_bytes(contents)
    assert np.array_equal(cache.prepared(odd_photos, **KEY), expected)
    assert np.array_equal(np.load(path), expected)


def test_what_a_killed_writer_left_is_removed_and_never_used(cache, odd_photos):
    cache.prepared(odd_photos, **KEY)
    path = only(cache).path
    part = path.with_suffix(".part")
    path.rename(part)
    assert cache.entries() == []
    cache.prepared(odd_photos, **{**KEY, "split": "test"})
    assert not part.exists()


WORKER = """
import sys
from pathlib import Path
from autosearch.data import decoding
from autosearch.data.cache import ImageCache
from autosearch.data.photos import Photos
root, log, *paths = sys.argv[1:]
decode_all = decoding.decode_all
def counted(*words):
    with open(log, "a") as file:
        file.write("made\\n")
    return decode_all(*words)
import autosearch.data.cache as module
module.decode_all = counted
words = {"size": 16, "color": "rgb", "resize": "bilinear", "fit": "stretch"}
pixels = ImageCache(root).prepared(
    Photos([Path(p) for p in paths]), fingerprint="ab" * 32, split="train", preprocessing=words
)
print(int(pixels.sum(dtype="int64")))
"""


def test_workers_that_start_at_once_make_it_once(cache, odd_photos, tmp_path):
    words = [sys.executable, "-c", WORKER, cache.root, tmp_path / "log", *odd_photos.paths]
    workers = [
        subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = {worker.communicate(timeout=60)[0] for worker in workers}
    expected = int(prepare_all(odd_photos, **WORDS).sum(dtype="int64"))
    assert answers == {f"{expected}\n"}
    assert (tmp_path / "log").read_text() == "made\n"


def test_the_longest_unused_goes_first_and_what_is_open_stays_readable(tmp_path, odd_photos):
    size = len(odd_photos) * 16 * 16 * 3
    cache = ImageCache(tmp_path / "cache", max_bytes=int(2.5 * size))
    first = cache.prepared(odd_photos, **KEY)
    before = first.copy()
    cache.prepared(odd_photos, **{**KEY, "split": "validation"})
    time.sleep(0.02)
    cache.prepared(odd_photos, **KEY)
    time.sleep(0.02)
    cache.prepared(odd_photos, **{**KEY, "split": "test"})
    assert {entry.split for entry in cache.entries()} == {"train", "test"}
    cache.prepared(odd_photos, **{**KEY, "fingerprint": "other"})
    assert sum(entry.size_bytes for entry in cache.entries()) <= cache.max_bytes
    assert {entry.split for entry in cache.entries()} == {"test", "train"}
    assert only_fingerprint(cache, "train") != KEY["fingerprint"]
    assert np.array_equal(first, before)


def only_fingerprint(cache, split):
    (found,) = (entry.fingerprint for entry in cache.entries() if entry.split == split)
    return found


@pytest.mark.parametrize("obstacle", ["a file", "too large", "full"])
def test_without_room_the_images_are_in_memory_and_a_warning_says_so(
    tmp_path, odd_photos, obstacle, monkeypatch, caplog
):
    root = tmp_path / "cache"
    if obstacle == "a file":
        root.write_text("")
    if obstacle == "full":
        monkeypatch.setattr(module, "_DISK_RESERVE_BYTES", 2**60)
    cache = ImageCache(root, max_bytes=1000 if obstacle == "too large" else None)
    pixels = cache.prepared(odd_photos, **KEY)
    assert np.array_equal(pixels, prepare_all(odd_photos, **WORDS))
    assert "image cache" in caplog.text
    assert cache.entries() == []


def test_a_bound_of_zero_switches_it_off_without_a_word(monkeypatch, tmp_path, odd_photos, caplog):
    monkeypatch.setenv("AUTOSEARCH_CACHE_BYTES", "0")
    cache = ImageCache(tmp_path / "cache")
    assert len(cache.prepared(odd_photos, **KEY)) == len(odd_photos)
    assert not cache.root.exists()
    assert not caplog.text


@pytest.mark.parametrize("text", ["much", "-1", "2e9"])
def test_a_bound_that_is_no_number_of_bytes_is_refused(monkeypatch, text):
    monkeypatch.setenv("AUTOSEARCH_CACHE_BYTES", text)
    with pytest.raises(DefinitionError, match="number of bytes"):
        ImageCache()


def test_a_photo_that_vanished_is_named_and_leaves_no_entry(cache, photos):
    dataset = ImageFolder(photos)
    victim = dataset.load("train")[0].paths[5]
    victim.unlink()
    with pytest.raises(StudyError, match=victim.name):
        load_prepared(dataset, "train", WORDS, cache=cache)
    assert [path.name for path in cache.root.rglob("*") if path.is_file()] == ["cache.lock"]


def test_a_photo_that_changed_meanwhile_is_named_and_leaves_no_entry(cache, photos, make_scene):
    dataset = ImageFolder(photos)
    victim = dataset.load("train")[0].paths[5]
    before = victim.read_bytes()
    make_scene(777).save(victim)
    for words in ({}, {"max_images": 17}):
        with pytest.raises(StudyError, match=f"{victim.name}.* has changed since"):
            load_prepared(dataset, "train", WORDS, cache=cache, **words)
    assert cache.entries() == []
    victim.write_bytes(before)
    pixels, _ = load_prepared(ImageFolder(photos), "train", WORDS, cache=cache)
    assert np.array_equal(pixels, prepare_all(dataset.load("train")[0], **WORDS))


def test_part_of_a_split_is_drawn_from_all_of_it(cache):
    labels = np.repeat([0, 1, 2], 40)
    images = np.broadcast_to(labels[:, None, None, None], (120, 8, 8, 1)).astype(np.uint8)
    images[:, 7, 7, 0] = np.arange(120)
    for given in (images, list(images)):
        dataset = Arrays(given, labels, classes=("a", "b", "c"))
        words = {**WORDS, "size": 8, "color": "greyscale"}
        pixels, some = load_prepared(dataset, "train", words, cache=cache, max_images=24)
        assert np.bincount(some, minlength=3).min() > 2
        assert np.array_equal(pixels[:, 0, 0, 0], some)


def test_part_of_a_split_and_what_is_in_memory_are_not_kept(cache, photos):
    folder = ImageFolder(photos)
    pixels, labels = load_prepared(folder, "train", WORDS, cache=cache, max_images=4)
    assert pixels.shape == (4, 16, 16, 3)
    assert len(labels) == 4
    distinct = np.arange(40, dtype=np.uint8).repeat(9 * 9 * 3).reshape(40, 9, 9, 3)
    arrays = Arrays(distinct, np.arange(40) % 2, classes=("a", "b"))
    load_prepared(arrays, "train", WORDS, cache=cache)
    assert cache.entries() == []


class Lazy(Dataset):
    name = "lazy"
    classes = ("a", "b")

    def load(self, split):
        class Images:
            def __len__(self):
                return 6

            def __getitem__(self, index):
                if index >= 6:
                    raise IndexError
                return np.full((20, 30, 3), index, np.uint8)

        return Images(), np.arange(6) % 2


class Named(Lazy):
    def fingerprint(self):
        return "the sixth of May"


def test_a_users_own_lazy_images_are_kept_if_their_fingerprint_reads_none(cache):
    load_prepared(Lazy(), "train", WORDS, cache=cache)
    assert cache.entries() == []
    for _ in range(2):
        pixels, _ = load_prepared(Named(), "train", WORDS, cache=cache)
        assert pixels[:, 0, 0, 0].tolist() == list(range(6))
    assert only(cache).size == 16


@pytest.mark.parametrize(
    ("count", "labels", "sentence"),
    [
        (2, [1, 2], "has labels from 1 to 2"),
        (2, [-1, 0], "has labels from -1 to 0"),
        (2, [0.0, 1.0], r"has labels float64 of shape \(2,\)"),
        (3, [0, 1], r"has labels int64 of shape \(2,\) for 3 images"),
        (2, [[1, 0], [0, 1]], r"has labels int64 of shape \(2, 2\)"),
        (0, np.zeros(0, np.int64), "has no image"),
    ],
)
def test_labels_of_a_users_own_dataset_must_fit(cache, count, labels, sentence):
    class Own(Named):
        def load(self, split):
            return np.zeros((count, 16, 16, 3), np.uint8), labels

    with pytest.raises(DefinitionError, match=f'split "train" of dataset "lazy" {sentence}'):
        load_prepared(Own(), "train", WORDS, cache=cache)


def fill_file(folder, paths):
    target = decoding.PixelFile(path=folder / "pixels", offset=64, shape=(len(paths), 16, 16, 3))
    target.path.write_bytes(bytes(64 + len(paths) * 16 * 16 * 3))
    checksums = decoding.decode_all(target, paths, WORDS)
    return target.open(), checksums


def test_other_processes_decode_the_same(odd_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_WORTH_A_PROCESS_S", 0.0)
    monkeypatch.setattr(decoding, "_num_processes", lambda: 3)
    decode = decoding._decode
    here = threading.get_ident(), []

    def slowly(pixels, paths, words, start, stop):
        here[1].append(start)
        time.sleep(0.03)  # So that the others have their share, however slowly they start.
        return decode(pixels, paths, words, start, stop)

    monkeypatch.setattr(decoding, "_decode", slowly)
    paths = [odd_photos.paths[i % len(odd_photos)] for i in range(800)]
    pixels, checksums = fill_file(tmp_path, paths)
    assert len(here[1]) < 50
    once = prepare_all(odd_photos, **WORDS)
    assert np.array_equal(pixels, once[np.arange(800) % len(odd_photos)])
    assert len(set(checksums.tolist())) == len({image.tobytes() for image in once})


def test_processes_that_die_leave_nothing_undone(odd_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_WORTH_A_PROCESS_S", 0.0)
    monkeypatch.setattr(decoding, "_num_processes", lambda: 3)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    paths = [odd_photos.paths[i % len(odd_photos)] for i in range(200)]
    pixels, _ = fill_file(tmp_path, paths)
    once = prepare_all(odd_photos, **WORDS)
    assert np.array_equal(pixels, once[np.arange(200) % len(odd_photos)])


def test_the_cache_changes_no_trained_network(fill_folder, tmp_path, monkeypatch):
    from autosearch.evaluation.pipeline import KerasEvaluator

    study = Study(
        name="photos",
        dataset=ImageFolder(fill_folder(tmp_path / "photos", {"cat": 20, "dog": 20})),
        space=SearchSpace(
            preprocessing=Preprocessing(size=8),
            architecture=CNN(stages=2, width=8, blocks_per_stage=1),
            training=Training(epochs=1, batch_size=8),
            quantization=Quantization("float32"),
        ),
        objectives=[maximize("accuracy")],
    )
    monkeypatch.setenv("AUTOSEARCH_CACHE", str(tmp_path / "cache"))
    files = set()
    for num_bytes in ("0", "1_000_000"):
        monkeypatch.setenv("AUTOSEARCH_CACHE_BYTES", num_bytes)
        trial = LoneTrial(HyperParameters(RandomTrial(3)), seed=3)
        KerasEvaluator(study).evaluate(trial)
        files |= {file for file in trial.artifacts.values() if file[4:8] == b"TFL3"}
    assert len(files) == 1
    assert {entry.split for entry in ImageCache().entries()} == {"train", "validation"}


@pytest.fixture
def looked_at(monkeypatch, tmp_path):
    """The names of the files that are decoded to be looked at, in a process new to them."""
    monkeypatch.setenv("AUTOSEARCH_CACHE", str(tmp_path / "mine"))
    monkeypatch.setattr(photos_module, "_SETTLED_NS", 0)
    names = []
    examine = photos_module.examine

    def counted(path, **words):
        names.append(path.name)
        return examine(path, **words)

    def look(paths):
        names.clear()
        photos_module._seen.clear()
        found = photos_module.examine_all(paths)
        return found, sorted(names)

    monkeypatch.setattr(photos_module, "examine", counted)
    return look


def test_another_process_looks_at_new_and_changed_files_only(looked_at, photos, make_scene):
    paths = sorted((photos / "dog").iterdir())
    first, names = looked_at(paths)
    assert names == [path.name for path in paths]
    assert looked_at(paths) == (first, [])

    make_scene(77).save(paths[2])
    times = paths[3].stat()
    contents = bytearray(paths[3].read_bytes())
    contents[-20] ^= 1
    paths[3].write_bytes(contents)  # Of the same size,
    os.utime(paths[3], ns=(times.st_atime_ns, times.st_mtime_ns))  # and said to be as old.
    paths[4].rename(photos / "dog" / "renamed.png")
    paths[4] = photos / "dog" / "renamed.png"
    again, names = looked_at(paths)
    assert names == sorted(paths[index].name for index in (2, 3, 4))
    assert again[2] != first[2]
    assert again[3].problem is not None
    assert [again[i] for i in (0, 1, 4, 5)] == [first[i] for i in (0, 1, 4, 5)]
    assert looked_at(paths)[1] == [paths[3].name]  # What cannot be used is looked at anew.


def test_files_just_written_and_findings_that_are_spoilt_are_looked_at_again(
    looked_at, photos, monkeypatch, tmp_path
):
    paths = sorted((photos / "dog").iterdir())
    expected = looked_at(paths)
    (tmp_path / "mine" / "findings.sqlite").write_bytes(b"spoilt" * 1000)
    assert looked_at(paths) == expected
    assert looked_at(paths)[1] == []
    ImageCache().clear()
    assert looked_at(paths) == expected
    ImageCache().clear()
    monkeypatch.setattr(photos_module, "_SETTLED_NS", 10**15)
    assert looked_at(paths) == looked_at(paths) == expected


def test_the_command_lists_and_removes_it(autosearch_here, monkeypatch, tmp_path, odd_photos):
    root = tmp_path / "mine"
    root.mkdir()
    (root / "letter.npy").write_text("not ours")
    monkeypatch.setenv("AUTOSEARCH_CACHE", str(root))
    ImageCache().prepared(odd_photos, **KEY)
    size = only(ImageCache()).size_bytes
    listed = autosearch_here("data", "cache")
    assert f"{size:,}" in listed.stdout
    assert f"{root} holds {size:,} of at most 20,000,000,000 bytes" in listed.stderr
    removed = autosearch_here("data", "cache", "--clear")
    assert removed.returncode == 0
    assert f"Removed {size:,} bytes" in removed.stderr
    assert autosearch_here("data", "cache", "--format", "json").stdout == "[]\n"
    assert (root / "letter.npy").exists()
