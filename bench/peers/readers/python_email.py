#!/usr/bin/env python3
"""What Python's email package makes of mails: python_email.py compat32|default FOLDER

Prints the name of each FOLDER/*.eml of which a part, decoded, holds one of the files FOLDER/needle-*.
"""
import email.policy
import sys
from email.parser import BytesParser
from pathlib import Path

POLICIES = {"compat32": email.policy.compat32, "default": email.policy.default}


def contents(message):
    """The decoded bytes of every part that has any; a part that the package fails on is left out."""
    for part in message.walk():
        try:
            content = part.get_payload(decode=True)
        except Exception:
            continue
        if content:
            yield content


def main():
    policy, folder = POLICIES[sys.argv[1]], Path(sys.argv[2])
    needles = [path.read_bytes() for path in sorted(folder.glob("needle-*"))]
    for path in sorted(folder.glob("*.eml")):
        try:
            message = BytesParser(policy=policy).parsebytes(path.read_bytes())
            found = any(needle in content for content in contents(message) for needle in needles)
        except Exception:
            continue
        if found:
            print(path.name)


main()
