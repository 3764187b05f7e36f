package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/app"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/cli/demo"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

func demoCommand(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "demo",
		Usage: "run Redis, the proxy and sample scripts, to try it out",
		Description: "Starts a primary and a replica of redis-server, or an embedded server when\n" +
			"redis-server is not installed, and the proxy in front of them, and prints\n" +
			"commands to try. Everything is on 127.0.0.1 and in a temporary directory, and\n" +
			"is gone when the demo ends, with Ctrl-C.",
		Flags: []urfave.Flag{
			&urfave.IntFlag{Name: "port", Value: 6380, Usage: "listen for clients on `PORT`, or on a free one when it is taken"},
			&urfave.IntFlag{Name: "admin-port", Value: 9380, Usage: "listen for HTTP on `PORT`, or on a free one when it is taken"},
			&urfave.BoolFlag{Name: "embedded", Usage: "use the embedded server even where redis-server is installed"},
			&urfave.DurationFlag{Name: "duration", Usage: "end after `TIME`, such as 10s"},
			&urfave.StringFlag{Name: "once", Usage: "run `COMMAND` with sh, with PROXY_PORT, ADMIN_URL, PRIMARY_PORT and REPLICA_PORT in its environment, then end with its exit status"},
		},
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			d := &demonstration{
				streams:  streams,
				port:     cmd.Int("port"),
				admin:    cmd.Int("admin-port"),
				embedded: cmd.Bool("embedded"),
				duration: cmd.Duration("duration"),
				once:     cmd.String("once"),
			}
			return d.run(ctx)
		},
	}
}

// demonstration is one run of the demo.
type demonstration struct {
	streams     Streams
	port, admin int
	embedded    bool
	duration    time.Duration // 0: until ctx ends
	once        string        // empty: no command

	dir     string
	servers demo.Servers
}

// run starts everything, waits, and takes everything away again, also when ctx is
// cancelled or something fails halfway.
func (d *demonstration) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "scriptproxy-demo-"); err != nil {
		return fmt.Errorf("cannot make a directory for the demo: %w", err)
	}
	defer func() {
		if removeErr := os.RemoveAll(d.dir); removeErr != nil && err == nil {
			err = fmt.Errorf("cannot remove the demo's directory: %w", removeErr)
		}
	}()
	if d.servers, err = d.startServers(ctx); err != nil {
		return err
	}
	defer d.servers.Stop()
	cfg, path, err := d.configure()
	if err != nil {
		return err
	}
	return d.serve(ctx, cfg, path)
}

func (d *demonstration) startServers(ctx context.Context) (demo.Servers, error) {
	binary, lookErr := exec.LookPath("redis-server")
	if d.embedded || lookErr != nil {
		return demo.StartEmbedded()
	}
	servers, err := demo.StartRedis(ctx, binary, d.dir)
	if err != nil {
		return nil, hinted(err, "scriptproxy demo -embedded needs no redis-server")
	}
	return servers, nil
}

// configure writes the sample scripts and a configuration, and loads it as serve
// does.
func (d *demonstration) configure() (*config.Config, string, error) {
	var err error
	if d.port, err = freePort(d.port); err != nil {
		return nil, "", err
	}
	if d.admin, err = freePort(d.admin); err != nil {
		return nil, "", err
	}
	path := filepath.Join(d.dir, "config.yaml")
	if err := demo.WriteConfig(path, demo.Settings{
		Listen:  localAddress(d.port),
		Admin:   localAddress(d.admin),
		Primary: d.servers.Primary(),
		Replica: d.servers.Replica(),
	}); err != nil {
		return nil, "", err
	}
	cfg, warnings, err := config.Load(path)
	warn(d.streams.Err, warnings)
	return cfg, path, err
}

// serve runs the proxy until ctx is cancelled, the time is up, or the command has
// ended.
func (d *demonstration) serve(ctx context.Context, cfg *config.Config, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- app.Run(ctx, cfg, newLogger(d.streams.Err, cfg.Log), app.Options{
			ConfigPath: path,
			Version:    readBuildInfo().Version,
			Ready:      func([]string) { close(ready) },
		})
	}()
	select {
	case <-ready:
	case err := <-served:
		return d.ended(ctx, err)
	}
	result := d.use(ctx, served)
	cancel()
	return errors.Join(result, <-served)
}

// ended is the result of a proxy that ended by itself.
func (d *demonstration) ended(ctx context.Context, err error) error {
	if err == nil && ctx.Err() == nil {
		err = errors.New("the proxy ended by itself")
	}
	return err
}

// use is what happens while the demo is up.
func (d *demonstration) use(ctx context.Context, served chan error) error {
	if d.once != "" {
		return d.command(ctx)
	}
	d.explain(d.streams.Out)
	var timeUp <-chan time.Time
	if d.duration > 0 {
		timeUp = time.After(d.duration)
	}
	select {
	case <-ctx.Done():
	case <-timeUp:
	case err := <-served:
		served <- nil // for the caller, who waits for the end
		return d.ended(ctx, err)
	case err := <-d.servers.Failed():
		return err
	}
	return nil
}

// command runs the command of -once and makes its exit status the program's.
func (d *demonstration) command(ctx context.Context) error {
	if d.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.duration)
		defer cancel()
	}
	sh := exec.CommandContext(ctx, "sh", "-c", d.once)
	sh.Env = append(os.Environ(),
		fmt.Sprintf("PROXY_PORT=%d", d.port),
		"ADMIN_URL=http://"+localAddress(d.admin),
		"PRIMARY_PORT="+portOf(d.servers.Primary()),
		"REPLICA_PORT="+portOf(d.servers.Replica()),
	)
	sh.Stdin, sh.Stdout, sh.Stderr = d.streams.In, d.streams.Out, d.streams.Err
	sh.WaitDelay = time.Second // for what it left in the background
	err := sh.Run()
	switch exit, exited := errors.AsType[*exec.ExitError](err); {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the command did not end within %s", d.duration)
	case ctx.Err() != nil:
		return &failure{err: errReported, status: statusFailed}
	case exited && exit.ExitCode() > 0:
		return &failure{err: errReported, status: exit.ExitCode()}
	default:
		return fmt.Errorf("the command failed: %w", err)
	}
}

// explain says what runs where and what to try.
func (d *demonstration) explain(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "servers  %s\n", d.servers)
	fmt.Fprintf(&b, "proxy    %s\n", localAddress(d.port))
	fmt.Fprintf(&b, "admin    http://%s\n", localAddress(d.admin))
	fmt.Fprintf(&b, "files    %s\n\n", d.dir)
	b.WriteString("Try this in another terminal:\n")
	b.WriteString(demo.Tour(demo.Places{
		Proxy: fmt.Sprint(d.port), Admin: localAddress(d.admin),
		Primary: portOf(d.servers.Primary()), Replica: portOf(d.servers.Replica()),
	}))
	b.WriteString("\nCtrl-C ends everything and removes the files.\n")
	_, _ = io.WriteString(w, b.String())
}

// freePort returns port when it can be listened on, else one that can.
func freePort(port int) (int, error) {
	for _, try := range []int{port, 0} {
		l, err := net.Listen("tcp", localAddress(try))
		if err == nil {
			defer l.Close()
			return l.Addr().(*net.TCPAddr).Port, nil
		}
	}
	return 0, errors.New("no port is free on 127.0.0.1")
}

func localAddress(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// portOf returns the port of host:port, empty for none.
func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
