"""Image collections whose images are labelled, as vectors of `embedded:mini`, for benchmarks.

Belongs here: finding the collections, which folder is a class, embedding, CLIP-like vectors for
what needs more images than they have. Does not belong here: what is measured on them.

A collection that is not installed is left out, with a line that says how to get it. Its folder is
looked for in /usr/share; $PANOPTIC_BENCHMARK_CORPORA names another folder below which the contents
of the Debian packages were unpacked (`dpkg-deb -x`).
"""

import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import panoptic_assets

Labelled = tuple[np.ndarray, np.ndarray]
"""(n, d) float32 unit vectors, (n,) int64 classes."""

MIN_CLASS = 8
MAX_CLASS = 60
MAX_IMAGES = 3_000
MAX_BYTES = 1_000_000
"""Larger drawings take most of the time, or more memory than there is, once they are decoded."""
MAX_PIXELS = 16_000_000
SIDE = 448
DIGIT_SIDE = 224


def _sample() -> list[tuple[Path, str]]:
    root = Path(panoptic_assets.__file__).parent / "sample"
    files = [path for path in root.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png")]
    return [(path, str(path.parent.relative_to(root))) for path in sorted(files)]


def _tuxpaint() -> list[tuple[Path, str]]:
    """Classes are two levels of folders; mirrored and flipped copies are no images of their own."""
    root = _installed("tuxpaint/stamps", "tuxpaint-stamps-default")
    found = []
    for path in sorted(root.rglob("*.png")) if root else ():
        parts = path.relative_to(root).parts
        if len(parts) > 2 and not path.stem.endswith(("_mirror", "_flip", "_mirror_flip")):
            found.append((path, "/".join(parts[:2])))
    return found


def _openclipart() -> list[tuple[Path, str]]:
    root = _installed("openclipart/png", "openclipart-png")
    found = [
        (path, str(path.parent.relative_to(root)))
        for path in (sorted(root.rglob("*.png")) if root else ())
    ]
    return [(path, name) for path, name in found if name != "unsorted"]


def _installed(folder: str, package: str) -> Path | None:
    root = Path(os.environ.get("PANOPTIC_BENCHMARK_CORPORA", "/")) / "usr" / "share" / folder
    if root.is_dir():
        return root
    print(f"no {folder}: install the Debian package {package}", file=sys.stderr)
    return None


def _chosen(files: list[tuple[Path, str]], smallest: int) -> Iterator[tuple[Image.Image, str]]:
    """Pictures on white with their class: each content once, no class too small or too large."""
    distinct = {
        hashlib.sha256(path.read_bytes()).digest(): (path, name)
        for path, name in files
        if path.stat().st_size <= MAX_BYTES
    }
    sizes = Counter(name for _, name in distinct.values())
    rng = np.random.default_rng(0)
    shuffled = [list(distinct.values())[row] for row in rng.permutation(len(distinct))]
    taken: Counter[str] = Counter()
    for path, name in shuffled:
        if sizes[name] >= smallest and taken[name] < MAX_CLASS and taken.total() < MAX_IMAGES:
            with Image.open(path) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    continue
                opened.thumbnail((SIDE, SIDE))
                picture = opened.convert("RGBA")
            taken[name] += 1
            white = Image.new("RGBA", picture.size, "white")
            yield Image.alpha_composite(white, picture).convert("RGB"), name


def _digits() -> Iterator[tuple[Image.Image, str]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for pixels, digit in zip(digits.images, digits.target, strict=True):
        grey = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
        yield grey.resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC), str(digit)


def labelled(folder: Path) -> dict[str, Labelled]:
    """Every collection that is there.

    Args:
        folder: Where vectors are kept for the next time.
    """
    collections = {
        "sample": lambda: _chosen(_sample(), smallest=1),
        "tuxpaint": lambda: _chosen(_tuxpaint(), MIN_CLASS),
        "openclipart": lambda: _chosen(_openclipart(), MIN_CLASS),
        "digits": _digits,
    }
    found = {}
    for name, pictures in collections.items():
        kept = folder / f"{name}.npz"
        if not kept.exists():
            vectors, classes = _embedded(pictures(), folder)
            if not len(vectors):
                continue
            np.savez(kept, vectors=vectors, classes=classes)
        with np.load(kept) as arrays:
            found[name] = arrays["vectors"], arrays["classes"]
    return found


def _embedded(pictures: Iterator[tuple[Image.Image, str]], folder: Path) -> Labelled:
    from resources.models import EMBEDDED, ModelSpec, OpenClipModels

    encoder = OpenClipModels(folder=str(folder)).load(ModelSpec(model=EMBEDDED))
    vectors, names, waiting = [], [], []
    for picture, name in pictures:
        waiting.append(picture)
        names.append(name)
        if len(waiting) == encoder.group:
            vectors.append(encoder.encode_images(waiting))
            waiting = []
    if waiting:
        vectors.append(encoder.encode_images(waiting))
    if not vectors:
        return np.empty((0, 0), np.float32), np.empty(0, np.int64)
    return np.concatenate(vectors), np.unique(names, return_inverse=True)[1].astype(np.int64)


def clip_like(nb_images: int, dim: int = 512, nb_groups: int = 150, seed: int = 0) -> Labelled:
    """Vectors as CLIP's image tower gives them, of groups that are known.

    A common mean makes the cosine of two random images about .5; the groups lie in a subspace of 64
    dimensions, are of very different sizes (a power law) and widths, and have full-rank noise; a
    tenth of the images belong to no group (class -1).
    """
    rng = np.random.default_rng(seed)
    rank = 64
    weights = rng.permutation(1 / np.arange(1, nb_groups + 1) ** 0.8)
    group = rng.choice(nb_groups, nb_images, p=weights / weights.sum())
    basis = np.linalg.qr(rng.normal(size=(dim, rank)))[0].T
    spectrum = 1 / np.sqrt(np.arange(1, rank + 1))
    spectrum /= np.linalg.norm(spectrum)
    centres = rng.normal(size=(nb_groups, rank)) * spectrum * 0.75
    widths = rng.uniform(0.35, 0.7, nb_groups)
    inside = rng.normal(size=(nb_images, rank)) * spectrum * widths[group][:, None]
    rows = centres[group] + inside
    alone = rng.random(nb_images) < 0.1
    rows[alone] = rng.normal(size=(alone.sum(), rank)) * spectrum
    mean = rng.normal(size=dim)
    vectors = mean / np.linalg.norm(mean) + rows @ basis
    vectors += rng.normal(size=(nb_images, dim)) * 0.3 / np.sqrt(dim)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.where(alone, -1, group).astype(np.int64)
