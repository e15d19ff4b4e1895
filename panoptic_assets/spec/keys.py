"""The grammar of keys.

Belongs here: what a run key, a node, a vector type and a projection may look like. Does not belong
here: whether they exist.

Every door passes its keys through this module: command line, Launchpad, registry files, API.
"""

import re
from dataclasses import dataclass

from panoptic_assets.spec.languages import N_
from resources.errors import InputError

MAX_LENGTH = 120
REMAINDER = "remainder"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CLUSTER = re.compile(rf"0|[1-9][0-9]*|{REMAINDER}")


@dataclass(frozen=True, order=True)
class Node:
    """A cluster's address: ``greek/3/0`` is run ``greek``, cluster 3, and in it cluster 0."""

    run_key: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join((self.run_key, *self.path))

    @property
    def clustering(self) -> str:
        """Key of the clustering that made this cluster: the run's, or the node above."""
        return "/".join((self.run_key, *self.path[:-1]))

    @property
    def cluster(self) -> str:
        """The cluster's name inside that clustering."""
        return self.path[-1]


def parse_name(text: str, what: str) -> str:
    """Check the name of a run or a vector type and return it.

    Raises:
        InputError: It is empty, longer than 120 characters, or has other characters than letters
            A-Z, digits, ``_`` and ``-`` (the last two not first).
    """
    _check_length(text, what)
    if not _NAME.fullmatch(text):
        raise InputError(
            "{text} is not a {what}: use letters A-Z without accents, digits, '-' and '_', "
            "starting with a letter or digit, for example 'greek-vases'.",
            id="key-of-wrong-characters",
            text=_shown(text),
            what=what,
        )
    return text


def parse_run_key(text: str) -> str:
    """Check a run key and return it; raises :class:`InputError` as :func:`parse_name` does."""
    return parse_name(text, N_("run key"))


def parse_node(text: str) -> Node:
    """Read a node such as ``greek/3`` or ``greek/remainder/0``.

    Raises:
        InputError: It is not a run key followed by one or more clusters.
    """
    _check_length(text, N_("node"))
    run_key, *path = text.split("/")
    if not _NAME.fullmatch(run_key) or not path or not all(map(_CLUSTER.fullmatch, path)):
        raise InputError(
            "{text} is not a node: write the run key and its clusters, joined by '/', for example "
            "'greek/3', 'greek/3/0' or 'greek/{remainder}'.",
            id="not-a-node",
            text=_shown(text),
            remainder=REMAINDER,
        )
    return Node(run_key, tuple(path))


def parse_clustering(text: str) -> str:
    """Check the key of a clustering, which is a run key or a node, and return it."""
    return str(parse_node(text)) if "/" in text else parse_run_key(text)


def parse_projection(text: str) -> tuple[str, str]:
    """Read the key of a projection such as ``mini/umap``: its vector type and its name.

    Raises:
        InputError: It is not a vector type and a name.
    """
    _check_length(text, N_("projection"))
    names = text.split("/")
    if len(names) != 2 or not all(map(_NAME.fullmatch, names)):
        raise InputError(
            "{text} is not a projection: write its vector type and a name for it, joined by '/', "
            "for example 'mini/umap'.",
            id="not-a-projection",
            text=_shown(text),
        )
    vector_type, name = names
    return vector_type, name


def parse_features(text: str) -> str:
    """Check what can be clustered, the key of a vector type or of a projection, and return it."""
    return "/".join(parse_projection(text)) if "/" in text else parse_name(text, N_("vector type"))


def vector_type_of(features: str) -> str:
    """The vector type of features: itself, or the one that a projection was computed from."""
    return features.split("/", 1)[0]


def run_key_of(clustering: str) -> str:
    """The root run of a clustering."""
    return clustering.split("/", 1)[0]


def _check_length(text: str, what: str) -> None:
    if len(text) > MAX_LENGTH:
        raise InputError(
            "{text} is too long for a {what}: it has {length} characters, at most {max_length} "
            "are possible.",
            id="key-too-long",
            text=_shown(text),
            what=what,
            length=len(text),
            max_length=MAX_LENGTH,
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
