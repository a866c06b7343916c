"""What a run that executes elsewhere uses of Dagster beyond its public names, in one place.

Dagster's own `dagster api execute_run` loads what the run's record names and reads a `.env`; what it is made of is used
here directly. A test holds each name to the form used here.
"""

from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.impl import core_execute_run
from dagster._utils.interrupts import capture_interrupts

__all__ = ["ReconstructableRepository", "capture_interrupts", "core_execute_run"]
