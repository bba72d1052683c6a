#!/usr/bin/env python3
"""Reads the JSON lines of `measure` (lib.sh).

report.py half NAME FILE     half of the most messages a second that NAME reached
report.py table FILE JSON    a Markdown table on standard output, the same figures as JSON into a file
"""

import json
import os
import sys


def runs(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def best(rows):
    """The run that got the most mail through, for each name, in the order they first ran."""
    found = {}
    for row in rows:
        if row["name"] not in found or row["per_second"] > found[row["name"]]["per_second"]:
            found[row["name"]] = row
    return found


def table(rows):
    found = best(rows)
    lines = [
        f"{os.cpu_count()} cores; the best of several rounds; milliseconds from the last byte of a message to its answer.",
        "",
        "| what | messages/s | MB/s | p50 | p90 | p99 | p99.9 | connections | CPU ms/message | memory MB | 2xx | 4xx | 5xx | errors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in found.items():
        answer = row["answer_ms"]
        sent = max(row["messages"], 1)
        lines.append(
            f"| {name} | {row['per_second']:.0f} | {row['mb_per_second']:.1f} "
            f"| {answer['p50']:.2f} | {answer['p90']:.2f} | {answer['p99']:.2f} | {answer['p99.9']:.2f} "
            f"| {row['concurrency']} | {row['server_cpu_ms'] / sent:.3f} | {row['server_pss_kb'] / 1024:.1f} "
            f"| {row['2xx']} | {row['4xx']} | {row['5xx']} | {row['errors']} |"
        )
    lines.append("")
    for ours, theirs in [
        ("gatepost", "amavis"),
        ("gatepost", "clamsmtp"),
        ("gatepost-none", "relay"),
    ]:
        if ours in found and theirs in found:
            times = found[ours]["per_second"] / found[theirs]["per_second"]
            lines.append(f"- {ours} takes {times:.2f} times the mail of {theirs}.")
    return lines, found


def main(arguments):
    match arguments:
        case ["half", name, path]:
            print(f"{best(runs(path))[name]['per_second'] / 2:.1f}")
        case ["table", path, into]:
            lines, found = table(runs(path))
            with open(into, "w", encoding="utf-8") as out:
                json.dump(list(found.values()), out, indent=1)
                out.write("\n")
            print("\n".join(lines))
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
