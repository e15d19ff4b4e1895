"""`images` and `embeddings` of a corpus in a bucket."""

import shutil

import dagster as dg

from resources.project_folder import ProjectSettings, create
from tests.pictures import SAMPLE
from tests.pipeline.corpus.test_assets import refreshed
from tests.workbench import Workbench, metadata


def test_a_corpus_in_a_bucket_is_refreshed_like_a_folder(s3_server, mini_folder, tmp_path):
    some = sorted(SAMPLE.rglob("*.jpg"))[:3]
    names = ["été/a b+c%20#1?.jpg", "図書館/🍌.jpg", "copy.jpg"]
    for name, file in zip(names, (some[0], some[1], some[0]), strict=True):
        s3_server.put(name, file.read_bytes())
    s3_server.put("broken.jpg", b"\xff\xd8\xff broken")
    settings = ProjectSettings(images=s3_server.url, images_options=s3_server.options)
    project = create(tmp_path / "project", settings)
    shutil.copytree(mini_folder / ".panoptic" / "models", project.models)
    bench = Workbench(project, dg.DagsterInstance.ephemeral())
    assert refreshed(bench)[0] == {"added": 2, "duplicate": 1, "quarantined": 1}
    assert metadata(bench.run("embeddings", "mini"), "embeddings")["nb_images"] == 2

    s3_server.put("moved.jpg", some[1].read_bytes())
    s3_server.delete(names[1])
    kinds, given = refreshed(bench)
    assert (kinds, given["nb_files_read"]) == ({"moved": 1}, 1)
    assert metadata(bench.run("embeddings", "mini"), "embeddings")["nb_embedded_now"] == 0
