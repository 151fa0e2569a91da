"""What AWS charges in eu-west-1 (Ireland), and what is assumed where one machine cannot tell. The one home of both.

List prices in USD, without taxes, discounts and free tiers, as they were known on the day below; the pages are where to look
whether they still hold. Athena's are in `catalunya.io.warehouse.athena`, where queries are told what they cost.
"""

from __future__ import annotations

AS_OF = "2026-11-23"
REGION = "eu-west-1"
PAGES = {
    "S3": "https://aws.amazon.com/s3/pricing/",
    "Lambda": "https://aws.amazon.com/lambda/pricing/",
    "SQS": "https://aws.amazon.com/sqs/pricing/",
    "Glue": "https://aws.amazon.com/glue/pricing/",
    "CloudWatch": "https://aws.amazon.com/cloudwatch/pricing/",
    "Secrets Manager": "https://aws.amazon.com/secrets-manager/pricing/",
    "Athena": "https://aws.amazon.com/athena/pricing/",
}

S3_WRITE = 0.005 / 1000  # PUT, COPY, POST, LIST
S3_READ = 0.0004 / 1000  # GET and all others; DELETE is free
S3_GB_MONTH = 0.023
TRANSFER_OUT_GB = 0.09  # to the internet: to a worker that is not in AWS; within the region it is free
LAMBDA_REQUEST = 0.20 / 1_000_000
LAMBDA_GB_SECOND = 0.0000133334  # arm64; initialisation counts
SQS_REQUEST = 0.40 / 1_000_000
GLUE_REQUEST = 1.00 / 1_000_000
LOGS_GB = 0.57  # taken in

# What stands there whether anything runs or not, a month each. How many there are is the infrastructure's to say.
ALARM_MONTH = 0.10
DASHBOARD_MONTH = 3.00  # three of an account are free
SECRET_MONTH = 0.40

# Assumed.
SOURCE_WAIT_S = 1.0  # a function waits so long for each answer of a source, one after another
AWS_WAIT_S = 0.03  # and for each of S3 and Glue
RESULT_OBJECTS = 2  # that Athena puts down for each query: the rows and their description
LOG_FRAME_BYTES = 500  # what Lambda logs of each invocation by itself (START, END, REPORT)
DAYS = 30
KEPT_DAYS = 90  # what a table was before

# The seed's, without hosting, in USD a month.
BUDGET = {"dev": 5.75, "prod": 20.25}
