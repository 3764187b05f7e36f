package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// Configurations of scriptproxy that are measured beside the plain one, each through a proxy of its own in the same rounds.
const (
	// protected has deadlines, limits and breakers, and decides for every read whether a replica may answer it.
	protected = "scriptproxy, protected"
	// governed has a policy of policyRules rules in force.
	governed = "scriptproxy, policy"
	// fast is told that nobody flushes scripts behind its back, and sends EVALSHA in pipelines, too.
	fast = "scriptproxy, fast"
	// uncounted does not count script calls.
	uncounted = "scriptproxy, uncounted"
	// before is another build of scriptproxy, that of -before, in the plain configuration.
	before = "scriptproxy, before"
)

// configTargets are the targets by the name of their configuration, in the order of the report.
var configTargets = []struct{ config, target string }{{"plain", scriptproxy}, {"protected", protected}, {"policy", governed}, {"fast", fast}, {"uncounted", uncounted}, {"before", before}}

func configNames() string {
	var names []string
	for _, c := range configTargets {
		names = append(names, c.config)
	}
	return strings.Join(names, ",")
}

// isScriptproxy tells whether a target is scriptproxy, in whatever configuration.
func isScriptproxy(target string) bool {
	return slices.ContainsFunc(configTargets, func(c struct{ config, target string }) bool { return c.target == target })
}

// withConfigs puts scriptproxy in the configurations that were asked for into a list of targets that has scriptproxy.
func withConfigs(targets []string, list string) ([]string, error) {
	chosen := strings.Split(list, ",")
	for _, name := range chosen {
		if !strings.Contains(","+configNames()+",", ","+name+",") {
			return nil, fmt.Errorf("unknown configuration %q: the configurations are %s", name, configNames())
		}
	}
	var all []string
	for _, target := range targets {
		if target != scriptproxy {
			all = append(all, target)
			continue
		}
		for _, c := range configTargets {
			if slices.Contains(chosen, c.config) {
				all = append(all, c.target)
			}
		}
	}
	return all, nil
}

// startReplica starts a replica of the server and waits until it has what the server has.
func startReplica(primary *redisserver.Process) (*redisserver.Process, error) {
	replica, err := redisserver.StartProcess(redisserver.Config{Directives: []redisserver.Directive{{Name: "replicaof", Value: fmt.Sprintf("127.0.0.1 %d", primary.Port())}}})
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := replica.Dial()
		if err != nil {
			replica.Close()
			return nil, err
		}
		text, err := c.Do("INFO", "replication")
		c.Close()
		if info, _ := text.(string); strings.Contains(info, "master_link_status:up") && strings.Contains(info, "master_sync_in_progress:0") {
			return replica, nil
		}
		if time.Now().After(deadline) {
			replica.Close()
			return nil, fmt.Errorf("the replica has not synchronized within 30s: %v, %v", text, err)
		}
	}
}

// variant is what a configuration of scriptproxy adds to the plain one: top-level sections, and settings of the upstream, of all scripts,
// and of the measured one.
type variant struct{ sections, upstream, scripts, script string }

func variantConfig(name, dir string, replicaPort int) (variant, error) {
	switch name {
	case protected:
		// With strong the whole question is asked of the replica for every read, and the primary answers it: the server's work is the
		// same in all rows, and what is left is the proxy's.
		return variant{
			upstream: fmt.Sprintf("  replicas: [127.0.0.1:%d]\n", replicaPort),
			sections: "routing: {reads: replica, script_reads: replica, consistency: strong}\nwatchdog: {manage_busy_threshold: true}\n",
			script:   "      deadline: 500ms\n      max_concurrent: 100000\n      max_queue: 1000\n      breaker: {kills: 3, window: 1m, open_for: 10s}\n",
		}, nil
	case governed:
		rules := filepath.Join(dir, "rules.yaml")
		if err := os.WriteFile(rules, []byte(manyRules()), 0o600); err != nil {
			return variant{}, fmt.Errorf("write the rules: %w", err)
		}
		return variant{sections: "policy: {mode: enforce, rules_file: rules.yaml}\n"}, nil
	case fast:
		return variant{scripts: "  pipelining: fast\n"}, nil
	case uncounted:
		return variant{sections: "metrics: {script_calls: false}\n"}, nil
	}
	return variant{}, nil
}

// policyRules is how many rules the policy has.
const policyRules = 1000

// manyRules is a policy in which every measured command is asked about: rules of many kinds that look at it and match another client,
// script, time or size, and at the end some that match and let it in.
func manyRules() string {
	kinds := []string{
		"{commands: [get, set, del, hget, \"@dangerous\"], users: [\"team-%d-*\"]}, action: deny",
		"{scripts: [\"other-%d\", \"*-nobody\"]}, action: deny",
		"{networks: [10.%d.0.0/16]}, action: deny",
		"{tags: [tag-%d], registered: true}, action: allow",
		"{commands: [get, set], networks: [172.16.%d.0/24], min_keys: 1}, action: deny",
		"{uses: [flushall, keys], users: [\"ops-%d\"]}, action: deny",
		"{min_keys: 3, max_keys: 9, users: [batch-%d]}, deadline: 1s, priority: low",
		"{commands: [\"config|set\", set], users: [\"admin-%d\"], min_arg_bytes: 1MiB}, action: audit",
	}
	var b strings.Builder
	b.WriteString("default: deny\ndefault_commands: deny\nrules:\n")
	for i := range policyRules - 2 {
		fmt.Fprintf(&b, "  - {name: rule-%d, match: "+kinds[i%len(kinds)]+"}\n", i, i/len(kinds)%250)
	}
	b.WriteString("  - {name: the-script, match: {scripts: [" + scriptName + "], networks: [127.0.0.0/8], max_keys: 2}, action: allow}\n")
	b.WriteString("  - {name: the-commands, match: {commands: [get, set, info, config, ping, client, \"@connection\"], networks: [127.0.0.0/8]}, action: allow}\n")
	return b.String()
}

// writeVariants compares the configurations with the plain one.
func (rep *report) writeVariants(d *document) {
	t := &table{headings: []string{"command", "through"}, textColumns: 2}
	shown := []metric{perSecond, p50, p99, proxyCPU, serverCPU}
	for _, m := range shown {
		t.headings = append(t.headings, m.heading)
	}
	for _, g := range rep.Groups {
		for _, r := range g.Rows {
			plain, found := g.row(scriptproxy, r.ByName)
			if !found || r.Target == scriptproxy || !isScriptproxy(r.Target) {
				continue
			}
			cells := []string{g.Title, rowTitle(r.Target, r.ByName)}
			for _, m := range shown {
				cells = append(cells, ratio(m.ratioOf(r, plain)))
			}
			t.add(cells...)
		}
	}
	if len(t.rows) == 0 {
		return
	}
	d.heading(2, "Configurations beside the plain one")
	d.printf("Ratios to scriptproxy in the plain configuration, in the same round. *protected* has a deadline, a limit and a breaker on the\n"+
		"script, and a replica, of which it asks for every read whether it may answer (consistency: strong, so that none does). *policy*\n"+
		"has %d rules in force. *fast* sends EVALSHA in pipelines too (scripts.pipelining), *uncounted* has no metrics\n"+
		"of script calls (metrics.script_calls), *before* is an earlier build. The replica of the protected one is the server's, whoever is\n"+
		"in front of it: with it writes cost everybody more than without, and the figures are not those of the goals.\n\n", policyRules)
	d.table(t)
}
