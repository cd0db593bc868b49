"""What the hubs make of production's release: the server of every course, and each hub as a whole.

Values, `hub.config`, extraConfig and the spawner all count here, together, in the hub's own image, for the whole
catalogue and in both hubs. Nothing that kind.yaml scales is part of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.hub import pod_checks
from harness.hub.pod_checks import HubCheck, MadeHub, ServerCheck, hub_faults, server_faults

Hubs = Sequence[MadeHub]


def check_servers(hubs: Hubs, check: ServerCheck) -> None:
    faults = server_faults(hubs, check)
    assert not faults, "\n".join(faults)


def check_hubs(hubs: Hubs, check: HubCheck) -> None:
    faults = hub_faults(hubs, check)
    assert not faults, "\n".join(faults)


def test_every_course_gets_its_image_and_gpu(made_by_production: Hubs) -> None:
    """Students and authors of every course get its own image, and a GPU on a node that takes them if it needs one."""
    check_servers(made_by_production, pod_checks.check_image)


def test_every_server_has_memory(made_by_production: Hubs) -> None:
    """Every server may use 4 GB of memory and is guaranteed 2 GB, and no limit is below its guarantee."""
    check_servers(made_by_production, pod_checks.check_memory)


def test_every_server_has_cpu(made_by_production: Hubs) -> None:
    """Every server is guaranteed a quarter of a CPU, and may use all that is free."""
    check_servers(made_by_production, pod_checks.check_cpu)


def test_every_start_asks_for_the_newest_image(made_by_production: Hubs) -> None:
    """Every start of every course asks the registry for the newest image, with a GPU and without."""
    check_servers(made_by_production, pod_checks.check_pull_policy)


def test_only_authors_have_an_account(made_by_production: Hubs) -> None:
    """Authors' servers have their service account; no student's server has an account or a token of the cluster."""
    check_servers(made_by_production, pod_checks.check_account)


def test_only_authors_are_told_of_the_bucket(made_by_production: Hubs) -> None:
    """Every author's server is told of the courses' bucket; no student's is, and none gets credentials."""
    check_servers(made_by_production, pod_checks.check_environment)


def test_nothing_holds_up_a_start(made_by_production: Hubs) -> None:
    """No hook and no further container holds up a start, but those that the values have for it."""
    check_servers(made_by_production, pod_checks.check_start)


def test_servers_have_time_to_start(made_by_production: Hubs) -> None:
    """Every server has ten minutes to start, in which a large image is pulled, and 30 s to answer."""
    check_servers(made_by_production, pod_checks.check_times)


def test_servers_have_the_settings_files_alone(made_by_production: Hubs) -> None:
    """Every server has the settings files of its hub, and nothing of its node, of others, or over its notebooks."""
    check_servers(made_by_production, pod_checks.check_mounts)


def test_kernels_live_as_long_as_their_server(made_by_production: Hubs) -> None:
    """No setting in a server ends a kernel, and its variables, sooner than the hub ends the server."""
    check_servers(made_by_production, pod_checks.check_kernel_culling)


def test_students_pages_save_by_themselves(made_by_production: Hubs) -> None:
    """A student's page saves by itself, so that a download has what is on screen."""
    check_servers(made_by_production, pod_checks.check_autosave)


def test_nothing_but_the_hub_ends_a_server_in_use(made_by_production: Hubs) -> None:
    """Neither Kubernetes nor an autoscaler ends a server, and each reports its use in time for the culler."""
    check_servers(made_by_production, pod_checks.check_lasting)


def test_no_server_runs_as_root(made_by_production: Hubs) -> None:
    """No server runs as root, and none has more rights on its node than usual."""
    check_servers(made_by_production, pod_checks.check_privileges)


def test_each_part_of_a_hub_can_be_made(made_by_production: Hubs) -> None:
    """Each hub's authenticator, proxy and spawner can be made of its settings."""
    check_hubs(made_by_production, pod_checks.check_parts)


def test_something_reads_each_setting(made_by_production: Hubs) -> None:
    """Each setting of hub.config and of the spawner file is one that the hub has: a misspelt one does nothing."""
    check_hubs(made_by_production, pod_checks.check_settings)


def test_announcements_reach_the_hubs_pages(made_by_production: Hubs) -> None:
    """What the values put on the hub's pages is there, and nothing later replaces it."""
    check_hubs(made_by_production, pod_checks.check_announcements)


def test_a_class_may_arrive_at_once(made_by_production: Hubs) -> None:
    """No limit of a hub turns away a class of 32, and a few failed starts end no hub."""
    check_hubs(made_by_production, pod_checks.check_limits)


def test_logins_last_as_long_as_servers(made_by_production: Hubs) -> None:
    """A login lasts as long as the server may live, so that saving works to its end."""
    check_hubs(made_by_production, pod_checks.check_lifetimes)


def test_culler_may_remove_what_it_finds(made_by_production: Hubs) -> None:
    """Each hub runs a culler that may see how servers are used, and remove them with their users."""
    check_hubs(made_by_production, pod_checks.check_culler)


def test_hubs_learn_of_use_in_time(made_by_production: Hubs) -> None:
    """A hub learns of a server's use at least twice before the culler takes it for idle."""
    check_hubs(made_by_production, pod_checks.check_activity)


def test_each_person_keeps_one_server(made_by_production: Hubs) -> None:
    """A person has one server, is led to it, and keeps it through a logout and a restart of the hub."""
    check_hubs(made_by_production, pod_checks.check_behaviour)
