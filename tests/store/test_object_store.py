"""Folders and buckets, held to the same contract."""

import errno
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from daskmr import aws
from daskmr.errors import StoreError
from daskmr.store.bucket import BucketStore
from daskmr.store.object_store import FolderStore, object_store
from daskmr.testing.contracts_store import ObjectStoreContract


class TestFolder(ObjectStoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "store"

    def make(self) -> FolderStore:
        return FolderStore(str(self.path))

    def test_nothing_but_what_was_written_is_left(self) -> None:
        made = self.make()
        made.create("a/x", b"1")
        made.create("a/x", b"2")
        assert [p.name for p in (self.path / "a").iterdir()] == ["x"]


class TestFolderWithoutHardLinks(ObjectStoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = tmp_path / "store"

        def refused(*_: object) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refused)

    def make(self) -> FolderStore:
        return FolderStore(str(self.path))


class TestBucket(ObjectStoreContract):
    @pytest.fixture(autouse=True)
    def _service(self, s3: Any) -> Any:
        aws.close()
        yield
        aws.close()

    def make(self) -> BucketStore:
        return BucketStore(f"s3://bucket/{uuid.uuid4().hex}")

    def test_a_service_with_conditional_writes_is_taken_and_left_clean(self) -> None:
        made = self.make()
        made.check()
        assert made.names("") == []

    def test_a_bucket_that_is_not_there_is_named(self) -> None:
        with pytest.raises(StoreError, match="s3://nowhere/x"):
            BucketStore("s3://nowhere/x").create("a", b"1")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/store"):
        FolderStore(str(tmp_path / "file" / "store")).create("a", b"1")


@pytest.mark.parametrize("url", ["gs://bucket/x", "https://host/x", "memory://x", "s3:///x"])
def test_a_place_without_conditional_writes_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="neither a folder nor"):
        object_store(url)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_file_is_put_whole_and_its_end_can_be_read(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "bucket":
        request.getfixturevalue("s3")
    there = object_store(
        str(tmp_path / "store") if kind == "folder" else f"s3://bucket/{uuid.uuid4()}"
    )
    content = bytes(range(256)) * 50_000  # more than one part of an upload
    file = tmp_path / "x"
    file.write_bytes(content)
    url = there.put("a/b.bin", file)
    assert url == f"{there.url}/a/b.bin"
    assert there.read("a/b.bin") == content
    assert there.tail("a/b.bin", 10) == content[-10:]
    assert there.tail("a/b.bin", 10**9) == content
    assert there.tail("a/c.bin", 10) is None
    assert (there.exists("a/b.bin"), there.exists("a/c.bin")) == (True, False)
    assert there.names("") == ["a/b.bin"]
    file.write_bytes(b"other")
    there.put("a/b.bin", file)
    assert there.read("a/b.bin") == b"other"
