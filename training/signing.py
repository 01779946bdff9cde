"""The door to OpenSSF's model-signing: a model's folder signed with a private key. Whether a signature is to be believed is asked elsewhere.

The library's own rule leaves `.git`, `.gitignore` and `.github` out; here every file is signed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from data.errors import UserError


def sign(folder: Path, private_key: Path) -> bytes:
    """The signature of a folder's files: a sigstore bundle, JSON. UserError where the folder holds a link or anything but plain files.

    `private_key` is an unencrypted PEM file of an EC key. Importing the library takes about a second; it stays out of every other path.
    """
    from model_signing import hashing, signing

    every_file = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    with tempfile.TemporaryDirectory() as beside:
        signature = Path(beside) / "sig"
        config = signing.Config().use_elliptic_key_signer(private_key=private_key).set_hashing_config(every_file)
        try:
            config.sign(folder, signature)
        except ValueError as error:
            raise UserError(f"the model cannot be signed: {error}", where=str(folder), next_step="export it again") from error
        return signature.read_bytes()
