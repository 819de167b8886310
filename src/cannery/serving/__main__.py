"""Run the program inside an image."""

import logging
import os
import sys

from cannery.serving.main import main

try:
    status = main(sys.argv[1:], os.environ)
except SystemExit as leaving:
    status = leaving.code if isinstance(leaving.code, int) else 1
logging.shutdown()
sys.stdout.flush()
sys.stderr.flush()
# Not sys.exit: a thread that still scores what nobody waits for would hold the process.
os._exit(status)
