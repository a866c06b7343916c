"""Output is confined whichever compute log manager keeps it, also one that fetches it from a remote place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager
from dagster._core.storage.compute_log_manager import CapturedLogSubscription, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager

from dagster_apollo.access.scoping.ownership import ownership_of
from dagster_apollo.access.scoping.scope import Refused, RunLocations, Scope
from dagster_apollo.access.scoping.scoped_logs import scoped_compute_logs
from tests.support.scoped_world import ALPACA, USERS, ZEBRA, World


class RemoteOutput(CloudStorageComputeLogManager):  # type: ignore[type-arg]
    """The smallest manager of this kind: the remote place is another manager's folder."""

    def __init__(self, remote: LocalComputeLogManager, fetched: Path) -> None:
        self._remote = remote
        self._local = LocalComputeLogManager(str(fetched))

    @property
    def local_manager(self) -> LocalComputeLogManager:
        return self._local

    @property
    def upload_interval(self) -> None:
        return None

    def delete_logs(self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None) -> None:
        self._remote.delete_logs(log_key, prefix)

    def download_url_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> None:
        return None

    def display_path_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str:
        return f"remote:{'/'.join(log_key)}"

    def _path(self, log_key: Sequence[str], io_type: ComputeIOType) -> Path:
        return Path(self._remote.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type]))

    def cloud_storage_has_logs(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> bool:
        return self._path(log_key, io_type).exists()

    def upload_to_cloud_storage(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False) -> None:
        raise NotImplementedError

    def download_from_cloud_storage(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> None:
        target = Path(self._local.get_captured_local_path(log_key, IO_TYPE_EXTENSION[io_type], partial))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self._path(log_key, io_type).read_bytes())

    def on_subscribe(self, subscription: CapturedLogSubscription) -> None: ...

    def on_unsubscribe(self, subscription: CapturedLogSubscription) -> None: ...


def test_output_that_is_kept_elsewhere_is_confined_at_every_door(world: World, tmp_path: Path) -> None:
    local = world.instance.compute_log_manager
    assert isinstance(local, LocalComputeLogManager)
    owned = ownership_of(world.process.get_current_workspace())
    scope = Scope(USERS["confined-viewer"], world.instance, owned, RunLocations(world.instance))
    view = scoped_compute_logs(RemoteOutput(local, tmp_path), scope)
    own, hidden = world.past[ALPACA].log_keys[-1], world.past[ZEBRA].log_keys[-1]

    assert isinstance(view, RemoteOutput), "Dagster asks of what class it is"
    assert isinstance(view.local_manager, LocalComputeLogManager)
    view.download_from_cloud_storage(own, ComputeIOType.STDOUT)
    assert b"alpaca_printed" in (view.get_log_data(own).stdout or b"")
    assert view.get_log_metadata(own).stdout_location == f"remote:{'/'.join(own)}"
    assert "alpaca_printed" in Path(view.local_manager.get_captured_local_path(own, "out")).read_text()

    for read in (
        lambda: view.get_log_data(hidden),
        lambda: view.get_log_data_for_type(hidden, ComputeIOType.STDOUT, 0, None),
        lambda: view.get_log_metadata(log_key=hidden),
        lambda: view.subscribe(hidden),
        lambda: view.cloud_storage_has_logs(hidden, ComputeIOType.STDOUT),
        lambda: view.download_from_cloud_storage(hidden, ComputeIOType.STDOUT),
        lambda: view.local_manager.get_captured_local_path(hidden, "out"),
        lambda: view.local_manager.get_log_data(hidden),
        lambda: view.local_manager.read_path("/etc/hostname"),
        lambda: view.get_log_keys_for_log_key_prefix(hidden[:1], ComputeIOType.STDOUT),
        lambda: view.delete_logs(own),
        lambda: view.upload_to_cloud_storage(own, ComputeIOType.STDOUT),
    ):
        with pytest.raises(Refused):
            read()
