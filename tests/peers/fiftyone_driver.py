"""Works with FiftyOne itself, in FiftyOne's own environment: `python fiftyone_driver.py STEPS`.

Belongs here: nothing of ours; only what people do with a dataset of FiftyOne 1.22. Arguments: a
file of steps in JSON, each a name and its arguments. Prints, after a line `ANSWERS`, what each step
gave.
"""

import datetime
import json
import os
import sys
from pathlib import Path

import fiftyone as fo
import pandas as pd


def recipe(folder, text):
    """Run the lines of the manual in a folder; how many samples there are."""
    os.chdir(folder)
    exec(text, {})
    return len(fo.load_dataset("vases"))


def values():
    """Give samples what people and plugins give them."""
    dataset = fo.load_dataset("vases")
    for number, sample in enumerate(dataset.iter_samples(autosave=True)):
        sample["uniqueness"] = number / 7
        sample["title"] = f'Nº {number}; "é"'
        sample["seen"] = number % 2 == 0
        sample["made"] = datetime.date(1887 - number, 3, 9)
        sample["taken"] = datetime.datetime(2024, 3, 9, 13, 45, number % 60)
        sample["materials"] = ["clay", "slip"][: 1 + number % 2]
        sample["found"] = fo.Detections(
            detections=[fo.Detection(label="vase", bounding_box=[0, 0, 1, 1])]
        )
        if number % 3 == 0:
            sample.tags.append("checked")


def vectors(file):
    """Bring the vectors of a Parquet file in, by image id."""
    dataset = fo.load_dataset("vases")
    table = pd.read_parquet(file).set_index("image_id")
    ids = dataset.values("image_id")
    dataset.set_values("embedding", [table.loc[image_id, "vector"] for image_id in ids])


def export(folder):
    """Export in every way; the folders' names are in the test."""
    dataset = fo.load_dataset("vases")
    folder = Path(folder)
    labels = [name for name, _ in _labels(dataset)]
    several = [name for name, kind in _labels(dataset) if kind is fo.Classifications]
    kind = fo.types.FiftyOneDataset
    dataset.export(str(folder / "whole"), dataset_type=kind, export_media=False)
    dataset.export(str(folder / "copies"), dataset_type=kind)
    dataset.export(str(folder / "dirs"), dataset_type=kind, export_media=False, use_dirs=True)
    # As one that never was here: no field tells of our ids.
    plain = dataset.exclude_fields(["image_id", "page"])
    plain.export(str(folder / "plain"), dataset_type=kind, export_media=False)
    plain.export(str(folder / "plain-copies"), dataset_type=kind)
    fields = ["filepath", "uniqueness", "title", "tags"] + [
        f"{name}.classifications.label" if name in several else f"{name}.label" for name in labels
    ]
    for name, more in (("samples.csv", ["image_id"]), ("plain.csv", [])):
        dataset.export(
            labels_path=str(folder / name),
            dataset_type=fo.types.CSVDataset,
            export_media=False,
            fields=[*fields, *more],
        )
    frame = pd.DataFrame(
        {
            "filepath": dataset.values("filepath"),
            "sample_id": dataset.values("id"),
            "embedding": [vector.tolist() for vector in dataset.values("embedding")],
        }
    )
    frame.to_parquet(folder / "embeddings.parquet")
    return [labels, several]


def counts(name):
    """How many samples have which label."""
    dataset = fo.load_dataset("vases")
    several = dict(_labels(dataset))[name] is fo.Classifications
    return dataset.count_values(f"{name}.classifications.label" if several else f"{name}.label")


def scheme():
    return json.loads(fo.load_dataset("vases").app_config.color_scheme.to_json())["fields"]


def _labels(dataset):
    return [
        (name, field.document_type)
        for name, field in dataset.get_field_schema().items()
        if getattr(field, "document_type", None) in (fo.Classification, fo.Classifications)
    ]


if __name__ == "__main__":
    steps = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answers = [globals()[name](*arguments) for name, *arguments in steps]
    print("ANSWERS")
    print(json.dumps(answers))
