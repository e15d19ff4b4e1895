"""The local engine: every image once, bounded, and no image stops another."""

import hashlib
import threading

import numpy as np
import pytest
from pydantic import PrivateAttr

from resources.engine import Job, LocalEngine, Work
from resources.errors import InputError
from resources.lance import LanceStore
from resources.models import ModelSpec, OpenClipModels
from resources.schemas import vectors_schema
from resources.source import ImageSource
from tests.tiny import write_images, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    write_images(folder / "images", 150)
    write_model(folder / "model")
    return folder


@pytest.fixture
def job(folder, tmp_path):
    models = OpenClipModels(folder=str(folder))
    spec = ModelSpec(model="local-dir:model")
    encoder = models.load(spec)
    store = LanceStore(uri=str(tmp_path / "store"))
    store.create("vectors.tiny", vectors_schema(encoder.dim), {})
    source = ImageSource(root=str(folder / "images"))
    return Job("vectors.tiny", spec, encoder.identity, source, store, models)


def work_of(folder):
    return [
        Work(hashlib.sha256(path.read_bytes()).hexdigest(), [str(path.relative_to(folder))])
        for path in sorted(folder.rglob("*.jpg"))
    ]


def committed(job, parts):
    parts = list(parts)
    job.store.commit(job.table, [part.name for part in parts if part.name])
    rows = job.store.read(job.table).sort_by("image_id")
    return rows["image_id"].to_pylist(), np.array(rows["vector"].to_pylist(), np.float32), parts


def test_every_image_gets_one_vector(job, folder):
    work = work_of(folder / "images")
    ids, vectors, parts = committed(job, LocalEngine(stage_images=40).embed(job, work))
    assert ids == sorted(item.image_id for item in work)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert sum(part.nb_images for part in parts) == 150
    assert max(part.nb_images for part in parts) <= 40 + job.models.load(job.spec).group


def test_nothing_is_visible_before_it_is_committed(job, folder):
    list(LocalEngine().embed(job, work_of(folder / "images")))
    assert job.store.count(job.table) == 0
    assert len(job.store.staged(job.table)) == 1


def test_the_order_and_the_number_of_threads_do_not_change_a_vector(job, folder, tmp_path):
    work = work_of(folder / "images")
    _, one, _ = committed(job, LocalEngine().embed(job, work))
    other = LanceStore(uri=str(tmp_path / "other"))
    other.create(job.table, vectors_schema(one.shape[1]), {})
    source = ImageSource(root=job.source.root, readers=7)
    again = Job(job.table, job.spec, job.identity, source, other, job.models)
    _, two, _ = committed(again, LocalEngine().embed(again, work[::-1]))
    assert np.array_equal(one, two)


def test_an_image_that_cannot_be_read_is_named_and_the_others_go_on(job, folder):
    work = work_of(folder / "images")[:20]
    work[3] = Work("0" * 64, work[3].paths)
    work[7] = Work(work[7].image_id, ["gone.jpg"])
    ids, _, parts = committed(job, LocalEngine().embed(job, work))
    failed = {image_id: reason for part in parts for image_id, reason in part.failed.items()}
    assert len(ids) == 18
    assert "changed since it was last read" in failed["0" * 64]
    assert "vanished" in failed[work[7].image_id]


def test_a_second_file_serves_when_the_first_is_gone(job, folder):
    item = work_of(folder / "images")[0]
    ids, _, _ = committed(
        job, LocalEngine().embed(job, [Work(item.image_id, ["gone", *item.paths])])
    )
    assert ids == [item.image_id]


def test_no_image_at_all_stages_nothing(job):
    assert list(LocalEngine().embed(job, [])) == []


class Counting(ImageSource):
    """Counts the files that were read, and can lose the whole source."""

    _read: list[str] = PrivateAttr(default_factory=list)
    _gone_after: int = PrivateAttr(default=10**9)

    def read(self, path):
        self._read.append(path)
        if len(self._read) > self._gone_after:
            raise InputError("The folder of images is gone.", id="folder-gone")
        return super().read(path)


def test_memory_does_not_grow_with_the_corpus(job, folder):
    """Never hold everything in memory: what is read ahead of the staged rows is bounded."""
    source = Counting(root=str(folder / "images"), readers=2)
    bounded = Job(job.table, job.spec, job.identity, source, job.store, job.models)
    parts = LocalEngine(stage_images=8).embed(bounded, work_of(folder / "images"))
    next(parts)
    encoder = job.models.load(job.spec)
    held = 2 + 2 * encoder.group * encoder.streams + encoder.group * (encoder.streams + 3)
    assert len(source._read) <= 8 + held
    parts.close()


def test_a_source_that_is_lost_stops_the_run(job, folder):
    source = Counting(root=str(folder / "images"))
    source._gone_after = 30
    lost = Job(job.table, job.spec, job.identity, source, job.store, job.models)
    with pytest.raises(InputError, match="is gone"):
        list(LocalEngine().embed(lost, work_of(folder / "images")))


def test_no_thread_is_left_when_the_reader_stops(job, folder):
    parts = LocalEngine(stage_images=8).embed(job, work_of(folder / "images"))
    next(parts)
    parts.close()
    # The one file that a reader is in the middle of is not waited for by the engine, but by us.
    ours = [t for t in threading.enumerate() if t.name.startswith(("reader", "stream"))]
    for thread in ours:
        thread.join(timeout=60)
    assert not [t for t in ours if t.is_alive()]
