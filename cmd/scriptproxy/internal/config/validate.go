package config

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate checks the values of a configuration against each other. Load and
// Parse have done so; it is for configurations that a program builds. It returns
// Problems or nil.
func (c *Config) Validate() error {
	r := &report{built: true, lines: map[string]int{}}
	validate(c, r)
	return r.problems.err()
}

// validate reports what is wrong in c. Settings whose values could not be
// decoded have their defaults here, so that one mistake is reported once.
func validate(c *Config, r *report) {
	values(r, "", reflect.ValueOf(c).Elem())
	checkListeners(c, r)
	checkUpstream(c, r)
	checkAuth(c, r)
	checkRouting(c, r)
	checkLimits(c, r)
	checkScripts(c, r)
	checkRegistry(c, r)
	if (c.Policy.Mode == PolicyAudit || c.Policy.Mode == PolicyEnforce) && c.Policy.RulesFile == "" {
		r.problem("policy.mode", "%q needs policy.rules_file", c.Policy.Mode)
	}
	if c.Loops > 1024 {
		r.problem("loops", "%d is too many; write 0 for one on each CPU", c.Loops)
	}
	if c.Slowlog.Size > 1_000_000 {
		r.problem("slowlog.size", "%d is too many; each call kept takes memory, 1000000 is the most", c.Slowlog.Size)
	}
	positive(r, "metrics.max_scripts", c.Metrics.MaxScripts)
	positive(r, "ping_grace", c.PingGrace)
}

// values checks what holds for every value of its type: a word is one of its
// set, a number is not negative.
func values(r *report, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			values(r, path, v.Elem())
		}
		return
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Struct || v.Type() == reflect.TypeFor[Versions]() {
			return
		}
		for i := range v.Len() {
			values(r, path+"["+strconv.Itoa(i)+"]", v.Index(i))
		}
		return
	case reflect.Struct:
		for f := range fieldsOf(v.Type()) {
			key, _ := yamlKey(f)
			values(r, join(path, key), v.FieldByIndex(f.Index))
		}
		return
	}
	if !r.built && !r.given(path) {
		return // a default, or inherited and reported where it is given
	}
	if e, ok := v.Interface().(enum); ok {
		if !slices.Contains(e.values(), v.String()) {
			r.problem(path, "%q is not one of %s", v.String(), strings.Join(e.values(), ", "))
		}
	} else if v.CanInt() && v.Int() < 0 {
		r.problem(path, "%v is negative", v.Interface())
	}
}

// positive reports a value that must not be 0 and is; values has reported the
// negative ones.
func positive[N int | Size | time.Duration](r *report, path string, value N) {
	if value == 0 {
		r.problem(path, "must be more than 0")
	}
}

func checkAuth(c *Config, r *report) {
	if c.Auth.Mode == AuthService && len(c.Auth.Users) == 0 {
		r.problem("auth.users", "is empty; the mode service needs at least one user")
	}
	if c.Auth.Mode == AuthPassthrough && len(c.Auth.Users) > 0 {
		r.warn("auth.users", "has no effect in the mode passthrough")
	}
	seen := make(map[string]bool)
	for i := range c.Auth.Users {
		user, path := &c.Auth.Users[i], fmt.Sprintf("auth.users[%d]", i)
		switch {
		case user.Name == "":
			r.problem(path+".name", "is empty")
		case seen[user.Name]:
			r.problem(path+".name", "%q is given twice", user.Name)
		}
		seen[user.Name] = true
		digest := user.PasswordSHA256.Reveal()
		if raw, err := hex.DecodeString(digest); err != nil || len(raw) != 32 {
			r.problem(path+".password_sha256", "is not 64 hexadecimal digits; printf %%s PASSWORD | sha256sum prints them")
		}
		if (user.UpstreamUsername == "") != (user.UpstreamPasswordFile == "" && user.UpstreamPassword.IsZero()) {
			r.problem(path, "upstream_username and upstream_password_file are needed together")
		}
	}
}

func checkRouting(c *Config, r *report) {
	replicaReads := c.Routing.Reads == RouteReplica || c.Routing.ScriptReads == RouteReplica
	if c.Routing.Consistency == ConsistencyStrong && c.Routing.Reads == RouteReplica {
		r.warn("routing.reads", "has no effect, because consistency is strong")
	}
	if c.Routing.Fallback == FallbackError && replicaReads && len(c.Upstream.Replicas) == 0 {
		r.warn("routing.fallback", "refuses every read, because upstream.replicas is empty")
	}
}

func checkLimits(c *Config, r *report) {
	l := &c.Limits
	positive(r, "limits.max_clients", l.MaxClients)
	positive(r, "limits.max_client_pending", l.MaxClientPending)
	positive(r, "limits.accept_backlog", l.AcceptBacklog)
	positive(r, "limits.drain_timeout", l.DrainTimeout)
	if l.QueryBuffer < 1<<20 {
		r.problem("limits.query_buffer", "%s is too little; 1MiB is the least", l.QueryBuffer)
	}
	checkOutputBuffer(r, "limits.output_buffer.normal", l.OutputBuffer.Normal)
	checkOutputBuffer(r, "limits.output_buffer.pubsub", l.OutputBuffer.PubSub)
}

func checkOutputBuffer(r *report, path string, b OutputBuffer) {
	if b.Hard > 0 && b.Soft > b.Hard {
		r.problem(path+".soft", "%s is more than hard, %s", b.Soft, b.Hard)
	}
	if b.Soft > 0 && b.SoftFor == 0 {
		r.problem(path+".soft", "needs soft_for")
	}
}

func checkRegistry(c *Config, r *report) {
	redis := &c.Registry.Redis
	positive(r, "registry.audit_size", c.Registry.AuditSize)
	checkClientTLS(r, "registry.redis.tls", &redis.TLS)
	if c.Registry.Store != StoreRedis {
		if redis.Address != "" {
			r.warn("registry.redis", "has no effect, because registry.store is file")
		}
		return
	}
	if redis.Address == "" {
		r.problem("registry.redis.address", "is empty; the store redis needs it")
	} else {
		checkAddress(r, "registry.redis.address", redis.Address, false)
	}
	if redis.Namespace == "" || strings.ContainsAny(redis.Namespace, " \t\r\n{}*?[]\\") {
		r.problem("registry.redis.namespace", "%q is no prefix for keys; use letters, digits and . _ : -", redis.Namespace)
	}
	if redis.PollInterval < 10*time.Millisecond {
		r.problem("registry.redis.poll_interval", "%s is too short; 10ms is the least", redis.PollInterval)
	}
	if c.Registry.StateFile != "" {
		r.warn("registry.state_file", "%s has no effect, because registry.store is redis", filepath.Base(c.Registry.StateFile))
	}
}
