"""An emulator of AWS on a free port of this machine: TLS, and every role held to its policies."""

import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

REGION = "us-east-1"
PATIENCE_S = 60
# It takes subscriptions by e-mail and sends none: what they would get is written down, a line of JSON each.
KEEPING_EMAILS = """
import json, os
from ministack.app import main
from ministack.services import sns
matches = sns._matches_filter_policy

def kept(subscription, attributes, message=""):
    is_meant = matches(subscription, attributes, message)
    if is_meant and subscription["protocol"] == "email":
        with open(os.environ["EMULATOR_EMAILS"], "a", encoding="utf-8") as emails:
            emails.write(json.dumps({"to": subscription["endpoint"], "text": message}) + "\\n")
    return is_meant

sns._matches_filter_policy = kept
main()
"""


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Emulator:
    """Started when it is entered, ended by its process id when it is left."""

    def __init__(self, folder):
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.folder = pathlib.Path(folder)
        self.log = self.folder / "emulator.log"
        self.emails = self.folder / "emails.ndjson"
        self.certificate = self.folder / "tmp" / "ministack-tls" / "server.crt"
        self.process = None

    def __enter__(self):
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RECOUP_"))}
        own = {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            # Requests are signed, and denied where the role's policies and the resource's do not allow them.
            "AUTH": "true",
            "USE_SSL": "1",
            # Handed on to the functions.
            "AWS_ENDPOINT_URL": self.url,
            "SSL_CERT_FILE": str(self.certificate),
            "IOT_MTLS_ENABLED": "0",
            "TMPDIR": str(self.folder / "tmp"),
            "SFN_WAIT_SCALE": "0.1",
            "EMULATOR_EMAILS": str(self.emails),
        }
        command = [sys.executable, "-c", KEEPING_EMAILS]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=kept | own, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise SystemExit(f"the emulator did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)
        return self

    def _answers(self):
        if not self.certificate.exists():
            return False
        try:
            context = ssl.create_default_context(cafile=str(self.certificate))
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5, context=context) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def __exit__(self, *_):
        # It is the leader of its own group; the functions that it started are in there too.
        if self.process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
            except ProcessLookupError:
                break
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue
        self.process = None

    def emailed(self, address):
        """What a topic would have sent to an address, the oldest first."""
        lines = self.emails.read_text(encoding="utf-8").splitlines() if self.emails.exists() else []
        return [one["text"] for one in map(json.loads, lines) if one["to"] == address]

    def environment(self):
        """What a client of it needs, and nothing of the caller's own account."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RECOUP_"))}
        return kept | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.certificate),
            "REQUESTS_CA_BUNDLE": str(self.certificate),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "SAM_CLI_TELEMETRY": "0",
        }
