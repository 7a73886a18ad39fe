"""The look at the data before anything is trained."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from autosearch.cli.main import app
from autosearch.data import Digits, Idx, ImageFolder, Manifest
from autosearch.data.page import page
from autosearch.data.report import inspect, open_files, split_members
from autosearch.errors import DefinitionError, NotFoundError
from autosearch.study import load_study_file

KEYS = {
    "classes", "num_images", "imbalance_ratio", "unusable", "ignored", "duplicates",
    "conflicting_duplicates", "groups", "sizes", "modes", "advice",
}  # fmt: skip


@pytest.fixture
def messy(photos, make_scene):
    """20 cats and 10 dogs, and what people have beside them."""
    shutil.copy(photos / "cat" / "0000.png", photos / "cat" / "again.png")
    shutil.copy(photos / "cat" / "0001.png", photos / "dog" / "not-a-cat.png")
    (photos / "cat" / "empty.jpg").write_bytes(b"")
    (photos / "cat" / "letter.jpeg").write_text("Dear cat,")
    buffer = io.BytesIO()
    make_scene(700).save(buffer, "JPEG")
    (photos / "dog" / "half.jpg").write_bytes(buffer.getvalue()[:-300])
    (photos / "dog" / ".DS_Store").write_bytes(b"x")
    (photos / "readme.md").write_text("hello")
    make_scene(800, size=(90, 60)).convert("CMYK").save(photos / "dog" / "print.tif")
    return photos


def test_everything_in_a_messy_folder_is_counted_and_named(messy):
    report = inspect(ImageFolder(messy, group=r"/(\d\d\d)\d"))
    assert set(report) >= KEYS
    assert report["classes"] == {"cat": 21, "dog": 12}
    assert report["num_images"] == 33
    assert report["imbalance_ratio"] == 1.75
    reasons = {row["path"]: row["reason"].split(":")[0] for row in report["unusable"]}
    assert reasons == {
        "cat/empty.jpg": "empty", "cat/letter.jpeg": "not an image", "dog/half.jpg": "truncated"
    }  # fmt: skip
    assert sorted(report["ignored"]) == ["dog/.DS_Store", "readme.md"]
    assert report["conflicting_duplicates"] == [["cat/0001.png", "dog/not-a-cat.png"]]
    assert ["cat/0000.png", "cat/again.png"] in report["duplicates"]
    assert report["groups"] == {"group": {"000": 10, "001": 10, "002": 10}}
    assert report["sizes"]["width"] == {"min": 40, "median": 40.0, "max": 90}
    assert report["modes"] == {"RGB": 32, "CMYK": 1}
    about = {advice["about"] for advice in report["advice"]}
    assert {"unusable", "duplicates", "metric", "image_size"} <= about
    assert all(advice["advice"] and advice["reason"] for advice in report["advice"])
    json.dumps(report)


def test_a_folder_that_cannot_be_split_is_reported_all_the_same(photos):
    (photos / "newt").mkdir()
    report = inspect(ImageFolder(photos))
    assert report["classes"]["newt"] == 0
    assert report["imbalance_ratio"] is None
    assert report["splits"] is None
    assert 'class "newt"' in report["advice"][0]["reason"]


def test_copies_across_given_splits_are_warned_of(tmp_path, fill_folder):
    root = tmp_path / "photos"
    fill_folder(root / "train", {"cat": 6, "dog": 6})
    fill_folder(root / "test", {"cat": 3, "dog": 3}, start=50)
    shutil.copy(root / "train" / "cat" / "0000.png", root / "test" / "cat" / "leak.png")
    advice = {a["about"]: a for a in inspect(ImageFolder(root))["advice"]}
    assert "several sides" in advice["split"]["reason"]


def test_groups_that_a_given_split_tears_are_counted(photos):
    rows = ["path,label,split,camera"]
    for index, path in enumerate(sorted(photos.rglob("*.png"))):
        split = ("train", "val", "test")[index % 3]
        camera = f"torn{index % 2}" if index < 6 else f"whole{split}"
        rows.append(f"{path},{path.parent.name},{split},{camera}")
    (photos / "list.csv").write_text("\n".join(rows))
    report = inspect(Manifest(photos / "list.csv", group="camera"))
    (advice,) = [a for a in report["advice"] if a["about"] == "split"]
    assert advice["reason"].startswith("2 groups are on several sides of it, such as torn")
    alone = inspect(Manifest(photos / "list.csv"))
    assert "split" not in {a["about"] for a in alone["advice"]}


def test_every_group_column_of_a_manifest_is_counted(photos):
    lines = ["path,label,camera,day"]
    lines += [f"{p},{p.parent.name},c{i % 3}," for i, p in enumerate(sorted(photos.rglob("*.png")))]
    (photos / "list.csv").write_text("\n".join(lines))
    dataset = open_files(photos / "list.csv", group="camera")
    assert isinstance(dataset, Manifest)
    assert inspect(dataset)["groups"] == {"camera": {"c0": 10, "c1": 10, "c2": 10}}


def test_what_is_neither_folder_nor_table_is_refused(photos):
    (photos / "some.txt").write_text("x")
    with pytest.raises(DefinitionError, match="neither a folder"):
        open_files(photos / "some.txt")
    with pytest.raises(NotFoundError):
        open_files(photos / "nowhere")


def test_the_page_needs_nothing_else_and_escapes_names(messy):
    shutil.move(messy / "dog", messy / "<b>dog & co</b>")
    dataset = ImageFolder(messy)
    text = page(dataset, inspect(dataset))
    assert "<b>dog" not in text
    assert "&lt;b&gt;dog &amp; co" in text
    # Contact sheets, one picture twice and one under two labels.
    assert text.count("<img ") == 16 + 12 + 2 + 2
    sources = re.findall(r'(?:src|href)="(.{22})', text)
    assert set(sources) == {"data:image/jpeg;base64"}
    assert "<script" not in text


def test_the_page_shows_groups_look_alikes_and_names_of_any_bytes(photos, make_scene):
    make_scene(900, size=(80, 60)).save(photos / "cat" / "large.jpg")
    make_scene(900, size=(40, 30)).save(photos / "cat" / "small.jpg")
    make_scene(901).save(os.fsencode(photos / "cat") + b"/\xff.png")
    dataset = ImageFolder(photos, group=r"/(\d{3})")
    text = page(dataset, inspect(dataset))
    text.encode("utf-8")
    assert "3 groups of 10 to 10 images" in text
    look_alike = text[text.index("Look alike: 1") : text.index("Contact sheets")]
    assert re.findall("<figcaption>(.*?)</figcaption>", look_alike) == [
        "cat/large.jpg", "cat/small.jpg"
    ]  # fmt: skip
    assert 'title="cat/\ufffd.png"' in text


@pytest.mark.parametrize(("name", "plots"), [("photos", False), ("messy", True)])
def test_the_page_plots_sizes_only_where_they_differ(name, plots, request):
    dataset = ImageFolder(request.getfixturevalue(name))
    text = page(dataset, inspect(dataset))
    assert ("<svg" in text) is plots
    assert ("All have " in text) is not plots


def test_the_command_prints_one_json_object_and_writes_the_page(messy, tmp_path):
    html = tmp_path / "page.html"
    arguments = ["data", "inspect", str(messy), "--format", "json", "--html", str(html)]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["num_images"] == 33
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_table_names_what_cannot_be_used(messy):
    answer = CliRunner().invoke(app, ["data", "inspect", str(messy)])
    assert answer.exit_code == 0, answer.output
    assert "cat/empty.jpg" in answer.stdout
    assert "1.8 : 1" in answer.stdout


def test_larger_images_than_asked_for_are_unusable(messy):
    arguments = ["data", "inspect", str(messy), "--format", "json", "--max-pixels", "2000"]
    unusable = json.loads(CliRunner().invoke(app, arguments).stdout)["unusable"]
    assert {"path": "dog/print.tif"}.items() <= unusable[-1].items()
    assert unusable[-1]["reason"] == "too large: 90 × 60 pixels, more than 2,000 in all"


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_no_unicode_are_printed(photos, make_scene):
    name = os.fsdecode(b"caf\xe9.png")
    make_scene(900).save(photos / "cat" / name)
    (photos / "cat" / os.fsdecode(b"bad\xe9.png")).write_bytes(b"")
    dataset = ImageFolder(photos)
    report = inspect(dataset)
    json.dumps(report, ensure_ascii=False).encode()
    page(dataset, report).encode()
    assert report["classes"]["cat"] == 21


def test_the_split_of_a_study_is_listed_by_path(photos, tmp_path):
    study = tmp_path / "study.py"
    study.write_text(
        "from autosearch import Budget, SearchSpace, Study, maximize\n"
        "from autosearch.data import ImageFolder\n"
        "from autosearch.space import CNN, Preprocessing, Training\n"
        f"study = Study(name='p', dataset=ImageFolder({str(photos)!r}),\n"
        "  space=SearchSpace(preprocessing=Preprocessing(size=8), architecture=CNN()),\n"
        "  objectives=[maximize('accuracy')], budget=Budget(trials=1))\n"
    )
    answer = CliRunner().invoke(app, ["data", "split", str(study), "--format", "json"])
    assert answer.exit_code == 0, answer.output
    parts = json.loads(answer.stdout)
    assert list(parts) == ["train", "validation", "test"]
    found = sorted(path for paths in parts.values() for path in paths)
    assert found == sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png"))


def test_the_split_of_arrays_is_listed_by_row():
    parts = split_members(Digits())
    assert sorted(row for rows in parts.values() for row in rows) == list(range(1797))


def test_looking_at_data_needs_no_tensorflow(photos):
    code = (
        "import sys; from autosearch.data.report import *; from pathlib import Path;"
        f"inspect(open_files(Path({str(photos)!r})));"
        "print([m for m in ('tensorflow', 'keras', 'optuna', 'pandas') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr


def test_photos_of_a_format_that_is_not_read_are_advised_to_be_converted(photos):
    (photos / "cat" / "telephone.HEIC").write_bytes(b"x")
    (photos / "cat" / "notes.txt").write_bytes(b"x")
    report = inspect(ImageFolder(photos))
    (advice,) = [a for a in report["advice"] if a["about"] == "ignored"]
    assert advice["reason"] == (
        "1 file is of a format that is not read, such as cat/telephone.HEIC."
    )


def test_a_greyscale_folder_is_advised_to_be_searched_in_grey(photos):
    for path in Path(photos).rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert "color" in {advice["about"] for advice in inspect(ImageFolder(photos))["advice"]}


def test_the_study_of_photos_takes_its_folder_from_the_environment(photos, monkeypatch):
    file = Path(__file__).parents[2] / "studies" / "photos.py"
    monkeypatch.setenv("AUTOSEARCH_DATA", str(photos))
    dataset = load_study_file(file).dataset
    assert dataset.split_counts() == {"train": 18, "validation": 6, "test": 6}
    monkeypatch.setenv("AUTOSEARCH_DATA", str(photos / "nowhere"))
    with pytest.raises(NotFoundError, match="nowhere"):
        load_study_file(file)


def test_the_study_of_fashion_mnist_finds_images_or_a_download():
    study = load_study_file(Path(__file__).parents[2] / "studies" / "fashion_mnist.py")
    assert len(study.dataset.classes) == 10
    if isinstance(study.dataset, Idx):
        counts = study.dataset.split_counts()
        assert counts == {"train": 50_000, "validation": 10_000, "test": 10_000}
