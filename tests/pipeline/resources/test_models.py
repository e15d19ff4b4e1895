"""Loading models safely, and what an encoder promises about its vectors."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from pydantic import ValidationError

from resources.errors import InputError
from resources.models import Encoder, ModelSpec, OpenClipModels
from tests import tiny

MINI = ModelSpec(model="embedded:mini", precision="fp32")

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
ARCHITECTURE = "panoptic-tiny"


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="session", autouse=True)
def tiny_architecture(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("architectures") / f"{ARCHITECTURE}.json"
    path.write_text(json.dumps(TINY))
    open_clip.add_model_config(path)


@pytest.fixture(scope="session")
def tiny_weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return open_clip.CLIP(**TINY).state_dict()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local hub cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def point_to_hub(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def no_hub(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to_hub("http://127.0.0.1:9", monkeypatch)


@pytest.fixture
def hub_without_models(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        point_to_hub(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        yield
        close_session()
        server.shutdown()


def write_model(folder: Path, weights: dict[str, torch.Tensor], **settings: Any) -> None:
    folder.mkdir(parents=True)
    config = {"model_cfg": TINY, "preprocess_cfg": settings}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(weights, folder / "open_clip_model.safetensors")


def load(folder: Path, model: str = ARCHITECTURE, **options: Any) -> Encoder:
    spec = ModelSpec(**({"model": model, "precision": "fp32"} | options))
    return OpenClipModels(folder=str(folder)).load(spec)


def pictures(number: int = 20) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (number, 40, 60, 3), dtype=np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def test_vectors_are_contiguous_float32_of_unit_length(mini_models: OpenClipModels) -> None:
    """D13, D22: 512 dimensions, normalized."""
    encoder = mini_models.load(MINI)

    for vectors in (encoder.encode_images(pictures(3)), encoder.encode_texts(["chat", "x", ""])):
        assert (vectors.shape, vectors.dtype) == ((3, encoder.dim), np.float32)
        assert encoder.dim == 512
        assert vectors.flags.c_contiguous
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_nothing_to_encode_gives_no_vectors(mini_models: OpenClipModels) -> None:
    encoder = mini_models.load(MINI)

    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, 512)


def test_a_vector_does_not_depend_on_the_pictures_it_is_encoded_with(
    mini_models: OpenClipModels,
) -> None:
    """To the bit: a refresh of one image must give what a refresh of all would have given."""
    encoder = mini_models.load(MINI)
    images = pictures()

    together = encoder.encode_images(images)

    alone = np.concatenate([encoder.encode_images([image]) for image in images])
    np.testing.assert_array_equal(together, alone)


def test_the_batch_size_changes_a_vector_by_float_noise_only(mini_models: OpenClipModels) -> None:
    """D25: batch_size is free to choose."""
    images = pictures()

    one = mini_models.load(MINI).encode_images(images)

    other = mini_models.load(MINI.model_copy(update={"batch_size": 7})).encode_images(images)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_model_is_loaded_once(mini_models: OpenClipModels) -> None:
    assert mini_models.load(MINI) is mini_models.load(MINI.model_copy())


def test_the_precision_that_was_chosen_at_first_is_kept(tmp_path: Path) -> None:
    """A later refresh must not mix precisions, whatever would be faster by then."""
    tiny.write_model(tmp_path / "model")
    auto = ModelSpec(model="local-dir:model")

    for precision in ("fp32", "bf16"):
        encoder = OpenClipModels(folder=str(tmp_path)).load(auto, {"precision": precision})
        assert encoder.identity["precision"] == precision


def test_another_precision_gives_nearly_the_same_vectors(tmp_path: Path) -> None:
    tiny.write_model(tmp_path / "model")
    images = pictures()

    low = load(tmp_path, "local-dir:model", precision="bf16").encode_images(images)

    full = load(tmp_path, "local-dir:model").encode_images(images)
    assert not np.array_equal(low, full)
    assert (low * full).sum(axis=1).min() > 0.998


@pytest.mark.parametrize("accelerator", ["none", "openvino"])
def test_no_speed_makes_a_precision_good_that_turns_the_vectors_of_photographs(
    accelerator: str, mini_models: OpenClipModels
) -> None:
    """In bf16, which is faster, a tenth of the sample has a cosine below .999, one of .991."""
    auto = mini_models.load(ModelSpec(model="embedded:mini", accelerator=accelerator))

    assert auto.identity["precision"] != "bf16"
    refused = r"in bf16 .* cosine 0\.9.* `precision: fp32`"
    if accelerator == "openvino":  # which asks the processor first
        refused += "|cannot compute in bf16 on this processor"
    spec = ModelSpec(model="embedded:mini", accelerator=accelerator, precision="bf16")
    with pytest.raises(InputError, match=refused):
        mini_models.load(spec).encode_images([])


def test_who_encodes_texts_alone_makes_nothing_for_images(
    mini_models: OpenClipModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch reads the texts, whatever runs the images."""
    monkeypatch.setattr("resources.models._encoders", {})
    monkeypatch.setattr("resources.backends.OpenVinoBackend.__init__", None)
    texts = ["une amphore", "a coin"]
    spec = ModelSpec(model="embedded:mini", accelerator="openvino", precision="fp32")
    found = mini_models.load(spec).encode_texts(texts)
    plain = mini_models.load(ModelSpec(model="embedded:mini", precision="fp32"))
    assert np.array_equal(found, plain.encode_texts(texts))


def test_what_encodes_images_is_made_once_whoever_asks_first(tmp_path: Path) -> None:
    tiny.write_model(tmp_path / "model")
    encoder = load(tmp_path, "local-dir:model")
    made = []
    make = encoder._make_backend

    def slowly() -> Any:
        made.append(1)
        time.sleep(0.2)
        return make()

    encoder._make_backend = slowly
    threads = [threading.Thread(target=lambda: encoder.dim) for _ in range(4)]
    for thread in threads:
        thread.start()
    with encoder.running():
        assert encoder.group
    for thread in threads:
        thread.join()
    assert made == [1]


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(640, 480), (33, 500), (20, 20), (1, 1)])
def test_a_picture_is_prepared_as_open_clip_does_it(
    resize_mode: str, size: tuple[int, int], tmp_path: Path
) -> None:
    tiny.write_model(tmp_path / "model")
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    encoder = load(tmp_path, "local-dir:model", resize_mode=resize_mode)
    preprocess = PreprocessCfg(**encoder.identity["preprocess"])
    expected = image_transform_v2(preprocess, is_train=False)(Image.fromarray(noise))

    pixels = encoder.prepare(Image.fromarray(noise))

    np.testing.assert_array_equal(pixels, expected.numpy())


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1)])
def test_no_picture_grows_large_on_its_way_to_the_model(
    resize_mode: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of 200,000 pixels, enlarged until its shorter side fits 32, would take 600 MB."""
    tiny.write_model(tmp_path / "model")
    encoder = load(tmp_path, "local-dir:model", resize_mode=resize_mode)
    grown = []
    resize = Image.Image.resize

    def recorded(self: Image.Image, *args: Any, **options: Any) -> Image.Image:
        grown.append(resize(self, *args, **options))
        return grown[-1]

    monkeypatch.setattr(Image.Image, "resize", recorded)

    pixels = encoder.prepare(Image.new("RGB", size, "white"))

    assert pixels.shape == (3, 32, 32)
    assert max((image.width * image.height for image in grown), default=0) <= 16 * 32 * 32


def test_the_input_size_and_the_way_to_it_can_be_chosen(mini_models: OpenClipModels) -> None:
    spec = MINI.model_copy(update={"image_size": 128, "resize_mode": "longest"})

    encoder = mini_models.load(spec)

    assert encoder.prepare(Image.new("RGB", (300, 200))).shape == (3, 128, 128)
    assert (encoder.identity["image_size"], encoder.side) == ([128, 128], 256)
    assert encoder.identity["resize_mode"] == "longest"
    assert encoder.encode_images(pictures()).shape[1] == 512


def test_a_model_file_that_asks_for_something_else_is_told_from_the_stored_identity(
    mini_models: OpenClipModels,
) -> None:
    identity = mini_models.load(MINI).identity

    assert MINI.differences(identity) == []
    assert MINI.model_copy(update={"precision": "auto"}).differences(identity) == []
    [difference] = MINI.model_copy(update={"image_size": 256}).differences(identity)
    assert difference == "image_size: [224, 224] is stored, [256, 256] is asked for"


def test_the_greyscale_twin_does_not_see_colours(mini_models: OpenClipModels, sample: Path) -> None:
    colours = Image.open(sample / "drawings/fruit/fruit_01.jpg").convert("RGB")
    grey = colours.convert("L").convert("RGB")
    twin = mini_models.load(MINI.model_copy(update={"greyscale": True}))

    a, b = twin.encode_images([colours, grey])
    c, d = mini_models.load(MINI).encode_images([colours, grey])

    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a, d, atol=1e-6)
    assert c @ d < 0.99


def test_an_identity_is_plain_json_and_tells_options_preprocessing_and_weights(
    mini_models: OpenClipModels,
) -> None:
    identity = mini_models.load(MINI).identity

    assert json.loads(json.dumps(identity)) == identity
    assert len(identity.pop("weights_sha256")) == 64
    assert identity == {
        "model": "embedded:mini",
        "pretrained": None,
        "greyscale": False,
        "accelerator": "none",
        "precision": "fp32",
        "image_size": [224, 224],
        "resize_mode": "squash",
        "decode_side": 448,
        "preprocess": {
            "size": 224,
            "mode": "RGB",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "squash",
            "fill_color": 0,
        },
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_local_checkpoint_gives_what_open_clip_gives(
    suffix: str, tiny_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """D60: any model of open_clip. The path starts at the project's folder."""
    path = tmp_path / "weights" / f"tiny{suffix}"
    path.parent.mkdir()
    save = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
    save(tiny_weights, path)
    images = pictures(3)
    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, str(path))
    with torch.inference_mode():
        pixels = torch.stack([preprocess(image) for image in images])
        expected = model.eval().encode_image(pixels, normalize=True).numpy()
        words = model.encode_text(open_clip.tokenize(["a cat"]), normalize=True).numpy()

    encoder = load(tmp_path, pretrained=f"weights/tiny{suffix}")

    np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(["a cat"]), words, atol=1e-5)
    assert encoder.identity["pretrained"] == f"tiny{suffix}"


def test_the_weights_hash_is_the_weights_and_not_the_file_format(
    tiny_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(tiny_weights, tmp_path / "a.pt")
    safetensors.torch.save_file(tiny_weights, tmp_path / "b.safetensors")
    changed = tiny_weights | {"visual.proj": tiny_weights["visual.proj"].clone()}
    changed["visual.proj"][0, 0] += 1e-6
    torch.save(changed, tmp_path / "c.pt")

    a, b, c = (
        load(tmp_path, pretrained=name).identity["weights_sha256"]
        for name in ("a.pt", "b.safetensors", "c.pt")
    )

    assert a == b != c


def test_a_local_folder_brings_its_own_preprocessing(
    tiny_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    write_model(tmp_path / "models" / "tiny", tiny_weights, resize_mode="squash", mean=[0, 0, 0])

    identity = load(tmp_path, "local-dir:models/tiny").identity

    assert identity["model"] == "local-dir:tiny"
    assert identity["preprocess"]["resize_mode"] == "squash"
    assert identity["preprocess"]["mean"] == [0, 0, 0]
    assert str(tmp_path) not in json.dumps(identity)


def test_a_checkpoint_without_a_config_is_given_the_preprocessing_of_its_architecture() -> None:
    from resources.models import _preprocessing

    assert _preprocessing("ViT-B-16-SigLIP")["image_mean"] == (0.5, 0.5, 0.5)
    assert _preprocessing("ViT-B-32")["image_resize_mode"] == "shortest"
    assert _preprocessing("ViT-L-14") == {}  # Its tags differ: open_clip's default.


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_vector_without_a_direction_is_refused(
    value: float, tiny_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    broken = tiny_weights | {"visual.proj": torch.full_like(tiny_weights["visual.proj"], value)}
    write_model(tmp_path / "broken", broken)
    encoder = load(tmp_path, "local-dir:broken")

    with pytest.raises(ValueError, match=r"image 0 of 2 .* no direction"):
        encoder.encode_images(pictures(2))


def test_weights_in_the_local_cache_load_without_a_hub(
    no_hub: None, empty_cache: Path, tiny_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    repository = empty_cache / "models--acme--tiny"
    write_model(repository / "snapshots" / ("0" * 40), tiny_weights)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)

    encoder = load(tmp_path, "hf-hub:acme/tiny")

    assert encoder.encode_texts(["a cat"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("model", "pretrained", "way_out"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k", "pretrained: path/to/open_clip_model.safetensors"),
        ("ViT-B-32", "openai", "model: local-dir:path/to/folder"),
        ("hf-hub:acme/tiny", None, "model: local-dir:path/to/folder"),
    ],
)
def test_a_hub_out_of_reach_fails_fast_and_names_the_ways_out(
    model: str, pretrained: str | None, way_out: str, no_hub: None, tmp_path: Path
) -> None:
    start = time.monotonic()

    with pytest.raises(InputError, match="cannot be reached") as failure:
        load(tmp_path, model, pretrained=pretrained)

    message = str(failure.value)
    assert way_out in message
    assert "model: embedded:mini" in message
    assert "configs/models/<key>.yaml" in message
    assert "\n" not in message
    # Not a speed claim: huggingface_hub's own retries take 46 s.
    assert time.monotonic() - start < 40


def test_a_model_that_the_hub_does_not_have_is_named(
    hub_without_models: None, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"acme/tiny was not given by the hub .* HF_TOKEN"):
        load(tmp_path, "hf-hub:acme/tiny")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": "ViT-B/32"}, r"no model 'ViT-B/32': the nearest are ViT-B-32"),
        ({"model": "zzz"}, r"no model 'zzz': choose one of .* Besides .* embedded:mini"),
        ({"model": "embedded:maxi"}, r"no model 'embedded:maxi': .* 'embedded:mini'"),
        ({"model": "ViT-B-32"}, r"has no weights yet: .* laion2b_s34b_b79k.* checkpoint"),
        (
            {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b97k"},
            r"neither a tag of ViT-B-32 nor a file .*the nearest are laion2b_s34b_b79k",
        ),
        (
            {"model": "ViT-B-32", "pretrained": "weights/gone.safetensors"},
            r"nor a file \(there is no .*gone\.safetensors\).* correct the path",
        ),
        ({"model": "embedded:mini", "pretrained": "x"}, r"pretrained: x cannot be used with"),
        ({"model": "local-dir:gone"}, r"gone is not the folder of an open_clip model"),
    ],
)
def test_what_cannot_be_found_is_named_with_a_remedy(
    spec: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as failure:
        load(tmp_path, **spec)

    assert "\n" not in str(failure.value)


def test_a_checkpoint_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "weights.npy", np.zeros(3))

    with pytest.raises(InputError, match=r"weights\.npy is not a checkpoint .*\.safetensors"):
        load(tmp_path, pretrained="weights.npy")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zeros.safetensors", bytes(100)),
        ("cut.safetensors", b"\xff" * 8),
        ("empty.pt", b""),
        ("text.pt", b"not a checkpoint"),
        ("cut.pt", b"PK\x03\x04" + bytes(50)),
    ],
)
def test_a_corrupted_checkpoint_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=rf"{name}.*fetch its files again") as failure:
        load(tmp_path, pretrained=name)

    assert "\n" not in str(failure.value)


def test_weights_of_another_architecture_are_refused(
    tiny_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Weights load strictly: none is left random."""
    others = {name: part for name, part in tiny_weights.items() if name != "visual.proj"}
    torch.save(others, tmp_path / "other.pt")

    with pytest.raises(InputError, match=r"other\.pt do not make .*visual\.proj.*architecture"):
        load(tmp_path, pretrained="other.pt")


def test_a_checkpoint_is_never_unpickled(tmp_path: Path) -> None:
    torch.save({"state_dict": Bomb(tmp_path / "exploded")}, tmp_path / "bomb.pt")

    with pytest.raises(InputError, match=r"bomb\.pt are damaged, or hold Python objects"):
        load(tmp_path, pretrained="bomb.pt")

    assert not (tmp_path / "exploded").exists()


def test_a_damaged_embedded_model_is_named_with_the_folder_to_delete(tmp_path: Path) -> None:
    (tmp_path / ".panoptic" / "models" / "mini").mkdir(parents=True)

    with pytest.raises(InputError, match=r"models/mini .*delete that folder: it is built again"):
        load(tmp_path, "embedded:mini")


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 4097}, {"modle": "x"}])
def test_a_model_file_with_a_wrong_field_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ModelSpec(**({"model": "embedded:mini"} | wrong))
