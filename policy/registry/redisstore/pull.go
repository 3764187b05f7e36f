package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// Load asks the server for what changed since the last call. When it can't be reached at the
// first call of a process, the state of the local copy comes with the error, if there is one.
func (s *Store) Load(ctx context.Context) (*registry.Snapshot, error) {
	snapshot, err := s.pull(ctx)
	if err == nil {
		return snapshot, nil
	}
	var away *registry.UnavailableError
	if s.cache != nil && errors.As(err, &away) && s.current().Token == "" {
		if copied := s.cache.read(); copied != nil {
			return copied, err
		}
	}
	return nil, err
}

func (s *Store) current() *registry.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// learn makes snapshot, which was asked for when base was known, the basis of the next delta. An
// answer that a later one has overtaken is not learnt. One that is older than its own basis is:
// the store has lost something.
func (s *Store) learn(base, snapshot *registry.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known != base && snapshot.Revision < s.known.Revision {
		return
	}
	s.known = snapshot
	if s.cache != nil && snapshot.Token != "" {
		s.cache.offer(snapshot)
	}
}

// errBodyGone says that a manifest names a body that is not there: removed in between, or lost.
var errBodyGone = errors.New("a body is missing")

func (s *Store) pull(ctx context.Context) (*registry.Snapshot, error) {
	const tries = 3
	var err error
	for range tries {
		known := s.current()
		var snapshot *registry.Snapshot
		if snapshot, err = s.pullSince(ctx, known); err == nil {
			if snapshot != known {
				s.learn(known, snapshot)
			}
			return snapshot, nil
		}
		if !errors.Is(err, errBodyGone) {
			return nil, err
		}
	}
	return nil, s.broken("%v, so that its state can't be used; see that keys are not evicted (a maxmemory policy other than noeviction), and restore the store from a backup", err)
}

func (s *Store) pullSince(ctx context.Context, known *registry.Snapshot) (*registry.Snapshot, error) {
	var answer []string
	err := s.conn.do(ctx, func(c redis.UniversalClient) (err error) {
		answer, err = pullScript.Run(ctx, c, s.keys, known.Revision, known.Token).StringSlice()
		return err
	})
	if err != nil {
		return nil, s.explain(err)
	}
	if len(answer) < 4 || len(answer)%2 != 0 {
		return nil, s.broken("gave an answer of %d parts that this program does not expect", len(answer))
	}
	revision, err := strconv.ParseUint(answer[0], 10, 64)
	if err != nil {
		return nil, s.broken("has the revision %q, which is no number", answer[0])
	}
	token, mode, pairs := answer[1], answer[3], answer[4:]
	if mode == "same" {
		return known, nil
	}
	var at time.Time
	if answer[2] != "" {
		if at, err = time.Parse(time.RFC3339Nano, answer[2]); err != nil {
			return nil, s.broken("has the time %q, which is no time", answer[2])
		}
	}
	changed, err := s.decode(ctx, known, pairs)
	if err != nil {
		return nil, err
	}
	if mode == "full" {
		known = registry.NewSnapshot(0, "", at, nil)
	}
	var put []*registry.Script
	var removed []string
	for name, script := range changed {
		if script == nil {
			removed = append(removed, name)
		} else {
			put = append(put, script)
		}
	}
	return known.Next(revision, token, at, put, removed), nil
}

// decode reads names and manifests, and gives the versions their bodies. The result has a nil
// script for a name that was removed.
func (s *Store) decode(ctx context.Context, known *registry.Snapshot, pairs []string) (map[string]*registry.Script, error) {
	changed := make(map[string]*registry.Script, len(pairs)/2)
	missing := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		name, manifest := pairs[i], pairs[i+1]
		if manifest == "" {
			changed[name] = nil
			continue
		}
		script := &registry.Script{}
		if err := json.Unmarshal([]byte(manifest), script); err != nil {
			return nil, s.broken("holds a manifest of script %q that can't be read (%v); it was not written by scriptproxy, or damaged: restore key %s from a backup", name, err, s.keys[0])
		}
		if script.Name != name {
			return nil, s.broken("holds a manifest of script %q under the name %q; restore key %s from a backup", script.Name, name, s.keys[0])
		}
		changed[name] = script
		before := known.Script(name)
		for _, v := range script.Versions {
			if v == nil {
				return nil, s.broken("holds a version of script %q that is null; restore key %s from a backup", name, s.keys[0])
			}
			if v.Body = bodyFrom(known, before, v.SHA); v.Body == nil {
				missing[v.SHA] = nil
			}
		}
	}
	if err := s.fetchBodies(ctx, missing); err != nil {
		return nil, err
	}
	for _, script := range changed {
		if script == nil {
			continue
		}
		for _, v := range script.Versions {
			if v.Body != nil {
				continue
			}
			if v.Body = missing[v.SHA]; v.Body == nil {
				return nil, fmt.Errorf("lacks the body %s of version %s of script %s: %w", v.SHA, v.ID, script.Name, errBodyGone)
			}
		}
		if err := script.Validate(); err != nil {
			return nil, s.broken("is damaged: %v; restore it from a backup", err)
		}
	}
	return changed, nil
}

func bodyFrom(known *registry.Snapshot, before *registry.Script, sha string) []byte {
	if before != nil {
		if v := before.VersionBySHA(sha); v != nil {
			return v.Body
		}
	}
	if len(known.Scripts) == 0 {
		return nil
	}
	if _, v, _ := known.BySHA(sha); v != nil {
		return v.Body
	}
	return nil
}

// fetchBodies fills in the values; a body which the store lacks stays nil.
func (s *Store) fetchBodies(ctx context.Context, bodies map[string][]byte) error {
	const batch = 64 // at the default bound of 1 MiB a body, 64 MiB at most in one answer
	shas := make([]string, 0, len(bodies))
	for sha := range bodies {
		shas = append(shas, sha)
	}
	for len(shas) > 0 {
		now := shas[:min(batch, len(shas))]
		shas = shas[len(now):]
		var values []any
		err := s.conn.do(ctx, func(c redis.UniversalClient) (err error) {
			values, err = c.HMGet(ctx, s.keys[1], now...).Result()
			return err
		})
		if err != nil {
			return s.explain(err)
		}
		for i, v := range values {
			if text, ok := v.(string); ok {
				bodies[now[i]] = []byte(text)
			}
		}
	}
	return nil
}

// explain makes a *registry.StoreError of what the server answered.
func (s *Store) explain(err error) error {
	var reply redis.Error
	if !errors.As(err, &reply) || errors.As(err, new(*registry.UnavailableError)) {
		return err
	}
	const wrong = "WRONGSTORE "
	text := reply.Error()
	if len(text) > len(wrong) && text[:len(wrong)] == wrong {
		return s.broken("can't be used: %s", text[len(wrong):])
	}
	return s.broken("refused: %s", text)
}

func (s *Store) broken(format string, args ...any) error {
	return &registry.StoreError{Store: s.String(), Text: fmt.Sprintf(format, args...)}
}
