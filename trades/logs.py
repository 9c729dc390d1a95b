"""How log lines look."""

import logging
import time


class UtcFormatter(logging.Formatter):
    """Log lines with UTC times, so that lines of workers in several places can be compared."""

    converter = staticmethod(time.gmtime)
    default_msec_format = "%s.%03d"
