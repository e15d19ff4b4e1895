"""What the registry writes into the files of people."""

import pytest
import yaml

from resources.errors import InputError
from resources.project_folder import ProjectSettings, create
from resources.registry import Registry
from resources.vectors_file import VectorsFile


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "images").mkdir()
    create(tmp_path, ProjectSettings(images=str(tmp_path / "images")))
    return Registry(folder=str(tmp_path))


def written(registry, name, text):
    path = registry.folder_path / "configs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_policy_takes_the_place_of_the_one_before_it(registry):
    path = written(registry, "runs/greek.yaml", "# vases\nrefresh: keep  # for now\nops: {}\n")
    registry.set_policy("greek", {"assign": {"most_new": 0.5}}, {"ops": {"other": {}}})
    assert path.read_text() == ("# vases\nrefresh: {assign: {most_new: 0.5}} # for now\nops: {}\n")
    assert registry.policy("greek") == {"assign": {"most_new": 0.5}}


def test_a_policy_of_a_run_without_a_file_begins_one(registry):
    path = registry.set_policy("roman", "recluster", {"ops": {}})
    assert yaml.safe_load(path.read_text()) == {"refresh": "recluster", "ops": {}}


def test_a_file_that_cannot_be_changed_is_left_as_it_is(registry):
    text = "ops: {}\nops: {a: 1}\n"
    path = written(registry, "runs/greek.yaml", text)
    with pytest.raises(InputError, match="is left as it is"):
        registry.set_policy("greek", "keep", {})
    assert path.read_text() == text


def test_vectors_that_lie_elsewhere_now_keep_what_people_wrote_about_them(registry):
    path = written(
        registry,
        "models/dino.yaml",
        "# by Ada\nmodel: DINOv2  # large\nvectors: a.npy\nids: a.txt\n",
    )
    registry.write_vectors_file("dino", VectorsFile(model="DINOv2", vectors="b.parquet"))
    assert path.read_text() == ("# by Ada\nmodel: DINOv2  # large\nvectors: b.parquet\nids:\n")
    assert registry.model("dino") == VectorsFile(model="DINOv2", vectors="b.parquet")


def test_a_sweep_that_is_asked_for_again_keeps_its_file(registry):
    text = "# mine\nmethod: kmeans\n"
    path = written(registry, "sweeps/s.yaml", text)
    registry.write_sweep("s", {"method": "kmeans"})
    assert path.read_text() == text
    with pytest.raises(InputError, match="describes another sweep"):
        registry.write_sweep("s", {"method": "hdbscan"})


def test_the_same_images_are_the_same_list_whatever_their_order(registry):
    """Its name says what is in it: a record that names it finds just that."""
    ids = [character * 64 for character in "cab"]
    place = registry.write_selection(ids)
    written_at = (registry.folder_path / place).stat().st_mtime_ns
    assert registry.write_selection([*reversed(ids), ids[0]]) == place
    assert (registry.folder_path / place).stat().st_mtime_ns == written_at
    assert (registry.folder_path / place).read_text() == "".join(f"{i}\n" for i in sorted(ids))
    assert registry.write_selection(ids[:2]) != place


def test_a_list_that_somebody_has_edited_is_written_as_its_name_says(registry):
    place = registry.write_selection(["a" * 64])
    written(registry, place.removeprefix("configs/"), "something else")
    assert registry.write_selection(["a" * 64]) == place
    assert (registry.folder_path / place).read_text() == f"{'a' * 64}\n"
