#!/usr/bin/env python3
"""Asks amavisd over AM.PDP about mails: amavis.py PORT SPOOL FOLDER

Prints the name of each FOLDER/*.eml that it refuses. SPOOL is a folder in which amavisd may work.
"""
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def refused(port, spool, mail):
    folder = spool / f"af{mail.stem}"
    folder.mkdir()
    shutil.copyfile(mail, folder / "email.txt")
    folder.chmod(0o777)
    (folder / "email.txt").chmod(0o666)
    request = (
        f"request=AM.PDP\nversion_client=2\ntempdir={folder}\ntempdir_removed_by=client\n"
        f"mail_file={folder}/email.txt\ndelivery_care_of=client\nqueue_id=1\nsender=<sender@client.test>\n"
        "recipient=<user@example.test>\nclient_address=192.0.2.10\nclient_name=client.test\n"
        "helo_name=client.test\nprotocol_name=ESMTP\n\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    shutil.rmtree(folder, ignore_errors=True)
    return mail.name if b"return_value=reject" in answer and b"INFECTED" in answer else None


def main():
    port, spool, folder = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    mails = sorted(folder.glob("*.eml"))
    with ThreadPoolExecutor(2) as pool:
        for name in pool.map(lambda mail: refused(port, spool, mail), mails):
            if name:
                print(name)


main()
