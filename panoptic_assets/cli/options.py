"""Options of commands that are made from Config classes, and the documents that they make.

Belongs here: options of methods and scopes, and what they mean as configuration. Does not belong
here: what may be configured (``config``, ``methods`` and ``scopes`` of each capability).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import click

from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.clustering.config import ClusteringConfig
    from panoptic_assets.features.config import ProjectionConfig
    from panoptic_assets.project import Project


def below_folder(folder: Path, place: str) -> str:
    """A path as the registry writes it: relative where the project can be moved with it."""
    absolute = Path(place).absolute()
    return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)


def _click_type(annotation: Any) -> tuple[Any, bool]:
    """The type of a field as an option's, and whether the option can be given several times."""
    origin = get_origin(annotation)
    if origin is Literal:
        return click.Choice(get_args(annotation)), False
    if origin is Annotated:
        return _click_type(get_args(annotation)[0])
    if origin is list:
        return _click_type(get_args(annotation)[0])[0], True
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    return _click_type(choices[0]) if choices else (annotation, False)


def method_options(
    methods: tuple[Any, ...], what: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every parameter of every method."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        names = [method.model_fields["name"].default for method in methods]
        command = parameter_options(methods, {})(command)
        command = click.option("--seed", type=int, help="Seed of all that is random.")(command)
        command = click.option(
            "--replace", is_flag=True, help="Allow other parameters than the key's record has."
        )(command)
        return click.option("--method", type=click.Choice(names), help=f"The {what} method.")(
            command
        )

    return add


def parameter_options(
    methods: tuple[Any, ...], singular: dict[str, str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every parameter of some methods, and nothing else.

    Args:
        methods: Their Config classes.
        singular: Parameters whose option, which can be repeated, has another name.
    """

    def add(command: Callable[..., None]) -> Callable[..., None]:
        takers: dict[str, list[Any]] = {}
        for method in methods:
            for name, field in method.model_fields.items():
                if name != "name":
                    takers.setdefault(name, []).append((method, field))
        for name, found in reversed(takers.items()):
            command = _option(name, found, singular.get(name, name))(command)
        return command

    return add


def _option(
    name: str, found: list[Any], called: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of one parameter, which several methods may take, each with values of its own."""
    methods = ", ".join(method.model_fields["name"].default for method, _ in found)
    types, several = zip(*(_click_type(field.annotation) for _, field in found), strict=True)
    if all(isinstance(kind, click.Choice) for kind in types):
        kind: Any = click.Choice(list(dict.fromkeys(c for one in types for c in one.choices)))
    else:
        kind = types[0]
    flags = f"--{called.replace('_', '-')}"
    if kind is bool:
        flags = f"{flags}/--no-{called.replace('_', '-')}"
    help_text = f"{found[0][1].description} ({methods})"
    # Whether it can be repeated is decided by the first method, so that no other package's changes
    # what ours get.
    return click.option(flags, name, type=kind, default=None, multiple=several[0], help=help_text)


def method_choice(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option of the clustering method."""
    from panoptic_assets.clustering.config import METHODS
    from panoptic_assets.spec.extensions import name_of

    names = [name_of(method) for method in METHODS]
    return click.option("--method", type=click.Choice(names), help="The clustering method.")(
        command
    )


def clustering_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all clustering methods."""
    from panoptic_assets.clustering.config import METHODS

    return method_options(METHODS, "clustering")(command)


def projection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all projections."""
    from panoptic_assets.features.config import PROJECTION_METHODS

    return method_options(PROJECTION_METHODS, "projection")(command)


def shared_clustering_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all methods have in common."""
    for option in (
        click.option(
            "--stability", type=int, help="Subsamples in which to see whether clusters come again."
        ),
        click.option(
            "--assign-remainder",
            is_flag=True,
            default=None,
            help="Tell the nearest cluster of each image of the remainder.",
        ),
        click.option(
            "--features", help="What to cluster: a vector type or a projection, as mini/umap."
        ),
    ):
        command = option(command)
    return command


SCOPE_OPTIONS: dict[str, dict[str, Any]] = {
    "files": {"metavar": "PATTERN", "help": "Only images with such a path, as 'animals/*'."},
    "scope_property": {
        "metavar": "NAME",
        "help": "Only images with a value of this property; or with --value, with --minimum and "
        "--maximum, with --since and --until, or one of them.",
    },
    "value": {"metavar": "VALUE", "multiple": True, "help": "One of the values to take."},
    "minimum": {"metavar": "NUMBER", "type": float, "help": "The least number to take."},
    "maximum": {"metavar": "NUMBER", "type": float, "help": "The greatest number to take."},
    "since": {
        "metavar": "DATE",
        "help": "Only images taken on this day, in this month (2024-03) or year, or later.",
    },
    "until": {"metavar": "DATE", "help": "Only images taken then or earlier."},
    "certainty": {
        "type": click.Choice(["possibly", "certainly"]),
        "help": "Of dates of a property that are not known to the day: take those that may lie "
        "between --since and --until (as without this), or those that must.",
    },
    "tag": {
        "metavar": "PATH",
        "help": "Only images with this tag, as '9 > 1', of the property Clustering or "
        "--scope-property.",
    },
    "ids": {"metavar": "FILE", "help": "Only images that a text file lists, by id or by path."},
    "text": {"metavar": "TEXT", "help": "Only the images that are most similar to a text."},
    "similar_to": {
        "metavar": "IMAGE",
        "help": "Only the images that are most similar to this one: an id or a path.",
    },
    "scope_min_similarity": {
        "metavar": "NUMBER",
        "type": float,
        "help": "Of --text and --similar-to: the least cosine.",
    },
    "scope_nb_images": {
        "metavar": "NUMBER",
        "type": int,
        "help": "Of --text and --similar-to: images at most; 100 if neither is given.",
    },
    "node": {"metavar": "NODE", "help": "Only images of another run's cluster, as greek/3."},
}
"""Options of a scope. Those that begin with ``scope_`` have the names of some methods' options."""

_DATES = {"since": "since", "until": "until"}
_LIMITS = {"scope_min_similarity": "min_similarity", "scope_nb_images": "nb_images"}
_SCOPES: list[tuple[str, set[str], dict[str, str]]] = [
    # The scope, the options of which one chooses it, and all of its options with their fields.
    ("files", {"files"}, {"files": "pattern"}),
    ("tag", {"tag"}, {"tag": "path", "scope_property": "property"}),
    (
        "property",
        {"scope_property"},
        {
            "scope_property": "property",
            "value": "values",
            "minimum": "minimum",
            "maximum": "maximum",
            **_DATES,
            "certainty": "certainty",
        },
    ),
    ("dates", set(_DATES), _DATES),
    ("ids", {"ids"}, {"ids": "file"}),
    ("text", {"text"}, {"text": "text", **_LIMITS}),
    ("similar", {"similar_to"}, {"similar_to": "image", **_LIMITS}),
    ("node", {"node"}, {"node": "node"}),
]
_CHOOSING = {name for _, choosing, _ in _SCOPES for name in choosing}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def scope_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all scopes."""
    for name, attributes in reversed(SCOPE_OPTIONS.items()):
        command = click.option(_flag(name), **attributes)(command)
    return command


def scope_of(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The scope that was asked for, as configuration; empty if none was.

    Takes its options out of ``options``.

    Raises:
        InputError: They do not make one scope.
    """
    given = {name: options.pop(name) for name in SCOPE_OPTIONS}
    given = {name: value for name, value in given.items() if value not in (None, ())}
    if "ids" in given:
        given["ids"] = below_folder(folder, given["ids"])
    for scope, choosing, fields in _SCOPES:
        if given.keys() & choosing and given.keys() <= fields.keys():
            values = {fields[name]: value for name, value in given.items()}
            if "values" in values:
                values["values"] = list(values["values"])
            return {"scope": {scope: values}}
    if not given:
        return {}
    flags = ", ".join(map(_flag, given))
    known = ", ".join(_flag(name) for name in SCOPE_OPTIONS if name in _CHOOSING)
    if len(given) == 1:
        raise InputError(
            "A run has one scope, and {flags} is none: give one of {known}, with the options that "
            "go with it (`panoptic-assets cluster --help`).",
            id="option-is-no-scope",
            flags=flags,
            known=known,
        )
    raise InputError(
        "A run has one scope, and {flags} are not one: give one of {known}, with the options that "
        "go with it (`panoptic-assets cluster --help`).",
        id="options-are-no-scope",
        flags=flags,
        known=known,
    )


def given_clustering(options: dict[str, Any], project: "Project", key: str) -> dict[str, Any]:
    """The options that were given, in the form of a run's configuration."""
    from panoptic_assets.clustering.config import ClusteringConfig

    def known() -> dict[str, Any] | None:
        from panoptic_assets.clustering.table import Clusterings
        from panoptic_assets.spec.keys import run_key_of

        record = Clusterings(project.store, run_key_of(key)).records.get(key)
        if record:
            return record.config
        # What divides is a tenth of a command that the worker does the rest of.
        from panoptic_assets.clustering.policies import registered_clustering

        asset = "nested_clustering" if "/" in key else "clustering"
        file = f"configs/runs/{key}.yaml"
        return registered_clustering(project.registry.run(key), asset, file)

    common = ("features", "seed", "assign_remainder", "stability", "replace")
    return _document(options, common, known, ClusteringConfig)


def given_projection(options: dict[str, Any], project: "Project", key: str) -> dict[str, Any]:
    """The options that were given, in the form of a projection's configuration."""
    from panoptic_assets.features.config import ProjectionConfig

    def known() -> dict[str, Any] | None:
        from panoptic_assets.features.projecting import registry_projection
        from panoptic_assets.features.table import projection_record

        record = projection_record(project.store, key)
        return record.cause.config if record else registry_projection(project.registry, key)

    return _document(options, ("nb_dimensions", "seed", "replace"), known, ProjectionConfig)


def _document(
    options: dict[str, Any],
    common: tuple[str, ...],
    known: Callable[[], dict[str, Any] | None],
    config: "type[ClusteringConfig] | type[ProjectionConfig]",
) -> dict[str, Any]:
    """Options as configuration.

    A parameter without ``--method`` is one of the method that the key's record or file names.
    """
    from panoptic_assets.spec.resolution import method_of

    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value not in (None, ())
    }
    if not given.get("replace"):
        given.pop("replace", None)
    document: dict[str, Any] = {name: given.pop(name) for name in common if name in given}
    method = given.pop("method", None)
    if method or given:
        default = config.model_fields["method"].default.name
        document["method"] = {method or method_of(config, known() or {}) or default: given}
    return document


def tagging_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that lists images the options to give them a tag."""
    for option in (
        click.option("--reason", help="Of --tag: why, for the tag log."),
        click.option("--author", help="Of --tag: who edits; the user of the system by default."),
        click.option("--property", "property_name", help="Of --tag; Clustering by default."),
        click.option("--tag", help="Give this tag to the images listed; made if it is missing."),
    ):
        command = option(command)
    return command


def check_tagging(tag: str | None, *of_tag: str | None) -> None:
    """Refuse an empty tag, and options that say how to tag where none is given."""
    if tag is not None and not tag.strip():
        raise InputError("--tag is empty: give a name.", id="tag-option-empty")
    if tag is None and any(given is not None for given in of_tag):
        raise InputError(
            "--property, --author and --reason go with --tag: add it.", id="options-without-tag"
        )
