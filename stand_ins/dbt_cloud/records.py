"""Jobs, runs and steps, and how each is told over the API.

Field names and the numbers of the states are dbt Cloud's. Who changes a run, and when, is `run_queue.py`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

DBT_VERSION = "latest"
_BORN = {"created_at": "2026-01-01 00:00:00+00:00", "updated_at": "2026-01-01 00:00:00+00:00"}
_SEATS = (
    "developer_seats",
    "it_seats",
    "explorer_seats",
    "analyst_seats",
    "read_only_seats",
    "pod_memory_request_mebibytes",
    "develop_pod_memory_request_mebibytes",
)
_NOT_SAID_OF_THE_ACCOUNT = (
    "billing_email_address",
    "copilot_locked_until",
    "enterprise_login_slug",
    "git_auth_level",
    "identifier",
    "lock_cause",
    "lock_reason",
    "run_locked_until",
    "starter_repo_url",
    "static_subdomain",
    "trial_end_date",
    "unlocked_at",
    "vanity_subdomain",
)
_NOT_SAID_OF_THE_PROJECT = (
    "connection",
    "repository",
    "docs_job",
    "docs_job_id",
    "freshness_job",
    "freshness_job_id",
    "fusion_readiness",
)


class Status(enum.IntEnum):
    """How a run or a step stands: https://docs.getdbt.com/dbt-cloud/api-v2#/operations/List%20Runs."""

    QUEUED = 1
    STARTING = 2
    RUNNING = 3
    SUCCESS = 10
    ERROR = 20
    CANCELLED = 30

    @property
    def is_complete(self) -> bool:
        """Whether it will not change any more."""
        return self >= Status.SUCCESS


@dataclass(frozen=True)
class Numbers:
    """The account, project and environment that exist; there is one of each."""

    account_id: int
    project_id: int
    environment_id: int


@dataclass
class Job:
    """A job: commands under a name."""

    id: int
    name: str
    description: str
    execute_steps: list[str]
    job_type: str
    created_at: datetime
    deleted: bool = False


@dataclass
class Step:
    """One command of a run, or what prepares it."""

    id: int
    index: int
    name: str
    status: Status = Status.QUEUED
    logs: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass
class Run:
    """One run of a job."""

    id: int
    trigger_id: int
    job: Job
    cause: str
    commands: list[str]
    steps_override: list[str] | None
    created_at: datetime
    status: Status = Status.QUEUED
    status_message: str | None = None
    steps: list[Step] = field(default_factory=list)
    dequeued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancelled: bool = False


def now() -> datetime:
    """The time as the API tells it: UTC."""
    return datetime.now(UTC)


def job_answer(job: Job, numbers: Numbers) -> dict[str, Any]:
    """A job as `GET jobs/` and `GET jobs/{id}/` tell it."""
    return {
        "id": job.id,
        "account_id": numbers.account_id,
        "project_id": numbers.project_id,
        "environment_id": numbers.environment_id,
        "name": job.name,
        "description": job.description,
        "dbt_version": None,
        "raw_dbt_version": None,
        "deferring_environment_id": None,
        "deferring_job_definition_id": None,
        "execute_steps": job.execute_steps,
        "execution": {"timeout_seconds": 0},
        "generate_docs": False,
        "is_deferrable": False,
        "job_type": job.job_type,
        "lifecycle_webhooks_url": None,
        "lifecycle_webhooks": False,
        "run_compare_changes": False,
        "compare_changes_flags": "--select state:modified",
        "run_failure_count": 0,
        "run_generate_sources": False,
        "run_lint": False,
        "errors_on_lint_failure": True,
        "cost_optimization_features": [],
        "settings": {"threads": 4, "target_name": "default"},
        "state": 2 if job.deleted else 1,
        "triggers_on_draft_pr": False,
        "triggers": {
            "github_webhook": False,
            "schedule": False,
            "git_provider_webhook": False,
            "on_merge": False,
            "custom_branch_only": False,
        },
        "job_completion_trigger_condition": None,
        "schedule": {
            "cron": "0 * * * *",
            "date": {"type": "every_day"},
            "time": {"type": "every_hour", "interval": 1},
        },
        "generate_sources": False,
        "fusion_readiness": None,
        "created_at": _time(job.created_at),
        "updated_at": _time(job.created_at),
        "account": None,
        "project": None,
        "environment": None,
    }


def run_answer(run: Run, numbers: Numbers, base_url: str, related: frozenset[str]) -> dict[str, Any]:
    """A run as `GET runs/` and `GET runs/{id}/` tell it.

    Args:
        run: which.
        numbers: of the account, the project and the environment.
        base_url: what its page's address begins with.
        related: `include_related` of the request.
    """
    told: dict[str, Any] = {
        "id": run.id,
        "trigger_id": run.trigger_id,
        "account_id": numbers.account_id,
        "environment_id": numbers.environment_id,
        "project_id": numbers.project_id,
        "job_definition_id": run.job.id,
        "job_id": run.job.id,
        "status": int(run.status),
        "dbt_version": DBT_VERSION,
        "git_branch": "main",
        "git_sha": None,
        "status_message": run.status_message,
        "owner_thread_id": None,
        "executed_by_thread_id": None,
        "deferring_run_id": None,
        "artifacts_saved": run.status.is_complete and run.started_at is not None,
        "artifact_s3_path": None,
        "has_docs_generated": False,
        "has_sources_generated": False,
        "notifications_sent": run.status.is_complete,
        "blocked_by": [],
        "created_at": _time(run.created_at),
        "updated_at": _time(run.finished_at or run.started_at or run.dequeued_at or run.created_at),
        "dequeued_at": _time(run.dequeued_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "last_checked_at": None,
        "last_heartbeat_at": None,
        "should_start_at": _time(run.created_at),
        "trigger": None,
        "job": None,
        "environment": None,
        "run_steps": [],
        "deprecation": None,
        "status_humanized": run.status.name.capitalize(),
        "in_progress": not run.status.is_complete,
        "is_complete": run.status.is_complete,
        "is_success": run.status is Status.SUCCESS,
        "is_error": run.status is Status.ERROR,
        "is_cancelled": run.status is Status.CANCELLED,
        "is_running": run.status is Status.RUNNING,
        **_durations(run),
        "retrying_run_id": None,
        "can_retry": run.status is Status.ERROR,
        "retry_not_supported_reason": None if run.status is Status.ERROR else "RETRY_NOT_FAILED_RUN",
        "href": run_url(run, numbers, base_url),
        "used_repo_cache": None,
        "audit": None,
    }
    if "run_steps" in related:
        told["run_steps"] = [_step_answer(step, run, numbers) for step in run.steps]
    if "trigger" in related:
        told["trigger"] = {
            "id": run.trigger_id,
            "cause": run.cause,
            "cause_category": "api",
            "job_definition_id": run.job.id,
            "git_branch": None,
            "git_sha": None,
            "schema_override": None,
            "steps_override": run.steps_override,
            "created_at": _time(run.created_at),
        }
    if "job" in related:
        told["job"] = job_answer(run.job, numbers)
    return told


def run_url(run: Run, numbers: Numbers, base_url: str) -> str:
    """The address of a run's page."""
    return f"{base_url}/deploy/{numbers.account_id}/projects/{numbers.project_id}/runs/{run.id}"


def _step_answer(step: Step, run: Run, numbers: Numbers) -> dict[str, Any]:
    return {
        "id": step.id,
        "run_id": run.id,
        "account_id": numbers.account_id,
        "index": step.index,
        "status": int(step.status),
        "status_humanized": step.status.name.capitalize(),
        "name": step.name,
        "logs": step.logs,
        "debug_logs": "",
        "log_path": None,
        "debug_log_path": None,
        "created_at": _time(run.created_at),
        "started_at": _time(step.started_at),
        "finished_at": _time(step.finished_at),
    }


def account_answer(numbers: Numbers) -> dict[str, Any]:
    """The account. What people and bills are about is there, and empty."""
    return {
        "id": numbers.account_id,
        "name": "Stand-in",
        "state": 1,
        "plan": "team",
        "run_slots": 1,
        "queue_limit": 50,
        "run_duration_limit_seconds": 86400,
        "locked": False,
        "pending_cancel": False,
        "business_critical": False,
        "agent_credit_locked": False,
        "groups": [],
        "account_migration_events": [],
        **dict.fromkeys(_SEATS, 0),
        **dict.fromkeys(_NOT_SAID_OF_THE_ACCOUNT),
        **_BORN,
    }


def project_answer(numbers: Numbers) -> dict[str, Any]:
    """The project, in version 2 and 3 alike."""
    return {
        "id": numbers.project_id,
        "account_id": numbers.account_id,
        "name": "Stand-in",
        "description": None,
        "dbt_project_subdirectory": None,
        "state": 1,
        "type": 0,
        "environments": [],
        "group_permissions": [],
        "default_version": DBT_VERSION,
        **dict.fromkeys(_NOT_SAID_OF_THE_PROJECT),
        **_BORN,
    }


def environment_answer(numbers: Numbers) -> dict[str, Any]:
    """The environment, in version 2 and 3 alike."""
    return {
        "id": numbers.environment_id,
        "account_id": numbers.account_id,
        "project_id": numbers.project_id,
        "name": "Production",
        "dbt_version": DBT_VERSION,
        "raw_dbt_version": DBT_VERSION,
        "type": "deployment",
        "deployment_type": "production",
        "use_custom_branch": False,
        "custom_branch": None,
        "supports_docs": False,
        "is_deferrable": False,
        "jobs": [],
        "custom_environment_variables": [],
        "state": 1,
        **dict.fromkeys(("repository", "connection", "project", "credentials", "fusion_readiness")),
        **_BORN,
    }


def _durations(run: Run) -> dict[str, str]:
    until = run.finished_at or now()
    started = run.started_at or until
    spans = {
        "duration": until - run.created_at,
        "queued_duration": started - run.created_at,
        "run_duration": until - started,
    }
    told = {name: str(timedelta(seconds=max(0, int(span.total_seconds())))).zfill(8) for name, span in spans.items()}
    told |= {f"{name}_humanized": f"{max(0, int(span.total_seconds()))} seconds" for name, span in spans.items()}
    told["created_at_humanized"] = f"{max(0, int((now() - run.created_at).total_seconds()))} seconds ago"
    finished = f"{max(0, int((now() - run.finished_at).total_seconds()))} seconds ago" if run.finished_at else ""
    return told | {"finished_at_humanized": finished}


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(sep=" ") if moment else None
