"""The tables, and the migrations from any older version of them to this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager

from evanesce.errors import ConfigurationError
from evanesce_plugins.sql.driver import Driver, Reader, Refused, Statement

VERSIONS = "Schema"
"""The table with the schema version."""

BINDING = "RedisBinding"
"""The table, of one row, that says which Redis the servers of this database use. It is never copied."""

Migration = Sequence[str]
"""Statements that bring a database from one version to the next."""

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32
_NEW_CODE = " || ".join(
    # 26 digits of 5 bits are 130 bits: the first one has 3.
    f"substr('{_DIGITS}', 1 + (random() & {7 if place == 0 else 31}), 1)"
    for place in range(26)
)
"""An expression for 128 random bits as text. The database's generator is seeded by its operating system."""

# A released migration never changes: the next change is a new migration at the end.
MIGRATIONS: tuple[Migration, ...] = (
    (
        """
        CREATE TABLE "User" (
            userId TEXT NOT NULL PRIMARY KEY,
            worldId TEXT UNIQUE,
            displayName TEXT NOT NULL,
            email TEXT,
            createdAt TEXT NOT NULL,
            lastActive TEXT NOT NULL,
            erasedAt TEXT,
            CHECK ((worldId IS NULL) = (erasedAt IS NOT NULL))
        )
        """,
        """
        CREATE TABLE "ChatRoom" (
            roomId TEXT NOT NULL PRIMARY KEY,
            createdBy TEXT NOT NULL REFERENCES "User" (userId),
            createdAt TEXT NOT NULL,
            deepLink TEXT NOT NULL,
            active INTEGER NOT NULL CHECK (active IN (0, 1)),
            closedAt TEXT
        )
        """,
        """
        CREATE TABLE "SessionLog" (
            sessionId TEXT NOT NULL PRIMARY KEY,
            userId TEXT NOT NULL REFERENCES "User" (userId),
            roomId TEXT NOT NULL REFERENCES "ChatRoom" (roomId),
            joinTime TEXT NOT NULL,
            leaveTime TEXT
        )
        """,
        """
        CREATE TABLE "RevokedSignIn" (
            signInId TEXT NOT NULL PRIMARY KEY,
            expiresAt TEXT NOT NULL
        )
        """,
        'CREATE INDEX "ChatRoomByCreator" ON "ChatRoom" (createdBy, closedAt, createdAt, roomId)',
        'CREATE INDEX "SessionLogByUser" ON "SessionLog" (userId)',
        'CREATE INDEX "RevokedSignInByExpiry" ON "RevokedSignIn" (expiresAt)',
    ),
    (
        """
        CREATE TABLE "Registration" (
            provider TEXT NOT NULL,
            userId TEXT NOT NULL REFERENCES "User" (userId),
            value TEXT NOT NULL,
            PRIMARY KEY (provider, userId),
            UNIQUE (provider, value)
        )
        """,
        """
        CREATE TABLE "SpentProof" (
            provider TEXT NOT NULL,
            proof TEXT NOT NULL,
            userId TEXT NOT NULL REFERENCES "User" (userId),
            attempt TEXT NOT NULL,
            PRIMARY KEY (provider, proof)
        )
        """,
        'CREATE INDEX "RegistrationByUser" ON "Registration" (userId)',
        'CREATE INDEX "SpentProofByUser" ON "SpentProof" (userId)',
    ),
    (
        'ALTER TABLE "User" ADD COLUMN guest INTEGER NOT NULL DEFAULT 0 CHECK (guest IN (0, 1))',
        # The users who signed in by the provider `guest`: the sign ; follows the sign : in ASCII.
        """UPDATE "User" SET guest = 1 WHERE worldId >= 'guest:' AND worldId < 'guest;'""",
        """ALTER TABLE "SessionLog" ADD COLUMN server TEXT NOT NULL DEFAULT ''""",
        'CREATE INDEX "GuestByActivity" ON "User" (lastActive, userId) WHERE guest = 1 AND erasedAt IS NULL',
        'CREATE INDEX "ErasedGuest" ON "User" (userId) WHERE guest = 1 AND erasedAt IS NOT NULL',
        'CREATE INDEX "ChatRoomByClosing" ON "ChatRoom" (closedAt) WHERE closedAt IS NOT NULL',
        'CREATE INDEX "SessionLogByRoom" ON "SessionLog" (roomId)',
        'CREATE INDEX "SessionLogByEnd" ON "SessionLog" (leaveTime, server)',
    ),
    ('CREATE INDEX "ActiveChatRoom" ON "ChatRoom" (roomId) WHERE active = 1',),
    (
        """ALTER TABLE "Registration" ADD COLUMN accountCode TEXT NOT NULL DEFAULT ''""",
        # Users who registered before there were codes need one to sign in again.
        f'UPDATE "Registration" SET accountCode = {_NEW_CODE}',
        'CREATE UNIQUE INDEX "RegistrationByCode" ON "Registration" (accountCode)',
    ),
    (
        f"""
        CREATE TABLE "{BINDING}" (
            id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
            identity TEXT NOT NULL,
            heartbeats INTEGER NOT NULL,
            seenAt INTEGER
        )
        """,
    ),
    (
        'ALTER TABLE "ChatRoom" ADD COLUMN messageTtl REAL CHECK (messageTtl > 0)',
        """
        ALTER TABLE "ChatRoom" ADD COLUMN access TEXT NOT NULL DEFAULT 'link' CHECK (access IN ('link', 'invite'))
        """,
        'ALTER TABLE "ChatRoom" ADD COLUMN locked INTEGER NOT NULL DEFAULT 0 CHECK (locked IN (0, 1))',
        'ALTER TABLE "ChatRoom" ADD COLUMN encrypted INTEGER NOT NULL DEFAULT 0 CHECK (encrypted IN (0, 1))',
        'ALTER TABLE "ChatRoom" ADD COLUMN rulesVersion INTEGER NOT NULL DEFAULT 0 CHECK (rulesVersion >= 0)',
        # endedAt: when it was revoked or used up. A clock that is set back makes no such invite valid again.
        """
        CREATE TABLE "RoomInvite" (
            inviteId TEXT NOT NULL PRIMARY KEY,
            roomId TEXT NOT NULL REFERENCES "ChatRoom" (roomId),
            secretHash TEXT NOT NULL,
            people INTEGER NOT NULL CHECK (people > 0),
            used INTEGER NOT NULL DEFAULT 0,
            createdAt TEXT NOT NULL,
            expiresAt TEXT NOT NULL,
            endedAt TEXT,
            CHECK (used BETWEEN 0 AND people),
            CHECK (used < people OR endedAt IS NOT NULL)
        )
        """,
        # It does not say by which invite, so that it can be deleted with the account: the invite counts its places.
        """
        CREATE TABLE "RoomAdmission" (
            roomId TEXT NOT NULL REFERENCES "ChatRoom" (roomId),
            userId TEXT NOT NULL REFERENCES "User" (userId),
            admittedAt TEXT NOT NULL,
            PRIMARY KEY (roomId, userId)
        )
        """,
        """
        CREATE TABLE "RoomBan" (
            roomId TEXT NOT NULL REFERENCES "ChatRoom" (roomId),
            subject TEXT NOT NULL,
            userId TEXT REFERENCES "User" (userId),
            reason TEXT NOT NULL CHECK (reason IN ('creator', 'vote')),
            since TEXT NOT NULL,
            until TEXT NOT NULL,
            PRIMARY KEY (roomId, subject),
            CHECK (until >= since)
        )
        """,
        'CREATE INDEX "RoomInviteByRoom" ON "RoomInvite" (roomId, endedAt, createdAt, inviteId)',
        'CREATE INDEX "RoomInviteByEnd" ON "RoomInvite" (coalesce(endedAt, expiresAt))',
        'CREATE INDEX "RoomAdmissionByUser" ON "RoomAdmission" (userId)',
        'CREATE INDEX "RoomBanByRoom" ON "RoomBan" (roomId, since, subject, until)',
        'CREATE INDEX "RoomBanByUser" ON "RoomBan" (userId)',
        'CREATE INDEX "RoomBanByEnd" ON "RoomBan" (until)',
    ),
    (
        # Of the sessions that have ended before, it is not known: they count as left on purpose.
        'ALTER TABLE "SessionLog" ADD COLUMN lost INTEGER NOT NULL DEFAULT 0 CHECK (lost IN (0, 1))',
        'CREATE INDEX "SessionLogByMember" ON "SessionLog" (userId, roomId, leaveTime)',
        'DROP INDEX "SessionLogByUser"',
    ),
    (
        """
        CREATE TABLE "UserBan" (
            subject TEXT NOT NULL PRIMARY KEY,
            userId TEXT REFERENCES "User" (userId),
            reason TEXT NOT NULL,
            since TEXT NOT NULL,
            until TEXT NOT NULL,
            CHECK (until >= since)
        )
        """,
        'CREATE INDEX "UserBanByUser" ON "UserBan" (userId)',
        'CREATE INDEX "UserBanByEnd" ON "UserBan" (until)',
    ),
)

STEPS = (
    "users, rooms and session logs",
    "what providers register with accounts",
    "guests, and the server of each session",
    "an index of active rooms",
    "account codes",
    "which Redis the servers use",
    "rules of rooms, invites, admissions and bans",
    "which sessions ended with a lost connection",
    "bans of people from all servers",
)
"""What each migration adds, in a few words."""

_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"

_VERSIONS_COLUMNS = f"SELECT lower(sql) FROM sqlite_master WHERE type = 'table' AND lower(name) = '{VERSIONS.lower()}'"

_OF_TOOLS = ("sqlite_", "libsql_", "_")
"""The prefixes of the tables of SQLite, of libSQL and of tools for replication and backups, which are ignored."""


async def find_version(reader: Reader, setting: str, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Return the version of the database's schema, 0 for an empty database. Writes nothing.

    Raises `PersistenceUnavailable`, and `ConfigurationError` for a schema that is newer than `migrations` or belongs to
    another application; `setting` is the key that names the database.
    """
    names = await _tables(reader)
    while True:
        version = 0
        if VERSIONS.lower() in names:
            [columns] = await reader.execute([Statement(_VERSIONS_COLUMNS)])
            if not columns or "version integer" not in str(columns[0][0]):
                raise _strange(setting, f"has a table {VERSIONS} that Evanesce did not create")
            version = await schema_version(reader)
        again = await _tables(reader)
        if again == names:
            break
        names = again  # another process is migrating it at the moment
    if version > len(migrations):
        problem = f"the database has schema version {version}, and this Evanesce knows none above {len(migrations)}"
        raise ConfigurationError(
            setting, problem, "Run the version of Evanesce that wrote it, or a newer one, or name another database"
        )
    if version == 0:
        if others := sorted(name for name in names - {VERSIONS.lower()} if not name.startswith(_OF_TOOLS)):
            raise _strange(setting, f"has a table {others[0]} that Evanesce did not create")
    elif missing := [name for name in _made_by(migrations[:version]) if name.lower() not in names]:
        raise _strange(setting, f"has schema version {version}, and no table {missing[0]}")
    return version


async def _tables(reader: Reader) -> set[str]:
    """Return the names of all tables and views, in lower case: SQLite ignores case."""
    [rows] = await reader.execute([Statement(_TABLES)])
    return {str(name).lower() for [name] in rows}


def _made_by(migrations: Sequence[Migration]) -> list[str]:
    """Return the names of the tables that migrations create."""
    with empty_database(migrations) as database:
        rows = database.execute(_TABLES).fetchall()
    return [name for (name,) in rows if not name.startswith(_OF_TOOLS)]


@contextmanager
def empty_database(migrations: Sequence[Migration]) -> Generator[sqlite3.Connection]:
    """Yield a database in memory with the tables that migrations create."""
    with closing(sqlite3.connect(":memory:")) as database:
        for migration in migrations:
            for sql in migration:
                database.execute(sql)
        yield database


def _strange(setting: str, problem: str) -> ConfigurationError:
    return ConfigurationError(setting, f"the database {problem}: it is another application's", "Name another database")


async def migrate(driver: Driver, setting: str, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring the database to the newest version, and return the version that it had.

    Each migration is done all or nothing, and several processes may migrate at the same time. Raises as `find_version`
    does, before it writes anything.
    """
    found = version = await find_version(driver, setting, migrations)
    if found == 0:
        columns = "(version INTEGER NOT NULL PRIMARY KEY)"
        await driver.execute([Statement(f'CREATE TABLE IF NOT EXISTS "{VERSIONS}" {columns}')])
    while version < len(migrations):
        # The version comes first: if another process was faster, its primary key makes the whole step fail.
        step = [Statement('INSERT INTO "Schema" (version) VALUES (?)', (version + 1,))]
        step += [Statement(sql) for sql in migrations[version]]
        try:
            await driver.execute(step, patient=True)
        except Refused:
            if await schema_version(driver) == version:
                raise
        version = await schema_version(driver)
    return found


async def schema_version(reader: Reader) -> int:
    """Return the version of the database's tables; 0 for an empty database."""
    [[[version]]] = await reader.execute([Statement('SELECT max(version) FROM "Schema"')])
    return version if isinstance(version, int) else 0
