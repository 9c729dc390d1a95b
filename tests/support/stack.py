"""deploy/tradeportal.yaml as a stack in moto, in this process, with what moto's CloudFormation lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
from moto import mock_aws
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.sqs.models import Queue

from trades import sqs

BUCKET_POLICIES: dict[str, Any] = {}  # by bucket: moto would enforce them and ignore their conditions
TEMPLATE = Path(__file__).resolve().parents[2] / "deploy" / "tradeportal.yaml"
ACCOUNT, REGION = "123456789012", "eu-west-1"


def client(service: str) -> Any:
    """A client that knows nothing of the portal."""
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that was created, by its outputs."""

    outputs: dict[str, str]

    def policy(self, output: str) -> dict[str, Any]:
        """The document of the managed policy that an output names."""
        found = client("iam").get_policy_version(PolicyArn=self.outputs[output], VersionId="v1")
        document: dict[str, Any] = found["PolicyVersion"]["Document"]
        return document

    @property
    def settings(self) -> dict[str, str]:
        """The portal's environment."""
        return dict(item.split("=") for item in self.outputs["Settings"].split())


@contextmanager
def account() -> Iterator[None]:
    """An empty account in moto, where dead-letter queues report as on AWS who may use them, once it was said."""
    names = patch.object(Queue, "BASE_ATTRIBUTES", [*Queue.BASE_ATTRIBUTES, "RedriveAllowPolicy"])
    policies = patch.object(Queue, "redrive_allow_policy", _AllowPolicy(), create=True)
    with mock_aws(), patch.object(parsing, "clean_json", _without_nothing), names, policies:
        sqs.forget_clients()
        BUCKET_POLICIES.clear()
        yield
    sqs.forget_clients()


def created(name: str = "tradeportal", **parameters: str) -> Stack:
    """A stack of the template in the account that there is."""
    cloudformation = client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=TEMPLATE.read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    )
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return Stack({output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]})


class _AllowPolicy:
    """RedriveAllowPolicy as AWS reports it: as text, also where a template has it."""

    def __get__(self, queue: Any, owner: type) -> str | None:
        found: str | None = vars(queue).get("allow_policy")
        return found

    def __set__(self, queue: Any, value: Any) -> None:
        vars(queue)["allow_policy"] = value if isinstance(value, str) else json.dumps(value)


_clean_json = parsing.clean_json


def _without_nothing(value: Any, resources: Any) -> Any:
    """AWS leaves AWS::NoValue out of lists; moto puts None there."""
    cleaned = _clean_json(value, resources)
    return [item for item in cleaned if item is not None] if isinstance(cleaned, list) else cleaned


class _Policy:
    def __init__(self, name: str) -> None:
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return False


class _QueuePolicy(_Policy, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SQS::QueuePolicy"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name: str, cloudformation_json: Any, *_: Any, **__: Any) -> Any:
        properties = cloudformation_json["Properties"]
        for url in properties["Queues"]:
            client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(properties["PolicyDocument"])})
        return cls(resource_name)


class _BucketPolicy(_Policy, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::S3::BucketPolicy"

    @classmethod
    def create_from_cloudformation_json(cls, resource_name: str, cloudformation_json: Any, *_: Any, **__: Any) -> Any:
        properties = cloudformation_json["Properties"]
        BUCKET_POLICIES[properties["Bucket"]] = properties["PolicyDocument"]
        return cls(resource_name)
