"""Works with Panoptic's own classes, in Panoptic's own environment: `python panoptic_driver.py`.

Belongs here: nothing of ours; only what Panoptic 1.0.0's server does when people press its buttons.
Arguments: a file of steps in JSON, each a name and its arguments. Prints, after a line `ANSWERS`,
what each step gave.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from panoptic.core.databases.data.models import (
    InstanceValue,
    Property,
    Sha1Value,
    Tag,
    UpsertCommit,
)
from panoptic.core.databases.entity_schema import OP_CREATE, OP_UPDATE
from panoptic.core.databases.media.models import Map, Vector, VectorType
from panoptic.core.project.project import Project


def numbers(allocated):
    return list(allocated) if isinstance(allocated, range) else [allocated]


class Driver:
    def __init__(self, folder):
        self.project = Project(Path(folder))
        self.project.start()

    def folder(self, path):
        """Add a folder of images, as its dialog does; how many instances there are then."""
        self.project.import_folder(path)
        while any(not task.finished for task in self.project.get_task_states()):
            time.sleep(0.1)
        return len(self.project.get_instances())

    def _property(self, name):
        return next(p for p in self.project.get_properties() if p.name == name)

    def property(self, name, dtype, mode="sha1"):
        [number] = numbers(self.project.allocate_properties(1))
        commit = UpsertCommit()
        commit.properties[number] = Property(
            id=number,
            dtype=dtype,
            mode=mode,
            name=name,
            access="write",
            tag_list_id=number,
            commit_id=0,
            operation=OP_CREATE,
        )
        self.project.apply_upsert_commit("ui", commit)

    def tag_list(self, file, name):
        """The dialog *Import*, *Tags*."""
        self.project.importer.import_tags(Path(file).read_bytes(), self._property(name).id)

    def csv(self, file):
        """The dialog *Import*, *Data*, with relative paths."""
        importer = self.project.importer
        parsed = importer.upload(Path(file).name, Path(file).read_bytes())
        checked = importer.verify_mapping(relative=True, fusion="first")
        failed = [failed for _, failed in importer._take_import(None, None).run()]
        return {
            "errors": parsed["errors"],
            "missing": len(checked["missing_rows"]),
            "new": checked["new_instances_count"],
            "failed": failed[-1] if failed else 0,
        }

    def tags(self, name, tags):
        """Make tags as a person does: name, colour, places of the parents among them."""
        prop = self._property(name)
        ids = numbers(self.project.allocate_tags(len(tags)))
        commit = UpsertCommit()
        for number, (value, colour, parents) in zip(ids, tags, strict=True):
            commit.tags[number] = Tag(
                id=number,
                list_id=prop.id,
                parents=[ids[p] for p in parents],
                value=value,
                color=colour,
                commit_id=0,
                operation=OP_CREATE,
            )
        self.project.apply_upsert_commit("ui", commit)
        return ids

    def values(self, name, values):
        """Give values: of a SHA-1, or of an instance."""
        prop = self._property(name)
        commit = UpsertCommit()
        if prop.mode == "sha1":
            commit.sha1_values[prop.id] = [
                Sha1Value(
                    property_id=prop.id, sha1=key, value=value, commit_id=0, operation=OP_UPDATE
                )
                for key, value in values
            ]
        else:
            commit.instance_values[prop.id] = [
                InstanceValue(
                    property_id=prop.id,
                    instance_id=key,
                    value=value,
                    commit_id=0,
                    operation=OP_UPDATE,
                )
                for key, value in values
            ]
        self.project.apply_upsert_commit("ui", commit)

    def undo(self):
        self.project.undo()

    def vectors(self, source, params, vectors):
        [number] = numbers(self.project.allocate_vector_types(1))
        self.project.upsert_vector_type(VectorType(id=number, source=source, params=params))
        self.project.upsert_vectors(
            [
                Vector(type_id=number, sha1=sha1, data=np.array(vector, np.float32))
                for sha1, vector in vectors
            ]
        )
        [at] = numbers(self.project.allocate_maps(1))
        self.project.upsert_map(
            Map(id=at, source=source, name="UMAP", key="x", count=len(vectors), data=[])
        )

    def export(self, name, key, columns):
        ids = [self._property(column).id for column in columns]
        folder = self.project.exporter.export_data(
            str(self.project.folder), name, properties=ids, key=key
        )
        return f"{folder}/data.csv"

    def instances(self):
        return [(i.id, i.sha1) for i in self.project.get_instances()]

    def state(self):
        """Tags with their parents and colours, and who has them, by SHA-1."""
        tags = {t.id: t for t in self.project.get_tags()}
        names = {p.id: p.name for p in self.project.get_properties()}
        owned = self.project.get_sha1_tag_values()
        return {
            "tags": sorted(
                [names[t.list_id], t.value, t.color, sorted(tags[p].value for p in t.parents)]
                for t in tags.values()
            ),
            "given": sorted(
                [names[v.property_id], v.sha1, tags[v.tag_id].value]
                for v in owned
                if v.operation != -1
            ),
        }


if __name__ == "__main__":
    steps = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    driver = Driver(steps.pop(0))
    answers = [getattr(driver, name)(*arguments) for name, *arguments in steps]
    driver.project.close()
    print("ANSWERS")
    print(json.dumps(answers))
