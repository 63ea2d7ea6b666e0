"""Table Storage on one machine: Azurite, Microsoft's own emulator, installed when first used.

For: tests and benchmarks of attempts that are kept in a table.
Not for: what `make run` needs; there the attempts are kept in memory.
"""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import socket
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from emulator.run import APP, NotStarted, free_port

HOME = APP / ".azurite"
READY_SECONDS = 30.0
ACCOUNT = "devstoreaccount1"
# Azurite's published key, the same on every machine
# (https://learn.microsoft.com/azure/storage/common/storage-connect-azurite).
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azurite:
    """Azurite's table service in a process of its own, its tables in memory.

    With `tls` it serves https with a certificate made for it, and takes a bearer token or the key;
    without it serves http, and takes the key.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self.tls = tls
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="azurite-"))
        self.uri = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"
        self.certificate = self.folder / "certificate.pem"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"TableEndpoint={self.uri};"
        )

    def __enter__(self) -> Self:
        subprocess.run([APP / "scripts" / "azurite"], check=True)
        options = [
            "--silent",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--inMemoryPersistence",
        ]
        options += ["--tableHost", "127.0.0.1", "--tablePort", str(self.port)]
        if self.tls:
            key = certify(self.certificate)
            options += ["--oauth", "basic", "--cert", str(self.certificate), "--key", str(key)]
        program = HOME / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
        self.process = subprocess.Popen(
            [HOME / "node", program, *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self) -> None:
        assert self.process
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise NotStarted("Azurite did not start")

    def stop(self) -> None:
        """End it, and leave nothing behind."""
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def certify(path: Path) -> Path:
    """Write a certificate for 127.0.0.1, good for a day; return where its key is."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path = path.with_name("key.pem")
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key_path
