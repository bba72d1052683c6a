#!/usr/bin/env python3
"""The table of bench/evasion.sh: evasion.py FOLDER RESULTS READERS FILTERS

RESULTS/NAME.found lists what a reader or filter found, FOLDER/manifest.tsv says what the mails are. Readers and filters
are names joined by commas; the first filter is gatepost. Prints the table, writes RESULTS/missed.tsv (file, values, who
reads it) and copies each kind of miss, as an .eml and a .txt, into RESULTS/misses.
"""
import shutil
import sys
from pathlib import Path

# Mails copied.
MOST_KINDS = 300


def main():
    folder, results = Path(sys.argv[1]), Path(sys.argv[2])
    readers, filters = (names.split(",") for names in sys.argv[3:5])
    mails = [line.split("\t") for line in (folder / "manifest.tsv").read_text().splitlines()]
    values = {file: (name, reader.strip()) for file, name, reader in mails}
    found = {name: set((results / f"{name}.found").read_text().split()) & set(values) for name in readers + filters}
    documented = {file for file, (_, reader) in values.items() if reader}
    yielded = documented.union(*(found[reader] for reader in readers))
    print("| who | found | of those that a reader opens |")
    print("|---|---:|---:|")
    print(f"| all | {len(values)} | {len(yielded)} |")
    for name in filters + readers:
        print(f"| {name} | {len(found[name])} | {len(found[name] & yielded)} |")
    ours = found[filters[0]]
    by = {
        file: [reader for reader in readers if file in found[reader]] + ([values[file][1]] if values[file][1] else [])
        for file in sorted(set(values) - ours)
    }
    rows = [f"{file}\t{values[file][0]}\t{', '.join(readers)}\n" for file, readers in by.items()]
    (results / "missed.tsv").write_text("".join(rows))
    misses = results / "misses"
    shutil.rmtree(misses, ignore_errors=True)
    misses.mkdir()
    # Mails in which one thing is odd say most.
    order = sorted((file for file in by if by[file]), key=lambda file: (values[file][0].count(","), file))
    for file in order[:MOST_KINDS]:
        kind = "+".join(values[file][0].split(",")[1:]).replace("/", "-") or "usual"
        if not (misses / f"{kind}.eml").exists():
            shutil.copyfile(folder / file, misses / f"{kind}.eml")
            (misses / f"{kind}.txt").write_text(f"{values[file][0]}\nopened by: {', '.join(by[file])}\n")
    opened = sum(1 for readers in by.values() if readers)
    print(f"\nmissed by {filters[0]}: {len(by)}, of those that a reader opens: {opened}", file=sys.stderr)


main()
