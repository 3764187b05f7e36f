//go:build linux

package protect

import (
	"fmt"
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

func TestSentinelFailsOverOnlyWithoutTheWatchdog(t *testing.T) {
	const downAfter = 2 * time.Second
	for _, watched := range []bool{true, false} {
		t.Run(fmt.Sprintf("watched=%v", watched), func(t *testing.T) {
			t.Parallel()
			// Both begin to answer BUSY after 500 ms; only a deadline ends that.
			primary, replica := redisserver.StartPair(t, redisserver.LuaTimeLimit(500))
			opts := []option{script("endless", []string{endlessBody}, "class", "write")}
			if watched {
				opts = append(opts, set("scripts.deadline", "500ms"))
			}
			p := startProxy(t, primary, []*redisserver.Server{replica}, opts...)
			sentinels := trio(t, primary, downAfter)
			answer := later(p.dial(), "EVALSHA", "endless", 0)
			if !watched {
				began := time.Now()
				for end := began.Add(patience); !promoted(replica); time.Sleep(50 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("no failover within %v", patience)
					}
				}
				t.Logf("failed over %v after the script began", time.Since(began).Round(100*time.Millisecond))
				do(t, primary.Client(), "SCRIPT", "KILL")
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
