#!/usr/bin/env python3
"""Deploys infra/template.yaml to an emulator of AWS and runs a month through it, beside the one-machine product.

    run.py FOLDER      FOLDER is emptied; the binaries `recoup` and those of recoup-lambda were built (dev profile)

Every step says what it took. A failure shows what the functions logged.
"""

import base64
import contextlib
import datetime
import decimal
import itertools
import json
import pathlib
import platform
import re
import shutil
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.request

import boto3

from emulator import Emulator, REGION
from gateway import Gateway

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/fixtures"), str(ROOT / "functions/agents")]
import fake_slack  # noqa: E402
import recoup_kill  # noqa: E402

RECOUP = ROOT / "target/debug/recoup"
FIXTURES = ROOT / "tests/fixtures"
FUNCTIONS = ("ingest", "rollup", "authorize", "watch", "nightly", "close", "simulate", "api", "notify")
STACK = "recoup-test"
# Who leads the team in Slack.
LEAD = "U17"
MONTH = "2026-10"
PATIENCE_S = 120
EVENTS_PER_REQUEST = 50
# Lines of a function's log that a failure does not show, and how many of the others it shows.
ROUTINE = ("START ", "END ", "REPORT ")
LINES_SHOWN = 12
# What partitions of the books begin with that nights and closes write.
FIGURES = ("nights", "facts", "settled", "periods", "period", "runs", "organisation", "catalogue", "prices")
# How SAM deploys, by environment.
CONFIGURED = tomllib.loads((ROOT / "samplconfig.toml").read_text())
# What runtimes that obey subscribe with, and everything else.
KILL, OTHERS = {"kind": ["kill"]}, {"kind": [{"anything-but": ["kill"]}]}
# Conditions that the emulator does not know: it has no `s3:if-none-match`, so the statement would deny every put.
NOT_EMULATED = ("OnlyOnce",)


class Failed(Exception):
    """A check that does not hold."""


def check(holds, said):
    if not holds:
        raise Failed(said)


def run(command, *, env=None, codes=(0,), stdin=None):
    """Runs a program to its end; its output."""
    done = subprocess.run([str(part) for part in command], env=env, cwd=ROOT, input=stdin, capture_output=True, timeout=600)
    if codes is not None and done.returncode not in codes:
        shown = (done.stdout + done.stderr).decode(errors="replace")[-6000:]
        words = [str(part) for part in command if not str(part).startswith("recoup_")]
        raise Failed(f"{' '.join(words)[:300]} ended with {done.returncode}:\n{shown}")
    return done


def until(what, look, patience_s=PATIENCE_S):
    """Looks again and again until there is something to see."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen
        time.sleep(0.5)
    raise Failed(f"{what}: not within {patience_s} s")


class Runtime:
    """A runtime with work of three kinds, which obeys the first message of its queue."""

    def __init__(self, sqs, queue):
        self.stopped, self.running, switch = [], contextlib.ExitStack(), recoup_kill.KillSwitch()
        work = {
            "work of the team": ({"team": "support", "agent": "writer"}, False),
            "critical work of the team": ({"team": "support", "agent": "pager"}, True),
            "work of another team": ({"team": "marketing", "agent": "writer"}, False),
        }
        for name, (tags, critical) in work.items():
            self.running.enter_context(switch.running(tags, lambda _, name=name: self.stopped.append(name), critical))
        self.thread = switch.obey_in_background(itertools.islice(recoup_kill.sqs_messages(sqs, queue), 1))


class Deployed:
    """The steps, in order; each is a method and sees what those before it found."""

    def __init__(self, emulator, folder):
        self.emulator, self.folder = emulator, folder
        self.env = emulator.environment()
        self.session = boto3.Session("test", "test", region_name=REGION)
        self.admin = self.outputs = self.gateway = None
        self.data = folder / "one-machine"
        _, self.slack = fake_slack.start(log=str(folder / "slack.ndjson"))

    def aws(self, service):
        return self.session.client(service, endpoint_url=self.emulator.url, verify=str(self.emulator.certificate))

    # -- Deploying.

    def package(self):
        for name in FUNCTIONS:
            place = ROOT / "target/lambda" / name
            place.mkdir(parents=True, exist_ok=True)
            run(["strip", "-o", place / "bootstrap", ROOT / "target/debug" / name])

    def deploy(self):
        made = json.loads(run([RECOUP, "keys", "make-admin", "--json"]).stdout)
        self.admin = made["key"]
        self.aws("s3").create_bucket(Bucket="deployments")
        secret = {"bot_token": self.slack.token, "signing_secret": self.slack.secret}
        secret = self.aws("secretsmanager").create_secret(Name="recoup-slack", SecretString=json.dumps(secret))
        self.aws("sesv2").create_email_identity(EmailIdentity="example.com")
        architecture = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
        self.own = f"Architecture={architecture} AdminKeyId={made['id']} AdminKeyDigest={made['digest']} PartsAtOnce=2"
        self.own += f" SlackSecretArn={secret['ARN']} SlackApiUrl={self.slack.url}/api"
        self.own += " MailFrom=recoup@example.com MailDomain=example.com"
        run(self.sam("dev", STACK), env=self.env)
        stack = self.aws("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        self.as_configured("dev", stack)
        self.outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        print(f"     {len(self.resources())} resources, {stack['StackStatus']}")

    def sam(self, environment, stack):
        """A deployment as samplconfig.toml has it, but for what the emulator has no other of. Parameters on the command line take the
        place of those in the file, so those are named as well."""
        overrides = f"{CONFIGURED[environment]['deploy']['parameters']['parameter_overrides']} {self.own}"
        return [
            pathlib.Path(sys.executable).parent / "sam", "deploy", "--config-file", ROOT / "samplconfig.toml",
            "--config-env", environment, "--stack-name", stack, "--no-resolve-s3", "--s3-bucket", "deployments",
            "--no-confirm-changeset", "--no-progressbar", "--region", REGION, "--parameter-overrides", overrides,
        ]

    def as_configured(self, environment, deployed):
        """A stack, or what would become one, has the parameters and tags of an environment of samplconfig.toml."""
        wanted = CONFIGURED[environment]["deploy"]["parameters"]
        pairs = lambda text: dict(pair.split("=", 1) for pair in text.split())
        parameters = {one["ParameterKey"]: one["ParameterValue"] for one in deployed["Parameters"]}
        tags = {one["Key"]: one["Value"] for one in deployed["Tags"]}
        check(pairs(wanted["parameter_overrides"]).items() <= parameters.items(), f"parameters of {environment}: {parameters}")
        check(pairs(wanted["tags"]).items() <= tags.items(), f"tags of {environment}: {tags}")

    def resources(self):
        pages = self.aws("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
        return {one["LogicalResourceId"]: one for page in pages for one in page["StackResourceSummaries"]}

    def relax(self):
        s3 = self.aws("s3")
        policy = json.loads(s3.get_bucket_policy(Bucket=self.outputs["Bucket"])["Policy"])
        sids = {statement["Sid"] for statement in policy["Statement"]}
        check({"OnlyTls", "OnlyOnce"} <= sids, f"the bucket's policy was not deployed whole: {sids}")
        policy["Statement"] = [one for one in policy["Statement"] if one["Sid"] not in NOT_EMULATED]
        s3.put_bucket_policy(Bucket=self.outputs["Bucket"], Policy=json.dumps(policy))
        # It asks for the right to send e-mail of everybody and not of one identity.
        iam, role = self.aws("iam"), self.resources()["NotifyRole"]["PhysicalResourceId"]
        [mail] = iam.get_role_policy(RoleName=role, PolicyName="mail")["PolicyDocument"]["Statement"]
        check(mail["Resource"].endswith(":identity/example.com"), f"the right to send e-mail: {mail}")
        anybody = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": mail["Action"], "Resource": "*"}]}
        iam.put_role_policy(RoleName=role, PolicyName="not-emulated", PolicyDocument=json.dumps(anybody))
        # Its CloudFormation does not know ObjectLockEnabled; test_template.py looks for it.
        enabled = {"ObjectLockEnabled": "Enabled"}
        s3.put_object_lock_configuration(Bucket=self.outputs["Bucket"], ObjectLockConfiguration=enabled)
        check(s3.get_bucket_versioning(Bucket=self.outputs["Bucket"])["Status"] == "Enabled", "the bucket has no versions")

    def listen(self):
        api = next(one for one in self.aws("apigatewayv2").get_apis()["Items"] if one["Name"] == STACK)
        return Gateway(self.emulator, f"{api['ApiId']}.execute-api.localhost:{self.emulator.port}")

    def recoup(self, *words, codes=(0,)):
        return run([RECOUP, "--server", self.gateway.url, "--key", self.admin, "--json", *words], codes=codes)

    def local(self, *words, codes=(0,)):
        return run([RECOUP, "--data", self.data, *words], codes=codes)

    def ask(self, method, path, body=b"", key=None, content_type="application/json"):
        headers = {"Authorization": f"Bearer {key or self.admin}", "Content-Type": content_type}
        status, answered, content = self.gateway.send(method, path, headers, body)
        return status, {name.lower(): value for name, value in answered}, content

    def answer(self, path):
        status, _, content = self.ask("GET", path)
        check(status == 200, f"GET {path}: {status} {content[:500]!r}")
        return json.loads(content)

    # -- Using it.

    def doors(self):
        status, _, content = self.gateway.send("GET", "/healthz", {})
        check(status == 200, f"/healthz: {status} {content[:500]!r}")
        status, _, _ = self.gateway.send("POST", "/v1/events", {}, b"{}")
        check(status == 401, f"an event without a key: {status}")
        status, _, content = self.gateway.send("GET", "/v1/nothing", {"Authorization": f"Bearer {self.admin}"})
        check(status == 404 and b"urn:recoup:problem" in content, f"an unknown path: {status} {content[:300]!r}")

    def organise(self):
        told = '[alerts]\nfinops_slack_channel = "#finops"\nfinops_email = "finops@example.com"\n\n[[teams]]'
        organisation = (FIXTURES / "organisation.toml").read_text().replace("[[teams]]", told, 1)
        organisation = organisation.replace('role = "lead"', f'role = "lead"\nslack = "{LEAD}"', 1)
        check(LEAD in organisation and "[alerts]" in organisation, "the organisation file has no lead")
        place = self.folder / "organisation.toml"
        place.write_text(organisation)
        elsewhere = self.folder / "elsewhere.toml"
        elsewhere.write_text(re.sub('time_zone = "[^"]+"', 'time_zone = "Asia/Tokyo"', organisation))
        told = lambda said: (said.stdout + said.stderr).decode()
        said = told(self.recoup("apply", elsewhere, "--dry-run"))
        check("deploy it with TimeZone=Asia/Tokyo" in said, f"another time zone: {said}")
        said = told(self.recoup("apply", place))
        check("TimeZone" not in said, f"the time zone of the schedules: {said}")
        self.local("apply", place)
        made = json.loads(self.recoup("keys", "create", "--role", "ingest").stdout)
        self.ingest_key = made["key"]

    def rights(self):
        iam = self.aws("iam")
        role = self.resources()["IngestRole"]["PhysicalResourceId"]
        policy = iam.get_role_policy(RoleName=role, PolicyName="ingest")["PolicyDocument"]
        event = b'{"event_id": "refused", "used_at": "2026-10-20T10:00:00Z", "kind": "tool"}'
        iam.delete_role_policy(RoleName=role, PolicyName="ingest")
        status, _, content = self.ask("POST", "/v1/events", event, self.ingest_key)
        iam.put_role_policy(RoleName=role, PolicyName="ingest", PolicyDocument=json.dumps(policy))
        check(status == 503, f"a function without its rights: {status} {content[:300]!r}")
        kept = self.aws("dynamodb").scan(TableName=self.outputs["Events"], Select="COUNT")["Count"]
        check(kept == 0, "what was not acknowledged was kept")

    def subscribe(self):
        self.ready = self.queue("statements-of-support", {"kind": ["statement-ready"], "team": ["support"]})

    def queue(self, name, wanted, raw=True):
        """A queue behind the topic, of the alerts that are wanted, with or without SNS's envelope."""
        sqs = self.aws("sqs")
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allowed = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        }]}
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(allowed)})
        self.aws("sns").subscribe(TopicArn=self.outputs["Alerts"], Protocol="sqs", Endpoint=arn, Attributes={
            "FilterPolicy": json.dumps(wanted), "RawMessageDelivery": "true" if raw else "false",
        })
        return queue

    def taken(self, queue):
        """What a queue holds, taken out; empty while there is nothing."""
        sqs = self.aws("sqs")
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get("Messages", [])
        for one in found:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
        return [json.loads(one["Body"]) for one in found]

    def held(self, queue):
        """How many messages are in a queue, those that somebody reads included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counted = self.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(counted[name]) for name in names)

    def events(self):
        lines = (FIXTURES / "month.ndjson").read_text().splitlines()
        now = datetime.datetime.now(datetime.timezone.utc)
        today = [json.dumps({
            "event_id": f"now-{number}", "trace_id": f"now-{number}", "used_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "kind": "llm", "tags": {"agent": "writer", "team": "support"}, "provider": "example", "model": "example-large",
            "usage": {"input": 1_000_000}, "status": "ok",
        }) for number in range(3)]
        return lines + today

    def post(self):
        lines = self.events()
        accepted = 0
        for first in range(0, len(lines), EVENTS_PER_REQUEST):
            body = "\n".join(lines[first:first + EVENTS_PER_REQUEST]).encode()
            status, _, content = self.ask("POST", "/v1/events", body, self.ingest_key, "application/x-ndjson")
            check(status == 200, f"POST /v1/events: {status} {content[:800]!r}")
            accepted += json.loads(content)["accepted"]
            if first == 0:
                status, _, content = self.ask("POST", "/v1/events", body, self.ingest_key, "application/x-ndjson")
                again = json.loads(content)
                check(again["accepted"] == 0, f"EVT-2: an exact retry was accepted: {again['accepted']}")
        check(accepted == len(lines), f"{accepted} of {len(lines)} events were accepted")
        self.overlap(lines)
        everything = self.folder / "everything.ndjson"
        everything.write_text("\n".join(lines) + "\n")
        self.local("ingest", everything)
        print(f"     {accepted} events")

    def overlap(self, lines):
        """Events of two requests in a third, and one of them with other content: stored, and nowhere counted again."""
        first = EVENTS_PER_REQUEST // 2
        again = lines[first:first + EVENTS_PER_REQUEST]
        other = json.loads(next(line for line in lines if '"usage"' in line and '"trace_id"' in line))
        other["usage"] = {"input": 77_000_000}
        other["tags"] = other.get("tags", {}) | {"agent": "somebody-else"}
        for body in ("\n".join(again), json.dumps(other)):
            status, _, content = self.ask("POST", "/v1/events", body.encode(), self.ingest_key, "application/x-ndjson")
            check(status == 200 and json.loads(content)["rejected"] == 0, f"an overlap: {status} {content[:800]!r}")

    def too_large(self):
        body = b" " * 5_000_000
        status, _, content = self.ask("POST", "/v1/events", body, self.ingest_key)
        check(status == 413, f"a body of {len(body)} bytes: {status} {content[:300]!r}")

    def posted(self):
        rows = self.answer("/v1/budgets")["rows"]
        return {(row["scope"], row["period"]): row["posted"] for row in rows}

    def counters(self):
        wanted = self.here()
        check(any(float(amount) for amount in wanted.values()), f"nothing is posted on one machine: {wanted}")
        until("counters that the stream moves", lambda: self.posted() == wanted)
        self.before = wanted
        print(f"     {wanted}")

    def redelivery(self):
        table = self.aws("dynamodb").scan(TableName=self.outputs["Events"])["Items"]
        records = [self.record(number, item) for number, item in enumerate(table)]
        reply = self.invoke("rollup", {"Records": records})
        check(not reply.get("batchItemFailures"), f"a redelivery failed: {reply}")
        check(self.posted() == self.before, f"a redelivery changed counters: {self.posted()}")
        print(f"     {len(records)} blocks again")

    # -- Leave to begin.

    def budget(self):
        """The month's budget of the team that asks: limit, posted, reserved."""
        rows = self.answer("/v1/budgets")["rows"]
        row = next(row for row in rows if (row["scope"], row["kind"]) == ("team:support", "month"))
        return [decimal.Decimal(row[name]) for name in ("limit", "posted", "reserved")]

    def leave(self, estimate):
        """Asks for leave to spend so much within this minute and the next."""
        wanted = {
            "tags": {"agent": "writer", "team": "support"}, "estimate": {"amount": str(estimate), "currency": "USD"}, "ttl_s": 60,
        }
        status, _, content = self.ask("POST", "/v1/authorize", json.dumps(wanted).encode(), self.ingest_key)
        check(status == 200, f"POST /v1/authorize: {status} {content[:500]!r}")
        return json.loads(content)

    def authorize(self):
        limit, posted, reserved = self.budget()
        check(reserved == 0, f"something is reserved before anybody asked: {reserved}")
        allowed = self.leave(5)
        held = allowed.get("reservation_id")
        check(allowed["decision"] == "allow" and held, f"there is room, and the answer is {allowed}")
        before = self.budget()[2]
        check(before >= 5, f"a reservation of 5 does not count: {before}")
        event = json.loads(self.events()[-1]) | {"event_id": "leave", "trace_id": "leave", "reservation_id": held}
        status, _, _ = self.ask("POST", "/v1/events", json.dumps(event).encode(), self.ingest_key)
        check(status == 200, f"an event that names it: {status}")
        settled = until("a settled reservation", lambda: self.budget()[2] == before - 5 and self.budget())
        check(settled[1] > posted, f"what it cost is not posted: {settled}")
        self.local("ingest", self.file("leave", event))
        until("counters that are those of one machine", lambda: self.posted() == self.here())
        denied = self.leave(limit)
        by = denied["decided_by"]
        check(denied["decision"] == "deny" and by["reason"] == "budget-exceeded", f"there is no such room: {denied}")
        check(self.budget()[1:] == settled[1:], "a denial took something")
        released = self.leave(3)["reservation_id"]
        before = self.budget()[2]
        status, _, content = self.ask("DELETE", f"/v1/reservations/{released}", key=self.ingest_key)
        check(status == 204, f"a release: {status} {content[:300]!r}")
        check(self.budget()[2] == before - 3, f"a released reservation counts: {self.budget()}")
        status, _, content = self.ask("DELETE", f"/v1/reservations/{released[:-1]}0", key=self.ingest_key)
        check(status in (404, 204), f"a release of nobody's: {status} {content[:300]!r}")
        longer = self.leave(2)["reservation_id"]
        status, _, content = self.ask("POST", f"/v1/reservations/{longer}/extension", b'{"ttl_s": 61}', self.ingest_key)
        check(status == 200, f"an extension: {status} {content[:300]!r}")
        check(self.leave(7)["decision"] == "allow", "nobody will be heard of this one again")
        self.before = self.posted()
        print(f"     limit, posted, reserved: {', '.join(map(str, self.budget()))}")

    def file(self, name, event):
        path = self.folder / f"{name}.ndjson"
        path.write_text(json.dumps(event) + "\n")
        return path

    def here(self):
        budgets = json.loads(self.local("--json", "budgets").stdout)
        rows = budgets["rows"] if isinstance(budgets, dict) else budgets
        return {(row["scope"], row["period"]): row["posted"] for row in rows}

    def swept(self):
        """By the schedule alone: a lease ends, what was recorded before is counted, and its minute has passed."""
        rows = lambda: self.answer("/v1/budgets")["rows"]
        until("leases that ended", lambda: all(decimal.Decimal(row["reserved"]) == 0 for row in rows()), patience_s=420)
        books = self.aws("dynamodb").scan(
            TableName=self.outputs["Books"], FilterExpression="begins_with(pk, :l) OR begins_with(pk, :u)",
            ExpressionAttributeValues={":l": {"S": "@ending#"}, ":u": {"S": "@uncounted#"}},
        )["Items"]
        check(not books, f"what is over still stands: {books}")
        for row in rows():
            check(row["committed"] == row["posted"], f"committed is not what was billed: {row}")

    def record(self, number, item):
        image = {
            name: {kind: base64.b64encode(value).decode() if kind == "B" else value}
            for name, typed in item.items() for kind, value in typed.items()
        }
        change = {
            "ApproximateCreationDateTime": time.time(), "Keys": {"pk": image["pk"], "sk": image["sk"]}, "NewImage": image,
            "SequenceNumber": str(10_000 + number), "SizeBytes": 1, "StreamViewType": "NEW_IMAGE",
        }
        return {
            "eventID": str(number), "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": REGION, "dynamodb": change, "eventSourceARN": "arn:aws:dynamodb:::table/t/stream/s",
        }

    def invoke(self, function, payload):
        reply = self.aws("lambda").invoke(FunctionName=f"{STACK}-{function}", Payload=json.dumps(payload).encode())
        said = json.loads(reply["Payload"].read() or b"null")
        check("FunctionError" not in reply, f"{function}: {said}")
        return said or {}

    def execution(self, machine, before):
        states = self.aws("stepfunctions")

        def ended():
            newest = [
                one for one in states.list_executions(stateMachineArn=self.outputs[machine])["executions"]
                if one["executionArn"] not in before and one["status"] != "RUNNING"
            ]
            return newest and newest[0]

        one = until(f"the end of the state machine {machine}", ended)
        if one["status"] != "SUCCEEDED":
            told = states.describe_execution(executionArn=one["executionArn"])
            raise Failed(f"{machine} {one['status']}: {told.get('error')} {told.get('cause')}")
        return one

    def executions(self, machine):
        states = self.aws("stepfunctions")
        return {one["executionArn"] for one in states.list_executions(stateMachineArn=self.outputs[machine])["executions"]}

    def night(self):
        scheduler = self.aws("scheduler")
        real = scheduler.get_schedule(Name="night", GroupName=STACK)
        # The emulator forgets the time zone; test_template.py looks for it.
        check(real["ScheduleExpression"] == "cron(30 4 * * ? *)", f"the schedule: {real}")
        before = self.executions("Night")
        # The same target, input and role, now instead of at 04:30.
        soon = datetime.datetime.now(datetime.timezone.utc).strftime("at(%Y-%m-%dT%H:%M:%S)")
        scheduler.create_schedule(
            Name="night-now", GroupName=STACK, ScheduleExpression=soon, FlexibleTimeWindow={"Mode": "OFF"},
            Target=real["Target"], ActionAfterCompletion="DELETE",
        )
        self.execution("Night", before)
        self.local("nightly")
        costs = ("costs", "--from", f"{MONTH}-01", "--to", "2026-11-01", "--by", "team,agent,day")
        there, ours = json.loads(self.recoup(*costs).stdout), json.loads(self.local("--json", *costs).stdout)
        check(there == ours, "CLO-5: the costs by team, agent and day are not those of one machine")
        print(f"     started by the scheduler; {len(ours['rows'])} rows of costs are those of one machine")

    def refused(self):
        states = self.aws("stepfunctions")
        started = states.start_execution(stateMachineArn=self.outputs["Close"], input='{"period": "2026-13"}')["executionArn"]
        told = until("a close that cannot be", lambda: self.ended(started))
        check((told["status"], told.get("error")) == ("FAILED", "Refused"), f"{told['status']} {told.get('error')}")
        check("2026-13" in told.get("cause", ""), f"the cause says nothing: {told.get('cause')}")
        failed = [row for row in self.answer("/v1/runs")["rows"] if row["state"] == "failed"]
        check(len(failed) == 1 and "2026-13" in str(failed[0]["error"]), f"the failure stands in no run: {failed}")

    def ended(self, execution):
        told = self.aws("stepfunctions").describe_execution(executionArn=execution)
        return told["status"] != "RUNNING" and told

    def close(self):
        before = self.executions("Close")
        run_record = json.loads(self.recoup("close", MONTH, codes=(0, 1)).stdout or b"{}")
        self.execution("Close", before)
        self.local("close", MONTH)
        closed = self.answer(f"/v1/statements?period={MONTH}")["rows"]
        check(closed, f"no statements were issued: {run_record}")
        self.teams = sorted({row["team"] for row in closed})
        print(f"     statements of {', '.join(self.teams)}")

    def cli(self, *words, codes=(0,)):
        return run([pathlib.Path(sys.executable).parent / "aws", *words], env=self.env, codes=codes)

    def statements(self):
        bucket = self.outputs["Bucket"]
        for team in self.teams:
            key = f"statements/{MONTH}/{team}/r1.json"
            there = self.folder / f"{team}.json"
            self.cli("s3", "cp", f"s3://{bucket}/{key}", there)
            ours = self.local("statement", team, MONTH, "--format", "json").stdout
            check(there.read_bytes() == ours, f"CLO-5: the statement of {team} differs from the one-machine one")
            lock = self.aws("s3").head_object(Bucket=bucket, Key=key)
            check(lock.get("ObjectLockMode") == "GOVERNANCE", f"{key} is not locked: {lock.get('ObjectLockMode')}")
            said = json.loads(self.recoup("verify", there).stdout)
            check(said["holds"], f"the statement of {team}, verified there: {said}")
            check(lock["ObjectLockRetainUntilDate"] > datetime.datetime.now(datetime.timezone.utc), "the lock is over")
        there = self.folder / "manifest.json"
        self.cli("s3", "cp", f"s3://{bucket}/statements/{MONTH}/manifest-r1.json", there)
        ours = next((self.data / "documents").rglob("manifest-r1.json"))
        check(there.read_bytes() == ours.read_bytes(), "CLO-5: the manifest differs from the one-machine one")
        for asked in (("statements", MONTH), ("prices", "tasks")):
            there, ours = json.loads(self.recoup(*asked).stdout), json.loads(self.local("--json", *asked).stdout)
            rows = [{name: value for name, value in row.items() if not name.endswith("_at")} for row in there["rows"]]
            wanted = [{name: value for name, value in row.items() if not name.endswith("_at")} for row in ours["rows"]]
            check(rows == wanted and rows, f"{' '.join(asked)}: {rows}\non one machine {wanted}")
        runs = [row["kind"] for row in json.loads(self.recoup("runs").stdout)["rows"]]
        check({"nightly", "close"} <= set(runs), f"the runs are {runs}")
        print(f"     {len(self.teams)} statements and the manifest are byte for byte those of one machine, and hold")

    def links(self):
        status, headers, _ = self.ask("GET", f"/v1/statements/{MONTH}/support?link=true")
        check(status == 303, f"?link=true: {status}")
        context = ssl.create_default_context(cafile=str(self.emulator.certificate))
        with urllib.request.urlopen(headers["location"], timeout=60, context=context) as reply:
            fetched = reply.read()
        check(fetched == (self.folder / "support.json").read_bytes(), "the link gives something else")

    def simulated(self):
        """Other rules for the month, here and there; what is answered is kept, and nothing else of the books is."""
        def figures():
            pages = self.aws("dynamodb").get_paginator("scan").paginate(TableName=self.outputs["Books"])
            rows = [item for page in pages for item in page["Items"]]
            # Traces, counters and leases move by themselves, and what is told.
            kept = [json.dumps(row, sort_keys=True, default=str) for row in rows if row["pk"]["S"].startswith(FIGURES)]
            return sorted(kept)

        before = figures()
        check(len(before) > 20, f"{len(before)} figures")
        words = ["simulate", "--policy", "variance=absorb", "--policy", "half_life_days=3", "--months", "1"]
        there = json.loads(self.recoup(*words).stdout)
        here = json.loads(self.local("--json", *words).stdout)
        check(there == here, f"one machine simulates {json.dumps(here)[:1500]}\nthe stack {json.dumps(there)[:1500]}")
        check(there["ties"] is True and there["teams"], f"it does not tie: {json.dumps(there)[:600]}")
        check(figures() == before, "a simulation changed a figure (CLO-3)")
        status, _, content = self.ask("POST", "/v1/simulations", json.dumps({"policy": {"agents.nobody.billing": "time"}}).encode())
        check(status == 400, f"a simulation of what there is not: {status} {content[:300]!r}")
        print(f"     {len(there['teams'])} teams, difference {there['totals']['difference']}")

    def stopped(self):
        """A simulation that waits for a night, and whose execution somebody stops."""
        night = self.invoke("nightly", {"step": "plan", "run": "a-night", "through": "yesterday"})
        body = json.dumps({"policy": {"variance": "absorb"}, "months": 1}).encode()
        status, headers, content = self.ask("POST", "/v1/simulations?wait=false", body)
        check(status == 202, f"a simulation: {status} {content[:300]!r}")
        path = headers["location"]
        execution = f"{self.simulations()}:{path.rsplit('/', 1)[1]}"
        check(self.answer(path)["state"] == "running", "it has an answer while a night goes on")
        self.aws("stepfunctions").stop_execution(executionArn=execution)
        started = time.monotonic()
        until("a stopped simulation", lambda: self.answer(path)["state"] != "running")
        record = self.answer(path)
        check(record["state"] == "failed" and "ABORTED" in record["error"], f"a simulation that was stopped: {record}")
        self.end_night(night)
        check(self.answer(path) == record, "a night changed it")
        print(f"     {record['error']}: {time.monotonic() - started:.1f} s after it was stopped")

    def simulations(self):
        """The executions of simulations, but for their names."""
        machine = self.resources()["SimulationMachine"]["PhysicalResourceId"]
        return machine.replace(":stateMachine:", ":execution:")

    def late(self):
        """Events of the closed month, and the night that makes corrections of them: in the next month, as on one machine."""
        ledger = lambda: [json.loads(said.stdout) for said in (self.recoup("ledger", "2026-11"), self.local("--json", "ledger", "2026-11"))]
        corrected = lambda sheet: {row["account"] for row in sheet["rows"] if "correction" in row["account"] and row["amount"] != "0"}
        issued = self.answer(f"/v1/statements?period={MONTH}")
        check(not corrected(ledger()[0]), "something is corrected before anything came late")
        events = [line for line in (FIXTURES / "late.ndjson").read_text().splitlines() if f'"{MONTH}-' in line]
        body = "\n".join(events).encode()
        status, _, content = self.ask("POST", "/v1/events", body, self.ingest_key, "application/x-ndjson")
        check(status == 200 and json.loads(content)["accepted"] == len(events), f"late events: {status} {content[:300]!r}")
        late = self.folder / "late.ndjson"
        late.write_bytes(body + b"\n")
        self.local("ingest", late)
        until("counters of a month that is closed", lambda: self.posted() == self.here())
        before = self.executions("Night")
        self.aws("stepfunctions").start_execution(stateMachineArn=self.outputs["Night"], input='{"through": "yesterday"}')
        self.execution("Night", before)
        self.local("nightly")
        there, ours = ledger()
        check(there == ours, f"CLO-5: the ledger of the next month is {there}\non one machine {ours}")
        accounts = corrected(there)
        check("provider/corrections" in accounts and len(accounts) > 2, f"what came late is not corrected: {there}")
        check(self.answer(f"/v1/statements?period={MONTH}") == issued, "CLO-3: an issued statement has changed")
        print(f"     {len(events)} late events: {', '.join(sorted(accounts))}")

    def told(self):
        def message():
            found = self.aws("sqs").receive_message(
                QueueUrl=self.ready, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            return found.get("Messages")

        messages = until("statement-ready", message)
        for one in messages:
            attributes = {name: value["StringValue"] for name, value in one.get("MessageAttributes", {}).items()}
            check(attributes.get("kind") == "statement-ready", f"the filter let pass: {attributes}")
            check(attributes.get("team") == "support" and attributes.get("period") == MONTH, f"{attributes}")
        print(f"     {json.loads(messages[0]['Body'])}"[:300])

    def overwriting(self):
        bucket, key = self.outputs["Bucket"], f"statements/{MONTH}/support/r1.json"
        forged = self.folder / "forged.json"
        forged.write_text("{}")
        put = ["s3api", "put-object", "--bucket", bucket, "--key", key, "--body", forged]
        once = self.cli(*put, "--if-none-match", "*", codes=None)
        check(once.returncode != 0 and b"PreconditionFailed" in once.stderr, f"put once more: {once.stderr[-300:]}")
        version = self.aws("s3").head_object(Bucket=bucket, Key=key)["VersionId"]
        gone = self.cli("s3api", "delete-object", "--bucket", bucket, "--key", key, "--version-id", version, codes=None)
        check(gone.returncode != 0 and b"AccessDenied" in gone.stderr, f"a locked version was deleted: {gone.stderr[-300:]}")
        plain = self.cli(*put, codes=None)
        said = "refused" if plain.returncode else "taken as a new version (the account's root; AWS denies it by OnlyOnce)"
        locked = self.aws("s3").get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read()
        check(locked == (self.folder / "support.json").read_bytes(), "the issued version has changed")
        print(f"     If-None-Match: 412; deleting the version: AccessDenied; a plain put: {said}; the issued version stands")

    # -- What people hear.

    def in_slack(self, channel, words):
        """The message of a channel that has these words."""
        for message in self.slack.control("/control/messages", None):
            if message["channel"] == channel and words in json.dumps(message["body"], ensure_ascii=False):
                return message
        return None

    def spend(self, name, millions):
        """The team spends so many million tokens at once, on both sides."""
        event = json.loads(self.events()[-1]) | {"event_id": name, "trace_id": name, "usage": {"output": millions * 1_000_000}}
        status, _, content = self.ask("POST", "/v1/events", json.dumps(event).encode(), self.ingest_key)
        check(status == 200 and json.loads(content)["accepted"] == 1, f"an event: {status} {content[:300]!r}")
        self.local("ingest", self.file(name, event))

    def heard(self):
        """Statements and failures of the steps before."""
        until("statements in the team's channel", lambda: self.in_slack("C0SUPPORT", f"{MONTH}"))
        until("a failed close in the channel of FinOps", lambda: self.in_slack("C0FINOPS", "2026-13"))
        to = lambda who: [one for one in self.mail() if who in one["To"]]
        until("an e-mail to FinOps", lambda: to("finops@example.com"))
        letter = until("a statement by e-mail", lambda: to("ana@example.com"))[0]
        wrong = f"neither text nor page: {str(letter)[:600]}"
        check(MONTH in letter["BodyText"] and "<table" in letter["BodyHtml"] and letter["Source"] == "recoup@example.com", wrong)
        print(f"     {len(self.slack.control('/control/messages', None))} messages, {len(self.mail())} e-mails")

    def mail(self):
        context = ssl.create_default_context(cafile=str(self.emulator.certificate))
        with urllib.request.urlopen(f"{self.emulator.url}/_ministack/ses/messages", timeout=10, context=context) as reply:
            said = json.loads(reply.read())
        return [one for sent in said["messages"].values() for one in sent]

    def failed_night(self):
        """A mark that nobody can read: the night fails, people hear of it, and once it is mended the next one runs."""
        table, key = self.outputs["Books"], {"pk": {"S": "dirty"}, "sk": {"S": "/2026-10-05#000"}}
        failures, oncall = self.queue("failed-nights", {"kind": ["night-failed"]}), "oncall@example.com"
        self.aws("sns").subscribe(TopicArn=self.outputs["Alerts"], Protocol="email", Endpoint=oncall, Attributes={
            "FilterPolicy": json.dumps({"kind": ["night-failed"]}),
        })
        self.aws("dynamodb").put_item(TableName=table, Item=key | {"v": {"N": "1"}, "s": {"S": "no mark"}})
        started = self.aws("stepfunctions").start_execution(stateMachineArn=self.outputs["Night"])["executionArn"]
        ended = until("a night that cannot be", lambda: self.ended(started))
        check((ended["status"], ended.get("error")) == ("FAILED", "Refused"), f"{ended['status']} {ended.get('error')}")
        said = self.failure(failures)
        check("2026-10-05" in said["error"], f"the message does not say why: {said}")
        until("a failed night in the channel of FinOps", lambda: self.in_slack("C0FINOPS", said["run"]))
        until("a failed night by e-mail", lambda: [one for one in self.mail() if said["run"] in one["BodyText"]])
        self.read_by_people(self.emulator.emailed(oncall), said["notice"])
        self.aws("dynamodb").delete_item(TableName=table, Key=key)
        stopped = self.stopped_night(failures)
        before = self.executions("Night")
        self.recoup("nightly")
        self.execution("Night", before)
        print(f"     {said['error']}; {stopped['error']}")

    def stopped_night(self, failures):
        """One that waits for another night, and whose execution somebody stops."""
        other = self.invoke("nightly", {"step": "plan", "run": "another-night", "through": "yesterday"})
        started = self.aws("stepfunctions").start_execution(stateMachineArn=self.outputs["Night"])["executionArn"]
        self.aws("stepfunctions").stop_execution(executionArn=started)
        said = self.failure(failures)
        check("ABORTED" in said["error"] and said["run"] != other["run"], f"the message does not say why: {said}")
        self.end_night(other)
        return said

    def failure(self, failures):
        """What a queue is told of a night that failed; it stands in the night's run as well."""
        [said] = until("night-failed in a queue", lambda: self.taken(failures))
        record = next(row for row in self.answer("/v1/runs")["rows"] if row["run"] == said["run"])
        check(record["state"] == "failed" and record["error"] == said["error"], f"the failure stands in no run: {record}")
        return said

    def end_night(self, planned):
        """What is left of a night that was planned by hand."""
        for part in planned["parts"]:
            self.invoke("nightly", {"step": "part"} | part)
        while "left" in self.invoke("nightly", {"step": "settle", "run": planned["run"]}):
            pass

    def read_by_people(self, texts, notice):
        """The one e-mail of a subscription has all of a notice, and nothing that is for programs."""
        check(len(texts) == 1, f"a subscription by e-mail got {len(texts)}")
        lines = texts[0].splitlines()
        wanted = [*notice["summary"].splitlines(), "What to do", *(f"- {step}" for step in notice["next_steps"]), notice["id"]]
        missing = [line for line in wanted if line.replace("`", "") not in lines]
        check(not missing, f"the e-mail lacks {missing}:\n{texts[0]}")
        check(not any(mark in texts[0] for mark in ('"notice"', '{"', "\\n", "</", "`")), f"not for people:\n{texts[0]}")

    def tier(self):
        limit, posted, _ = self.budget()
        # To 92 % of the limit, at 12.50 for a million tokens.
        self.spend("tier", int((limit * decimal.Decimal("0.92") - posted) / decimal.Decimal("12.5")))
        fired = until("the tier in Slack", lambda: self.in_slack("C0SUPPORT", "Budget at 90%"))
        alert = self.button(fired, "acknowledge")
        seen = self.answer(f"/v1/alerts/{alert}")
        check(seen["state"] == "fired" and seen["tier"] == 90, f"the alert behind the button: {seen}")
        click = self.slack.control("/control/click", {"user": LEAD, "action": "acknowledge", "value": alert})
        forged = click["headers"] | {"X-Slack-Signature": "v0=" + "0" * 64}
        status, _, _ = self.gateway.send("POST", "/v1/slack/actions", forged, click["body"].encode())
        check(status == 401, f"a forged signature: {status}")
        check(self.answer(f"/v1/alerts/{alert}")["state"] == "fired", "a forged signature acknowledged an alert")
        status, _, content = self.gateway.send("POST", "/v1/slack/actions", click["headers"], click["body"].encode())
        check(status == 200, f"a button: {status} {content[:300]!r}")
        seen = self.answer(f"/v1/alerts/{alert}")
        check(seen["state"] == "acknowledged" and seen["acknowledged_by"], f"after the button: {seen}")
        changed = lambda: (self.in_slack("C0SUPPORT", "Acknowledged by") or {}).get("updates")
        until("the message that says so", changed)
        told = [row for row in self.answer(f"/v1/alerts/deliveries?limit=1000")["rows"] if row["alert"].startswith(alert)]
        check(told and all(row["state"] == "sent" for row in told), f"somebody was not told: {told}")
        print(f"     {alert} acknowledged by {seen['acknowledged_by']}; {len(told)} deliveries")

    def button(self, message, action):
        blocks = message["body"]["blocks"]
        elements = [one for block in blocks if block["type"] == "actions" for one in block["elements"]]
        found = [one["value"] for one in elements if one["action_id"] == action]
        check(found, f"there is no button {action}: {elements}")
        return found[0]

    def killed(self):
        queues = {"raw": self.queue("kill", KILL), "in an envelope": self.queue("kill-in-an-envelope", KILL, raw=False)}
        unread, others = self.queue("kill-unread", KILL), self.queue("others", OTHERS)
        runtimes = {name: Runtime(self.aws("sqs"), queue) for name, queue in queues.items()}
        limit, posted, _ = self.budget()
        self.spend("kill", int((limit - posted) / decimal.Decimal("12.5")) + 1)
        for name, runtime in runtimes.items():
            runtime.thread.join(PATIENCE_S)
            check(not runtime.thread.is_alive(), f"{name}: no message came to a runtime that obeys")
            check(runtime.stopped == ["work of the team"], f"{name}: what stopped is {runtime.stopped}")
            check(self.held(queues[name]) == 0, f"{name}: a message that was obeyed is still there")
        denied = self.leave(1)
        check(denied["decided_by"]["reason"] == "kill-switch", f"after the kill switch: {denied}")
        until("the kill switch in Slack", lambda: self.in_slack("C0SUPPORT", "Budget at 100%"))
        told = set()
        until("alerts of other kinds", lambda: told.update(one["kind"] for one in self.taken(others)) or "budget-tier" in told)
        check("kill" not in told, f"other kinds: {told}")
        heard = self.taken(unread)
        check([(one["kind"], one["target"]) for one in heard] == [("kill", "team:support")], f"the filter let pass: {heard}")
        check(not any(map(self.held, queues.values())), "a runtime was told once more")
        print(f"     {heard[0]['reason']}; {', '.join(runtimes)}: stopped; not for runtimes: {', '.join(sorted(told))}")

    def told_once(self):
        """The same alerts from the queue again."""
        topic = lambda name: self.in_slack("C0SUPPORT", name)
        before = len(self.slack.control("/control/messages", None))
        alert = self.button(topic("Budget at 100%"), "acknowledge")
        seen = self.answer(f"/v1/alerts/{alert}")
        notice = {"id": alert, "kind": "budget-tier", "severity": "critical", "title": "Budget at 100%", "summary": "again",
                  "audience": ["lead"], "team": seen["team"], "at": seen["fired_at"]}
        body = json.dumps({"id": alert, "kind": "budget-tier", "notice": notice})
        records = [{"messageId": f"m{number}", "body": body} for number in range(3)] + [{"messageId": "bad", "body": "{"}]
        reply = self.invoke("notify", {"Records": records})
        check(not reply.get("batchItemFailures"), f"what comes again failed: {reply}")
        after = self.slack.control("/control/messages", None)
        check(len(after) == before, f"what comes again was told again: {len(after) - before} messages more")
        said = self.dead_letter()
        check(said["key"] == "bad" and said["source"] == "notify", f"the dead letter of what nobody can read: {said}")
        self.before = self.posted()

    def poison(self):
        key = {"pk": {"S": "2026-11-01#000"}, "sk": {"S": "ab" * 32}}
        block = {"b": {"B": b"no block"}, "n": {"N": "1"}, "t": {"N": "0"}}
        self.aws("dynamodb").put_item(TableName=self.outputs["Events"], Item=key | block)
        event = json.loads(self.events()[-1]) | {"event_id": "later", "trace_id": "later"}
        status, _, _ = self.ask("POST", "/v1/events", json.dumps(event).encode(), self.ingest_key)
        check(status == 200, f"an event after it: {status}")
        until("counters after an unreadable block", lambda: self.posted() != self.before)
        said = self.dead_letter()
        check(said["key"] == f"2026-11-01#000/{'ab' * 32}" and said["reason"], f"the dead letter says {said}")
        print(f"     {said}")

    def dead_letter(self):
        """The next one, taken out."""
        sqs, queue = self.aws("sqs"), self.outputs["DeadLetterQueue"]
        letter = until("a dead letter", lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages"))[0]
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter["ReceiptHandle"])
        return json.loads(letter["Body"])

    def upgrades(self):
        tables = [self.outputs["Events"], self.outputs["Books"]]
        program = [sys.executable, ROOT / "infra/upgrades/apply.py", *tables]
        counter = {"S": "@counter#6#team:a#2025-01"}
        for shard, count in (("000", "5"), ("001", "-7")):
            item = {"pk": counter, "sk": {"S": shard}, "c": {"N": count}}
            self.aws("dynamodb").put_item(TableName=tables[1], Item=item)
        first = run(program, env=self.env).stdout.decode()
        scan = lambda: sorted(map(json.dumps, self.aws("dynamodb").scan(
            TableName=tables[1], FilterExpression="begins_with(pk, :p)", ExpressionAttributeValues={":p": {"S": "@settings"}},
        )["Items"]))
        before = scan()
        second = run(program, env=self.env).stdout.decode()
        check(scan() == before, "applied twice, an upgrade changed something")
        check(all(one.endswith(":standing") for one in second.split()), f"applied twice, an upgrade says {second.split()}")
        gathered = self.aws("dynamodb").query(
            TableName=tables[1], KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": counter},
        )["Items"]
        sums = [(one["sk"]["S"], one["c"]["N"], one["m"]["N"]) for one in gathered]
        check(sums == [("sum", "-2", "-2")], f"a counter in shards became {sums}")
        print(f"     first: {first.split()}; again: {second.split()}")

    def again(self):
        run(self.sam("dev", STACK), env=self.env)
        check(self.answer(f"/v1/statements?period={MONTH}")["rows"], "deployed again, the statements are gone")

    def production(self):
        """What production would be deployed as: a change set that nobody executes."""
        name = "recoup-planned"
        run([*self.sam("prod", name), "--no-execute-changeset"], env=self.env)
        cloudformation = self.aws("cloudformation")
        [planned] = cloudformation.list_change_sets(StackName=name)["Summaries"]
        planned = cloudformation.describe_change_set(StackName=name, ChangeSetName=planned["ChangeSetName"])
        self.as_configured("prod", planned)
        print(f"     {len(planned['Changes'])} changes, {planned['ExecutionStatus']}")

    def logs(self):
        """What the functions logged, newest last."""
        client = self.aws("logs")
        for name in FUNCTIONS:
            group = f"/aws/lambda/{STACK}-{name}"
            try:
                found = client.filter_log_events(logGroupName=group)["events"]
            except Exception as error:  # whatever hinders it must not hide the failure itself
                print(f"-- {name}: no logs ({error})")
                continue
            print(f"-- {name}: {len(found)} lines")
            said = [one["message"].rstrip() for one in found]
            for line in [line for line in said if not line.startswith(ROUTINE) and "CloudWatchMetrics" not in line][-LINES_SHOWN:]:
                print("  ", line[:600])


STEPS = (
    ("doors", "the API answers, and only to those with a key"),
    ("organise", "organisation and keys"),
    ("rights", "a role without its policy is refused, so the policies are what lets the others work"),
    ("subscribe", "a queue behind the topic"),
    ("post", "a month of events through API Gateway"),
    ("too_large", "a body that is too large"),
    ("counters", "counters of budgets through the stream"),
    ("redelivery", "the same stream records again"),
    ("authorize", "leave to begin: allowed and settled through the stream, denied, released, extended"),
    ("night", "a night by the scheduler"),
    ("refused", "a close that cannot be: a failed execution, and a run that says why"),
    ("close", "the close by its state machine"),
    ("statements", "statements from S3"),
    ("simulated", "a simulation by its state machine: the answer of one machine, and nothing else is written"),
    ("stopped", "a simulation whose execution is stopped has failed"),
    ("late", "late events of the closed month, corrected in the next one by the night"),
    ("links", "a statement by its link"),
    ("told", "statement-ready behind the topic"),
    ("heard", "statements and a failure in Slack and by e-mail"),
    ("failed_night", "a night that fails: a run that says why, a queue, Slack, e-mail, e-mail of the topic; mended, the next one runs"),
    ("tier", "a tier: stream, topic, queue, Slack; its button, and the message that says who pressed it"),
    ("killed", "the kill switch: work stops in runtimes that obey, and no leave to begin"),
    ("told_once", "alerts that come again, and one that nobody can read"),
    ("overwriting", "overwriting a statement"),
    ("poison", "an unreadable block"),
    ("upgrades", "upgrades twice"),
    ("again", "deploying again"),
    ("production", "a change set of what production is configured with"),
    ("swept", "leases that ended, by the schedule of every minute"),
)


def timed(step, what):
    started = time.monotonic()
    print(f"  .. {what}", flush=True)
    step()
    print(f"  ok {what}: {time.monotonic() - started:.1f} s", flush=True)


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with Emulator(folder) as emulator:
        deployed = Deployed(emulator, folder)
        try:
            timed(deployed.package, "packaging")
            timed(deployed.deploy, "sam deploy")
            timed(deployed.relax, "making up for what the emulator does not know: s3:if-none-match, ObjectLockEnabled, identities of SES")
            with deployed.listen() as gateway:
                deployed.gateway = gateway
                for name, what in STEPS:
                    timed(getattr(deployed, name), what)
        except Exception as error:
            print(f"FAILED: {error}", flush=True)
            deployed.logs()
            print("-- the emulator")
            warned = [line for line in emulator.log.read_text(errors="replace").splitlines() if "WARNING" in line or "ERROR" in line]
            print("\n".join(line[:600] for line in warned)[-4000:])
            if not isinstance(error, Failed):
                raise
            return 1
    print("the deployed stack does what one machine does")
    return 0


if __name__ == "__main__":
    sys.exit(main())
