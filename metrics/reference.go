package metrics

import (
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const namespace = "scriptproxy_"

// Label names.
const (
	labelAnswer   = "answer"
	labelClass    = "class"
	labelKind     = "kind"
	labelLoop     = "loop"
	labelNode     = "node"
	labelOutcome  = "outcome"
	labelResult   = "result"
	labelRole     = "role"
	labelRoute    = "route"
	labelRule     = "rule"
	labelScript   = "script"
	labelSHA      = "sha"
	labelUpstream = "upstream"
	labelVerdict  = "verdict"
	labelVersion  = "version"
	labelRevision = "revision"
	labelGo       = "goversion"
)

// def is a metric family: the one place where its name, type, help and labels
// are written.
type def struct {
	group  string
	name   string
	help   string
	kind   dto.MetricType
	labels []string // in order of the documentation
	desc   *prometheus.Desc
}

// reference is every family of this package in order of the documentation.
var reference []*def

func define(kind dto.MetricType, group, name, help string, labels ...string) *def {
	d := &def{group: group, name: namespace + name, help: help, kind: kind, labels: labels}
	d.desc = prometheus.NewDesc(d.name, help, labels, nil)
	reference = append(reference, d)
	return d
}

const (
	counterType   = dto.MetricType_COUNTER
	gaugeType     = dto.MetricType_GAUGE
	histogramType = dto.MetricType_HISTOGRAM
)

var (
	defScriptCalls = define(counterType, "Scripts", "script_calls_total",
		"Script calls that ended, by script, version, where they went and how they ended.",
		labelScript, labelVersion, labelRoute, labelOutcome)
	defScriptDuration = define(histogramType, "Scripts", "script_duration_seconds",
		"Time of script calls on the node: from the later of being sent and the reply before it on the same link, to its own reply.",
		labelScript, labelRoute)
	defSlowScripts = define(counterType, "Scripts", "slow_scripts_total",
		"Script calls that took longer on the node than the script's slow_after.", labelScript)
	defScriptRunning = define(gaugeType, "Scripts", "script_running_seconds",
		"For how long a script that has not answered yet has been running on a node.", labelNode, labelScript)
	defScriptHeals = define(counterType, "Scripts", "script_heals_total",
		"Scripts that were loaded again on a node which had lost them.", labelNode)
	defScriptKills = define(counterType, "Scripts", "script_kills_total",
		"Attempts to kill a running script, by result.", labelScript, labelResult)
	defScriptBreaker = define(gaugeType, "Scripts", "script_breaker_state",
		"State of a script's circuit breaker: 0 closed, 1 half open, 2 open (calls are refused).", labelScript, labelVersion)
	defActiveVersion = define(gaugeType, "Scripts", "script_active_version_info",
		"The active version of each script and its sha; always 1.", labelScript, labelVersion, labelSHA)
	defPolicyDecisions = define(counterType, "Scripts", "policy_decisions_total",
		"Decisions of the policy, by the rule that decided and its verdict.", labelRule, labelVerdict)

	defSessions = define(gaugeType, "Clients", "sessions",
		"Open client sessions.")
	defSessionsOpened = define(counterType, "Clients", "sessions_opened_total",
		"Client sessions opened.")
	defSessionsRejected = define(counterType, "Clients", "sessions_rejected_total",
		"Client connections refused before they became a session.")
	defRequests = define(counterType, "Clients", "requests_total",
		"Requests of clients, by class of the command.", labelClass)
	defPing = define(counterType, "Clients", "ping_total",
		"PING requests of clients, by how they were answered.", labelAnswer)
	defErrors = define(counterType, "Clients", "errors_total",
		"Errors that the proxy itself answered, and connections that it closed, by kind.", labelKind)

	defUpstreamUp = define(gaugeType, "Nodes", "upstream_up",
		"Whether a node answers (1) or not (0), with its role.", labelNode, labelRole)
	defUpstreamInfo = define(gaugeType, "Nodes", "upstream_info",
		"Always 1: which of several sets of servers a node belongs to; default is that of the key upstream.", labelNode, labelUpstream)
	defUpstreamBusy = define(gaugeType, "Nodes", "upstream_busy",
		"Whether a node is busy with a script and refuses commands (1) or not (0).", labelNode)
	defPrimaryConflicts = define(counterType, "Nodes", "primary_conflicts_total",
		"Times that a node said it is the primary while another did too. Meanwhile neither gets traffic.", labelNode)
	defUpstreamOffset = define(gaugeType, "Nodes", "upstream_offset_bytes",
		"A node's own replication offset: of two that say they are the primary, the one with the newer data has the larger one.", labelNode)
	defReplicaLagBytes = define(gaugeType, "Nodes", "replica_lag_bytes",
		"How far a replica's replication offset is behind its primary's.", labelNode)
	defReplicaLagSeconds = define(gaugeType, "Nodes", "replica_lag_seconds",
		"How long ago a replica had what its primary has now.", labelNode)
	defUpstreamScripts = define(gaugeType, "Nodes", "upstream_cached_scripts",
		"Scripts in a node's script cache.", labelNode)
	defUpstreamScriptMemory = define(gaugeType, "Nodes", "upstream_script_memory_bytes",
		"Memory that scripts take on a node.", labelNode)
	defLinks = define(gaugeType, "Nodes", "links",
		"Open connections to a node, by what they are for.", labelNode, labelKind)
	defLinkReconnects = define(counterType, "Nodes", "link_reconnects_total",
		"Connections to a node that were opened again after they had been lost.", labelNode)

	defRegistryRevision = define(gaugeType, "Registry and configuration", "registry_revision",
		"Revision of the script registry that this proxy runs.")
	defRegistryDrift = define(gaugeType, "Registry and configuration", "registry_drift",
		"Revisions by which this proxy is behind what it last saw in the registry's store.")
	defRegistryOverrides = define(gaugeType, "Registry and configuration", "registry_overrides",
		"Scripts of which another version was made active at run time than the configuration declares.")
	defRegistryUp = define(gaugeType, "Registry and configuration", "registry_up",
		"Whether the registry's store answers (1) or not (0); absent when the registry is a file.")
	defReloadOK = define(gaugeType, "Registry and configuration", "config_last_reload_successful",
		"Whether the last attempt to load the configuration succeeded (1) or not (0).")
	defReloadTime = define(gaugeType, "Registry and configuration", "config_last_reload_success_timestamp_seconds",
		"When the configuration was last loaded successfully, in Unix time.")
	defReloads = define(counterType, "Registry and configuration", "config_reloads_total",
		"Attempts to load the configuration, by result.", labelResult)

	defLoopBusy = define(gaugeType, "The proxy itself", "loop_busy_ratio",
		"Part of the time that an event loop was busy, 0 to 1.", labelLoop)
	defScrapeIncomplete = define(counterType, "The proxy itself", "scrape_incomplete_total",
		"Scrapes for which a loop did not hand over its counts in time; they come with a later scrape.")
	defBuildInfo = define(gaugeType, "The proxy itself", "build_info",
		"Version, source revision and Go version of the program; always 1.", labelVersion, labelRevision, labelGo)
)

// labelValues lists, for docs/metrics.md, the values of labels that have a
// fixed set of them.
func (d *def) labelValues(label string) []string {
	switch label {
	case labelRoute:
		return routeNames[:]
	case labelOutcome:
		return outcomeNames[:]
	case labelClass:
		return classNames[:]
	case labelVerdict:
		return verdictNames[:]
	case labelAnswer:
		return pingNames[:]
	case labelRole:
		return roleNames[:]
	case labelKind:
		if d == defLinks {
			return linkKindNames[:]
		}
		return errKindNames[:]
	case labelResult:
		if d == defScriptKills {
			return killResultNames[:]
		}
		return reloadResults[:]
	}
	return nil
}

// WriteReference writes docs/metrics.md: every family of this package, as the
// collectors know it.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceHead)
	group := ""
	for _, d := range reference {
		if d.group != group {
			group = d.group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s.", d.name, strings.ToLower(d.kind.String()))
		fmt.Fprintf(&b, " %s\n", d.help)
		if len(d.labels) > 0 {
			b.WriteString("\n| label | values |\n|---|---|\n")
		}
		for _, l := range d.labels {
			values := labelMeaning[l]
			if fixed := d.labelValues(l); fixed != nil {
				values = "`" + strings.Join(fixed, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s |\n", l, values)
		}
		if d == defScriptDuration {
			b.WriteString("\nClassic buckets:")
			for _, end := range bucketEnd {
				fmt.Fprintf(&b, " `%s`", strings.TrimSuffix(end, bucketClose))
			}
			b.WriteString(". With native histograms switched on, also schema 3, in the protobuf format.\n")
		}
	}
	b.WriteString(referenceTail)
	_, err := io.WriteString(w, b.String())
	return err
}

// labelMeaning describes labels whose values come from the configuration.
var labelMeaning = map[string]string{
	labelScript:   "registered name; `unregistered` for scripts that are not registered; `other` past the limit on label sets",
	labelVersion:  "registered version; empty for `unregistered` and `other`; in `build_info`, of the program",
	labelNode:     "`host:port`; `other` past 1,000 nodes",
	labelUpstream: "the name of a set of servers",
	labelRule:     "name of the rule; `other` past 1,000 rules",
	labelSHA:      "40 hexadecimal digits, of registered versions only",
	labelLoop:     "number of the event loop, from 0",
	labelRevision: "source revision of the program",
	labelGo:       "version of Go that built the program",
}

const referenceHead = `<!-- Generated from the collectors by "go generate ./metrics"; do not edit. -->

# Metrics

All are served at ` + "`/metrics`" + ` of the admin listener, in base units (seconds, bytes). Durations of scripts
are the time on the node, not the time seen by the client. A script's series appear with its first call.

Labels are bounded: scripts by the registry and by a limit (10,000 pairs of script and version by
default), the rest as said below. Keys, arguments and shas of unregistered scripts are never labels.
`

const referenceTail = `
## Go runtime and process

The standard collectors of the Prometheus client library: ` + "`go_*` and `process_*`" + `.
`
