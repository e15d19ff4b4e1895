"""The OpenAPI document of the API, and JSON Schemas of configuration classes.

Belongs here: describing what the tables of addresses and acts hold. Does not belong here: those
tables (``serve.api_reads``, ``serve.api_acts``).

A choice is written as ``{kmeans: {nb_clusters: 10}}`` wherever people write one, and not in
pydantic's own form with the choice's name inside it: schemas say so.
"""

import importlib.metadata
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from panoptic_assets.serve.downloads import DOWNLOADS, Download
from panoptic_assets.serve.ongoing import ACT_ID, ID_PATTERN
from panoptic_assets.serve.previews import PICTURES, PictureAddress
from panoptic_assets.spec.fields import Parameters

if TYPE_CHECKING:
    from panoptic_assets.serve.api_acts import ActAddress
    from panoptic_assets.serve.api_reads import ReadAddress

Schema = dict[str, Any]

VERSION = "3.1.0"
_COMPONENTS = "#/components/schemas/"
_NAMED = re.compile(r"\{(\w+)\}")

_ERROR: Schema = {
    "type": "object",
    "description": "Why something was refused.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["id", "template", "values", "text"],
            "properties": {
                "id": {"type": "string", "description": "Names the template."},
                "template": {"type": "string", "description": "In English, as Python formats it."},
                "values": {"type": "object", "description": "For each of its placeholders."},
                "text": {
                    "type": "string",
                    "description": "In the language of Accept-Language.",
                },
            },
        },
        "field": {
            "type": "string",
            "description": "The field that it is about, such as `method.kmeans.nb_clusters`, of "
            "the body or of its configuration; missing where it is about none.",
        },
    },
}
_ACT: Schema = {
    "type": "object",
    "description": "An act that goes on, or has ended.",
    "required": ["act", "name", "author", "state", "started_at", "events"],
    "properties": {
        "act": {"type": "string", "description": "Its id."},
        "name": {"type": "string"},
        "author": {"type": "string"},
        "state": {"enum": ["preparing", "running", "done", "failed", "cancelled"]},
        "started_at": {"type": "string", "format": "date-time"},
        "ended_at": {"type": ["string", "null"], "format": "date-time"},
        "dagster_run_ids": {"type": "array", "items": {"type": "string"}},
        "undo": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Ids of what it did, by which each is undone; known at its end.",
        },
        "error": {"type": ["object", "null"]},
        "events": {"type": "string", "description": "Address of its events."},
        "result": {"description": "Once it is done; null if it is longer than 4 MiB."},
    },
}
_CHOSEN_ID = {
    "name": ACT_ID,
    "in": "header",
    "description": "The id that the act shall have, by which it can be cancelled before its answer "
    "is there; without it, or where another act has it, the act gets one.",
    "schema": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
}
_FORESEEN: Schema = {
    "type": "object",
    "description": "What an act would do, if it were done now.",
    "required": ["asset", "key", "config", "nb_images", "notes", "seconds", "takes_long", "exists"],
    "properties": {
        "asset": {"type": "string", "description": "What it makes."},
        "key": {"type": ["string", "null"], "description": "Of a run without one, a free one."},
        "config": {"type": ["object", "null"], "description": "Resolved, defaults filled in."},
        "nb_images": {"type": ["integer", "null"], "description": "That it is about."},
        "notes": {"type": "array", "items": {"type": "string"}},
        "seconds": {"type": ["number", "null"], "description": "An estimate; null: not known."},
        "takes_long": {"type": "boolean", "description": "Whether others need not wait for it."},
        "exists": {"type": "boolean", "description": "Whether it replaces or adds to something."},
        "replaces": {
            "type": ["object", "null"],
            "description": "The clustering that the key has: record_id, finished_at, method, "
            "nb_clusters, and below, the keys that are divided below it.",
        },
        "cost": {
            "type": ["object", "null"],
            "description": "Of names by a vision language model: model, host, nb_requests, "
            "nb_pictures, nb_known, tokens, cost (null without prices) and in_clear.",
        },
    },
}
_REFUSALS = {
    "400": "The request cannot be read.",
    "403": "This server is read-only, or it was asked by another site's page.",
    "404": "There is nothing of that name.",
    "408": "The body did not come in time.",
    "409": "What it rests on has changed since it was shown.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "422": "It cannot be done: the error says why.",
    "503": "Not now: `Retry-After` says when to ask again.",
}


_OBJECT: Schema = {"application/json": {"schema": {"type": "object"}}}


def whole_schema(config: type[Parameters], left_out: Collection[str] = ()) -> Schema:
    """The JSON Schema of a configuration class, in the form in which people write it.

    Args:
        config: The class.
        left_out: Fields that are not asked for there.
    """
    components: dict[str, Schema] = {}
    schema = _schema(config, left_out, components, "#/$defs/")
    return {**schema, "$defs": components} if components else schema


def _schema(
    config: type[Parameters],
    left_out: Collection[str],
    components: dict[str, Schema],
    place: str,
) -> Schema:
    """The same; the schemas that it refers to go into ``components``, which lie at ``place``."""
    schema = config.model_json_schema(ref_template=f"{place}{{model}}")
    parts = schema.pop("$defs", {})
    chosen = [found for part in (schema, *parts.values()) for found in _choices(part, place)]
    for name in chosen:  # its name is what it is asked for by, and stands before it
        parts[name]["properties"].pop("name", None)
    components.update(parts)
    for name in left_out:
        schema["properties"].pop(name, None)
    return schema


def _choices(schema: Schema, place: str) -> list[str]:
    """Write the fields of a schema that are choices as people do; the names of their schemas."""
    found = []
    for name, field in schema.get("properties", {}).items():
        mapping = field.pop("discriminator", {}).get("mapping")
        if mapping is None:
            continue
        del field["oneOf"]
        default = field.pop("default", None)
        if isinstance(default, dict) and "name" in default:
            parameters = {key: value for key, value in default.items() if key != "name"}
            field["default"] = {default["name"]: parameters}
        field["anyOf"] = [
            *(
                {
                    "type": "object",
                    "properties": {choice: {"$ref": reference}},
                    "required": [choice],
                    "additionalProperties": False,
                }
                for choice, reference in mapping.items()
            ),
            # By its name alone, with the defaults.
            *([{"enum": [*mapping]}] if name == "method" else []),
        ]
        field.pop("examples", None)  # in YAML
        found += [reference.removeprefix(place) for reference in mapping.values()]
    return found


def openapi_document(
    base: str, reads: Iterable["ReadAddress"], acts: Iterable["ActAddress"]
) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        base: The address that all others begin with, such as ``/panoptic/greek/api``.
        reads: What can be read.
        acts: What can be done.
    """
    components: dict[str, Schema] = {"Error": _ERROR, "Act": _ACT, "Foreseen": _FORESEEN}
    paths: dict[str, Any] = {}
    for read in reads:
        paths[f"/{read.path}"] = {"get": _read(read, components)}
    for act in acts:
        paths[f"/acts/{act.name}"] = {"post": _act(act, components)}
        if act.check is not None:
            paths[f"/check/{act.name}"] = {"post": _check_of(act, components)}
    for picture in PICTURES:
        operation = _read(picture, components, {"image/webp": {"schema": {}}})
        operation["responses"]["410"] = _refusal("None of its files can be shown.")
        paths[f"/{picture.path}"] = {"get": operation}
    for download in DOWNLOADS:
        operation = _read(download, components, {"application/octet-stream": {"schema": {}}})
        paths[f"/{download.path}"] = {"get": operation}
    paths |= _of_acts()
    return {
        "openapi": VERSION,
        "info": {
            "title": "panoptic_assets",
            "version": importlib.metadata.version("panoptic-assets"),
            "description": "What a project holds, and the acts that change it. What is posted is "
            "JSON; `seen` of what was read is sent back with an act, which is refused if that has "
            "changed meanwhile.",
        },
        "servers": [{"url": base}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _read(
    read: "ReadAddress | PictureAddress | Download",
    components: dict[str, Schema],
    content: Mapping[str, Any] = _OBJECT,
) -> dict[str, Any]:
    operation = _operation(read.summary, read.path, {"200": _answer(read.summary, content)})
    schema = _schema(read.asked, (), components, _COMPONENTS)
    in_path = set(_NAMED.findall(read.path))
    operation["parameters"] = [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in schema.get("required", ()),
            "description": field.pop("description", ""),
            "schema": field,
        }
        for name, field in schema["properties"].items()
    ]
    return operation


def _act(act: "ActAddress", components: dict[str, Schema]) -> dict[str, Any]:
    schema = _schema(act.asked, (), components, _COMPONENTS)
    if act.config is not None:
        name = act.config.__name__
        components[name] = _schema(act.config, act.not_asked, components, _COMPONENTS)
        schema["properties"]["config"] = {"$ref": f"{_COMPONENTS}{name}"}
    component = act.asked.__name__ if act.config is None else f"{act.name.title()}Act"
    components[component.replace("-", "")] = schema
    accepted = _answer("It was accepted, and goes on.", _json("Act"))
    operation = _operation(act.summary, f"acts {act.name}", {"202": accepted})
    operation["parameters"].append(_CHOSEN_ID)
    operation["requestBody"] = {
        "required": True,
        "content": _json(component.replace("-", "")),
    }
    for status in ("403", "408", "409", "413", "415"):
        operation["responses"][status] = _refusal(_REFUSALS[status])
    return operation


def _check_of(act: "ActAddress", components: dict[str, Schema]) -> dict[str, Any]:
    operation = _act(act, components)
    told = _answer("What it would do; nothing is started.", _json("Foreseen"))
    del operation["responses"]["202"]
    return {
        **operation,
        "parameters": [],
        "operationId": f"check_{act.name.replace('-', '_')}",
        "summary": f"{act.summary.removesuffix('.')}: what that would do and take.",
        "responses": {"200": told, **operation["responses"]},
    }


def _of_acts() -> dict[str, Any]:
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    resume = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The number of the last event that is known: those after it are sent.",
        "schema": {"type": "integer", "minimum": 0},
    }
    one, cancelled, line = (
        _operation(summary, path, {status: answer})
        for summary, path, status, answer in (
            ("An act.", "acts/{act}", "200", _answer("It.", _json("Act"))),
            (
                "Stop an act; one that has ended stays as it is.",
                "acts/{act}/cancel",
                "202",
                _answer("It was asked to stop.", _json("Act")),
            ),
            (
                "The events of an act, as they happen: `line`, `progress`, `run`, and at its end "
                "`done` or `failed`.",
                "acts/{act}/events",
                "200",
                _answer("Server-sent events.", events),
            ),
        )
    )
    line["parameters"].append(resume)
    line["responses"]["204"] = {"description": "It has ended, and nothing more was said."}
    cancelled["responses"]["403"] = _refusal(_REFUSALS["403"])
    return {
        "/acts": {
            "get": _operation("The newest acts.", "acts", {"200": _answer("They.", _OBJECT)})
        },
        "/acts/{act}": {"get": one},
        "/acts/{act}/events": {"get": line},
        "/acts/{act}/cancel": {"post": cancelled},
        "/openapi.json": {
            "get": _operation("This document.", "openapi.json", {"200": _answer("It.", _OBJECT)})
        },
    }


def _operation(summary: str, path: str, responses: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", path).strip("_")
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [
            {"name": found, "in": "path", "required": True, "schema": {"type": "string"}}
            for found in _NAMED.findall(path)
        ],
        "responses": {
            **responses,
            **{status: _refusal(_REFUSALS[status]) for status in ("400", "404", "422", "503")},
        },
    }


def _answer(description: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": content}


def _refusal(description: str) -> dict[str, Any]:
    return _answer(description, _json("Error"))


def _json(component: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"{_COMPONENTS}{component}"}}}
