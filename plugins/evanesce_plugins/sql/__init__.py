"""The repository in SQL for SQLite and libSQL, shared by the plugins that have such a database.

`driver` is what a database must do. `accounts`, `rooms`, `room_rules`, `session_log`, `binding` and `table_copy` are
the methods of the repository, by the tables that they are about, and `repository` combines them. `schema` is the tables
and their migrations; `inspection` and `files` are about a database before it is opened; `backups` and `backup_file`
write and restore backups.
"""
