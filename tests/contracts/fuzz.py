#!/usr/bin/env python3
"""Sends a running server requests made from its own OpenAPI document, for a bounded time, and checks the answers against it.

    python3 fuzz.py http://127.0.0.1:8080 KEY

URL and KEY may stand in the environment instead, as RECOUP_URL and RECOUP_KEY. Use a server with data that nobody needs and a key
with the role `admin`: organisation files are applied, keys made and nights run. Exits 1 where an answer is a server error, or
has a status, a media type or a body that the document does not describe.

schemathesis loads this file as well, for the hooks at its end. Start reading at `main`.
"""

import datetime as dt
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import schemathesis

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
# Examples of the document, then every boundary of every schema, then made-up requests until the time is over.
PHASES = ("examples", "coverage", "fuzzing")
FUZZ_S = 45
EXAMPLES_PER_OPERATION = 20
REQUEST_TIMEOUT_S = 20
# Beyond the budget: what is in flight when it ends, and the report.
PATIENCE_S = 120
SEED = 20261014


def fail(why):
    print(f"fuzz: {why}", file=sys.stderr)
    raise SystemExit(2)


def target():
    """The server's address and a key."""
    arguments = sys.argv[1:] or [os.environ.get("RECOUP_URL", ""), os.environ.get("RECOUP_KEY", "")]
    if len(arguments) != 2 or not all(arguments):
        fail("give a URL and a KEY, as arguments or as RECOUP_URL and RECOUP_KEY")
    return arguments[0].rstrip("/"), arguments[1]


def check_key(url, key):
    """A key that may not do everything would make every answer a 401 or 403, which tests nothing."""
    request = urllib.request.Request(f"{url}/v1/keys?limit=1", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        fail(f"the server answers {error.code} to GET /v1/keys; use a key with the role `admin`")
    except OSError as error:
        fail(f"{url} does not answer: {error}")


def command(url, key):
    return [
        str(pathlib.Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{url}/openapi.json",
        f"--url={url}",
        f"--header=Authorization:Bearer {key}",
        f"--phases={','.join(PHASES)}",
        f"--checks={','.join(CHECKS)}",
        f"--max-time={FUZZ_S}",
        f"--max-examples={EXAMPLES_PER_OPERATION}",
        f"--request-timeout={REQUEST_TIMEOUT_S}",
        f"--seed={SEED}",
        "--continue-on-failure",
        "--warnings=off",
        "--generation-database=none",
        "--no-color",
    ]


def main():
    url, key = target()
    check_key(url, key)
    here = pathlib.Path(__file__).resolve()
    paths = os.pathsep.join(filter(None, (str(here.parent), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": here.stem, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    # What schemathesis and hypothesis keep between runs is left out: the same tree is tested the same way.
    with tempfile.TemporaryDirectory() as folder:
        try:
            ended = subprocess.run(command(url, key), cwd=folder, env=environment, timeout=FUZZ_S + PATIENCE_S, check=False)
        except subprocess.TimeoutExpired:
            fail(f"not finished {PATIENCE_S} s after its {FUZZ_S} s: an answer does not come")
    raise SystemExit(ended.returncode)


# Hooks --------------------------------------------------------------------------------------------------------------------------

schemathesis.serializer.alias(["application/toml", "application/x-ndjson"], "text/plain")


@schemathesis.hook
def map_headers(ctx, headers):
    """Bodies are not compressed, so that most of them can be read."""
    return {name: value for name, value in (headers or {}).items() if name.lower() != "content-encoding"}


def recent(event):
    """The event as of a moment ago where it has a time at all: nearly every made-up time lies outside the window of EVT-7."""
    if isinstance(event, dict) and re.match(r"\d{4}-\d\d-\d\d[Tt]", str(event.get("used_at"))):
        moment = dt.datetime.now(dt.timezone.utc) - dt.timedelta(minutes=len(str(event)) % 2880)
        return {**event, "used_at": moment.isoformat()}
    return event


@schemathesis.hook
def map_body(ctx, body):
    """Events that can be accepted, so that questions and nights meet them."""
    if ctx.operation.label != "POST /v1/events":
        return body
    return [recent(event) for event in body] if isinstance(body, list) else recent(body)


if __name__ == "__main__":
    main()
