"""Images in S3: what is listed and read there, and what is refused."""

import json
import random
import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest

from resources.errors import InputError
from resources.listing import UnavailableFile, UnfinishedFile
from resources.picture_formats import SNIFFED
from resources.source import ImageSource
from tests.s3.conftest import S3Server
from tests.unit.resources.conftest import reason_of
from tests.unit.resources.test_source import PNG, TREE, paths_of, patterns, refusal

KEYS = [
    "été/à Orléans — 図書館 🍌.png",
    "a b/c  d.png",
    "100%.png",
    "a%20b.png",
    "a+b.png",
    "a#b.png",
    "a?b.png",
    "q&a=1;2.png",
    "tilde~'\"!*().png",
    "back\\slash.png",
]


def s3_source(server: S3Server, prefix: str = "", **fields: object) -> ImageSource:
    return ImageSource(root=server.url + prefix, storage_options=server.options, **fields)


@pytest.mark.parametrize("prefix", ["", "scans été/#1"])
def test_objects_are_listed_and_read_whatever_their_names(s3_server: S3Server, prefix: str) -> None:
    for number, key in enumerate(KEYS):
        s3_server.put(f"{prefix}/{key}".lstrip("/"), PNG + bytes(number))
    if prefix:
        s3_server.put(f"{prefix}2/not mine.png", PNG)
    source = s3_source(s3_server, f"/{prefix}")
    files = source.list().files
    assert [file.path for file in files] == sorted(KEYS)
    for file in files:
        assert source.read(file.path) == PNG + bytes(KEYS.index(file.path))


def test_an_object_has_its_size_time_and_etag(s3_server: S3Server) -> None:
    s3_server.put("a.png", PNG)
    head = s3_server.client.head_object(Bucket=s3_server.bucket, Key="a.png")
    (file,) = s3_source(s3_server).list().files
    assert (file.size, file.etag) == (len(PNG), head["ETag"].strip('"'))
    assert file.mtime_ns == int(head["LastModified"].timestamp()) * 10**9


def test_markers_of_folders_are_no_files_and_an_empty_object_is_one(s3_server: S3Server) -> None:
    for key in ("a/", "plates.png/", "a/.hidden/b.png", "a/notes.txt", "a/empty.png"):
        s3_server.put(key, b"")
    source = s3_source(s3_server)
    assert paths_of(source) == ["a/empty.png"]
    assert source.read("a/empty.png") == b""


def test_objects_whose_names_say_nothing_are_told_by_their_first_bytes(s3_server: S3Server) -> None:
    s3_server.put("ark/f12", PNG + bytes(2 * SNIFFED))
    s3_server.put("ark/empty", b"")
    s3_server.put("@eaDir/a.jpg", PNG)
    s3_server.put("b.pdf", PNG)
    source = s3_source(s3_server)
    found = source.list()
    assert [(file.path, file.is_named) for file in found.files] == [
        ("ark/empty", False),
        ("ark/f12", False),
    ]
    assert source.head("ark/f12") == (PNG + bytes(SNIFFED))[:SNIFFED]
    assert source.head("ark/empty") == b""
    assert reason_of(lambda: source.head("ark/none")) == "the file vanished after it was listed"
    assert {kind: left.first for kind, left in found.left_out.items()} == {
        "leftover": ["@eaDir/a.jpg"],
        "no_image": ["b.pdf"],
    }


def test_an_object_that_was_replaced_since_it_was_listed_waits(s3_server: S3Server) -> None:
    s3_server.put("a.png", PNG)
    source = s3_source(s3_server)
    (listed,) = source.list().files
    assert source.read("a.png#page=2", listed) == PNG
    s3_server.put("a.png", PNG * 2)
    with pytest.raises(UnfinishedFile):
        source.read("a.png", listed)


def test_keys_that_are_no_paths_are_skipped_with_their_reason(s3_server: S3Server) -> None:
    for key in ("a//b.png", "c.png"):
        s3_server.put(key, PNG)
    found = s3_source(s3_server).list()
    assert [file.path for file in found.files] == ["c.png"]
    assert found.skipped == {"have an empty part, . or .. in their path": ["a//b.png"]}


def test_more_objects_than_one_answer_holds_are_listed(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In place of a thousand, to put which would take 20 CPU seconds.
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    for number in range(25):
        s3_server.put(f"{number:04}.png", b"")
    answer = s3_server.client.list_objects_v2(Bucket=s3_server.bucket)
    assert (answer["KeyCount"], answer["IsTruncated"]) == (10, True)
    assert paths_of(s3_source(s3_server)) == [f"{number:04}.png" for number in range(25)]


def test_an_object_above_the_limit_is_not_read_even_if_it_grew(s3_server: S3Server) -> None:
    s3_server.put("a.png", PNG)
    source = s3_source(s3_server, max_bytes=len(PNG))
    source.list()
    assert source.read("a.png") == PNG
    s3_server.put("a.png", PNG + b"x")
    reason = f"the file has {len(PNG) + 1} bytes; the limit is {len(PNG)} (max_bytes)"
    assert reason_of(lambda: source.read("a.png")) == reason


def test_an_object_too_large_for_one_request_is_read_whole(s3_server: S3Server) -> None:
    data = random.Random(0).randbytes((32 << 20) + 5)
    s3_server.put("a.tif", data)
    assert s3_source(s3_server).read("a.tif") == data
    assert "(max_bytes)" in reason_of(
        lambda: s3_source(s3_server, max_bytes=len(data) - 1).read("a.tif")
    )


def test_many_threads_read_from_s3(s3_server: S3Server) -> None:
    for number in range(40):
        s3_server.put(f"{number}.png", PNG + bytes(number))
    source = s3_source(s3_server)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda number: source.read(f"{number}.png"), range(40)))
    assert found == [PNG + bytes(number) for number in range(40)]


def test_an_object_that_is_gone_costs_only_itself(s3_server: S3Server) -> None:
    s3_server.put("a.png", PNG)
    s3_server.put("b.png", PNG)
    source = s3_source(s3_server)
    source.list()
    s3_server.delete("a.png")
    with pytest.raises(UnavailableFile, match="vanished after it was listed"):
        source.read("a.png")
    assert source.read("b.png") == PNG


@pytest.mark.parametrize("wrong", ["bucket", "prefix", "an object"])
def test_a_wrong_bucket_or_prefix_is_refused_rather_than_an_empty_corpus(
    s3_server: S3Server, wrong: str
) -> None:
    s3_server.put("scans/a.png", PNG)
    roots = {
        "bucket": "s3://nobody-has-this-bucket/scans",
        "prefix": f"{s3_server.url}/scan",
        "an object": f"{s3_server.url}/scans/a.png",
    }
    source = ImageSource(root=roots[wrong], storage_options=s3_server.options)
    assert refusal(source).startswith(f"The images' store {roots[wrong]} cannot be read (")
    with pytest.raises(InputError, match="cannot be read"):
        source.check()
    with pytest.raises(InputError):
        source.read("b.png")


def test_an_empty_bucket_is_an_empty_corpus(s3_server: S3Server) -> None:
    assert paths_of(s3_source(s3_server)) == []


@pytest.fixture
def guarded_s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The same server checks who asks: one who may list all, and read only `open.png`."""
    iam = boto3.client("iam", endpoint_url=s3_server.endpoint)
    name = s3_server.bucket
    iam.create_user(UserName=name)
    allowed = [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/open.png"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    for path in ("open.png", "closed.png"):
        s3_server.put(path, PNG)

    def check_after(requests: str) -> None:
        address = f"{s3_server.endpoint}/moto-api/reset-auth"
        header = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(address, requests.encode(), header))

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    check_after("0")
    yield s3_server
    check_after("inf")


def test_a_forbidden_object_costs_only_itself(guarded_s3: S3Server) -> None:
    source = s3_source(guarded_s3)
    assert paths_of(source) == ["closed.png", "open.png"]
    assert source.read("open.png") == PNG
    with pytest.raises(UnavailableFile, match="may not be read"):
        source.read("closed.png")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_the_stores_fault_and_not_a_files(
    guarded_s3: S3Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "wrong")
    source = s3_source(guarded_s3)
    assert name in refusal(source)
    with pytest.raises(InputError, match=name):
        source.read("open.png")


def test_missing_credentials_are_asked_for(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "Unable to locate credentials" in refusal(s3_source(s3_server))


QUICK = {
    "config_kwargs": {
        "connect_timeout": 0.5,
        "read_timeout": 0.5,
        "retries": {"mode": "standard", "total_max_attempts": 1},
    }
}


def test_an_endpoint_that_nobody_answers_is_refused(s3_server: S3Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    source = ImageSource(root="s3://corpus", storage_options={"endpoint_url": endpoint})
    assert "Could not connect to the endpoint" in refusal(source)


def test_a_server_that_never_answers_is_given_up(s3_server: S3Server) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        source = ImageSource(
            root="s3://corpus", storage_options={"endpoint_url": endpoint, **QUICK}
        )
        assert "timeout" in refusal(source).lower()
        with pytest.raises(InputError):
            source.read("a.png")


@patterns
def test_patterns_are_those_of_gitignore_in_s3(
    s3_server: S3Server, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    for path in TREE:
        s3_server.put(path, PNG)
    assert paths_of(s3_source(s3_server, include=include, exclude=exclude)) == sorted(expected)
