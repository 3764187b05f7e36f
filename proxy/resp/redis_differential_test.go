package resp_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// verdict is what framing with resp.Request says about the bytes that one client sends.
type verdict struct {
	sent     []byte   // what to send: all of the client's bytes up to the one that is refused
	requests [][]byte // the requests in canonical form, those without arguments left out
	err      error    // the refusal
	quits    bool     // the last request makes Redis close the connection
}

// judge frames data byte by byte, so that a refusal is placed on the byte that causes it.
func judge(data []byte, lim *resp.Limits) verdict {
	var v verdict
	var r resp.Request
	from := 0
	for upto := 1; upto <= len(data); upto++ {
		v.sent = data[:upto]
		n, err := r.Parse(data[from:upto], lim)
		if err != nil {
			v.err = err
			return v
		}
		if n == 0 {
			continue
		}
		from += n
		if r.Len() == 0 {
			continue
		}
		v.requests = append(v.requests, bytes.Clone(r.Raw()))
		switch strings.ToLower(string(r.Arg(0))) {
		case "quit", "post", "host:":
			v.quits = true
			return v
		}
	}
	return v
}

// readReplies reads the bytes of count replies, fewer if the server closes.
func readReplies(t *testing.T, c net.Conn, count int) []byte {
	t.Helper()
	var all []byte
	var r resp.Reply
	framed := 0
	for count > 0 {
		buf := make([]byte, 64<<10)
		k, err := c.Read(buf)
		all = append(all, buf[:k]...)
		for framed < len(all) && count > 0 {
			n, done, err := r.Scan(all[framed:])
			if err != nil {
				t.Fatalf("redis-server sent %q: %v", all, err)
			}
			framed += n
			if done {
				count--
			}
			if n == 0 {
				break
			}
		}
		if closed(err) {
			break
		}
		if err != nil {
			t.Fatalf("%d replies are missing after %q: %v", count, all, err)
		}
	}
	return all
}

func closed(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

// send writes in the background: the server may answer, or close, before it has read everything.
func send(c net.Conn, data []byte) {
	go func() { _, _ = c.Write(data) }()
}

// compareWithRedis sends data to a server as one client would. The server must answer with what it answers to
// the canonical requests on another connection, then the predicted refusal, and close exactly when
// predicted.
func compareWithRedis(t *testing.T, server *redisServer, data []byte, lim *resp.Limits) {
	t.Helper()
	v := judge(data, lim)
	for _, request := range v.requests {
		if len(request) > 10<<10 && lim.Unauthenticated {
			return // an inline request may be larger than the canonical form that is allowed here
		}
		if bytes.Count(request, []byte("\r\n$")) > 10 && lim.Unauthenticated {
			return
		}
	}

	server.flush(t)
	canonical := server.dial(t)
	defer canonical.Close()
	send(canonical, bytes.Join(v.requests, nil))
	want := readReplies(t, canonical, len(v.requests))
	replies := len(v.requests)
	if v.err != nil {
		want = append(want, "-ERR "+v.err.Error()+"\r\n"...)
		replies++
	}

	server.flush(t)
	direct := server.dial(t)
	defer direct.Close()
	send(direct, v.sent)
	got := readReplies(t, direct, replies)
	if v.err == nil && !v.quits {
		if err := direct.(*net.UnixConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			t.Fatal(err)
		}
	}
	rest, err := io.ReadAll(direct)
	if err != nil && !closed(err) {
		t.Fatalf("redis-server keeps the connection open after %q (predicted: %v): %v", v.sent, v.err, err)
	}
	got = append(got, rest...)
	if !bytes.Equal(got, want) {
		t.Fatalf("after %q\nredis-server sent %q\npredicted        %q", v.sent, got, want)
	}
}

// redisLimits are DefaultLimits with the number of arguments that Redis allows from 7.0 on.
func redisLimits(unauthenticated bool) *resp.Limits {
	lim := resp.DefaultLimits
	lim.MaxArgs = math.MaxInt32
	lim.Unauthenticated = unauthenticated
	return &lim
}

func FuzzRequestAgainstRedis(f *testing.F) {
	for _, s := range requestSeeds() {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, unauthenticated bool) {
		if len(data) > 256<<10 {
			return
		}
		get := openServer
		if unauthenticated {
			get = lockedServer
		}
		server, err := get()
		if err != nil {
			t.Fatal(err)
		}
		compareWithRedis(t, server, data, redisLimits(unauthenticated))
	})
}

func TestRedisFramesRequestsAlike(t *testing.T) {
	echo := func(line string) string { return "ECHO " + line + "\r\n" }
	long := strings.Repeat("1", 64<<10)
	line := strings.Repeat("x", 64<<10-5)
	for name, data := range map[string]string{
		"100,000 arguments":           "*100000\r\n$6\r\nEXISTS\r\n" + strings.Repeat("$1\r\na\r\n", 99_999),
		"more than a million":         "*1048577\r\n$6\r\nEXISTS\r\n$x\r\n",
		"INT_MAX arguments":           "*2147483647\r\n$x\r\n",
		"above INT_MAX":               "*2147483648\r\n",
		"large bulk":                  "*2\r\n$4\r\nECHO\r\n$100000\r\n" + strings.Repeat("y", 100_000) + "\r\nPING\r\n",
		"largest inline":              echo(line),
		"inline too large":            echo(line + "x"),
		"inline behind a NUL":         "x\x00\r\n" + long[3:],
		"count too long":              "*" + long,
		"largest count":               "*" + long[:len(long)-1] + "\r\n",
		"bulk header too long":        "*1\r\n$" + long,
		"largest bulk header":         "*1\r\n$" + long[:len(long)-1] + "\r\n",
		"other than $ at the limit":   "*1\r\n\"" + long[:len(long)-1] + "\r\n",
		"no digits":                   "*\r\n",
		"leading zero":                "*01\r\n",
		"plus":                        "*+1\r\n",
		"minus zero":                  "*-0\r\n",
		"smallest count":              "*-9223372036854775808\r\nPING\r\n",
		"below the smallest":          "*-9223372036854775809\r\nPING\r\n",
		"twenty digits":               "*10000000000000000000\r\n",
		"bulk length too large":       "*1\r\n$536870913\r\n",
		"largest bulk length":         "*1\r\n$536870912\r\nx",
		"NUL in a header":             "*1\r\n$4\x00\r\nPING\r\n",
		"CR in place of $":            "*1\r\n\rx",
		"LF in place of $":            "*1\r\n\n\rx",
		"high byte in place of $":     "*1\r\n\xff\rx",
		"missing terminators":         "*2\rx$4\ryECHOab$2\rzhicdPING\r\n",
		"blank lines":                 "\r\n\n \t\r\n*0\r\n*-1\r\nPING\r\n",
		"post":                        "POST / HTTP/1.1\r\nPING\r\n",
		"host":                        "PING\r\nHost: a\r\nPING\r\n",
		"quotes":                      echo(`"a b"`) + echo(`'a "b'`) + echo(`a"b"`) + echo(`""`) + echo(`''`),
		"escapes":                     echo(`"\x41\xfF\x4g\x\n\r\t\b\a\"\\\z"`) + echo(`'\n\x41\'\\ '`) + echo(`\x41\n`),
		"other blanks":                echo("a\vb") + echo("\va\f") + echo("\"a\"\v") + echo("\"a\"\v\"b\"") + echo("a\rb"),
		"high bytes":                  echo("\xa0\x85\xff") + echo("\"\x80\""),
		"quote not followed by blank": echo(`"a"b`),
		"unfinished escapes":          echo(`"\`),
		"unfinished hex escape":       echo(`"\x4`),
		"unfinished single quotes":    echo(`'a\'`),
	} {
		t.Run(name, func(t *testing.T) {
			server, err := openServer()
			if err != nil {
				t.Fatal(err)
			}
			compareWithRedis(t, server, []byte(data), redisLimits(false))
		})
	}
}

func TestRedisLimitsUnauthenticatedClientsAlike(t *testing.T) {
	for name, data := range map[string]string{
		"10 arguments":              "*10\r\n" + strings.Repeat("$4\r\nPING\r\n", 10),
		"11 arguments":              "PING\r\n*11\r\n$4\r\nPING\r\n",
		"above INT_MAX":             "*2147483648\r\n",
		"16 KiB":                    "*2\r\n$4\r\nPING\r\n$16384\r\n",
		"16 KiB and 1 byte":         "*2\r\n$4\r\nPING\r\n$16385\r\n",
		"more than the bulk length": "*2\r\n$4\r\nPING\r\n$536870913\r\n",
		"11 inline arguments":       "a b c d e f g h i j k\r\n\"\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server, err := lockedServer()
			if err != nil {
				t.Fatal(err)
			}
			compareWithRedis(t, server, []byte(data), redisLimits(true))
		})
	}
}
