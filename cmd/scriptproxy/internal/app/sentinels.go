package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// Sentinel takes a server that answers BUSY, or nothing, for one that is down:
// a script that may run for as long as down-after-milliseconds makes it fail
// over. So the proxy finds the Sentinels that watch its primaries, asks them
// for that time, and warns of deadlines that are not below it.

const (
	// sentinelChannel is where Sentinels tell each other where they listen, on
	// every server that they watch and every 2 s (sentinel.c, SENTINEL_HELLO_CHANNEL,
	// sentinel_publish_period).
	sentinelChannel = "__sentinel__:hello"
	sentinelListen  = 5 * time.Second
	// sentinelsEvery is how often they are asked, and sentinelsLook how soon
	// after a primary is there.
	sentinelsEvery = 5 * time.Minute
	sentinelsLook  = time.Second
	sentinelAnswer = 2 * time.Second
)

// sentinels is what the Sentinels of all primaries have said. Its methods are
// for any goroutine.
type sentinels struct {
	mu    sync.Mutex
	first map[string]sentinelSays // by set, the one with the shortest down-after
	texts []string
}

type sentinelSays struct {
	addr, primary string
	downAfter     time.Duration
}

func (s *sentinels) set(name string, says *sentinelSays) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = make(map[string]sentinelSays)
	}
	delete(s.first, name)
	if says != nil {
		s.first[name] = *says
	}
}

// warnings are for readiness.
func (s *sentinels) warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.texts)
}

// watchSentinels asks the Sentinels from time to time until ctx ends.
func (a *App) watchSentinels(ctx context.Context) {
	asked := make([]time.Time, len(a.upstreams))
	tick := time.NewTicker(sentinelsLook)
	defer tick.Stop()
	for {
		for i, set := range a.upstreams {
			n := set.monitor.View().Primary
			if n == nil || !n.Up() || a.server.NodeBusy(n) || time.Since(asked[i]) < sentinelsEvery {
				continue
			}
			asked[i] = time.Now()
			says, err := a.findSentinels(ctx, set.monitor, n)
			if err != nil {
				a.log.Debug("it is not known which Sentinels watch a primary", "node", n.Addr, "error", err)
				continue
			}
			a.sentinels.set(set.name, says)
			a.compareDeadlines()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// findSentinels returns what the strictest of the Sentinels says that watch a
// primary, or nil when none does.
func (a *App) findSentinels(ctx context.Context, m *topology.Monitor, n *topology.Node) (*sentinelSays, error) {
	client := m.Client(n)
	defer client.Close()
	list, err := client.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub").Text()
	if err != nil || !strings.Contains(list, " name=sentinel-") {
		return nil, err
	}
	found, err := listenForSentinels(ctx, client)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	as := a.cfg.Watchdog
	a.mu.Unlock()
	var first *sentinelSays
	for addr, master := range found {
		downAfter, err := askSentinel(ctx, m, as, addr, master)
		if err != nil {
			a.log.Info("a Sentinel did not say after which time it takes a primary for down; see to it that the deadlines are below it", "sentinel", addr, "node", n.Addr, "error", err)
			continue
		}
		if first == nil || downAfter < first.downAfter {
			first = &sentinelSays{addr: addr, primary: n.Addr, downAfter: downAfter}
		}
	}
	return first, nil
}

// listenForSentinels maps the addresses of those who announce themselves to
// their names for the primary.
func listenForSentinels(ctx context.Context, client *redis.Client) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, sentinelListen)
	defer cancel()
	sub := client.Subscribe(ctx, sentinelChannel)
	defer sub.Close()
	found := make(map[string]string)
	for {
		message, err := sub.ReceiveMessage(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded): // the connection's may come first
			return found, nil
		case err != nil:
			return nil, err
		}
		// ip,port,runid,epoch,name,ip,port,epoch of the Sentinel and of the primary.
		if f := strings.Split(message.Payload, ","); len(f) >= 8 {
			found[net.JoinHostPort(f[0], f[1])] = f[4]
		}
	}
}

func askSentinel(ctx context.Context, m *topology.Monitor, as config.Watchdog, addr, master string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, sentinelAnswer)
	defer cancel()
	plain := m.Client(&topology.Node{Addr: addr})
	o := *plain.Options()
	plain.Close()
	o.Username, o.Password = as.SentinelUsername, as.SentinelPassword.Reveal()
	client := redis.NewSentinelClient(&o)
	defer client.Close()
	fields, err := client.Master(ctx, master).Result()
	if err != nil {
		return 0, err
	}
	ms, err := strconv.ParseInt(fields["down-after-milliseconds"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("its down-after-milliseconds is %q", fields["down-after-milliseconds"])
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// compareDeadlines says which deadlines are too long for the Sentinels.
func (a *App) compareDeadlines() {
	a.mu.Lock()
	what, longest := a.longestDeadline()
	a.mu.Unlock()
	s := &a.sentinels
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(s.first)) {
		if says := s.first[name]; longest >= says.downAfter {
			texts = append(texts, fmt.Sprintf("%s may run for %s, and the Sentinel at %s takes %s for down after %s: it fails over before the script is ended; "+
				"lower the deadline, or raise down-after-milliseconds", what, longest, says.addr, says.primary, says.downAfter))
		}
	}
	if slices.Equal(texts, s.texts) {
		return
	}
	s.texts = texts
	for _, text := range texts {
		a.log.Warn(text)
	}
	if len(texts) == 0 {
		a.log.Info("the deadlines are below the time after which Sentinel takes a primary for down")
	}
}

// longestDeadline is the longest there is, and whose it is. a.mu must be held.
func (a *App) longestDeadline() (what string, longest time.Duration) {
	what, longest = "a script with the deadline of scripts.deadline", a.cfg.Scripts.Deadline
	for _, script := range a.cfg.Scripts.List {
		if script.Deadline > longest {
			what, longest = "script '"+script.Name+"'", script.Deadline
		}
	}
	if a.government.spec.Mode == policy.ModeEnforce {
		for _, r := range a.government.spec.Rules {
			if r.Deadline > longest {
				what, longest = "a script with the deadline of rule '"+r.Name+"'", r.Deadline
			}
		}
	}
	return what, longest
}
