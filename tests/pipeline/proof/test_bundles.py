"""The evidence for a run in one file: whole, the same bytes each time, and checked without us."""

import ast
import csv
import io
import json
import random
import shutil
import subprocess
import sys
import zipfile
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import dagster as dg
import lancedb
import pyarrow as pa
import pytest

from panoptic_assets.labels import questions
from panoptic_assets.proof.bundle_check import Check, NotABundleError, chained, open_box
from panoptic_assets.proof.bundles import verify_program
from resources.project_folder import ProjectSettings, create, find
from resources.schemas import SCHEMAS
from tests.audited import KEY, written_labels
from tests.commands import refused, run
from tests.tiny import write_images, write_model
from tests.workbench import Workbench, bench_of


@pytest.fixture(scope="session")
def evidence(audited, once):
    """The bundle of that run, with its vectors."""

    def write(folder):
        bench_of(audited).read.bundle(KEY, folder / f"{KEY}.zip", vectors=True)

    return once("evidence", write) / f"{KEY}.zip"


@pytest.fixture
def unpacked(evidence, tmp_path):
    with zipfile.ZipFile(evidence) as box:
        box.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def findings(place):
    return Check(open_box(place)).all()


def with_right_manifest(folder):
    """Make the manifest that of the files as they are now, as a careful forger would."""
    listed = {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in folder.rglob("*")
        if path.is_file() and path.name != "MANIFEST.json"
    }
    (folder / "MANIFEST.json").write_text(json.dumps({"files": listed}))


def bare(interpreter, *arguments, cwd):
    return subprocess.run(
        [*interpreter, *map(str, arguments)], cwd=cwd, env={}, capture_output=True, text=True
    )


def test_a_bundle_says_of_what_images_were_forgotten_and_raises_no_alarm(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "p")
    bench = Workbench(find(tmp_path / "p"), dg.DagsterInstance.ephemeral())
    path = bench.read.files()["path"][0].as_py()
    run("forget", path, "--yes", cwd=tmp_path / "p")
    bench.read.bundle(KEY, tmp_path / "left.zip", vectors=True)
    check = Check(open_box(tmp_path / "left.zip"))
    assert check.all() == []
    assert any("images of it were forgotten" in text for text in check.skipped)


def test_a_bare_interpreter_checks_the_zip_and_the_folder(evidence, unpacked):
    for place in ([], [evidence]):
        answer = bare([sys.executable, "-I", "-S"], "verify.py", *place, cwd=unpacked)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "All that can be checked is as it was written." in answer.stdout
        assert "scores are not computed again: numpy is not installed" in answer.stdout
        assert "✗" not in answer.stdout


def test_an_environment_without_packages_checks_it_and_names_what_was_changed(unpacked, tmp_path):
    made = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    python = [made / "bin" / "python"]
    assert bare(python, "verify.py", cwd=unpacked).returncode == 0
    (unpacked / "tags.csv").write_text("")
    answer = bare(python, "verify.py", cwd=unpacked)
    assert answer.returncode == 1
    assert "✗ tags.csv: is not the file that the manifest lists" in answer.stdout


def test_with_numpy_scores_are_computed_again(evidence):
    check = Check(open_box(evidence))
    assert check.all() == []
    assert check.skipped == []


def test_the_bundle_holds_what_an_auditor_asks_for(unpacked):
    names = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*.*")}
    assert names >= {
        "README.md",
        "verify.py",
        "records.jsonl",
        "memberships.csv",
        "clusters.csv",
        "corpus.csv",
        "tag_log.jsonl",
        "labels.jsonl",
        "label_answers.jsonl",
        "environment.json",
        "licences/MODELS.md",
        f"configs/runs/{KEY}.yaml",
        "configs/models/tiny.yaml",
    }
    records = [json.loads(line) for line in (unpacked / "records.jsonl").open()]
    keys = [record["content"]["key"] for record in records]
    assert sorted(keys) == [KEY, KEY, f"{KEY}/3"], "older records, too, that tags were saved from"
    events = [json.loads(line) for line in (unpacked / "tag_log.jsonl").open()]
    assert [event["event"]["kind"] for event in events] == ["save", "rename", "assign", "save"]
    assert {event["event"]["property"] for event in events} == {"Clustering"}
    [prompt] = json.loads((unpacked / "label_prompts.json").read_text())
    assert prompt["system"] == questions.SYSTEM


def test_nothing_of_the_machine_and_no_secret_is_in_it(audited, unpacked):
    folder = str(audited.parent)
    for path in unpacked.rglob("*.*"):
        data = path.read_bytes()
        assert folder.encode() not in data, path
        assert str(Path.home()).encode() + b"/" not in data, path
        assert b"secret" not in data or path.name == "verify.py", path
    assert (
        (unpacked / "configs/models/tiny.yaml").read_text().startswith("model: local-dir:…/model\n")
    )


def test_the_same_state_gives_the_same_bytes_in_another_folder_and_process(
    audited, evidence, tmp_path
):
    folder = tmp_path / "moved"
    shutil.copytree(audited, folder)
    run("bundle", KEY, "--vectors", "-o", "other.zip", cwd=folder, process=True)
    assert (folder / "other.zip").read_bytes() == evidence.read_bytes()


ENDS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r"
"""What other readers than ours take for the end of a line."""


def with_line_ends(folder):
    """Put them wherever a text of people gets into a bundle; returns the project."""
    write_images(folder / "images", 12)
    write_model(folder / "model")
    names = {}
    for number, path in enumerate(sorted((folder / "images").rglob("*.jpg"))):
        end = (*ENDS, "\n", "\r\n")[number % (len(ENDS) + 2)]
        names[path.rename(path.with_name(f"a{end}b{number}.jpg"))] = f"x{end}y"
    with (folder / "inventory.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[path.relative_to(folder / "images"), value] for path, value in names.items()]
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["path", "Place"], *rows])
    inventory = str(folder / "inventory.csv")
    settings = ProjectSettings(
        images=str(folder / "images"), vector_type="tiny", metadata=inventory
    )
    project = create(folder / "project", settings)
    (project.configs / "models" / "tiny.yaml").write_text(f"model: local-dir:{folder / 'model'}\n")
    stray = project.configs / "runs" / KEY / "my notes.yaml"
    stray.parent.mkdir(parents=True)
    stray.write_text("# A draft.\r\n")
    bench = Workbench(find(project.folder), dg.DagsterInstance.ephemeral())
    bench.make("images")
    bench.make("inventory")
    bench.make("embeddings", "tiny")
    return bench


def test_texts_that_hold_what_ends_lines_elsewhere_condemn_no_bundle(tmp_path):
    """Lines end at a line feed alone: word processors put U+2028 into what people paste."""
    bench = with_line_ends(tmp_path)
    two = {"kmeans": {"nb_clusters": 2}}
    bench.make("clustering", KEY, method=two)
    bench.make("saved_clustering", KEY)
    bench.make("tags", edits=[{"rename": {"tag": "0", "to": "A B"}}])
    values = sorted({*bench.read.property_values("Place")["value"].to_pylist()})
    scopes = {
        "tagged": {"tag": {"path": "A\u2028\x85B"}},
        "placed": {"property": {"property": "Place", "values": values}},
    }
    for key, scope in scopes.items():
        bench.make("clustering", key, method=two, scope=scope)
    written_labels(bench, task=f"Name it{ENDS}in /one/or/two words.", label=f"Vases{ENDS}bleus")
    for key in (KEY, *scopes):
        bench.read.bundle(key, tmp_path / f"{key}.zip", vectors=True)
        check = Check(open_box(tmp_path / f"{key}.zip"))
        assert (check.all(), check.skipped) == ([], [])
    with zipfile.ZipFile(tmp_path / f"{KEY}.zip") as box:
        box.extractall(tmp_path / "unpacked")
    answer = bare([sys.executable, "-I", "-S"], "verify.py", cwd=tmp_path / "unpacked")
    assert answer.returncode == 0, answer.stdout
    said = "".join(path.read_bytes().decode() for path in (tmp_path / "unpacked").glob("*.*"))
    assert not [end for end in "\u2028\u2029\x85\r" if end not in said], "all that JSON keeps"


@pytest.mark.parametrize(
    ("answered", "labelled"), [("Label: **Vases**",) * 2, ("Vases", "# Vases")]
)
def test_labels_that_an_earlier_version_stored_with_marks_condemn_no_bundle(
    audited, tmp_path, answered, labelled
):
    """And one run's answer may have been asked for anew by another one since."""
    shutil.copytree(audited, tmp_path / "p")
    bench = Workbench(find(tmp_path / "p"), dg.DagsterInstance.ephemeral())
    written_labels(bench, label=labelled)
    written_labels(bench, label=answered)
    rows = bench.store.read("labels").to_pylist()
    rows = [row | {"label": labelled} for row in rows]
    bench.store.upsert("labels", pa.Table.from_pylist(rows, SCHEMAS["labels"]))
    bench.read.bundle(KEY, tmp_path / "b.zip", vectors=True)
    assert findings(tmp_path / "b.zip") == []
    assert set(bench.read.labels(KEY)["label"].to_pylist()) == {"Vases"}


def test_labels_of_what_is_stale_by_now_condemn_no_bundle(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "p")
    bench = Workbench(find(tmp_path / "p"), dg.DagsterInstance.ephemeral())
    bench.make("nested_clustering", f"{KEY}/1", method={"kmeans": {"nb_clusters": 2}})
    written_labels(bench)
    bench.make("clustering", KEY, method={"kmeans": {"nb_clusters": 5}}, replace=True)
    bench.read.bundle(KEY, tmp_path / "left.zip")
    assert findings(tmp_path / "left.zip") == []


def test_a_corpus_of_which_the_version_is_gone_condemns_no_bundle(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "p")
    bench = Workbench(find(tmp_path / "p"), dg.DagsterInstance.ephemeral())
    rows = bench.store.read("files")
    gone = rows.set_column(
        rows.schema.get_field_index("status"), "status", pa.array(["missing"] * len(rows))
    )
    bench.store.overwrite("files", gone, {})
    table = lancedb.connect(bench.project.store).open_table("files")
    for name in list(table.tags.list()):
        table.tags.delete(name)
    bench.store.optimize("files", timedelta(0))
    bench.read.bundle(KEY, tmp_path / "later.zip")
    check = Check(open_box(tmp_path / "later.zip"))
    assert check.all() == []
    assert "the corpus of that time is not known: corpus.csv is a later one" in check.skipped


def test_a_bundle_that_would_not_pass_its_own_check_is_not_written(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "p")
    bench = Workbench(find(tmp_path / "p"), dg.DagsterInstance.ephemeral())
    rows = bench.store.read("clusters", where=f"key = '{KEY}'").to_pylist()
    changed = pa.Table.from_pylist([row | {"size": 1} for row in rows], SCHEMAS["clusters"])
    bench.store.upsert("clusters", changed)
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / "mine.zip"
    mine.write_text("mine")
    for target, more in ((tmp_path / "out" / "new.zip", []), (mine, ["--replace"])):
        line = refused("bundle", KEY, "-o", target, *more, cwd=tmp_path / "p")
        assert f"No bundle of {KEY} is written, since it would not pass its own check: " in line
        assert "clusters.csv: " in line
        assert f"`panoptic-assets verify {KEY}`" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.zip"]
    assert mine.read_text() == "mine"


def flipped(data):
    """One bit of the last byte that is no line feed, else a byte more."""
    stripped = data.rstrip(b"\n")
    return stripped[:-1] + bytes([stripped[-1] ^ 1]) if stripped else b"\n"


def test_one_changed_byte_of_any_file_names_the_file(unpacked):
    names = sorted(p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file())
    assert len(names) >= 20
    for name in names:
        path = unpacked / name
        before = path.read_bytes()
        path.write_bytes(flipped(before))
        assert any(found.startswith(f"{name}:") for found in findings(unpacked)), name
        path.write_bytes(before)
    assert findings(unpacked) == []


def test_a_file_that_is_missing_or_added_is_named(unpacked):
    (unpacked / "licences" / "LICENSE").unlink()
    (unpacked / "memberships_2.csv").write_text("")
    assert findings(unpacked) == [
        "licences/LICENSE: is missing",
        "memberships_2.csv: is not in the manifest",
    ]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def table_of(path):
    return list(csv.reader(io.StringIO(path.read_text())))


def write_table(path, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue())


def in_record(*place, value):
    def change(folder):
        lines = lines_of(folder / "records.jsonl")
        content = lines[-1]["content"]
        for part in place[:-1]:
            content = content[part]
        content[place[-1]] = value
        write_lines(folder / "records.jsonl", lines)

    return change


def in_table(name, column, value):
    """Give the last row another value."""

    def change(folder):
        rows = table_of(folder / name)
        rows[-1][rows[0].index(column)] = value
        write_table(folder / name, rows)

    return change


def without_row(name):
    def change(folder):
        write_table(folder / name, table_of(folder / name)[:-1])

    return change


def in_log(change_lines, chain=False):
    def change(folder):
        lines = lines_of(folder / "tag_log.jsonl")
        change_lines(lines)
        link = ""
        for line in lines if chain else ():
            link = line["chain"] = chained(link, {k: v for k, v in line.items() if k != "chain"})
        write_lines(folder / "tag_log.jsonl", lines)

    return change


def another_author(lines):
    lines[1]["author"] = "Eve"


def another_image(lines):
    pairs = lines[0]["event"]["images"]
    pairs[0][0] = next(tag for tag, _ in pairs if tag != pairs[0][0])


def in_prompt(folder):
    path = folder / "label_prompts.json"
    path.write_text(path.read_text().replace("You name", "You sing"))


def in_label(folder):
    path = folder / "labels.jsonl"
    path.write_text(path.read_text().replace("Vases", "Bottles"))


def in_vectors(folder):
    """Another number, and its hash set right."""
    [path] = (folder / "vectors").glob("*.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    row = bytes(data[-64 * 4 :])
    in_table(f"vectors/{path.stem}.csv", "sha256", sha256(row).hexdigest())(folder)


PLANTED = {
    "a parameter": (
        in_record("config", "method", "kmeans", "nb_clusters", value=7),
        "records.jsonl: greek@2-",
        "config.method.kmeans.nb_clusters is not what was sealed",
    ),
    "a library": (
        in_record("libraries", "numpy", value="0"),
        "records.jsonl:",
        "libraries.numpy is not what was sealed",
    ),
    "a count": (
        in_record("counts", "clustered", value=59),
        "records.jsonl:",
        "counts.clustered is 59, memberships.csv has 60",
    ),
    "a moved membership": (
        in_table("memberships.csv", "cluster", "remainder"),
        "memberships.csv: greek@2-",
        "do not hash to its output",
    ),
    "a dropped membership": (
        without_row("memberships.csv"),
        "memberships.csv: greek@2-",
        "do not hash to its scope",
    ),
    "a size": (in_table("clusters.csv", "size", "99"), "clusters.csv:", "has 99 images"),
    "a score": (
        in_table("clusters.csv", "score", "1.0"),
        "clusters.csv:",
        "the score of cluster",
    ),
    "a medoid": (in_table("clusters.csv", "medoid", "0" * 64), "clusters.csv:", "the medoid of"),
    "a path": (
        in_table("corpus.csv", "path", "elsewhere.jpg"),
        "corpus.csv:",
        "is not the corpus version",
    ),
    "a vector's hash": (
        in_table("vectors/tiny@2.csv", "sha256", "0" * 64),
        "vectors/tiny@2.npy:",
        "is not that of",
    ),
    "a vector": (in_vectors, "vectors/tiny@2.npy:", "do not hash to what it read"),
    "a dropped event": (
        in_log(lambda lines: lines.pop(1)),
        "tag_log.jsonl: event 4",
        "one before it was changed",
    ),
    "an author": (in_log(another_author), "tag_log.jsonl: event 2", "was changed"),
    "a dropped event, chained anew": (
        in_log(lambda lines: lines.pop(1), chain=True),
        "tags.csv:",
        "the tag log makes another tag",
    ),
    "a saved image, chained anew": (
        in_log(another_image, chain=True),
        "tag_log.jsonl: event 1:",
        "has other images than greek/",
    ),
    "a tag's name": (in_table("tags.csv", "name", "Pots"), "tags.csv:", "makes another tag"),
    "a tag of an image": (without_row("image_tags.csv"), "image_tags.csv:", "says otherwise"),
    "a prompt": (in_prompt, "label_prompts.json:", "has another text"),
    "a label": (in_label, "labels.jsonl:", "no answer gives"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_forged_bundle_with_a_right_manifest_is_found_out(unpacked, what):
    change, where, said = PLANTED[what]
    change(unpacked)
    with_right_manifest(unpacked)
    found = findings(unpacked)
    assert any(one.startswith(where) and said in one for one in found), found


def member(name, data=b"x", mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info, data


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("../evil.py")], "no name that a bundle has"),
        ([member("/etc/passwd")], "no name that a bundle has"),
        ([member("a/../../b")], "no name that a bundle has"),
        ([member("tags.csv"), member("tags.csv")], "is there twice"),
        ([member("link", b"/etc/passwd", 0o120777)], "is not a plain file"),
        ([member("tags.csv", bytes(50 * 2**20))], "would unpack from"),
        ([member("tags.csv")], "it has no MANIFEST.json"),
        (None, "is not a zip file"),
    ],
)
def test_a_zip_that_is_made_to_do_harm_is_refused(tmp_path, members, said):
    path = tmp_path / "hostile.zip"
    path.write_bytes(b"PK nothing")
    if members is not None:
        with zipfile.ZipFile(path, "w") as box:
            for info, data in members:
                box.writestr(info, data)
    with pytest.raises(NotABundleError, match=said):
        open_box(path)
    assert [file.name for file in tmp_path.iterdir()] == ["hostile.zip"]


def test_a_zip_that_is_damaged_anywhere_gives_findings_and_no_stack_trace(evidence, tmp_path):
    data = evidence.read_bytes()
    path = tmp_path / "damaged.zip"
    for place in random.Random(0).sample(range(len(data)), 60):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            found = findings(path)
        except NotABundleError:
            continue
        # Some bytes of a zip say nothing of what is in it, such as a time.
        assert found or everything(path) == everything(evidence)


def everything(file):
    with zipfile.ZipFile(file) as box:
        return {name: box.read(name) for name in box.namelist()}


def test_a_link_in_an_unpacked_bundle_is_refused(unpacked):
    (unpacked / "notes.txt").symlink_to("/etc/passwd")
    with pytest.raises(NotABundleError, match="is a link"):
        open_box(unpacked)


def test_nonsense_in_a_file_is_a_finding_and_no_stack_trace(unpacked):
    for name in ("bundle.json", "records.jsonl", "tag_log.jsonl", "memberships.csv"):
        (unpacked / name).write_text('{"a": [}\n')
    with_right_manifest(unpacked)
    found = findings(unpacked)
    assert any(one.startswith("records.jsonl: cannot be read") for one in found)


def test_the_program_is_one_file_of_the_standard_library_whose_names_do_not_clash():
    tree = ast.parse(verify_program())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"numpy"}
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(defined) == len(set(defined))
    assert {"replay", "changed", "main"} <= set(defined)
    assert "python verify.py" in str(ast.get_docstring(tree))


def test_a_bundle_is_there_whole_or_not_at_all_and_replaces_nothing_unasked(audited, tmp_path):
    folder = shutil.copytree(audited, tmp_path / "p")
    target = tmp_path / "b.zip"
    target.write_text("mine")
    line = refused("bundle", KEY, "-o", target, cwd=folder)
    assert "is there already" in line
    assert target.read_text() == "mine"
    answer = run("bundle", KEY, "-o", target, "--replace", cwd=folder)
    assert "sha256 of its MANIFEST.json: " in answer.stdout
    assert findings(target) == []
    assert "There is no clustering 'nothing'" in refused("bundle", "nothing", cwd=folder)
    nowhere = tmp_path / "no" / "b.zip"
    assert "is not a folder" in refused("bundle", KEY, "-o", nowhere, cwd=folder)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.zip", "p"]
