"""The dashboard as Grafana takes it, made of the panels: `python -m harness.monitoring.dashboard` writes its file."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel as Graph
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

from harness.monitoring.panels import DASHBOARD, PANELS, UID, Panel

TITLE = "JupyterHub on MIT Learn"
_WIDTH, _HEIGHT = 12, 8
"""Columns, of 24, and rows of a panel."""


def dashboard_json() -> str:
    """Return the dashboard as JSON."""
    dashboard = (
        Dashboard(TITLE)
        .uid(UID)
        .tags(["jupyterhub"])
        .editable()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            QueryVariable("hub")
            .label("Hub")
            .datasource(_source())
            .query('label_values(kube_deployment_spec_replicas{deployment="hub"}, namespace)')
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value("jupyter.*")
            .multi(True)
        )
    )
    for row, panels in groupby(PANELS, lambda panel: panel.row):
        dashboard = dashboard.with_row(Row(row))
        for panel in panels:
            dashboard = dashboard.with_panel(_graph(panel))
    made = json.loads(json.dumps(dashboard.build(), cls=JSONEncoder))
    for variable in made["templating"]["list"]:
        # The library gives every variable these of an interval, which Grafana's own types know for no other kind.
        for key in ("auto", "auto_count", "auto_min"):
            variable.pop(key, None)
    return json.dumps(made, indent=2, sort_keys=True) + "\n"


def _source() -> DataSourceRef:
    return DataSourceRef(type_val="prometheus", uid="${datasource}")


def _graph(panel: Panel) -> Graph:
    legend = VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    query = Dataquery().expr(panel.expression).legend_format(panel.legend).datasource(_source()).ref_id("A")
    return (
        Graph()
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .min(0)
        .datasource(_source())
        .height(_HEIGHT)
        .span(_WIDTH)
        .legend(legend)
        .with_target(query)
    )


if __name__ == "__main__":
    Path(DASHBOARD).write_text(dashboard_json())
