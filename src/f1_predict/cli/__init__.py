"""The command line: parses, calls the same functions that Python users call, and prints.

Every intended error becomes one line and exit code 1; `-v` adds the traceback. Commands import their job when they
run, since it brings PyTorch along and `--help` should not wait for it.
"""

from f1_predict.cli.main import main

__all__ = ["main"]
