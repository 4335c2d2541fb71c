"""Model endpoints: a tile in, features out.

`choose` picks an endpoint or a model in process (`base` has their protocols; `http`, `sagemaker`,
`sagemaker_async`, `local`, `onnx`); `caller` calls a remote one with retries through the process's
`limiter`, whose share of a cluster-wide capacity `shares` computes.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from typing import Any, Literal, cast

from daskmr.endpoints._auth import Auth
from daskmr.endpoints._headers import request_headers
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
    """Options of an endpoint beside its name; None keeps the endpoint's own default."""

    concurrency: int | Literal["auto"] | None = None
    timeout_s: float | None = None
    max_batch: int | None = None
    auth: Auth | None = None
    """Credentials of an HTTP endpoint; from configuration, never from a request."""
    headers: tuple[str, ...] = ()
    """Names of headers that a request may set beside the usual ones."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the endpoint's class (``role``, ``input_location``)."""
    is_trusted: bool = True
    """True if a local user named the model, who may name modules and private addresses."""

    def overrides(self) -> dict[str, Any]:
        """Return the options that are not None, as fields of the endpoint's class."""
        limits = {"concurrency": self.concurrency, "timeout_s": self.timeout_s}
        return {k: v for k, v in limits.items() if v is not None} | dict(self.options)


def choose(
    model: Any, *, parameters: Mapping[str, Any] | None = None, hints: Hints | None = None
) -> Endpoint | LocalModel:
    """Return the endpoint or model in process that a name, URL or object stands for.

    Parameters
    ----------
    model
        ``http(s)://`` URL, ``sagemaker://NAME[/VARIANT]``, ``sagemaker-async://NAME``, path of an
        ``.onnx`` file, name of a built-in model, ``"module:function"``, a function, or an endpoint
        or model object.
    parameters
        Headers of an HTTP endpoint, parameters of InvokeEndpoint; ``CustomAttributes`` of a
        built-in model.
    hints
        Further options; the endpoint's defaults when None.

    Raises
    ------
    UnknownNameError
        When *model* is none of these; lists the built-in names.
    RequestError
        When the module cannot be imported, or a parameter is not one the model takes.
    """
    values, hints = dict(parameters or {}), hints or Hints()
    if isinstance(model, str):
        scheme, separator, rest = model.partition("://")
        if separator:
            return _remote_endpoint(scheme.lower(), model, rest, parameters=values, hints=hints)
        return _local_model(model, values, hints=hints)
    if values:
        msg = f"parameters: a model that is a Python object takes none, but got {sorted(values)}"
        raise RequestError(msg)
    if isinstance(model, Endpoint | LocalModel):
        return _with_overrides(model, hints)
    if callable(model):
        return _function(getattr(model, "__qualname__", type(model).__qualname__), model)
    msg = f"model: {model!r} is neither a URL, a name, nor a function"
    raise RequestError(msg)


def _remote_endpoint(
    scheme: str, model: str, rest: str, *, parameters: dict[str, Any], hints: Hints
) -> Endpoint:
    """Build the endpoint of a URL; the scheme names its kind."""
    options = hints.overrides()
    if scheme in _WEB:
        options |= {
            "url": model,
            "headers": request_headers(parameters, hints.headers),
            "auth": hints.auth,
        }
        options |= {} if hints.max_batch is None else {"max_batch": hints.max_batch}
        options |= {} if hints.is_trusted else {"public_only": True}
        return ENDPOINTS.build("http", options)
    if scheme not in ENDPOINTS.names():
        others = [name for name in ENDPOINTS.names() if name not in _WEB]
        known = ", ".join(f"{name}://" for name in (*_WEB, *others))
        msg = f"model: {model!r}: unknown scheme {scheme!r}; known: {known}"
        raise UnknownNameError(msg)
    return ENDPOINTS.build(scheme, options | _address(ENDPOINTS.load(scheme), rest, parameters))


def _address(kind: Any, rest: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an endpoint's class that its address and parameters set.

    Parameters
    ----------
    kind
        The class. With a field ``variant``, an address is ``NAME[/VARIANT]``, else all of it is the
        name.
    rest
        The address after ``KIND://``.
    parameters
        Parameters for the model, of classes with a field ``parameters``.
    """
    known = {f.name for f in fields(kind)}
    name, _, variant = rest.partition("/") if "variant" in known else (rest, "", "")
    address: dict[str, Any] = {"endpoint": name} | ({"variant": variant} if variant else {})
    if parameters or "parameters" in known:
        address["parameters"] = tuple((k, str(v)) for k, v in parameters.items())
    return address


def _with_overrides(model: Endpoint | LocalModel, hints: Hints) -> Endpoint | LocalModel:
    """Return a model object with the job's options as its fields."""
    overrides = hints.overrides()
    if not overrides:
        return model
    plain: Any = model
    known = {f.name for f in fields(plain)} if is_dataclass(plain) else frozenset[str]()
    unknown = sorted(set(overrides) - known)
    if unknown:
        msg = f"{unknown[0]}: {model.name} has no such option"
        raise RequestError(msg)
    return cast("Endpoint | LocalModel", replace(plain, **overrides))


def _local_model(model: str, parameters: dict[str, Any], *, hints: Hints) -> LocalModel:
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
    return _function(model, _import(model))


def _import(model: str) -> Callable[..., Any]:
    """Import the function ``module:function``, from the import path or the current folder."""
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
    imported: Callable[..., Any] = function
    return imported


def _function(name: str, function: Callable[..., Any]) -> LocalModel:
    from daskmr.endpoints.local import CallableModel

    return CallableModel(name=name, function=function)
