"""The close of a month, recoup beside DuckDB; called by tests/bench/close, documented in tests/bench/README.md."""

import argparse
import contextlib
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import duck
import floor
import lines
import month as months
import ours
import quiet

PROGRAMS = ["expert", "group_by", "decimal"]
LATE = ["late-traces", "late-spans"]
# Goals: the expert's time over ours, and a re-close after late traces over a full close.
C1_RATIO, C4_LATE_TRACES = 4, 0.10
STEPS = ["generate", "load", "duckdb", "ours", "late"]


class Bench:
    """One month in one folder."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.month = months.Month(options.month)
        self.result = {"bench": "close", "spans": options.spans, "seed": options.seed, "billing": options.billing,
                       "rounds": options.rounds}
        self.loads = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def billing(self, agent):
        """`mixed` bills every other agent by task."""
        if self.options.billing == "mixed":
            return "task" if int(agent[-2:]) % 2 else "token"
        return self.options.billing

    def generate(self):
        """The spans, once per folder and parameters, and the organisation file."""
        wanted = {"spans": self.options.spans, "seed": self.options.seed, "month": self.month.name}
        if self.counts(wanted) is None:
            counts = months.generate(self.folder, self.month, self.options.spans, self.options.seed)
            for name in ["spans", *LATE]:
                months.write_events(self.folder, name)
            with open(self.path("generated.json"), "w") as file:
                json.dump({"of": wanted, "counts": counts}, file)
        months.write_organisation(self.path("organisation.toml"), self.month, self.billing)

    def counts(self, wanted=None):
        """What was generated; `None` where that was nothing, or something else."""
        with contextlib.suppress(OSError), open(self.path("generated.json")) as file:
            generated = json.load(file)
            if wanted in (None, generated["of"]):
                return generated["counts"]
        return None

    def load(self):
        """Both sides' own stores; not part of any figure."""
        for database in ("expert", "decimal"):
            duck.load(self.folder, database, self.month, self.billing, ["spans"])
        files = self.path("organisation.toml"), self.path("spans.ndjson")
        seconds = ours.load(self.path("loaded"), *files, self.counts())
        size = sum(os.path.getsize(os.path.join(where, name)) for where, _, files in os.walk(self.path("loaded"))
                   for name in files)
        self.result |= {"ingest_s": round(seconds, 2), "stored_mb": size >> 20}

    def measured(self, close, *arguments):
        """Closes a month when nothing else runs, and notes what did."""
        quiet.wait()
        watch = quiet.Watch()
        outcome = close(*arguments)
        self.loads.append(watch.percent())
        return outcome

    def close_rounds(self, with_duckdb, with_ours):
        """The engines in turns; medians."""
        theirs, mine = {program: [] for program in PROGRAMS}, []
        for _ in range(self.options.rounds):
            if with_ours:
                ours.copy(self.path("loaded"), self.path("closed"))
                mine.append(self.measured(ours.close, self.path("closed"), self.month))
            for program in PROGRAMS if with_duckdb else []:
                arguments = (self.folder, program, self.month, self.path(f"{program}.csv"))
                theirs[program].append(self.measured(duck.close, *arguments))
        if with_ours:
            self.result["ours_s"] = median(sum(seconds) for seconds, _ in mine)
            names = [command[0] for command in ours.closing(self.month)]
            self.result["ours_steps_s"] = {name: median(seconds[at] for seconds, _ in mine)
                                           for at, name in enumerate(names)}
            self.result["ours_rounds_s"] = [round(sum(seconds), 3) for seconds, _ in mine]
            self.result["peak_mb"] = max(peak for _, peak in mine)
        for program, rounds in theirs.items():
            if rounds:
                self.result[f"duckdb_{program}_s"] = median(seconds for seconds, _ in rounds)
                self.result[f"duckdb_{program}_mb"] = max(peak for _, peak in rounds)
        for program in PROGRAMS if with_ours and with_duckdb else []:
            self.result[f"ratio_{program}"] = round(self.result[f"duckdb_{program}_s"] / self.result["ours_s"], 2)

    def compare(self):
        """recoup's lines with those of every program."""
        documents = ours.documents(self.path("closed"))
        self.result["lines"] = lines.write_ours(documents, self.month.name, self.path("ours.csv"))
        self.result["lines_equal"] = self.same("ours.csv", [f"{program}.csv" for program in PROGRAMS])

    def same(self, mine, others):
        equal = True
        for other in others:
            for told in lines.differences(self.path(mine), self.path(other)):
                equal = False
                print(f"{mine} / {other}: {told}", file=sys.stderr)
        return equal

    def late(self):
        """A month whose nights have run gets late events; what nights and close then take, of a full close."""
        ours.copy(self.path("loaded"), self.path("nights"))
        ours.run(self.path("nights"), ours.nights())
        for name in LATE:
            ours.copy(self.path("nights"), self.path("arrived"))
            with open(self.path(f"{name}.ndjson")) as events:
                count = sum(1 for _ in events)
            ours.ingest(self.path("arrived"), self.path(f"{name}.ndjson"), count)
            rounds = []
            for _ in range(self.options.rounds):
                ours.copy(self.path("arrived"), self.path("closed-late"))
                rounds.append(self.measured(ours.close, self.path("closed-late"), self.month))
            key = name.replace("-", "_")
            self.result[f"c4_{key}_s"] = median(sum(seconds) for seconds, _ in rounds)
            if "ours_s" in self.result:
                self.result[f"c4_{key}_ratio"] = round(self.result[f"c4_{key}_s"] / self.result["ours_s"], 3)
            self.result[f"c4_{key}_equal"] = self.compare_late(name)
        self.late_floor()

    def late_floor(self):
        """What the statements of the re-closed month take by themselves, and what C4 leaves for all of it where C1 is met."""
        documents = floor.read(ours.documents(self.path("closed-late")))
        rounds = [self.measured(floor.seconds, documents, self.path("floor")) for _ in range(self.options.rounds)]
        self.result |= {"documents_mb": round(sum(map(len, documents)) / 1e6, 1), "documents_floor_s": median(rounds)}
        if "duckdb_expert_s" in self.result:
            room = self.result["duckdb_expert_s"] / C1_RATIO * C4_LATE_TRACES
            self.result["c4_room_at_c1_s"] = round(room, 3)

    def compare_late(self, name):
        """Whether the re-closed month is what SQL makes of all its spans."""
        duck.load(self.folder, name, self.month, self.billing, ["spans", name])
        duck.close(self.folder, "decimal", self.month, self.path(f"{name}.decimal.csv"), database=name)
        lines.write_ours(ours.documents(self.path("closed-late")), self.month.name, self.path(f"{name}.ours.csv"))
        os.remove(self.path(f"{name}.duckdb"))
        return self.same(f"{name}.ours.csv", [f"{name}.decimal.csv"])

    def wants(self, step):
        return step in (self.options.only or STEPS)

    def run(self):
        if self.wants("generate"):
            self.generate()
        if self.counts() is None:
            sys.exit(f"nothing was generated in {self.folder}; run `generate` and `load` with the same --work first")
        self.result |= self.counts()
        if self.wants("load"):
            self.load()
        if self.wants("duckdb") or self.wants("ours"):
            self.close_rounds(self.wants("duckdb"), self.wants("ours"))
        if self.wants("ours") and all(os.path.exists(self.path(f"{program}.csv")) for program in PROGRAMS):
            self.compare()
        if self.wants("late"):
            self.late()
        if self.loads:
            self.result["other_load_percent"] = max(self.loads)
            self.result["quiet"] = max(self.loads) <= quiet.LOAD_PERCENT_MAX
        return self.result


def median(values):
    return round(statistics.median(values), 3)


def read_options():
    parser = argparse.ArgumentParser(prog="tests/bench/close", description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--billing", choices=["task", "token", "mixed"], default="task",
                        help="how every agent is billed; mixed: every other agent by task")
    parser.add_argument("--month", default="2026-06", help="it has to lie within the last 400 days")
    parser.add_argument("--work", help="keep everything in this folder, and use what was generated there before")
    parser.add_argument("--only", action="append", choices=STEPS,
                        help="only this step of a --work folder; may be repeated")
    parser.add_argument("--no-build", action="store_true", help="measure the release binary that is there")
    options = parser.parse_args()
    if options.only and not options.work:
        parser.error("--only needs --work: a step uses what the steps before it left there")
    if months.Month(options.month).next > datetime.date.today():
        parser.error(f"--month {options.month} is not over yet")
    return options


def main():
    options = read_options()
    if not options.no_build:
        subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "recoup"], cwd=ours.ROOT, check=True)
    folder = options.work or tempfile.mkdtemp(prefix="close-", dir=os.path.join(ours.ROOT, "target"))
    os.makedirs(folder, exist_ok=True)
    try:
        result = Bench(options, os.path.abspath(folder)).run()
    finally:
        if not options.work:
            shutil.rmtree(folder)
    if not result.get("quiet", True):
        load = result["other_load_percent"]
        print(f"other load reached {load} % of a core: this run does not count", file=sys.stderr)
    print(json.dumps(result))
    if not all(value for name, value in result.items() if name.endswith("_equal")):
        sys.exit(1)


if __name__ == "__main__":
    main()
