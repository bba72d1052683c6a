#!/usr/bin/env python3
"""The table of bench/false_alarms.sh: reads the lines of `gatepost scan --json`; the folder's name is for the reader."""
import collections
import json
import os
import sys

# Of the findings about a message's form, those that say nothing of how it is read: fields left out, and what could not be
# looked into.
NOT_AMBIGUOUS = {
    "MISSING_DATE", "MISSING_FROM", "MISSING_MESSAGE_ID", "ENCRYPTED", "NOT_OPENED", "UNKNOWN_METHOD", "BAD_ARCHIVE",
    "TRUNCATED_ARCHIVE", "EXTERNAL_BODY", "MESSAGE_PARTIAL", "EIGHT_BIT_HEADER",
}  # fmt: skip


def main():
    mails = infected = 0
    with_any = 0
    count = collections.Counter()
    for line in sys.stdin:
        record = json.loads(line)
        mails += 1
        infected += record["category"] == "virus"
        kinds = {defect["name"] for defect in record["defects"]}
        weighs = {
            weighed["symbol"]
            for verdict in record["verdicts"]
            for weighed in verdict["weighed"]
            if weighed["symbol"] in kinds and (weighed["points"] != 0 or weighed["category"])
        }
        ambiguous = {symbol for symbol in weighs if symbol not in NOT_AMBIGUOUS and not symbol.startswith("OVER_")}
        with_any += bool(ambiguous)
        count.update(ambiguous)
    share = 100 * with_any / mails if mails else 0
    print(f"{os.path.basename(sys.argv[1].rstrip('/'))}: {mails} mails, {with_any} ambiguous with weight "
          f"({share:.2f} %), {infected} taken for infected")
    for symbol, number in count.most_common():
        print(f"    {symbol} {number}")


main()
