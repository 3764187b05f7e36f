package main

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// bed is everything that runs during the measurements of load: one server and the targets in front of it.
type bed struct {
	server  *redisserver.Process
	replica *redisserver.Process // for the configuration that needs one
	admin   *redisserver.Client
	sha     string
	targets []*target
}

// startBed starts the server, fills it, loads the script, and starts the targets.
func startBed(o options, names []string) (*bed, error) {
	server, err := startServer()
	if err != nil {
		return nil, err
	}
	b := &bed{server: server}
	if err := b.prepare(o, names); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// startServer starts a server for maxConnections clients, 1,000 of which may connect at once.
func startServer() (*redisserver.Process, error) {
	return redisserver.StartProcess(redisserver.Config{Directives: []redisserver.Directive{
		{Name: "maxclients", Value: strconv.Itoa(maxConnections)}, {Name: "tcp-backlog", Value: "1024"},
	}})
}

func (b *bed) prepare(o options, names []string) error {
	if err := fill(b.server.Addr()); err != nil {
		return err
	}
	var err error
	if b.admin, err = b.server.Dial(); err != nil {
		return err
	}
	reply, err := b.admin.Do("SCRIPT", "LOAD", scriptBody)
	if err != nil {
		return err
	}
	var ok bool
	if b.sha, ok = reply.(string); !ok {
		return fmt.Errorf("load the script: %v", reply)
	}
	if slices.Contains(names, protected) {
		if b.replica, err = startReplica(b.server); err != nil {
			return err
		}
	}
	for _, name := range names {
		t, err := b.start(name, o)
		if err != nil {
			return err
		}
		b.targets = append(b.targets, t)
	}
	return nil
}

func (b *bed) start(name string, o options) (*target, error) {
	replicaPort := 0
	if b.replica != nil {
		replicaPort = b.replica.Port()
	}
	return startTarget(name, b.server.Port(), replicaPort, o)
}

// fill writes every key that GET reads, with SET in one pipeline.
func fill(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	written := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(conn)
		var buf []byte
		for i := range keySpace {
			buf = redisserver.AppendCommand(buf[:0], "SET", fmt.Sprintf("key:%012d", i), value)
			w.Write(buf)
		}
		written <- w.Flush()
	}()
	c := redisserver.NewClient(conn)
	for i := range keySpace {
		if reply, err := c.Receive(); err != nil || reply != "OK" {
			return fmt.Errorf("fill the server: SET number %d answered %v, %v", i, reply, err)
		}
	}
	return <-written
}

// cpu is what the server and the proxies have used so far, in nanoseconds.
func (b *bed) cpu() int64 {
	total := int64(0)
	pids := []int{b.server.PID()}
	for _, t := range b.targets {
		pids = append(pids, t.pid())
	}
	for _, pid := range pids {
		if u, err := readCPU(pid); err == nil {
			total += u.total()
		}
	}
	return total
}

// counters are the server's own account of what it has executed.
type counters struct {
	calls  int64 // of one command
	errors int64 // error replies of any kind, and unknown, misspelt or refused commands with them
}

// readCounters reads the server's counters for the command stat (as commandstats spells it).
func (b *bed) readCounters(stat string) (counters, error) {
	var c counters
	reply, err := b.admin.Do("INFO", "commandstats")
	if err != nil {
		return c, err
	}
	text, _ := reply.(string)
	for line := range strings.Lines(text) {
		name, fields, found := strings.Cut(strings.TrimSpace(line), ":calls=")
		// scriptproxy sends pipelined calls of small scripts with their bodies.
		if found && (name == "cmdstat_"+stat || stat == "evalsha" && name == "cmdstat_eval") {
			number, _, _ := strings.Cut(fields, ",")
			calls, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				return c, fmt.Errorf("read the server's counters: %w", err)
			}
			c.calls += calls
		}
	}
	reply, err = b.admin.Do("INFO", "stats")
	if err != nil {
		return c, err
	}
	text, _ = reply.(string)
	for line := range strings.Lines(text) {
		if number, found := strings.CutPrefix(strings.TrimSpace(line), "total_error_replies:"); found {
			if c.errors, err = strconv.ParseInt(number, 10, 64); err != nil {
				return c, fmt.Errorf("read the server's counters: %w", err)
			}
			return c, nil
		}
	}
	return c, fmt.Errorf("the server has no total_error_replies in INFO stats: the benchmark needs Redis 6.2 or later")
}

func (b *bed) close() {
	for _, t := range b.targets {
		t.close()
	}
	if b.admin != nil {
		b.admin.Close()
	}
	if b.replica != nil {
		b.replica.Close()
	}
	b.server.Close()
}
