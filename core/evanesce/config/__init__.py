"""The configuration: what `config.toml`, the environment and `--set` may say, and how it is read."""
