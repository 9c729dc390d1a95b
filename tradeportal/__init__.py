"""The Django project of the trade portal."""

__version__ = "0.1.0"
