package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

func checkUpstream(c *Config, r *report) {
	checkNodes(c, r)
	checkNames(c, r)
	u := &c.Upstream
	if u.Username != "" && u.Password.IsZero() && u.PasswordFile == "" {
		r.warn("upstream.username", "has no password; that works only for a user with nopass")
	}
	checkClientTLS(r, "upstream.tls", &u.TLS)
	positive(r, "upstream.connect_timeout", u.ConnectTimeout)
	if u.TCPUserTimeout < time.Second && u.TCPUserTimeout != 0 {
		r.problem("upstream.tcp_user_timeout", "%s is too short; 1s is the least, and 0 switches it off", u.TCPUserTimeout)
	}
	if u.PollInterval < 10*time.Millisecond {
		r.problem("upstream.poll_interval", "%s is too short; 10ms is the least", u.PollInterval)
	}
	positive(r, "upstream.reconnect.min", u.Reconnect.Min)
	if u.Reconnect.Max < u.Reconnect.Min {
		r.problem("upstream.reconnect.max", "%s is less than min, %s", u.Reconnect.Max, u.Reconnect.Min)
	}
	positive(r, "upstream.links.max_pending", u.Links.MaxPending)
	positive(r, "upstream.links.dedicated_max", u.Links.DedicatedMax)
	if u.Links.DedicatedIdle > u.Links.DedicatedMax {
		r.problem("upstream.links.dedicated_idle", "%d is more than dedicated_max, %d", u.Links.DedicatedIdle, u.Links.DedicatedMax)
	}
}

// checkNodes looks at the addresses of all servers: each may be in one set
// only.
func checkNodes(c *Config, r *report) {
	used := make(map[string]string)
	nodes := func(path, primary string, replicas []string) {
		if primary == "" {
			r.problem(path+".primary", "is empty; write the address of the Redis primary")
		}
		for i, address := range append([]string{primary}, replicas...) {
			at := path + ".primary"
			if i > 0 {
				at = fmt.Sprintf("%s.replicas[%d]", path, i-1)
			}
			if address == "" && i == 0 || !checkAddress(r, at, address, false) {
				continue
			}
			if first, twice := used[address]; twice {
				r.problem(at, "%s is %s already", address, first)
				continue
			}
			used[address] = at
		}
	}
	if c.Sets()[0].Name == DefaultUpstream {
		nodes("upstream", c.Upstream.Primary, c.Upstream.Replicas)
	} else if len(c.Upstream.Replicas) > 0 {
		r.warn("upstream.replicas", "has no effect, because every listener leads to one of upstreams")
	}
	for i, u := range c.Upstreams {
		nodes(fmt.Sprintf("upstreams[%d]", i), u.Primary, u.Replicas)
	}
	for i, l := range c.Listen {
		if path, ok := used[l.Address]; ok {
			r.problem(path, "%s is the proxy's own address, listen[%d]", l.Address, i)
		}
	}
}

// checkNames looks at the names of the sets of servers, and at who leads to
// which.
func checkNames(c *Config, r *report) {
	names := map[string]string{}
	led := make(map[string]bool)
	for i, u := range c.Upstreams {
		path := fmt.Sprintf("upstreams[%d]", i)
		switch first, twice := names[u.Name]; {
		case u.Name == "":
			r.problem(path+".name", "is empty; listeners and users need it")
		case u.Name == DefaultUpstream:
			r.problem(path+".name", "%q is the name of upstream itself", u.Name)
		case twice:
			r.problem(path+".name", "%q is the name of %s already", u.Name, first)
		}
		names[u.Name] = path
		if u.Username != "" && u.Password.IsZero() && u.PasswordFile == "" {
			r.warn(path+".username", "has no password; that works only for a user with nopass")
		}
	}
	leads := func(path, name string) {
		led[cmp.Or(name, DefaultUpstream)] = true
		if name == "" || name == DefaultUpstream {
			return
		}
		if _, ok := names[name]; !ok {
			hint := "upstreams is empty"
			if len(c.Upstreams) > 0 {
				var all []string
				for _, u := range c.Upstreams {
					if u.Name != "" && !slices.Contains(all, u.Name) {
						all = append(all, u.Name)
					}
				}
				hint = "there are " + strings.Join(all[:min(len(all), 10)], ", ")
				if best := nearest(name, all); best != "" {
					hint = fmt.Sprintf("did you mean %q?", best)
				}
			}
			r.problem(path+".upstream", "no upstream has the name %q; %s", name, hint)
		}
	}
	for i, l := range c.Listen {
		leads(fmt.Sprintf("listen[%d]", i), l.Upstream)
	}
	for i, u := range c.Auth.Users {
		path := fmt.Sprintf("auth.users[%d]", i)
		if u.Upstream == DefaultUpstream && c.SetIndex(u.Upstream) < 0 {
			r.problem(path+".upstream", "no listener leads to upstream, so that it is not used; name one of upstreams")
		}
		leads(path, u.Upstream)
	}
	for i, u := range c.Upstreams {
		if u.Name != "" && !led[u.Name] {
			r.warn(fmt.Sprintf("upstreams[%d]", i), "no listener and no user leads to %q", u.Name)
		}
	}
}

func checkClientTLS(r *report, path string, t *ClientTLS) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		r.problem(path, "cert_file and key_file are needed together")
	}
	if !t.Enabled && *t != (ClientTLS{}) {
		r.warn(path, "has no effect, because enabled is false")
	}
	if t.Enabled && t.InsecureSkipVerify {
		r.warn(path+".insecure_skip_verify", "anybody between the proxy and the server can read and change everything")
	}
}
