package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// machine says on what the figures were taken.
type machine struct {
	CPU      string   `json:"cpu"`
	Cores    int      `json:"cores"`
	Memory   string   `json:"memory"`
	Kernel   string   `json:"kernel"`
	Go       string   `json:"go"`
	Versions []string `json:"versions"`
}

func describeMachine(proxyPath string, names []string) machine {
	m := machine{CPU: "unknown", Cores: runtime.NumCPU(), Memory: "unknown", Kernel: "unknown", Go: runtime.Version()}
	m.CPU = fieldOf("/proc/cpuinfo", "model name", m.CPU)
	if kb, found := strings.CutSuffix(fieldOf("/proc/meminfo", "MemTotal", ""), " kB"); found {
		if n, err := strconv.ParseFloat(kb, 64); err == nil {
			m.Memory = fmt.Sprintf("%.1f GiB", n/(1<<20))
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(b)) + " " + runtime.GOARCH
	}
	m.Versions = append(m.Versions, versionOf("redis-server", "--version"), versionOf("redis-benchmark", "--version"))
	for _, name := range names {
		switch name {
		case scriptproxy:
			m.Versions = append(m.Versions, versionOf(proxyPath, "version"))
		case twemproxy:
			m.Versions = append(m.Versions, versionOf("nutcracker", "-V"))
		case haproxy:
			m.Versions = append(m.Versions, versionOf("haproxy", "-v"))
		}
	}
	return m
}

// fieldOf returns the value of the first "name: value" line of a file in /proc.
func fieldOf(file, name, otherwise string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return otherwise
	}
	for line := range strings.Lines(string(b)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

// versionOf returns the first line that a program prints about its version.
func versionOf(program, flag string) string {
	path, err := findProgram(program)
	if err != nil {
		return program + ": not installed"
	}
	out, _ := exec.Command(path, flag).CombinedOutput() // nutcracker ends with status 1 after -V
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return program + ": version unknown"
	}
	return line
}

// noise measures how much CPU time goes to programs that have no part in the benchmark: figures taken
// on a busy machine are worth little.
type noise struct {
	busy, steal int64 // ns over all cores
	own         int64
}

func startNoise() noise {
	busy, steal := readMachineCPU()
	return noise{busy: busy, steal: steal, own: ownCPU()}
}

// noiseShare is what the rest of the machine used, as a share of all that was used, and what the hypervisor took away.
type noiseShare struct {
	Others float64 `json:"others"`
	Steal  float64 `json:"steal"`
}

// share returns the noise since start, given what the server and the proxies have used since they were started.
func (n noise) share(bed int64) noiseShare {
	busy, steal := readMachineCPU()
	busy, steal = busy-n.busy, steal-n.steal
	if busy <= 0 {
		return noiseShare{}
	}
	others := busy - bed - (ownCPU() - n.own)
	return noiseShare{Others: max(0, float64(others)/float64(busy)), Steal: float64(steal) / float64(busy+steal)}
}

// readMachineCPU returns the time that all cores were busy, and the time stolen from them, from /proc/stat.
func readMachineCPU() (busy, steal int64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(line) {
		ticks, err := strconv.ParseInt(field, 10, 64)
		switch {
		case err != nil:
		case i == 1, i == 2, i == 3, i == 6, i == 7: // user, nice, system, irq, softirq
			busy += ticks * nanosPerTick
		case i == 8:
			steal = ticks * nanosPerTick
		}
	}
	return busy, steal
}

// ownCPU is what this program and the redis-benchmarks that it has run have used, in nanoseconds. Servers and proxies still
// run, and so are not in it.
func ownCPU() int64 {
	total := int64(0)
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			total += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return total
}
