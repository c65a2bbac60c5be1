"""Print the README's command number N, as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

blocks = re.findall(r"^```sh\n(.*?)^```$", Path("README.md").read_text(), re.MULTILINE | re.DOTALL)
print(blocks[int(sys.argv[1]) - 1].strip())
