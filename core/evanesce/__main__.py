"""Run the command `evanesce` as `python -m evanesce`."""

from __future__ import annotations

import sys

from evanesce.cli.main import main

sys.exit(main())
