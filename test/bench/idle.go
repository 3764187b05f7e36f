package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

const (
	// warmConnections are opened, used and closed before the first measurement, so that code and tables which any connection
	// needs are in memory. They are few, because what they leave behind is used again.
	warmConnections = 10
	// settle is the pause before memory is read: garbage collectors and allocators give memory back late.
	settle = 2 * time.Second
	// idleTimes is how often it is measured, each time on a proxy started anew; the median counts. A garbage collector's heap grows in
	// steps, of which 1,000 connections take but one or two.
	idleTimes = 5
)

// idleResult is the memory of one target's idle connections.
type idleResult struct {
	Target      string  `json:"target"`
	Connections int     `json:"connections"`
	Bytes       float64 `json:"bytes_per_connection"`
}

// measureIdle opens connections that each get one answer and then stay silent, through a proxy that was started for this, and
// returns how much the proxy's resident memory grew per connection. What the kernel keeps for its sockets is not in it.
func measureIdle(ctx context.Context, o options, names []string, progress io.Writer) ([]idleResult, error) {
	server, err := startServer()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	var results []idleResult
	for _, name := range names {
		if name != scriptproxy && name != twemproxy {
			continue // haproxy's second connection per client is Redis's to keep as well: another comparison
		}
		times := make([][]float64, len(o.idle))
		for range min(idleTimes, o.rounds) {
			r, err := idleThrough(ctx, name, server.Port(), o)
			if err != nil {
				return nil, fmt.Errorf("idle connections through %s: %w", name, err)
			}
			for i := range r {
				times[i] = append(times[i], r[i].Bytes)
			}
		}
		for i, n := range o.idle {
			results = append(results, idleResult{Target: name, Connections: n, Bytes: median(times[i])})
		}
		fmt.Fprintf(progress, "idle connections: %s\n", name)
	}
	return results, nil
}

func idleThrough(ctx context.Context, name string, serverPort int, o options) ([]idleResult, error) {
	t, err := startTarget(name, serverPort, 0, o)
	if err != nil {
		return nil, err
	}
	defer t.close()
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	open := func(upTo int) error {
		for len(conns) < upTo {
			if err := ctx.Err(); err != nil {
				return err
			}
			conn, err := openUsed(t.addr(), 10*time.Second)
			if err != nil {
				return fmt.Errorf("connection %d: %w", len(conns)+1, err)
			}
			conns = append(conns, conn)
		}
		return pause(ctx, settle)
	}

	if err := open(warmConnections); err != nil {
		return nil, err
	}
	for _, conn := range conns {
		conn.Close()
	}
	conns = nil
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	base, err := readRSS(t.pid())
	if err != nil {
		return nil, err
	}
	var results []idleResult
	for _, n := range o.idle {
		if err := open(n); err != nil {
			return nil, err
		}
		rss, err := readRSS(t.pid())
		if err != nil {
			return nil, err
		}
		results = append(results, idleResult{Target: name, Connections: n, Bytes: float64(rss-base) / float64(n)})
	}
	return results, nil
}

// openUsed opens a connection over which one command has been answered, both within timeout.
func openUsed(addr string, timeout time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(redisserver.AppendCommand(nil, "GET", "missing")); err != nil {
		conn.Close()
		return nil, err
	}
	var reply [len("$-1\r\n")]byte
	if n, err := io.ReadFull(conn, reply[:]); err != nil || string(reply[:]) != "$-1\r\n" {
		conn.Close()
		return nil, fmt.Errorf("GET of a key that does not exist answered %q (%v)", reply[:n], err)
	}
	return conn, nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
