"""The service in an account of AWS; README.md has the commands."""

import aws_cdk as cdk
from service import ServiceStack
from settings import Settings

app = cdk.App()
stack = ServiceStack(app, "daskmr", Settings.of(app.node.try_get_context))
cdk.Tags.of(stack).add("application", "daskmr")
app.synth()
