"""Vector files: what is read, and what is refused with a cause and a remedy."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.errors import InputError
from resources.vectors_file import VectorsFile
from tests.fiftyone_exports import array, sample, write_dataset

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
NAMES = ["a.jpg", "été/b.jpg", "c, d.jpg", "e.jpg"]


def parquet(folder, names=NAMES, vectors=VECTORS, **columns):
    table = columns or {"path": names, "vector": list(vectors)}
    pq.write_table(pa.table(table), folder / "v.parquet")
    return VectorsFile(vectors="v.parquet", model="other")


def npy(folder, array=VECTORS, lines=NAMES):
    np.save(folder / "v.npy", array)
    (folder / "ids.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return VectorsFile(vectors="v.npy", ids="ids.txt", model="other")


def read(file, folder):
    batches = list(file.batches(folder))
    names = [name for names, _ in batches for name in names]
    return names, np.concatenate([rows for _, rows in batches])


def test_lines_end_at_a_line_feed_alone_since_names_may_hold_the_rest(tmp_path):
    names = ["a\u2028b.jpg", "c\x85d.jpg", "e\x0b\x1cf.jpg", "g\rh.jpg"]
    file = npy(tmp_path)
    (tmp_path / "ids.txt").write_text("\r\n".join(names), encoding="utf-8", newline="")
    assert read(file, tmp_path)[0] == names


def refusal(file, folder):
    with pytest.raises(InputError) as caught:
        list(file.batches(folder))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("write", [parquet, npy])
def test_names_and_vectors_are_read_as_they_are(write, tmp_path):
    names, vectors = read(write(tmp_path), tmp_path)
    assert names == NAMES
    assert np.array_equal(vectors, VECTORS)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_taken_as_they_are(dtype, tmp_path):
    _, vectors = read(parquet(tmp_path, vectors=VECTORS.astype(dtype)), tmp_path)
    assert np.array_equal(vectors, VECTORS)


def test_a_long_file_comes_in_batches(tmp_path):
    many = np.ones((10_000, 2), np.float32)
    file = npy(tmp_path, many, [str(number) for number in range(10_000)])
    sizes = [len(names) for names, _ in file.batches(tmp_path)]
    assert sum(sizes) == 10_000
    assert max(sizes) == 4096


def test_a_pickle_is_never_loaded(tmp_path):
    """Import files are hostile."""
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "ids.txt").write_text("a\n")
    file = VectorsFile(vectors="v.npy", ids="ids.txt", model="other")
    assert "plain array of numbers" in refusal(file, tmp_path)
    (tmp_path / "v.npy").write_bytes(pickle.dumps([1.0]))
    assert "plain array of numbers" in refusal(file, tmp_path)


def test_a_npy_needs_its_ids(tmp_path):
    file = npy(tmp_path).model_copy(update={"ids": None})
    assert "one image id or path per line" in refusal(file, tmp_path)


def test_the_number_of_ids_must_be_that_of_the_rows(tmp_path):
    assert "3 lines" in refusal(npy(tmp_path, lines=NAMES[:3]), tmp_path)


@pytest.mark.parametrize(
    "array", [np.ones(4, np.float32), np.ones((4, 3), int), np.ones((4, 0), np.float32)]
)
def test_a_npy_that_is_not_a_matrix_of_floats_is_refused(array, tmp_path):
    assert "shape (n, d)" in refusal(npy(tmp_path, array), tmp_path)


def test_a_missing_file_is_named(tmp_path):
    assert "There is no file" in refusal(VectorsFile(vectors="no.npy", model="x"), tmp_path)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "v.csv").write_text("a,b\n")
    assert "neither" in refusal(VectorsFile(vectors="v.csv", model="x"), tmp_path)


def test_a_damaged_parquet_is_refused(tmp_path):
    (tmp_path / "v.parquet").write_bytes(b"PAR1 nonsense PAR1")
    assert "as Parquet" in refusal(VectorsFile(vectors="v.parquet", model="x"), tmp_path)


def test_a_parquet_without_a_column_of_vectors_names_those_that_it_has(tmp_path):
    message = refusal(parquet(tmp_path, path=["a"], numbers=[1.0]), tmp_path)
    assert "vector" in message
    assert "path, numbers" in message


@pytest.mark.parametrize("vectors", [[[1.0, 2.0], [1.0]], [[1.0], None], [["x"], ["y"]]])
def test_vectors_of_several_lengths_or_of_no_numbers_are_refused(vectors, tmp_path):
    assert "vectors must" in refusal(parquet(tmp_path, path=["a", "b"], vector=vectors), tmp_path)


def test_a_missing_name_is_refused(tmp_path):
    file = parquet(tmp_path, path=["a", None], vector=[[1.0], [2.0]])
    assert "none of them missing" in refusal(file, tmp_path)


def test_ids_in_a_home_that_does_not_exist_are_refused(tmp_path):
    assert "~nobody" in refusal(VectorsFile(vectors="~nobody-here/v.npy", model="x"), tmp_path)


def test_an_archive_of_arrays_under_the_name_of_one_is_refused(tmp_path):
    file = npy(tmp_path)
    with (tmp_path / "v.npy").open("wb") as archive:
        np.savez(archive, vectors=VECTORS)
    assert "numpy.save" in refusal(file, tmp_path)


def test_names_may_be_categories(tmp_path):
    names, _ = read(parquet(tmp_path, names=pa.array(NAMES).dictionary_encode()), tmp_path)
    assert names == NAMES


def test_paths_are_taken_where_ids_are_another_programs(tmp_path):
    """D59: pandas' Parquet of a dataset of FiftyOne; a number that it calls image_id is none."""
    vectors = [row.tolist() for row in VECTORS]
    for column in (list(range(4)), ["6b0de15feb4d8ed0f2fa0d71"] * 4):
        file = parquet(tmp_path, image_id=column, filepath=NAMES, embedding=vectors)
        names, found = read(file, tmp_path)
        assert names == NAMES
        assert np.array_equal(found, VECTORS)
    ours = [64 * "a", *NAMES[1:]]
    assert read(parquet(tmp_path, image_id=ours, path=NAMES, vector=vectors), tmp_path)[0] == ours


def test_a_column_of_another_name_is_named(tmp_path):
    vectors = [row.tolist() for row in VECTORS]
    parquet(tmp_path, path=NAMES, clip=vectors, vector=vectors[::-1])
    file = VectorsFile(vectors="v.parquet", model="other", field="clip")
    assert np.array_equal(read(file, tmp_path)[1], VECTORS)
    missing = file.model_copy(update={"field": "dino"})
    assert "must have one column dino" in refusal(missing, tmp_path)
    np.save(tmp_path / "v.npy", VECTORS)
    array = VectorsFile(vectors="v.npy", ids="v.npy", model="other", field="clip")
    assert "leave out `field`" in refusal(array, tmp_path)


def samples(folder, *entries, field="embedding"):
    write_dataset(folder, *entries)
    return VectorsFile(vectors="samples.json", model="other", field=field)


def test_a_field_of_samples_holds_vectors(tmp_path):
    """D59: samples without one have no row; those from here are named by their ids."""
    file = samples(
        tmp_path,
        sample("/x/a.jpg", embedding=array([1, 2], np.float32)),
        sample("/x/b.jpg"),
        sample("/x/c.jpg", embedding=[3, 4.5], image_id=64 * "a", page=1),
    )
    names, found = read(file, tmp_path)
    assert names == ["/x/a.jpg", 64 * "a"]
    assert found.tolist() == [[1, 2], [3, 4.5]]


def test_what_is_no_field_of_vectors_is_refused(tmp_path):
    pickled = array([{"a": 1}], object)
    for field, told in ((None, "name one"), ("dino", "No sample"), ("odd", "sample 1: what 'odd'")):
        file = samples(tmp_path, sample("/x/a.jpg", odd=pickled), field=field)
        assert told in refusal(file, tmp_path)
    (tmp_path / "samples.json").write_text('{"tags": []}')
    assert "no samples.json" in refusal(file, tmp_path)
    (tmp_path / "samples.json").write_text('{"samples": [{"filepath": "a", "odd": ')
    assert "is no JSON" in refusal(file, tmp_path)


def test_an_array_whose_header_never_ends_is_refused(tmp_path):
    file = npy(tmp_path)
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + b"(9" * 30
    header = text.ljust(117) + b"\n"
    (tmp_path / "v.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    )
    assert "cannot be read as a plain array" in refusal(file, tmp_path)
