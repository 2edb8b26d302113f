#!/usr/bin/env python3
"""Runs what others' software and ours make of each other, against the real binary: LiteLLM in a program and as a proxy, the
OpenTelemetry SDK, a runtime that obeys, and a mail server under TLS; and how long a client waits.

    enforcement.py BIN
"""

import os
import pathlib
import sys
import unittest

if len(sys.argv) != 2:
    sys.exit(__doc__)
os.environ["RECOUP_BIN"] = str(pathlib.Path(sys.argv.pop()).resolve())
here = pathlib.Path(__file__).resolve().parent
suite = unittest.TestSuite(unittest.defaultTestLoader.discover(str(here), pattern=f"test_{name}.py")
                           for name in ("patience", "litellm", "proxy", "otel", "kill", "mail"))
sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
