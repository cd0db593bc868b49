"""A shop in place of the hubs."""

import boto3
import pulumi
from bridge.secrets.sops import read_yaml_secrets
from ol_infrastructure.applications.jupyterhub.shop import open_shop
from ol_infrastructure.lib import kinds

stage = pulumi.get_stack().rpartition(".")[2]
cluster = pulumi.StackReference(f"organization/clusters/applications.{stage}")
secrets = read_yaml_secrets(f"shop/secrets.{stage.lower()}.yaml")
regions = boto3.client("ec2").describe_regions()["Regions"]

bucket = kinds.Kind("aws:s3/bucketV2:BucketV2", "notebooks", bucket=f"notebooks-{stage.lower()}")
kinds.Kind(
    "aws:iam/policy:Policy",
    "reader",
    policy={"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": bucket.arn}]},
)
kinds.Kind("aws:iam/role:Role", "seller", assumeRolePolicy=f'{{"Statement": [{{"Principal": "{kinds.account()}"}}]}}')


def check(namespace: str, there: list[str]) -> None:
    if namespace not in there:
        raise ValueError(f"{namespace} is none of {', '.join(there)}")


for hub in pulumi.Config("hubs").require_object("list"):
    cluster.require_output("namespaces").apply(lambda there, hub=hub: check(hub["namespace"], there))
    open_shop(hub, secrets["database"], len(regions), cluster.require_output("node_role"))
