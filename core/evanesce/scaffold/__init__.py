"""New plugins: a small, complete distribution with a working example of each kind of plugin.

The files are in `templates`: those of every distribution in `common`, and those of each kind in a folder of its name.
They are templates of `string.Template`; those that end in `.txt.template` are parts of other files.
"""

from __future__ import annotations

from evanesce.scaffold.distribution import write_distribution
from evanesce.scaffold.kinds import KINDS
from evanesce.scaffold.names import PluginName, parse_name

__all__ = ["KINDS", "PluginName", "parse_name", "write_distribution"]
