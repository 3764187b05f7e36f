package lua

import (
	"os"
	"testing"
)

// typicalBody is a script of about a kilobyte, as services have them.
func typicalBody(b *testing.B) []byte {
	body, err := os.ReadFile("testdata/sound/queue-finish.lua")
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func BenchmarkClassify(b *testing.B) {
	body := typicalBody(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if a := Analyse(body, Options{ClassOnly: true}); !a.Analysed {
			b.Fatal(a.Why)
		}
	}
}

func BenchmarkLint(b *testing.B) {
	body := typicalBody(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if a := Analyse(body, Options{}); !a.Analysed {
			b.Fatal(a.Why)
		}
	}
}
