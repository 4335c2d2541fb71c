"""Model endpoints: whatever answers a tile with features."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from typing import Any, Literal, cast

from daskmr.endpoints._auth import Auth
from daskmr.endpoints._headers import headers_of
from daskmr.endpoints._retry import PATIENCE_S
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.errors import RequestError, UnknownNameError
from daskmr.registry import Registry

__all__ = ["ENDPOINTS", "PATIENCE_S", "Hints", "choose"]

ENDPOINTS: Registry[Endpoint] = Registry(
    kind="endpoint",
    builtin={
        "http": "daskmr.endpoints.http:HttpEndpoint",
        "sagemaker": "daskmr.endpoints.sagemaker:SageMakerEndpoint",
        "sagemaker-async": "daskmr.endpoints.sagemaker_async:SageMakerAsyncEndpoint",
    },
)

_WEB = ("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a job says of its endpoint beside the name; None keeps the endpoint's own default."""

    concurrency: int | Literal["auto"] | None = None
    timeout_s: float | None = None
    max_batch: int | None = None
    auth: Auth | None = None
    """Of an HTTP endpoint; from configuration, never from a request."""
    headers: tuple[str, ...] = ()
    """Names of headers that a request may set beside the usual ones."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the endpoint's class (``role``, ``input_location``)."""
    is_trusted: bool = True
    """Whether the model was named by a person here, who may name modules and private addresses."""

    def given(self) -> dict[str, Any]:
        """Those that were said."""
        limits = {"concurrency": self.concurrency, "timeout_s": self.timeout_s}
        return {k: v for k, v in limits.items() if v is not None} | dict(self.options)


def choose(
    model: Any, *, parameters: Mapping[str, Any] | None = None, hints: Hints | None = None
) -> Endpoint | LocalModel:
    """The endpoint or model that a user means.

    Parameters
    ----------
    model
        ``http(s)://`` URL, ``sagemaker://NAME[/VARIANT]``, ``sagemaker-async://NAME``, path of an
        ``.onnx`` file, name of a built-in model, ``"module:function"``, a function, or an endpoint
        or model that is one already.
    parameters
        Headers of an HTTP endpoint, parameters of InvokeEndpoint; ``CustomAttributes`` of a
        built-in model.
    hints
        What is known beside that.

    Raises
    ------
    UnknownNameError
        When it is none of these; lists the built-in names.
    RequestError
        When the module cannot be imported, or a parameter is not one the model takes.
    """
    given, hints = dict(parameters or {}), hints or Hints()
    if isinstance(model, str):
        scheme, separator, rest = model.partition("://")
        if separator:
            return _remote(scheme.lower(), model, rest, parameters=given, hints=hints)
        return _named(model, given, hints=hints)
    if given:
        msg = f"parameters: a model that is a Python object takes none, but got {sorted(given)}"
        raise RequestError(msg)
    if isinstance(model, Endpoint | LocalModel):
        return _adjusted(model, hints)
    if callable(model):
        return _function(getattr(model, "__qualname__", type(model).__qualname__), model)
    msg = f"model: {model!r} is neither a URL, a name, nor a function"
    raise RequestError(msg)


def _remote(
    scheme: str, model: str, rest: str, *, parameters: dict[str, Any], hints: Hints
) -> Endpoint:
    """The endpoint behind a URL; the scheme says of which kind it is."""
    options = hints.given()
    if scheme in _WEB:
        options |= {
            "url": model,
            "headers": headers_of(parameters, hints.headers),
            "auth": hints.auth,
        }
        options |= {} if hints.max_batch is None else {"max_batch": hints.max_batch}
        options |= {} if hints.is_trusted else {"public_only": True}
        return ENDPOINTS.build("http", options)
    if scheme not in ENDPOINTS.names():
        known = ", ".join(f"{name}://" for name in (*_WEB, *ENDPOINTS.names()[1:]))
        msg = f"model: {model!r}: unknown scheme {scheme!r}; known: {known}"
        raise UnknownNameError(msg)
    name, _, variant = rest.partition("/")
    options |= {"endpoint": name, "parameters": tuple((k, str(v)) for k, v in parameters.items())}
    return ENDPOINTS.build(scheme, options | ({"variant": variant} if variant else {}))


def _adjusted(model: Endpoint | LocalModel, hints: Hints) -> Endpoint | LocalModel:
    """A model that is one already, with what the job says of it."""
    given = hints.given()
    if not given:
        return model
    plain: Any = model
    known = {f.name for f in fields(plain)} if is_dataclass(plain) else frozenset[str]()
    unknown = sorted(set(given) - known)
    if unknown:
        msg = f"{unknown[0]}: {model.name} has no such option"
        raise RequestError(msg)
    return cast("Endpoint | LocalModel", replace(plain, **given))


def _named(model: str, parameters: dict[str, Any], *, hints: Hints) -> LocalModel:
    from daskmr.endpoints.local import BuiltinModel
    from daskmr.models import MODELS, build

    if hints.options and not model.endswith(".onnx"):
        msg = f"endpoint_options: {model!r} takes none, but got {sorted(hints.options)}"
        raise RequestError(msg)
    if model in MODELS.names():
        attributes = str(parameters.pop("CustomAttributes", ""))
        if parameters:
            msg = f"parameters: {model!r} takes CustomAttributes only, not {sorted(parameters)}"
            raise RequestError(msg)
        build(model, attributes)
        return BuiltinModel(name=model, attributes=attributes)
    if hints.is_trusted and model.endswith(".onnx"):
        from daskmr.endpoints.onnx import OnnxModel

        return OnnxModel.load(model, **hints.options)
    if not hints.is_trusted or ":" not in model or "/" in model:
        forms = "http(s)://URL, module:function," if hints.is_trusted else "http(s)://URL"
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
