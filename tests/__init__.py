"""The tests, which mirror the package; `tests.chaos` also runs by itself."""
