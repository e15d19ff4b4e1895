"""Projections, as only a process of its own can show them."""

import subprocess
import sys


def test_without_umap_learn_the_message_says_how_to_install_it(tmp_path):
    """D19: PCA or t-SNE instead of UMAP, which is not strictly necessary."""
    code = (
        "import sys, importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'umap' else real(name, *a)\n"
        "from panoptic_assets.features.projections import libraries_of\n"
        "libraries_of('pca'), libraries_of('tsne')\n"
        "try:\n    libraries_of('umap')\nexcept ValueError as error:\n    print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "pip install 'panoptic-assets[umap]'" in answer.stdout
