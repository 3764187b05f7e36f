package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// sizes is what a proxy is measured with.
type sizes struct {
	Scripts   int     `json:"scripts"`
	Sessions  int     `json:"sessions"`
	Dedicated int     `json:"dedicated"` // sessions that need a connection to the server of their own
	Scrapes   int     `json:"scrapes"`
	Rounds    int     `json:"rounds"`
	Seconds   float64 `json:"seconds"` // of each measurement of load
}

func sizesOf(o options) sizes {
	s := sizes{Scripts: 5000, Sessions: 1000, Dedicated: 200, Scrapes: 50, Rounds: o.rounds, Seconds: o.seconds}
	if o.smoke {
		s = sizes{Scripts: 50, Sessions: 20, Dedicated: 5, Scrapes: 3, Rounds: 1, Seconds: 0.2}
	}
	return s
}

// sizing is what a proxy of that size needs. Memory is resident, in bytes.
type sizing struct {
	Sizes   sizes   `json:"sizes"`
	Machine machine `json:"machine"`
	Command string  `json:"command"`

	Started  time.Time     `json:"started"`
	Empty    int64         `json:"empty_bytes"`   // no script, no session
	Alone    int64         `json:"alone_bytes"`   // no script, the sessions, each answered once
	Loaded   int64         `json:"loaded_bytes"`  // the scripts registered and on the server
	Ready    time.Duration `json:"ready_ns"`      // from the start to readiness with all scripts
	Idle     int64         `json:"idle_bytes"`    // and the sessions, each answered once
	Called   int64         `json:"called_bytes"`  // and every script called, every series there
	Scraped  int64         `json:"scraped_bytes"` // and metrics read
	Server   int64         `json:"server_bytes"`  // that the scripts cost the server
	Files    [3]int        `json:"files"`         // descriptors: without sessions, with them, with dedicated links too
	Links    [2]float64    `json:"links"`         // to the server: shared, and dedicated when those are needed
	Series   int           `json:"series"`        // in /metrics
	Bytes    int           `json:"metrics_bytes"` // of /metrics
	Scrape   spread        `json:"scrape"`        // on an idle proxy
	Loaded50 spread        `json:"scrape_loaded"` // while 50 clients are busy
	CPU      time.Duration `json:"scrape_cpu_ns"` // that one scrape costs the proxy
	Loads    []sizedLoad   `json:"loads"`         // CPU per request
}

// spread is the middle and the worst of many.
type spread struct {
	P50 time.Duration `json:"p50_ns"`
	Max time.Duration `json:"max_ns"`
}

// sizedLoad is one command and what a request costs the proxy, in CPU time, with nobody reading metrics, with somebody who reads them
// every second, and with script calls not counted; medians over the rounds.
type sizedLoad struct {
	Title     string  `json:"title"`
	PerSec    float64 `json:"requests_per_second"`
	Unread    float64 `json:"cpu_us_unread"`
	Read      float64 `json:"cpu_us_read"`
	Uncounted float64 `json:"cpu_us_uncounted"`
	// ReadPercent is what reading adds to Unread, CountPercent what counting adds to Uncounted: medians of the rounds' ratios.
	ReadPercent  float64 `json:"read_more_percent"`
	CountPercent float64 `json:"count_more_percent"`
}

// scrapeEvery is how often metrics are read in the comparison. Prometheus's usual interval is 15 to 60 seconds.
const scrapeEvery = time.Second

// sized is a proxy with many scripts in front of a server of its own.
type sized struct {
	*target
	server *redisserver.Process
	admin  string
	client http.Client
}

// measureSizing measures a proxy as large as sizes says.
func measureSizing(ctx context.Context, o options, progress io.Writer) (*sizing, error) {
	r := &sizing{Sizes: sizesOf(o), Machine: describeMachine(o.proxy, []string{scriptproxy}), Command: strings.Join(os.Args, " "), Started: time.Now()}
	said := func(what string) { fmt.Fprintf(progress, "sizing: %s\n", what) }

	empty, err := startSized(o, 0, "")
	if err != nil {
		return nil, err
	}
	err = empty.alone(ctx, r)
	empty.close()
	if err != nil {
		return nil, err
	}
	said("a proxy with nothing to do")

	started := time.Now()
	p, err := startSized(o, r.Sizes.Scripts, "")
	if err != nil {
		return nil, err
	}
	defer p.close()
	r.Ready = time.Since(started)
	if r.Loaded, err = p.rested(ctx); err != nil {
		return nil, err
	}
	if r.Server, err = p.scriptMemory(); err != nil {
		return nil, err
	}
	said(fmt.Sprintf("%d scripts", r.Sizes.Scripts))

	clients, err := p.sessions(ctx, r)
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	said(fmt.Sprintf("%d sessions", r.Sizes.Sessions))
	if err := p.scrapes(ctx, r); err != nil {
		return nil, err
	}
	said(fmt.Sprintf("%d scrapes", r.Sizes.Scrapes))
	uncounted, err := startSized(o, r.Sizes.Scripts, "metrics: {script_calls: false}\n")
	if err != nil {
		return nil, err
	}
	defer uncounted.close()
	return r, p.loads(ctx, uncounted, r, said)
}

// alone measures a proxy without scripts, and then with sessions.
func (p *sized) alone(ctx context.Context, r *sizing) (err error) {
	if r.Empty, err = p.rested(ctx); err != nil {
		return err
	}
	for range r.Sizes.Sessions {
		conn, err := openUsed(p.addr(), 10*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	r.Alone, err = p.rested(ctx)
	return err
}

// startSized starts a server and a proxy with so many scripts, of about 1 KiB each, and with sections that its configuration has beside
// them, and waits until it is ready.
func startSized(o options, scripts int, sections string) (*sized, error) {
	p := &sized{target: &target{name: scriptproxy}, client: http.Client{Timeout: 30 * time.Second}}
	ok := false
	defer func() {
		if !ok {
			p.close()
		}
	}()
	var err error
	if p.server, err = startServer(); err != nil {
		return nil, err
	}
	if err := fill(p.server.Addr()); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp("", "scriptproxy-sizing-"); err != nil {
		return nil, err
	}
	if p.port, p.release, err = redisserver.LeasePort(); err != nil {
		return nil, err
	}
	adminPort, releaseAdmin, err := redisserver.LeasePort()
	if err != nil {
		return nil, err
	}
	defer releaseAdmin()
	p.admin = fmt.Sprintf("http://127.0.0.1:%d", adminPort)
	if err := writeScripts(filepath.Join(p.dir, "scripts"), scripts); err != nil {
		return nil, err
	}
	config, err := writeFile(p.dir, "scriptproxy.yaml", fmt.Sprintf("listen: [127.0.0.1:%d]\nadmin: {listen: 127.0.0.1:%d}\nupstream: {primary: \"%s\"}\nscripts: {dir: scripts}\n%s",
		p.port, adminPort, p.server.Addr(), sections))
	if err != nil {
		return nil, err
	}
	program, err := filepath.Abs(o.proxy)
	if err != nil {
		return nil, err
	}
	if err := p.start([]string{program, "serve", "-config", config}); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		status, _, err := p.get("/readyz")
		if err == nil && status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the proxy is not ready: %d, %v; its log:\n%s", status, err, p.log())
		}
	}
	ok = true
	return p, nil
}

// sizedScript is the name of script i.
func sizedScript(i int) string { return fmt.Sprintf("script-%05d", i) }

func writeScripts(dir string, n int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	filler := strings.Repeat("-- a comment, so that the script is as long as scripts are\n", 15)
	for i := range n {
		if err := os.MkdirAll(filepath.Join(dir, sizedScript(i)), 0o755); err != nil {
			return err
		}
		body := fmt.Sprintf("-- %s\n%slocal v = redis.call('INCRBY', KEYS[1], ARGV[1])\nreturn v\n", sizedScript(i), filler)
		if _, err := writeFile(filepath.Join(dir, sizedScript(i)), "v1.lua", body); err != nil {
			return err
		}
	}
	return nil
}

// rested is the proxy's memory after a while of rest, in which its collector gives back what it can.
func (p *sized) rested(ctx context.Context) (int64, error) {
	if err := pause(ctx, settle); err != nil {
		return 0, err
	}
	return readRSS(p.pid())
}

// scriptMemory is what the server's script cache takes, as it says itself.
func (p *sized) scriptMemory() (int64, error) {
	c, err := p.server.Dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	reply, err := c.Do("INFO", "memory")
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for line := range strings.Lines(fmt.Sprint(reply)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_memory_vm_eval" || name == "used_memory_scripts_eval" { // the interpreter's, and the bodies
			var n int64
			if _, err := fmt.Sscan(value, &n); err != nil {
				return 0, fmt.Errorf("the server says %s:%s", name, value)
			}
			total += n
		}
	}
	return total, nil
}

// sessions opens the sessions, has every script called by one of them, and lends some a connection of their own.
func (p *sized) sessions(ctx context.Context, r *sizing) (clients []*redisserver.Client, err error) {
	if r.Files[0], err = p.files(); err != nil {
		return nil, err
	}
	for range r.Sizes.Sessions {
		conn, err := openUsed(p.addr(), 10*time.Second)
		if err != nil {
			return clients, err
		}
		clients = append(clients, redisserver.NewClient(conn))
	}
	if r.Idle, err = p.rested(ctx); err != nil {
		return clients, err
	}
	if r.Files[1], err = p.files(); err != nil {
		return clients, err
	}
	for i := range r.Sizes.Scripts {
		reply, err := clients[i%len(clients)].Do("EVALSHA", sizedScript(i), "1", "counter", "1")
		if err != nil || reply != int64(i+1) {
			return clients, fmt.Errorf("call of %s: %v, %v", sizedScript(i), reply, err)
		}
	}
	if r.Called, err = p.rested(ctx); err != nil {
		return clients, err
	}
	for _, c := range clients[:r.Sizes.Dedicated] {
		if reply, err := c.Do("WATCH", "key"); err != nil || reply != "OK" {
			return clients, fmt.Errorf("WATCH: %v, %v", reply, err)
		}
	}
	if r.Files[2], err = p.files(); err != nil {
		return clients, err
	}
	_, text, err := p.get("/metrics")
	if err != nil {
		return clients, err
	}
	for line := range strings.Lines(string(text)) {
		var value float64
		if at := strings.LastIndexByte(line, ' '); at > 0 && strings.HasPrefix(line, "scriptproxy_links{") {
			fmt.Sscan(line[at:], &value)
			for i, kind := range []string{"shared", "dedicated"} {
				if strings.Contains(line[:at], `kind="`+kind+`"`) {
					r.Links[i] += value
				}
			}
		}
	}
	for _, c := range clients[:r.Sizes.Dedicated] {
		if reply, err := c.Do("UNWATCH"); err != nil || reply != "OK" {
			return clients, fmt.Errorf("UNWATCH: %v, %v", reply, err)
		}
	}
	return clients, nil
}

// scrapes reads the metrics of the idle proxy, and again while it is busy.
func (p *sized) scrapes(ctx context.Context, r *sizing) error {
	_, text, err := p.get("/metrics")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			r.Series++
		}
	}
	r.Bytes = len(text)
	before, err := readCPU(p.pid())
	if err != nil {
		return err
	}
	if r.Scrape, err = p.scrapeTimes(ctx, r.Sizes.Scrapes); err != nil {
		return err
	}
	after, err := readCPU(p.pid())
	if err != nil {
		return err
	}
	r.CPU = time.Duration(after.since(before).total() / int64(r.Sizes.Scrapes))
	if r.Scraped, err = readRSS(p.pid()); err != nil {
		return err
	}
	busy, end := context.WithCancel(ctx)
	defer end()
	load := p.load(busy, get, 50, 1)
	r.Loaded50, err = p.scrapeTimes(ctx, r.Sizes.Scrapes)
	end()
	<-load
	return err
}

func (p *sized) scrapeTimes(ctx context.Context, n int) (spread, error) {
	var times []time.Duration
	for range n {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return spread{}, err
		}
		begin := time.Now()
		if err := p.scrape(); err != nil {
			return spread{}, err
		}
		times = append(times, time.Since(begin))
	}
	slices.Sort(times)
	return spread{P50: times[len(times)/2], Max: times[len(times)-1]}, nil
}

// scrape reads the metrics and keeps nothing of them: what a reader does with them is not the proxy's cost.
func (p *sized) scrape() error {
	resp, err := p.client.Get(p.admin + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// get reads a page.
func (p *sized) get(path string) (status int, body []byte, err error) {
	resp, err := p.client.Get(p.admin + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// files is the number of descriptors that the proxy has.
func (p *sized) files() (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid()))
	return len(list), err
}

func (p *sized) close() {
	p.client.CloseIdleConnections()
	p.target.close()
	if p.server != nil {
		p.server.Close()
	}
}
