"""
Runs a command that ends with its parent: `python leash.py PARENT_PID COMMAND ...`.

On Linux the command gets SIGTERM when the parent dies, however it died (prctl(2), PR_SET_PDEATHSIG; kept across execve(2)).
Elsewhere the command simply runs. Used as a script, so that it starts quickly and no code runs between fork and exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have died before the line above.
        if os.getppid() != parent:
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606
