"""From exec to the first answer of each Lambda binary, beside a trivial axum Lambda.

Called by tests/bench/coldstart, under an emulator of DynamoDB, S3, SNS and SQS. The Lambda runtime's API is played by this
process: it hands out one event and takes the time until the answer to it comes.
"""

import argparse
import contextlib
import http.server
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile

import boto3

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RELEASE = os.path.join(ROOT, "target", "release")
ANSWER_S_MAX = 20
sys.path.insert(0, os.path.join(ROOT, "tests", "bench", "closing"))
import quiet  # noqa: E402

# The trivial function answers it with nothing as well, so that both write answers of a like size.
NOWHERE = "/nowhere"
HTTP_EVENT = {
    "version": "2.0", "routeKey": "$default", "rawPath": NOWHERE, "rawQueryString": "",
    "headers": {"host": "localhost", "x-forwarded-proto": "https"}, "isBase64Encoded": False,
    "requestContext": {"accountId": "0", "apiId": "a", "domainName": "localhost", "domainPrefix": "a", "stage": "$default",
                       "requestId": "r", "routeKey": "$default", "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 0,
                       "http": {"method": "GET", "path": NOWHERE, "protocol": "HTTP/1.1",
                                "sourceIp": "127.0.0.1", "userAgent": "bench"}},
}
# No step of ours: the answer is an error, after everything that a start needs and without anything that a step needs.
STEP_EVENT = {"step": "bench"}
# Nobody waits for `watch`.
FUNCTIONS = {
    "ingest": HTTP_EVENT, "authorize": HTTP_EVENT, "api": HTTP_EVENT, "rollup": {"Records": []}, "nightly": STEP_EVENT,
    "notify": {"Records": []}, "close": STEP_EVENT, "simulate": STEP_EVENT,
}


class Runtime(http.server.ThreadingHTTPServer):
    """Plays the runtime's API for one start of one function."""

    daemon_threads = True

    def __init__(self, event):
        super().__init__(("127.0.0.1", 0), Handler)
        self.event, self.handed_out = json.dumps(event).encode(), False
        self.answered, self.ended, self.answer = threading.Event(), None, None

    def handle_error(self, *_):
        """The binary is killed while it waits for its next event."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.server.handed_out:
            time.sleep(ANSWER_S_MAX)
            return
        self.server.handed_out = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.event)))
        self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:bench")
        self.end_headers()
        self.wfile.write(self.server.event)

    def do_POST(self):
        self.server.ended = time.perf_counter()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if not self.chunked() else self.read_chunks()
        self.server.answer = (self.path, body)
        self.server.answered.set()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def chunked(self):
        return "chunked" in (self.headers.get("Transfer-Encoding") or "")

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        pass


def start_s(path, event, environment):
    """Seconds from exec to the first answer, and how long a processor worked for it."""
    binary = os.path.basename(path)
    server = Runtime(event)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**os.environ, **environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_address[1]}",
                   "AWS_LAMBDA_FUNCTION_NAME": binary, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                   "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
                   "AWS_LAMBDA_LOG_STREAM_NAME": "bench", "AWS_LAMBDA_LOG_LEVEL": "ERROR"}
    started = time.perf_counter()
    process = subprocess.Popen([path], env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        if not server.answered.wait(ANSWER_S_MAX) or "/init/error" in server.answer[0]:
            process.kill()
            sys.exit(f"{binary} did not answer: {server.answer}\n{process.stdout.read().decode()}")
        process.kill()
        _, process.returncode, usage = os.wait4(process.pid, 0)
        return server.ended - started, usage.ru_utime + usage.ru_stime
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        server.shutdown()


def store():
    """Tables, a bucket, a topic and a queue in the emulator, and the variables that name them."""
    tail = uuid.uuid4().hex[:8]
    names = {"RECOUP_EVENTS_TABLE": f"events-{tail}", "RECOUP_BOOKS_TABLE": f"books-{tail}",
             "RECOUP_DOCUMENTS_BUCKET": f"documents-{tail}"}
    table = {"KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
             "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
             "BillingMode": "PAY_PER_REQUEST"}
    dynamodb = boto3.client("dynamodb")
    for name in ("RECOUP_EVENTS_TABLE", "RECOUP_BOOKS_TABLE"):
        dynamodb.create_table(TableName=names[name], **table)
    # Only us-east-1 takes a bucket without a place.
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=names["RECOUP_DOCUMENTS_BUCKET"])
    names["RECOUP_ALERTS_TOPIC"] = boto3.client("sns").create_topic(Name=f"alerts-{tail}")["TopicArn"]
    names["RECOUP_DEAD_LETTERS_QUEUE"] = boto3.client("sqs").create_queue(QueueName=f"dead-{tail}")["QueueUrl"]
    machine = "arn:aws:states:us-east-1:000000000000:stateMachine:bench"
    return {**names, "RECOUP_NIGHT_MACHINE": machine, "RECOUP_CLOSE_MACHINE": machine, "RECOUP_SIMULATION_MACHINE": machine,
            "RECOUP_LANES": "1",
            "RECOUP_RETENTION_DAYS": "0", "RECOUP_OBJECT_LOCK_MODE": "none",
            "RECOUP_ADMIN_KEY_ID": "0123456789ab", "RECOUP_ADMIN_KEY_DIGEST": "0" * 64}


class Tls:
    """TLS in front of the emulator, with a certificate of its own that clients trust beside those of this machine."""

    def __init__(self, folder):
        self.certificate, key = os.path.join(folder, "server.pem"), os.path.join(folder, "server.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-keyout", key, "-out", self.certificate, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-addext", "basicConstraints=critical,CA:FALSE"], check=True, capture_output=True)
        self.trusted = os.path.join(folder, "trusted.pem")
        with open(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt", encoding="utf-8") as machine, \
                open(self.certificate, encoding="utf-8") as own, open(self.trusted, "w", encoding="utf-8") as trusted:
            trusted.write(machine.read() + own.read())
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.plain = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.pass_on, args=(near,), daemon=True).start()

    def pass_on(self, near):
        with contextlib.suppress(OSError), self.context.wrap_socket(near, server_side=True) as near, \
                socket.create_connection((self.plain[0], int(self.plain[1]))) as far:
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self.copy, args=(far, near), daemon=True)
            back.start()
            self.copy(near, far)

    @staticmethod
    def copy(one, other):
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)

    def floor_s(self):
        """A first handshake by itself."""
        said = subprocess.run([os.path.join(RELEASE, "tls_handshake"), self.address, self.certificate], check=True, capture_output=True)
        return int(said.stdout) / 1e6


def tls_of(rounds, functions, environment):
    """What TLS adds to the start of each function, beside a first handshake by itself."""
    with tempfile.TemporaryDirectory() as folder:
        tls = Tls(folder)
        behind = environment | {"AWS_ENDPOINT_URL": f"https://{tls.address}", "SSL_CERT_FILE": tls.trusted}
        added, floors = {name: [] for name in functions}, []
        for _ in range(rounds):
            floors.append(tls.floor_s())
            for name in functions:
                path = os.path.join(RELEASE, name)
                plain, over_tls = (start_s(path, FUNCTIONS[name], one)[0] for one in (environment, behind))
                added[name].append(over_tls - plain)
    floor = statistics.median(floors)
    medians = {name: statistics.median(times) for name, times in added.items()}
    return {"handshake_ms": round(floor * 1000, 2), "tls_adds_ms": {name: round(taken * 1000, 2) for name, taken in medians.items()},
            "tls_ratios": {name: round(taken / floor, 2) for name, taken in medians.items()}}


def sizes_mb(path):
    """What is deployed of a binary: stripped, and its zip."""
    with tempfile.TemporaryDirectory() as folder:
        bootstrap = os.path.join(folder, "bootstrap")
        subprocess.run(["strip", "-o", bootstrap, path], check=True)
        archive = os.path.join(folder, "bootstrap.zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.write(bootstrap, "bootstrap")
        return [round(os.path.getsize(file) / 1e6, 1) for file in (bootstrap, archive)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--before", help="a folder of binaries of another build, for the same rounds")
    parser.add_argument("--only", action="append", choices=FUNCTIONS, help="only this function; may be repeated")
    parser.add_argument("--tls", action="store_true", help="also what TLS to the emulator adds, beside a handshake by itself")
    options = parser.parse_args()
    environment = store()
    functions = options.only or list(FUNCTIONS)
    paths = {name: os.path.join(RELEASE, name) for name in ("trivial_lambda", *functions)}
    if options.before:
        before = {f"before/{name}": os.path.join(options.before, name) for name in functions}
        paths |= {name: path for name, path in before.items() if os.path.exists(path)}
    starts = {name: [] for name in paths}
    event = lambda name: FUNCTIONS.get(name.rpartition("/")[2], HTTP_EVENT)
    for name, path in paths.items():
        start_s(path, event(name), environment)
    watch = quiet.Watch()
    for _ in range(options.rounds):
        for name, times in starts.items():
            times.append(start_s(paths[name], event(name), environment))
    median_ms = lambda times: round(statistics.median(times) * 1000, 2)
    starts_ms = {name: median_ms([wall for wall, _ in times]) for name, times in starts.items()}
    cpu_ms = {name: median_ms([cpu for _, cpu in times]) for name, times in starts.items()}
    floor, cpu_floor = starts_ms.pop("trivial_lambda"), cpu_ms.pop("trivial_lambda")
    print(json.dumps({
        "bench": "coldstart", "rounds": options.rounds, "trivial_ms": floor, "starts_ms": starts_ms,
        "ratios": {name: round(taken / floor, 2) for name, taken in starts_ms.items()},
        "trivial_cpu_ms": cpu_floor, "cpu_ms": cpu_ms,
        "stripped_and_zip_mb": {name: sizes_mb(os.path.join(RELEASE, name)) for name in functions},
        **(tls_of(options.rounds, functions, environment) if options.tls else {}),
        "other_load_percent": watch.percent(),
    }))


if __name__ == "__main__":
    main()
