package metrics

import (
	"testing"
	"time"
)

func TestSessionsGoUpAndDown(t *testing.T) {
	m := New(Options{})
	m.Sessions(2)
	m.Sessions(-1)
	m.SessionRejected()
	got := values(t, m.Registry())
	expect(t, got, "sessions{}", 1)
	expect(t, got, "sessions_opened_total{}", 2)
	expect(t, got, "sessions_rejected_total{}", 1)
}

func TestANodesGaugesFollowItsRoleAndLeaveWithIt(t *testing.T) {
	m := New(Options{})
	n := m.Node("a:1")
	m.UpstreamUp(n, RoleReplica, true)
	m.ReplicaLag(n, 100, 1.5)
	m.UpstreamBusy(n, true)
	m.UpstreamScripts(n, 3, 300)
	m.UpstreamOffset(n, 1000, 2)
	m.Links(n, LinkControl, 1)
	m.LinkReconnect(n)
	got := values(t, m.Registry())
	expect(t, got, "upstream_up{node=a:1,role=replica}", 1)
	expect(t, got, "replica_lag_bytes{node=a:1}", 100)
	expect(t, got, "replica_lag_seconds{node=a:1}", 1.5)
	expect(t, got, "upstream_busy{node=a:1}", 1)
	expect(t, got, "upstream_cached_scripts{node=a:1}", 3)
	expect(t, got, "upstream_script_memory_bytes{node=a:1}", 300)
	expect(t, got, "upstream_offset_bytes{node=a:1}", 1000)
	expect(t, got, "primary_conflicts_total{node=a:1}", 2)
	expect(t, got, "links{kind=control,node=a:1}", 1)
	expect(t, got, "links{kind=shared,node=a:1}", 0)

	m.UpstreamUp(n, RolePrimary, false)
	m.ReplicaLag(n, -1, -1)
	got = values(t, m.Registry())
	expect(t, got, "upstream_up{node=a:1,role=primary}", 0)
	expectAbsent(t, got, "upstream_up{node=a:1,role=replica}")
	expectAbsent(t, got, "replica_lag")

	m.Links(n, LinkControl, -1)
	m.NodeGone(n)
	m.UpstreamBusy(n, true) // a poll that was under way
	got = values(t, m.Registry())
	expectAbsent(t, got, "upstream_")
	expectAbsent(t, got, "links{")
	expect(t, got, "link_reconnects_total{node=a:1}", 1)
	expect(t, got, "primary_conflicts_total{node=a:1}", 2)

	m.UpstreamUp(m.Node("a:1"), RoleReplica, true)
	expect(t, values(t, m.Registry()), "upstream_up{node=a:1,role=replica}", 1)
}

func TestActiveVersionsAreReplacedAsAWhole(t *testing.T) {
	m := New(Options{})
	m.SetActiveVersions([]ActiveVersion{{"a", "v1", "s1"}, {"b", "v1", "s2"}})
	m.SetActiveVersions([]ActiveVersion{{"a", "v2", "s3"}})
	got := values(t, m.Registry())
	expect(t, got, "script_active_version_info{script=a,sha=s3,version=v2}", 1)
	expectAbsent(t, got, "script_active_version_info{script=a,sha=s1")
	expectAbsent(t, got, "script_active_version_info{script=b")
}

func TestReloadsAndRegistry(t *testing.T) {
	m := New(Options{})
	got := values(t, m.Registry())
	expect(t, got, "config_last_reload_successful{}", 0)
	expectAbsent(t, got, "config_last_reload_success_timestamp_seconds")
	expectAbsent(t, got, "registry_up")

	m.ConfigReload(true, time.Unix(1_700_000_000, 500_000_000))
	m.ConfigReload(false, time.Unix(1_800_000_000, 0))
	m.RegistryRevision(9)
	m.RegistryDrift(1)
	m.RegistryOverrides(3)
	m.RegistryUp(false)
	got = values(t, m.Registry())
	expect(t, got, "config_last_reload_successful{}", 0)
	expect(t, got, "config_last_reload_success_timestamp_seconds{}", 1_700_000_000.5)
	expect(t, got, "config_reloads_total{result=success}", 1)
	expect(t, got, "config_reloads_total{result=failure}", 1)
	expect(t, got, "registry_revision{}", 9)
	expect(t, got, "registry_drift{}", 1)
	expect(t, got, "registry_overrides{}", 3)
	expect(t, got, "registry_up{}", 0)
}

func TestKillsAndBreakersAreExposedOnceThereAreAny(t *testing.T) {
	m := New(Options{})
	id := m.Script("s", "v1")
	got := values(t, m.Registry())
	expectAbsent(t, got, "script_kills_total")
	expectAbsent(t, got, "script_breaker_state")
	m.Kill(id, KillKilled)
	m.Breaker(id, BreakerOpen)
	got = values(t, m.Registry())
	expect(t, got, "script_kills_total{result=killed,script=s}", 1)
	expect(t, got, "script_kills_total{result=failed,script=s}", 0)
	expect(t, got, "script_breaker_state{script=s,version=v1}", 2)
	m.Breaker(id, BreakerClosed)
	expect(t, values(t, m.Registry()), "script_breaker_state{script=s,version=v1}", 0)
}

func TestTheLongestRunningCallOfAScriptCounts(t *testing.T) {
	m := New(Options{})
	m.OnCollectRunning(func(emit func(node, script string, seconds float64)) {
		emit("n", "s", 1)
		emit("n", "s", 3)
		emit("n", "s", 2)
	})
	expect(t, values(t, m.Registry()), "script_running_seconds{node=n,script=s}", 3)
}
