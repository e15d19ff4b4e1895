"""Verifying a clustering: it is computed again on what it read, and every link is compared.

Belongs here: which links the chain from the pixels to the stored clusters has, and what each of
them amounts to. Does not belong here: computing (``clustering.dividing``), seals (``spec.seals``),
and how a verdict is shown (``cli.proof``, ``proof.assets``).

A link that is not what was recorded breaks the proof. Circumstances, such as the version of a
library, are named when they differ, but break nothing as long as the answer is the same.

Whoever may write to the store can seal a forged record anew. So all that a clustering stores is
compared with what comes out again, not its answer alone; and what does not come out again (when a
record was made, by which Dagster run, what it cost, whether its drift was due by the limits of that
time) only a witness outside the store can confirm. A proof without one says so.

Long because a verification is one pass over one record, whose links share what was read; parted,
each part would hand all of it on.
"""

import hashlib
import importlib.metadata
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from panoptic_assets.clustering.algorithms.interface import UnknownAlgorithmError
from panoptic_assets.clustering.config import (
    ClusteringConfig,
    NestedClusteringConfig,
    SharedClusteringConfig,
    algorithm_of,
)
from panoptic_assets.clustering.dividing import Computed, Dividing, carried, present_members
from panoptic_assets.clustering.selection import Selection, select
from panoptic_assets.clustering.table import (
    Clusterings,
    StoredRecord,
    assignment_rows,
    cluster_rows,
    stored_record,
    stored_records,
)
from panoptic_assets.corpus.table import certificates_of_records, files_input, present_files
from panoptic_assets.features.table import (
    decoder_of,
    model_identity,
    read_features,
    read_vectors,
    vector_hashes,
)
from panoptic_assets.proof.verdict import (
    _GRAVEST,
    _SHOWN,
    LINKS,
    REMEDY,
    Link,
    State,
    Verdict,
    Witness,
)
from panoptic_assets.spec import records, seals
from panoptic_assets.spec.computation import REMAINDER, NotComputableError
from panoptic_assets.spec.keys import parse_clustering, parse_node, run_key_of, vector_type_of
from panoptic_assets.spec.records import Input, Record, digest, output_hash
from panoptic_assets.spec.resolution import parse
from panoptic_assets.spec.text import beginning, cut
from panoptic_assets.upkeep.refreshing import assigned_again, carried_again
from resources import decoding
from resources.errors import InputError, UnreadableImage
from resources.lance import LanceStore, VersionGoneError, one_of, quoted
from resources.listing import UnavailableFile
from resources.models import OpenClipModels
from resources.page_paths import file_of, page_id, page_number
from resources.registry import Registry
from resources.schemas import vectors_table
from resources.source import ImageSource

_NOTE_SHOWN = 200
_TOLERANCE = 1e-5
"""Relative or absolute, of distances, scores and the like: another processor, or another number of
threads, which no record has, rounds their last digits otherwise. What is no such number is compared
as it is."""
_OF_FIELDS = {
    "config": "parameters",
    "algorithm": "parameters",
    "output": "output",
    "parent_record": "parent",
    "parent_output": "parent",
    "id_list": "scope",
    "libraries": "libraries",
    "code_version": "code",
    "git_commit": "code",
    "machine": "machine",
}
"""For fields of a record, the link that they are of; all others are of ``record``."""
_FIGURES = (
    "counts",
    "nb_clusters",
    "baseline_score",
    "mean_score",
    "quality",
    "stability",
    "refreshed",
)
"""Fields of a record that come out again beside its output."""
_DECIDED_BY_ROUNDING = frozenset({"stability", "refreshed.drift.novelty"})
"""Figures that count what happens to single images: of one that two clusters are as near to, the
last digit decides, and so another machine or library."""
_ROUNDING = ("libraries", "machine")
_WORDING = (*_ROUNDING, "code", "model", "scope")
"""Circumstances that may give other numbers in notes."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_INPUT_LINKS = frozenset({"vectors", "points", "model", "neighbours", "tags", "runs", "scope"})
"""Links that are compared by the hashes of what a computation reads."""


@dataclass
class FileHashes:
    """Which images files show, by their bytes; each file is read once."""

    source: ImageSource
    known: dict[str, str | None] = field(default_factory=dict)
    """SHA-256 by path; None for a file that is not there, or not to be had now."""

    def of(self, paths: Sequence[str]) -> dict[str, str | None]:
        """The ids of the images that some files, or pages of them, show.

        Raises:
            InputError: The folder of images cannot be reached.
        """
        new = sorted({file_of(path) for path in paths} - self.known.keys())
        with ThreadPoolExecutor(self.source.readers) as pool:
            self.known.update(zip(new, pool.map(self._hash, new), strict=True))
        found = {path: self.known[file_of(path)] for path in paths}
        return {
            path: sha256 and page_id(sha256, page_number(path)) for path, sha256 in found.items()
        }

    def _hash(self, path: str) -> str | None:
        try:
            return hashlib.sha256(self.source.read(path)).hexdigest()
        except UnavailableFile:
            return None
        except UnreadableImage as error:  # there, but no such file is an image of the corpus
            return str(error)


@dataclass
class Verifier:
    """Verifies clusterings of one project."""

    store: LanceStore
    models: OpenClipModels
    registry: Registry
    source: ImageSource
    report: Callable[[str], None] = lambda line: None
    """Called with a line of text before something that takes long."""
    witness: Witness | None = None
    """None: nobody is asked, so that no proof has a witness."""
    pixels: bool = True
    """Whether files are read."""

    def __post_init__(self) -> None:
        self._hashes = FileHashes(self.source)
        self._present: dict[str, list[str]] | None = None
        self.certificates = certificates_of_records(self.store)

    def keys(self, key: str) -> list[str]:
        """What is to be verified of a key: of a run its tree without what is stale; else itself.

        Raises:
            InputError: There is no such clustering.
        """
        parse_clustering(key)
        clusterings = Clusterings(self.store, run_key_of(key))
        clusterings.get(key)
        return [key] if "/" in key else sorted(clusterings.valid(key), key=_depth_first)

    def all_keys(self) -> list[str]:
        """Every clustering that counts and is not stale, or of which that cannot be told."""
        clusterings = Clusterings(self.store)
        known = clusterings.records.keys() | clusterings.unreadable
        return sorted(known - clusterings.stale, key=_depth_first)

    def verify(self, key: str) -> Verdict:
        """Compute a clustering on what it read, and compare.

        Raises:
            InputError: There is no such clustering.
        """
        parse_clustering(key)
        clusterings = Clusterings(self.store, run_key_of(key))
        if key not in clusterings.records:  # somebody may have filed it under another run
            clusterings = Clusterings(self.store)
        if found := clusterings.unreadable.get(key):
            link = Link("record", "differs", found.text)
            return Verdict(key, found.record_id, "not computed", [link], found.text)
        newest = clusterings.get(key)
        stored = stored_record(self.store, newest.record_id)
        if stored is None or stored.record.record_id != newest.record_id:
            text = "it is filed under another id than its own"
            link = Link("record", "differs", text)
            return Verdict(key, newest.record_id, "not computed", [link], f"Of the record, {text}.")
        return _Verification(self, stored).verdict()

    def read_hashes(self, image_ids: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, Any]]:
        """The paths of the present files of images, and the hashes of these files."""
        if self._present is None:
            self._present = present_files(self.store)
        paths = {name: self._present.get(name, []) for name in image_ids}
        return paths, self._hashes.of([path for found in paths.values() for path in found])


class _Verification:
    """The verification of one record."""

    def __init__(self, verifier: Verifier, stored: StoredRecord):
        self.by, self.stored, self.record = verifier, stored, stored.record
        self.links: dict[str, list[tuple[State, str]]] = defaultdict(list)
        self.not_compared: dict[str, list[str]] = defaultdict(list)
        """Fields of the record, by their link."""
        self.reason = ""
        inputs = self.record.inputs
        start = next((n for n, read in enumerate(inputs) if read.table == "files"), len(inputs))
        self.read, self.selected = inputs[:start], inputs[start:]
        """What the method read, and what said which images are in scope."""
        self.gone: dict[str, int] = {}
        self.pairs = self._pairs_of(self.record)
        self.rows = dict(self.pairs)
        """The cluster of each image."""
        self.decoder = decoding.ALGORITHM
        """By which the pixels were decoded that the vectors were made of."""

    def verdict(self) -> Verdict:
        checks = (self._sealed, self._filed, self._known, self._circumstances, self._witnessed)
        for check in checks:
            check()
        certificates = self.by.certificates.get(self.record.record_id, [])
        computed = None
        try:
            if certificates:
                raise InputError(
                    "Images that it held were forgotten: see {certificates} in "
                    ".panoptic/certificates.",
                    id="images-forgotten",
                    certificates=", ".join(certificates),
                )
            computed = self._computed()
        except UnknownAlgorithmError as error:
            self._say("output", "unknown", f"{error}: not compared")
            self.reason = f"{error}: not compared."
        except (InputError, NotComputableError) as error:
            self.reason = str(error)
        except (OSError, RuntimeError, ValueError) as error:  # what Lance says of damaged files
            self.reason = f"The store failed: {' '.join(str(error).split())[:300]}"
        answer: Literal["same", "differs", "not computed"] = "not computed"
        if computed:
            answer = self._compared(computed)
        elif not certificates:
            answer = self._stored_only()
        self._pixels()
        links = [
            self._link(name) for name in sorted(self.links, key=LINKS.index) if self.links[name]
        ]
        key, record_id = self.record.key, self.record.record_id
        for link in links:
            if link.state == "unknown" and link.name != "witness":
                self.not_compared.setdefault(link.name, [link.name])
        rest = [name for link in links for name in self.not_compared.get(link.name, [])]
        return Verdict(key, record_id, answer, links, self.reason, bool(certificates), rest)

    def _link(self, name: str) -> Link:
        found = self.links[name]
        state = min((of for of, _ in found), key=_GRAVEST.index)
        shown = {state, "other"} if state == "unknown" else {state}
        said = [text for of, text in found if of in shown] if state != "same" else [found[0][1]]
        return Link(name, state, "; ".join(dict.fromkeys(said)))

    def _say(self, name: str, state: State, text: str) -> None:
        self.links[name].append((state, text))

    def _cannot_compare(self, link: str, name: str, text: str) -> None:
        """Say of a field of the record that it is not known what it should be, or was."""
        self._say(link, "unknown", text)
        self.not_compared[link].append(name)

    def _filed(self) -> None:
        """Compare the columns by which a record is found, and its run, with its key."""
        record, where = self.record, f"record_id = {quoted(self.record.record_id)}"
        right = {"key": record.key, "run_key": run_key_of(record.key), "revision": record.revision}
        rows = self.by.store.read("records", list(right), where).to_pylist()
        if len(rows) > 1:
            self._say("record", "differs", f"the store holds it {len(rows):,} times")
        for found in (*rows, {"run_key": record.run_key}):
            for name, value in found.items():
                if value != right[name]:
                    text = f"{name}: {value!r} is stored, and should be {right[name]!r}"
                    self._say("record", "differs", text)

    def _sealed(self) -> None:
        if self.stored.seal is None:
            text = "not sealed: the record is older than seals"
            self._cannot_compare("parameters", "seal", text)
            return
        changed = self.stored.changed
        for name in changed:
            link = self._link_of(name)
            value = _field(self.stored.document, name)
            if name == "seal":
                self._say(link, "differs", "the seal itself was changed")
            else:
                self._say(link, "differs", f"{name}: {value} is stored, and is not what was sealed")
        if not any(self._link_of(name) == "parameters" for name in changed):
            self._say("parameters", "same", "as they were sealed")
        if not any(self._link_of(name) == "record" for name in changed):
            self._say("record", "same", f"sealed, {self.stored.root}")

    def _known(self) -> None:
        """Name the fields that this version does not know, and those that nobody recorded."""
        document, changed = self.stored.document, self.stored.changed
        known = {name for name, _ in seals.fields(self.record.model_dump(mode="json"))}
        known |= Record.model_fields.keys()  # the first algorithm is left out
        for name, _ in seals.fields(document):
            if name not in known and name not in changed:
                text = f"{name}: this version does not know it, a newer one may have written it"
                self._cannot_compare(self._link_of(name), name, text)
        if "usage" not in document and not self._changed("usage"):
            text = "usage is not recorded: the record is older than it"
            self._cannot_compare("record", "usage", text)

    def _changed(self, name: str) -> bool:
        """Whether something of a field is not what was sealed, which was told then."""
        return any(one == name or one.startswith(f"{name}.") for one in self.stored.changed)

    def _link_of(self, name: str) -> str:
        first, _, rest = name.partition(".")
        if first == "inputs":
            number = rest.partition(".")[0]
            if number.isdecimal() and int(number) < len(self.record.inputs):
                return self._input_link(int(number))
        return _OF_FIELDS.get(first, "record")

    def _input_link(self, number: int) -> str:
        """The link that an input of the record is of."""
        table = self.record.inputs[number].table
        nb_read = len(self.read)
        nb_features = 1 + ("/" in self.record.config.get("features", ""))
        if number >= nb_read:
            if not table.startswith("vectors."):
                return "scope"
            searched = [read.table for read in self.selected[: number - nb_read]]
            return "model" if table in searched else "vectors"
        if number < nb_features:
            return "points" if table.startswith("points.") else "vectors"
        if table.startswith("neighbors."):
            return "neighbours"
        if table == "assignments":
            return "runs"
        if not table.startswith("vectors."):
            return "tags"
        # Of an assignment, the vectors of the images that were clustered; else of texts.
        return "vectors" if self.record.refreshed and self.record.refreshed.drift else "model"

    def _circumstances(self) -> None:
        record, changed = self.record, set(self.stored.changed)
        for name, version in sorted(record.libraries.items()):
            if (installed := _installed(name)) != version and f"libraries.{name}" not in changed:
                self._say("libraries", "other", f"{name}: {version} → {installed}")
        machine = records.machine_class()
        for name, value in record.machine.items():
            if machine.get(name) != value and f"machine.{name}" not in changed:
                self._say("machine", "other", f"{name}: {value} → {machine.get(name)}")
        recorded = {
            "libraries": (record.libraries, records.library_versions()),
            "machine": (record.machine, machine),
        }
        for link, (then, now) in recorded.items():
            if self._changed(link):
                continue
            if not then:
                self._cannot_compare(link, link, "not recorded")
            for name in sorted(now.keys() - then.keys()) if then else ():
                self._cannot_compare(link, f"{link}.{name}", f"{name}: not recorded")
        code = {"code_version": records.code_version(), "git_commit": records.git_commit()}
        for name, commit in code.items():
            before = getattr(record, name)
            if before != commit and before is not None and name not in changed:
                self._say("code", "other", f"{name}: {before} → {commit or 'none'}")
        for name in ("libraries", "machine", "code"):
            if not self.links[name]:
                self._say(name, "same", "as recorded")

    def _witnessed(self) -> None:
        said = self.by.witness(self.record) if self.by.witness else None
        if said is None:
            log = "has no seal of this record" if self.by.witness else "was not asked"
            self._say("witness", "unknown", f"Dagster's event log {log}: {REMEDY}")
        elif said != self.stored.root:
            other = "another seal" if self.stored.seal else "a seal, the store none"
            self._say("witness", "differs", f"Dagster's event log has {other}: {said}")
        else:
            self._say("witness", "same", "Dagster's event log has the same seal")

    def _computed(self) -> Computed:
        record, by = self.record, self.by
        if not self.stored.changed or all(
            self._link_of(name) not in {*_INPUT_LINKS, "parameters", "parent"}
            for name in self.stored.changed
        ):
            config = _config_of(record)
            seen = self.seen()
            selection = self.selection(config, seen)
            if record.refreshed and record.refreshed.policy == "assign":
                self._base(record.refreshed.record_id)
                store = by.store.at(self._versions(self.read))
                self._model(store)
                again = Dividing(store, by.models, by.registry, record.dagster_run_id, by.report)
                return assigned_again(again, record, config, selection)
            hidden = {
                "tags": 0,
                f"neighbors.{vector_type_of(config.features)}": 0,
            }
            store = by.store.at(hidden | self._versions(self.read), seen)
            dividing = Dividing(store, by.models, by.registry, record.dagster_run_id, by.report)
            self._model(store)
            computed = dividing.compute(record.key, config, selection, algorithm=record.algorithm)
            return self._in_its_numbers(computed) if record.refreshed else computed
        raise InputError(
            "What the record says of its making is not what was sealed, so that it is not known "
            "what to compute.",
            id="making-not-as-sealed",
        )

    def _in_its_numbers(self, computed: Computed) -> Computed:
        """The clustering with the numbers that a refresh carried over from an older record."""
        refreshed = self.record.refreshed
        assert refreshed is not None  # noqa: S101
        older = stored_record(self.by.store, refreshed.record_id)
        if older is None or older.record.key != self.record.key:
            self._say("base", "differs", f"there is no {refreshed.record_id} of {self.record.key}")
        elif names := self.by.certificates.get(refreshed.record_id):
            text = f"images of {refreshed.record_id} were forgotten: {', '.join(names)}"
            self._say("base", "unknown", text)
        elif self._holds(older, "base"):
            text = f"the numbers are those that were carried over from {refreshed.record_id}"
            self._say("base", "same", text)
            return carried_again(self.by.store, computed, older.record)
        # Those that are recorded are the only ones that are known then.
        numbers = {cluster.number for cluster in computed.answer.clustering.clusters}
        if numbers - {REMAINDER} == refreshed.numbers.keys():
            return carried(computed, refreshed)
        return computed

    def _holds(self, stored: StoredRecord, link: str) -> bool:
        """Whether a record that was read is as it was sealed, and its stored rows its answer."""
        record = stored.record
        if stored.changed:
            text = f"{record.record_id}: {stored.changed[0]} is not what was sealed"
            self._say(link, "differs", text)
        elif output_hash(self._pairs_of(record)) != record.output:
            self._say(link, "differs", f"the stored rows of {record.record_id} are not its answer")
        else:
            return True
        return False

    def _base(self, record_id: str) -> None:
        """Verify the record whose clusters images were assigned to."""
        stored = stored_record(self.by.store, record_id)
        if stored is None or stored.record.key != self.record.key:
            key = self.record.key
            self._say("base", "differs", f"there is no {record_id} of {key}")
            raise InputError(
                "Of what it continues, there is no {record_id} of {key}.",
                id="continued-record-gone",
                record_id=record_id,
                key=key,
            )
        found = _Verification(self.by, stored).verdict()
        unknown = found.answer == "not computed" and not found.broken
        state: State = "same" if found.proved else "unknown" if unknown else "differs"
        self._say("base", state, f"{record_id}: {found.summary}")

    def seen(self) -> dict[str, str]:
        """The records that counted when this one was made, as a condition on the tables."""
        ids = set()
        if self.record.parent_record is not None:
            for above in self._chain(self.record.parent_record, "parent"):
                ids.add(above.record_id)
            parent = stored_record(self.by.store, self.record.parent_record)
            if parent and parent.record.key != (wanted := self._above()):
                text = f"{self.record.parent_record} is of {parent.record.key}, not of {wanted}"
                self._say("parent", "differs", text)
            elif parent and parent.record.output != self.record.parent_output:
                self._say(
                    "parent",
                    "differs",
                    f"{self.record.parent_record} has another output than was recorded",
                )
            elif not self.links["parent"]:
                self._say("parent", "same", self.record.parent_record)
        combined = [read for read in self.read if read.table == "assignments"]
        keys = next(iter(self.record.config["method"].values())).get("runs", [])
        for key, read in zip(keys, combined, strict=False):
            ids |= self._combined(key, read)
        if combined and not self.links["runs"]:
            self._say("runs", "same", ", ".join(keys))
        if not ids:
            return {}
        # Whatever was undone or removed since: then it was there.
        return {"records": one_of("record_id", sorted(ids)), "marks": "false"}

    def _above(self) -> str | None:
        """The key of the clustering of which a cluster is in scope."""
        if "/" in self.record.key:
            return parse_node(self.record.key).clustering
        scope = self.record.config.get("scope", {}).get("node")
        return parse_node(scope["node"]).clustering if scope else None

    def _combined(self, key: str, read: Input) -> set[str]:
        where = f"key = {quoted(key)}"
        found = [
            stored.record
            for stored in stored_records(self.by.store, where).values()
            if stored.record.output == read.sha256
        ]
        if not found:
            self._say("runs", "differs", f"the record of {key} that was combined is gone")
            raise InputError(
                "The record of {key} that was combined is gone.", id="combined-record-gone", key=key
            )
        return {record.record_id for record in self._chain(found[-1].record_id, "runs")}

    def _chain(self, record_id: str, link: str) -> list[Record]:
        """A record and those above it, to the root of its run; each one's rows are checked."""
        found: list[Record] = []
        wanted: str | None = record_id
        while wanted is not None:
            stored = stored_record(self.by.store, wanted)
            if stored is None:
                self._say(link, "differs", f"the record {wanted} is gone")
                raise InputError("The record {wanted} is gone.", id="record-gone", wanted=wanted)
            record = stored.record
            if names := self.by.certificates.get(wanted):
                self._say(link, "unknown", f"images of {wanted} were forgotten: {', '.join(names)}")
            else:
                self._holds(stored, link)
            found.append(record)
            wanted = record.parent_record if "/" in record.key else None
        return found

    def _pairs_of(self, record: Record) -> list[tuple[str, str]]:
        """The cluster of each image, as it is stored; of one that is there twice, both."""
        where = f"record_id = {quoted(record.record_id)}"
        rows = self.by.store.read("assignments", ["image_id", "cluster"], where)
        return list(zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True))

    def _versions(self, inputs: Sequence[Input]) -> dict[str, int]:
        """The versions to read; of those that are gone, the newest ones are tried."""
        versions: dict[str, int] = {}
        for read in reversed(inputs):  # the features come first, and count
            versions[read.table] = read.version
        # Several runs may have been read one after the other, while others were written.
        read_runs = [read.version for read in inputs if read.table == "assignments"]
        if read_runs:
            versions["assignments"] = max(read_runs)
        for table, version in list(versions.items()):
            try:
                self.by.store.at({table: version}).version(table)
            except VersionGoneError:
                self.gone[table] = versions.pop(table)
        return versions

    def selection(self, config: SharedClusteringConfig, seen: dict[str, str]) -> Selection:
        """The images in scope: selected again; else those of the answer, if they hash right."""
        record, by = self.record, self.by
        versions = self._versions(self.selected)
        store = by.store.at(versions, seen)
        wanted = self.selected[0].sha256 if self.selected else ""
        failure: InputError | None = None
        found = None
        try:
            if isinstance(config, ClusteringConfig):
                found = select(record.key, config, store, by.registry, by.models, by.report)
            else:
                node = parse_node(record.key)
                clusterings = Clusterings(store, node.run_key)
                version = store.version("files")
                image_ids = present_members(node, clusterings, store, version)
                parent = clusterings.get(node.clustering)
                found = Selection(image_ids, [files_input(version, image_ids)], parent=parent)
        except InputError as error:
            failure = error
        if found and record.id_list and found.id_list != record.id_list:
            self._say("scope", "other", f"the list {record.id_list.file} was changed since")
        if found and digest(found.image_ids) == wanted:
            self._compare_inputs(found.sources, self.selected, len(self.read))
            return found
        ids = sorted(self.rows)
        if digest(ids) != wanted:
            text = failure or (
                f"{len(found.image_ids) if found else 0:,} images are in scope now, "
                f"{record.counts.in_scope:,} were, and they are not the same ones"
            )
            self._say("scope", "differs", f"{text}{self._gone_of('files')}")
            if failure:
                raise failure
            assert found is not None  # noqa: S101
            return found
        how = failure or "it now takes other images"
        self._say("scope", "other", f"the recorded images are taken, since {how}")
        above = stored_record(by.store, record.parent_record) if record.parent_record else None
        return Selection(ids, self.selected, [], record.id_list, above.record if above else None)

    def _gone_of(self, table: str) -> str:
        version = self.gone.get(table)
        return f" (version {version} of {table} is gone, the newest was read)" if version else ""

    def _compare_inputs(self, now: Sequence[Input], then: Sequence[Input], start: int) -> None:
        names = [self._input_link(start + number) for number in range(len(then))]
        if [read.table for read in now] != [read.table for read in then]:
            listed = ", ".join(sorted({read.table for read in now} ^ {read.table for read in then}))
            self._say("record", "differs", f"other tables are read: {listed}")
            return
        for name, read, before in zip(names, now, then, strict=True):
            if read.sha256 == before.sha256:
                text = f"{before.table} version {before.version}, sha256 {before.sha256}"
                self._say(name, "same", f"{text}{self._gone_of(before.table)}")
            elif name == "model":
                # Computed, not read: a model rounds otherwise with another number of threads.
                self._say(name, "other", "it gives the texts other vectors, to the last bit")
            else:
                gone = self._gone_of(before.table)
                text = f"{before.table} is not what was read in version {before.version}{gone}"
                self._say(name, "differs", text)

    def _model(self, store: LanceStore) -> None:
        vector_type = vector_type_of(self.record.config["features"])
        then, now = (model_identity(place, vector_type) for place in (store, self.by.store))
        if then is None:
            return
        if not then.get("imported"):
            self.decoder = decoder_of(then)
        differing = [
            f"{name}: {then.get(name)!r} then, {(now or {}).get(name)!r} now"
            for name in sorted({*then, *(now or {})})
            if then.get(name) != (now or {}).get(name)
        ]
        try:
            differing += self.by.registry.model(vector_type).differences(then)
        except InputError as error:
            differing.append(str(error))
        for text in differing:
            self._say("model", "other", text)
        if not differing:
            told = [then.get("model"), then.get("pretrained"), then.get("weights_sha256")]
            self._say("model", "same", ", ".join(str(part) for part in told if part))

    def _compared(self, computed: Computed) -> Literal["same", "differs", "not computed"]:
        record = self.record
        now = computed.record.inputs[: len(computed.record.inputs) - len(self.selected)]
        self._compare_inputs(now, self.read, 0)
        self._vectors_of_now(computed)
        rows = assignment_rows(record, computed.answer)
        names = dict(zip(rows["image_id"].to_pylist(), rows["cluster"].to_pylist(), strict=True))
        if "output" in {self._link_of(name) for name in self.stored.changed}:
            # What was sealed is not known, but the stored rows may tell.
            self.reason = "The hash of the answer that the record has is not what was sealed."
            self._compare_rows(computed, rows)
            return "not computed"
        broken = [
            name
            for name in (*_INPUT_LINKS, "parent")
            if any(state == "differs" for state, _ in self.links[name])
        ]
        if computed.record.output == record.output:
            is_todays = record.algorithm == algorithm_of(record.config["method"])
            how = "" if is_todays else f", by algorithm {record.algorithm}"
            self._say("output", "same", f"sha256 {record.output}{how}")
            if broken:  # distances and scores differ then, which is no fault of the stored ones
                self._stored_rows()
            else:
                self._compare_rows(computed, rows)
                self._compare_record(computed.record)
            return "same"
        moved = sum(names.get(one) != self.rows.get(one) for one in names.keys() | self.rows.keys())
        whole = self._stored_rows()
        text = f"{moved:,} of {len(names):,} images are in other clusters" if whole else "other"
        if broken:
            self.reason = (
                f"What was read is not what was recorded ({', '.join(sorted(broken))}), and gives "
                f"another answer ({text})."
            )
            return "not computed"
        self._say("output", "differs", f"{text}, sha256 {computed.record.output}")
        return "differs"

    def _vectors_of_now(self, computed: Computed) -> None:
        features = computed.features
        vector_type = vector_type_of(self.record.config["features"])
        if not self.by.store.version(vectors_table(vector_type)):
            self._say("vectors of now", "other", "the table is gone")
            return
        now = read_vectors(self.by.store, vector_type, features.image_ids, may_be_none=True)
        before = dict(zip(features.image_ids, vector_hashes(features.vectors), strict=True))
        after = dict(zip(now.image_ids, vector_hashes(now.vectors), strict=True))
        gone = len(before.keys() - after.keys())
        other = sum(after[one] != before[one] for one in before.keys() & after.keys())
        said = [f"{other:,} images have another vector now"] if other else []
        said += [f"{gone:,} images have none any more"] if gone else []
        if said:
            self._say("vectors of now", "other", ", ".join(said))
        else:
            self._say("vectors of now", "same", f"of all {len(before):,} images")

    def _compare_rows(self, computed: Computed, rows: pa.Table) -> None:
        where = f"record_id = {quoted(self.record.record_id)}"
        answer = computed.answer
        expected = {
            "assignments": (rows, "image_id"),
            "clusters": (cluster_rows(self.record, answer), "cluster"),
        }
        distances = dict(zip(answer.image_ids, answer.clustering.distances.tolist(), strict=True))
        for table, (right, key) in expected.items():
            stored = self.by.store.read(table, where=where)
            states = _states(stored, right, key, self._rounds_otherwise(), distances)
            for state in ("differs", "other"):
                named = sorted(name for name, found in states.items() if found == state)
                if named:
                    listed = beginning(named, _SHOWN)
                    self._say(table, state, f"{len(named):,} rows are not so: {listed}")
            if not self.links[table]:
                self._say(table, "same", f"all {right.num_rows:,} rows")

    def _rounds_otherwise(self) -> bool:
        return any(state == "other" for name in _ROUNDING for state, _ in self.links[name])

    def _compare_record(self, again: Record) -> None:
        """Compare what the record says beside its answer with what came out again."""
        document, right = self.stored.document, again.model_dump(mode="json")
        for name in ("parent_record", "parent_output"):
            for text, _ in self._unlike(name, document[name], right[name]):
                self._say("parent", "differs", text)
        listed = self.record.config.get("scope", {}).get("ids", {}).get("file")
        stored = self.record.id_list.file if self.record.id_list else None
        if stored != listed and "id_list" in document:
            text = f"id_list.file: {stored!r} is stored, the parameters name {listed!r}"
            self._say("scope", "differs", text)
        elif stored != listed and not self._changed("id_list"):
            text = "id_list is not recorded: the record is older than it"
            self._cannot_compare("scope", "id_list", text)
        if again.algorithm != self.record.algorithm:  # of an assignment, that of its base
            text = f"algorithm: {self.record.algorithm} is stored, {again.algorithm} came out"
            self._say("base", "differs", text)
        for name in _FIGURES:
            if name not in document:
                if right[name] is not None and not self._changed(name):
                    text = f"{name} is not recorded: the record is older than it"
                    self._cannot_compare("figures", name, text)
                continue
            for text, state in self._unlike(name, document[name], right[name]):
                self._say("figures", state, text)
        if not self.links["figures"]:
            self._say("figures", "same", "counts, scores and quality come out again")
        self._compare_notes(again.notes)

    def _unlike(self, name: str, stored: Any, right: Any) -> Iterator[tuple[str, State]]:
        """What is not as it came out again of a field of the record, one line for each value."""
        before, after = dict(seals.fields(stored, name)), dict(seals.fields(right, name))
        for part in sorted(before.keys() | after.keys()):
            # What is not what was sealed was told.
            if part in self.stored.changed or _equal(before.get(part), after.get(part)):
                continue
            decided = part in _DECIDED_BY_ROUNDING and self._rounds_otherwise()
            stands, came = _shown(before.get(part)), _shown(after.get(part))
            yield f"{part}: {stands} is stored, {came} came out", "other" if decided else "differs"

    def _compare_notes(self, notes: Sequence[str]) -> None:
        if self._changed("notes"):
            return
        if "notes" not in self.stored.document:
            text = "notes are not recorded: the record is older than they are"
            self._cannot_compare("notes", "notes", text)
            return
        stored = self.record.notes
        if notes == stored:
            self._say("notes", "same", f"all {len(notes):,}" if notes else "none")
            return
        others = {name for name in _WORDING for state, _ in self.links[name] if state == "other"}
        before, after = ([_NUMBER.sub("0", note) for note in found] for found in (stored, notes))
        if before == after:
            state: State = "other" if others else "differs"
            unlike = next(one for one, came in zip(stored, notes, strict=True) if one != came)
        else:
            # A selection that is not the one of then has not the same to say, and other code may
            # say the same in other words.
            state = "unknown" if "scope" in others else "other" if "code" in others else "differs"
            invented = [
                note for note, said in zip(stored, before, strict=True) if said not in after
            ]
            missing = [note for note, said in zip(notes, after, strict=True) if said not in before]
            unlike = (invented or [f"{missing[0]!r} is missing" if missing else "their order"])[0]
        self._say("notes", state, f"they came out otherwise: {unlike}"[:_NOTE_SHOWN])

    def _stored_rows(self) -> bool:
        if output_hash(self.pairs) == self.record.output:
            self._say("assignments", "same", "they hash to the recorded output")
            return True
        self._say("assignments", "differs", "the stored rows are not the recorded answer")
        return False

    def _stored_only(self) -> Literal["not computed"]:
        """Compare what can be compared without computing."""
        if not any(self._link_of(name) == "output" for name in self.stored.changed):
            self._stored_rows()
        links = {self._link_of(name) for name in self.stored.changed}
        if links & {*_INPUT_LINKS, "parent"}:
            return "not computed"
        try:
            features = self.record.config["features"]
            store = self.by.store.at(self._versions(self.read))
            read = read_features(store, features, self.rows)
            self._compare_inputs(read.sources, self.read[: len(read.sources)], 0)
        except (InputError, KeyError, OSError, RuntimeError, ValueError) as error:
            text = " ".join(str(error).split())[:300]
            if text != self.reason:
                self._say("vectors", "unknown", text)
        return "not computed"

    def _pixels(self) -> None:
        if not self.by.pixels:
            return
        try:
            paths, hashes = self.by.read_hashes(sorted(self.rows))
        except InputError as error:
            self._say("pixels", "unknown", str(error))
            return
        other = [
            path
            for image_id, found in paths.items()
            for path in found
            if hashes[path] not in (None, image_id)
        ]
        missing = sum(all(hashes[path] is None for path in found) for found in paths.values())
        lost = f"; {missing:,} images have no file any more" if missing else ""
        if other:
            listed = beginning(sorted(other), _SHOWN)
            text = f"{len(other):,} files hold other bytes than their image: {listed}{lost}"
            self._say("pixels", "differs", text)
        else:
            count, now = len(paths) - missing, decoding.ALGORITHM
            text = f"the files of {count:,} images hold their bytes{lost}"
            if self.decoder in decoding.SHIPPED:
                by = "" if self.decoder == now else f"; decoded by algorithm {self.decoder}"
                self._say("pixels", "same", f"{text}{by}")
            else:
                text = f"{text}; decoded by algorithm {self.decoder} then, by {now} now"
                self._say("pixels", "other", f"{text}: not compared")


def selection_of(
    stored: StoredRecord,
    store: LanceStore,
    models: OpenClipModels,
    registry: Registry,
    report: Callable[[str], None] = lambda line: None,
) -> Selection:
    """The images that a record's scope took, selected again from what it read.

    Raises:
        InputError: They cannot be told any more.
    """
    verifier = Verifier(store, models, registry, ImageSource(), report, pixels=False)
    made = _Verification(verifier, stored)
    return made.selection(_config_of(stored.record), made.seen())


def _config_of(record: Record) -> SharedClusteringConfig:
    kind = NestedClusteringConfig if "/" in record.key else ClusteringConfig
    return parse(kind, record.config)


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _field(document: Any, name: str) -> str:
    """A field of a document by its dotted name, as text; ``nothing`` if it is not there."""
    found = dict(seals.fields(document))
    return _shown(found[name]) if name in found else "nothing"


def _depth_first(key: str) -> list[tuple[int, str]]:
    """Keys of a tree from the root down, cluster 9 before 10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in key.split("/")]


def _states(
    stored: pa.Table,
    right: pa.Table,
    key: str,
    rounds_otherwise: bool,
    distances: Mapping[str, float],
) -> dict[Any, State]:
    """The keys of the rows that are not as they came out again; what each of them amounts to.

    Args:
        stored: Rows of a clustering.
        right: What they should be.
        key: The column that names them.
        rounds_otherwise: Whether another machine or library made them: what single images decide
            is then another circumstance, and of images that are as near to the mean of their
            cluster any may be its medoid.
        distances: Of each image to that mean.
    """
    before, after = ({row[key]: row for row in rows.to_pylist()} for rows in (stored, right))
    times = Counter(stored[key].to_pylist())
    found: dict[Any, State] = {}
    for name in before.keys() | after.keys():
        one, other = before.get(name), after.get(name)
        if one is None or other is None or times[name] > 1:
            found[name] = "differs"
            continue
        unlike = {column for column in other if not _equal(one.get(column), other[column])}
        if rounds_otherwise and "medoid" in unlike:
            apart = (distances.get(row["medoid"]) for row in (one, other))
            if _equal(*apart):
                unlike.remove("medoid")
        if unlike - _DECIDED_BY_ROUNDING or (unlike and not rounds_otherwise):
            found[name] = "differs"
        elif unlike:
            found[name] = "other"
    return found


def _shown(value: Any) -> str:
    return cut(repr(value), 80)


def _equal(before: Any, after: Any) -> bool:
    numbers = [
        isinstance(value, int | float) and not isinstance(value, bool) for value in (before, after)
    ]
    if all(numbers) and (isinstance(before, float) or isinstance(after, float)):
        return bool(np.isclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True))
    return type(before) is type(after) and bool(before == after)
