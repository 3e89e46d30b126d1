"""GET /v1/usage: what the caller has on the worker and may have; for administrators the counts of all."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from memseg3d.service.protocol import Usage, UserCounts
from memseg3d.service.routes.common import TheCaller, TheWorker, errors
from memseg3d.service.settings import UserLimits
from memseg3d.service.users.account import SHARED, Account
from memseg3d.service.worker import Worker

router = APIRouter(prefix="/v1/usage", tags=["about"])


@router.get("", responses=errors())
async def usage(worker: TheWorker, caller: TheCaller) -> Usage:
    """Counts alone: nobody is told what another user has."""
    limits = UserLimits() if caller.role == "administrator" else worker.settings.user_limits
    own = await run_in_threadpool(_counts, worker, caller)
    users = await run_in_threadpool(_all, worker) if caller.role == "administrator" else None
    return Usage(**own.model_dump(), role=caller.role, limits=asdict(limits), users=users)


def _all(worker: Worker) -> list[UserCounts]:
    owners = sorted(worker.sessions.known.owners() | worker.volumes.known.owners())
    return [_counts(worker, Account(key, key.partition(":")[2]) if key else SHARED) for key in owners]


def _counts(worker: Worker, account: Account) -> UserCounts:
    return UserCounts(
        user=account.name,
        volumes=len(worker.volumes.known.of(account)),
        sessions=len(worker.sessions.known.of(account)),
        bytes=worker.bytes_of(account),
    )
