"""The form for a clustering, made of the configuration classes themselves.

Belongs here: which fields the form has, by the classes of methods and scopes, ours and those of
other packages; and what can be chosen in them, by what the store holds. Does not belong here: HTTP
(``serve.live_pages``), and what the fields mean, which the classes say.

Long because what each kind of field needs, and what can be chosen in it, is said here once.
"""

import glob
import inspect
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from panoptic_assets.serve.page_address import LiveAddresses, PageAddress
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.fields import Parameters, is_advanced
from panoptic_assets.spec.keys import parse_clustering, parse_node
from panoptic_assets.spec.languages import N_
from panoptic_assets.spec.resolution import Document
from resources.errors import InputError

if TYPE_CHECKING:
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.project import Project

_MOST_CHOICES = 500
"""Folders, tags, nodes or runs in one list; what is farther down can be typed."""
_FOLDER = "folder"
"""A way to ask for the scope ``files`` by choosing."""

_CALLED = {
    "nb_clusters": N_("Number of clusters"),
    "min_cluster_size": N_("Smallest cluster"),
    "max_cluster_size": N_("Largest cluster"),
    "min_similarity": N_("Least similarity"),
    "min_agreement": N_("Least agreement"),
    "distance_threshold": N_("Largest distance"),
    "threshold": N_("Largest radius"),
    "property": N_("Property"),
    "values": N_("Values, one on each line"),
    "tags": N_("Tags, one on each line"),
    "runs": N_("Runs"),
    "pattern": N_("Pattern"),
    "path": N_("Tag"),
    "since": N_("From"),
    "until": N_("To"),
    "certainty": N_("Dates not known to the day"),
    "minimum": N_("Least value"),
    "maximum": N_("Greatest value"),
    "text": N_("Words"),
    "image": N_("Image"),
    "node": N_("Cluster"),
    "file": N_("File"),
    "nb_images": N_("Images at most"),
    "seed": N_("Seed"),
    "stability": N_("Stability"),
    "assign_remainder": N_("Nearest cluster of the remainder"),
}
"""What fields are called that a newcomer meets; others are called by their names."""

FieldKind = Literal["integer", "number", "boolean", "text", "choice", "list", "chosen", "json"]


class AskedForm(Parameters):
    """What the form is opened for."""

    node: str = Field(default="", max_length=4200, description="The cluster that is divided.")
    scope: str = Field(
        default="", max_length=100_000, description="A scope as JSON, as of `cluster`."
    )
    run: str = Field(
        default="", max_length=4200, description="A run or node whose parameters are taken."
    )
    method: str = Field(default="", max_length=200, description="The method that is chosen first.")
    runs: list[str] = Field(
        default_factory=list, max_length=100, description="The runs of a consensus."
    )


@dataclass(frozen=True)
class FormField:
    """A field of the form."""

    name: str
    """Its place in the body of the act, such as ``config.method.kmeans.nb_clusters``."""
    label: str
    kind: FieldKind
    description: str = ""
    part: str = ""
    """Of a list: the kind of its parts."""
    optional: bool = False
    """Whether it may be none."""
    value: Any = None
    minimum: float | None = None
    maximum: float | None = None
    longest: int | None = None
    choices: tuple[tuple[str, str], ...] = ()
    """Values with what is shown of each; of a text, what is proposed."""
    is_worded: bool = False
    """Whether what is shown of its choices are words of the program, not names."""
    only_with: tuple[str, ...] = ()
    """Fields of which one has to say something, for this one to count."""
    nb_choices: int = 0
    """How many there would be."""
    advanced: bool = False
    automatic: bool = False
    """Whether -1 leaves it to the method."""
    code: str = ""
    """Its name where people write it."""

    @property
    def id(self) -> str:
        """Its id on the page."""
        return self.name.replace(".", "-")

    @property
    def lines(self) -> str:
        """Of a list: its parts, one on each line."""
        return "\n".join(map(str, self.value or ()))


@dataclass(frozen=True)
class FormChoice:
    """A method or a scope, with its fields."""

    name: str
    told: str
    """What it is for: a sentence."""
    fields: tuple[FormField, ...] = ()
    body: Document = field(default_factory=dict)
    """What it adds to the body beside its fields."""
    is_given: bool = False

    @property
    def basic(self) -> tuple[FormField, ...]:
        """The fields that a newcomer may want to change."""
        return tuple(one for one in self.fields if not one.advanced)

    @property
    def advanced(self) -> tuple[FormField, ...]:
        """The others."""
        return tuple(one for one in self.fields if one.advanced)


def form_field(place: str, name: str, info: FieldInfo, given: Any = None) -> FormField | None:
    """The field of a form for a field of a configuration class.

    Args:
        place: Where the class is in the body, such as ``config.method.kmeans``.
        name: The field's.
        info: What the class says of it.
        given: Its value; None: its default.

    Returns:
        None where no form has a place for its values, such as lists of lists.
    """
    found = FormField(
        name=f"{place}.{name}",
        label=_CALLED.get(name, name.replace("_", " ")),
        kind="text",
        description=info.description or "",
        advanced=is_advanced(info),
        code=name,
    )
    limited = _typed(found, info.annotation, info.metadata)
    if limited is None:
        return None
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    return replace(limited, value=default if given is None else given)


def _typed(found: FormField, kind: Any, metadata: Iterable[Any] = ()) -> FormField | None:
    """A field with the type and the limits of an annotation."""
    for limit in metadata:
        found = _limited(found, limit)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _typed(found, parts[0], parts[1:])
    if origin is Literal:
        none = (("", "–"),) if found.optional else ()
        return replace(found, kind="choice", choices=(*none, *((part, part) for part in parts)))
    if origin in (Union, UnionType):
        some = [part for part in parts if part is not type(None)]
        if len(some) != 1:
            return None
        return _typed(replace(found, optional=len(some) < len(parts)), some[0])
    if origin is list:
        part = _typed(FormField("", "", "text"), parts[0])
        if part is None or part.kind not in ("integer", "number", "text", "boolean"):
            return None
        return replace(found, kind="list", part=part.kind)
    kinds: dict[Any, FieldKind] = {bool: "boolean", int: "integer", float: "number", str: "text"}
    return replace(found, kind=kinds[kind]) if kind in kinds else None


def _limited(found: FormField, limit: Any) -> FormField:
    """A field with one more limit, of those that a browser knows."""
    if isinstance(limit, FieldInfo):
        for part in limit.metadata:
            found = _limited(found, part)
        return found
    for names, place in ((("ge", "gt"), "minimum"), (("le",), "maximum")):
        for name in names:
            if (bound := getattr(limit, name, None)) is not None:
                found = replace(found, **{place: bound})
    if (bound := getattr(limit, "lt", None)) is not None:
        found = replace(found, maximum=bound - 1 if isinstance(bound, int) else bound)
    if (longest := getattr(limit, "max_length", None)) is not None:
        found = replace(found, longest=longest)
    return found


def _fields(place: str, config: type[Parameters], given: Mapping[str, Any]) -> list[FormField]:
    """All fields of a configuration class that a form has a place for."""
    found = [
        form_field(place, name, info, given.get(name))
        for name, info in config.model_fields.items()
        if name != "name"
    ]
    return [one for one in found if one is not None]


def told(config: type[Parameters]) -> str:
    """What a class is for: the first line of its docstring."""
    return inspect.cleandoc(config.__doc__ or "").partition("\n")[0]


def _takes_automatic(method: type[Parameters], name: str) -> bool:
    """Whether a method chooses a number by itself where it is asked for -1."""
    info = method.model_fields.get(name)
    if name != "nb_clusters" or info is None:
        return False
    if info.default == -1:
        return True
    try:
        method.model_validate({name: -1})
    except ValidationError:
        return False
    return True


class _Choices:
    """What can be chosen, by what the store holds; each is read once, when a field asks for it."""

    def __init__(self, project: "Project", clusterings: "Clusterings"):
        self._project = project
        self._clusterings = clusterings

    def tags(self) -> list[tuple[str, str, int]]:
        """Property, path and number of images of each tag, in the order of their trees."""
        return [(tag["property"], tag["path"], tag["nb_images"]) for tag in self._project.tags()]

    def tagged(self) -> list[tuple[str, str]]:
        """The properties whose tags can be taken: saved ones, and those of the metadata."""
        saved = [property_name for property_name, _, _ in self.tags()]
        read = [
            found["name"]
            for found in self._project.properties()
            if found["type"] in ("tag", "multi_tags")
        ]
        return [(name, name) for name in dict.fromkeys([*saved, *read])]

    def properties(self) -> list[tuple[str, str]]:
        """The properties of the metadata."""
        return [(found["name"], found["name"]) for found in self._project.properties()]

    def runs(self) -> list[tuple[str, str]]:
        """Keys of runs and divided nodes, the runs first."""
        keys = [key for key in self._clusterings.records if key not in self._clusterings.stale]
        return [(key, key) for key in sorted(keys, key=lambda key: (key.count("/"), key))]

    def nodes(self) -> list[tuple[str, str]]:
        """Clusters of all runs, those of the newest runs first."""
        from resources.lance import one_of

        records = self._clusterings.records
        wanted = [records[key] for key, _ in self.runs()]
        wanted.sort(key=lambda record: record.finished_at, reverse=True)
        ids = {record.record_id: place for place, record in enumerate(wanted[:_MOST_CHOICES])}
        columns = ["record_id", "key", "cluster", "size"]
        rows = self._project.store.read("clusters", columns, one_of("record_id", ids)).to_pylist()
        rows.sort(key=lambda row: (ids[row["record_id"]], -row["size"]))
        nodes = (f"{row['key']}/{row['cluster']}" for row in rows)
        return [(node, node) for node in nodes]

    def folders(self) -> list[tuple[str, int]]:
        """Every folder of present files, with how many lie in it and below."""
        from panoptic_assets.corpus.table import present_files

        counted: Counter[str] = Counter()
        for paths in present_files(self._project.store).values():
            above: set[str] = set()
            for path in paths:
                parts = path.split("/")[:-1]
                above.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
            counted.update(above)
        return sorted(counted.items())

    def choose(self, one: FormField, choices: list[tuple[str, str]], kind: FieldKind) -> FormField:
        """A field with what can be chosen in it."""
        shown = tuple(choices[:_MOST_CHOICES])
        value = one.value
        if kind == "choice" and value and value not in dict(shown):
            shown = ((value, value), *shown)
        return replace(one, kind=kind, choices=shown, nb_choices=len(choices))


def _methods(choices: _Choices, given: Mapping[str, Any]) -> list[FormChoice]:
    """Every method that can be asked for; ``given`` has the parameters of some of them."""
    from panoptic_assets.clustering.config import METHODS

    found = []
    for method in METHODS:
        name, needs = name_of(method), method.needs
        fields = []
        for one in _fields(f"config.method.{name}", method, given.get(name) or {}):
            if one.code == "property" and "tags" in needs:
                one = choices.choose(one, [("", "–"), *choices.tagged()], "choice")
            elif one.code == "runs" and "runs" in needs:
                one = choices.choose(one, choices.runs(), "chosen")
            fields.append(replace(one, automatic=_takes_automatic(method, one.code)))
        found.append(
            FormChoice(name, told(method), tuple(fields), {"config": {"method": {name: {}}}})
        )
    return found


def _scopes(choices: _Choices, given: Document) -> list[FormChoice]:
    """Every scope that can be asked for; ``given`` is the one that is chosen first."""
    from panoptic_assets.clustering.config import Scope

    given_name, given_fields = next(iter(given.items()), ("corpus", {}))
    found = []
    for scope in get_args(Scope):
        name = name_of(scope)
        mine = given_fields if name == given_name and isinstance(given_fields, dict) else {}
        fields = _fields(f"config.scope.{name}", scope, mine)
        lacks = {"name", *(one.code for one in fields)} < scope.model_fields.keys()
        if lacks:  # it cannot be written into a form, but kept as it came
            if name == given_name:
                body = {"config": {"scope": given}}
                found.append(FormChoice(name, told(scope), (), body, is_given=True))
            continue
        fields = [_scope_field(choices, name, one) for one in fields]
        empty = [one for one in fields if one.kind in ("choice", "json") and not one.choices]
        if empty and name != given_name:
            continue
        body = {"config": {"scope": {name: {}}}}
        found.append(FormChoice(name, told(scope), tuple(fields), body, is_given=bool(mine)))
    folders = choices.folders()
    if folders:
        found.insert(1, _folder(choices, folders, given))
    return found


def _folder(choices: _Choices, folders: list[tuple[str, int]], given: Document) -> FormChoice:
    """The scope ``files`` by a folder that there is."""
    patterns = {f"{glob.escape(name)}/*": f"{name} ({count})" for name, count in folders}
    asked = (given.get("files") or {}).get("pattern", "") if isinstance(given, dict) else ""
    one = FormField(
        "config.scope.files.pattern",
        N_("Folder"),
        "choice",
        value=asked if asked in patterns else None,
        code="pattern",
    )
    chosen = choices.choose(one, list(patterns.items()), "choice")
    return FormChoice(
        _FOLDER,
        N_("The images of a folder, and of those in it."),
        (chosen,),
        {"config": {"scope": {"files": {}}}},
        is_given=asked in patterns,
    )


def _scope_field(choices: _Choices, scope: str, one: FormField) -> FormField:
    if (scope, one.code) == ("tag", "path"):
        tags = choices.tags()
        listed = [
            (json.dumps({"property": name, "path": path}), f"{name}: {path} ({count})")
            for name, path, count in tags
        ]
        return replace(choices.choose(one, listed, "json"), name="config.scope.tag")
    if (scope, one.code) == ("property", "property"):
        return choices.choose(one, choices.properties(), "choice")
    if (scope, one.code) == ("property", "certainty"):
        around = one.name.removesuffix("certainty")
        shown = (("", N_("possibly")), ("certainly", N_("certainly")))
        dates = (f"{around}since", f"{around}until")
        return replace(one, choices=shown, is_worded=True, only_with=dates)
    if (scope, one.code) == ("node", "node"):
        return choices.choose(one, choices.nodes(), "text")
    return one


def _shared(
    project: "Project", config: type[Parameters], given: Mapping[str, Any], default: str
) -> tuple[FormField, list[FormField]]:
    """The field of the features, and those that all clusterings have beside the method."""
    from panoptic_assets.features import table as vector_tables

    fields = {one.code: one for one in _fields("config", config, given)}
    known = [
        *vector_tables.vector_types(project.store),
        *vector_tables.projections(project.store),
    ]
    names = dict.fromkeys([default, *known])
    features = replace(
        fields["features"],
        label=N_("Vectors, or a projection of them"),
        description="",
        kind="choice",
        value=given.get("features") or default,
        choices=tuple((name, name) for name in names),
    )
    return features, [fields[name] for name in ("seed", "stability", "assign_remainder")]


def _form(project: "Project", asked: AskedForm, to: LiveAddresses) -> dict[str, Any]:
    from panoptic_assets.acts import seen
    from panoptic_assets.clustering.config import ClusteringConfig, NestedClusteringConfig
    from panoptic_assets.clustering.table import Clusterings
    from panoptic_assets.corpus.table import present_files

    clusterings = Clusterings(project.store)
    choices = _Choices(project, clusterings)
    node = str(parse_node(asked.node)) if asked.node else ""
    given = _given(clusterings, asked, node)
    config = NestedClusteringConfig if node else ClusteringConfig
    default = project.layout.settings.vector_type
    if node:
        clusterings.members(parse_node(node))  # refuses what is not there
        default = clusterings.get(parse_node(node).run_key).config["features"]
    features, others = _shared(project, config, given, default)
    scopes = [] if node else _scopes(choices, given.get("scope") or {})
    methods = _methods(choices, given.get("method") or {})
    subjects = [parse_node(node).clustering, node] if node else ["corpus:"]
    return {
        "node": node,
        "divided": node in clusterings.records,
        "nb_images": len(present_files(project.store)),
        "methods": methods,
        "method": _chosen_method(methods, asked, given),
        "scopes": scopes,
        "scope": next((one.name for one in scopes if one.is_given), "corpus"),
        "features": features,
        "others": others,
        "taken_from": asked.run,
        "subjects": subjects,
        "seen": seen(project.store, subjects),
    }


def _given(clusterings: "Clusterings", asked: AskedForm, node: str) -> Document:
    """The configuration that the form begins with, as people write it."""
    found: Document = {}
    if asked.run:
        found = dict(clusterings.get(parse_clustering(asked.run)).config)
    elif node in clusterings.records:
        found = dict(clusterings.records[node].config)
    if asked.runs:
        found["method"] = {"consensus": {"runs": asked.runs}}
    if asked.scope:
        try:
            found["scope"] = json.loads(asked.scope)
        except (ValueError, RecursionError) as error:
            raise InputError(
                "The scope in this address is no JSON: go back to the page that led here.",
                id="form-scope-not-json",
            ) from error
        if not (isinstance(found["scope"], dict) and len(found["scope"]) <= 1):
            raise InputError(
                "The scope in this address names no kind of scope, as in "
                '{{"tag": {{"path": "birds"}}}}: go back to the page that led here.',
                id="form-scope-unknown",
            )
    return found


def _chosen_method(methods: list[FormChoice], asked: AskedForm, given: Document) -> str:
    wanted = asked.method or next(iter(given.get("method") or {}), "")
    known = [method.name for method in methods]
    return wanted if wanted in known else known[0]


FORM_PAGES: tuple[PageAddress, ...] = (
    PageAddress("new", "new.html", AskedForm, _form, ("form.js",), ("home.css", "form.css")),
)
