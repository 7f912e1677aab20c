"""``python -m tandem_hw`` is ``tandem-hw``; torchrun starts it as a module."""

from tandem_hw.cli import main

if __name__ == "__main__":
    main()
