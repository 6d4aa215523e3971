"""The data plane of an Adobe Commerce Pro cluster in one program."""

__version__ = "0.1.0"
