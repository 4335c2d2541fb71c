"""Model endpoints: whatever answers a tile with features."""

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from daskmr.endpoints._headers import headers_of
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.errors import RequestError, UnknownNameError
from daskmr.registry import Registry

ENDPOINTS: Registry[Endpoint] = Registry(
    kind="endpoint", builtin={"http": "daskmr.endpoints.http:HttpEndpoint"}
)

_SCHEMES = ("http://", "https://")


def choose(
    model: Any,
    *,
    parameters: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    timeout_s: float | None = None,
    allow_modules: bool = True,
) -> Endpoint | LocalModel:
    """The endpoint or model that a user means.

    Parameters
    ----------
    model
        ``http(s)://`` URL, name of a built-in model, ``"module:function"``, a function, or an
        endpoint or model that is one already.
    parameters
        Headers of an HTTP endpoint; ``CustomAttributes`` of a built-in model.
    concurrency, timeout_s
        For a remote endpoint; None keeps its own default.
    allow_modules
        Whether ``"module:function"`` may be named; False for whatever comes from a queue.

    Raises
    ------
    UnknownNameError
        When it is none of these; lists the built-in names.
    RequestError
        When the module cannot be imported, or a parameter is not one the model takes.
    """
    given = dict(parameters or {})
    if isinstance(model, str) and model.lower().startswith(_SCHEMES):
        limits = {"concurrency": concurrency, "timeout_s": timeout_s}
        options = {name: value for name, value in limits.items() if value is not None}
        return ENDPOINTS.build("http", {"url": model, "headers": headers_of(given), **options})
    if isinstance(model, str):
        return _named(model, given, allow_modules=allow_modules)
    if given:
        msg = f"parameters: a model that is a Python object takes none, but got {sorted(given)}"
        raise RequestError(msg)
    if isinstance(model, Endpoint | LocalModel):
        return model
    if callable(model):
        return _function(getattr(model, "__qualname__", type(model).__qualname__), model)
    msg = f"model: {model!r} is neither a URL, a name, nor a function"
    raise RequestError(msg)


def _named(model: str, parameters: dict[str, Any], *, allow_modules: bool) -> LocalModel:
    from daskmr.endpoints.local import BuiltinModel
    from daskmr.models import MODELS, build

    if model in MODELS.names():
        attributes = str(parameters.pop("CustomAttributes", ""))
        if parameters:
            msg = f"parameters: {model!r} takes CustomAttributes only, not {sorted(parameters)}"
            raise RequestError(msg)
        build(model, attributes)
        return BuiltinModel(name=model, attributes=attributes)
    if not allow_modules or ":" not in model or "/" in model:
        forms = "http(s)://URL, module:function," if allow_modules else "http(s)://URL"
        msg = f"unknown model {model!r}; give {forms} or one of {', '.join(MODELS.names())}"
        raise UnknownNameError(msg)
    if parameters:
        msg = f"parameters: {model!r} is a function and takes none, but got {sorted(parameters)}"
        raise RequestError(msg)
    return _function(model, _imported(model))


def _imported(model: str) -> Callable[..., Any]:
    """The function ``module:function``, from the import path or the current folder."""
    module, _, name = model.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - the import path holds text
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"model: cannot import {model!r}: {error}"
        raise RequestError(msg) from error
    if not callable(function):
        msg = f"model: {model!r} is not a function"
        raise RequestError(msg)
    found: Callable[..., Any] = function
    return found


def _function(name: str, function: Callable[..., Any]) -> LocalModel:
    from daskmr.endpoints.local import CallableModel

    return CallableModel(name=name, function=function)
