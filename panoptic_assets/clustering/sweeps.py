"""Sweeps: many runs that are asked for at once, by a grid of methods and parameters.

Belongs here: what a sweep may say, which runs it is, and the table of their answers. Does not
belong here: computing the runs, which are ordinary partitions of ``clustering``.
"""

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import BaseModel, Field, ValidationError

from panoptic_assets.clustering.config import METHODS
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.keys import MAX_LENGTH, parse_run_key
from panoptic_assets.spec.records import Record, digest
from panoptic_assets.spec.resolution import Document
from resources.errors import InputError
from resources.field_faults import explain_invalid

MOST_CELLS = 1000


class Sweep(BaseModel, frozen=True, extra="forbid"):
    """A grid of runs, as ``configs/sweeps/<key>.yaml`` describes it."""

    methods: list[dict[str, dict[str, Any] | None]] = Field(
        min_length=1,
        description="Methods with their parameters, of which each may be a list of values.",
    )
    features: list[str] = Field(
        default=[], description="Vector types and projections; empty: the project's default."
    )
    seeds: list[int] = Field(default=[0], min_length=1, description="Seeds of all that is random.")
    scope: dict[str, Any] = Field(
        default={}, description="The images to look at, as of a run; empty: the whole corpus."
    )
    stability: int = Field(
        default=0, ge=0, le=1000, description="Subsamples of each run; 0: not measured."
    )
    assign_remainder: bool = Field(
        default=False, description="Tell the nearest cluster of each image of the remainder."
    )


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    key: str
    config: Document
    varied: dict[str, Any]
    """What tells it from the other cells: parameters, features, seed; None where its method does
    not have it."""


def parse_sweep(document: Mapping[str, Any], source: str) -> Sweep:
    """Read a sweep.

    Args:
        document: Its content.
        source: Where it is from, for messages.

    Raises:
        InputError: It cannot be used.
    """
    try:
        sweep = Sweep.model_validate(document)
    except ValidationError as error:
        raise InputError(
            "{source} cannot be used: {problems}",
            id="sweep-unusable",
            source=source,
            problems=explain_invalid(error),
        ) from error
    known = [name_of(method) for method in METHODS]
    for entry in sweep.methods:
        if len(entry) != 1 or not set(entry) <= set(known):
            raise InputError(
                "{source} cannot be used: methods: each entry is one method with its parameters, "
                "as in `kmeans: {{nb_clusters: [5, 10]}}`; known ones: {known}.",
                id="sweep-method-unknown",
                source=source,
                known=", ".join(known),
            )
        [(name, grid)] = entry.items()
        [config] = [method for method in METHODS if name_of(method) == name]
        fields = [field for field in config.model_fields if field != "name"]
        if unknown := [field for field in grid or {} if field not in fields]:
            raise InputError(
                "{source} cannot be used: {name} has no parameter {unknown!r}; it has {known}.",
                id="sweep-parameter-unknown",
                source=source,
                name=name,
                unknown=unknown[0],
                known=", ".join(fields),
            )
    return sweep


def cells(key: str, sweep: Sweep) -> list[Cell]:
    """The runs of a sweep, in the order in which it names them.

    Raises:
        InputError: They are more than 1,000, two of them are the same, or a key would be too long.
    """
    parse_run_key(key)
    count = (
        sum(
            math.prod(len(values) for values in _values(method, grid or {}).values())
            for entry in sweep.methods
            for method, grid in entry.items()
        )
        * max(1, len(sweep.features))
        * len(sweep.seeds)
    )
    if not count:
        raise InputError(
            "The sweep {key!r} has no run: one of its parameters has no value.",
            id="sweep-without-runs",
            key=key,
        )
    if count > MOST_CELLS:
        raise InputError(
            "The sweep {key!r} has {count:,} runs, at most {most_cells:,} are possible: split it.",
            id="sweep-too-large",
            key=key,
            count=count,
            most_cells=MOST_CELLS,
        )
    combinations = [
        (method, parameters, features, seed)
        for entry in sweep.methods
        for method, grid in entry.items()
        for parameters in _product(method, grid or {})
        for features in sweep.features or [""]
        for seed in sweep.seeds
    ]
    described = [
        {"method": method, "features": features, "seed": seed, **parameters}
        for method, parameters, features, seed in combinations
    ]
    names = list(dict.fromkeys(name for found in described for name in found))
    varying = [name for name in names if len({repr(found.get(name)) for found in described}) > 1]
    found = [
        Cell(
            _cell_key(key, {name: description.get(name) for name in varying}),
            _document(sweep, *combination),
            {name: description.get(name) for name in varying},
        )
        for description, combination in zip(described, combinations, strict=True)
    ]
    keys = [cell.key for cell in found]
    if doubled := [name for name in dict.fromkeys(keys) if keys.count(name) > 1]:
        raise InputError(
            "The sweep {key!r} asks twice for the run {run_key}: take one out.",
            id="sweep-run-twice",
            key=key,
            run_key=doubled[0],
        )
    for name in keys:
        if len(name) > MAX_LENGTH:
            raise InputError(
                "The run {run_key}… of the sweep {key!r} would have a key of {length} characters, "
                "at most {max_length} are possible: shorten the sweep's key, or vary fewer "
                "parameters.",
                id="sweep-key-too-long",
                run_key=name[:40],
                key=key,
                length=len(name),
                max_length=MAX_LENGTH,
            )
    return found


def row(cell: Cell, record: Record | None, failure: str | None = None) -> dict[str, Any]:
    """A line of a sweep's table: key, what was varied, and the answer; None where there is none.

    Columns beside those of ``Cell.varied``: key, status (``done``, ``failed``, ``not run``),
    clusters and remainder (counts), mean_score, silhouette, stability, cpu_seconds, peak_memory
    (bytes), failure.
    """
    done = record is not None and failure is None
    answer: dict[str, Any] = dict.fromkeys(
        (
            "clusters",
            "remainder",
            "mean_score",
            "silhouette",
            "stability",
            "cpu_seconds",
            "peak_memory",
        )
    )
    if record is not None and done:
        answer |= {
            "clusters": record.nb_clusters,
            "remainder": record.counts.remainder,
            "mean_score": record.mean_score,
            "silhouette": record.quality.silhouette if record.quality else None,
            "stability": record.stability,
            "cpu_seconds": record.usage.cpu_seconds if record.usage else None,
            "peak_memory": record.usage.peak_memory if record.usage else None,
        }
    status = "done" if done else "failed" if failure else "not run"
    return {"key": cell.key, **cell.varied, "status": status, **answer, "failure": failure}


@dataclass(frozen=True)
class BestNumber:
    """What a sweep over ``nb_clusters`` says of the best number."""

    by_silhouette: int | None
    """The number with the highest silhouette; None if none was measured."""
    by_elbow: int | None
    """The number after which more clusters pay less; None for fewer than three numbers."""


def best_numbers(rows: Iterable[Mapping[str, Any]], cells: Iterable[Cell]) -> dict[str, BestNumber]:
    """The best ``nb_clusters`` for each combination of all else that a sweep varies.

    Rows that differ in their seed only count by their mean. The elbow is the point farthest below
    the line from the first to the last (Satopaa et al., 2011, "Kneedle"), of the mean score.

    Args:
        rows: Of :func:`row`.
        cells: Theirs.

    Returns:
        For each combination with two numbers or more, in words; empty if ``nb_clusters`` is not
        varied.
    """
    groups: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for found, cell in zip(rows, cells, strict=True):
        number = cell.varied.get("nb_clusters")
        if found["status"] == "done" and isinstance(number, int) and number > 0:
            rest = {
                name: value
                for name, value in cell.varied.items()
                if name not in ("nb_clusters", "seed") and value is not None
            }
            label = ", ".join(f"{name} {value}" for name, value in rest.items())
            groups.setdefault(label, {}).setdefault(number, []).append(found)
    best = {}
    for label, by_number in groups.items():
        numbers = sorted(by_number)
        if len(numbers) > 1:
            silhouettes = {
                number: mean
                for number in numbers
                if (mean := _mean(by_number[number], "silhouette")) is not None
            }
            scores = [_mean(by_number[number], "mean_score") or 0.0 for number in numbers]
            best[label] = BestNumber(
                max(silhouettes, key=lambda number: (silhouettes[number], -number), default=None),
                _elbow(numbers, scores),
            )
    return best


def _mean(rows: list[Mapping[str, Any]], name: str) -> float | None:
    values = [found[name] for found in rows if found[name] is not None]
    return math.fsum(values) / len(values) if values else None


def _elbow(numbers: list[int], scores: list[float]) -> int | None:
    if len(numbers) < 3 or scores[0] <= scores[-1]:
        return None
    below = [
        1.0
        - (number - numbers[0]) / (numbers[-1] - numbers[0])
        - (score - scores[-1]) / (scores[0] - scores[-1])
        for number, score in zip(numbers, scores, strict=True)
    ]
    best = max(range(len(numbers)), key=lambda place: (below[place], -place))
    return numbers[best] if below[best] > 1e-9 else None


def _values(method: str, grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """For each parameter, the values that it takes."""
    [config] = [found for found in METHODS if name_of(found) == method]
    lists = {
        name for name, field in config.model_fields.items() if get_origin(field.annotation) is list
    }

    def values(name: str, value: Any) -> list[Any]:
        if name in lists:  # of lists, only a list of lists is several values
            several = isinstance(value, list) and any(isinstance(item, list) for item in value)
        else:
            several = isinstance(value, list)
        return value if several else [value]

    return {name: values(name, value) for name, value in grid.items()}


def _product(method: str, grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = _values(method, grid)
    return [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]


def _document(
    sweep: Sweep, method: str, parameters: dict[str, Any], features: str, seed: int
) -> Document:
    document: Document = {"method": {method: parameters}, "seed": seed}
    if features:
        document["features"] = features
    if sweep.scope:
        document["scope"] = sweep.scope
    if sweep.stability:
        document["stability"] = sweep.stability
    if sweep.assign_remainder:
        document["assign_remainder"] = True
    return document


def _cell_key(key: str, varied: Mapping[str, Any]) -> str:
    parts = [key]
    for name, value in varied.items():
        if value is None or value == "":
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = f"{value!r}".replace(".", "p").replace("-", "m").replace("+", "")
        else:
            text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
        plain = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")
        if isinstance(value, list) and (not text.isascii() or "-".join(map(str, value)) != plain):
            # Words in other scripts, or with other signs, must still differ.
            plain = f"{plain[:20]}{'-' if plain else ''}{digest(value)[:6]}"
        text = plain or "x"
        parts.append(text if name in ("method", "features") else f"{_short(name)}{text}")
    return "_".join(parts)


def _short(name: str) -> str:
    """``k`` for the number of clusters, else the first letters of a parameter's words."""
    if name == "nb_clusters":
        return "k"
    return "s" if name == "seed" else "".join(word[0] for word in name.split("_") if word)
