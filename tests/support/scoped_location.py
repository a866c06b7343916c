"""Definitions of two tenants whose every word begins with the tenant's own name, so that one that shows is found.

`alpaca` names two assets of `zebra`: it depends on one, and declares the other as if it were its own. A code server
loads the attribute of its tenant.
"""

import dagster as dg

DEPENDED_ON = dg.AssetKey(["zebra", "depended_on"])
CLAIMED = dg.AssetKey(["zebra", "claimed"])
STATIC = dg.StaticPartitionsDefinition(["p1", "p2"])


class Word(dg.Config):
    word: str = "none"


def _assets(tenant: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    dynamic = dg.DynamicPartitionsDefinition(name=f"{tenant}_dynamic")

    @dg.asset(
        key=[tenant, "orders"],
        description=f"{tenant}_described",
        metadata={"said": f"{tenant}_metadata"},
        tags={"tagged": f"{tenant}_tag"},
        group_name=f"{tenant}_group",
        pool=f"{tenant}_pool",
        owners=[f"team:{tenant}_owner"],
    )
    def orders(context: dg.AssetExecutionContext) -> None:
        context.log.info(f"{tenant}_logged")
        print(f"{tenant}_printed")  # noqa: T201
        context.add_output_metadata({"rows": f"{tenant}_output"})

    @dg.asset(key=[tenant, "joined"], deps=[orders, DEPENDED_ON], partitions_def=STATIC)
    def joined() -> None: ...

    @dg.asset(key=[tenant, "dynas"], partitions_def=dynamic)
    def dynas() -> None: ...

    @dg.asset(key=[tenant, "boom"])
    def boom() -> None:
        raise RuntimeError(f"{tenant}_error")

    if tenant == "alpaca":
        return [orders, joined, dynas, boom, dg.AssetSpec(CLAIMED)]

    @dg.asset(key=DEPENDED_ON)
    def depended_on(context: dg.AssetExecutionContext) -> None:
        context.add_output_metadata({"rows": f"{tenant}_depended_output"})

    @dg.asset(key=CLAIMED)
    def claimed(context: dg.AssetExecutionContext) -> None:
        context.add_output_metadata({"rows": f"{tenant}_claimed_output"})

    return [orders, joined, dynas, boom, depended_on, claimed]


def _definitions(tenant: str) -> dg.Definitions:
    @dg.asset_check(asset=dg.AssetKey([tenant, "orders"]), name="check", description=f"{tenant}_check_described")
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, metadata={"found": f"{tenant}_check_found"})

    @dg.op(description=f"{tenant}_op_described")
    def step(context: dg.OpExecutionContext, config: Word) -> None:
        context.log.info(f"{tenant}_step {config.word}")

    @dg.job(description=f"{tenant}_job_described", tags={"of_job": f"{tenant}_job_tag"})
    def nightly() -> None:
        step()

    @dg.job(name=f"{tenant}_other_job")
    def other() -> None:
        step()

    partitioned = dg.define_asset_job("partitioned", selection=[dg.AssetKey([tenant, "joined"])])

    @dg.sensor(name="watcher", job=nightly, description=f"{tenant}_sensor_described")
    def watcher() -> dg.SkipReason:
        return dg.SkipReason(f"{tenant}_skipped")

    return dg.Definitions(
        assets=_assets(tenant),
        asset_checks=[check],
        jobs=[nightly, other, partitioned],
        schedules=[
            dg.ScheduleDefinition(
                name="nightly_schedule", job=nightly, cron_schedule="0 1 * * *", description=f"{tenant}_scheduled"
            )
        ],
        sensors=[watcher],
        resources={"resource": dg.ResourceDefinition.hardcoded_resource(1, f"{tenant}_resource_described")},
        executor=dg.in_process_executor,
    )


alpaca = _definitions("alpaca")
zebra = _definitions("zebra")
