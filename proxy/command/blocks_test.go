package command

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestBlocksWithSaysWhetherTheServerHoldsTheConnection(t *testing.T) {
	server := redisserver.Start(t)
	watcher := server.Client()
	for _, setup := range []string{"XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATE block g $ MKSTREAM", "XGROUP CREATE s block $", "SET full 1"} {
		server.Do(fields(setup)...)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(`
BLPOP a b 0
BRPOP a 0
BLMOVE a b LEFT RIGHT 0
BRPOPLPUSH a b 0
BLMPOP 0 1 a LEFT
BZPOPMIN a 0
BZPOPMAX a 0
BZMPOP 0 1 a MIN
WAIT 5 0
XREAD BLOCK 0 STREAMS s $
XREAD COUNT 1 block 0 streams s $
XREAD COUNT 1 STREAMS s $
XREAD STREAMS block $
XREADGROUP GROUP g c BLOCK 0 STREAMS s >
XREADGROUP GROUP g c NOACK COUNT 1 BLOCK 0 STREAMS s >
XREADGROUP GROUP block c STREAMS s >
XREADGROUP GROUP g block STREAMS s >
XREADGROUP GROUP g c STREAMS block >
LPOP a
GET full
PING BLOCK`), "\n") {
		n, arg := argsOf(line)
		got := Embedded().Lookup(arg(0)).BlocksWith(n, arg)
		if want := holds(t, server, watcher, line); got != want {
			t.Errorf("BlocksWith of %s is %v, the server holds the connection: %v", line, got, want)
		}
	}
}

func fields(line string) []any {
	var args []any
	for word := range strings.FieldsSeq(line) {
		args = append(args, word)
	}
	return args
}

// holds sends line on a connection of its own and reports whether the server then calls that client blocked, rather
// than answering it.
func holds(t *testing.T, server *redisserver.Server, watcher *redisserver.Client, line string) bool {
	t.Helper()
	client, err := server.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	id, err := client.Do("CLIENT", "ID")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Send(fields(line)...); err != nil {
		t.Fatal(err)
	}
	answered := make(chan any, 1)
	go func() {
		reply, _ := client.Receive()
		answered <- reply
	}()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		select {
		case reply := <-answered:
			if e, ok := reply.(redisserver.Error); ok {
				t.Errorf("%s: %s", line, e)
			}
			return false
		default:
		}
		list, err := watcher.Do("CLIENT", "LIST", "ID", id)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(list), " flags=b ") {
			watcher.Do("CLIENT", "KILL", "ID", id)
			<-answered
			return true
		}
	}
	t.Fatalf("%s is neither answered nor blocked", line)
	return false
}

func TestOptionsOfNewerServersDoNotHideBlock(t *testing.T) {
	for line, want := range map[string]bool{
		"XREADGROUP GROUP g c CLAIM 10 BLOCK 5 STREAMS s >":  true,
		"XREADGROUP GROUP g c CLAIM 10 STREAMS s block > >":  false,
		"XREADGROUP GROUP g c NEWOPTION BLOCK 5 STREAMS s >": true,
		"XREAD COUNT BLOCK STREAMS s 0":                      false,
		"XREAD GROUP":                                        false,
		"XREAD":                                              false,
		"WAITAOF 1 0 0":                                      true,
	} {
		n, arg := argsOf(line)
		if got := Embedded().Lookup(arg(0)).BlocksWith(n, arg); got != want {
			t.Errorf("BlocksWith of %s is %v", line, got)
		}
	}
}

func TestBlocksWithDoesNotAllocate(t *testing.T) {
	n, arg := argsOf("XREADGROUP GROUP g c COUNT 1 BLOCK 0 STREAMS s >")
	c := Embedded().Lookup(arg(0))
	if allocs := testing.AllocsPerRun(100, func() { c.BlocksWith(n, arg) }); allocs != 0 {
		t.Errorf("BlocksWith allocates %v times", allocs)
	}
}
