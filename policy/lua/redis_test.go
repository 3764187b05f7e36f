package lua

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redisServer is a real redis-server on a socket file, for tests of what the rules and the lexer claim of Redis.
type redisServer struct {
	conn net.Conn
	r    *bufio.Reader
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("these tests need redis-server on the PATH: %v", err)
	}
	dir, err := os.MkdirTemp("", "lua")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(bin, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.RemoveAll(dir)
	})
	for range 200 {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			return &redisServer{conn, bufio.NewReader(conn)}
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("redis-server did not open its socket within 5 s")
	return nil
}

// do sends a command and gives the reply as text: errors begin with "-", nil is "(nil)", elements of lists are
// joined by spaces.
func (s *redisServer) do(t *testing.T, args ...string) string {
	t.Helper()
	var sb strings.Builder
	fmt.Fprintf(&sb, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&sb, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(s.conn, sb.String()); err != nil {
		t.Fatal(err)
	}
	return s.reply(t)
}

func (s *redisServer) reply(t *testing.T) string {
	t.Helper()
	line, err := s.r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	line = strings.TrimRight(line, "\r\n")
	n, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '-':
		return line
	case '$':
		if n < 0 {
			return "(nil)"
		}
		buf := make([]byte, n+2)
		if _, err := io.ReadFull(s.r, buf); err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	case '*':
		var parts []string
		for range n {
			parts = append(parts, s.reply(t))
		}
		return strings.Join(parts, " ")
	}
	return line[1:]
}

func (s *redisServer) eval(t *testing.T, body string) string {
	t.Helper()
	return s.do(t, "EVAL", body, "2", "k1", "k2", "a1", "2")
}

func TestRedisAgreesOnWhatIsLua(t *testing.T) {
	srv := startRedis(t)
	bodies := map[string]string{}
	for name, body := range repairedBodies {
		bodies[name] = body
	}
	for body := range notLua {
		bodies[body] = body
	}
	for _, r := range allReports(t) {
		if strings.HasPrefix(r.File, "testdata/") {
			bodies[r.File] = readFile(t, r.File)
		}
	}
	for i, body := range evasions {
		bodies[fmt.Sprint("evasion ", i)] = body
	}
	for name, body := range bodies {
		a := lintBody(body, "", Auto)
		command := []string{"SCRIPT", "LOAD", body}
		if a.Library != "" {
			command = []string{"FUNCTION", "LOAD", "REPLACE", body}
		}
		reply := srv.do(t, command...)
		loads := !strings.HasPrefix(reply, "-")
		if want := a.Analysed && len(found(a, shebangRule)) == 0; loads != want {
			t.Errorf("%s: Redis answers %q, the analysis says %v %s", name, reply, a.Analysed, a.Why)
		}
	}
}

func TestScriptsCalledReadsRunUnderEvalRO(t *testing.T) {
	srv := startRedis(t)
	reads := 0
	check := func(body string) {
		a := lintBody(body, "", Auto)
		if a.Class != Read || a.Library != "" {
			return
		}
		reads++
		if reply := srv.do(t, "EVAL_RO", body, "2", "k1", "k2", "a1", "2"); strings.Contains(reply, "Write commands are not allowed") {
			t.Errorf("Redis answers %q to a script of class read:\n%s", reply, body)
		}
	}
	for _, c := range classCases {
		check(c.body)
	}
	for _, r := range allReports(t) {
		if strings.HasPrefix(r.File, "testdata/") {
			check(readFile(t, r.File))
		}
	}
	for _, body := range repairedBodies {
		check(body)
	}
	if reads < 60 {
		t.Errorf("only %d scripts were reads", reads)
	}
}

func TestRedisDoesWhatTheRulesSay(t *testing.T) {
	srv := startRedis(t)
	srv.do(t, "HSET", "k1", "name", "n")
	for _, c := range []struct{ rule, body, want string }{
		{"reply-never-nil", `return tostring(redis.call('GET', 'missing') == nil)`, "false"},
		{"reply-never-nil", `return tostring(redis.call('GET', 'missing'))`, "false"},
		{"status-compared", `return tostring(redis.call('SET', KEYS[2], 1) == 'OK')`, "false"},
		{"status-compared", `return redis.call('TYPE', KEYS[1])['ok']`, "hash"},
		{"integer-as-condition", `if redis.call('EXISTS', 'missing') then return 'taken' end`, "taken"},
		{"reply-as-hash", `return tostring(redis.call('HGETALL', KEYS[1])['name'])`, "nil"},
		{"global-variable", `total = 1`, "-ERR user_script:1: Attempt to modify a readonly table"},
		{"undefined-global", `return total`, "-ERR user_script:1: Script attempted to access nonexistent global variable 'total'"},
		{"undefined-global", `print('x')`, "-ERR user_script:1: Script attempted to access nonexistent global variable 'print'"},
		{"refused-command", `return redis.call('WAIT', 1, 1)`, "-ERR This Redis command is not allowed from script"},
		{"bad-shebang", "#!lua flags=readonly\nreturn 1", "-ERR Unexpected flag in script shebang"},
		{"bad-shebang", "#!python\nreturn 1", "-ERR Unexpected engine in script shebang"},
		{"bad-shebang", "#!lua readonly\nreturn 1", "-ERR Unknown lua shebang option"},
		{"bad-shebang", "#!lua", "-ERR Invalid script shebang"},
		{"write-in-read-script", "#!lua flags=no-writes\nreturn redis.call('SET', KEYS[2], 1)", "-ERR Write commands are not allowed from read-only scripts"},
		{"write-in-read-script", "#!lua flags=no-writes\nreturn redis.call('PFCOUNT', KEYS[2])", "-ERR Write commands are not allowed from read-only scripts"},
		{"loop-variadic", `local t = {} for i = 1, 7990 do t[i] = 'k' end return #redis.call('MGET', unpack(t))`, "7990"},
		{"loop-variadic", `local t = {} for i = 1, 8000 do t[i] = 'k' end return #redis.call('MGET', unpack(t))`, "-ERR user_script:1: too many results to unpack"},
		{"error-after-write", `redis.call('SET', 'kept', 1) return redis.error_reply('FAILED')`, "-ERR FAILED"},
		{"error-after-write", `return redis.call('GET', 'kept')`, "1"},
	} {
		if got := srv.eval(t, c.body); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: Redis answers %q to %s, want %q", c.rule, got, c.body, c.want)
		}
	}
	// math-random: every server begins with the same numbers, and a seed changes them.
	random := `return tostring(math.random(1000000))`
	if first, second := srv.eval(t, random), startRedis(t).eval(t, random); first != second {
		t.Errorf("math-random: %s on one new server, %s on another", first, second)
	}
	seeded := `math.randomseed(tonumber(ARGV[1])) return tostring(math.random(1000000))`
	if first, second := srv.do(t, "EVAL", seeded, "0", "1"), srv.do(t, "EVAL", seeded, "0", "2"); first == second {
		t.Errorf("math-random: %s with both seeds", first)
	}
}

func TestTheBuiltinTableIsThatOfTheServer(t *testing.T) {
	srv := startRedis(t)
	for name, row := range commandTable() {
		if row.container || strings.Contains(name, "|") {
			continue
		}
		reply := " " + srv.do(t, "COMMAND", "INFO", name) + " "
		if reply == " (nil) " {
			continue // a newer or older server
		}
		if write := strings.Contains(reply, " write "); write != row.write && !replicating[name] {
			t.Errorf("%s: write %v, the server says %v", name, row.write, write)
		}
		if noscript := strings.Contains(reply, " noscript "); noscript != row.noscript {
			t.Errorf("%s: noscript %v, the server says %v", name, row.noscript, noscript)
		}
	}
}
