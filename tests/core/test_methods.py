"""Every method finds planted blobs, exactly and reproducibly."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from panoptic_assets.config import METHODS as CONFIGS
from panoptic_assets.core.errors import NotComputableError
from panoptic_assets.core.methods import METHODS

BLOBS = """
import numpy as np
def blobs(nb_blobs=8, size=40, dim=64, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(nb_blobs, dim))
    rows = np.repeat(centres, size, axis=0) + 0.25 * rng.normal(size=(nb_blobs * size, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
"""


def blobs():
    scope = {}
    exec(BLOBS, scope)
    return scope["blobs"]()


TRUTH = np.repeat(np.arange(8), 40)


def parameters(name, **changes):
    [config] = [config for config in CONFIGS if config.model_fields["name"].default == name]
    defaults = config().model_dump()
    defaults.pop("name")
    return defaults | changes


every_method = pytest.mark.parametrize("name", sorted(METHODS))


def test_every_method_has_a_config_class_with_its_parameters():
    """A27, A33, E5: one list of methods, each with its own parameters."""
    for name, method in METHODS.items():
        taken = set(inspect.signature(method).parameters) - {"vectors", "seed"}
        assert taken == set(parameters(name))
    assert len(CONFIGS) == len(METHODS)


@every_method
def test_planted_blobs_are_found_exactly(name):
    """A7, A8: nb_clusters is the number of clusters to produce."""
    labels = METHODS[name](blobs(), 0, **parameters(name, nb_clusters=8, n_init=10))
    assert adjusted_rand_score(TRUTH, labels) == 1


@every_method
def test_every_image_gets_a_label(name):
    """D2: an assignment for each."""
    labels = METHODS[name](blobs(), 0, **parameters(name, nb_clusters=5))
    assert labels.shape == (320,)
    assert set(labels.tolist()) == set(range(5))


@every_method
def test_the_same_seed_gives_the_same_labels_with_1_and_2_threads_and_in_another_process(name):
    """A4, K3: exact by default."""
    given = parameters(name, nb_clusters=30)  # more than there are blobs: no easy answer
    with threadpool_limits(1):
        one = METHODS[name](blobs(), 7, **given)
    with threadpool_limits(2):
        two = METHODS[name](blobs(), 7, **given)
    code = f"""{BLOBS}
from panoptic_assets.core.errors import NotComputableError
from panoptic_assets.core.methods import METHODS
print(METHODS[{name!r}](blobs(), 7, **{given!r}).tolist())
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert one.tolist() == two.tolist()
    assert str(one.tolist()) == other.stdout.strip()


@every_method
def test_another_seed_may_give_other_labels(name):
    given = parameters(name, nb_clusters=30, n_init=1)
    answers = {tuple(METHODS[name](blobs(), seed, **given)) for seed in range(4)}
    assert len(answers) > 1


@every_method
def test_more_clusters_than_images_is_refused_with_both_numbers(name):
    """Small inputs must not crash with cryptic errors."""
    message = "nb_clusters is 9, but of the 3 images to divide only 3 differ: ask for at most 3"
    with pytest.raises(NotComputableError, match=message):
        METHODS[name](blobs()[[0, 50, 100]], 0, **parameters(name, nb_clusters=9))


@every_method
def test_identical_images_count_once(name):
    same = np.repeat(blobs()[:1], 20, axis=0)
    assert set(METHODS[name](same, 0, **parameters(name, nb_clusters=1)).tolist()) == {0}
    with pytest.raises(NotComputableError, match="of the 20 images to divide only 1 differ"):
        METHODS[name](same, 0, **parameters(name, nb_clusters=2))
