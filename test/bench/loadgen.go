package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// sample is one cell: what one run of redis-benchmark through one target showed.
type sample struct {
	Requests    int     `json:"requests"`
	PerSecond   float64 `json:"requests_per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	ProxyCPU    float64 `json:"proxy_cpu_us_per_request"` // 0 for direct
	ProxyUser   float64 `json:"proxy_user_us_per_request"`
	ServerCPU   float64 `json:"redis_cpu_us_per_request"`
	WallSeconds float64 `json:"wall_seconds"`
}

// runCell runs one cell of n requests. c is the group's command or, through scriptproxy, its variant by name.
func runCell(ctx context.Context, b *bed, t *target, c command, l load, n int) (sample, error) {
	args := c.args(b.sha)
	if err := checkReply(t, c, args); err != nil {
		return sample{}, err
	}
	before, err := b.readCounters(c.stat)
	if err != nil {
		return sample{}, err
	}
	serverBefore, err := readCPU(b.server.PID())
	if err != nil {
		return sample{}, err
	}
	proxyBefore, err := readCPU(t.pid())
	if err != nil {
		return sample{}, err
	}

	start := time.Now()
	out, err := redisBenchmark(ctx, t.port, l, n, args)
	wall := time.Since(start)

	if aliveErr := t.alive(); aliveErr != nil {
		return sample{}, aliveErr
	}
	if err != nil {
		return sample{}, err
	}
	proxyAfter, err := readCPU(t.pid())
	if err != nil {
		return sample{}, err
	}
	serverAfter, err := readCPU(b.server.PID())
	if err != nil {
		return sample{}, err
	}
	after, err := b.readCounters(c.stat)
	if err != nil {
		return sample{}, err
	}
	calls := after.calls - before.calls
	if calls < int64(n) {
		return sample{}, fmt.Errorf("the server executed %d of %d requests", calls, n)
	}
	if failed := after.errors - before.errors; failed != 0 {
		return sample{}, fmt.Errorf("the server answered %d errors", failed)
	}

	s, err := parseCSV(out)
	if err != nil {
		return sample{}, err
	}
	proxy, server := proxyAfter.since(proxyBefore), serverAfter.since(serverBefore)
	micros := func(ns int64) float64 { return float64(ns) / 1e3 / float64(calls) }
	s.Requests, s.WallSeconds = int(calls), wall.Seconds()
	s.ProxyCPU, s.ProxyUser, s.ServerCPU = micros(proxy.total()), micros(proxy.user), micros(server.total())
	return s, nil
}

// checkReply sends the command once and compares its reply with what it must be.
func checkReply(t *target, c command, words []string) error {
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = strings.ReplaceAll(word, "__rand_int__", "000000000042")
	}
	client, err := redisserver.DialClient(t.addr(), "")
	if err != nil {
		return err
	}
	defer client.Close()
	reply, err := client.Do(args...)
	if err != nil {
		return err
	}
	if !c.right(reply) {
		return fmt.Errorf("%s answered %#v, which is wrong", strings.Join(words, " "), reply)
	}
	return nil
}

// redisBenchmark runs redis-benchmark and returns its CSV. It ends with an error status when it meets an error
// reply. Its warning that a proxy does not answer CONFIG is no error: it only prints those settings.
func redisBenchmark(ctx context.Context, port int, l load, n int, args []string) ([]byte, error) {
	program, err := findProgram("redis-benchmark")
	if err != nil {
		return nil, err
	}
	words := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(port), "-n", strconv.Itoa(n), "-c", strconv.Itoa(l.clients),
		"-P", strconv.Itoa(l.pipeline), "-r", strconv.Itoa(keySpace), "--csv"}
	cmd := exec.CommandContext(ctx, program, append(words, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// parseCSV takes rate and latencies from redis-benchmark's --csv, by the names in its first line.
func parseCSV(out []byte) (sample, error) {
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 2 {
		return sample{}, fmt.Errorf("redis-benchmark printed %q, not a heading and one line of CSV (it needs Redis 6.2 or later)", out)
	}
	column := map[string]float64{}
	for i, name := range rows[0] {
		if v, err := strconv.ParseFloat(rows[1][i], 64); err == nil {
			column[name] = v
		}
	}
	var s sample
	for name, field := range map[string]*float64{"rps": &s.PerSecond, "p50_latency_ms": &s.P50, "p99_latency_ms": &s.P99} {
		v, found := column[name]
		if !found || v <= 0 {
			return sample{}, fmt.Errorf("redis-benchmark's CSV has no usable %s: %q", name, out)
		}
		*field = v
	}
	return s, nil
}
