package main

import (
	"os"
	"testing"
	"time"
)

func TestStatIsReadBehindTheProgramsName(t *testing.T) {
	u, err := parseStat([]byte("17048 (a) b (c) S 1 17041 5133 0 -1 4194560 2774 0 2 0 4 20 0 0 20 0 2 0 157211"))
	if err != nil || u.user != 40_000_000 || u.system != 200_000_000 {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, broken := range []string{"", "1 (x", "1 (x) S 1 2", "1 (x) S 1 2 3 4 5 6 7 8 9 10 u s 1"} {
		if _, err := parseStat([]byte(broken)); err == nil {
			t.Errorf("%q is no error", broken)
		}
	}
}

func TestDifferenceCountsNewThreadsAndSplitsTheExactTime(t *testing.T) {
	before := cpuUse{user: 100, system: 100, threads: map[int64]int64{1: 1000, 2: 500}}
	after := cpuUse{user: 130, system: 110, threads: map[int64]int64{1: 1800, 3: 200}} // 2 has ended, 3 is new
	d := after.since(before)
	if d.total() != 1000 || d.user != 750 || d.system != 250 {
		t.Errorf("got %+v with total %d", d, d.total())
	}
	d = cpuUse{user: 130, system: 110}.since(cpuUse{user: 100, system: 100})
	if d.total() != 40 || d.user != 30 {
		t.Errorf("without the scheduler's times: %+v with total %d", d, d.total())
	}
}

func TestCPUOfABusyProcessIsSeen(t *testing.T) {
	before, err := readCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
	}
	after, err := readCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The loop may have shared its core, but not for nearly all of the time.
	if got := time.Duration(after.since(before).total()); got < 5*time.Millisecond || got > 10*time.Second {
		t.Errorf("100 ms of work took %v of CPU time", got)
	}
	if _, err := readCPU(1 << 30); err == nil {
		t.Error("a process that does not exist is no error")
	}
}

func TestMemoryOfAProcessIsSeen(t *testing.T) {
	before, err := readRSS(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	after, err := readRSS(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < size/2 {
		t.Errorf("memory grew by %d bytes after %d were touched (last byte %d)", grown, size, block[size-4096])
	}
}
