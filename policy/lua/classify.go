package lua

import (
	"slices"
	"strings"
)

// classify fills in the commands and the class.
func (m *model) classify(a *Analysis) {
	a.Dynamic = len(m.escapes) > 0
	a.Class = Read
	for _, s := range m.sites {
		if !s.sure || s.computed {
			a.Dynamic = true
		}
		for _, n := range s.names {
			a.Commands = append(a.Commands, strings.Clone(n))
			if info := m.info(n); !info.Known || info.Write {
				a.Class = Write
			}
		}
	}
	slices.Sort(a.Commands)
	a.Commands = slices.Compact(a.Commands)
	if a.Dynamic {
		a.Class = Write
	}
}

// info looks up NAME or NAME|SUB.
func (m *model) info(name string) CommandInfo {
	base, sub, _ := strings.Cut(name, "|")
	info := m.commands(base, sub)
	if replicating[base] {
		info.Write = true
	}
	return info
}

// contract fills in how many keys and arguments the script uses.
func (m *model) contract(a *Analysis) {
	a.Contract.VariableKeys, a.Contract.VariableArgs = m.params.keys, m.params.args
	for _, f := range m.params.fixed {
		highest, least := &a.MaxKey, &a.Contract.MinKeys
		if f.args {
			highest, least = &a.MaxArg, &a.Contract.MinArgs
		}
		*highest = max(*highest, f.index)
		if f.sure {
			*least = max(*least, f.index)
		}
	}
}
