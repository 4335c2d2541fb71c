"""Tables of names: what a request may pick from, imported only when picked.

A table maps a name to ``"module:Class"``. Nothing in it is imported until asked for, and other
packages add to it by an entry point of the group ``daskmr.<kind>``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass

from daskmr.errors import RequestError, UnknownNameError
from daskmr.validation import dotted, sentences

T = TypeVar("T")

_STRICT = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def plugin(cls: type[T]) -> type[T]:
    """Make *cls* plain data: frozen, validated, camelCase in JSON, no unknown options."""
    return cast("type[T]", pydantic_dataclass(frozen=True, kw_only=True, config=_STRICT)(cls))


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Names of one kind of plug-in, mapped to classes that are imported only when asked for."""

    kind: str
    """What the names are, in the singular; also the suffix of the entry-point group."""
    builtin: Mapping[str, str]
    """Name to ``"module:Class"``."""

    def names(self) -> list[str]:
        """Return all known names, sorted; built-in ones and those of other packages."""
        return sorted({*self.builtin, *(point.name for point in self._points())})

    def load(self, name: str) -> Any:
        """Return the class behind *name*.

        Raises
        ------
        UnknownNameError
            When no table has the name.
        """
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            return getattr(import_module(module), attribute)
        for point in self._points():
            if point.name == name:
                return point.load()
        msg = f"unknown {self.kind} {name!r}; known: {', '.join(self.names())}"
        raise UnknownNameError(msg)

    def build(self, name: str, options: Mapping[str, object] | None = None) -> T:
        """Return an instance of the class behind *name* with *options* as its fields.

        Raises
        ------
        RequestError
            When an option is unknown or has the wrong type; names every such option.
        """
        cls = self.load(name)
        try:
            return cast("T", TypeAdapter(cls).validate_python(dict(options or {})))
        except ValidationError as error:
            raise RequestError(
                *sentences(
                    error,
                    lambda place: f"{self.kind} {name!r}: {dotted(place)}",
                    shows_value=lambda _: False,
                )
            ) from None

    def _points(self) -> list[Any]:
        return list(entry_points(group=f"daskmr.{self.kind.replace(' ', '_')}"))
