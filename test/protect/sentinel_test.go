//go:build linux

package protect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// trio starts three sentinels that know each other and the replica.
func trio(t *testing.T, primary *redisserver.Server, downAfter time.Duration) []*redisserver.Server {
	t.Helper()
	var sentinels []*redisserver.Server
	for range 3 {
		sentinels = append(sentinels, redisserver.StartSentinel(t, primary, 2, downAfter))
	}
	for _, s := range sentinels {
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			fields := map[string]string{}
			items, _ := s.Do("SENTINEL", "MASTER", redisserver.MasterName).([]any)
			for i := 0; i+1 < len(items); i += 2 {
				fields[items[i].(string)], _ = items[i+1].(string)
			}
			if fields["num-other-sentinels"] == "2" && fields["num-slaves"] == "1" {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("a sentinel knows %s others and %s replicas", fields["num-other-sentinels"], fields["num-slaves"])
			}
		}
	}
	return sentinels
}

// promoted reports that a server has become the primary.
func promoted(s *redisserver.Server) bool { return s.Info("replication")["role"] == "master" }

func TestSentinelFailsOverOnlyWithoutTheProxy(t *testing.T) {
	const downAfter = 2 * time.Second
	for _, through := range []string{"the proxy", "nothing", "a proxy without a deadline"} {
		t.Run("through "+through, func(t *testing.T) {
			t.Parallel()
			// All begin to answer BUSY after 500 ms; only a deadline ends that.
			primary, replica := redisserver.StartPair(t, redisserver.LuaTimeLimit(500))
			if through != "the proxy" {
				// A Sentinel that takes a node for down kills its script, once. That it comes too late is usual, but not certain.
				primary.Do("ACL", "SETUSER", "killer", "on", "nopass", "+@all")
				primary.Do("ACL", "SETUSER", "default", "-script|kill")
			}
			client := primary.Client()
			if through != "nothing" {
				opts := []option{script("endless", []string{endlessBody}, "class", "write")}
				if through == "the proxy" {
					opts = append(opts, set("scripts.deadline", "500ms"))
				}
				client = startProxy(t, primary, []*redisserver.Server{replica}, opts...).dial()
			}
			sentinels := trio(t, primary, downAfter)
			answer := later(client, "EVAL", endlessBody, 0)
			if through != "the proxy" {
				began := time.Now()
				for end := began.Add(patience); !promoted(replica); time.Sleep(50 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("no failover within %v", patience)
					}
				}
				t.Logf("failed over %v after the script began", time.Since(began).Round(100*time.Millisecond))
				killer := primary.Client()
				do(t, killer, "AUTH", "killer", "-")
				do(t, killer, "SCRIPT", "KILL")
				await(t, answer)
				return
			}
			if a := await(t, answer); !isError(a.reply, "Script killed by user") {
				t.Errorf("the script: %v", a.reply)
			} else {
				t.Logf("killed after %v", a.took.Round(time.Millisecond))
			}
			never(t, 2*downAfter, func() error {
				if promoted(replica) {
					return fmt.Errorf("failed over all the same")
				}
				return nil
			})
			for _, s := range sentinels {
				if s.LogContains("+odown") || s.LogContains("+switch-master") {
					t.Errorf("a sentinel took the primary for down:\n%s", s.Log())
				}
			}
		})
	}
}

func TestDeadlineThatSentinelDoesNotWaitForIsToldAtStart(t *testing.T) {
	t.Parallel()
	primary := redisserver.Start(t)
	first := redisserver.StartSentinel(t, primary, 1, 20*time.Second)
	strict := redisserver.StartSentinel(t, primary, 1, 3*time.Second, redisserver.Password("watchful"))
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("watchful\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, primary, nil, set("scripts.deadline", "500ms"), set("watchdog.sentinel_password_file", password), script("slow", []string{"return 1"}, "deadline", "3s"))
	want := fmt.Sprintf("script 'slow' may run for 3s, and the Sentinel at %s takes %s for down after 3s", strict.Addr(), primary.Addr())
	p.Eventually("compare the deadlines with what the Sentinels say", func() error {
		if status, body := p.Get("/readyz"); status != 200 || !strings.Contains(body, "warning: "+want) {
			return fmt.Errorf("/readyz: %d %s", status, body)
		}
		return nil
	})
	if !strings.Contains(p.Log(), want) || strings.Contains(p.Log(), first.Addr()) {
		t.Error("the log does not say so of the stricter one alone")
	}
	p.Rewrite(`"deadline": "3s"`, `"deadline": "2s"`)
	if status, body := p.Post("/-/reload"); status != 200 {
		t.Fatalf("reload: %d %s", status, body)
	}
	if _, body := p.Get("/readyz"); strings.Contains(body, "Sentinel") {
		t.Errorf("with a deadline below it: %s", body)
	}
}
