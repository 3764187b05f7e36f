package policy

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

var kindNames = [...]string{"command", "script", "function", "sha"}

// shape is everything that a learned rule says beside users and what they call.
type shape struct {
	kind             recordedKind
	minKeys, maxKeys int64
	maxArgs          int64
	classes          uint32
	networks         string
}

// Spec returns a policy that allows exactly what was recorded and denies everything else: users and what
// they call are put into one rule only where each of them called each of it in the same way. Notes, for the
// operator, say what could not be recorded. The mode is ModeAudit.
//
// Of scripts it holds the number of keys, the argument sizes and the class as well; of plain commands, only
// who calls them and from where.
func (r *Recorder) Spec() (spec Spec, notes []string) {
	spec = Spec{Mode: ModeAudit, Default: Deny, DefaultCommands: Deny}
	byCall := make(map[callGroup]map[string]bool)
	for _, e := range r.entries() {
		add(byCall, callGroup{r.shape(e), e.key.subject}, e.key.user)
	}
	byUsers := make(map[userGroup]map[string]bool)
	for g, users := range byCall {
		add(byUsers, userGroup{g.shape, joined(users)}, g.subject)
	}
	for g, subjects := range byUsers {
		spec.Rules = append(spec.Rules, g.rule(split(joined(subjects)), r.options))
	}
	slices.SortFunc(spec.Rules, compareLearned)
	nameLearned(spec.Rules)
	return spec, r.notes()
}

type callGroup struct {
	shape
	subject string
}

type userGroup struct {
	shape
	users string
}

func add[K comparable](m map[K]map[string]bool, key K, member string) {
	if m[key] == nil {
		m[key] = make(map[string]bool)
	}
	m[key][member] = true
}

// joined gives a set of names as one text, in order; names hold no control characters.
func joined(set map[string]bool) string {
	list := make([]string, 0, len(set))
	for name := range set {
		list = append(list, name)
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

func split(text string) []string { return strings.Split(text, "\n") }

// entries returns what was recorded up to now.
func (r *Recorder) entries() []*recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*recorded
	slots := *r.slots.Load()
	for i := range slots {
		if e := slots[i].Load(); e != nil {
			list = append(list, e)
		}
	}
	return list
}

func (r *Recorder) shape(e *recorded) shape {
	var networks []string
	for _, n := range *e.networks.Load() {
		networks = append(networks, networkText(n))
	}
	s := shape{kind: e.key.kind, networks: strings.Join(networks, "\n")}
	if s.kind == recordedCommand {
		return s
	}
	s.minKeys, s.maxKeys, s.maxArgs = e.minKeys.Load(), e.maxKeys.Load(), e.maxArgs.Load()
	s.classes = e.classes.Load()
	if !r.options.ExactSizes && s.maxArgs > 0 {
		s.maxArgs = 1 << min(62, bits.Len64(uint64(s.maxArgs-1)))
	}
	return s
}

func networkText(n netip.Prefix) string {
	if !n.IsValid() {
		return unixNetwork
	}
	return n.String()
}

func (g userGroup) rule(subjects []string, options RecorderOptions) Rule {
	m := Match{Users: split(g.users)}
	if options.V4Bits > 0 && options.V6Bits > 0 {
		m.Networks = split(g.networks)
	}
	switch g.kind {
	case recordedCommand:
		for i, name := range subjects {
			if options.Container != nil && options.Container(name) {
				subjects[i] = name + "|"
			}
		}
		m.Commands = subjects
		return Rule{Action: Allow, Match: m}
	case recordedScript:
		m.Scripts = subjects
	case recordedFunction:
		m.Functions = subjects
		m.Registered = new(bool)
	case recordedSHA:
		m.SHAs = subjects
		m.Registered = new(bool)
	}
	for class := range numClasses {
		if g.classes>>class&1 != 0 {
			m.Classes = append(m.Classes, class.String())
		}
	}
	minKeys, maxKeys, maxArgs := int(g.minKeys), int(g.maxKeys), g.maxArgs
	m.MinKeys, m.MaxKeys, m.MaxArgBytes = &minKeys, &maxKeys, &maxArgs
	return Rule{Action: Allow, Match: m}
}

// compareLearned orders rules: scripts, functions, shas, commands; then by what they are about.
func compareLearned(a, b Rule) int {
	for _, lists := range [][2][]string{
		{a.Match.Commands, b.Match.Commands}, {a.Match.SHAs, b.Match.SHAs}, {a.Match.Functions, b.Match.Functions},
		{a.Match.Scripts, b.Match.Scripts}, {a.Match.Users, b.Match.Users}, {a.Match.Networks, b.Match.Networks},
		{a.Match.Classes, b.Match.Classes},
	} {
		if c := slices.Compare(lists[0], lists[1]); c != 0 {
			return c
		}
	}
	return strings.Compare(learnedSpans(a), learnedSpans(b))
}

func learnedSpans(r Rule) string {
	if r.Match.MinKeys == nil {
		return ""
	}
	return fmt.Sprintf("%020d %020d %020d", *r.Match.MinKeys, *r.Match.MaxKeys, *r.Match.MaxArgBytes)
}

// nameLearned names each rule after the first thing that it is about.
func nameLearned(rules []Rule) {
	taken := make(map[string]int)
	for i := range rules {
		m := &rules[i].Match
		name := "learned commands of " + m.Users[0]
		switch {
		case len(m.Scripts) > 0:
			name = "learned " + m.Scripts[0]
		case len(m.Functions) > 0:
			name = "learned function " + m.Functions[0]
		case len(m.SHAs) > 0:
			name = "learned sha " + m.SHAs[0][:min(8, len(m.SHAs[0]))]
		}
		name = strings.ReplaceAll(name, "'", "")
		taken[name]++
		if n := taken[name]; n > 1 {
			name = fmt.Sprintf("%s (%d)", name, n)
		}
		rules[i].Name = name
	}
}

func (r *Recorder) notes() []string {
	var notes []string
	r.mu.Lock()
	for odd := range r.odd {
		notes = append(notes, odd+" is left out: its name has characters that rules cannot name")
	}
	r.mu.Unlock()
	slices.Sort(notes)
	if n := r.dropped.Load(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d calls are left out: more than %d different ones, or a caller with more than %d networks", n, maxRecorded, maxRecordedNetworks))
	}
	return notes
}
