#!/usr/bin/env python3
"""Runs the package beside this file from anywhere."""

import sys

from dtar_reference.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
