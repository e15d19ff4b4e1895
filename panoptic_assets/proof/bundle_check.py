"""Checks an audit bundle: ``python verify.py`` in its folder, or ``python verify.py greek.zip``.

Belongs here: reading a bundle that anybody may have written, and every check that its content
allows. Does not belong here: writing bundles (``proof.bundles``).

Nothing but Python 3.10 or later and its standard library; where numpy is installed and the bundle
has vectors, scores are computed again as well. This file is put together from ``spec.seals``,
``spec.tag_log`` and ``proof.bundle_check`` of panoptic_assets (Apache License 2.0), so that
checking replays the tag log by the very rules by which it was written.

Exit codes: 0 all is as it was written, 1 something is not and is named, 2 it is no bundle.

Long because it is a program that must stand alone.
"""

import csv
import hashlib
import io
import json
import math
import re
import struct
import sys
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, BinaryIO

from panoptic_assets.spec.seals import changed
from panoptic_assets.spec.tag_log import Event, Tag, replay

MANIFEST = "MANIFEST.json"
FORMAT = 1
_MAX_FILES = 10_000
_MAX_BYTES = 16 * 2**30
"""Of all files together, unpacked."""
_MAX_RATIO = 200
"""A member that shrank more is made to fill a disk; tables of ids shrink to a half or a tenth."""
_SMALL = 2**20
_MAX_MANIFEST = 16 * 2**20
_MAX_TABLE = 4 * 2**30
"""Bytes of a file that is read as a whole."""
NAME = re.compile(r"[A-Za-z0-9_@.-]+(/[A-Za-z0-9_@.-]+)*")
_CHUNK = 2**20
_SHOWN = 3
_NO_CACHE = {"__pycache__", ".DS_Store"}
"""What looking at an unpacked bundle may leave there."""
_REMAINDER = "remainder"
_SCORE_TOLERANCE = 1e-3
# RuntimeError: a member that is encrypted, or packed by a method that Python lacks; JSON so deep
# that it cannot be read.
_DAMAGE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class NotABundleError(Exception):
    """What is to be checked cannot be a bundle, or is made to do harm; one line says why."""


class FolderBox:
    """An unpacked bundle."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.sizes: dict[str, int] = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if _NO_CACHE & set(path.relative_to(folder).parts):
                continue
            if path.is_symlink():
                raise NotABundleError(f"{name} is a link, which may lead anywhere")
            if path.is_file():
                self.sizes[name] = path.stat().st_size
            elif not path.is_dir():
                raise NotABundleError(f"{name} is neither a file nor a folder")

    def open(self, name: str) -> BinaryIO:
        """A file's bytes."""
        return (self.folder / name).open("rb")


class ZipBox:
    """A bundle as it was written."""

    def __init__(self, file: Path):
        try:
            self.zip = zipfile.ZipFile(file)
        except (*_DAMAGE, ValueError, struct.error) as error:
            raise NotABundleError(f"{file} is not a zip file: {error}") from error
        self.sizes: dict[str, int] = {}
        for member in self.zip.infolist():
            name = member.filename
            kind = member.external_attr >> 28
            if member.flag_bits & 1 or kind not in (0, 8):
                raise NotABundleError(f"{name!r} is not a plain file")
            if name in self.sizes:
                raise NotABundleError(f"{name!r} is there twice")
            shrunk = member.file_size / max(1, member.compress_size)
            if member.file_size > _SMALL and shrunk > _MAX_RATIO:
                raise NotABundleError(
                    f"{name!r} would unpack from {member.compress_size:,} to "
                    f"{member.file_size:,} bytes"
                )
            self.sizes[name] = member.file_size

    def open(self, name: str) -> BinaryIO:
        """A member's bytes; never more than its size says."""
        return self.zip.open(name)  # type: ignore[return-value]


Box = FolderBox | ZipBox


def open_box(place: Path) -> Box:
    """Open a bundle, and refuse what no bundle has.

    Raises:
        NotABundleError: Its names or sizes are not those of a bundle, or it has no manifest.
    """
    box: Box = FolderBox(place) if place.is_dir() else ZipBox(place)
    for name in box.sizes:
        if not NAME.fullmatch(name) or ".." in name.split("/") or "." in name.split("/"):
            raise NotABundleError(f"{name!r} is no name that a bundle has")
    if len(box.sizes) > _MAX_FILES or sum(box.sizes.values()) > _MAX_BYTES:
        raise NotABundleError("it has more files, or more bytes, than any bundle")
    if MANIFEST not in box.sizes:
        raise NotABundleError(f"it has no {MANIFEST}")
    return box


class Check:
    """The check of one bundle: ``findings`` grows with what is not as it was written."""

    def __init__(self, box: Box):
        self.box = box
        self.findings: list[str] = []
        self.done: list[str] = []
        """What was checked and is right, one line each."""
        self.skipped: list[str] = []
        """What could not be checked, and why."""
        self.fingerprint = ""
        self.bundle: dict[str, Any] = {}
        self.forgotten: dict[str, list[str]] = {}
        """For records whose images were forgotten, the certificates."""
        self.records: dict[str, dict[str, Any]] = {}
        self.members: dict[str, dict[str, str]] = defaultdict(dict)
        self.vectors: dict[str, dict[str, str]] = {}

    def all(self) -> list[str]:
        """Run every check; returns the findings."""
        self._guarded(MANIFEST, self._manifest)
        for name, check in (
            ("bundle.json", self._head),
            ("records.jsonl", self._records),
            ("memberships.csv", self._memberships),
            ("clusters.csv", self._clusters),
            ("corpus.csv", self._corpus),
            ("not_embedded.csv", self._scopes),
            ("vectors", self._vectors),
            ("tag_log.jsonl", self._tags),
            ("labels.jsonl", self._labels),
        ):
            self._guarded(name, check)
        return self.findings

    def _guarded(self, name: str, check: Callable[[], None]) -> None:
        before = len(self.findings)
        try:
            check()
        except (LookupError, ValueError, TypeError, AttributeError, csv.Error) as error:
            self._find(f"{name}: cannot be read as what it should be ({error!r})"[:300])
        except _DAMAGE as error:
            self._find(f"{name}: cannot be read ({error})"[:300])
        if len(self.findings) == before:
            self.done.append(name)

    def _find(self, text: str) -> None:
        self.findings.append(text)

    # Reading

    def _bytes(self, name: str, most: int = _MAX_TABLE) -> bytes:
        if name not in self.box.sizes:
            raise OSError("it is missing")
        with self.box.open(name) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise OSError("it is larger than any bundle's")
        return data

    def _json(self, name: str) -> Any:
        return json.loads(self._bytes(name))

    def _lines(self, name: str) -> list[dict[str, Any]]:
        # Not splitlines(): a text may hold what it, too, takes for the end of a line.
        return [json.loads(line) for line in self._bytes(name).decode().split("\n") if line]

    def _rows(self, name: str) -> Iterator[dict[str, str]]:
        csv.field_size_limit(max(2**24, csv.field_size_limit()))  # of the whole process
        reader = csv.DictReader(io.StringIO(self._bytes(name).decode(), newline="\n"), strict=True)
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} has another number of columns")
            yield row

    # Checks

    def _manifest(self) -> None:
        data = self._bytes(MANIFEST, _MAX_MANIFEST)
        self.fingerprint = hashlib.sha256(data).hexdigest()
        listed: dict[str, dict[str, Any]] = json.loads(data)["files"]
        for name in sorted(listed.keys() - self.box.sizes.keys()):
            self._find(f"{name}: is missing")
        for name in sorted(self.box.sizes.keys() - listed.keys() - {MANIFEST}):
            self._find(f"{name}: is not in the manifest")
        for name in sorted(listed.keys() & self.box.sizes.keys()):
            found, size = hashlib.sha256(), 0
            try:
                with self.box.open(name) as file:
                    while chunk := file.read(_CHUNK):
                        found.update(chunk)
                        size += len(chunk)
            except _DAMAGE as error:
                self._find(f"{name}: cannot be read ({error})")
                continue
            if (found.hexdigest(), size) != (listed[name]["sha256"], listed[name]["bytes"]):
                self._find(f"{name}: is not the file that the manifest lists")

    def _head(self) -> None:
        self.bundle = self._json("bundle.json")
        if self.bundle["format"] != FORMAT:
            self._find(f"bundle.json: format {self.bundle['format']}, this program knows {FORMAT}")

        self.forgotten = self.bundle.get("forgotten", {})

    def _records(self) -> None:
        for line in self._lines("records.jsonl"):
            name, content = line["record_id"], line["content"]
            self.records[name] = content
            made = f"{content['key']}@{content['revision']}-{content['dagster_run_id'][:8]}"
            if made != name:
                self._find(f"records.jsonl: {name}: its content is of {made}")
            if line["seal"] is None:
                self.skipped.append(f"{name} is older than seals: its fields are not checked")
            else:
                for field_name in changed(content, line["seal"]):
                    self._find(f"records.jsonl: {name}: {field_name} is not what was sealed")
        if list(self.records) != self.bundle["records"]:
            self._find("records.jsonl: other records than bundle.json lists")
        for name, content in self.records.items():
            above = self.records.get(content["parent_record"] or "")
            if above is not None and above["output"] != content["parent_output"]:
                self._find(f"records.jsonl: {name}: {content['parent_record']} has another output")

    def _memberships(self) -> None:
        for row in self._rows("memberships.csv"):
            own = self.members[row["record_id"]]
            if row["image_id"] in own:
                self._find(f"memberships.csv: {row['image_id']} is twice in {row['record_id']}")
            own[row["image_id"]] = row["cluster"]
        for name in self.members.keys() - self.records.keys():
            self._find(f"memberships.csv: there is no record {name}")
        for name, content in self.records.items():
            own = self.members[name]
            if certificates := self.forgotten.get(name):
                listed = ", ".join(certificates)
                self.skipped.append(
                    f"{name}: images of it were forgotten ({listed}): the rest is not its answer"
                )
                continue
            if output_hash_of(own) != content["output"]:
                self._find(f"memberships.csv: {name}: the clusters do not hash to its output")
            counts = content["counts"]
            remainder = sum(cluster == _REMAINDER for cluster in own.values())
            found = {
                "clustered": len(own) - remainder,
                "remainder": remainder,
                "in_scope": len(own) + counts["not_embedded"],
            }
            for field_name, value in found.items():
                if counts[field_name] != value:
                    self._find(
                        f"records.jsonl: {name}: counts.{field_name} is {counts[field_name]}, "
                        f"memberships.csv has {value}"
                    )
            nb_clusters = len(set(own.values()) - {_REMAINDER})
            if content["nb_clusters"] != nb_clusters:
                self._find(
                    f"records.jsonl: {name}: nb_clusters is {content['nb_clusters']}, "
                    f"memberships.csv has {nb_clusters}"
                )
            parent, key = content["parent_record"] or "", content["key"]
            if parent in self.records and "/" in key:
                cluster = key.rpartition("/")[2]
                strange = [one for one in own if self.members[parent].get(one) != cluster]
                if strange:
                    self._find(f"memberships.csv: {name}: {strange[0]} is not in {key} of {parent}")

    def _clusters(self) -> None:
        rows: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
        for row in self._rows("clusters.csv"):
            rows[row["record_id"]][row["cluster"]] = row
        for name, content in self.records.items():
            sizes = Counter(self.members[name].values())
            found = rows.pop(name, {})
            for cluster in sorted(sizes.keys() | found.keys()):
                size = found[cluster]["size"] if cluster in found else "no"
                if size != str(sizes[cluster]):
                    self._find(
                        f"clusters.csv: {name}: cluster {cluster} has {size} images, "
                        f"{sizes[cluster]} in memberships.csv"
                    )
                elif self.members[name].get(found[cluster]["medoid"]) != cluster:
                    self._find(f"clusters.csv: {name}: the medoid of {cluster} is not in it")
            if name not in self.forgotten:
                self._mean_score(name, content, found)
        for name in rows:
            self._find(f"clusters.csv: there is no record {name}")

    def _mean_score(
        self, name: str, content: Mapping[str, Any], found: Mapping[str, Mapping[str, str]]
    ) -> None:
        scores = [
            (int(row["size"]), float(row["score"]))
            for cluster, row in found.items()
            if cluster != _REMAINDER
        ]
        total = sum(size for size, _ in scores)
        recorded = content.get("mean_score")
        if total and recorded is not None:
            mean = sum(size * score for size, score in scores) / total
            if not math.isclose(mean, recorded, abs_tol=_SCORE_TOLERANCE):
                self._find(f"clusters.csv: {name}: the scores do not have the recorded mean")

    def _corpus(self) -> None:
        lines = sorted(
            (row["path"], row["image_id"] or None, row["status"])
            for row in self._rows("corpus.csv")
        )
        found = hashlib.sha256(json.dumps(lines, ensure_ascii=False).encode()).hexdigest()
        if found != self.bundle["corpus_version"]:
            self._find("corpus.csv: is not the corpus version of bundle.json")
        present = {image_id for _, image_id, status in lines if status == "present"}
        if self.bundle["files_version"] is None:
            self.skipped.append("the corpus of that time is not known: corpus.csv is a later one")
            return
        root = self.bundle["root_record"]
        if lost := self.members[root].keys() - present:
            self._find(f"corpus.csv: {len(lost)} images of {root} are not present: {min(lost)}")

    def _scopes(self) -> None:
        left_out: dict[str, list[str]] = defaultdict(list)
        for row in self._rows("not_embedded.csv"):
            left_out[row["record_id"]].append(row["image_id"])
        for name, content in self.records.items():
            if name in self.forgotten:
                continue
            wanted = next((i["sha256"] for i in content["inputs"] if i["table"] == "files"), None)
            if name in self.bundle["unknown_scopes"] or wanted is None:
                self.skipped.append(f"{name}: the images without a vector are not known")
                continue
            ids = sorted([*self.members[name], *left_out[name]])
            if canonical_hash(ids) != wanted:
                self._find(f"memberships.csv: {name}: the images do not hash to its scope")

    def _vectors(self) -> None:
        for name in sorted(self.box.sizes):
            if name.startswith("vectors/") and name.endswith(".csv"):
                table = name.removeprefix("vectors/").removesuffix(".csv")
                self.vectors[table] = {row["image_id"]: row["sha256"] for row in self._rows(name)}
        for name, content in self.records.items():
            if name in self.forgotten:
                continue
            [vector_type, *_] = content["config"]["features"].split("/")
            source = next(
                (i for i in content["inputs"] if i["table"] == f"vectors.{vector_type}"), None
            )
            table = f"{vector_type}@{source['version']}" if source else ""
            if source is None or table not in self.vectors:
                self.skipped.append(f"{name}: its vectors are no longer in the store")
                continue
            if lost := self.members[name].keys() - self.vectors[table].keys():
                self._find(f"vectors/{table}.csv: {len(lost)} images of {name} are missing")
            elif f"vectors/{table}.npy" in self.box.sizes:
                self._numbers(name, content, table, source["sha256"])

    def _numbers(self, name: str, content: Mapping[str, Any], table: str, wanted: str) -> None:
        file = f"vectors/{table}.npy"
        data, width = _npy(self._bytes(file))
        rows = {
            image: data[n * width : (n + 1) * width] for n, image in enumerate(self.vectors[table])
        }
        for image_id, row in rows.items():
            if hashlib.sha256(row).hexdigest() != self.vectors[table][image_id]:
                self._find(f"{file}: the vector of {image_id} is not that of vectors/{table}.csv")
                return
        ids = sorted(self.members[name])
        found = hashlib.sha256("\n".join(ids).encode())
        for image_id in ids:
            found.update(rows[image_id])
        if "/" in content["config"]["features"] and found.hexdigest() != wanted:
            self.skipped.append(f"{name}: some of its vectors have no point, their hash is unknown")
        elif found.hexdigest() != wanted:
            self._find(f"{file}: the vectors of {name} do not hash to what it read")
        self._scores(name, rows, width // 4)

    def _scores(self, name: str, rows: Mapping[str, bytes], width: int) -> None:
        try:
            import numpy as np
        except ImportError:
            text = "scores are not computed again: numpy is not installed"
            if text not in self.skipped:
                self.skipped.append(text)
            return
        for row in self._rows("clusters.csv"):
            if row["record_id"] != name or row["cluster"] == _REMAINDER:
                continue
            members = [
                one for one, cluster in self.members[name].items() if cluster == row["cluster"]
            ]
            if not members:
                continue
            vectors = np.frombuffer(b"".join(rows[one] for one in members), "<f4")
            mean = vectors.reshape(-1, width).mean(axis=0, dtype=np.float64)
            score = 100 * (1 - float(mean @ mean))
            if not math.isclose(score, float(row["score"]), abs_tol=_SCORE_TOLERANCE):
                self._find(
                    f"clusters.csv: {name}: the score of cluster {row['cluster']} is "
                    f"{float(row['score']):.4f}, its vectors give {score:.4f}"
                )

    def _tags(self) -> None:
        lines = self._lines("tag_log.jsonl")
        link = ""
        for line in lines:
            link = chained(link, {key: value for key, value in line.items() if key != "chain"})
            if link != line["chain"]:
                self._find(f"tag_log.jsonl: event {line['number']} or one before it was changed")
                link = line["chain"]
        if len(lines) != self.bundle["nb_events"]:
            self._find(f"tag_log.jsonl: {len(lines)} events, not {self.bundle['nb_events']}")
        events = events_of(lines)
        replayed = replay(events)
        own = set(self.bundle["properties"])
        tags = [tag for tag in replayed.tags if tag.property in own]
        stored = {row["tag_id"]: row for row in self._rows("tags.csv")}
        for tag in tags:
            if stored.pop(tag.tag_id, None) != tag_row(tag):
                self._find(f"tags.csv: the tag log makes another tag of {tag.tag_id} ({tag.name})")
        for tag_id in stored:
            self._find(f"tags.csv: the tag log makes no tag {tag_id}")
        ids = {tag.tag_id for tag in tags}
        made = {pair: str(n) for pair, n in replayed.images.items() if pair[0] in ids}
        held = {
            (row["tag_id"], row["image_id"]): row["event"] for row in self._rows("image_tags.csv")
        }
        differing = sorted({pair for pair, _ in made.items() ^ held.items()})
        for tag_id, image_id in differing[:_SHOWN]:
            self._find(f"image_tags.csv: the tag log says otherwise of {image_id} and {tag_id}")
        for number, event in enumerate(events, start=1):
            if event.kind == "save" and event.run_key == self.bundle["run_key"]:
                self._saved(number, event)

    def _saved(self, number: int, event: Event) -> None:
        """Each tag of a save, with those below it, has the images of its cluster."""
        tags = {tag.tag_id: tag for tag in event.tags}
        given: dict[str, set[str]] = {tag_id: set() for tag_id in tags}
        for tag_id, image_id in event.images:
            above: str | None = tag_id
            for _ in range(len(tags)):
                if above is None or above not in tags:
                    break
                given[above].add(image_id)
                above = tags[above].parent_id
        for tag in event.tags:
            record = self.records.get(tag.record_id or "")
            if record is None or tag.node is None:
                self.skipped.append(f"event {number}: the record {tag.record_id} is not here")
                continue
            clustering, _, cluster = tag.node.rpartition("/")
            rows = self.members[tag.record_id or ""]
            expected = {image_id for image_id, own in rows.items() if own == cluster}
            parent = tags.get(tag.parent_id or "")
            whole = parent is None or (
                parent.node == clustering
                and self.records.get(parent.record_id or "", {}).get("output")
                == record["parent_output"]
            )
            # A tag that was kept from an older clustering has the images that are still there.
            if given[tag.tag_id] != expected if whole else not given[tag.tag_id] <= expected:
                self._find(
                    f"tag_log.jsonl: event {number}: the tag {tag.name} has other images than "
                    f"{tag.node} of {tag.record_id}"
                )

    def _labels(self) -> None:
        prompts = {entry["sha256"]: entry for entry in self._json("label_prompts.json")}
        for digest_of, entry in prompts.items():
            if canonical_hash(entry["system"], entry["task"]) != digest_of:
                self._find(f"label_prompts.json: the prompt {digest_of} has another text")
        known = set()
        for line in self._lines("label_answers.jsonl"):
            known.add(json.loads(line["answer"]).get("label"))
            if line["prompt"] not in prompts:
                self._find(f"label_answers.jsonl: {line['cache_key']} answers an unknown prompt")
        for line in self._lines("labels.jsonl"):
            if line["record_id"] not in self.records:
                self._find(f"labels.jsonl: {line['node']} is of no record that is here")
            asked = line["method"] == "vision_model" and line["label"] is not None
            if asked and line["label"] not in known:
                self._find(f"labels.jsonl: no answer gives {line['node']} the name {line['label']}")


def canonical_hash(*parts: Any) -> str:
    """SHA-256 of plain data in canonical JSON, as records have it."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def output_hash_of(members: Mapping[str, str]) -> str:
    """SHA-256 of the sorted (image id, cluster) list, as records have it."""
    lines = (f"{image_id}\t{cluster}\n" for image_id, cluster in sorted(members.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def chained(link: str, line: Mapping[str, Any]) -> str:
    """The hash of an event and of all before it."""
    return canonical_hash(link, line)


def events_of(lines: list[dict[str, Any]]) -> list[Event]:
    """Events by their numbers in the whole log, of which the bundle has a part."""
    found: list[Event] = []
    known = {field.name for field in fields_of(Event)}
    for line in lines:
        while len(found) < line["number"] - 1:
            found.append(Event("undo"))  # of another property: it changes nothing here
        given = {key: value for key, value in line["event"].items() if key in known}
        given["tags"] = tuple(Tag(**tag) for tag in given.get("tags", ()))
        given["images"] = tuple((tag_id, image_id) for tag_id, image_id in given.get("images", ()))
        given["tag_ids"] = tuple(given.get("tag_ids", ()))
        found.append(Event(**given))
    return found


def tag_row(tag: Tag) -> dict[str, str]:
    """A tag as a line of ``tags.csv``."""
    return {
        "tag_id": tag.tag_id,
        "property": tag.property,
        "name": tag.name,
        "parent_id": tag.parent_id or "",
        "record_id": tag.record_id or "",
        "node": tag.node or "",
        "is_remainder": "true" if tag.is_remainder else "false",
        "colour": tag.colour or "",
    }


def _npy(data: bytes) -> tuple[bytes, int]:
    """The rows of a file of NumPy's format, float32 in C order, and the bytes of one row."""
    if data[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("not a .npy file, version 1.0")
    start = 10 + int.from_bytes(data[8:10], "little")
    found = re.fullmatch(
        r"\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d+), (\d+)\), \}\s*",
        data[10:start].decode("latin-1"),
    )
    if not found or len(data) - start != 4 * int(found[1]) * int(found[2]):
        raise ValueError("not a table of float32")
    return data[start:], 4 * int(found[2])


def main(arguments: list[str]) -> int:
    """Check the bundle that is named, or the folder that this file lies in."""
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print("Usage: python verify.py [BUNDLE.zip or folder]", file=sys.stderr)
        return 2
    place = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        check = Check(open_box(place))
    except NotABundleError as error:
        print(f"Not a bundle: {error}.", file=sys.stderr)
        return 2
    for finding in check.all():
        print(f"✗ {printable(finding)}")
    for name in check.done:
        print(f"✓ {name}")
    for text in dict.fromkeys(check.skipped):
        print(f"? {printable(text)}")
    print(f"sha256 of {MANIFEST}: {check.fingerprint}")
    if check.findings:
        print(f"{len(check.findings)} findings: this is not the bundle that was written.")
        return 1
    print("All that can be checked is as it was written.")
    return 0


def printable(text: str) -> str:
    """A stranger's text on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
