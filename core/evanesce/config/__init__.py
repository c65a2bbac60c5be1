"""The configuration: its tables and keys, and how `config.toml`, the environment and `--set` are read."""
