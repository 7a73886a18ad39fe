"""A bundle that was changed is told apart from one that was not."""

import hashlib
import json
import py_compile
import shutil
from pathlib import Path

import pytest
from PIL import UnidentifiedImageError

from autosearch.errors import NotFoundError, VerificationError
from autosearch.export.verify import check_bundle, verify_bundle


@pytest.fixture
def copy(bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.folder, folder)
    return folder


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(folder, change):
    """Changes the metadata and makes the sums right again, as a forger would."""
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = [f"{digest}  metadata.json" if "metadata.json" in line else line for line in lines]
    (folder / "SHA256SUMS").write_text("".join(f"{line}\n" for line in lines))


def test_a_whole_bundle_is_verified_in_a_fresh_process(bundle):
    verification = verify_bundle(bundle.folder)
    assert verification.num_files == 5 + 11
    assert verification.num_samples == 11
    assert verification.is_same_environment
    assert (verification.label_agreement, verification.largest_difference) == (1.0, 0.0)


def test_one_changed_byte_of_any_file_is_found_and_the_file_named(copy):
    for path in sorted(copy.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        flip_a_byte(path)
        with pytest.raises(VerificationError) as told:
            check_bundle(copy)
        name = path.relative_to(copy).as_posix()
        assert name in str(told.value) or name == "SHA256SUMS"
        path.write_bytes(content)
    check_bundle(copy)


def test_the_command_exits_with_1_and_one_line(copy, autosearch_here):
    assert autosearch_here("verify", copy).returncode == 0
    flip_a_byte(copy / "model.tflite")
    ended = autosearch_here("verify", copy)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "autosearch: model.tflite has changed: its sum is not the one in SHA256SUMS"
    ]


def test_no_module_beside_the_user_is_run(copy, monkeypatch):
    (copy / "numpy.py").write_text("open('was run', 'w')")
    monkeypatch.chdir(copy)
    with pytest.raises(VerificationError, match=r"numpy\.py is not part of the bundle"):
        verify_bundle(Path())
    assert not Path("was run").exists()


def test_a_missing_and_a_further_file_are_named(copy):
    (copy / "samples" / "more.png").write_bytes(b"")
    with pytest.raises(VerificationError, match=r"samples/more\.png is not part of the bundle"):
        check_bundle(copy)
    (copy / "samples" / "more.png").unlink()
    (copy / "labels.txt").unlink()
    with pytest.raises(VerificationError, match=r"labels\.txt is missing"):
        check_bundle(copy)


def test_what_importing_predict_leaves_is_to_be_removed(copy):
    py_compile.compile(str(copy / "predict.py"))
    with pytest.raises(VerificationError, match=r"; remove __pycache__, which importing predict"):
        check_bundle(copy)
    shutil.rmtree(copy / "__pycache__")
    check_bundle(copy)


def test_what_a_file_manager_leaves_is_no_part_of_it_either(copy):
    for path in (copy / ".DS_Store", copy / "samples" / "Thumbs.db"):
        path.write_bytes(b"icons")
    assert check_bundle(copy).num_files == 5 + 11


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hosts", "samples/../../outside.txt", ""])
def test_sums_cannot_name_what_is_outside(copy, name):
    (copy.parent / "outside.txt").write_text("x")
    with (copy / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(VerificationError, match="which is not in the bundle"):
        check_bundle(copy)


def test_samples_are_pictures_of_the_bundle_and_in_no_format_that_runs_a_program(copy):
    sample = copy / "samples" / "00.png"
    sample.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    digest = hashlib.sha256(sample.read_bytes()).hexdigest()
    lines = (copy / "SHA256SUMS").read_text().splitlines()
    lines = [f"{digest}  samples/00.png" if "00.png" in line else line for line in lines]
    (copy / "SHA256SUMS").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(UnidentifiedImageError):
        check_bundle(copy)
    rewrite(copy, lambda metadata: metadata["samples"][0].update(image="../outside.png"))
    with pytest.raises(VerificationError, match=r"does not name \.\./outside\.png"):
        check_bundle(copy)


def test_sums_must_cover_the_model(copy):
    lines = (copy / "SHA256SUMS").read_text().splitlines()
    kept = [line for line in lines if "model.tflite" not in line]
    (copy / "SHA256SUMS").write_text("".join(f"{line}\n" for line in kept))
    with pytest.raises(VerificationError, match=r"does not name model\.tflite"):
        check_bundle(copy)


def test_another_output_is_found_though_the_sums_are_right(copy):
    rewrite(copy, lambda m: m["samples"][1]["probabilities"].reverse())
    with pytest.raises(VerificationError, match=r"samples/01\.png: a probability differs by"):
        check_bundle(copy)


def test_another_kind_of_machine_may_differ_a_little_and_says_so(copy, autosearch_here):
    def elsewhere(metadata):
        metadata["samples_written_on"]["key"] = "another"
        for sample in metadata["samples"]:
            sample["probabilities"][0] += 0.004

    rewrite(copy, elsewhere)
    verification = check_bundle(copy)
    assert not verification.is_same_environment
    assert verification.largest_difference == pytest.approx(0.004)
    assert "another kind of machine than wrote it" in autosearch_here("verify", copy).stderr


def unlike(sample, first, second):
    """The sample as if its second class had been expected, with these two probabilities."""
    order = sorted(range(10), key=sample["probabilities"].__getitem__, reverse=True)
    rest = (1 - first - second) / 8
    sample["probabilities"] = [{order[1]: first, order[0]: second}.get(i, rest) for i in range(10)]


def test_another_kind_of_machine_must_give_the_labels_that_were_clear(copy):
    def elsewhere(metadata):
        metadata["samples_written_on"]["key"] = "another"
        unlike(metadata["samples"][0], 0.8, 0.2)

    rewrite(copy, elsewhere)
    with pytest.raises(
        VerificationError,
        match="1 of 11 samples do not get the expected label, 1 of them",
    ):
        check_bundle(copy)


def test_on_another_kind_of_machine_a_label_that_was_close_may_be_the_next(copy):
    def elsewhere(metadata):
        metadata["samples_written_on"]["key"] = "another"
        for sample in metadata["samples"][:2]:
            second, first = sorted(sample["probabilities"])[-2:]
            unlike(sample, (first + second) / 2 + 0.001, (first + second) / 2 - 0.001)
        kept.append(metadata["samples"].pop(1))

    kept = []
    rewrite(copy, elsewhere)
    assert check_bundle(copy).label_agreement == pytest.approx(0.9)
    # One is chance, several are another network.
    rewrite(copy, lambda metadata: metadata["samples"].extend(kept))
    with pytest.raises(VerificationError, match=r"2 of 11 samples .*, 0 of them though"):
        check_bundle(copy)


def test_a_later_schema_is_refused(copy):
    rewrite(copy, lambda m: m.update(schema_version=2))
    with pytest.raises(VerificationError, match="has schema version 2"):
        check_bundle(copy)


def test_metadata_without_what_is_needed_are_no_traceback(copy, autosearch_here):
    rewrite(copy, lambda m: m.pop("samples"))
    ended = autosearch_here("verify", copy)
    assert ended.returncode == 1
    assert "cannot be read (KeyError: 'samples')" in ended.stderr


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError, match="there is no folder"):
        verify_bundle(tmp_path / "none")
