#!/usr/bin/env python3
"""The table of bench/false_alarms.sh: reads the lines of `gatepost scan --json`; the folder's name is for the reader."""
import collections
import json
import os
import sys

# Findings about form that are about other things than readers who differ: fields left out, and what could not be looked
# into.
ABOUT_OTHER = {
    "MISSING_DATE", "MISSING_FROM", "MISSING_MESSAGE_ID", "ENCRYPTED", "NOT_OPENED", "UNKNOWN_METHOD", "BAD_ARCHIVE",
    "TRUNCATED_ARCHIVE", "EXTERNAL_BODY", "MESSAGE_PARTIAL", "EIGHT_BIT_HEADER",
}  # fmt: skip

# Readers who differ, but not about parts: fields like Subject that stand twice, text of fields, and line ends that are
# mended before anybody reads.
NOT_ABOUT_PARTS = {"DUPLICATE_HEADER", "BAD_ENCODED_WORD", "BARE_CR"}


def main():
    mails = infected = 0
    malformed = ambiguous = 0
    count = collections.Counter()
    for line in sys.stdin:
        record = json.loads(line)
        if not record["file"].endswith(".eml"):
            continue
        mails += 1
        infected += record["category"] == "virus"
        kinds = {defect["name"] for defect in record["defects"]}
        weighs = {
            weighed["symbol"]
            for verdict in record["verdicts"]
            for weighed in verdict["weighed"]
            if weighed["symbol"] in kinds and (weighed["points"] != 0 or weighed["category"])
        }
        weighs = {symbol for symbol in weighs if not symbol.startswith("OVER_")}
        malformed += bool(weighs - ABOUT_OTHER)
        ambiguous += bool(weighs - ABOUT_OTHER - NOT_ABOUT_PARTS)
        count.update(weighs - ABOUT_OTHER)
    share = lambda number: f"{number} ({100 * number / max(mails, 1):.2f} %)"
    print(f"{os.path.basename(sys.argv[1].rstrip('/'))}: {mails} mails, malformed with weight {share(malformed)}, "
          f"parts ambiguous with weight {share(ambiguous)}, {infected} taken for infected")
    for symbol, number in count.most_common():
        print(f"    {symbol} {number}")


main()
