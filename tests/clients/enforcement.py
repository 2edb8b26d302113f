#!/usr/bin/env python3
"""Runs what is in `functions/agents` for real: LiteLLM, the OpenTelemetry SDK and a runtime that obeys, against `RECOUP_BIN`.

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
                           for name in ("litellm", "otel", "kill"))
sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
