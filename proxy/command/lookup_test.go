package command

import "testing"

func BenchmarkLookup(b *testing.B) {
	t := Embedded()
	for _, name := range []string{"GET", "evalsha", "ZREVRANGEBYSCORE", "GEORADIUSBYMEMBER", "NOSUCHCOMMAND"} {
		b.Run(name, func(b *testing.B) {
			key := []byte(name)
			for b.Loop() {
				t.Lookup(key)
			}
		})
	}
}

func BenchmarkEmbeddedLoad(b *testing.B) {
	for b.Loop() {
		buildEmbedded()
	}
}
