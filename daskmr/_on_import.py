"""What daskmr adds to xarray and Dask, whichever of them is imported first.

Importing them takes longer than importing daskmr may: where one is not there yet, a finder in
`sys.meta_path` waits for its import.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


def _register_accessor() -> None:
    """Register ``DataArray.mr``; xarray knows no entry points for accessors."""
    import_module("daskmr.accessor")


def _register_defaults() -> None:
    """Add the defaults of ``daskmr.yaml`` to `dask.config`, below what users have set."""
    import yaml

    config = import_module("dask.config")
    text = (Path(__file__).parent / "daskmr.yaml").read_text(encoding="utf-8")
    config.update_defaults(yaml.safe_load(text))


_ADDITIONS: Mapping[str, Callable[[], None]] = {
    "xarray": _register_accessor,
    "dask.config": _register_defaults,
}


def register() -> None:
    """Add to each module now if it is imported, else as soon as it is."""
    for module, add in _ADDITIONS.items():
        if module in sys.modules:
            add()
        elif not any(isinstance(f, _Finder) and f.module == module for f in sys.meta_path):
            sys.meta_path.insert(0, _Finder(module, add))


class _Finder(MetaPathFinder):
    """Finds a module once, as Python does, and calls a function after its import."""

    def __init__(self, module: str, add: Callable[[], None]) -> None:
        self.module, self._add = module, add

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del target
        if fullname != self.module:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._add)
        return spec


class _Loader(Loader):
    """Loads a module as another loader does, then calls a function."""

    def __init__(self, loader: Loader, add: Callable[[], None]) -> None:
        self._loader, self._add = loader, add

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._add()
