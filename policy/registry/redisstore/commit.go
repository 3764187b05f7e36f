package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// Commit uploads new bodies and runs the compare-and-set script.
func (s *Store) Commit(ctx context.Context, base, next *registry.Snapshot, changes []registry.Change) error {
	d := compare(base, next)
	arguments, err := d.arguments(base, next, changes, s.audit, s.channel)
	if err != nil {
		return err
	}
	if err := s.upload(ctx, d.fresh); err != nil {
		return err
	}
	answer, err := s.runCommit(ctx, arguments)
	if err != nil && strings.HasPrefix(err.Error(), "MISSINGBODY ") {
		// The store lost bodies that it had, and this process has them.
		if err := s.upload(ctx, d.needed); err != nil {
			return err
		}
		answer, err = s.runCommit(ctx, arguments)
	}
	switch {
	case err != nil:
		return s.explain(err)
	case answer == "CONFLICT":
		current, err := s.pull(ctx)
		if err != nil {
			return err
		}
		return &registry.ConflictError{Asked: base.Revision, Revision: current.Revision, Current: current}
	}
	s.learn(base, next)
	return nil
}

func (s *Store) runCommit(ctx context.Context, arguments []any) (answer string, err error) {
	err = s.conn.repeat(ctx, func(c redis.UniversalClient) (err error) {
		answer, err = commitScript.Run(ctx, c, s.keys, arguments...).Text()
		return err
	})
	return answer, err
}

// difference is what a commit transfers.
type difference struct {
	put     []*registry.Script
	removed []string
	fresh   map[string][]byte // bodies that the store lacks
	needed  map[string][]byte // bodies of put
	drop    []string          // shas that nothing refers to any more
}

// compare relies on snapshots sharing the scripts that did not change.
func compare(base, next *registry.Snapshot) *difference {
	d := &difference{fresh: map[string][]byte{}, needed: map[string][]byte{}}
	var gone []string // shas that a script lost
	for _, script := range next.Scripts {
		before := base.Script(script.Name)
		if before == script {
			continue
		}
		d.put = append(d.put, script)
		for _, v := range script.Versions {
			d.needed[v.SHA] = v.Body
			if bodyFrom(base, before, v.SHA) == nil {
				d.fresh[v.SHA] = v.Body
			}
		}
		if before != nil {
			for _, v := range before.Versions {
				if script.VersionBySHA(v.SHA) == nil {
					gone = append(gone, v.SHA)
				}
			}
		}
	}
	for _, script := range base.Scripts {
		if next.Script(script.Name) != nil {
			continue
		}
		d.removed = append(d.removed, script.Name)
		for _, v := range script.Versions {
			gone = append(gone, v.SHA)
		}
	}
	for _, sha := range gone {
		if _, still, _ := next.BySHA(sha); still == nil {
			d.drop = append(d.drop, sha)
		}
	}
	return d
}

// arguments are ARGV of commit.lua.
func (d *difference) arguments(base, next *registry.Snapshot, changes []registry.Change, keep int, channel string) ([]any, error) {
	out := []any{base.Revision, base.Token, next.Revision, next.Token, next.At.Format(time.RFC3339Nano), keep, channel}
	put := make([]string, 0, 2*len(d.put))
	for _, script := range d.put {
		manifest, err := json.Marshal(script)
		if err != nil {
			return nil, fmt.Errorf("encode script %s: %w", script.Name, err)
		}
		put = append(put, script.Name, string(manifest))
	}
	need := make([]string, 0, len(d.needed))
	for sha := range d.needed {
		need = append(need, sha)
	}
	log := make([]string, 0, len(changes))
	for i := range changes {
		entry, err := json.Marshal(&changes[i])
		if err != nil {
			return nil, fmt.Errorf("encode a change of script %s: %w", changes[i].Name, err)
		}
		log = append(log, string(entry))
	}
	for _, list := range [][]string{put, d.removed, need, d.drop, log} {
		out = append(out, len(list))
		for _, item := range list {
			out = append(out, item)
		}
	}
	return out, nil
}

// upload stores bodies under their shas, several in one round trip.
func (s *Store) upload(ctx context.Context, bodies map[string][]byte) error {
	const batch = 1 << 20 // bytes in one round trip, or one body
	shas := make([]string, 0, len(bodies))
	for sha := range bodies {
		shas = append(shas, sha)
	}
	slices.Sort(shas)
	for len(shas) > 0 {
		n, size := 0, 0
		for n < len(shas) && (n == 0 || size+len(bodies[shas[n]]) <= batch) {
			size += len(bodies[shas[n]])
			n++
		}
		now := shas[:n]
		shas = shas[n:]
		err := s.conn.do(ctx, func(c redis.UniversalClient) error {
			_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, sha := range now {
					p.HSetNX(ctx, s.keys[1], sha, bodies[sha])
				}
				return nil
			})
			return err
		})
		if err != nil {
			return s.explain(err)
		}
	}
	return nil
}

// Audit returns the latest changes, the newest first.
func (s *Store) Audit(ctx context.Context, limit int) ([]registry.Change, error) {
	var entries []redis.XMessage
	err := s.conn.do(ctx, func(c redis.UniversalClient) (err error) {
		entries, err = c.XRevRangeN(ctx, s.keys[3], "+", "-", int64(limit)).Result()
		return err
	})
	if err != nil {
		return nil, s.explain(err)
	}
	out := make([]registry.Change, len(entries))
	for i, e := range entries {
		text, _ := e.Values["change"].(string)
		if err := json.Unmarshal([]byte(text), &out[i]); err != nil {
			return nil, s.broken("holds an audit entry %s that can't be read (%v); remove it with XDEL %s %s", e.ID, err, s.keys[3], e.ID)
		}
	}
	return out, nil
}
