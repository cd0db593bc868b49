"""A warehouse in place of the data hub, named as older commits do, and reached by the gateway's own routes."""

import pulumi
from ol_infrastructure.lib import kinds

domain = pulumi.Config().require("domain")
kinds.custom("PluginConfig", "shared", "data", {"plugins": [{"name": "request-id", "config": {}}]})
kinds.custom(
    "HTTPRoute",
    "warehouse",
    "data",
    {
        "hostnames": [domain],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "filters": [{"extensionRef": {"kind": "PluginConfig", "name": "shared"}}],
                "backendRefs": [{"name": "proxy-public-ws", "port": 80}],
            }
        ],
    },
)
kinds.Kind("example:index:Stack", "stack", name=pulumi.get_stack())
