"""Contract of object stores of jobs: tests to inherit."""

from concurrent.futures import ThreadPoolExecutor

from daskmr.store.object_store import ObjectStore


class ObjectStoreContract:
    """Tests of one kind of object store: inherit, name the class ``Test...``, define `make`."""

    def make(self) -> ObjectStore:
        """Return an empty object store."""
        raise NotImplementedError

    def test_what_is_created_is_read_and_listed(self) -> None:
        objects = self.make()
        assert objects.read("a/b.json") is None
        assert objects.create("a/b.json", b"1")
        assert objects.create("a/c.json", b"2")
        assert objects.create("d.json", b"")
        assert objects.read("a/b.json") == b"1"
        assert objects.names("a/") == ["a/b.json", "a/c.json"]
        assert objects.names("") == ["a/b.json", "a/c.json", "d.json"]

    def test_folders_are_told_without_what_is_in_them(self) -> None:
        objects = self.make()
        assert objects.folders("jobs/") == []
        for name in ("jobs/b/x.json", "jobs/a/x.json", "jobs/a/deep/y.json", "jobs/z.json", "c/d"):
            objects.create(name, b"1")
        assert objects.folders("jobs/") == ["a", "b"]

    def test_a_name_is_created_once(self) -> None:
        objects = self.make()
        assert objects.create("x", b"first")
        assert objects.create("x", b"first")  # the same again is no conflict
        assert not objects.create("x", b"second")
        assert objects.read("x") == b"first"

    def test_of_many_writers_one_wins(self) -> None:
        objects = self.make()
        contents = [f"writer {n}".encode() for n in range(16)]
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(lambda content: objects.create("x", content), contents))
        assert sum(won) == 1
        assert objects.read("x") == contents[won.index(True)]

    def test_only_what_was_seen_is_written_over(self) -> None:
        objects = self.make()
        assert not objects.swap("x", b"2", expected=b"1")
        objects.create("x", b"1")
        assert not objects.swap("x", b"3", expected=b"2")
        assert objects.swap("x", b"2", expected=b"1")
        assert objects.read("x") == b"2"

    def test_of_many_that_saw_the_same_one_writes_over_it(self) -> None:
        objects = self.make()
        objects.create("x", b"0")
        contents = [f"writer {n}".encode() for n in range(16)]
        with ThreadPoolExecutor(16) as pool:
            won = list(
                pool.map(lambda content: objects.swap("x", content, expected=b"0"), contents)
            )
        assert sum(won) == 1
        assert objects.read("x") == contents[won.index(True)]

    def test_a_name_and_a_folder_are_removed_alone(self) -> None:
        objects = self.make()
        for name in ("a/x", "a/y", "b/x", "c"):
            objects.create(name, name.encode() * 3)
        assert (objects.size("a/x"), objects.size("z")) == (9, None)
        objects.delete("c")
        objects.delete("c")  # gone already
        objects.remove("a/")
        objects.remove("z/")
        assert objects.names("") == ["b/x"]

    def test_what_is_removed_is_gone(self) -> None:
        objects = self.make()
        objects.create("a/x", b"1")
        objects.remove()
        assert objects.names("") == []
        assert objects.read("a/x") is None
