"""The upload of an export's folder to a model hub, by the package huggingface-hub (extra `hub`)."""

import os
import re
from pathlib import Path
from types import ModuleType

from mmcl_jax.errors import UserError, check

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REFUSALS = {401: "it does not accept the token", 403: "the token may not write there"}


def check_push(repository: str) -> None:
    """Check, before an export is made, that it can be uploaded: the name, the package and the presence of a token.

    Raises:
      UserError: one of these is missing or wrong.
    """
    named = _REPOSITORY.fullmatch(repository) and not re.search(r"--|\.\.|[-.](/|$)", repository)
    letters = "letters, digits, '-', '_' and '.'"
    check(bool(named), f"--push: {repository!r} is no repository OWNER/NAME; give two names of {letters}.")
    check(
        bool(_hub().get_token()),
        "--push: there is no token of the hub; log in with hf auth login, or set the variable HF_TOKEN.",
    )


def uploaded(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload a folder, in one commit, to a repository that is made if it does not exist; return its address.

    Raises:
      UserError: the hub cannot be reached or refuses; the folder stays as it is.
    """
    hub = _hub()
    kept = f"the export in {folder} is complete, and the same command uploads it again"
    try:
        api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="mmcl_jax")
        address = api.create_repo(repository, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload an export of mmcl_jax")
    except hub.errors.HfHubHTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        reason = f"the hub refused ({_REFUSALS.get(status) or _line(error)})"
        raise UserError(f"--push {repository}: {reason}; {kept}.") from error
    except Exception as error:  # of httpx, of the transfer of large files, or of metadata that the hub does not accept
        raise UserError(f"--push {repository}: the upload failed ({_line(error)}); {kept}.") from error
    return str(address)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError("--push needs huggingface-hub: pip install 'mmcl_jax[hub]'.") from error
    return huggingface_hub
