//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

const (
	// largest is the longest value that Redis takes with its default proto-max-bulk-len, in bytes.
	largest = 512 << 20
	// most is what the proxy may hold more than before while such a value passes through, in bytes: its own high-water marks
	// are 1 MiB for a client and 8 MiB for a link, buffers double as they grow, and the garbage of that waits to be collected.
	most = 96 << 20
	// slowPart is what the slow reader takes before it pauses.
	slowPart = 64 << 20
)

// TestLargestValuePassesThroughInBoundedMemory is not parallel: it wants the machine's memory for itself, and tells what it held.
func TestLargestValuePassesThroughInBoundedMemory(t *testing.T) {
	s := redisserver.Start(t)
	program, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, program, s.Addr())
	conn, other := p.Open(), p.client()
	s.Do("SET", "k", "v")
	other.Do("GET", "k")
	before := int(p.Memory("VmRSS"))
	// A block that repeats with a period that is prime to every buffer's size shows bytes that are lost or doubled.
	block := make([]byte, 1_000_003)
	for i := range block {
		block[i] = byte(i*7 + i>>8)
	}
	peak := 0
	look := func(what string) {
		t.Helper()
		peak = max(peak, int(p.Memory("VmRSS"))-before)
		if peak > most {
			t.Fatalf("%s: the proxy holds %d MiB more than before", what, peak>>20)
		}
		if got := other.Do("GET", "k"); got != bulk("v") {
			t.Fatalf("%s: another client: %q", what, got)
		}
	}

	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := io.WriteString(conn, "*3\r\n$3\r\nSET\r\n$7\r\nlargest\r\n$"+strconv.Itoa(largest)+"\r\n"); err != nil {
		t.Fatal(err)
	}
	for left, n := largest, 0; left > 0; n++ {
		part := block[:min(left, len(block))]
		if _, err := conn.Write(part); err != nil {
			t.Fatal(err)
		}
		if left -= len(part); n%32 == 0 {
			look("while it is sent")
		}
	}
	if _, err := io.WriteString(conn, "\r\n"+request("GET", "largest")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(conn, 256<<10)
	for _, want := range []string{ok, "$" + strconv.Itoa(largest) + "\r\n"} {
		if line, err := r.ReadString('\n'); err != nil || line != want {
			t.Fatalf("reply %q, %v, want %q", line, err, want)
		}
	}
	t.Logf("%d MiB more while the value was sent", peak>>20)
	peak = 0
	got := make([]byte, len(block))
	for left, taken := largest, 0; left > 0; {
		part := got[:min(left, len(got))]
		if _, err := io.ReadFull(r, part); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(part, block[:len(part)]) {
			t.Fatalf("other bytes than were sent, %d from the end", left)
		}
		left -= len(part)
		if taken += len(part); taken >= slowPart {
			taken = 0
			time.Sleep(100 * time.Millisecond) // the server could send 100 MiB in that time
			look("while it is read slowly")
		}
	}
	if end, err := r.ReadString('\n'); err != nil || end != "\r\n" {
		t.Fatalf("the end is %q, %v", end, err)
	}
	t.Logf("%d MiB more while it was read slowly", peak>>20)
	s.Do("DEL", "largest")
}

// TestPipelineOfAHundredThousandCommandsIsAnsweredInOrder sends them without reading a reply.
func TestPipelineOfAHundredThousandCommandsIsAnsweredInOrder(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr())
	const commands = 100_000
	var pipeline bytes.Buffer
	var want bytes.Buffer
	n := 0
	for i := range commands {
		switch {
		case i%1000 == 500: // in between, a transaction on a link of its own
			pipeline.WriteString(request("MULTI"))
			want.WriteString(ok)
		case i%1000 == 501:
			pipeline.WriteString(request("INCR", "n"))
			want.WriteString(queued)
		case i%1000 == 502:
			pipeline.WriteString(request("EXEC"))
			n++
			want.WriteString(array(fmt.Sprintf(":%d\r\n", n)))
		case i%5 == 0:
			pipeline.WriteString(request("EVAL", "return redis.call('INCR', KEYS[1])", "1", "n"))
			n++
			fmt.Fprintf(&want, ":%d\r\n", n)
		case i%5 == 1:
			pipeline.WriteString(request("ECHO", strconv.Itoa(i)))
			want.WriteString(bulk(strconv.Itoa(i)))
		case i%5 == 2:
			pipeline.WriteString(request("PING"))
			want.WriteString("+PONG\r\n")
		default:
			pipeline.WriteString(request("INCR", "n"))
			n++
			fmt.Fprintf(&want, ":%d\r\n", n)
		}
	}
	conn := p.Open()
	conn.SetDeadline(time.Now().Add(time.Minute))
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(pipeline.Bytes())
		sent <- err
	}()
	got := make([]byte, want.Len())
	if k, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("after %d of %d bytes: %v", k, len(got), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		at := 0
		for got[at] == want.Bytes()[at] {
			at++
		}
		t.Errorf("from byte %d on: %.100q, want %.100q", at, got[at:], want.Bytes()[at:])
	}
}

// TestSlowReaderHarmsNobodyOnItsLink: one client asks for a lot and reads nothing, on the link on which others read and write.
func TestSlowReaderHarmsNobodyOnItsLink(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]string{
		"one large reply":      request("GET", "huge"),
		"many replies":         strings.Repeat(request("GET", "large"), 400),
		"many small replies":   strings.Repeat(request("LRANGE", "list", "0", "-1"), 2000),
		"replies of a script":  strings.Repeat(request("EVAL", "return redis.call('GET', KEYS[1])", "1", "large"), 400),
		"a transaction's":      request("MULTI") + strings.Repeat(request("GET", "large"), 400) + request("EXEC"),
		"one large and others": request("GET", "huge") + strings.Repeat(request("GET", "large"), 100),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redisserver.Start(t)
			s.Do("SET", "huge", strings.Repeat("h", 40<<20))
			s.Do("SET", "large", strings.Repeat("l", 100_000))
			for i := range 1000 {
				s.Do("RPUSH", "list", i)
			}
			p := startProxy(t, s.Addr(), oneLoop)
			slow := p.client()
			slow.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			var others []*client
			for range 4 {
				c := p.client()
				c.Do("PING")
				others = append(others, c)
			}
			slow.Send(ask)
			for i := range 200 {
				c := others[i%len(others)]
				c.Send(request("SET", "k", strconv.Itoa(i)) + request("GET", "k") + request("EVAL", "return ARGV[1]", "0", strconv.Itoa(i)))
				c.Want(ok, bulk(strconv.Itoa(i)), bulk(strconv.Itoa(i)))
				time.Sleep(2 * time.Millisecond)
			}
			// When it reads at last, it has all of its replies.
			slow.Conn.SetReadDeadline(time.Now().Add(patience))
			count := strings.Count(ask, "GET\r\n") + strings.Count(ask, "LRANGE\r\n") + strings.Count(ask, "EVAL\r\n")
			if strings.Contains(ask, "MULTI") {
				count += 2
			}
			for i := range count {
				if reply, err := slow.ReplyWithin(patience); err != nil || reply[0] == '-' {
					t.Fatalf("reply %d of the slow reader: %.100q, %v", i, reply, err)
				}
			}
		})
	}
}
