"""A URL of libpq leads to a cluster: the first host that answers, writes, and is who it says."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from shared.errors import Unavailable
from shared.server_urls import check_database_url
from shared.storage import pool as storage
from tests.kit.proxy import proxy_to


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


async def answer(url: str) -> object:
    check_database_url(url)
    async with storage.connect(SecretStr(url), size=1, opened_within_s=0) as pool:
        return await pool.fetchval("SELECT 1")


async def test_the_next_host_is_taken_when_one_does_not_answer(
    database_url: str, closed_port: int
) -> None:
    parts = urlsplit(database_url)
    user, _, host = parts.netloc.rpartition("@")
    both = f"127.0.0.1:{closed_port},{host}"

    assert await answer(parts._replace(netloc=f"{user}@{both}").geturl()) == 1
    query = f"host=127.0.0.1,{parts.hostname}&port={closed_port},{parts.port}"
    assert await answer(parts._replace(netloc=f"{user}@", query=query).geturl()) == 1


async def test_a_host_that_does_not_write_is_passed_over_when_the_url_says_so(
    database_url: str, postgres_url: str
) -> None:
    parts = urlsplit(database_url)
    query = "target_session_attrs=read-write&connect_timeout=3"
    admin = await asyncpg.connect(postgres_url)
    try:
        read_only = f"ALTER DATABASE {parts.path[1:]} SET default_transaction_read_only"
        await admin.execute(f"{read_only} = on")
        assert await answer(database_url) == 1
        with pytest.raises(Unavailable):
            await answer(parts._replace(query=query).geturl())
        await admin.execute(f"{read_only} = off")
        assert await answer(parts._replace(query=query).geturl()) == 1
    finally:
        await admin.close()


async def test_tls_is_verified_as_the_url_says(database_url: str, tmp_path: Path) -> None:
    ours, anothers = certificate(tmp_path / "ours"), certificate(tmp_path / "anothers")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(ours)
    async with proxy_to(database_url, tls) as proxy:
        assert await answer(proxy.url(f"sslmode=verify-full&sslrootcert={ours}")) == 1
        with pytest.raises(Unavailable, match=r"TLS.*sslrootcert") as caught:
            await answer(proxy.url(f"sslmode=verify-full&sslrootcert={anothers}"))
    assert caught.value.code == "database_refused"


def certificate(file: Path) -> Path:
    """A key and a certificate of `localhost` that it signed itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file
