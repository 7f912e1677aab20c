"""``python -m tandem_hw.examples``: as ``tandem-hw examples``."""

import sys

from tandem_hw.__main__ import main

if __name__ == "__main__":
    main(["examples", *sys.argv[1:]], prog_name="tandem-hw")
