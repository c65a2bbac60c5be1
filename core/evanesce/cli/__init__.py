"""The command `evanesce`: a module for each subcommand, and those that plugins add."""
