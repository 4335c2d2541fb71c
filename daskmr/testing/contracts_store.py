"""What every place of a job store must do; subclass in the test of one."""

from concurrent.futures import ThreadPoolExecutor

from daskmr.store.places import Place


class PlaceContract:
    """A subclass says how an empty place of its kind is made."""

    def make(self) -> Place:
        """An empty place."""
        raise NotImplementedError

    def test_what_is_created_is_read_and_listed(self) -> None:
        place = self.make()
        assert place.read("a/b.json") is None
        assert place.create("a/b.json", b"1")
        assert place.create("a/c.json", b"2")
        assert place.create("d.json", b"")
        assert place.read("a/b.json") == b"1"
        assert place.names("a/") == ["a/b.json", "a/c.json"]
        assert place.names("") == ["a/b.json", "a/c.json", "d.json"]

    def test_folders_are_told_without_what_is_in_them(self) -> None:
        place = self.make()
        assert place.folders("jobs/") == []
        for name in ("jobs/b/x.json", "jobs/a/x.json", "jobs/a/deep/y.json", "jobs/z.json", "c/d"):
            place.create(name, b"1")
        assert place.folders("jobs/") == ["a", "b"]

    def test_a_name_is_created_once(self) -> None:
        place = self.make()
        assert place.create("x", b"first")
        assert place.create("x", b"first")  # the same again is no conflict
        assert not place.create("x", b"second")
        assert place.read("x") == b"first"

    def test_of_many_writers_one_wins(self) -> None:
        place = self.make()
        contents = [f"writer {n}".encode() for n in range(16)]
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(lambda content: place.create("x", content), contents))
        assert sum(won) == 1
        assert place.read("x") == contents[won.index(True)]

    def test_only_what_was_seen_is_written_over(self) -> None:
        place = self.make()
        assert not place.swap("x", b"2", seen=b"1")
        place.create("x", b"1")
        assert not place.swap("x", b"3", seen=b"2")
        assert place.swap("x", b"2", seen=b"1")
        assert place.read("x") == b"2"

    def test_of_many_that_saw_the_same_one_writes_over_it(self) -> None:
        place = self.make()
        place.create("x", b"0")
        contents = [f"writer {n}".encode() for n in range(16)]
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(lambda content: place.swap("x", content, seen=b"0"), contents))
        assert sum(won) == 1
        assert place.read("x") == contents[won.index(True)]

    def test_what_is_removed_is_gone(self) -> None:
        place = self.make()
        place.create("a/x", b"1")
        place.remove()
        assert place.names("") == []
        assert place.read("a/x") is None
