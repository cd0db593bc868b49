module ol-jupyterhub-harness/images/go/pause

go 1.24.0
