"""Identity of a job: what was asked, of which image, of which model; and the name made of it."""

import hashlib
import inspect
import json
import re
import sys
import uuid
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from daskmr._version import __version__
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.planning.plan import Plan

AFTER_INFERENCE: Final = frozenset({"merge", "iou", "merge_options", "feature_properties"})
"""Settings that can change without asking the model again."""
_NOT_IDENTITY = frozenset({
    "concurrency", "timeout_s", "patience_s", "deadline_s", "batch", "linger_s", "job_id",
})  # fmt: skip
"""Settings that decide how and when, not what."""
_N_DIGITS = 8
_MOST = 40
"""Most characters of an image's and of a model's part of a name."""
_SAYS_NOTHING = frozenset({
    "", "api", "infer", "inference", "invocations", "models", "predict", "predictions", "v1", "v2",
})  # fmt: skip
"""Parts of a URL's path that name no model."""


def request_identity(plan: Plan) -> dict[str, Any]:
    """Return all that decides a model's answers, as plain values; possible secrets as hashes."""
    settings = plan.settings
    identity = {
        f.name: _plain(getattr(settings, f.name))
        for f in fields(settings)
        if f.name not in AFTER_INFERENCE | _NOT_IDENTITY
    }
    identity |= {
        "image": plan.info.url,
        "model": plan.model.name,
        "parameters": _hashed(dict(settings.parameters)),
        "endpoint_options": _hashed(dict(settings.endpoint_options)),
        "regions": str(plan.regions.tiles_per_side),
        "daskmr": __version__,
    }
    return identity


def result_identity(plan: Plan) -> dict[str, Any]:
    """Return all that decides a result, but for the image's content and daskmr's version."""
    settings = plan.settings
    identity = request_identity(plan)
    del identity["daskmr"]
    merging = {name: _plain(getattr(settings, name)) for name in sorted(AFTER_INFERENCE)}
    return identity | merging | {"model_code": plan.model_code}


def source_of(plan: Plan) -> dict[str, Any]:
    """Return the identity of an image: its version, size and type."""
    info = plan.info
    return {
        "etag": info.etag,
        "width": info.width,
        "height": info.height,
        "bands": info.bands,
        "dtype": info.dtype,
    }


def job_name(plan: Plan) -> str:
    """Return a name for a job: its image, its model, and a hash of all that was asked.

    The same call names the same job; an array of this process is named by its Dask graph, and one
    in memory by its content.
    """
    identity = result_identity(plan)
    if plan.original.source is None:
        identity["array"] = str(plan.original.data.data.name)
    digest = _hashed(identity)[:_N_DIGITS]
    image = Path(urlsplit(plan.info.url).path).stem or "image"
    return "-".join([_word(image, "image"), _word(_model_word(plan.model), "model"), digest])


def model_code(model: Endpoint | LocalModel) -> str:
    """Return a hash of the code or file of a model in process; empty for what has none.

    Of a function of a module it is a hash of the module's file; of any other function, one of its
    code and of the values that it refers to. A value of which two can only be told apart by their
    identity has another hash each time.
    """
    function = getattr(model, "function", None)
    if function is not None:
        return _code_of(function)
    plain: Any = model
    if isinstance(plain, Endpoint) or not is_dataclass(plain):
        return ""
    values = (getattr(plain, f.name) for f in fields(plain))
    files = [Path(value) for value in values if isinstance(value, str) and Path(value).is_file()]
    stats = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return _hashed(stats) if stats else ""


def _code_of(function: Any) -> str:
    from dask.base import tokenize

    module = inspect.getmodule(function)
    name = module.__name__ if module is not None else "__main__"
    file = getattr(module, "__file__", None)
    if name != "__main__" and sys.modules.get(name) is module and file and Path(file).is_file():
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    try:
        return str(tokenize(_contents(function, set())))
    except Exception:  # noqa: BLE001 - whatever a user's object raises
        return uuid.uuid4().hex


def _contents(value: Any, known: set[int]) -> Any:
    """Return the code of a function and all that it refers to, as values that Dask can hash."""
    code = getattr(value, "__code__", None)
    if code is None or id(value) in known:
        return value.__name__ if isinstance(value, ModuleType) or code is not None else value
    known.add(id(value))
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    names = [name for name in sorted(_names(code)) if name in value.__globals__]
    referred = [*cells, *(value.__globals__[name] for name in names)]
    defaults = [value.__defaults__, value.__kwdefaults__, names]
    return [_plain_code(code), defaults, [_contents(each, known) for each in referred]]


def _names(code: CodeType) -> set[str]:
    """Return the global names of a function and of those inside it."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return {*code.co_names}.union(*map(_names, inner))


def _plain_code(code: CodeType) -> Any:
    consts = [_plain_code(c) if isinstance(c, CodeType) else c for c in code.co_consts]
    return [code.co_code, consts, code.co_names, code.co_varnames]


def _model_word(model: Endpoint | LocalModel) -> str:
    """Return what people would call a model.

    Examples
    --------
    >>> from daskmr.endpoints.http import HttpEndpoint
    >>> _model_word(HttpEndpoint(url="http://gpu-3:8080/ships/invocations"))
    'ships'
    """
    name = model.name
    if "://" not in name:
        stem = Path(name).stem if name.endswith(".onnx") else re.split(r"[:.]", name)[-1]
        return "function" if stem == "<lambda>" else stem
    parts = urlsplit(name)
    words = [word for word in parts.path.split("/") if word.lower() not in _SAYS_NOTHING]
    return words[-1] if words else parts.hostname or "model"


def _word(text: str, otherwise: str) -> str:
    """Return a text with the characters of a job's name only.

    Examples
    --------
    >>> _word("Hafen Süd (2).v3", "image"), _word("影像", "image")
    ('Hafen-S-d-2-v3', 'image')
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", text)[:_MOST].strip("-") or otherwise


def _plain(value: Any) -> Any:
    """Return JSON values: sizes as text, geometry as its hash."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return str(value) if len(str(value)) < 200 else _hashed(str(value))  # noqa: PLR2004


def _hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
