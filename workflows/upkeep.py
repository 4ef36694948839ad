"""What happens beside the incidents, on a schedule and on demand."""

from temporalio import workflow

from activities.polling import Poll, Polled, Polling
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


@workflow.defn(name="poll-status-pages")
class PollStatusPagesWorkflow:
    @workflow.run
    async def run(self) -> Polled:
        """Asks the providers' status pages. What the schedule's last run has seen is where this one begins."""
        last = workflow.get_last_completion_result(Polled) if workflow.has_last_completion_result() else None
        return await workflow.execute_activity_method(
            Polling.status_pages,
            Poll(at=workflow.now(), before=last.seen if last else {}),
            task_queue=names.WATCHING,
            start_to_close_timeout=options.POLL_TIMEOUT,
            retry_policy=options.POLL_RETRY,
        )


@workflow.defn(name="watch")
class WatchWorkflow:
    @workflow.run
    async def run(self) -> Watched:
        """Looks at everything that only time changes: heartbeats, and telemetry that ends or falls silent."""
        return await workflow.execute_activity_method(
            Watching.watch,
            Watch(),
            task_queue=names.WATCHING,
            start_to_close_timeout=options.WATCH_TIMEOUT,
            retry_policy=options.WATCH_RETRY,
        )
