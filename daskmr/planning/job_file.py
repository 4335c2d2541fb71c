"""Job files: the image, model and options of a job as YAML, by the names they have in Python."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from daskmr.core.grid import Size
from daskmr.core.roi import parse_roi
from daskmr.errors import RequestError
from daskmr.planning.options import BY_NAME
from daskmr.planning.settings import Settings

EXECUTION: Final[tuple[str, ...]] = (
    "out", "outputs", "formats", "store", "scheduler", "workers", "load", "again", "overwrite",
    "retry_failed",
)  # fmt: skip
"""Arguments of `daskmr.run` beside options that a job file may hold."""
NAMES: Final[tuple[str, ...]] = ("image", "model", *BY_NAME, *EXECUTION)
"""All names of a job file."""
_MAX_BYTES = 2**20
_SECRET = re.compile(r"(?i)token|secret|passw|api.?key|authori[sz]ation|credential|cookie")
_HIDDEN = "sha256:"
_MAPPINGS = ("parameters", "endpoint_options")


def is_job_file(image: Any) -> bool:
    """Return whether what stands for an image is the path of a job file."""
    return isinstance(image, str | Path) and str(image).endswith((".yaml", ".yml"))


def read_job_file(path: str | Path) -> dict[str, Any]:
    """Return the arguments of `daskmr.run` in a job file.

    Raises
    ------
    RequestError
        When it cannot be read or is no mapping, when a name is unknown, or when there is no image.
    """
    import yaml

    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            msg = f"{path}: larger than {_MAX_BYTES:,} bytes; no job file"
            raise RequestError(msg)
        values = yaml.safe_load(text)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise RequestError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path}: is no YAML: {' '.join(str(error).split())}"
        raise RequestError(msg) from None
    problems = list(_problems(values))
    if problems:
        raise RequestError(*(f"{path}: {problem}" for problem in problems))
    return dict(values)


def _problems(values: Any) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"a mapping of names to values is expected, not {type(values).__name__}"
        return
    for name in values:
        if name not in NAMES:
            near = get_close_matches(str(name), NAMES, n=1)
            yield f"unknown name {name!r}{f'; did you mean {near[0]}?' if near else ''}"
    if not isinstance(values.get("image"), str):
        yield f"image: {values.get('image')!r} is no path or URL"


def overridden(values: Mapping[str, Any], replacements: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a job file with replacements; mappings are merged by key.

    Raises
    ------
    RequestError
        When a value that was not kept is not replaced; names each.
    """
    arguments = {name: value for name, value in values.items() if value is not None}
    for name, value in replacements.items():
        kept: Any = arguments.get(name)
        is_merged = isinstance(kept, Mapping) and isinstance(value, Mapping)
        arguments[name] = {**kept, **value} if is_merged else value
    problems = hidden_values(arguments)
    if problems:
        raise RequestError(*problems)
    return arguments


def job_file_text(image: str, model: str | None, settings: Settings) -> str:
    """Return the text of a job file with every option, resolved.

    Values whose names sound like secrets are kept as hashes, which `hidden_values` finds.

    Raises
    ------
    RequestError
        When the model is a function, which no file can name.
    """
    import yaml

    if model is None:
        msg = "model: a function of this process cannot be saved; name it as module:function"
        raise RequestError(msg)
    values = {"image": image, "model": model, **plain_settings(settings)}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    if yaml.safe_load(text) != values:  # PyYAML folds NEL (U+0085) unless it is escaped
        text = yaml.safe_dump(values, sort_keys=False)
    return text


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Return options as plain JSON values, without secrets."""
    return {f.name: _plain(f.name, getattr(settings, f.name)) for f in fields(Settings)}


def hidden_values(arguments: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each value of which only a hash was kept."""
    return [
        f"{name}.{key}: was not kept, since it may be a secret; give it again"
        for name in _MAPPINGS
        for key, value in dict(arguments.get(name) or {}).items()
        if str(value).startswith(_HIDDEN)
    ]


def _plain(name: str, value: Any) -> Any:
    """Return an option as plain JSON values."""
    if isinstance(value, Size):
        return str(value)
    if name == "roi" and value is not None:
        return parse_roi(value).wkt
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), inner) for key, inner in value.items()}
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return str(value)


def _hidden(name: str, value: Any) -> Any:
    """Return a value, or its hash when its name sounds like a secret."""
    plain = json.loads(json.dumps(value, default=str))
    if not _SECRET.search(name):
        return plain
    return _HIDDEN + hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
