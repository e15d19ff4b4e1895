"""OpenClipModels: the models that turn images and texts into vectors, one per process.

Belongs here: finding a model's weights, loading them safely, running it. Does not belong here: how
the embedded model is made (``embedded_model``), decoding image files (``source``), keeping vectors
(``lance``).

torch and open_clip cost seconds to import, so they are imported where a model is loaded.
"""

import difflib
import hashlib
import json
import pickle
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
import numpy as np
import pydantic
from PIL import Image
from pydantic import Field

from resources.errors import InputError

if TYPE_CHECKING:
    import torch

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

_IMAGES_PER_FORWARD = {"cpu": 4, "cuda": 32}
"""Images in one forward pass. On a CPU few, so that what lies between two layers stays in the
caches: embedded:mini took half the time with 4 to 8 than with 32, ViT-B-32 the same."""

_TEXTS_PER_FORWARD = 256

_LOADING = threading.Lock()

_ENCODING = threading.Lock()
"""Limits on threads are of the whole process: two calls at once would restore each other's."""

T = TypeVar("T")
Report = Callable[[str], None]
Tokenizer = Callable[[list[str]], "torch.Tensor"]


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
    batch_size: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="Images handled at a time. A matter of speed, not of identity.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """The part of a model's identity that is known before it is loaded; paths become names."""
        _, local, path = self.model.partition(_LOCAL_DIR)
        return {
            "model": local + Path(path).name if local else self.model,
            "pretrained": self.pretrained and Path(self.pretrained).name,
            "greyscale": self.greyscale,
        }


class Encoder:
    """One loaded model.

    Attributes:
        identity: What makes two vectors comparable, as plain JSON data without paths: the options
            of its :class:`ModelSpec`, ``image_size``, ``preprocess`` and ``weights_sha256``.
        dim: Dimensions of its vectors.
    """

    def __init__(
        self,
        model: Any,
        options: dict[str, Any],
        make_tokenizer: Callable[[], Tokenizer],
    ):
        import torch
        from open_clip.transform import PreprocessCfg, image_transform_v2

        preprocess = PreprocessCfg(**model.visual.preprocess_cfg)
        identity = options | {
            "image_size": preprocess.size,
            "preprocess": asdict(preprocess),
            "weights_sha256": _weights_sha256(model),
        }
        # Tuples become lists, so that it equals what is read back from a store.
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._preprocess = image_transform_v2(preprocess, is_train=False)
        self._make_tokenizer = make_tokenizer
        self._greyscale = options["greyscale"]
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        # Halves the time of convolutions on a CPU; transformers don't care.
        self._model = model.eval().to(self._device, memory_format=torch.channels_last)
        with torch.inference_mode():
            blank = torch.zeros(1, *preprocess.input_size, device=self._device)
            self.dim = int(self._model.encode_image(blank).shape[1])

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Encode images.

        How they are batched changes a vector by float noise only.

        Returns:
            (n, dim) float32, C-contiguous, rows of unit length.

        Raises:
            ValueError: The model gave an image no direction: a zero, infinite or NaN vector.
        """
        import torch

        def encode(batch: Sequence[Image.Image]) -> np.ndarray:
            colours = (image.convert("L") if self._greyscale else image for image in batch)
            pixels = torch.stack([self._preprocess(image.convert("RGB")) for image in colours])
            pixels = pixels.to(self._device, memory_format=torch.channels_last)
            with torch.inference_mode():
                return self._model.encode_image(pixels).float().cpu().numpy()

        # Threads that each run a whole batch, instead of threads inside each operation: those wait
        # for one another by spinning, 5 times slower as soon as another process needs a core.
        with (
            _ENCODING,
            _single_threaded_operations() as threads,
            ThreadPoolExecutor(threads) as pool,
        ):
            batches = pool.map(encode, _batched(images, _IMAGES_PER_FORWARD[self._device]))
            return self._unit_length([*batches], "image")

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts into the space of the images; what exceeds the model's context is cut.

        Returns:
            (n, dim) float32, C-contiguous, rows of unit length.

        Raises:
            InputError: The model's tokenizer cannot be had.
            ValueError: The model gave a text no direction: a zero, infinite or NaN vector.
        """
        import torch

        with _ENCODING, torch.inference_mode():
            batches = [
                self._model.encode_text(self._tokenizer(list(batch)).to(self._device))
                for batch in _batched(texts, _TEXTS_PER_FORWARD)
            ]
        return self._unit_length([batch.float().cpu().numpy() for batch in batches], "text")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._make_tokenizer()

    def _unit_length(self, batches: list[np.ndarray], what: str) -> np.ndarray:
        vectors = np.concatenate([np.empty((0, self.dim), dtype=np.float32), *batches])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unusable = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if unusable.size:
            index = unusable[0]
            raise ValueError(
                f"The model {self.identity['model']} gave {what} {index} of {len(vectors)} "
                f"(counted from 0) a vector of length {lengths[index, 0]}, which has no direction."
            )
        return vectors / lengths


class OpenClipModels(dg.ConfigurableResource):
    """Models by their :class:`ModelSpec`, each loaded once in a process."""

    folder: str = Field(
        default="",
        description="The project's folder: embedded models are built below it and relative paths "
        "start there. Empty: the project that $PANOPTIC_PROJECT names or the working directory "
        "lies in.",
    )

    def load(self, spec: ModelSpec, on_build: Report | None = None) -> Encoder:
        """Load a model, on the GPU if there is one.

        Args:
            spec: The model.
            on_build: Called with a line of text before something that takes long: building the
                embedded model, fetching weights from a hub.

        Raises:
            InputError: There is no such model, or its weights cannot be had, read or used.
        """
        if self.folder:
            folder = Path(self.folder).expanduser().absolute()
        else:
            from resources.project import find

            folder = find().folder
        key = (folder, spec.model_copy(update={"batch_size": 1}))
        with _LOADING:
            if key not in _encoders:
                _encoders[key] = _load(folder, spec, on_build or (lambda line: None))
            return _encoders[key]


_encoders: dict[tuple[Path, ModelSpec], Encoder] = {}


def _load(folder: Path, spec: ModelSpec, report: Report) -> Encoder:
    bundled = spec.model.startswith(("embedded:", _LOCAL_DIR, _HF_HUB))
    if bundled and spec.pretrained:
        raise InputError(
            f"pretrained: {spec.pretrained} cannot be used with model: {spec.model}, which brings "
            "its own weights: delete that line, or name an architecture of open_clip."
        )
    if spec.model.startswith("embedded:"):
        return _load_embedded(folder / ".panoptic" / "models", spec, report)
    if spec.model.startswith(_LOCAL_DIR):
        return _load_local_dir(folder, spec)
    if spec.model.startswith(_HF_HUB):
        return _load_hf_hub(spec, report)
    return _load_architecture(folder, spec, report)


def _load_embedded(models: Path, spec: ModelSpec, report: Report) -> Encoder:
    from resources import embedded_model

    if spec.model != EMBEDDED:
        raise InputError(f"There is no model {spec.model!r}: the embedded one is {EMBEDDED!r}.")
    target = models / EMBEDDED.removeprefix("embedded:")
    if not target.exists():
        report(f"Building the model {EMBEDDED}: once for this project, in about 6 s.")
        embedded_model.build(target)
    with _plain_load_errors(EMBEDDED, target, "delete that folder: it is built again"):
        model = embedded_model.load(target)
    return Encoder(model, spec.options, lambda: embedded_model.tokenize)


def _load_local_dir(folder: Path, spec: ModelSpec) -> Encoder:
    path = folder / Path(spec.model.removeprefix(_LOCAL_DIR)).expanduser()
    weights = [file for file in path.glob("*") if file.suffix in _CHECKPOINT_SUFFIXES]
    if not weights or not (path / "open_clip_config.json").is_file():
        raise InputError(
            f"{path} is not the folder of an open_clip model: it needs open_clip_config.json and "
            "open_clip_model.safetensors. Correct the path in `model: local-dir:FOLDER`."
        )
    name = f"{_LOCAL_DIR}{path}"
    return Encoder(_create(name, path), spec.options, lambda: _tokenizer_of(name))


def _load_hf_hub(spec: ModelSpec, report: Report) -> Encoder:
    from open_clip.pretrained import download_pretrained_from_hf

    repository = spec.model.removeprefix(_HF_HUB)

    def fetch() -> None:
        download_pretrained_from_hf(repository, "open_clip_config.json")
        download_pretrained_from_hf(repository)

    _cache_first(fetch, f"The model {repository}", _AS_FOLDER, report)
    return Encoder(_create(spec.model, repository), spec.options, lambda: _tokenizer_of(spec.model))


def _load_architecture(folder: Path, spec: ModelSpec, report: Report) -> Encoder:
    import open_clip

    architectures = open_clip.list_models()
    if spec.model not in architectures:
        raise InputError(
            f"There is no model {spec.model!r}: {_nearest(spec.model, architectures)}. Besides the "
            f"architectures of open_clip there are {EMBEDDED}, local-dir:FOLDER and "
            "hf-hub:ORGANISATION/NAME."
        )
    tags = open_clip.list_pretrained_tags_by_model(spec.model)
    if not spec.pretrained:
        raise InputError(
            f"model: {spec.model} has no weights yet: write `pretrained:` with one of its tags "
            f"({', '.join(tags) or 'it has none'}) or with the path of a checkpoint."
        )
    tag = open_clip.get_pretrained_cfg(spec.model, spec.pretrained)
    path = folder / Path(spec.pretrained).expanduser()
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
            spec.model, repository, pretrained=spec.pretrained, force_quick_gelu=quick_gelu
        )
    elif not path.is_file():
        raise InputError(
            f"pretrained: {spec.pretrained} is neither a tag of {spec.model} nor a file (there is "
            f"no {path}): {_nearest(spec.pretrained, tags)}, or correct the path."
        )
    elif path.suffix not in _CHECKPOINT_SUFFIXES:
        raise InputError(
            f"{path} is not a checkpoint that can be read: give a file of open_clip weights with "
            f"one of the extensions {', '.join(_CHECKPOINT_SUFFIXES)}."
        )
    else:
        model = _create(spec.model, path, pretrained=str(path), **_preprocessing(spec.model))
    return Encoder(model, spec.options, lambda: _tokenizer_of(spec.model))


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
            f"The tokenizer of {name} needs a package that is not installed ({_brief(error)}): "
            "run `pip install transformers sentencepiece`."
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
            f"{what} is not on this machine and the hub {constants.ENDPOINT} cannot be reached "
            f"({reason}). In configs/models/<key>.yaml either {way_out}, or choose "
            f"`model: {EMBEDDED}`, which needs no hub."
        )
    if report:
        report(f"{what} is not on this machine: fetching it from {constants.ENDPOINT}.")
    try:
        return fetch()
    except OSError as error:
        raise InputError(
            f"{what} was not given by the hub {constants.ENDPOINT} ({_brief(error)}): correct the "
            "name, or set HF_TOKEN if it is private or gated."
        ) from error


@contextmanager
def _single_threaded_operations() -> Iterator[int]:
    """Make torch use one thread per operation; yields how many it used before."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


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
            f"The weights of {name} in {source} are damaged, or hold Python objects, which are "
            f"never loaded since they can run code: {remedy}, or use a .safetensors file."
        ) from error
    except Exception as error:  # A broken file or config makes the readers raise almost anything.
        if "loading state_dict" in str(error):
            remedy = "name the architecture that they were trained with"
        raise InputError(
            f"The weights in {source} do not make a model {name} ({_brief(error)}): {remedy}."
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


def _nearest(name: str, names: Sequence[str]) -> str:
    by_folded = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), by_folded, n=3)
    if near:
        return f"the nearest are {', '.join(by_folded[folded] for folded in near)}"
    return f"choose one of {textwrap.shorten(', '.join(names) or '(none)', 200, placeholder=' …')}"


def _brief(error: BaseException) -> str:
    """An exception's message on one line."""
    return textwrap.shorten(str(error) or type(error).__name__, 200, placeholder=" …")
