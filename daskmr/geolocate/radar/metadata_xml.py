"""Parsing of XML sensor metadata, with limits and without namespaces."""

import math
import re
from typing import Any, Self
from xml.etree import ElementTree

MOST_CHARACTERS = 8 * 2**20
"""Longest document that is read."""

Poly = tuple[float, ...]
"""Coefficients of 1, t, tt and so on."""
Poly2 = tuple[Poly, ...]
"""For each power of x, the coefficients of the powers of y."""
Vector = tuple[float, float, float]
_DEEPEST = 64
_HIGHEST_POWER = 32
_DECLARED = re.compile(r"<!(?!--|\[CDATA\[)")


class _Builder(ElementTree.TreeBuilder):
    """Builder of elements under their local names, with a limit on depth."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self.depth += 1
        if self.depth > _DEEPEST:
            msg = f"elements deeper than {_DEEPEST}"
            raise ValueError(msg)
        return super().start(tag.rpartition("}")[2], attrs)

    def end(self, tag: Any, /) -> Any:
        self.depth -= 1
        return super().end(tag.rpartition("}")[2])


class Branch:
    """An element, and the values below it by paths of names.

    Parameters
    ----------
    root
        The element.
    kind
        Name of the document in errors.
    """

    def __init__(self, root: ElementTree.Element, kind: str) -> None:
        self.root = root
        self.kind = kind

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the root of a document.

        Raises
        ------
        ValueError
            When it is too long or too deep, declares entities, or is no XML.
        """
        kind = "SIDD" if re.match(r"\s*(<\?[^>]*>\s*)?<(\w+:)?SIDD\b", text) else "SICD"
        if len(text) > MOST_CHARACTERS:
            msg = f"{kind} of {len(text):,} characters, more than {MOST_CHARACTERS:,}"
            raise ValueError(msg)
        if _DECLARED.search(text):
            msg = f"{kind} with declarations of its own"
            raise ValueError(msg)
        parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - limits stand above
        try:
            parser.feed(text)
            return cls(parser.close(), kind)
        except (ElementTree.ParseError, ValueError) as error:
            msg = f"{kind} that is broken ({error})"
            raise ValueError(msg) from error

    def has(self, path: str) -> bool:
        """Return whether there is an element at a path."""
        return self.root.find(path) is not None

    def at(self, path: str) -> Self:
        """Return the branch at a path.

        Raises
        ------
        ValueError
            When there is none; so do all methods below.
        """
        element = self.root.find(path)
        if element is None:
            msg = f"{self.kind} without {path}"
            raise ValueError(msg)
        return type(self)(element, self.kind)

    def text(self, path: str) -> str:
        """Return the text of the element at a path."""
        return (self.at(path).root.text or "").strip()

    def number(self, path: str) -> float:
        """Return the finite number at a path."""
        return self._number(self.text(path), path)

    def pair(self, path: str) -> tuple[float, float]:
        """Return Row and Col below a path."""
        return self.number(f"{path}/Row"), self.number(f"{path}/Col")

    def vector(self, path: str) -> Vector:
        """Return X, Y and Z below a path."""
        return (
            self.number(f"{path}/X"),
            self.number(f"{path}/Y"),
            self.number(f"{path}/Z"),
        )

    def polynomial(self, path: str) -> Poly:
        """Return the polynomial of one variable at a path."""
        return tuple(row[0] for row in self.polynomial2(path))

    def polynomial2(self, path: str) -> Poly2:
        """Return the polynomial of two variables at a path."""
        terms = {
            (self._power(term, "exponent1", path), self._power(term, "exponent2", path)): (
                self._number(term.text or "", path)
            )
            for term in self.at(path).root.iter("Coef")
        }
        if not terms:
            msg = f"{self.kind} without coefficients in {path}"
            raise ValueError(msg)
        n_x, n_y = (max(powers) + 1 for powers in zip(*terms, strict=True))
        return tuple(tuple(terms.get((i, j), 0.0) for j in range(n_y)) for i in range(n_x))

    def _number(self, text: str, path: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            msg = f"{self.kind} with {text.strip()!r} for {path}"
            raise ValueError(msg)
        return value

    def _power(self, term: ElementTree.Element, name: str, path: str) -> int:
        text = term.get(name, "0")
        try:
            power = int(text)
        except ValueError:
            power = -1
        if not 0 <= power <= _HIGHEST_POWER:
            msg = f"{self.kind} with a power {text!r} in {path}"
            raise ValueError(msg)
        return power
