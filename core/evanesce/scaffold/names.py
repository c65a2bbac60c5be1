"""The name of a new plugin, and the names that follow from it."""

from __future__ import annotations

import string
from dataclasses import dataclass

from evanesce.errors import ConfigurationError

LONGEST = 40
"""The longest name of a new plugin, in characters."""

_PREFIX = "evanesce"
_LETTERS = frozenset(string.ascii_lowercase)
_CHARACTERS = _LETTERS | frozenset(string.digits)


@dataclass(frozen=True, slots=True)
class PluginName:
    """The words of a plugin's name: lower-case letters and digits."""

    words: tuple[str, ...]

    @property
    def plugin(self) -> str:
        """The name in `plugins.enabled`, and of the table of its settings."""
        return "_".join(self.words)

    @property
    def distribution(self) -> str:
        """The name of the distribution, in the normal form of PEP 503."""
        return "-".join((_PREFIX, *self.words))

    @property
    def module(self) -> str:
        """The name of the package that is imported."""
        return "_".join((_PREFIX, *self.words))

    @property
    def scheme(self) -> str:
        """The scheme of the URLs of a transport (RFC 3986, section 3.1)."""
        return "-".join(self.words)


def parse_name(text: str) -> PluginName:
    """Return the name of a new plugin. Raises `ConfigurationError` where it cannot be one."""
    words = tuple(text.replace("_", "-").split("-"))
    if len(text) > LONGEST or not all(word and _CHARACTERS.issuperset(word) for word in words):
        problem = f"it must have lower-case letters, digits, and single - or _ between them, and at most {LONGEST}"
        raise ConfigurationError("NAME", f"{problem} characters", "Write it as in slow-mode.")
    if words[0][0] not in _LETTERS:
        raise ConfigurationError("NAME", "it must begin with a letter", "Write it as in slow-mode.")
    if words[0] == _PREFIX:
        hint = "Leave it out." if len(words) > 1 else "Name what the plugin does."
        raise ConfigurationError("NAME", f"the distribution begins with {_PREFIX} in any case", hint)
    if words == ("enabled",):
        raise ConfigurationError("NAME", "plugins.enabled is a setting of Evanesce", "Choose another name.")
    return PluginName(words)
