"""The command line: `evanesce serve`, `check`, `plugins`, `chat`, and what plugins add."""
