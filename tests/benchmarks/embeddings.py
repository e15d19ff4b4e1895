"""What embedding photographs costs against one picture at a time, how exact it is, its memory.

Run it with ``python -m tests.benchmarks.embeddings [--images N] [--rounds N] [--memory]``.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from resources.decoding import decode
from resources.engine import Job, LocalEngine, Work
from resources.errors import InputError
from resources.lance import LanceStore, vectors_schema
from resources.models import ModelSpec, OpenClipModels
from resources.source import ImageSource
from tests.tiny import write_images, write_model

SAMPLE = Path(__file__).parents[2] / "panoptic_assets" / "sample"
SIZE = 1600, 1200
GREY_NOISE = 3.0
"""Standard deviation, of 255: so that a file is as large as a camera's of that size."""

ROWS = {
    "one at a time": None,
    "PyTorch, fp32": {"precision": "fp32"},
    "PyTorch, auto": {"precision": "auto"},
    "OpenVINO, fp32": {"precision": "fp32", "accelerator": "openvino"},
    "OpenVINO, auto": {"precision": "auto", "accelerator": "openvino"},
}
RIVAL = "one at a time"
GOALS = {"PyTorch, auto": 1.5, "OpenVINO, auto": 2.5}
MEMORY_COUNTS = 2_000, 20_000
MEMORY_GOAL = 0.10


def write_photos(folder: Path, count: int) -> float:
    """Write pictures that cost what photographs do; their mean size in kB.

    Two sample pictures each, enlarged, mirrored and blended, with the noise of a sensor.
    """
    folder.mkdir()
    samples = sorted(SAMPLE.rglob("*.jpg"))
    for number in range(count):
        random = np.random.default_rng(number)
        layers = []
        for path in random.choice(len(samples), 2, replace=False):
            with Image.open(samples[path]) as sample:
                layer = ImageOps.fit(sample.convert("RGB"), SIZE, Image.Resampling.LANCZOS)
            layers.append(ImageOps.mirror(layer) if random.random() < 0.5 else layer)
        pixels = np.asarray(Image.blend(*layers, random.uniform(0.2, 0.5)), np.float32)
        pixels = pixels + random.normal(scale=GREY_NOISE, size=(*pixels.shape[:2], 1))
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        photo.save(folder / f"{number:05}.jpg", quality=90)
    return statistics.mean(path.stat().st_size for path in folder.iterdir()) / 1000


def write_checkpoint(path: Path) -> None:
    """Weights of ViT-B-32 that were never trained: they cost what trained ones do."""
    import open_clip
    import safetensors.torch
    import torch

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(tensors, path)


def embed_one_at_a_time(folder: Path) -> Callable[[], np.ndarray]:
    """The loop that every introduction shows, ready to run."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    model, processor = CLIPModel(CLIPConfig()).eval(), CLIPImageProcessor()
    paths = sorted((folder / "photos").iterdir())

    def run(paths: list[Path] = paths) -> np.ndarray:
        rows = []
        for path in paths:
            with Image.open(path) as image:
                inputs = processor(images=image.convert("RGB"), return_tensors="pt")
            with torch.inference_mode():
                tower = model.vision_model(**inputs)
                vector = model.visual_projection(tower.pooler_output)[0].numpy()
            rows.append(vector / np.linalg.norm(vector))
        return np.stack(rows)

    run(paths[:1])
    return run


def embed_by_engine(folder: Path, options: dict[str, Any]) -> tuple[Callable[[], int], str]:
    """The engine with its model, ready to run, and the precision that it chose."""
    spec = ModelSpec(model="ViT-B-32", pretrained="open_clip_model.safetensors", **options)
    models = OpenClipModels(folder=str(folder))
    encoder = models.load(spec)
    photos = folder / "photos"
    work = [
        Work(hashlib.sha256(path.read_bytes()).hexdigest(), [path.name])
        for path in sorted(photos.iterdir())
    ]
    store = LanceStore(uri=tempfile.mkdtemp(dir=folder))
    store.create("vectors.clip", vectors_schema(encoder.dim), {})
    source = ImageSource(root=str(photos))
    job = Job("vectors.clip", spec, encoder.identity, source, store, models)
    return (
        lambda: sum(part.nb_vectors for part in LocalEngine().embed(job, work)),
        encoder.identity["precision"],
    )


def measure(folder: Path, row: str) -> dict[str, Any]:
    """Embed all photos once; imports, the model's loading and its trial are not counted."""
    options = ROWS[row]
    if options is None:
        run, precision = embed_one_at_a_time(folder), "fp32"
        count = len
    else:
        run, precision = embed_by_engine(folder, options)
        count = int
    wall, cpu = time.perf_counter(), time.process_time()
    done = count(run())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "cpu": cpu / done,
        "wall": wall / done,
        "peak": peak_memory(),
        "precision": precision,
        "done": done,
    }


def peak_memory() -> float:
    """MiB that this process held at most (Linux); ``ru_maxrss`` begins at its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure_memory(folder: Path, count: int) -> dict[str, float]:
    """Embed small pictures with a tiny model; peak memory of the process."""
    models = OpenClipModels(folder=str(folder))
    spec = ModelSpec(model="local-dir:tiny", precision="fp32")
    encoder = models.load(spec)
    store = LanceStore(uri=tempfile.mkdtemp(dir=folder))
    store.create("vectors.tiny", vectors_schema(encoder.dim), {})
    source = ImageSource(root=str(folder / "small"))
    work = (
        Work(hashlib.sha256(source.read(file.path)).hexdigest(), [file.path])
        for file in source.list().files[:count]
    )
    job = Job("vectors.tiny", spec, encoder.identity, source, store, models)
    done = 0
    for part in LocalEngine().embed(job, work):
        store.commit(job.table, [part.name] if part.name else [])
        done += part.nb_images
    return {"peak": peak_memory(), "done": done}


def cosines(folder: Path) -> list[tuple[str, float, float]]:
    """Least and mean cosine of the photos' vectors, by embedded:mini, to those of PyTorch in fp32.

    The reference decodes each photo in full; the others decode as the engine does.
    """
    models = OpenClipModels(folder=str(folder))
    photos = [path.read_bytes() for path in sorted((folder / "photos").iterdir())[:100]]
    found = []
    reference = np.empty(0)
    for name, options, draft in (
        ("PyTorch, fp32, decoded in full", {"precision": "fp32"}, False),
        ("PyTorch, fp32", {"precision": "fp32"}, True),
        ("PyTorch, bf16", {"precision": "bf16"}, True),
        ("OpenVINO, fp32", {"precision": "fp32", "accelerator": "openvino"}, True),
        ("OpenVINO, bf16", {"precision": "bf16", "accelerator": "openvino"}, True),
    ):
        try:
            encoder = models.load(ModelSpec(model="embedded:mini", **options))
        except InputError as error:
            print(f"{name}: {error}")
            continue
        side = encoder.side if draft else None
        vectors = encoder.encode_images([decode(photo, side=side).rgb for photo in photos])
        if not reference.size:
            reference = vectors
            continue
        cosine = (vectors * reference).sum(axis=1)
        found.append((name, float(cosine.min()), float(cosine.mean())))
    return found


def _measured(folder: Path, *what: str) -> dict[str, Any]:
    """A measurement in a process of its own; empty where this machine cannot do it."""
    command = [sys.executable, "-m", __spec__.name, "--measure", str(folder), *what]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        print(f"{what[-1]}: {answer.stderr.strip().splitlines()[-1]}")
        return {}
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure 20,000 small images too")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        folder, kind, what = args.measure
        found = measure if kind == "speed" else measure_memory
        print(json.dumps(found(Path(folder), what if kind == "speed" else int(what))))
        return

    console = Console()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = write_photos(folder / "photos", args.images)
        write_checkpoint(folder / "open_clip_model.safetensors")
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in ROWS}
        for _ in range(args.rounds):
            for name in ROWS:
                if found := _measured(folder, "speed", name):
                    rounds[name].append(found)
        grid = Table(
            "",
            "precision",
            "images/CPU-s",
            "images/s",
            "MiB",
            "CPU against the loop",
            "goal",
            title=f"ViT-B-32, {args.images} photos of 1600 x 1200, {size:.0f} kB",
        )
        median = {
            name: {
                key: statistics.median(one[key] for one in found) for key in ("cpu", "wall", "peak")
            }
            for name, found in rounds.items()
            if found
        }
        for name, figures in median.items():
            ratio = median[RIVAL]["cpu"] / figures["cpu"]
            goal = GOALS.get(name)
            grid.add_row(
                name,
                rounds[name][0]["precision"],
                f"{1 / figures['cpu']:.1f}",
                f"{1 / figures['wall']:.1f}",
                f"{figures['peak']:,.0f}",
                f"{ratio:.2f}",
                "" if goal is None else f"{goal} {'reached' if ratio >= goal else 'missed'}",
            )
        console.print(grid)

        grid = Table("", "least", "mean", title="Cosine to PyTorch in fp32 on full pictures")
        for name, least, mean in cosines(folder):
            grid.add_row(name, f"{least:.5f}", f"{mean:.5f}")
        console.print(grid)

        if args.memory:
            write_model(folder / "tiny")
            write_images(folder / "small", max(MEMORY_COUNTS))
            peaks = [_measured(folder, "memory", str(count))["peak"] for count in MEMORY_COUNTS]
            growth = peaks[1] / peaks[0] - 1
            for count, peak in zip(MEMORY_COUNTS, peaks, strict=True):
                print(f"Peak memory of embedding {count:,} images: {peak:,.0f} MiB")
            reached = "reached" if growth < MEMORY_GOAL else "missed"
            print(f"Growth: {growth:.1%} (goal: less than {MEMORY_GOAL:.0%}, {reached})")


if __name__ == "__main__":
    main()
