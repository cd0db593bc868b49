"""The owners' Pulumi programs and Concourse pipelines, evaluated without Pulumi, network or account."""
