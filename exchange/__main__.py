"""``python -P -m exchange``: the same as the ``exchange`` command, from one installation and no other."""

from pathlib import Path

import audit
import keys
from exchange.cli.main import main

if __name__ == "__main__":
    # A folder named keys or audit beside the caller must not be taken for ours.
    home = Path(__file__).resolve().parent.parent
    for package in (keys, audit):
        if Path(str(package.__file__)).resolve().parent.parent != home:
            raise SystemExit(f"exchange: error: {package.__name__} is not of this installation")
    main()
