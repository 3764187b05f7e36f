package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// nanosPerTick is the unit of /proc/PID/stat and /proc/stat: USER_HZ is 100 on every architecture that Linux and Go
// share, whatever the kernel's own HZ.
const nanosPerTick = 1e9 / 100

// cpuUse is the CPU time that a process has used, in nanoseconds.
type cpuUse struct {
	user, system int64           // from utime and stime, in steps of 10 ms; their ratio is the kernel's sampling
	threads      map[int64]int64 // per thread from schedstat, exact; nil when the kernel does not count it
	exact        int64           // of a difference: the sum over threads
}

// total is the exact time where the kernel has it, else utime + stime.
func (u cpuUse) total() int64 {
	if u.threads == nil {
		return u.user + u.system
	}
	if u.exact != 0 {
		return u.exact
	}
	sum := int64(0)
	for _, ns := range u.threads {
		sum += ns
	}
	return sum
}

// readCPU reads what a process has used. Process 0 has used nothing.
func readCPU(pid int) (cpuUse, error) {
	if pid == 0 {
		return cpuUse{}, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cpuUse{}, fmt.Errorf("read a process's CPU time: %w", err)
	}
	u, err := parseStat(stat)
	if err != nil {
		return cpuUse{}, err
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return cpuUse{}, err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return cpuUse{}, fmt.Errorf("%s has no time in it: %q", file, b)
		}
		tid, err := strconv.ParseInt(filepath.Base(filepath.Dir(file)), 10, 64)
		if err != nil {
			return cpuUse{}, err
		}
		if u.threads == nil {
			u.threads = map[int64]int64{}
		}
		u.threads[tid] = ns
	}
	return u, nil
}

// parseStat takes utime and stime from the text of /proc/PID/stat, whose second field may contain blanks and parentheses.
func parseStat(stat []byte) (cpuUse, error) {
	end := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	if end < 0 || len(fields) < 13 {
		return cpuUse{}, fmt.Errorf("read a process's CPU time: unexpected %q", stat)
	}
	// proc(5): utime is field 14 and stime field 15, of which two are before the parenthesis.
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return cpuUse{}, fmt.Errorf("read a process's CPU time: %w", err)
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	if err != nil {
		return cpuUse{}, fmt.Errorf("read a process's CPU time: %w", err)
	}
	return cpuUse{user: user * nanosPerTick, system: system * nanosPerTick}, nil
}

// since returns what was used between before and u. Of the exact total, the part that was user time is taken
// to be the kernel's share of utime in utime + stime.
func (u cpuUse) since(before cpuUse) cpuUse {
	d := cpuUse{user: u.user - before.user, system: u.system - before.system}
	if u.threads == nil {
		return d
	}
	d.threads = u.threads
	for tid, ns := range u.threads {
		d.exact += ns - before.threads[tid] // 0 for a thread that is new
	}
	if ticks := d.user + d.system; ticks > 0 {
		d.user = int64(float64(d.exact) * float64(d.user) / float64(ticks))
		d.system = d.exact - d.user
	} else {
		d.user, d.system = 0, d.exact
	}
	return d
}

// readRSS returns the resident memory of a process in bytes.
func readRSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "Rss:" && fields[2] == "kB" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("read a process's memory: no Rss in /proc/%d/smaps_rollup", pid)
}

// raiseFileLimit lets this program and those that it starts have n files open.
func raiseFileLimit(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	want := uint64(n)
	// Setting it, even to what it is, also makes Go hand it down to children.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: max(want, limit.Cur), Max: max(want, limit.Max)}); err != nil {
		return fmt.Errorf("raise the limit of open files from %d to %d: %w: raise it with ulimit -n %d, or run as root", limit.Max, want, err, want)
	}
	return nil
}
