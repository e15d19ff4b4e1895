"""A model and pictures that cost next to nothing, for tests of the pipeline itself.

The model is a genuine open_clip model of 32 pixels with random weights: it sees nothing, but embeds
a thousand pictures a second, and gives the same vectors wherever it is built.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from resources.project_folder import ProjectFolder, ProjectSettings, create

_CONFIG = {
    "model_cfg": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 1, "layers": 1},
    },
    "preprocess_cfg": {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3},
}


def write_model(folder: Path) -> Path:
    """Write the model as a folder for ``model: local-dir:…``."""
    import open_clip
    import safetensors.torch
    import torch

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    model = open_clip.CLIP(**_CONFIG["model_cfg"])
    (folder / "open_clip_config.json").write_text(json.dumps(_CONFIG))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


def write_images(folder: Path, count: int, start: int = 0) -> None:
    """Write JPEG files of 64 x 64 pixels that all differ, 200 in a folder."""
    for number in range(start, start + count):
        pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
        path = folder / f"{number // 200:04}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((64, 64)).save(path, quality=90)


def tiny_project(folder: Path, nb_images: int) -> ProjectFolder:
    """A project of some images, by a model that costs nothing, with nothing else to compute."""
    write_images(folder / "images", nb_images)
    settings = ProjectSettings(images=str(folder / "images"), vector_type="tiny")
    project = create(folder / "project", settings)
    for file in project.configs.rglob("*.yaml"):
        file.unlink()
    model = write_model(folder / "model")
    # `auto` tries which is fastest at that moment, which takes longer than all there is to embed.
    description = f"model: local-dir:{model}\nprecision: fp32\n"
    (project.configs / "models" / "tiny.yaml").write_text(description)
    return project
