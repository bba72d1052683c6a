#!/usr/bin/env python3
"""Reads the JSON lines of `measure` (lib.sh).

report.py half NAME FILE     half of the most messages a second that NAME reached
report.py table FILE JSON    a Markdown table on standard output, the same figures as JSON into a file
report.py fronts FILE        a Markdown table of fronts, each beside its peer (fronts.sh)
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


# Front, what it is compared with, and how many times its messages are aimed at.
PAIRS = [
    ("milter", "clamav-milter"),
    ("after-queue", "clamsmtp"),
    ("lmtp", "amavis-lmtp"),
    ("am-pdp", "amavis-pdp"),
    ("spamd-check", "peer-spamd-check"),
    ("spamd-process", "peer-spamd-process"),
    ("clamd", "peer-clamd"),
]


def fronts(rows):
    found = best(rows)
    lines = [
        f"{os.cpu_count()} cores; the best of several rounds; milliseconds from the last byte of a message to its answer.",
        "",
        "| what | messages/s | p50 | p90 | p99 | connections | CPU ms/message | memory MB | 2xx | 4xx | 5xx | errors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in found.items():
        answer = row["answer_ms"]
        lines.append(
            f"| {name} | {row['per_second']:.0f} | {answer['p50']:.2f} | {answer['p90']:.2f} | {answer['p99']:.2f} "
            f"| {row['concurrency']} | {row['server_cpu_ms'] / max(row['messages'], 1):.3f} "
            f"| {row['server_pss_kb'] / 1024:.1f} | {row['2xx']} | {row['4xx']} | {row['5xx']} | {row['errors']} |"
        )
    lines += ["", "| front | peer | times its messages | by round |", "|---|---|---:|---|"]
    for ours, theirs in PAIRS:
        if ours in found and theirs in found:
            times = found[ours]["per_second"] / found[theirs]["per_second"]
            lines.append(f"| {ours} | {theirs} | {times:.2f} | {by_round(rows, ours, theirs)} |")
    if "milter" in found and "smtp" in found:
        cost = [found[name]["server_cpu_ms"] / max(found[name]["messages"], 1) for name in ("milter", "smtp")]
        times = found["smtp"]["per_second"] / found["milter"]["per_second"]
        lines += ["", f"- A message by milter takes {times:.2f} times as long as by SMTP and {cost[0] / cost[1]:.2f} times the CPU."]
    return lines


def by_round(rows, ours, theirs):
    """What each round said; within a round both ran one after the other."""
    rates = [[row["per_second"] for row in best_of_rounds(rows, name)] for name in (ours, theirs)]
    return ", ".join(f"{a / b:.2f}" for a, b in zip(*rates))


def best_of_rounds(rows, name):
    rounds = {}
    for row in rows:
        if row["name"] == name:
            at = row.get("round", 0)
            if at not in rounds or row["per_second"] > rounds[at]["per_second"]:
                rounds[at] = row
    return [rounds[at] for at in sorted(rounds)]


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
        case ["fronts", path]:
            print("\n".join(fronts(runs(path))))
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
