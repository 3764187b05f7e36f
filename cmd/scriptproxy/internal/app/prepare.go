package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// batchBytes is how much SCRIPT LOAD sends before it waits for the answers.
const batchBytes = 1 << 20

// missing are the registered scripts that a node does not have.
func (a *App) missing(n *topology.Node, epoch uint32) []*proxy.Script {
	all := a.server.Generation().Scripts.All()
	list := make([]*proxy.Script, 0, len(all))
	for _, s := range all {
		if !s.LoadedOn(n.Index, epoch) {
			list = append(list, s)
		}
	}
	return list
}

// prepare loads every registered script on a node that came up, and takes
// over its command table when it is the primary of the first set of servers.
// Only stageNodes nodes are prepared at a time.
func (a *App) prepare(ctx context.Context, n *topology.Node, c *redis.Client) error {
	select {
	case a.preparing <- struct{}{}:
	default:
		return topology.ErrLater
	}
	defer func() { <-a.preparing }()
	epoch := n.Epoch()
	if err := a.load(ctx, n, epoch, c, a.missing(n, epoch), a.refused); err != nil {
		return err
	}
	if a.upstreams.primary(n) {
		if n.Backend == 0 {
			if err := a.learnCommands(ctx, n); err != nil && ctx.Err() == nil {
				a.log.Warn("the command table was not refreshed", "node", n.Addr, "error", err)
			}
		}
		a.libraries.wake()
	}
	if a.lookAtServer(ctx, n, c) {
		a.publish()
	}
	a.government.wall.wake()
	return nil
}

// refused notes a script that a node will not load: calls of it get the
// node's own error, and the others are not held up.
func (a *App) refused(n *topology.Node, s *proxy.Script, err error) error {
	a.log.Error("a node refuses a script", "node", n.Addr, "script", s.Name, "version", s.Version, "error", err)
	return nil
}

// load sends SCRIPT LOAD for each script, pipelined, a bounded number of bytes
// at a time.
func (a *App) load(ctx context.Context, n *topology.Node, epoch uint32, c *redis.Client, scripts []*proxy.Script, refused func(*topology.Node, *proxy.Script, error) error) error {
	p := a.loads.begin(n, len(scripts))
	defer a.loads.end(n)
	for len(scripts) > 0 {
		size, k := 0, 0
		pipe := c.Pipeline()
		for k < len(scripts) && (k == 0 || size+len(scripts[k].Body) <= batchBytes) {
			size += len(scripts[k].Body)
			pipe.ScriptLoad(ctx, string(scripts[k].Body))
			k++
		}
		batch, cancel := context.WithTimeout(ctx, loadTimeout)
		cmds, err := pipe.Exec(batch)
		cancel()
		for i, cmd := range cmds {
			switch cerr := cmd.Err(); {
			case cerr == nil && cmd.(*redis.StringCmd).Val() != scripts[i].SHA:
				return fmt.Errorf("SCRIPT LOAD answered the sha %s, and the body's is %s", cmd.(*redis.StringCmd).Val(), scripts[i].SHA)
			case cerr == nil:
				scripts[i].SetLoaded(n.Index, epoch)
			case isServerError(cerr) && !strings.HasPrefix(cerr.Error(), "BUSY ") && !strings.HasPrefix(cerr.Error(), "LOADING "):
				if rerr := refused(n, scripts[i], cerr); rerr != nil {
					return rerr
				}
			default:
				return cerr
			}
		}
		if err != nil && !isServerError(err) {
			return err
		}
		scripts = scripts[k:]
		a.loads.add(p, k)
	}
	return nil
}

// loadTimeout bounds one batch: a megabyte of scripts takes a server some
// tens of milliseconds.
const loadTimeout = 10 * time.Second

func isServerError(err error) bool {
	var re redis.Error
	return errors.As(err, &re)
}

// stageNodes is how many nodes a version is loaded on at a time.
const stageNodes = 16

// stage loads versions on every node that is up, before a pointer moves to
// them. A node that is down gets them before it takes traffic again. While
// the proxy starts no node was heard from yet, and nothing is loaded.
func (a *App) stage(ctx context.Context, staged []registry.Staged) error {
	var libraries []registry.Staged
	var scripts []*proxy.Script
	a.mu.Lock()
	for _, st := range staged {
		if st.Kind == registry.KindFunction {
			libraries = append(libraries, st)
			continue
		}
		scripts = append(scripts, a.scripts.of(st.Script, st.Version))
	}
	a.mu.Unlock()
	if !a.declared.Load() {
		return nil
	}
	if len(libraries) > 0 {
		if err := a.libraries.stage(ctx, libraries); err != nil {
			return err
		}
	}
	if len(scripts) == 0 {
		return nil
	}
	up, err := a.stageScripts(ctx, scripts)
	if err == nil && up == 0 {
		err = parses(staged)
	}
	return err
}

// stageScripts returns on how many nodes the scripts are, and an error of the
// first node that refused one.
func (a *App) stageScripts(ctx context.Context, scripts []*proxy.Script) (up int, err error) {
	places := make(chan struct{}, stageNodes)
	var wg sync.WaitGroup
	nodes := a.upstreams.nodes()
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		if !n.Up() {
			continue
		}
		up++
		epoch := n.Epoch()
		var missing []*proxy.Script
		for _, s := range scripts {
			if !s.LoadedOn(n.Index, epoch) {
				missing = append(missing, s)
			}
		}
		if len(missing) == 0 {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			errs[i] = a.stageOn(ctx, n, epoch, missing)
			<-places
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return up, err
		}
	}
	return up, nil
}

// syntaxRule is the lint rule (docs/lint.md) about bodies that are not Lua.
const syntaxRule = "syntax-error"

// parses refuses what no node could be asked about and the analysis can't
// read.
func parses(staged []registry.Staged) error {
	for _, st := range staged {
		for _, f := range st.Version.Findings {
			if f.Rule == syntaxRule {
				return &registry.PrepareError{Name: st.Script, Version: st.Version.ID, Err: fmt.Errorf("no node is up to try it, and line %d does not parse: %s", f.Line, f.Message)}
			}
		}
	}
	return nil
}

func (a *App) stageOn(ctx context.Context, n *topology.Node, epoch uint32, scripts []*proxy.Script) error {
	c := a.upstreams.client(n)
	defer c.Close()
	fail := func(n *topology.Node, s *proxy.Script, err error) error {
		return &registry.PrepareError{Node: n.Addr, Name: s.Name, Version: s.Version, Err: err}
	}
	err := a.load(ctx, n, epoch, c, scripts, fail)
	if pe := (*registry.PrepareError)(nil); err == nil || errors.As(err, &pe) {
		return err
	}
	return fail(n, scripts[0], err)
}

// learnCommands reads the primary's COMMAND, so that what newer servers and
// modules bring is classed rightly.
func (a *App) learnCommands(ctx context.Context, n *topology.Node) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	reply, err := a.ask(ctx, n, "COMMAND")
	if err != nil {
		return err
	}
	table, err := command.Parse(reply)
	if err != nil {
		return err
	}
	if table.LookupString("EVALSHA") == nil {
		// An embedded server that lists next to nothing: what is known of
		// Redis says more.
		a.log.Debug("the server's COMMAND is incomplete and not used", "node", n.Addr)
		return nil
	}
	a.mu.Lock()
	a.commands = command.Embedded().Merge(table)
	a.mu.Unlock()
	a.publish()
	return nil
}

// ask sends one command on a connection of its own, and returns the reply as
// it came.
func (a *App) ask(ctx context.Context, n *topology.Node, args ...string) ([]byte, error) {
	conn, err := a.upstreams.of(n).Dial(ctx, n)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	return askOn(conn, args...)
}

// askOn sends one command on a connection, and returns the reply as it came.
func askOn(conn net.Conn, args ...string) ([]byte, error) {
	if _, err := conn.Write(resp.AppendCommand(nil, args...)); err != nil {
		return nil, err
	}
	var framer resp.Reply
	var buf []byte
	scanned := 0
	chunk := make([]byte, 64<<10)
	for {
		k, err := conn.Read(chunk)
		buf = append(buf, chunk[:k]...)
		for scanned < len(buf) {
			used, done, ferr := framer.Scan(buf[scanned:])
			if ferr != nil {
				return nil, ferr
			}
			scanned += used
			if done {
				if buf[0] == '-' {
					return nil, fmt.Errorf("%s: %s", args[0], strings.TrimSpace(string(buf[1:scanned])))
				}
				return buf[:scanned], nil
			}
			if used == 0 {
				break
			}
		}
		if err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
}
