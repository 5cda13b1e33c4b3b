"""Record what PyTorch does, for tests that run where it is not installed.

python tests/record.py errors    # writes data/errors.json
python tests/record.py state     # writes data/state.json
python tests/record.py saved     # writes data/saved/*.pt
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="+", choices=("errors", "saved", "state"))
    for table in parser.parse_args().tables:
        if table == "saved":
            importlib.import_module("saved_things").record()
            continue
        target = Path(__file__).parent / "data" / f"{table}.json"
        if not target.exists():
            target.write_text("{}\n")
        importlib.import_module(f"test_{table}").record()


if __name__ == "__main__":
    main()
