"""Backends: what runs a model's image tower, and in which numbers.

Belongs here: PyTorch and OpenVINO behind one interface, and the trial that chooses between
precisions. Does not belong here: weights, preprocessing, identity (``models``).

A backend always runs whole groups of one size. Kernels chosen for another size differ in the last
bits, so a short group is filled up: a vector is the same to the bit whichever pictures it is
computed with.
"""

import contextlib
import copy
import importlib.util
import os
import shutil
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from resources.errors import InputError

Precision = str
"""``fp32``, ``bf16`` or ``fp16``."""

_TORCH_GROUP = {"cpu": 4, "cuda": 32}
"""Images in one pass. On a CPU few, so that what lies between two layers stays in the caches:
embedded:mini took half the time with 4 to 8 than with 32, ViT-B-32 the same."""
_OPENVINO_GROUP = 8

_MIN_COSINE = 0.999
"""Between a vector and that of the reference, which is PyTorch in fp32."""
_MIN_SPEEDUP = 1.15
_TRIALS = 3
_TRIAL_PICTURES = 8


class Backend(Protocol):
    """Runs groups of prepared pictures."""

    group: int
    """Images of one pass."""
    streams: int
    """Passes worth running at once."""

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """(group, 3, height, width) float32 to (group, dim) float32, of any length."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Within this, :meth:`run` may be called from several threads at once."""


class TorchBackend:
    """PyTorch, on the GPU if there is one."""

    def __init__(self, model: Any, precision: Precision, group: int | None):
        import torch

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.group = group or _TORCH_GROUP[self.device]
        # Threads that each run a whole group, instead of threads inside each operation: those wait
        # for one another by spinning, 5 times slower as soon as another process needs a core.
        self.streams = torch.get_num_threads() if self.device == "cpu" else 1
        # Halves the time of convolutions on a CPU; transformers don't care.
        self._model = model.to(self.device, memory_format=torch.channels_last)
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        if self._dtype is not None:
            self._model = _with_short_weights(self._model, self._dtype)

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """See :class:`Backend`."""
        import torch

        batch = torch.from_numpy(pixels)
        if self.device == "cuda":
            batch = batch.pin_memory()
        batch = batch.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        with (
            torch.inference_mode(),
            torch.autocast(self.device, self._dtype, enabled=self._dtype is not None),
        ):
            vectors: np.ndarray = self._model.encode_image(batch).float().cpu().numpy()
        return vectors

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """See :class:`Backend`."""
        import torch

        threads = torch.get_num_threads()
        if self.device == "cpu":
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


class OpenVinoBackend:
    """OpenVINO on the CPU: on 2 cores twice PyTorch for embedded:mini, a quarter more for ViT-B-32
    in fp32; in bf16, where the processor has it, more than twice again.

    Args:
        model: The open_clip model.
        precision: ``fp32`` or ``bf16``.
        group: Images of one pass; None: what measured best.
        input_size: (3, height, width).
        cache: Folder for the converted model; converting takes up to 10 s.
        name: Of the converted model: hash of the weights.

    Raises:
        InputError: OpenVINO is not installed, or the processor lacks the precision.
    """

    def __init__(
        self,
        model: Any,
        precision: Precision,
        group: int | None,
        input_size: tuple[int, int, int],
        cache: Path,
        name: str,
    ):
        ov = _openvino()
        if precision not in self.precisions():
            raise InputError(
                "OpenVINO cannot compute in {precision} on this processor: write `precision: "
                "auto` or one of {precisions}.",
                id="openvino-precision",
                precision=precision,
                precisions=", ".join(self.precisions()),
            )
        self.group = group or _OPENVINO_GROUP
        self.streams = _cores()
        shape = (self.group, *input_size)
        path = (
            cache / f"{name[:16]}-{'x'.join(map(str, shape))}-{ov.__version__[:20]}" / "model.xml"
        )
        options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": self.streams,
            "NUM_STREAMS": self.streams,
        }
        if not path.is_file():
            _convert(model, shape, path)
        try:
            self._compiled = ov.Core().compile_model(path, "CPU", options)
        except RuntimeError:  # the file is damaged
            shutil.rmtree(path.parent, ignore_errors=True)
            _convert(model, shape, path)
            self._compiled = ov.Core().compile_model(path, "CPU", options)

    @staticmethod
    def precisions() -> list[Precision]:
        """What the processor computes in; it would silently take fp32 for anything else."""
        found = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["fp32", *(["bf16"] if "BF16" in found else [])]

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """See :class:`Backend`."""
        [vectors] = self._compiled.create_infer_request().infer([pixels]).values()
        return np.array(vectors, dtype=np.float32)

    def running(self) -> contextlib.AbstractContextManager[None]:
        """See :class:`Backend`."""
        return contextlib.nullcontext()


def trial_pictures(shape: tuple[int, ...]) -> np.ndarray:
    """Prepared pictures that differ as photographs and drawings do, the same everywhere; float32.

    Noise of every scale, from fine grain to soft light, under ever more flat rectangles. They are
    as hard on a precision as real pictures: embedded:mini in bf16 has a least cosine of .986 on
    them, .991 on the sample's 253 pictures, but .9995 on soft noise alone.
    """
    from PIL import Image

    random = np.random.default_rng(0)
    pictures = np.empty(shape, np.float32)
    height, width = shape[-2:]
    for index, picture in enumerate(pictures):
        for channel in picture:
            channel[:] = 0
            for cells in (1, 2, 4, 8, 16, 32, 64):
                coarse = random.random((cells + 1, cells + 1), dtype=np.float32)
                layer = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
                channel += np.asarray(layer) * cells ** -(index % 4 / 2)
        picture -= picture.min()
        picture /= picture.max()
        for _ in range(index % 8):
            top, left = random.integers(0, (height, width))
            colour = random.random((3, 1, 1))
            picture[:, top : top + height // 6, left : left + width // 4] = colour
        picture -= 0.5  # as models are used to: about 0, from -2 to 2
        picture *= 4
    return pictures


def least_cosine(vectors: np.ndarray, reference: np.ndarray) -> float:
    """The smallest cosine between a row and its reference; NaN where one has no direction."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(((vectors * reference).sum(axis=1) / lengths).min())


def check_backend(
    backend: Backend, reference: Backend, input_size: tuple[int, int, int], what: str
) -> None:
    """Compare a backend with the reference before it writes any vector.

    Raises:
        InputError: Their vectors differ.
    """
    cosine = _cosine(backend, reference, input_size)
    if not cosine >= _MIN_COSINE:
        raise InputError(
            "{what} does not give this model's vectors: cosine {cosine:.5f} to PyTorch in fp32, "
            "{min_cosine} is needed. Write `precision: fp32` in the model's file, or, if it says "
            "so, `accelerator: none`.",
            id="model-differs-on-accelerator",
            what=what,
            cosine=cosine,
            min_cosine=_MIN_COSINE,
        )


def choose(
    make: Callable[[Precision], Backend],
    candidates: list[Precision],
    reference: Backend,
    input_size: tuple[int, int, int],
) -> Precision:
    """The fastest precision that gives the reference's vectors, by a trial of a few passes.

    Another than fp32 must be clearly faster, so that the noise of a busy machine does not decide.
    """
    backends = {precision: make(precision) for precision in ("fp32", *candidates)}
    seconds = _seconds(backends, input_size)
    good = [
        precision
        for precision in candidates
        if seconds[precision] * _MIN_SPEEDUP <= seconds["fp32"]
        and _cosine(backends[precision], reference, input_size) >= _MIN_COSINE
    ]
    return min(good, key=seconds.__getitem__, default="fp32")


def _cosine(backend: Backend, reference: Backend, input_size: tuple[int, int, int]) -> float:
    pictures = trial_pictures((max(_TRIAL_PICTURES, backend.group), *input_size))
    return least_cosine(_run_all(backend, pictures), _run_all(reference, pictures))


def _run_all(backend: Backend, pictures: np.ndarray) -> np.ndarray:
    parts = []
    with backend.running():
        for start in range(0, len(pictures), backend.group):
            part = pictures[start : start + backend.group]
            whole = np.zeros((backend.group, *part.shape[1:]), np.float32)
            whole[: len(part)] = part
            parts.append(backend.run(whole)[: len(part)])
    return np.concatenate(parts)


def _seconds(
    backends: dict[Precision, Backend], input_size: tuple[int, int, int]
) -> dict[Precision, float]:
    """The shortest time of an image in each precision, the first pass left out.

    They take turns: other work of the machine slows all of them, and the shortest time least.
    """
    times: dict[Precision, list[float]] = {precision: [] for precision in backends}
    for _ in range(1 + _TRIALS):
        for precision, backend in backends.items():
            pictures = trial_pictures((backend.group, *input_size))
            with backend.running():
                started = time.perf_counter()
                backend.run(pictures)
                times[precision].append((time.perf_counter() - started) / backend.group)
    return {precision: min(found[1:]) for precision, found in times.items()}


def _with_short_weights(model: Any, dtype: Any) -> Any:
    """A copy whose image tower holds its matrices in ``dtype``; its texts' weights are shared.

    In inference mode autocast keeps no casted weights: left in fp32, they are cast anew with each
    pass, and ViT-B-32 in groups of 4 on a CPU took 626 ms an image instead of 51 (fp32: 99).
    """
    own = {id(weight) for weight in model.visual.parameters()}
    shared = {id(weight): weight for weight in model.parameters() if id(weight) not in own}
    short = copy.deepcopy(model, shared)
    for weight in short.visual.parameters():
        if weight.ndim > 1:  # norms and biases cost nothing, and stay exact
            weight.data = weight.data.to(dtype)
    return short


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_openvino() -> None:
    """Refuse what needs OpenVINO where that is not installed, without loading it.

    Raises:
        InputError: It is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise _no_openvino()


def _no_openvino() -> InputError:
    return InputError(
        "OpenVINO is not installed: install panoptic-assets with the extra `accelerator`, or "
        "write `accelerator: none` in the model's file.",
        id="openvino-not-installed",
    )


def _openvino() -> ModuleType:
    # Importing OpenVINO reports to its makers' servers if this package is there. It takes care of
    # its absence.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise _no_openvino() from error
    return openvino


def _convert(model: Any, shape: tuple[int, ...], path: Path) -> None:
    """Write the image tower for OpenVINO; the folder appears whole or not at all."""
    import torch

    ov = _openvino()

    class ImageTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.model.encode_image(pixels)

    # PyTorch's fused attention cannot be traced.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the trace is for one shape, and checked afterwards
            converted = ov.convert_model(ImageTower().eval(), example_input=torch.zeros(shape))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    converted.reshape(list(shape))
    draft = path.parent.with_name(f".{uuid.uuid4().hex}")
    draft.mkdir(parents=True)
    ov.save_model(converted, draft / path.name, compress_to_fp16=False)
    try:
        draft.rename(path.parent)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
