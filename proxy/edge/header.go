package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// The PROXY protocol, version 2, as in section 2.2 of HAProxy's
// doc/proxy-protocol.txt.
const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	// fixedHeader is the part that every header has: the signature, version
	// and command, family and protocol, and the length of the rest.
	fixedHeader = len(signature) + 4
	// maxHeader bounds a whole header. Addresses take 216 bytes at most; the
	// rest is for values such as those about a TLS connection or a cloud's
	// endpoint, which are skipped.
	maxHeader = 4096

	inet4Len = 2*4 + 2*2
	inet6Len = 2*16 + 2*2
	unixPath = 108
)

// ErrNoHeader is wrapped by the errors of a connection that does not begin
// with a valid header.
var ErrNoHeader = errors.New("no valid PROXY protocol version 2 header")

// Header is what a load balancer says of a connection. Both addresses are
// empty when the connection is the balancer's own (a health check, LOCAL) or
// of a kind that it cannot name: the connection's own addresses then hold.
type Header struct {
	Source, Destination string
}

// ReadHeader reads exactly the bytes of a header from r, and nothing of what
// follows it. It reads at most 4,096 bytes. Its errors wrap ErrNoHeader, except
// those of r.
func ReadHeader(r io.Reader) (Header, error) {
	var buf [maxHeader]byte
	// The signature first: most of what is none is so known without waiting.
	if _, err := io.ReadFull(r, buf[:len(signature)]); err != nil {
		return Header{}, cut(err)
	}
	if !bytes.HasPrefix(buf[:], []byte(signature)) {
		return Header{}, fmt.Errorf("%w: it begins with %q", ErrNoHeader, buf[:len(signature)])
	}
	if _, err := io.ReadFull(r, buf[len(signature):fixedHeader]); err != nil {
		return Header{}, cut(err)
	}
	size, err := headerSize(buf[:fixedHeader])
	if err != nil {
		return Header{}, err
	}
	if _, err := io.ReadFull(r, buf[fixedHeader:size]); err != nil {
		return Header{}, cut(err)
	}
	return parseHeader(buf[:size])
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the connection ended before it was complete", ErrNoHeader)
	}
	return err
}

// headerSize returns the size of the header that begins with b: fixedHeader
// bytes, the signature among them.
func headerSize(b []byte) (int, error) {
	if version := b[12] >> 4; version != 2 {
		return 0, fmt.Errorf("%w: its version is %d", ErrNoHeader, version)
	}
	size := fixedHeader + int(binary.BigEndian.Uint16(b[14:16]))
	if size > maxHeader {
		return 0, fmt.Errorf("%w: it has %d bytes; %d is the most", ErrNoHeader, size, maxHeader)
	}
	return size, nil
}

// parseHeader reads a whole header, of which headerSize approved.
func parseHeader(b []byte) (Header, error) {
	switch command := b[12] & 0x0f; command {
	case 0: // LOCAL: whatever addresses it has are to be ignored
		return Header{}, nil
	case 1: // PROXY
	default:
		return Header{}, fmt.Errorf("%w: its command is %d", ErrNoHeader, command)
	}
	family, protocol := b[13]>>4, b[13]&0x0f
	if family > 3 || protocol > 2 {
		return Header{}, fmt.Errorf("%w: family and protocol are %#02x", ErrNoHeader, b[13])
	}
	rest := b[fixedHeader:]
	if need := addressLen(family); len(rest) < need {
		return Header{}, fmt.Errorf("%w: %d bytes of addresses where %d are needed", ErrNoHeader, len(rest), need)
	}
	if protocol != 1 {
		// Unspecified, or datagrams, which no client of this proxy sends: the
		// receiver is to fall back to the real addresses.
		return Header{}, nil
	}
	switch family {
	case 1:
		return inet(rest[:4], rest[4:8], rest[8:12]), nil
	case 2:
		return inet(rest[:16], rest[16:32], rest[32:36]), nil
	case 3:
		return Header{Source: unixAddr(rest[:unixPath]), Destination: unixAddr(rest[unixPath : 2*unixPath])}, nil
	}
	return Header{}, nil
}

func addressLen(family byte) int {
	switch family {
	case 1:
		return inet4Len
	case 2:
		return inet6Len
	case 3:
		return 2 * unixPath
	}
	return 0
}

func inet(src, dst, ports []byte) Header {
	addr := func(ip, port []byte) string {
		a, _ := netip.AddrFromSlice(ip)
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port)).String()
	}
	return Header{Source: addr(src, ports[:2]), Destination: addr(dst, ports[2:])}
}

// unixAddr writes the path of a unix socket as Redis's CLIENT LIST does. What
// cannot be printed, or has a blank, is replaced: the text goes into lines
// whose fields blanks divide.
func unixAddr(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	path := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(b))
	return path + ":0"
}
