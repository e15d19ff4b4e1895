"""Backends: the reference's vectors, whatever runs the model; and the trial that chooses."""

import sys
from pathlib import Path

import numpy as np
import pytest

from resources import backends
from resources.errors import InputError
from resources.models import ModelSpec, OpenClipModels
from tests.tiny import write_model

SIZE = (3, 32, 32)
LOCAL = "local-dir:model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model")
    return tmp_path


def encoder(folder, **options):
    return OpenClipModels(folder=str(folder)).load(ModelSpec(model=LOCAL, **options))


def test_openvino_gives_the_vectors_of_pytorch(folder):
    pixels = backends.trial_pictures((4, *SIZE))
    torch = encoder(folder, precision="fp32")
    openvino = encoder(folder, precision="fp32", accelerator="openvino")
    with torch.running():
        reference = torch.forward(pixels)
    with openvino.running():
        vectors = openvino.forward(pixels)
    assert backends.least_cosine(vectors, reference) > 0.99999
    assert openvino.identity["accelerator"] == "openvino"


def test_a_vector_of_openvino_does_not_depend_on_its_group(folder):
    pixels = backends.trial_pictures((8, *SIZE))
    one = encoder(folder, precision="fp32", accelerator="openvino")
    together = one.forward(pixels)
    alone = np.concatenate([one.forward(pixels[row : row + 1]) for row in range(8)])
    np.testing.assert_array_equal(together, alone)


def test_the_converted_model_is_kept_and_no_draft_is_left(folder):
    assert encoder(folder, precision="fp32", accelerator="openvino").group
    [kept] = (folder / ".panoptic" / "models" / "openvino").iterdir()
    assert sorted(file.name for file in kept.iterdir()) == ["model.bin", "model.xml"]


def test_a_damaged_converted_model_is_converted_again(folder, monkeypatch):
    """A full disk or a crash may leave one."""
    monkeypatch.setattr("resources.models._encoders", {})
    options = {"precision": "fp32", "accelerator": "openvino"}
    pixels = backends.trial_pictures((4, *SIZE))
    before = encoder(folder, **options).forward(pixels)
    [file] = (folder / ".panoptic" / "models" / "openvino").rglob("model.xml")
    file.write_text("<net>")
    monkeypatch.setattr("resources.models._encoders", {})
    np.testing.assert_array_equal(encoder(folder, **options).forward(pixels), before)
    assert file.stat().st_size > 100


def test_openvino_does_not_report_to_its_makers(folder):
    """No telemetry."""
    assert encoder(folder, precision="fp32", accelerator="openvino").group
    assert sys.modules.get("openvino_telemetry") is None


def test_a_precision_that_the_processor_lacks_is_refused(folder):
    with pytest.raises(InputError, match="cannot compute in fp16"):
        encoder(folder, precision="fp16", accelerator="openvino").dim  # noqa: B018


def test_a_missing_openvino_is_named_with_its_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = encoder(folder, precision="fp32", accelerator="openvino")
    with pytest.raises(InputError, match="extra `accelerator`"):
        found.dim  # noqa: B018


class Multiply:
    """A backend whose vectors are the mean colours, off by an angle; slow as it is told."""

    def __init__(self, tilt=0.0, passes=1):
        self.group, self.streams, self._tilt, self._passes = 4, 1, tilt, passes

    def run(self, pixels):
        for _ in range(self._passes * 20):
            vectors = pixels.mean(axis=(2, 3)).copy()
        vectors[:, 0] += self._tilt
        return vectors

    def running(self):
        import contextlib

        return contextlib.nullcontext()


def test_a_backend_that_gives_other_vectors_is_refused_with_the_figure():
    with pytest.raises(InputError, match=r"cosine -?0\.\d+ to PyTorch"):
        backends.check_backend(Multiply(tilt=1.0), Multiply(), SIZE, "OpenVINO in fp32")


def test_a_backend_without_a_direction_is_refused():
    with pytest.raises(InputError, match="cosine nan"):
        backends.check_backend(Multiply(tilt=np.nan), Multiply(), SIZE, "OpenVINO in fp32")


@pytest.mark.parametrize(
    ("low", "chosen"),
    [
        (Multiply(passes=1), "bf16"),
        (Multiply(passes=100), "fp32"),
        (Multiply(passes=1, tilt=1.0), "fp32"),
    ],
    ids=["faster", "slower", "faster but different"],
)
def test_a_precision_is_chosen_when_it_is_faster_and_gives_the_same_vectors(low, chosen):
    made = {"fp32": Multiply(passes=10), "bf16": low}
    assert backends.choose(made.__getitem__, ["bf16"], Multiply(), SIZE) == chosen


def test_a_precision_leaves_the_model_itself_as_it_was(folder):
    """Its texts, and the check against the reference, need the weights in fp32."""
    full = encoder(folder, precision="fp32")
    before = {name: weight.clone() for name, weight in full._model.state_dict().items()}
    short = backends.TorchBackend(full._model, "bf16", 4)
    vectors = short.run(backends.trial_pictures((4, *SIZE)))
    after = full._model.state_dict()
    assert vectors.dtype == np.float32
    assert all(weight.dtype == after[name].dtype for name, weight in before.items())
    assert all((weight == after[name]).all() for name, weight in before.items())
