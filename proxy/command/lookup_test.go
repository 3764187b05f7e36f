package command

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestEveryNameIsFoundInAnyCase(t *testing.T) {
	table := Embedded()
	rng := rand.New(rand.NewPCG(1, 2))
	for c := range table.All() {
		container, sub, isSub := strings.Cut(c.Name, "|")
		find := table.Lookup
		key := container
		if isSub {
			find, key = table.Lookup([]byte(container)).Sub, sub
		}
		for _, name := range []string{key, strings.ToLower(key), randomCase(rng, key), randomCase(rng, key)} {
			if got := find([]byte(name)); got != c {
				t.Errorf("%q is found as %v, want %s", name, got, c.Name)
			}
		}
		if got := table.LookupString(strings.ToLower(c.Name)); got != c {
			t.Errorf("LookupString(%q) gives %v", strings.ToLower(c.Name), got)
		}
		if got := table.ByID(c.ID); got != c {
			t.Errorf("ByID(%d) gives %s, want %s", c.ID, got.Name, c.Name)
		}
	}
}

func randomCase(rng *rand.Rand, s string) string {
	b := []byte(strings.ToUpper(s))
	for i := range b {
		if b[i] >= 'A' && b[i] <= 'Z' && rng.IntN(2) == 0 {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

func TestNamesThatOnlyResembleACommandAreNotFound(t *testing.T) {
	table := Embedded()
	names := []string{"", "G", "GE", "GETT", "GET ", " GET", "GET\x00", "\x00GET", "GEt\xff", "CLIENT|LIST", "client|", "|",
		"ZREVRANGEBYSCOR", "ZREVRANGEBYSCOREE", "GEORADIUS\x00YMEMBER", "GEORADIUSBYMEMBER_R0", strings.Repeat("GET", 100_000)}
	topLevel := map[string]bool{}
	for c := range table.All() {
		if strings.Contains(c.Name, "|") {
			continue
		}
		topLevel[c.Name] = true
		// Characters whose distance from a letter is that of the two cases, and those next to the letters.
		for i := range c.Name {
			for _, b := range []byte{c.Name[i] ^ 0x40, c.Name[i] ^ 0x80, c.Name[i] | 0xa0, '@', '[', '`', '{'} {
				name := c.Name[:i] + string([]byte{b}) + c.Name[i+1:]
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		want := asciiUpper(name)
		if !topLevel[want] {
			want = ""
		}
		got := ""
		if c := table.Lookup([]byte(name)); c != nil {
			got = c.Name
		}
		if got != want {
			t.Errorf("%.40q is found as %q, want %q", name, got, want)
		}
	}
}

func asciiUpper(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

func TestResolveGivesTheSubcommandWhenThereIsOne(t *testing.T) {
	table := Embedded()
	for _, test := range []struct{ name, sub, want string }{
		{"client", "list", "CLIENT|LIST"},
		{"CLIENT", "NOSUCH", "CLIENT"},
		{"CLIENT", "", "CLIENT"},
		{"GET", "list", "GET"},
		{"COMMAND", "", "COMMAND"},
		{"command", "GetKeysAndFlags", "COMMAND|GETKEYSANDFLAGS"},
		{"NOSUCH", "list", ""},
	} {
		got := ""
		if c := table.Resolve([]byte(test.name), []byte(test.sub)); c != nil {
			got = c.Name
		}
		if got != test.want {
			t.Errorf("Resolve(%q, %q) gives %q, want %q", test.name, test.sub, got, test.want)
		}
	}
}

func TestLookingUpDoesNotAllocate(t *testing.T) {
	table := Embedded()
	get, long, client, list := []byte("get"), []byte("georadiusbymember_ro"), []byte("client"), []byte("list")
	if n := testing.AllocsPerRun(100, func() {
		table.Lookup(get)
		table.Lookup(long)
		table.Lookup(client).Sub(list)
		table.Resolve(client, list)
	}); n != 0 {
		t.Errorf("looking up allocates %v times", n)
	}
}

func TestLookingUpTakesFewProbes(t *testing.T) {
	table := Embedded()
	worst := 0
	for c := range table.All() {
		if strings.Contains(c.Name, "|") {
			continue
		}
		head, tail := fold([]byte(c.Name))
		i := table.top.start(head, tail, len(c.Name))
		probes := 1
		for table.top.slots[i&(len(table.top.slots)-1)].cmd != c {
			i++
			probes++
		}
		worst = max(worst, probes)
	}
	if worst > 5 {
		t.Errorf("a command takes %d probes to be found, want at most 5: choose other hash constants", worst)
	}
}

func BenchmarkLookup(b *testing.B) {
	t := Embedded()
	for _, name := range []string{"GET", "evalsha", "ZREVRANGEBYSCORE", "GEORADIUSBYMEMBER", "NOSUCHCOMMAND"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			key := []byte(name)
			for b.Loop() {
				t.Lookup(key)
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	t := Embedded()
	b.ReportAllocs()
	name, sub := []byte("CLIENT"), []byte("setname")
	for b.Loop() {
		t.Resolve(name, sub)
	}
}
