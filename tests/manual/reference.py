"""Makes the reference of the manual from the code: ``python -m tests.manual.reference``.

It writes ``command-line``, ``configuration``, ``python-api``, ``http-api``, ``tables``,
``definitions`` and ``file-kinds`` below ``panoptic_assets/manual/en/reference``;
``tests/pipeline/manual/test_reference.py`` compares them with the code. What the pages say of a
thing is said where the thing is: the help of options, the descriptions of fields, docstrings. The
other pages of the reference are written by hand.
"""

import ast
import functools
import importlib
import inspect
import re
import textwrap
import types
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import dagster as dg
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from panoptic_assets.acts import ACTS
from panoptic_assets.cli.late import LateGroup
from panoptic_assets.cli.main import main
from panoptic_assets.clustering.algorithms import interface
from panoptic_assets.clustering.config import METHODS, Scope
from panoptic_assets.clustering.methods import MethodConfig
from panoptic_assets.clustering.policies import POLICIES
from panoptic_assets.clustering.sweeps import Sweep
from panoptic_assets.definitions import defs
from panoptic_assets.features.config import PROJECTION_METHODS
from panoptic_assets.labels.config import LABEL_METHODS
from panoptic_assets.labels.labellers import LabellerConfig, LabellerData
from panoptic_assets.labels.naming import ClusterToLabel, Suggestion
from panoptic_assets.labels.vocabulary import Vocabulary
from panoptic_assets.project import Project
from panoptic_assets.serve.api_acts import ACT_ADDRESSES
from panoptic_assets.serve.api_reads import READS
from panoptic_assets.serve.downloads import DOWNLOADS
from panoptic_assets.serve.previews import PICTURES
from panoptic_assets.spec.computation import NotComputableError
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.resolution import parse
from panoptic_assets.tags.edits import FIELDS
from resources import schemas
from resources.errors import InputError, Message, UnavailableError
from resources.models import ModelSpec
from resources.project_folder import ProjectSettings
from resources.source import ImageSource
from resources.vectors_file import VectorsFile
from tests.manual.file_kinds import file_kinds

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "panoptic_assets" / "manual" / "en" / "reference"
COMMAND = "python -m tests.manual.reference"

Lines = Iterator[str]

_GROUPS = {
    "The corpus": ("corpus",),
    "Clusterings": ("clustering", "describing"),
    "Labels, reports and comparisons": ("labels", "review"),
    "Tags and remarks": ("tags", "tag_edits", "remarks"),
    "Proof": ("proof",),
    "What was done, and taking it back": ("history",),
    "Upkeep": ("upkeep",),
    "The browser and the manual": ("serve", "manual"),
}
"""Modules of the command line, by what one comes for."""

_OF_ALL = {"--help", "--version"}
"""Options that need no words."""

_EXAMPLES: dict[str, dict[str, Any]] = {
    "neighbors": {"k": 100},
    "clustering_report": {"projection": "mini/umap"},
    "run_comparison": {"runs": ["demo", "animals"], "against": "folders"},
    "tag_recommendations": {"property": "Clustering", "number": 5},
    "verify_runs": {"keys": ["demo"], "pixels": False},
    "backfill_runs": {"keys": ["demo"], "policy": "assign"},
    "retention": {"days": 90},
    "undo_acts": {"act": "demo/9@1"},
    "remove_clusterings": {"key": "demo/9"},
    "set_policy": {"key": "demo", "refresh": {"assign": {}}},
    "remark": {"subject": "demo/4", "text": "Two things in one."},
    "reconcile": {"follow": "store"},
}
"""Configurations of what has no file in ``configs``."""
_FILES = {
    "clustering": "runs/demo.yaml",
    "projection": "projections/mini/umap.yaml",
}

_RUN_TAGS = {
    "panoptic/method": "The method of a clustering or projection.",
    "panoptic/features": "What was clustered, or the vector type of a projection.",
    "panoptic/sweep": "The sweep that the run is computed for.",
    "panoptic/author": "Who acts: the user of the system, or the name that a browser keeps.",
    "panoptic/host": "The machine of a command that executes the Dagster run itself.",
    "panoptic/worker": "The machine of the warm worker that executes it.",
    "panoptic/look": "The look of `corpus_changed` that asked for a refresh.",
}

_POOLS = {
    "lancedb_write": "Images, vectors, neighbours and points.",
    "lancedb_clusterings": "Clusterings and the jobs that change them.",
    "lancedb_tags": "Saved clusterings and tags.",
    "review": "Labels, recommendations, and pages.",
}

_LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length")
"""As pydantic keeps them."""

_SEVERITIES = {
    "up_to_date": "warning",
    "verified": "error; warning if there is no witness",
}


def command_line() -> Lines:
    """Every command with its options."""
    context = click.Context(main, info_name="panoptic-assets")
    yield "# Command line"
    yield (
        "Every command, by what one comes for. `panoptic-assets COMMAND --help` says the same in "
        "the terminal. [Exit codes](environment.md#exit-codes) are the same for all."
    )
    yield from _command(main, context)
    assert isinstance(main, LateGroup)
    modules = {name: late.place.partition(":")[0] for name, late in main.late.items()}
    assert set(modules.values()) == {name for group in _GROUPS.values() for name in group}
    first: dict[str, str] = {}
    for group, of_group in _GROUPS.items():
        yield f"## {group}"
        for name, module in modules.items():
            if module not in of_group:
                continue
            command = main.get_command(context, name)
            assert command is not None
            yield f"### {name}"
            if "_" in name:
                yield "Called as in FiftyOne's clustering plugin."
            if (same := first.setdefault(main.late[name].place, name)) != name:
                yield f"The same as [{same}](#{same})."
                continue
            yield from _command(command, click.Context(command, context, name))


def _command(command: click.Command, context: click.Context) -> Lines:
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield _prose(inspect.cleandoc(command.help or ""))
    rows = []
    for option in command.get_params(context):
        if isinstance(option, click.Option) and not _OF_ALL & {*option.opts}:
            rows.append([_option(option, context), _meaning(option)])
    yield from _table(["Option", "Meaning"], rows)
    if isinstance(command, click.Group) and command is not main:
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield f"### {context.info_name} {name}"
            yield from _command(below, click.Context(below, context, name))


def _option(option: click.Option, context: click.Context) -> str:
    flags = [*option.opts, *option.secondary_opts]
    if not option.is_flag:
        value = "CHOICE" if isinstance(option.type, click.Choice) else option.make_metavar(context)
        flags[-1] += f" {value.removesuffix(' RANGE')}"
    return _codes(flags)


def _meaning(option: click.Option) -> str:
    said = [_sentence(_prose(option.help or ""))]
    if isinstance(option.type, click.Choice):
        said.append(f"CHOICE: one of {_codes(option.type.choices)}.")
    if isinstance(option.type, click.IntRange | click.FloatRange):
        said.append(f"{_range(option.type.min, option.type.max).capitalize()}.")
    if option.required:
        said.append("Needed.")
    if option.multiple and "several times" not in said[0] and "repeated" not in said[0]:
        said.append("Can be given several times.")
    if option.envvar:
        said.append(f"Else the environment variable `{option.envvar}`.")
    # Those of configuration have their default there: None here is click's for "not given".
    if not option.is_flag and (
        option.default == 0 or isinstance(option.default or None, str | int)
    ):
        said.append(f"Default: `{option.default}`.")
    return " ".join(said)


def configuration() -> Lines:
    """Everything that can be asked of assets and jobs, and the files in which it is asked."""
    yield "# Configuration"
    yield (
        "What can be asked of each asset and job, in the Launchpad, in files of `configs` and, as "
        "options, on the [command line](command-line.md). Every field that has a default can be "
        "left out. A choice is written as its name with its parameters, as in "
        "`method: {kmeans: {nb_clusters: 10}}`, or `method: {kmeans: {}}`."
    )
    yield "## Assets"
    asked = dict(_asked())
    for name in [asset.key.to_user_string() for asset in defs.assets or []]:
        yield from _asset(name, name, asked.pop(name))
        if name == "tags":
            yield "The edits, each a mapping of one of these kinds to its fields:"
            yield from _table(
                ["Edit", "Fields", "Further fields"],
                [[f"`{kind}`", *map(_fields_of_edit, _of_edit(kind))] for kind in FIELDS],
            )
    yield "## Jobs"
    for op, config in asked.items():
        yield from _asset(_jobs_by_op()[op], op, config)
    yield "## Clustering methods"
    yield "The choices of `method` of [clustering](#clustering), [nested_clustering]\
(#nested_clustering) and [sweeps](#sweep-files)."
    yield from _choices(METHODS)
    yield "## Scopes"
    yield "The choices of `scope` of [clustering](#clustering) and [sweeps](#sweep-files)."
    yield from _choices(get_args(Scope))
    yield "## Projection methods"
    yield "The choices of `method` of [projection](#projection)."
    yield from _choices(PROJECTION_METHODS)
    yield "## Labellers"
    yield "The choices of `method` of [cluster_labels](#cluster_labels)."
    yield from _choices(LABEL_METHODS)
    yield "## Refresh policies"
    yield (
        "The choices of `refresh:` in `configs/runs/KEY.yaml`, beside `ops:`; a policy without "
        "parameters is its name alone, as in `refresh: recluster`."
    )
    yield from _choices(POLICIES)
    yield "## Files of a project"
    yield "### Project settings"
    yield "The fields of `.panoptic/project.yaml`, which `panoptic-assets init` writes."
    meanings = {name: text for name, _, _, text in _attributes(ProjectSettings)}
    yield from _fields(ProjectSettings, meanings)
    yield "### Model files"
    yield (
        "`configs/models/KEY.yaml` describes the vector type `KEY`: a model, or "
        "[imported vectors](#imported-vectors)."
    )
    yield from _fields(ModelSpec)
    yield _shipped("models/mini.yaml")
    yield "### Imported vectors"
    yield (
        "`configs/models/KEY.yaml` of vectors that another program made; "
        "`panoptic-assets import-vectors` writes it."
    )
    yield from _fields(VectorsFile)
    yield "### Projection files"
    yield (
        "`configs/projections/TYPE/NAME.yaml` holds the configuration of the projection "
        "`TYPE/NAME`, as shown for [projection](#projection)."
    )
    yield "### Run files"
    yield (
        "`configs/runs/KEY.yaml` holds the configuration of the run `KEY`, as shown for "
        "[clustering](#clustering), and its [refresh policy](#refresh-policies); "
        "`configs/runs/KEY/3.yaml` that of the node `KEY/3`, with `ops: {nested_clustering: …}`."
    )
    yield "### Sweep files"
    yield "`configs/sweeps/KEY.yaml` describes the runs of the sweep `KEY`."
    yield from _fields(Sweep)
    yield _shipped("sweeps/number.yaml")
    yield "## Reading the images"
    yield (
        "The resource `source`, whose fields a run may be given under `resources:`, as in "
        "`resources: {source: {config: {readers: 16}}}`."
    )
    yield from _fields(ImageSource)


@functools.cache
def _asked() -> dict[str, type[Parameters]]:
    """The configuration class of each asset and op that takes one, by its name."""
    found = {}
    for path in sorted((ROOT / "panoptic_assets").rglob("*.py")):
        source = path.read_text()
        if "config_schema=schema_of(" not in source:
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name, config in re.findall(
            r"config_schema=schema_of\((\w+)\).*?^def (\w+)\(", source, re.DOTALL | re.MULTILINE
        ):
            found[config] = getattr(module, name)
    return found


def _jobs_by_op() -> dict[str, str]:
    return {node.name: job.name for job in defs.jobs or [] for node in getattr(job, "nodes", [])}


def _asset(name: str, op: str, config: type[Parameters]) -> Lines:
    yield f"### {name}"
    yield _prose(inspect.getdoc(config) or "")
    yield from _fields(config)
    if name in _EXAMPLES:
        parse(config, _EXAMPLES[name])
        asked = _yaml(_EXAMPLES[name])
        yield f"```yaml\nops:\n  {op}:\n    config: {asked}\n```"
    else:
        yield _shipped(_FILES.get(name, f"launch/{name}.yaml"))


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False).strip()


def _of_edit(kind: str) -> tuple[dict[str, str], dict[str, str]]:
    needed, further = FIELDS[kind]
    if kind not in ("undo", "redo") and "property" not in needed:
        further = further | {"property": "the property; `Clustering` by default"}
    return needed, further


def _fields_of_edit(fields: dict[str, str]) -> str:
    return "; ".join(f"`{name}`: {_prose(text)}" for name, text in fields.items())


def _choices(classes: Iterable[type[BaseModel]]) -> Lines:
    for choice in classes:
        yield f"### {name_of(choice)}"
        yield _prose(inspect.getdoc(choice) or "")
        yield from _fields(choice) if len(choice.model_fields) > 1 else iter(["No parameters."])


def _shipped(file: str) -> str:
    """A shipped file as an example, without its first lines, which say where it lies."""
    text = (ROOT / "configs" / file).read_text()
    body = re.sub(r"\A(#.*\n)+", "", text)
    return f"```yaml\n{body.strip()}\n```"


def _fields(
    config: type[BaseModel],
    meanings: dict[str, str] | None = None,
    left_out: Collection[str] = (),
) -> Lines:
    """The fields of a class as a table."""
    rows = []
    for name, field in config.model_fields.items():
        if name in left_out:
            continue
        if name == "name" and get_origin(field.annotation) is Literal:
            continue  # says which choice it is
        meaning = (meanings or {}).get(name) or field.description or ""
        rows.append([f"`{name}`", _default(config, name, field), _values(field), _prose(meaning)])
    yield from _table(["Parameter", "Default", "Values", "Meaning"], rows)


def _default(config: type[BaseModel], name: str, field: FieldInfo) -> str:
    if (config, name) == (ImageSource, "readers"):
        return "`4`, or as many as processors"
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None or value == "":
        return "empty"
    if isinstance(value, Parameters):
        return f"`{name_of(type(value))}`"
    return f"`{_yaml(value).removesuffix('...').strip()}`"


def _values(field: FieldInfo) -> str:
    kind = field.annotation
    for part in field.metadata:
        kind = Annotated[kind, part]
    return _kind(kind)


def _kind(kind: Any) -> str:
    """A type in words, with its limits."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        # The outermost limits are told; those inside are of the parts.
        return _limited(_kind(parts[0]), parts[1:])
    if origin is Literal:
        return ", ".join([*(["empty"] if "" in parts else []), _codes(filter(None, parts))])
    if origin in (Union, types.UnionType):
        shown = [part for part in parts if part is not type(None)]
        if len(shown) > 1:
            if not all(hasattr(part, "model_fields") for part in shown):
                return " or ".join(map(_kind, shown))
            names = [name_of(part) for part in shown]
            return ", ".join(f"[{name}](#{name})" for name in names)
        return f"{_kind(shown[0])} or empty" if len(parts) > 1 else _kind(shown[0])
    if origin is list:
        return f"list: {_kind(parts[0])}"
    if kind is dict or origin is dict:
        return "mapping"
    return {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}.get(
        kind, "any"
    )


def _limited(words: str, metadata: Iterable[Any]) -> str:
    found: dict[str, Any] = {}
    for part in metadata:
        if isinstance(part, FieldInfo):
            words = _limited(words, part.metadata)
        else:
            found |= {name: getattr(part, name) for name in _LIMITS if hasattr(part, name)}
    said = [f"above {_number(found['gt'])}"] if "gt" in found else []
    said += [_range(found.get("ge"), found.get("le"))] if {"ge", "le"} & found.keys() else []
    said += [f"below {_number(found['lt'])}"] if "lt" in found else []
    said += ["not empty"] if "min_length" in found else []
    what = "of them" if words.startswith("list") else "characters"
    said += [f"{found['max_length']:,} {what} at most"] if "max_length" in found else []
    return ", ".join([words, *said])


def _range(least: Any, most: Any) -> str:
    if least is None:
        return f"{_number(most)} at most"
    least = _number(least)
    return f"{least} or more" if most is None else f"{least} to {_number(most)}"


def _number(number: float) -> str:
    return f"{int(number) if number == int(number) else number:,}"


def python() -> Lines:
    """The class Project, errors, and what extensions are made of."""
    yield "# Python API"
    yield (
        "What lies behind the command line, as methods of one class. Readings give dictionaries, "
        "and Arrow tables where there are many rows; nothing is printed. "
        "The fields that acts take are those of the [configuration](configuration.md)."
    )
    yield "## Project"
    yield from _class(Project, own=False)
    headings = {"folder": "Parts", "runs": "Readings", "refresh": "Acts"}
    for name, member in vars(Project).items():
        if name in headings:
            yield f"## {headings.pop(name)}"
        if not name.startswith("_"):
            yield from _member(name, member)
    assert not headings
    yield "## Errors"
    yield "From `resources.errors`."
    yield "### InputError"
    yield from _doc(InputError)
    yield "Beside its text, which is in English, it has as attributes:"
    yield from _attribute_table(Message)
    yield "### UnavailableError"
    yield from _doc(UnavailableError)
    yield "## Methods of clustering"
    yield (
        "What another package's clustering method is made of: "
        "[Extend](../how-to/extend.md) shows one."
    )
    for kind in (MethodConfig, interface.Data, interface.TargetTag, interface.Outcome):
        yield f"### {kind.__name__}"
        yield from _class(kind)
    yield "### NotComputableError"
    yield from _doc(NotComputableError)
    yield "## Labellers"
    yield "What another package's labeller is made of."
    for kind in (LabellerConfig, LabellerData, Vocabulary, ClusterToLabel, Suggestion):
        yield f"### {kind.__name__}"
        yield from _class(kind)


def _class(kind: type, own: bool = True) -> Lines:
    """A class, and its own public attributes and methods."""
    yield f"From `{kind.__module__}`."
    if "__init__" in vars(kind) and not own:
        yield _signature(kind.__name__, kind.__init__)
    yield from _doc(kind)
    yield from _attribute_table(kind)
    for name, member in vars(kind).items() if own else ():
        public = not name.startswith(("_", "model_")) and name not in kind.__annotations__
        if public and _function(member) is not None:
            yield f"#### {kind.__name__}.{name}"
            yield from _described(name, member)


def _member(name: str, member: Any) -> Lines:
    yield f"### {name}"
    yield from _described(name, member)


def _described(name: str, member: Any) -> Lines:
    function = _function(member)
    assert function is not None
    if isinstance(member, property | functools.cached_property):
        yield f"```text\n{name}: {_written(function)['return']}\n```"
    else:
        yield _signature(name, function)
    yield from _doc(function)


def _function(member: Any) -> Callable[..., Any] | None:
    if isinstance(member, property):
        return member.fget
    if isinstance(member, functools.cached_property):
        return member.func
    return member if inspect.isfunction(member) else None


def _signature(name: str, function: Callable[..., Any]) -> str:
    function = inspect.unwrap(function)
    written, shown = _written(function), []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not any("*" in text for text in shown):
            shown.append("*")
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        text = f"{stars.get(parameter.kind, '')}{parameter.name}"
        text += f": {written[parameter.name]}"
        if parameter.default is not parameter.empty:
            text += f" = {parameter.default!r}"
        shown.append(text)
    end = "" if name[0].isupper() else f" -> {written['return']}"
    line = f"{name}({', '.join(shown)}){end}"
    if len(line) > 76:
        line = "\n".join([f"{name}(", *(f"    {text}," for text in shown), f"){end}"])
    return f"```text\n{line}\n```"


def _written(function: Callable[..., Any]) -> dict[str, str]:
    """The types of a function's parameters and of what it returns, as they are written."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    told = [node for node in ast.walk(tree.args) if isinstance(node, ast.arg) and node.annotation]
    found = {node.arg: _annotation(node.annotation) for node in told}
    return found | {"return": _annotation(tree.returns)}


def _annotation(node: ast.expr | None) -> str:
    """A type without the modules that it comes from."""
    text = ast.unparse(node) if node else ""
    text = re.sub(r"\b(?!pa\.|np\.)(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)
    return text.replace("'", "")


def _doc(what: Any) -> Lines:
    """A docstring, with its arguments and errors as lists."""
    text = inspect.getdoc(what) or ""
    parts = re.split(r"^(Args|Returns|Raises|Attributes):\n", text, flags=re.MULTILINE)
    yield _prose(parts[0].strip())
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        yield f"{ {'Args': 'Arguments'}.get(heading, heading) }:"
        body = textwrap.dedent(body).strip()
        if heading == "Returns":
            yield _prose(body)
            continue
        items = re.split(r"\n(?=\S)", body)
        named = [item.partition(":") for item in items]
        yield "\n".join(
            f"- `{name}`: {_prose(' '.join(meaning.split()))}" for name, _, meaning in named
        )


def _attribute_table(kind: type) -> Lines:
    rows = [
        [f"`{name}`", f"`{annotation}`", _prose(text) or "–"]
        for name, annotation, _, text in _attributes(kind)
    ]
    yield from _table(["Attribute", "Type", "Meaning"], rows)


def _attributes(kind: type) -> list[tuple[str, str, str, str]]:
    """Of the attributes that a class declares the name, type, default and docstring."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = []
    for place, node in enumerate(tree.body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        after = tree.body[place + 1] if place + 1 < len(tree.body) else None
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = re.sub(r"\s+", " ", str(after.value.value)).strip()
        default = ast.unparse(node.value) if node.value else ""
        found.append((node.target.id, _annotation(node.annotation), default, text))
    return found


def tables() -> Lines:
    """Every table of the store."""
    yield "# Tables"
    yield (
        "The tables of the store, `.panoptic/store`, of [LanceDB](https://lancedb.com). "
        "Key columns are never null, and together name a row. Beside them an empty table "
        "`format.N` says the number of the store's format."
    )
    yield "Most have a method of [Project](python-api.md#readings). Each can be read as Arrow:"
    yield (
        "```python\nfrom panoptic_assets.project import Project\n\n"
        'records = Project().store.read("records", ["key", "revision"])\n```'
    )
    described = {
        **schemas.TABLES,
        "vectors.TYPE": schemas.vectors(2),
        "neighbors.TYPE": schemas.NEIGHBORS,
        "points.TYPE.NAME": schemas.points(2),
    }
    for name, table in described.items():
        yield f"## {name}"
        yield table.row
        yield from _table(
            ["Column", "Type", "Meaning"],
            [
                [
                    f"`{field.name}`{' (key)' if field.metadata else ''}",
                    _arrow(field),
                    _prose(meaning),
                ]
                for field, meaning in table.columns
            ],
        )


def _arrow(field: Any) -> str:
    text = re.sub(r"\bitem: ", "", str(field.type))
    text, of_one_length = re.subn(r"fixed_size_list<(.*?)>\[\d+\]", r"list<\1>", text)
    said = [f"`{text}`", *(["all of one length"] if of_one_length else [])]
    return ", ".join([*said, *([] if field.nullable or field.metadata else ["never null"])])


def dagster() -> Lines:
    """Assets, checks, jobs, schedules and sensors."""
    yield "# Dagster's definitions"
    yield (
        "What the code location `panoptic_assets.definitions` holds. What assets and jobs can be "
        "asked is their [configuration](configuration.md); what materializations show is "
        "[metadata](materializations.md)."
    )
    yield "## Assets"
    groups: dict[str, list[list[str]]] = defaultdict(list)
    pools, fresh = defaultdict(list), {}
    for asset in defs.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        [spec] = asset.specs
        name, holds = spec.key.to_user_string(), (spec.description or "").split("\n\n")[0]
        partitions = f"`{asset.partitions_def.name}`" if asset.partitions_def else "–"
        above = ", ".join(f"`{dep.asset_key.to_user_string()}`" for dep in spec.deps)
        link = f"[{name}](configuration.md#{name})"
        groups[spec.group_name or ""].append([link, partitions, above or "–", _prose(holds)])
        pools[asset.op.pool].append(name)
        if spec.freshness_policy:
            fresh.setdefault(str(spec.freshness_policy), (spec.freshness_policy, []))[1].append(
                name
            )
    for group, rows in groups.items():
        yield f"Group `{group}`:"
        yield from _table(["Asset", "Partitions", "Made from", "Holds"], rows)
    for policy, names in fresh.values():
        warning, failure = (
            window.to_timedelta().days for window in (policy.warn_window, policy.fail_window)
        )
        yield (
            f"{_codes(names)} are meant to be fresh: Dagster warns when one was not materialized "
            f"for {warning} days, and calls it failed after {failure}."
        )
    yield "## Partitions"
    yield (
        "All partitions are dynamic: `vector_types` (`mini`), `projections` (`mini/umap`), `runs` "
        "(`demo`) and `nodes` (`demo/9`). Commands, acts and sensors add them."
    )
    yield "## Asset checks"
    yield (
        "Judged with each materialization; those of a partitioned asset for each partition. None "
        "blocks what comes after."
    )
    warnings = set()
    for path in (ROOT / "panoptic_assets").rglob("*_contracts.py"):
        text = path.read_text()
        warnings |= set(re.findall(r'ContractVerdict\(\s*"(\w+)"[^\n]*WARN\)', text))
    rows = []
    for check in [spec for checks in defs.asset_checks or [] for spec in checks.check_specs]:
        assert not check.blocking
        severity = _SEVERITIES.get(check.name, "warning" if check.name in warnings else "error")
        asset_name = check.asset_key.to_user_string()
        meaning = _prose(check.description or "")
        rows.append([f"`{check.name}`", f"`{asset_name}`", severity, meaning])
    yield from _table(["Check", "Asset", "Severity", "Passes if"], rows)
    yield "## Jobs"
    asked = {_jobs_by_op().get(op) for op in _asked()}
    yield from _table(
        ["Job", "What it does"],
        [
            [
                f"[{job.name}](configuration.md#{job.name})"
                if job.name in asked
                else f"`{job.name}`",
                _prose(job.description or ""),
            ]
            for job in defs.jobs or []
        ],
    )
    yield "## Schedules"
    yield (
        "All are off until you switch them on. Times are of the time zone in "
        "[PANOPTIC_TIMEZONE](environment.md#environment-variables), UTC by default."
    )
    yield from _table(
        ["Schedule", "Cron", "What it does"],
        [
            [f"`{schedule.name}`", f"`{schedule.cron_schedule}`", _prose(_told(schedule))]
            for schedule in defs.schedules or []
        ],
    )
    yield "## Sensors"
    yield (
        "All are off until you switch them on. The seconds between two looks are those of "
        "[PANOPTIC_SENSOR_SECONDS](environment.md#environment-variables) where that is set."
    )
    yield from _table(
        ["Sensor", "Seconds", "What it does"],
        [
            [f"`{sensor.name}`", str(sensor.minimum_interval_seconds), _prose(_told(sensor))]
            for sensor in defs.sensors or []
        ],
    )
    yield "## Run tags"
    yield "By which Dagster runs can be filtered, beside Dagster's own."
    found = {
        node.value
        for path in (ROOT / "panoptic_assets").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and re.fullmatch(r"panoptic/\w+", str(node.value))
    }
    assert found == _RUN_TAGS.keys()
    yield from _table(["Tag", "Value"], [[f"`{tag}`", text] for tag, text in _RUN_TAGS.items()])
    yield "## Pools"
    ops = {node.definition.pool for job in defs.jobs or [] for node in getattr(job, "nodes", [])}
    assert {*pools, *ops} - {None} == _POOLS.keys()
    yield "One step at a time takes a slot of each, so that one writes to a table at a time."
    yield from _table(["Pool", "For"], [[f"`{pool}`", text] for pool, text in _POOLS.items()])
    yield "## Resources"
    rows = []
    for name, resource in (defs.resources or {}).items():
        kind = getattr(resource, "resource_cls", type(resource))
        said = getattr(resource, "description", None) if name == "acts" else inspect.getdoc(kind)
        rows.append([f"`{name}`", _prose((said or "").split("\n\n")[0])])
    yield from _table(["Resource", "What it is"], rows)


def http_api() -> Lines:
    """Every address of the API, and what each act is asked with."""
    yield "# HTTP API"
    yield (
        "Addresses below `/panoptic/<corpus>/api/` while `panoptic-assets ui` runs, where the "
        "corpus is the name of the project's folder, without accents. `openapi.json` has all of "
        "this, with the form of every configuration. [How to use it](../how-to/over-http.md)."
    )
    yield "## Reading"
    yield (
        "Asked by GET, answered as JSON; what is not in the address is asked for in its query. "
        "`seen` of an answer are the versions of what it shows."
    )
    yield from _addresses(READS)
    yield "## Pictures and downloads"
    yield from _addresses([*PICTURES, *DOWNLOADS])
    yield "## Acts"
    yield (
        "Asked by POST below `acts/`, with a JSON object as the body. Each may have `seen`, as it "
        "was read: the act is refused if that has changed. An id of 16 hexadecimal digits in the "
        "header `Panoptic-Act` is the act's, by which it can be cancelled before its answer is "
        "there."
    )
    assets = {act.config: name for name, act in ACTS.items()}
    for act in ACT_ADDRESSES.values():
        yield f"### {act.name}"
        yield _prose(act.summary)
        yield from _fields(act.asked, left_out={"seen"})
        if act.config is not None:
            name = assets[act.config]
            without = f", without {_codes(act.not_asked)}" if act.not_asked else ""
            yield f"`config` is that of [{name}](configuration.md#{name}){without}."
    yield "## Acts that go on"
    yield from _table(
        ["Address", "Tells"],
        [
            ["`acts`", "The newest acts, with their states."],
            ["`acts/ACT`", "The state of one: preparing, running, done, failed, cancelled."],
            ["`acts/ACT/events`", "Server-sent events: line, progress, run, done, failed."],
            ["`acts/ACT/cancel`", "By POST: stops it."],
        ],
    )


def _addresses(addresses: Iterable[Any]) -> Lines:
    rows = []
    for address in addresses:
        path = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), address.path)
        fields = [name for name in address.asked.model_fields if f"{{{name}}}" not in address.path]
        rows.append([f"`{path}`", _prose(address.summary), _codes(fields)])
    yield from _table(["Address", "Tells", "Asked"], rows)


def _told(automation: Any) -> str:
    assert automation.default_status.value != "RUNNING"
    return str(automation.description or "")


def _codes(values: Iterable[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _sentence(text: str) -> str:
    return text if text.endswith((".", ")")) or not text else f"{text}."


def _prose(text: str) -> str:
    """A docstring's or a description's text as Markdown."""
    for asset, config in _asked().items():
        written = f":class:`{config.__module__}.{config.__name__}`"
        text = text.replace(written, f"[{asset}](configuration.md#{asset})")
    text = re.sub(r":\w+:`~(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r":\w+:(?=`)", "", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([<*]|\b_|_\b)", r"\\\1", part) for part in parts
    )


def _table(columns: list[str], rows: list[list[str]]) -> Lines:
    if rows:
        cells = [
            [" ".join(cell.split()).replace("|", r"\|") or "–" for cell in row] for row in rows
        ]
        lines = [columns, ["---"] * len(columns), *cells]
        yield "\n".join(f"| {' | '.join(line)} |" for line in lines)


MADE: dict[str, Callable[[], Lines]] = {
    "command-line": command_line,
    "configuration": configuration,
    "python-api": python,
    "tables": tables,
    "definitions": dagster,
    "http-api": http_api,
    "file-kinds": file_kinds,
}
"""By the names of the pages."""


def page(name: str) -> str:
    """The text of one page."""
    marks = f"<!-- start: none -->\n<!-- made by {COMMAND} -->"
    return "\n\n".join([marks, *MADE[name]()]) + "\n"


if __name__ == "__main__":
    PAGES.mkdir(parents=True, exist_ok=True)
    for called in MADE:
        (PAGES / f"{called}.md").write_text(page(called), encoding="utf-8")
