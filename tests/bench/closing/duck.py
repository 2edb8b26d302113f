"""The same month in DuckDB. As a program: `duck.py FOLDER PROGRAM MONTH LINES` runs one close in a process of its own
and prints its seconds and its peak memory in MB; time counts from when the database has been opened."""

import decimal
import json
import os
import subprocess
import sys
import time

import duckdb
import pyarrow

import month as months

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS = os.cpu_count()
# Program -> its database, its SQL files in order.
PROGRAMS = {
    "expert": ("expert", ["expert_by_key.sql", "expert.sql"]),
    "group_by": ("expert", ["expert_by_group.sql", "expert.sql"]),
    "decimal": ("decimal", ["decimal.sql"]),
}


def read(name, **replaced):
    with open(os.path.join(HERE, name)) as file:
        text = file.read()
    for placeholder, value in replaced.items():
        text = text.replace("{%s}" % placeholder, value)
    return text


def connect(folder, database):
    return duckdb.connect(os.path.join(folder, f"{database}.duckdb"),
                          config={"threads": THREADS, "temp_directory": os.path.join(folder, "duckdb-temp")})


def given_prices(month):
    """Prices of one token, with the time from and until which they hold."""
    money = pyarrow.decimal128(38, 12)
    columns = list(zip(*months.prices(month)))
    last = [last or "9999-01-01" for last in columns[3]]
    dates = [pyarrow.array([str(date) for date in dates]).cast(pyarrow.timestamp("us")) for dates in (columns[2], last)]
    amounts = [pyarrow.array([decimal.Decimal(pico).scaleb(-12) for pico in picos], money) for picos in columns[4:]]
    names = ["provider", "model", "valid_from", "valid_to", "input", "cache_read", "output"]
    return pyarrow.table([columns[0], columns[1], *dates, *amounts], names=names)


def given_agents(billing):
    rows = [(agent, None, billing(agent)) for agent in months.AGENTS]
    rows += [(agent, pool, "token") for agent, pool in months.SHARED.items()]
    columns = zip(*rows)
    return pyarrow.table([pyarrow.array(column, pyarrow.string()) for column in columns],
                         names=["agent", "pool", "billing"])


def load(folder, database, month, billing, parquet):
    """Makes the native tables of a program from Parquet files."""
    path = os.path.join(folder, f"{database}.duckdb")
    if os.path.exists(path):
        os.remove(path)
    files = "[" + ", ".join(f"'{os.path.join(folder, name)}.parquet'" for name in parquet) + "]"
    with connect(folder, database) as connection:
        connection.register("given_prices", given_prices(month))
        connection.register("given_agents", given_agents(billing))
        connection.execute(read(f"{'expert' if database == 'expert' else 'decimal'}_load.sql", parquet=files))


def close(folder, program, month, lines, database=None):
    """Runs a program in a process of its own; its seconds and its peak memory in MB."""
    command = [sys.executable, os.path.abspath(__file__), folder, program, month.name, lines]
    output = subprocess.run(command + ([database] if database else []), check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def main(folder, program, month, lines, database=None):
    month = months.Month(month)
    own_database, files = PROGRAMS[program]
    sql = "".join(read(name, lines=lines) for name in files)
    with connect(folder, database or own_database) as connection:
        for name, day in (("first_day", month.first), ("next_day", month.next)):
            connection.execute(f"set variable {name} = date '{day}'")
        started = time.monotonic()
        connection.execute(sql)
        # What recoup calls written is on disk.
        with open(lines, "rb") as file:
            os.fsync(file.fileno())
        seconds = time.monotonic() - started
    print(json.dumps([seconds, peak_mb()]))


def peak_mb():
    """Of this program alone: `getrusage` also counts the process that started it."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) >> 10 for line in file if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
