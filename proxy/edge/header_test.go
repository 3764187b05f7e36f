package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// header builds a header; the length is that of the rest.
func header(versionCommand, familyProtocol byte, rest string) string {
	b := []byte(signature)
	b = append(b, versionCommand, familyProtocol)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(b) + rest
}

const (
	addrs4 = "\xc0\x00\x02\x01" + "\xc6\x33\x64\x02" + "\xd4\x31" + "\x18\xeb" // 192.0.2.1:54321 to 198.51.100.2:6379
	addrs6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\xd4\x31" + "\x18\xeb"
	tlvs = "\x02\x00\x09localhost" + "\x04\x00\x00" + "\xee\x01\x00" // an authority, a no-op, and one that is cut
)

func unixAddrs(src, dst string) string {
	pad := func(s string) string { return s + strings.Repeat("\x00", unixPath-len(s)) }
	return pad(src) + pad(dst)
}

var validHeaders = []struct {
	name, header string
	want         Header
}{
	{"TCP over IPv4", header(0x21, 0x11, addrs4), Header{"192.0.2.1:54321", "198.51.100.2:6379"}},
	{"TCP over IPv6", header(0x21, 0x21, addrs6), Header{"[2001:db8::1]:54321", "[2001:db8::2]:6379"}},
	{"IPv4 mapped into IPv6", header(0x21, 0x21, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01"+addrs6[16:]),
		Header{"192.0.2.1:54321", "[2001:db8::2]:6379"}},
	{"unix", header(0x21, 0x31, unixAddrs("/run/a.sock", "/run/b.sock")), Header{"/run/a.sock:0", "/run/b.sock:0"}},
	{"unix path of full length", header(0x21, 0x31, unixAddrs(strings.Repeat("p", unixPath), "")), Header{strings.Repeat("p", unixPath) + ":0", ":0"}},
	{"unix path that would forge a line", header(0x21, 0x31, unixAddrs("/a name=x\nid=1", "")), Header{"/a?name=x?id=1:0", ":0"}},
	{"LOCAL without addresses", header(0x20, 0x00, ""), Header{}},
	{"LOCAL with addresses", header(0x20, 0x11, addrs4), Header{}},
	{"LOCAL of an unknown family", header(0x20, 0xff, "xyz"), Header{}},
	{"unspecified", header(0x21, 0x00, ""), Header{}},
	{"unspecified with values", header(0x21, 0x00, tlvs), Header{}},
	{"unspecified family of a stream", header(0x21, 0x01, ""), Header{}},
	{"datagrams", header(0x21, 0x12, addrs4), Header{}},
	{"values behind addresses", header(0x21, 0x11, addrs4+tlvs), Header{"192.0.2.1:54321", "198.51.100.2:6379"}},
	{"as long as it may be", header(0x21, 0x11, addrs4+strings.Repeat("t", maxHeader-fixedHeader-inet4Len)), Header{"192.0.2.1:54321", "198.51.100.2:6379"}},
}

func TestHeaderNamesTheClient(t *testing.T) {
	for _, test := range validHeaders {
		t.Run(test.name, func(t *testing.T) {
			got, err := ReadHeader(strings.NewReader(test.header))
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestHeaderLeavesWhatFollowsUnread(t *testing.T) {
	for _, test := range validHeaders {
		for name, reader := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		} {
			rest := strings.NewReader(test.header + "PING\r\n")
			if _, err := ReadHeader(reader(rest)); err != nil {
				t.Errorf("%s, %s: %v", test.name, name, err)
			}
			if left, _ := io.ReadAll(rest); string(left) != "PING\r\n" {
				t.Errorf("%s, %s: %q is left, want PING", test.name, name, left)
			}
		}
	}
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	tests := []struct{ name, header string }{
		{"nothing", ""},
		{"a command", "*1\r\n$4\r\nPING\r\n"},
		{"version 1", "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00"},
		{"another signature", strings.Replace(header(0x21, 0x11, addrs4), "QUIT", "QUIZ", 1)},
		{"version 1 in binary", header(0x11, 0x11, addrs4)},
		{"version 3", header(0x31, 0x11, addrs4)},
		{"an unassigned command", header(0x22, 0x11, addrs4)},
		{"an unassigned family", header(0x21, 0x41, addrs6)},
		{"an unassigned protocol", header(0x21, 0x13, addrs4)},
		{"addresses that are too short", header(0x21, 0x11, addrs4[:11])},
		{"IPv6 of the size of IPv4", header(0x21, 0x21, addrs4)},
		{"a unix address that is too short", header(0x21, 0x31, unixAddrs("/a", "/b")[:215])},
		{"datagrams without addresses", header(0x21, 0x12, "")},
		{"more than the limit", header(0x21, 0x11, addrs4+strings.Repeat("t", maxHeader))},
		{"cut in the fixed part", header(0x21, 0x11, addrs4)[:15]},
		{"cut in the addresses", header(0x21, 0x11, addrs4)[:20]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := ReadHeader(strings.NewReader(test.header)); !errors.Is(err, ErrNoHeader) {
				t.Errorf("got %+v, %v; want an error that says there is no header", got, err)
			}
		})
	}
}

func TestErrorsOfTheConnectionAreNotTheHeaders(t *testing.T) {
	_, err := ReadHeader(io.MultiReader(strings.NewReader(signature), iotest.ErrReader(io.ErrClosedPipe)))
	if !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, ErrNoHeader) {
		t.Errorf("got %v, want the connection's own error", err)
	}
}

// FuzzHeader checks that whatever comes is either refused or gives addresses
// that can be written into a line of CLIENT LIST, that exactly the header is
// read, and that no more than the limit is read in any case.
func FuzzHeader(f *testing.F) {
	for _, test := range validHeaders {
		f.Add([]byte(test.header))
	}
	f.Add([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"))
	f.Add([]byte(header(0x21, 0x41, addrs6)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		h, err := ReadHeader(r)
		used := len(data) - r.Len()
		if used > maxHeader {
			t.Fatalf("read %d bytes", used)
		}
		if err != nil {
			if !errors.Is(err, ErrNoHeader) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if want := fixedHeader + int(binary.BigEndian.Uint16(data[14:16])); used != want {
			t.Fatalf("read %d bytes of a header of %d", used, want)
		}
		again, err := ReadHeader(iotest.OneByteReader(bytes.NewReader(data)))
		if err != nil || again != h {
			t.Fatalf("byte by byte: %+v, %v; at once: %+v", again, err, h)
		}
		for _, addr := range []string{h.Source, h.Destination} {
			if strings.ContainsAny(addr, " \r\n\x00") {
				t.Fatalf("address %q would break a line", addr)
			}
			if _, err := netip.ParseAddrPort(addr); addr != "" && err != nil && !strings.HasSuffix(addr, ":0") {
				t.Fatalf("%q is no address", addr)
			}
		}
		if (h.Source == "") != (h.Destination == "") {
			t.Fatalf("half an answer: %+v", h)
		}
	})
}
