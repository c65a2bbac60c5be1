"""Write the samples of the pages in docs as modules into a folder: `extract_samples.py FOLDER`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

folder = Path(sys.argv[1])
folder.mkdir(parents=True)
# The samples of the pages test-a-*.md are tests and a client without types, in files that import each other.
shown = [page for page in sorted(Path("docs").rglob("*.md")) if not page.name.startswith("test-a-")]
pages = [page.read_text("utf-8") for page in shown]
samples = re.findall(r"^```python\n(.*?)^```$", "\n".join(pages), re.MULTILINE | re.DOTALL)
for number, code in enumerate(samples):
    (folder / f"sample_{number}.py").write_text(code)
print(f"{len(samples)} samples")
