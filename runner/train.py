"""The entrypoint: ``python -m runner.train`` is ``optbench train``."""

import sys

if __name__ == "__main__":
    from runner.__main__ import entrypoint

    entrypoint(["train", *sys.argv[1:]])
