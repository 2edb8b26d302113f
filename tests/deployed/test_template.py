"""What infra/template.yaml and samplconfig.toml may not say: read as text that is parsed, before anything is deployed."""

import copy
import json
import os
import pathlib
import re
import unittest

import yaml

os.environ["SAM_CLI_TELEMETRY"] = "0"
from samcli.cli.types import CfnParameterOverridesType  # noqa: E402
from samcli.commands.deploy.command import cli as sam_deploy  # noqa: E402
from samcli.commands.validate.validate import cli as sam_validate  # noqa: E402
from samcli.lib.config.samconfig import SamConfig  # noqa: E402

INFRA = pathlib.Path(__file__).resolve().parents[2] / "infra"
ENVIRONMENTS = ("default", "dev", "prod")
# What only whoever deploys knows.
GIVEN_BY_HAND = {"AdminKeyId", "AdminKeyDigest"}
# Actions that AWS lets nobody restrict to a resource, and whose statement names nothing else.
WITHOUT_RESOURCE = {
    "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
}


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _short_form)


def load():
    return yaml.load((INFRA / "template.yaml").read_text(), Loader)


def listed(value):
    return value if isinstance(value, list) else [value]


def findings(template):
    """Everything that is wrong with a template, in words."""
    resources = template["Resources"]
    found = []
    for name, resource in resources.items():
        kind, properties = resource["Type"], resource.get("Properties", {})
        check = CHECKS.get(kind)
        if check:
            found += [f"{name}: {wrong}" for wrong in check(name, properties, resource, resources)]
    return found


def holds(condition, parameters):
    """Whether a condition of a rule holds for these parameters."""
    if not isinstance(condition, dict):
        return condition
    [(function, value)] = condition.items()
    if function == "Ref":
        return parameters[value]
    values = [holds(one, parameters) for one in value]
    return {"Fn::Not": lambda: not values[0], "Fn::Equals": lambda: values[0] == values[1]}[function]()


def refusals(template, **given):
    """What the rules of a template say to some parameters; the others have their defaults."""
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    parameters = {**defaults, **given}
    applied = [rule for rule in template["Rules"].values() if holds(rule.get("RuleCondition", True), parameters)]
    assertions = [assertion for rule in applied for assertion in rule["Assertions"]]
    return [one["AssertDescription"] for one in assertions if not holds(one["Assert"], parameters)]


def configured(environment, command="deploy"):
    """What SAM reads for a command from samplconfig.toml with this `--config-env`."""
    return SamConfig(INFRA.parent, "samplconfig.toml").get_all([command], "parameters", environment)


def overrides(text):
    """Parameters of a template as SAM reads them."""
    return CfnParameterOverridesType().convert(text, None, None)


def unfit(template, given):
    """Everything that is wrong with parameters that are given to a template, in words."""
    found = [f"{name} has no default" for name, one in template["Parameters"].items() if "Default" not in one and name not in given]
    for name, value in given.items():
        parameter = template["Parameters"].get(name)
        found += [f"{name}: {wrong}" for wrong in _unfit_value(parameter, value)] if parameter else [f"{name} is no parameter"]
    return found + refusals(template, **given)


def _unfit_value(parameter, value):
    if value not in map(str, parameter.get("AllowedValues", [value])):
        yield f"{value} is not among its values"
    if not re.fullmatch(parameter.get("AllowedPattern", ".*"), value):
        yield f"{value} is not of its form"
    if parameter["Type"] == "Number":
        if not re.fullmatch("-?[0-9]+", value):
            yield f"{value} is no number"
        elif not parameter.get("MinValue", int(value)) <= int(value) <= parameter.get("MaxValue", int(value)):
            yield f"{value} is out of range"


def _role(_name, properties, _resource, _resources):
    if properties.get("ManagedPolicyArns"):
        yield "a managed policy grants more than is written here"
    for policy in properties.get("Policies", []):
        yield from _rights(policy["PolicyDocument"])


def _policy(_name, properties, _resource, _resources):
    yield from _rights(properties["PolicyDocument"])


def _rights(document):
    for statement in document["Statement"]:
        actions = listed(statement["Action"])
        yield from (f"wildcard action {action}" for action in actions if "*" in action)
        if "*" in listed(statement["Resource"]) and not set(actions) <= WITHOUT_RESOURCE:
            yield f"wildcard resource for {sorted(set(actions) - WITHOUT_RESOURCE)}"


def _table(name, properties, resource, _resources):
    if name == "BooksTable" and properties.get("TimeToLiveSpecification") != {"AttributeName": "x", "Enabled": True}:
        yield "what expires stays for ever"
    if not properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield "no point-in-time recovery"
    if not properties.get("SSESpecification", {}).get("SSEEnabled"):
        yield "not encrypted under a key of the account"
    if properties.get("BillingMode") != "PAY_PER_REQUEST":
        yield "not on demand"
    if not resource.get("DeletionPolicy", "").startswith("Retain") or resource.get("UpdateReplacePolicy") != "Retain":
        yield "deleted with the stack"
    if "DeletionProtectionEnabled" not in properties:
        yield "not protected against deletion"


def _bucket(name, properties, resource, resources):
    public = properties.get("PublicAccessBlockConfiguration", {})
    if len(public) != 4 or not all(public.values()):
        yield "public"
    if not properties.get("BucketEncryption"):
        yield "not encrypted"
    if properties.get("VersioningConfiguration", {}).get("Status") != "Enabled" or not properties.get("ObjectLockEnabled"):
        yield "not versioned under Object Lock"
    if not resource.get("DeletionPolicy", "").startswith("Retain"):
        yield "deleted with the stack"
    policies = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::S3::BucketPolicy"]
    statements = [s for p in policies if p["Bucket"] == {"Ref": name} for s in p["PolicyDocument"]["Statement"]]
    denied = json.dumps([s for s in statements if s["Effect"] == "Deny"])
    if "aws:SecureTransport" not in denied:
        yield "without TLS"
    if "s3:if-none-match" not in denied:
        yield "statements can be written twice (CLO-3)"
    if any(s["Effect"] == "Allow" and s["Principal"] == "*" for s in statements):
        yield "public by its policy"


def _encrypted_topic(_name, properties, _resource, _resources):
    if not properties.get("KmsMasterKeyId"):
        yield "not encrypted"


def _rule(_name, properties, _resource, _resources):
    for target in properties["Targets"]:
        if not target.get("DeadLetterConfig"):
            yield "nowhere to go"


def _queue(_name, properties, _resource, _resources):
    if not (properties.get("SqsManagedSseEnabled") or properties.get("KmsMasterKeyId")):
        yield "not encrypted"


def _function(name, properties, _resource, resources):
    group = properties.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
    if resources.get(group, {}).get("Type") != "AWS::Logs::LogGroup":
        yield "no log group of its own"
    if "Role" not in properties or "Policies" in properties:
        yield "no role of its own"
    for metric in ("Errors", "Throttles"):
        if not any(_watches(one, metric, name) for one in resources.values()):
            yield f"no alarm for {metric}"


def _watches(resource, metric, function):
    properties = resource.get("Properties", {})
    return (
        resource["Type"] == "AWS::CloudWatch::Alarm"
        and properties["MetricName"] == metric
        and any(dimension["Value"] == {"Ref": function} for dimension in properties["Dimensions"])
        and bool(properties.get("AlarmActions"))
    )


def _log_group(_name, properties, _resource, _resources):
    if "RetentionInDays" not in properties:
        yield "kept for ever"


def _mapping(_name, properties, _resource, resources):
    if properties.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        yield "a failed record fails its batch"
    source = resources.get(str(properties["EventSourceArn"].get("Fn::GetAtt", "")).partition(".")[0])
    if source and source["Type"] == "AWS::SQS::Queue":
        if not source["Properties"].get("RedrivePolicy"):
            yield "what fails again and again has nowhere to go"
        return
    for wanted in ("BisectBatchOnFunctionError", "MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "DestinationConfig"):
        if not properties.get(wanted):
            yield f"no {wanted}: one record can stop a shard for a day"


def _schedule(_name, properties, _resource, _resources):
    if "ScheduleExpressionTimezone" not in properties:
        yield "in UTC, not in the organisation's time zone"


CHECKS = {
    "AWS::IAM::Policy": _policy,
    "AWS::IAM::Role": _role,
    "AWS::DynamoDB::Table": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::SNS::Topic": _encrypted_topic,
    "AWS::SQS::Queue": _queue,
    "AWS::Serverless::Function": _function,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::Events::Rule": _rule,
}

# How each rule is broken, and what has to be said then.
BREAKS = [
    ("IngestRole", ("Policies", 0, "PolicyDocument", "Statement", 0, "Action"), ["dynamodb:*"], "wildcard action"),
    ("IngestRole", ("Policies", 0, "PolicyDocument", "Statement", 0, "Resource"), "*", "wildcard resource"),
    ("BooksTable", ("PointInTimeRecoverySpecification",), {}, "point-in-time"),
    ("BooksTable", ("TimeToLiveSpecification",), {}, "stays for ever"),
    ("EventsTable", ("SSESpecification",), {}, "not encrypted"),
    ("DocumentsBucket", ("BucketEncryption",), None, "not encrypted"),
    ("DocumentsBucket", ("PublicAccessBlockConfiguration", "BlockPublicPolicy"), False, "public"),
    ("DocumentsPolicy", ("PolicyDocument", "Statement"), [], "CLO-3"),
    ("AlertsTopic", ("KmsMasterKeyId",), None, "not encrypted"),
    ("DeadLetters", ("SqsManagedSseEnabled",), False, "not encrypted"),
    ("RollupFunction", ("LoggingConfig",), {}, "no log group"),
    ("CloseErrorsAlarm", ("AlarmActions",), [], "no alarm for Errors"),
    ("ApiLogs", ("RetentionInDays",), "gone", "kept for ever"),
    ("Stream", ("DestinationConfig",), None, "no DestinationConfig"),
    ("NotifyQueue", ("RedrivePolicy",), None, "nowhere to go"),
    ("NightEnded", ("Targets", 0, "DeadLetterConfig"), None, "nowhere to go"),
    ("SlackPolicy", ("PolicyDocument", "Statement", 0, "Resource"), "*", "wildcard resource"),
]


class Template(unittest.TestCase):
    def test_nothing_is_wrong_with_it(self):
        self.assertEqual(findings(load()), [])

    def test_each_rule_notices_what_it_is_for(self):
        for name, path, value, wanted in BREAKS:
            with self.subTest(resource=name, path=path):
                template = copy.deepcopy(load())
                at = template["Resources"][name]["Properties"]
                for step in path[:-1]:
                    at = at[step]
                if value == "gone":
                    del at[path[-1]]
                else:
                    at[path[-1]] = value
                self.assertTrue(any(wanted in finding for finding in findings(template)), findings(template))

    def test_every_function_is_built_by_this_workspace(self):
        binaries = {path.stem for path in (INFRA.parent / "functions/lambda/src/bin").glob("*.rs")}
        functions = [r["Properties"] for r in load()["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
        self.assertEqual({one["CodeUri"] for one in functions}, {f"../target/lambda/{name}/" for name in binaries})

    def test_a_sender_without_its_domain_is_refused_before_anything_is_deployed(self):
        template = load()
        mail = {"MailFrom": "recoup@example.com", "MailDomain": "example.com"}
        for allowed in ({}, mail, {"MailDomain": "example.com"}):
            self.assertEqual(refusals(template, **allowed), [], allowed)
        [words] = refusals(template, MailFrom=mail["MailFrom"])
        self.assertIn("MailFrom is given without MailDomain", words)

    def test_every_variable_is_one_that_a_function_reads(self):
        sources = "".join(path.read_text() for path in (INFRA.parent / "functions/lambda/src").rglob("*.rs"))
        read = set(re.findall(r'"(RECOUP_[A-Z_]+)"', sources))
        functions = [r["Properties"] for r in load()["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
        given = {name for one in functions for name in one["Environment"]["Variables"] if name.startswith("RECOUP_")}
        self.assertEqual(given, read)

    def test_a_simulation_can_change_no_figure(self):
        [policy] = load()["Resources"]["SimulateRole"]["Properties"]["Policies"]
        writing = [
            one for one in policy["PolicyDocument"]["Statement"]
            if any(re.match("dynamodb:(Put|Update|Delete|BatchWrite|Partiql)", action) for action in one["Action"])
        ]
        allowed = [one["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] for one in writing]
        self.assertEqual(allowed, [["simulations", "simulations/*"], ["@pending", "@log", "@days", "@day#*"]])

    def test_the_deployment_that_is_written_down_keeps_what_production_is_configured_with(self):
        wanted = overrides(configured("prod")["parameter_overrides"])
        self.assertEqual(wanted["ObjectLockMode"], "COMPLIANCE")
        for page in ("README.md", "infra/README.md"):
            told = re.search('--parameter-overrides "([^"]+)"', (INFRA.parent / page).read_text()).group(1)
            told = overrides(told.replace("\\\n", " "))
            self.assertLessEqual(wanted.items(), told.items(), page)
            self.assertLessEqual(GIVEN_BY_HAND, set(told), page)

    def test_each_environment_of_the_configuration_is_one_that_the_template_takes(self):
        self.assertEqual(SamConfig(INFRA.parent, "samplconfig.toml").get_stage_configuration_names(), list(ENVIRONMENTS))
        by_hand = {"AdminKeyId": "0123456789ab", "AdminKeyDigest": "0" * 64}
        self.assertEqual(set(by_hand), GIVEN_BY_HAND)
        for environment in ENVIRONMENTS:
            with self.subTest(environment=environment):
                given = configured(environment)
                parameters = overrides(given["parameter_overrides"])
                self.assertEqual(unfit(load(), parameters | by_hand), [])
                stage = parameters["StageName"]
                self.assertEqual(stage, {"default": "dev"}.get(environment, environment))
                self.assertEqual((given["stack_name"], given["tags"]), (f"recoup-{stage}", f"product=recoup stage={stage}"))
                for command, options in (("deploy", sam_deploy), ("validate", sam_validate)):
                    # SAM passes over what it does not know.
                    known = {option.name for option in options.params}
                    self.assertEqual(set(configured(environment, command)) - known - {"stack_name"}, set(), command)
                    template = INFRA.parent / configured(environment, command)["template_file"]
                    self.assertEqual(template, INFRA / "template.yaml")

    def test_parameters_that_the_template_does_not_take_are_named(self):
        right = {"AdminKeyId": "0123456789ab", "AdminKeyDigest": "0" * 64}
        for wrong, wanted in (
            ({"Stage": "dev"}, "Stage is no parameter"),
            ({"LogDays": "8"}, "8 is not among its values"),
            ({"LogDays": "long"}, "long is no number"),
            ({"RetentionDays": "0"}, "0 is out of range"),
            ({"ObjectLockMode": "compliance"}, "compliance is not among its values"),
            ({"StageName": "Prod"}, "Prod is not of its form"),
            ({"AdminKeyDigest": "recoup"}, "recoup is not of its form"),
            ({"MailFrom": "recoup@example.com"}, "MailFrom is given without MailDomain"),
        ):
            self.assertIn(wanted, " ".join(unfit(load(), right | wrong)))
        self.assertEqual(unfit(load(), {}), ["AdminKeyId has no default", "AdminKeyDigest has no default"])

    def test_whatever_ends_a_simulation_without_an_answer_is_noted(self):
        resources = load()["Resources"]
        rule = resources["SimulationEnded"]["Properties"]
        detail = rule["EventPattern"]["detail"]
        self.assertEqual(detail["stateMachineArn"], [{"Ref": "SimulationMachine"}])
        self.assertEqual(set(detail["status"]), {"ABORTED", "FAILED", "TIMED_OUT"})
        [target] = rule["Targets"]
        self.assertEqual(target["Arn"], {"Fn::GetAtt": "SimulateFunction.Arn"})
        told = target["InputTransformer"]
        self.assertEqual(told["InputPathsMap"], {"run": "$.detail.name", "status": "$.detail.status"})
        step = json.loads(re.sub("<[a-z]+>", '"x"', told["InputTemplate"]))
        self.assertEqual((step["step"], set(step)), ("failed", {"step", "run", "error", "cause"}))
        may = resources["SimulationEndedPermission"]["Properties"]
        self.assertEqual(may["SourceArn"], {"Fn::GetAtt": "SimulationEnded.Arn"})

    def test_whatever_ends_a_night_or_a_close_without_an_answer_is_told(self):
        resources = load()["Resources"]
        for name, function in (("Night", "NightlyFunction"), ("Close", "CloseFunction")):
            rule = resources[f"{name}Ended"]["Properties"]
            detail = rule["EventPattern"]["detail"]
            self.assertEqual(detail["stateMachineArn"], [{"Ref": f"{name}Machine"}])
            self.assertEqual(set(detail["status"]), {"ABORTED", "FAILED", "TIMED_OUT"})
            [target] = rule["Targets"]
            self.assertEqual(target["Arn"], {"Fn::GetAtt": f"{function}.Arn"})
            told = target["InputTransformer"]
            self.assertEqual(told["InputPathsMap"], {"name": "$.detail.name", "start": "$.detail.startDate", "status": "$.detail.status"})
            step = json.loads(re.sub("<[a-z]+>", '"x"', told["InputTemplate"]))
            self.assertEqual((step["step"], set(step)), ("failed", {"step", "execution", "started_ms", "error", "cause"}))
            may = resources[f"{name}EndedPermission"]["Properties"]
            self.assertEqual(may["SourceArn"], {"Fn::GetAtt": f"{name}Ended.Arn"})

    def test_each_step_of_a_machine_tries_again_and_ends_in_a_failure_that_is_recorded(self):
        for name in ("night", "close", "simulation"):
            machine = json.loads((INFRA / f"{name}.asl.json").read_text())
            self.assertGreater(machine["TimeoutSeconds"], 4 * 900, name)
            states = machine["States"]
            for state_name, state in states.items():
                with self.subTest(machine=name, state=state_name):
                    if state["Type"] == "Task":
                        self.assertTrue(all("JitterStrategy" in retry for retry in state["Retry"]))
                        self.assertTrue(state["TimeoutSeconds"])
                    if state["Type"] in ("Task", "Map"):
                        wanted = "GiveUp" if state_name == "Failed" else "Failed"
                        self.assertEqual([catch["Next"] for catch in state["Catch"]], [wanted])
            self.assertEqual(states["GiveUp"]["Type"], "Fail")

    def test_a_night_is_settled_in_as_many_steps_as_it_takes(self):
        states = json.loads((INFRA / "night.asl.json").read_text())["States"]
        self.assertEqual(states["Settle"]["Next"], "Settled")
        [again] = states["Settled"]["Choices"]
        self.assertEqual((again["Condition"], again["Next"]), ("{% $exists($states.input.left) %}", "Settle"))
        self.assertEqual(states["Settled"]["Default"], "Done")
        self.assertIn("'run': $states.input.run", states["Settle"]["Arguments"]["Payload"])


if __name__ == "__main__":
    unittest.main()
