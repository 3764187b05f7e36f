// Package statefile reads and writes a registry's state as one file, which is either whole or
// refused.
//
// The first line names the format and holds the SHA-256 and the length of everything after it:
//
//	scriptproxy-state 1 sha256 <64 hex digits> <bytes>
//
// Then one JSON object per line: the state's head (with the numbers of what follows), bodies by
// sha in base64, scripts, and the audit log, the oldest change first. A file that does not match its
// first line in every byte is refused, and so is one with fields that this program does not know.
package statefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

const (
	magic   = "scriptproxy-state"
	version = "1"
)

// State is what a file holds.
type State struct {
	Origin   string // where the state comes from, when it is a copy: the store's name
	Snapshot *registry.Snapshot
	Audit    []registry.Change // the oldest first
}

type head struct {
	Origin   string    `json:"origin,omitempty"`
	Revision uint64    `json:"revision"`
	Token    string    `json:"token"`
	At       time.Time `json:"at"`
	Bodies   int       `json:"bodies"`
	Scripts  int       `json:"scripts"`
	Audit    int       `json:"audit"`
}

type body struct {
	SHA  string `json:"sha"`
	Body []byte `json:"body"`
}

// Encoder encodes one state after another and remembers the lines of scripts that did not
// change. The zero value is ready. It is not safe for concurrent use.
type Encoder struct {
	scripts map[*registry.Script][]byte
	size    int // of the last file
}

// Encode returns the file's content.
func (e *Encoder) Encode(s *State) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(e.size + e.size/8)
	header := len(headerLine(nil))
	out.Write(make([]byte, header))
	shas := map[string][]byte{}
	var order []string
	for _, script := range s.Snapshot.Scripts {
		for _, v := range script.Versions {
			if _, have := shas[v.SHA]; !have {
				shas[v.SHA] = v.Body
				order = append(order, v.SHA)
			}
		}
	}
	h := head{Origin: s.Origin, Revision: s.Snapshot.Revision, Token: s.Snapshot.Token, At: s.Snapshot.At,
		Bodies: len(order), Scripts: len(s.Snapshot.Scripts), Audit: len(s.Audit)}
	if err := appendLine(&out, h); err != nil {
		return nil, err
	}
	for _, sha := range order {
		// What json.Marshal would write for a body, without its detour.
		out.WriteString(`{"sha":"` + sha + `","body":"`)
		out.Write(base64.StdEncoding.AppendEncode(out.AvailableBuffer(), shas[sha]))
		out.WriteString("\"}\n")
	}
	lines := make(map[*registry.Script][]byte, len(s.Snapshot.Scripts))
	for _, script := range s.Snapshot.Scripts {
		line := e.scripts[script]
		if line == nil {
			var err error
			if line, err = json.Marshal(script); err != nil {
				return nil, fmt.Errorf("encode script %s: %w", script.Name, err)
			}
		}
		lines[script] = line
		out.Write(line)
		out.WriteByte('\n')
	}
	e.scripts = lines
	for i := range s.Audit {
		if err := appendLine(&out, &s.Audit[i]); err != nil {
			return nil, err
		}
	}
	data := out.Bytes()
	e.size = len(data)
	// The length has a fixed width, so that the header's length is known before the content's.
	copy(data, headerLine(data[header:]))
	return data, nil
}

func appendLine(out *bytes.Buffer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	out.Write(line)
	out.WriteByte('\n')
	return nil
}

func headerLine(payload []byte) string {
	sum := sha256.Sum256(payload)
	return fmt.Sprintf("%s %s sha256 %s %016d\n", magic, version, hex.EncodeToString(sum[:]), len(payload))
}

// Decode returns the state that a file holds, or says why it is refused. A State that is
// returned is whole and valid.
func Decode(data []byte) (*State, error) {
	payload, err := checkHeader(data)
	if err != nil {
		return nil, err
	}
	d := decoder{rest: payload}
	var h head
	if err := d.line("the head", &h); err != nil {
		return nil, err
	}
	if h.Bodies < 0 || h.Scripts < 0 || h.Audit < 0 {
		return nil, errors.New("its head holds a negative number")
	}
	bodies := map[string][]byte{}
	for range h.Bodies {
		var b body
		if err := d.line("a body", &b); err != nil {
			return nil, err
		}
		bodies[b.SHA] = b.Body
	}
	var scripts []*registry.Script
	for range h.Scripts {
		script := &registry.Script{}
		if err := d.line("a script", script); err != nil {
			return nil, err
		}
		for _, v := range script.Versions {
			if v == nil || bodies[v.SHA] == nil {
				return nil, fmt.Errorf("script %q has a version without a body", script.Name)
			}
			v.Body = bodies[v.SHA]
		}
		scripts = append(scripts, script)
	}
	var audit []registry.Change
	for range h.Audit {
		var c registry.Change
		if err := d.line("a change", &c); err != nil {
			return nil, err
		}
		audit = append(audit, c)
	}
	if len(d.rest) > 0 {
		return nil, fmt.Errorf("there are %d bytes behind what its head announces", len(d.rest))
	}
	s := registry.NewSnapshot(h.Revision, h.Token, h.At, scripts)
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &State{Origin: h.Origin, Snapshot: s, Audit: audit}, nil
}

// checkHeader returns what follows the first line, when that matches it.
func checkHeader(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("it is empty")
	}
	line, _, found := bytes.Cut(data[:min(len(data), 200)], []byte("\n"))
	fields := strings.Split(string(line), " ")
	if fields[0] != magic {
		return nil, errors.New("it is not a state file of scriptproxy (the first line does not say " + magic + ")")
	}
	if len(fields) > 1 && fields[1] != version && found {
		return nil, fmt.Errorf("it has format %.20q, and this program knows only %s: it was written by another release of scriptproxy", fields[1], version)
	}
	if !found || len(fields) != 5 || fields[2] != "sha256" {
		return nil, errors.New("its first line is damaged")
	}
	payload := data[len(line)+1:]
	length, err := strconv.ParseUint(fields[4], 10, 63)
	if err != nil {
		return nil, errors.New("its first line is damaged")
	}
	if uint64(len(payload)) != length {
		return nil, fmt.Errorf("it is torn: %d bytes follow the first line, which announces %d", len(payload), length)
	}
	if !bytes.HasPrefix(data, []byte(headerLine(payload))) {
		return nil, errors.New("it was damaged or edited: its content does not match its checksum")
	}
	return payload, nil
}

type decoder struct{ rest []byte }

func (d *decoder) line(what string, into any) error {
	line, rest, found := bytes.Cut(d.rest, []byte("\n"))
	if !found {
		return fmt.Errorf("it ends where %s should stand", what)
	}
	d.rest = rest
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s can't be read: %w", what, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("%s has something behind it on its line", what)
	}
	return nil
}
