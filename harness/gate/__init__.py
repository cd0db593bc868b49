"""The gate in front of both hubs, a pod of the cluster: Apache with mod_auth_openidc in APISIX's place.

addon       its pod and the ways to it and from it, as objects of the cluster
gate        the running gate
settings    the settings of APISIX's plugins, and Apache's directives for each
"""
