"""OpenClipModels: the models that turn images and texts into vectors, one per process.

Belongs here: finding a model's weights, loading them safely, running it. Does not belong here: how
the embedded model is made (``embedded_model``), decoding image files (``source``), keeping vectors
(``lance``).

torch and open_clip cost seconds to import, so they are imported where a model is loaded.

Long because every way in which open_clip finds weights, with what each can fail of, stands beside
the others.
"""

import difflib
import hashlib
import importlib.util
import json
import pickle
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pydantic
from pydantic import Field

from resources.errors import InputError, Message, message

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from resources.backends import Backend

EMBEDDED = "embedded:mini"
_LOCAL_DIR = "local-dir:"
_HF_HUB = "hf-hub:"

_CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")

_AS_FOLDER = (
    "fetch its open_clip_config.json and open_clip_model.safetensors elsewhere, put them into a "
    "folder and write `model: local-dir:path/to/folder`"
)

_PROBE_SECONDS = 5.0
"""How long the hub may take to answer at all. Left alone, huggingface_hub retries for 46 s."""

_TEXTS_PER_FORWARD = 256

_LOADING = threading.Lock()

_ENCODING = threading.Lock()
"""Limits on threads are of the whole process: two calls at once would restore each other's."""

_LONGEST_TO_SHORTEST = 16
"""Of a longer picture, only the middle is resized where the model takes a square of the middle:
60,000 x 1 pixels, enlarged until the shorter side fits, would take 9 GB."""

T = TypeVar("T")
Report = Callable[[str], None]
Tokenizer = Callable[[list[str]], "torch.Tensor"]
Loaded = tuple[Any, Callable[[], Tokenizer]]
"""A model of open_clip, and what makes its tokenizer."""


class ModelSpec(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One vector type as ``configs/models/<key>.yaml`` describes it."""

    model: str = Field(
        min_length=1,
        description="'embedded:mini', an architecture of open_clip, 'local-dir:FOLDER' or "
        "'hf-hub:ORGANISATION/NAME'.",
    )
    pretrained: str | None = Field(
        default=None,
        description="With an architecture: a tag of open_clip, or a checkpoint file; a relative "
        "path starts at the project's folder.",
    )
    greyscale: bool = Field(
        default=False, description="Take the colours away first: a colour-blind twin."
    )
    image_size: int | None = Field(
        default=None, ge=16, le=4096, description="Pixels of the model's input; empty: its own."
    )
    resize_mode: Literal["shortest", "longest", "squash"] | None = Field(
        default=None,
        description="How a picture gets that size: its shorter side and a central crop, its longer "
        "side and a border, or both sides; empty: as the model was trained.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="Numbers inside the model; auto: bf16 or fp16 where a short trial on this "
        "machine is faster and gives the same vectors (cosine .999), and for ever after what was "
        "chosen then.",
    )
    accelerator: Literal["none", "openvino"] = Field(
        default="none",
        description="What runs the model on a CPU: PyTorch, or OpenVINO of the extra accelerator.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Images in one pass of the model; empty: what measured best. A matter of "
        "speed, not of identity.",
    )
    duplicate_similarity: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Cosine from which two images count as duplicates, unless a run says "
        "otherwise; empty: 0.90 for embedded:mini, 0.95 for others. Not of identity.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """The part of a model's identity that is known before it is loaded; paths become names."""
        _, local, path = self.model.partition(_LOCAL_DIR)
        asked: dict[str, Any] = {
            "model": local + Path(path).name if local else self.model,
            "pretrained": self.pretrained and Path(self.pretrained).name,
            "greyscale": self.greyscale,
            "accelerator": self.accelerator,
        }
        if self.image_size:
            asked["image_size"] = [self.image_size, self.image_size]
        if self.resize_mode:
            asked["resize_mode"] = self.resize_mode
        if self.precision != "auto":
            asked["precision"] = self.precision
        return asked

    @property
    def duplicate_threshold(self) -> float:
        """Cosine from which two images count as duplicates."""
        usual = 0.90 if self.model == EMBEDDED else 0.95
        return self.duplicate_similarity or usual

    def differences(self, identity: dict[str, Any]) -> list[str]:
        """What this file asks otherwise than a stored identity says."""
        return [
            f"{name}: {identity.get(name)!r} is stored, {value!r} is asked for"
            for name, value in self.options.items()
            if identity.get(name) != value
        ]


class Encoder:
    """One loaded model.

    What encodes images is made, and compared with the reference, when the first image or one of
    :attr:`group`, :attr:`streams` and :attr:`dim` is asked for: who encodes texts does not wait for
    it. Each of these may raise an InputError: OpenVINO is missing, or gives other vectors.

    Attributes:
        identity: What makes two vectors comparable, as plain JSON data without paths: the options
            of its :class:`ModelSpec`, resolved, how a picture is prepared, and
            ``weights_sha256``.
        side: Pixels that the shorter side of a decoded picture should have: twice the input's.
            Decoding a JPEG no larger is 1.7 times faster (mean difference .004).
    """

    def __init__(
        self,
        model: Any,
        make_tokenizer: Callable[[], Tokenizer],
        spec: ModelSpec,
        cache: Path,
        report: Report,
    ):
        from open_clip.transform import PreprocessCfg, image_transform_v2

        from resources import backends

        preprocess = PreprocessCfg(**model.visual.preprocess_cfg)
        if spec.image_size:
            preprocess = replace(preprocess, size=spec.image_size)
        if spec.resize_mode:
            preprocess = replace(preprocess, resize_mode=spec.resize_mode)
        self._model = model.eval()
        weights = _weights_sha256(model)
        size = preprocess.input_size
        reference = backends.TorchBackend(self._model, "fp32", spec.batch_size)

        def backend(precision: str) -> backends.Backend:
            if spec.accelerator == "openvino":
                return backends.OpenVinoBackend(
                    self._model, precision, spec.batch_size, size, cache / "openvino", weights
                )
            return backends.TorchBackend(self._model, precision, spec.batch_size)

        precision: str = spec.precision
        if precision == "auto":
            report("Trying which precision is fastest on this machine: once for a vector type.")
            on_cpu = (
                ["bf16"]
                if spec.accelerator == "none"
                else backends.OpenVinoBackend.precisions()[1:]
            )
            candidates = on_cpu if reference.device == "cpu" else ["fp16", "bf16"]
            precision = backends.choose(backend, candidates, reference, size)

        def checked() -> backends.Backend:
            if (precision, spec.accelerator) == ("fp32", "none"):
                return reference
            made = backend(precision)
            what = f"{spec.accelerator.replace('none', 'PyTorch')} in {precision}"
            backends.check_backend(made, reference, size, what)
            return made

        self._make_backend = checked
        self._made: Backend | None = None
        self._device = reference.device
        self._input_size = size
        self.side = 2 * min(size[1:])
        identity = spec.options | {
            "precision": precision,
            "image_size": size[1:],
            "resize_mode": preprocess.resize_mode,
            "preprocess": asdict(preprocess),
            "decode_side": self.side,
            "weights_sha256": weights,
        }
        # Tuples become lists, so that it equals what is read back from a store.
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._preprocess = image_transform_v2(preprocess, is_train=False)
        # "longest" keeps the whole of a picture, as long as its shorter side is one pixel then.
        self._longest = {"shortest": _LONGEST_TO_SHORTEST, "longest": min(size[1:])}.get(
            preprocess.resize_mode
        )
        self._make_tokenizer = make_tokenizer
        self._greyscale = spec.greyscale

    @property
    def _backend(self) -> "Backend":
        if self._made is None:
            with _ENCODING:  # the trial of a backend limits threads, too
                self._made = self._made or self._make_backend()
        return self._made

    @property
    def group(self) -> int:
        """Most images of one :meth:`forward`."""
        return self._backend.group

    @property
    def streams(self) -> int:
        """Calls of :meth:`forward` that are worth running at once."""
        return self._backend.streams

    @cached_property
    def dim(self) -> int:
        """Dimensions of its vectors."""
        backend = self._backend
        nothing = np.zeros((backend.group, *self._input_size), np.float32)
        return backend.run(nothing).shape[1]

    def prepare(self, rgb: "Image.Image") -> np.ndarray:
        """Turn a picture into what the model takes: (3, height, width) float32; thread-safe.

        This is open_clip's own transform, to the bit. Only of a picture too long to be resized as
        it is, the ends are cut off first.
        """
        picture = self._without_ends(rgb)
        picture = picture.convert("L").convert("RGB") if self._greyscale else picture.convert("RGB")
        pixels: np.ndarray = self._preprocess(picture).numpy()
        return pixels

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within this, :meth:`forward` may be called from several threads at once."""
        backend = self._backend
        with _ENCODING, backend.running():
            yield

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Encode one group of prepared pictures; what else is in it does not change a vector.

        Args:
            pixels: (n, 3, height, width) float32, n at most :attr:`group`.

        Returns:
            (n, dim) float32, rows of unit length; NaN where the model gives no direction.
        """
        whole = np.zeros((self.group, *pixels.shape[1:]), np.float32)
        whole[: len(pixels)] = pixels
        vectors = self._backend.run(whole)[: len(pixels)]
        with np.errstate(divide="ignore", invalid="ignore"):
            unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        unit[~np.isfinite(unit).all(axis=1)] = np.nan
        return unit

    def encode_images(self, images: "Sequence[Image.Image]") -> np.ndarray:
        """Encode a few images at once.

        Returns:
            (n, dim) float32, C-contiguous, rows of unit length.

        Raises:
            ValueError: The model gave an image no direction: a zero, infinite or NaN vector.
        """
        groups = _batched(images, self.group)
        with self.running(), ThreadPoolExecutor(self.streams) as pool:
            parts = pool.map(
                lambda group: self.forward(np.stack([self.prepare(image) for image in group])),
                groups,
            )
            vectors = np.concatenate([np.empty((0, self.dim), np.float32), *parts])
        return self._with_direction(vectors, "image")

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts into the space of the images; what exceeds the model's context is cut.

        Returns:
            (n, dim) float32, C-contiguous, rows of unit length.

        Raises:
            InputError: The model's tokenizer cannot be had.
            ValueError: The model gave a text no direction: a zero, infinite or NaN vector.
        """
        import torch

        if not texts:
            return np.empty((0, self.dim), np.float32)
        with _ENCODING, torch.inference_mode():
            batches = [
                self._model.encode_text(self._tokenizer(list(batch)).to(self._device))
                for batch in _batched(texts, _TEXTS_PER_FORWARD)
            ]
        rows = [batch.float().cpu().numpy() for batch in batches]
        vectors = np.concatenate(rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return self._with_direction(unit, "text")

    def _without_ends(self, picture: "Image.Image") -> "Image.Image":
        if self._longest is None:
            return picture
        longest = self._longest * min(picture.size)
        width, height = (min(side, longest) for side in picture.size)
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._make_tokenizer()

    def _with_direction(self, vectors: np.ndarray, what: str) -> np.ndarray:
        unusable = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if unusable.size:
            raise ValueError(
                f"The model {self.identity['model']} gave {what} {unusable[0]} of {len(vectors)} "
                "(counted from 0) a vector that is zero or not finite, so it has no direction."
            )
        return vectors


class ModelNeededError(Exception):
    """A model would have to be loaded, where none shall be."""


class OpenClipModels(pydantic.BaseModel):
    """Models by their :class:`ModelSpec`, each loaded once in a process."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(
        default="",
        description="The project's folder: embedded models are built below it and relative paths "
        "start there. Empty: the project that $PANOPTIC_PROJECT names or the working directory "
        "lies in.",
    )

    def load(
        self,
        spec: ModelSpec,
        stored: dict[str, Any] | None = None,
        on_build: Report | None = None,
    ) -> Encoder:
        """Load a model, on the GPU if there is one.

        Args:
            spec: The model.
            stored: Identity of the encoder that made the vectors so far; what the model's file
                leaves open is taken from it.
            on_build: Called with a line of text before something that takes long: building the
                embedded model, fetching weights from a hub.

        Raises:
            InputError: There is no such model, or its weights cannot be had, read or used.
        """
        folder = self._folder_path
        if spec.precision == "auto" and stored:
            spec = spec.model_copy(update={"precision": stored["precision"]})
        with _LOADING:
            if (folder, spec) not in _encoders:
                report = on_build or (lambda line: None)
                model, make_tokenizer = _load(folder, spec, report)
                cache = folder / ".panoptic" / "models"
                encoder = Encoder(model, make_tokenizer, spec, cache, report)
                chosen = spec.model_copy(update={"precision": encoder.identity["precision"]})
                _encoders[folder, spec] = _encoders[folder, chosen] = encoder
            return _encoders[folder, spec]

    def check(self, spec: ModelSpec) -> None:
        """Refuse what can be refused without loading anything, and without asking a hub.

        Args:
            spec: The model.

        Raises:
            InputError: There is no such model, its files are missing, or what runs it is not
                installed.
        """
        if spec.accelerator == "openvino":
            from resources.backends import check_openvino

            check_openvino()
        folder = self._folder_path
        _check_own_weights(spec)
        if spec.model.startswith(_LOCAL_DIR):
            _model_folder(folder, spec)
        elif not _brings_weights(spec):
            _check_architecture(spec, _architectures())
            if not spec.pretrained:
                raise _without_weights(spec, message("open_clip knows them", id="tags-known-there"))
            if Path(spec.pretrained).suffix in _CHECKPOINT_SUFFIXES:  # no tag ends so
                _checkpoint(folder, spec, [])

    @property
    def _folder_path(self) -> Path:
        if self.folder:
            return Path(self.folder).expanduser().absolute()
        from resources.project_folder import find

        return find().folder


class UnloadedModels(OpenClipModels):
    """The same models in a process that loads none: the worker has them already, or will."""

    def load(
        self,
        spec: ModelSpec,
        stored: dict[str, Any] | None = None,
        on_build: Report | None = None,
    ) -> Encoder:
        """Raise :class:`ModelNeededError`."""
        raise ModelNeededError


_encoders: dict[tuple[Path, ModelSpec], Encoder] = {}


def _load(folder: Path, spec: ModelSpec, report: Report) -> Loaded:
    _check_own_weights(spec)
    if spec.model.startswith("embedded:"):
        return _load_embedded(folder / ".panoptic" / "models", spec, report)
    if spec.model.startswith(_LOCAL_DIR):
        return _load_local_dir(folder, spec)
    if spec.model.startswith(_HF_HUB):
        return _load_hf_hub(spec, report)
    return _load_architecture(folder, spec, report)


def _brings_weights(spec: ModelSpec) -> bool:
    return spec.model.startswith(("embedded:", _LOCAL_DIR, _HF_HUB))


def _check_own_weights(spec: ModelSpec) -> None:
    """Refuse other weights than a model brings, and an embedded model that there is not."""
    if _brings_weights(spec) and spec.pretrained:
        raise InputError(
            "pretrained: {pretrained} cannot be used with model: {model}, which brings its own "
            "weights: delete that line, or name an architecture of open_clip.",
            id="pretrained-with-bundled-model",
            pretrained=spec.pretrained,
            model=spec.model,
        )
    if spec.model.startswith("embedded:") and spec.model != EMBEDDED:
        raise InputError(
            "There is no model {model!r}: the embedded one is {embedded!r}.",
            id="no-such-embedded-model",
            model=spec.model,
            embedded=EMBEDDED,
        )


def _load_embedded(models: Path, spec: ModelSpec, report: Report) -> Loaded:
    from resources import embedded_model

    target = models / EMBEDDED.removeprefix("embedded:")
    if not target.exists():
        report(f"Building the model {EMBEDDED}: once for this project, in about 6 s.")
        embedded_model.build(target)
    with _plain_load_errors(EMBEDDED, target, "delete that folder: it is built again"):
        model = embedded_model.load(target)
    return model, lambda: embedded_model.tokenize


def _model_folder(folder: Path, spec: ModelSpec) -> Path:
    """The folder that ``local-dir:`` names, if it is one of a model."""
    path = _path(folder, spec.model.removeprefix(_LOCAL_DIR))
    weights = [file for file in path.glob("*") if file.suffix in _CHECKPOINT_SUFFIXES]
    if not weights or not (path / "open_clip_config.json").is_file():
        raise InputError(
            "{path} is not the folder of an open_clip model: it needs open_clip_config.json and "
            "open_clip_model.safetensors. Correct the path in `model: local-dir:FOLDER`.",
            id="no-open-clip-folder",
            path=path,
        )
    return path


def _load_local_dir(folder: Path, spec: ModelSpec) -> Loaded:
    path = _model_folder(folder, spec)
    name = f"{_LOCAL_DIR}{path}"
    return _create(name, path, **_sized(spec)), lambda: _tokenizer_of(name)


def _load_hf_hub(spec: ModelSpec, report: Report) -> Loaded:
    from open_clip.pretrained import download_pretrained_from_hf

    repository = spec.model.removeprefix(_HF_HUB)

    def fetch() -> None:
        download_pretrained_from_hf(repository, "open_clip_config.json")
        download_pretrained_from_hf(repository)

    _cache_first(fetch, f"The model {repository}", _AS_FOLDER, report)
    return _create(spec.model, repository, **_sized(spec)), lambda: _tokenizer_of(spec.model)


def _architectures() -> list[str]:
    """The names of open_clip's architectures, which has to be loaded with torch to say them."""
    found = importlib.util.find_spec("open_clip")
    assert found is not None and found.origin is not None  # noqa: S101
    return sorted(file.stem for file in Path(found.origin).parent.glob("model_configs/*.json"))


def _check_architecture(spec: ModelSpec, architectures: Sequence[str]) -> None:
    if spec.model not in architectures:
        raise InputError(
            "There is no model {model!r}: {nearest}. Besides the architectures of open_clip there "
            "are {embedded}, local-dir:FOLDER and hf-hub:ORGANISATION/NAME.",
            id="no-such-model",
            model=spec.model,
            nearest=_nearest(spec.model, architectures),
            embedded=EMBEDDED,
        )


def _without_weights(spec: ModelSpec, tags: str | Message) -> InputError:
    return InputError(
        "model: {model} has no weights yet: write `pretrained:` with one of its tags ({tags}) "
        "or with the path of a checkpoint.",
        id="model-without-weights",
        model=spec.model,
        tags=tags,
    )


def _load_architecture(folder: Path, spec: ModelSpec, report: Report) -> Loaded:
    import open_clip

    _check_architecture(spec, open_clip.list_models())
    tags = open_clip.list_pretrained_tags_by_model(spec.model)
    if not spec.pretrained:
        none = message("it has none", id="model-without-tags")
        raise _without_weights(spec, ", ".join(tags) or none)
    tag = open_clip.get_pretrained_cfg(spec.model, spec.pretrained)
    if tag:
        repository = tag["hf_hub"].rstrip("/")
        quick_gelu = tag.get("quick_gelu", False)
        own_gelu = open_clip.get_model_config(spec.model).get("quick_gelu", False)
        # The file alone tells neither preprocessing nor activation: the folder's config does.
        file_will_do = quick_gelu == own_gelu and _preprocessing(spec.model)
        as_file = (
            "fetch its open_clip_model.safetensors elsewhere and write "
            f"`pretrained: path/to/open_clip_model.safetensors` beside `model: {spec.model}`"
        )
        _cache_first(
            lambda: open_clip.download_pretrained(tag),
            f"The model {repository}",
            as_file if file_will_do else _AS_FOLDER,
            report,
        )
        # open_clip only warns when a tag was trained with another activation.
        model = _create(
            spec.model,
            repository,
            pretrained=spec.pretrained,
            force_quick_gelu=quick_gelu,
            **_sized(spec),
        )
    else:
        path = _checkpoint(folder, spec, tags)
        options = _preprocessing(spec.model) | _sized(spec)
        model = _create(spec.model, path, pretrained=str(path), **options)
    return model, lambda: _tokenizer_of(spec.model)


def _checkpoint(folder: Path, spec: ModelSpec, tags: Sequence[str]) -> Path:
    """The file that ``pretrained`` names, which is none of the tags.

    Args:
        folder: The project's.
        spec: The model.
        tags: Of its architecture, to name the nearest; empty where they are not known.
    """
    assert spec.pretrained is not None  # noqa: S101
    path = _path(folder, spec.pretrained)
    if not path.is_file():
        raise InputError(
            "pretrained: {pretrained} is neither a tag of {model} nor a file (there is no "
            "{path}): {nearest}, or correct the path.",
            id="no-such-pretrained",
            pretrained=spec.pretrained,
            model=spec.model,
            path=path,
            nearest=_nearest(spec.pretrained, tags)
            if tags
            else message("write one of its tags", id="write-one-of-its-tags"),
        )
    if path.suffix not in _CHECKPOINT_SUFFIXES:
        raise InputError(
            "{path} is not a checkpoint that can be read: give a file of open_clip weights with "
            "one of the extensions {suffixes}.",
            id="checkpoint-unreadable",
            path=path,
            suffixes=", ".join(_CHECKPOINT_SUFFIXES),
        )
    return path


def _sized(spec: ModelSpec) -> dict[str, Any]:
    """Another input size than the model's own: open_clip then resamples position embeddings."""
    return {"force_image_size": spec.image_size} if spec.image_size else {}


def _path(folder: Path, name: str) -> Path:
    try:
        return folder / Path(name).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InputError(
            "There is no home folder {folder}: correct {name!r}.",
            id="no-home-folder",
            folder=name.split("/")[0],
            name=name,
        ) from error


def _preprocessing(architecture: str) -> dict[str, Any]:
    """What all tags of an architecture agree on, for a checkpoint file, which doesn't say.

    Without it open_clip would feed a SigLIP checkpoint images that are normalised for CLIP.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    settings = ("mean", "std", "interpolation", "resize_mode")
    found = [{f"image_{name}": config.get(name) for name in settings} for config in configs]
    return found[0] if found and all(other == found[0] for other in found) else {}


def _create(name: str, source: Path | str, **options: Any) -> Any:
    """Create a model of open_clip from weights that are on this machine, never from random ones."""
    import open_clip
    from open_clip.pretrained import download_pretrained_from_hf

    with _hub_offline(), _plain_load_errors(name, source, "fetch its files again"):
        tower = open_clip.get_model_config(name)["text_cfg"].get("hf_model_name")
    if tower:  # Its weights are in the checkpoint, its shape is not.
        _cache_first(
            lambda: download_pretrained_from_hf(tower, "config.json"),
            f"The description of the text tower {tower}",
            "choose an architecture that brings its own text tower, such as `model: ViT-B-32`",
        )
    with _hub_offline(), _plain_load_errors(name, source, "fetch its files again"):
        return open_clip.create_model_from_pretrained(
            name, precision="fp32", return_transform=False, weights_only=True, **options
        )


def _tokenizer_of(name: str) -> Tokenizer:
    import open_clip

    try:
        return _cache_first(
            lambda: open_clip.get_tokenizer(name),
            f"The tokenizer of {name}",
            "put its files into the model's folder and write `model: local-dir:path/to/folder`",
        )
    except ImportError as error:
        raise InputError(
            "The tokenizer of {name} needs a package that is not installed ({reason}): run `pip "
            "install transformers sentencepiece`.",
            id="tokenizer-needs-package",
            name=name,
            reason=_brief(error),
        ) from error


def _cache_first(
    fetch: Callable[[], T], what: str, way_out: str, report: Report | None = None
) -> T:
    """What the local hub cache holds, else what the hub gives."""
    from huggingface_hub import constants

    with _hub_offline(), suppress(OSError):
        return fetch()
    if reason := _hub_silence():
        raise InputError(
            "{what} is not on this machine and the hub {hub} cannot be reached ({reason}). In "
            "configs/models/<key>.yaml either {way_out}, or choose `model: {embedded}`, which "
            "needs no hub.",
            id="hub-unreachable",
            what=what,
            hub=constants.ENDPOINT,
            reason=reason,
            way_out=way_out,
            embedded=EMBEDDED,
        )
    if report:
        report(f"{what} is not on this machine: fetching it from {constants.ENDPOINT}.")
    try:
        return fetch()
    except OSError as error:
        raise InputError(
            "{what} was not given by the hub {hub} ({reason}): correct the name, or set HF_TOKEN "
            "if it is private or gated.",
            id="hub-refuses",
            what=what,
            hub=constants.ENDPOINT,
            reason=_brief(error),
        ) from error


@contextmanager
def _hub_offline() -> Iterator[None]:
    """Keep huggingface_hub off the network; it reads the environment variable only at import."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_silence() -> str:
    """Why the hub gives no answer; empty if it gives one."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    reason = [f"no answer in {_PROBE_SECONDS:.0f} s"]

    def ask() -> None:
        try:
            # The hub's own session knows the proxies and certificates that a fetch will use.
            get_session().head(constants.ENDPOINT, timeout=_PROBE_SECONDS)
            reason[0] = ""
        except Exception as error:  # Its class depends on the HTTP library of huggingface_hub.
            reason[0] = _brief(error)

    # In a thread: that timeout bounds neither resolving the name nor trying all of its addresses.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return reason[0]


@contextmanager
def _plain_load_errors(name: str, source: Path | str, remedy: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(
            "The weights of {name} in {source} are damaged, or hold Python objects, which are "
            "never loaded since they can run code: {remedy}, or use a .safetensors file.",
            id="weights-damaged",
            name=name,
            source=source,
            remedy=remedy,
        ) from error
    except Exception as error:  # A broken file or config makes the readers raise almost anything.
        if "loading state_dict" in str(error):
            remedy = "name the architecture that they were trained with"
        raise InputError(
            "The weights in {source} do not make a model {name} ({reason}): {remedy}.",
            id="weights-of-another-model",
            source=source,
            name=name,
            reason=_brief(error),
            remedy=remedy,
        ) from error


def _weights_sha256(model: Any) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of the weights, whatever file held them."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _batched(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _nearest(name: str, names: Sequence[str]) -> Message:
    by_folded = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), by_folded, n=3)
    if near:
        names = [by_folded[folded] for folded in near]
        return message("the nearest are {names}", id="nearest-are", names=", ".join(names))
    known = textwrap.shorten(", ".join(names) or "(none)", 200, placeholder=" …")
    return message("choose one of {names}", id="choose-one-of", names=known)


def _brief(error: BaseException) -> str:
    """An exception's message on one line."""
    return textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" …")
