package filestore_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/filestore"
)

const helperPath = "SCRIPTPROXY_TEST_ACTIVATE_IN"

func TestMain(m *testing.M) {
	if path := os.Getenv(helperPath); path != "" {
		activateForEver(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// activateForEver is the process that gets killed. It says which revision it is about to make,
// and when it has been told that the revision is there.
func activateForEver(path string) {
	store, err := filestore.Open(filestore.Options{Path: path})
	if err == nil {
		var r *registry.Registry
		if r, err = registry.New(background, registry.Options{Store: store}); err == nil {
			for {
				s := r.Snapshot()
				next := "v1"
				if s.Script("pay").Active == "v1" {
					next = "v2"
				}
				fmt.Printf("begin %d\n", s.Revision+1)
				if _, err = r.Activate(background, registry.Op{Who: "helper"}, "pay", next); err != nil {
					break
				}
				fmt.Printf("done %d\n", s.Revision+1)
			}
		}
	}
	fmt.Println("error", err)
	os.Exit(1)
}

func TestAKilledProcessLeavesTheStateBeforeOrAfterAChange(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 30
	}
	path := filepath.Join(t.TempDir(), "state")
	r := openRegistry(t, path)
	seed(t, r)
	last := r.Snapshot().Revision
	closeAll(t, r)
	between, after := 0, 0
	for range rounds {
		begun, done := killHelper(t, path, last)
		r := openRegistry(t, path)
		s := r.Snapshot()
		switch s.Revision {
		case done:
			if begun > done {
				between++
			}
		case begun:
			after++
		default:
			t.Fatalf("revision %d was done and %d begun; the file holds %d", done, begun, s.Revision)
		}
		checkWhole(t, r)
		last = s.Revision
		closeAll(t, r)
	}
	t.Logf("%d rounds, %d revisions; killed during a change: %d had not happened, %d had", rounds, last, between, after)
	if last < uint64(rounds)/4 {
		t.Errorf("only %d revisions in %d rounds: the processes were killed before they did anything", last, rounds)
	}
}

// killHelper returns the last revision that was begun, and the last that was done.
func killHelper(t *testing.T, path string, last uint64) (begun, done uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperPath+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	begun, done = last, last
	note := func(line string) {
		word, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(number, 10, 64)
		switch {
		case err != nil:
			t.Errorf("the helper says %q", line)
		case word == "begin":
			begun = n
		case word == "done":
			done = n
		}
	}
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Errorf("the helper said nothing: %v", err)
	}
	note(first)
	time.Sleep(time.Duration(rand.IntN(15_000)) * time.Microsecond)
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	rest, _ := io.ReadAll(lines)
	_ = cmd.Wait() // killed
	for line := range strings.Lines(string(rest)) {
		if strings.HasSuffix(line, "\n") {
			note(line)
		}
	}
	return begun, done
}

// checkWhole compares the state with the audit log, which tells what it must be.
func checkWhole(t *testing.T, r *registry.Registry) {
	t.Helper()
	s := r.Snapshot()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	changes, err := r.Audit(background, 5)
	if err != nil || len(changes) == 0 {
		t.Fatalf("audit: %v, %v", changes, err)
	}
	script := s.Script("pay")
	if c := changes[0]; c.Revision != s.Revision || c.To != script.Active || c.Action == "activate" && c.From != script.Previous {
		t.Fatalf("at revision %d, with %s active and %s before, the last audit entry is %+v", s.Revision, script.Active, script.Previous, c)
	}
}
