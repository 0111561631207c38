"""An agency's own system: publishes what it is handed, and handles what arrives. HOME OFFICER FILE PASSPHRASE-FILE"""

import sys
from pathlib import Path

from exchange.client import Client, RefusedError

home, me, bulletin, secret = sys.argv[1:5]
cursor = Path("cursor")

with Client.connect(Path(home), me, passphrase=lambda: Path(secret).read_bytes().rstrip(b"\r\n")) as node:
    print("published", node.publish(Path(bulletin)).number)  # durable, logged and proved by now
    for item in node.subscribe(after=int(cursor.read_text()) if cursor.exists() else 0):
        try:
            opened = node.read(item, case="INTAKE", because="automatic intake")  # verified, or it raises
            print("received", opened.bulletin.header.number, "from", opened.author, flush=True)
        except RefusedError as refusal:
            print("refused", item.number, refusal.code, flush=True)
        cursor.write_text(str(item.cursor))  # not where it ends with UnverifiedError: that one comes again
