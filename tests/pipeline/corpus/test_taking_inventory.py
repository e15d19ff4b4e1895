"""The inventory is read after the images, and whatever ails it stops nothing."""

import os
import shutil
from pathlib import Path

import dagster as dg
import pytest

from panoptic_assets.corpus import inventory, taking_inventory
from panoptic_assets.orchestration.acting import Context
from panoptic_assets.project import Project
from resources.engine import LocalEngine
from resources.project_folder import ProjectSettings, create
from resources.source import ImageSource
from tests.commands import run
from tests.tiny import write_images, write_model
from tests.workbench import Workbench, data_version, metadata, resources_of

NB_IMAGES = 6
TEXT = "path;made\n" + "".join(f"{n:06}.jpg;m{n}\n" for n in range(NB_IMAGES))
CHECKS = ("inventory_readable", "values_kept", "lines_matched", "cells_readable")


@pytest.fixture(scope="session")
def few(once):
    return once("inventory of few", lambda folder: write_images(folder, NB_IMAGES))


@pytest.fixture
def bench(few, tmp_path):
    """A project whose inventory was read once."""
    shutil.copytree(few, tmp_path / "images")
    settings = ProjectSettings(images=str(tmp_path / "images"), metadata="i.csv")
    bench = Workbench(create(tmp_path / "project", settings), dg.DagsterInstance.ephemeral())
    write(bench, TEXT)
    bench.make("images")
    bench.make("inventory")
    return bench


def write(bench, text):
    (bench.project.folder / "i.csv").write_text(text, encoding="utf-8")


def values(bench):
    return sorted(bench.read.property_values("made")["value"].to_pylist())


def materialized(bench):
    """What Dagster shows of the inventory, read once more, and which of its checks fail."""
    result = bench.run("inventory")
    checks = result.get_asset_check_evaluations()
    assert {check.check_name for check in checks} == set(CHECKS)
    failed = {check.check_name: check for check in checks if not check.passed}
    return metadata(result, "inventory"), failed


def missing(file):
    file.unlink()


def a_folder(file):
    file.unlink()
    file.mkdir()


def a_pipe(file):
    file.unlink()
    os.mkfifo(file)


def nothing_in_it(file):
    file.write_bytes(b"")


def no_column_of_files(file):
    file.write_text("made\nm0\n")


def zeros(file):
    """As a crash leaves a file that was being written."""
    file.write_bytes(b"\0" * 5000)


def a_picture(file):
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40)


AILMENTS = [missing, a_folder, a_pipe, nothing_in_it, no_column_of_files, zeros, a_picture]


@pytest.mark.parametrize("ail", AILMENTS, ids=lambda ail: ail.__name__)
def test_of_an_inventory_that_cannot_be_read_images_keep_what_it_said(bench, ail):
    before = values(bench)
    version = data_version(bench.run("inventory"), "inventory")
    ail(bench.project.folder / "i.csv")
    result = bench.run("inventory")
    assert data_version(result, "inventory") == version and values(bench) == before
    given, failed = materialized(bench)
    assert (given["outcome"], given["nb_values"]) == ("kept", NB_IMAGES)
    assert failed.keys() == {"inventory_readable"}
    check = failed["inventory_readable"]
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.metadata["problem"].value == given["problem"] != "(none)"
    told = bench.read.status()["inventory"]
    assert given["problem"] in told["problem"] and len(told["problem"].splitlines()) == 1


def test_figures_are_those_of_the_file_whose_values_images_have(bench):
    """Another that cannot be read, or asks, is named beside it, and judged by nothing of it."""
    write(bench, TEXT + "".join(f"9{n:05}.jpg;x\n" for n in range(30)))
    given, failed = materialized(bench)
    assert failed.keys() == {"lines_matched"}
    assert given["unmatched"].endswith("… and 10 more"), "Twenty of them are listed."
    before = bench.read.status()["inventory"]
    settings = bench.project.settings_file
    settings.write_text(settings.read_text().replace("metadata: i.csv", "metadata: new.csv"))
    new = bench.project.folder / "new.csv"
    for text, check in (("made\nm0\n", "inventory_readable"), ("path;made\n", "values_kept")):
        new.write_text(text)
        given, failed = materialized(bench)
        assert (given["file"], given["unread"]) == ("i.csv", "new.csv")
        assert failed.keys() == {check} and given["outcome"] == "kept"
        now = bench.read.status()["inventory"]
        same = ("file", "taken_at", "nb_lines", "nb_unmatched", "unmatched", "nb_values")
        assert [now[name] for name in same] == [before[name] for name in same]
    new.write_text(TEXT)
    given, failed = materialized(bench)
    assert (given["file"], given["unread"], given["nb_lines"]) == ("new.csv", "(none)", NB_IMAGES)
    assert failed == {}


def test_one_that_is_there_again_is_read_and_nothing_is_said_of_it_any_more(bench):
    (bench.project.folder / "i.csv").unlink()
    bench.make("inventory")
    assert bench.read.status()["inventory"]["problem"]
    write(bench, TEXT.replace("m0", "new"))
    given, failed = materialized(bench)
    assert (given["outcome"], failed) == ("read", {})
    assert bench.read.status()["inventory"]["problem"] == "" and "new" in values(bench)


def test_a_fault_of_a_parser_is_said_in_a_line_and_keeps_the_values(bench, monkeypatch):
    def fails(source):
        raise RecursionError("too\ndeep")

    write(bench, TEXT.replace("m0", "new"))
    monkeypatch.setattr(inventory, "parse_inventory", fails)
    given, failed = materialized(bench)
    assert "RecursionError: too deep" in given["problem"]
    assert failed.keys() == {"inventory_readable"} and "m0" in values(bench)


def test_an_inventory_that_has_not_changed_is_not_read_again(bench, monkeypatch):
    """Unless the corpus has, or somebody has written values since."""
    before = bench.store.tables()
    versions = {table: bench.store.version(table) for table in before}
    given, failed = materialized(bench)
    assert (given["outcome"], given["nb_lines"], failed) == ("unchanged", NB_IMAGES, {})
    assert {table: bench.store.version(table) for table in before} == versions
    bench.store.erase("property_values", "text = 'm0'")
    assert materialized(bench)[0]["outcome"] == "read" and len(values(bench)) == NB_IMAGES
    write_images(Path(bench.project.images), 1, start=NB_IMAGES)
    bench.make("images")
    assert materialized(bench)[0]["outcome"] == "read"
    assert materialized(bench)[0]["outcome"] == "unchanged"


def test_lines_without_a_file_fail_a_check_above_a_share_which_names_the_first(bench):
    write(bench, TEXT + "900000.jpg;x\n")
    _, failed = materialized(bench)
    assert failed.keys() == {"lines_matched"}
    check = failed["lines_matched"]
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["nb_unmatched"].value == 1
    assert f"| {NB_IMAGES + 2} | 900000.jpg |" in check.metadata["first"].value
    [entry] = bench.read.status()["inventory"]["unmatched"]
    assert (entry["line"], entry["name"]) == (NB_IMAGES + 2, "900000.jpg")
    settings = bench.project.settings_file
    settings.write_text(settings.read_text().replace("max_unmatched: 0.1", "max_unmatched: 0.2"))
    assert materialized(bench)[1] == {}


def test_a_column_most_of_whose_cells_are_left_out_fails_a_check(bench):
    lines = [f"{n:06}.jpg;{'12' if n < 2 else 'twelve'};m{n}" for n in range(NB_IMAGES)]
    write(bench, "\n".join(["path;height[number];made", *lines]))
    given, failed = materialized(bench)
    assert failed.keys() == {"cells_readable"}
    assert failed["cells_readable"].metadata["columns"].value == "height: 67%"
    assert "| height | 2 | 4 |" in given["properties"]
    first = [f"line {n}\\: twelve" for n in range(4, 8)]
    assert f"| 4 | {'; '.join(first)} |" in given["findings"]
    told = bench.read.status()["inventory"]
    assert (told["nb_left_out"], told["left_out"]) == (4, {"height": 4})
    [same] = told["findings"]
    assert (same["column"], same["count"]) == ("height", 4)
    assert same["first"][0] == {"line": 4, "value": "twelve"}


def test_without_an_inventory_there_is_nothing_to_be_read(bench):
    def wanted():
        return taking_inventory.is_wanted(
            Context(**resources_of(bench.project), engine=LocalEngine())
        )

    settings = bench.project.settings_file
    settings.write_text(settings.read_text().replace("metadata: i.csv", "metadata: ''"))
    assert wanted(), "Its values are still there."
    given, failed = materialized(bench)
    assert (given["outcome"], given["nb_values"], failed) == ("none", 0, {})
    assert not wanted() and bench.read.status()["inventory"] is None


def test_what_a_manifest_says_is_kept_as_long_as_it_is_not_listed(bench):
    """It was listed by another process, which could not keep it: that takes no value away."""
    source = ImageSource(root="iiif+http://127.0.0.1:9/manifest.json", cache="")
    settings = bench.project.settings_file
    settings.write_text(settings.read_text().replace("metadata: i.csv", "metadata: ''"))
    given = resources_of(bench.project) | {"source": source}
    context = Context(**given, engine=LocalEngine())
    read = taking_inventory.run(taking_inventory.prepare(context.now(), "", {}))
    assert read.outcome == "kept" and read.after.problem["id"] == "manifest-not-listed"


def test_a_bad_inventory_stops_no_refresh(tmp_path):
    """The images that came are embedded; the command says what is wrong, and ends well."""
    folder = tmp_path / "project"
    write_images(folder / "images", NB_IMAGES)
    tiny = create(folder, ProjectSettings(images="images", vector_type="tiny", metadata="i.csv"))
    (tiny.configs / "models" / "tiny.yaml").write_text(
        f"model: local-dir:{write_model(tmp_path / 'model')}\nprecision: fp32\n"
    )
    answer = run("refresh", cwd=folder)
    assert "! inventory:" in answer.stderr and "There is no inventory" in answer.stderr
    (folder / "i.csv").write_text(TEXT + "900000.jpg;x\n")
    answer = run("refresh", cwd=folder)
    assert f"✓ inventory: lines {NB_IMAGES + 1}, properties 1" in answer.stderr
    assert f"{NB_IMAGES + 2} (900000.jpg)" in answer.stderr
    (folder / "i.csv").write_text(TEXT.replace("made", "made[date]"))
    answer = run("refresh", "--accept-missing", cwd=folder)
    assert f"(left out {NB_IMAGES}, limit 0.10, columns made: 100%)" in answer.stderr
    told = run("status", cwd=folder).stdout
    assert f"{NB_IMAGES} cells left out: made {NB_IMAGES}:" in told
    assert "line 2: m0; line 3: m1; " in told
    (folder / "i.csv").write_text(TEXT + "900000.jpg;x\n")
    run("refresh", cwd=folder)
    (folder / "i.csv").write_text("")
    write_images(folder / "images", 2, start=NB_IMAGES)
    run("refresh", cwd=folder)
    status = Project(folder).status()
    assert (status["corpus"]["nb_images"], status["corpus"]["not_embedded"]["tiny"]) == (8, 0)
    assert status["inventory"]["nb_values"] == NB_IMAGES
    told = run("status", cwd=folder).stdout
    assert "The inventory is not read as it stands" in told
    assert f"Values of i.csv: {NB_IMAGES + 1} lines, 1 property, read " in told
    assert f"line {NB_IMAGES + 2}: 900000.jpg" in told


def test_an_inventory_that_is_written_while_it_is_read_is_read_again(bench, monkeypatch):
    """It may be as before when it is looked at next, and half of it is what was read."""
    read_inventory, written = taking_inventory.read_inventory, TEXT.replace("m5", "m7")

    def while_it_is_written(*args):
        write(bench, TEXT.replace("m5", "half"))
        report = read_inventory(*args)
        write(bench, written)
        return report

    write(bench, written)
    monkeypatch.setattr(taking_inventory, "read_inventory", while_it_is_written)
    materialized(bench)
    assert "half" in values(bench)
    monkeypatch.undo()
    assert materialized(bench)[0]["outcome"] == "read"
    assert "m7" in values(bench)
