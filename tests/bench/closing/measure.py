"""`measure.py FILE COMMAND...` runs a command and writes its exit code, seconds and peak memory in MB to FILE, as JSON.

A process of its own because Linux counts the memory of whoever starts a command as the command's own.
This one is small.
"""

import json
import os
import sys
import time


def main(report, *command):
    started = time.monotonic()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    with open(report, "w") as file:
        json.dump([os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss >> 10], file)


if __name__ == "__main__":
    main(*sys.argv[1:])
