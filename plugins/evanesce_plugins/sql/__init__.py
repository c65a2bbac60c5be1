"""The repository in SQL, as SQLite and libSQL speak it: shared by the plugins that have such a database."""
