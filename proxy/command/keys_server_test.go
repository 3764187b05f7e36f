package command

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// invocations makes invocations of one command out of its key specs.
type invocations struct {
	rng  *rand.Rand
	c    *Command
	last int // a number for the next key, so that all differ
}

func (g *invocations) word() string {
	g.last++
	return "w" + strconv.Itoa(g.last)
}

// valid returns an invocation whose keys are where the specs say: every count and keyword is in its place.
func (g *invocations) valid() []string {
	args := strings.Split(strings.ToLower(g.c.Name), "|")
	for len(args) < max(2, g.c.Arity, -g.c.Arity) {
		args = append(args, g.word())
	}
	if g.c.Arity < 0 {
		for range g.rng.IntN(5) {
			args = append(args, g.word())
		}
	}
	for _, spec := range g.c.KeySpecs {
		switch {
		case spec.Begin == BeginIndex && spec.Find == FindKeyNum:
			args = g.counted(args, spec)
		case spec.Begin == BeginKeyword && spec.Limit == 2:
			args = append(args[:spec.Pos], randomCase(g.rng, spec.Keyword))
			for range 2 * (1 + g.rng.IntN(4)) {
				args = append(args, g.word())
			}
		case g.c.Name == "MIGRATE":
		case spec.Begin == BeginKeyword && g.rng.IntN(2) == 0:
			args = append(args, randomCase(g.rng, spec.Keyword), g.word())
		}
	}
	if g.c.Name == "MIGRATE" {
		args = append(args[:3], pick(g.rng, "", "key"), "0", "1000")
	}
	return append(args, g.options(args)...)
}

// counted puts a count, and as many keys, where spec has them.
func (g *invocations) counted(args []string, spec KeySpec) []string {
	args = args[:min(len(args), spec.Pos+spec.KeyNumIdx)]
	keys := 1 + g.rng.IntN(4)
	args = append(args, strconv.Itoa(keys))
	for range keys * spec.Step {
		args = append(args, g.word())
	}
	for len(args) < -g.c.Arity || g.rng.IntN(2) == 0 {
		args = append(args, g.word())
	}
	return args
}

// options returns what may follow args in SORT and MIGRATE, whose specs do not say where their keys are.
func (g *invocations) options(args []string) []string {
	var options []string
	switch g.c.Name {
	case "SORT", "SORT_RO":
		for range g.rng.IntN(5) {
			options = append(options, pick(g.rng, []string{"ASC", "ALPHA"}, []string{"LIMIT", "0", "store"}, []string{"BY", "store"},
				[]string{"GET", "Store"}, []string{"STORE", g.word()})...)
		}
	case "MIGRATE":
		for range g.rng.IntN(3) {
			options = append(options, pick(g.rng, []string{"COPY"}, []string{"REPLACE"}, []string{"AUTH", "keys"}, []string{"AUTH2", "keys", "keys"})...)
		}
		if args[3] == "" {
			options = append(options, "Keys", g.word(), g.word())
		}
	}
	return options
}

// noisy returns an invocation that need not be valid, of words that matter to some command.
func (g *invocations) noisy() []string {
	args := strings.Split(strings.ToLower(g.c.Name), "|")
	extra := 0
	if g.c.Arity < 0 {
		extra = g.rng.IntN(7)
	}
	// COMMAND GETKEYS itself wants at least two words.
	for n := max(2, g.c.Arity, -g.c.Arity+extra); len(args) < n; {
		args = append(args, pick(g.rng, "", "0", "1", "2", "3", "-1", "01", "2x", "store", "STOREDIST", "streams", "KEYS", "keys", "get", "by", "limit",
			"auth", "AUTH2", "block", "count", "group", g.word(), g.word()))
	}
	return args
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// keysText gives keys as COMMAND GETKEYS would answer, or "none".
func (g *invocations) keysText(args []string) (text string, err error) {
	table := Embedded()
	c := table.Lookup([]byte(args[0]))
	found, err := c.Keys(len(args), func(i int) []byte { return []byte(args[i]) }, nil)
	words := []any{}
	for _, i := range found {
		words = append(words, args[i])
	}
	return fmt.Sprintf("%q", words), err
}

// agree compares Keys with the server's answer to COMMAND GETKEYS, and returns what is wrong or "". Documented
// differences:
//
//   - For EVAL and its like with a number of keys that is no number, negative or too large, the server says that there
//     are no keys; Keys gives ErrKeys, as the call is going to be refused.
//   - Where the number of keys of another command is no proper number ("2x", "01"), the server finds keys as atoi does,
//     though the command is refused; Keys gives ErrKeys.
//   - For MIGRATE with a key and a last argument KEYS, the server finds the key, though the command is refused; Keys
//     gives ErrKeys.
//   - For PFMERGE without sources, which is valid, the server says that the arguments are invalid; Keys gives the key.
func (g *invocations) agree(args []string, reply any) string {
	got, err := g.keysText(args)
	want := fmt.Sprintf("%q", reply)
	if refusal, ok := reply.(redisserver.Error); ok {
		switch {
		case err != nil, g.c.Name == "PFMERGE" && len(args) == 2, strings.Contains(string(refusal), "no key arguments") && got == "[]":
			return ""
		}
		return fmt.Sprintf("got %s, the server says %s", got, refusal)
	}
	switch {
	case err == nil && got == want:
		return ""
	case err == ErrKeys && (g.badCount(args) || g.c.Name == "MIGRATE" && strings.EqualFold(args[len(args)-1], "KEYS")):
		return ""
	}
	return fmt.Sprintf("got %s, %v, the server finds %s", got, err, want)
}

// badCount reports whether a number of keys in args is none that the command would take.
func (g *invocations) badCount(args []string) bool {
	return slices.ContainsFunc(g.c.KeySpecs, func(s KeySpec) bool {
		if s.Find != FindKeyNum {
			return false
		}
		at := s.Pos + s.KeyNumIdx
		n, ok := parseInteger([]byte(args[at]))
		return !ok || n < 0 || int(n) > len(args)-at-1
	})
}

func TestKeysAreThoseThatTheServerFinds(t *testing.T) {
	const perCommand = 150
	server := redisserver.Start(t)
	client := server.Client()
	tested := 0
	for c := range parsed(t, server).All() {
		if len(c.KeySpecs) == 0 || Embedded().LookupString(c.Name) == nil {
			continue
		}
		tested++
		g := &invocations{rng: rand.New(rand.NewPCG(5, uint64(c.ID))), c: c}
		var sent [][]string
		for i := range perCommand {
			args := g.valid()
			if i%3 == 2 {
				args = g.noisy()
			}
			line := []any{"COMMAND", "GETKEYS"}
			for _, arg := range args {
				line = append(line, arg)
			}
			if err := client.Send(line...); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, args)
		}
		wrong := 0
		for _, args := range sent {
			reply, err := client.Receive()
			if err != nil {
				t.Fatalf("%q: %v", args, err)
			}
			if problem := g.agree(args, reply); problem != "" && wrong < 3 {
				wrong++
				t.Errorf("%q: %s", args, problem)
			}
		}
	}
	if tested < 150 {
		t.Errorf("only %d commands with keys were tested", tested)
	}
}

// Most valid invocations must really have been accepted, or the comparison above says little.
func TestGeneratedInvocationsAreAcceptedByTheServer(t *testing.T) {
	server := redisserver.Start(t)
	client := server.Client()
	for c := range parsed(t, server).All() {
		if c.finder == findNone || Embedded().LookupString(c.Name) == nil {
			continue
		}
		g := &invocations{rng: rand.New(rand.NewPCG(6, uint64(c.ID))), c: c}
		args := g.valid()
		line := []any{"COMMAND", "GETKEYS"}
		for _, arg := range args {
			line = append(line, arg)
		}
		reply, err := client.Do(line...)
		if err != nil {
			t.Fatal(err)
		}
		if keys, ok := reply.([]any); !ok || len(keys) == 0 {
			t.Errorf("%q: the server finds no keys: %v", args, reply)
		}
	}
}
