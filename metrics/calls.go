package metrics

// ScriptVersion names one version of a registered script.
type ScriptVersion struct{ Script, Version string }

// Calls asks the loops for their counts, as a scrape does, and returns how many
// calls of each registered version have ended, whatever their route and
// outcome. Versions without calls are left out, and so are those past
// Options.MaxScripts.
func (m *Metrics) Calls() map[ScriptVersion]uint64 {
	m.gather()
	out := make(map[ScriptVersion]uint64)
	t := &m.ids
	t.mu.RLock()
	defer t.mu.RUnlock()
	m.totals.mu.Lock()
	defer m.totals.mu.Unlock()
	for key, id := range t.byScript {
		if id <= otherScript {
			continue
		}
		var n uint64
		for _, route := range t.scripts[id].calls {
			if route == nil {
				continue
			}
			for _, outcome := range route {
				n += outcome
			}
		}
		if n > 0 {
			out[ScriptVersion{key.name, key.version}] = n
		}
	}
	return out
}
