package statefile_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/policy/registry/statefile"
)

// seal puts a valid first line before a payload.
func seal(payload string) string {
	return fmt.Sprintf("scriptproxy-state 1 sha256 %x %016d\n%s", sha256.Sum256([]byte(payload)), len(payload), payload)
}

// FuzzStateFile feeds files as they are, and payloads behind a first line that is right, since a
// checksum would hide the rest of the decoder. What is accepted must survive being written.
func FuzzStateFile(f *testing.F) {
	whole := encode(f, example())
	_, payload, _ := bytes.Cut(whole, []byte("\n"))
	f.Add(whole, false)
	f.Add(payload, true)
	f.Add([]byte(`{"revision":0,"token":"","at":"0001-01-01T00:00:00Z","bodies":0,"scripts":0,"audit":0}`+"\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed {
			data = []byte(seal(string(data)))
		}
		state, err := statefile.Decode(data)
		if err != nil {
			if state != nil || strings.TrimSpace(err.Error()) == "" {
				t.Fatalf("refused with state %v and error %q", state, err)
			}
			return
		}
		if err := state.Snapshot.Validate(); err != nil {
			t.Fatalf("accepted an invalid state: %v", err)
		}
		var e statefile.Encoder
		again, err := e.Encode(state)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		second, err := statefile.Decode(again)
		if err != nil {
			t.Fatalf("what was read and written can't be read: %v", err)
		}
		if third, err := e.Encode(second); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("writing is not stable (error %v)", err)
		}
	})
}
