package policy

// scriptIndex finds, for a rule's condition, the scripts of the catalog that meet it, so that a policy of
// many rules is compiled for many scripts without comparing each with each: every distinct name, tag, sha,
// command and finding is compared once.
type scriptIndex struct {
	catalog    *Catalog
	categories func(string) []string
	words      int
	names      map[string]scripts
	functions  map[string]scripts
	tags       map[string]scripts
	shas       map[string]scripts
	commands   map[string]scripts
	findings   map[Finding]scripts
}

// scripts is a set of indexes into Catalog.Scripts.
type scripts []uint64

func newScriptIndex(catalog *Catalog, categories func(string) []string) *scriptIndex {
	x := &scriptIndex{
		catalog: catalog, categories: categories, words: (len(catalog.Scripts) + 63) / 64,
		names: map[string]scripts{}, functions: map[string]scripts{}, tags: map[string]scripts{},
		shas: map[string]scripts{}, commands: map[string]scripts{}, findings: map[Finding]scripts{},
	}
	for i := range catalog.Scripts {
		s := &catalog.Scripts[i]
		put(x, x.names, s.Name, i)
		put(x, x.shas, s.SHA, i)
		if s.Function != "" {
			put(x, x.functions, s.Function, i)
		}
		for _, t := range s.Tags {
			put(x, x.tags, t, i)
		}
		for _, c := range s.Commands {
			put(x, x.commands, c, i)
		}
		for _, f := range s.Findings {
			put(x, x.findings, f, i)
		}
	}
	return x
}

func put[K comparable](x *scriptIndex, m map[K]scripts, key K, i int) {
	if m[key] == nil {
		m[key] = make(scripts, x.words)
	}
	m[key][i/64] |= 1 << (i % 64)
}

// masks returns for each script the rules whose conditions on the script itself hold.
func (x *scriptIndex) masks(rules []*rule) []mask {
	words := (len(rules) + 63) / 64
	backing := make(mask, words*len(x.catalog.Scripts))
	masks := make([]mask, len(x.catalog.Scripts))
	for i := range masks {
		masks[i] = backing[i*words : (i+1)*words : (i+1)*words]
	}
	set := make(scripts, x.words)
	for n, r := range rules {
		if r.plain || r.registered == onlyUnregistered {
			continue
		}
		for w := range set {
			set[w] = ^uint64(0)
		}
		x.narrow(set, r)
		for i := range masks {
			if set[i/64]>>(i%64)&1 != 0 {
				masks[i].set(n)
			}
		}
	}
	return masks
}

// narrow removes from set the scripts that miss one of the rule's conditions.
func (x *scriptIndex) narrow(set scripts, r *rule) {
	if len(r.scripts) > 0 {
		x.keepNames(set, r.scripts)
	}
	if len(r.functions) > 0 {
		keep(set, x.functions, r.functions.match)
	}
	if len(r.tags) > 0 {
		keepListed(set, x.tags, r.tags)
	}
	if len(r.shas) > 0 {
		keepListed(set, x.shas, r.shas)
	}
	if len(r.uses) > 0 {
		keep(set, x.commands, func(name string) bool { return r.usesCommand(name, x.categories(name)) })
	}
	if r.onFindings() {
		keep(set, x.findings, r.hasFinding)
	}
}

func (x *scriptIndex) keepNames(set scripts, patterns []scriptGlob) {
	result := make(scripts, len(set))
	for _, g := range patterns {
		switch {
		case g.versioned:
			for i := range x.catalog.Scripts {
				if s := &x.catalog.Scripts[i]; g.matchScript(s.Name, s.Version) {
					result[i/64] |= 1 << (i % 64)
				}
			}
		case g.literal():
			result.or(x.names[string(g.glob)])
		default:
			for name, s := range x.names {
				if g.match(name) {
					result.or(s)
				}
			}
		}
	}
	set.and(result)
}

// keep keeps in set the scripts that have a key which meets the condition.
func keep[K comparable](set scripts, index map[K]scripts, holds func(K) bool) {
	result := make(scripts, len(set))
	for key, s := range index {
		if holds(key) {
			result.or(s)
		}
	}
	set.and(result)
}

// keepListed keeps in set the scripts that have one of the keys.
func keepListed(set scripts, index map[string]scripts, keys []string) {
	result := make(scripts, len(set))
	for _, key := range keys {
		result.or(index[key])
	}
	set.and(result)
}

func (s scripts) or(other scripts) {
	for i, w := range other {
		s[i] |= w
	}
}

func (s scripts) and(other scripts) {
	for i, w := range other {
		s[i] &= w
	}
}
