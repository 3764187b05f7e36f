//go:build linux

package proxy

import (
	"bytes"
	"context"
	"maps"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// usage is what is known of a script's calls.
type usage struct {
	// on holds, for each node, the second of the loops' clock, counted from
	// 1, in which a call was last sent there. Most calls only read it.
	on []atomic.Uint32
	// calls holds, for each loop, how many calls it sent, for scripts that
	// clients brought; registered ones are counted by the metrics. Each is
	// written by its loop alone.
	calls []atomic.Uint64
}

// usedGrain is how exactly the last use of a client's script is kept, in
// nanoseconds: it is written once in this time, whatever the number of calls.
const usedGrain = int64(10 * time.Millisecond)

func (s *Script) touched(now int64) {
	if now-s.used.Load() > usedGrain {
		s.used.Store(now)
	}
}

func (u *usage) ranOn(node, loop int, now int64) {
	second := uint32(now/int64(time.Second)) + 1
	if at := &u.on[node]; at.Load() != second {
		at.Store(second)
	}
	if u.calls != nil {
		c := &u.calls[loop]
		c.Store(c.Load() + 1)
	}
}

// LastUsed is when a call of the script was last sent to the node, to a
// second; zero when none was.
func (s *Script) LastUsed(node int) time.Time {
	second := s.on[node].Load()
	if second == 0 {
		return time.Time{}
	}
	return wallClock(int64(second-1) * int64(time.Second))
}

// Calls is how many calls of a script that clients brought were sent; 0 for
// registered ones, which the metrics count.
func (s *Script) Calls() uint64 {
	var n uint64
	for i := range s.calls {
		n += s.calls[i].Load()
	}
	return n
}

// LastSeen is when the script was last brought by a client or called by
// one; for scripts that are not registered.
func (s *Script) LastSeen() time.Time { return wallClock(s.used.Load()) }

func wallClock(at int64) time.Time { return time.Now().Add(time.Duration(at - loop.Now())) }

// KnownScripts lists the scripts that clients brought.
func (s *Server) KnownScripts() []*Script {
	var list []*Script
	for _, b := range s.backends {
		list = append(list, b.known.list()...)
	}
	return list
}

// KnownScriptsOf lists the scripts that clients of a node brought.
func (s *Server) KnownScriptsOf(n *topology.Node) []*Script { return s.backendOf(n).known.list() }

func (k *knownScripts) list() []*Script {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]*Script, 0, len(k.bySHA))
	for _, script := range k.bySHA {
		list = append(list, script)
	}
	return list
}

// foreignMax bounds what one loop remembers of shas that only servers know.
const foreignMax = 4096

// foreignScript is a sha that only the servers of a backend know.
type foreignScript struct {
	sha     [40]byte
	backend int
}

// noteForeign remembers the sha of a call that worked although the proxy does
// not know the script: only the server has its body, and would lose it for
// good in a flush.
func (p *pending) noteForeign() {
	c := &p.call
	if c.script != nil || c.function || p.link == nil {
		return
	}
	sha, ok := shaOfCall(p.link.Request(&p.Call))
	if !ok {
		return
	}
	w := p.w
	if w.foreign == nil {
		w.foreign = make(map[foreignScript]int64)
	}
	f := foreignScript{sha, p.link.Node.Backend}
	if _, known := w.foreign[f]; known || len(w.foreign) < foreignMax {
		w.foreign[f] = w.loop.Now()
	}
}

// shaOfCall finds the sha in the request of an EVALSHA or EVALSHA_RO.
func shaOfCall(request []byte) (sha [40]byte, ok bool) {
	const header = "\r\n$40\r\n"
	head := request[:min(len(request), 64)]
	i := bytes.Index(head, []byte(header))
	if i < 0 || len(request) < i+len(header)+40 {
		return sha, false
	}
	return sha, lowerHex(&sha, request[i+len(header):][:40])
}

// Foreign lists the scripts that clients called by shas which the proxy does
// not know, and which worked, with the time of the latest call.
func (s *Server) Foreign(ctx context.Context) (map[string]time.Time, error) {
	found := make(chan map[foreignScript]int64, len(s.workers))
	waiting := 0
	for _, w := range s.workers {
		if w.loop.Do(func() {
			found <- maps.Clone(w.foreign)
		}) {
			waiting++
		}
	}
	table, out := s.Generation().Scripts, make(map[string]time.Time)
	for range waiting {
		select {
		case part := <-found:
			for f, at := range part {
				sha := string(f.sha[:])
				if s.backends[f.backend].known.find(sha) != nil || table.BySHA(sha) != nil {
					continue
				}
				if t := wallClock(at); t.After(out[sha]) {
					out[sha] = t
				}
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return out, nil
}
