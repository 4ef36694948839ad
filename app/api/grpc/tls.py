"""TLS 1.3 and nothing older. Importing this module loads no gRPC, which has its say when it is loaded."""

import os
from pathlib import Path

from app.child import CannotStart

VARIABLE = "GRPC_SSL_CIPHER_SUITES"


def refuse_older_tls(certificate: Path | None) -> None:
    """To be called before gRPC is loaded, which reads the variable then and only then.

    gRPC can't be told a minimum version, but which ciphers TLS 1.2 may use: one that needs a certificate of the other
    kind than ours leaves 1.3 alone, whose ciphers the list does not concern. Raises: CannotStart, OSError.
    """
    if certificate is not None:
        os.environ[VARIABLE] = useless_cipher(certificate)


def useless_cipher(certificate: Path) -> str:
    """A cipher of TLS 1.2 that no server with this certificate can use. Raises: CannotStart, OSError."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import load_pem_x509_certificate

    try:
        key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
    except ValueError as wrong:
        raise CannotStart(f"{certificate} (server.grpc_tls_cert_path) holds no certificate in PEM: {wrong}") from wrong
    return f"ECDHE-{'ECDSA' if isinstance(key, RSAPublicKey) else 'RSA'}-AES256-GCM-SHA384"
