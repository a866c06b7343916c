"""Render's one-off jobs: start one, and only one, look at it, cancel it.

https://api-docs.render.com/reference/post-job. A job takes the image and the variables that its service had when the
job was made, and nothing else: what it is to do stands in its command. Which command that is, `runs/` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from dagster_apollo.deploy.render_http import RenderClient
from dagster_apollo.deploy.resources import Job
from dagster_apollo.errors import RenderError

# Clocks differ: a job is looked for from a little before the moment at which it was asked for.
_CLOCKS_DIFFER = timedelta(minutes=5)


class RenderJobs:
    """The one-off jobs of one service.

    Args:
        client: Render.
        service_id: whose image and variables the jobs have, `srv-…`.
    """

    def __init__(self, client: RenderClient, service_id: str) -> None:
        self._client = client
        self._path = f"/services/{service_id}/jobs"

    def start(self, command: str, plan_id: str, asked_at: datetime) -> Job:
        """Start a job, once: where Render's answer is lost, one of the same command that is there is that job.

        Args:
            command: its words, as a shell takes them; no two jobs may have the same.
            plan_id: its size, `plan-srv-…`.
            asked_at: since when it may be there.

        Raises:
            RenderError: it was refused; or nothing was answered, and it is not there.
        """
        try:
            content = self._client.ask("POST", self._path, {"startCommand": command, "planId": plan_id})
        except RenderError as error:
            # Refused is refused. Without an answer, or with one of a proxy's, nobody knows whether it was heard.
            if error.status is not None and error.status < 500:
                raise
            failure = error
        else:
            return self._client.parsed(Job, content)
        found = self.find(lambda job: job.start_command == command, asked_at)
        if found is None:
            raise failure
        return found

    def find(self, wanted: Callable[[Job], bool], asked_at: datetime) -> Job | None:
        """The newest job that fits, of those since a moment.

        Raises:
            RenderError: the list cannot be had.
        """
        since = (asked_at - _CLOCKS_DIFFER).isoformat(timespec="seconds").replace("+00:00", "Z")
        rows = self._client.rows(self._path, {"createdAfter": since})
        jobs = [self._client.parsed(Job, row["job"]) for row in rows]
        fitting = [job for job in jobs if wanted(job)]
        return max(fitting, key=lambda job: job.created_at.timestamp() if job.created_at else 0.0, default=None)

    def get(self, job_id: str) -> Job | None:
        """A job as it is now; None: there is none of this id.

        Raises:
            RenderError: Render does not say.
        """
        try:
            return self._client.parsed(Job, self._client.ask("GET", f"{self._path}/{job_id}"))
        except RenderError as error:
            if error.status == 404:
                return None
            raise

    def cancel(self, job_id: str) -> None:
        """End a job; one that has ended is let be.

        Raises:
            RenderError: Render did not take it.
        """
        try:
            self._client.ask("POST", f"{self._path}/{job_id}/cancel")
        except RenderError:
            job = self.get(job_id)
            if job is not None and job.status in ("pending", "running"):
                raise
