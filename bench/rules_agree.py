#!/usr/bin/env python3
"""Compares two lists of `file TAB score TAB rules`: SpamAssassin's and ours.

rules_agree.py THEIRS OURS
"""
import collections
import sys


def read(name):
    found = {}
    for line in open(name, errors="replace"):
        parts = line.rstrip("\n").split("\t")
        if len(parts) == 3:
            found[parts[0]] = (float(parts[1]), set(filter(None, parts[2].split(","))))
    return found


theirs, ours = read(sys.argv[1]), read(sys.argv[2])
both = sorted(set(theirs) & set(ours))
if not both:
    sys.exit("no mail is in both lists")
agree = missing = extra = close = 0
rules = collections.Counter()
example = {}
for file in both:
    (their_score, their_rules), (our_score, our_rules) = theirs[file], ours[file]
    agree += len(their_rules & our_rules)
    missing += len(their_rules - our_rules)
    extra += len(our_rules - their_rules)
    close += abs(their_score - our_score) <= 0.1
    for sign, names in (("-", their_rules - our_rules), ("+", our_rules - their_rules)):
        for name in names:
            rules[sign + name] += 1
            example.setdefault(sign + name, file)
total = agree + missing + extra
print(f"{len(both)} mails, {total} hits of either: {100 * agree / max(total, 1):.3f} % agree "
      f"({missing} missing, {extra} too many)")
print(f"score within 0.1: {100 * close / len(both):.2f} % of mails")
for name, count in rules.most_common(40):
    print(f"{count:6} {name:40} {example[name]}")
