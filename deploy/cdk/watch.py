"""The dashboard, and the alarms of docs/operations.md."""

from pathlib import Path
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions

if TYPE_CHECKING:
    from service import ServiceStack

NAMESPACE = "OSML/ModelRunner"
BODY = Path(__file__).parents[1] / "dashboards" / "cloudwatch.json"
ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
QUIET = cloudwatch.TreatMissingData.NOT_BREACHING


def watch(stack: "ServiceStack") -> None:
    """Show what happens, and tell the topic of alarms when somebody should look."""
    cloudwatch.CfnDashboard(
        stack, "Dashboard",
        dashboard_body=cdk.Fn.sub(BODY.read_text(), {"LogGroup": stack.log_group.log_group_name}),
    )  # fmt: skip
    waking = {
        "Refused": (stack.dead.metric_approximate_number_of_messages_visible(), 0, 1,
                    "Requests were refused, or failed again and again"),
        "Waiting": (stack.queue.metric_approximate_age_of_oldest_message(), 3600, 3,
                    "The oldest request waits for more than an hour"),
    }  # fmt: skip
    rates = {
        "Throttled": (_share("Throttles"), 50, 3, "More than half of the jobs wait for capacity"),
        "Failing": (_share("Errors"), 1, 3, "More than one job in a hundred cannot be scheduled"),
        "Slow": (_scheduling("Duration", "p99"), 2, 3, "Scheduling takes more than two seconds"),
    }
    for name, (metric, threshold, periods, told) in {**waking, **rates}.items():
        alarm = cloudwatch.Alarm(
            stack, f"{name} alarm",
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=ABOVE,
            treat_missing_data=QUIET,
            alarm_description=told,
        )  # fmt: skip
        alarm.add_alarm_action(actions.SnsAction(stack.alarms))


def _scheduling(name: str, statistic: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"Operation": "Scheduling"},
        statistic=statistic,
        period=cdk.Duration.minutes(5),
    )


def _share(name: str) -> cloudwatch.MathExpression:
    """Percent of the scheduled jobs."""
    return cloudwatch.MathExpression(
        expression="100 * part / all",
        using_metrics={
            "part": _scheduling(name, "Sum"),
            "all": _scheduling("Invocations", "Sum"),
        },
        label=f"{name} in percent",
        period=cdk.Duration.minutes(5),
    )
