"""Authorize with a reservation at three scopes out of a durable lease, beside a trivial axum GET and a check-and-increment in
Redis; called by tests/bench/authorize. One load generator, the same connections, interleaved rounds, medians."""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench" / "closing"))
import quiet  # noqa: E402

PATIENCE_S = 30
RATE_RATIO_MIN, P50_RATIO_MAX = 0.75, 1.15

ORGANISATION = """\
[organisation]
name = "Load"
currency = "USD"
time_zone = "Europe/Berlin"
""" + "".join(f"""\
[[teams]]
id = "{team}"
[[agents]]
id = "{team}-agent"
owner = "{team}"
[[budgets]]
scope = "team:{team}"
limit = "{limit}"
[[budgets]]
scope = "agent:{team}-agent"
limit = "{limit}"
""" for team, limit in (("load", "1000000000"), ("race", "10"))) + """\
[[budgets]]
scope = "organisation"
limit = "1000000000"
"""
ESTIMATE = "0.013"

# What a gateway does that counts in Redis: room at three counters, all or nothing. Amounts are whole microunits.
CHECK = b"""\
for at, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') + tonumber(ARGV[1]) > tonumber(ARGV[1 + at]) then return 0 end
end
for _, key in ipairs(KEYS) do redis.call('INCRBY', key, ARGV[1]) end
return 1
"""


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def until_it_listens(port, process):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} does not listen")


def stop(process):
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_s(process):
    """Seconds that a running process has worked."""
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Target:
    """A server, and the request that it is given."""

    def __init__(self, name, process, port, request, folder):
        self.name, self.process, self.address, self.rounds = name, process, f"127.0.0.1:{port}", []
        self.file = os.path.join(folder, f"{name}.request")
        pathlib.Path(self.file).write_bytes(request)

    def load(self, options, millis, most=10**9, wanted=""):
        before, generator = cpu_s(self.process), quiet.own_s()
        command = [options.load, self.address, self.file, str(options.connections), str(millis), str(most), wanted]
        seen = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        seen["cpu_us"] = round((cpu_s(self.process) - before) * 1e6 / max(1, seen["requests"]), 2)
        seen["load_cpu_us"] = round((quiet.own_s() - generator) * 1e6 / max(1, seen["requests"]), 2)
        seen["per_second"] = int(seen["per_second"])
        if seen["failed"]:
            sys.exit(f"{self.name} answered {seen['failed']} of {seen['requests']} requests otherwise than it should")
        return seen

    def median(self, field):
        return statistics.median(one[field] for one in self.rounds)


def http_request(method, path, headers=(), body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def authorize_request(key, team):
    body = {"tags": {"team": team, "agent": f"{team}-agent", "task_id": "T-1"},
            "estimate": {"amount": ESTIMATE, "currency": "USD"}}
    return http_request("POST", "/v1/authorize", [f"Authorization: Bearer {key}"], json.dumps(body).encode())


def redis_command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def start_recoup(options, folder, stack):
    data, organisation = os.path.join(folder, "data"), os.path.join(folder, "recoup.toml")
    pathlib.Path(organisation).write_text(ORGANISATION, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECOUP_")}

    def run(*arguments):
        command = [options.bin, "--data", data, *arguments]
        return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout

    run("apply", organisation)
    key = json.loads(run("--json", "keys", "create", "--role", "admin"))["key"]
    port = free_port()
    command = [options.bin, "--data", data, "serve", "--listen", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(stop, server)
    until_it_listens(port, server)
    return server, port, key


def start_trivial(options, stack):
    server = subprocess.Popen([options.trivial], stdout=subprocess.PIPE, text=True)
    stack.callback(stop, server)
    return server, int(server.stdout.readline().rpartition(":")[2])


def start_redis(name, folder, stack, *more):
    """An instance of our own; the script is loaded, so that a request names it by its digest."""
    port, where = free_port(), os.path.join(folder, name)
    os.mkdir(where)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", where, "--save", "", *more]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    stack.callback(stop, server)
    until_it_listens(port, server)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(redis_command("SCRIPT", "LOAD", CHECK))
        connection.recv(1024)
    digest = hashlib.sha1(CHECK).hexdigest()
    limit = 10**15
    request = redis_command("EVALSHA", digest, 3, "organisation", "team:load", "agent:load-agent", 13_000, limit, limit, limit)
    return server, port, request


def budgets(port, key):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/budgets", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return {row["scope"]: row for row in json.load(answer)["rows"]}


def micros(text):
    """An amount in microunits; a bench may use what the product may not, but this is exact as well."""
    whole, _, part = text.partition(".")
    return int(whole) * 10**6 + int(f"{part:0<6}"[:6])


def race(options, folder, recoup):
    """A4: the connections race for a budget that is too small for them."""
    server, port, key = recoup
    target = Target("race", server, port, authorize_request(key, "race"), folder)
    seen = target.load(options, PATIENCE_S * 1000, 200, '"decision":"allow"')
    row = budgets(port, key)["team:race"]
    committed, allowed = micros(row["committed"]), seen["found"] * micros(ESTIMATE)
    return {"asked": seen["requests"], "allowed": seen["found"], "limit": row["limit"], "committed": row["committed"],
            "overspend": max(0, max(committed, allowed) - micros(row["limit"])), "exact": committed == allowed}


def measure(options, folder, stack):
    recoup = start_recoup(options, folder, stack)
    trivial, trivial_port = start_trivial(options, stack)
    targets = [
        Target("get", trivial, trivial_port, http_request("GET", "/"), folder),
        Target("authorize", recoup[0], recoup[1], authorize_request(recoup[2], "load"), folder),
    ]
    if options.redis:
        targets.append(Target("redis", *start_redis("redis", folder, stack), folder))
        fsync = ("--appendonly", "yes", "--appendfsync", "always")
        targets.append(Target("redis_fsync", *start_redis("redis_fsync", folder, stack, *fsync), folder))
    for target in targets:
        target.load(options, 500)
    quiet.wait()
    watch, before = quiet.Watch(), sum(cpu_s(target.process) for target in targets)
    for number in range(options.rounds):
        # In turns the other way round, so that nobody is always first.
        for target in targets if number % 2 == 0 else reversed(targets):
            target.rounds.append(target.load(options, options.millis))
    ours = sum(cpu_s(target.process) for target in targets) - before
    elapsed = time.monotonic() - watch.started
    other = max(0.0, quiet.busy_s() - watch.busy - (quiet.own_s() - watch.own) - ours) / elapsed * 100
    return targets, recoup, round(other, 1)


def main():
    release = ROOT / "target" / "release"
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--millis", type=int, default=4_000)
    parser.add_argument("--no-redis", dest="redis", action="store_false")
    parser.add_argument("--bin", default=str(release / "recoup"))
    parser.add_argument("--load", default=str(release / "authorize_load"))
    parser.add_argument("--trivial", default=str(release / "trivial_get"))
    options = parser.parse_args()
    if options.redis and not shutil.which("redis-server"):
        sys.exit("redis-server is missing: apt-get install redis-server, or --no-redis")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        targets, recoup, other = measure(options, folder, stack)
        raced = race(options, folder, recoup)
    get, authorize = targets[:2]
    pairs = list(zip(authorize.rounds, get.rounds))
    rate = statistics.median(ours["per_second"] / theirs["per_second"] for ours, theirs in pairs)
    p50 = statistics.median(ours["p50_ns"] / theirs["p50_ns"] for ours, theirs in pairs)
    result = {"bench": "authorize", "connections": options.connections, "rounds": options.rounds, "millis": options.millis}
    for target in targets:
        result[f"{target.name}_per_s"] = target.median("per_second")
        result[f"{target.name}_p50_us"] = round(target.median("p50_ns") / 1000, 1)
        result[f"{target.name}_p99_us"] = round(target.median("p99_ns") / 1000, 1)
        result[f"{target.name}_cpu_us"] = target.median("cpu_us")
        result[f"{target.name}_load_cpu_us"] = target.median("load_cpu_us")
    result |= {"rate_ratio": round(rate, 3), "p50_ratio": round(p50, 3), "a4": raced, "other_load_percent": other,
               "quiet": other <= quiet.LOAD_PERCENT_MAX,
               "meets_a1": rate >= RATE_RATIO_MIN and p50 <= P50_RATIO_MAX, "meets_a4": raced["overspend"] == 0}
    print(json.dumps(result))
    if raced["overspend"] or not raced["exact"]:
        sys.exit("A4: the budget was overspent, or what is committed is not what was allowed")


if __name__ == "__main__":
    main()
