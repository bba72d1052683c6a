#!/usr/bin/env python3
"""What programs that take attachments out of mails make of them: unpackers.py ripmime|munpack FOLDER

Prints the name of each FOLDER/*.eml of which a file that the program wrote holds one of the files FOLDER/needle-*.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = {
    "ripmime": lambda mail, out: ["ripmime", "-i", str(mail), "-d", out, "--overwrite"],
    "munpack": lambda mail, out: ["munpack", "-q", "-t", "-C", out, str(mail)],
}


def main():
    command, folder = COMMANDS[sys.argv[1]], Path(sys.argv[2]).resolve()
    needles = [path.read_bytes() for path in sorted(folder.glob("needle-*"))]
    for path in sorted(folder.glob("*.eml")):
        with tempfile.TemporaryDirectory() as out, open(path, "rb") as mail:
            try:
                subprocess.run(command(path, out), stdin=mail, capture_output=True, cwd=out, timeout=10)
            except subprocess.TimeoutExpired:
                pass
            files = [file for file in Path(out).rglob("*") if file.is_file()]
            if any(needle in file.read_bytes() for file in files for needle in needles):
                print(path.name)


main()
