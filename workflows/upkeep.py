"""What happens beside the incidents, on a schedule and on demand."""

from temporalio import workflow

from activities.upkeep import Train, Trained, Upkeep
from activities.watching import Watch, Watched, Watching
from workflows import names, options


@workflow.defn(name="retrain")
class RetrainWorkflow:
    @workflow.run
    async def run(self, anyway: bool = False) -> Trained:
        """Trains a challenger, and promotes it if it is better. `anyway`: also when nothing is new."""
        return await workflow.execute_activity_method(
            Upkeep.train,
            Train(request=workflow.info().run_id, anyway=anyway),
            task_queue=names.UPKEEP,
            start_to_close_timeout=options.TRAINING_TIMEOUT,
            heartbeat_timeout=options.TRAINING_HEARTBEAT,
            retry_policy=options.TRAINING_RETRY,
        )


@workflow.defn(name="watch")
class WatchWorkflow:
    @workflow.run
    async def run(self) -> Watched:
        """Looks at everything that only time changes: heartbeats, and telemetry that ends or falls silent."""
        return await workflow.execute_activity_method(
            Watching.watch,
            Watch(),
            task_queue=names.WATCH,
            start_to_close_timeout=options.WATCH_TIMEOUT,
            retry_policy=options.WATCH_RETRY,
        )
