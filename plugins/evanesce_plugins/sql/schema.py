"""The tables, and how a database comes from any older version of them to this one."""

from __future__ import annotations

from collections.abc import Sequence

from evanesce.errors import ConfigurationError
from evanesce_plugins.sql.driver import Driver, Refused, Statement

VERSIONS = "Schema"
"""The table that says which version the others have."""

Migration = Sequence[str]
"""Statements that bring a database from one version to the next."""

# Once released a migration stays as it is: the next change is another one at the end.
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
        # Who signed in by the provider `guest` until now: the sign ; follows the sign : in ASCII.
        """UPDATE "User" SET guest = 1 WHERE worldId >= 'guest:' AND worldId < 'guest;'""",
        """ALTER TABLE "SessionLog" ADD COLUMN server TEXT NOT NULL DEFAULT ''""",
        'CREATE INDEX "GuestByActivity" ON "User" (lastActive, userId) WHERE guest = 1 AND erasedAt IS NULL',
        'CREATE INDEX "ErasedGuest" ON "User" (userId) WHERE guest = 1 AND erasedAt IS NOT NULL',
        'CREATE INDEX "ChatRoomByClosing" ON "ChatRoom" (closedAt) WHERE closedAt IS NOT NULL',
        'CREATE INDEX "SessionLogByRoom" ON "SessionLog" (roomId)',
        'CREATE INDEX "SessionLogByEnd" ON "SessionLog" (leaveTime, server)',
    ),
    ('CREATE INDEX "ActiveChatRoom" ON "ChatRoom" (roomId) WHERE active = 1',),
)

_STRANGERS = """
    SELECT count(*) FROM sqlite_master
    WHERE type = 'table' AND name IN ('User', 'ChatRoom', 'SessionLog')
    AND NOT EXISTS (SELECT 1 FROM "Schema")
"""


async def migrate(driver: Driver, setting: str, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring the database to the newest version, each step all or nothing; several processes may do so at once.

    Gives the version that it had. Raises `ConfigurationError` about `setting`, the key that names the database, where
    it is newer than that or not Evanesce's; `PersistenceUnavailable`.
    """
    await driver.execute([Statement('CREATE TABLE IF NOT EXISTS "Schema" (version INTEGER NOT NULL PRIMARY KEY)')])
    [[[strangers]]] = await driver.execute([Statement(_STRANGERS)])
    if strangers:
        problem = "the database has a table User, ChatRoom or SessionLog that Evanesce did not make"
        raise ConfigurationError(setting, problem, "Name another database")
    found = await schema_version(driver)
    while (version := await schema_version(driver)) < len(migrations):
        # The version comes first: where another process was faster its primary key refuses the whole step.
        step = [Statement('INSERT INTO "Schema" (version) VALUES (?)', (version + 1,))]
        step += [Statement(sql) for sql in migrations[version]]
        try:
            await driver.execute(step, patient=True)
        except Refused:
            if await schema_version(driver) == version:
                raise
    if version > len(migrations):
        problem = f"the database has schema version {version}, and this Evanesce knows none above {len(migrations)}"
        raise ConfigurationError(setting, problem, "Run the Evanesce that wrote it, or a newer one, or name another")
    return found


async def schema_version(driver: Driver) -> int:
    """Give the version of the database's tables; 0 where there are none yet."""
    [[[version]]] = await driver.execute([Statement('SELECT max(version) FROM "Schema"')])
    return version if isinstance(version, int) else 0
