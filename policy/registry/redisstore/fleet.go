package redisstore

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// beat is a heartbeat's content. In the store it stands behind the server's time in
// milliseconds and a space, so that proxies' clocks need not agree.
type beat struct {
	ID       string        `json:"id"`
	Address  string        `json:"address"`
	Revision uint64        `json:"revision"`
	Started  time.Time     `json:"started"`
	Every    time.Duration `json:"every"`
}

// Serving makes the next heartbeat come at once.
func (s *Store) Serving(revision uint64) {
	s.serving.Store(revision)
	select {
	case s.beatNow <- struct{}{}:
	default:
	}
}

func (s *Store) sendBeats(ctx context.Context) {
	ticker := time.NewTicker(s.heartbeat)
	defer ticker.Stop()
	complaint := ""
	for {
		err := s.sendBeat(ctx)
		switch {
		case err == nil:
			complaint = ""
		case ctx.Err() == nil && err.Error() != complaint && !s.conn.health().Away:
			complaint = err.Error()
			s.log.Error("registry: this proxy can't be listed in the fleet", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.beatNow:
		}
	}
}

func (s *Store) sendBeat(ctx context.Context) error {
	b := s.self
	b.Revision = s.serving.Load()
	content, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return s.explain(s.conn.do(ctx, func(c redis.UniversalClient) error {
		return beatScript.Run(ctx, c, []string{s.instances}, b.ID, content, forgetInstance.Milliseconds()).Err()
	}))
}

// Fleet returns the proxies of the last ten minutes, sorted by name.
func (s *Store) Fleet(ctx context.Context) ([]registry.Instance, error) {
	var answer []string
	err := s.conn.do(ctx, func(c redis.UniversalClient) (err error) {
		answer, err = fleetScript.Run(ctx, c, []string{s.instances}).StringSlice()
		return err
	})
	if err != nil {
		return nil, s.explain(err)
	}
	if len(answer)%2 == 0 {
		return nil, s.broken("gave an answer of %d parts that this program does not expect", len(answer))
	}
	now, err := strconv.ParseInt(answer[0], 10, 64)
	if err != nil {
		return nil, s.broken("has the time %q, which is no number", answer[0])
	}
	var fleet []registry.Instance
	for i := 2; i < len(answer); i += 2 {
		in, err := parseBeat(answer[i], time.UnixMilli(now))
		if err != nil {
			return nil, s.broken("holds a heartbeat of %q that can't be read (%v); remove it with HDEL %s %s", answer[i-1], err, s.instances, answer[i-1])
		}
		fleet = append(fleet, in)
	}
	slices.SortFunc(fleet, func(a, b registry.Instance) int { return strings.Compare(a.ID, b.ID) })
	return fleet, nil
}

func parseBeat(text string, now time.Time) (registry.Instance, error) {
	stamp, content, _ := strings.Cut(text, " ")
	ms, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return registry.Instance{}, err
	}
	var b beat
	if err := json.Unmarshal([]byte(content), &b); err != nil {
		return registry.Instance{}, err
	}
	seen := time.UnixMilli(ms)
	age := max(0, now.Sub(seen))
	return registry.Instance{ID: b.ID, Address: b.Address, Revision: b.Revision, Started: b.Started, Seen: seen.UTC(), Age: age, Away: age > missedBeats*b.Every}, nil
}
