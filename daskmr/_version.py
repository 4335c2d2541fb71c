"""The version of daskmr, written here once."""

__version__ = "0.1.0"
